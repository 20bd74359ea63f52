//! What a callback does with topics: subscribe its connection, and publish.

use super::subscriptions::Begun;
use crate::api::erased::Errands;
use crate::api::socket::{LoopParts, OwnParts, Socket};
use crate::event_loop::slab::Key;
use crate::guard::guarded;
use crate::topics::subscriptions::Joined;
use framewright::{Connection, Prepared, State};
use framewright_driver::topics::{Join, PublishError, SlowConsumer, SubscribeError};
use std::sync::Arc;

/// # Topics
///
/// A connection that is subscribed to a topic receives what anybody publishes on it. Its
/// subscriptions end with it, before [`on_close`](crate::Handler::on_close).
impl Socket<'_> {
    /// Subscribes the connection to a topic, or to all topics below a name: `prices/#` is `prices`,
    /// `prices/EUR`, `prices/EUR/1` and so on, and `#` is every topic.
    ///
    /// First come the messages that were kept for new subscribers ([`Retain`](crate::Retain)), then
    /// every message that is published from now on: none is missed and none comes twice, even if it
    /// matches several subscriptions of the connection. Only the kept ones come with each of these
    /// subscriptions. Messages on one topic arrive in the order in which they were published.
    /// Subscribing again changes nothing.
    ///
    /// A message that finds the connection with nothing else to send is written at once. Otherwise
    /// it waits until the peer has taken what is queued, as the topic's
    /// [`SlowConsumer`](crate::SlowConsumer) says.
    ///
    /// ```
    /// use framewright_server::{Decision, Handler, Incoming, Message, Socket};
    ///
    /// /// Everybody receives what anybody says.
    /// struct Room;
    ///
    /// impl Handler for Room {
    ///     type State = ();
    ///
    ///     fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
    ///         request.accept(())
    ///     }
    ///
    ///     fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
    ///         let _ = socket.subscribe("room"); // far from the limits
    ///     }
    ///
    ///     fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
    ///         let _ = socket.publish("room", message); // to all others; or too much waits
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// A [`SubscribeError`]; nothing has changed.
    pub fn subscribe(&mut self, filter: &str) -> Result<(), SubscribeError> {
        self.own.subscribe(self.current.connection, filter, None, None)
    }

    /// Subscribes the connection as [`subscribe`](Socket::subscribe) does, with a policy of its own
    /// for the time in which its peer is slow. For a subscription that exists, it changes the
    /// policy.
    ///
    /// # Errors
    /// A [`SubscribeError`]; nothing has changed.
    pub fn subscribe_with(&mut self, filter: &str, policy: SlowConsumer) -> Result<(), SubscribeError> {
        self.own.subscribe(self.current.connection, filter, Some(policy), None)
    }

    /// Subscribes the connection to a durable topic, behind the message with the position `after`,
    /// the last one that its peer has received.
    ///
    /// First come the stored messages behind it, then all that are published from now on. If some of
    /// them are not stored any more, or the backplane is away,
    /// [`on_gap`](crate::Handler::on_gap) is called. For a subscription that exists, nothing changes.
    ///
    /// # Errors
    /// A [`SubscribeError`]; nothing has changed.
    pub fn subscribe_after(&mut self, topic: &str, after: &str) -> Result<(), SubscribeError> {
        self.own.subscribe(self.current.connection, topic, None, Some(after))
    }

    /// Ends a subscription. Returns whether there was one.
    ///
    /// Nothing that is published on it arrives any more, not even what waits for a slow peer, unless
    /// another subscription of the connection matches it.
    pub fn unsubscribe(&mut self, filter: &str) -> bool {
        self.own.of_loop.unsubscribe(self.own.key, self.own.id, filter)
    }

    /// The topics and prefixes that the connection is subscribed to, in no order.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.own.of_loop.topics.borrow().of(self.own.key)
    }

    /// Publishes a message to all other subscribers of a topic: a [`Message`](crate::Message), a
    /// `&str` for text, or a [`Prepared`].
    ///
    /// The message is encoded once, and compressed at most once for each set of negotiated
    /// parameters. Returns at once; the event loops deliver it.
    ///
    /// # Errors
    /// A [`PublishError`]. Nobody receives the message, except after `NotPassedOn`: then the
    /// subscribers of this server do, unless the topic is durable.
    pub fn publish(&self, topic: &str, message: impl Into<Prepared>) -> Result<(), PublishError> {
        let topics = self.own.of_loop.topics.borrow().topics();
        topics.hub.publish(topic, message.into(), None, Some(self.own.id))
    }

    /// Publishes a message with a key, as
    /// [`ServerHandle::publish_keyed`](crate::ServerHandle::publish_keyed) does, to all other
    /// subscribers.
    ///
    /// # Errors
    /// A [`PublishError`]. Nobody receives the message, except after `NotPassedOn`: then the
    /// subscribers of this server do, unless the topic is durable.
    pub fn publish_keyed(
        &self,
        topic: &str,
        key: &str,
        message: impl Into<Prepared>,
    ) -> Result<(), PublishError> {
        let topics = self.own.of_loop.topics.borrow().topics();
        topics.hub.publish(topic, message.into(), Some(key), Some(self.own.id))
    }

    /// Publishes a message as [`publish`](Socket::publish) does, to this connection too if it is
    /// subscribed.
    ///
    /// # Errors
    /// A [`PublishError`]. Nobody receives the message, except after `NotPassedOn`: then the
    /// subscribers of this server do, unless the topic is durable.
    pub fn publish_to_all(&self, topic: &str, message: impl Into<Prepared>) -> Result<(), PublishError> {
        let topics = self.own.of_loop.topics.borrow().topics();
        topics.hub.publish(topic, message.into(), None, None)
    }
}

