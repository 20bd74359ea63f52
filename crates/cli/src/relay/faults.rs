//! How many mistakes a client may make.

use std::time::{Duration, Instant};

/// How many mistakes a client may make at once.
pub(crate) const AT_ONCE: u32 = 100;
/// After this time one mistake is forgotten.
const FORGET: Duration = Duration::from_secs(1);

/// The mistakes of a client that are not forgotten yet.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    count: u32,
    /// When the next is forgotten, less [`FORGET`]; `None` before the first mistake.
    since: Option<Instant>,
}

impl Faults {
    /// Notes a mistake. Returns whether the client may go on.
    pub(crate) fn note(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let passed = u32::try_from(now.saturating_duration_since(since).as_secs() / FORGET.as_secs());
        let forgotten = passed.unwrap_or(u32::MAX).min(self.count);
        self.count = self.count - forgotten + 1;
        // With nothing left to forget, the time begins anew.
        self.since = Some(if self.count == 1 { now } else { since + FORGET * forgotten });
        self.count <= AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_mistakes_at_once_are_allowed_and_then_one_a_second() {
        let start = Instant::now();
        let mut faults = Faults::default();
        assert!((0..AT_ONCE).all(|_| faults.note(start)));
        assert!(!faults.note(start));
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut faults = Faults::default();
        assert!((0..AT_ONCE).all(|_| faults.note(start)));
        assert!(faults.note(at(1.5)) && !faults.note(at(1.9)));
        let mut faults = Faults::default();
        assert!((0..AT_ONCE).all(|_| faults.note(start)));
        assert!(faults.note(at(1.5)) && faults.note(at(2.0)) && !faults.note(at(2.0)));
        let mut faults = Faults::default();
        assert!((0..AT_ONCE).all(|_| faults.note(start)));
        assert!((0..AT_ONCE).all(|_| faults.note(at(1000.0))) && !faults.note(at(1000.0)));
    }
}
