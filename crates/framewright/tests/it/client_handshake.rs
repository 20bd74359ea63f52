//! RFC 6455, sections 4.1 and 11.3: what a client sends, and what it makes of a 101. Every answer
//! arrives whole, in two parts cut at every place, and octet by octet; the outcome has to be the
//! same. What HTTP alone demands is in `client_handshake_http`, what extensions come to in
//! `client_handshake_deflate`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::handshake::{head, however_they_arrive};
use framewright::Negotiated;
#[cfg(not(feature = "deflate"))]
use framewright::deflate::AnswerError;
use framewright::handshake::{
    Answer, ClientHandshake, ClientRequest, FieldError, FieldName, FieldValue, HeadLimits, RequestError,
    ResponseError, is_valid_key,
};
use framewright_testkit::rng::SplitMix64;

pub(crate) const STATUS_LINE: &str = "HTTP/1.1 101 Switching Protocols";
const FIELDS: [&str; 3] =
    ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="];

/// A correct answer to the example of the RFC with the fields called as one of `more` replaced by
/// all of `more`.
pub(crate) fn answer(status_line: &str, more: &[&str]) -> Vec<u8> {
    head(status_line, &FIELDS, more)
}

pub(crate) fn request(uri: &str) -> ClientRequest {
    uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"))
}

/// A client that has sent the key of the RFC's example, and the octets that it has sent.
pub(crate) fn start(request: &ClientRequest, limits: HeadLimits) -> (ClientHandshake, String) {
    let mut out = Vec::new();
    let mut nonce = |target: &mut [u8]| target.copy_from_slice(b"the sample nonce");
    let handshake =
        ClientHandshake::new(request, &mut nonce, limits, Instant::now(), Duration::MAX, &mut out);
    (handshake, String::from_utf8(out).expect("a request is text"))
}

/// What the client makes of `octets`, however they arrive.
pub(crate) fn every_split(request: &ClientRequest, octets: &[u8]) -> Result<Option<Answer>, ResponseError> {
    however_they_arrive(octets, |ends| {
        let (mut client, _) = start(request, HeadLimits::default());
        for end in ends {
            let result = client.parse(&octets[..end]);
            if result != Ok(None) {
                assert_eq!(client.poll_timeout(), None);
                assert_eq!(client.parse(octets), result, "it stays as it is");
                return result;
            }
        }
        Ok(None)
    })
}

/// The 101 with these fields has to be taken by a client that has sent `request`; what was agreed.
#[track_caller]
pub(crate) fn accepted(request: &ClientRequest, more: &[&str]) -> Negotiated {
    let octets = answer(STATUS_LINE, more);
    match every_split(request, &octets) {
        Ok(Some(Answer::Accepted { head_len, negotiated })) => {
            assert_eq!(head_len, octets.len());
            negotiated
        }
        other => panic!("{other:?}: {}", octets.escape_ascii()),
    }
}

#[track_caller]
pub(crate) fn fails(request: &ClientRequest, more: &[&str], error: ResponseError) {
    let octets = answer(STATUS_LINE, more);
    assert_eq!(every_split(request, &octets), Err(error), "{}", octets.escape_ascii());
}

pub(crate) fn plain() -> ClientRequest {
    request("ws://server.example.com/chat")
}

/// The octets of the request.
#[test]
fn client_sends_the_example_of_the_rfc() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# Once a connection to the server has been established (including a
    //# connection via a proxy or over a TLS-encrypted tunnel), the client
    //# MUST send an opening handshake to the server.
    let request = plain()
        .with_subprotocol("chat")
        .unwrap()
        .with_subprotocol("superchat")
        .unwrap()
        .with_field(FieldName::from_static("Origin"), FieldValue::from_static("http://example.com"));
    let (_, octets) = start(&request, HeadLimits::default());
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The method of the request MUST be GET, and the HTTP version MUST
    //# be at least 1.1.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The request MUST contain an |Upgrade| header field whose value
    //# MUST include the "websocket" keyword.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The request MUST contain a |Connection| header field whose value
    //# MUST include the "Upgrade" token.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The request MUST include a header field with the name
    //# |Sec-WebSocket-Version|.  The value of this header field MUST be
    //# 13.
    assert_eq!(
        octets,
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n"
    );
}

