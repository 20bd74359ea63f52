//! What a loop has to do for its topics.

use crate::event_loop::slab::Key;
use framewright_driver::topics::{Hub, Join, PortId, Publication};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An entry of a loop's queue: they are handled in their order.
pub(crate) enum Work {
    Publish(Arc<Publication>),
    /// A connection that has subscribed gets what is published from here on.
    Join(Join),
    /// A handle has ended a subscription of its connection.
    Leave(Key, Arc<str>),
}

impl Work {
    /// The cost of this entry while it waits, in bytes.
    pub(crate) fn cost(&self) -> usize {
        COST + match self {
            Work::Publish(publication) => publication.message().payload_len(),
            Work::Join(join) => join.retained.len() * size_of::<Arc<Publication>>(),
            Work::Leave(_, name) => name.len(),
        }
    }
}

/// The bound for the cost of what waits for one loop, in bytes: an entry is accepted while the cost
/// is below it. As large as the largest message is by default.
const MOST: usize = 16 << 20;

/// The cost of an entry besides its payload, in bytes.
const COST: usize = 256;

/// The cost of what waits for one loop.
#[derive(Debug, Default)]
pub(crate) struct Backlog(AtomicUsize);

impl Backlog {
    /// Notes that an entry of this `cost` waits.
    pub(crate) fn more(&self, cost: usize) {
        self.0.fetch_add(cost, Ordering::Relaxed);
    }

    /// Whether another entry may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) < MOST
    }

    /// Notes that entries of this `cost` wait no longer.
    pub(crate) fn less(&self, cost: usize) {
        self.0.fetch_sub(cost, Ordering::Relaxed);
    }
}

/// The registry of topics, as a loop and the handles of its connections reach it.
#[derive(Clone, Debug)]
pub(crate) struct TopicsPort {
    pub(crate) hub: Arc<Hub>,
    pub(crate) port: PortId,
    pub(crate) backlog: Arc<Backlog>,
}
