//! A complete answer to a client's opening handshake, as an application reads it: a view on the head's octets, and a copy that owns
//! them, with the body.

use std::fmt;

use crate::http::body::BodyReader;
use crate::http::head::HeadParser;
use crate::http::known::{Known, KnownFields};
use crate::http::section::FieldSection;
use crate::http::status_line::{Status, StatusLine};

/// The head of a response that follows the syntax of HTTP/1.x: a view on its octets, cheap to copy.
///
/// It comes from [`ClientHandshake::response`](crate::handshake::ClientHandshake::response). Nothing in it is decoded or changed.
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

    /// All field lines in the order received: the name as it was sent, and the value without the whitespace around
    /// it. A value may hold any octet but control characters; it need not be UTF-8.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.section.iter()
    }

    /// The value of the first field line with that name, without regard to case.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.field_all(name).next()
    }

    /// The values of all field lines with that name, without regard to case, in the order received.
    pub fn field_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.section.all(name)
    }

    /// Where the head ends, counted from the first octet received.
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

    /// A copy that borrows nothing, with the body that [`BodyReader::finish`](crate::handshake::BodyReader::finish) has returned.
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

/// A response that owns its octets: what a server, or a proxy, has said.
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
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head().fields()
    }

    /// As [`ResponseHead::field`].
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.head().field(name)
    }

    /// As [`ResponseHead::field_all`].
    pub fn field_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.head().field_all(name)
    }

    /// The content, chunks put together: at most the first 64 KiB. What a content coding has done to it is not undone. Empty for a
    /// 101.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether there was more content than [`body`](Self::body) holds, or the framing of it was broken.
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
