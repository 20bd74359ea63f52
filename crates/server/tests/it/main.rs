//! The server as its clients and its application see it: over real sockets, what is on the wire and
//! what the handler saw.

#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "deflate")]
mod compression;
#[cfg(feature = "deflate")]
mod compression_trouble;
mod counters;
mod decision_threads;
mod deferred;
mod handles;
mod http_answers;
mod keep_alive;
mod life;
mod listeners;
mod messages;
mod metrics_example;
mod pages;
mod proxies;
mod routes_and_options;
mod scripted;
mod spans;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;
mod topics;
