//! RFC 6455, section 4.2: what a server makes of an opening handshake. Every request arrives whole,
//! in two parts cut at every place, and octet by octet; the answer has to be the same. What HTTP
//! alone demands is in `handshake_http`.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use framewright::Negotiated;
use framewright::handshake::{
    Accept, AcceptError, AllowedHosts, AllowedOrigins, FieldName, FieldValue, HeadLimits, Refusal, Request,
    ServerHandshake, choose_subprotocol,
};

pub(crate) const REQUEST_LINE: &str = "GET /chat HTTP/1.1";
pub(crate) const FIELDS: [&str; 5] = [
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// A correct opening handshake with the fields called as one of `more` replaced by all of `more`.
pub(crate) fn handshake(request_line: &str, more: &[&str]) -> Vec<u8> {
    head(request_line, &FIELDS, more)
}

/// A head with these fields, those called as one of `more` replaced by all of `more`.
pub(crate) fn head(first_line: &str, fields: &[&str], more: &[&str]) -> Vec<u8> {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let mut head = format!("{first_line}\r\n");
    for line in fields.iter().filter(|line| !more.iter().any(|other| name(other) == name(line))).chain(more) {
        // A bare name takes the field away.
        if line.contains(':') {
            head += &format!("{line}\r\n");
        }
    }
    head += "\r\n";
    head.into_bytes()
}

/// What `run` comes to for octets that have arrived up to each of the places that it is given: the
/// same, wherever those are.
pub(crate) fn however_they_arrive<T: PartialEq + Debug>(
    octets: &[u8],
    run: impl Fn(&mut dyn Iterator<Item = usize>) -> T,
) -> T {
    let whole = run(&mut [octets.len()].into_iter());
    assert_eq!(run(&mut (0..=octets.len())), whole, "octet by octet: {}", octets.escape_ascii());
    for split in (0..octets.len()).step_by(1 + octets.len() / 1024) {
        let split_run = run(&mut [split, octets.len()].into_iter());
        assert_eq!(split_run, whole, "at {split}: {}", octets.escape_ascii());
    }
    whole
}

/// What `look` sees, however the octets arrive.
pub(crate) fn every_split<T: PartialEq + Debug>(
    octets: &[u8],
    look: impl Fn(Result<Option<Request<'_>>, Refusal>) -> T,
) -> T {
    however_they_arrive(octets, |ends| {
        let mut server = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
        for end in ends {
            match server.parse(&octets[..end]) {
                Ok(None) => {}
                Ok(Some(_)) => return look(Ok(Some(server.request(octets)))),
                Err(refusal) => return look(Err(refusal)),
            }
        }
        look(Ok(None))
    })
}

/// The 101, or why there is none. `None` where this is an ordinary request.
pub(crate) fn answer(octets: &[u8]) -> Result<Option<String>, Refusal> {
    every_split(octets, |result| {
        let request = result?.expect("the head is complete");
        let Some(upgrade) = request.upgrade()? else { return Ok(None) };
        let mut out = Vec::new();
        upgrade.accept(&request, &Accept::new(), &mut out).expect("nothing to object to");
        Ok(Some(String::from_utf8(out).expect("the 101 is text")))
    })
}

#[track_caller]
pub(crate) fn assert_accepted(octets: &[u8]) {
    assert!(matches!(answer(octets), Ok(Some(_))), "{:?}: {}", answer(octets), octets.escape_ascii());
}

#[track_caller]
pub(crate) fn assert_refused(octets: &[u8], refusal: Refusal, status: u16) {
    assert_eq!(answer(octets), Err(refusal), "{}", octets.escape_ascii());
    assert_eq!(refusal.status().as_u16(), status);
}

#[test]
fn server_answers_the_example_of_the_rfc() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
    //= type=test
    //# If the server chooses to accept the incoming connection, it MUST
    //# reply with a valid HTTP response indicating the following.
    let more = ["Origin: http://example.com", "Sec-WebSocket-Protocol: chat, superchat"];
    let octets = handshake(REQUEST_LINE, &more);
    let out = every_split(&octets, |result| {
        let request = result.unwrap().unwrap();
        let upgrade = request.upgrade().unwrap().unwrap();
        let mut out = Vec::new();
        let accept = Accept::new().with_subprotocol("chat");
        let negotiated = upgrade.accept(&request, &accept, &mut out).unwrap();
        assert_eq!(negotiated, Negotiated::new().with_subprotocol("chat"));
        String::from_utf8(out).unwrap()
    });
    assert_eq!(
        out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn server_accepts_without_subprotocol_by_leaving_the_field_out() {
    let answer = answer(&handshake(REQUEST_LINE, &["Sec-WebSocket-Protocol: chat"])).unwrap().unwrap();
    assert!(!answer.contains("Protocol:"), "{answer}");
    assert!(!answer.contains("Content-Length") && !answer.contains("Transfer-Encoding"), "{answer}");
}

#[test]
fn server_takes_octets_after_the_head_for_frames() {
    let mut octets = handshake(REQUEST_LINE, &[]);
    let head_len = octets.len();
    octets.extend_from_slice(b"\x89\x80\x00\x00\x00\x00\r\n\r\n");
    let mut server = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
    assert_eq!(server.parse(&octets), Ok(Some(head_len)));
    assert_accepted(&octets);
}

#[test]
fn server_accepts_names_and_tokens_in_any_case() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //= type=test
    //# An |Upgrade| header field containing the value "websocket",
    //# treated as an ASCII case-insensitive value.
    assert_accepted(&handshake(REQUEST_LINE, &["UPGRADE: WebSocket", "connection: UPGRADE"]));
    assert_accepted(&handshake(REQUEST_LINE, &["upgrade:\tWEBSOCKET ", "Connection: upgrade"]));
}

#[test]
fn server_finds_tokens_in_lists_and_across_lines() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //= type=test
    //# A |Connection| header field that includes the token "Upgrade",
    //# treated as an ASCII case-insensitive value.
    assert_accepted(&handshake(REQUEST_LINE, &["Connection: keep-alive, Upgrade"]));
    assert_accepted(&handshake(REQUEST_LINE, &["Connection: keep-alive", "Connection: ,upgrade,"]));
    assert_accepted(&handshake(REQUEST_LINE, &["Upgrade: h2c, websocket"]));
    assert_accepted(&handshake(REQUEST_LINE, &["Upgrade: IRC/6.9", "Upgrade: websocket"]));
}

#[test]
fn server_ignores_unknown_fields_and_opaque_octets_in_them() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //= type=test
    //# Unknown header
    //# fields are ignored, as per [RFC2616].
    assert_accepted(&handshake(REQUEST_LINE, &["X-Anything: \u{e9}\t\"x\"", "Cookie: a=b", "X-Empty:"]));
}

