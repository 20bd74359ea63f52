//! The ways to compress that the chores try: the option `--compress` of the echo program and of others here.

use std::fmt;

use clap::ValueEnum;

/// How messages and replies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Compress {
    /// Not at all.
    Off,
    /// Each message by itself.
    Shared,
    /// With context takeover, where the other side agrees.
    Takeover,
}

impl Compress {
    /// All of them.
    pub(crate) const ALL: [Compress; 3] = [Compress::Off, Compress::Shared, Compress::Takeover];
    /// The two in which something is compressed.
    pub(crate) const MODES: [Compress; 2] = [Compress::Shared, Compress::Takeover];
}

impl fmt::Display for Compress {
    /// As the command lines have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compress::Off => "off",
            Compress::Shared => "shared",
            Compress::Takeover => "takeover",
        })
    }
}
