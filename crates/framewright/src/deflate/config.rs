//! The settings of compression, besides the parameters that the opening handshake negotiates.

use std::num::NonZeroU32;

/// When and how a connection compresses, and what it inflates, if permessage-deflate was
/// negotiated. Without the feature `deflate` it never is, and these settings have no effect.
///
/// A release may add fields: end a literal with `..DeflateConfig::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct DeflateConfig {
    /// How hard to search for repetitions. Default: the fastest level.
    pub level: Level,
    /// Messages of fewer bytes than this are sent uncompressed. Default 128.
    ///
    /// Below that, compression saves less than the headers of TCP and IP take, and costs as much as
    /// for a long message.
    pub threshold: usize,
    /// Messages of more bytes than this are sent uncompressed. Default 1 MiB. Messages sent in
    /// fragments may be longer and are still compressed.
    ///
    /// A message is compressed at once. For 1 MiB that takes two milliseconds, during which no
    /// other connection of the event loop has its turn.
    pub largest: usize,
    /// With context takeover, how many of the last bytes sent a message may refer to. Default 1024;
    /// at most 32768, and at most the negotiated window.
    ///
    /// A connection holds `history` bytes. Each message sent after one of another connection costs
    /// a microsecond for each 1024 of them, unless a compressor follows the connection because it
    /// is busy.
    ///
    /// | `history` | size of 1 KiB of JSON, of its length |
    /// |---|---|
    /// | 0 | 0.46 |
    /// | 1024 | 0.31 |
    /// | 2048 | 0.29 |
    /// | 4096 | 0.27 |
    /// | 32768 | 0.25 |
    pub history: usize,
    /// The most bytes of message for each byte of compressed payload, beyond the first 64 KiB of a
    /// message. Default `None`: [`Config::max_message`](crate::Config::max_message) bounds the cost
    /// of a message.
    ///
    /// DEFLATE reaches 1032. The ratio is checked after every 4 KiB of payload, and at the end.
    /// More fails the connection with 1009.
    pub max_ratio: Option<NonZeroU32>,
}

/// The ratio is not checked for a message of up to `RATIO_FROM` bytes.
#[cfg(feature = "deflate")]
const RATIO_FROM: u64 = 64 << 10;

impl Default for DeflateConfig {
    fn default() -> DeflateConfig {
        DeflateConfig {
            level: Level::default(),
            threshold: 128,
            largest: 1 << 20,
            history: 1024,
            max_ratio: None,
        }
    }
}

#[cfg(feature = "deflate")]
impl DeflateConfig {
    /// Checks a message that inflates to at least `inflated` bytes, from `compressed` bytes,
    /// against `max_ratio`. The error is that limit.
    pub(crate) fn check_ratio(&self, inflated: u64, compressed: u64) -> Result<(), u32> {
        match self.max_ratio {
            Some(limit) if inflated > RATIO_FROM && inflated / u64::from(limit.get()) > compressed => {
                Err(limit.get())
            }
            _ => Ok(()),
        }
    }
}

/// How hard to search for repetitions: from 1, the fastest, to 9, the smallest.
///
/// `docs/BENCHMARKS.md` has the cost and the gain of each level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// Level 1: a 1 KiB message of JSON takes a quarter of the time of level 2, and its payload is
    /// a quarter longer.
    pub const FASTEST: Level = Level(1);
    /// Level 9: the smallest messages, at many times the cost of the fastest level.
    pub const SMALLEST: Level = Level(9);

    /// Makes a level; `None` if `level` is not from 1 to 9.
    #[must_use]
    pub const fn new(level: u8) -> Option<Level> {
        if level >= 1 && level <= 9 { Some(Level(level)) } else { None }
    }

    /// The number of the level, 1 to 9.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// [`Level::FASTEST`].
impl Default for Level {
    fn default() -> Level {
        Level::FASTEST
    }
}
