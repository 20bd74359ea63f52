//! Timers that handlers have set for their connections.
//!
//! Timers are stored beside the connections, by key. A connection without timers stores nothing for
//! them, and its turns do not read this table.
//!
//! The timers of a connection have entries in the loop's [`Wheel`], besides the one for its
//! deadline: one for the earliest timer, and those made before it for later timers. An entry stays
//! where it is when its timer is postponed or cancelled, so a timer that is set again with each
//! message costs the wheel nothing. The entry serves again when the earlier ones have been
//! examined, so alternating near and far timers leave no extra entries.

use crate::event_loop::slab::Key;
use crate::event_loop::wheel::{Tick, Wheel};
use std::collections::HashMap;
use std::error;
use std::fmt;
use std::time::Instant;

/// The timers that a connection can have at a time. All are searched for each one that is due.
pub(crate) const MAX_TIMERS: usize = 64;

/// The connection already has 64 timers. No timer was set, and the existing ones are unchanged.
///
/// Returned by [`Socket::set_timer`](crate::Socket::set_timer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyTimers;

impl fmt::Display for TooManyTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection has {MAX_TIMERS} timers already")
    }
}

impl error::Error for TooManyTimers {}

/// The timers of all connections of a loop.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    sets: HashMap<Key, TimerSet>,
    /// Timers set so far, from which each takes its number.
    count: u64,
    /// True if the current turn's connection has set a timer or been notified of one, so that the
    /// wheel is to be updated.
    changed: bool,
}

/// The timers of a connection.
#[derive(Debug, Default)]
struct TimerSet {
    timers: Vec<Timer>,
    /// The ticks of its entries in the wheel, the latest one first. An entry is added only if it is
    /// earlier than all others, so there are no more of them than ticks in a turn of the wheel.
    armed: Vec<Tick>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    token: u64,
    deadline: Instant,
    number: u64,
}

impl TimerSet {
    fn first(&self) -> Option<Instant> {
        self.timers.iter().map(|timer| timer.deadline).min()
    }
}

impl Timers {
    /// Sets the timer with this `token`, and replaces an existing one.
    pub(crate) fn set(&mut self, key: Key, token: u64, deadline: Instant) -> Result<(), TooManyTimers> {
        let set = self.sets.entry(key).or_default();
        let timer = Timer { token, deadline, number: self.count };
        let is_full = set.timers.len() >= MAX_TIMERS;
        match set.timers.iter_mut().find(|timer| timer.token == token) {
            Some(before) => *before = timer,
            None if is_full => return Err(TooManyTimers),
            None => set.timers.push(timer),
        }
        self.count += 1;
        self.changed = true;
        Ok(())
    }

    /// Cancels the timer with this `token`. Returns whether there was one.
    pub(crate) fn cancel(&mut self, key: Key, token: u64) -> bool {
        let Some(set) = self.sets.get_mut(&key) else { return false };
        let at = set.timers.iter().position(|timer| timer.token == token);
        at.map(|at| set.timers.swap_remove(at)).is_some()
    }

    /// Begins to notify a connection of its due timers. Returns the number that the next timer will
    /// get: timers set from now on have this number or a later one, and are not part of this round.
    pub(crate) fn begin(&mut self) -> u64 {
        self.changed = true;
        self.count
    }

    /// Takes the earliest due timer with a number below `end`, and returns its token.
    pub(crate) fn take_due(&mut self, key: Key, now: Instant, end: u64) -> Option<u64> {
        let timers = &mut self.sets.get_mut(&key)?.timers;
        let due = timers.iter().enumerate().filter(|(_, timer)| timer.deadline <= now && timer.number < end);
        let (at, _) = due.min_by_key(|(_, timer)| (timer.deadline, timer.number))?;
        Some(timers.swap_remove(at).token)
    }

    /// Removes all timers of a connection that has ended.
    #[inline]
    pub(crate) fn forget(&mut self, key: Key) {
        if !self.sets.is_empty() {
            self.sets.remove(&key);
        }
    }

    /// Whether the wheel is to be updated for the connection whose turn it was.
    #[inline]
    pub(crate) fn have_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Ensures that a connection is examined soon after its first timer is due.
    pub(crate) fn arm(&mut self, key: Key, wheel: &mut Wheel) {
        let Some(set) = self.sets.get_mut(&key) else { return };
        match set.first() {
            Some(first) => {
                let before = set.armed.last().copied();
                let tick = wheel.arm(key, before, first);
                if before != Some(tick) {
                    set.armed.push(tick);
                }
            }
            // While the wheel has an entry, the next timer may not need another one.
            None if set.armed.is_empty() => {
                self.sets.remove(&key);
            }
            None => {}
        }
    }

    /// Handles a due entry of the wheel for this connection. Returns whether a timer is due; then
    /// the entries of the other timers are updated after the turn that follows.
    pub(crate) fn reach(&mut self, key: Key, tick: Tick, wheel: &mut Wheel, now: Instant) -> bool {
        let Some(set) = self.sets.get_mut(&key) else { return false };
        let Some(at) = set.armed.iter().rposition(|&armed| armed == tick) else { return false };
        set.armed.remove(at);
        let is_due = set.first().is_some_and(|first| first <= now);
        if !is_due {
            self.arm(key, wheel);
        }
        is_due
    }

