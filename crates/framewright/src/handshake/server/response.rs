//! An HTTP answer other than the 101: what a server says to a request that it does not upgrade.
//!
//! Always the last thing on its connection: `Connection: close`, and a body whose length is stated
//! exactly.

use std::borrow::Cow;
use std::fmt;

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

/// An HTTP response that ends its connection.
///
/// ```
/// use framewright::handshake::{FieldName, FieldValue, Response, StatusCode};
///
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
    body: Cow<'static, [u8]>,
}

impl Response {
    /// A response without fields of its own and without a body.
    pub fn new(status: StatusCode) -> Self {
        Response {
            status,
            fields: Vec::new(),
            supported_versions: false,
            content_type: None,
            body: Cow::Borrowed(&[]),
        }
    }

    /// A response with a `text/plain` body in UTF-8.
    pub fn text(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Response::new(status).with_body(FieldValue::from_static("text/plain; charset=utf-8"), body)
    }

    /// Adds a field line after those already there; a name may be given several times.
    #[must_use]
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Sets the body and its Content-Type, in place of an earlier one.
    #[must_use]
    pub fn with_body(mut self, content_type: FieldValue, body: impl Into<Cow<'static, [u8]>>) -> Self {
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
        assert!(date.bytes().all(|byte| is(byte, VALUE)), "the date is an IMF-fixdate");
        let content = !self.status.is_without_content();
        // A 205 has content by its framing, but none may be sent (RFC 9110, section 15.3.6).
        let body = if self.status.as_u16() == 205 { &[] } else { &*self.body };
        out.reserve(256 + if head_only { 0 } else { body.len() });
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
        if content {
            if let Some(content_type) = &self.content_type {
                write_line(out, "Content-Type", content_type.as_bytes());
            }
            write_line(out, "Content-Length", body.len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if content && !head_only {
            out.extend_from_slice(body);
        }
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
