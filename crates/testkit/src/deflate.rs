//! Compressing (RFC 1951) with another library than the crate under test does, and in all the ways
//! that a peer may.

use crate::rng::SplitMix64;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};

/// What a sender removes from the end of each message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A peer's compressor, with the largest window and what it remembers of the messages so far.
pub struct Deflater {
    core: Box<CompressorOxide>,
}

impl Deflater {
    /// One with this level: 0 stores, 10 searches longest.
    #[must_use]
    pub fn new(level: i32) -> Deflater {
        Deflater { core: Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(level, -15, 0))) }
    }

    /// The payload of a compressed message.
    pub fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let mut payload = self.part(message);
        payload.truncate(payload.len() - TAIL.len());
        payload
    }

    /// The payload of a fragment that is not the last one.
    ///
    /// # Panics
    /// If the library does not do as it says.
    pub fn part(&mut self, data: &[u8]) -> Vec<u8> {
        let payload = self.flush(data, TDEFLFlush::Sync, TDEFLStatus::Okay);
        if payload.ends_with(&TAIL) {
            return payload;
        }
        // Where there is nothing to flush, the library adds no empty block.
        [&payload[..], &[0x00], &TAIL].concat()
    }

    /// Blocks of which the last one has BFINAL.
    fn last_blocks(mut self, data: &[u8]) -> Vec<u8> {
        self.flush(data, TDEFLFlush::Finish, TDEFLStatus::Done)
    }

    fn flush(&mut self, data: &[u8], flush: TDEFLFlush, expected: TDEFLStatus) -> Vec<u8> {
        let mut out = Vec::new();
        let (status, read) = compress_to_output(&mut self.core, data, flush, |piece| {
            out.extend_from_slice(piece);
            true
        });
        assert!(status == expected && read == data.len(), "{status:?} after {read} octets");
        out
    }
}

/// A block without compression.
///
/// # Panics
/// If there are more than 65,535 octets.
#[must_use]
pub fn stored_block(octets: &[u8], last: bool) -> Vec<u8> {
    let len = u16::try_from(octets.len()).expect("what fits into a block");
    [&[u8::from(last)][..], &len.to_le_bytes(), &(!len).to_le_bytes(), octets].concat()
}

/// The payload of a message that refers to nothing before it, in blocks of all kinds, final ones
/// too.
#[must_use]
pub fn payload_in_blocks(rng: &mut SplitMix64, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut deflater = None;
    let mut rest = message;
    loop {
        let (piece, behind) = rest.split_at(rng.below(rest.len().min(50_000) + 1));
        let level = i32::try_from(rng.below(11)).expect("a level");
        match rng.below(5) {
            0 => payload.extend(stored_block(piece, rng.one_in(2))),
            1 => payload.extend(Deflater::new(level).last_blocks(piece)),
            // One that goes on refers to what it has compressed, whatever came in between; so a new
            // one after that.
            2 | 3 => payload.extend(Deflater::new(level).part(piece)),
            _ => {
                let mut new = Deflater::new(level);
                payload.extend(new.part(piece));
                deflater = Some(new);
            }
        }
        rest = behind;
        if let Some(mut deflater) = deflater.take() {
            let (piece, behind) = rest.split_at(rng.below(rest.len().min(50_000) + 1));
            payload.extend(deflater.part(piece));
            rest = behind;
        }
        if rest.is_empty() {
            break;
        }
    }
    if payload.ends_with(&TAIL) && rng.one_in(2) {
        // The end of an empty block, or octets of a message that look like one: then the receiver
        // adds them back to it.
        payload.truncate(payload.len() - TAIL.len());
    } else {
        payload.push(0x00);
    }
    payload
}

/// As many octets, of which some have come before.
#[must_use]
pub fn compressible(rng: &mut SplitMix64, len: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(len);
    while octets.len() < len {
        let count = rng.between(1, 60).min(len - octets.len());
        if octets.is_empty() || rng.one_in(3) {
            octets.extend((0..count).map(|_| b'a' + u8::try_from(rng.below(26)).expect("a letter")));
        } else {
            let from = rng.below(octets.len());
            let count = count.min(octets.len() - from);
            octets.extend_from_within(from..from + count);
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_what_the_library_makes_of_it() {
        assert_eq!(Deflater::new(6).message(b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        assert_eq!(stored_block(b"Hello", false), *b"\x00\x05\x00\xfa\xffHello");
        assert_eq!(Deflater::new(6).message(b""), [0x00]);
    }

    #[test]
    fn as_many_octets_are_made_and_they_do_compress() {
        let mut rng = SplitMix64::new(1);
        for len in [0, 1, 1000, 100_000] {
            assert_eq!(compressible(&mut rng, len).len(), len);
        }
        let octets = compressible(&mut rng, 10_000);
        assert!(Deflater::new(6).message(&octets).len() < 7000);
    }
}