#[test]
fn server_refuses_an_upgrade_with_content() {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    //= type=test
    //# A client cannot begin using an upgraded protocol on the connection until it has completely sent the request
    //# message (i.e., the client can't change the protocol it is sending in the middle of a message).
    assert_refused(&handshake(REQUEST_LINE, &["Content-Length: 6"]), Refusal::UpgradeWithBody, 400);
    assert_refused(&handshake(REQUEST_LINE, &["Transfer-Encoding: Chunked"]), Refusal::UpgradeWithBody, 400);
    assert_accepted(&handshake(REQUEST_LINE, &["Content-Length: 0"]));
    assert_accepted(&handshake(REQUEST_LINE, &["Content-Length: 0, 0", "Content-Length: 00"]));
}

#[test]
fn server_leaves_ordinary_requests_to_the_application() {
    for more in [
        &["Upgrade"][..],
        &["Upgrade: h2c"],
        &["Upgrade: websocket/13"],
        &["Upgrade: websockets"],
        &["Upgrade:"],
    ] {
        assert_eq!(answer(&handshake(REQUEST_LINE, more)), Ok(None));
    }
    every_split(b"HEAD / HTTP/1.0\r\n\r\n", |result| {
        let request = result.unwrap().unwrap();
        assert_eq!((request.method(), request.host(), request.has_body()), ("HEAD", "", false));
    });
    every_split(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", |result| {
        assert_eq!(result.unwrap().unwrap().path(), "*");
    });
}

#[test]
fn server_refuses_other_methods() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //= type=test
    //# An HTTP/1.1 or higher GET request
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6
    //= type=test
    //# The origin server MUST generate an Allow header field in a 405 response containing a list of the target
    //# resource's currently supported methods.
    for method in ["POST", "HEAD", "get", "OPTIONS"] {
        let refusal = Refusal::MethodNotAllowed { allow: "GET" };
        assert_refused(&handshake(&format!("{method} / HTTP/1.1"), &[]), refusal, 405);
        let mut out = Vec::new();
        refusal.to_response().encode("", false, &mut out);
        assert!(String::from_utf8(out).unwrap().contains("\r\nAllow: GET\r\n"));
    }
}

