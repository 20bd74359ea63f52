//! The server's account of what its connections hold, and the choice of those that are ended.
//!
//! | who holds | KiB are charged | who gives way |
//! |---|---|---|
//! | a connection: an incomplete message, bytes queued, an incomplete request or one with a deferred decision, an answer not sent yet | at the end of its turn | it ends: with 1013, 503, or in the middle of its answer |
//! | a handle's queue | when an item is queued or taken | first the caller, who gets `Full`; then the queue's connection |
//!
//! All threads know the holders of more than [`LARGE`]. If a charge does not fit, its thread
//! notifies the loops of large holders: first of those that have held the most for the longest. It
//! goes on until the charge fits, or until the large holders together are within their share. If
//! the charge still does not fit, each loop looks for small holders of its own.

use crate::event_loop::mailbox::{Command, Mailbox};
use crate::event_loop::slab::Key;
use crate::guard::lock;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A holder of more than this many KiB is large. A turn of short messages ends with less.
pub(crate) const LARGE: u32 = 64;

/// A bit in the charge of a small holder. It is set when the holder is seen, and cleared when the
/// holder makes progress. Meanwhile the charge also counts the bytes moved: the bits above the KiB
/// hold their number in steps of [`MOVED_STEP`] bytes.
const SEEN: u32 = 1 << 31;
const MOVED_SHIFT: u32 = 8;
const MOVED_STEP: usize = 64;

/// A small holder has made progress when it has moved this part of what it holds since it was seen.
const PROGRESS_OF_SMALL: usize = 4;

/// A holder has made progress when it has moved this many bytes, as for decompressors in the
/// framewright crate.
pub(crate) const PROGRESS: usize = 16 << 10;

/// When holders have to end, one part in [`SLACK`] of the limit is freed beyond what is needed.
/// Otherwise the next charge would have to make room again.
const SLACK: isize = 64;

/// Notified holders end when their loops have time. Until then the limit may be exceeded by one
/// part in [`OVERRUN`] of it, and by at least [`LEAST_OVERRUN`] KiB: a single turn can need that
/// much. A holder that grows beyond that ends itself.
const OVERRUN: isize = 8;
const LEAST_OVERRUN: isize = 2 << 10;

/// The part of the limit (one in [`SHARE`]) that large holders keep even if small ones need it.
/// Otherwise many strangers that hold little each could end all large messages of others, and lose
/// none of their own. With the default limit the share holds at least one of the largest messages.
const SHARE: isize = 4;

/// The memory that all connections of a server hold, in KiB.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The limit; `isize::MAX` for none.
    most: isize,
    held: AtomicIsize,
    /// The part of `held` that is about to be given back: its holders were notified to end.
    promised: AtomicIsize,
    large: Mutex<Large>,
    /// Loops that still have to look for small holders to end.
    looking: AtomicUsize,
    /// The loops were asked meanwhile to look again.
    again: AtomicBool,
    ended: AtomicU64,
    refused: AtomicU64,
    mailboxes: Vec<Arc<Mailbox>>,
    began: Instant,
}

/// The memory that a server's connections hold together: see
/// [`ServerLimits::memory`](crate::ServerLimits::memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Bytes held now, rounded to a KiB for each holder. Any excess over the limit is given back
    /// when the connections that were notified have ended.
    pub held: usize,
    /// The limit in bytes, in whole KiB. `None`: there is no limit.
    pub limit: Option<usize>,
    /// Connections that were ended to free memory for others.
    pub ended: u64,
    /// Refused messages of handles ([`HandleError::Full`](crate::HandleError::Full)), and refused
    /// requests with a deferred decision (503).
    pub refused: u64,
}

/// The large holders.
#[derive(Debug, Default)]
struct Large {
    entries: Vec<Arc<Entry>>,
    /// Entries of holders that are small again, for reuse: a message in parts allocates none.
    spare: Vec<Arc<Entry>>,
}

/// The most entries kept for reuse.
const SPARE: usize = 64;

/// A large holder, as all threads see it.
#[derive(Debug)]
struct Entry {
    mailbox: Arc<Mailbox>,
    key: Key,
    kib: AtomicU32,
    /// The time of its last progress, in milliseconds since the ledger was created.
    since: AtomicU64,
    /// Its part of [`Ledger::promised`]: 0 unless it was notified to end.
    promised: AtomicU32,
    /// Its index in [`Ledger::large`].
    place: AtomicUsize,
}

