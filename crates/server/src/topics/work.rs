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

/// The bound for the cost of the publications that wait for one loop, in bytes: one is accepted
/// while the cost is below it. As large as the largest message is by default.
const MOST_PUBLICATIONS: usize = 16 << 20;

/// The bound for the cost of the joins and leaves that wait for one loop, in bytes: room for a crowd
/// that comes back at once, with a hundred topics each.
const MOST_JOINS: usize = 32 << 20;

/// The cost of a publication besides its payload, in bytes.
const OF_PUBLICATION: usize = 256;

/// The cost of a join besides the messages that were kept, in bytes.
const OF_JOIN: usize = 128;

/// The cost of what waits for one loop.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    publications: AtomicUsize,
    joins: AtomicUsize,
}

impl Backlog {
    /// Whether another publication may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.publications.load(Ordering::Relaxed) < MOST_PUBLICATIONS
    }

    /// Whether another join or leave may wait.
    pub(crate) fn has_room_for_joins(&self) -> bool {
        self.joins.load(Ordering::Relaxed) < MOST_JOINS
    }

    /// Notes that an entry waits.
    pub(crate) fn more(&self, work: &Work) {
        let (cost, counter) = self.cost(work);
        counter.fetch_add(cost, Ordering::Relaxed);
    }

    /// Notes that an entry waits no longer.
    pub(crate) fn less(&self, work: &Work) {
        let (cost, counter) = self.cost(work);
        counter.fetch_sub(cost, Ordering::Relaxed);
    }

    /// The cost of an entry, and where it counts.
    fn cost(&self, work: &Work) -> (usize, &AtomicUsize) {
        match work {
            Work::Publish(publication) => {
                (OF_PUBLICATION + publication.message().payload_len(), &self.publications)
            }
            Work::Join(join) => (OF_JOIN + join.retained.len() * size_of::<Arc<Publication>>(), &self.joins),
            Work::Leave(_, name) => (OF_JOIN + name.len(), &self.joins),
        }
    }
}

/// The registry of topics, as a loop and the handles of its connections reach it.
#[derive(Clone, Debug)]
pub(crate) struct TopicsPort {
    pub(crate) hub: Arc<Hub>,
    pub(crate) port: PortId,
    pub(crate) backlog: Arc<Backlog>,
}