#[test]
fn server_ignores_upgrade_in_http_10() {
    let octets = handshake("GET / HTTP/1.0", &[]);
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    //= type=test
    //# A server that receives an Upgrade header field in an HTTP/1.0 request MUST ignore that Upgrade field.
    assert_eq!(answer(&octets), Ok(None));
}

#[test]
fn server_refuses_upgrade_without_connection_upgrade() {
    for more in [
        "Connection",
        "Connection: keep-alive",
        "Connection: upgraded",
        "Connection: \"upgrade\"",
        "Connection: Upgrade, a b",
    ] {
        assert_refused(&handshake(REQUEST_LINE, &[more]), Refusal::MissingConnectionUpgrade, 400);
    }
    assert_refused(&handshake(REQUEST_LINE, &["Upgrade: websocket, a b"]), Refusal::InvalidUpgrade, 400);
}

#[test]
fn server_refuses_other_websocket_versions() {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.22
    //= type=test
    //# The server MUST send an Upgrade header field in a 426 response to indicate the required protocol(s)
    //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.5
    //= type=test
    //# However, the |Sec-WebSocket-Version| header field MUST NOT appear
    //# more than once in an HTTP request.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
    //= type=test
    //# If this
    //# version does not match a version understood by the server, the
    //# server MUST abort the WebSocket handshake described in this
    //# section and instead send an appropriate HTTP error code (such
    //# as 426 Upgrade Required) and a |Sec-WebSocket-Version| header
    //# field indicating the version(s) the server is capable of
    //# understanding.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.4
    //= type=test
    //# If the
    //# server doesn't support the requested version, it MUST respond with a
    //# |Sec-WebSocket-Version| header field (or multiple
    //# |Sec-WebSocket-Version| header fields) containing all versions it is
    //# willing to use.
    let versions = ["0", "8", "12", "14", "25", "255"];
    let no_versions = ["", "013", "256", "13, 8", "13.0", "x", "-13"];
    for version in versions.into_iter().chain(no_versions) {
        let octets = handshake(REQUEST_LINE, &[&format!("Sec-WebSocket-Version: {version}")]);
        assert_refused(&octets, Refusal::UnsupportedVersion, 426);
    }
    assert_refused(&handshake(REQUEST_LINE, &["Sec-WebSocket-Version"]), Refusal::MissingVersion, 400);
    let twice = ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"];
    assert_refused(&handshake(REQUEST_LINE, &twice), Refusal::RepeatedVersion, 400);
    for refusal in [Refusal::UnsupportedVersion, Refusal::RepeatedVersion, Refusal::MissingVersion] {
        let mut out = Vec::new();
        refusal.to_response().encode("", false, &mut out);
        let answer = String::from_utf8(out).unwrap();
        assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        assert_eq!(answer.contains("\r\nUpgrade: websocket\r\n"), refusal.status().as_u16() == 426);
    }
}

#[test]
fn server_refuses_keys_that_are_not_16_octets() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //= type=test
    //# A |Sec-WebSocket-Key| header field with a base64-encoded (see
    //# Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in
    //# length.
    for key in ["", "x", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZWU=", "dGhlIHNhbXBsZSBub25jZ===="] {
        let octets = handshake(REQUEST_LINE, &[&format!("Sec-WebSocket-Key: {key}")]);
        assert_refused(&octets, Refusal::InvalidKey, 400);
    }
    assert_refused(&handshake(REQUEST_LINE, &["Sec-WebSocket-Key"]), Refusal::MissingKey, 400);
    //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.1
    //= type=test
    //# The |Sec-WebSocket-Key| header field MUST NOT appear more than once
    //# in an HTTP request.
    let key = FIELDS[3];
    assert_refused(&handshake(REQUEST_LINE, &[key, key]), Refusal::RepeatedKey, 400);
    assert_accepted(&handshake(REQUEST_LINE, &["Sec-WebSocket-Key: \t dGhlIHNhbXBsZSBub25jZQ== \t"]));
}

