//! The subscriptions of a loop's connections, as callbacks change them.

use super::members::{FilterId, Members};
use super::replay::Replays;
use super::work::{Backlog, TopicsPort};
use crate::event_loop::slab::Key;
use framewright_driver::topics::{
    Join, Publication, Pushed, SlowConsumer, SubscribeError, Waiting, prefixes,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The subscriptions of all connections of a loop, and what waits for slow ones.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    pub(crate) members: Members,
    topics: TopicsPort,
    /// Subscriptions whose join is on its way, by place and filter.
    joining: BTreeMap<(u32, FilterId), Joining>,
    /// Joins on their way whose subscription has ended meanwhile.
    void: HashSet<u64>,
    /// Subscriptions with a policy of their own, by place and filter.
    policies: BTreeMap<(u32, FilterId), SlowConsumer>,
    waiting: HashMap<Key, Waiting>,
    replays: HashMap<Key, Replays>,
    /// Filters in which messages may be lost, of connections that are not told yet.
    gaps: HashMap<Key, Vec<Arc<str>>>,
}

/// A subscription whose join is on its way.
#[derive(Clone, Copy, Debug)]
struct Joining {
    /// The number of the join.
    serial: u64,
    /// It resumes behind a message.
    resumes: bool,
}

/// What became of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The connection gets what was kept, and what follows.
    Now,
    /// The messages of the join are stored ones, and wait until the peer has room for them.
    Replays,
    /// The subscription has ended meanwhile, or is one that the connection has already.
    Void,
    /// A subscription by a handle is refused: the hub is to be told of its end.
    Refused,
}

/// Whether a call has changed anything for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The connection is subscribed already.
    Already,
    /// The hub is to be asked, and then [`Subscriptions::joins`] called.
    New,
}

impl Subscriptions {
    pub(crate) fn new(topics: TopicsPort) -> Subscriptions {
        Subscriptions {
            members: Members::default(),
            topics,
            joining: BTreeMap::new(),
            void: HashSet::new(),
            policies: BTreeMap::new(),
            waiting: HashMap::new(),
            replays: HashMap::new(),
            gaps: HashMap::new(),
        }
    }

    /// The registry of all loops, and this loop's port there.
    pub(crate) fn topics(&self) -> TopicsPort {
        self.topics.clone()
    }

    /// What waits for this loop.
    pub(crate) fn backlog(&self) -> &Backlog {
        &self.topics.backlog
    }

    /// Counts messages that were sent.
    pub(crate) fn count_delivered(&self, count: u64) {
        if count > 0 {
            self.topics.hub.counters().delivered(count);
        }
    }

