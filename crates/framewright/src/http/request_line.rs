//! The request line (RFC 9112, section 3): `method SP request-target SP HTTP-version CRLF`.
//!
//! The parser is strict: one SP where the grammar has one, CRLF at the end, nothing corrected. The
//! form of the target is checked later, when the whole head has been received.
//!
//! ```text
//!   Before -- CR -> EmptyLineLf -- LF --+
//!      |                                v
//!      +-- other -------------------> Method -- SP -> Target -- SP -> Version -- CR -> Lf -- LF -> (done)
//! ```

use super::bytes::{TOKEN, is};
use super::head::{HeadLimits, HeadParser, StartLine};
use super::known::KnownFields;
use super::scan;
use super::section::FieldSection;
use super::span::Span;

/// The longest method read, in bytes. The longest registered one, `UPDATEREDIRECTREF`, has 17.
const MAX_METHOD: usize = 32;

/// The pattern of an HTTP-version; its digits stand for any digits.
const VERSION: &[u8; 8] = b"HTTP/1.1";

/// The end of nearly all request lines.
const USUAL_END: &[u8; 10] = b"HTTP/1.1\r\n";

/// A resumable parser of the request line.
#[derive(Debug)]
pub(crate) struct RequestLine {
    phase: RequestLinePhase,
    /// The longest line accepted in bytes, without its CRLF.
    limit: usize,
    /// The start of the line: after the one empty line that may precede it.
    start: usize,
    /// The start of the part being read.
    mark: usize,
    method: Span,
    target: Span,
    /// The start of the next line.
    end: usize,
    /// The `x` of `HTTP/1.x`.
    minor: u8,
}

/// The next expected part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestLinePhase {
    Before,
    EmptyLineLf,
    Method,
    Target,
    Version,
    Lf,
}

/// The fault of a request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestLineError {
    /// The method is not a token, or no SP follows it.
    Method,
    /// The method is longer than any known one.
    MethodTooLong,
    /// The target contains a byte that is not visible US-ASCII, is empty, or is not followed by SP.
    Target,
    /// The line does not end in an HTTP-version.
    Version,
    /// The major version is not 1.
    VersionNotSupported,
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// The line is longer than `limit` bytes.
    TooLong { limit: usize },
}

impl RequestLine {
    /// Starts before the first byte; `limit` as in `HeadLimits::request_line`.
    pub(crate) fn new(limit: usize) -> Self {
        RequestLine {
            phase: RequestLinePhase::Before,
            limit,
            start: 0,
            mark: 0,
            method: Span::default(),
            target: Span::default(),
            end: 0,
            minor: 0,
        }
    }

    fn begin(&mut self, pos: usize) {
        self.start = pos;
        self.mark = pos;
        self.phase = RequestLinePhase::Method;
    }

