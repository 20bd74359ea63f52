//! Deadlines of many connections: a coarse hashed wheel.
//!
//! A connection has one valid entry for its deadline, and a few for its timers
//! ([`Timers`](crate::event_loop::timers::Timers)). When a deadline moves away, the entry stays
//! where it is, and is examined again at its old time; so a message costs nothing here. A deadline
//! that moves nearer gets another entry, and the old one is examined in vain. Entries further away
//! than a turn of the wheel are examined once a turn.

use crate::event_loop::slab::Key;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// How late a deadline may be noticed, as a power of two in nanoseconds: 16.8 ms. A power of two
/// needs no division.
const TICK_BITS: u32 = 24;
/// The slots of the wheel, one for each tick: a turn takes 17 seconds.
const SLOTS: usize = 1024;

/// The number of a tick since the wheel was made, from 1 on.
pub(crate) type Tick = NonZeroU64;

/// The tick of a connection's own entry, or none, in two bytes: each connection holds one.
///
/// The lower 15 bits of the tick tell it, since it is never far from the hand of the wheel: a turn
/// ahead, or behind by as long as a callback has kept the loop. After 4 minutes in a callback it is
/// taken for a later one, and the connection gets another entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Armed(u16);

impl Armed {
    pub(crate) const NONE: Armed = Armed(0);
    const BITS: u32 = 15;
    const MASK: u64 = (1 << Self::BITS) - 1;

    #[allow(clippy::cast_possible_truncation, reason = "masked first")]
    fn at(tick: Tick) -> Armed {
        Armed(1 << Self::BITS | (tick.get() & Self::MASK) as u16)
    }

    /// Whether there is an entry at this tick.
    pub(crate) fn is_at(self, tick: Tick) -> bool {
        self == Self::at(tick)
    }

    /// The tick, which is near the tick `next`.
    #[inline]
    fn tick(self, next: u64) -> Option<Tick> {
        let ahead = u64::from(self.0).wrapping_sub(next) & Self::MASK;
        let behind = if ahead > Self::MASK / 2 { Self::MASK + 1 } else { 0 };
        let tick = (next + ahead).saturating_sub(behind).max(1);
        if self == Self::NONE { None } else { Tick::new(tick) }
    }
}

#[derive(Debug)]
pub(crate) struct Wheel {
    start: Instant,
    /// The first tick that has not been examined.
    next: u64,
    /// The first entry of each slot, or [`NONE`]. All entries of a slot are for the same tick, the
    /// one of its turn.
    slots: Vec<u32>,
    /// All entries, in one allocation. Small allocations, made while others are made and freed,
    /// would keep an allocator from returning the memory before them.
    entries: Vec<Entry>,
    /// The first free entry, or [`NONE`].
    free: u32,
    /// One bit for each slot that is not empty.
    occupied: [u64; SLOTS / 64],
}

/// The place of a connection to be examined, and the next entry of the same slot. Whichever
/// connection has the place at that time is examined. That is in vain now and then, but keeps an
/// entry small.
#[derive(Clone, Copy, Debug)]
struct Entry {
    place: u32,
    next: u32,
}

/// No entry.
const NONE: u32 = u32::MAX;

impl Wheel {
    pub(crate) fn new(now: Instant) -> Wheel {
        Wheel {
            start: now,
            next: 1,
            slots: vec![NONE; SLOTS],
            entries: Vec::new(),
            free: NONE,
            occupied: [0; SLOTS / 64],
        }
    }

    /// The tick at whose end `deadline` has passed.
    #[inline]
    fn tick_of(&self, deadline: Instant) -> Tick {
        let nanos = nanos(deadline.saturating_duration_since(self.start));
        Tick::MIN.max(Tick::new(nanos.div_ceil(1 << TICK_BITS)).unwrap_or(Tick::MIN))
    }

    /// Ensures that `key` is examined soon after `deadline`, given the tick that it is armed for
    /// now. Returns the tick that it is armed for afterwards.
    #[inline]
    pub(crate) fn arm(&mut self, key: Key, armed: Option<Tick>, deadline: Instant) -> Tick {
        let tick = self.tick_of(deadline);
        match armed {
            // The common case: the deadline has moved away, or is unchanged.
            Some(armed) if armed <= tick => armed,
            _ => self.insert(key, tick),
        }
    }

    /// Like [`arm`](Wheel::arm), for a connection's own entry.
    #[inline]
    pub(crate) fn arm_own(&mut self, key: Key, armed: Armed, deadline: Instant) -> Armed {
        Armed::at(self.arm(key, armed.tick(self.next), deadline))
    }

