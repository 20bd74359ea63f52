//! Who is subscribed to what, and the locks around it.
//!
//! Topics are spread over shards by a hash of their name. The lock of a shard puts the messages of
//! its topics, and the joins of their subscribers, in one order. Prefixes lie in a table of their
//! own. A change there holds the locks of all shards, so publishing needs no further lock to be in
//! order with it.
//!
//! Locks are taken in this order: shards, ascending; prefixes; ports.

use super::backplane::Position;
use super::history::History;
use super::names::{Filter, ancestors};
use super::port::{Port, PortId, Post};
use super::resume::Resume;
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The number of shards: enough for the threads of a large machine, few enough to lock them all.
const SHARDS: usize = 32;

#[derive(Default)]
pub(super) struct Registry {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    prefixes: RwLock<Prefixes>,
    /// Prefixes with subscribers. Changed with all shards locked, so exact under the lock of any.
    prefix_count: AtomicUsize,
    ports: RwLock<Ports>,
}

/// The topics of a shard.
#[derive(Default)]
pub(super) struct Shard {
    /// Topics with subscribers.
    pub(super) topics: HashMap<Arc<str>, Topic>,
    /// Topics with kept messages, in order, so that a prefix finds its own.
    pub(super) history: BTreeMap<Arc<str>, History>,
}

/// A topic with subscribers.
#[derive(Default)]
pub(super) struct Topic {
    pub(super) members: Members,
    pub(super) durable: Option<Box<Durable>>,
}

/// What a durable topic needs besides.
#[derive(Default)]
pub(super) struct Durable {
    /// The position of the last message that has come from the backplane.
    pub(super) live: Option<Position>,
    pub(super) resumes: Vec<Resume>,
}

/// The ports that have subscribers of a filter, and how many, by port.
#[derive(Debug, Default)]
pub(super) struct Members {
    ports: Vec<(PortId, u32)>,
    count: usize,
}

impl Members {
    fn add(&mut self, port: PortId) {
        match self.find(port) {
            Ok(at) => self.ports[at].1 += 1,
            Err(at) => self.ports.insert(at, (port, 1)),
        }
        self.count += 1;
    }

    /// Returns whether the port had a subscriber.
    fn remove(&mut self, port: PortId) -> bool {
        let Ok(at) = self.find(port) else { return false };
        self.count -= 1;
        self.ports[at].1 -= 1;
        if self.ports[at].1 == 0 {
            self.ports.remove(at);
            if self.ports.capacity() > 4 * self.ports.len() + 4 {
                self.ports.shrink_to_fit();
            }
        }
        true
    }

    fn find(&self, port: PortId) -> Result<usize, usize> {
        self.ports.binary_search_by_key(&port, |(id, _)| *id)
    }

    pub(super) fn ports(&self) -> impl Iterator<Item = PortId> {
        self.ports.iter().map(|(id, _)| *id)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// Prefixes with subscribers.
#[derive(Default)]
pub(super) struct Prefixes {
    below: HashMap<Box<str>, Members>,
    all: Members,
}

impl Prefixes {
    /// The subscribers of the prefixes that match a topic.
    fn matching<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Members> {
        ancestors(topic).filter_map(|name| self.below.get(name)).chain(std::iter::once(&self.all))
    }

    /// The prefixes as they were subscribed.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let below = self.below.keys().map(|name| Arc::from(format!("{name}/#")));
        below.chain((self.all.count() > 0).then(|| Arc::from("#"))).collect()
    }

    pub(super) fn of(&self, filter: Filter<'_>) -> Option<&Members> {
        match filter {
            Filter::Topic(_) => None,
            Filter::Below(name) => self.below.get(name),
            Filter::All => Some(&self.all),
        }
    }
}

/// A change of the number of subscribers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The subscribers now.
    pub(super) subscribers: usize,
    /// Whether this was the first subscriber, or the last one.
    pub(super) is_turn: bool,
}

#[derive(Default)]
struct Ports {
    ports: Vec<Option<Arc<dyn Port>>>,
    free: Vec<u32>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(super) fn add_port(&self, port: Arc<dyn Port>) -> PortId {
        let mut ports = self.ports.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = ports.free.pop() {
            ports.ports[free as usize] = Some(port);
            return PortId(free);
        }
        ports.ports.push(Some(port));
        PortId(u32::try_from(ports.ports.len() - 1).expect("a process has no 2^32 ports"))
    }

    pub(super) fn remove_port(&self, PortId(port): PortId) {
        let mut ports = self.ports.write().unwrap_or_else(PoisonError::into_inner);
        if ports.ports[port as usize].take().is_some() {
            ports.free.push(port);
        }
    }

