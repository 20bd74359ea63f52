//! Who is asked first where memory of a kind is used up: by whom messages in parts are asked for their decompressors, and by whom
//! silent peers for what is kept of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;
use std::time::Instant;

/// Something with a reservation that can be taken back.
pub(super) trait Revocable: Send + Sync {
    /// Gives the reservation back, unless its holder has a reason to keep it. Whether it has.
    fn revoke(&self) -> bool;
}

/// Holders that are asked in turn. Each is asked once, and then waits behind all others: it costs no more than what has come
/// meanwhile from those who are passed over.
#[derive(Default)]
pub(super) struct Turns(VecDeque<Weak<dyn Revocable>>);

impl Turns {
    /// Notes a holder, until it is dropped.
    pub(super) fn add(&mut self, holder: Weak<dyn Revocable>) {
        if self.0.len() == self.0.capacity() {
            // Half of the room is free afterwards: so it is done once for as many holders as there are.
            self.0.retain(|holder| holder.strong_count() > 0);
            let len = self.0.len();
            self.0.reserve(len + 1);
        }
        self.0.push_back(holder);
    }

    /// Takes back what the first one has that lets it go. Whether there is such.
    pub(super) fn revoke_one(&mut self) -> bool {
        for _ in 0..self.0.len() {
            let Some(weak) = self.0.pop_front() else { break };
            let Some(holder) = weak.upgrade() else { continue };
            if holder.revoke() {
                return true;
            }
            self.0.push_back(weak);
        }
        false
    }

