//! Periodic calls that the application has requested, independent of connections.

use crate::guard::guarded;
use std::time::{Duration, Instant};

/// The shortest interval of a ticker.
const SHORTEST: Duration = Duration::from_millis(1);

/// A call that is made once per interval.
pub(crate) struct Ticker {
    interval: Duration,
    /// `None` beyond the end of the clock.
    next: Option<Instant>,
    call: Box<dyn FnMut() + Send>,
}

impl Ticker {
    pub(crate) fn new(interval: Duration, now: Instant, call: Box<dyn FnMut() + Send>) -> Ticker {
        let interval = interval.max(SHORTEST);
        Ticker { interval, next: now.checked_add(interval), call }
    }

    /// The time until the next call; `None` for never.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(now))
    }

    /// Calls it if it is due. Missed calls are skipped, and the next one stays in step with the
    /// earlier ones. Returns whether it was called.
    pub(crate) fn call_if_due(&mut self, now: Instant) -> bool {
        let Some(next) = self.next.filter(|&next| next <= now) else { return false };
        let late = (now - next).as_nanos() % self.interval.as_nanos();
        // Less than the interval, so it fits into a `u64`.
        let late = Duration::from_nanos(u64::try_from(late).unwrap_or(0));
        self.next = now.checked_add(self.interval.saturating_sub(late));
        if guarded(&mut self.call).is_none() {
            tracing::error!("a ticker panicked; it is called again in its time");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_comes_once_an_interval_in_step_and_what_was_missed_is_left_out() {
        let (start, calls) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let counting = Arc::clone(&calls);
        let call = move || {
            if counting.fetch_add(1, Ordering::Relaxed) == 1 {
                panic!("of the application");
            }
        };
        let mut ticker = Ticker::new(2 * SECOND, start, Box::new(call));
        let millis = Duration::from_millis;
        for (at, called, wait) in [
            (millis(0), false, millis(2000)),
            (millis(1999), false, millis(1)),
            (millis(2100), true, millis(1900)),
            (millis(4000), true, millis(2000)),
            (millis(11_500), true, millis(500)),
            (millis(11_500), false, millis(500)),
            (millis(12_000), true, millis(2000)),
        ] {
            let now = start + at;
            assert_eq!((ticker.call_if_due(now), ticker.wait(now)), (called, Some(wait)), "at {at:?}");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn an_interval_is_neither_zero_nor_too_long_for_the_clock() {
        let now = Instant::now();
        let mut ticker = Ticker::new(Duration::ZERO, now, Box::new(|| {}));
        assert!(!ticker.call_if_due(now) && ticker.call_if_due(now + SHORTEST));
        let mut never = Ticker::new(Duration::MAX, now, Box::new(|| {}));
        assert_eq!((never.call_if_due(now + SECOND), never.wait(now)), (false, None));
    }
}
