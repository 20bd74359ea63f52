//! The hub: where everything that is published in a process passes.

use super::backplane::{Backplane, BackplaneError, Page, Passed, Position, Remote, Sink, Stored};
use super::counters::{Counters, TopicStats};
use super::error::{PublishError, SubscribeError};
use super::history::History;
use super::names::{Filter, check_filter, check_topic};
use super::options::{OptionsTable, Retain, SlowConsumer, TopicLimits, TopicOptions};
use super::port::{Join, Port, PortId, Post};
use super::publication::Publication;
use super::registry::{Change, Members, Registry, Shard};
use super::resume::{Resume, Step, Subscriber, Then};
use super::settings::{Observer, Presence, Topics};
use framewright::{OwnedMessage, Prepared};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

/// The topics of a process: who is subscribed, the messages that are kept, and the way to other
/// processes.
///
/// Its subscribers are behind [ports](Port). A publication is posted once to each port that has a
/// subscriber. All ports see the messages of one topic in the same order. A subscription posts a
/// [`Join`] to its own port: messages posted before it are not for the subscriber, those after it
/// are, and the join carries those that were kept.
///
/// No lock is held while an [`Observer`] or a [`Backplane`] runs.
pub struct Hub {
    limits: TopicLimits,
    options: OptionsTable,
    observer: Option<Box<dyn Observer>>,
    backplane: Option<Box<dyn Backplane>>,
    counters: Arc<Counters>,
    registry: Registry,
    serials: AtomicU64,
    errands: Mutex<Errands>,
    this: Weak<Hub>,
}

/// What the backplane has to be told, in the order of the changes that caused it.
#[derive(Debug, Default)]
struct Errands {
    queue: VecDeque<Errand>,
    /// A thread tells it.
    is_running: bool,
}

#[derive(Debug)]
enum Errand {
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
    Read { topic: Arc<str>, serial: u64, after: Position },
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// # Making one
impl Hub {
    /// Makes the hub of a process, and starts its backplane.
    ///
    /// # Errors
    /// That of [`Backplane::start`].
    pub fn new(topics: Topics) -> Result<Arc<Self>, BackplaneError> {
        let Topics { limits, options, observer, backplane } = topics;
        let hub = Arc::new_cyclic(|this| Self {
            limits,
            options,
            observer,
            backplane,
            counters: Arc::default(),
            registry: Registry::default(),
            serials: AtomicU64::new(0),
            errands: Mutex::default(),
            this: Weak::clone(this),
        });
        if let Some(backplane) = &hub.backplane {
            backplane.start(Remote::to(FromOthers(Weak::clone(&hub.this))))?;
        }
        Ok(hub)
    }

    /// Stops the backplane: see [`Backplane::stop`].
    pub fn stop(&self, deadline: Instant) {
        if let Some(backplane) = &self.backplane {
            backplane.stop(deadline);
        }
    }

    /// Adds a port.
    pub fn add_port(&self, port: Arc<dyn Port>) -> PortId {
        self.registry.add_port(port)
    }

    /// Removes a port. All subscriptions behind it have ended before. Its number may be used again.
    pub fn remove_port(&self, port: PortId) {
        self.registry.remove_port(port);
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &TopicLimits {
        &self.limits
    }

    /// The counters, which the drivers add to. Whoever holds them reads them after the hub's end.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Returns what topics hold now, and what they have counted.
    #[must_use]
    pub fn stats(&self) -> TopicStats {
        self.counters.stats()
    }

    /// The options of a topic, or of a prefix as a whole.
    #[must_use]
    pub fn options(&self, filter: &str) -> &TopicOptions {
        self.options.of(Filter::read(filter))
    }

    /// The number of subscribers of exactly this topic or prefix.
    #[must_use]
    pub fn subscribers(&self, filter: &str) -> usize {
        match Filter::read(filter) {
            Filter::Topic(name) => {
                self.registry.shard(name).topics.get(name).map_or(0, |topic| topic.members.count())
            }
            prefix => self.registry.prefixes().of(prefix).map_or(0, Members::count),
        }
    }
}

/// # Subscribing
impl Hub {
    /// Checks a filter against the rules for names.
    ///
    /// # Errors
    /// [`SubscribeError::Name`].
    pub fn check_filter(&self, filter: &str) -> Result<(), SubscribeError> {
        Ok(check_filter(filter, self.limits.name_len)?)
    }

