//! A complete answer to a client's opening handshake: the rules of RFC 6455, section 4.1, and how
//! an application reads the answer. It reads a view of the head's bytes, or a copy that owns them
//! and the body.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::error::ResponseError;
use crate::deflate::AnswerError;
#[cfg(feature = "deflate")]
use crate::deflate::{DeflateOffer, check_answer};
use crate::handshake::Negotiated;
use crate::http::body::BodyReader;
use crate::http::bytes::is_token;
use crate::http::head::HeadParser;
use crate::http::known::{Known, KnownFields};
use crate::http::section::FieldSection;
use crate::http::status_line::{Status, StatusLine};

/// A server's answer to an opening handshake.
///
/// There are only these two: anything else is a [`ResponseError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is a connection, or there is none")]
pub enum Answer {
    /// A correct 101: the connection is open.
    Accepted {
        /// The end of the head, in bytes from the first byte received: frames start there.
        head_len: usize,
        /// The negotiated subprotocol and extensions.
        negotiated: Negotiated,
    },
    /// Any other status, in any version of HTTP/1. There is no connection.
    Refused {
        /// The end of the head, in bytes from the first byte received: the body starts there.
        head_len: usize,
        /// Reads the response body.
        body: BodyReader,
    },
}

/// The client's request, against which an answer is checked.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) accept_key: [u8; 28],
    pub(super) subprotocols: Vec<Cow<'static, str>>,
    #[cfg(feature = "deflate")]
    pub(super) deflate: Vec<DeflateOffer>,
}

impl Offered {
    /// Checks the answer against the rules, in the order of section 4.1.
    pub(super) fn judge(&self, response: &ResponseHead<'_>) -> Result<Answer, ResponseError> {
        let head_len = response.end();
        if response.status() != 101 {
            return Ok(Answer::Refused { head_len, body: response.body_reader() });
        }
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
        //# If the server chooses to accept the incoming connection, it MUST
        //# reply with a valid HTTP response indicating the following.
        // HTTP/1.0 has no upgrade.
        if response.http_minor() == 0 {
            return Err(ResponseError::UpgradeInHttp10);
        }
        check_upgrade(response)?;
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# If the response lacks a |Connection| header field or the
        //# |Connection| header field doesn't contain a token that is an
        //# ASCII case-insensitive match for the value "Upgrade", the client
        //# MUST _Fail the WebSocket Connection_.
        if !response.section().has_connection_option(b"upgrade") {
            return Err(ResponseError::MissingConnectionUpgrade);
        }
        self.check_accept(response)?;
        let mut negotiated = self.extensions(response)?;
        if let Some(subprotocol) = self.subprotocol(response)? {
            negotiated = negotiated.with_subprotocol(Arc::from(subprotocol));
        }
        Ok(Answer::Accepted { head_len, negotiated })
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response lacks a |Sec-WebSocket-Accept| header field or
    //# the |Sec-WebSocket-Accept| contains a value other than the
    //# base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-
    //# Key| (as a string, not base64-decoded) with the string "258EAFA5-
    //# E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and
    //# trailing whitespace, the client MUST _Fail the WebSocket
    //# Connection_.
    fn check_accept(&self, response: &ResponseHead<'_>) -> Result<(), ResponseError> {
        let mut lines = response.values(Known::Accept);
        let accept = lines.next().ok_or(ResponseError::MissingAccept)?;
        //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.3
        //# The |Sec-WebSocket-Accept| header MUST NOT appear more than once in
        //# an HTTP response.
        if lines.next().is_some() {
            return Err(ResponseError::RepeatedAccept);
        }
        if accept == self.accept_key { Ok(()) } else { Err(ResponseError::WrongAccept) }
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response includes a |Sec-WebSocket-Protocol| header field
    //# and this header field indicates the use of a subprotocol that was
    //# not present in the client's handshake (the server has indicated a
    //# subprotocol not requested by the client), the client MUST _Fail
    //# the WebSocket Connection_.
    fn subprotocol(&self, response: &ResponseHead<'_>) -> Result<Option<&str>, ResponseError> {
        let mut lines = response.values(Known::Subprotocols);
        let Some(chosen) = lines.next() else { return Ok(None) };
        //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4
        //# However, the |Sec-WebSocket-Protocol| header field MUST NOT appear
        //# more than once in an HTTP response.
        if lines.next().is_some() {
            return Err(ResponseError::RepeatedSubprotocol);
        }
        if !is_token(chosen) {
            return Err(ResponseError::InvalidSubprotocol);
        }
        let mut offered = self.subprotocols.iter().map(AsRef::as_ref);
        let found = offered.find(|offered: &&str| offered.as_bytes() == chosen);
        found.map(Some).ok_or(ResponseError::SubprotocolNotOffered)
    }

    /// The result of the answer's extensions. They may be on several lines, as in a request:
    /// erratum 3433.
    #[cfg(feature = "deflate")]
    fn extensions(&self, response: &ResponseHead<'_>) -> Result<Negotiated, ResponseError> {
        let mut lines = response.values(Known::Extensions).peekable();
        if lines.peek().is_none() {
            return Ok(Negotiated::new());
        }
        // `extension-list = 1#extension`: at least one.
        let params = check_answer(&self.deflate, lines)?.ok_or(AnswerError::Malformed)?;
        Ok(Negotiated::new().with_deflate(params))
    }

    /// An extension is always an error, because none was offered.
    #[cfg(not(feature = "deflate"))]
    #[allow(clippy::unused_self, reason = "as with the feature deflate")]
    fn extensions(&self, response: &ResponseHead<'_>) -> Result<Negotiated, ResponseError> {
        match response.values(Known::Extensions).next() {
            None => Ok(Negotiated::new()),
            Some(_) => Err(AnswerError::NotOffered.into()),
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# If the response lacks an |Upgrade| header field or the |Upgrade|
//# header field contains a value that is not an ASCII case-
//# insensitive match for the value "websocket", the client MUST
//# _Fail the WebSocket Connection_.
fn check_upgrade(response: &ResponseHead<'_>) -> Result<(), ResponseError> {
    if response.values(Known::Upgrade).next().is_none() {
        return Err(ResponseError::MissingUpgrade);
    }
    let mut protocols = response.section().list(Known::Upgrade);
    let is_websocket = protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    // Several protocols would be layers, and WebSocket only one of them.
    if is_websocket && protocols.next().is_none() { Ok(()) } else { Err(ResponseError::InvalidUpgrade) }
}

/// The head of a response that follows the syntax of HTTP/1.x: a view of its bytes, cheap to copy.
///
/// [`ClientHandshake::response`](crate::handshake::ClientHandshake::response) returns it. Nothing
/// in it is decoded or changed.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    bytes: &'a [u8],
    status: Status,
    section: FieldSection<'a>,
}

impl<'a> ResponseHead<'a> {
    /// The complete head that `parser` found in `bytes`.
    pub(super) fn new(bytes: &'a [u8], parser: &'a HeadParser<StatusLine>) -> Self {
        let bytes = &bytes[..parser.pos()];
        ResponseHead { bytes, status: parser.status(), section: parser.section(bytes) }
    }

    /// The status code, three digits: 101 if the handshake was accepted.
    pub fn status(&self) -> u16 {
        self.status.code
    }

    /// The minor version: the `x` of the response's `HTTP/1.x`, 0 to 9.
    pub fn http_minor(&self) -> u8 {
        self.status.minor
    }

    /// The reason phrase, often empty. It need not be UTF-8.
    pub fn reason(&self) -> &'a [u8] {
        self.status.reason.of(self.bytes)
    }

    /// All field lines in the order received: the name as sent, and the value without the
    /// whitespace around it. A value may hold any byte except control characters; it need not be
    /// UTF-8.
    #[doc(alias = "headers")]
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.section.iter()
    }

    /// The value of the first field line with this name. Case is ignored.
    #[doc(alias = "header")]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.field_all(name).next()
    }

    /// The values of all field lines with this name, in the order received. Case is ignored.
    #[doc(alias = "header")]
    pub fn field_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.section.all(name)
    }

