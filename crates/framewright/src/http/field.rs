//! Field names and values that an application adds to a response or a request. They are checked
//! when they are made, so untrusted text in them cannot split a message or contradict the
//! handshake.

use std::borrow::Cow;
use std::fmt;

use super::bytes::{VALUE, is, is_ows, is_token};

/// The names that an application may not set: those that frame the message or carry the handshake
/// itself. `Sec-WebSocket-*` is reserved as a whole.
const RESERVED: [&str; 10] = [
    "Connection",
    "Content-Length",
    "Content-Type",
    "Date",
    "Host",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];
const RESERVED_PREFIX: &str = "Sec-WebSocket-";

/// The name of a field that an application may set: a token (RFC 9110, section 5.1) that is not
/// reserved.
///
/// ```
/// # use framewright::handshake::{FieldError, FieldName};
/// assert!(FieldName::new("Set-Cookie").is_ok());
/// assert_eq!(FieldName::new("content-length"), Err(FieldError::ReservedName));
/// assert_eq!(FieldName::new("a\r\nb"), Err(FieldError::InvalidName));
/// ```
#[derive(Clone, Debug)]
pub struct FieldName(Cow<'static, str>);

impl FieldName {
    /// Checks that a name is valid and not reserved.
    ///
    /// # Errors
    /// [`FieldError::InvalidName`] unless `name` is a token. [`FieldError::ReservedName`] for
    /// Connection, Content-Length, Content-Type (which comes with the body), Date, Host,
    /// Keep-Alive, TE, Trailer, Transfer-Encoding, Upgrade and Sec-WebSocket-*, in any case.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Result<Self, FieldError> {
        let name = name.into();
        if !is_token(name.as_bytes()) {
            return Err(FieldError::InvalidName);
        }
        let prefix = name.as_bytes().get(..RESERVED_PREFIX.len());
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(&name))
            || prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED_PREFIX.as_bytes()))
        {
            return Err(FieldError::ReservedName);
        }
        Ok(FieldName(name))
    }

    /// Makes a name from a literal in the program.
    ///
    /// # Panics
    /// If [`FieldName::new`] returns an error.
    pub fn from_static(name: &'static str) -> Self {
        match FieldName::new(name) {
            Ok(name) => name,
            Err(error) => panic!("{name:?}: {error}"),
        }
    }

    /// The name, in the letter case given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names are compared without regard to case.
impl PartialEq for FieldName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for FieldName {}

/// The value of a field: visible US-ASCII, `obs-text`, and SP or HTAB between them (RFC 9110,
/// section 5.5).
///
/// ```
/// # use framewright::handshake::{FieldError, FieldValue};
/// assert!(FieldValue::new("session=1; HttpOnly").is_ok());
/// assert_eq!(FieldValue::new("a\r\nSet-Cookie: b"), Err(FieldError::InvalidValue));
/// assert_eq!(FieldValue::new(" a"), Err(FieldError::WhitespaceAroundValue));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldValue(Cow<'static, [u8]>);

impl FieldValue {
    /// Checks a value. The empty value is valid.
    ///
    /// # Errors
    /// [`FieldError::InvalidValue`] if `value` contains CR, LF, NUL or another control character
    /// except HTAB.
    pub fn new(value: impl Into<Cow<'static, str>>) -> Result<Self, FieldError> {
        FieldValue::from_bytes(match value.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// Checks a value that need not be UTF-8.
    ///
    /// # Errors
    /// As [`FieldValue::new`].
    //= https://www.rfc-editor.org/rfc/rfc9110#section-5.5
    //# Field values containing CR, LF, or NUL characters are invalid and dangerous, due to the varying ways that
    //# implementations might parse and interpret those characters
    pub fn from_bytes(value: impl Into<Cow<'static, [u8]>>) -> Result<Self, FieldError> {
        let value = value.into();
        if !value.iter().all(|&byte| is(byte, VALUE)) {
            return Err(FieldError::InvalidValue);
        }
        if [value.first(), value.last()].into_iter().flatten().any(|&byte| is_ows(byte)) {
            return Err(FieldError::WhitespaceAroundValue);
        }
        Ok(FieldValue(value))
    }

    /// Makes a value from a literal in the program.
    ///
    /// # Panics
    /// If [`FieldValue::new`] returns an error.
    pub fn from_static(value: &'static str) -> Self {
        match FieldValue::new(value) {
            Ok(field) => field,
            Err(error) => panic!("{value:?}: {error}"),
        }
    }

    /// The bytes of the value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<u64> for FieldValue {
    /// The value is the number in decimal digits.
    fn from(number: u64) -> Self {
        FieldValue(Cow::Owned(number.to_string().into_bytes()))
    }
}

/// The reason why a text is not a field name or not a field value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldError {
    /// The name is not a token.
    InvalidName,
    /// The name is reserved: the handshake or the framing of the message sets the field itself.
    ReservedName,
    /// The value contains a control character.
    InvalidValue,
    /// The value starts or ends with whitespace.
    WhitespaceAroundValue,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldError::InvalidName => "the field name is not a token (RFC 9110, section 5.1)",
            FieldError::ReservedName => {
                "the field is one that the handshake or the framing of the message sets itself"
            }
            FieldError::InvalidValue => "the field value holds a control character (RFC 9110, section 5.5)",
            FieldError::WhitespaceAroundValue => {
                "the field value starts or ends with whitespace (RFC 9110, section 5.5)"
            }
        })
    }
}

impl std::error::Error for FieldError {}

/// Appends one field line.
pub(crate) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_refused_in_any_case() {
        for name in RESERVED.iter().copied().chain([
            "Sec-WebSocket-Accept",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-",
        ]) {
            for name in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                assert_eq!(FieldName::new(name), Err(FieldError::ReservedName));
            }
        }
        assert!(FieldName::new("Sec-WebSocket").is_ok());
        assert!(FieldName::new("Server").is_ok());
    }

    #[test]
    fn names_are_tokens() {
        for name in ["", " ", "a b", "a:", "a\n", "a\r", "a\0", "é", "(a)"] {
            assert_eq!(FieldName::new(name), Err(FieldError::InvalidName), "{name:?}");
        }
    }

    #[test]
    fn values_hold_no_control_character_but_tab() {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-5.5
        //= type=test
        //# Field values containing CR, LF, or NUL characters are invalid and dangerous, due to the varying ways that
        //# implementations might parse and interpret those characters
        for byte in 0..=u8::MAX {
            let value = FieldValue::from_bytes(vec![b'a', byte, b'b']);
            let fine = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            assert_eq!(value.is_ok(), fine, "{byte:#04x}");
        }
        assert_eq!(FieldValue::new("\t"), Err(FieldError::WhitespaceAroundValue));
        assert_eq!(FieldValue::new("a "), Err(FieldError::WhitespaceAroundValue));
        assert!(FieldValue::new("").is_ok());
    }
}
