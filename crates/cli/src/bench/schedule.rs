//! The open loop's schedule: message k is due at k / rate after the start, whatever became of those
//! before it.
//!
//! The time of a message counts from when it was due, not from when it was sent: a server that
//! stops for a moment is charged with all the messages that should have been sent meanwhile (no
//! "coordinated omission").

use super::engine::{TICK, nanos};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Schedule {
    start: u64,
    /// Messages a second.
    rate: f64,
    /// The number of the message that is due next.
    next: u64,
}

impl Schedule {
    pub(super) fn new(start: u64, rate: f64) -> Schedule {
        Schedule { start, rate, next: 0 }
    }

    /// When the next message is due.
    fn due(&self) -> u64 {
        let after = Duration::try_from_secs_f64(self.next as f64 / self.rate).unwrap_or(Duration::MAX);
        self.start.saturating_add(nanos(after))
    }

    /// The next message if it is due: its number, and since when.
    pub(super) fn take(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.due();
        if due > now {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, due))
    }

    /// How long a loop may sleep: not at all when a message is due so soon that the event queue,
    /// which counts in milliseconds, could wake it too late.
    pub(super) fn sleep(&self, now: u64) -> Duration {
        let left = Duration::from_nanos(self.due().saturating_sub(now));
        let whole = left.saturating_sub(SPIN).min(TICK);
        Duration::from_millis(u64::try_from(whole.as_millis()).unwrap_or(0))
    }
}

/// The event queue rounds a time up to a millisecond, and waking takes a while.
const SPIN: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_times_however_late_they_are_taken() {
        let mut schedule = Schedule::new(1000, 1e6);
        assert_eq!(schedule.take(999), None);
        assert_eq!(schedule.take(1000), Some((0, 1000)));
        assert_eq!(schedule.take(1000), None);
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(4500)).collect();
        assert_eq!(late, [(1, 2000), (2, 3000), (3, 4000)]);
        assert_eq!(schedule.due(), 5000);
    }

    #[test]
    fn the_loop_sleeps_only_when_nothing_is_due_soon() {
        let mut schedule = Schedule::new(0, 10.0);
        assert!(schedule.take(0).is_some());
        assert_eq!(schedule.sleep(0), TICK);
        assert_eq!(schedule.sleep(90_000_000), Duration::from_millis(8));
        assert_eq!(schedule.sleep(98_500_000), Duration::ZERO);
        assert_eq!(schedule.sleep(200_000_000), Duration::ZERO);
    }
}