    /// Subscribes a connection behind a port, and posts its [`Join`] there. `subscriber` is a value
    /// of the port's own that comes back in the join. Returns the number of the subscription.
    ///
    /// A connection has at most one subscription of a filter; the port sees to that, and to
    /// [`TopicLimits::topics_per_connection`].
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was posted.
    pub fn subscribe(
        &self,
        port: PortId,
        subscriber: u64,
        connection: u64,
        filter: &Arc<str>,
    ) -> Result<u64, SubscribeError> {
        let parsed = Filter::parse(filter, self.limits.name_len)?;
        let serial = self.serials.fetch_add(1, Relaxed);
        let join = |retained| {
            let filter = Arc::clone(filter);
            Join { subscriber, connection, filter, serial, retained, admits: true, gap: false }
        };
        let change = match parsed {
            Filter::Topic(name) => {
                let mut shard = self.registry.shard(name);
                self.check_topics(&shard, name).map_err(|limit| SubscribeError::Topics { limit })?;
                let kept = shard.kept(parsed).flat_map(|history| history.iter().cloned()).collect();
                let has_history = shard.history.contains_key(name);
                let (_, change) = shard.add(filter, port);
                self.count_topic(change.is_turn && !has_history);
                self.registry.post(port, Post::Join(join(kept)));
                self.note_turn(change, Errand::Subscribe, filter);
                change
            }
            Filter::Below(_) | Filter::All => {
                let shards = self.registry.all_shards();
                let limit = self.limits.prefixes;
                let is_new = self.subscribers_of_prefix(parsed) == 0;
                if is_new && self.registry.prefix_count() >= limit {
                    return Err(SubscribeError::Prefixes { limit });
                }
                let kept = shards.iter().flat_map(|shard| shard.kept(parsed));
                let kept = kept.flat_map(|history| history.iter().cloned()).collect();
                let change = self.registry.add_prefix(parsed, port);
                self.counters.prefixes.fetch_add(usize::from(change.is_turn), Relaxed);
                self.registry.post(port, Post::Join(join(kept)));
                self.note_turn(change, Errand::Subscribe, filter);
                change
            }
        };
        self.subscribed(connection, filter, change);
        Ok(serial)
    }

    /// Subscribes a connection to a durable topic, behind the message with the position `after`, the
    /// last one that it has received.
    ///
    /// Stored messages come in joins that do not [admit](Join::admits), in order. Messages that are
    /// published meanwhile are held back here. The last join admits. None is missed and none comes
    /// twice, unless a join says that there is a [gap](Join::gap).
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was posted.
    pub fn subscribe_after(
        &self,
        port: PortId,
        subscriber: u64,
        connection: u64,
        topic: &Arc<str>,
        after: &str,
    ) -> Result<u64, SubscribeError> {
        check_topic(topic, self.limits.name_len)?;
        let after = Position::parse(after).ok_or(SubscribeError::Position)?;
        if !self.is_durable(topic) {
            return Err(SubscribeError::NotDurable);
        }
        let serial = self.serials.fetch_add(1, Relaxed);
        let change = {
            let mut shard = self.registry.shard(topic);
            self.check_topics(&shard, topic).map_err(|limit| SubscribeError::Topics { limit })?;
            let has_history = shard.history.contains_key(topic);
            let (entry, change) = shard.add(topic, port);
            let who = Subscriber { port, subscriber, connection };
            let resume = Resume::new(&who, topic, serial, after);
            entry.durable.get_or_insert_default().resumes.push(resume);
            self.count_topic(change.is_turn && !has_history);
            self.note_turn(change, Errand::Subscribe, topic);
            self.note(Errand::Read { topic: Arc::clone(topic), serial, after });
            change
        };
        self.subscribed(connection, topic, change);
        Ok(serial)
    }

