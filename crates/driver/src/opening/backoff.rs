//! How long to wait before reconnecting (RFC 6455, section 7.2.3). The caller decides whether to
//! reconnect.

use rand::{Rng, RngExt as _};
use std::time::Duration;

/// Delays between attempts to reconnect: the first one is random, the later ones grow.
///
/// ```
/// # use framewright_driver::opening::Backoff;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::new();
/// assert!(backoff.next_delay() <= Duration::from_secs(5));
/// let second = backoff.next_delay(); // the first attempt failed
/// assert!(second >= Duration::from_secs(5) && second <= Duration::from_secs(10));
/// backoff.reset(); // the second one did not
/// assert!(backoff.next_delay() <= Duration::from_secs(5));
/// ```
///
/// The longest possible delay doubles with each attempt until it reaches the cap. After the first,
/// each delay is random between half of the longest and the longest. So the clients of a server
/// that comes back are spread over time.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    /// The number of delays returned since the last reset.
    given: u32,
}

impl Backoff {
    /// Creates delays of up to 5 seconds at first, and of a minute at most.
    #[must_use]
    pub fn new() -> Backoff {
        Backoff { first: Duration::from_secs(5), cap: Duration::from_secs(60), given: 0 }
    }

    /// Sets the longest first delay. Default 5 s, which RFC 6455 calls reasonable. When a server
    /// stops, all its clients lose it at the same moment, and their first attempts are the load
    /// that it meets when it comes back.
    #[must_use]
    pub fn with_first(mut self, first: Duration) -> Backoff {
        self.first = first;
        self
    }

    /// Sets the longest delay of all. Default 60 s. This is how long a client may stay away after a
    /// server has come back.
    #[must_use]
    pub fn with_cap(mut self, cap: Duration) -> Backoff {
        self.cap = cap;
        self
    }

    /// Returns how long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.next_by(&mut rand::rng())
    }

    /// Makes the next delay a first one again. Call it when a connection was opened and proved
    /// useful.
    pub fn reset(&mut self) {
        self.given = 0;
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.3
    //# Should the first reconnect attempt fail, subsequent reconnect
    //# attempts SHOULD be delayed by increasingly longer amounts of time,
    //# using a method such as truncated binary exponential backoff.
    fn next_by(&mut self, rng: &mut impl Rng) -> Duration {
        let factor = 1u32.checked_shl(self.given).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(factor).min(self.cap);
        //= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.3
        //# The first reconnect attempt SHOULD be delayed by a random amount of
        //# time.
        let shortest = if self.given == 0 { Duration::ZERO } else { longest / 2 };
        self.given = self.given.saturating_add(1);
        rng.random_range(shortest..=longest)
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    //= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.3
    //= type=test
    //# The first reconnect attempt SHOULD be delayed by a random amount of
    //# time.
    #[test]
    fn first_delay_is_anything_up_to_five_seconds() {
        let mut rng = StdRng::seed_from_u64(1);
        let delays: Vec<_> = (0..1000).map(|_| Backoff::new().next_by(&mut rng)).collect();
        assert!(delays.iter().all(|it| *it <= Duration::from_secs(5)));
        assert!(delays.iter().min().unwrap() < &Duration::from_millis(100));
        assert!(delays.iter().max().unwrap() > &Duration::from_millis(4900));
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.3
    //= type=test
    //# Should the first reconnect attempt fail, subsequent reconnect
    //# attempts SHOULD be delayed by increasingly longer amounts of time,
    //# using a method such as truncated binary exponential backoff.
    #[test]
    fn later_delays_double_up_to_the_cap_and_never_shrink_below_half_of_it() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut backoff = Backoff::new();
        backoff.next_by(&mut rng);
        for longest in [10, 20, 40, 60, 60, 60] {
            let delay = backoff.next_by(&mut rng);
            let longest = Duration::from_secs(longest);
            assert!(delay >= longest / 2 && delay <= longest, "{delay:?} of {longest:?}");
        }
        for _ in 0..100 {
            assert!(backoff.next_by(&mut rng) >= Duration::from_secs(30));
        }
    }

    #[test]
    fn two_clients_do_not_wait_equally_long() {
        let delays = |seed| {
            let (mut rng, mut backoff) = (StdRng::seed_from_u64(seed), Backoff::new());
            [(); 8].map(|()| backoff.next_by(&mut rng))
        };
        assert!(delays(3).iter().zip(delays(4)).all(|(one, other)| *one != other));
        assert_eq!(delays(3), delays(3));
    }

    #[test]
    fn a_cap_below_the_first_delay_holds_for_it_too_and_extremes_do_not_overflow() {
        let cap = Duration::from_secs(1);
        let mut backoff = Backoff::new().with_first(Duration::MAX).with_cap(cap);
        for _ in 0..100 {
            assert!(backoff.next_delay() <= cap);
        }
        let mut endless = Backoff::new().with_first(Duration::MAX).with_cap(Duration::MAX);
        endless.next_delay();
        assert!(endless.next_delay() >= Duration::MAX / 2);
        assert_eq!(Backoff::new().with_first(Duration::ZERO).next_delay(), Duration::ZERO);
    }
}
