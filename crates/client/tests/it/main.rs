//! The client as its server and its application see it: over real sockets, through both of its
//! APIs.

#[path = "../common/mod.rs"]
mod common;

#[cfg(unix)]
mod blocking_streams;
mod closing;
#[cfg(feature = "deflate")]
mod compression;
mod control;
mod deadlines;
mod dropping;
mod early;
mod failed_writes;
mod flooded;
mod framing;
mod halves;
mod handshake;
mod only_sending;
#[cfg(unix)]
mod over;
mod requests;
mod sending;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls_refused;
mod turns;
mod ways;