    /// Reads the next page for the subscription with this number, if the port is to ask for it
    /// ([`Port::reads_on`]). The subscriber has taken the last page then.
    ///
    /// Does nothing for a subscription that does not wait for a page.
    pub fn read_on(&self, topic: &Arc<str>, serial: u64) {
        {
            let mut shard = self.registry.shard(topic);
            let durable = shard.topics.get_mut(topic).and_then(|topic| topic.durable.as_mut());
            let resumes = durable.map(|durable| durable.resumes.iter_mut()).into_iter().flatten();
            let resume = resumes.into_iter().find(|resume| resume.serial == serial);
            let Some(after) = resume.and_then(Resume::read_on) else { return };
            self.note(Errand::Read { topic: Arc::clone(topic), serial, after });
        }
        self.run_errands();
    }

    /// Ends a subscription of a connection. The port delivers nothing to it any more.
    ///
    /// If it is still resuming, an empty [`Join`] is posted.
    pub fn unsubscribe(&self, port: PortId, connection: u64, filter: &str) {
        let parsed = Filter::read(filter);
        let change = match parsed {
            Filter::Topic(name) => {
                let mut shard = self.registry.shard(name);
                self.cancel_resume(&mut shard, name, port, connection);
                let Some(change) = shard.remove(name, port) else { return };
                if change.is_turn && !shard.history.contains_key(name) {
                    self.counters.topics.fetch_sub(1, Relaxed);
                }
                self.note_turn(change, Errand::Unsubscribe, filter);
                change
            }
            Filter::Below(_) | Filter::All => {
                let _shards = self.registry.all_shards();
                let Some(change) = self.registry.remove_prefix(parsed, port) else { return };
                self.counters.prefixes.fetch_sub(usize::from(change.is_turn), Relaxed);
                self.note_turn(change, Errand::Unsubscribe, filter);
                change
            }
        };
        self.counters.subscriptions.fetch_sub(1, Relaxed);
        self.run_errands();
        if let Some(observer) = &self.observer {
            let subscribers = change.subscribers;
            observer.on_unsubscribed(&Presence { topic: filter, connection, subscribers });
        }
    }

    fn subscribed(&self, connection: u64, filter: &str, change: Change) {
        self.counters.subscriptions.fetch_add(1, Relaxed);
        self.run_errands();
        if let Some(observer) = &self.observer {
            let subscribers = change.subscribers;
            observer.on_subscribed(&Presence { topic: filter, connection, subscribers });
        }
    }

    fn subscribers_of_prefix(&self, prefix: Filter<'_>) -> usize {
        self.registry.prefixes().of(prefix).map_or(0, Members::count)
    }

    /// Checks the number of topics before one is added. The error is the limit.
    fn check_topics(&self, shard: &Shard, name: &str) -> Result<(), usize> {
        let is_known = shard.topics.contains_key(name) || shard.history.contains_key(name);
        // Shards check at the same time, so a few more may be let in.
        if !is_known && self.counters.topics.load(Relaxed) >= self.limits.topics {
            return Err(self.limits.topics);
        }
        Ok(())
    }

    fn count_topic(&self, is_new: bool) {
        self.counters.topics.fetch_add(usize::from(is_new), Relaxed);
    }
}

/// # Publishing
impl Hub {
    /// Publishes a message. The connection `publisher`, if there is one, does not receive it.
    ///
    /// # Errors
    /// A [`PublishError`]. Nobody receives the message, except with
    /// [`NotPassedOn`](PublishError::NotPassedOn).
    pub fn publish(
        &self,
        topic: &str,
        message: Prepared,
        key: Option<&str>,
        publisher: Option<u64>,
    ) -> Result<(), PublishError> {
        check_topic(topic, self.limits.name_len)?;
        let options = self.options.of(Filter::Topic(topic));
        let new = |topic| Publication {
            topic,
            message,
            key: key.map(Into::into),
            id: None,
            publisher,
            slow_consumer: options.slow_consumer,
            only_filter: false,
        };
        let backplane = self.backplane.as_deref().filter(|_| options.backplane);
        let Some(backplane) = backplane else {
            let mut shard = self.registry.shard(topic);
            let publication = Arc::new(new(name_of(&shard, topic)));
            self.check_room(&shard, topic, options)?;
            self.deliver(&mut shard, &publication, options);
            self.counters.published.fetch_add(1, Relaxed);
            return Ok(());
        };
        let name = {
            let shard = self.registry.shard(topic);
            // What comes back finds room later, or waits in the backplane.
            if !options.durable {
                self.check_room(&shard, topic, options)?;
            }
            name_of(&shard, topic)
        };
        let publication = Arc::new(new(name));
        let passed = backplane.publish(&publication, options);
        match passed {
            Ok(Passed::ComesBack) => {
                self.counters.published.fetch_add(1, Relaxed);
                return Ok(());
            }
            Err(error) if options.durable => {
                self.counters.not_passed_on.fetch_add(1, Relaxed);
                return Err(PublishError::NotPassedOn(error));
            }
            Ok(Passed::Deliver) | Err(_) => {}
        }
        self.deliver(&mut self.registry.shard(topic), &publication, options);
        self.counters.published.fetch_add(1, Relaxed);
        passed.map(drop).map_err(|error| {
            self.counters.not_passed_on.fetch_add(1, Relaxed);
            PublishError::NotPassedOn(error)
        })
    }

