//! What the tests over real sockets share: a server on a thread of its own, and a blocking client
//! that can break any rule.
//!
//! Every wait has a deadline, so that a test which would hang fails.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod client;
mod deflating;
mod server;

pub(crate) use client::{Answer, Client, Frame, KEY, frame_with_rsv1, upgrade_request};
pub(crate) use deflating::{Deflating, Received, zeros};
pub(crate) use server::TestServer;

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The longest that any one wait of a test may take: it ends a test that hangs, and is never near
/// on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The next value of a channel.
#[track_caller]
pub(crate) fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(DEADLINE).expect("a value before the deadline")
}

/// Waits for what no socket and no channel tells.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "{what}: not before the deadline");
        std::thread::sleep(Duration::from_millis(1));
    }
}