#[test]
fn client_asks_for_the_resource_of_the_host() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The "Request-URI" part of the request MUST match the /resource
    //# name/ defined in Section 3 (a relative URI) or be an absolute
    //# http/https URI that, when parsed, has a /resource name/, /host/,
    //# and /port/ that match the corresponding ws/wss URI.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The request MUST contain a |Host| header field whose value
    //# contains /host/ plus optionally ":" followed by /port/ (when not
    //# using the default port).
    for (uri, target, host) in [
        ("ws://h", "/", "h"),
        ("ws://h:80/a?b", "/a?b", "h"),
        ("ws://h:443?b", "/?b", "h:443"),
        ("wss://h:443//a/../b", "//a/../b", "h"),
        ("wss://h:80/%7E", "/%7E", "h:80"),
        ("ws://[::1]:8080/", "/", "[::1]:8080"),
        ("WSS://[::1]/", "/", "[::1]"),
    ] {
        let (_, octets) = start(&request(uri), HeadLimits::default());
        let expected = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: ");
        assert!(octets.starts_with(&expected), "{uri}: {octets}");
    }
}

#[test]
fn client_sends_a_fresh_canonical_key_with_every_request() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The value of this header field MUST be a
    //# nonce consisting of a randomly selected 16-byte value that has
    //# been base64-encoded (see Section 4 of [RFC4648]).  The nonce
    //# MUST be selected randomly for each connection.
    let mut rng = SplitMix64::new(6455);
    let mut entropy = |target: &mut [u8]| {
        let octets = rng.octets(target.len());
        target.copy_from_slice(&octets);
    };
    let (request, now) = (plain(), Instant::now());
    let mut keys = HashSet::new();
    for _ in 0..10_000 {
        let mut out = Vec::new();
        let limits = HeadLimits::default();
        let _ = ClientHandshake::new(&request, &mut entropy, limits, now, Duration::MAX, &mut out);
        let text = String::from_utf8(out).unwrap();
        // One of them.
        let [before, after] = text.split("Sec-WebSocket-Key: ").collect::<Vec<_>>()[..] else {
            panic!("{text}");
        };
        assert!(before.ends_with("\r\n"));
        let key = after.split("\r\n").next().unwrap();
        assert!(is_valid_key(key.as_bytes()), "{key}");
        assert!(b"AQgw".contains(&key.as_bytes()[21]), "{key}: the unused bits are not zero");
        assert!(keys.insert(key.to_owned()), "{key} comes twice");
    }
}

#[test]
fn client_offers_subprotocols_that_are_tokens_and_unique() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# The elements that comprise this value MUST be non-
    //# empty strings with characters in the range U+0021 to U+007E not
    //# including separator characters as defined in [RFC2616] and MUST
    //# all be unique strings.
    for text in ["", " ", "a b", "a,b", "a\r\nX: y", "a\0", "\u{e9}", "a/b", "\"a\"", "a=b", "(a)", "a@b"] {
        let error = plain().with_subprotocol(text).unwrap_err();
        assert_eq!(error, RequestError::InvalidSubprotocol, "{text:?}");
    }
    let request = plain().with_subprotocol("chat").unwrap();
    assert_eq!(request.clone().with_subprotocol("chat"), Err(RequestError::RepeatedSubprotocol));
    // Names are compared octet for octet.
    let mut request = request.with_subprotocol("Chat").unwrap();
    assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["chat", "Chat"]);
    for number in 2..64 {
        request = request.with_subprotocol(format!("p{number}")).unwrap();
    }
    assert_eq!(request.with_subprotocol("more"), Err(RequestError::TooManySubprotocols));
}

