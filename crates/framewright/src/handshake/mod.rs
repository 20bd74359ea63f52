//! The opening handshake (RFC 6455, section 4) of both sides.
//!
//! - The server's side parses bytes to a checked request, and turns a decision into the 101 or
//!   another HTTP response.
//! - The client's side turns a URI into a request, and parses bytes to a checked answer.
//!
//! It contains no HTTP framework. A server that already has one (hyper, axum, ...) reads the
//! request with it, answers with [`accept_key`], and continues with a [`Negotiated`] of its own:
//! see [below](#with-another-http-stack).
//!
//! | file | decides |
//! |---|---|
//! | `server/` | the server's side, which starts in [`ServerHandshake`] |
//! | `client/` | the client's side, which starts in [`ClientHandshake`] |
//! | `accept` | Sec-WebSocket-Key and Sec-WebSocket-Accept, of both sides |
//! | `extension` | the grammar of Sec-WebSocket-Extensions, of both sides |
//!
//! The HTTP that both sides use, and that depends on neither, is in `http/`.
//!
//! # With another HTTP stack
//!
//! This is a complete upgrade, from the method and the fields of a request to the fields of the
//! 101:
//!
#![cfg_attr(feature = "deflate", doc = "```")]
#![cfg_attr(not(feature = "deflate"), doc = "```ignore")]
//! use framewright::deflate::DeflatePolicy;
//! use framewright::handshake::{AllowedOrigins, Extension, Negotiated, accept_key, is_valid_key};
//!
//! /// The fields of the 101, and what was agreed on.
//! type Accepted = (Vec<(&'static str, String)>, Negotiated);
//!
//! /// `fields` are all lines of the request. An error is the status of the answer.
//! fn upgrade(method: &str, fields: &[(&str, &str)], origins: &AllowedOrigins) -> Result<Accepted, u16> {
//!     let all = |name: &'static str| {
//!         let lines = fields.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name));
//!         lines.map(|(_, value)| *value)
//!     };
//!     let list = |name| all(name).flat_map(|value| value.split(',')).map(str::trim);
//!     let names = |name, token: &str| list(name).any(|element| element.eq_ignore_ascii_case(token));
//!     let only = |name| match all(name).collect::<Vec<_>>()[..] {
//!         [value] => Ok(value),
//!         _ => Err(400_u16),
//!     };
//!     // RFC 6455, section 4.2.1.
//!     if method != "GET" {
//!         return Err(405); // with `Allow: GET`
//!     }
//!     if !names("Upgrade", "websocket") || !names("Connection", "upgrade") {
//!         return Err(400);
//!     }
//!     if only("Sec-WebSocket-Version")? != "13" {
//!         return Err(426); // with `Sec-WebSocket-Version: 13`
//!     }
//!     let key = only("Sec-WebSocket-Key")?;
//!     if !is_valid_key(key.as_bytes()) {
//!         return Err(400);
//!     }
//!     // Section 10.2: a page that is not ours must not use a visitor's cookies.
//!     if all("Origin").count() > 1 || !all("Origin").all(|origin| origins.allows(origin)) {
//!         return Err(403);
//!     }
//!     let lines = all("Sec-WebSocket-Extensions");
//!     let offers: Result<Vec<_>, _> = lines.flat_map(|value| Extension::list(value.as_bytes())).collect();
//!     let offers = offers.map_err(|_| 400_u16)?;
//!     // Section 9.1: an empty list is none.
//!     if offers.is_empty() && all("Sec-WebSocket-Extensions").next().is_some() {
//!         return Err(400);
//!     }
//!
//!     // Section 4.2.2.
//!     let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).expect("base64");
//!     let mut answer = vec![
//!         ("Upgrade", "websocket".to_owned()),
//!         ("Connection", "Upgrade".to_owned()),
//!         ("Sec-WebSocket-Accept", accept),
//!     ];
//!     let mut negotiated = Negotiated::new();
//!     if list("Sec-WebSocket-Protocol").any(|offered| offered == "chat") {
//!         answer.push(("Sec-WebSocket-Protocol", "chat".to_owned()));
//!         negotiated = negotiated.with_subprotocol("chat");
//!     }
//!     if let Some(agreed) = DeflatePolicy::default().accept(offers) {
//!         let mut value = Vec::new();
//!         agreed.write(&mut value);
//!         answer.push(("Sec-WebSocket-Extensions", String::from_utf8(value).expect("tokens")));
//!         negotiated = negotiated.with_deflate(agreed.params());
//!     }
//!     Ok((answer, negotiated))
//! }
//!
//! let request = [
//!     ("host", "example.com"),
//!     ("upgrade", "websocket"),
//!     ("connection", "keep-alive, Upgrade"),
//!     ("origin", "https://example.com"),
//!     ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
//!     ("sec-websocket-version", "13"),
//!     ("sec-websocket-protocol", "superchat, chat"),
//!     ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
//! ];
//! let origins = AllowedOrigins::new(["https://example.com"])?;
//! let (answer, negotiated) = upgrade("GET", &request, &origins).expect("it is accepted");
//! assert_eq!(answer[2], ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()));
//! assert_eq!(negotiated.subprotocol(), Some("chat"));
//! assert!(negotiated.deflate().is_some());
//! // Once the 101 has been sent: Connection::server(config, negotiated, now).
//! # let without_key: Vec<_> = request.into_iter().filter(|(name, _)| *name != "sec-websocket-key").collect();
//! # assert_eq!(upgrade("GET", &without_key, &origins).unwrap_err(), 400);
//! # for (extensions, is_accepted) in [("", false), (",", false), (", ,", false), ("x", true), (",x,", true)] {
//! #     let mut fields = request;
//! #     fields[7].1 = extensions;
//! #     let accepted = upgrade("GET", &fields, &origins).map(|_| ());
//! #     assert_eq!(accepted, if is_accepted { Ok(()) } else { Err(400) }, "{extensions:?}");
//! # }
//! # assert!(upgrade("GET", &request[..7], &origins).is_ok_and(|(_, negotiated)| negotiated.deflate().is_none()));
//! # Ok::<(), framewright::handshake::OriginError>(())
//! ```

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
#[cfg(feature = "deflate")]
pub(crate) use extension::ExtensionList;
pub use extension::{Extension, ExtensionError};
pub use server::{
    Accept, AcceptError, AllowedHosts, AllowedOrigins, Body, HostError, OriginError, OwnedRequest, Refusal,
    Request, Response, ServerHandshake, StatusCode, Upgrade, choose_subprotocol,
};

