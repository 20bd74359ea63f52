//! The head of an HTTP/1.1 message: request line or status line, field lines, empty line (RFC 9112,
//! section 2.1).
//!
//! The parser is incremental. Each call passes all bytes of the head received so far; the parser
//! continues where it stopped and never scans a byte twice. A message that arrives byte by byte
//! therefore costs no more than one that arrives at once. The parser copies nothing and allocates
//! nothing; it keeps [`Span`](super::span::Span)s of the known fields.
//!
//! Only syntax is decided here. Requests and responses differ only in their first lines: each is a
//! [`StartLine`] before the same [`FieldLines`].

use super::field_lines::{FieldLineError, FieldLines};
use super::known::KnownFields;
use super::section::FieldSection;
use super::span::MAX_HEAD;

/// The limits for the head of a request, or of the response that a client waits for.
///
/// A release may add fields: end a literal with `..HeadLimits::default()`.
///
/// ```
/// # use framewright::handshake::HeadLimits;
/// let limits = HeadLimits { fields: 64, ..HeadLimits::default() };
/// assert_eq!(limits.head, 16 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct HeadLimits {
    /// The longest request line in bytes, without its CRLF; a longer one is refused with 414 (URI
    /// Too Long). Default 8192: RFC 9112, section 3, recommends at least 8000.
    ///
    /// Raise it for applications that put tokens into the query; the cost is memory for each
    /// handshake. A status line has no limit of its own except `head`.
    pub request_line: usize,
    /// The longest head in bytes, from the first byte to the empty line that ends it; a longer one
    /// is refused with 431 (Request Header Fields Too Large). Default 16384, which common servers
    /// accept: room for a request line, cookies and a token.
    ///
    /// A peer can make a server hold twice as much if the server keeps the head in a vector that
    /// doubles. For a client it limits everything up to the end of the final response's head,
    /// interim responses included.
    pub head: usize,
    /// The largest number of field lines; more are refused with 431. Default 100: browsers send
    /// about 15. The lines are not stored separately, so a higher number costs no memory, only the
    /// time to read them.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits { request_line: 8192, head: 16 * 1024, fields: 100 }
    }
}

/// The first line of a message.
pub(crate) trait StartLine {
    /// The fault of a line of this kind.
    type Error;

    /// Continues to parse at `*pos`, and moves it past the bytes parsed. Returns `true` once the
    /// line's LF has been read.
    fn parse(&mut self, bytes: &[u8], pos: &mut usize) -> Result<bool, Self::Error>;

    /// The start of the next line, once this one is complete.
    fn end(&self) -> usize;
}

/// The fault of a head whose first line can have the faults `E`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError<E> {
    StartLine(E),
    FieldLine(FieldLineError),
    /// The head is longer than `limit` bytes.
    TooLong {
        limit: usize,
    },
}

/// A resumable parser of a head.
#[derive(Debug)]
pub(crate) struct HeadParser<L> {
    /// The position of the next byte to parse.
    pos: usize,
    phase: HeadPhase,
    limit: usize,
    line: L,
    fields: FieldLines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadPhase {
    StartLine,
    FieldLines,
    Done,
}

impl<L: StartLine> HeadParser<L> {
    /// Starts at `pos`, where `line` starts.
    pub(crate) fn at(pos: usize, line: L, limits: HeadLimits) -> Self {
        HeadParser {
            pos,
            phase: HeadPhase::StartLine,
            limit: limits.head.min(MAX_HEAD),
            line,
            fields: FieldLines::new(limits.fields),
        }
    }

    /// Continues to parse `bytes`, which start at the same byte in each call and contain at least
    /// the bytes passed before.
    ///
    /// Returns `Ok(None)` until the head is complete, and then the position of its end. Bytes after
    /// it are not examined.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError<L::Error>> {
        let window = &bytes[..bytes.len().min(self.limit)];
        if self.phase == HeadPhase::StartLine
            && self.line.parse(window, &mut self.pos).map_err(HeadError::StartLine)?
        {
            self.phase = HeadPhase::FieldLines;
        }
        if self.phase == HeadPhase::FieldLines
            && self.fields.parse(window, &mut self.pos).map_err(HeadError::FieldLine)?
        {
            self.phase = HeadPhase::Done;
        }
        if self.phase == HeadPhase::Done {
            return Ok(Some(self.pos));
        }
        if window.len() == self.limit {
            return Err(HeadError::TooLong { limit: self.limit });
        }
        Ok(None)
    }

    /// The position of the next byte to parse: after the head, once that is complete.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// The first line.
    pub(crate) fn line(&self) -> &L {
        &self.line
    }

    /// The known fields among the lines read so far.
    pub(crate) fn known(&self) -> &KnownFields {
        self.fields.known()
    }

    /// The complete field section in `bytes`.
    pub(crate) fn section<'a>(&'a self, bytes: &'a [u8]) -> FieldSection<'a> {
        FieldSection::new(bytes, self.line.end(), self.known())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nX-Empty:\r\n\r\n";

    #[test]
    fn head_ends_at_the_empty_line() {
        let mut bytes = REQUEST.to_vec();
        bytes.extend_from_slice(b"\x81\x80\x00\x00\x00\x00");
        let mut parser = HeadParser::request(HeadLimits::default());
        assert_eq!(parser.parse(&bytes), Ok(Some(REQUEST.len())));
        assert_eq!(parser.parse(&bytes), Ok(Some(REQUEST.len())));
        assert_eq!(parser.head().section(&bytes).iter().count(), 2);
    }

    /// A request that arrives byte by byte takes linear time: bytes seen before are not scanned
    /// again, so wiping them is harmless. (There is one exception: the name is read again at the
    /// end of its line, to find which known field it is.)
    #[test]
    fn octets_seen_are_never_read_again() {
        let mut parser = HeadParser::request(HeadLimits::default());
        let mut bytes = Vec::new();
        for (at, &byte) in REQUEST.iter().enumerate() {
            bytes.fill(0);
            bytes.push(byte);
            let expected = (at + 1 == REQUEST.len()).then_some(REQUEST.len());
            assert_eq!(parser.parse(&bytes), Ok(expected));
        }
    }

    #[test]
    fn head_of_exactly_the_limit_is_taken() {
        let limits = |head| HeadLimits { head, ..HeadLimits::default() };
        let parse = |head, bytes| HeadParser::request(limits(head)).parse(bytes);
        assert_eq!(parse(REQUEST.len(), REQUEST), Ok(Some(REQUEST.len())));
        let limit = REQUEST.len() - 1;
        assert_eq!(parse(limit, REQUEST), Err(HeadError::TooLong { limit }));
        assert_eq!(parse(limit, &REQUEST[..limit]), Err(HeadError::TooLong { limit }));
        assert_eq!(parse(limit, &REQUEST[..limit - 1]), Ok(None));
    }

    #[test]
    fn unreachable_limits_are_harmless() {
        let limits = HeadLimits { request_line: usize::MAX, head: usize::MAX, fields: usize::MAX };
        assert_eq!(HeadParser::request(limits).parse(REQUEST), Ok(Some(REQUEST.len())));
        let limits = HeadLimits { request_line: 0, head: 0, fields: 0 };
        assert_eq!(HeadParser::request(limits).parse(b""), Err(HeadError::TooLong { limit: 0 }));
    }
}
