//! What the connections of one event loop share for compression: lent to one after another, for the
//! length of a turn.

use super::compressors::Compressors;
use super::history::{History, Stamp};
use super::inflater::Inflater;
use super::memory::DeflateMemory;
use super::{Decompressor, Level, Progress, WindowBits};
use crate::connection::CompressionStats;
use std::fmt;
use std::sync::{Arc, Weak};

/// The work that one connection may do while a codec is lent to it, before it has to give the
/// others their turn: about two milliseconds of it, counted in octets of messages, each of which
/// takes about a nanosecond to write. An octet of payload takes longer: the codes of a block are
/// made of few. To begin a message, or to go on behind a final block, costs something, and so does
/// the history that it is begun with.
const INFLATE: usize = 2 << 20;
/// The same in a short turn.
const INFLATE_SHORT: usize = 32 << 10;
const INFLATE_READ: usize = 16;
const INFLATE_BEGIN: usize = 256;
const INFLATE_HISTORY: usize = 16;

/// The same for compressing, where an octet takes twice as long; what is sent beyond goes as it is.
/// To clear the table of hashes takes as long as to compress one KiB.
const COMPRESS: usize = 2 << 20;
const COMPRESS_BEGIN: usize = 1 << 10;
const COMPRESS_HISTORY: usize = 2;

/// How many reserved decompressors wait here at most.
const SPARE: usize = 4;

/// The compressors and decompressors that the connections of one event loop share.
///
/// A driver lends it to a connection for a turn, with
/// [`DriverAccess::lend_codec`](crate::connection::DriverAccess::lend_codec), and takes it back
/// with [`reclaim_codec`](crate::connection::DriverAccess::reclaim_codec). No message refers to one
/// of another connection: each begins with no window, or with that of its own.
pub struct Codec {
    memory: Arc<DeflateMemory>,
    /// Decompressors that were reserved and wait for their next use.
    #[allow(clippy::vec_box, reason = "each is handed on in its box")]
    spare: Vec<Box<Inflater>>,
    /// The one that there is whatever was reserved, made when it is first needed.
    home: Option<Box<Inflater>>,
    /// Lives as long as that one.
    home_is_out: Weak<()>,
    /// Lives as long as a message is inflated that is held beyond what others may be.
    runs: Weak<()>,
    compressors: Compressors,
    /// Octets that may be inflated in a turn.
    inflate: usize,
    /// Octets that may still be inflated in this turn.
    to_inflate: usize,
    /// The same for compressing.
    to_compress: usize,
    /// One that a connection has made for itself: there is nobody else to think of.
    own: bool,
    /// What was compressed and inflated since somebody has asked.
    stats: CompressionStats,
}

/// How urgently a message needs a decompressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// All of it has arrived.
    Arrived,
    /// The rest has yet to arrive, for as long as the peer likes: what has come can be held until
    /// then.
    Waits,
    /// The same, and no more of it can be held.
    Urgent,
}

impl Codec {
    /// One that has allocated nothing yet. What it will hold is counted in `memory`.
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

    /// For a connection that was lent none: its own, with nobody else to think of.
    pub(crate) fn own() -> Box<Codec> {
        let mut codec = Codec::new(DeflateMemory::new(usize::MAX));
        codec.own = true;
        Box::new(codec)
    }

    /// Whether a connection has made it for itself.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// Whether the turns to come may take as long as a turn ever may, about two milliseconds for
    /// what is inflated; so from the start. Otherwise they take a sixtieth of that: for connections
    /// that nobody knows to need more, of which there may be many.
    pub fn allow_long_turns(&mut self, allow: bool) {
        self.inflate = if allow { INFLATE } else { INFLATE_SHORT };
    }

    /// The work that the last connection has done with it, counted in octets of messages.
    #[must_use]
    pub fn work(&self) -> usize {
        (self.inflate.saturating_sub(self.to_inflate)) + (COMPRESS - self.to_compress)
    }

    /// Frees what nothing has used since the last call: compressors that followed connections which
    /// are silent or gone, and decompressors that wait for their next use. For a driver that calls
    /// this now and then, and drops a codec that nothing uses.
    pub fn trim(&mut self) {
        self.compressors.trim();
        self.spare = Vec::new();
        self.memory.forget_gone();
    }

    /// What connections that were lent it have compressed and inflated since the last call.
    pub fn take_stats(&mut self) -> CompressionStats {
        std::mem::take(&mut self.stats)
    }

    /// What it holds is counted in.
    pub(super) fn memory(&self) -> &Arc<DeflateMemory> {
        &self.memory
    }

    /// Begins the turn of a connection.
    pub(crate) fn begin_turn(&mut self) {
        (self.to_inflate, self.to_compress) = (self.inflate, COMPRESS);
    }

    /// Octets that may still be inflated in this turn.
    pub(crate) fn to_inflate(&self) -> usize {
        if self.own { usize::MAX } else { self.to_inflate }
    }

    /// Notes what was done.
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

    /// A decompressor for a message. One of which some has yet to arrive gets one only if there is
    /// memory for it, and may lose it to one that needs it urgently. Messages that have arrived
    /// share the one of this codec besides; while that is out they wait for each other.
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
        // If the connection that had it is gone, it is gone too.
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

    /// Whether this decompressor may stay with a message that goes on when its peer has read: one
    /// that was reserved may, and the one of this codec if there is memory to make it one that is.
    pub(crate) fn lets_go(&self, inflater: &mut Inflater) -> bool {
        inflater.runs = None;
        inflater.note_arrived(false);
        inflater.leave_home(&self.memory)
    }

    /// Whether this message may be inflated to more than others: one at a time may, until it is
    /// complete.
    pub(crate) fn lets_run(&mut self, inflater: &mut Inflater) -> bool {
        if inflater.runs.is_none() && self.runs.strong_count() == 0 {
            let runs = Arc::new(());
            self.runs = Arc::downgrade(&runs);
            inflater.runs = Some(runs);
        }
        inflater.runs.is_some()
    }

    /// Compresses a message, or a fragment of one, so that it refers to nothing before it but these
    /// octets, and nowhere to what is further back than this window. The octets of the message are
    /// added to the history by the caller, if it is sent so.
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

    /// Notes that a message, or a fragment of one, was queued compressed: the `last` one ends it.
    pub(crate) fn note_sent(&mut self, octets: usize, payload: usize, last: bool) {
        self.stats.add(&CompressionStats {
            messages_sent: last.into(),
            bytes_sent: octets as u64,
            compressed_bytes_sent: payload as u64,
            ..CompressionStats::default()
        });
    }

    /// The state that the last call of [`compress`](Codec::compress) has left: for the history that
    /// has got what was compressed.
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
