//! Incremental, fail-fast UTF-8 (RFC 6455, sections 5.6 and 8.1): a byte that proves a text invalid
//! is detected when it arrives, even in the middle of a frame.

use std::str;

/// Checks text that arrives in pieces. Keeps at most three bytes: the start of an incomplete
/// character.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8Stream {
    pending: [u8; 3],
    len: u8,
}

/// The text is not UTF-8, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

impl Utf8Stream {
    /// Checks the next piece.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        if self.len > 0 {
            piece = self.complete_pending(piece)?;
        }
        let tail = incomplete_tail(piece)?;
        self.pending[..tail.len()].copy_from_slice(tail);
        if !tail.is_empty() {
            self.len = u8::try_from(tail.len()).expect("at most three octets");
        }
        Ok(())
    }

    /// The number of bytes, 0 to 3, of an incomplete character at the end of the text so far.
    pub(super) fn pending(&self) -> usize {
        usize::from(self.len)
    }

    /// Ends the text; the next piece begins another one.
    pub(super) fn finish(&mut self) -> Result<(), Invalid> {
        if std::mem::take(&mut self.len) == 0 { Ok(()) } else { Err(Invalid) }
    }

    /// Adds bytes to the pending character until it is complete or proved invalid; returns the rest
    /// of the piece.
    fn complete_pending<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Invalid> {
        let mut character = [0; 4];
        let mut len = self.pending();
        character[..len].copy_from_slice(&self.pending[..len]);
        for (taken, &octet) in piece.iter().enumerate() {
            character[len] = octet;
            len += 1;
            if incomplete_tail(&character[..len])?.is_empty() {
                self.len = 0;
                return Ok(&piece[taken + 1..]);
            }
            self.pending[..len].copy_from_slice(&character[..len]);
            self.len = u8::try_from(len).expect("at most three octets are incomplete");
        }
        Ok(&[])
    }
}

/// A whole text, or `None` if it is not UTF-8.
#[inline]
pub(super) fn whole(bytes: &[u8]) -> Option<&str> {
    // Below this length the standard library is as fast, and it needs no dispatch.
    if bytes.len() < 64 { str::from_utf8(bytes).ok() } else { simdutf8::basic::from_utf8(bytes).ok() }
}

/// The part of `bytes` after its last complete character: up to three bytes that a following piece
/// can complete.
fn incomplete_tail(bytes: &[u8]) -> Result<&[u8], Invalid> {
    match simdutf8::compat::from_utf8(bytes) {
        Ok(_) => Ok(&[]),
        Err(error) if error.error_len().is_none() => Ok(&bytes[error.valid_up_to()..]),
        Err(_) => Err(Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), Invalid> {
        let mut stream = Utf8Stream::default();
        for piece in pieces {
            stream.push(piece)?;
        }
        stream.finish()
    }

    #[test]
    fn every_scalar_value_passes_octet_by_octet() {
        for character in '\0'..=char::MAX {
            let mut octets = [0; 4];
            let text = character.encode_utf8(&mut octets);
            assert_eq!(in_pieces(text.as_bytes().chunks(1)), Ok(()), "{character:?}");
        }
    }

    #[test]
    fn each_invalid_sequence_is_refused_at_the_octet_that_proves_it() {
        // (bytes, index of the byte that proves the text invalid)
        let cases: [(&[u8], usize); 14] = [
            (b"\x80", 0),
            (b"\xc0", 0),
            (b"\xc1", 0),
            (b"\xc3\x28", 1),
            (b"\xe0\x9f", 1),
            (b"\xe2\x82\x28", 2),
            (b"\xed\xa0", 1),
            (b"\xf0\x8f", 1),
            (b"\xf0\x9f\x28", 2),
            (b"\xf4\x90", 1),
            (b"\xf5", 0),
            (b"\xff", 0),
            (b"ab\xfe", 2),
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90", 12),
        ];
        for (octets, proof) in cases {
            for split in 0..=octets.len() {
                let mut stream = Utf8Stream::default();
                let seen = octets[..split]
                    .chunks(1)
                    .chain(std::iter::once(&octets[split..]))
                    .try_for_each(|piece| stream.push(piece));
                assert_eq!(seen, Err(Invalid), "{octets:x?} split at {split}");
            }
            let mut stream = Utf8Stream::default();
            assert_eq!(
                stream.push(&octets[..proof]),
                Ok(()),
                "{octets:x?} is not proved invalid before {proof}"
            );
            assert_eq!(stream.push(&octets[proof..=proof]), Err(Invalid));
        }
    }

    #[test]
    fn a_character_cut_off_at_the_end_is_refused_by_finish_only() {
        for octets in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98"] {
            let mut stream = Utf8Stream::default();
            assert_eq!(stream.push(octets), Ok(()));
            assert_eq!(stream.pending(), octets.len());
            assert_eq!(stream.push(b""), Ok(()));
            assert_eq!(stream.finish(), Err(Invalid));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_judged_as_by_std(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in "\\PC{0,60}",
            at in any::<prop::sample::Index>(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
            keep_noise in any::<bool>(),
        ) {
            if !keep_noise { bytes.clear(); }
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, text.bytes());
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let judged = in_pieces(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]));
            prop_assert_eq!(judged.is_ok(), str::from_utf8(&bytes).is_ok());
            prop_assert_eq!(whole(&bytes).is_some(), str::from_utf8(&bytes).is_ok());
        }
    }
}
