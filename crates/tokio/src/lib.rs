#![cfg_attr(feature = "client", doc = include_str!("../README.md"))]
// A program of that page connects.
#![cfg_attr(
    not(feature = "client"),
    doc = "WebSockets on tokio, without the feature `client`: [`accept`] makes a connection of a stream."
)]
#![forbid(unsafe_code)]
// docs.rs shows at each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doc)]
#[doc = include_str!("../FROM-TOKIO-TUNGSTENITE.md")]
pub mod from_tokio_tungstenite {}

/// The program of that page.
#[cfg(doctest)]
#[doc = include_str!("../FROM-TOKIO-TUNGSTENITE.md")]
struct FromTokioTungstenite;

mod accept;
mod attendant;
mod commands;
#[cfg(feature = "client")]
mod connect;
mod entropy;
#[cfg(any(feature = "hyper", feature = "h2"))]
mod gateway;
#[cfg(feature = "h2")]
#[cfg_attr(docsrs, doc(cfg(feature = "h2")))]
pub mod h2;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
mod lent;
mod membership;
mod message;
mod receiver;
mod sender;
mod shared;
mod tasks;
pub mod topics;
mod transport;
mod websocket;
mod work;

pub use accept::{AcceptError, AcceptOptions, Incoming, accept, accept_with};
pub use attendant::Attendant;
#[cfg(feature = "client")]
pub use connect::{ConnectOptions, Connected, MaybeTls, client_over, connect, connect_with};
pub use message::{OwnedEvent, OwnedMessage};
pub use receiver::{Receiver, RecvError};
pub use sender::Sender;
pub use websocket::WebSocket;

pub use bytes::Bytes;
pub use bytestring::ByteString;
#[cfg(all(feature = "client", feature = "deflate"))]
pub use framewright::deflate::{ClientWindow, DeflateOffer, WindowBits};
#[cfg(feature = "deflate")]
pub use framewright::deflate::{DeflateConfig, DeflateParams, DeflatePolicy, Level};
pub use framewright::handshake::{
    Accept, AllowedHosts, AllowedOrigins, FieldName, FieldValue, HeadLimits, Refusal, Request, Response,
    StatusCode,
};
#[cfg(feature = "client")]
pub use framewright::handshake::{
    BasicCredentials, ClientRequest, CredentialsError, FieldError, RedirectError, RequestError,
    ResponseError, ResponseHead, ServerResponse, UriError, WsUri,
};
pub use framewright::{
    Chunk, CloseCode, CloseFrame, Closure, Config, Delivery, Error, Event, LimitExceeded, Message,
    Negotiated, PeerMisbehaved, Prepared, Role, SendError, Stats, Timeout,
};
#[cfg(feature = "client")]
pub use framewright_driver::opening::{Backoff, ClientTls, ConnectError, Proxy, ProxyError, TlsError};
#[cfg(feature = "tls")]
pub use framewright_driver::opening::{CertificateFault, ClientTlsBuilder, TlsInfo};
/// The version of rustls whose types appear in the interface of this crate.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