/// The most bytes that a turn queues of what has waited: more is sent once the peer has taken them.
const WAITING_SHARE: usize = 64 << 10;

impl OwnParts<'_> {
    fn subscribe(
        &self,
        connection: &Connection,
        filter: &str,
        policy: Option<SlowConsumer>,
        after: Option<&str>,
    ) -> Result<(), SubscribeError> {
        if connection.state() != State::Open {
            return Err(SubscribeError::Closed);
        }
        let OwnParts { of_loop, key, id, .. } = self;
        let name: Arc<str> = Arc::from(filter);
        let topics = of_loop.topics.borrow().topics();
        topics.hub.check_filter(filter)?;
        if !topics.backlog.has_room_for_joins() {
            return Err(SubscribeError::Busy);
        }
        if of_loop.topics.borrow_mut().begin(*key, &name, policy)? == Begun::Already {
            return Ok(());
        }
        // An observer is the application's, so nothing is borrowed meanwhile.
        let (hub, port) = (&topics.hub, topics.port);
        let begun = match after {
            None => hub.subscribe(port, key.bits(), *id, &name),
            Some(after) => hub.subscribe_after(port, key.bits(), *id, &name, after),
        };
        match begun {
            Ok(serial) => {
                of_loop.topics.borrow_mut().joins(*key, &name, serial, after.is_some());
                Ok(())
            }
            Err(error) => {
                of_loop.topics.borrow_mut().remove(*key, &name);
                Err(error)
            }
        }
    }

    /// Sends publications that have waited, as far as there is room. Returns whether none is left.
    pub(crate) fn send_waiting(&self, connection: &mut Connection) -> bool {
        let mut topics = self.of_loop.topics.borrow_mut();
        if connection.state() != State::Open {
            topics.drop_waiting(self.key);
            return true;
        }
        let (mut sent, mut taken) = (0, Vec::new());
        while connection.buffered() < WAITING_SHARE && connection.is_writable() {
            let Some(publication) = topics.take_waiting(self.key, &mut taken) else { break };
            if connection.send_prepared(publication.message()).is_ok() {
                sent += 1;
            }
        }
        topics.count_delivered(sent);
        let has_sent_all = !topics.waits(self.key);
        let hub = topics.topics().hub;
        drop(topics);
        for (topic, serial) in &taken {
            // It may tell the application's observer of something else.
            guarded(|| hub.read_on(topic, *serial));
        }
        has_sent_all
    }

    /// Ends all subscriptions of the connection.
    pub(crate) fn forget_topics(&self) {
        self.of_loop.forget_topics(self.key, self.id);
    }
}

impl LoopParts {
    /// Bytes of memory that wait for a connection that is slow.
    #[inline]
    pub(crate) fn waiting(&mut self, key: Key, errands: Errands) -> usize {
        if errands.has(Errands::WAITING) { self.topics.get_mut().waiting_bytes(key) } else { 0 }
    }

    /// Ends a subscription of a connection. Returns whether there was one.
    pub(crate) fn unsubscribe(&self, key: Key, id: u64, filter: &str) -> bool {
        if !self.topics.borrow_mut().remove(key, filter) {
            return false;
        }
        let topics = self.topics.borrow().topics();
        topics.hub.unsubscribe(topics.port, id, filter);
        true
    }

    /// Ends all subscriptions of a connection.
    #[inline]
    pub(crate) fn forget_topics(&self, key: Key, id: u64) {
        if !self.topics.borrow().is_empty() {
            self.forget_its_topics(key, id);
        }
    }

    fn forget_its_topics(&self, key: Key, id: u64) {
        let filters = self.topics.borrow_mut().remove_all(key);
        let topics = self.topics.borrow().topics();
        for filter in &filters {
            // The observer is the application's.
            guarded(|| topics.hub.unsubscribe(topics.port, id, filter));
        }
    }

    /// Handles the join of a subscription of the connection `id`; `None` if it has ended.
    pub(crate) fn join(&self, key: Key, id: Option<u64>, join: &Join) -> Joined {
        let joined = self.topics.borrow_mut().join(key, id.is_some(), join);
        if joined == Joined::Refused {
            let topics = self.topics.borrow().topics();
            guarded(|| topics.hub.unsubscribe(topics.port, join.connection, &join.filter));
        }
        joined
    }
}
