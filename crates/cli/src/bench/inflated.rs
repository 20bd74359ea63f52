//! Compressed replies: that there are some, and that they say what was sent.

use super::volume::Volume;
use anyhow::{Context, bail, ensure};
use framewright::deflate::{Decompressor, InflateError};
use framewright_cli::Compress;

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

/// Whether a server that has agreed to compress has done so at all. Where it does not pay a server
/// may leave it.
pub(super) fn check(compress: Compress, volume: Volume) -> anyhow::Result<()> {
    let none = compress != Compress::Off && volume.replies > 0 && volume.compressed == 0;
    ensure!(!none, "the server agreed to compress, and compressed none of its {} replies", volume.replies);
    Ok(())
}

/// The bit that says that a message is compressed (RFC 7692, section 6), as in
/// [`Header::rsv`](framewright::frame::Header::rsv).
pub(super) const RSV1: u8 = 0b100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::payload::Kind;
    use crate::bench::replies::tests::heard;
    use crate::bench::script::{Recipe, Script};
    use framewright::deflate::{Compressor, Level, WindowBits};
    use framewright::frame::{OpCode, encode_frame};

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

    #[test]
    fn a_server_may_leave_some_replies_as_they_are_but_not_all() {
        let volume = |compressed| Volume { replies: 9, compressed, ..Volume::default() };
        assert!(check(Compress::Shared, volume(1)).is_ok() && check(Compress::Off, volume(0)).is_ok());
        assert!(check(Compress::Takeover, Volume::default()).is_ok(), "nothing came at all");
        assert!(check(Compress::Takeover, volume(0)).unwrap_err().to_string().contains("none of its 9"));
    }

    #[test]
    fn compressed_replies_and_others_are_told_apart_and_compared() {
        let mix = "1000".parse().unwrap();
        let script = Script::new(Recipe::simple(&mix, Kind::Json, Compress::Takeover));
        let mut octets = Vec::new();
        let mut compressor = Compressor::new(Level::default(), WindowBits::MAX);
        let mut index = script.place(0);
        for number in 0..20 {
            let payload = script.payload(script.message(index));
            let (start, mut compressed) = (octets.len(), Vec::new());
            if number % 3 == 1 {
                encode_frame(&mut octets, true, OpCode::Text, payload, None);
            } else {
                compressor.compress(payload, &mut compressed);
                let (first, rest) = compressed.split_at(number);
                encode_frame(&mut octets, false, OpCode::Text, first, None);
                octets[start] |= RSV1 << 4;
                encode_frame(&mut octets, true, OpCode::Continuation, rest, None);
            }
            index = script.after(index);
        }
        for size in [1, 7, 300, octets.len()] {
            let Volume { replies, compressed, payload, carried, .. } =
                heard(&script, &octets, size).unwrap().volume;
            assert_eq!((replies, compressed, payload), (20, 13, 20_000));
            assert!(carried > 7000 && carried < 14_000);
        }
        let mut wrong = octets.clone();
        *wrong.last_mut().expect("an octet") ^= 0x55;
        assert!(heard(&script, &wrong, 1000).is_err());
    }
}
