//! The last octets of the messages of one direction: what the next one may refer to, with context takeover.
//!
//! zlib has a window of its own and gives it to nobody. Here it is kept outside, in as many octets as there were, so that one
//! compressor and one decompressor serve all connections in turn, and that a final block in the middle of a message loses nothing.

/// The last octets of a stream, up to a number of them.
///
/// ```text
///   grows up to that number, then goes round:
///   | newest | oldest ...          |
///            ^ next
/// ```
#[derive(Debug, Default)]
pub(crate) struct History {
    octets: Vec<u8>,
    /// Where the next octet goes once there are as many as are kept.
    next: usize,
    most: usize,
}

impl History {
    /// An empty one, which has allocated nothing.
    pub(crate) fn new(most: usize) -> History {
        History { octets: Vec::new(), next: 0, most }
    }

    /// Appends what was compressed or inflated.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let most = self.most;
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

    /// The octets, oldest first, in two parts.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        let (newest, oldest) = self.octets.split_at(self.next);
        [oldest, newest]
    }

    /// Forgets everything, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.next = 0;
    }

    /// Room for so many more, and never for more than are kept.
    fn reserve(&mut self, more: usize) {
        let wanted = self.octets.len() + more;
        if wanted > self.octets.capacity() {
            let room = (2 * self.octets.capacity()).max(wanted).min(self.most);
            self.octets.reserve_exact(room - self.octets.len());
        }
    }
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
}