/// Nothing that an application was fed ends a line early.
#[test]
fn constructors_refuse_what_would_be_injected() {
    for byte in (0..=0x20_u8).chain(0x7f..=0xff) {
        let text = format!("a{}b", char::from(byte));
        assert_eq!(FieldName::new(text.clone()), Err(FieldError::InvalidName), "{text:?}");
        assert!(plain().with_subprotocol(text.clone()).is_err(), "{text:?}");
        for uri in [format!("ws://{text}/"), format!("ws://h/{text}"), format!("ws://h/?{text}")] {
            assert!(uri.parse::<ClientRequest>().is_err(), "{uri:?}");
        }
        if (byte < 0x20 && byte != b'\t') || byte == 0x7f {
            assert_eq!(FieldValue::new(text.clone()), Err(FieldError::InvalidValue), "{text:?}");
        }
    }
    for name in
        ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Accept", "Content-Length"]
    {
        assert_eq!(FieldName::new(name), Err(FieldError::ReservedName));
    }
    for name in ["Origin", "Authorization", "Cookie", "User-Agent"] {
        assert!(FieldName::new(name).is_ok());
    }
}

#[test]
fn debug_output_of_a_request_shows_no_fields() {
    let request = plain().with_field(FieldName::from_static("Cookie"), FieldValue::from_static("secret"));
    assert!(!format!("{request:?}").contains("secret"));
    assert_eq!(request.fields().count(), 1);
}

#[test]
fn client_takes_the_answer_of_the_rfc() {
    let offers = plain().with_subprotocol("chat").unwrap().with_subprotocol("superchat").unwrap();
    let negotiated = accepted(&offers, &["Sec-WebSocket-Protocol: chat"]);
    assert_eq!(negotiated, Negotiated::new().with_subprotocol("chat"));
    assert_eq!(accepted(&plain(), &[]), Negotiated::new());
}

#[test]
fn client_takes_octets_after_the_head_for_frames() {
    let mut octets = answer(STATUS_LINE, &[]);
    let expected = octets.len();
    octets.extend_from_slice(b"\x89\x00\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    let Ok(Some(Answer::Accepted { head_len, .. })) = every_split(&plain(), &octets) else { panic!() };
    assert_eq!(head_len, expected);
    let (mut client, _) = start(&plain(), HeadLimits::default());
    client.parse(&octets).unwrap().unwrap();
    let response = client.response(&octets);
    assert_eq!((response.status(), response.http_minor()), (101, 1));
    assert_eq!(response.reason(), b"Switching Protocols");
    assert_eq!(response.fields().count(), 3);
    assert_eq!(response.field("UPGRADE"), Some(&b"websocket"[..]));
}

#[test]
fn client_fails_unless_upgrade_is_websocket() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response lacks an |Upgrade| header field or the |Upgrade|
    //# header field contains a value that is not an ASCII case-
    //# insensitive match for the value "websocket", the client MUST
    //# _Fail the WebSocket Connection_.
    for line in ["Upgrade: WebSocket", "UPGRADE:WEBSOCKET", "upgrade: \twebsocket\t", "Upgrade: websocket,"] {
        accepted(&plain(), &[line]);
    }
    fails(&plain(), &["Upgrade"], ResponseError::MissingUpgrade);
    for lines in [
        &["Upgrade: h2c"][..],
        &["Upgrade:"],
        &["Upgrade: ,"],
        &["Upgrade: websocket/13"],
        &["Upgrade: websockets"],
        &["Upgrade: web socket"],
        &["Upgrade: websoc\u{212a}et"],
        &["Upgrade: h2c, websocket"],
        &["Upgrade: websocket, h2c"],
        &["Upgrade: websocket", "Upgrade: h2c"],
        &["Upgrade: websocket", "Upgrade: websocket"],
    ] {
        fails(&plain(), lines, ResponseError::InvalidUpgrade);
    }
}

#[test]
fn client_fails_unless_connection_names_upgrade() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response lacks a |Connection| header field or the
    //# |Connection| header field doesn't contain a token that is an
    //# ASCII case-insensitive match for the value "Upgrade", the client
    //# MUST _Fail the WebSocket Connection_.
    for lines in [
        &["Connection: upgrade"][..],
        &["connection: UPGRADE"],
        &["Connection: keep-alive, Upgrade"],
        &["Connection: keep-alive", "Connection: ,upgrade ,"],
    ] {
        accepted(&plain(), lines);
    }
    for line in
        ["Connection", "Connection: close", "Connection:", "Connection: Upgrades", "Connection: Upgrade, a b"]
    {
        fails(&plain(), &[line], ResponseError::MissingConnectionUpgrade);
    }
}

