//! Topics: one message to many subscribers, in one process and in several.
//!
//! ```text
//!   publish ---> Hub ---- Post::Deliver ---> Port (an event loop, or a connection) ---> subscribers
//!                 | ^                                                        slow: Waiting
//!                 v |
//!             Backplane <---> other processes
//! ```
//!
//! Nothing here opens a socket or reads a clock. The [`Hub`] knows which ports have subscribers of a
//! topic and keeps the messages for new ones. A port knows its connections. [`Waiting`] holds what a
//! slow connection has not taken, within the bound of a [`SlowConsumer`].

mod backplane;
mod counters;
mod error;
mod history;
mod hub;
mod names;
mod options;
mod port;
mod publication;
mod registry;
mod resume;
mod settings;
mod waiting;

pub use backplane::{Backplane, BackplaneError, Page, Passed, Position, Remote, Reply, Sink, Stored};
pub use counters::{Counters, TopicStats};
pub use error::{PublishError, SubscribeError};
pub use hub::Hub;
pub use names::{Filter, NameError, check_filter, check_topic, prefixes};
pub use options::{Retain, SlowConsumer, TopicLimits, TopicOptions};
pub use port::{Join, Port, PortId, Post};
pub use publication::{MESSAGE_COST, Publication};
pub use settings::{Observer, Presence, Topics, TopicsBuilder};
pub use waiting::{Pushed, Waiting};
