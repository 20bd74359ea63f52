//! Which holder gives way first when memory of a kind is used up. Messages in progress are asked
//! for their decompressors in turn; peers lose their kept messages in the order of their rank.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;
use std::time::{Duration, Instant};

/// Something with a reservation that can be taken back.
pub(super) trait Revocable: Send + Sync {
    /// Gives the reservation back, unless its holder has a reason to keep it. Returns whether it
    /// was given back.
    fn revoke(&self) -> bool;
}

/// Holders that are asked in turn. Each is asked once, and then queued behind all others. The cost
/// of asking is bounded by the bytes received meanwhile from the holders that keep theirs.
#[derive(Default)]
pub(super) struct Turns(VecDeque<Weak<dyn Revocable>>);

impl Turns {
    /// Notes a holder, until it is dropped.
    pub(super) fn add(&mut self, holder: Weak<dyn Revocable>) {
        if self.0.len() == self.0.capacity() {
            // Half of the room is free afterwards, so this runs once for as many additions as there
            // are holders.
            self.0.retain(|holder| holder.strong_count() > 0);
            let len = self.0.len();
            self.0.reserve(len + 1);
        }
        self.0.push_back(holder);
    }

    /// Takes the reservation of the first holder that gives it back. Returns whether there is one.
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

    /// Frees the entries of holders that no longer exist.
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

/// The most holders that give way for one. It bounds the time of asking, and one request cannot
/// take the little memory of many holders.
const MOST: usize = 64;

/// How much a peer has sent lately, and when it last sent.
///
/// An eighth of `sent` is forgotten each minute: bytes sent once count half as much after five
/// minutes of messages, even empty ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    last: Instant,
    /// Bytes of payload.
    sent: u64,
    /// The time up to which `sent` was reduced.
    until: Instant,
}

const MINUTE: u64 = 60;

impl Sender {
    /// A peer that has sent `sent` bytes of payload just now, and nothing before.
    pub(super) fn new(now: Instant, sent: u64) -> Sender {
        Sender { last: now, sent, until: now }
    }

    /// Notes `payload` more bytes.
    pub(super) fn note(&mut self, now: Instant, payload: u64) {
        let minutes = now.saturating_duration_since(self.until).as_secs() / MINUTE;
        self.until += Duration::from_secs(minutes * MINUTE);
        // After 400 minutes, fewer than eight of 2^64 bytes are left, and these stay.
        for _ in 0..minutes.min(400) {
            self.sent -= self.sent / 8;
        }
        self.sent = self.sent.saturating_add(payload);
        self.last = now;
    }
}

/// A peer's claim to its kept messages: the lower rank gives way to the higher.
///
/// The rank is the time of the peer's last message, less a penalty for having sent little. Of two
/// peers silent for equally long, the one that has sent fewer bytes for each byte kept gives way.
/// Having sent half as much counts as a minute of silence.
///
/// - A message of zeros, a few bytes of which inflate to the most that is ever kept, takes no
///   memory from peers that send ordinary messages.
/// - No peer keeps memory forever for bytes it has sent once, whether it is silent or sends empty
///   messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(i64);

/// Seconds of silence that count as much as having sent half as much.
const HALF: i64 = 60;
/// Bytes kept of any peer without a penalty: the beginning of a conversation.
const FREE: u64 = 256;
/// The least part of the bytes kept that counts as sent, as a power of two: one byte of a window.
const LEAST: u32 = 15;

/// A holder's place in the order of ranks. Two holders of the same rank have different numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    rank: Rank,
    number: u64,
    class: usize,
}

/// Holders in the order of their rank, separated by how much they hold: a search for much memory
/// does not pass over the holders of little.
#[derive(Default)]
pub(super) struct Ranks {
    /// The instant from which time is counted.
    first: Option<Instant>,
    next: u64,
    /// Holders of 0 bytes; of 1 byte; of 2 or 3; and so on by powers of two.
    classes: [BTreeMap<Place, Ranked>; CLASSES],
}

