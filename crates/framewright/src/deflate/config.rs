//! What an application can set for the compression of its connections, besides what is agreed on in
//! the opening handshake.

use std::num::NonZeroU32;

/// When and how a connection compresses, and what it inflates, where permessage-deflate was agreed
/// on. Without the feature `deflate` it never is, and nothing looks at this.
///
/// A release may add fields: end a literal with `..DeflateConfig::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct DeflateConfig {
    /// How hard to search for repetitions. Default: the fastest level.
    pub level: Level,
    /// Messages of fewer octets are sent as they are. Default 128: below, what is saved is less
    /// than the headers that TCP and IP put around it, and costs as much as for a long message.
    pub threshold: usize,
    /// Messages of more octets are sent as they are. Default 1 MiB: compressing is done at once,
    /// and takes two milliseconds for 1 MiB, for which no other connection of the event loop has
    /// its turn. In fragments longer messages are compressed too.
    pub largest: usize,
    /// With context takeover, how many octets of what was sent a message may refer to, at most
    /// 32768 and at most the agreed window. Default 1024. A connection holds so many, and each
    /// message that comes after one of another connection costs a microsecond for each 1024 of
    /// them, unless the connection is among the busy ones that a compressor follows: JSON of 1 KiB
    /// comes to 0.46 of its length with none, 0.31 with 1024, 0.29 with 2048, 0.27 with 4096, 0.25
    /// with 32768.
    pub history: usize,
    /// The most octets of message for each octet of compressed payload, beyond the first 64 KiB of
    /// a message. Default `None`: [`Config::max_message`](crate::Config::max_message) bounds what a
    /// message can cost. DEFLATE reaches 1032. It is looked at after every 4 KiB of payload, and at
    /// the end. More fails the connection with 1009.
    pub max_ratio: Option<NonZeroU32>,
}

/// Up to here the ratio does not count.
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
    /// Whether a message that inflates to at least so many octets, from so many, is within the
    /// limit; else the limit.
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
/// What a level costs and gains is in `docs/BENCHMARKS.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// 1: a 1 KiB message of JSON takes a quarter of the time of level 2, and comes out a quarter
    /// longer.
    pub const FASTEST: Level = Level(1);
    /// 9: the smallest messages, at many times the cost of the fastest level.
    pub const SMALLEST: Level = Level(9);

    /// This level, `None` if it is not from 1 to 9.
    #[must_use]
    pub const fn new(level: u8) -> Option<Level> {
        if level >= 1 && level <= 9 { Some(Level(level)) } else { None }
    }

    /// The number.
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