    /// The bytes to scan: a scan that reads all of them stops at byte number `limit` of the line,
    /// counted from 0.
    fn until<'a>(&self, bytes: &'a [u8], limit: usize) -> &'a [u8] {
        &bytes[..bytes.len().min(self.start.saturating_add(limit))]
    }

    /// Whether the whole version and the end of the line have been received together, in their
    /// usual form.
    fn ends_as_usual(&self, bytes: &[u8], pos: usize) -> bool {
        pos == self.mark
            && bytes[pos..].starts_with(USUAL_END)
            && pos + VERSION.len() - self.start <= self.limit
    }

    /// Whether the byte at `pos` exceeds the limit of the line. The CR at the end is not part of
    /// the line.
    fn is_too_long(&self, byte: u8, pos: usize) -> bool {
        pos - self.start >= self.limit && byte != b'\r'
    }

    /// Handles the byte at which the scan of the method stopped.
    fn end_method(&mut self, byte: u8, pos: usize) -> Result<(), RequestLineError> {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-3
        //# A server that receives a method longer than any that it implements SHOULD respond with a 501 (Not
        //# Implemented) status code.
        if is(byte, TOKEN) {
            return Err(RequestLineError::MethodTooLong);
        }
        self.check_length(byte, pos)?;
        match byte {
            b' ' if pos > self.mark => {
                self.method = Span::new(self.mark, pos);
                self.mark = pos + 1;
                self.phase = RequestLinePhase::Target;
                Ok(())
            }
            b'\n' => Err(RequestLineError::BareLf),
            _ => Err(RequestLineError::Method),
        }
    }

    /// Handles the byte at which the scan of the target stopped.
    fn end_target(&mut self, byte: u8, pos: usize) -> Result<(), RequestLineError> {
        self.check_length(byte, pos)?;
        match byte {
            b' ' if pos > self.mark => {
                self.target = Span::new(self.mark, pos);
                self.mark = pos + 1;
                self.phase = RequestLinePhase::Version;
                Ok(())
            }
            b'\n' => Err(RequestLineError::BareLf),
            _ => Err(RequestLineError::Target),
        }
    }

    fn check_length(&self, byte: u8, pos: usize) -> Result<(), RequestLineError> {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-3
        //# A server that receives a request-target longer than any URI it wishes to parse MUST respond with a 414
        //# (URI Too Long) status code
        if self.is_too_long(byte, pos) {
            return Err(RequestLineError::TooLong { limit: self.limit });
        }
        Ok(())
    }

    /// Takes one byte of `HTTP/1.x` or the CR after it.
    fn version(&mut self, byte: u8, pos: usize) -> Result<(), RequestLineError> {
        self.check_length(byte, pos)?;
        match (pos - self.mark, byte) {
            (5, b'1') => {}
            // HTTP/0.9, HTTP/2.0 or HTTP/3: the major version is not 1, whatever follows.
            (5, b'0' | b'2'..=b'9') => return Err(RequestLineError::VersionNotSupported),
            (7, b'0'..=b'9') => self.minor = byte - b'0',
            (8, b'\r') => self.phase = RequestLinePhase::Lf,
            (at @ (0..=4 | 6), byte) if byte == VERSION[at] => {}
            (_, b'\n') => return Err(RequestLineError::BareLf),
            _ => return Err(RequestLineError::Version),
        }
        Ok(())
    }
}

impl StartLine for RequestLine {
    type Error = RequestLineError;

    fn parse(&mut self, bytes: &[u8], pos: &mut usize) -> Result<bool, RequestLineError> {
        loop {
            match self.phase {
                RequestLinePhase::Method => {
                    *pos = scan::token(self.until(bytes, self.limit.min(MAX_METHOD)), *pos);
                }
                RequestLinePhase::Target => *pos = scan::visible(self.until(bytes, self.limit), *pos),
                RequestLinePhase::Version if self.ends_as_usual(bytes, *pos) => {
                    self.minor = 1;
                    *pos += USUAL_END.len();
                    self.end = *pos;
                    return Ok(true);
                }
                _ => {}
            }
            let Some(&byte) = bytes.get(*pos) else { return Ok(false) };
            match self.phase {
                //= https://www.rfc-editor.org/rfc/rfc9112#section-2.2
                //# In the interest of robustness, a server that is expecting to receive and parse a request-line SHOULD
                //# ignore at least one empty line (CRLF) received prior to the request-line.
                RequestLinePhase::Before if byte == b'\r' => self.phase = RequestLinePhase::EmptyLineLf,
                RequestLinePhase::Before => {
                    self.begin(*pos);
                    continue;
                }
                RequestLinePhase::EmptyLineLf if byte == b'\n' => self.begin(*pos + 1),
                RequestLinePhase::Method => self.end_method(byte, *pos)?,
                RequestLinePhase::Target => self.end_target(byte, *pos)?,
                RequestLinePhase::Version => self.version(byte, *pos)?,
                RequestLinePhase::Lf if byte == b'\n' => {
                    *pos += 1;
                    self.end = *pos;
                    return Ok(true);
                }
                RequestLinePhase::EmptyLineLf | RequestLinePhase::Lf => return Err(RequestLineError::BareCr),
            }
            *pos += 1;
        }
    }

    fn end(&self) -> usize {
        self.end
    }
}

