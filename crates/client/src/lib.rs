#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! ```text
//!             resolve the host -> try its addresses (RFC 8305) -> proxy -> TLS -> ask for the upgrade
//!                                                                                      |
//!   blocking::Client    calls that wait; split() gives two halves          <-----------+
//!   event_loop::Client  turns in a mio event loop of yours                 <-----------+
//! ```
//!
//! [`ClientRequest`] describes the request, [`Options`] the settings of the client, and
//! [`ConnectError`] why there is no connection. Reconnecting after a lost connection is left to the
//! application; [`Backoff`] computes the delays.

#![forbid(unsafe_code)]
// docs.rs shows at each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod blocking;
#[cfg(unix)]
mod blocking_stream;
mod client_error;
mod commands;
mod connection;
pub mod event_loop;
#[cfg(feature = "tls")]
mod layer;
mod opening;
mod options;
mod stream;

#[cfg(unix)]
pub use blocking_stream::BlockingStream;
pub use client_error::ClientError;
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
pub use framewright_driver::opening::{Backoff, ClientTls, ConnectError, Proxy, ProxyError, TlsError};
#[cfg(feature = "tls")]
pub use framewright_driver::opening::{CertificateFault, ClientTlsBuilder, TlsInfo};
/// The version of mio whose types appear in the interface of this crate.
pub use mio;
pub use options::Options;
/// The version of rustls whose types appear in the interface of this crate.
#[cfg(feature = "tls")]
pub use rustls;
