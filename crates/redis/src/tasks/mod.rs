//! What the thread of a backplane does: for each part of the topics it publishes, subscribes, and follows
//! the streams.

pub(crate) mod following;
pub(crate) mod page;
pub(crate) mod publishing;
pub(crate) mod subscribing;
