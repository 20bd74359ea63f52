//! Reuse of buffers. Making and growing a buffer costs allocations, page faults and copies; keeping
//! all buffers costs memory.

use framewright::{RecvBuffer, TransmitBuffer};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The most buffers in a pool: the search for one that fits examines each.
const MOST: usize = 64;
/// The least capacity in bytes of a pool for large messages. With 4 MiB, ten connections that echo
/// 1 MiB each cost 1.49 times a raw loop, because most buffers are freed and faulted in again. With
/// 16 MiB they cost 1.15 times.
const KEEP: usize = 16 << 20;
/// The number of messages of the largest size for which a pool keeps room, up to `KEEP_AT_MOST`
/// bytes.
const KEEP_MESSAGES: u64 = 4;
const KEEP_AT_MOST: u64 = 256 << 20;
/// A pooled buffer may have room for `TRUST` times the bytes received from the peer, and for up to
/// four times that if the pool has nothing smaller.
pub(crate) const TRUST: usize = 16;
/// The room in bytes of the smallest buffer for a tail.
const LEAST_TAIL: usize = 64;
/// How long an unused buffer, compressor or decompressor is kept.
pub const KEEP_FOR: Duration = Duration::from_secs(2);

/// A buffer that can be pooled while it is empty.
pub(crate) trait Buffer {
    /// Its room in bytes.
    fn room(&self) -> usize;
}

impl Buffer for RecvBuffer {
    fn room(&self) -> usize {
        self.capacity()
    }
}

impl Buffer for TransmitBuffer {
    fn room(&self) -> usize {
        self.capacity()
    }
}

#[derive(Debug)]
pub(crate) struct Pool<B> {
    /// The pooled buffers, each with the time of its return, the oldest first.
    free: Vec<(Instant, Box<B>)>,
    octets: usize,
    keep: usize,
}

impl<B: Buffer> Pool<B> {
    /// A pool for connections that hold messages of up to `max_message` bytes.
    pub(crate) fn for_messages(max_message: u64) -> Pool<B> {
        let large = max_message.saturating_mul(KEEP_MESSAGES).min(KEEP_AT_MOST);
        Pool::with_keep(usize::try_from(large).unwrap_or(usize::MAX).max(KEEP))
    }

    /// A pool that keeps at most `keep` bytes.
    pub(crate) fn with_keep(keep: usize) -> Pool<B> {
        Pool { free: Vec::new(), octets: 0, keep }
    }

    /// Takes the smallest buffer whose room is in this range, if there is one.
    pub(crate) fn take(&mut self, room: RangeInclusive<usize>) -> Option<Box<B>> {
        let fitting = self.free.iter().enumerate().filter(|(_, (_, buffer))| room.contains(&buffer.room()));
        // Of equal buffers the newest is the likeliest to be in a cache.
        let (best, _) = fitting.rev().min_by_key(|(_, (_, buffer))| buffer.room())?;
        let (_, buffer) = self.free.remove(best);
        self.octets -= buffer.room();
        Some(buffer)
    }

    /// Takes an empty buffer back. Frees the oldest buffers if there are too many, or this one if
    /// it alone is too large.
    pub(crate) fn put(&mut self, now: Instant, buffer: Box<B>) {
        if buffer.room() > self.keep {
            return;
        }
        while self.free.len() >= MOST || self.octets + buffer.room() > self.keep {
            let (_, oldest) = self.free.remove(0);
            self.octets -= oldest.room();
        }
        self.octets += buffer.room();
        self.free.push((now, buffer));
    }

    /// Frees the buffers unused for [`KEEP_FOR`]. Returns the time until the next one is to be
    /// freed; `None` if the pool is empty.
    pub(crate) fn trim(&mut self, now: Instant) -> Option<Duration> {
        let idle = |since: Instant| now.saturating_duration_since(since);
        let (oldest, _) = self.free.first()?;
        if idle(*oldest) < KEEP_FOR {
            return Some(KEEP_FOR - idle(*oldest));
        }
        let old = self.free.partition_point(|(since, _)| idle(*since) >= KEEP_FOR);
        self.octets -= self.free.drain(..old).map(|(_, buffer)| buffer.room()).sum::<usize>();
        if self.free.is_empty() {
            self.free = Vec::new();
        }
        self.free.first().map(|(since, _)| KEEP_FOR - idle(*since))
    }
}

impl Pool<RecvBuffer> {
    /// Returns an empty buffer: if possible a pooled one with room for `wanted` bytes, otherwise
    /// one with room for twice the `come` bytes received, or for `wanted` if that is less.
    pub(crate) fn take_for(&mut self, wanted: usize, come: usize) -> Box<RecvBuffer> {
        let least = wanted.min(come.saturating_mul(2));
        self.take_filled(wanted, come)
            .or_else(|| self.take(least..=least.saturating_mul(4)))
            .unwrap_or_else(|| Box::new(RecvBuffer::with_capacity(least)))
    }

