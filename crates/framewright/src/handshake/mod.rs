//! The opening handshake (RFC 6455, section 4), both sides: a server's from octets to a checked request, and from a
//! decision to the 101 or to another HTTP answer; a client's from a URI to a request, and from octets to a checked answer.
//!
//! There is no HTTP framework in it. A server that has one already (hyper, axum, ...) reads the request there,
//! answers with [`accept_key`], and goes on with a [`Negotiated`] made by hand.
//!
//! Of both sides:
//!
//! | file | decides |
//! |---|---|
//! | `field_lines`, `head` | the syntax and the size of a head behind its first line, incrementally |
//! | `known`, `section` | which fields there are rules for, and where they are |
//! | `accept` | Sec-WebSocket-Key and Sec-WebSocket-Accept |
//! | `extension` | the grammar of Sec-WebSocket-Extensions |
//! | `field` | which fields an application may set |
//! | `bytes`, `scan` | which octet may stand where |
//!
//! Of the server's, which starts in [`ServerHandshake`]:
//!
//! | file | decides |
//! |---|---|
//! | `request_line` | the first line of a request |
//! | `check` | what HTTP demands of any request: target, Host, Content-Length, Transfer-Encoding |
//! | `request` | how an application sees a request |
//! | `upgrade` | what RFC 6455 demands of an opening handshake |
//! | `server` | the deadline, the 101 |
//! | `origin`, `authority` | which origins and hosts are served |
//! | `refusal`, `response` | every other answer |
//!
//! Of the client's, which starts in [`ClientHandshake`]:
//!
//! | file | decides |
//! |---|---|
//! | `uri`, `redirect` | what a WebSocket URI is, and where a redirect leads |
//! | `client_request` | what is asked for, and the octets of it |
//! | `status_line` | the first line of a response |
//! | `response_reader` | which responses are skipped; the deadline |
//! | `client`, `response_error` | what RFC 6455 demands of the answer |
//! | `response_head`, `body` | how an application sees an answer that refuses |
//! | `proxy_handshake` | how a proxy is asked for a tunnel |

use std::sync::Arc;

#[cfg(feature = "deflate")]
use crate::deflate::DeflateParams;

mod accept;
mod authority;
mod body;
mod bytes;
mod check;
mod client;
mod client_request;
mod extension;
mod field;
mod field_lines;
mod head;
mod known;
mod origin;
mod proxy_handshake;
mod redirect;
mod refusal;
mod request;
mod request_line;
mod response;
mod response_error;
mod response_head;
mod response_reader;
mod scan;
mod section;
mod server;
mod status_line;
mod upgrade;
mod uri;

pub use accept::{accept_key, is_valid_key};
pub use body::BodyReader;
pub use bytes::is_token;
pub use client::{Answer, ClientHandshake};
pub use client_request::{ClientRequest, RequestError};
pub use extension::Extension;
#[cfg(feature = "deflate")]
pub(crate) use extension::ExtensionList;
pub use field::{FieldError, FieldName, FieldValue};
pub use head::HeadLimits;
pub use origin::{AllowedHosts, AllowedOrigins, HostError, OriginError};
pub use proxy_handshake::{BasicCredentials, CredentialsError, ProxyAnswer, ProxyHandshake};
pub use redirect::RedirectError;
pub use refusal::Refusal;
pub use request::{OwnedRequest, Request};
pub use response::{Response, StatusCode};
pub use response_error::ResponseError;
pub use response_head::{ResponseHead, ServerResponse};
pub use server::{Accept, AcceptError, ServerHandshake, choose_subprotocol};
pub use upgrade::Upgrade;
pub use uri::{UriError, WsUri};

/// What an opening handshake has agreed on: all that a connection has to know of it.
///
/// [`Upgrade::accept`] returns one, and [`ClientHandshake::parse`] does. Whoever did the handshake elsewhere makes one:
///
/// ```
/// use framewright::handshake::Negotiated;
///
/// let negotiated = Negotiated::new().with_subprotocol("chat");
/// assert_eq!(negotiated.subprotocol(), Some("chat"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    subprotocol: Option<Arc<str>>,
    #[cfg(feature = "deflate")]
    deflate: Option<DeflateParams>,
}

impl Negotiated {
    /// No subprotocol, no extensions.
    pub fn new() -> Self {
        Negotiated::default()
    }

    /// The subprotocol that both sides speak. It is taken as it is: that it was offered is the caller's to know.
    #[must_use]
    pub fn with_subprotocol(mut self, subprotocol: impl Into<Arc<str>>) -> Self {
        self.subprotocol = Some(subprotocol.into());
        self
    }

    /// The subprotocol in use, if any (RFC 6455, section 4.2.2).
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// permessage-deflate with these parameters. They are taken as they are: that both sides agreed on them is the
    /// caller's to know.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_deflate(mut self, params: DeflateParams) -> Self {
        self.deflate = Some(params);
        self
    }

    /// The parameters of permessage-deflate, if it is in use (RFC 7692, section 7.1).
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate
    }

    pub(crate) fn into_subprotocol(self) -> Option<Arc<str>> {
        self.subprotocol
    }
}
