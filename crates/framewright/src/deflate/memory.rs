//! A limit on the memory of compression, so that the cost of context takeover is bounded and
//! measured. When the limit is reached, the holder that makes the least use of its memory gives
//! way.

use super::giving_way::{Place, Ranks, Revocable, Sender, Turns};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A limit on the bytes that the compressors, decompressors and windows of a server, or of any
/// other group of connections, may hold.
///
/// Three kinds of memory share it. None takes memory from another, and an eighth of the limit is
/// left for each.
///
/// - **Context takeover and compressors.** The memory for context takeover is reserved in the
///   opening handshake. If it does not fit, the server's answer is the same without takeover.
/// - **Decompressors of messages in progress.** A message that has not arrived completely may have
///   a decompressor of its own, as long as there is memory. If another message needs one and no
///   memory is left, a message of which few bytes arrived lately loses its own.
/// - **Kept messages.** A peer may refer to its earlier messages although it agreed not to. So the
///   first messages of such a peer are kept, until others of this kind need the memory. Peers that
///   have been silent for long, or have sent little compared with what is kept, lose it first.
///
/// One compressor and one decompressor of every event loop are counted beside them. They are never
/// refused, and take nothing from the three.
pub struct DeflateMemory {
    cap: usize,
    held: Mutex<Held>,
    declined: AtomicU64,
    /// Messages in progress that have a decompressor.
    in_parts: Mutex<Turns>,
    /// Peers whose messages are kept.
    kept: Mutex<Ranks>,
}

/// The purpose of reserved bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Negotiated takeover, and compressors: held as long as the holder likes.
    Steady,
    /// Decompressors of messages in progress.
    InParts,
    /// Kept messages of peers that agreed not to refer to earlier messages.
    Kept,
    /// The needs of each event loop: beside the other kinds, and taking nothing from them.
    Needed,
}

/// The number of kinds that share the memory. They come first.
const SHARING: usize = 3;

/// The bytes held of each [`Kind`].
#[derive(Debug, Default)]
struct Held([usize; SHARING + 1]);

impl Held {
    fn all(&self) -> usize {
        self.0.iter().fold(0, |all, octets| all.saturating_add(*octets))
    }

    fn of(&mut self, kind: Kind) -> &mut usize {
        &mut self.0[kind as usize]
    }

    /// The most bytes that `kind` may hold: each other kind keeps what it holds, or an eighth of
    /// `cap` if it holds less.
    fn most(&self, kind: Kind, cap: usize) -> usize {
        let others = self.0[..SHARING].iter().enumerate().filter(|(index, _)| *index != kind as usize);
        others.fold(cap, |left, (_, octets)| left.saturating_sub((cap / 8).max(*octets)))
    }
}

/// The limit, the use and the refusals of a [`DeflateMemory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateMemoryStats {
    /// The most bytes that may be reserved.
    pub cap: usize,
    /// Bytes reserved or held now.
    pub held: usize,
    /// How often [`DeflateMemory::reserve`] was refused: the number of connections that had to do
    /// without context takeover.
    pub declined: u64,
}

impl DeflateMemory {
    /// Makes a limit of `cap` bytes. Less than eight times
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