    /// Gives back the room of holders that have gone.
    pub(super) fn trim(&mut self) {
        if self.0.capacity() > 0 {
            self.0.retain(|holder| holder.strong_count() > 0);
            self.0.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How many give way for one at most: to ask takes little time, and nobody costs many others what little they hold.
const MOST: usize = 64;

/// When a peer has sent something last, and how many octets of payload in all.
pub(super) type Sender = (Instant, u64);

/// How good a right a peer has to what is kept of it: the lower one gives way to the higher.
///
/// It is the time of the peer's last message, and what its messages have cost it: of two that are silent for as long, the one that has
/// sent less for each octet that is kept gives way. To have sent half as much counts as a minute of silence. So neither a message of
/// zeros, of which a few octets make as much as is ever kept, takes anything from peers that send what others do; nor does anybody
/// keep for ever what it has sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(i64);

/// Seconds of silence that count as much as half of what was sent.
const HALF: i64 = 60;
/// Octets that nobody has to have sent: who has little kept is not asked for it.
const FREE: u64 = 256;
/// What was sent counts down to this part of what is kept, as a power of two: DEFLATE makes no more than 1032 of one octet.
const LEAST: u32 = 11;

/// Where a holder is in the order of ranks: two of the same rank have other numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(Rank, u64);

/// Holders in the order of their rank.
#[derive(Default)]
pub(super) struct Ranks {
    /// What time is counted from.
    first: Option<Instant>,
    next: u64,
    holders: BTreeMap<Place, Ranked>,
}

struct Ranked {
    octets: usize,
    holder: Weak<dyn Revocable>,
}

impl Ranks {
    /// The rank of a peer of which so many octets are kept.
    fn rank(&mut self, (now, sent): Sender, kept: usize) -> Rank {
        let first = *self.first.get_or_insert(now);
        let seconds = now.saturating_duration_since(first).as_secs();
        let kept = (kept as u64).max(1);
        let share = ((sent.min(kept) + FREE) << LEAST) / kept;
        let halves = i64::from(LEAST.saturating_sub(share.max(1).ilog2()));
        Rank(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_sub(halves * HALF))
    }

    /// Notes a holder of nothing yet.
    pub(super) fn add(&mut self, sender: Sender, holder: Weak<dyn Revocable>) -> Place {
        let place = Place(self.rank(sender, 0), self.next);
        self.next += 1;
        self.holders.insert(place, Ranked { octets: 0, holder });
        place
    }

    /// Ranks a holder anew, which has so many octets now; `None` if it was taken off since they were taken back.
    pub(super) fn change(&mut self, place: Place, sender: Sender, octets: usize) -> Option<Place> {
        let rank = self.rank(sender, octets);
        if place.0 == rank {
            self.holders.get_mut(&place)?.octets = octets;
            return Some(place);
        }
        let Ranked { holder, .. } = self.holders.remove(&place)?;
        let place = Place(rank, place.1);
        self.holders.insert(place, Ranked { octets, holder });
        Some(place)
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.holders.remove(&place);
    }

    /// Takes back what those have that rank lower than this peer would with `octets`, the lowest first, until it `fits`: whether it does.
    /// Nobody loses anything where [`MOST`] of them together have less than is `wanted`.
    pub(super) fn revoke_below(
        &mut self,
        sender: Sender,
        octets: usize,
        wanted: usize,
        mut fits: impl FnMut() -> bool,
    ) -> bool {
        let rank = self.rank(sender, octets);
        let mut found = 0;
        let mut places = Vec::new();
        for (place, ranked) in self.holders.range(..Place(rank, 0)) {
            if found >= wanted || places.len() == MOST {
                break;
            }
            found += ranked.octets;
            places.push(*place);
        }
        if found < wanted {
            return false;
        }
        for place in places {
            // One that is just being used is passed over.
            let holder = self.holders.get(&place).and_then(|ranked| ranked.holder.upgrade());
            if holder.is_none_or(|holder| holder.revoke()) {
                self.holders.remove(&place);
            }
            if fits() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// Whether it was taken back.
    struct Holder(AtomicBool);

    impl Revocable for Holder {
        fn revoke(&self) -> bool {
            self.0.store(true, Ordering::Relaxed);
            true
        }
    }

    /// Holders that sent so much so many seconds after the start, and hold so many octets each.
    fn holders(ranks: &mut Ranks, start: Instant, all: &[(u64, u64, usize)]) -> Vec<(Arc<Holder>, Place)> {
        let add = |&(seconds, sent, octets): &(u64, u64, usize)| {
            let holder = Arc::new(Holder(AtomicBool::new(false)));
            let weak: Weak<Holder> = Arc::downgrade(&holder);
            let sender = (start + Duration::from_secs(seconds), sent);
            let place = ranks.add(sender, weak);
            (holder, ranks.change(place, sender, octets).expect("it is there"))
        };
        all.iter().map(add).collect()
    }

    fn lost(holders: &[(Arc<Holder>, Place)]) -> Vec<bool> {
        holders.iter().map(|(holder, _)| holder.0.load(Ordering::Relaxed)).collect()
    }

    const WINDOW: usize = 32 << 10;

    #[test]
    fn half_as_much_sent_counts_as_a_minute_of_silence() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        let window = WINDOW as u64;
        // All; twice that counts as much; half of it and less than all; next to nothing.
        let sent = [(0, window), (0, 2 * window), (0, window - 300), (0, window / 2), (0, 0)];
        let rank = |ranks: &mut Ranks, (seconds, sent)| {
            ranks.rank((start + Duration::from_secs(seconds), sent), WINDOW).0
        };
        assert_eq!(sent.map(|sender| rank(&mut ranks, sender)), [0, 0, -60, -60, -420]);
        assert_eq!(rank(&mut ranks, (60, window / 2)), 0);
        assert_eq!(ranks.rank((start, 0), 256).0, 0, "little is free");
        assert_eq!(ranks.rank((start, 50), 400).0, -60);
    }

    #[test]
    fn the_lowest_give_way_first_and_no_more_than_it_takes() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        let window = WINDOW as u64;
        let held = holders(
            &mut ranks,
            start,
            &[(9, window, 100), (0, 50, WINDOW), (5, 50, WINDOW), (6, 50, WINDOW)],
        );
        let mut free = 0;
        let enough = |wanted: usize, free: &mut usize| {
            *free += 1;
            *free * WINDOW >= wanted
        };
        let ask = (start + Duration::from_secs(10), 200);
        assert!(ranks.revoke_below(ask, 400, 2 * WINDOW, || enough(2 * WINDOW, &mut free)));
        assert_eq!(lost(&held), [false, true, true, false]);
        // There is no more than one left below, and the first ranks as high.
        assert!(!ranks.revoke_below((ask.0, 50), WINDOW, 2 * WINDOW, || unreachable!("nobody is asked")));
        assert_eq!(lost(&held), [false, true, true, false]);
        assert_eq!(ranks.change(held[1].1, ask, 1), None, "it was taken off");
    }

    #[test]
    fn nobody_costs_many_others_what_little_they_hold() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        let held = holders(&mut ranks, start, &[(0, 300, 300); MOST + 1]);
        let ask = (start + Duration::from_secs(600), 1 << 20);
        assert!(!ranks.revoke_below(ask, WINDOW, (MOST + 1) * 300, || unreachable!("nobody is asked")));
        let mut left = MOST;
        assert!(ranks.revoke_below(ask, WINDOW, MOST * 300, || {
            left -= 1;
            left == 0
        }));
        assert_eq!(lost(&held).iter().filter(|lost| **lost).count(), MOST);
    }
}
