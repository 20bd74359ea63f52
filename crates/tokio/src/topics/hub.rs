//! The handle of a program to its topics.

use super::{BackplaneError, PublishError, TopicStats, Topics};
use framewright::Prepared;
use framewright_driver::topics;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The topics of a program: connections [join](crate::WebSocket::join) it, and any thread publishes.
/// A clone is the same hub.
///
/// A topic exists as long as a connection is subscribed to it, or messages of it are kept.
#[derive(Clone)]
pub struct Hub {
    pub(super) inner: Arc<topics::Hub>,
}

impl Hub {
    /// Makes a hub, and starts its backplane if it has one.
    ///
    /// # Errors
    /// That of [`Backplane::start`](super::Backplane::start).
    pub fn new(topics: Topics) -> Result<Self, BackplaneError> {
        Ok(Self { inner: topics::Hub::new(topics)? })
    }

    /// Publishes a message to all subscribers of a topic, from any thread: a
    /// [`Message`](crate::Message), a `&str` for text, or a [`Prepared`].
    ///
    /// The message is encoded once, and compressed at most once for each set of negotiated
    /// parameters. Returns at once; the tasks of the connections write it. Messages that one thread
    /// publishes on a topic arrive in the order of its calls, and all subscribers receive all
    /// messages of a topic in the same order.
    ///
    /// # Errors
    /// A [`PublishError`]; nobody receives the message, except with
    /// [`NotPassedOn`](PublishError::NotPassedOn).
    pub fn publish(&self, topic: &str, message: impl Into<Prepared>) -> Result<(), PublishError> {
        self.inner.publish(topic, message.into(), None, None)
    }

    /// Publishes a message that replaces an earlier one with the same `key`, where that waits for a
    /// subscriber with [`SlowConsumer::Latest`](super::SlowConsumer::Latest); otherwise like
    /// [`publish`](Hub::publish). Without a key, a topic has one such message.
    ///
    /// # Errors
    /// Those of [`publish`](Hub::publish).
    pub fn publish_keyed(
        &self,
        topic: &str,
        key: &str,
        message: impl Into<Prepared>,
    ) -> Result<(), PublishError> {
        self.inner.publish(topic, message.into(), Some(key), None)
    }

    /// Sends a message to the subscribers of exactly this topic or prefix in this process. It is not
    /// kept for new subscribers, and not passed on to other processes.
    ///
    /// # Errors
    /// A [`PublishError`]; nobody receives the message.
    pub fn publish_local(&self, filter: &str, message: impl Into<Prepared>) -> Result<(), PublishError> {
        self.inner.publish_local(filter, message.into())
    }

    /// The number of connections of this process that are subscribed to a topic or, for a prefix such
    /// as `prices/#`, to exactly this prefix.
    #[must_use]
    pub fn subscribers(&self, filter: &str) -> usize {
        self.inner.subscribers(filter)
    }

    /// Returns what topics hold now, and what they have counted.
    #[must_use]
    pub fn stats(&self) -> TopicStats {
        self.inner.stats()
    }

    /// Stops the backplane: see [`Backplane::stop`](super::Backplane::stop). Blocks the thread until
    /// then, so a task calls it by `spawn_blocking`. Without a backplane it does nothing.
    pub fn stop(&self, deadline: Instant) {
        self.inner.stop(deadline);
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
