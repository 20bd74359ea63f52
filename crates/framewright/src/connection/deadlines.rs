//! Deadlines, keep-alive Pings among them (RFC 6455, section 5.5.2): when they pass, and what the
//! connection does then. Deadlines are values: the connection reads no clock, the time is an
//! argument.

use super::Connection;
use super::config::Config;
use crate::error::{Error, Timeout};
use std::time::{Duration, Instant};

impl Connection {
    /// Acts on every deadline that has passed.
    pub(super) fn handle_all_deadlines(&mut self, now: Instant) {
        self.handle_deadlines(now, &ALL, false);
    }

    /// Acts on every deadline that has passed, while received bytes are left undecoded.
    pub(super) fn handle_deadlines_unread(&mut self, now: Instant) {
        self.handle_deadlines(now, &ALL, true);
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Acts on each deadline of sending that has passed.
    pub(super) fn handle_send_deadlines(&mut self, now: Instant) {
        self.handle_deadlines(now, &SENDING, false);
    }

    /// The earliest deadline of sending.
    pub(super) fn next_send_deadline(&self) -> Option<Instant> {
        self.timers.next_of(&SENDING)
    }

    /// When the peer will have taken no bytes for too long.
    pub(super) fn next_write_deadline(&self) -> Option<Instant> {
        self.timers.next_of(&[Timer::Write])
    }

    /// Puts the deadline for an idle peer off by `away`.
    pub(super) fn put_idle_off(&mut self, away: Duration) {
        self.timers.postpone(Timer::Idle, away);
    }

    fn handle_deadlines(&mut self, now: Instant, timers: &[Timer], unread: bool) {
        for &timer in timers {
            if self.timers.take_if_due(timer, now) {
                self.deadline_passed(now, timer, unread);
            }
        }
    }

    fn deadline_passed(&mut self, now: Instant, timer: Timer, unread: bool) {
        let config = &self.config;
        // Received bytes are not decoded now, so the peer's silence proves nothing. Timer::Write
        // watches the peer, or decoding goes on in the next turn.
        let busy = unread || self.congested || self.is_paused();
        let open = self.is_open();
        match timer {
            Timer::Pong if busy => self.timers.arm_again(timer, now, config.keep_alive_timeout),
            Timer::End if busy && open => self.timers.arm_again(timer, now, config.keep_alive_timeout),
            Timer::Idle if busy => self.timers.arm_again(timer, now, config.idle_timeout),
            Timer::Message if busy => self.timers.arm_again(timer, now, config.message_timeout),
            Timer::KeepAlive => self.keep_alive(now),
            Timer::Pong => self.fail_with(now, Error::Timeout(Timeout::KeepAlive)),
            Timer::End if open => self.fail_with(now, Error::Timeout(Timeout::KeepAlive)),
            Timer::Idle => self.fail_with(now, Error::Timeout(Timeout::Idle)),
            Timer::Message => self.fail_with(now, Error::Timeout(Timeout::Message)),
            Timer::Write => self.cut(now, Error::Timeout(Timeout::Write)),
            Timer::End => self.cut(now, Error::Timeout(Timeout::Close)),
        }
    }

    /// Queues the next keep-alive Ping, whatever was received and whatever is queued, and sets the
    /// time of the Ping after it.
    fn keep_alive(&mut self, now: Instant) {
        self.timers.arm_again(Timer::KeepAlive, now, self.config.keep_alive_interval);
        // A Ping behind another one that is still queued would be answered no sooner.
        if self.holds_ping() {
            return;
        }
        self.ping_serial = self.ping_serial.wrapping_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
        let mask = self.next_mask();
        let data = ping_data(self.ping_serial);
        self.buffer_mut().push_ping(&data, mask);
        self.note_queued();
    }

    /// Whether the newest keep-alive Ping is still queued.
    fn holds_ping(&self) -> bool {
        self.unanswered > 0 && self.transmit_buffer.as_ref().is_some_and(|buffer| buffer.holds_ping())
    }

    /// Sets the deadline for the Pong, after the driver has tried to transmit while a Ping was
    /// unanswered.
    ///
    /// The deadline starts when that Ping is transmitted. It starts anew whenever a transport that
    /// was full takes bytes again (`peer_reads`): the peer is reading, and the Ping lies behind the
    /// bytes that it reads.
    #[cold]
    pub(super) fn pong_is_due(&mut self, now: Instant, peer_reads: bool) {
        if self.timers.is_armed(Timer::Pong) {
            if peer_reads {
                self.timers.arm_if(Timer::Pong, now, self.config.keep_alive_timeout);
            }
        } else if !self.holds_ping() {
            self.await_pong(now);
        }
    }

    fn await_pong(&mut self, now: Instant) {
        let timeout = self.config.keep_alive_timeout;
        self.timers.arm_if(Timer::Pong, now, timeout);
        self.timers.arm_if(Timer::End, now, timeout.map(|timeout| timeout.saturating_mul(PUT_OFF)));
    }

    /// Stops keep-alive, because a Close frame is queued: no further Ping is sent, and no Pong is
    /// awaited.
    pub(super) fn end_keep_alive(&mut self) {
        self.unanswered = 0;
        for timer in [Timer::KeepAlive, Timer::Pong, Timer::End] {
            self.timers.cancel(timer);
        }
    }

    /// Puts the deadlines for a silent peer off: any received frame, and any piece of one, shows
    /// that the peer is there. The peer may answer a Ping only behind what it is sending.
    #[inline]
    pub(super) fn frame_arrived(&mut self, now: Instant) {
        if self.timers.is_either_armed(Timer::Idle, Timer::Pong) {
            self.put_silence_off(now);
        }
    }

    #[inline(never)]
    fn put_silence_off(&mut self, now: Instant) {
        let Config { idle_timeout, keep_alive_timeout, .. } = *self.config;
        for (timer, delay) in [(Timer::Idle, idle_timeout), (Timer::Pong, keep_alive_timeout)] {
            if self.timers.is_armed(timer) {
                self.timers.arm_if(timer, now, delay);
            }
        }
    }

    /// Notes a received Pong. It answers the Ping with its data and all Pings before that one
    /// (section 5.5.3). For later Pings the deadline starts anew.
    pub(super) fn pong_arrived(&mut self, now: Instant, data: &[u8]) {
        let Some(serial) = ping_serial(data) else { return };
        let behind = self.ping_serial.wrapping_sub(serial);
        let Some(behind) = u8::try_from(behind).ok().filter(|behind| *behind < self.unanswered) else {
            return;
        };
        self.unanswered = behind;
        self.timers.cancel(Timer::Pong);
        self.timers.cancel(Timer::End);
        if behind > 0 && !self.holds_ping() {
            self.await_pong(now);
        }
    }
}

/// The deadline for a Pong, put off while other frames arrive, is at most `PUT_OFF` times
/// `keep_alive_timeout` after the Ping.
const PUT_OFF: u32 = 20;

/// The application data of a keep-alive Ping: its number, in four bytes.
pub(super) fn ping_data(serial: u16) -> [u8; 4] {
    u32::from(serial).to_be_bytes()
}

/// The number of the keep-alive Ping whose application data is `data`; `None` if it is no number.
fn ping_serial(data: &[u8]) -> Option<u16> {
    let serial = u32::from_be_bytes(data.try_into().ok()?);
    u16::try_from(serial).ok()
}

/// The deadlines of one connection, each in milliseconds after a common instant, rounded up. Each
/// takes a quarter of the size of an `Option<Instant>`, and the earliest is a `min`.
#[derive(Debug)]
pub(super) struct Timers {
    base: Instant,
    at: [u32; COUNT],
}

/// The purpose of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Send the next keep-alive Ping.
    KeepAlive,
    /// The Pong, or any other bytes, must have been received.
    Pong,
    /// A frame must have been received.
    Idle,
    /// The message in progress must have grown.
    Message,
    /// The peer must have taken some of the bytes queued.
    Write,
    /// While the connection is open: the Pong must have been received, whatever else was. Once a
    /// Close frame is queued: the closing handshake must be complete, or our last bytes taken.
    End,
}

