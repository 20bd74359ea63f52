//! How far a name, a target or a field value goes: the loops that look at every octet of a head.
//!
//! Eight octets at a time, in ordinary registers. In each word the high bit of an octet says whether the octet may be an
//! end, by arithmetic that carries nothing from one octet to the next; so the first such bit is the first such octet. An
//! end that is none after all (a digit in a name, a tab in a value), and what is left behind the last whole word, is
//! looked up in the table of `bytes.rs`, which alone decides.

use super::bytes::{TOKEN, VALUE, VISIBLE, is};

/// The first position at or after `from` whose octet is no octet of a token, or the length.
#[inline]
pub(super) fn token(bytes: &[u8], from: usize) -> usize {
    scan(bytes, from, TOKEN, |word| {
        let letter = reaches(word | each(0x20), b'a') & !reaches(word | each(0x20), b'z' + 1);
        let hyphen = !(((word ^ each(b'-')) & LOW) + LOW);
        !(letter | hyphen) | word
    })
}

/// The first position at or after `from` whose octet is not visible US-ASCII, or the length.
#[inline]
pub(super) fn visible(bytes: &[u8], from: usize) -> usize {
    scan(bytes, from, VISIBLE, |word| !reaches(word, 0x21) | reaches(word, 0x7f) | word)
}

/// The first position at or after `from` whose octet may not stand in a field value, or the length.
#[inline]
pub(super) fn value(bytes: &[u8], from: usize) -> usize {
    // Values are the longest parts. Sixteen octets are compared at once where the compiler has vectors for them.
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>)
        && chunk.iter().fold(true, |text, &byte| text & (byte >= 0x20) & (byte != 0x7f))
    {
        at += 16;
    }
    scan(bytes, at, VALUE, |word| (!reaches(word, 0x20) | reaches(word, 0x7f)) & !word)
}

/// The first position at or after `from` whose octet is not of `class`, or the length; `from` where that is not less.
///
/// `ends` sets the high bit of at least each octet of a word that is not of `class`.
#[inline]
fn scan(bytes: &[u8], from: usize, class: u8, ends: impl Fn(u64) -> u64) -> usize {
    let mut at = from;
    loop {
        while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let ends = ends(u64::from_le_bytes(*word)) & !LOW;
            if ends != 0 {
                at += ends.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(&byte) if is(byte, class) => at += 1,
            _ => return at,
        }
    }
}

/// All but the high bit of each octet.
const LOW: u64 = each(0x7f);

/// A word of eight times the same octet.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Sets the high bit of each octet whose lower seven bits are at least `least`, which is 1 to 127. The other bits mean
/// nothing.
#[inline]
fn reaches(word: u64, least: u8) -> u64 {
    (word & LOW) + each(0x80 - least)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Scan = fn(&[u8], usize) -> usize;

    const SCANS: [(Scan, u8, u8); 3] = [(token, TOKEN, b'a'), (visible, VISIBLE, b'/'), (value, VALUE, b' ')];

    /// Every octet at every place of texts of every length around a word and two, from every start.
    #[test]
    fn scans_end_where_the_table_says() {
        for (scan, class, filler) in SCANS {
            for len in 0..40 {
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
