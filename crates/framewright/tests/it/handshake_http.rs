//! RFC 9110 and RFC 9112: what a server demands of any request before it looks for an opening
//! handshake. The requests arrive in every split, as in `handshake`.

use framewright::handshake::Refusal;

use super::handshake::{
    FIELDS, REQUEST_LINE, answer, assert_accepted, assert_refused, every_split, handshake,
};

#[test]
fn server_accepts_one_empty_line_before_the_request() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-2.2
    //= type=test
    //# In the interest of robustness, a server that is expecting to receive and parse a request-line SHOULD
    //# ignore at least one empty line (CRLF) received prior to the request-line.
    assert_accepted(&[b"\r\n", &handshake(REQUEST_LINE, &[])[..]].concat());
    assert_refused(&[b"\r\n\r\n", &handshake(REQUEST_LINE, &[])[..]].concat(), Refusal::InvalidMethod, 400);
}

#[test]
fn server_accepts_absolute_form_and_takes_its_host() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    //= type=test
    //# A server MUST accept the absolute-form in requests even though most HTTP/1.1 clients will only send the
    //# absolute-form to a proxy.
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    //= type=test
    //# When an origin server receives a request with an absolute-form of request-target, the origin server MUST ignore
    //# the received Host header field (if any) and instead use the host information of the request-target.
    let octets = handshake("GET http://other.example:81/chat?x HTTP/1.1", &[]);
    assert_accepted(&octets);
    every_split(&octets, |result| {
        let request = result.unwrap().unwrap();
        assert_eq!(request.host(), "other.example:81");
        assert_eq!((request.path(), request.query()), ("/chat", Some("x")));
    });
    assert_accepted(&handshake("GET HTTPS://other.example HTTP/1.1", &[]));
}

#[test]
fn server_refuses_other_targets() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-3
    //= type=test
    //# Fragment identifiers are meaningless in the context of WebSocket URIs
    //# and MUST NOT be used on these URIs.
    for target in ["chat", "ws://a/", "http://", "http:///x", "http://u@h/", "*", "/a#b", "/a#", "a:80"] {
        assert_refused(&handshake(&format!("GET {target} HTTP/1.1"), &[]), Refusal::InvalidTarget, 400);
    }
    assert_refused(&handshake("CONNECT a:80 HTTP/1.1", &[]), Refusal::ConnectNotImplemented, 501);
}

#[test]
fn server_refuses_malformed_request_lines() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //= type=test
    //# If
    //# the server, while reading the handshake, finds that the client did
    //# not send a handshake that matches the description below (note that as
    //# per [RFC2616], the order of the header fields is not important),
    //# including but not limited to any violations of the ABNF grammar
    //# specified for the components of the handshake, the server MUST stop
    //# processing the client's handshake and return an HTTP response with an
    //# appropriate error code (such as 400 Bad Request).
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    //= type=test
    //# Recipients of an invalid request-line SHOULD respond with either a 400 (Bad Request) error or a 301 (Moved
    //# Permanently) redirect with the request-target properly encoded.
    for (line, refusal) in [
        ("GET", Refusal::InvalidMethod),
        ("G\0T / HTTP/1.1", Refusal::InvalidMethod),
        (" GET / HTTP/1.1", Refusal::InvalidMethod),
        ("GET /", Refusal::InvalidTarget),
        ("GET  / HTTP/1.1", Refusal::InvalidTarget),
        ("GET /a\tb HTTP/1.1", Refusal::InvalidTarget),
        ("GET /\u{e9} HTTP/1.1", Refusal::InvalidTarget),
        ("GET /a b HTTP/1.1", Refusal::InvalidHttpVersion),
        ("GET /  HTTP/1.1", Refusal::InvalidHttpVersion),
        ("GET / HTTP/1.1 ", Refusal::InvalidHttpVersion),
        ("GET / HTTP/1", Refusal::InvalidHttpVersion),
        ("GET / HTTP/1.", Refusal::InvalidHttpVersion),
        ("GET / http/1.1", Refusal::InvalidHttpVersion),
        ("GET / HTTP/1,1", Refusal::InvalidHttpVersion),
        ("GET / HTTP/1.10", Refusal::InvalidHttpVersion),
    ] {
        assert_refused(&handshake(line, &[]), refusal, 400);
    }
}

