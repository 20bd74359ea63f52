//! The field lines of a head (RFC 9112, section 5): `name ":" OWS value OWS CRLF`, until an empty
//! line.
//!
//! Requests and responses share this part. It knows nothing of the line before it. A fault is a
//! [`FieldLineError`], which the owner turns into its own error.
//!
//! ```text
//!            +-- CR -> EndLf -- LF -> (done)
//!            |
//!   LineStart -- tchar -> Name -- ":" -> BeforeValue -- not OWS -> Value -- CR -> ValueLf
//!        ^                                                                           |
//!        +------------------------------------ LF -----------------------------------+
//! ```

use super::bytes::{TOKEN, is, is_ows, trim_end};
use super::known::KnownFields;
use super::scan;
use super::span::Span;

/// A resumable parser of field lines.
#[derive(Debug)]
pub(crate) struct FieldLines {
    phase: FieldLinePhase,
    /// The start of the name or value being read.
    mark: usize,
    name: Span,
    limit: usize,
    /// The number of lines begun.
    count: usize,
    known: KnownFields,
}

/// The next expected part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldLinePhase {
    LineStart,
    Name,
    BeforeValue,
    Value,
    ValueLf,
    EndLf,
}

/// The fault of a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldLineError {
    /// The name is empty, contains a byte that is not a `tchar`, or is not followed by a colon.
    Name,
    /// Whitespace between the name and the colon.
    SpaceBeforeColon,
    /// A line that starts with whitespace, before any field.
    SpaceBeforeFirstField,
    /// A line that starts with whitespace, after a field.
    ObsoleteFolding,
    /// NUL, DEL or another control character in the value.
    Value,
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// One line more than `limit`.
    TooMany { limit: usize },
}

impl FieldLines {
    /// Starts before the first field line; `limit` is the maximum number of lines.
    pub(crate) fn new(limit: usize) -> Self {
        FieldLines {
            phase: FieldLinePhase::LineStart,
            mark: 0,
            name: Span::default(),
            limit,
            count: 0,
            known: KnownFields::default(),
        }
    }

    /// The known fields among the lines read so far.
    pub(crate) fn known(&self) -> &KnownFields {
        &self.known
    }

    /// Continues to parse at `*pos`, and moves it past the bytes parsed. Returns `true` once the
    /// empty line has been read.
    ///
    /// The phases are in the order of the parts of a line, so a line received as a whole is parsed
    /// straight through. A call that resumes in the middle of a line skips the phases that are
    /// over.
    pub(crate) fn parse(&mut self, bytes: &[u8], pos: &mut usize) -> Result<bool, FieldLineError> {
        let mut at = *pos;
        let complete = self.advance(bytes, &mut at);
        *pos = at;
        complete
    }

    #[inline]
    fn advance(&mut self, bytes: &[u8], pos: &mut usize) -> Result<bool, FieldLineError> {
        loop {
            if self.phase == FieldLinePhase::LineStart {
                let Some(&byte) = bytes.get(*pos) else { return Ok(false) };
                if byte == b'\r' {
                    self.phase = FieldLinePhase::EndLf;
                } else {
                    self.start_line(byte, *pos)?;
                    self.phase = FieldLinePhase::Name;
                }
                *pos += 1;
            }
            if self.phase == FieldLinePhase::Name {
                *pos = scan::token(bytes, *pos);
                match bytes.get(*pos) {
                    None => return Ok(false),
                    Some(b':') => self.name = Span::new(self.mark, *pos),
                    Some(&byte) => return Err(name_error(byte)),
                }
                *pos += 1;
                self.phase = FieldLinePhase::BeforeValue;
            }
            if self.phase == FieldLinePhase::BeforeValue {
                while bytes.get(*pos).is_some_and(|&byte| is_ows(byte)) {
                    *pos += 1;
                }
                if *pos == bytes.len() {
                    return Ok(false);
                }
                self.mark = *pos;
                self.phase = FieldLinePhase::Value;
            }
            if self.phase == FieldLinePhase::Value {
                *pos = scan::value(bytes, *pos);
                match bytes.get(*pos) {
                    None => return Ok(false),
                    Some(b'\r') => self.end_value(bytes, *pos),
                    Some(b'\n') => return Err(FieldLineError::BareLf),
                    Some(_) => return Err(FieldLineError::Value),
                }
                *pos += 1;
                self.phase = FieldLinePhase::ValueLf;
            }
            match bytes.get(*pos) {
                None => return Ok(false),
                Some(b'\n') => *pos += 1,
                Some(_) => return Err(FieldLineError::BareCr),
            }
            if self.phase == FieldLinePhase::EndLf {
                return Ok(true);
            }
            self.phase = FieldLinePhase::LineStart;
        }
    }

