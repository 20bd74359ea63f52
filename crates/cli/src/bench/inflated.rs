//! Compressed replies: that they are, and that they say what was sent.

use super::compress::Compress;
use anyhow::{Context, bail, ensure};
use framewright::deflate::{Decompressor, InflateError};
use framewright::frame::Header;

/// The compressed replies of one connection, which are inflated and compared with what was sent.
#[derive(Debug)]
pub(super) struct Inflated {
    decompressor: Decompressor,
    /// Whether replies may refer to those before them.
    takeover: bool,
    /// What has come of the payload of a reply.
    payload: Vec<u8>,
    message: Vec<u8>,
}

impl Inflated {
    pub(super) fn new(compress: Compress) -> Inflated {
        Inflated {
            decompressor: Decompressor::new(),
            takeover: compress == Compress::Takeover,
            payload: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Takes a piece of a reply's payload.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.payload.extend_from_slice(piece);
    }

    /// The reply whose payload is complete, where so many octets were sent.
    pub(super) fn end(&mut self, sent: usize) -> anyhow::Result<&[u8]> {
        self.message.clear();
        let inflated = self.decompressor.decompress(&self.payload, sent, &mut self.message);
        self.payload.clear();
        if !self.takeover {
            self.decompressor.reset();
        }
        match inflated {
            Ok(()) if self.message.len() < sent => {
                bail!("wrong reply: a message of {} bytes, where {sent} were sent", self.message.len())
            }
            Ok(()) => Ok(&self.message),
            Err(InflateError::TooLong { limit }) => {
                bail!("wrong reply: it inflates to more than the {limit} bytes that were sent")
            }
            Err(error) => Err(error).context("wrong reply: it does not inflate"),
        }
    }
}

/// Whether the header of a data frame, the first of a reply or not, is one of a compressed message.
pub(super) fn check_compressed(header: Header, first: bool) -> anyhow::Result<()> {
    let octets = header.payload_len;
    ensure!(
        !first || header.rsv == RSV1,
        "the server did not compress: a reply of {octets} bytes came as it is"
    );
    ensure!(first || header.rsv == 0, "the server broke the protocol: RSV1 on a continuation");
    Ok(())
}

/// The bit that says that a message is compressed (RFC 7692, section 6), as in [`Header::rsv`].
pub(super) const RSV1: u8 = 0b100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_compressed_reply_is_told_in_words() {
        let mut inflated = Inflated::new(Compress::Shared);
        for (payload, sent, part) in [
            (&[0xff, 0xff][..], 5, "does not inflate"),
            (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 4, "than the 4"),
        ] {
            inflated.push(payload);
            let error = format!("{:#}", inflated.end(sent).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
