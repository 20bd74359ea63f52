//! In which order, and when, the addresses of a host are tried (RFC 8305, sections 4 and 5, "Happy
//! Eyeballs").
//!
//! No sockets and no clock: `connecting` carries out the decisions made here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The delay until the next attempt begins beside an earlier one: the value that RFC 8305, section
/// 8, recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The addresses still to be tried.
#[derive(Debug)]
pub(super) struct Race {
    addresses: VecDeque<SocketAddr>,
    /// When the next attempt begins; `None` means at once.
    due: Option<Instant>,
}

impl Race {
    /// `addresses` in the order of the resolver, which has sorted them (RFC 6724).
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Race {
        Race { addresses: interleave(addresses), due: None }
    }

    /// The address to try now, if it is time. To be called until it returns `None`.
    pub(super) fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.due.is_some_and(|due| now < due) {
            return None;
        }
        let address = self.addresses.pop_front()?;
        self.due = Some(now + ATTEMPT_DELAY);
        Some(address)
    }

    /// Lets the next attempt begin at once, after an attempt has failed.
    pub(super) fn hurry(&mut self) {
        self.due = None;
    }

    /// When to ask for the next address.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.addresses.is_empty() { None } else { self.due }
    }
}

/// Alternates between the address families, beginning with that of the first address; within a
/// family the order stays. So an unreachable family costs one delay, and not one for each of its
/// addresses.
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let mut unique = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    let Some(first) = unique.first().map(SocketAddr::is_ipv6) else { return VecDeque::new() };
    let (preferred, other): (Vec<_>, Vec<_>) = unique.into_iter().partition(|it| it.is_ipv6() == first);
    let mut ordered = VecDeque::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        let before = ordered.len();
        ordered.extend(preferred.next());
        ordered.extend(other.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|it| it.parse().unwrap()).collect()
    }

    fn order(text: &str) -> Vec<SocketAddr> {
        interleave(addresses(text)).into()
    }

    #[test]
    fn families_take_turns_beginning_with_the_first_of_the_resolver() {
        assert_eq!(
            order("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1"),
            addresses("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1")
        );
        assert_eq!(
            order("1.1.1.1:1 2.2.2.2:1 [::1]:1 3.3.3.3:1"),
            addresses("1.1.1.1:1 [::1]:1 2.2.2.2:1 3.3.3.3:1")
        );
        assert_eq!(order("2.2.2.2:1 1.1.1.1:1"), addresses("2.2.2.2:1 1.1.1.1:1"));
        assert_eq!(order(""), []);
    }

    #[test]
    fn an_address_that_is_given_twice_is_tried_once() {
        assert_eq!(order("1.1.1.1:1 1.1.1.1:1 [::1]:1 1.1.1.1:1"), addresses("1.1.1.1:1 [::1]:1"));
    }

    #[test]
    fn attempts_begin_a_quarter_of_a_second_apart() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let given = addresses("[::1]:1 1.1.1.1:1 [::2]:1");
        let mut race = Race::new(given.clone());
        assert_eq!(race.next(start), Some(given[0]));
        assert_eq!(race.next(start), None);
        assert_eq!(race.deadline(), Some(after(250)));
        assert_eq!(race.next(after(249)), None);
        assert_eq!(race.next(after(250)), Some(given[1]));
        assert_eq!(race.deadline(), Some(after(500)));
        assert_eq!(race.next(after(700)), Some(given[2]));
        assert_eq!(race.next(after(10_000)), None);
        assert_eq!(race.deadline(), None, "nothing is left to try");
    }

    #[test]
    fn a_failure_begins_the_next_attempt_at_once() {
        let start = Instant::now();
        let given = addresses("[::1]:1 1.1.1.1:1 [::2]:1");
        let mut race = Race::new(given.clone());
        assert_eq!(race.next(start), Some(given[0]));
        race.hurry();
        assert_eq!(race.next(start), Some(given[1]));
        assert_eq!(race.next(start), None, "the delay counts from the latest attempt");
        assert_eq!(race.deadline(), Some(start + ATTEMPT_DELAY));
    }
}
