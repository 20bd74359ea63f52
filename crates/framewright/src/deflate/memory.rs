//! An allowance of octets for the states of compression: what context takeover costs is bounded, and can be told. And who has to
//! give way where it is used up: whoever waits with the least to show for it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many octets the compressors, decompressors and windows of a server, or of any other group of connections, may hold.
///
/// What is agreed on with context takeover is reserved in the opening handshake; where it does not fit, the answer is the same
/// without takeover. What every event loop needs, one compressor and one decompressor, is counted and never refused.
///
/// A message of which some is still to come may have a decompressor of its own, as long as there is memory. Where there is none
/// left for another one that needs it, a message of which little has come lately loses its own.
///
/// Neither what stays nor such decompressors get more than three quarters of it: a quarter is left for the others.
pub struct DeflateMemory {
    cap: usize,
    held: Mutex<Held>,
    declined: AtomicU64,
    /// Who holds what can be taken back, those to be asked first in front.
    holders: Mutex<VecDeque<Weak<dyn Revocable>>>,
}

/// Octets that are held.
#[derive(Debug, Default)]
struct Held {
    /// As long as their holder likes.
    steady: usize,
    /// Until somebody else needs them.
    revocable: usize,
}

impl Held {
    fn all(&self) -> usize {
        self.steady.saturating_add(self.revocable)
    }

    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Steady => &mut self.steady,
            Kind::Revocable => &mut self.revocable,
        }
    }
}

/// What a [`DeflateMemory`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateMemoryStats {
    /// The most octets that may be reserved.
    pub cap: usize,
    /// Octets that are reserved or held now.
    pub held: usize,
    /// How often [`DeflateMemory::reserve`] was refused: how many connections had to do without context takeover.
    pub declined: u64,
}

/// Something with a reservation that can be taken back.
pub(super) trait Revocable: Send + Sync {
    /// Gives the reservation back, unless enough was done with it since this was asked last. Whether it has.
    fn revoke(&self) -> bool;
}

impl DeflateMemory {
    /// An allowance of so many octets.
    #[must_use]
    pub fn new(cap: usize) -> Arc<DeflateMemory> {
        Arc::new(DeflateMemory {
            cap,
            held: Mutex::default(),
            declined: AtomicU64::new(0),
            holders: Mutex::default(),
        })
    }

    /// Reserves so many octets until the reservation is dropped; `None` if they do not fit.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        let reservation = self.reserve_if_it_fits(octets);
        if reservation.is_none() {
            self.declined.fetch_add(1, Ordering::Relaxed);
        }
        reservation
    }

    /// The same for what is asked for again and again: it is no news that it does not fit.
    pub(crate) fn reserve_if_it_fits(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        self.add(octets, Kind::Steady, self.cap).then(|| self.reservation(octets, Kind::Steady))
    }

    /// The same for what is a gain and no need: as long as half of the memory stays free.
    pub(crate) fn reserve_spare(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        self.add(octets, Kind::Steady, self.cap / 2).then(|| self.reservation(octets, Kind::Steady))
    }

    /// The same for what can be taken back: [`register`](DeflateMemory::register) has to be told who holds it. With `urgent` somebody else
    /// gives way where it does not fit.
    pub(super) fn reserve_revocable(self: &Arc<Self>, octets: usize, urgent: bool) -> Option<Reservation> {
        while !self.add(octets, Kind::Revocable, self.cap) {
            if !urgent || !self.has_room_without_revocable(octets) || !self.revoke_one() {
                return None;
            }
        }
        Some(self.reservation(octets, Kind::Revocable))
    }

    /// Counts octets that are needed whether they fit or not.
    pub(crate) fn count(self: &Arc<Self>, octets: usize) -> Reservation {
        self.held().steady += octets;
        self.reservation(octets, Kind::Steady)
    }

    fn reservation(self: &Arc<Self>, octets: usize, kind: Kind) -> Reservation {
        Reservation { memory: Arc::clone(self), octets, kind }
    }

    /// Adds to what is held, if that comes to no more than `most`, and this kind to no more than its share: whether it does.
    fn add(&self, octets: usize, kind: Kind, most: usize) -> bool {
        let mut held = self.held();
        let fits = |count: usize, most: usize| count.checked_add(octets).is_some_and(|count| count <= most);
        let share = self.cap - self.cap / 4;
        let added = fits(held.all(), most) && fits(*held.of(kind), share);
        if added {
            *held.of(kind) += octets;
        }
        added
    }

    /// Whether so many octets would fit if all were taken back that can be.
    fn has_room_without_revocable(&self, octets: usize) -> bool {
        octets <= self.cap.saturating_sub(self.held().steady)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back what the first holder has who did too little with it since it was asked last. Each is asked once, and then waits
    /// behind all others: it costs no more than what has come meanwhile from those who are passed over.
    fn revoke_one(&self) -> bool {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..holders.len() {
            let Some(weak) = holders.pop_front() else { break };
            let Some(holder) = weak.upgrade() else { continue };
            if holder.revoke() {
                return true;
            }
            holders.push_back(weak);
        }
        false
    }

    /// Notes who holds what can be taken back, until it is dropped.
    pub(super) fn register(&self, holder: Weak<dyn Revocable>) {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() == holders.capacity() {
            // Half of the room is free afterwards: so it is done once for as many holders as there are.
            holders.retain(|holder| holder.strong_count() > 0);
            let len = holders.len();
            holders.reserve(len + 1);
        }
        holders.push_back(holder);
    }

    /// What is held now.
    #[must_use]
    pub fn stats(&self) -> DeflateMemoryStats {
        DeflateMemoryStats {
            cap: self.cap,
            held: self.held().all(),
            declined: self.declined.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for DeflateMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeflateMemory").field(&self.stats()).finish()
    }
}

/// Octets of a [`DeflateMemory`], given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<DeflateMemory>,
    octets: usize,
    kind: Kind,
}

