//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455, section 9.1), in offers and in answers.
//! Which extensions are accepted is decided elsewhere.
//!
//! ```text
//! extension-list  = 1#extension
//! extension       = extension-token *( ";" extension-param )
//! extension-param = token [ "=" (token | quoted-string) ]
//! ```
//! The grammar is RFC 2616's, with its implied whitespace: SP and HTAB may stand around `;` and `=`
//! as well as around `,`. A quoted string must unquote to a token, so it holds no `,`, `;` or
//! space.

use std::borrow::Cow;
use std::fmt;

use crate::http::bytes::{TOKEN, ascii, is, is_ows, is_token};
use crate::http::scan;

/// The maximum number of empty elements (`a,,b`) in a list.
//= https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1.2
//# A recipient MUST parse and ignore a reasonable number of empty list elements: enough to handle common mistakes by
//# senders that merge values, but not so much that they could be used as a denial-of-service mechanism.
pub(super) const MAX_EMPTY_ELEMENTS: usize = 16;

/// One extension of a `Sec-WebSocket-Extensions` list: a name and its parameters, in the order
/// sent.
///
/// ```
/// # use framewright::handshake::{HeadLimits, ServerHandshake};
/// # use std::time::{Duration, Instant};
/// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\
///     Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"10\"\r\n\r\n";
/// # let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
/// # handshake.parse(bytes).unwrap().unwrap();
/// # let request = handshake.request(bytes);
/// let extension = request.extensions().next().unwrap();
/// assert_eq!(extension.name(), "permessage-deflate");
/// let (name, value) = extension.params().next().unwrap();
/// assert_eq!((name, value.as_deref()), ("server_max_window_bits", Some("10")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    name: &'a str,
    /// The bytes after the name, already checked: `*( OWS ";" param )`.
    params: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Parses the value of one `Sec-WebSocket-Extensions` line, for a server that reads requests
    /// with another HTTP stack. It yields the extensions in order, and nothing after an error.
    ///
    /// A request may have several such lines, which together form one list (RFC 6455, section 9.1).
    /// Answer 400 if a line has an error, or if the lines hold no extension at all.
    ///
    /// ```
    /// use framewright::handshake::Extension;
    ///
    /// let names: Result<Vec<_>, _> =
    ///     Extension::list(b"foo, permessage-deflate; client_max_window_bits").map(|it| Ok(it?.name())).collect();
    /// assert_eq!(names?, ["foo", "permessage-deflate"]);
    /// assert!(Extension::list(b"foo;;").next().unwrap().is_err());
    /// # Ok::<(), framewright::handshake::ExtensionError>(())
    /// ```
    ///
    /// # Errors
    /// An item is an [`ExtensionError`] if the value does not follow the grammar.
    pub fn list(value: &'a [u8]) -> impl Iterator<Item = Result<Extension<'a>, ExtensionError>> + use<'a> {
        ExtensionList::new(value)
    }

    /// The extension token, as sent.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The parameters in order, repeated ones included: each a name, and its value without quotes
    /// if it has one.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> + use<'a> {
        let mut scanner = Scanner { bytes: self.params, pos: 0 };
        std::iter::from_fn(move || scanner.param().expect("the grammar was checked"))
    }
}

/// The error for a `Sec-WebSocket-Extensions` value that does not follow its grammar (RFC 6455,
/// section 9.1) or has too many empty elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtensionError;

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sec-WebSocket-Extensions is malformed (RFC 6455, section 9.1)")
    }
}

impl std::error::Error for ExtensionError {}

/// The extensions of one field value, in order; nothing after an error.
pub(crate) struct ExtensionList<'a> {
    scanner: Scanner<'a>,
    empty: usize,
    done: bool,
}

impl<'a> ExtensionList<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        ExtensionList { scanner: Scanner { bytes: value, pos: 0 }, empty: 0, done: false }
    }

    fn read(&mut self) -> Result<Option<Extension<'a>>, ExtensionError> {
        loop {
            self.scanner.skip_ows();
            match self.scanner.peek() {
                None => return Ok(None),
                Some(b',') => {
                    self.scanner.pos += 1;
                    self.empty += 1;
                    if self.empty > MAX_EMPTY_ELEMENTS {
                        return Err(ExtensionError);
                    }
                }
                Some(_) => return self.extension().map(Some),
            }
        }
    }

    fn extension(&mut self) -> Result<Extension<'a>, ExtensionError> {
        let name = self.scanner.token()?;
        let start = self.scanner.pos;
        while self.scanner.param()?.is_some() {}
        let params = &self.scanner.bytes[start..self.scanner.pos];
        self.scanner.skip_ows();
        match self.scanner.peek() {
            None => {}
            Some(b',') => self.scanner.pos += 1,
            Some(_) => return Err(ExtensionError),
        }
        Ok(Extension { name, params })
    }
}

impl<'a> Iterator for ExtensionList<'a> {
    type Item = Result<Extension<'a>, ExtensionError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.read().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

/// A position in a field value.
struct Scanner<'a> {
    bytes: &'a [u8],
    pos: usize,
}

