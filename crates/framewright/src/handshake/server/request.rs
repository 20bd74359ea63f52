//! A complete request as the application reads it: a view of the head's bytes, and an owned copy.

use std::fmt;

use super::checks::RequestFacts;
use crate::handshake::extension::{Extension, ExtensionList};
use crate::http::body::content_length;
use crate::http::bytes::{ascii, is_token};
use crate::http::known::{Known, KnownFields};
use crate::http::request_line::RequestHead;
use crate::http::section::FieldSection;
use crate::http::span::Span;

/// A complete request head that satisfies HTTP: a view of its bytes, cheap to copy.
///
/// [`ServerHandshake::request`](crate::handshake::ServerHandshake::request) returns it. Nothing in
/// it is decoded or changed: percent-encoding, letter case and repeated fields are as the peer sent
/// them.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    head: RequestHead<'a>,
    facts: &'a RequestFacts,
}

impl<'a> Request<'a> {
    /// The request whose checked head starts `bytes`.
    pub(super) fn new(bytes: &'a [u8], head: RequestHead<'a>, facts: &'a RequestFacts) -> Self {
        Request { bytes: &bytes[..head.len], head, facts }
    }

    fn text(&self, span: Span) -> &'a str {
        ascii(span.of(self.bytes))
    }

    pub(super) fn is_get(&self) -> bool {
        self.head.method.of(self.bytes) == b"GET"
    }

    /// The method, case-sensitive: `GET` for an opening handshake.
    pub fn method(&self) -> &'a str {
        self.text(self.head.method)
    }

    /// The request target as sent: `/chat?room=1`, or an absolute http or https URI, or `*`.
    pub fn target(&self) -> &'a str {
        self.text(self.head.target)
    }

    /// The path of the target, not decoded: `/` if an absolute URI has none, `*` for `OPTIONS *`.
    ///
    /// With [`query`](Request::query) this is the resource name of RFC 6455, section 3.
    pub fn path(&self) -> &'a str {
        match self.text(self.facts.path) {
            "" => "/",
            path => path,
        }
    }

    /// The query: what follows the first `?` of the target, not decoded; `None` without a `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.facts.query.map(|query| self.text(query))
    }

    /// The minor version: the `x` of the request's `HTTP/1.x`, 0 to 9.
    pub fn http_minor(&self) -> u8 {
        self.head.minor
    }

    /// The host that the request is for, with its port if one was sent: a registered name, an IPv4
    /// address or an IPv6 address in brackets.
    ///
    /// It comes from the target if that is an absolute URI, otherwise from Host (RFC 9112, section
    /// 3.2.2).
    ///
    /// It is empty only for an HTTP/1.0 request that names no host.
    pub fn host(&self) -> &'a str {
        self.text(self.facts.host)
    }

    /// Whether content follows the head. Its bytes are not part of a next request.
    pub fn has_body(&self) -> bool {
        self.facts.has_body
    }

    /// The length in bytes of the content after the head, from Content-Length; `None` without that
    /// field.
    pub fn content_length(&self) -> Option<u64> {
        content_length(self.section()).ok().flatten()
    }

    /// All field lines in the order received: the name as sent, and the value without the
    /// whitespace around it. A value may hold any byte except control characters; it need not be
    /// UTF-8.
    #[doc(alias = "headers")]
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.section().iter()
    }

    /// The value of the first field line with this name. Case is ignored.
    #[doc(alias = "header")]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.field_all(name).next()
    }

    /// The values of all field lines with this name, in the order received. Case is ignored.
    #[doc(alias = "header")]
    pub fn field_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.section().all(name)
    }

    /// The field section.
    pub(super) fn section(&self) -> FieldSection<'a> {
        self.head.section(self.bytes)
    }

    /// The values of all lines of a known field, in the order received.
    pub(super) fn values(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.section().values(known)
    }

    /// The value of the first Origin, which names the origin of a web page in a browser. Other
    /// programs send none, or any value.
    ///
    /// To decide which origins to serve, use [`AllowedOrigins`](crate::handshake::AllowedOrigins),
    /// which also detects a second Origin.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //# Optionally, an |Origin| header field.  This header field is sent
    //# by all browser clients.  A connection attempt lacking this
    //# header field SHOULD NOT be interpreted as coming from a browser
    //# client.
    pub fn origin(&self) -> Option<&'a [u8]> {
        self.values(Known::Origin).next()
    }

    /// The value of the first User-Agent, which names the client and its version (RFC 9110, section
    /// 10.1.5). `None` if there is none, or if it is not UTF-8.
    ///
    /// A client can send any value here. Use it for statistics, and in logs only escaped.
    pub fn user_agent(&self) -> Option<&'a str> {
        std::str::from_utf8(self.field("User-Agent")?).ok()
    }

    /// The subprotocols that the client offers, in its order of preference, from all
    /// Sec-WebSocket-Protocol lines.
    ///
    /// If [`upgrade`](Request::upgrade) refuses the request, elements that are not tokens are left
    /// out here.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4
    //# The |Sec-WebSocket-Protocol| header field MAY appear multiple times
    //# in an HTTP request (which is logically the same as a single
    //# |Sec-WebSocket-Protocol| header field that contains all values).
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.section().list(Known::Subprotocols).filter(|element| is_token(element)).map(ascii)
    }

    /// The extensions that the client offers, in its order of preference, from all
    /// Sec-WebSocket-Extensions lines.
    ///
    /// If [`upgrade`](Request::upgrade) refuses the request, each line is read here up to its first
    /// fault.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-9.1
    //# Note that like other HTTP header fields, this header field MAY be
    //# split or combined across multiple lines.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        self.values(Known::Extensions).flat_map(|value| ExtensionList::new(value).map_while(Result::ok))
    }

    /// Copies the request into a value that borrows nothing, to keep or to send to another thread.
    pub fn to_owned_request(&self) -> OwnedRequest {
        OwnedRequest {
            bytes: self.bytes.into(),
            method: self.head.method,
            target: self.head.target,
            minor: self.head.minor,
            fields: self.head.fields,
            known: *self.head.known,
            facts: *self.facts,
        }
    }
}

