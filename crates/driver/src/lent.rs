//! The memory that an event loop lends to its connections in turn, so that an idle connection holds
//! none of it.

use crate::parking::{self, SHORT_TAIL};
use crate::pool::{KEEP_FOR, Pool};
use framewright::deflate::{Codec, DeflateMemory};
use framewright::{CompressionStats, Connection, RecvBuffer, TransmitBuffer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The buffers, compressors and decompressors of one event loop.
///
/// One connection at a time has the receive buffer, the transmit buffer and the codec, for one
/// turn. Larger buffers, for large messages, are pooled, and freed once they have been unused for
/// [`KEEP_FOR`].
pub struct Lent {
    /// The receive buffer of the connection whose turn it is; empty between turns.
    pub(crate) rx: RecvBuffer,
    rx_room: usize,
    /// Buffers for large incomplete messages.
    pub(crate) large: Pool<RecvBuffer>,
    /// Buffers for parked bytes up to [`SHORT_TAIL`].
    pub(crate) tails: Pool<RecvBuffer>,
    /// The transmit buffer of the connection whose turn it is. A connection keeps it as long as
    /// bytes are queued in it.
    tx: Option<Box<TransmitBuffer>>,
    /// The time since which `tx` or `rx` has been larger than a new one.
    grown: Option<Instant>,
    /// Transmit buffers that such connections have returned.
    tx_pool: Pool<TransmitBuffer>,
    /// `None` until a connection needs it, and after it has been unused for [`KEEP_FOR`].
    codec: Option<Box<Codec>>,
    codec_used: Option<Instant>,
    /// When the unused parts of the codec were last freed.
    codec_trimmed: Option<Instant>,
    memory: Arc<DeflateMemory>,
    /// Statistics of compression since the last call of
    /// [`take_compression`](Lent::take_compression).
    compression: CompressionStats,
    /// Bytes that the current turn has read.
    pub(crate) read: usize,
    /// Payload bytes of the message in progress before this turn's read, and the number of messages
    /// received until then; `None` if nothing was parked.
    pub(crate) stood: Option<(u64, u64)>,
    /// Bytes that the current turn may still write.
    pub(crate) share: usize,
    /// Bytes of messages that the current turn has inflated and compressed, as [`Codec::work`]
    /// counts them.
    pub(crate) work: usize,
    long_turns: bool,
    /// Whether the buffers are lent to a turn. If this is set before a turn, the last turn
    /// panicked.
    out: bool,
}

/// The most bytes of unused buffers for short tails that are kept.
const KEEP_TAILS: usize = 64 << 10;

/// The room in bytes of a new transmit buffer.
const NEW_TX: usize = 16 << 10;

/// The size in bytes beyond which a transmit buffer is lent only to a connection that may need it,
/// and not kept for ever.
pub const KEPT_TRANSMIT_BUFFER: usize = 256 << 10;

impl Lent {
    /// Makes the buffers of an event loop that calls [`trim`](Lent::trim).
    ///
    /// - `read_size`: the most bytes that a read of short frames asks for.
    /// - `max_message`: the largest message in bytes that a connection holds as a whole. It
    ///   determines how much is pooled.
    /// - `memory`: the budget for compression.
    #[must_use]
    pub fn new(read_size: usize, max_message: u64, memory: Arc<DeflateMemory>) -> Self {
        Lent::with_pools(read_size, Pool::for_messages(max_message), Pool::for_messages(max_message), memory)
    }

    /// Makes the buffers of an event loop that never calls [`trim`](Lent::trim). Buffers that a
    /// large message needed are not kept.
    #[must_use]
    pub fn untrimmed(read_size: usize, memory: Arc<DeflateMemory>) -> Self {
        Lent::with_pools(read_size, Pool::with_keep(0), Pool::with_keep(0), memory)
    }

    fn with_pools(
        read_size: usize,
        large: Pool<RecvBuffer>,
        tx_pool: Pool<TransmitBuffer>,
        memory: Arc<DeflateMemory>,
    ) -> Self {
        let rx_room = read_size + 2 * SHORT_TAIL;
        Lent {
            rx: RecvBuffer::with_capacity(rx_room),
            rx_room,
            large,
            tails: Pool::with_keep(KEEP_TAILS),
            tx: None,
            grown: None,
            tx_pool,
            codec: None,
            codec_used: None,
            codec_trimmed: None,
            memory,
            compression: CompressionStats::default(),
            read: 0,
            stood: None,
            share: 0,
            work: 0,
            long_turns: true,
            out: false,
        }
    }

    /// The most bytes that a read of short frames asks for.
    pub(crate) fn read_size(&self) -> usize {
        self.rx_room - 2 * SHORT_TAIL
    }

    /// A buffer for bytes that are read only to be dropped.
    pub fn scratch(&mut self) -> &mut [u8] {
        self.rx.clear();
        self.rx.spare(SHORT_TAIL)
    }

    /// Lends a connection what it needs to send and to inflate. `parked` is its receive buffer, if
    /// it has one.
    ///
    /// [`Turn::run`](crate::Turn::run) calls this itself. Call it in a driver whose application
    /// sends between two turns.
    #[inline]
    pub fn lend(&mut self, connection: &mut Connection, parked: Option<&RecvBuffer>, now: Instant) {
        // The answer to a large message may be as large.
        self.lend_for(connection, parked.map_or(0, parking::nearly_complete), now);
    }

    /// Lends a connection what it needs to send a message of `message` bytes, as
    /// [`lend`](Lent::lend) does.
    #[inline]
    pub fn lend_for(&mut self, connection: &mut Connection, message: usize, now: Instant) {
        if std::mem::replace(&mut self.out, true) {
            self.renew();
        }
        let tx = self.take_transmit_buffer(message);
        if let Some(back) = connection.driver().lend_transmit_buffer(tx) {
            // The connection has a transmit buffer with queued bytes.
            self.put_transmit_buffer(back, now);
        }
        if connection.driver_view().compresses() {
            let mut codec =
                self.codec.take().unwrap_or_else(|| Box::new(Codec::new(Arc::clone(&self.memory))));
            codec.allow_long_turns(self.long_turns);
            self.codec = connection.driver().lend_codec(codec);
        }
    }

    /// Returns a receive buffer for a connection that keeps it while its application holds an event:
    /// `parked`, or what was parked in it, with room for `read_size` bytes.
    ///
    /// For a driver that hands over one event at a time. [`rest`](Lent::rest) takes it back.
    #[must_use]
    pub fn receive_buffer(
        &mut self,
        parked: Option<Box<RecvBuffer>>,
        read_size: usize,
        now: Instant,
    ) -> Box<RecvBuffer> {
        let mut short = match parked {
            Some(parked) if parked.len() > SHORT_TAIL || parked.capacity() >= read_size => return parked,
            parked => parked,
        };
        let fresh = self.large.take(read_size..=read_size.saturating_mul(4));
        let mut rx = fresh.unwrap_or_else(|| Box::new(RecvBuffer::with_capacity(read_size)));
        if let Some(mut short) = short.take() {
            rx.absorb(&mut short);
            self.tails.put_cleared(now, short);
        }
        rx
    }

    /// Takes a [receive buffer](Lent::receive_buffer) back from a connection that waits for bytes, and
    /// returns what has to be kept of it: `None` if it is empty, otherwise the received part of a
    /// frame or message, in a buffer of about its size.
    #[must_use]
    pub fn rest(&mut self, mut rx: Box<RecvBuffer>, now: Instant) -> Option<Box<RecvBuffer>> {
        rx.shrink();
        // The room was made before anything was received: the announced length is no reason to keep
        // it, as it is for a buffer that has grown with the bytes received.
        if rx.len() > SHORT_TAIL && rx.capacity() / 4 <= rx.len() {
            return Some(rx);
        }
        let parked = parking::park(&mut rx, &mut self.large, &mut self.tails);
        self.large.put_cleared(now, rx);
        parked
    }

    /// Sets whether the next turns may inflate up to the maximum of a turn. The default is `true`.
    ///
    /// Set it to `false` in an event loop for the connections that run before those with much work:
    /// many of them may turn out to have much work at once.
    pub fn allow_long_turns(&mut self, allow: bool) {
        self.long_turns = allow;
    }

    /// Whether the last turn has read anything.
    #[must_use]
    pub fn has_read(&self) -> bool {
        self.read > 0
    }

    /// Takes back what [`lend`](Lent::lend) has lent, except a transmit buffer with queued bytes.
    #[inline]
    pub fn reclaim(&mut self, connection: &mut Connection, now: Instant) {
        self.out = false;
        if let Some(mut codec) = connection.driver().reclaim_codec() {
            self.work = codec.work();
            self.compression.add(&codec.take_stats());
            self.codec = Some(codec);
            self.codec_used = Some(now);
        }
        if let Some(tx) = connection.driver().reclaim_transmit_buffer() {
            self.put_transmit_buffer(tx, now);
        }
        if self.rx.capacity() > 2 * self.rx_room {
            self.rx = RecvBuffer::with_capacity(self.rx_room);
        }
    }

    /// Drops what `connection` was lent, after a turn of it that panicked.
    pub(crate) fn discard(&mut self, connection: &mut Connection) {
        if let Some(mut codec) = connection.driver().reclaim_codec() {
            self.compression.add(&codec.take_stats());
        }
        drop(connection.driver().reclaim_transmit_buffer());
        self.out = false;
        self.renew();
    }

    /// Replaces the receive buffer by a new one. A panic may have left part of a stream in it.
    #[cold]
    fn renew(&mut self) {
        self.rx = RecvBuffer::with_capacity(self.rx_room);
    }

    /// Returns a transmit buffer: a large one, if one is pooled and the answer to a message of
    /// `message` bytes may need it.
    #[inline]
    fn take_transmit_buffer(&mut self, message: usize) -> Box<TransmitBuffer> {
        let large = if message > KEPT_TRANSMIT_BUFFER {
            self.tx_pool.take(message / 2..=message.saturating_mul(2))
        } else {
            None
        };
        large
            .or_else(|| self.tx.take())
            .or_else(|| self.tx_pool.take(NEW_TX..=KEPT_TRANSMIT_BUFFER))
            .unwrap_or_else(|| Box::new(TransmitBuffer::with_capacity(NEW_TX)))
    }

    #[inline]
    fn put_transmit_buffer(&mut self, tx: Box<TransmitBuffer>, now: Instant) {
        if self.tx.is_none() && tx.capacity() <= KEPT_TRANSMIT_BUFFER {
            self.tx = Some(tx);
        } else {
            self.tx_pool.put(now, tx);
        }
    }

    /// Returns and resets the statistics of compression, for connections whose codec has been
    /// [reclaimed](Lent::reclaim) since the last call.
    pub fn take_compression(&mut self) -> CompressionStats {
        std::mem::take(&mut self.compression)
    }

    /// Frees what has been unused for [`KEEP_FOR`]. Returns the time until there is something to
    /// free; `None` if nothing is kept that could be freed.
    pub fn trim(&mut self, now: Instant) -> Option<Duration> {
        let pools = [self.large.trim(now), self.tails.trim(now), self.tx_pool.trim(now)];
        let waits = pools.into_iter().chain([self.trim_grown(now), self.trim_codec(now)]);
        waits.flatten().min()
    }

    /// Replaces grown buffers by new ones, even if they have been used recently: growing again from
    /// time to time costs next to nothing.
    fn trim_grown(&mut self, now: Instant) -> Option<Duration> {
        let tx_grown = self.tx.as_ref().is_some_and(|tx| tx.capacity() > NEW_TX);
        let rx_grown = self.rx.capacity() > self.rx_room;
        if !tx_grown && !rx_grown {
            self.grown = None;
            return None;
        }
        let grown = now.saturating_duration_since(*self.grown.get_or_insert(now));
        if grown < KEEP_FOR {
            return Some(KEEP_FOR - grown);
        }
        self.grown = None;
        if tx_grown {
            self.tx = None;
        }
        if rx_grown {
            self.renew();
        }
        None
    }

    /// Frees the codec if it has been unused for [`KEEP_FOR`]. Otherwise frees, at that interval,
    /// the parts that have not been needed.
    fn trim_codec(&mut self, now: Instant) -> Option<Duration> {
        let since = |then: Instant| now.saturating_duration_since(then);
        let idle = since(self.codec_used?);
        if idle >= KEEP_FOR {
            (self.codec, self.codec_used, self.codec_trimmed) = (None, None, None);
            return None;
        }
        let mut kept = since(*self.codec_trimmed.get_or_insert(now));
        if kept >= KEEP_FOR {
            if let Some(codec) = &mut self.codec {
                codec.trim();
            }
            (self.codec_trimmed, kept) = (Some(now), Duration::ZERO);
        }
        Some(KEEP_FOR - idle.max(kept))
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lent") // the buffers held a peer's bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_have_grown_are_made_anew_after_a_while() {
        let now = Instant::now();
        let mut lent = Lent::new(64 << 10, 1 << 20, DeflateMemory::new(0));
        assert_eq!(lent.trim(now), None);
        lent.put_transmit_buffer(Box::new(TransmitBuffer::with_capacity(NEW_TX)), now);
        assert_eq!(lent.trim(now), None, "as large as a new one");
        lent.tx = None;
        lent.put_transmit_buffer(Box::new(TransmitBuffer::with_capacity(KEPT_TRANSMIT_BUFFER)), now);
        lent.rx = RecvBuffer::with_capacity(2 * lent.rx_room);
        assert_eq!(lent.trim(now), Some(KEEP_FOR));
        // In use all the time.
        let later = now + KEEP_FOR / 2;
        let tx = lent.take_transmit_buffer(0);
        assert_eq!(tx.capacity(), KEPT_TRANSMIT_BUFFER);
        lent.put_transmit_buffer(tx, later);
        assert_eq!(lent.trim(later), Some(KEEP_FOR / 2));
        assert_eq!(lent.trim(now + KEEP_FOR), None);
        assert!(lent.tx.is_none());
        assert_eq!(lent.rx.capacity(), lent.rx_room);
        assert_eq!(lent.take_transmit_buffer(0).capacity(), NEW_TX);
    }
}