    /// Releases the memory that only a crowd of connections needed.
    pub(crate) fn trim(&mut self) {
        if self.sets.capacity() > 4 * self.sets.len() {
            self.sets = self.sets.drain().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::slab::Slab;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        timers: Timers,
        wheel: Wheel,
        now: Instant,
        key: Key,
    }

    impl Bench {
        fn new() -> Bench {
            let (now, key) = (Instant::now(), Slab::new().insert(()).expect("a place"));
            Bench { timers: Timers::default(), wheel: Wheel::new(now), now, key }
        }

        fn set(&mut self, token: u64, after: Duration) {
            self.timers.set(self.key, token, self.now + after).expect("room");
            self.timers.arm(self.key, &mut self.wheel);
        }

        /// The tokens that are due after `time`, in their order.
        fn due_after(&mut self, time: Duration) -> Vec<u64> {
            self.now += time;
            let mut entries = Vec::new();
            self.wheel.take_due(self.now, &mut entries);
            let (timers, wheel) = (&mut self.timers, &mut self.wheel);
            let reached = entries.iter().filter(|(tick, _)| timers.reach(self.key, *tick, wheel, self.now));
            if reached.count() == 0 {
                return Vec::new();
            }
            let end = self.timers.begin();
            let due: Vec<u64> =
                std::iter::from_fn(|| self.timers.take_due(self.key, self.now, end)).collect();
            assert!(self.timers.have_changed());
            self.timers.arm(self.key, &mut self.wheel);
            due
        }
    }

    #[test]
    fn timers_come_in_the_order_of_their_deadlines_and_never_early() {
        let mut bench = Bench::new();
        for (token, seconds) in [(7, 3), (8, 1), (9, 2), (1, 1)] {
            bench.set(token, seconds * SECOND);
        }
        assert!(bench.due_after(SECOND - Duration::from_millis(1)).is_empty());
        assert_eq!(bench.due_after(Duration::from_millis(30)), [8, 1], "at one time in the order of setting");
        assert_eq!(bench.due_after(2 * SECOND), [9, 7]);
        assert_eq!(bench.wheel.wait(bench.now), None);
        assert!(bench.timers.sets.is_empty(), "nothing is held for them");
    }

    #[test]
    fn one_that_is_set_again_is_replaced_and_one_that_is_cancelled_does_not_come() {
        let mut bench = Bench::new();
        bench.set(1, SECOND);
        bench.set(2, SECOND);
        bench.set(1, 3 * SECOND);
        assert!(bench.timers.cancel(bench.key, 2) && !bench.timers.cancel(bench.key, 2));
        assert!(bench.due_after(2 * SECOND).is_empty());
        assert_eq!(bench.due_after(2 * SECOND), [1]);
        assert!(bench.due_after(9 * SECOND).is_empty());
    }

    /// A timer for each message, such as one for a peer that must continue in time.
    #[test]
    fn timers_that_are_set_and_cancelled_all_the_time_leave_one_entry_in_the_wheel() {
        let mut bench = Bench::new();
        let mut seen = 0;
        for _ in 0..1000 {
            bench.set(1, 10 * SECOND);
            bench.timers.cancel(bench.key, 1);
            bench.timers.arm(bench.key, &mut bench.wheel);
        }
        let mut entries = Vec::new();
        bench.wheel.take_due(bench.now + 60 * SECOND, &mut entries);
        seen += entries.len();
        assert_eq!(seen, 1);
    }

    /// Regression test: whenever the first timer had fired, the others got a new entry besides
    /// their old one.
    #[test]
    fn timers_that_come_soon_and_late_in_turns_leave_an_entry_each_in_the_wheel() {
        let mut bench = Bench::new();
        bench.set(1, 10 * SECOND);
        bench.set(2, 5 * SECOND);
        for _ in 0..20 {
            bench.set(3, SECOND / 10);
            assert_eq!(bench.due_after(SECOND / 5), [3]);
        }
        let mut entries = Vec::new();
        bench.wheel.take_due(bench.now + SECOND / 2, &mut entries);
        assert!(entries.is_empty());
        bench.wheel.take_due(bench.now + 60 * SECOND, &mut entries);
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn an_entry_that_serves_again_is_in_time() {
        let mut bench = Bench::new();
        bench.set(1, 3 * SECOND);
        bench.set(2, 2 * SECOND);
        bench.set(3, SECOND);
        bench.timers.cancel(bench.key, 2);
        assert_eq!(bench.due_after(SECOND + SECOND / 2), [3]);
        // It is earlier than all remaining entries, so it replaces none.
        bench.set(4, SECOND / 4);
        assert_eq!(bench.due_after(SECOND / 2), [4]);
        assert!(bench.due_after(SECOND / 2).is_empty());
        assert_eq!(bench.due_after(SECOND), [1]);
        assert_eq!(bench.wheel.wait(bench.now), None);
        assert!(bench.timers.sets.is_empty(), "nothing is held for them");
    }

    #[test]
    fn there_is_an_end_to_how_many_a_connection_has() {
        let mut bench = Bench::new();
        (0..MAX_TIMERS as u64).for_each(|token| bench.set(token, SECOND));
        let (key, deadline) = (bench.key, bench.now + SECOND);
        assert_eq!(bench.timers.set(key, 1000, deadline), Err(TooManyTimers));
        assert_eq!(bench.timers.set(key, 5, deadline), Ok(()), "it is there already");
        assert!(bench.timers.cancel(key, 6));
        assert_eq!(bench.timers.set(key, 1000, deadline), Ok(()));
        bench.timers.forget(key);
        bench.timers.trim();
        assert!(bench.due_after(9 * SECOND).is_empty());
        assert_eq!(bench.timers.sets.capacity(), 0);
    }
}