    /// Takes a pooled buffer with room for `wanted` bytes, or for [`TRUST`] times the `come` bytes
    /// received if that is less. `None` if there is none.
    ///
    /// `wanted` is the peer's announcement. So a peer gets buffers that others have filled only in
    /// proportion to the bytes received from it.
    pub(crate) fn take_filled(&mut self, wanted: usize, come: usize) -> Option<Box<RecvBuffer>> {
        let wish = wanted.min(come.saturating_mul(TRUST));
        self.take(wish..=wish.saturating_mul(4))
    }

    /// Takes a buffer for a tail of `len` bytes, with room for at most twice that, or 64. There are
    /// few sizes, so that a buffer fits the next tail.
    pub(crate) fn take_tail(&mut self, len: usize) -> Box<RecvBuffer> {
        let room = len.next_power_of_two().max(LEAST_TAIL);
        self.take(room..=room).unwrap_or_else(|| Box::new(RecvBuffer::with_capacity(room)))
    }

    /// Takes back a buffer that may not be empty.
    pub(crate) fn put_cleared(&mut self, now: Instant, mut buffer: Box<RecvBuffer>) {
        buffer.clear();
        self.put(now, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(room: usize) -> Box<RecvBuffer> {
        Box::new(RecvBuffer::with_capacity(room))
    }

    #[test]
    fn the_smallest_that_fits_is_taken_and_a_bounded_amount_kept() {
        let now = Instant::now();
        let mut pool = Pool::for_messages(1 << 20);
        for room in [KEEP, KEEP + 1, 1 << 20, 1 << 18, 1 << 21] {
            pool.put(now, buffer(room));
        }
        assert_eq!(pool.octets, (1 << 20) + (1 << 18) + (1 << 21), "the oldest made room");
        assert_eq!(pool.take_for(200_000, 100_000).capacity(), 1 << 18);
        assert_eq!(pool.take_for(1 << 20, 100_000).capacity(), 1 << 20);
        let modest = pool.take_for(1 << 21, 5000);
        assert_eq!(modest.capacity(), 10_000, "a wish is no reason for what nobody paid for");
        assert_eq!(pool.take_for(6000, 5000).capacity(), 6000);
        assert_eq!(pool.take_for(1 << 30, 10).capacity(), 20, "a wish allocates nothing");
        assert_eq!(pool.octets, 1 << 21);
        pool.put(now, modest);
        assert_eq!(
            pool.take_for(1 << 22, 4000).capacity(),
            10_000,
            "better than a new one for twice what has come"
        );
        for _ in 0..2 * MOST {
            pool.put(now, buffer(1));
        }
        assert_eq!((pool.free.len(), pool.octets), (MOST, MOST));
    }

    #[test]
    fn tails_of_many_lengths_have_buffers_of_few_sizes() {
        let now = Instant::now();
        let mut tails = Pool::with_keep(1 << 20);
        for len in [0, 1, 64, 65, 100, 128, 129, 4096] {
            let tail: Box<RecvBuffer> = tails.take_tail(len);
            assert!(tail.capacity() >= len && tail.capacity() <= 64.max(2 * len), "{len}");
            tails.put(now, tail);
        }
        assert_eq!(tails.free.len(), 4, "64, 128, 256 and 4096");
    }

    #[test]
    fn four_messages_of_the_largest_size_are_kept() {
        let now = Instant::now();
        let mut pool = Pool::for_messages(10 << 20);
        for _ in 0..5 {
            pool.put(now, buffer(10 << 20));
        }
        assert_eq!(pool.octets, 40 << 20);
        assert_eq!(Pool::<RecvBuffer>::for_messages(u64::MAX).keep, 256 << 20);
    }

    #[test]
    fn what_nobody_wants_is_freed_though_others_are_in_use() {
        let now = Instant::now();
        let mut pool = Pool::for_messages(0);
        assert_eq!(pool.trim(now), None);
        pool.put(now, buffer(100));
        pool.put(now, buffer(10_000));
        assert_eq!(pool.trim(now), Some(KEEP_FOR));
        let later = now + KEEP_FOR / 2;
        let used = pool.take(50..=150).unwrap();
        pool.put(later, used);
        assert_eq!(pool.trim(now + KEEP_FOR), Some(KEEP_FOR / 2));
        assert_eq!(pool.octets, 100);
        assert_eq!(pool.trim(later + KEEP_FOR), None);
        assert_eq!(pool.octets, 0);
    }
}