    /// Reserves `octets` bytes until the reservation is dropped; `None` if they do not fit.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        let reservation = self.reserve_if_it_fits(octets);
        if reservation.is_none() {
            self.declined.fetch_add(1, Ordering::Relaxed);
        }
        reservation
    }

    /// Reserves bytes as [`reserve`](DeflateMemory::reserve) does, but does not count a refusal in
    /// the statistics. For requests that are repeated again and again.
    pub(crate) fn reserve_if_it_fits(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        self.add(octets, Kind::Steady, self.cap).then(|| self.reservation(octets, Kind::Steady))
    }

    /// Reserves bytes for something useful but not necessary: only while takeover and compressors
    /// hold no more than half of the memory. Refusals are not counted.
    pub(crate) fn reserve_spare(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        self.add(octets, Kind::Steady, self.cap / 2).then(|| self.reservation(octets, Kind::Steady))
    }

    /// Reserves bytes for a message in progress. The caller passes the holder to
    /// [`register`](DeflateMemory::register). With `urgent`, another message gives way if the bytes
    /// do not fit. Refusals are not counted.
    pub(super) fn reserve_in_parts(self: &Arc<Self>, octets: usize, urgent: bool) -> Option<Reservation> {
        while !self.add(octets, Kind::InParts, self.cap) {
            if !urgent || !self.has_room_without_others(octets) || !lock(&self.in_parts).revoke_one() {
                return None;
            }
        }
        Some(self.reservation(octets, Kind::InParts))
    }

    /// Notes the holder of a reservation for a message in progress, until the holder is dropped.
    pub(super) fn register(&self, holder: Weak<dyn Revocable>) {
        lock(&self.in_parts).add(holder);
    }

    /// Makes a reservation of 0 bytes for the kept messages of a peer.
    pub(super) fn reserve_kept(self: &Arc<Self>) -> Reservation {
        self.reservation(0, Kind::Kept)
    }

    /// Notes the holder of a peer's kept messages, until it is [removed](DeflateMemory::remove).
    pub(super) fn add_kept(&self, sender: Sender, holder: Weak<dyn Revocable>) -> Place {
        lock(&self.kept).add(sender, holder)
    }

    /// Updates a peer: `sender` has counted what it sent, `kept` bytes of that are kept, and
    /// `octets` are reserved for them. `None` if the reservation was taken back.
    pub(super) fn change(&self, place: Place, sender: Sender, kept: usize, octets: usize) -> Option<Place> {
        lock(&self.kept).change(place, sender, kept, octets)
    }

    /// Forgets a holder.
    pub(super) fn remove(&self, place: Place) {
        lock(&self.kept).remove(place);
    }

    /// Counts bytes that are needed whether they fit or not.
    pub(crate) fn count(self: &Arc<Self>, octets: usize) -> Reservation {
        *self.held().of(Kind::Needed) += octets;
        self.reservation(octets, Kind::Needed)
    }

    fn reservation(self: &Arc<Self>, octets: usize, kind: Kind) -> Reservation {
        Reservation { memory: Arc::clone(self), octets, kind }
    }

    /// Adds `octets` to the bytes held of `kind`, if the sum is at most `most`, and leaves the
    /// other kinds their share. Returns whether it was added.
    fn add(&self, octets: usize, kind: Kind, most: usize) -> bool {
        let mut held = self.held();
        let most = most.min(held.most(kind, self.cap));
        let fits = held.of(kind).checked_add(octets).is_some_and(|count| count <= most);
        if fits {
            *held.of(kind) += octets;
        }
        fits
    }

    /// Whether `octets` bytes would fit if all messages in progress gave way.
    fn has_room_without_others(&self, octets: usize) -> bool {
        octets <= self.held().most(Kind::InParts, self.cap)
    }

    /// How many bytes have to be freed before `octets` more bytes of messages can be kept.
    fn lacks(&self, octets: usize) -> usize {
        let mut held = self.held();
        let most = held.most(Kind::Kept, self.cap);
        held.of(Kind::Kept).saturating_add(octets).saturating_sub(most)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Frees the entries of holders that no longer exist.
    pub(super) fn forget_gone(&self) {
        lock(&self.in_parts).trim();
    }

    /// The limit, the bytes held now, and the refusals so far.
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

/// Bytes reserved in a [`DeflateMemory`], given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<DeflateMemory>,
    octets: usize,
    kind: Kind,
}

impl Reservation {
    /// The number of bytes reserved.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Gives back the bytes beyond `octets`.
    pub fn shrink_to(&mut self, octets: usize) {
        let surplus = self.octets.saturating_sub(octets);
        self.octets -= surplus;
        *self.memory.held().of(self.kind) -= surplus;
    }

    /// Grows the reservation to `octets` bytes in all, for the `kept` bytes of a peer's messages.
    /// If they do not fit, peers that have been silent for long or have sent little give way.
    /// Returns whether they fit.
    pub(super) fn grow_to(&mut self, octets: usize, kept: usize, sender: Sender) -> bool {
        let more = octets.saturating_sub(self.octets);
        let memory = &self.memory;
        let fits = || memory.add(more, Kind::Kept, memory.cap);
        let make_room = || {
            let mut ranks = lock(&memory.kept);
            // Another reservation may have made more room than it needed.
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

/// Locks a mutex, even a poisoned one: a panic leaves no value of these in the middle of a change.
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

    /// Takeover, compressors, messages in progress, and kept messages.
    const EACH: [Reserve; 4] = [
        |memory| memory.reserve(10),
        |memory| memory.reserve_spare(10),
        |memory| memory.reserve_in_parts(10, true),
        |memory| {
            let mut reservation = memory.reserve_kept();
            reservation.grow_to(10, 10, Sender::new(Instant::now(), 10)).then_some(reservation)
        },
    ];

    /// Regression test: messages in progress filled the part in which messages are kept, and both
    /// took the memory of compressors.
    #[test]
    fn whatever_one_kind_holds_an_eighth_is_left_for_each_other() {
        // The most bytes of each kind, alone and where each other kind holds its most. Compressors
        // are not necessary, and leave half.
        let table =
            [(60, [0, 0, 10, 10]), (40, [20, 0, 30, 30]), (60, [10, 10, 0, 10]), (60, [10, 10, 10, 0])];
        for (first, (alone, beside)) in EACH.iter().zip(table) {
            for (second, expected) in EACH.iter().zip(beside) {
                let memory = DeflateMemory::new(80);
                let fill = |reserve: &Reserve| std::iter::from_fn(|| reserve(&memory)).collect::<Vec<_>>();
                let all = [first, second].map(fill);
                assert_eq!(all.each_ref().map(|held| 10 * held.len()), [alone, expected]);
                // Each kind still finds its eighth.
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

    /// A holder of ten bytes. It gives them back unless it is busy.
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
