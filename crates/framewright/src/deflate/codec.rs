//! The compressors and decompressors that the connections of one event loop share, lent to one
//! connection after another for the length of a turn.

use super::compressors::Compressors;
use super::history::{History, Stamp};
use super::inflater::Inflater;
use super::memory::DeflateMemory;
use super::{Decompressor, Level, Progress, WindowBits};
use crate::connection::CompressionStats;
use std::fmt;
use std::sync::{Arc, Weak};

/// The inflating that one connection may do while a codec is lent to it, before the other
/// connections have their turn: about two milliseconds. It is counted in bytes of messages, each of
/// which takes about a nanosecond to write.
///
/// | work | counts as |
/// |---|---|
/// | a byte of message | 1 |
/// | a byte of payload: the codes of a block are made of few bytes | `INFLATE_READ` |
/// | beginning a message, or going on behind a final block | `INFLATE_BEGIN` |
/// | the history that it begins with | 1 for each `INFLATE_HISTORY` bytes |
const INFLATE: usize = 2 << 20;
/// The inflating that one connection may do in a short turn.
const INFLATE_SHORT: usize = 32 << 10;
const INFLATE_READ: usize = 16;
const INFLATE_BEGIN: usize = 256;
const INFLATE_HISTORY: usize = 16;

/// The compressing that one connection may do while a codec is lent to it, in bytes of messages,
/// each of which takes twice as long as in inflating. Messages beyond that are sent uncompressed.
///
/// Clearing the table of hashes takes as long as compressing 1 KiB: `COMPRESS_BEGIN`.
const COMPRESS: usize = 2 << 20;
const COMPRESS_BEGIN: usize = 1 << 10;
const COMPRESS_HISTORY: usize = 2;

/// The most reserved decompressors that a codec keeps for their next use.
const SPARE: usize = 4;

/// The compressors and decompressors that the connections of one event loop share.
///
/// A driver lends it to a connection for a turn, with
/// [`DriverAccess::lend_codec`](crate::connection::DriverAccess::lend_codec), and takes it back
/// with [`reclaim_codec`](crate::connection::DriverAccess::reclaim_codec). No message refers to a
/// message of another connection: each begins with no window, or with its own connection's.
pub struct Codec {
    memory: Arc<DeflateMemory>,
    /// Reserved decompressors, kept for their next use.
    #[allow(clippy::vec_box, reason = "each is handed on in its box")]
    spare: Vec<Box<Inflater>>,
    /// The decompressor that needs no reservation, made when it is first needed. `None` while a
    /// message has it.
    home: Option<Box<Inflater>>,
    /// Alive as long as that decompressor.
    home_is_out: Weak<()>,
    /// Alive while a message is being inflated beyond the size that other messages may have.
    runs: Weak<()>,
    compressors: Compressors,
    /// The inflating allowed in a turn, in bytes of messages.
    inflate: usize,
    /// The inflating still allowed in this turn.
    to_inflate: usize,
    /// The compressing still allowed in this turn.
    to_compress: usize,
    /// A connection has made this codec for itself, so no other connection waits for its turn.
    own: bool,
    /// The messages compressed and inflated since the last [`take_stats`](Codec::take_stats).
    stats: CompressionStats,
}

/// How urgently a message needs a decompressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The whole message has arrived.
    Arrived,
    /// The rest has yet to arrive, for as long as the peer likes. The payload received so far can
    /// be held until then.
    Waits,
    /// The rest has yet to arrive, and no more payload can be held.
    Urgent,
}

impl Codec {
    /// Makes a codec that has allocated nothing yet. Its allocations are counted in `memory`.
    #[must_use]
    pub fn new(memory: Arc<DeflateMemory>) -> Codec {
        Codec {
            compressors: Compressors::new(Arc::clone(&memory)),
            memory,
            spare: Vec::new(),
            home: None,
            home_is_out: Weak::new(),
            runs: Weak::new(),
            inflate: INFLATE,
            to_inflate: INFLATE,
            to_compress: COMPRESS,
            own: false,
            stats: CompressionStats::default(),
        }
    }

    /// Makes a codec of its own for a connection without a lent one. It bounds no turn.
    pub(crate) fn own() -> Box<Codec> {
        let mut codec = Codec::new(DeflateMemory::new(usize::MAX));
        codec.own = true;
        Box::new(codec)
    }

    /// Whether a connection has made this codec for itself.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// Sets whether the next turns may have their full length, about two milliseconds of inflating.
    /// They may by default.
    ///
    /// Otherwise they take a sixtieth of that: for connections not known to need more, of which
    /// there may be many.
    pub fn allow_long_turns(&mut self, allow: bool) {
        self.inflate = if allow { INFLATE } else { INFLATE_SHORT };
    }

    /// The work that the last connection has done with the codec, counted in bytes of messages.
    #[must_use]
    pub fn work(&self) -> usize {
        (self.inflate.saturating_sub(self.to_inflate)) + (COMPRESS - self.to_compress)
    }

    /// Frees the compressors that were not used since the last call, and all spare decompressors.
    ///
    /// Such compressors followed connections that are silent or gone. A driver calls this now and
    /// then, and drops a codec that is not used at all.
    pub fn trim(&mut self) {
        self.compressors.trim();
        self.spare = Vec::new();
        self.memory.forget_gone();
    }

