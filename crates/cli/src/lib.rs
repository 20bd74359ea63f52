//! What the `framewright` program has in common with those who start it: the ways to compress, as
//! its command lines name them.

#![forbid(unsafe_code)]

use std::fmt;

/// How messages are compressed: the values of `--compress`, of `framewright echo` and of
/// `framewright bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[allow(clippy::exhaustive_enums, reason = "for the tools of this repository, which name each")]
pub enum Compress {
    /// Not at all: permessage-deflate is not offered, or declined.
    Off,
    /// Each message by itself: nothing is kept between messages.
    Shared,
    /// With context takeover: messages refer to those before them, and each connection has state of
    /// its own.
    Takeover,
}

impl Compress {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Shared, Self::Takeover];
    /// The two in which something is compressed.
    pub const MODES: [Self; 2] = [Self::Shared, Self::Takeover];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shared => "shared",
            Self::Takeover => "takeover",
        }
    }
}

impl fmt::Display for Compress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_mode_is_written_as_the_command_line_reads_it() {
        assert_eq!(Compress::value_variants(), Compress::ALL);
        for mode in Compress::ALL {
            assert_eq!(Compress::from_str(&mode.to_string(), false), Ok(mode));
        }
    }
}