/// The most subprotocols that a request may offer. They are compared with each other, so the work
/// grows with the square of their number. Applications offer a handful.
const MAX_SUBPROTOCOLS: usize = 64;

/// The result of an opening handshake: what a connection needs to know of it.
///
/// [`Upgrade::accept`] and [`ClientHandshake::parse`] return one. If another HTTP stack did the
/// handshake, make one:
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
    /// The result of a handshake without subprotocol or extensions.
    pub fn new() -> Self {
        Negotiated::default()
    }

    /// Sets the subprotocol that both sides use. It is not checked: the caller must know that the
    /// client offered it.
    #[must_use]
    pub fn with_subprotocol(mut self, subprotocol: impl Into<Arc<str>>) -> Self {
        self.subprotocol = Some(subprotocol.into());
        self
    }

    /// The subprotocol in use, if any (RFC 6455, section 4.2.2).
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sets permessage-deflate with these parameters. They are not checked: the caller must know
    /// that both sides agreed on them.
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

    /// The parameters of permessage-deflate; always `None` without the feature `deflate`.
    #[cfg(not(feature = "deflate"))]
    pub fn deflate(&self) -> Option<DeflateParams> {
        None
    }

    pub(crate) fn into_subprotocol(self) -> Option<Arc<str>> {
        self.subprotocol
    }
}
