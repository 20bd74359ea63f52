//! An allowance of octets for the states of compression: what context takeover costs is bounded,
//! and can be told. And who has to give way where it is used up: whoever waits with the least to
//! show for it.

use super::giving_way::{Place, Ranks, Revocable, Sender, Turns};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many octets the compressors, decompressors and windows of a server, or of any other group of
/// connections, may hold.
///
/// What is agreed on with context takeover is reserved in the opening handshake; where it does not
/// fit, the answer is the same without takeover. What every event loop needs, one compressor and
/// one decompressor, is counted and never refused, and leaves the others what they may have.
///
/// A message of which some is still to come may have a decompressor of its own, as long as there is
/// memory. Where there is none left for another one that needs it, a message of which little has
/// come lately loses its own.
///
/// What a peer has sent that was to forget it, and may refer to it all the same, is kept until
/// others of its kind need the memory: it is taken from those that have been silent for long, and
/// have sent little for what is kept of them.
///
/// None of the three takes anything from the others, and an eighth of it is left for each.
pub struct DeflateMemory {
    cap: usize,
    held: Mutex<Held>,
    declined: AtomicU64,
    /// Messages in parts that have a decompressor.
    in_parts: Mutex<Turns>,
    /// Peers of which something is kept.
    kept: Mutex<Ranks>,
}

/// For what octets are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What stays as long as its holder likes: promised takeover, and compressors.
    Steady,
    /// Decompressors of messages in parts.
    InParts,
    /// What is kept of peers that have agreed to refer to none of it.
    Kept,
    /// What each event loop needs: it is beside the others, and takes nothing from them.
    Needed,
}

/// Those that share the memory, which come first.
const SHARING: usize = 3;

/// Octets that are held of each [`Kind`].
#[derive(Debug, Default)]
struct Held([usize; SHARING + 1]);

impl Held {
    fn all(&self) -> usize {
        self.0.iter().fold(0, |all, octets| all.saturating_add(*octets))
    }

    fn of(&mut self, kind: Kind) -> &mut usize {
        &mut self.0[kind as usize]
    }

