//! The options of topics, by filter, and the limits of all.

use super::names::{Filter, ancestors};
use std::collections::HashMap;

/// What becomes of messages for a subscriber that does not keep up.
///
/// A subscriber is slow while its send queue is not empty. Messages then wait beside the queue. The
/// limits are bytes of payload that wait for one connection, over all its topics, plus
/// [`MESSAGE_COST`](super::MESSAGE_COST) for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// Closes the connection with code 1013 when more than `limit` bytes would wait. The default,
    /// with 1 MiB.
    Disconnect {
        /// In bytes.
        limit: usize,
    },
    /// Drops a new message when more than `limit` bytes would wait.
    DropNewest {
        /// In bytes.
        limit: usize,
    },
    /// Drops the oldest messages with this policy until the new one fits into `limit` bytes. If it
    /// does not fit even then, it is dropped itself.
    DropOldest {
        /// In bytes.
        limit: usize,
    },
    /// Keeps only the newest message of each topic and key. Closes the connection with code 1013
    /// when more than `limit` bytes would wait even so.
    Latest {
        /// In bytes.
        limit: usize,
    },
}

impl Default for SlowConsumer {
    fn default() -> Self {
        SlowConsumer::Disconnect { limit: 1 << 20 }
    }
}

/// The messages of a topic that a new subscriber receives first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retain {
    /// None. The default.
    #[default]
    Nothing,
    /// At most this number of the last messages that this process has seen, in order. Bounded by
    /// [`TopicLimits::history_bytes`] too.
    Last(usize),
}

/// The options of the topics that match a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with `..TopicOptions::default()`")]
pub struct TopicOptions {
    /// The policy for slow subscribers that have none of their own.
    pub slow_consumer: SlowConsumer,
    /// The messages that a new subscriber receives first.
    pub retain: Retain,
    /// Whether other processes share the topic, if there is a [`Backplane`](super::Backplane). Default:
    /// true.
    pub backplane: bool,
    /// Whether the backplane stores the messages, so that a subscriber can resume behind the last one
    /// that it has received. Default: false. Such a topic delivers what the backplane has accepted,
    /// in its order, and to the publisher too.
    pub durable: bool,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            slow_consumer: SlowConsumer::default(),
            retain: Retain::default(),
            backplane: true,
            durable: false,
        }
    }
}

/// Limits of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with `..TopicLimits::default()`")]
pub struct TopicLimits {
    /// Subscriptions of one connection. Default: 1,000.
    pub topics_per_connection: usize,
    /// Bytes of a topic or a filter. Default: 256.
    pub name_len: usize,
    /// Topics of this process that have subscribers or kept messages. Default: 1,000,000.
    pub topics: usize,
    /// Different prefixes with subscribers in this process. Default: 10,000.
    pub prefixes: usize,
    /// Bytes of the messages that are kept for one topic ([`Retain`]), with
    /// [`MESSAGE_COST`](super::MESSAGE_COST) for each. Default: 1 MiB.
    pub history_bytes: usize,
    /// Bytes of the messages that are kept for all topics, counted likewise. Default: 256 MiB. A
    /// topic that would exceed it keeps fewer messages.
    pub all_history_bytes: usize,
    /// Bytes of messages that are held back for one subscription while it resumes. Default: 4 MiB.
    /// Beyond it they are read instead. A port that does not ask for each page
    /// ([`Port::reads_on`](super::Port::reads_on)) gets as many bytes of stored messages; beyond
    /// them, the subscription has a gap.
    pub resume_bytes: usize,
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self {
            topics_per_connection: 1_000,
            name_len: 256,
            topics: 1_000_000,
            prefixes: 10_000,
            history_bytes: 1 << 20,
            all_history_bytes: 256 << 20,
            resume_bytes: 4 << 20,
        }
    }
}

/// Options by filter. A lookup costs one probe for each level of the name, whatever the number of
/// filters.
#[derive(Debug, Default)]
pub(super) struct OptionsTable {
    topics: HashMap<Box<str>, TopicOptions>,
    below: HashMap<Box<str>, TopicOptions>,
    all: TopicOptions,
}

impl OptionsTable {
    pub(super) fn insert(&mut self, filter: Filter<'_>, options: TopicOptions) {
        match filter {
            Filter::Topic(name) => drop(self.topics.insert(name.into(), options)),
            Filter::Below(name) => drop(self.below.insert(name.into(), options)),
            Filter::All => self.all = options,
        }
    }

    /// The options of a topic; for a prefix, those of the filter that covers all of it.
    pub(super) fn of(&self, filter: Filter<'_>) -> &TopicOptions {
        let name = match filter {
            Filter::Topic(name) => {
                if let Some(options) = self.topics.get(name) {
                    return options;
                }
                name
            }
            Filter::Below(name) => name,
            Filter::All => return &self.all,
        };
        if self.below.is_empty() {
            return &self.all;
        }
        ancestors(name).find_map(|name| self.below.get(name)).unwrap_or(&self.all)
    }
}