    /// Sends a message to the subscribers of exactly this topic or prefix in this process. It is not
    /// kept, and not passed on to others.
    ///
    /// # Errors
    /// [`PublishError::Name`] or [`PublishError::Busy`]; nobody receives the message.
    pub fn publish_local(&self, filter: &str, message: Prepared) -> Result<(), PublishError> {
        let parsed = Filter::parse(filter, self.limits.name_len)?;
        let publication = Arc::new(Publication {
            slow_consumer: self.options.of(parsed).slow_consumer,
            only_filter: true,
            ..Publication::new(filter, message, None)
        });
        let post = |ports: &mut dyn Iterator<Item = PortId>| {
            let ports: Vec<PortId> = ports.collect();
            if !self.registry.post_to(ports.iter().copied(), Port::has_room) {
                return Err(self.refused());
            }
            self.registry.post_to(ports.into_iter(), |port| {
                port.post(Post::Deliver(Arc::clone(&publication)));
                true
            });
            Ok(())
        };
        match parsed {
            Filter::Topic(name) => {
                let shard = self.registry.shard(name);
                shard.topics.get(name).map_or(Ok(()), |topic| post(&mut topic.members.ports()))
            }
            prefix => {
                let prefixes = self.registry.prefixes();
                prefixes.of(prefix).map_or(Ok(()), |members| post(&mut members.ports()))
            }
        }
    }

    /// Checks that a message can be delivered and kept.
    fn check_room(&self, shard: &Shard, topic: &str, options: &TopicOptions) -> Result<(), PublishError> {
        if matches!(options.retain, Retain::Last(1..)) {
            self.check_topics(shard, topic).map_err(|limit| PublishError::Topics { limit })?;
        }
        if !self.registry.each_port(shard, topic, Port::has_room) {
            return Err(self.refused());
        }
        Ok(())
    }

    fn refused(&self) -> PublishError {
        self.counters.refused.fetch_add(1, Relaxed);
        PublishError::Busy
    }

    /// Keeps a message, and posts it to all ports that have subscribers. `shard` is its topic's.
    fn deliver(&self, shard: &mut Shard, publication: &Arc<Publication>, options: &TopicOptions) {
        let topic = &publication.topic;
        if let Retain::Last(count @ 1..) = options.retain
            && self.check_topics(shard, topic).is_ok()
        {
            self.keep(shard, publication, count);
        }
        self.resumes_on_live(shard, publication);
        self.registry.each_port(shard, topic, |port| {
            port.post(Post::Deliver(Arc::clone(publication)));
            true
        });
    }

    fn keep(&self, shard: &mut Shard, publication: &Arc<Publication>, count: usize) {
        let topic = &publication.topic;
        if !shard.history.contains_key(topic) {
            self.count_topic(!shard.topics.contains_key(topic));
            shard.history.insert(Arc::clone(topic), History::default());
        }
        let Some(history) = shard.history.get_mut(topic) else { return };
        history.push(publication, count, &self.limits, &self.counters);
        if history.is_empty() {
            shard.history.remove(topic);
            if !shard.topics.contains_key(topic) {
                self.counters.topics.fetch_sub(1, Relaxed);
            }
        }
    }
}

/// # Resuming
impl Hub {
    fn is_durable(&self, topic: &str) -> bool {
        let options = self.options.of(Filter::Topic(topic));
        self.backplane.is_some() && options.backplane && options.durable
    }