    /// How many octets of this kind there may be, if each other one has its eighth, or as much as
    /// it holds.
    fn most(&self, kind: Kind, cap: usize) -> usize {
        let others = self.0[..SHARING].iter().enumerate().filter(|(index, _)| *index != kind as usize);
        others.fold(cap, |left, (_, octets)| left.saturating_sub((cap / 8).max(*octets)))
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
    /// How often [`DeflateMemory::reserve`] was refused: how many connections had to do without
    /// context takeover.
    pub declined: u64,
}

impl DeflateMemory {
    /// An allowance of so many octets. Less than eight times
    /// [`Decompressor::MAX_SIZE`](super::Decompressor::MAX_SIZE) is of little use: an eighth of it
    /// has no room for a decompressor.
    #[must_use]
    pub fn new(cap: usize) -> Arc<DeflateMemory> {
        Arc::new(DeflateMemory {
            cap,
            held: Mutex::default(),
            declined: AtomicU64::new(0),
            in_parts: Mutex::default(),
            kept: Mutex::default(),
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

    /// The same for what is a gain and no need: as long as what stays is no more than half of the
    /// memory.
    pub(crate) fn reserve_spare(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        self.add(octets, Kind::Steady, self.cap / 2).then(|| self.reservation(octets, Kind::Steady))
    }

    /// The same for a message in parts: [`register`](DeflateMemory::register) has to be told who
    /// holds it. With `urgent` another message gives way where it does not fit.
    pub(super) fn reserve_in_parts(self: &Arc<Self>, octets: usize, urgent: bool) -> Option<Reservation> {
        while !self.add(octets, Kind::InParts, self.cap) {
            if !urgent || !self.has_room_without_others(octets) || !lock(&self.in_parts).revoke_one() {
                return None;
            }
        }
        Some(self.reservation(octets, Kind::InParts))
    }

    /// Notes who holds what was reserved so, until it is dropped.
    pub(super) fn register(&self, holder: Weak<dyn Revocable>) {
        lock(&self.in_parts).add(holder);
    }

    /// Nothing yet of what is kept of a peer.
    pub(super) fn reserve_kept(self: &Arc<Self>) -> Reservation {
        self.reservation(0, Kind::Kept)
    }

    /// Notes who holds what is kept of a peer, until it is [removed](DeflateMemory::remove).
    pub(super) fn add_kept(&self, sender: Sender, holder: Weak<dyn Revocable>) -> Place {
        lock(&self.kept).add(sender, holder)
    }

    /// Notes what the peer has sent, how much is kept of it now, and how many octets that holds;
    /// `None` if they were taken back.
    pub(super) fn change(&self, place: Place, sender: Sender, kept: usize, octets: usize) -> Option<Place> {
        lock(&self.kept).change(place, sender, kept, octets)
    }

    /// Forgets a holder.
    pub(super) fn remove(&self, place: Place) {
        lock(&self.kept).remove(place);
    }

    /// Counts octets that are needed whether they fit or not.
    pub(crate) fn count(self: &Arc<Self>, octets: usize) -> Reservation {
        *self.held().of(Kind::Needed) += octets;
        self.reservation(octets, Kind::Needed)
    }

    fn reservation(self: &Arc<Self>, octets: usize, kind: Kind) -> Reservation {
        Reservation { memory: Arc::clone(self), octets, kind }
    }

    /// Adds to what is held, if that comes to no more than `most` of this kind, and leaves the
    /// others theirs: whether it does.
    fn add(&self, octets: usize, kind: Kind, most: usize) -> bool {
        let mut held = self.held();
        let most = most.min(held.most(kind, self.cap));
        let fits = held.of(kind).checked_add(octets).is_some_and(|count| count <= most);
        if fits {
            *held.of(kind) += octets;
        }
        fits
    }

    /// Whether so many octets would fit if all messages in parts gave way.
    fn has_room_without_others(&self, octets: usize) -> bool {
        octets <= self.held().most(Kind::InParts, self.cap)
    }

    /// By how much so many more octets are too many to be kept.
    fn lacks(&self, octets: usize) -> usize {
        let mut held = self.held();
        let most = held.most(Kind::Kept, self.cap);
        held.of(Kind::Kept).saturating_add(octets).saturating_sub(most)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Gives back the room of holders that have gone.
    pub(super) fn forget_gone(&self) {
        lock(&self.in_parts).trim();
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

    /// Reserves more of what is kept of a peer, so many octets in all, for as much as is `kept`;
    /// where they do not fit, others give way that have been silent for long or have sent little.
    /// Whether they fit.
    pub(super) fn grow_to(&mut self, octets: usize, kept: usize, sender: Sender) -> bool {
        let more = octets.saturating_sub(self.octets);
        let memory = &self.memory;
        let fits = || memory.add(more, Kind::Kept, memory.cap);
        let make_room = || {
            let mut ranks = lock(&memory.kept);
            // Somebody else may have made more room than it needed.
            fits() || ranks.revoke_below(sender, kept, memory.lacks(more), fits)
        };
        let grown = more == 0 || fits() || make_room();
        self.octets += if grown { more } else { 0 };
        grown
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// What holds with the lock of any of these holds without it, too: none is left in the middle of a
/// change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    #[test]
    fn what_fits_is_reserved_and_given_back() {
        let memory = DeflateMemory::new(100);
        let mut first = memory.reserve(60).unwrap();
        assert!(memory.reserve(17).is_none());
        first.shrink_to(50);
        let second = memory.reserve(26).unwrap();
        let counted = memory.count(7);
        assert_eq!(memory.stats(), DeflateMemoryStats { cap: 100, held: 83, declined: 1 });
        drop((first, second, counted));
        assert_eq!(memory.stats().held, 0);
        assert!(memory.reserve(usize::MAX).is_none());
    }

    type Reserve = fn(&Arc<DeflateMemory>) -> Option<Reservation>;

    /// Takeover, compressors, messages in parts, and what is kept.
    const EACH: [Reserve; 4] = [
        |memory| memory.reserve(10),
        |memory| memory.reserve_spare(10),
        |memory| memory.reserve_in_parts(10, true),
        |memory| {
            let mut reservation = memory.reserve_kept();
            reservation.grow_to(10, 10, Sender::new(Instant::now(), 10)).then_some(reservation)
        },
    ];

    /// Messages in parts could once fill the half in which peers were kept, and both could take the
    /// compressors' from them.
    #[test]
    fn whatever_one_kind_holds_an_eighth_is_left_for_each_other() {
        // How much of each there may be, alone and where each is there as far as it may be.
        // Compressors are no need, and leave half.
        let table =
            [(60, [0, 0, 10, 10]), (40, [20, 0, 30, 30]), (60, [10, 10, 0, 10]), (60, [10, 10, 10, 0])];
        for (first, (alone, beside)) in EACH.iter().zip(table) {
            for (second, expected) in EACH.iter().zip(beside) {
                let memory = DeflateMemory::new(80);
                let fill = |reserve: &Reserve| std::iter::from_fn(|| reserve(&memory)).collect::<Vec<_>>();
                let all = [first, second].map(fill);
                assert_eq!(all.each_ref().map(|held| 10 * held.len()), [alone, expected]);
                // However much two of them hold.
                let rest: Vec<_> = EACH.iter().map(fill).collect();
                assert!(memory.stats().held == 80 || memory.stats().held == 70, "{:?}", memory.stats());
                drop((all, rest));
                assert_eq!(memory.stats().held, 0);
            }
        }
    }

    /// 16 event loops could take all of a small memory.
    #[test]
    fn what_is_needed_whether_it_fits_or_not_takes_nothing_from_the_others() {
        for reserve in EACH {
            let memory = DeflateMemory::new(80);
            let needed = [0; 16].map(|_| memory.count(7));
            let all: Vec<_> =
                EACH.iter().flat_map(|reserve| std::iter::from_fn(|| reserve(&memory))).collect();
            assert!(all.len() >= 7, "{:?}", memory.stats());
            drop(all);
            assert!(reserve(&memory).is_some());
            drop(needed);
            assert_eq!(memory.stats().held, 0);
        }
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
            let held = Mutex::new(Some(memory.reserve_in_parts(10, urgent)?));
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
        let steady = memory.reserve(5).unwrap();
        assert!(
            memory.reserve_in_parts(31, true).is_none(),
            "nobody gives way for what does not fit even then"
        );
        assert!(fourth.holds() && fifth.holds() && sixth.holds());
        drop((holders, fourth, fifth, sixth, steady));
        assert_eq!(memory.stats().held, 0);
    }

    #[test]
    fn holders_that_are_gone_are_forgotten() {
        let memory = DeflateMemory::new(100);
        let kept = Holder::new(&memory, false).unwrap();
        for _ in 0..1000 {
            drop(Holder::new(&memory, false).unwrap());
        }
        assert!(lock(&memory.in_parts).len() < 20);
        assert!(kept.holds());
    }
}
