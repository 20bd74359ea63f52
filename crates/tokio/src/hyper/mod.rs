//! Upgrades of hyper's connections, HTTP/1.1 and HTTP/2, in both roles.
//!
//! # A server
//!
//! [`upgrade`] checks a request and returns the response to send, and the future of the connection:
//!
//! ```
//! use framewright_tokio::AcceptOptions;
//! use framewright_tokio::hyper::upgrade;
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::{Request, Response};
//!
//! async fn serve(
//!     mut request: Request<Incoming>,
//!     options: &AcceptOptions,
//! ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
//!     let (response, upgrading) = match upgrade(&mut request, options) {
//!         Ok(accepted) => accepted,
//!         Err(refused) => return Ok(refused.into_response()),
//!     };
//!     tokio::spawn(async move {
//!         let Ok(mut socket) = upgrading.await else { return };
//!         let (receiver, sender) = socket.parts();
//!         while let Some(Ok(message)) = receiver.recv().await {
//!             if sender.feed(message).await.is_err() {
//!                 break;
//!             }
//!         }
//!     });
//!     Ok(response)
//! }
//! ```
//!
//! The connection needs `with_upgrades` for HTTP/1.1, and `enable_connect_protocol` for HTTP/2. A
//! server that decides by itself takes the steps of [`Upgrade`].
//!
//! # HTTP/2
//!
//! A request of HTTP/2 is an extended CONNECT (RFC 8441). Each WebSocket is one stream of the
//! connection, with a window of its own, and all of them share the window of the connection. Set
//! that well above the window of a stream (`initial_connection_window_size`): hyper's default makes
//! them equal, so one socket that nobody reads stops all others.
//!
//! # A client
//!
//! [`handshake`] upgrades a connection of HTTP/1.1, and [`handshake_h2`] opens a stream of one of
//! HTTP/2. [`ClientUpgrade`] has the steps, for a client that sends requests in another way.

mod client;
mod server;
mod stream;

pub use framewright::handshake::{ClientRequest, ResponseError};

pub use client::{ClientUpgrade, HandshakeError, handshake, handshake_h2};
pub use server::{Refused, Upgrade, Upgrading, upgrade};
pub use stream::Upgraded;