    /// A message of the backplane reaches those who resume on its topic, before it is posted.
    fn resumes_on_live(&self, shard: &mut Shard, publication: &Arc<Publication>) {
        let at = publication.id().and_then(Position::parse);
        let Some(topic) = shard.topics.get_mut(&publication.topic) else { return };
        if at.is_some() {
            topic.durable.get_or_insert_default();
        }
        let Some(durable) = &mut topic.durable else { return };
        durable.live = durable.live.max(at);
        let limit = self.limits.resume_bytes;
        durable.resumes.retain_mut(|resume| {
            let Step { join, then } = resume.on_live(publication, at, limit);
            join.into_iter().for_each(|join| self.registry.post(resume.port, Post::Join(join)));
            then != Then::End
        });
    }

    /// The backplane has read a page for somebody who resumes.
    fn resume_on_page(&self, topic: &Arc<str>, serial: u64, page: Result<Page, BackplaneError>) {
        let slow_consumer = self.options.of(Filter::Topic(topic)).slow_consumer;
        let page = page.ok().and_then(|page| {
            let read = |stored| publication_of(topic, stored, slow_consumer);
            // A position that cannot be read is a failure of the backplane.
            Some((page.stored.into_iter().map(read).collect::<Option<Vec<_>>>()?, page.gap))
        });
        {
            let mut shard = self.registry.shard(topic);
            let Some(durable) = shard.topics.get_mut(topic).and_then(|topic| topic.durable.as_mut()) else {
                return;
            };
            let Some(index) = durable.resumes.iter().position(|resume| resume.serial == serial) else {
                return;
            };
            let resume = &mut durable.resumes[index];
            let is_paced = !self.registry.post_to(std::iter::once(resume.port), |port| !port.reads_on());
            let limit = if is_paced { usize::MAX } else { self.limits.resume_bytes };
            let is_empty = page.as_ref().is_none_or(|(stored, _)| stored.is_empty());
            let Step { join, then } = match page {
                Some((stored, gap)) => resume.on_page(stored, gap, durable.live, limit),
                None => resume.end(Vec::new(), true, durable.live),
            };
            join.into_iter().for_each(|join| self.registry.post(resume.port, Post::Join(join)));
            match then {
                Then::Read(_) if is_paced && !is_empty => resume.awaits_port = true,
                Then::Read(after) => self.note(Errand::Read { topic: Arc::clone(topic), serial, after }),
                Then::End => drop(durable.resumes.remove(index)),
                Then::Stay => {}
            }
        }
        self.run_errands();
    }

    fn cancel_resume(&self, shard: &mut Shard, topic: &str, port: PortId, connection: u64) {
        let Some(durable) = shard.topics.get_mut(topic).and_then(|topic| topic.durable.as_mut()) else {
            return;
        };
        let is_it = |resume: &Resume| resume.port == port && resume.connection == connection;
        if let Some(index) = durable.resumes.iter().position(is_it) {
            let resume = durable.resumes.remove(index);
            self.registry.post(port, Post::Join(resume.cancel()));
        }
    }
}

/// # The backplane
impl Hub {
    /// Notes what the backplane is to be told of a first or last subscriber. The caller holds the lock
    /// under which that has changed.
    fn note_turn(&self, change: Change, errand: impl Fn(Arc<str>) -> Errand, filter: &str) {
        let is_shared = || self.backplane.is_some() && self.options.of(Filter::read(filter)).backplane;
        if change.is_turn && is_shared() {
            self.note(errand(filter.into()));
        }
    }

    fn note(&self, errand: Errand) {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner).queue.push_back(errand);
    }