/// The example of RFC 6455, section 4.1, which erratum 3150 corrects, is one of these.
#[test]
fn server_takes_keys_whose_unused_bits_are_set_and_hashes_them_as_they_were_sent() {
    for (key, accept) in [
        ("AQIDBAUGBwgJCgsMDQ4PEC==", "OfS0wDaT5NoxF2gqm7Zj2YtetzM="),
        ("AQIDBAUGBwgJCgsMDQ4PEA==", "C/0nmHhBztSRGR1CwL6Tf4ZjwpY="),
        ("dGhlIHNhbXBsZSBub25jZR==", "Zgw8jYXtqX5qJr7MJ1Q/MqzeSRI="),
        ("//////////////////////==", "zXRQvy1wi5A4l0hwWYxMN3e2wNk="),
    ] {
        let octets = handshake(REQUEST_LINE, &[&format!("Sec-WebSocket-Key: {key}")]);
        let answer = answer(&octets).unwrap().expect("a 101");
        assert!(answer.contains(&format!("\r\nSec-WebSocket-Accept: {accept}\r\n")), "{key}: {answer}");
    }
}

#[test]
fn server_refuses_malformed_subprotocols() {
    let with = |value: &str| handshake(REQUEST_LINE, &[&format!("Sec-WebSocket-Protocol: {value}")]);
    for value in ["", ",", "a b", "a/b", "\"a\"", "a;b", "\u{e9}", &format!("{}a", ",".repeat(17))] {
        assert_refused(&with(value), Refusal::InvalidSubprotocols, 400);
    }
    assert_refused(&with("a, b, a"), Refusal::RepeatedSubprotocol, 400);
    let repeated = ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"];
    assert_refused(&handshake(REQUEST_LINE, &repeated), Refusal::RepeatedSubprotocol, 400);
    let many = |count: usize| (0..count).map(|number| format!("p{number}")).collect::<Vec<_>>().join(",");
    assert_accepted(&with(&many(64)));
    assert_refused(&with(&many(65)), Refusal::TooManySubprotocols { limit: 64 }, 400);
    assert_accepted(&with("a,, A ,")); // Case matters; empty elements do not.
    assert_accepted(&with(&format!("{}a", ",".repeat(16))));
}

#[test]
fn server_refuses_malformed_extensions() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-9.1
    //= type=test
    //# Note that like other HTTP header fields, this header field MAY be
    //# split or combined across multiple lines.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-9.1
    //= type=test
    //# If a value is received by either the client or
    //# the server during negotiation that does not conform to the ABNF
    //# below, the recipient of such malformed data MUST immediately _Fail
    //# the WebSocket Connection_.
    let with = |value: &str| handshake(REQUEST_LINE, &[&format!("Sec-WebSocket-Extensions: {value}")]);
    for value in
        ["", ";", "a;", "a b", "a;b=", "a;b=\"c d\"", "a;b=\"c", "a=b", "permessage-deflate; =10", "\u{e9}"]
            .map(str::to_owned)
            .iter()
            .chain([&format!("{}a", ",".repeat(17))])
    {
        assert_refused(&with(value), Refusal::InvalidExtensions, 400);
    }
    let lines = ["Sec-WebSocket-Extensions: a; b", "Sec-WebSocket-Extensions: c;"];
    assert_refused(&handshake(REQUEST_LINE, &lines), Refusal::InvalidExtensions, 400);
    let many = format!("{}a", ",".repeat(16));
    for value in
        ["permessage-deflate; client_max_window_bits", "x, y;a=b;c=\"d\"", "foo,,bar ; baz = 2", &many]
    {
        let answer = answer(&with(value)).unwrap().unwrap();
        assert!(!answer.contains("Extensions"), "none is accepted: {answer}");
    }
}

#[test]
fn server_sends_100_before_101_when_it_is_expected() {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
    //= type=test
    //# A server that receives an Expect field value containing a member other than 100-continue MAY respond with a 417
    //# (Expectation Failed) status code to indicate that the unexpected expectation cannot be met.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    //= type=test
    //# If a server receives both an Upgrade and an Expect header field with the "100-continue" expectation (Section
    //# 10.1.1), the server MUST send a 100 (Continue) response before sending a 101 (Switching Protocols) response.
    let answer = answer(&handshake(REQUEST_LINE, &["Expect: 100-Continue"])).unwrap().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n"),
        "{answer}"
    );
    assert_refused(&handshake(REQUEST_LINE, &["Expect: 200-ok"]), Refusal::ExpectationFailed, 417);
}

