//! The client's opening handshake as an application builds it (RFC 6455, section 4.1): the server,
//! and the request to it.
//!
//! Every part is checked when it is added. Writing the request therefore cannot fail, and untrusted
//! text in it cannot end a line early.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::uri::{UriError, WsUri};
#[cfg(feature = "deflate")]
use crate::deflate::DeflateOffer;
use crate::handshake::MAX_SUBPROTOCOLS;
use crate::http::bytes::is_token;
use crate::http::field::{FieldName, FieldValue, write_line};

/// A client's request for a WebSocket connection: the URI, and the subprotocols, extensions and
/// fields to send.
///
/// ```
/// # use framewright::handshake::{ClientRequest, FieldName, FieldValue};
/// let request: ClientRequest = "wss://example.com/chat".parse()?;
/// let request = request
///     .with_subprotocol("chat.v2")?
///     .with_subprotocol("chat.v1")?
///     .with_field(FieldName::from_static("Authorization"), FieldValue::new("Bearer 5f3a")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClientRequest {
    uri: WsUri,
    subprotocols: Vec<Cow<'static, str>>,
    fields: Vec<RequestField>,
    #[cfg(feature = "deflate")]
    offers: Vec<DeflateOffer>,
}

/// A field that the application added.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RequestField {
    pub(super) name: FieldName,
    value: FieldValue,
    /// The field is for the URI's origin alone.
    pub(super) secret: bool,
}

impl ClientRequest {
    /// Creates a request for this URI, without subprotocols, without extensions, and with no fields
    /// except those of the handshake.
    pub fn new(uri: WsUri) -> Self {
        ClientRequest {
            uri,
            subprotocols: Vec::new(),
            fields: Vec::new(),
            #[cfg(feature = "deflate")]
            offers: Vec::new(),
        }
    }

    /// The URI that the request is for.
    pub fn uri(&self) -> &WsUri {
        &self.uri
    }

    /// Replaces the URI.
    #[must_use]
    pub fn with_uri(mut self, uri: WsUri) -> Self {
        self.uri = uri;
        self
    }

    /// Offers a subprotocol, after those already offered: the preferred one comes first.
    ///
    /// # Errors
    /// [`RequestError`] if `subprotocol` is not a token, if it is offered already, or if 64 are.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The elements that comprise this value MUST be non-
    //# empty strings with characters in the range U+0021 to U+007E not
    //# including separator characters as defined in [RFC2616] and MUST
    //# all be unique strings.
    pub fn with_subprotocol(
        mut self,
        subprotocol: impl Into<Cow<'static, str>>,
    ) -> Result<Self, RequestError> {
        let subprotocol = subprotocol.into();
        if !is_token(subprotocol.as_bytes()) {
            return Err(RequestError::InvalidSubprotocol);
        }
        if self.subprotocols.contains(&subprotocol) {
            return Err(RequestError::RepeatedSubprotocol);
        }
        if self.subprotocols.len() == MAX_SUBPROTOCOLS {
            return Err(RequestError::TooManySubprotocols);
        }
        self.subprotocols.push(subprotocol);
        Ok(self)
    }

    /// Adds a field line after those already added; a name may be repeated. Only the fields of the
    /// handshake are set by default: no User-Agent, no Origin.
    #[must_use]
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Self {
        self.fields.push(RequestField { name, value, secret: false });
        self
    }

