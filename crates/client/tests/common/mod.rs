//! What the tests over real sockets share: a server that plays a script, and one way to drive both
//! APIs of the client.
//!
//! Every wait has a deadline, so that a test which would hang fails.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod any_client;
#[cfg(feature = "tls")]
pub(crate) mod certificates;
mod peer;
#[cfg(feature = "tls")]
pub(crate) mod relay;
mod server;
mod upload;

pub(crate) use any_client::{AnyClient, Command, Kind, Loop, owned, through_both_apis};
pub(crate) use peer::Peer;
pub(crate) use server::{Listener, Server};
pub(crate) use upload::upload;

use framewright_client::{ClientRequest, Options};
use std::net::SocketAddr;
use std::time::Duration;

/// The longest that any one wait of a test may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A deadline of an endpoint that a test wants to see.
pub(crate) const SOON: Duration = Duration::from_millis(60);

/// A deadline of an endpoint that a test wants to see, and that must not pass before others have
/// done their part: on a machine that is busy with something else, that takes a while.
pub(crate) const LATER: Duration = Duration::from_secs(1);

/// A request for the root of this server.
#[track_caller]
pub(crate) fn request(addr: SocketAddr) -> ClientRequest {
    format!("ws://{addr}/").parse().expect("a URI")
}

/// The default settings but for compression, which is not offered.
pub(crate) fn plain() -> Options {
    Options { compression: Vec::new(), ..Options::default() }
}
