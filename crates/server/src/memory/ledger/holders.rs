//! The holders of one loop, and the order in which small ones have to end.

use super::charge::{LARGE, SEEN, kib, kib_of};
use super::{Holder, Ledger, Settled};
use crate::event_loop::mailbox::Mailbox;
use crate::event_loop::slab::Key;
use std::collections::HashMap;
use std::sync::Arc;

/// The holders of one loop.
#[derive(Debug)]
pub(crate) struct Holders {
    pub(super) ledger: Arc<Ledger>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) large: HashMap<Key, Holder>,
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