/// A large holder, as it sees itself. Dropping this removes its entry.
#[derive(Debug)]
pub(crate) struct Holder {
    ledger: Arc<Ledger>,
    entry: Arc<Entry>,
    /// Bytes moved since its last progress.
    moved: usize,
}

/// `bytes` in whole KiB. Less than half a KiB counts as nothing, such as the cost of each
/// connection at rest.
#[inline]
pub(crate) fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_add(512) >> 10).map_or(SEEN - 1, |kib| kib.min(SEEN - 1))
}

/// The KiB in a holder's charge.
#[inline]
fn kib_of(charged: u32) -> u32 {
    if charged & SEEN == 0 { charged } else { charged & ((1 << MOVED_SHIFT) - 1) }
}

/// The new charge for `kib`, given the charge `before` and the bytes `moved` since then.
#[inline]
fn charge(before: u32, kib: u32, moved: usize) -> u32 {
    if before & SEEN == 0 || kib == 0 || kib > LARGE { kib } else { charge_seen(before, kib, moved) }
}

#[cold]
fn charge_seen(before: u32, kib: u32, moved: usize) -> u32 {
    let steps = ((before & !SEEN) >> MOVED_SHIFT) as usize + moved / MOVED_STEP;
    let enough = (kib as usize * 1024).div_ceil(PROGRESS_OF_SMALL * MOVED_STEP);
    match u32::try_from(steps) {
        Ok(steps) if (steps as usize) < enough => SEEN | steps << MOVED_SHIFT | kib,
        _ => kib,
    }
}

fn signed(kib: u32) -> isize {
    isize::try_from(kib).unwrap_or(isize::MAX)
}

/// The consequence of a holder's charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// Nothing: it has not grown, or it fits.
    Fits,
    /// It has grown, and the limit is exceeded: some holders were notified to end.
    Told,
    /// It has grown, and the notified holders have not ended for so long that it has to end itself.
    Overrun,
}

