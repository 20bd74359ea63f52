#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! - [`WebSocketUpgrade`] extracts the opening handshake, and [`WebSocket`] is the connection.
//! - [`Graceful`] ends all connections when the server stops.
//! - Topics, one message to many connections, are methods of the connection below:
//!   `socket.inner_mut().join(&hub)`, then `subscribe` and `publish`. See `framewright_tokio::topics`.
//! - [`http2`] says how a server is set up for WebSockets over HTTP/2, and [`serve()`] does it.

#![forbid(unsafe_code)]
// docs.rs shows at each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod graceful;
pub mod http2;
mod message;
mod serve;
mod socket;
mod task;
mod upgrade;

pub use error::InvalidCloseCode;
pub use framewright_tokio::{AcceptOptions, AllowedHosts, AllowedOrigins, Closure, Config, hyper::Upgraded};
#[cfg(feature = "deflate")]
pub use framewright_tokio::{DeflateConfig, DeflatePolicy};
pub use graceful::Graceful;
pub use message::{CloseCode, CloseFrame, Message, Utf8Bytes, close_code};
pub use serve::serve;
pub use socket::{WebSocket, WebSocketReceiver, WebSocketSender};
pub use upgrade::{DefaultOnFailedUpgrade, OnFailedUpgrade, WebSocketUpgrade, WebSocketUpgradeRejection};