    /// The end of the head, in bytes from the first byte received.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// A reader of the body that follows; this must not be the head of a tunnel.
    pub(super) fn body_reader(&self) -> BodyReader {
        BodyReader::new(self.status, self.section)
    }

    /// The field section.
    pub(super) fn section(&self) -> FieldSection<'a> {
        self.section
    }

    /// The values of all lines of a known field, in the order received.
    pub(super) fn values(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.section.values(known)
    }

    /// Copies the head into a response that borrows nothing. `body` and `truncated` are what
    /// [`BodyReader::finish`](crate::handshake::BodyReader::finish) returned.
    pub fn to_response(&self, body: Vec<u8>, truncated: bool) -> ServerResponse {
        let (fields, known) = self.section.parts();
        ServerResponse {
            bytes: self.bytes.into(),
            status: self.status,
            fields,
            known: *known,
            body,
            truncated,
        }
    }
}

/// Shows the status, the minor version and the reason. Fields may hold credentials, so they are
/// left out.
impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status())
            .field("http_minor", &self.http_minor())
            .field("reason", &String::from_utf8_lossy(self.reason()))
            .finish_non_exhaustive()
    }
}

/// A response of a server or a proxy that owns its bytes.
#[derive(Clone)]
pub struct ServerResponse {
    /// The head, and the interim responses before it.
    bytes: Box<[u8]>,
    status: Status,
    fields: usize,
    known: KnownFields,
    body: Vec<u8>,
    truncated: bool,
}

impl ServerResponse {
    /// Borrows its head as a [`ResponseHead`].
    pub fn head(&self) -> ResponseHead<'_> {
        ResponseHead {
            bytes: &self.bytes,
            status: self.status,
            section: FieldSection::new(&self.bytes, self.fields, &self.known),
        }
    }

    /// The status code, as [`ResponseHead::status`] returns it.
    pub fn status(&self) -> u16 {
        self.status.code
    }

    /// The minor version, as [`ResponseHead::http_minor`] returns it.
    pub fn http_minor(&self) -> u8 {
        self.status.minor
    }

    /// The reason phrase, as [`ResponseHead::reason`] returns it.
    pub fn reason(&self) -> &[u8] {
        self.head().reason()
    }

    /// All field lines in the order received, as [`ResponseHead::fields`] returns them.
    #[doc(alias = "headers")]
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head().fields()
    }

    /// The value of the first field line with this name, as [`ResponseHead::field`] returns it.
    #[doc(alias = "header")]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.head().field(name)
    }

    /// The values of all field lines with this name, as [`ResponseHead::field_all`] returns them.
    #[doc(alias = "header")]
    pub fn field_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.head().field_all(name)
    }

    /// The content with its chunks put together, at most the first 64 KiB; empty for a 101. A
    /// content coding is not undone.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the content was longer than [`body`](Self::body) holds, or its framing was broken.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// Shows what the [`ResponseHead`] shows, the length of the body, and whether it is truncated.
impl fmt::Debug for ServerResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerResponse")
            .field("status", &self.status())
            .field("http_minor", &self.http_minor())
            .field("reason", &String::from_utf8_lossy(self.reason()))
            .field("body_len", &self.body.len())
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}
