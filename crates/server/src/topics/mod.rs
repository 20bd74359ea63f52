//! Topics: one message to many connections, on one server and on several.
//!
//! A callback subscribes its connection with [`Socket::subscribe`](crate::Socket::subscribe) and
//! publishes with [`Socket::publish`](crate::Socket::publish), any thread with
//! [`ServerHandle::publish`](crate::ServerHandle::publish).
//! [`ServerBuilder::topics`](crate::ServerBuilder::topics) sets [options](TopicOptions) and
//! [limits](TopicLimits). A [`Backplane`] is the way to other servers.

// What all loops share, the registry of subscribers, their histories and the policies for slow
// ones, is `framewright_driver::topics`. Here is what a loop has of its own: who of its connections
// is subscribed to what (`members`), which messages are delivered together (`round`), which
// stored ones wait for a connection that resumes (`replay`), and what callbacks do with it
// (`subscriptions`). The delivery itself is `event_loop::publications`.

mod handle;
pub(crate) mod members;
pub(crate) mod port;
mod replay;
pub(crate) mod round;
mod server;
mod socket;
pub(crate) mod subscriptions;
pub(crate) mod work;

pub use framewright_driver::topics::{
    Backplane, BackplaneError, Filter, NameError, Observer, Page, Passed, Position, Presence, Publication,
    PublishError, Remote, Reply, Retain, Sink, SlowConsumer, Stored, SubscribeError, TopicLimits,
    TopicOptions, TopicStats, Topics, TopicsBuilder, check_filter, check_topic,
};
