//! Connecting: scripted servers and proxies on sockets of this machine and on streams in memory.

#[cfg(feature = "tls")]
mod both_clients;
mod cancelling;
#[cfg(feature = "tls")]
mod certificates;
mod chat;
mod deadlines;
mod example;
mod opening;
mod over;
mod proxies;
mod server;
mod support;
#[cfg(feature = "tls")]
mod tls;
