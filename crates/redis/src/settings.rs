//! What the tasks of a backplane need to know.

use crate::wire::names::Names;
use redis::ConnectionInfo;
use std::time::Duration;

/// The host and the port of a server.
pub(crate) type Address = (String, u16);

/// The settings, checked.
pub(crate) struct Settings {
    pub(crate) info: ConnectionInfo,
    pub(crate) names: Names,
    /// The servers of the cluster that are known from the beginning. Empty: it is one server.
    pub(crate) servers: Vec<Address>,
    pub(crate) waiting_messages: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
    pub(crate) timeout: Duration,
    pub(crate) keep: usize,
    pub(crate) durable_topics: usize,
}

impl Settings {
    pub(crate) fn is_cluster(&self) -> bool {
        !self.servers.is_empty()
    }
}
