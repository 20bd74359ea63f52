//! What all clients of an event loop are lent in turn, so that one at rest holds none of it.

use crate::link::KEEP_TX;
#[cfg(feature = "deflate")]
use framewright::deflate::{Codec, DeflateMemory};
use framewright::{Connection, RecvBuffer, TransmitBuffer};
use std::fmt;

/// The room of the receive buffer: a read asks for so many octets.
const RX: usize = 128 << 10;
/// The room in a new buffer for outgoing octets.
const NEW_TX: usize = 16 << 10;

/// The buffers, and the compressors and decompressors, that the clients of one event loop share. Make one for each loop.
pub struct Buffers {
    /// Read into and decoded from by one client at a time; empty in between.
    pub(super) rx: RecvBuffer,
    tx: Option<Box<TransmitBuffer>>,
    #[cfg(feature = "deflate")]
    codec: Option<Box<Codec>>,
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
    /// A receive buffer of 128 KiB; the rest is made when it is first needed.
    pub fn new() -> Buffers {
        Buffers {
            rx: RecvBuffer::with_capacity(RX),
            tx: None,
            #[cfg(feature = "deflate")]
            codec: None,
        }
    }

    /// For the turn of a client.
    pub(super) fn lend(&mut self, connection: &mut Connection) {
        self.rx.clear();
        let tx = self.tx.take().unwrap_or_else(|| Box::new(TransmitBuffer::with_capacity(NEW_TX)));
        self.tx = connection.lend_transmit_buffer(tx);
        #[cfg(feature = "deflate")]
        if connection.compresses() {
            let codec =
                self.codec.take().unwrap_or_else(|| Box::new(Codec::new(DeflateMemory::new(usize::MAX))));
            self.codec = connection.lend_codec(codec);
        }
    }

    /// For a client whose last turn has panicked: in which state what it was lent is, nobody knows.
    pub(super) fn discard(connection: &mut Connection) {
        drop(connection.reclaim_transmit_buffer());
        #[cfg(feature = "deflate")]
        drop(connection.reclaim_codec());
    }

    /// After its turn.
    pub(super) fn reclaim(&mut self, connection: &mut Connection) {
        if self.rx.capacity() > 2 * RX {
            self.rx = RecvBuffer::with_capacity(RX);
        }
        if let Some(tx) = connection.reclaim_transmit_buffer().filter(|tx| tx.capacity() <= KEEP_TX) {
            self.tx = Some(tx);
        }
        #[cfg(feature = "deflate")]
        if let Some(codec) = connection.reclaim_codec() {
            self.codec = Some(codec);
        }
    }
}
