//! The head of an HTTP/1.1 message: request line or status line, field lines, empty line (RFC 9112,
//! section 2.1).
//!
//! The parser is incremental: it is given the whole head as far as it has arrived, remembers where
//! it stopped and never scans a byte twice, so that a message that trickles in byte by byte costs
//! no more than one that arrives at once. It copies nothing and allocates nothing; what it keeps
//! are [`Span`](super::span::Span)s, of the fields that there are rules for.
//!
//! Only syntax is decided here. Requests and responses differ in their first lines alone: each is a
//! [`StartLine`] in front of the same [`FieldLines`].

use super::field_lines::{FieldLineError, FieldLines};
use super::known::KnownFields;
use super::section::FieldSection;
use super::span::MAX_HEAD;

/// What a head may cost before it is refused: that of a request, or that of the response that a
/// client waits for.
///
/// A release may add fields: end a literal with `..HeadLimits::default()`.
///
/// ```
/// use framewright::handshake::HeadLimits;
///
/// let limits = HeadLimits { fields: 64, ..HeadLimits::default() };
/// assert_eq!(limits.head, 16 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct HeadLimits {
    /// The longest request line, in bytes, without its CRLF. Default 8192: RFC 9112, section 3,
    /// recommends at least 8000. Raise it for applications that put tokens into the query; the cost
    /// is memory for each handshake. A longer one is refused with 414 (URI Too Long). A status line
    /// has no limit of its own but `head`.
    pub request_line: usize,
    /// The longest head, in bytes, from the first byte to the empty line that ends it. Default
    /// 16384, what common servers take: room for a request line, cookies and a token. Twice as much
    /// is what a peer can make a server hold that keeps the head in a vector which doubles. A
    /// longer one is refused with 431 (Request Header Fields Too Large). For a client it is the
    /// limit of everything up to the end of the final response's head: interim responses count.
    pub head: usize,
    /// The largest number of field lines. Default 100: browsers send about 15. They are not kept
    /// apart, so a higher number costs no memory, only the time to read them. More are refused with
    /// 431.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits { request_line: 8192, head: 16 * 1024, fields: 100 }
    }
}

/// The first line of a message.
pub(crate) trait StartLine {
    /// What is wrong with a line of this kind.
    type Error;

    /// Reads on at `*pos`, and moves it past what was understood. `true` once the line's LF has
    /// been read.
    fn parse(&mut self, bytes: &[u8], pos: &mut usize) -> Result<bool, Self::Error>;

    /// Where the next line starts, once this one is complete.
    fn end(&self) -> usize;
}

/// What is wrong with a head whose first line has the faults `E`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError<E> {
    StartLine(E),
    FieldLine(FieldLineError),
    /// It is longer than `limit`, in bytes.
    TooLong {
        limit: usize,
    },
}

/// A resumable parser of a head.
#[derive(Debug)]
pub(crate) struct HeadParser<L> {
    /// The next byte to look at.
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
    /// Starts at `pos`, where `line` is.
    pub(crate) fn at(pos: usize, line: L, limits: HeadLimits) -> Self {
        HeadParser {
            pos,
            phase: HeadPhase::StartLine,
            limit: limits.head.min(MAX_HEAD),
            line,
            fields: FieldLines::new(limits.fields),
        }
    }

    /// Reads on in `bytes`, which start where they always did and hold at least what they held
    /// before.
    ///
    /// `Ok(None)` until the head is complete, then where it ends. Whatever follows it is not looked
    /// at.
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

    /// The next byte to look at: behind the head, once that is complete.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// The first line.
    pub(crate) fn line(&self) -> &L {
        &self.line
    }

    /// The fields that there are rules for, as far as they have been read.
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

    /// What makes a trickling request linear: bytes that were seen are not scanned again, so wiping
    /// them is harmless. (Only which of the known fields a line is, is decided at its end.)
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
