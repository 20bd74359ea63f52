//! The server's answer to the opening handshake (RFC 6455, section 4.1): what is not right fails
//! it, and nothing is sent behind the request.

use crate::common::{Kind, LATER, Server, plain, request, through_both_apis};
use framewright::handshake::HeadLimits;
use framewright_client::{ClientRequest, ConnectError, Options, ResponseError};
use std::time::{Duration, Instant};

/// A right answer with other lines than its own in the places of `UPGRADE`, `CONNECTION` and
/// `ACCEPT`.
const RIGHT: [&str; 3] = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: ACCEPT"];

fn switching(lines: &[&str]) -> String {
    format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n\r\n", lines.join("\r\n"))
}

fn with(line: &str) -> String {
    switching(&[&RIGHT[..], &[line]].concat())
}

/// Connects to a server that answers so and keeps the connection open: nothing may come behind the
/// request, and the client has to leave.
fn answered(kind: Kind, make: impl Fn(ClientRequest) -> ClientRequest, answer: &str) -> ConnectError {
    let text = answer.to_owned();
    let server = Server::start(move |peer| {
        peer.answer_with(&text);
        peer.expect_gone();
    });
    let outcome = kind.connect(make(request(server.addr())), &plain());
    let Err(error) = outcome else { panic!("accepted: {answer}") };
    server.end();
    error
}

#[track_caller]
fn fails(kind: Kind, answer: &str, expected: ResponseError) {
    fails_for(kind, |request| request, answer, expected);
}

#[track_caller]
fn fails_for(
    kind: Kind,
    make: impl Fn(ClientRequest) -> ClientRequest,
    answer: &str,
    expected: ResponseError,
) {
    match answered(kind, make, answer) {
        ConnectError::Handshake(error) => assert_eq!(error, expected, "{answer}"),
        other => panic!("{other} for {answer}"),
    }
}

/// Connects to a server that answers so, and exchanges a message.
fn opens(kind: Kind, request: impl FnOnce(ClientRequest) -> ClientRequest, answer: &str) -> Option<String> {
    let text = answer.to_owned();
    let server = Server::start(move |peer| {
        peer.answer_with(&text);
        peer.script("text \"first\"");
        peer.expect_text("second");
    });
    let request = request(crate::common::request(server.addr()));
    let mut client = kind.connect(request, &plain()).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(client.response().status(), 101);
    let subprotocol = client.subprotocol();
    client.expect_text("first");
    client.send_text("second").expect("an open connection");
    server.end();
    subprotocol
}

// Conformance 19.
#[test]
fn an_answer_that_is_no_101_is_returned_with_its_fields_and_its_body() {
    through_both_apis(|kind| {
        for (head, status, minor) in [
            ("HTTP/1.1 200 OK", 200, 1),
            ("HTTP/1.1 301 Moved", 301, 1),
            ("HTTP/1.1 401 Unauthorized", 401, 1),
            ("HTTP/1.1 426 Upgrade Required", 426, 1),
            ("HTTP/1.0 503 Service Unavailable", 503, 0),
        ] {
            for (framing, cut) in [("Content-Length: 9\r\n", true), ("", false)] {
                let fields = "Retry-After: 7\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nLocation: /there\r\n";
                let answer = format!("{head}\r\n{fields}{framing}\r\nnot today");
                let server = Server::start(move |peer| {
                    peer.send(answer);
                    if !cut {
                        peer.shutdown_write();
                    }
                    peer.expect_gone();
                });
                let Err(error) = kind.connect(request(server.addr()), &plain()) else { panic!("accepted") };
                let ConnectError::Refused(response) = error else { panic!("{error}") };
                assert_eq!((response.status(), response.http_minor()), (status, minor));
                assert_eq!(response.field("retry-after"), Some(&b"7"[..]));
                assert_eq!(response.field_all("set-cookie").collect::<Vec<_>>(), [b"a", b"b"]);
                assert_eq!((response.body(), response.is_truncated()), (&b"not today"[..], false));
                server.end();
            }
        }
    });
}

