//! How long a connection is not tried again after a failure.

use rand::RngExt;
use std::time::Duration;

/// The pause doubles with each failure, from `first` to `longest`. Each is shortened at random by up
/// to a half, so that many servers do not come back to a Redis at once.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Notes a failure, and returns the pause after it.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Notes a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_shortened_by_half_at_most() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest);
        for failure in 0..40 {
            let whole = (first * (1 << failure.min(10))).min(longest);
            let pause = backoff.pause();
            assert!(whole / 2 <= pause && pause <= whole, "{failure}: {pause:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