    /// Tells the backplane what was noted, unless another thread does: that one goes on then.
    fn run_errands(&self) {
        let Some(backplane) = self.backplane.as_deref() else { return };
        let errands = || self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut errands().is_running, true) {
            return;
        }
        // A backplane that panics does not end the telling for good.
        struct Running<'a>(&'a Mutex<Errands>);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.lock().unwrap_or_else(PoisonError::into_inner).is_running = false;
                }
            }
        }
        let _running = Running(&self.errands);
        loop {
            let next = {
                let mut errands = errands();
                let next = errands.queue.pop_front();
                errands.is_running = next.is_some();
                next
            };
            match next {
                None => return,
                Some(Errand::Subscribe(filter)) => {
                    let options = self.options.of(Filter::read(&filter));
                    if backplane.subscribe(&filter, options).is_err() {
                        self.gap(&filter);
                    }
                }
                Some(Errand::Unsubscribe(filter)) => backplane.unsubscribe(&filter),
                Some(Errand::Read { topic, serial, after }) => {
                    let reader = Reader { hub: Weak::clone(&self.this), topic: Arc::clone(&topic), serial };
                    let reply = Box::new(move |page| reader.answer(page));
                    backplane.read(&topic, &after.to_string(), reply);
                }
            }
        }
    }

    /// Tells the observer of a gap, if the filter has subscribers.
    fn gap(&self, filter: &str) {
        if let Some(observer) = &self.observer
            && self.subscribers(filter) > 0
        {
            observer.on_gap(filter);
        }
    }

    /// All topics and prefixes with subscribers that others share.
    fn shared_filters(&self) -> Vec<Arc<str>> {
        let mut filters = self.registry.prefixes().names();
        for shard in self.registry.each_shard() {
            filters.extend(shard.topics.keys().cloned());
        }
        filters.retain(|filter| self.options.of(Filter::read(filter)).backplane);
        filters
    }

    /// Returns whether there was room.
    fn receive(&self, topic: &str, message: &OwnedMessage, key: Option<&str>, id: Option<&str>) -> bool {
        // Others may have other limits.
        if check_topic(topic, usize::MAX).is_err() {
            return true;
        }
        let options = self.options.of(Filter::Topic(topic));
        let mut shard = self.registry.shard(topic);
        if !self.registry.each_port(&shard, topic, Port::has_room) {
            return false;
        }
        let publication = Arc::new(Publication {
            id: id.map(Into::into),
            slow_consumer: options.slow_consumer,
            topic: name_of(&shard, topic),
            ..Publication::new("", message.as_message(), key)
        });
        self.deliver(&mut shard, &publication, options);
        self.counters.received.fetch_add(1, Relaxed);
        true
    }
}

/// The name as the topic has it already, so that it is there once.
fn name_of(shard: &Shard, topic: &str) -> Arc<str> {
    let known = shard.topics.get_key_value(topic).map(|(name, _)| name);
    let known = known.or_else(|| shard.history.get_key_value(topic).map(|(name, _)| name));
    known.map_or_else(|| Arc::from(topic), Arc::clone)
}

fn publication_of(
    topic: &Arc<str>,
    stored: Stored,
    slow_consumer: SlowConsumer,
) -> Option<(Position, Arc<Publication>)> {
    let position = Position::parse(&stored.id)?;
    let publication = Publication {
        topic: Arc::clone(topic),
        message: Prepared::new(stored.message.as_message()),
        key: stored.key.map(Into::into),
        id: Some(stored.id.into()),
        publisher: None,
        slow_consumer,
        only_filter: false,
    };
    Some((position, Arc::new(publication)))
}

/// Takes what others publish to the hub.
struct FromOthers(Weak<Hub>);

impl Sink for FromOthers {
    fn deliver(&self, topic: &str, message: OwnedMessage, key: Option<&str>, id: Option<&str>) -> bool {
        self.0.upgrade().is_none_or(|hub| hub.receive(topic, &message, key, id))
    }

    fn gap(&self, filter: Option<&str>) {
        let Some(hub) = self.0.upgrade() else { return };
        match filter {
            Some(filter) => hub.gap(filter),
            None => hub.shared_filters().iter().for_each(|filter| hub.gap(filter)),
        }
    }
}

/// Takes one answer of the backplane to the one who resumes. Dropped without one, it is a failure.
struct Reader {
    hub: Weak<Hub>,
    topic: Arc<str>,
    serial: u64,
}

impl Reader {
    fn answer(mut self, page: Result<Page, BackplaneError>) {
        if let Some(hub) = std::mem::take(&mut self.hub).upgrade() {
            hub.resume_on_page(&self.topic, self.serial, page);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.resume_on_page(&self.topic, self.serial, Err(BackplaneError::Away));
        }
    }
}