/// Shows the method, the path and the host. Fields may hold credentials, so they are left out.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}

/// A [`Request`] that owns its bytes.
#[derive(Clone)]
pub struct OwnedRequest {
    bytes: Box<[u8]>,
    method: Span,
    target: Span,
    minor: u8,
    fields: usize,
    known: KnownFields,
    facts: RequestFacts,
}

impl OwnedRequest {
    /// Borrows it as a [`Request`].
    pub fn as_request(&self) -> Request<'_> {
        let head = RequestHead {
            len: self.bytes.len(),
            method: self.method,
            target: self.target,
            minor: self.minor,
            fields: self.fields,
            known: &self.known,
        };
        Request::new(&self.bytes, head, &self.facts)
    }
}

/// Shows what the [`Request`] shows.
impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_request().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::handshake::{HeadLimits, ServerHandshake};

    fn with<T>(head: &str, look: impl FnOnce(Request<'_>) -> T) -> T {
        let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
        handshake.parse(head.as_bytes()).unwrap().unwrap();
        look(handshake.request(head.as_bytes()))
    }

    #[test]
    fn target_is_taken_apart() {
        for (target, host, path, query) in [
            ("/", "h", "/", None),
            ("/a/b%20c?x=1?2", "h", "/a/b%20c", Some("x=1?2")),
            ("/?", "h", "/", Some("")),
            ("//h2/x", "h", "//h2/x", None),
            ("http://other:81", "other:81", "/", None),
            ("HTTPS://other/x?y", "other", "/x", Some("y")),
            ("http://[::1]?y", "[::1]", "/", Some("y")),
        ] {
            with(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"), |request| {
                assert_eq!(request.target(), target);
                assert_eq!(request.host(), host, "{target}");
                assert_eq!(request.path(), path, "{target}");
                assert_eq!(request.query(), query, "{target}");
            });
        }
    }

    #[test]
    fn fields_are_found_without_regard_to_case() {
        with("GET / HTTP/1.1\r\nHOST: h\r\nx-a: 1\r\nX-A:2\r\nOrigin: o\r\n\r\n", |request| {
            assert_eq!(request.field("X-a"), Some(&b"1"[..]));
            assert_eq!(request.field_all("x-A").collect::<Vec<_>>(), [b"1", b"2"]);
            assert_eq!(request.field("x"), None);
            assert_eq!(request.origin(), Some(&b"o"[..]));
            assert_eq!(request.user_agent(), None);
            assert_eq!(
                request.fields().map(|(name, _)| name).collect::<Vec<_>>(),
                ["HOST", "x-a", "X-A", "Origin"]
            );
        });
    }

    #[test]
    fn a_user_agent_is_text() {
        let sent = |value: &[u8]| {
            let head = [b"GET / HTTP/1.1\r\nHost: a\r\nuser-agent: ", value, b"\r\n\r\n"].concat();
            let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
            handshake.parse(&head).unwrap().unwrap();
            handshake.request(&head).user_agent().map(str::to_owned)
        };
        assert_eq!(sent(b"curl/8.5.0").as_deref(), Some("curl/8.5.0"));
        assert_eq!(sent("Fähre/1".as_bytes()).as_deref(), Some("Fähre/1"));
        assert_eq!(sent(b"\xff"), None);
    }

    #[test]
    fn the_length_of_the_content_is_what_its_field_says() {
        let length = |fields: &str| {
            with(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), |request| {
                (request.content_length(), request.has_body())
            })
        };
        assert_eq!(length(""), (None, false));
        assert_eq!(length("Content-Length: 17000000\r\n"), (Some(17_000_000), true));
        assert_eq!(length("Transfer-Encoding: chunked\r\n"), (None, true));
    }

    #[test]
    fn subprotocols_are_read_across_lines() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4
        //= type=test
        //# The |Sec-WebSocket-Protocol| header field MAY appear multiple times
        //# in an HTTP request (which is logically the same as a single
        //# |Sec-WebSocket-Protocol| header field that contains all values).
        let head =
            "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Protocol: a, b\r\nsec-websocket-protocol:,c\r\n\r\n";
        with(head, |request| assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["a", "b", "c"]));
    }

    #[test]
    fn owned_request_says_the_same() {
        fn is_static<T: Send + 'static>(_: &T) {}
        let head = "GET http://o/p?q HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n";
        let owned = with(head, |request| request.to_owned_request());
        is_static(&owned);
        let request = owned.as_request();
        assert_eq!((request.method(), request.host(), request.path()), ("GET", "o", "/p"));
        assert_eq!((request.query(), request.http_minor(), request.has_body()), (Some("q"), 1, true));
        assert_eq!(request.fields().count(), 2);
        assert_eq!(format!("{owned:?}"), "Request { method: \"GET\", path: \"/p\", host: \"o\", .. }");
    }
}