/// A parameter: its name and its value.
type Param<'a> = (&'a str, Option<Cow<'a, str>>);

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    fn skip_ows(&mut self) {
        while self.peek().is_some_and(is_ows) {
            self.pos += 1;
        }
    }

    fn token(&mut self) -> Result<&'a str, ExtensionError> {
        let end = scan::token(self.bytes, self.pos);
        let token = &self.bytes[self.pos..end];
        self.pos = end;
        if token.is_empty() { Err(ExtensionError) } else { Ok(ascii(token)) }
    }

    /// Reads `OWS ";" OWS token [ OWS "=" OWS (token | quoted-string) ]`. `None`, with nothing
    /// consumed, if no `;` follows.
    fn param(&mut self) -> Result<Option<Param<'a>>, ExtensionError> {
        let start = self.pos;
        self.skip_ows();
        if self.peek() != Some(b';') {
            self.pos = start;
            return Ok(None);
        }
        self.pos += 1;
        self.skip_ows();
        let name = self.token()?;
        let end = self.pos;
        self.skip_ows();
        if self.peek() != Some(b'=') {
            self.pos = end;
            return Ok(Some((name, None)));
        }
        self.pos += 1;
        self.skip_ows();
        let value = match self.peek() {
            Some(b'"') => self.quoted_token()?,
            _ => Cow::Borrowed(self.token()?),
        };
        Ok(Some((name, Some(value))))
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-9.1
    //# When using the quoted-string syntax variant, the value
    //# after quoted-string unescaping MUST conform to the
    //# 'token' ABNF.
    fn quoted_token(&mut self) -> Result<Cow<'a, str>, ExtensionError> {
        let start = self.pos + 1;
        let end = scan::token(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') && end > start {
            self.pos = end + 1;
            return Ok(Cow::Borrowed(ascii(&self.bytes[start..end])));
        }
        self.pos = start;
        self.escaped_token().map(Cow::Owned)
    }

    /// The rest of a quoted string that contains an escape: `"1\5"` is 15.
    #[cold]
    fn escaped_token(&mut self) -> Result<String, ExtensionError> {
        let mut token = String::new();
        loop {
            let mut byte = self.peek().ok_or(ExtensionError)?;
            self.pos += 1;
            if byte == b'"' {
                break;
            }
            if byte == b'\\' {
                byte = self.peek().ok_or(ExtensionError)?;
                self.pos += 1;
            }
            if !is(byte, TOKEN) {
                return Err(ExtensionError);
            }
            token.push(char::from(byte));
        }
        if is_token(token.as_bytes()) { Ok(token) } else { Err(ExtensionError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name;param;param=value,name`
    fn parse(value: &str) -> Result<String, ExtensionError> {
        let mut out = Vec::new();
        for extension in ExtensionList::new(value.as_bytes()) {
            let extension = extension?;
            let mut text = extension.name().to_owned();
            for (name, value) in extension.params() {
                text += &value.map_or_else(|| format!(";{name}"), |value| format!(";{name}={value}"));
            }
            out.push(text);
        }
        Ok(out.join(","))
    }

    #[test]
    fn lists_of_the_grammar_are_taken_apart() {
        for (value, expected) in [
            ("foo", "foo"),
            ("foo, bar; baz=2", "foo,bar;baz=2"),
            (
                "mux; max-channels=4; flow-control,\tdeflate-stream",
                "mux;max-channels=4;flow-control,deflate-stream",
            ),
            ("a ; b = c ;d\t=\t\"e\" , f", "a;b=c;d=e,f"),
            ("a;b=\"1\\5\"", "a;b=15"),
            ("a;b=\"\\1\\5\";c", "a;b=15;c"),
            ("a;b;b", "a;b;b"),
            (" , a,, b ,", "a,b"),
            ("", ""),
            (",", ""),
        ] {
            assert_eq!(parse(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn violations_of_the_grammar_are_errors() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-9.1
        //= type=test
        //# When using the quoted-string syntax variant, the value
        //# after quoted-string unescaping MUST conform to the
        //# 'token' ABNF.
        for value in [
            ";",
            "a;",
            "a;;b",
            "a;=b",
            "a;b=",
            "a;b=\"",
            "a;b=\"c",
            "a;b=\"\"",
            "a;b=\"c d\"",
            "a;b=\"c,d\"",
            "a;b=\"\\",
            "a b",
            "a;b c",
            "a=b",
            "\"a\"",
            "a;\"b\"",
            "a;b=c d",
            "a;b=\"c\"d",
            "a/b",
            "a;b=\"é\"",
            "a\\",
            "a;b=\"c\\ d\"",
            "a, @",
        ] {
            assert_eq!(parse(value), Err(ExtensionError), "{value}");
        }
    }

    #[test]
    fn empty_elements_are_bounded() {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1.2
        //= type=test
        //# A recipient MUST parse and ignore a reasonable number of empty list elements: enough to handle common mistakes by
        //# senders that merge values, but not so much that they could be used as a denial-of-service mechanism.
        assert_eq!(parse(&format!("{}a", ",".repeat(MAX_EMPTY_ELEMENTS))).as_deref(), Ok("a"));
        assert_eq!(parse(&format!("{}a", ",".repeat(MAX_EMPTY_ELEMENTS + 1))), Err(ExtensionError));
    }
}
