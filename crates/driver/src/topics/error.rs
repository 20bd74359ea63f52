//! Why somebody was not subscribed, or a message not published.

use super::backplane::BackplaneError;
use super::names::NameError;
use std::fmt;

/// The reason for which a subscription was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter is not valid.
    Name(NameError),
    /// The connection is not open.
    Closed,
    /// The connection has joined no hub. Of drivers in which it has to.
    NotJoined,
    /// Too much waits to be delivered.
    Busy,
    /// The connection has [`TopicLimits::topics_per_connection`](super::TopicLimits) subscriptions.
    TopicsPerConnection {
        /// The limit.
        limit: usize,
    },
    /// The process has [`TopicLimits::topics`](super::TopicLimits) topics.
    Topics {
        /// The limit.
        limit: usize,
    },
    /// The process has [`TopicLimits::prefixes`](super::TopicLimits) prefixes.
    Prefixes {
        /// The limit.
        limit: usize,
    },
    /// The topic is not durable ([`TopicOptions::durable`](super::TopicOptions)), or there is no
    /// backplane, so nothing is stored to resume from.
    NotDurable,
    /// The position to resume behind is not two numbers, such as `1692632086370-0`.
    Position,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscribeError::Name(error) => error.fmt(f),
            SubscribeError::Closed => f.write_str("the connection is not open"),
            SubscribeError::NotJoined => f.write_str("the connection has joined no hub"),
            SubscribeError::Busy => f.write_str("too much waits to be delivered"),
            SubscribeError::TopicsPerConnection { limit } => {
                write!(f, "the connection has {limit} subscriptions (TopicLimits::topics_per_connection)")
            }
            SubscribeError::Topics { limit } => {
                write!(f, "the process has {limit} topics (TopicLimits::topics)")
            }
            SubscribeError::Prefixes { limit } => {
                write!(f, "the process has {limit} prefixes (TopicLimits::prefixes)")
            }
            SubscribeError::NotDurable => f.write_str("the topic is not durable (TopicOptions::durable)"),
            SubscribeError::Position => f.write_str("the position is not two numbers"),
        }
    }
}

impl std::error::Error for SubscribeError {}

impl From<NameError> for SubscribeError {
    fn from(error: NameError) -> Self {
        SubscribeError::Name(error)
    }
}

/// The reason for which a message was not published, or not to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The name is not that of a topic. Nobody receives the message.
    Name(NameError),
    /// Too much waits to be delivered. Nobody receives the message.
    Busy,
    /// The process has [`TopicLimits::topics`](super::TopicLimits) topics, and this one would keep
    /// the message. Nobody receives it.
    Topics {
        /// The limit.
        limit: usize,
    },
    /// The backplane has not accepted the message. Subscribers of this process receive it, unless the
    /// topic is durable: then nobody does.
    NotPassedOn(BackplaneError),
    /// The server has ended. Nobody receives the message.
    Ended,
    /// The connection has joined no hub. Of drivers in which it has to. Nobody receives the message.
    NotJoined,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Name(error) => error.fmt(f),
            PublishError::Busy => f.write_str("too much waits to be delivered"),
            PublishError::Topics { limit } => {
                write!(f, "the process has {limit} topics (TopicLimits::topics)")
            }
            PublishError::NotPassedOn(error) => write!(f, "other processes do not receive it: {error}"),
            PublishError::NotJoined => f.write_str("the connection has joined no hub"),
            PublishError::Ended => f.write_str("the server has ended"),
        }
    }
}

impl std::error::Error for PublishError {}

impl From<NameError> for PublishError {
    fn from(error: NameError) -> Self {
        PublishError::Name(error)
    }
}
