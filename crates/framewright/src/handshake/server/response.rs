//! An HTTP answer other than the 101: what a server says to a request that it does not upgrade.
//!
//! Always the last thing on its connection: `Connection: close`, and a body whose length is stated
//! exactly.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::http::bytes::VALUE;
use crate::http::bytes::is;
use crate::http::field::{FieldName, FieldValue, write_line};

/// The status code of a final response: 200 to 599 (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

macro_rules! status_codes {
    ($($code:literal $name:ident $reason:literal;)*) => {
        impl StatusCode {
            $(
                #[doc = concat!($reason, ".")]
                pub const $name: StatusCode = StatusCode($code);
            )*

            /// The reason phrase that the registry has for the code, or the empty string.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

status_codes! {
    200 OK "OK";
    204 NO_CONTENT "No Content";
    301 MOVED_PERMANENTLY "Moved Permanently";
    302 FOUND "Found";
    303 SEE_OTHER "See Other";
    304 NOT_MODIFIED "Not Modified";
    307 TEMPORARY_REDIRECT "Temporary Redirect";
    308 PERMANENT_REDIRECT "Permanent Redirect";
    400 BAD_REQUEST "Bad Request";
    401 UNAUTHORIZED "Unauthorized";
    403 FORBIDDEN "Forbidden";
    404 NOT_FOUND "Not Found";
    405 METHOD_NOT_ALLOWED "Method Not Allowed";
    408 REQUEST_TIMEOUT "Request Timeout";
    409 CONFLICT "Conflict";
    410 GONE "Gone";
    412 PRECONDITION_FAILED "Precondition Failed";
    414 URI_TOO_LONG "URI Too Long";
    417 EXPECTATION_FAILED "Expectation Failed";
    421 MISDIRECTED_REQUEST "Misdirected Request";
    426 UPGRADE_REQUIRED "Upgrade Required";
    429 TOO_MANY_REQUESTS "Too Many Requests";
    431 REQUEST_HEADER_FIELDS_TOO_LARGE "Request Header Fields Too Large";
    500 INTERNAL_SERVER_ERROR "Internal Server Error";
    501 NOT_IMPLEMENTED "Not Implemented";
    502 BAD_GATEWAY "Bad Gateway";
    503 SERVICE_UNAVAILABLE "Service Unavailable";
    505 HTTP_VERSION_NOT_SUPPORTED "HTTP Version Not Supported";
}

impl StatusCode {
    /// Any code from 200 to 599; `None` for others. The informational codes are not among them: an
    /// application cannot answer 101 by itself.
    pub const fn new(code: u16) -> Option<StatusCode> {
        if code >= 200 && code <= 599 { Some(StatusCode(code)) } else { None }
    }

    /// The code as a number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether a response with this code never has content, so that it states no length (RFC 9110,
    /// section 8.6).
    fn is_without_content(self) -> bool {
        matches!(self, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

/// The octets of a body: part of the program, or shared by all clones of it.
///
/// Many connections can be sent one body, which is in memory once.
#[derive(Clone)]
pub struct Body(Octets);

#[derive(Clone)]
enum Octets {
    Static(&'static [u8]),
    Shared(Arc<Vec<u8>>),
}

impl Body {
    /// Its part of the bytes that it holds together with its clones; 0 for what is part of the
    /// program. For drivers, which say what connections hold.
    #[doc(hidden)]
    pub fn allocated_share(&self) -> usize {
        match &self.0 {
            Octets::Shared(octets) => octets.capacity() / Arc::strong_count(octets),
            Octets::Static(_) => 0,
        }
    }
}

impl Default for Body {
    /// No octets.
    fn default() -> Self {
        Body(Octets::Static(&[]))
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Octets::Static(octets) => octets,
            Octets::Shared(octets) => octets,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} octets)", self.len())
    }
}

/// Bodies are the same whose octets are.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Body {}

impl From<&'static [u8]> for Body {
    fn from(octets: &'static [u8]) -> Self {
        Body(Octets::Static(octets))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(octets: &'static [u8; N]) -> Self {
        Body(Octets::Static(octets))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body(Octets::Static(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Body {
    fn from(octets: Vec<u8>) -> Self {
        Body(Octets::Shared(Arc::new(octets)))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Cow<'static, [u8]>> for Body {
    fn from(octets: Cow<'static, [u8]>) -> Self {
        match octets {
            Cow::Borrowed(octets) => octets.into(),
            Cow::Owned(octets) => octets.into(),
        }
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

/// An HTTP response that ends its connection.
///
/// ```
/// # use framewright::handshake::{FieldName, FieldValue, Response, StatusCode};
/// let response = Response::text(StatusCode::UNAUTHORIZED, "who are you?\n")
///     .with_field(FieldName::from_static("WWW-Authenticate"), FieldValue::from_static("Basic realm=\"chat\""));
/// let mut out = Vec::new();
/// response.encode("Sun, 06 Nov 1994 08:49:37 GMT", false, &mut out);
/// assert!(out.starts_with(b"HTTP/1.1 401 Unauthorized\r\n"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: StatusCode,
    fields: Vec<(FieldName, FieldValue)>,
    /// Whether Sec-WebSocket-Version says what is supported.
    supported_versions: bool,
    content_type: Option<FieldValue>,
    body: Body,
}

impl Response {
    /// A response without fields of its own and without a body.
    pub fn new(status: StatusCode) -> Self {
        Response {
            status,
            fields: Vec::new(),
            supported_versions: false,
            content_type: None,
            body: Body::default(),
        }
    }

    /// A response with a `text/plain` body in UTF-8.
    pub fn text(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let text: Cow<'static, str> = text.into();
        Response::new(status).with_body(FieldValue::from_static("text/plain; charset=utf-8"), text)
    }

    /// Adds a field line after those already there; a name may be given several times.
    #[must_use]
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Sets the body and its Content-Type, in place of an earlier one.
    #[must_use]
    pub fn with_body(mut self, content_type: FieldValue, body: impl Into<Body>) -> Self {
        self.content_type = Some(content_type);
        self.body = body.into();
        self
    }

    /// Adds `Sec-WebSocket-Version: 13`.
    pub(super) fn with_supported_versions(mut self) -> Self {
        self.supported_versions = true;
        self
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Appends the response's octets to `out`.
    ///
    /// `date` is the time as an IMF-fixdate (RFC 9110, section 5.6.7), which the caller's clock
    /// gives; empty for a caller without a clock, then there is no Date. `head_only` leaves out the
    /// body: the answer to HEAD. A 204 and a 304 have none in any case.
    ///
    /// # Panics
    /// If `date` holds control characters.
    pub fn encode(&self, date: &str, head_only: bool, out: &mut Vec<u8>) {
        let body = if head_only { &[] } else { &**self.content() };
        out.reserve(256 + body.len());
        self.encode_head(date, out);
        out.extend_from_slice(body);
    }

    /// Appends the response's octets up to the empty line to `out`; [`content`](Self::content)
    /// follows, which need not be copied. `date` as for [`encode`](Self::encode).
    ///
    /// # Panics
    /// If `date` holds control characters.
    pub fn encode_head(&self, date: &str, out: &mut Vec<u8>) {
        assert!(date.bytes().all(|byte| is(byte, VALUE)), "the date is an IMF-fixdate");
        out.extend_from_slice(format!("HTTP/1.1 {}\r\n", self.status).as_bytes());
        if !date.is_empty() {
            write_line(out, "Date", date.as_bytes());
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.22
            //# The server MUST send an Upgrade header field in a 426 response to indicate the required protocol(s)
            write_line(out, "Upgrade", b"websocket");
            write_line(out, "Connection", b"close, Upgrade");
        } else {
            write_line(out, "Connection", b"close");
        }
        if self.supported_versions {
            write_line(out, "Sec-WebSocket-Version", b"13");
        }
        for (name, value) in &self.fields {
            write_line(out, name.as_str(), value.as_bytes());
        }
        if !self.status.is_without_content() {
            if let Some(content_type) = &self.content_type {
                write_line(out, "Content-Type", content_type.as_bytes());
            }
            write_line(out, "Content-Length", self.content().len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The body, as it is sent with this status: a 204, a 205 and a 304 have none.
    pub fn content(&self) -> &Body {
        const NONE: &Body = &Body(Octets::Static(&[]));
        // A 205 has content by its framing, but none may be sent (RFC 9110, section 15.3.6).
        if self.status.is_without_content() || self.status.as_u16() == 205 { NONE } else { &self.body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn encode(response: &Response, head_only: bool) -> String {
        let mut out = Vec::new();
        response.encode(DATE, head_only, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn response_states_its_length_and_closes() {
        let response = Response::text(StatusCode::NOT_FOUND, "no\n");
        assert_eq!(
            encode(&response, false),
            "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nno\n"
        );
    }

    #[test]
    fn answer_to_head_has_the_length_but_no_body() {
        let response = Response::text(StatusCode::OK, "page");
        let answer = encode(&response, true);
        assert!(answer.contains("\r\nContent-Length: 4\r\n"));
        assert!(answer.ends_with("\r\n\r\n"));
    }

    #[test]
    fn reset_content_has_no_body() {
        let code = StatusCode::new(205).unwrap();
        let answer = encode(&Response::text(code, "lost"), false);
        assert!(answer.contains("\r\nContent-Length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn no_content_has_no_length() {
        let answer = encode(&Response::text(StatusCode::NO_CONTENT, "lost"), false);
        assert!(!answer.contains("Content-"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_body_is_in_memory_once() {
        let response = Response::text(StatusCode::OK, "page".repeat(250));
        assert_eq!(response.content().allocated_share(), 1000);
        let clones = [response.clone(), response.clone(), response.clone()];
        assert!(clones.iter().all(|clone| clone.content().as_ptr() == response.content().as_ptr()));
        assert_eq!(clones[0].content().allocated_share(), 250);
        drop(clones);
        assert_eq!(response.content().allocated_share(), 1000);
        assert_eq!(Response::text(StatusCode::OK, "page").content().allocated_share(), 0);
    }

    #[test]
    fn head_and_content_are_the_whole_response() {
        for code in [200, 204, 205, 304, 404] {
            let response = Response::text(StatusCode::new(code).unwrap(), "page");
            let mut parts = Vec::new();
            response.encode_head(DATE, &mut parts);
            assert_eq!(String::from_utf8(parts.clone()).unwrap(), encode(&response, true));
            parts.extend_from_slice(response.content());
            assert_eq!(String::from_utf8(parts).unwrap(), encode(&response, false));
        }
    }

    #[test]
    fn fields_keep_their_order_and_repeat() {
        let name = || FieldName::from_static("Set-Cookie");
        let response = Response::new(StatusCode::OK)
            .with_field(name(), FieldValue::from_static("a=1"))
            .with_field(name(), FieldValue::from_static("b=2"));
        assert!(encode(&response, false).contains("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
    }

    #[test]
    fn code_without_a_phrase_keeps_the_space() {
        let response = Response::new(StatusCode::new(599).unwrap());
        assert!(encode(&response, false).starts_with("HTTP/1.1 599 \r\n"));
        for code in [0, 100, 101, 199, 600, u16::MAX] {
            assert_eq!(StatusCode::new(code), None);
        }
    }
}
