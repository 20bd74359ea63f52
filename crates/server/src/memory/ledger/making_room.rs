//! Makes room in the account: chooses large holders that have to end, and has the loops look for
//! small ones.

use super::charge::signed;
use super::{Entry, Large, Ledger};
use crate::event_loop::mailbox::Command;
use crate::guard::lock;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

/// When holders have to end, one part in [`SLACK`] of the limit is freed beyond what is needed.
/// Otherwise the next charge would have to make room again.
const SLACK: isize = 64;

/// The part of the limit (one in [`SHARE`]) that large holders keep even if small ones need it.
/// Otherwise many strangers that hold little each could end all large messages of others, and lose
/// none of their own. With the default limit the share holds at least one of the largest messages.
const SHARE: isize = 4;

impl Ledger {
    /// Notifies large holders to end until `more` KiB fit with [`SLACK`], or until the large
    /// holders are within their share. Holders with the highest product of KiB and time without
    /// progress come first. Returns whether `more` KiB fit then. If not, each loop looks for small
    /// holders.
    #[cold]
    pub(super) fn make_room(&self, more: isize) -> bool {
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
    pub(super) fn look_for_small(&self) {
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