    /// Returns the messages that connections have compressed and inflated with this codec since the
    /// last call.
    pub fn take_stats(&mut self) -> CompressionStats {
        std::mem::take(&mut self.stats)
    }

    /// The memory limit in which the allocations of this codec are counted.
    pub(super) fn memory(&self) -> &Arc<DeflateMemory> {
        &self.memory
    }

    /// Begins the turn of a connection.
    pub(crate) fn begin_turn(&mut self) {
        (self.to_inflate, self.to_compress) = (self.inflate, COMPRESS);
    }

    /// The number of bytes that may still be inflated in this turn.
    pub(crate) fn to_inflate(&self) -> usize {
        if self.own { usize::MAX } else { self.to_inflate }
    }

    /// Notes the inflating of one call.
    pub(crate) fn inflated(&mut self, progress: &Progress) {
        let begun = progress.begun.times * INFLATE_BEGIN + progress.begun.history / INFLATE_HISTORY;
        self.to_inflate =
            self.to_inflate.saturating_sub(progress.written + progress.read * INFLATE_READ + begun);
        self.stats.add(&CompressionStats {
            messages_received: progress.done.into(),
            bytes_received: progress.written as u64,
            compressed_bytes_received: progress.read as u64,
            ..CompressionStats::default()
        });
    }

    /// Whether anything may still be compressed in this turn.
    pub(crate) fn may_compress(&self) -> bool {
        self.own || self.to_compress > 0
    }

    /// Takes a decompressor for a message; `None` if there is none.
    ///
    /// A message that has not arrived completely gets one only if there is memory for it, and may
    /// lose it to a message that needs it urgently. Messages that have arrived also share the
    /// codec's own decompressor; while one of them has it, the others wait.
    pub(crate) fn take_inflater(&mut self, need: Need) -> Option<Box<Inflater>> {
        while let Some(inflater) = self.spare.pop() {
            if inflater.is_there() {
                return Some(inflater);
            }
        }
        let arrived = need == Need::Arrived;
        if arrived && let Some(inflater) = self.home.take() {
            return Some(inflater);
        }
        if let Some(inflater) = Inflater::reserved(&self.memory, need == Need::Urgent) {
            return Some(inflater);
        }
        // If the connection that had the codec's own decompressor is gone, so is the decompressor.
        if !arrived || self.home_is_out.strong_count() > 0 {
            return None;
        }
        let home = Arc::new(());
        self.home_is_out = Arc::downgrade(&home);
        Some(Inflater::home(self.memory.count(Decompressor::MAX_SIZE), home))
    }

    /// Takes a decompressor back.
    pub(crate) fn put_inflater(&mut self, mut inflater: Box<Inflater>) {
        inflater.reset();
        if inflater.is_home() {
            self.home = Some(inflater);
        } else if self.spare.len() < SPARE && inflater.is_there() {
            self.spare.push(inflater);
        }
    }

    /// Whether `inflater` may stay with a message that goes on only once its peer has read. A
    /// reserved one may; the codec's own may if there is memory to turn it into a reserved one.
    pub(crate) fn lets_go(&self, inflater: &mut Inflater) -> bool {
        inflater.runs = None;
        inflater.note_arrived(false);
        inflater.leave_home(&self.memory)
    }

    /// Whether the message of `inflater` may be inflated to more bytes than others. One message at
    /// a time may, until it is complete.
    pub(crate) fn lets_run(&mut self, inflater: &mut Inflater) -> bool {
        if inflater.runs.is_none() && self.runs.strong_count() == 0 {
            let runs = Arc::new(());
            self.runs = Arc::downgrade(&runs);
            inflater.runs = Some(runs);
        }
        inflater.runs.is_some()
    }

    /// Compresses a message, or a fragment of one. It refers to nothing before it but `history`,
    /// and to nothing further back than `window`. If it is sent compressed, the caller adds its
    /// bytes to the history.
    pub(crate) fn compress(
        &mut self,
        data: &[u8],
        last: bool,
        level: Level,
        window: WindowBits,
        history: Option<&History>,
    ) -> &[u8] {
        let parts = if window == WindowBits::MAX { 1 } else { data.len().div_ceil(window.size() / 2).max(1) };
        let before = history.map_or(0, History::len);
        let work = data.len() + parts * COMPRESS_BEGIN + before / COMPRESS_HISTORY;
        self.to_compress = self.to_compress.saturating_sub(work);
        self.compressors.compress(data, last, level, window, history)
    }

    /// Notes that a message, or a fragment of one, was queued compressed. `last` ends the message.
    pub(crate) fn note_sent(&mut self, octets: usize, payload: usize, last: bool) {
        self.stats.add(&CompressionStats {
            messages_sent: last.into(),
            bytes_sent: octets as u64,
            compressed_bytes_sent: payload as u64,
            ..CompressionStats::default()
        });
    }

    /// The state of the compressor after the last call of [`compress`](Codec::compress), for the
    /// history to which the compressed bytes are added.
    pub(crate) fn stamp(&self) -> Stamp {
        self.compressors.stamp()
    }
}

impl Drop for Codec {
    fn drop(&mut self) {
        self.memory.forget_gone();
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("to_inflate", &self.to_inflate).finish_non_exhaustive()
    }
}
