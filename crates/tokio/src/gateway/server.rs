//! The server's side: a request becomes an [`Opening`], or the reason to refuse it.

use std::fmt;
use std::time::{Duration, Instant};

use framewright::Negotiated;
use framewright::handshake::{
    Accept, AcceptError, HeadLimits, Refusal, Request, Response, ServerHandshake, Upgrade,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};

use super::{copy_lines, is_of_http_1, push_line};

/// A request as another HTTP stack has read it.
#[derive(Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    /// The pseudo-header field `:protocol` of an extended CONNECT.
    pub(crate) protocol: Option<&'a str>,
}

impl Received<'_> {
    fn is_http_1(self) -> bool {
        self.version <= Version::HTTP_11
    }

    /// The head as HTTP/1.1 has it.
    fn write(self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.is_http_1() {
            let minor = u8::from(self.version == Version::HTTP_11);
            out.extend_from_slice(format!("{} {} HTTP/1.{minor}\r\n", self.method, self.uri).as_bytes());
            for (name, value) in self.headers {
                push_line(out, name.as_str(), value.as_bytes());
            }
        } else {
            self.write_extended_connect(out)?;
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn write_extended_connect(self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //# This request replaces the GET-based request in [RFC6455] and is used to process the WebSockets opening
        //# handshake.
        if self.method != Method::CONNECT {
            return Err(Refusal::NotAWebSocketRequest);
        }
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //# The :protocol pseudo-header field MUST be included in the CONNECT request, and it MUST have a value of
        //# "websocket" to initiate a WebSocket connection on an HTTP/2 stream.
        if !self.protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
            return Err(Refusal::ConnectNotImplemented);
        }
        let resource_name = self.uri.path_and_query().map_or("/", |it| it.as_str());
        out.extend_from_slice(format!("GET {resource_name} HTTP/1.1\r\n").as_bytes());
        //= https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1
        //# The recipient of an HTTP/2 request MUST NOT use the Host header field to determine the target URI if
        //# ":authority" is present.
        let authority = self.uri.authority();
        if let Some(authority) = authority {
            push_line(out, "host", authority.as_str().as_bytes());
        }
        push_line(out, "upgrade", b"websocket");
        push_line(out, "connection", b"Upgrade");
        push_line(out, "sec-websocket-key", UNUSED_KEY);
        for (name, value) in self.headers {
            let replaced = is_of_http_1(name.as_str())
                || (name == header::HOST && authority.is_some())
                || name == header::COOKIE;
            if !replaced {
                push_line(out, name.as_str(), value.as_bytes());
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3
        //# If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet
        //# string using the two-octet delimiter of 0x3b, 0x20 (the ASCII string "; ") before being passed into a non-HTTP/2
        //# context, such as an HTTP/1.1 connection, or a generic HTTP server application.
        let crumbs: Vec<_> = self.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if !crumbs.is_empty() {
            push_line(out, "cookie", &crumbs.join(&b"; "[..]));
        }
        Ok(())
    }
}

/// A key for the rules of HTTP/1.1. HTTP/2 has none, and its answer is left out.
const UNUSED_KEY: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAA==";

/// A correct opening handshake, to be accepted or refused.
pub(crate) struct Opening {
    head: Vec<u8>,
    handshake: ServerHandshake,
    upgrade: Upgrade,
    is_http_1: bool,
}

impl Opening {
    /// Checks a request.
    ///
    /// # Errors
    /// The first rule that it breaks. [`Refusal::NotAWebSocketRequest`] if it is an ordinary request.
    pub(crate) fn new(received: Received<'_>) -> Result<Self, Refusal> {
        let mut head = Vec::with_capacity(1024);
        received.write(&mut head)?;
        // The other stack has limited the head and the time for it.
        let limits = HeadLimits { request_line: usize::MAX, head: usize::MAX, fields: usize::MAX };
        let mut handshake = ServerHandshake::new(limits, Instant::now(), Duration::MAX);
        handshake.parse(&head)?.expect("the head is complete");
        let upgrade = handshake.request(&head).upgrade()?.ok_or(Refusal::NotAWebSocketRequest)?;
        Ok(Opening { head, handshake, upgrade, is_http_1: received.is_http_1() })
    }

    /// The request. An extended CONNECT looks like the `GET` that it stands for.
    pub(crate) fn request(&self) -> Request<'_> {
        self.handshake.request(&self.head)
    }

    /// The response that accepts the handshake, and what was negotiated.
    ///
    /// # Errors
    /// `accept` names a subprotocol that must not be sent.
    pub(crate) fn accept<B: Default>(
        &self,
        accept: &Accept,
    ) -> Result<(http::Response<B>, Negotiated), AcceptError> {
        let mut head = Vec::with_capacity(256);
        let negotiated = self.upgrade.accept(&self.request(), accept, &mut head)?;
        // The other stack sends the 100 (Continue), if any.
        if self.upgrade.expects_continue() {
            let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head ends");
            head.drain(..end + 4);
        }
        let mut response = http::Response::new(B::default());
        if self.is_http_1 {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            copy_lines(&head, |_| true, response.headers_mut());
        } else {
            copy_lines(&head, |name| !is_of_http_1(name), response.headers_mut());
        }
        Ok((response, negotiated))
    }
}

impl fmt::Debug for Opening {
    /// Without the head, which has the credentials of the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("is_http_1", &self.is_http_1).finish_non_exhaustive()
    }
}