/// For how long octets are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As long as their holder likes.
    Steady,
    /// Until somebody else needs them.
    Revocable,
}

impl Reservation {
    /// How many octets are reserved.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Gives back what is above so many octets.
    pub fn shrink_to(&mut self, octets: usize) {
        let surplus = self.octets.saturating_sub(octets);
        self.octets -= surplus;
        *self.memory.held().of(self.kind) -= surplus;
    }

    /// Reserves more, up to so many octets in all, if they fit: whether they do.
    pub(super) fn grow_to(&mut self, octets: usize) -> bool {
        self.grow_within(octets, self.memory.cap)
    }

    /// The same as long as half of the memory stays free.
    pub(super) fn grow_spare_to(&mut self, octets: usize) -> bool {
        self.grow_within(octets, self.memory.cap / 2)
    }

    fn grow_within(&mut self, octets: usize, most: usize) -> bool {
        let more = octets.saturating_sub(self.octets);
        let fits = more == 0 || self.memory.add(more, self.kind, most);
        self.octets += if fits { more } else { 0 };
        fits
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn what_fits_is_reserved_and_given_back() {
        let memory = DeflateMemory::new(100);
        let mut first = memory.reserve(60).unwrap();
        assert!(memory.reserve(16).is_none());
        first.shrink_to(50);
        let second = memory.reserve(25).unwrap();
        let counted = memory.count(7);
        assert_eq!(memory.stats(), DeflateMemoryStats { cap: 100, held: 82, declined: 1 });
        drop((first, second, counted));
        assert_eq!(memory.stats().held, 0);
        assert!(memory.reserve(usize::MAX).is_none());
    }

    #[test]
    fn a_quarter_is_left_by_what_stays_and_by_what_can_be_taken_back() {
        let memory = DeflateMemory::new(100);
        let steady = memory.reserve(75).unwrap();
        assert!(memory.reserve(1).is_none());
        let revocable = memory.reserve_revocable(25, false).unwrap();
        assert!(memory.reserve_revocable(1, false).is_none());
        drop((steady, revocable));
        let revocable = memory.reserve_revocable(75, false).unwrap();
        assert!(memory.reserve_revocable(1, false).is_none());
        assert!(memory.reserve(25).is_some());
        assert!(memory.reserve_spare(1).is_none(), "half of it stays free");
        drop(revocable);
    }

    /// A holder of ten octets that is busy or not.
    struct Holder {
        held: Mutex<Option<Reservation>>,
        busy: AtomicBool,
    }

    impl Revocable for Holder {
        fn revoke(&self) -> bool {
            !self.busy.load(Ordering::Relaxed) && self.held.lock().unwrap().take().is_some()
        }
    }

    impl Holder {
        fn new(memory: &Arc<DeflateMemory>, urgent: bool) -> Option<Arc<Holder>> {
            let held = Mutex::new(Some(memory.reserve_revocable(10, urgent)?));
            let holder = Arc::new(Holder { held, busy: AtomicBool::new(false) });
            let weak: Weak<Holder> = Arc::downgrade(&holder);
            memory.register(weak);
            Some(holder)
        }

        fn holds(&self) -> bool {
            self.held.lock().unwrap().is_some()
        }
    }

    #[test]
    fn who_is_not_busy_gives_way_and_who_was_asked_longest_ago_is_asked_first() {
        let memory = DeflateMemory::new(40);
        let holders = [0; 3].map(|_| Holder::new(&memory, false).unwrap());
        let holds = || holders.each_ref().map(|holder| holder.holds());
        assert!(Holder::new(&memory, false).is_none(), "nobody gives way unless it is urgent");
        holders[0].busy.store(true, Ordering::Relaxed);
        let fourth = Holder::new(&memory, true).unwrap();
        assert_eq!(holds(), [true, false, true]);
        let fifth = Holder::new(&memory, true).unwrap();
        assert_eq!(holds(), [true, false, false]);
        holders[0].busy.store(false, Ordering::Relaxed);
        let sixth = Holder::new(&memory, true).unwrap();
        assert_eq!((holds(), fourth.holds()), ([false; 3], true), "it was asked before the fourth came");
        let counted = memory.count(31);
        assert!(Holder::new(&memory, true).is_none(), "nobody gives way for what does not fit even then");
        assert!(fourth.holds() && fifth.holds() && sixth.holds());
        drop((holders, fourth, fifth, sixth, counted));
        assert_eq!(memory.stats().held, 0);
    }

    #[test]
    fn holders_that_are_gone_are_forgotten() {
        let memory = DeflateMemory::new(100);
        let kept = Holder::new(&memory, false).unwrap();
        for _ in 0..1000 {
            drop(Holder::new(&memory, false).unwrap());
        }
        assert!(memory.holders.lock().unwrap().len() < 20);
        assert!(kept.holds());
    }
}
