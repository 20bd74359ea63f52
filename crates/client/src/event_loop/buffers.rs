//! What all clients of an event loop are lent in turn, so that one at rest holds none of it.

use framewright::deflate::DeflateMemory;
use framewright_driver::Lent;
use std::fmt;

/// The most bytes that a read of short frames asks for.
pub(super) const READ_SIZE: usize = 128 << 10;

/// The buffers, and the compressors and decompressors, that the clients of one event loop share. Make one for each loop.
pub struct Buffers {
    pub(super) lent: Lent,
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
        // Nothing tells when the application's loop is idle, so nothing is kept that would be freed then.
        Buffers { lent: Lent::untrimmed(READ_SIZE, DeflateMemory::new(usize::MAX)) }
    }
}
