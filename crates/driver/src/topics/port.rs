//! What a hub posts to a part of the process that has subscribers, and how.

use super::publication::Publication;
use std::sync::Arc;

/// A part of the process that delivers to subscribers: an event loop, or one connection.
///
/// The hub calls it with locks held. So a port only queues: it calls no application and no hub.
pub trait Port: Send + Sync + 'static {
    /// Queues something behind what was posted before.
    fn post(&self, post: Post);

    /// Whether there is room for another publication. Asked before publications only, so a little
    /// more than the room may be posted.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether the port asks for each page of stored messages but the first
    /// ([`Hub::read_on`](super::Hub::read_on)). Otherwise they are read one after the other, up to
    /// [`TopicLimits::resume_bytes`](super::TopicLimits::resume_bytes).
    fn reads_on(&self) -> bool {
        false
    }
}

/// The number of a port in its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub(super) u32);

/// What a hub posts to a port. The order of all posts of a port is the order to deliver in.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a port has to handle each")]
pub enum Post {
    /// A message for the port's subscribers of its topic.
    Deliver(Arc<Publication>),
    /// Something for one subscriber alone.
    Join(Join),
}

/// A step of a subscription, for its subscriber alone.
#[derive(Debug)]
#[non_exhaustive]
pub struct Join {
    /// The value that the port has passed to [`Hub::subscribe`](super::Hub::subscribe).
    pub subscriber: u64,
    /// The number of the connection.
    pub connection: u64,
    /// The topic or prefix.
    pub filter: Arc<str>,
    /// The number of the subscription, unique in the hub.
    pub serial: u64,
    /// The messages to deliver now: kept ones, or stored ones of a durable topic.
    pub retained: Vec<Arc<Publication>>,
    /// Whether the subscriber gets the messages that are posted from here on. False while a resumed
    /// subscription reads; another join follows then.
    pub admits: bool,
    /// Whether messages before `retained` may be lost for this subscriber. Of a resumed subscription
    /// only.
    pub gap: bool,
}
