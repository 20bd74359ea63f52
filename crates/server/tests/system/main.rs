//! What a hostile peer and a bad day must not do to a server: many connections, floods, peers that
//! do not read, that vanish, that never end. Over real sockets: each test waits for what must come,
//! up to a deadline.
#![allow(clippy::print_stdout, reason = "a seed is worth seeing when its test fails")]

#[path = "../common/mod.rs"]
mod common;

mod accepting;
mod ending;
mod failed_writes;
mod flooding;
#[cfg(unix)]
mod graceful;
mod lingering;
mod logging;
mod memory;
mod probe;
mod sending;
mod slow_readers;
mod stopping;
mod storm;
mod timing;