#[test]
fn an_answer_is_permanent_unless_a_later_one_may_differ() {
    let refused = |status: u16| format!("HTTP/1.1 {status} Reason\r\nContent-Length: 0\r\n\r\n");
    let permanent = [200, 302, 400, 401, 403, 404, 407, 426, 501, 505].map(|status| (refused(status), true));
    let passing = [408, 425, 429, 500, 502, 503, 504, 599].map(|status| (refused(status), false));
    let wrong = [("220 smtp\r\n".to_owned(), true), (switching(&RIGHT[1..]), true)];
    for (answer, expected) in permanent.into_iter().chain(passing).chain(wrong) {
        let error = answered(Kind::Blocking, |request| request, &answer);
        assert_eq!(error.is_permanent(), expected, "{error} for {answer}");
    }
    for part in ["", "HTTP/1.1 101 Switching Proto"] {
        let server = Server::start(move |peer| {
            peer.send(part);
            peer.shutdown_write();
            peer.expect_gone();
        });
        let Err(error) = Kind::Blocking.connect(request(server.addr()), &plain()) else { panic!("accepted") };
        assert!(matches!(error, ConnectError::Handshake(_)) && !error.is_permanent(), "{error}");
        server.end();
    }
}

#[test]
fn of_a_long_body_64_kib_are_kept() {
    through_both_apis(|kind| {
        for framing in ["Content-Length: 10000000\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            let chunked = framing.starts_with("Transfer");
            let server = Server::start(move |peer| {
                peer.send(format!("HTTP/1.1 503 Service Unavailable\r\n{framing}\r\n"));
                // The client leaves before the end.
                while peer.try_send(if chunked { "5\r\nabcde\r\n" } else { "abcde" }).is_ok() {}
                peer.expect_gone();
            });
            let Err(error) = kind.connect(request(server.addr()), &plain()) else { panic!("accepted") };
            let ConnectError::Refused(response) = error else { panic!("{error}") };
            assert_eq!((response.body().len(), response.is_truncated()), (64 << 10, true));
            assert!(response.body().starts_with(b"abcdeabcde"));
            server.end();
        }
    });
}

// Conformance 20, 21.
#[test]
fn a_101_that_upgrades_to_something_else_or_to_nothing_fails() {
    through_both_apis(|kind| {
        let [upgrade, connection, accept] = RIGHT;
        fails(kind, &switching(&[connection, accept]), ResponseError::MissingUpgrade);
        for wrong in ["h2c", "websockets", "websocket/13", "web socket"] {
            let line = format!("Upgrade: {wrong}");
            fails(kind, &switching(&[&line, connection, accept]), ResponseError::InvalidUpgrade);
        }
        fails(kind, &switching(&[upgrade, accept]), ResponseError::MissingConnectionUpgrade);
        for wrong in ["close", "keep-alive", "upgraded", "Up grade"] {
            let line = format!("Connection: {wrong}");
            fails(kind, &switching(&[upgrade, &line, accept]), ResponseError::MissingConnectionUpgrade);
        }
    });
}

// Conformance 22, 48.
#[test]
fn a_sec_websocket_accept_that_does_not_answer_the_key_fails() {
    through_both_apis(|kind| {
        let [upgrade, connection, _] = RIGHT;
        fails(kind, &switching(&[upgrade, connection]), ResponseError::MissingAccept);
        for wrong in ["", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "ACCEPTA", "ACCEPT=", "\"ACCEPT\""] {
            let line = format!("Sec-WebSocket-Accept: {wrong}");
            fails(kind, &switching(&[upgrade, connection, &line]), ResponseError::WrongAccept);
        }
        let line = "Sec-WebSocket-Accept: ACCEPT";
        let wrong = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        for [first, second] in [[line, wrong], [wrong, line], [line, line]] {
            fails(kind, &switching(&[upgrade, connection, first, second]), ResponseError::RepeatedAccept);
        }
    });
}

// Base64 knows two cases.
#[test]
fn a_sec_websocket_accept_in_another_letter_case_fails() {
    through_both_apis(|kind| {
        let server = Server::start(|peer| {
            let flip = |c: char| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            };
            let flipped: String = peer.accept_value().chars().map(flip).collect();
            peer.send(switching(&[RIGHT[0], RIGHT[1], &format!("Sec-WebSocket-Accept: {flipped}")]));
            peer.expect_gone();
        });
        let outcome = kind.connect(request(server.addr()), &plain());
        assert!(matches!(outcome, Err(ConnectError::Handshake(ResponseError::WrongAccept))));
        server.end();
    });
}

