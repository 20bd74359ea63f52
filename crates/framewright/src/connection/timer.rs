//! Deadlines as values: the connection reads no clock, it is told the time.

use std::time::{Duration, Instant};

/// The deadlines of one connection, each in nanoseconds after its start: half the size of an `Option<Instant>`, and the
/// earliest is a `min`.
#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    at: [u64; COUNT],
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Send the next keep-alive Ping.
    KeepAlive,
    /// The Pong has to be here.
    Pong,
    /// A frame has to be here.
    Idle,
    /// The message in progress has to be complete.
    Message,
    /// The peer has to have taken something.
    Write,
    /// The closing handshake has to be complete, or our last octets taken.
    Close,
}

const COUNT: usize = 6;
/// All of them, in the order in which they are looked at.
pub(super) const ALL: [Timer; COUNT] =
    [Timer::KeepAlive, Timer::Pong, Timer::Idle, Timer::Message, Timer::Write, Timer::Close];
const NEVER: u64 = u64::MAX;

impl Timers {
    pub(super) fn new(now: Instant) -> Timers {
        Timers { start: now, at: [NEVER; COUNT] }
    }

    /// Sets the deadline `delay` after `now`. One that is further away than 584 years is none.
    pub(super) fn arm(&mut self, timer: Timer, now: Instant, delay: Duration) {
        let elapsed = now.saturating_duration_since(self.start);
        let at = elapsed.checked_add(delay).and_then(|at| u64::try_from(at.as_nanos()).ok());
        self.at[timer as usize] = at.unwrap_or(NEVER);
    }

    /// The same, or no deadline for `None`.
    pub(super) fn arm_if(&mut self, timer: Timer, now: Instant, delay: Option<Duration>) {
        match delay {
            Some(delay) => self.arm(timer, now, delay),
            None => self.cancel(timer),
        }
    }

    /// The same for a deadline that has just passed. It never passes at once again, so that whoever asks until none has passed
    /// comes to an end.
    pub(super) fn arm_again(&mut self, timer: Timer, now: Instant, delay: Option<Duration>) {
        self.arm_if(timer, now, delay.map(|delay| delay.max(Duration::from_nanos(1))));
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.at[timer as usize] = NEVER;
    }

    pub(super) fn cancel_all(&mut self) {
        self.at = [NEVER; COUNT];
    }

    pub(super) fn is_armed(&self, timer: Timer) -> bool {
        self.at[timer as usize] != NEVER
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        let at = self.at.iter().copied().fold(NEVER, u64::min);
        if at == NEVER { None } else { self.start.checked_add(Duration::from_nanos(at)) }
    }

    /// Takes this deadline if it has passed.
    pub(super) fn take_if_due(&mut self, timer: Timer, now: Instant) -> bool {
        let at = self.at[timer as usize];
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        let due = at != NEVER && u128::from(at) <= elapsed;
        if due {
            self.cancel(timer);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &mut Timers, now: Instant) -> Vec<Timer> {
        ALL.into_iter().filter(|&timer| timers.take_if_due(timer, now)).collect()
    }

    #[test]
    fn the_earliest_deadline_is_next_and_due_when_its_instant_comes() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        assert_eq!(timers.next(), None);
        timers.arm(Timer::Idle, now, Duration::from_secs(2));
        timers.arm(Timer::Pong, now, Duration::from_secs(1));
        assert_eq!(timers.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(due(&mut timers, now + Duration::from_nanos(999_999_999)), []);
        assert_eq!(due(&mut timers, now + Duration::from_secs(1)), [Timer::Pong]);
        assert_eq!(due(&mut timers, now + Duration::from_secs(1)), []);
        timers.cancel(Timer::Idle);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_beyond_reason_is_none_and_nothing_overflows() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        timers.arm(Timer::Idle, now + Duration::from_secs(1), Duration::MAX);
        assert_eq!(timers.next(), None);
        assert!(!timers.is_armed(Timer::Idle));
        timers.arm(Timer::Idle, now, Duration::from_secs(500 * 365 * 86400));
        let _ = timers.next();
    }

    #[test]
    fn a_clock_that_steps_back_does_not_panic() {
        let now = Instant::now() + Duration::from_secs(10);
        let mut timers = Timers::new(now);
        let earlier = now - Duration::from_secs(5);
        timers.arm(Timer::Close, earlier, Duration::from_secs(1));
        assert_eq!(due(&mut timers, earlier), []);
        assert_eq!(due(&mut timers, now + Duration::from_secs(1)), [Timer::Close]);
    }
}