    /// Whether nothing is to be done when a connection ends.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.waiting.is_empty() && self.replays.is_empty()
    }

    /// Notes a subscription, with a `policy` if it has one of its own.
    ///
    /// # Errors
    /// If the connection or the loop has too many.
    pub(crate) fn begin(
        &mut self,
        key: Key,
        name: &Arc<str>,
        policy: Option<SlowConsumer>,
    ) -> Result<Begun, SubscribeError> {
        let place = key.place();
        let known = self.members.find(name).filter(|&filter| self.members.has(place, filter));
        let filter = match known {
            Some(filter) => filter,
            None => {
                let limit = self.topics.hub.limits().topics_per_connection;
                if self.members.of(place).len() >= limit {
                    return Err(SubscribeError::TopicsPerConnection { limit });
                }
                let added = self.members.add(place, name);
                added.ok_or(SubscribeError::Topics { limit: super::members::MOST_FILTERS })?
            }
        };
        if let Some(policy) = policy {
            self.policies.insert((place, filter), policy);
        }
        Ok(if known.is_some() { Begun::Already } else { Begun::New })
    }

    /// Notes the number of the join of a subscription that has [begun](Subscriptions::begin).
    /// `resumes`: behind a message of a durable topic.
    pub(crate) fn joins(&mut self, key: Key, name: &str, serial: u64, resumes: bool) {
        if let Some(filter) = self.members.find(name) {
            self.joining.insert((key.place(), filter), Joining { serial, resumes });
        }
    }

    /// Ends a subscription. Returns whether there was one.
    pub(crate) fn remove(&mut self, key: Key, name: &str) -> bool {
        let place = key.place();
        let Some(filter) = self.members.find(name) else { return false };
        if !self.members.remove(place, filter) {
            return false;
        }
        self.policies.remove(&(place, filter));
        self.void.extend(self.joining.remove(&(place, filter)).map(|joining| joining.serial));
        if let Some(replays) = self.replays.get_mut(&key) {
            replays.end(name);
            if replays.is_empty() {
                self.replays.remove(&key);
            }
        }
        // Subscribed again, it would get what was kept, and this once more.
        if let Some(waiting) = self.waiting.get_mut(&key) {
            let members = &self.members;
            waiting.retain(self.topics.hub.counters(), |publication| is_wanted(members, place, publication));
        }
        true
    }

    /// Ends all subscriptions of a connection, and drops what waits for it. Returns the filters.
    pub(crate) fn remove_all(&mut self, key: Key) -> Vec<Arc<str>> {
        let place = key.place();
        self.drop_waiting(key);
        self.gaps.remove(&key);
        let all = (place, FilterId::MIN)..=(place, FilterId::MAX);
        let joining: Vec<_> =
            self.joining.range(all.clone()).map(|(at, joining)| (*at, joining.serial)).collect();
        for (at, serial) in joining {
            self.joining.remove(&at);
            self.void.insert(serial);
        }
        let policies: Vec<_> = self.policies.range(all).map(|(at, _)| *at).collect();
        for at in policies {
            self.policies.remove(&at);
        }
        self.members.remove_all(place)
    }

    /// What a connection is subscribed to.
    pub(crate) fn of(&self, key: Key) -> Vec<Arc<str>> {
        self.members.of(key.place()).map(|filter| Arc::clone(self.members.name(filter))).collect()
    }

    /// Handles the join of a subscription. `is_open`: its connection takes messages.
    pub(crate) fn join(&mut self, key: Key, is_open: bool, join: &Join) -> Joined {
        // A subscription that resumes has several joins; the last one admits.
        if self.void.contains(&join.serial) {
            if join.admits {
                self.void.remove(&join.serial);
            }
            return Joined::Void;
        }
        let place = key.place();
        let filter = self.members.find(&join.filter);
        let is_own = filter.and_then(|filter| Some((filter, *self.joining.get(&(place, filter))?)));
        if let Some((filter, joining)) = is_own.filter(|(_, joining)| joining.serial == join.serial) {
            if join.gap {
                self.gaps.entry(key).or_default().push(Arc::clone(&join.filter));
            }
            if join.admits {
                self.joining.remove(&(place, filter));
                self.members.admit(place, filter);
                if let Some(replays) = self.replays.get_mut(&key) {
                    replays.admit(join.serial);
                }
            }
            if joining.resumes && !join.retained.is_empty() {
                self.replays.entry(key).or_default().push(join);
                return Joined::Replays;
            }
            return Joined::Now;
        }
        // By a handle.
        if !is_open {
            return Joined::Refused;
        }
        match self.begin(key, &join.filter, None) {
            Ok(Begun::New) => {}
            Ok(Begun::Already) => return Joined::Refused,
            Err(error) => {
                tracing::warn!(
                    connection = join.connection,
                    filter = &*join.filter,
                    %error,
                    "a subscription by a handle has ended at once"
                );
                return Joined::Refused;
            }
        }
        if let Some(filter) = self.members.find(&join.filter) {
            self.members.admit(place, filter);
        }
        Joined::Now
    }

    /// Takes the filters of a connection in which messages may be lost for it.
    pub(crate) fn take_gaps(&mut self, key: Key) -> Vec<Arc<str>> {
        self.gaps.remove(&key).unwrap_or_default()
    }

    /// Keeps publications for a slow connection, as their policies say.
    pub(crate) fn let_wait<'a>(
        &mut self,
        key: Key,
        publications: impl Iterator<Item = &'a Arc<Publication>>,
    ) -> Pushed {
        let mut waiting = self.waiting.remove(&key).unwrap_or_default();
        for publication in publications {
            let policy = policy_of(&self.members, &self.policies, key.place(), publication);
            let policy = policy.unwrap_or_else(|| publication.slow_consumer());
            if waiting.push(publication, policy, self.topics.hub.counters()) == Pushed::Disconnect {
                self.replays.remove(&key);
                return Pushed::Disconnect;
            }
        }
        if !waiting.is_empty() {
            self.waiting.insert(key, waiting);
        }
        Pushed::Waits
    }

    /// Drops what waits for a connection.
    pub(crate) fn drop_waiting(&mut self, key: Key) {
        self.replays.remove(&key);
        if let Some(mut waiting) = self.waiting.remove(&key) {
            waiting.clear(self.topics.hub.counters());
        }
    }

    /// Whether anything waits for a connection.
    pub(crate) fn waits(&self, key: Key) -> bool {
        self.waiting.contains_key(&key) || self.replays.contains_key(&key)
    }

    /// Bytes of memory that wait for a connection.
    pub(crate) fn waiting_bytes(&self, key: Key) -> usize {
        self.waiting.get(&key).map_or(0, Waiting::held) + self.replays.get(&key).map_or(0, Replays::held)
    }

    /// Takes the next publication that waits for a connection; `None` if nothing does.
    ///
    /// A page of stored messages that has been taken whole is added to `taken`: the topic, and the
    /// number of the subscription that wants the next one.
    pub(crate) fn take_waiting(
        &mut self,
        key: Key,
        taken: &mut Vec<(Arc<str>, u64)>,
    ) -> Option<Arc<Publication>> {
        // Other topics do not wait for the end of a long replay. What follows a replay of its own
        // topic does.
        let replays_first = self.replays.get(&key).is_some_and(Replays::goes_first);
        if !replays_first && let Some(waiting) = self.waiting.get_mut(&key) {
            let publication = waiting.pop(self.topics.hub.counters());
            if waiting.is_empty() {
                self.waiting.remove(&key);
            }
            return publication;
        }
        let replays = self.replays.get_mut(&key)?;
        let publication = replays.pop(taken);
        if replays.is_empty() {
            self.replays.remove(&key);
        }
        publication
    }
}

/// Whether a place is subscribed to the topic of a publication.
fn is_wanted(members: &Members, place: u32, publication: &Publication) -> bool {
    filters_of(members, publication).any(|filter| members.has(place, filter))
}

/// The filters whose subscribers receive a publication.
pub(crate) fn filters_of(members: &Members, publication: &Publication) -> impl Iterator<Item = FilterId> {
    let exact = members.find(publication.topic());
    let wants_prefixes = members.has_prefixes() && !publication.is_for_filter();
    let prefixes =
        wants_prefixes.then(|| prefixes(publication.topic()).filter_map(|name| members.find(&name)));
    exact.into_iter().chain(prefixes.into_iter().flatten())
}

/// The policy of a place's own for a publication; `None` if it has none.
fn policy_of<'a>(
    members: &Members,
    policies: &'a BTreeMap<(u32, FilterId), SlowConsumer>,
    place: u32,
    publication: &Publication,
) -> Option<&'a SlowConsumer> {
    if policies.is_empty() {
        return None;
    }
    filters_of(members, publication).find_map(|filter| policies.get(&(place, filter)))
}
