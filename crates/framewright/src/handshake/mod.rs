//! The opening handshake (RFC 6455, section 4), both sides: a server's from octets to a checked
//! request, and from a decision to the 101 or to another HTTP answer; a client's from a URI to a
//! request, and from octets to a checked answer.
//!
//! There is no HTTP framework in it. A server that has one already (hyper, axum, ...) reads the
//! request there, answers with [`accept_key`], and goes on with a [`Negotiated`] made by hand.
//!
//! | file | decides |
//! |---|---|
//! | `server/` | the server's side, which starts in [`ServerHandshake`] |
//! | `client/` | the client's side, which starts in [`ClientHandshake`] |
//! | `accept` | Sec-WebSocket-Key and Sec-WebSocket-Accept, of both sides |
//! | `extension` | the grammar of Sec-WebSocket-Extensions, of both sides |
//!
//! The HTTP under both, which knows neither, is in `http/`.

use std::sync::Arc;

use crate::deflate::DeflateParams;

mod accept;
mod client;
mod extension;
mod server;

pub use crate::http::body::BodyReader;
pub use crate::http::bytes::is_token;
pub use crate::http::field::{FieldError, FieldName, FieldValue};
pub use crate::http::head::HeadLimits;
pub use accept::{accept_key, is_valid_key};
pub use client::{
    Answer, BasicCredentials, ClientHandshake, ClientRequest, CredentialsError, ProxyAnswer, ProxyHandshake,
    RedirectError, RequestError, ResponseError, ResponseHead, ServerResponse, UriError, WsUri,
};
pub use extension::Extension;
#[cfg(feature = "deflate")]
pub(crate) use extension::ExtensionList;
pub use server::{
    Accept, AcceptError, AllowedHosts, AllowedOrigins, HostError, OriginError, OwnedRequest, Refusal,
    Request, Response, ServerHandshake, StatusCode, Upgrade, choose_subprotocol,
};

/// The most subprotocols that a request may offer. They are compared with each other, so the work
/// grows with the square of their number; applications offer a handful.
const MAX_SUBPROTOCOLS: usize = 64;

/// What an opening handshake has agreed on: all that a connection has to know of it.
///
/// [`Upgrade::accept`] returns one, and [`ClientHandshake::parse`] does. Whoever did the handshake
/// elsewhere makes one:
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

    /// The subprotocol that both sides speak. It is taken as it is: that it was offered is the
    /// caller's to know.
    #[must_use]
    pub fn with_subprotocol(mut self, subprotocol: impl Into<Arc<str>>) -> Self {
        self.subprotocol = Some(subprotocol.into());
        self
    }

    /// The subprotocol in use, if any (RFC 6455, section 4.2.2).
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// permessage-deflate with these parameters. They are taken as they are: that both sides agreed
    /// on them is the caller's to know.
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

    /// The parameters of permessage-deflate: none, without the feature `deflate`.
    #[cfg(not(feature = "deflate"))]
    pub fn deflate(&self) -> Option<DeflateParams> {
        None
    }

    pub(crate) fn into_subprotocol(self) -> Option<Arc<str>> {
        self.subprotocol
    }
}