    /// Adds a field line with a secret, such as a token, which is not sent to another origin after
    /// a redirect. Authorization, Cookie, Proxy-Authorization and X-Api-Key never are, however they
    /// were added.
    ///
    /// ```
    /// # use framewright::handshake::{ClientRequest, FieldName, FieldValue};
    /// let request: ClientRequest = "wss://example.com/chat".parse()?;
    /// let request = request.with_secret_field(FieldName::from_static("X-Session"), FieldValue::new("5f3a")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_secret_field(mut self, name: FieldName, value: FieldValue) -> Self {
        self.fields.push(RequestField { name, value, secret: true });
        self
    }

    /// Offers permessage-deflate, after the offers already added: the preferred one comes first
    /// (RFC 7692, section 5.1).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_deflate(mut self, offer: DeflateOffer) -> Self {
        self.offers.push(offer);
        self
    }

    /// The offers of permessage-deflate, the most wanted first.
    #[cfg(feature = "deflate")]
    pub fn offers(&self) -> &[DeflateOffer] {
        &self.offers
    }

    /// The subprotocols offered, the preferred one first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(AsRef::as_ref)
    }

    /// The subprotocols offered, as stored.
    pub(super) fn offered_subprotocols(&self) -> &[Cow<'static, str>] {
        &self.subprotocols
    }

    /// The fields that the application added.
    pub fn fields(&self) -> impl Iterator<Item = (&FieldName, &FieldValue)> {
        self.fields.iter().map(|field| (&field.name, &field.value))
    }

    /// Removes the fields for which `keep` returns false.
    pub(super) fn retain_fields(&mut self, keep: impl Fn(&RequestField) -> bool) {
        self.fields.retain(keep);
    }

    /// Appends the request to `out`.
    pub(super) fn encode(&self, key: &[u8; 24], out: &mut Vec<u8>) {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# The method of the request MUST be GET, and the HTTP version MUST
        //# be at least 1.1.
        out.extend_from_slice(b"GET ");
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# The "Request-URI" part of the request MUST match the /resource
        //# name/ defined in Section 3 (a relative URI) or be an absolute
        //# http/https URI that, when parsed, has a /resource name/, /host/,
        //# and /port/ that match the corresponding ws/wss URI.
        out.extend_from_slice(self.uri.resource_name().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# The request MUST contain a |Host| header field whose value
        //# contains /host/ plus optionally ":" followed by /port/ (when not
        //# using the default port).
        write_line(out, "Host", self.uri.authority().as_bytes());
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# The request MUST contain an |Upgrade| header field whose value
        //# MUST include the "websocket" keyword.
        write_line(out, "Upgrade", b"websocket");
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# The request MUST contain a |Connection| header field whose value
        //# MUST include the "Upgrade" token.
        write_line(out, "Connection", b"Upgrade");
        write_line(out, "Sec-WebSocket-Key", key);
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# The request MUST include a header field with the name
        //# |Sec-WebSocket-Version|.  The value of this header field MUST be
        //# 13.
        write_line(out, "Sec-WebSocket-Version", b"13");
        if !self.subprotocols.is_empty() {
            write_line(out, "Sec-WebSocket-Protocol", self.subprotocols.join(", ").as_bytes());
        }
        self.encode_offers(out);
        for RequestField { name, value, .. } in &self.fields {
            write_line(out, name.as_str(), value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    //= https://www.rfc-editor.org/rfc/rfc7692#section-5.1
    //# A client may also offer multiple PMCE choices to the server by including multiple elements in the
    //# "Sec-WebSocket-Extensions" header, one for each PMCE offered.
    #[cfg(feature = "deflate")]
    fn encode_offers(&self, out: &mut Vec<u8>) {
        let mut before: &[u8] = b"Sec-WebSocket-Extensions: ";
        for offer in &self.offers {
            out.extend_from_slice(before);
            offer.write(out);
            before = b", ";
        }
        if !self.offers.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Without the feature `deflate` there is no extension to offer.
    #[cfg(not(feature = "deflate"))]
    #[allow(clippy::unused_self, reason = "as with the feature deflate")]
    fn encode_offers(&self, _: &mut Vec<u8>) {}
}

/// Leaves out the fields, which may hold credentials.
impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClientRequest");
        out.field("uri", &self.uri.as_str()).field("subprotocols", &self.subprotocols);
        #[cfg(feature = "deflate")]
        out.field("offers", &self.offers);
        out.finish_non_exhaustive()
    }
}

impl From<WsUri> for ClientRequest {
    fn from(uri: WsUri) -> Self {
        ClientRequest::new(uri)
    }
}

impl FromStr for ClientRequest {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        WsUri::parse(uri).map(ClientRequest::new)
    }
}

impl TryFrom<&str> for ClientRequest {
    type Error = UriError;

    fn try_from(uri: &str) -> Result<Self, UriError> {
        uri.parse()
    }
}

/// The reason why something cannot be part of a request: the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// The subprotocol is not a token.
    InvalidSubprotocol,
    /// The subprotocol is offered already.
    RepeatedSubprotocol,
    /// 64 subprotocols are offered already; no server of this crate accepts more.
    TooManySubprotocols,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestError::InvalidSubprotocol => "the subprotocol is not a token (RFC 6455, section 4.1)",
            RequestError::RepeatedSubprotocol => "the subprotocol is offered already (RFC 6455, section 4.1)",
            RequestError::TooManySubprotocols => {
                return write!(f, "more than {MAX_SUBPROTOCOLS} subprotocols");
            }
        })
    }
}

impl std::error::Error for RequestError {}
