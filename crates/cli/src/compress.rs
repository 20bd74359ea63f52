//! What the program is told about compression: the options, and the settings that they come to.

use framewright::deflate::{DeflateConfig, DeflatePolicy, Level};
use framewright_cli::Compress;
use std::fmt;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Compress messages with permessage-deflate where the client offers it.
    #[arg(long, value_name = "MODE", default_value_t = Compress::Shared)]
    compress: Compress,
    /// How hard to compress, from 1, the fastest, to 9, the smallest.
    #[arg(long, value_name = "LEVEL", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=9))]
    compress_level: u8,
    /// Send messages of fewer bytes as they are.
    #[arg(long, value_name = "BYTES", default_value_t = DeflateConfig::default().threshold)]
    compress_threshold: usize,
    /// The most memory for compression; where a connection's takeover does not fit, it is accepted
    /// without.
    #[arg(long, value_name = "BYTES", default_value = "67108864")]
    compress_memory: usize,
}

impl Args {
    /// What is agreed on with a client.
    pub(crate) fn policy(&self) -> Option<DeflatePolicy> {
        match self.compress {
            Compress::Off => None,
            Compress::Shared => Some(DeflatePolicy::default()),
            Compress::Takeover => Some(DeflatePolicy::default().with_takeover()),
        }
    }

    /// What is compressed, and how.
    pub(crate) fn config(&self) -> DeflateConfig {
        DeflateConfig {
            level: Level::new(self.compress_level).expect("the parser has checked it"),
            threshold: self.compress_threshold,
            ..DeflateConfig::default()
        }
    }

    /// The most octets for it.
    pub(crate) fn memory(&self) -> usize {
        self.compress_memory
    }
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Args { compress, compress_level, compress_threshold, compress_memory } = self;
        if *compress == Compress::Off {
            return f.write_str("compression off");
        }
        write!(f, "compression {compress}, level {compress_level}, from {compress_threshold} bytes")?;
        write!(f, ", memory {compress_memory} bytes")
    }
}
