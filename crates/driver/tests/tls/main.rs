//! The TLS transport: against itself, against a scripted peer, and under the turn of a connection.

#![cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]

#[path = "../turn/bench.rs"]
#[allow(dead_code, reason = "shared with the tests of the turn")]
mod bench;
mod corpus;
mod faults;
mod fuzz;
mod glass;
mod nested;
mod peer;
mod random;
mod reading;
mod stream;
mod turn;
mod wire;
mod writing;