    pub(super) fn shard(&self, topic: &str) -> MutexGuard<'_, Shard> {
        #[allow(clippy::cast_possible_truncation, reason = "the low bits are enough")]
        let hash = self.hasher.hash_one(topic) as usize;
        locked(&self.shards[hash % SHARDS])
    }

    /// Locks everything, so that nothing is published meanwhile.
    pub(super) fn all_shards(&self) -> Vec<MutexGuard<'_, Shard>> {
        self.shards.iter().map(locked).collect()
    }

    /// One shard after the other.
    pub(super) fn each_shard(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(locked)
    }

    pub(super) fn prefixes(&self) -> RwLockReadGuard<'_, Prefixes> {
        self.prefixes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn prefixes_mut(&self) -> RwLockWriteGuard<'_, Prefixes> {
        self.prefixes.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn prefix_count(&self) -> usize {
        self.prefix_count.load(Relaxed)
    }

    /// Adds a subscriber of a prefix. The caller holds the locks of all shards.
    pub(super) fn add_prefix(&self, filter: Filter<'_>, port: PortId) -> Change {
        let mut prefixes = self.prefixes_mut();
        let members = match filter {
            Filter::Below(name) => prefixes.below.entry(name.into()).or_default(),
            _ => &mut prefixes.all,
        };
        members.add(port);
        let change = Change { subscribers: members.count(), is_turn: members.count() == 1 };
        self.prefix_count.fetch_add(usize::from(change.is_turn), Relaxed);
        change
    }

    /// Removes a subscriber of a prefix. `None` if the port had none. The caller holds the locks of
    /// all shards.
    pub(super) fn remove_prefix(&self, filter: Filter<'_>, port: PortId) -> Option<Change> {
        let mut prefixes = self.prefixes_mut();
        let members = match filter {
            Filter::Below(name) => prefixes.below.get_mut(name)?,
            _ => &mut prefixes.all,
        };
        if !members.remove(port) {
            return None;
        }
        let subscribers = members.count();
        if subscribers == 0 {
            self.prefix_count.fetch_sub(1, Relaxed);
            if let Filter::Below(name) = filter {
                prefixes.below.remove(name);
            }
        }
        Some(Change { subscribers, is_turn: subscribers == 0 })
    }

    /// Calls `with` with each port that has a subscriber of a topic, until it returns false. The
    /// caller holds the lock of `shard`, which is the topic's. Returns whether all were called.
    pub(super) fn each_port(
        &self,
        shard: &Shard,
        topic: &str,
        mut with: impl FnMut(&dyn Port) -> bool,
    ) -> bool {
        let members = shard.topics.get(topic).map(|topic| &topic.members);
        if self.prefix_count() == 0 {
            let Some(members) = members else { return true };
            return self.post_to(members.ports(), with);
        }
        let prefixes = self.prefixes();
        let mut ports: Vec<PortId> =
            members.into_iter().chain(prefixes.matching(topic)).flat_map(Members::ports).collect();
        ports.sort_unstable();
        ports.dedup();
        self.post_to(ports.into_iter(), &mut with)
    }

    /// Calls `with` with each of these ports, until it returns false.
    pub(super) fn post_to(
        &self,
        mut to: impl Iterator<Item = PortId>,
        mut with: impl FnMut(&dyn Port) -> bool,
    ) -> bool {
        let ports = self.ports.read().unwrap_or_else(PoisonError::into_inner);
        to.all(|PortId(port)| ports.ports[port as usize].as_deref().is_none_or(&mut with))
    }

    pub(super) fn post(&self, port: PortId, post: Post) {
        let mut post = Some(post);
        self.post_to(std::iter::once(port), |port| {
            post.take().into_iter().for_each(|post| port.post(post));
            true
        });
    }
}

impl Shard {
    /// Adds a subscriber of a topic.
    pub(super) fn add(&mut self, topic: &Arc<str>, port: PortId) -> (&mut Topic, Change) {
        let (topic, is_turn) = match self.topics.entry(Arc::clone(topic)) {
            Entry::Occupied(entry) => (entry.into_mut(), false),
            Entry::Vacant(entry) => (entry.insert(Topic::default()), true),
        };
        topic.members.add(port);
        let subscribers = topic.members.count();
        (topic, Change { subscribers, is_turn })
    }

    /// Removes a subscriber of a topic. `None` if the port had none.
    pub(super) fn remove(&mut self, name: &str, port: PortId) -> Option<Change> {
        let topic = self.topics.get_mut(name)?;
        if !topic.members.remove(port) {
            return None;
        }
        let subscribers = topic.members.count();
        if subscribers == 0 {
            self.topics.remove(name);
            // A table keeps its room when entries leave.
            if self.topics.capacity() > 8 * self.topics.len() + 64 {
                self.topics.shrink_to_fit();
            }
        }
        Some(Change { subscribers, is_turn: subscribers == 0 })
    }

    /// The kept messages of all topics that a filter matches, each topic's in order.
    pub(super) fn kept<'a>(&'a self, filter: Filter<'a>) -> impl Iterator<Item = &'a History> {
        let from = match filter {
            Filter::Topic(name) | Filter::Below(name) => name,
            Filter::All => "",
        };
        let topics =
            self.history.range::<str, _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded));
        // Of `a/#`, `a-b` lies between `a` and `a/b`.
        topics
            .take_while(move |(topic, _)| topic.starts_with(from))
            .filter(move |(topic, _)| filter.matches(topic))
            .map(|(_, history)| history)
    }
}
