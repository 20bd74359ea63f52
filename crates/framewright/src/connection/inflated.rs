//! Where inflated octets lie until their event has been looked at.

use super::config::Delivery;
use std::ops::Range;

/// The room that a message gets first, and by how much a text in chunks is inflated at a time.
const FIRST: usize = 4 << 10;
/// The most octets that one call inflates, so that each piece is checked while it is in cache.
const STEP: usize = 64 << 10;
/// Room up to this size is kept for the next message.
const KEEP: usize = 256 << 10;

/// The inflated part of the message in progress, and after it the message of the last event.
///
/// ```text
///   0        start              end           octets.len()
///   | given  | inflated, not    | room         |
///   | out    | given out yet    | (initialised)|
/// ```
#[derive(Debug, Default)]
pub(super) struct Inflated {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inflated {
    /// Begins a message.
    pub(super) fn begin(&mut self) {
        (self.start, self.end) = (0, 0);
        self.shrink();
    }

    /// Frees room that few messages need.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.octets.capacity() > KEEP {
            self.octets = Vec::new();
        }
    }

    /// Frees all room.
    pub(super) fn clear(&mut self) {
        *self = Inflated::default();
    }

    /// What is inflated and not given out.
    pub(super) fn held(&self) -> Range<usize> {
        self.start..self.end
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }

    /// Room for what is inflated next: at least one octet, and at most `most`, which is not 0. Of a whole message no more than
    /// `limit` octets and one are ever held, of chunks one step and what the last one has left over.
    pub(super) fn room(
        &mut self,
        delivery: Delivery,
        payload: usize,
        limit: usize,
        most: usize,
    ) -> &mut [u8] {
        if self.end == self.octets.len() || (delivery == Delivery::Chunks && self.start > 0) {
            self.make_room(delivery, payload, limit);
        }
        let room = (self.octets.len() - self.end).min(STEP).min(most);
        &mut self.octets[self.end..][..room]
    }

    fn make_room(&mut self, delivery: Delivery, payload: usize, limit: usize) {
        let guess = payload.saturating_mul(4).clamp(FIRST, STEP);
        let wanted = match delivery {
            // One octet more than the limit, to see whether there are more.
            Delivery::Whole => (2 * self.octets.len()).max(guess).min(limit.saturating_add(1)),
            Delivery::Chunks => {
                self.octets.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
                guess.max(self.end + FIRST)
            }
        };
        if wanted > self.octets.len() {
            self.octets.reserve_exact(wanted - self.octets.len());
            self.octets.resize(wanted, 0);
        }
    }

    /// Notes that so many octets of [`room`](Inflated::room) were written: where they lie.
    pub(super) fn written(&mut self, count: usize) -> Range<usize> {
        self.end += count;
        self.end - count..self.end
    }

    /// Gives out the first `count` octets: their range, which stays readable until the next room is made.
    pub(super) fn release(&mut self, count: usize) -> Range<usize> {
        self.start += count;
        self.start - count..self.start
    }
}
