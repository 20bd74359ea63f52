//! The last bytes of the messages of one direction, to which the next message may refer with
//! context takeover.
//!
//! zlib has a window of its own, and does not hand it out. So the window is kept outside zlib, in
//! no more bytes than were sent. One compressor and one decompressor can then serve all connections
//! in turn, and a final block in the middle of a message loses nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// The last bytes of a stream, at most `most` of them.
///
/// ```text
///   grows up to that number, then goes round:
///   | newest | oldest ...          |
///            ^ next
/// ```
#[derive(Debug, Default)]
pub(crate) struct History {
    octets: Vec<u8>,
    /// Where the next byte goes once there are `most` bytes.
    next: usize,
    most: usize,
    /// The state of the compressor that has compressed these bytes, and nothing since. The default
    /// if there is no such compressor.
    stamp: Stamp,
}

/// Identifies one state of one codec's compressor. The default identifies none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

/// The next block of 2^32 unique stamps. A codec counts its stamps up within a block.
static BLOCKS: AtomicU64 = AtomicU64::new(1);

impl Stamp {
    /// The stamp after this one.
    pub(super) fn next(self) -> Stamp {
        if self.0.trailing_zeros() >= 32 {
            Stamp(BLOCKS.fetch_add(1, Ordering::Relaxed) << 32 | 1)
        } else {
            Stamp(self.0 + 1)
        }
    }

    /// How many messages the codec has compressed from this stamp until `now`. `None` if `now` is
    /// of another codec, or the stamp is too old to tell.
    pub(super) fn age(self, now: Stamp) -> Option<u64> {
        if self.0 >> 32 == now.0 >> 32 && self != Stamp::default() { now.0.checked_sub(self.0) } else { None }
    }
}

impl History {
    /// Makes an empty history of at most `most` bytes, which has allocated nothing.
    pub(crate) fn new(most: usize) -> History {
        History { octets: Vec::new(), next: 0, most, stamp: Stamp::default() }
    }

    /// The number of bytes in the history.
    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    /// The most bytes that the history keeps.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Appends `piece`, whose compression has left the compressor in the state `stamp`.
    pub(crate) fn push_compressed(&mut self, piece: &[u8], stamp: Stamp) {
        self.push(piece);
        self.stamp = stamp;
    }

    /// Whether a compressor in `state` has compressed these bytes, and nothing since.
    pub(super) fn is_in(&self, state: Stamp) -> bool {
        self.stamp == state && state != Stamp::default()
    }

    /// The state of the compressor that has compressed these bytes, and nothing since; the default
    /// if there is no such compressor.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How many messages a codec in the state `now` has compressed since the last message of this
    /// history; `None` if that is not known.
    pub(super) fn age(&self, now: Stamp) -> Option<u64> {
        self.stamp.age(now)
    }

    /// Appends bytes that were compressed or inflated.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let most = self.most;
        self.stamp = Stamp::default();
        if piece.len() >= most {
            self.octets.clear();
            self.reserve(most);
            self.octets.extend_from_slice(&piece[piece.len() - most..]);
            self.next = 0;
            return;
        }
        let growing = piece.len().min(most - self.octets.len());
        let (appended, around) = piece.split_at(growing);
        self.reserve(growing);
        self.octets.extend_from_slice(appended);
        let to_the_end = around.len().min(most - self.next);
        let (behind, from_the_start) = around.split_at(to_the_end);
        if !around.is_empty() {
            self.octets[self.next..][..behind.len()].copy_from_slice(behind);
            self.octets[..from_the_start.len()].copy_from_slice(from_the_start);
            self.next = (self.next + around.len()) % most;
        }
    }

    /// The bytes, oldest first, in two parts.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        let (newest, oldest) = self.octets.split_at(self.next);
        [oldest, newest]
    }

    /// Forgets all bytes, and keeps the allocation.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.next = 0;
        self.stamp = Stamp::default();
    }

    /// Makes room for `more` bytes, but never for more than `most` in all.
    fn reserve(&mut self, more: usize) {
        let wanted = self.octets.len() + more;
        if wanted > self.octets.capacity() {
            let room = (2 * self.octets.capacity()).max(wanted).min(self.most);
            self.octets.reserve_exact(room - self.octets.len());
        }
    }
}

/// The last bytes of two parts, at most `most` of them.
pub(super) fn newest([older, newer]: [&[u8]; 2], most: usize) -> [&[u8]; 2] {
    let newer = &newer[newer.len().saturating_sub(most)..];
    [&older[older.len().saturating_sub(most - newer.len())..], newer]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_the_pieces_the_last_octets_are_kept_in_order(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..20),
        ) {
            let mut history = History::new(512);
            let mut all = Vec::new();
            for piece in &pieces {
                history.push(piece);
                all.extend_from_slice(piece);
                let last = &all[all.len().saturating_sub(512)..];
                prop_assert_eq!(&history.parts().concat(), last);
                prop_assert!(history.octets.capacity() <= 512);
            }
        }
    }

    #[test]
    fn no_two_codecs_ever_have_the_same_stamp() {
        let (mut first, mut second) = (Stamp::default().next(), Stamp::default().next());
        let mut seen = vec![first, second];
        for _ in 0..3 {
            (first, second) = (first.next(), second.next());
            seen.extend([first, second]);
        }
        // At the end of its block.
        let mut last = Stamp(first.0 | u64::from(u32::MAX));
        for _ in 0..3 {
            seen.push(last);
            last = last.next();
        }
        for (index, stamp) in seen.iter().enumerate() {
            assert!(!seen[..index].contains(stamp) && *stamp != Stamp::default(), "{seen:x?}");
        }
    }
}
