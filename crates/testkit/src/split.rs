//! Ways to cut a stream into the pieces that a transport would deliver. What a receiver makes of a
//! stream must not depend on them.

use crate::rng::SplitMix64;
use std::io::{self, Write as _};
use std::thread;

/// One way to cut a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Split {
    /// In one piece.
    Whole,
    /// In two pieces: before this octet and from it on.
    At(usize),
    /// In three pieces.
    Pair(usize, usize),
    /// Octet by octet.
    Octets,
    /// In pieces of 1 to 16 octets, chosen by this seed.
    Random(u64),
}

/// The last place at or before `at` that is inside of no character of `text`. (`str` has it from
/// Rust 1.91 on.)
#[must_use]
pub fn before_character(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&place| text.is_char_boundary(place)).unwrap_or(0)
}

/// Up to this length every pair of split points is tried.
const PAIRS_UP_TO: usize = 20;

/// How many random ways are tried.
const RANDOM_WAYS: u64 = 4;

impl Split {
    /// All ways to be tried for a stream of `len` octets: whole, octet by octet, every single split
    /// point, every pair of them for a short stream, and a few random ones.
    #[must_use]
    pub fn all(len: usize) -> Vec<Split> {
        let mut ways = vec![Split::Whole, Split::Octets];
        ways.extend((1..len).map(Split::At));
        if len <= PAIRS_UP_TO {
            ways.extend(
                (1..len).flat_map(|first| (first + 1..len).map(move |second| Split::Pair(first, second))),
            );
        }
        ways.extend((0..RANDOM_WAYS).map(Split::Random));
        ways
    }

    /// For streams too long for every split point: whole, random, and around each of `points`.
    #[must_use]
    pub fn around(points: &[usize], len: usize) -> Vec<Split> {
        let mut ways = vec![Split::Whole];
        let near = points.iter().flat_map(|&point| point.saturating_sub(2)..=point + 2);
        ways.extend(near.filter(|&at| 0 < at && at < len).map(Split::At));
        ways.extend((0..RANDOM_WAYS).map(Split::Random));
        ways
    }

    /// The pieces of `bytes`, none of them empty.
    #[must_use]
    pub fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        let mut pieces = match self {
            Split::Whole => vec![bytes],
            Split::At(at) => vec![&bytes[..at], &bytes[at..]],
            Split::Pair(first, second) => vec![&bytes[..first], &bytes[first..second], &bytes[second..]],
            Split::Octets => bytes.chunks(1).collect(),
            Split::Random(seed) => random_pieces(bytes, &mut SplitMix64::new(seed), 16),
        };
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

/// `bytes` in pieces of 1 to `most` octets.
#[must_use]
pub fn random_pieces<'a>(mut bytes: &'a [u8], rng: &mut SplitMix64, most: usize) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(rng.between(1, most).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Calls `check` with the pieces of every way of [`Split::all`]. If it panics, the way is named on
/// the standard error.
pub fn every_split(bytes: &[u8], mut check: impl FnMut(Split, &[&[u8]])) {
    for way in Split::all(bytes.len()) {
        let _named = Named(way);
        check(way, &way.pieces(bytes));
    }
}

/// Names the way that was being tried when the thread panicked.
struct Named(Split);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = writeln!(io::stderr(), "the stream was split this way: {:?}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_gives_all_octets_in_order() {
        for len in 0..30 {
            let bytes: Vec<u8> = (0..len).collect();
            every_split(&bytes, |_, pieces| {
                assert_eq!(pieces.concat(), bytes);
                assert!(pieces.iter().all(|piece| !piece.is_empty()));
            });
        }
    }

    #[test]
    fn every_single_point_and_pair_is_among_them() {
        let ways = Split::all(4);
        assert!([1, 2, 3].iter().all(|&at| ways.contains(&Split::At(at))));
        assert!([(1, 2), (1, 3), (2, 3)].iter().all(|&(a, b)| ways.contains(&Split::Pair(a, b))));
    }
}
