//! What all clients of an event loop are lent in turn, so that one at rest holds none of it.

use framewright::Connection;
use framewright::deflate::DeflateMemory;
use framewright_driver::Lent;
use std::fmt;
use std::sync::Arc;

/// The most bytes that a read of short frames asks for.
pub(super) const READ_SIZE: usize = 128 << 10;

/// The buffers, and the compressors and decompressors, that the clients of one event loop share.
/// Make one for each loop.
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
    /// A receive buffer of 136 KiB; the rest is made when it is first needed.
    pub fn new() -> Buffers {
        let memory = DeflateMemory::new(usize::MAX);
        // Nothing tells when the application's loop is idle, so nothing is kept that would be freed
        // then.
        Buffers { lent: Lent::untrimmed(READ_SIZE, Arc::clone(&memory)), memory }
    }

    /// Octets that compression holds for these clients: its compressors and decompressors, and for
    /// each connection on which context takeover was agreed on as much as that can come to, up to
    /// 64 KiB. It has no limit but the number of connections: which servers take context over shows
    /// in their answers, and a request need not offer it
    /// ([`Options::compression`](crate::Options::compression)).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compression_held(&self) -> usize {
        self.memory.stats().held
    }

    /// Counts what context takeover may cost on a connection that is new.
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
