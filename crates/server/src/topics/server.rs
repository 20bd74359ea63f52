//! What any thread does with topics: publish, and look.

use crate::server::ServerHandle;
use framewright::Prepared;
use framewright_driver::topics::{Hub, PublishError, TopicStats};
use std::sync::Arc;

/// # Topics
///
/// A topic exists as long as a connection is subscribed to it, or messages of it are kept.
impl ServerHandle {
    /// Publishes a message to all subscribers of a topic, from any thread: a
    /// [`Message`](crate::Message), a `&str` for text, or a [`Prepared`].
    ///
    /// The message is encoded once, and compressed at most once for each set of negotiated
    /// parameters. Returns at once; the event loops deliver it. Messages that one thread publishes on
    /// a topic arrive in the order of its calls, and all subscribers receive all messages of a topic
    /// in the same order.
    ///
    /// ```
    /// use framewright_server::{Message, Server};
    ///
    /// let server = Server::builder().listen("127.0.0.1:0").build()?.spawn()?;
    /// server.handle().publish("prices/EUR", Message::Text("1.17"))?;
    /// assert_eq!(server.handle().subscribers("prices/EUR"), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A [`PublishError`]. Nobody receives the message, except after `NotPassedOn`: then the
    /// subscribers of this server do, unless the topic is durable.
    pub fn publish(&self, topic: &str, message: impl Into<Prepared>) -> Result<(), PublishError> {
        self.hub().ok_or(PublishError::Ended)?.publish(topic, message.into(), None, None)
    }

    /// Publishes a message that replaces an earlier one with the same `key`, where that waits for a
    /// slow subscriber with [`SlowConsumer::Latest`](crate::SlowConsumer::Latest); otherwise like
    /// [`publish`](ServerHandle::publish). Without a key, a topic has one such message.
    ///
    /// # Errors
    /// Those of [`publish`](ServerHandle::publish).
    pub fn publish_keyed(
        &self,
        topic: &str,
        key: &str,
        message: impl Into<Prepared>,
    ) -> Result<(), PublishError> {
        self.hub().ok_or(PublishError::Ended)?.publish(topic, message.into(), Some(key), None)
    }

    /// The number of connections of this server that are subscribed to a topic or, for a prefix such
    /// as `prices/#`, to exactly this prefix.
    #[must_use]
    pub fn subscribers(&self, filter: &str) -> usize {
        self.hub().map_or(0, |hub| hub.subscribers(filter))
    }

    /// Sends a message to the subscribers of exactly this topic or prefix on this server. It is not
    /// kept for new subscribers, and not passed on to other servers.
    ///
    /// # Errors
    /// A [`PublishError`]. Nobody receives the message, except after `NotPassedOn`: then the
    /// subscribers of this server do, unless the topic is durable.
    pub fn publish_local(&self, filter: &str, message: impl Into<Prepared>) -> Result<(), PublishError> {
        self.hub().ok_or(PublishError::Ended)?.publish_local(filter, message.into())
    }

    /// Returns what topics hold now, and what they have counted since the server was built, also once
    /// it has ended. They are a part of [`stats`](ServerHandle::stats).
    #[must_use]
    pub fn topic_stats(&self) -> TopicStats {
        self.totals.topics.stats()
    }

    /// The registry of topics; `None` once the server has ended.
    fn hub(&self) -> Option<Arc<Hub>> {
        self.topics.upgrade()
    }
}
