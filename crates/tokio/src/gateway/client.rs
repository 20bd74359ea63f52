//! The client's side: a [`ClientRequest`] becomes a request of another HTTP stack, whose response
//! is checked.

use std::fmt;
use std::time::{Duration, Instant};

use framewright::handshake::{
    Answer, ClientHandshake, ClientRequest, HeadLimits, ResponseError, WsUri, accept_key,
};
use framewright::{Entropy, Negotiated};
use http::{HeaderMap, Method, StatusCode, Uri, Version, header, uri};

use super::{copy_lines, is_of_http_1, lines, push_line};

/// An opening handshake whose request has been written.
pub(crate) struct Opening {
    /// The request as HTTP/1.1 has it.
    head: Vec<u8>,
    uri: Uri,
    handshake: ClientHandshake,
}

/// What a response means.
#[derive(Debug)]
pub(crate) enum Judged {
    Accepted(Negotiated),
    Refused,
}

impl Opening {
    /// Writes the request, with a fresh key from `entropy`.
    ///
    /// # Errors
    /// The `http` crate takes no URI of 65,535 bytes or more.
    pub(crate) fn new(request: &ClientRequest, entropy: &mut dyn Entropy) -> Result<Self, http::Error> {
        let uri = absolute(request.uri())?;
        let mut head = Vec::with_capacity(512);
        // The other stack limits the head; the caller limits the time.
        let limits = HeadLimits { request_line: usize::MAX, head: usize::MAX, fields: usize::MAX };
        let handshake =
            ClientHandshake::new(request, entropy, limits, Instant::now(), Duration::MAX, &mut head);
        Ok(Opening { head, uri, handshake })
    }

    /// The request for a connection of HTTP/1.1.
    #[cfg(feature = "hyper")]
    pub(crate) fn http_1_request<B>(&self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        let resource_name = self.uri.path_and_query().map_or("/", |it| it.as_str());
        *request.uri_mut() = resource_name.parse().expect("the resource name is part of a URI");
        copy_lines(&self.head, |_| true, request.headers_mut());
        request
    }

    /// The extended CONNECT for a connection of HTTP/2, without its `:protocol`.
    pub(crate) fn http_2_request<B>(&self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //# [RFC6455] requires the use of Connection and Upgrade header fields that are not part of HTTP/2.  They MUST NOT
        //# be included in the CONNECT request defined here.
        let keep = |name: &str| !is_of_http_1(name) && !name.eq_ignore_ascii_case(header::HOST.as_str());
        copy_lines(&self.head, keep, request.headers_mut());
        request
    }

    /// Checks the response.
    ///
    /// # Errors
    /// The first rule that a response breaks which accepts the handshake.
    pub(crate) fn judge<B>(&mut self, response: &http::Response<B>) -> Result<Judged, ResponseError> {
        let mut head = Vec::with_capacity(512);
        if response.version() <= Version::HTTP_11 {
            let minor = u8::from(response.version() == Version::HTTP_11);
            write_head(&mut head, minor, response.status(), response.headers(), |_| true);
        } else if response.status().is_success() {
            //= https://www.rfc-editor.org/rfc/rfc9113#section-8.5
            //# After the initial HEADERS frame sent by each peer, all subsequent DATA frames correspond to data sent on the TCP
            //# connection.
            write_head(&mut head, 1, StatusCode::SWITCHING_PROTOCOLS, response.headers(), |name| {
                !is_of_http_1(name)
            });
            let (_, key) = lines(&self.head)
                .find(|(name, _)| *name == "Sec-WebSocket-Key")
                .expect("the request has a key");
            push_line(&mut head, "upgrade", b"websocket");
            push_line(&mut head, "connection", b"Upgrade");
            push_line(&mut head, "sec-websocket-accept", &accept_key(key));
        } else {
            return Ok(Judged::Refused);
        }
        head.extend_from_slice(b"\r\n");
        match self.handshake.parse(&head)? {
            Some(Answer::Accepted { negotiated, .. }) => Ok(Judged::Accepted(negotiated)),
            Some(Answer::Refused { .. }) => Ok(Judged::Refused),
            None => panic!("the head is complete"),
        }
    }
}

