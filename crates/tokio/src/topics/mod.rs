//! Topics: one message to many connections, in one process and in several.
//!
//! A program makes one [`Hub`]. A connection [joins](crate::WebSocket::join) it and
//! [subscribes](crate::WebSocket::subscribe). Any task or thread [publishes](Hub::publish).
//! [`Topics`] has [options](TopicOptions), [limits](TopicLimits), and a [`Backplane`], the way to
//! other processes.
//!
//! ```
//! use framewright_tokio::topics::{Hub, Topics};
//! use framewright_tokio::{RecvError, WebSocket};
//! use tokio::net::TcpStream;
//!
//! /// Everybody receives what anybody says.
//! async fn chat(mut socket: WebSocket<TcpStream>, hub: Hub) -> Result<(), RecvError> {
//!     socket.join(&hub);
//!     socket.subscribe("room").ok(); // far from the limits
//!     let (receiver, sender) = socket.parts();
//!     // `recv` also writes what others publish, while it waits.
//!     while let Some(message) = receiver.recv().await {
//!         sender.publish("room", message?).ok(); // to all others
//!     }
//!     Ok(())
//! }
//!
//! let hub = Hub::new(Topics::default())?;
//! assert_eq!(hub.subscribers("room"), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who writes
//! A connection has no task of its own. Publications are written while a task waits in `recv`, in
//! `flush` or `send`, or while an [`Attendant`](crate::Attendant) is polled. A publication wakes that
//! task.
//!
//! # Slow subscribers
//! A publication waits beside the connection until its task is polled and the peer has taken what is
//! queued. [`SlowConsumer`] bounds what waits. So a connection is slow if its peer does not read,
//! *and* if nobody polls it: a task that works on something else for long spawns an
//! [`Attendant`](crate::Attendant). A publisher that publishes thousands of messages without waiting
//! itself gives subscribers on its thread no turn, and has to yield in between.

mod desk;
mod hub;
mod member;
mod methods;

/// A message as a [`Backplane`] has it.
pub use framewright::OwnedMessage;
pub use framewright_driver::topics::{
    Backplane, BackplaneError, Filter, NameError, Observer, Page, Passed, Position, Presence, Publication,
    PublishError, Remote, Reply, Retain, Sink, SlowConsumer, Stored, SubscribeError, TopicLimits,
    TopicOptions, TopicStats, Topics, TopicsBuilder, check_filter, check_topic,
};
pub use hub::Hub;
pub(crate) use member::Member;
pub(crate) use methods::topics;