/// The number of classes. No holder has 128 KiB: it has a window, and the payload of a message that
/// may refer to it.
const CLASSES: usize = 18;

/// The class of a holder of `octets` bytes.
fn class(octets: usize) -> usize {
    octets.checked_ilog2().map_or(0, |log| (log as usize + 1).min(CLASSES - 1))
}

struct Ranked {
    octets: usize,
    holder: Weak<dyn Revocable>,
}

impl Ranks {
    /// The rank of a peer of which `kept` bytes are kept.
    fn rank(&mut self, sender: Sender, kept: usize) -> Rank {
        let first = *self.first.get_or_insert(sender.last);
        let seconds = sender.last.saturating_duration_since(first).as_secs();
        let kept = kept as u64;
        let share = (sender.sent.min(kept) << LEAST) / kept.saturating_sub(FREE).max(1);
        let halves = if kept > FREE { i64::from(LEAST.saturating_sub(share.max(1).ilog2())) } else { 0 };
        Rank(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_sub(halves * HALF))
    }

    /// Notes a holder of 0 bytes.
    pub(super) fn add(&mut self, sender: Sender, holder: Weak<dyn Revocable>) -> Place {
        let place = Place { rank: self.rank(sender, 0), number: self.next, class: class(0) };
        self.next += 1;
        self.classes[place.class].insert(place, Ranked { octets: 0, holder });
        place
    }

    /// Ranks a holder anew, of whose peer `kept` bytes are kept in `octets` bytes of memory. `None`
    /// if the memory was taken back, and the holder removed.
    pub(super) fn change(
        &mut self,
        place: Place,
        sender: Sender,
        kept: usize,
        octets: usize,
    ) -> Option<Place> {
        let new = Place { rank: self.rank(sender, kept), number: place.number, class: class(octets) };
        if place == new {
            self.classes[place.class].get_mut(&place)?.octets = octets;
            return Some(place);
        }
        let Ranked { holder, .. } = self.classes[place.class].remove(&place)?;
        self.classes[new.class].insert(new, Ranked { octets, holder });
        Some(new)
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.classes[place.class].remove(&place);
    }

    /// Takes memory from holders of a lower rank than a peer of which `kept` bytes are kept, the
    /// lowest first, until it `fits`. Returns whether it does.
    ///
    /// At most [`MOST`] holders give way, each of which has its part of `wanted`. If they have less
    /// than `wanted` bytes together, none loses its memory.
    pub(super) fn revoke_below(
        &mut self,
        sender: Sender,
        kept: usize,
        wanted: usize,
        mut fits: impl FnMut() -> bool,
    ) -> bool {
        let rank = self.rank(sender, kept);
        let (places, found) = self.lowest(rank, wanted);
        if found < wanted {
            return false;
        }
        for place in places {
            // A holder in use is skipped. Memory taken back may be reserved by another caller
            // before `fits` reserves it.
            let order = &mut self.classes[place.class];
            let holder = order.get(&place).and_then(|ranked| ranked.holder.upgrade());
            if holder.is_none_or(|holder| holder.revoke()) {
                order.remove(&place);
            }
            if fits() {
                return true;
            }
        }
        false
    }