const COUNT: usize = 6;
/// All timers, in the order in which they are handled: no Ping is sent to a peer whose connection
/// fails at the same instant.
pub(super) const ALL: [Timer; COUNT] =
    [Timer::Pong, Timer::Idle, Timer::Message, Timer::Write, Timer::End, Timer::KeepAlive];
/// The timers of sending: they do not depend on the bytes received.
pub(super) const SENDING: [Timer; 2] = [Timer::KeepAlive, Timer::Write];
const NEVER: u32 = u32::MAX;

impl Timers {
    pub(super) fn new(now: Instant) -> Timers {
        Timers { base: now, at: [NEVER; COUNT] }
    }

    /// Sets the deadline to `delay` after `now`. If that is 2^32 ms (49.7 days) away or more, there
    /// is no deadline.
    pub(super) fn arm(&mut self, timer: Timer, now: Instant, delay: Duration) {
        let mut at = self.millis_until(now, delay);
        if at >= u64::from(NEVER) {
            self.move_base(now);
            at = self.millis_until(now, delay);
        }
        self.at[timer as usize] = u32::try_from(at).unwrap_or(NEVER);
    }

    /// The time from `base` to `delay` after `now`, in milliseconds, rounded up. Seconds and
    /// nanoseconds are added separately: a sum of durations would first carry from one to the
    /// other.
    #[inline]
    fn millis_until(&self, now: Instant, delay: Duration) -> u64 {
        let elapsed = now.saturating_duration_since(self.base);
        let secs = elapsed.as_secs().saturating_add(delay.as_secs());
        let part = (elapsed.subsec_nanos() + delay.subsec_nanos()).div_ceil(1_000_000);
        secs.saturating_mul(1000).saturating_add(u64::from(part))
    }

