//! A WebSocket client (RFC 6455).

#![forbid(unsafe_code)]

mod backoff;
mod entropy;
mod error;
mod gate;
mod no_proxy;
mod opening;
mod options;
mod proxy;
mod race;
mod resolve;

pub use backoff::Backoff;
pub use error::ConnectError;
pub use framewright::handshake::{
    BasicCredentials, ClientRequest, RedirectError, RequestError, ResponseError, ServerResponse, UriError,
    WsUri,
};
pub use options::Options;
pub use proxy::{Proxy, ProxyError};