    /// The [`MOST`] lowest holders below `rank`, out of those that have their part of `wanted`: as
    /// much as [`MOST`] of them need to have it all. Also returns how many bytes they have.
    fn lowest(&self, rank: Rank, wanted: usize) -> (Vec<Place>, usize) {
        let below = Place { rank, number: 0, class: 0 };
        let least = class(wanted.div_ceil(MOST).next_power_of_two());
        let mut orders: Vec<_> = self.classes[least..]
            .iter()
            .filter_map(|order| {
                let mut rest = order.range(..below);
                Some((rest.next()?, rest))
            })
            .collect();
        let (mut places, mut found) = (Vec::new(), 0);
        while places.len() < MOST
            && let Some(index) = (0..orders.len()).min_by_key(|index| orders[*index].0.0)
        {
            let ((place, ranked), rest) = &mut orders[index];
            places.push(**place);
            found += ranked.octets;
            match rest.next() {
                Some(next) => (*place, *ranked) = next,
                None => drop(orders.swap_remove(index)),
            }
        }
        (places, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A holder that has lost its memory or not, and is in use or not.
    #[derive(Default)]
    struct Holder {
        lost: AtomicBool,
        busy: AtomicBool,
    }

    impl Revocable for Holder {
        fn revoke(&self) -> bool {
            let busy = self.busy.load(Ordering::Relaxed);
            self.lost.fetch_or(!busy, Ordering::Relaxed);
            !busy
        }
    }

    /// Holders, each as the seconds after `start` at which its peer sent, the bytes sent, and the
    /// bytes held.
    fn holders(ranks: &mut Ranks, start: Instant, all: &[(u64, u64, usize)]) -> Vec<(Arc<Holder>, Place)> {
        let add = |&(seconds, sent, octets): &(u64, u64, usize)| {
            let holder = Arc::new(Holder::default());
            let weak: Weak<Holder> = Arc::downgrade(&holder);
            let sender = sender(start, seconds, sent);
            let place = ranks.add(sender, weak);
            (holder, ranks.change(place, sender, octets, octets).expect("it is there"))
        };
        all.iter().map(add).collect()
    }

    fn sender(start: Instant, seconds: u64, sent: u64) -> Sender {
        Sender::new(start + Duration::from_secs(seconds), sent)
    }

    fn lost(holders: &[(Arc<Holder>, Place)]) -> Vec<bool> {
        holders.iter().map(|(holder, _)| holder.lost.load(Ordering::Relaxed)).collect()
    }

    const WINDOW: usize = 32 << 10;

    #[test]
    fn half_as_much_sent_counts_as_a_minute_of_silence() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        let window = WINDOW as u64;
        // A whole window; twice that counts as much; less than all, and half; zeros; nothing.
        let sent = [(0, window), (0, 2 * window), (0, window - 300), (0, window / 2), (0, 50), (0, 0)];
        let mut rank = |(seconds, sent), kept| ranks.rank(sender(start, seconds, sent), kept).0;
        assert_eq!(sent.map(|sender| rank(sender, WINDOW)), [0, 0, -60, -60, -600, -900]);
        assert_eq!(rank((60, window / 2), WINDOW), 0);
        assert_eq!(rank((0, 0), 256), 0, "little is free");
        assert_eq!([rank((0, 144), 400), rank((0, 50), 400)], [0, -120]);
    }

    /// Once all bytes ever sent counted forever, and an empty message counted as much as a long
    /// one.
    #[test]
    fn what_was_sent_counts_half_after_five_minutes_of_messages() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        assert_eq!(ranks.rank(Sender::new(start, 0), 0), Rank(0), "from here on it is counted");
        let mut empty = Sender::new(start, WINDOW as u64);
        // A conversation that has sent 3000 bytes, and then sends few bytes each minute.
        let mut little = Sender::new(start, 3000);
        let mut behind = Vec::new();
        for minute in 1..=60 {
            let now = start + Duration::from_secs(60 * minute);
            // The number of messages in a minute does not matter.
            (0..3).for_each(|_| empty.note(now, 0));
            empty.note(now + Duration::from_secs(59), 1);
            little.note(now, 20);
            if minute % 10 == 0 {
                let now = i64::try_from(minute).expect("few") * 60;
                behind.push([empty, little].map(|sender| now - ranks.rank(sender, WINDOW).0));
            }
        }
        assert_eq!(behind, [[61, 360], [181, 420], [301, 480], [421, 480], [541, 480], [601, 480]]);
        little.note(start + Duration::from_secs(1 << 40), 5);
        assert_eq!(little.sent, 7 + 5);
        little.note(start, u64::MAX);
        assert_eq!(little.sent, u64::MAX);
    }