impl fmt::Debug for Opening {
    /// Without the request, which has credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

/// Appends a response's head without its empty line.
fn write_head(
    out: &mut Vec<u8>,
    minor: u8,
    status: StatusCode,
    headers: &HeaderMap,
    keep: impl Fn(&str) -> bool,
) {
    out.extend_from_slice(format!("HTTP/1.{minor} {} \r\n", status.as_u16()).as_bytes());
    for (name, value) in headers.iter().filter(|(name, _)| keep(name.as_str())) {
        push_line(out, name.as_str(), value.as_bytes());
    }
}

/// The URI that HTTP has for a WebSocket URI.
//= https://www.rfc-editor.org/rfc/rfc8441#section-5
//# The scheme of the target URI (Section 5.1 of [RFC7230]) MUST be "https" for "wss"-schemed WebSockets and "http" for
//# "ws"-schemed WebSockets.  The remainder of the target URI is the same as the WebSocket URI.
fn absolute(uri: &WsUri) -> Result<Uri, http::Error> {
    let scheme = if uri.is_secure() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
    Uri::builder().scheme(scheme).authority(uri.authority()).path_and_query(&*uri.resource_name()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(uri: &str) -> Opening {
        let request: ClientRequest = uri.parse().unwrap();
        let request = request.with_subprotocol("chat").unwrap();
        let mut entropy = |target: &mut [u8]| target.copy_from_slice(b"the sample nonce");
        Opening::new(&request, &mut entropy).unwrap()
    }

    #[cfg(feature = "hyper")]
    #[test]
    fn each_uri_of_this_crate_is_one_of_the_other_except_very_long_ones() {
        let all = "/-._~!$&'()*+,;=:@%20?/?-._~!$&'()*+,;=:@";
        for host in ["a-b_c~d!$&'()*+,;=", "127.0.0.1", "[2001:db8::1]"] {
            let request = opening(&format!("ws://{host}:81{all}")).http_1_request(());
            assert_eq!(request.uri(), all);
        }
        let long: ClientRequest = format!("ws://a/{}", "b".repeat(65_535)).parse().unwrap();
        let mut entropy = |target: &mut [u8]| target.fill(0);
        assert!(Opening::new(&long, &mut entropy).is_err());
    }

    fn response(version: Version, status: u16, fields: &[(&str, &str)]) -> http::Response<()> {
        let response = http::Response::builder().version(version).status(status);
        let add =
            |response: http::response::Builder, (name, value): &(&str, &str)| response.header(*name, *value);
        fields.iter().fold(response, add).body(()).unwrap()
    }

    #[test]
    fn debug_shows_no_credentials() {
        assert_eq!(format!("{:?}", opening("wss://a/?token=secret")), "Opening { .. }");
    }

    #[cfg(feature = "hyper")]
    #[test]
    fn http_1_has_the_request_of_rfc_6455() {
        let request = opening("wss://example.com/chat?room=1").http_1_request(());
        assert_eq!(request.method(), "GET");
        assert_eq!(request.uri(), "/chat?room=1");
        assert_eq!(request.headers()["host"], "example.com");
        assert_eq!(request.headers()["upgrade"], "websocket");
        assert_eq!(request.headers()["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
    }

    #[test]
    fn http_2_has_an_extended_connect_with_the_target_in_its_pseudo_header_fields() {
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //= type=test
        //# [RFC6455] requires the use of Connection and Upgrade header fields that are not part of HTTP/2.  They MUST NOT
        //# be included in the CONNECT request defined here.
        let request = opening("wss://example.com/chat?room=1").http_2_request(());
        assert_eq!((request.method(), request.version()), (&Method::CONNECT, Version::HTTP_2));
        let names: Vec<_> = request.headers().keys().map(header::HeaderName::as_str).collect();
        assert_eq!(names, ["sec-websocket-version", "sec-websocket-protocol"]);
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //= type=test
        //# The scheme of the target URI (Section 5.1 of [RFC7230]) MUST be "https" for "wss"-schemed WebSockets and "http" for
        //# "ws"-schemed WebSockets.  The remainder of the target URI is the same as the WebSocket URI.
        assert_eq!(request.uri(), "https://example.com/chat?room=1");
        assert_eq!(opening("ws://[::1]:8080").http_2_request(()).uri(), "http://[::1]:8080/");
    }

    const ACCEPTED: [(&str, &str); 3] = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];

    #[test]
    fn a_101_of_http_1_needs_the_accept() {
        let accepted = opening("ws://a").judge(&response(Version::HTTP_11, 101, &ACCEPTED));
        assert!(matches!(accepted, Ok(Judged::Accepted(_))));
        let failed = opening("ws://a").judge(&response(Version::HTTP_11, 101, &ACCEPTED[..2]));
        assert_eq!(failed.unwrap_err(), ResponseError::MissingAccept);
        let old = opening("ws://a").judge(&response(Version::HTTP_10, 101, &ACCEPTED));
        assert_eq!(old.unwrap_err(), ResponseError::UpgradeInHttp10);
    }

    #[test]
    fn a_200_accepts_over_http_2_and_refuses_over_http_1() {
        //= https://www.rfc-editor.org/rfc/rfc9113#section-8.5
        //= type=test
        //# After the initial HEADERS frame sent by each peer, all subsequent DATA frames correspond to data sent on the TCP
        //# connection.
        let chosen = [("sec-websocket-protocol", "chat")];
        // A gateway may leave an Accept of its own in the response.
        let stray = [("sec-websocket-protocol", "chat"), ("sec-websocket-accept", "junk")];
        for fields in [&chosen[..], &stray] {
            let Ok(Judged::Accepted(negotiated)) =
                opening("ws://a").judge(&response(Version::HTTP_2, 200, fields))
            else {
                panic!("it is accepted");
            };
            assert_eq!(negotiated.subprotocol(), Some("chat"));
        }
        let refused = opening("ws://a").judge(&response(Version::HTTP_11, 200, &ACCEPTED));
        assert!(matches!(refused, Ok(Judged::Refused)));
        let refused = opening("ws://a").judge(&response(Version::HTTP_2, 403, &[]));
        assert!(matches!(refused, Ok(Judged::Refused)));
    }

    #[test]
    fn what_was_not_offered_fails_over_http_2_too() {
        let fields = [("sec-websocket-protocol", "other")];
        let failed = opening("ws://a").judge(&response(Version::HTTP_2, 200, &fields));
        assert_eq!(failed.unwrap_err(), ResponseError::SubprotocolNotOffered);
        let fields = [("sec-websocket-extensions", "permessage-deflate")];
        let failed = opening("ws://a").judge(&response(Version::HTTP_2, 200, &fields));
        assert!(matches!(failed, Err(ResponseError::Extensions(_))));
    }
}
