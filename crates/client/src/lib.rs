//! A WebSocket client (RFC 6455, with RFC 7692), with two APIs:
//!
//! - [`blocking`]: calls that wait, and two halves for two threads.
//! - [`event_loop`]: turns in a mio event loop of the caller's.
//!
//! Both resolve the host, try its addresses (RFC 8305), go through a proxy if told to, check the
//! server's answer whole, and lend what they receive instead of copying it.
//!
//! ```no_run
//! use framewright_client::{CloseCode, blocking::Client};
//!
//! let mut client = Client::connect("ws://localhost:5000/ws")?;
//! client.send_text("hello")?;
//! while let Some(message) = client.receive()? {
//!     println!("{message:?}");
//! }
//! # Ok::<(), framewright_client::ClientError>(())
//! ```
//!
//! What is asked for is a [`ClientRequest`], how a client goes about it is in [`Options`], and why
//! there is no connection in [`ConnectError`]. Connecting again after a connection was lost is the
//! application's; [`Backoff`] gives the delays.
//!
//! `wss:` URIs are refused: there is no TLS yet.

#![forbid(unsafe_code)]
// Says at each item which feature it needs, where docs.rs builds the pages.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
pub mod blocking;
mod client_error;
mod commands;
mod connection;
mod entropy;
mod error;
pub mod event_loop;
mod opening;
mod options;
mod stream;

/// The program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use backoff::Backoff;
pub use client_error::ClientError;
pub use error::ConnectError;
#[cfg(feature = "deflate")]
pub use framewright::deflate::{ClientWindow, DeflateConfig, DeflateOffer, DeflateParams, Level, WindowBits};
pub use framewright::handshake::{
    BasicCredentials, ClientRequest, CredentialsError, FieldError, FieldName, FieldValue, HeadLimits,
    RedirectError, RequestError, ResponseError, ResponseHead, ServerResponse, UriError, WsUri,
};
pub use framewright::{
    Chunk, CloseCode, CloseFrame, Closure, Config, Delivery, Error, LimitExceeded, Message, OwnedMessage,
    PeerMisbehaved, Prepared, SendError, Stats, Timeout, Unsent,
};
/// The version whose types are in this crate's interface.
pub use mio;
pub use opening::proxy::{Proxy, ProxyError};
pub use options::Options;