    #[test]
    fn the_lowest_give_way_first_and_no_more_than_it_takes() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        let window = WINDOW as u64;
        let held = holders(
            &mut ranks,
            start,
            &[(9, window, 5000), (0, 50, WINDOW), (5, 50, WINDOW), (6, 50, WINDOW)],
        );
        let mut free = 0;
        let enough = |wanted: usize, free: &mut usize| {
            *free += 1;
            *free * WINDOW >= wanted
        };
        let ask = sender(start, 10, 200);
        assert!(ranks.revoke_below(ask, 400, 2 * WINDOW, || enough(2 * WINDOW, &mut free)));
        assert_eq!(lost(&held), [false, true, true, false]);
        // The first holder ranks higher, and only one is left below.
        let ask = sender(start, 10, 50);
        assert!(!ranks.revoke_below(ask, WINDOW, 2 * WINDOW, || unreachable!("nobody is asked")));
        assert_eq!(lost(&held), [false, true, true, false]);
        assert_eq!(ranks.change(held[1].1, ask, 1, 1), None, "it was taken off");
    }

    #[test]
    fn nobody_costs_many_others_what_little_they_hold() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        let held = holders(&mut ranks, start, &[(0, 300, 256); MOST + 1]);
        let ask = sender(start, 600, 1 << 20);
        assert!(!ranks.revoke_below(ask, WINDOW, (MOST + 1) * 256, || unreachable!("nobody is asked")));
        let mut left = MOST;
        assert!(ranks.revoke_below(ask, WINDOW, MOST * 256, || {
            left -= 1;
            left == 0
        }));
        assert_eq!(lost(&held).iter().filter(|lost| **lost).count(), MOST);
    }

    /// Once holders of little were the lowest, and only the [`MOST`] lowest were considered.
    #[test]
    fn however_many_hold_little_or_nothing_who_holds_much_gives_way() {
        for little in [0, 1, 100, 511] {
            let (mut ranks, start) = (Ranks::default(), Instant::now());
            let few = holders(&mut ranks, start, &[(0, 0, little); 10 * MOST]);
            let much = holders(&mut ranks, start, &[(60, 1000, 600); 2 * MOST]);
            let ask = sender(start, 600, 1 << 20);
            let mut left = WINDOW.div_ceil(600);
            assert!(ranks.revoke_below(ask, WINDOW, WINDOW, || {
                left -= 1;
                left == 0
            }));
            assert!(!lost(&few).contains(&true), "{little}");
            assert_eq!(lost(&much).iter().filter(|lost| **lost).count(), WINDOW.div_ceil(600));
        }
    }

    /// Once no more holders were asked than together had the bytes wanted.
    #[test]
    fn where_one_is_busy_or_others_take_what_it_had_the_next_is_asked() {
        let (mut ranks, start) = (Ranks::default(), Instant::now());
        let held =
            holders(&mut ranks, start, &[(0, 300, 5000), (1, 300, 1000), (2, 300, 5000), (3, 300, 5000)]);
        held[0].0.busy.store(true, Ordering::Relaxed);
        let ask = sender(start, 600, 1 << 20);
        let mut asked = 0;
        assert!(ranks.revoke_below(ask, 5000, 5000, || {
            asked += 1;
            asked == 4
        }));
        assert_eq!(lost(&held), [false, true, true, true]);
        // The busy holder is still in the order, and the others are not.
        held[0].0.busy.store(false, Ordering::Relaxed);
        assert!(!ranks.revoke_below(ask, 5000, 5001, || unreachable!("nobody is asked")));
        assert!(ranks.revoke_below(ask, 5000, 5000, || true));
        assert_eq!(lost(&held), [true; 4]);
    }
}