    /// Makes room for later deadlines: moves `base` up by whole milliseconds, to less than one
    /// before `now`.
    #[cold]
    fn move_base(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.base);
        let part = Duration::from_nanos(u64::from(elapsed.subsec_nanos() % 1_000_000));
        self.base += elapsed - part;
        // A deadline that lies before the new base has passed, so it becomes 0.
        let millis = u32::try_from(elapsed.as_millis()).unwrap_or(NEVER);
        for at in self.at.iter_mut().filter(|at| **at != NEVER) {
            *at = at.saturating_sub(millis);
        }
    }

    /// Sets the deadline as [`arm`](Timers::arm) does, or removes it for `None`.
    pub(super) fn arm_if(&mut self, timer: Timer, now: Instant, delay: Option<Duration>) {
        match delay {
            Some(delay) => self.arm(timer, now, delay),
            None => self.cancel(timer),
        }
    }

    /// Sets the deadline as [`arm_if`](Timers::arm_if) does. Returns the last `now` that gives this
    /// deadline, which is in whole milliseconds: a caller that sets it often can skip the calls up
    /// to then.
    #[inline(never)]
    pub(super) fn arm_settled(
        &mut self,
        timer: Timer,
        now: Instant,
        delay: Option<Duration>,
    ) -> Option<Instant> {
        self.arm_if(timer, now, delay);
        self.next_of(&[timer])?.checked_sub(delay?)
    }

    /// Sets a deadline that has just passed anew, as [`arm_if`](Timers::arm_if) does. The new one
    /// lies after `now`, so a caller that loops until no deadline has passed terminates.
    pub(super) fn arm_again(&mut self, timer: Timer, now: Instant, delay: Option<Duration>) {
        self.arm_if(timer, now, delay.map(|delay| delay.max(Duration::from_nanos(1))));
    }

    #[inline]
    pub(super) fn cancel(&mut self, timer: Timer) {
        self.at[timer as usize] = NEVER;
    }

    pub(super) fn cancel_all(&mut self) {
        self.at = [NEVER; COUNT];
    }

    #[inline]
    pub(super) fn is_armed(&self, timer: Timer) -> bool {
        self.at[timer as usize] != NEVER
    }

    /// Whether at least one of two deadlines is set, in one comparison.
    #[inline]
    pub(super) fn is_either_armed(&self, one: Timer, other: Timer) -> bool {
        self.at[one as usize] & self.at[other as usize] != NEVER
    }

    /// Puts the deadline off by the whole milliseconds of `delay`, if it is set. If it is then 2^32
    /// ms away or more, there is no deadline.
    pub(super) fn postpone(&mut self, timer: Timer, delay: Duration) {
        let at = &mut self.at[timer as usize];
        if *at != NEVER {
            *at = at.saturating_add(u32::try_from(delay.as_millis()).unwrap_or(NEVER));
        }
    }

    /// The earliest deadline.
    #[inline]
    pub(super) fn next(&self) -> Option<Instant> {
        self.instant(self.at.iter().copied().fold(NEVER, u32::min))
    }

    /// The earliest deadline of `timers`.
    pub(super) fn next_of(&self, timers: &[Timer]) -> Option<Instant> {
        self.instant(timers.iter().map(|&timer| self.at[timer as usize]).fold(NEVER, u32::min))
    }

    #[inline]
    fn instant(&self, at: u32) -> Option<Instant> {
        if at == NEVER { None } else { self.base.checked_add(Duration::from_millis(u64::from(at))) }
    }

    /// Removes the deadline if it has passed. Returns whether it has.
    pub(super) fn take_if_due(&mut self, timer: Timer, now: Instant) -> bool {
        let at = self.at[timer as usize];
        let elapsed = now.saturating_duration_since(self.base);
        let due = at != NEVER && Duration::from_millis(u64::from(at)) <= elapsed;
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
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_is_rounded_up_to_a_millisecond_and_never_early() {
        let base = Instant::now();
        let mut timers = Timers::new(base);
        let wanted = base + Duration::from_nanos(5_000_000_001);
        timers.arm(Timer::Pong, base + Duration::from_nanos(1), Duration::from_secs(5));
        assert_eq!(timers.next(), Some(base + Duration::from_millis(5001)));
        assert_eq!(due(&mut timers, wanted), []);
        assert_eq!(due(&mut timers, base + Duration::from_millis(5001)), [Timer::Pong]);
    }

    #[test]
    fn the_first_deadline_after_months_without_one_is_kept() {
        let start = Instant::now();
        for days in [49, 50, 99, 100, 120, 3000] {
            let mut timers = Timers::new(start);
            timers.arm(Timer::Idle, start, Duration::from_secs(3600));
            let now = start + Duration::from_secs(days * 86400) + Duration::from_nanos(123_456);
            timers.arm(Timer::End, now, Duration::from_secs(10));
            assert_eq!(due(&mut timers, now), [Timer::Idle], "long passed");
            let next = timers.next().expect("a deadline");
            assert!(next >= now + Duration::from_secs(10), "after {days} days");
            assert!(next < now + Duration::from_millis(10_001), "after {days} days");
        }
    }

    #[test]
    fn a_connection_of_years_still_has_its_deadlines() {
        let mut now = Instant::now();
        let mut timers = Timers::new(now);
        timers.arm(Timer::Message, now, Duration::from_secs(48 * 86400));
        let message = timers.next().unwrap();
        for _ in 0..1000 {
            now += Duration::from_nanos(86_400_123_456_789);
            timers.arm(Timer::Idle, now, Duration::from_secs(120));
            timers.cancel(Timer::Message);
            let next = timers.next().unwrap();
            let wanted = now + Duration::from_secs(120);
            assert!(next >= wanted && next - wanted < Duration::from_millis(1));
        }
        timers.arm(Timer::Message, now, Duration::from_secs(48 * 86400));
        assert!(timers.next().unwrap() < message + Duration::from_secs(1000 * 86401));
        now += Duration::from_secs(30 * 86400);
        timers.arm(Timer::Idle, now, Duration::from_secs(40 * 86400)); // counts from a new instant
        let left = timers.next().unwrap() - now;
        assert!(left >= Duration::from_secs(18 * 86400) && left < Duration::from_millis(18 * 86_400_000 + 1));
    }

    #[test]
    fn the_other_deadlines_stay_when_the_instant_moves_from_which_all_are_counted() {
        let start = Instant::now();
        let days = |days: u64| Duration::from_secs(days * 86400);
        for nanos in [0, 1, 123_456, 999_999, 1_000_000, 999_999_999] {
            let mut timers = Timers::new(start);
            timers.arm(Timer::Idle, start, days(45));
            let now = start + days(10) + Duration::from_nanos(nanos);
            timers.arm(Timer::End, now, days(45)); // 55 days after the start
            assert_eq!(timers.next_of(&[Timer::Idle]), Some(start + days(45)), "{nanos} ns");
            let end = timers.next_of(&[Timer::End]).expect("a deadline");
            assert!(end >= now + days(45) && end - (now + days(45)) < Duration::from_millis(1), "{nanos} ns");
            assert_eq!(due(&mut timers, start + days(45)), [Timer::Idle]);
            assert_eq!(due(&mut timers, end - Duration::from_nanos(1)), []);
            assert_eq!(due(&mut timers, end), [Timer::End]);
        }
    }

    #[test]
    fn a_deadline_is_settled_until_the_next_millisecond() {
        let base = Instant::now();
        let delay = Duration::from_nanos(7_000_400_001);
        for nanos in [0, 1, 599_998, 599_999, 600_000, 999_999, 5_000_000_001] {
            let now = base + Duration::from_nanos(nanos);
            let mut timers = Timers::new(base);
            let settled = timers.arm_settled(Timer::Message, now, Some(delay)).expect("a deadline");
            let deadline = timers.next();
            assert!(settled >= now && settled - now < Duration::from_millis(1), "{nanos} ns");
            timers.arm(Timer::Message, settled, delay);
            assert_eq!(timers.next(), deadline, "{nanos} ns");
            timers.arm(Timer::Message, settled + Duration::from_nanos(1), delay);
            assert!(timers.next() > deadline, "{nanos} ns");
        }
        let mut timers = Timers::new(base);
        assert_eq!(timers.arm_settled(Timer::Message, base, None), None);
        assert_eq!(timers.arm_settled(Timer::Message, base, Some(Duration::MAX)), None);
    }

    #[test]
    fn a_deadline_is_put_off_by_whole_milliseconds() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        timers.postpone(Timer::Idle, Duration::from_secs(1));
        assert_eq!(timers.next(), None, "there was none");
        timers.arm(Timer::Idle, now, Duration::from_secs(2));
        timers.postpone(Timer::Idle, Duration::from_micros(1_500_900));
        assert_eq!(timers.next(), Some(now + Duration::from_millis(3500)));
        timers.postpone(Timer::Idle, Duration::MAX);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_panic() {
        let now = Instant::now() + Duration::from_secs(10);
        let mut timers = Timers::new(now);
        let earlier = now - Duration::from_secs(5);
        timers.arm(Timer::End, earlier, Duration::from_secs(1));
        assert_eq!(due(&mut timers, earlier), []);
        assert_eq!(due(&mut timers, now + Duration::from_secs(1)), [Timer::End]);
    }
}