    /// Starts a line that is not the empty one, with its first byte.
    #[inline]
    fn start_line(&mut self, byte: u8, pos: usize) -> Result<(), FieldLineError> {
        if !is(byte, TOKEN) {
            return Err(self.first_octet_error(byte));
        }
        if self.count >= self.limit {
            return Err(FieldLineError::TooMany { limit: self.limit });
        }
        self.count += 1;
        self.mark = pos;
        Ok(())
    }

    /// The reason why no line may start with `byte`.
    #[cold]
    fn first_octet_error(&self, byte: u8) -> FieldLineError {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-2.2
        //# A recipient that receives whitespace between the start-line and the first header field MUST either reject
        //# the message as invalid or consume each whitespace-preceded line without further processing of it
        if is_ows(byte) && self.count == 0 {
            return FieldLineError::SpaceBeforeFirstField;
        }
        //= https://www.rfc-editor.org/rfc/rfc9112#section-5.2
        //# A server that receives an obs-fold in a request message that is not within a "message/http" container MUST
        //# either reject the message by sending a 400 (Bad Request), preferably with a representation explaining that
        //# obsolete line folding is unacceptable, or replace each received obs-fold with one or more SP octets
        if is_ows(byte) {
            return FieldLineError::ObsoleteFolding;
        }
        name_error(byte)
    }

    /// The CR at `end` ends the value that starts at the mark.
    fn end_value(&mut self, bytes: &[u8], end: usize) {
        // The value starts with a byte that is not whitespace, so only its end needs trimming.
        let length = trim_end(&bytes[self.mark..end]).len();
        self.known.note(self.name.of(bytes), Span::new(self.mark, self.mark + length));
    }
}

/// The reason why `byte` is not allowed in a name.
fn name_error(byte: u8) -> FieldLineError {
    match byte {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-5.1
        //# A server MUST reject, with a response status code of 400 (Bad Request), any received request message that
        //# contains whitespace between a header field name and colon.
        b' ' | b'\t' => FieldLineError::SpaceBeforeColon,
        b'\n' => FieldLineError::BareLf,
        _ => FieldLineError::Name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::section::Fields;

    type Pairs = Vec<(String, String)>;

    fn parse(bytes: &[u8]) -> Result<Option<Pairs>, FieldLineError> {
        let mut lines = FieldLines::new(3);
        let mut pos = 0;
        let complete = lines.parse(bytes, &mut pos)?;
        let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
        let found = Fields::new(bytes, 0).map(|field| (text(field.name), text(field.value)));
        Ok(complete.then(|| found.collect()))
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn value_loses_the_whitespace_around_it() {
        let found = parse(b"A:1\r\nB: \t2 3 \t \r\nC:  \r\n\r\n").unwrap().unwrap();
        assert_eq!(found, [pair("A", "1"), pair("B", "2 3"), pair("C", "")]);
    }

    #[test]
    fn no_fields_is_a_complete_section() {
        assert_eq!(parse(b"\r\n"), Ok(Some(Vec::new())));
        assert_eq!(parse(b"\r"), Ok(None));
    }

    #[test]
    fn each_fault_has_its_name() {
        for (bytes, error) in [
            (&b" A: 1\r\n"[..], FieldLineError::SpaceBeforeFirstField),
            (b"A: 1\r\n b\r\n", FieldLineError::ObsoleteFolding),
            (b"A : 1\r\n", FieldLineError::SpaceBeforeColon),
            (b": 1\r\n", FieldLineError::Name),
            (b"A\r\n", FieldLineError::Name),
            (b"A\n", FieldLineError::BareLf),
            (b"\n", FieldLineError::BareLf),
            (b"A:\n", FieldLineError::BareLf),
            (b"A: 1\n", FieldLineError::BareLf),
            (b"A: 1\rB", FieldLineError::BareCr),
            (b"A:\rB", FieldLineError::BareCr),
            (b"\rA", FieldLineError::BareCr),
            (b"A: \x00", FieldLineError::Value),
            (b"A: 1\x7f", FieldLineError::Value),
            (b"A\x80: 1", FieldLineError::Name),
            (b"A:\r\nB:\r\nC:\r\nD", FieldLineError::TooMany { limit: 3 }),
        ] {
            assert_eq!(parse(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }
}
