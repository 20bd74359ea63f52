//! A complete answer to a client's opening handshake: what RFC 6455, section 4.1, demands of it,
//! and how an application reads it: a view on the head's bytes, or a copy that owns them, with the
//! body.

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

/// What a server has answered.
///
/// These are the only two: anything else is a [`ResponseError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is a connection, or there is none")]
pub enum Answer {
    /// A correct 101: the connection is open.
    Accepted {
        /// Where the head ends, counted from the first byte received: frames start there.
        head_len: usize,
        /// What was agreed on.
        negotiated: Negotiated,
    },
    /// Any other status, in any version of HTTP/1. There is no connection.
    Refused {
        /// Where the head ends, counted from the first byte received: the body starts there.
        head_len: usize,
        /// Reads the body, for who wants to see it.
        body: BodyReader,
    },
}

/// What an answer is held against.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) accept_key: [u8; 28],
    pub(super) subprotocols: Vec<Cow<'static, str>>,
    #[cfg(feature = "deflate")]
    pub(super) deflate: Vec<DeflateOffer>,
}

impl Offered {
    /// The rules for the answer, in the order of section 4.1.
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

    /// What the extensions of the answer come to. They may come on several lines, as in a request:
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

    /// None can have been offered.
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
    // Several would be layers of protocols, of which WebSocket were only one.
    if is_websocket && protocols.next().is_none() { Ok(()) } else { Err(ResponseError::InvalidUpgrade) }
}

/// The head of a response that follows the syntax of HTTP/1.x: a view on its bytes, cheap to copy.
///
/// It comes from [`ClientHandshake::response`](crate::handshake::ClientHandshake::response).
/// Nothing in it is decoded or changed.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    bytes: &'a [u8],
    status: Status,
    section: FieldSection<'a>,
}

impl<'a> ResponseHead<'a> {
    /// The complete head that `parser` has found in `bytes`.
    pub(super) fn new(bytes: &'a [u8], parser: &'a HeadParser<StatusLine>) -> Self {
        let bytes = &bytes[..parser.pos()];
        ResponseHead { bytes, status: parser.status(), section: parser.section(bytes) }
    }

    /// The status code, three digits: 101 where the handshake was accepted.
    pub fn status(&self) -> u16 {
        self.status.code
    }

    /// `x` of the response's `HTTP/1.x`, 0 to 9.
    pub fn http_minor(&self) -> u8 {
        self.status.minor
    }

    /// The reason phrase, often empty. It need not be UTF-8.
    pub fn reason(&self) -> &'a [u8] {
        self.status.reason.of(self.bytes)
    }

    /// All field lines in the order received: the name as it was sent, and the value without the
    /// whitespace around it. A value may hold any byte but control characters; it need not be
    /// UTF-8.
    #[doc(alias = "headers")]
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.section.iter()
    }

    /// The value of the first field line with that name, without regard to case.
    #[doc(alias = "header")]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.field_all(name).next()
    }

    /// The values of all field lines with that name, without regard to case, in the order received.
    #[doc(alias = "header")]
    pub fn field_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.section.all(name)
    }

    /// Where the head ends, counted from the first byte received.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// A reader of the body that follows, if this is not the head of a tunnel.
    pub(super) fn body_reader(&self) -> BodyReader {
        BodyReader::new(self.status, self.section)
    }

    /// The field section.
    pub(super) fn section(&self) -> FieldSection<'a> {
        self.section
    }

    /// The values of all lines of a field that there are rules for, in the order received.
    pub(super) fn values(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.section.values(known)
    }

    /// A copy that borrows nothing, with the body that
    /// [`BodyReader::finish`](crate::handshake::BodyReader::finish) has returned.
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

/// Status and reason; fields may hold credentials.
impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status())
            .field("http_minor", &self.http_minor())
            .field("reason", &String::from_utf8_lossy(self.reason()))
            .finish_non_exhaustive()
    }
}

/// A response that owns its bytes: what a server, or a proxy, has said.
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
    /// The view on its head.
    pub fn head(&self) -> ResponseHead<'_> {
        ResponseHead {
            bytes: &self.bytes,
            status: self.status,
            section: FieldSection::new(&self.bytes, self.fields, &self.known),
        }
    }

    /// As [`ResponseHead::status`].
    pub fn status(&self) -> u16 {
        self.status.code
    }

    /// As [`ResponseHead::http_minor`].
    pub fn http_minor(&self) -> u8 {
        self.status.minor
    }

    /// As [`ResponseHead::reason`].
    pub fn reason(&self) -> &[u8] {
        self.head().reason()
    }

    /// As [`ResponseHead::fields`].
    #[doc(alias = "headers")]
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head().fields()
    }

    /// As [`ResponseHead::field`].
    #[doc(alias = "header")]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.head().field(name)
    }

    /// As [`ResponseHead::field_all`].
    #[doc(alias = "header")]
    pub fn field_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.head().field_all(name)
    }

    /// The content, chunks put together: at most the first 64 KiB. What a content coding has done
    /// to it is not undone. Empty for a 101.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether there was more content than [`body`](Self::body) holds, or the framing of it was
    /// broken.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// As of the [`ResponseHead`], and the length of the body.
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