impl Ledger {
    /// `limit` in bytes; `None` for no limit.
    pub(crate) fn new(limit: Option<usize>, mailboxes: Vec<Arc<Mailbox>>) -> Ledger {
        Ledger {
            most: limit.map_or(isize::MAX, |bytes| isize::try_from(bytes >> 10).unwrap_or(isize::MAX)),
            held: AtomicIsize::new(0),
            promised: AtomicIsize::new(0),
            large: Mutex::default(),
            looking: AtomicUsize::new(0),
            again: AtomicBool::new(false),
            ended: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            mailboxes,
            began: Instant::now(),
        }
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let bytes = |kib: isize| usize::try_from(kib).unwrap_or(0) << 10;
        MemoryStats {
            held: bytes(self.held.load(Ordering::Relaxed)),
            limit: (self.most < isize::MAX).then(|| bytes(self.most)),
            ended: self.ended.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Counts a connection that was ended to free memory for others.
    pub(crate) fn note_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// KiB held that are not about to be given back.
    fn lasting(&self) -> isize {
        self.held.load(Ordering::Relaxed) - self.promised.load(Ordering::Relaxed)
    }

    /// Whether `more` KiB may be held. If they do not fit at once, other holders are notified to
    /// end. Counts a refusal.
    pub(crate) fn has_room(&self, more: u32) -> bool {
        let more = signed(more);
        let fits = self.lasting() <= self.most.saturating_sub(more) || self.make_room(more);
        let fits = fits && self.held.load(Ordering::Relaxed) <= self.overrun();
        if !fits {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// Whether `more` KiB fit at once. If not, counts a refusal, and notifies other holders to end,
    /// so that a later call succeeds: the caller does not wait for that.
    pub(crate) fn has_room_now(&self, more: u32) -> bool {
        let fits = self.held.load(Ordering::Relaxed) <= self.most.saturating_sub(signed(more));
        if !fits {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.make_room(signed(more));
        }
        fits
    }

    /// The most that is held while notified holders have not ended yet, not counting what one turn
    /// of each loop adds.
    fn overrun(&self) -> isize {
        self.most.saturating_add((self.most / OVERRUN).max(LEAST_OVERRUN))
    }

    /// Updates the charge of a handle's queue, by a change for which there was
    /// [room](Ledger::has_room).
    pub(crate) fn settle_queue(
        self: &Arc<Self>,
        charged: &mut u32,
        holder: &mut Option<Holder>,
        who: (&Arc<Mailbox>, Key),
        kib: u32,
        moved: usize,
    ) {
        self.settle(charged, holder, who, kib, moved);
    }

    /// Sets a holder's charge to `kib`. `moved`: bytes moved since the last call.
    fn settle(
        self: &Arc<Self>,
        charged: &mut u32,
        holder: &mut Option<Holder>,
        who: (&Arc<Mailbox>, Key),
        kib: u32,
        moved: usize,
    ) -> Settled {
        let before = kib_of(*charged);
        *charged = charge(*charged, kib, moved);
        // Dropped only at the end of this function: `held` has to fall before `promised` does.
        let _small = holder.take_if(|_| kib <= LARGE);
        match holder {
            Some(holder) => holder.note(kib, moved),
            None if kib > LARGE => *holder = Some(self.enter(who, kib)),
            None => {}
        }
        if kib == before {
            return Settled::Fits;
        }
        let change = signed(kib) - signed(before);
        let held = self.held.fetch_add(change, Ordering::Relaxed) + change;
        if change < 0 || held <= self.most {
            return Settled::Fits;
        }
        if self.lasting() > self.most {
            self.make_room(0);
        }
        if held - change > self.overrun() { Settled::Overrun } else { Settled::Told }
    }

    /// Adds an entry for a large holder.
    fn enter(self: &Arc<Self>, (mailbox, key): (&Arc<Mailbox>, Key), kib: u32) -> Holder {
        let mut large = lock(&self.large);
        let entry = Entry {
            mailbox: Arc::clone(mailbox),
            key,
            kib: AtomicU32::new(kib),
            since: AtomicU64::new(self.millis()),
            promised: AtomicU32::new(0),
            place: AtomicUsize::new(large.entries.len()),
        };
        let entry = reused(large.spare.pop(), entry);
        large.entries.push(Arc::clone(&entry));
        Holder { ledger: Arc::clone(self), entry, moved: 0 }
    }

    fn leave(&self, entry: &Entry) {
        let mut large = lock(&self.large);
        let Large { entries, spare } = &mut *large;
        let place = entry.place.load(Ordering::Relaxed);
        let left = entries.swap_remove(place);
        if let Some(moved) = entries.get(place) {
            moved.place.store(place, Ordering::Relaxed);
        }
        if spare.len() < SPARE {
            spare.push(left);
        }
        if entries.capacity() > SPARE && entries.len() < entries.capacity() / 4 {
            entries.shrink_to(2 * entries.len());
        }
        self.promised.fetch_sub(signed(entry.promised.swap(0, Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Milliseconds since the ledger was created.
    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notifies large holders to end until `more` KiB fit with [`SLACK`], or until the large
    /// holders are within their share. Holders with the highest product of KiB and time without
    /// progress come first. Returns whether `more` KiB fit then. If not, each loop looks for small
    /// holders.
    #[cold]
    fn make_room(&self, more: isize) -> bool {
        if more > self.most {
            return false;
        }
        let large = lock(&self.large);
        let fits = |most: isize| self.lasting() <= most.saturating_sub(more);
        if fits(self.most) {
            return true; // another thread has made it meanwhile
        }
        self.tell_large(&large, || fits(self.goal()));
        let fits = fits(self.most);
        if !fits {
            self.look_for_small();
        }
        fits
    }

    /// Notifies large holders to end until `is_enough`, or until they are within their share.
    fn tell_large(&self, large: &Large, is_enough: impl Fn() -> bool) {
        let lasting = || large.entries.iter().filter(|entry| entry.promised.load(Ordering::Relaxed) == 0);
        let mut left: isize = lasting().map(|entry| signed(entry.kib.load(Ordering::Relaxed))).sum();
        let share = self.most / SHARE;
        if left <= share {
            return;
        }
        let now = self.millis();
        let mut worst: BinaryHeap<_> = lasting().map(|entry| Candidate::new(entry, now)).collect();
        while left > share
            && !is_enough()
            && let Some(Candidate { entry, kib, .. }) = worst.pop()
        {
            left -= signed(kib);
            entry.promised.store(kib, Ordering::Relaxed);
            self.promised.fetch_add(signed(kib), Ordering::Relaxed);
            // A loop that has ended gives everything back itself.
            let _ = entry.mailbox.post(Command::GiveWay(entry.key));
        }
    }

    /// Has each loop look for small holders to end, unless some loops are still looking.
    fn look_for_small(&self) {
        let count = self.mailboxes.len();
        if self.looking.compare_exchange(0, count, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.again.store(true, Ordering::Relaxed);
            return;
        }
        for mailbox in &self.mailboxes {
            if mailbox.post(Command::MakeRoom).is_err() {
                self.note_looked();
            }
        }
    }

    /// Notes that a loop has ended those of its small holders that had to go, or no longer exists.
    pub(crate) fn note_looked(&self) {
        let was_last = self.looking.fetch_sub(1, Ordering::Relaxed) == 1;
        if was_last && self.again.swap(false, Ordering::Relaxed) && self.lasting() > self.most {
            self.look_for_small();
        }
    }

    /// The most KiB held after room was made.
    fn goal(&self) -> isize {
        self.most - self.most / SLACK
    }

    /// Whether small holders still have to be ended.
    pub(crate) fn wants_room(&self) -> bool {
        self.lasting() > self.goal()
    }
}

/// Puts `entry` into the allocation of `spare` if nothing else refers to that, else into a new one.
fn reused(spare: Option<Arc<Entry>>, entry: Entry) -> Arc<Entry> {
    if let Some(mut spare) = spare
        && let Some(free) = Arc::get_mut(&mut spare)
    {
        *free = entry;
        return spare;
    }
    Arc::new(entry)
}

/// A large holder that may be notified to end, ordered by its blame.
struct Candidate<'a> {
    /// KiB times milliseconds without progress: what it takes from others.
    blame: u64,
    kib: u32,
    entry: &'a Entry,
}

impl Candidate<'_> {
    fn new(entry: &Entry, now: u64) -> Candidate<'_> {
        let kib = entry.kib.load(Ordering::Relaxed);
        let idle = now.saturating_sub(entry.since.load(Ordering::Relaxed)) + 1;
        Candidate { blame: u64::from(kib).saturating_mul(idle), kib, entry }
    }
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.blame.cmp(&other.blame)
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.blame == other.blame
    }
}

impl Eq for Candidate<'_> {}

impl Holder {
    fn note(&mut self, kib: u32, moved: usize) {
        self.entry.kib.store(kib, Ordering::Relaxed);
        self.moved = self.moved.saturating_add(moved);
        if self.moved >= PROGRESS {
            self.moved = 0;
            self.entry.since.store(self.ledger.millis(), Ordering::Relaxed);
        }
    }

    /// Whether it was notified to end.
    pub(crate) fn is_told(&self) -> bool {
        self.entry.promised.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.ledger.leave(&self.entry);
    }
}

/// The holders of one loop.
#[derive(Debug)]
pub(crate) struct Holders {
    ledger: Arc<Ledger>,
    mailbox: Arc<Mailbox>,
    large: HashMap<Key, Holder>,
    /// Connections of this loop may have been notified to end.
    pub(crate) alarm: bool,
}

impl Holders {
    pub(crate) fn new(ledger: Arc<Ledger>, mailbox: Arc<Mailbox>) -> Holders {
        Holders { ledger, mailbox, large: HashMap::new(), alarm: false }
    }

    /// Sets a connection's charge to the `held` bytes. `moved`: bytes moved since the last call.
    /// Returns whether the connection has to end at once.
    #[must_use]
    pub(crate) fn settle(&mut self, key: Key, charged: &mut u32, held: usize, moved: usize) -> bool {
        let kib = kib(held);
        let mut holder = if kib_of(*charged) > LARGE { self.large.remove(&key) } else { None };
        let settled = self.ledger.settle(charged, &mut holder, (&self.mailbox, key), kib, moved);
        if let Some(holder) = holder {
            self.large.insert(key, holder);
        }
        self.alarm |= settled != Settled::Fits;
        settled == Settled::Overrun
    }

    /// Whether the connection was notified to end.
    pub(crate) fn is_told(&self, key: Key) -> bool {
        self.large.get(&key).is_some_and(Holder::is_told)
    }
}

/// The charge of a connection that holds little, or whose handles have little queued.
pub(crate) struct Small<'a> {
    pub(crate) key: Key,
    pub(crate) charged: &'a mut u32,
    /// KiB charged for the items queued by its handles.
    pub(crate) queued: u32,
}

/// Returns the small holders in the order in which they have to end, and marks all as seen.
///
/// The size comes first, rounded up to a power of two: the largest end first. Within a size, those
/// without progress since they were last seen end first. So a holder of little outlives those that
/// hold ten times as much, however busy they look.
pub(crate) fn order_small<'a>(all: impl Iterator<Item = Small<'a>>) -> Vec<Key> {
    let mut keys: Vec<((u32, bool, u32), Key)> = Vec::new();
    for Small { key, charged, queued } in all {
        let own = kib_of(*charged);
        // Large holders are in the table.
        let kib: u32 = [own, queued].into_iter().filter(|kib| *kib <= LARGE).sum();
        if kib > 0 {
            keys.push(((kib.next_power_of_two(), *charged & SEEN > 0, kib), key));
        }
        if (1..=LARGE).contains(&own) {
            *charged = SEEN | own;
        }
    }
    keys.sort_unstable_by_key(|(order, _)| std::cmp::Reverse(*order));
    keys.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};
    use proptest::prelude::*;
    use std::time::Duration;

    const MIB: usize = 1 << 20;

    /// A loop whose connections are numbers, with the charge of each.
    struct Loop {
        holders: Holders,
        charged: Vec<u32>,
        ended: Vec<usize>,
        /// How often it was asked to look for small holders.
        looks: usize,
        /// The mailbox's waker needs it.
        _poll: Poll,
    }

    /// Creates `count` loops with `connections` connections each.
    fn loops(limit: Option<usize>, count: usize, connections: usize) -> (Arc<Ledger>, Vec<Loop>) {
        let made: Vec<(Poll, Arc<Mailbox>)> = (0..count)
            .map(|_| {
                let poll = Poll::new().expect("a poll");
                let waker = mio::Waker::new(poll.registry(), Token(0)).expect("a waker");
                (poll, Arc::new(Mailbox::new(waker)))
            })
            .collect();
        let mut ledger = Ledger::new(limit, made.iter().map(|(_, mailbox)| Arc::clone(mailbox)).collect());
        // As long ago as the clock allows.
        ledger.began = ledger.began.checked_sub(Duration::from_secs(60)).unwrap_or(ledger.began);
        let ledger = Arc::new(ledger);
        let make = |(poll, mailbox)| Loop {
            holders: Holders::new(Arc::clone(&ledger), mailbox),
            charged: vec![0; connections],
            ended: Vec::new(),
            looks: 0,
            _poll: poll,
        };
        let loops = made.into_iter().map(make).collect();
        (ledger, loops)
    }

    fn key(index: usize) -> Key {
        Key::of(Token(index))
    }

    impl Loop {
        fn settle(&mut self, index: usize, held: usize, moved: usize) {
            if self.holders.settle(key(index), &mut self.charged[index], held, moved) {
                self.end(index);
            }
        }

        /// Acts as if the holder had moved nothing for `millis`.
        fn idle_for(&self, index: usize, millis: u64) {
            let holder = &self.holders.large[&key(index)];
            holder.entry.since.store(holder.ledger.millis().saturating_sub(millis), Ordering::Relaxed);
        }

        /// Handles the commands in the mailbox.
        fn obey(&mut self) {
            let mut commands = Vec::new();
            self.holders.mailbox.take(&mut commands);
            for command in commands {
                let indices = 0..self.charged.len();
                match command {
                    Command::GiveWay(told) => {
                        let index =
                            indices.into_iter().find(|index| key(*index) == told).expect("a connection");
                        if self.holders.is_told(told) {
                            self.end(index);
                        }
                    }
                    Command::MakeRoom => {
                        self.looks += 1;
                        let ledger = Arc::clone(&self.holders.ledger);
                        if ledger.wants_room() {
                            let small = indices.map(key).zip(&mut self.charged);
                            let small = small.map(|(key, charged)| Small { key, charged, queued: 0 });
                            for small in order_small(small) {
                                if ledger.wants_room() {
                                    let index = (0..self.charged.len()).find(|index| key(*index) == small);
                                    self.end(index.expect("a connection"));
                                }
                            }
                        }
                        ledger.note_looked();
                    }
                    _ => panic!("another command"),
                }
            }
        }

        fn end(&mut self, index: usize) {
            self.settle(index, 0, 0);
            self.ended.push(index);
        }
    }

    #[test]
    fn little_is_nothing_and_much_is_counted_in_kib() {
        assert_eq!([0, 511, 512, 1024, 1535, 1536].map(kib), [0, 0, 1, 1, 1, 2]);
        assert_eq!(kib(usize::MAX), SEEN - 1);
    }

    #[test]
    fn who_holds_most_for_the_longest_goes_and_others_stay() {
        let (ledger, mut loops) = loops(Some(4 * MIB), 2, 10);
        let [first, second] = &mut loops[..] else { panic!("two loops") };
        first.settle(0, MIB, 0);
        first.settle(1, 30 << 10, 0);
        second.settle(0, 2 * MIB, 0);
        second.settle(1, MIB / 2, 0);
        second.idle_for(1, 50_000);
        second.settle(1, MIB / 2, PROGRESS); // it has moved something just now
        second.idle_for(0, 10_000);
        first.idle_for(0, 30_000);
        assert_eq!(ledger.stats().held, (3 * MIB + MIB / 2) + (30 << 10));
        second.settle(2, MIB, 0);
        let told = |one: &Loop, index| one.holders.is_told(key(index));
        assert!(told(first, 0), "a MiB for half a minute is more than two for ten seconds");
        assert!(!told(second, 0) && !told(second, 1) && !told(second, 2));
        first.obey();
        second.obey();
        assert_eq!((&first.ended[..], &second.ended[..]), (&[0][..], &[][..]), "nobody who holds little");
        assert!(ledger.stats().held <= 4 * MIB);
    }

    #[test]
    fn who_let_go_before_it_was_heard_stays() {
        let (ledger, mut loops) = loops(Some(MIB), 1, 3);
        let one = &mut loops[0];
        one.settle(0, MIB, 0);
        one.settle(1, 100 << 10, 0);
        one.idle_for(0, 1);
        assert!(one.holders.alarm);
        one.settle(0, 100, 0);
        one.obey();
        assert_eq!(one.ended, [0_usize; 0]);
        assert_eq!((ledger.stats().held, ledger.lasting()), (100 << 10, 100));
    }

    #[test]
    fn small_ones_go_only_where_there_are_no_others() {
        let (ledger, mut loops) = loops(Some(MIB), 1, 40);
        let one = &mut loops[0];
        for index in 0..20 {
            one.settle(index, 40 << 10, 0);
        }
        one.settle(20, 300 << 10, 0);
        one.obey();
        assert_eq!(one.ended, [20]);
        for index in 21..40 {
            // The new ones have made progress meanwhile.
            for new in (21..index).filter(|new| one.charged[*new] > 0).collect::<Vec<_>>() {
                one.settle(new, (41 + new % 20) << 10, 16 << 10);
            }
            one.settle(index, (41 + index % 20) << 10, 0);
            one.obey();
            assert!(ledger.stats().held <= MIB);
        }
        let (old, new): (Vec<usize>, Vec<usize>) = one.ended[1..].iter().partition(|index| **index < 20);
        assert!(
            !old.is_empty() && !new.is_empty(),
            "{:?}: the largest, and who has made no progress",
            one.ended
        );
    }

    /// Many strangers that hold little have filled almost the whole limit. A connection that needs
    /// much for a moment is not ended for them.
    #[test]
    fn a_crowd_of_small_ones_does_not_end_who_holds_much() {
        for count in 16..=18 {
            let (ledger, mut loops) = loops(Some(MIB), 2, 20);
            for index in 0..count {
                loops[index % 2].settle(index / 2, 59_000, 0);
            }
            for held in [66 << 10, 100 << 10, 150 << 10, 200_000] {
                loops[0].settle(19, held, 16 << 10);
                loops.iter_mut().for_each(Loop::obey);
                assert!(ledger.stats().held <= MIB, "{held}: {:?}", ledger.stats());
            }
            assert!(loops.iter().all(|one| !one.ended.contains(&19)), "a message of 200 KB gets through");
            let ended: usize = loops.iter().map(|one| one.ended.len()).sum();
            assert!((1..=5).contains(&ended), "{ended} of {count}");
        }
    }

    /// Large holders beyond their share are ended first, and no more of them than needed.
    #[test]
    fn of_large_ones_none_goes_that_is_within_their_share() {
        let (ledger, mut loops) = loops(Some(MIB), 1, 20);
        let one = &mut loops[0];
        (0..12).for_each(|index| one.settle(index, 60 << 10, 0));
        for index in 12..16 {
            one.settle(index, 75 << 10, 0);
            one.idle_for(index, 1000 * (20 - index as u64));
        }
        one.settle(16, 60 << 10, 0);
        one.obey();
        assert_eq!(one.ended, [12], "the rest of them is a quarter");
        (17..20).for_each(|index| one.settle(index, 60 << 10, 0));
        one.obey();
        assert!(one.ended.len() >= 3 && one.ended[1..].iter().all(|index| *index < 12), "{:?}", one.ended);
        assert!(ledger.stats().held <= MIB);
    }

    /// A byte, a Ping or a turn now and then: none of these is progress.
    #[test]
    fn of_small_ones_who_seems_busy_does_not_outlive_who_holds_less_or_goes_on() {
        let (ledger, mut loops) = loops(Some(MIB), 1, 300);
        let one = &mut loops[0];
        one.settle(0, 2 << 10, 2 << 10); // honest, and pauses from now on
        for index in 2..300 {
            one.settle(index, 60 << 10, 16 << 10);
            for busy in (2..index).filter(|busy| one.charged[*busy] > 0).collect::<Vec<_>>() {
                one.settle(busy, 60 << 10, 100);
            }
            if index > 30 {
                one.settle(1, 62 << 10, 16 << 10); // honest, and goes on; it came after others were seen
            }
            one.obey();
            assert!(ledger.stats().held <= MIB);
        }
        assert!(one.ended.len() > 200 && one.ended.iter().all(|index| *index > 1), "{:?}", one.ended);
    }

    #[test]
    fn what_handles_have_queued_counts_where_it_is_little() {
        let mut charged = [10, 20, 0, 0, 100, SEEN | 20];
        let queued = [15, 0, 60, 200, 3, 0];
        let all = charged.iter_mut().zip(queued).enumerate();
        let all = all.map(|(index, (charged, queued))| Small { key: key(index), charged, queued });
        assert_eq!(order_small(all), [2, 5, 0, 1, 4].map(key), "what is large is in the table");
        assert_eq!(charged, [SEEN | 10, SEEN | 20, 0, 0, 100, SEEN | 20]);
    }

    #[test]
    fn progress_of_small_ones_adds_up() {
        let mut charged = SEEN | 60;
        for _ in 0..2 {
            charged = charge(charged, 60, 7000);
            assert_eq!((charged & SEEN, kib_of(charged)), (SEEN, 60));
        }
        assert_eq!(charge(charged, 61, 7000), 61);
        assert_eq!(charge(charged, 61, usize::MAX), 61);
        assert_eq!([charge(charged, 0, 0), charge(charged, 65, 0), charge(7, 9, 0)], [0, 65, 9]);
    }

    /// A callback takes long, so that its loop does not receive the notifications.
    #[test]
    fn while_a_loop_is_busy_others_do_not_go_far_beyond_the_limit() {
        let (ledger, mut loops) = loops(Some(20 * MIB), 2, 300);
        let [busy, other] = &mut loops[..] else { panic!("two loops") };
        (0..19).for_each(|index| busy.settle(index, MIB, 0));
        for index in 0..300 {
            other.settle(index, (1 + index % 5) * (50 << 10), 16 << 10);
            other.obey();
            assert!(ledger.stats().held <= 22 * MIB + MIB / 2 + (250 << 10), "{:?}", ledger.stats());
        }
        assert!(ledger.stats().held > 22 * MIB && other.ended.len() > 200, "{:?}", other.ended);
        assert!(!ledger.has_room(2 * 1024), "it is promised, and not there");
        busy.obey();
        assert!(ledger.stats().held <= 20 * MIB);
        assert!(ledger.has_room(512));
    }

    /// Each charge that does not fit makes the loops look, but not twice for one shortage.
    #[test]
    fn loops_look_for_small_ones_once_at_a_time_and_not_for_nothing() {
        let (ledger, mut loops) = loops(Some(MIB), 2, 100);
        (0..100).for_each(|index| loops[0].settle(index, 11 << 10, 0));
        loops[0].obey();
        loops[0].settle(99, 60 << 10, 0);
        loops[0].obey();
        assert_eq!((loops[0].looks, loops[1].looks), (1, 0), "the other one has still to look");
        loops[1].obey();
        loops.iter_mut().for_each(Loop::obey);
        assert_eq!((loops[0].looks, loops[1].looks), (2, 2), "and both once more");
        assert!(!ledger.wants_room());
        let unseen = |one: &Loop| one.charged.iter().filter(|charged| **charged & SEEN == 0).count();
        let before = unseen(&loops[0]);
        ledger.look_for_small();
        loops.iter_mut().for_each(Loop::obey);
        assert_eq!((loops[0].looks, unseen(&loops[0])), (3, before), "nobody is seen where nobody has to go");
        assert_eq!(ledger.looking.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_fits_only_without_others_has_room_when_they_are_told() {
        let (ledger, mut loops) = loops(Some(MIB), 1, 2);
        let one = &mut loops[0];
        assert!(ledger.has_room(1024));
        assert!(!ledger.has_room(1025), "it never fits");
        one.settle(0, 800 << 10, 0);
        one.settle(1, 60 << 10, 0);
        assert!(ledger.has_room(500));
        assert!(one.holders.is_told(key(0)));
        assert!(!ledger.has_room(1000), "a small one is not asked");
        assert_eq!(ledger.stats().refused, 2);
        assert!(!ledger.has_room_now(500), "who was told has not gone yet");
        one.obey();
        assert!(ledger.has_room(900) && ledger.has_room_now(900) && !ledger.has_room(1000));
        assert_eq!((&one.ended[..], ledger.stats().held), (&[0][..], 60 << 10));
    }

    #[test]
    fn without_a_bound_everything_fits() {
        let (ledger, mut loops) = loops(None, 1, 2);
        loops[0].settle(0, usize::MAX, 0);
        loops[0].settle(1, usize::MAX, 0);
        assert!(ledger.has_room(u32::MAX));
        let stats = ledger.stats();
        assert_eq!((stats.limit, stats.ended, stats.refused), (None, 0, 0));
        assert!(stats.held > 1 << 40);
    }

    proptest! {
        #[test]
        fn no_more_is_held_than_may_be_and_all_of_it_comes_back(
            steps in proptest::collection::vec((0..2_usize, 0..30_usize, 0..400_usize, 0..40_000_usize), 1..300),
        ) {
            let (ledger, mut loops) = loops(Some(2 * MIB), 2, 30);
            for (number, index, held, moved) in steps {
                loops[number].settle(index, held << 10, moved);
                prop_assert!(ledger.stats().held <= 2 * MIB + (400 << 10), "beyond by one turn");
                loops.iter_mut().for_each(Loop::obey);
                prop_assert!(ledger.stats().held <= 2 * MIB);
                let charged: u64 = loops.iter().flat_map(|one| &one.charged).map(|kib| u64::from(kib_of(*kib))).sum();
                prop_assert_eq!(ledger.stats().held as u64, charged << 10);
            }
            for one in &mut loops {
                (0..30).for_each(|index| one.settle(index, 0, 0));
                prop_assert!(one.holders.large.is_empty());
            }
            prop_assert_eq!((ledger.stats().held, ledger.lasting()), (0, 0));
            prop_assert!(lock(&ledger.large).entries.is_empty());
        }
    }
}