    fn insert(&mut self, key: Key, tick: Tick) -> Tick {
        let turn = SLOTS as u64 - 1;
        let tick = tick.get().clamp(self.next, self.next + turn);
        let slot = slot_of(tick);
        self.push(slot, key.place());
        self.occupied[slot / 64] |= 1 << (slot % 64);
        Tick::new(tick).expect("ticks begin at 1")
    }

    fn push(&mut self, slot: usize, place: u32) {
        let entry = Entry { place, next: self.slots[slot] };
        match self.entries.get_mut(self.free as usize) {
            Some(free) => {
                self.slots[slot] = self.free;
                self.free = free.next;
                *free = entry;
            }
            None => {
                self.slots[slot] = u32::try_from(self.entries.len()).expect("a few for each connection");
                self.entries.push(entry);
            }
        }
    }

    /// Takes an entry out of a slot, and returns its place; `None` if the slot is empty.
    fn pop(&mut self, slot: usize) -> Option<u32> {
        let index = self.slots[slot];
        let entry = self.entries.get_mut(index as usize)?;
        let Entry { place, next } = *entry;
        entry.next = self.free;
        (self.free, self.slots[slot]) = (index, next);
        Some(place)
    }

    /// Moves everything that was due by `now` to `due`, with the tick it was armed for.
    pub(crate) fn take_due(&mut self, now: Instant, due: &mut Vec<(Tick, u32)>) {
        let reached = nanos(now.saturating_duration_since(self.start)) >> TICK_BITS;
        // No entry is further ahead than a turn.
        let last = reached.min(self.next + SLOTS as u64 - 1);
        for tick in self.next..=last {
            let slot = slot_of(tick);
            let tick = Tick::new(tick).expect("ticks begin at 1");
            due.extend(std::iter::from_fn(|| self.pop(slot)).map(|place| (tick, place)));
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
        self.next = self.next.max(reached + 1);
    }

    /// Removes the entries of connections that have ended, if they may be the majority, and
    /// releases their memory. `live` is the number of connections left.
    pub(crate) fn trim(&mut self, live: usize, mut is_live: impl FnMut(u32) -> bool) {
        if self.entries.capacity() / 4 <= live {
            return;
        }
        let mut before = std::mem::replace(self, Wheel { next: self.next, ..Wheel::new(self.start) });
        for slot in 0..SLOTS {
            for place in std::iter::from_fn(|| before.pop(slot)).filter(|&place| is_live(place)) {
                self.push(slot, place);
                self.occupied[slot / 64] |= 1 << (slot % 64);
            }
        }
    }

    /// The time until an entry may be due; `None` if nothing is armed.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let first = slot_of(self.next);
        let ahead = (0..SLOTS).step_by(64).find_map(|offset| {
            // 64 slots from `first + offset` on, as one word that may span two words of `occupied`.
            let at = (first + offset) % SLOTS;
            let (word, bit) = (at / 64, at % 64);
            let low = self.occupied[word] >> bit;
            let high = if bit == 0 { 0 } else { self.occupied[(word + 1) % (SLOTS / 64)] << (64 - bit) };
            let bits = low | high;
            (bits != 0).then(|| offset as u64 + u64::from(bits.trailing_zeros()))
        })?;
        let at = self.start.checked_add(Duration::from_nanos((self.next + ahead) << TICK_BITS))?;
        Some(at.saturating_duration_since(now))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "reduced to the number of slots first")]
fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// The nanoseconds of a duration, at most `u64::MAX`: 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::slab::Slab;

    const TICK: Duration = Duration::from_nanos(1 << TICK_BITS);

    struct Clock {
        wheel: Wheel,
        now: Instant,
        keys: Slab<()>,
    }

    impl Clock {
        fn new() -> Clock {
            let now = Instant::now();
            Clock { wheel: Wheel::new(now), now, keys: Slab::new() }
        }

        fn key(&mut self) -> Key {
            self.keys.insert(()).unwrap()
        }

        fn due_after(&mut self, delay: Duration) -> Vec<(Tick, u32)> {
            self.now += delay;
            let mut due = Vec::new();
            self.wheel.take_due(self.now, &mut due);
            due
        }
    }

    #[test]
    fn a_deadline_is_seen_never_early_and_a_tick_late_at_most() {
        for millis in [1, 15, 16, 17, 100, 999, 5000, 15_999] {
            let mut clock = Clock::new();
            let key = clock.key();
            let deadline = clock.now + Duration::from_millis(millis);
            let armed = clock.wheel.arm(key, None, deadline);
            let wait = clock.wheel.wait(clock.now).unwrap();
            assert!(wait >= Duration::from_millis(millis), "{millis} ms: waits {wait:?}");
            assert!(wait <= Duration::from_millis(millis) + TICK, "{millis} ms: waits {wait:?}");
            assert_eq!(clock.due_after(Duration::from_millis(millis) - Duration::from_micros(900)), []);
            assert_eq!(clock.due_after(TICK + Duration::from_millis(1)), [(armed, key.place())]);
            assert_eq!(clock.wheel.wait(clock.now), None);
        }
    }

    #[test]
    fn an_own_entry_is_told_by_the_lower_bits_of_its_tick() {
        let tick = |number: u64| Tick::new(number).expect("from 1 on");
        for next in [1, 2, 1000, 0x7ffe, 0x7fff, 0x8000, 0x8001, 1 << 40, (1 << 40) - 1] {
            assert_eq!(Armed::NONE.tick(next), None);
            for at in [next.saturating_sub(16_000).max(1), next.saturating_sub(1).max(1), next, next + 1023] {
                let armed = Armed::at(tick(at));
                assert_eq!(armed.tick(next), Some(tick(at)), "{at} near {next}");
                assert!(armed.is_at(tick(at)) && !armed.is_at(tick(at + 1)));
            }
        }
        assert!(!Armed::NONE.is_at(tick(1 << 15)));
    }

    #[test]
    fn a_later_deadline_leaves_the_entry_and_an_earlier_one_adds_one() {
        let mut clock = Clock::new();
        let key = clock.key();
        let now = clock.now;
        let armed = clock.wheel.arm(key, None, now + Duration::from_secs(1));
        assert_eq!(clock.wheel.arm(key, Some(armed), now + Duration::from_secs(9)), armed);
        let sooner = clock.wheel.arm(key, Some(armed), now + Duration::from_millis(100));
        assert!(sooner < armed);
        assert_eq!(clock.due_after(Duration::from_millis(200)), [(sooner, key.place())]);
    }

    #[test]
    fn far_deadlines_are_looked_at_once_a_turn_and_none_is_lost_in_a_pause() {
        let mut clock = Clock::new();
        let key = clock.key();
        let far = clock.now + Duration::from_secs(3600);
        let mut armed = clock.wheel.arm(key, None, far);
        for _ in 0..3 {
            let wait = clock.wheel.wait(clock.now).unwrap();
            assert!(wait < Duration::from_secs(18));
            assert_eq!(clock.due_after(wait), [(armed, key.place())]);
            armed = clock.wheel.arm(key, None, far);
        }
        assert_eq!(
            clock.due_after(Duration::from_secs(1000)),
            [(armed, key.place())],
            "after a pause of many turns"
        );
    }

    #[test]
    fn a_hundred_thousand_deadlines_come_out_in_their_ticks() {
        let mut clock = Clock::new();
        let keys: Vec<_> = (0..100_000).map(|_| clock.key()).collect();
        for (index, &key) in (0u64..).zip(&keys) {
            clock.wheel.arm(key, None, clock.now + Duration::from_millis(index % 10_000));
        }
        let mut seen = 0;
        while let Some(wait) = clock.wheel.wait(clock.now) {
            seen += clock.due_after(wait).len();
        }
        assert_eq!(seen, keys.len());
    }

    #[test]
    fn entries_of_those_that_have_gone_are_forgotten_once_they_are_the_most() {
        let mut clock = Clock::new();
        let keys: Vec<_> = (0..1000).map(|_| clock.key()).collect();
        for (index, &key) in (1..).zip(&keys) {
            clock.wheel.arm(key, None, clock.now + Duration::from_millis(10 * index));
        }
        let (live, gone) = keys.split_at(200);
        clock.wheel.trim(300, |_| panic!("they are not the most"));
        clock.wheel.trim(live.len(), |place| gone.iter().all(|key| key.place() != place));
        assert_eq!(clock.wheel.entries.len(), live.len());
        assert!(clock.wheel.entries.capacity() < 2 * live.len());
        let due = clock.due_after(Duration::from_secs(20));
        assert!(due.iter().map(|(_, place)| *place).eq(live.iter().map(|key| key.place())));
        assert_eq!(clock.wheel.wait(clock.now), None);
        // Their entries are reused.
        for &key in live {
            clock.wheel.arm(key, None, clock.now);
        }
        assert_eq!(clock.wheel.entries.len(), live.len());
    }
}
