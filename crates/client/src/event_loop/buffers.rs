//! The buffers that all clients of an event loop share in turn, so that an idle one holds none.

use framewright::Connection;
use framewright::deflate::DeflateMemory;
use framewright_driver::Lent;
use std::fmt;
use std::sync::Arc;

/// The most bytes that one read of short frames asks for.
pub(super) const READ_SIZE: usize = 128 << 10;

/// The buffers, and the compressors and decompressors, that the clients of one event loop share.
/// Create one for each loop.
pub struct Buffers {
    pub(super) lent: Lent,
    memory: Arc<DeflateMemory>,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buffers") // what they hold was somebody's
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers::new()
    }
}

impl Buffers {
    /// Allocates a receive buffer of 136 KiB; the rest is allocated when it is first needed.
    pub fn new() -> Buffers {
        let memory = DeflateMemory::new(usize::MAX);
        // Nothing reports when the application's loop is idle, so nothing is kept that would be
        // freed then.
        Buffers { lent: Lent::untrimmed(READ_SIZE, Arc::clone(&memory)), memory }
    }

    /// Bytes that compression holds for these clients.
    ///
    /// They include the compressors and decompressors and, for each connection that negotiated
    /// context takeover, the most that it can need, up to 64 KiB. The only limit is the number of
    /// connections. Whether a server takes context over shows in its response, and a request need
    /// not offer it ([`Options::compression`](crate::Options::compression)).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compression_held(&self) -> usize {
        self.memory.stats().held
    }

    /// Counts the memory that context takeover may need on a new connection.
    pub(super) fn count_takeover(&self, connection: &mut Connection) {
        #[cfg(feature = "deflate")]
        if let Some(params) = connection.deflate()
            && let Some(counted) =
                self.memory.reserve(params.takeover_size(connection.role(), &connection.config().deflate))
        {
            connection.driver().set_deflate_reservation(counted);
        }
        #[cfg(not(feature = "deflate"))]
        let _ = (&self.memory, connection);
    }
}