#[test]
fn server_refuses_other_http_versions() {
    for line in ["GET / HTTP/2.0", "GET / HTTP/3", "GET / HTTP/0.9", "PRI * HTTP/2.0"] {
        assert_refused(&handshake(line, &[]), Refusal::HttpVersionNotSupported, 505);
    }
    assert_accepted(&handshake("GET / HTTP/1.2", &[]));
}

#[test]
fn server_refuses_bare_cr_and_bare_lf() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-2.2
    //= type=test
    //# A recipient of such a bare CR MUST consider that element to be invalid or replace each bare CR with SP before
    //# processing the element or forwarding the message.
    assert_refused(b"GET / HTTP/1.1\rHost: a\r\n\r\n", Refusal::BareCr, 400);
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Refusal::BareCr, 400);
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\n\rx", Refusal::BareCr, 400);
    assert_refused(b"\rGET / HTTP/1.1\r\n\r\n", Refusal::BareCr, 400);
    assert_refused(b"GET / HTTP/1.1\nHost: a\n\n", Refusal::BareLf, 400);
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::BareLf, 400);
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::BareLf, 400);
}

#[test]
fn server_refuses_malformed_field_lines() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-5.2
    //= type=test
    //# A server that receives an obs-fold in a request message that is not within a "message/http" container MUST
    //# either reject the message by sending a 400 (Bad Request), preferably with a representation explaining that
    //# obsolete line folding is unacceptable, or replace each received obs-fold with one or more SP octets
    //= https://www.rfc-editor.org/rfc/rfc9112#section-2.2
    //= type=test
    //# A recipient that receives whitespace between the start-line and the first header field MUST either reject
    //# the message as invalid or consume each whitespace-preceded line without further processing of it
    //= https://www.rfc-editor.org/rfc/rfc9112#section-5.1
    //= type=test
    //# A server MUST reject, with a response status code of 400 (Bad Request), any received request message that
    //# contains whitespace between a header field name and colon.
    assert_refused(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::SpaceBeforeColon, 400);
    assert_refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::SpaceBeforeFirstField, 400);
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", Refusal::ObsoleteFolding, 400);
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refusal::InvalidFieldName, 400);
    assert_refused(b"GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n", Refusal::InvalidFieldName, 400);
    assert_refused(b"GET / HTTP/1.1\r\nH\xc3\xb6st: a\r\n\r\n", Refusal::InvalidFieldName, 400);
    assert_refused(b"GET / HTTP/1.1\r\nH(st: a\r\n\r\n", Refusal::InvalidFieldName, 400);
    for control in (0..0x20).filter(|byte| !b"\t\r\n".contains(byte)).chain([0x7f]) {
        let octets = [b"GET / HTTP/1.1\r\nHost: a\r\nX: b", &[control][..], b"c\r\n\r\n"].concat();
        assert_refused(&octets, Refusal::InvalidFieldValue, 400);
    }
}

#[test]
fn server_refuses_a_request_line_over_the_limit() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3
    //= type=test
    //# A server that receives a method longer than any that it implements SHOULD respond with a 501 (Not
    //# Implemented) status code.
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3
    //= type=test
    //# A server that receives a request-target longer than any URI it wishes to parse MUST respond with a 414
    //# (URI Too Long) status code
    let target = |length: usize| handshake(&format!("GET /{} HTTP/1.1", "a".repeat(length - 14)), &[]);
    assert_accepted(&target(8192));
    assert_refused(&target(8193), Refusal::RequestLineTooLong { limit: 8192 }, 414);
    // As soon as it shows, not at the end of the line.
    assert_refused(&target(9000)[..8193], Refusal::RequestLineTooLong { limit: 8192 }, 414);
    assert_refused(&[b'A'; 33], Refusal::MethodTooLong, 501);
}

#[test]
fn server_refuses_a_head_over_the_limit() {
    //= https://www.rfc-editor.org/rfc/rfc6585#section-5
    //= type=test
    //# The 431 status code indicates that the server is unwilling to process the request because its header
    //# fields are too large.
    let base = handshake(REQUEST_LINE, &["Cookie: "]).len();
    let head = |length: usize| handshake(REQUEST_LINE, &[&format!("Cookie: {}", "a".repeat(length - base))]);
    assert_accepted(&head(16384));
    assert_refused(&head(16385), Refusal::HeadTooLong { limit: 16384 }, 431);
    assert_refused(&head(20000), Refusal::HeadTooLong { limit: 16384 }, 431);
}

