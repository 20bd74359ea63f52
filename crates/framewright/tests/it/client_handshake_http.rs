//! RFC 9110 and RFC 9112: what a client makes of any answer to its opening handshake, be it no 101,
//! no HTTP, or no answer at all.

use std::time::{Duration, Instant};

use framewright::handshake::{
    Answer, BodyReader, ClientHandshake, ClientRequest, FieldName, FieldValue, HeadLimits, RedirectError,
    ResponseError, ServerResponse,
};

use crate::client_handshake::{STATUS_LINE, answer, every_split, request, start};

fn plain() -> ClientRequest {
    request("ws://server.example.com/chat")
}

/// What the client keeps of a refusal, of which it is given `octets` until it wants no more; then
/// the stream ends.
fn refused(octets: &[u8]) -> ServerResponse {
    let (mut client, _) = start(&plain(), HeadLimits::default());
    let result = client.parse(octets);
    let Ok(Some(Answer::Refused { head_len, body })) = result else { panic!("{result:?}") };
    let outcome = |pieces: &[&[u8]]| {
        let mut body = body.clone();
        // The head alone can be all there is to wait for.
        let done = body.push(&[]) || pieces.iter().any(|piece| body.push(piece));
        (done, body.finish())
    };
    let rest = &octets[head_len..];
    let whole = outcome(&[rest]);
    assert_eq!(outcome(&rest.chunks(1).collect::<Vec<_>>()), whole, "{}", octets.escape_ascii());
    for split in 0..rest.len().min(200) {
        let (first, second) = rest.split_at(split);
        assert_eq!(outcome(&[first, second]), whole, "{}", octets.escape_ascii());
    }
    let (body, truncated) = whole.1;
    client.response(octets).to_response(body, truncated)
}

/// The body of an answer, and whether it was cut.
fn body_of(head: &str, rest: &[u8]) -> (String, bool) {
    let response = refused(&[head.as_bytes(), b"\r\n", rest].concat());
    (String::from_utf8_lossy(response.body()).into_owned(), response.is_truncated())
}

fn whole(body: &str) -> (String, bool) {
    (body.to_owned(), false)
}

fn cut(body: &str) -> (String, bool) {
    (body.to_owned(), true)
}

fn fails(octets: &[u8], error: ResponseError) {
    assert_eq!(every_split(&plain(), octets), Err(error), "{}", octets.escape_ascii());
}