// Conformance 20, 21, 22, 132, 144.
#[test]
fn an_answer_may_say_it_in_other_words() {
    through_both_apis(|kind| {
        let [upgrade, connection, accept] = RIGHT;
        for answer in [
            switching(&[
                "uPGRADE: WebSocket",
                "CONNECTION: keep-alive, uPgRaDe",
                "sec-websocket-accept:ACCEPT",
            ]),
            switching(&[upgrade, connection, "Sec-WebSocket-Accept: \t ACCEPT \t"]),
            switching(&[upgrade, "Connection: close", "Connection: Upgrade", accept]),
            // Neither has a meaning for a 101: what follows are frames.
            with("Content-Length: 1000"),
            with("Transfer-Encoding: chunked"),
            with("Server: caf\u{e9}\r\nX-Empty:\r\nDate: today"),
            format!("HTTP/1.1 100 Continue\r\n\r\n{}", switching(&RIGHT)),
            format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 \r\n\r\n{}",
                switching(&RIGHT)
            ),
            switching(&RIGHT).replace("Switching Protocols", ""),
        ] {
            assert_eq!(opens(kind, |request| request, &answer), None);
        }
    });
}

// Conformance 23.
#[test]
fn an_extension_that_was_not_offered_fails() {
    through_both_apis(|kind| {
        for value in ["permessage-deflate", "x-webkit-deflate-frame", "foo; bar=1"] {
            let answer = with(&format!("Sec-WebSocket-Extensions: {value}"));
            let error = answered(kind, |request| request, &answer);
            assert!(matches!(error, ConnectError::Handshake(_)), "{error}");
        }
    });
}

// Conformance 24, 49.
#[test]
fn a_subprotocol_that_was_not_offered_fails() {
    let offer = |request: ClientRequest| {
        request
            .with_subprotocol("chat.v2")
            .and_then(|request| request.with_subprotocol("chat.v1"))
            .expect("tokens")
    };
    through_both_apis(|kind| {
        let answer = |value: &str| with(&format!("Sec-WebSocket-Protocol: {value}"));
        fails(kind, &answer("chat.v1"), ResponseError::SubprotocolNotOffered);
        for wrong in ["chat.v3", "CHAT.V1", "chat"] {
            fails_for(kind, offer, &answer(wrong), ResponseError::SubprotocolNotOffered);
        }
        for wrong in ["", "chat.v1, chat.v2", "chat v1"] {
            fails_for(kind, offer, &answer(wrong), ResponseError::InvalidSubprotocol);
        }
        let twice = with("Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: chat.v1");
        fails_for(kind, offer, &twice, ResponseError::RepeatedSubprotocol);

        assert_eq!(opens(kind, offer, &answer("chat.v1")).as_deref(), Some("chat.v1"));
        // None is the server's to choose.
        assert_eq!(opens(kind, offer, &switching(&RIGHT)), None);
    });
}

// Conformance 9.
#[test]
fn a_status_line_that_is_none_fails() {
    through_both_apis(|kind| {
        let other = |start: &str| switching(&RIGHT).replace("HTTP/1.1 101 Switching Protocols", start);
        fails(kind, &other("HTTP/1.0 101 Switching Protocols"), ResponseError::UpgradeInHttp10);
        fails(kind, &other("HTTP/2.0 101 Switching Protocols"), ResponseError::HttpVersionNotSupported);
        for wrong in
            ["HTTP/1.1 1O1 Switching", "HTTP/1.1 1010000000 Switching", "HTTP/1.1 99 Low", "HTTP/1.1  101 X"]
        {
            fails(kind, &other(wrong), ResponseError::InvalidStatusLine);
        }
        for wrong in ["SSH-2.0-OpenSSH_9.9", "ICY 101 OK", "\u{1}\u{2}\u{3}"] {
            fails(kind, &other(wrong), ResponseError::NotHttp);
        }
    });
}

