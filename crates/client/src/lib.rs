//! A WebSocket client (RFC 6455), blocking or in the caller's event loop.

#![forbid(unsafe_code)]

mod backoff;
pub mod blocking;
mod commands;
mod ending;
mod entropy;
mod error;
pub mod event_loop;
mod gate;
mod link;
mod no_proxy;
mod open;
mod opening;
mod options;
mod proxy;
mod race;
mod resolve;
mod stream;

pub use backoff::Backoff;
pub use error::ConnectError;
#[cfg(feature = "deflate")]
pub use framewright::deflate::{ClientWindow, DeflateConfig, DeflateOffer, DeflateParams, Level, WindowBits};
pub use framewright::handshake::{
    BasicCredentials, ClientRequest, CredentialsError, FieldError, FieldName, FieldValue, HeadLimits,
    RedirectError, RequestError, ResponseError, ServerResponse, UriError, WsUri,
};
pub use framewright::{
    Chunk, CloseCode, CloseFrame, Closure, Config, Delivery, Error, Event, LimitExceeded, Message,
    PeerMisbehaved, Prepared, SendError, Stats, Timeout,
};
pub use options::Options;
pub use proxy::{Proxy, ProxyError};