impl HeadParser<RequestLine> {
    /// A parser of a request.
    pub(crate) fn request(limits: HeadLimits) -> Self {
        HeadParser::at(0, RequestLine::new(limits.request_line), limits)
    }

    /// The positions of the parts of the complete head.
    pub(crate) fn head(&self) -> RequestHead<'_> {
        let line = self.line();
        RequestHead {
            len: self.pos(),
            method: line.method,
            target: line.target,
            minor: line.minor,
            fields: line.end,
            known: self.known(),
        }
    }
}

/// The positions of the parts of a complete head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    /// The length of the head, its empty line included.
    pub(crate) len: usize,
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) minor: u8,
    /// The start of the first field line.
    pub(crate) fields: usize,
    pub(crate) known: &'a KnownFields,
}

impl<'a> RequestHead<'a> {
    /// The field section; `bytes` start with this head.
    pub(crate) fn section(&self, bytes: &'a [u8]) -> FieldSection<'a> {
        FieldSection::new(bytes, self.fields, self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<(String, String, u8)>, RequestLineError> {
        let mut line = RequestLine::new(40);
        let mut pos = 0;
        let complete = line.parse(bytes, &mut pos)?;
        let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
        Ok(complete.then(|| (text(line.method), text(line.target), line.minor)))
    }

    #[test]
    fn request_line_has_three_parts() {
        let expected = Ok(Some(("GET".to_owned(), "/chat?a=b".to_owned(), 1)));
        assert_eq!(parse(b"GET /chat?a=b HTTP/1.1\r\n"), expected);
        assert_eq!(parse(b"\r\nGET /chat?a=b HTTP/1.1\r\n"), expected);
    }

    #[test]
    fn minor_version_is_any_digit() {
        for minor in 0..=9 {
            assert_eq!(parse(format!("A b HTTP/1.{minor}\r\n").as_bytes()).unwrap().unwrap().2, minor);
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        for (bytes, error) in [
            (&b"\r\n\r\n"[..], RequestLineError::Method),
            (b"\rG", RequestLineError::BareCr),
            (b"\n", RequestLineError::BareLf),
            (b" GET", RequestLineError::Method),
            (b"G@T", RequestLineError::Method),
            (b"GET\r\n", RequestLineError::Method),
            (b"GET\n", RequestLineError::BareLf),
            (b"GET  ", RequestLineError::Target),
            (b"GET /\t", RequestLineError::Target),
            (b"GET /\xc3\xa9", RequestLineError::Target),
            (b"GET /\r\n", RequestLineError::Target),
            (b"GET /\n", RequestLineError::BareLf),
            (b"GET / http/1.1\r\n", RequestLineError::Version),
            (b"GET / HTTP/1.1 \r\n", RequestLineError::Version),
            (b"GET / HTTP/11.1\r\n", RequestLineError::Version),
            (b"GET / HTTP/1.x\r\n", RequestLineError::Version),
            (b"GET / HTTP/1.1\n", RequestLineError::BareLf),
            (b"GET / HTTP/1.1\rX", RequestLineError::BareCr),
            (b"GET / HTTP/2", RequestLineError::VersionNotSupported),
            (b"GET / HTTP/0", RequestLineError::VersionNotSupported),
            (b"\x16\x03\x01\x02\x00", RequestLineError::Method),
        ] {
            assert_eq!(parse(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn line_of_exactly_the_limit_is_taken() {
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(40 - 14));
        assert!(parse(line.as_bytes()).unwrap().is_some());
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(40 - 13));
        assert_eq!(parse(line.as_bytes()), Err(RequestLineError::TooLong { limit: 40 }));
    }

    #[test]
    fn length_is_refused_as_soon_as_it_shows() {
        let line = format!("GET /{}", "a".repeat(40));
        assert_eq!(parse(&line.as_bytes()[..40]), Ok(None));
        assert_eq!(parse(&line.as_bytes()[..41]), Err(RequestLineError::TooLong { limit: 40 }));
        assert_eq!(parse(&[b'A'; 32]), Ok(None));
        assert_eq!(parse(&[b'A'; 33]), Err(RequestLineError::MethodTooLong));
    }
}
