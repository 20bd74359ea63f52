//! The client as its server and its application see it: over real sockets, through both of its faces.

#[path = "../common/mod.rs"]
mod common;

mod closing;
mod control;
mod early;
mod framing;
mod handshake;
mod ways;
