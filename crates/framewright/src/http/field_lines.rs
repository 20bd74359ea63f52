//! The field lines of a head (RFC 9112, section 5): `name ":" OWS value OWS CRLF`, until an empty
//! line.
//!
//! This is the part that requests and responses share. It knows nothing of the line before it; what
//! was wrong is a [`FieldLineError`], which the owner turns into its own answer.
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
    /// Where the name or the value that is being read starts.
    mark: usize,
    name: Span,
    limit: usize,
    /// How many lines have been begun.
    count: usize,
    known: KnownFields,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldLinePhase {
    LineStart,
    Name,
    BeforeValue,
    Value,
    ValueLf,
    EndLf,
}

/// What is wrong with a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldLineError {
    /// The name is empty, holds a byte that is no `tchar`, or no colon follows it.
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
    /// Starts before the first field line; `limit` is the number of lines to take.
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

    /// The fields that there are rules for, as far as they have been read.
    pub(crate) fn known(&self) -> &KnownFields {
        &self.known
    }

    /// Reads on at `*pos`, and moves it past what was understood. `true` once the empty line has
    /// been read.
    ///
    /// The phases stand in the order in which a line has them, so that a line that is here as a
    /// whole is read straight through; whoever comes back in the middle of a line skips those that
    /// are over.
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

    /// The first byte of a line that is not the empty one.
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

    /// Why no line may start with `byte`.
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
        // The value starts with a byte that is no whitespace, so only its end has some to lose.
        let length = trim_end(&bytes[self.mark..end]).len();
        self.known.note(self.name.of(bytes), Span::new(self.mark, self.mark + length));
    }
}

/// Why `byte` may not stand in a name.
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