#[test]
fn server_refuses_more_field_lines_than_the_limit() {
    let lines = |count: usize| (0..count).map(|number| format!("X-{number}: y")).collect::<Vec<_>>();
    let head = |count: usize| {
        let lines = lines(count - FIELDS.len());
        handshake(REQUEST_LINE, &lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_accepted(&head(100));
    assert_refused(&head(101), Refusal::TooManyFields { limit: 100 }, 431);
}

#[test]
fn server_refuses_request_without_host() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    //= type=test
    //# A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host
    //# header field and to any request message that contains more than one Host header field line or a Host header
    //# field with an invalid field value.
    assert_refused(&handshake(REQUEST_LINE, &["Host"]), Refusal::MissingHost, 400);
    assert_refused(&handshake(REQUEST_LINE, &["Host: a", "host: a"]), Refusal::RepeatedHost, 400);
    for host in ["", "a b", "a/b", "a,b:c", "a:b", "a:65536", "[::1", "u@a", "http://a", "\u{e9}"] {
        assert_refused(&handshake(REQUEST_LINE, &[&format!("Host: {host}")]), Refusal::InvalidHost, 400);
    }
    for host in ["a", "a:80", "[::1]:9001", "127.0.0.1:", "xn--bcher-kva.example"] {
        assert_accepted(&handshake(REQUEST_LINE, &[&format!("Host: {host}")]));
    }
}

#[test]
fn server_refuses_invalid_content_length() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //= type=test
    //# If a message is received without Transfer-Encoding and with an invalid Content-Length header field, then the
    //# message framing is invalid and the recipient MUST treat it as an unrecoverable error, unless the field value
    //# can be successfully parsed as a comma-separated list (Section 5.6.1 of [HTTP]), all values in the list are
    //# valid, and all values in the list are the same
    for value in ["x", "", "-1", "+1", "1 2", "1,2", "0x1", "1.0", "18446744073709551616", "5,"] {
        let octets = handshake(REQUEST_LINE, &[&format!("Content-Length: {value}")]);
        assert_refused(&octets, Refusal::InvalidContentLength, 400);
    }
    let octets = handshake(REQUEST_LINE, &["Content-Length: 0", "Content-Length: 1"]);
    assert_refused(&octets, Refusal::InvalidContentLength, 400);
}

#[test]
fn server_refuses_unreliable_transfer_encoding() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //= type=test
    //# If a Transfer-Encoding header field is present in a request and the chunked transfer coding is not the final
    //# encoding, the message body length cannot be determined reliably; the server MUST respond with the 400 (Bad
    //# Request) status code and then close the connection.
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //= type=test
    //# A server that receives a request message with a transfer coding it does not understand SHOULD respond with 501
    //# (Not Implemented).
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //= type=test
    //# A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field MUST treat the
    //# message as if the framing is faulty, even if a Content-Length is present, and close the connection after
    //# processing the message.
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //= type=test
    //# A server MAY reject a request that contains both Content-Length and Transfer-Encoding or process such a request
    //# in accordance with the Transfer-Encoding alone.
    for (more, refusal, status) in [
        (&["Transfer-Encoding: gzip"][..], Refusal::InvalidTransferEncoding, 400),
        (&["Transfer-Encoding: chunked, gzip"], Refusal::InvalidTransferEncoding, 400),
        (&["Transfer-Encoding: chunked, chunked"], Refusal::InvalidTransferEncoding, 400),
        (&["Transfer-Encoding:"], Refusal::InvalidTransferEncoding, 400),
        (&["Transfer-Encoding: a b, chunked"], Refusal::InvalidTransferEncoding, 400),
        (&["Transfer-Encoding: gzip, chunked"], Refusal::UnknownTransferCoding, 501),
        (&["Transfer-Encoding: x;q=1", "Transfer-Encoding: chunked"], Refusal::UnknownTransferCoding, 501),
        (
            &["Transfer-Encoding: chunked", "Content-Length: 1"],
            Refusal::TransferEncodingAndContentLength,
            400,
        ),
    ] {
        assert_refused(&handshake(REQUEST_LINE, more), refusal, status);
    }
    let octets = handshake("GET / HTTP/1.0", &["Transfer-Encoding: chunked"]);
    assert_refused(&octets, Refusal::TransferEncodingInHttp10, 400);
}

#[test]
fn refusal_reflects_nothing_of_the_request() {
    let octets = b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: <b>\r\n\r\n";
    let refusal = answer(octets).unwrap_err();
    let mut out = Vec::new();
    refusal.to_response().encode("Sun, 06 Nov 1994 08:49:37 GMT", false, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains('<'), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(text.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{text}");
}