/// The caller sees what was said, and in which version.
#[test]
fn refusal_comes_with_status_fields_and_body() {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-4
    //# The status-code element is a 3-digit integer code describing the result of the server's attempt to
    //# understand and satisfy the client's corresponding request.
    for (line, status, minor, reason) in [
        ("HTTP/1.0 503 Service Unavailable", 503, 0, &b"Service Unavailable"[..]),
        ("HTTP/1.1 401 Unauthorized", 401, 1, b"Unauthorized"),
        ("HTTP/1.1 200 ", 200, 1, b""),
        ("HTTP/1.1 301", 301, 1, b""),
        ("HTTP/1.9 426 \u{e9}\t", 426, 9, b"\xc3\xa9\t"),
        ("HTTP/1.1 999 ?", 999, 1, b"?"),
        ("HTTP/1.1 000 ?", 0, 1, b"?"),
    ] {
        let octets = answer(line, &["Content-Length: 4", "X-A: 1", "x-a: 2"]);
        let octets = [&octets[..], b"body and more"].concat();
        assert!(matches!(every_split(&plain(), &octets), Ok(Some(Answer::Refused { .. }))), "{line}");
        let response = refused(&octets);
        assert_eq!((response.status(), response.http_minor(), response.reason()), (status, minor, reason));
        assert_eq!(response.field("content-length"), Some(&b"4"[..]));
        assert_eq!(response.field_all("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!((response.fields().count(), response.body()), (6, &b"body"[..]));
        assert!(!response.is_truncated());
        let debug = format!("{response:?}");
        assert!(debug.contains(&status.to_string()) && !debug.contains("body\""), "{debug}");
    }
}

#[test]
fn body_ends_where_http_says() {
    for status in ["204 No Content", "304 Not Modified"] {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        //# Any response to a HEAD request and any response with a 1xx (Informational), 204 (No Content), or 304 (Not
        //# Modified) status code is always terminated by the first empty line after the header fields, regardless of
        //# the header fields present in the message, and thus cannot contain a message body or trailer section.
        assert_eq!(body_of(&format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n"), b"abc"), whole(""));
    }
    let start = "HTTP/1.1 400 Bad Request\r\n";
    assert_eq!(body_of(&format!("{start}Content-Length: 3\r\n"), b"abcd"), whole("abc"));
    assert_eq!(body_of(&format!("{start}Content-Length: 3, 3\r\n"), b"abcd"), whole("abc"));
    assert_eq!(body_of(&format!("{start}Content-Length: 0\r\n"), b"abcd"), whole(""));
    assert_eq!(body_of(&format!("{start}Content-Length: 3\r\n"), b"ab"), cut("ab"));
    for length in ["-1", "x", "", "3, 4", "99999999999999999999"] {
        assert_eq!(body_of(&format!("{start}Content-Length: {length}\r\n"), b"abc"), cut(""), "{length}");
    }
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //# Otherwise, this is a response message without a declared message body length, so the message body length
    //# is determined by the number of octets received prior to the server closing the connection.
    assert_eq!(body_of(start, b"abc"), whole("abc"));
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //# If a Transfer-Encoding header field is present in a response and the chunked transfer coding is not the
    //# final encoding, the message body length is determined by reading the connection until it is closed by
    //# the server.
    assert_eq!(body_of(&format!("{start}Transfer-Encoding: chunked, gzip\r\n"), b"1\r\n"), whole("1\r\n"));
    let http10 = "HTTP/1.0 400 Bad Request\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n";
    assert_eq!(body_of(http10, b"1\r\n"), whole("1\r\n"));
}

#[test]
fn chunks_are_put_together() {
    let start = "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: Chunked\r\n";
    for (chunks, expected) in [
        (&b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1"[..], whole("abc")),
        (b"0\r\n\r\n", whole("")),
        (b"1\r\na\r\n0B;x=\"y;\"\r\nbcdefghijkl\r\n000\r\nA: b\r\nC:\r\n\r\n", whole("abcdefghijkl")),
        (b"2 \t\r\n\r\n\r\n0;\r\n\r\n", whole("\r\n")),
        (b"3\r\nab", cut("ab")),
        (b"3\r\nabc\r\n", cut("abc")),
        (b"3\r\nabc\r\n0\r\n", cut("abc")),
        (b"3\r\nabc0\r\n\r\n", cut("abc")),
        (b"3\r\nabc\r0", cut("abc")),
        (b"1\r\na\r\nx\r\n", cut("a")),
        (b"1\r\na\r\n\r\n", cut("a")),
        (b"1\r\na\r\n1\nb", cut("a")),
        (b"1\r\na\r\n;x\r\n", cut("a")),
        (b"1\r\na\r\n1;\n", cut("a")),
        (b"1\r\na\r\n1\rb", cut("a")),
        (b"1\r\na\r\n-1\r\n", cut("a")),
        (b"1\r\na\r\n0\r\n\n", cut("a")),
        (b"1\r\na\r\n0\r\nx\r\r", cut("a")),
        (b"1\r\na\r\n10000000000000000\r\n", cut("a")),
        (b"1\r\na\r\nffffffffffffffff\r\nb", cut("ab")),
    ] {
        assert_eq!(body_of(start, chunks), expected, "{}", chunks.escape_ascii());
    }
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //# If a message is received with both a Transfer-Encoding and a Content-Length header field, the
    //# Transfer-Encoding overrides the Content-Length.
    assert_eq!(body_of(&format!("{start}Content-Length: x\r\n"), b"1\r\na\r\n0\r\n\r\n"), whole("a"));
}

#[test]
fn only_the_first_64_kib_of_a_body_are_kept() {
    const LIMIT: usize = 64 * 1024;
    let text = "x".repeat(LIMIT);
    let more = format!("{text}y");
    for (fields, frame) in [
        ("", false),
        ("Content-Length: 65537\r\n", false),
        ("Content-Length: 18446744073709551615\r\n", false),
        ("Transfer-Encoding: chunked\r\n", true),
    ] {
        let head = format!("HTTP/1.1 500 \r\n{fields}");
        let rest = if frame { format!("10001\r\n{more}\r\n0\r\n\r\n") } else { more.clone() };
        let (body, truncated) = body_of(&head, rest.as_bytes());
        assert_eq!((body.len(), truncated), (LIMIT, true), "{fields}");
    }
    assert_eq!(body_of("HTTP/1.1 500 \r\nContent-Length: 65536\r\n", text.as_bytes()), whole(&text));
    assert_eq!(body_of("HTTP/1.1 500 \r\n", text.as_bytes()), whole(&text));
}

/// Chunk extensions and trailer fields have no end of their own.
#[test]
fn octets_without_content_are_bounded() {
    let head = "HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n";
    for start in ["1\r\na\r\n1;", "1\r\na\r\n0\r\n"] {
        let mut client = start_body(head);
        assert!(!client.push(start.as_bytes()));
        assert!(!client.push(&vec![b'x'; 256 * 1024 - 64]));
        assert!(client.push(&[b'x'; 128]));
        assert_eq!(client.finish(), (b"a".to_vec(), true));
    }
    // Small chunks are not what this is about.
    let mut client = start_body(head);
    for _ in 0..10_000 {
        assert!(!client.push(b"1;x\r\na\r\n"));
    }
    assert!(client.push(b"0\r\n\r\n"));
    assert_eq!(client.finish(), (vec![b'a'; 10_000], false));
}

fn start_body(head: &str) -> BodyReader {
    let octets = format!("{head}\r\n");
    match start(&plain(), HeadLimits::default()).0.parse(octets.as_bytes()) {
        Ok(Some(Answer::Refused { body, .. })) => body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn client_fails_on_what_is_no_http_1_response() {
    for line in ["HTTP/2 101 Switching Protocols", "HTTP/2.0 200 OK", "HTTP/3 200", "HTTP/0.9 200"] {
        fails(&answer(line, &[]), ResponseError::HttpVersionNotSupported);
    }
    fails(&answer("HTTP/1.0 101 Switching Protocols", &[]), ResponseError::UpgradeInHttp10);
    for line in [
        "HTTP/1.1 1O1 Switching Protocols",
        "HTTP/1.1 0000000101 Switching Protocols",
        "HTTP/1.1 1010 Switching Protocols",
        "HTTP/1.1 10 Switching Protocols",
        "HTTP/1.1 101\tSwitching Protocols",
        "HTTP/1.1 101Switching Protocols",
        "HTTP/1.1  101 Switching Protocols",
        "HTTP/1.1\t101 Switching Protocols",
        "HTTP/1.1 ",
        "HTTP/1.1",
        "HTTP/1.",
        "HTTP/1",
        "HTTP/1.x 101",
        "HTTP/1.10 101",
        "HTTP/11 101",
        "HTTP/x",
        "HTTP/1.1 +11 Switching Protocols",
        "HTTP/1.1 101 Switching\0Protocols",
        "HTTP/1.1 101 \x7f",
    ] {
        fails(&answer(line, &[]), ResponseError::InvalidStatusLine);
    }
    for line in [
        "",
        "http/1.1 101 Switching Protocols",
        " HTTP/1.1 101",
        "ICY 200 OK",
        "SSH-2.0-x",
        "\0",
        "HTTPS/1.1",
    ] {
        fails(&answer(line, &[]), ResponseError::NotHttp);
    }
    for line in ["HTTP/1.1 101\n", "HTTP/1.1 101 OK\n", "HTTP/1\n", "HTTP/1.1 1\n"] {
        fails(line.as_bytes(), ResponseError::BareLf);
    }
    for line in ["HTTP/1.1 101\rX", "HTTP/1.1 101 OK\r\r"] {
        fails(line.as_bytes(), ResponseError::BareCr);
    }
}

/// What may not stand in a field line fails, whatever the status; what may is kept as it is.
#[test]
fn client_fails_on_malformed_field_lines() {
    for line in [STATUS_LINE, "HTTP/1.1 503 Service Unavailable", "HTTP/1.0 200", "HTTP/1.1 100 Continue"] {
        let with = |fields: &str| [line, "\r\n", fields].concat().into_bytes();
        for (fields, error) in [
            (" X: y\r\n", ResponseError::SpaceBeforeFirstField),
            ("A: b\r\n c\r\n\r\n", ResponseError::ObsoleteFolding),
            ("A: b\r\n\tc\r\n\r\n", ResponseError::ObsoleteFolding),
            ("A : b\r\n\r\n", ResponseError::SpaceBeforeColon),
            ("A b\r\n\r\n", ResponseError::SpaceBeforeColon),
            (": b\r\n\r\n", ResponseError::InvalidFieldName),
            ("A\u{e9}: b\r\n\r\n", ResponseError::InvalidFieldName),
            ("A\r\n\r\n", ResponseError::InvalidFieldName),
            ("A: b\0\r\n\r\n", ResponseError::InvalidFieldValue),
            ("A: \x7f\r\n\r\n", ResponseError::InvalidFieldValue),
            ("A: b\rc\r\n\r\n", ResponseError::BareCr),
            ("A: b\nC: d\r\n\r\n", ResponseError::BareLf),
            ("\n", ResponseError::BareLf),
            ("\rX", ResponseError::BareCr),
        ] {
            fails(&with(fields), error);
        }
    }
    let octets = answer("HTTP/1.1 400 ", &["X:\t\u{e9} \u{1f600}\t", "Content-Length: 0"]);
    assert_eq!(refused(&octets).field("x"), Some("\u{e9} \u{1f600}".as_bytes()));
}

#[test]
fn head_is_limited_in_octets_and_lines() {
    let limits = HeadLimits { request_line: 1, head: 200, fields: 3 };
    let parse = |octets: &[u8], limits| start(&plain(), limits).0.parse(octets);
    let octets = answer(STATUS_LINE, &[]);
    assert!(octets.len() < 200);
    assert!(matches!(parse(&octets, limits), Ok(Some(Answer::Accepted { .. }))));
    let exact = HeadLimits { head: octets.len(), ..limits };
    assert!(matches!(parse(&[&octets[..], b"\x81\x00"].concat(), exact), Ok(Some(_))));
    let limit = octets.len() - 1;
    let tight = HeadLimits { head: limit, ..limits };
    assert_eq!(parse(&octets, tight), Err(ResponseError::HeadTooLong { limit }));
    assert_eq!(parse(&octets[..limit], tight), Err(ResponseError::HeadTooLong { limit }));
    assert_eq!(parse(&octets[..limit - 1], tight), Ok(None));
    let more = answer(STATUS_LINE, &["X: y"]);
    assert_eq!(parse(&more, limits), Err(ResponseError::TooManyFields { limit: 3 }));

    let endless = [b"HTTP/1.1 200 ".to_vec(), vec![b'x'; 1 << 20]].concat();
    assert_eq!(parse(&endless, HeadLimits::default()), Err(ResponseError::HeadTooLong { limit: 16 * 1024 }));
    let lines = "A: b\r\n".repeat(100_000);
    let lines = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    let error = ResponseError::TooManyFields { limit: 100 };
    assert_eq!(parse(lines.as_bytes(), HeadLimits::default()), Err(error));
}

#[test]
fn interim_responses_are_skipped() {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
    //# A client MUST be able to parse one or more 1xx responses received prior to a final response, even if the client
    //# does not expect one.
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n\
        HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n";
    let octets = [interim.as_bytes(), &answer(STATUS_LINE, &[])].concat();
    let Ok(Some(Answer::Accepted { head_len, .. })) = every_split(&plain(), &octets) else { panic!() };
    assert_eq!(head_len, octets.len());
    let octets = [interim.as_bytes(), b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nX: y\r\n\r\nno"].concat();
    let response = refused(&octets);
    assert_eq!((response.status(), response.reason(), response.body()), (403, &b"No"[..], &b"no"[..]));
    let fields: Vec<_> = response.fields().collect();
    assert_eq!(fields, [("Content-Length", &b"2"[..]), ("X", b"y")]);

    let octets = ["HTTP/1.1 100\r\n\r\n".repeat(5).as_bytes(), &answer(STATUS_LINE, &[])].concat();
    assert!(matches!(every_split(&plain(), &octets), Ok(Some(Answer::Accepted { .. }))));
    let octets = "HTTP/1.1 100\r\n\r\n".repeat(6);
    fails(octets.as_bytes(), ResponseError::TooManyInterimResponses { limit: 5 });
    // They count for the limit of the head.
    let limits = HeadLimits { head: 200, ..HeadLimits::default() };
    let octets = [interim.as_bytes(), &answer(STATUS_LINE, &[])].concat();
    let error = ResponseError::HeadTooLong { limit: 200 };
    assert_eq!(start(&plain(), limits).0.parse(&octets), Err(error));
}

#[test]
fn end_of_the_stream_and_the_deadline_fail_a_handshake_that_waits() {
    let now = Instant::now();
    let timeout = Duration::from_secs(10);
    let start = || {
        let mut nonce = |target: &mut [u8]| target.fill(7);
        let mut out = Vec::new();
        ClientHandshake::new(&plain(), &mut nonce, HeadLimits::default(), now, timeout, &mut out)
    };
    let mut client = start();
    assert_eq!(client.parse(b""), Ok(None));
    assert_eq!(client.handle_eof(), ResponseError::Closed);
    assert_eq!((client.poll_timeout(), client.parse(b"")), (None, Err(ResponseError::Closed)));
    for octets in [&b"H"[..], b"HTTP/1.1 101 ", b"HTTP/1.1 100\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"] {
        let mut client = start();
        assert_eq!(client.parse(octets), Ok(None));
        assert_eq!(client.handle_eof(), ResponseError::Truncated);
        assert_eq!(client.handle_timeout(now + timeout), None);

        let mut client = start();
        assert_eq!(client.parse(octets), Ok(None));
        assert_eq!(client.poll_timeout(), Some(now + timeout));
        assert_eq!(client.handle_timeout(now + timeout - Duration::from_nanos(1)), None);
        assert_eq!(client.handle_timeout(now + timeout), Some(ResponseError::Timeout));
        assert_eq!(client.handle_timeout(now + timeout), None);
        assert_eq!((client.poll_timeout(), client.parse(octets)), (None, Err(ResponseError::Timeout)));
        assert_eq!(client.handle_eof(), ResponseError::Timeout);
    }
}

#[test]
fn redirects_are_followed_with_what_is_meant_for_the_target() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the status code received from the server is not 101, the
    //# client handles the response per HTTP [RFC2616] procedures.  In
    //# particular, the client might perform authentication if it
    //# receives a 401 status code; the server might redirect the client
    //# using a 3xx status code (but clients are not required to follow
    //# them), etc.
    let value = || FieldValue::from_static("a");
    let fields =
        ["Authorization", "cookie", "Proxy-Authorization", "x-api-key", "Origin"].map(FieldName::from_static);
    let request = fields
        .into_iter()
        .fold(request("wss://a/b/c").with_subprotocol("chat").unwrap(), |request, name| {
            request.with_field(name, value())
        })
        .with_secret_field(FieldName::from_static("X-Session"), value())
        .with_field(FieldName::from_static("X-Session"), value());
    let redirected = |status: u16, locations: &[&str]| {
        let lines: String = locations.iter().map(|location| format!("location: {location}\r\n")).collect();
        let octets = format!("HTTP/1.1 {status} \r\n{lines}\r\n");
        let (mut client, _) = start(&request, HeadLimits::default());
        client.parse(octets.as_bytes()).unwrap().unwrap();
        request.redirected(&client.response(octets.as_bytes()))
    };
    let names = |request: &ClientRequest| -> Vec<String> {
        request.fields().map(|(name, _)| name.as_str().to_owned()).collect()
    };
    for status in [301, 302, 303, 307, 308] {
        let next = redirected(status, &["../d?e"]).unwrap().unwrap();
        assert_eq!(next.uri().as_str(), "wss://a/d?e");
        assert_eq!(next.fields().collect::<Vec<_>>(), request.fields().collect::<Vec<_>>());
        for other in ["https://b/", "wss://a:444/", "//a:1"] {
            let next = redirected(status, &[other]).unwrap().unwrap();
            // The second X-Session is no secret.
            assert_eq!(names(&next), ["Origin", "X-Session"], "{other}");
            assert_eq!(next.subprotocols().collect::<Vec<_>>(), ["chat"]);
        }
        assert_eq!(redirected(status, &["http://a/"]), Some(Err(RedirectError::Downgrade)));
        assert_eq!(redirected(status, &["a b"]), Some(Err(RedirectError::InvalidLocation)));
        assert_eq!(redirected(status, &["/a", "/b"]), Some(Err(RedirectError::RepeatedLocation)));
        assert_eq!(redirected(status, &[]), None);
    }
    for status in [200, 300, 304, 305, 306, 400, 503] {
        assert_eq!(redirected(status, &["/d"]), None, "{status}");
    }
}