// Conformance 96.
#[test]
fn an_endless_answer_ends_at_the_limits() {
    through_both_apis(|kind| {
        let head = |limit| ResponseError::HeadTooLong { limit };
        let limits = HeadLimits::default();
        for (start, piece, expected) in [
            ("HTTP/1.1 101 ", "endless ", vec![head(limits.head)]),
            ("HTTP/1.1 101 X\r\nX: ", "endless ", vec![head(limits.head)]),
            ("HTTP/1.1 101 X\r\n", "X: y\r\n", vec![ResponseError::TooManyFields { limit: limits.fields }]),
            ("", "HTTP/1.1 100 Continue\r\n\r\n", vec![ResponseError::TooManyInterimResponses { limit: 5 }]),
        ] {
            let server = Server::start(move |peer| {
                peer.send(start);
                while peer.try_send(piece).is_ok() {}
                peer.expect_gone();
            });
            let Err(ConnectError::Handshake(error)) = kind.connect(request(server.addr()), &plain()) else {
                panic!("{start}{piece}")
            };
            assert!(expected.contains(&error), "{error} for {start}{piece}");
            server.end();
        }
    });
}

// Conformance 126 to 131.
#[test]
fn field_lines_that_are_none_fail() {
    through_both_apis(|kind| {
        for (line, expected) in [
            ("X: a\u{0}b", ResponseError::InvalidFieldValue),
            ("X: a\rb", ResponseError::BareCr),
            ("X: a\r\n folded", ResponseError::ObsoleteFolding),
            ("X : a", ResponseError::SpaceBeforeColon),
            ("X", ResponseError::InvalidFieldName),
            (": a", ResponseError::InvalidFieldName),
            ("X: a\nY: b", ResponseError::BareLf),
        ] {
            fails(kind, &with(line), expected);
        }
    });
}

#[test]
fn a_server_that_leaves_before_its_answer_is_complete_is_an_error_at_once() {
    through_both_apis(|kind| {
        let whole = switching(&RIGHT);
        for (part, reset) in [
            ("", false),
            ("HTTP", false),
            (&whole[..40], false),
            (&whole[..whole.len() - 1], false),
            ("", true),
            (&whole[..40], true),
        ] {
            let text = part.to_owned();
            let server = Server::start(move |peer| {
                peer.answer_with(&text);
                if reset {
                    return peer.reset();
                }
                peer.shutdown_write();
                peer.expect_gone();
            });
            let before = Instant::now();
            let Err(error) = kind.connect(request(server.addr()), &plain()) else {
                panic!("accepted: {part}")
            };
            let expected = match error {
                ConnectError::Handshake(ResponseError::Closed) => part.is_empty() && !reset,
                ConnectError::Handshake(ResponseError::Truncated) => !part.is_empty() && !reset,
                ConnectError::Lost(_) => reset,
                _ => false,
            };
            assert!(expected, "{error} for {part}");
            assert!(before.elapsed() < Options::default().handshake_timeout, "not by a timeout");
            server.end();
        }
    });
}

#[test]
fn a_server_that_accepts_and_never_answers_is_left_at_the_handshake_timeout() {
    through_both_apis(|kind| {
        for part in [
            "",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: web",
            "HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nbusy",
        ] {
            let server = Server::start(move |peer| {
                peer.send(part);
                peer.expect_gone();
            });
            let options = Options { handshake_timeout: LATER, ..plain() };
            let before = Instant::now();
            let Err(error) = kind.connect(request(server.addr()), &options) else { panic!("accepted") };
            assert!(before.elapsed() >= LATER);
            // Of a refusal, what came so far tells more than that it took too long.
            match error {
                ConnectError::HandshakeTimeout => {}
                ConnectError::Refused(response) => {
                    assert_eq!((response.status(), response.is_truncated()), (503, true));
                }
                other => panic!("{other}"),
            }
            server.end();
        }
    });
}

// The deadline is absolute.
#[test]
fn an_answer_that_trickles_in_does_not_put_off_the_handshake_timeout() {
    through_both_apis(|kind| {
        let server = Server::start(move |peer| {
            peer.send("HTTP/1.1 101 ");
            while peer.try_send("x").is_ok() {
                peer.pause(Duration::from_millis(5));
            }
            peer.forget();
        });
        let options = Options { handshake_timeout: LATER, ..plain() };
        let outcome = kind.connect(request(server.addr()), &options);
        assert!(matches!(outcome, Err(ConnectError::HandshakeTimeout)));
        server.end();
    });
}