/// The status that refuses a request of `version`: the answer's, but HTTP/2 has no 426.
pub(crate) fn status(answer: &Response, version: Version) -> StatusCode {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.22
    //# The server MUST send an Upgrade header field in a 426 response to indicate the required protocol(s)
    // It is a field of the connection, which HTTP/2 must not have.
    match StatusCode::from_u16(answer.status().as_u16()).expect("it is between 200 and 599") {
        StatusCode::UPGRADE_REQUIRED if version > Version::HTTP_11 => StatusCode::BAD_REQUEST,
        status => status,
    }
}

/// The response that refuses a request of `version`.
pub(crate) fn refuse<B: From<Vec<u8>>>(answer: &Response, version: Version) -> http::Response<B> {
    let mut head = Vec::with_capacity(256);
    answer.encode_head("", &mut head);
    let mut response = http::Response::new(B::from(answer.content().to_vec()));
    *response.status_mut() = status(answer, version);
    //= https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2
    //# An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields.
    let keep = |name: &str| version <= Version::HTTP_11 || !is_of_http_1(name);
    copy_lines(&head, keep, response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::handshake::{FieldName, FieldValue};

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// The fields of a correct request of HTTP/1.1.
    const FIELDS: [(&str, &str); 5] = [
        ("host", "example.com"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
    ];

    fn open(
        request: http::request::Builder,
        fields: &[(&str, &str)],
        protocol: Option<&str>,
    ) -> Result<Opening, Refusal> {
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).unwrap();
        Opening::new(Received {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            protocol,
        })
    }

    fn get(fields: &[(&str, &str)]) -> Result<Opening, Refusal> {
        open(http::Request::get("/chat?room=1"), fields, None)
    }

    fn connect(fields: &[(&str, &str)]) -> Result<Opening, Refusal> {
        let request = http::Request::connect("https://example.com/chat?room=1").version(Version::HTTP_2);
        open(request, fields, Some("websocket"))
    }

    /// The fields of a response, `name: value`.
    fn shown(response: &http::Response<String>) -> Vec<String> {
        let lines = response.headers().iter();
        lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_correct_request_of_http_1_is_answered_with_its_key() {
        let opening = get(&FIELDS).unwrap();
        assert_eq!(opening.request().target(), "/chat?room=1");
        let (response, negotiated) = opening.accept::<String>(&Accept::new()).unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(
            shown(&response),
            [
                "upgrade: websocket",
                "connection: Upgrade",
                "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            ]
        );
        assert_eq!(negotiated, Negotiated::new());
    }

    #[test]
    fn an_extended_connect_needs_no_key_and_gets_no_accept() {
        //= https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1
        //= type=test
        //# The recipient of an HTTP/2 request MUST NOT use the Host header field to determine the target URI if
        //# ":authority" is present.
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //= type=test
        //# Implementations using this extended CONNECT to bootstrap WebSockets do not do the processing of the
        //# Sec-WebSocket-Key and Sec-WebSocket-Accept header fields of [RFC6455] as that functionality has been superseded by
        //# the :protocol pseudo-header field.
        for more in [&[][..], &[("sec-websocket-key", "junk"), ("host", "other")]] {
            let fields =
                [&[("sec-websocket-version", "13"), ("sec-websocket-protocol", "a, b")], more].concat();
            let opening = connect(&fields).unwrap();
            assert_eq!((opening.request().path(), opening.request().host()), ("/chat", "example.com"));
            let accept = Accept::new()
                .with_subprotocol("b")
                .with_field(FieldName::from_static("Set-Cookie"), FieldValue::from_static("id=7"));
            let (response, negotiated) = opening.accept::<String>(&accept).unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(shown(&response), ["sec-websocket-protocol: b", "set-cookie: id=7"]);
            assert_eq!(negotiated.subprotocol(), Some("b"));
        }
    }

    #[test]
    fn the_crumbs_of_a_cookie_are_one_field() {
        //= https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3
        //= type=test
        //# If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet
        //# string using the two-octet delimiter of 0x3b, 0x20 (the ASCII string "; ") before being passed into a non-HTTP/2
        //# context, such as an HTTP/1.1 connection, or a generic HTTP server application.
        let version = ("sec-websocket-version", "13");
        let opening = connect(&[("cookie", "a=b"), version, ("cookie", "c=d"), ("cookie", "e=f")]).unwrap();
        let cookies: Vec<_> = opening.request().field_all("cookie").collect();
        assert_eq!(cookies, [b"a=b; c=d; e=f"]);
        assert_eq!(connect(&[version]).unwrap().request().field("cookie"), None);
    }

    #[test]
    fn http_2_still_demands_version_13_and_the_grammar_of_lists() {
        assert_eq!(connect(&[]).unwrap_err(), Refusal::MissingVersion);
        assert_eq!(connect(&[("sec-websocket-version", "8")]).unwrap_err(), Refusal::UnsupportedVersion);
        let fields = [("sec-websocket-version", "13"), ("sec-websocket-extensions", ";")];
        assert_eq!(connect(&fields).unwrap_err(), Refusal::InvalidExtensions);
    }

    #[test]
    fn other_requests_of_http_2_are_no_handshake() {
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //= type=test
        //# This request replaces the GET-based request in [RFC6455] and is used to process the WebSockets opening
        //# handshake.
        let get = http::Request::get("https://example.com/").version(Version::HTTP_2);
        assert_eq!(open(get, &FIELDS, None).unwrap_err(), Refusal::NotAWebSocketRequest);
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //= type=test
        //# The :protocol pseudo-header field MUST be included in the CONNECT request, and it MUST have a value of
        //# "websocket" to initiate a WebSocket connection on an HTTP/2 stream.
        for protocol in [None, Some("connect-udp")] {
            let connect = http::Request::connect("https://example.com/").version(Version::HTTP_2);
            let refusal = open(connect, &[("sec-websocket-version", "13")], protocol).unwrap_err();
            assert_eq!(refusal, Refusal::ConnectNotImplemented);
        }
    }

    #[test]
    fn each_rule_of_http_1_is_the_servers_own() {
        let without = |name: &str| {
            let fields: Vec<_> = FIELDS.into_iter().filter(|(field, _)| *field != name).collect();
            get(&fields).unwrap_err()
        };
        assert_eq!(without("host"), Refusal::MissingHost);
        assert_eq!(without("upgrade"), Refusal::NotAWebSocketRequest);
        assert_eq!(without("connection"), Refusal::MissingConnectionUpgrade);
        assert_eq!(without("sec-websocket-key"), Refusal::MissingKey);
        assert_eq!(without("sec-websocket-version"), Refusal::MissingVersion);
        let post = open(http::Request::post("/"), &FIELDS, None);
        assert_eq!(post.unwrap_err(), Refusal::MethodNotAllowed { allow: "GET" });
        let old = open(http::Request::get("/").version(Version::HTTP_10), &FIELDS, None);
        assert_eq!(old.unwrap_err(), Refusal::NotAWebSocketRequest);
        let body = [&FIELDS[..], &[("content-length", "5")]].concat();
        assert_eq!(get(&body).unwrap_err(), Refusal::UpgradeWithBody);
    }

    #[test]
    fn debug_shows_no_credentials() {
        let secrets = [("cookie", "id=secret"), ("authorization", "Bearer secret")];
        let opening = get(&[&FIELDS[..], &secrets].concat()).unwrap();
        assert_eq!(opening.request().field("authorization"), Some(&b"Bearer secret"[..]));
        // Neither as text nor as numbers of bytes.
        let shown = format!("{opening:?}");
        assert_eq!(shown, "Opening { is_http_1: true, .. }");
    }

    #[test]
    fn the_100_is_the_other_stacks_to_send() {
        let opening = get(&[&FIELDS[..], &[("expect", "100-continue")]].concat()).unwrap();
        let (response, _) = opening.accept::<String>(&Accept::new()).unwrap();
        assert_eq!(response.headers().len(), 3);
        assert_eq!(response.headers()["upgrade"], "websocket");
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn compression_is_negotiated_over_both_versions() {
        use framewright::deflate::DeflatePolicy;

        let offer = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
        let accept = Accept::new().with_deflate(DeflatePolicy::default());
        for opening in
            [get(&[&FIELDS[..], &[offer]].concat()), connect(&[("sec-websocket-version", "13"), offer])]
        {
            let (response, negotiated) = opening.unwrap().accept::<String>(&accept).unwrap();
            assert_eq!(
                response.headers()["sec-websocket-extensions"],
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            );
            assert!(negotiated.deflate().is_some());
        }
    }

    #[test]
    fn a_refusal_names_what_would_be_accepted() {
        let refusal = Refusal::UnsupportedVersion.to_response();
        let response: http::Response<Vec<u8>> = refuse(&refusal, Version::HTTP_11);
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["connection"], "close, Upgrade");
        assert_eq!(response.headers()["content-length"], response.body().len().to_string());
        assert!(response.body().starts_with(b"Sec-WebSocket-Version not supported"));
    }

    #[test]
    fn a_refusal_over_http_2_has_no_fields_of_the_connection() {
        //= https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2
        //= type=test
        //# An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields.
        let response: http::Response<Vec<u8>> =
            refuse(&Refusal::UnsupportedVersion.to_response(), Version::HTTP_2);
        //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.22
        //= type=test
        //# The server MUST send an Upgrade header field in a 426 response to indicate the required protocol(s)
        assert_eq!(response.status(), 400);
        assert!(
            !response.headers().contains_key("connection") && !response.headers().contains_key("upgrade")
        );
        assert_eq!(response.headers()["sec-websocket-version"], "13");
    }
}
