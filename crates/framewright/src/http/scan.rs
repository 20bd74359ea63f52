//! The loops that find the end of a name, a target or a field value. They examine every byte of a
//! head.
//!
//! They examine eight bytes at a time, in ordinary registers. In each word the high bit of a byte
//! says whether the byte may be an end. The arithmetic carries nothing from one byte to the next,
//! so the first such bit marks the first such byte.
//!
//! From there on (after a digit in a name, for example), and after the last whole word, bytes are
//! looked up in the table of `bytes.rs`. That table alone decides.

use super::bytes::{TOKEN, VALUE, VISIBLE, is};

/// The first position at or after `from` whose byte is not part of a token, or the length.
#[inline(always)]
pub(crate) fn token(bytes: &[u8], from: usize) -> usize {
    scan(bytes, from, TOKEN, |word| {
        let letter = reaches(word | each(0x20), b'a') & !reaches(word | each(0x20), b'z' + 1);
        !(letter | equals(word, b'-')) | word
    })
}

/// The first position at or after `from` whose byte is not visible US-ASCII, or the length.
#[inline]
pub(crate) fn visible(bytes: &[u8], from: usize) -> usize {
    scan(bytes, from, VISIBLE, |word| !reaches(word, 0x21) | reaches(word, 0x7f) | word)
}

/// The first position at or after `from` whose byte is not allowed in a field value, or the length.
#[inline(always)]
pub(crate) fn value(bytes: &[u8], from: usize) -> usize {
    // Values are the longest parts. Blocks of text are skipped first, with vectors if the compiler
    // uses them.
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk)
        && is_text(block)
    {
        at += BLOCK;
    }
    scan(bytes, at, VALUE, |word| {
        (!(reaches(word, 0x20) | equals(word, b'\t')) | reaches(word, 0x7f)) & !word
    })
}

/// The number of bytes of a value that are compared at once.
const BLOCK: usize = 16;

#[inline]
fn is_text(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(true, |text, &byte| text & (byte >= b' ') & (byte != 0x7f))
}

/// The first position at or after `from` whose byte is not of `class`, or the length. Returns
/// `from` if that is not less than the length.
///
/// `ends` sets the high bit of at least each byte of a word that is not of `class`.
#[inline(always)]
fn scan(bytes: &[u8], from: usize, class: u8, ends: impl Fn(u64) -> u64) -> usize {
    let Some(mut rest) = bytes.get(from..) else { return from };
    while let Some((word, behind)) = rest.split_first_chunk() {
        let ends = ends(u64::from_le_bytes(*word)) & !LOW;
        if ends != 0 {
            rest = &rest[ends.trailing_zeros() as usize / 8..];
            break;
        }
        rest = behind;
    }
    while let [byte, behind @ ..] = rest
        && is(*byte, class)
    {
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// All but the high bit of each byte.
const LOW: u64 = each(0x7f);

/// A word of eight times the same byte.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Sets the high bit of each byte whose lower seven bits are at least `least`, which is 1 to 127.
/// The other bits have no meaning.
#[inline]
fn reaches(word: u64, least: u8) -> u64 {
    (word & LOW) + each(0x80 - least)
}

/// Sets the high bit of each byte whose lower seven bits equal `byte`, which is US-ASCII. The other
/// bits have no meaning.
#[inline]
fn equals(word: u64, byte: u8) -> u64 {
    !(((word ^ each(byte)) & LOW) + LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Scan = fn(&[u8], usize) -> usize;

    const SCANS: [(Scan, u8, u8); 3] = [(token, TOKEN, b'a'), (visible, VISIBLE, b'/'), (value, VALUE, b' ')];

    /// Every byte at every position of texts of every length around words and blocks, from every
    /// start.
    #[test]
    fn scans_end_where_the_table_says() {
        for (scan, class, filler) in SCANS {
            for len in [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47] {
                for place in 0..len {
                    for byte in 0..=u8::MAX {
                        let mut bytes = vec![filler; len];
                        bytes[place] = byte;
                        let from = place.saturating_sub(usize::from(byte) % 9);
                        let expected = if is(byte, class) { len } else { place };
                        assert_eq!(scan(&bytes, from), expected, "{byte:#04x} at {place} of {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn neighbours_in_a_word_do_not_disturb_each_other() {
        for (scan, class, _) in SCANS {
            for first in 0..=u8::MAX {
                for second in 0..=u8::MAX {
                    let bytes = [b'a', first, second, first, second, b'a', first, second, b'a'];
                    let expected = bytes.iter().position(|&byte| !is(byte, class)).unwrap_or(bytes.len());
                    assert_eq!(scan(&bytes, 0), expected, "{first:#04x} {second:#04x}");
                }
            }
        }
    }

    #[test]
    fn a_start_at_or_behind_the_end_stays() {
        for (scan, ..) in SCANS {
            assert_eq!(scan(b"abc", 3), 3);
            assert_eq!(scan(b"abc", 5), 5);
        }
    }
}
