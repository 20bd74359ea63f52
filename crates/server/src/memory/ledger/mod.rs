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

mod charge;
mod holders;
mod making_room;
#[cfg(test)]
mod tests;

use crate::event_loop::mailbox::Mailbox;
use crate::event_loop::slab::Key;
use crate::guard::lock;
pub(crate) use charge::{LARGE, kib};
use charge::{charge, kib_of, signed};
pub(crate) use holders::{Holders, Small, order_small};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A holder has made progress when it has moved this many bytes, as for decompressors in the
/// framewright crate.
pub(crate) const PROGRESS: usize = 16 << 10;

/// Notified holders end when their loops have time. Until then the limit may be exceeded by one
/// part in [`OVERRUN`] of it, and by at least [`LEAST_OVERRUN`] KiB: a single turn can need that
/// much. A holder that grows beyond that ends itself.
const OVERRUN: isize = 8;
const LEAST_OVERRUN: isize = 2 << 10;

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
