//! A message on a topic.

use super::options::SlowConsumer;
use framewright::Prepared;
use std::sync::Arc;

/// A message that was published on a topic. Everybody who delivers it shares it.
#[derive(Clone, Debug)]
pub struct Publication {
    pub(super) topic: Arc<str>,
    pub(super) message: Prepared,
    pub(super) key: Option<Box<str>>,
    pub(super) id: Option<Box<str>>,
    pub(super) publisher: Option<u64>,
    pub(super) slow_consumer: SlowConsumer,
    pub(super) only_filter: bool,
}

impl Publication {
    /// Makes a publication that did not pass through a hub, such as for the test of a backplane.
    #[must_use]
    pub fn new(topic: &str, message: impl Into<Prepared>, key: Option<&str>) -> Self {
        Self {
            topic: topic.into(),
            message: message.into(),
            key: key.map(Into::into),
            id: None,
            publisher: None,
            slow_consumer: SlowConsumer::default(),
            only_filter: false,
        }
    }

    /// The topic. If [`is_for_filter`](Publication::is_for_filter), the filter.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Prepared {
        &self.message
    }

    /// The key, by which [`SlowConsumer::Latest`] replaces waiting messages. `None`: the topic has
    /// one such message.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The position in a durable topic, as the backplane writes it. `None` for other topics.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the connection that has published this does not receive it.
    #[must_use]
    pub fn has_publisher(&self) -> bool {
        self.publisher.is_some()
    }

    /// Whether this connection does not receive it, because it has published it.
    #[must_use]
    pub fn skips(&self, connection: u64) -> bool {
        self.publisher == Some(connection)
    }

    /// The policy of the topic for slow subscribers that have none of their own.
    #[must_use]
    pub fn slow_consumer(&self) -> &SlowConsumer {
        &self.slow_consumer
    }

    /// Whether only subscribers of exactly the filter [`topic`](Publication::topic) receive it, and
    /// not those of prefixes that match it.
    #[must_use]
    pub fn is_for_filter(&self) -> bool {
        self.only_filter
    }

    /// The bytes that count for this message against limits.
    pub(super) fn cost(&self) -> usize {
        self.message.payload_len() + MESSAGE_COST
    }
}

/// The cost of a message against limits in bytes, besides its payload.
pub const MESSAGE_COST: usize = 64;
