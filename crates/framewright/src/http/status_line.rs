//! The status line (RFC 9112, section 4): `HTTP-version SP status-code SP [ reason-phrase ] CRLF`.
//!
//! The parser is strict, with one exception: many servers omit the SP before an absent reason
//! phrase.
//!
//! ```text
//!   Code -- "HTTP/1.x 101" -- SP -> Reason -- CR -> Lf -- LF -> (done)
//!                    |                               ^
//!                    +------------- CR --------------+
//! ```

use super::head::{HeadLimits, HeadParser, StartLine};
use super::scan;
use super::span::Span;

/// The pattern of the start of a status line; its digits stand for any digits.
const START: &[u8; 13] = b"HTTP/1.1 101 ";

/// A resumable parser of the status line.
#[derive(Debug)]
pub(crate) struct StatusLine {
    phase: StatusLinePhase,
    start: usize,
    /// The start of the next line.
    end: usize,
    status: Status,
}

/// The contents of a status line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    /// 0 to 999.
    pub(crate) code: u16,
    /// The `x` of `HTTP/1.x`.
    pub(crate) minor: u8,
    pub(crate) reason: Span,
}

/// The next expected part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusLinePhase {
    Code,
    Reason,
    Lf,
}

/// The fault of a status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusLineError {
    /// The line does not start with `HTTP/`.
    NotHttp,
    /// The major version is not 1.
    VersionNotSupported,
    /// Any other deviation from the grammar.
    Malformed,
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
}

impl StatusLine {
    /// Starts before the byte at `start`.
    pub(crate) fn new(start: usize) -> Self {
        StatusLine { phase: StatusLinePhase::Code, start, end: start, status: Status::default() }
    }

    /// The contents of the line, once it is complete.
    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Takes one byte of the version or the code, or the byte that follows them.
    fn code(&mut self, byte: u8, pos: usize) -> Result<(), StatusLineError> {
        match (pos - self.start, byte) {
            (0..=4, byte) if byte != START[pos - self.start] => return Err(StatusLineError::NotHttp),
            // HTTP/0.9 or HTTP/2: the major version is not 1, whatever follows.
            (5, b'0' | b'2'..=b'9') => return Err(StatusLineError::VersionNotSupported),
            (7, b'0'..=b'9') => self.status.minor = byte - b'0',
            //= https://www.rfc-editor.org/rfc/rfc9112#section-4
            //# The status-code element is a 3-digit integer code describing the result of the server's attempt to
            //# understand and satisfy the client's corresponding request.
            (9..=11, b'0'..=b'9') => self.status.code = 10 * self.status.code + u16::from(byte - b'0'),
            (12, b'\r') => self.end_reason(pos, pos),
            (12, b' ') => self.phase = StatusLinePhase::Reason,
            (at @ (0..=6 | 8), byte) if byte == START[at] => {}
            (_, b'\n') => return Err(StatusLineError::BareLf),
            _ => return Err(StatusLineError::Malformed),
        }
        Ok(())
    }

    /// Handles the byte at which the scan of the reason phrase stopped.
    fn reason(&mut self, byte: u8, pos: usize) -> Result<(), StatusLineError> {
        match byte {
            b'\r' => self.end_reason(self.start + START.len(), pos),
            b'\n' => return Err(StatusLineError::BareLf),
            _ => return Err(StatusLineError::Malformed),
        }
        Ok(())
    }

    fn end_reason(&mut self, start: usize, end: usize) {
        self.status.reason = Span::new(start, end);
        self.phase = StatusLinePhase::Lf;
    }
}

impl StartLine for StatusLine {
    type Error = StatusLineError;

    fn parse(&mut self, bytes: &[u8], pos: &mut usize) -> Result<bool, StatusLineError> {
        loop {
            if self.phase == StatusLinePhase::Reason {
                *pos = scan::value(bytes, *pos);
            }
            let Some(&byte) = bytes.get(*pos) else { return Ok(false) };
            match self.phase {
                StatusLinePhase::Code => self.code(byte, *pos)?,
                StatusLinePhase::Reason => self.reason(byte, *pos)?,
                StatusLinePhase::Lf if byte == b'\n' => {
                    *pos += 1;
                    self.end = *pos;
                    return Ok(true);
                }
                StatusLinePhase::Lf => return Err(StatusLineError::BareCr),
            }
            *pos += 1;
        }
    }

    fn end(&self) -> usize {
        self.end
    }
}

impl HeadParser<StatusLine> {
    /// A parser of the response whose first byte is at `pos`, which is 0 or the end of an interim
    /// response.
    pub(crate) fn response(pos: usize, limits: HeadLimits) -> Self {
        HeadParser::at(pos, StatusLine::new(pos), limits)
    }

    /// The contents of the complete status line.
    pub(crate) fn status(&self) -> Status {
        self.line().status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 404 Not Found\r\nServer: a\r\n\r\n";

    fn parse(bytes: &[u8]) -> Result<Option<(u16, u8, String)>, StatusLineError> {
        let mut line = StatusLine::new(0);
        let mut pos = 0;
        let complete = line.parse(bytes, &mut pos)?;
        let Status { code, minor, reason } = line.status();
        Ok(complete.then(|| (code, minor, String::from_utf8_lossy(reason.of(bytes)).into_owned())))
    }

    #[test]
    fn status_line_has_three_parts() {
        let expected = |code, minor, reason: &str| Ok(Some((code, minor, reason.to_owned())));
        assert_eq!(parse(b"HTTP/1.1 404 Not Found\r\n"), expected(404, 1, "Not Found"));
        assert_eq!(parse(b"HTTP/1.0 404 \r\n"), expected(404, 0, ""));
        assert_eq!(parse(b"HTTP/1.9 404\r\n"), expected(404, 9, ""));
        assert_eq!(parse(b"HTTP/1.1 404  \t\r\n"), expected(404, 1, " \t"));
        assert_eq!(parse(b"HTTP/1.1 404\r"), Ok(None));
    }

    #[test]
    fn codes_are_all_of_three_digits() {
        for code in 0..=999 {
            assert_eq!(parse(format!("HTTP/1.1 {code:03} \r\n").as_bytes()).unwrap().unwrap().0, code);
        }
    }

    /// A response that arrives byte by byte takes linear time, as a request does.
    #[test]
    fn octets_seen_are_never_read_again() {
        let mut parser = HeadParser::response(0, HeadLimits::default());
        let mut bytes = Vec::new();
        for (at, &byte) in RESPONSE.iter().enumerate() {
            bytes.fill(0);
            bytes.push(byte);
            let expected = (at + 1 == RESPONSE.len()).then_some(RESPONSE.len());
            assert_eq!(parser.parse(&bytes), Ok(expected));
        }
        assert_eq!(parser.status().code, 404);
        assert_eq!(parser.section(RESPONSE).iter().count(), 1);
    }

    #[test]
    fn response_may_start_anywhere() {
        let bytes = [b"....", RESPONSE].concat();
        let mut parser = HeadParser::response(4, HeadLimits::default());
        assert_eq!(parser.parse(&bytes), Ok(Some(bytes.len())));
        assert_eq!(parser.status().reason.of(&bytes), b"Not Found");
        assert_eq!(parser.section(&bytes).all("server").collect::<Vec<_>>(), [b"a"]);
    }
}