#[test]
fn server_speaks_only_an_offered_subprotocol() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
    //= type=test
    //# The value chosen MUST be derived
    //# from the client's handshake, specifically by selecting one of
    //# the values from the |Sec-WebSocket-Protocol| field that the
    //# server is willing to use for this connection (if any).
    let octets = handshake(REQUEST_LINE, &["Sec-WebSocket-Protocol: b, a"]);
    every_split(&octets, |result| {
        let request = result.unwrap().unwrap();
        assert_eq!(choose_subprotocol(&request, &["a", "b"]), Some("a"));
        assert_eq!(choose_subprotocol(&request, &["A", "c"]), None);
        assert_eq!(choose_subprotocol::<&str>(&request, &[]), None);
        let upgrade = request.upgrade().unwrap().unwrap();
        let mut out = Vec::new();
        for (name, error) in [
            ("c", AcceptError::SubprotocolNotOffered),
            ("A", AcceptError::SubprotocolNotOffered),
            ("", AcceptError::InvalidSubprotocol),
            ("a, b", AcceptError::InvalidSubprotocol),
            ("a\r\nX: y", AcceptError::InvalidSubprotocol),
        ] {
            assert_eq!(upgrade.accept(&request, &Accept::new().with_subprotocol(name), &mut out), Err(error));
            assert!(out.is_empty());
        }
    });
}

#[test]
fn application_adds_fields_to_the_101() {
    let octets = handshake(REQUEST_LINE, &[]);
    every_split(&octets, |result| {
        let request = result.unwrap().unwrap();
        let accept = Accept::new()
            .with_field(FieldName::from_static("Set-Cookie"), FieldValue::from_static("a=1"))
            .with_field(FieldName::from_static("Set-Cookie"), FieldValue::from_static("b=2"));
        let mut out = Vec::new();
        request.upgrade().unwrap().unwrap().accept(&request, &accept, &mut out).unwrap();
        assert!(out.ends_with(b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"));
    });
}

#[test]
fn server_refuses_strange_origins_and_hosts() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-10.2
    //= type=test
    //# If the origin indicated is unacceptable to the server,
    //# then it SHOULD respond to the WebSocket handshake with a reply
    //# containing HTTP 403 Forbidden status code.
    let origins = AllowedOrigins::new(["https://good.example"]).unwrap();
    let hosts = AllowedHosts::new(["server.example.com"]).unwrap();
    for (origin, allowed) in [("https://good.example", true), ("https://good.example.evil", false)] {
        every_split(&handshake(REQUEST_LINE, &[&format!("Origin: {origin}")]), |result| {
            let request = result.unwrap().unwrap();
            assert_eq!(origins.allows_request(&request), allowed);
            assert!(hosts.allows_request(&request));
        });
    }
    assert_eq!(Refusal::OriginNotAllowed.status().as_u16(), 403);
    assert_eq!(Refusal::HostNotAllowed.status().as_u16(), 421);
}

#[test]
fn deadline_is_absolute() {
    let start = Instant::now();
    let octets = handshake(REQUEST_LINE, &[]);
    let mut server = ServerHandshake::new(HeadLimits::default(), start, Duration::from_secs(10));
    let deadline = start + Duration::from_secs(10);
    for second in 1..10 {
        assert_eq!(server.parse(&octets[..second]), Ok(None));
        assert_eq!(server.poll_timeout(), Some(deadline));
        assert_eq!(server.handle_timeout(start + Duration::from_secs(second as u64)), None);
    }
    assert_eq!(server.handle_timeout(deadline), Some(Refusal::HandshakeTimeout));
    assert_eq!(server.poll_timeout(), None);
    assert_eq!(server.parse(&octets), Err(Refusal::HandshakeTimeout));
    assert_eq!(Refusal::HandshakeTimeout.status().as_u16(), 408);
}

#[test]
fn deadline_ends_with_the_request() {
    let start = Instant::now();
    let octets = handshake(REQUEST_LINE, &[]);
    let mut server = ServerHandshake::new(HeadLimits::default(), start, Duration::from_secs(10));
    assert_eq!(server.parse(&octets), Ok(Some(octets.len())));
    assert_eq!(server.poll_timeout(), None);
    assert_eq!(server.handle_timeout(start + Duration::from_secs(20)), None);
}