#[test]
fn client_fails_unless_accept_answers_its_key() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response lacks a |Sec-WebSocket-Accept| header field or
    //# the |Sec-WebSocket-Accept| contains a value other than the
    //# base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-
    //# Key| (as a string, not base64-decoded) with the string "258EAFA5-
    //# E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and
    //# trailing whitespace, the client MUST _Fail the WebSocket
    //# Connection_.
    accepted(&plain(), &["Sec-WebSocket-Accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \t"]);
    accepted(&plain(), &["SEC-WEBSOCKET-ACCEPT:s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    fails(&plain(), &["Sec-WebSocket-Accept"], ResponseError::MissingAccept);
    for value in [
        "",
        "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "S3PPLMBITXAQ9KYGZZHZRBK+XOO=",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo==",
        "s3pPLMBiTxaQ9kYGzzhZRbK-xOo=",
        "s3pPLMBiTxaQ9kYG zzhZRbK+xOo=",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "\"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\"",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
    ] {
        fails(&plain(), &[&format!("Sec-WebSocket-Accept: {value}")], ResponseError::WrongAccept);
    }
    //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.3
    //# The |Sec-WebSocket-Accept| header MUST NOT appear more than once in
    //# an HTTP response.
    for other in ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "x", ""] {
        let other = format!("Sec-WebSocket-Accept: {other}");
        fails(&plain(), &[&other, FIELDS[2]], ResponseError::RepeatedAccept);
        fails(&plain(), &[FIELDS[2], &other], ResponseError::RepeatedAccept);
    }
}

#[test]
fn client_fails_on_a_subprotocol_that_it_did_not_offer() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response includes a |Sec-WebSocket-Protocol| header field
    //# and this header field indicates the use of a subprotocol that was
    //# not present in the client's handshake (the server has indicated a
    //# subprotocol not requested by the client), the client MUST _Fail
    //# the WebSocket Connection_.
    let offers = plain().with_subprotocol("chat").unwrap().with_subprotocol("superchat").unwrap();
    let chosen = accepted(&offers, &["sec-websocket-protocol:\tsuperchat "]);
    assert_eq!(chosen.subprotocol(), Some("superchat"));
    // None need be chosen.
    assert_eq!(accepted(&offers, &[]).subprotocol(), None);
    for value in ["CHAT", "chat2", "cha"] {
        let line = format!("Sec-WebSocket-Protocol: {value}");
        fails(&offers, &[&line], ResponseError::SubprotocolNotOffered);
    }
    fails(&plain(), &["Sec-WebSocket-Protocol: chat"], ResponseError::SubprotocolNotOffered);
    for value in ["", "chat, superchat", "chat,", "a b", "\"chat\"", "\u{e9}"] {
        let line = format!("Sec-WebSocket-Protocol: {value}");
        fails(&offers, &[&line], ResponseError::InvalidSubprotocol);
        fails(&plain(), &[&line], ResponseError::InvalidSubprotocol);
    }
    //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4
    //# However, the |Sec-WebSocket-Protocol| header field MUST NOT appear
    //# more than once in an HTTP response.
    for other in ["chat", "superchat", ""] {
        let other = format!("Sec-WebSocket-Protocol: {other}");
        fails(&offers, &[&other, "Sec-WebSocket-Protocol: chat"], ResponseError::RepeatedSubprotocol);
    }
}

#[cfg(not(feature = "deflate"))]
#[test]
fn client_fails_on_any_extension_for_want_of_one() {
    for value in ["permessage-deflate", "x", "", "a b"] {
        let line = format!("Sec-WebSocket-Extensions: {value}");
        fails(&plain(), &[&line], AnswerError::NotOffered.into());
    }
}

/// What else a server says in a 101 changes nothing, the versions that it names included.
#[test]
fn client_ignores_what_means_nothing_in_a_101() {
    for line in [
        "Content-Length: 5",
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
        "Sec-WebSocket-Version: 13, 8",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Location: ws://other/",
        "Set-Cookie: a=b",
        "Host: other",
        "X: \u{e9}\t\"",
        "X:",
    ] {
        accepted(&plain(), &[line]);
        accepted(&plain(), &[line, line]);
    }
}
