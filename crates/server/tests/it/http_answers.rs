//! Requests that are not upgraded: what is answered, octet for octet, and that nothing comes after
//! it.

use crate::common::{Answer, Client, KEY, TestServer, next, upgrade_request, wait_until};
use crate::scripted::{Saw, Scripted, expect_saw};
use framewright::frame::{OpCode, encode_frame};
use framewright_server::{
    AllowedHosts, AllowedOrigins, FieldName, FieldValue, HeadLimits, Options, Response, Server, ServerLimits,
    StatusCode,
};
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

/// What no answer may hold: every request here has it wherever it can be.
const MARK: &str = "Re<script>flected";

/// A request, its answer, and the field that belongs to this answer.
struct Row {
    what: &'static str,
    request: Vec<u8>,
    status: u16,
    field: Option<(&'static str, &'static str)>,
}

fn row(what: &'static str, request: impl Into<Vec<u8>>, status: u16) -> Row {
    Row { what, request: request.into(), status, field: None }
}

impl Row {
    fn with(self, name: &'static str, value: &'static str) -> Row {
        Row { field: Some((name, value)), ..self }
    }
}

/// A request with these lines behind a Host.
fn get(request_line: &str, lines: &str) -> String {
    format!("{request_line}\r\nHost: localhost\r\nX-Mark: {MARK}\r\n{lines}\r\n")
}

/// A correct opening handshake, but for this.
fn upgrade_but(from: &str, to: &str) -> String {
    let request = upgrade_request(&format!("/ws?{MARK}"), "");
    assert!(request.contains(from));
    request.replacen(from, to, 1)
}

fn upgrade_and(fields: &str) -> String {
    upgrade_request(&format!("/ws?{MARK}"), &format!("X-Mark: {MARK}\r\n{fields}"))
}

/// Requests that no handler is asked about.
fn refused_requests() -> Vec<Row> {
    let long_target = format!("/ws?{MARK}{}", "x".repeat(9000));
    let many_lines = "X: y\r\n".repeat(99);
    let long_lines = format!("X: {MARK}{}\r\n", "y".repeat(4000)).repeat(5);
    vec![
        row("no version in the request line", get("GET /ws", ""), 400),
        row("two spaces in the request line", get("GET  /ws HTTP/1.1", ""), 400),
        row("a method that is no token", get("G<script>T /ws HTTP/1.1", ""), 400),
        row("a version that is none", get("GET /ws HTTPS/1.1", ""), 400),
        row("a target that is no path", get(&format!("GET {MARK} HTTP/1.1"), ""), 400),
        row("a fragment in the target", get(&format!("GET /ws#{MARK} HTTP/1.1"), ""), 400),
        row("a TLS ClientHello", *b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        row("LF without CR", format!("GET /ws HTTP/1.1\nHost: h\nX: {MARK}\n\n"), 400),
        row("CR without LF", get("GET /ws HTTP/1.1", "X: a\rb\r\n"), 400),
        row("NUL in a value", get("GET /ws HTTP/1.1", "X: a\0b\r\n"), 400),
        row("a line without a colon", get("GET /ws HTTP/1.1", &format!("{MARK}\r\n")), 400),
        row("an empty field name", get("GET /ws HTTP/1.1", ": x\r\n"), 400),
        row("a space before the colon", get("GET /ws HTTP/1.1", "X : a\r\n"), 400),
        row("a folded line", get("GET /ws HTTP/1.1", &format!("X: a\r\n {MARK}\r\n")), 400),
        row("no Host", "GET /ws HTTP/1.1\r\nX: y\r\n\r\n", 400),
        row("two Hosts", upgrade_and("Host: localhost\r\n"), 400),
        row("a Host that is none", upgrade_but("localhost", MARK), 400),
        row("an upgrade without a key", upgrade_but("Sec-WebSocket-Key", "X-Key"), 400),
        row("a key of 15 octets", upgrade_but("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400),
        row("a key that is no base64", upgrade_but("dGhlIHNhbXBsZSBub25jZQ==", MARK), 400),
        row("two keys", upgrade_and("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
        row("no Connection: Upgrade", upgrade_but("Connection: Upgrade", "Connection: keep-alive"), 400),
        row("a body on the upgrade", upgrade_and("Content-Length: 5\r\n"), 400),
        row("a chunked upgrade", upgrade_and("Transfer-Encoding: chunked\r\n"), 400),
        row("a malformed subprotocol", upgrade_and(&format!("Sec-WebSocket-Protocol: {MARK}\r\n")), 400),
        row("a malformed extension", upgrade_and("Sec-WebSocket-Extensions: a;;\r\n"), 400),
        row("no such path", upgrade_request(&format!("/{MARK}"), ""), 404),
        row("no such path, an ordinary request", get(&format!("GET /{MARK} HTTP/1.1"), ""), 404),
        row("an upgrade with POST", upgrade_but("GET", "POST"), 405).with("Allow", "GET"),
        row("a target over the limit", get(&format!("GET {long_target} HTTP/1.1"), ""), 414),
        row("an unknown expectation", upgrade_and(&format!("Expect: {MARK}\r\n")), 417),
        row("version 12", upgrade_but("Version: 13", "Version: 12"), 426).with("Sec-WebSocket-Version", "13"),
        row("no version of the protocol", upgrade_but("Sec-WebSocket-Version", "X-Version"), 400)
            .with("Sec-WebSocket-Version", "13"),
        row("a version that is no number", upgrade_but("Version: 13", "Version: 13.0"), 426)
            .with("Sec-WebSocket-Version", "13"),
        row("101 field lines", get("GET /ws HTTP/1.1", &many_lines), 431),
        row("a head over the limit", get("GET /ws HTTP/1.1", &long_lines), 431),
        row("HTTP/2.0", get("GET /ws HTTP/2.0", ""), 505),
        row("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        row("CONNECT", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n", 501),
    ]
}

fn serve() -> (TestServer, Receiver<Saw>) {
    let (scripted, seen) = Scripted::echo();
    (TestServer::start(|builder| builder.route("/ws", scripted)), seen)
}

/// What every answer but a 101 is like.
#[track_caller]
fn check(what: &str, answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
    let connection = if status == 426 { "close, Upgrade" } else { "close" };
    assert_eq!(answer.field("Connection"), Some(connection), "{what}");
    assert_eq!(answer.field("Upgrade"), (status == 426).then_some("websocket"), "{what}");
    assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"), "{what}");
    let date = answer.field("Date").and_then(|date| httpdate::parse_http_date(date).ok()).expect(what);
    let age = SystemTime::now().duration_since(date).unwrap_or_default();
    assert!(age < Duration::from_secs(60), "{what}: {age:?} old");
    assert!((1..=120).contains(&answer.body.len()), "{what}: {}", answer.text());
    assert!(answer.text().ends_with('\n'), "{what}: {}", answer.text());
    let said = format!("{}{}", answer.head, answer.text());
    assert!(!said.contains("script") && !said.contains("flected"), "{what}: {said}");
}

#[track_caller]
fn check_row(row: &Row, client: &mut Client) {
    let answer = client.answer();
    check(row.what, &answer, row.status);
    for name in ["Allow", "Retry-After", "Sec-WebSocket-Version"] {
        let expected = row.field.filter(|(field, _)| *field == name).map(|(_, value)| value);
        assert_eq!(answer.field(name), expected, "{}", row.what);
    }
    client.expect_end();
}

#[test]
fn every_refused_request_gets_its_answer_and_the_end_of_the_connection() {
    let (server, seen) = serve();
    for row in refused_requests() {
        let mut client = server.connect();
        client.send(&row.request);
        check_row(&row, &mut client);
    }
    drop(server);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [], "no handler was asked");
}

#[test]
fn a_request_that_comes_octet_by_octet_gets_the_same_answer() {
    let (server, _seen) = serve();
    for row in refused_requests() {
        let mut client = server.connect();
        for octet in &row.request {
            // The answer comes as soon as the fault shows, so the server may have left before the
            // last octet.
            if client.try_send([*octet]).is_err() {
                break;
            }
        }
        check_row(&row, &mut client);
    }
    let mut client = server.connect();
    for octet in upgrade_request("/ws", "").bytes() {
        client.send([octet]);
    }
    assert_eq!(client.answer().status, 101);
}

#[test]
fn what_follows_a_refused_request_is_never_read_as_frames() {
    let (server, seen) = serve();
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, OpCode::Text, b"smuggled", Some([1, 2, 3, 4]));
    for row in refused_requests() {
        let mut client = server.connect();
        client.send([&row.request[..], &frame, upgrade_request("/ws", "").as_bytes(), &frame].concat());
        check_row(&row, &mut client);
    }
    drop(server);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), []);
}

#[test]
fn a_peer_that_is_still_sending_can_read_why_it_was_refused() {
    let (server, _seen) = serve();
    let mut client = server.connect();
    client.send([upgrade_request("/elsewhere", "").into_bytes(), vec![0; 200 << 10]].concat());
    check("still sending", &client.answer(), 404);
    client.expect_end();
}

#[test]
fn an_ordinary_request_for_a_websocket_route_reaches_its_handler_and_gets_400_or_405() {
    let (server, seen) = serve();
    let upgrade_fields = format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    for (line, lines, status) in [
        ("GET /ws HTTP/1.1", "", 400),
        ("GET /ws HTTP/1.0", "", 400),
        // RFC 9110, section 7.8: an Upgrade in HTTP/1.0 is ignored.
        ("GET /ws HTTP/1.0", &upgrade_fields, 400),
        ("GET /ws HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade\r\n", 400),
        ("GET /ws HTTP/1.1", "Upgrade: websocket/13\r\nConnection: Upgrade\r\n", 400),
        ("POST /ws HTTP/1.1", "Content-Length: 3\r\n", 405),
        ("OPTIONS /ws HTTP/1.1", "", 405),
    ] {
        let mut client = server.connect();
        client.send(get(line, lines));
        let answer = client.answer();
        check(line, &answer, status);
        assert_eq!(answer.field("Allow"), (status == 405).then_some("GET"), "{line}");
        client.expect_end();
        assert_eq!(next(&seen), Saw::Request("/ws".into(), false));
    }
}

#[test]
fn an_answer_to_head_states_the_length_of_a_body_that_does_not_come() {
    let (server, _seen) = serve();
    for (path, status) in [("/ws", 405), ("/elsewhere", 404)] {
        let mut client = server.connect();
        client.send(get(&format!("HEAD {path} HTTP/1.1"), ""));
        let answer = client.answer_head();
        assert_eq!(answer.status, status);
        assert!(answer.field("Content-Length").expect("a length").parse::<u32>().expect("a number") > 0);
        client.expect_end();
    }
}

#[test]
fn a_page_answers_get_and_head_and_405_to_the_rest() {
    let page = Response::new(StatusCode::OK)
        .with_field(FieldName::from_static("X-Frame-Options"), FieldValue::from_static("DENY"))
        .with_body(FieldValue::from_static("text/html"), "<p>hello</p>".as_bytes());
    let server = TestServer::start(|builder| builder.page("/", page));
    for (line, lines) in [
        ("GET / HTTP/1.1", ""),
        ("GET /?query HTTP/1.1", ""),
        ("GET http://localhost HTTP/1.1", ""),
        ("GET / HTTP/1.0", ""),
        // Upgrades are not recognised where a page is served.
        ("GET / HTTP/1.1", "Upgrade: websocket\r\nConnection: Upgrade\r\n"),
    ] {
        let mut client = server.connect();
        client.send(get(line, lines));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, "<p>hello</p>"), "{line} {lines}");
        assert_eq!(answer.field("Content-Type"), Some("text/html"));
        assert_eq!(answer.field("X-Frame-Options"), Some("DENY"));
        assert_eq!(answer.field("Connection"), Some("close"));
        assert!(answer.field("Date").is_some());
        client.expect_end();
    }
    let mut client = server.connect();
    client.send(get("HEAD / HTTP/1.1", ""));
    let answer = client.answer_head();
    assert_eq!((answer.status, answer.field("Content-Length")), (200, Some("12")));
    client.expect_end();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let mut client = server.connect();
        client.send(get(&format!("{method} / HTTP/1.1"), ""));
        let answer = client.answer();
        check(method, &answer, 405);
        assert_eq!(answer.field("Allow"), Some("GET, HEAD"));
        client.expect_end();
    }
}

#[test]
fn frames_in_the_same_segment_as_the_request_are_delivered_after_the_opening() {
    let (server, seen) = serve();
    let mut octets = upgrade_request("/ws", "").into_bytes();
    for text in ["one", "two"] {
        encode_frame(&mut octets, true, OpCode::Text, text.as_bytes(), Some([9, 8, 7, 6]));
    }
    // The third frame comes in two parts.
    encode_frame(&mut octets, true, OpCode::Text, b"three", Some([0; 4]));
    let rest = octets.split_off(octets.len() - 3);
    let mut client = server.connect();
    client.send(octets);
    assert_eq!(client.answer().status, 101);
    client.expect_text("one");
    client.expect_text("two");
    client.send(rest);
    client.expect_text("three");
    let expected = [
        Saw::Request("/ws".into(), true),
        Saw::Open,
        Saw::Text("one".into()),
        Saw::Text("two".into()),
        Saw::Text("three".into()),
    ];
    expect_saw(&seen, &expected);
}

#[test]
fn an_upgrade_that_expects_100_continue_gets_it_before_the_101() {
    let (server, _seen) = serve();
    let mut client = server.connect();
    client.send(upgrade_request("/ws", "Expect: 100-continue\r\n"));
    assert_eq!(client.read_until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.answer().status, 101);
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn a_silent_peer_gets_408_at_the_deadline() {
    let (scripted, seen) = Scripted::echo();
    let limits = ServerLimits { handshake_timeout: Duration::from_millis(150), ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).route("/ws", scripted));
    let start = Instant::now();
    for sent in ["", "GET /ws HTTP/1.1\r\nHost: h\r\n"] {
        let mut client = server.connect();
        client.send(sent);
        check(sent, &client.answer(), 408);
        client.expect_end();
    }
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(seen.try_iter().count(), 0);
}

#[test]
fn an_octet_now_and_then_does_not_put_the_deadline_off() {
    let (scripted, _seen) = Scripted::echo();
    let limits = ServerLimits { handshake_timeout: Duration::from_millis(600), ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).route("/ws", scripted));
    let mut client = server.connect();
    client.stream().set_read_timeout(Some(Duration::from_millis(20))).expect("an option");
    let request = upgrade_request("/ws", &"X: y\r\n".repeat(90));
    let mut said = Vec::new();
    let mut sent = 0;
    for octet in request.bytes() {
        client.send([octet]);
        sent += 1;
        // The read is the pause.
        let mut piece = [0; 512];
        if let Ok(count) = client.stream().read(&mut piece) {
            said = piece[..count].to_vec();
            break;
        }
    }
    assert!(said.starts_with(b"HTTP/1.1 408 "), "{said:?}");
    // Most of the request was never sent. How much was depends on the machine.
    assert!((2..request.len()).contains(&sent), "after {sent} octets");
}

#[test]
fn connections_over_the_limit_get_503_until_there_is_room() {
    let (scripted, seen) = Scripted::echo();
    let limits = ServerLimits {
        max_connections: Some(2),
        retry_after: Duration::from_millis(6500),
        ..ServerLimits::default()
    };
    let server = TestServer::start(|builder| builder.limits(limits).route("/ws", scripted));
    let mut one = server.open("/ws");
    let two = server.open("/ws");
    for _ in 0..3 {
        let mut refused = server.connect();
        // Unasked, and to whoever asks.
        let answer = refused.answer();
        check("over the limit", &answer, 503);
        assert_eq!(answer.field("Retry-After"), Some("7"), "whole seconds, rounded up");
        refused.expect_end();
        let mut refused = server.connect();
        let _ = refused.try_send(upgrade_request("/ws", ""));
        check("over the limit", &refused.answer(), 503);
        refused.expect_end();
    }
    one.send_text("still here");
    one.expect_text("still here");
    two.leave();
    wait_until("one connection", || server.handle().connection_count() == 1);
    server.open("/ws").leave();
    drop(server);
    assert_eq!(seen.try_iter().filter(|saw| matches!(saw, Saw::Request(..))).count(), 3);
}

#[test]
fn connections_over_the_limit_of_their_address_get_503_and_others_do_not() {
    let (scripted, _seen) = Scripted::echo();
    let limits = ServerLimits { max_connections_per_ip: Some(1), ..ServerLimits::default() };
    let builder = Server::builder().limits(limits).route("/ws", scripted);
    let builder = builder.listen("127.0.0.1:0").listen("[::1]:0");
    let server = TestServer::run(builder.build().expect("a server"));
    let first = server.open("/ws");
    let mut refused = server.connect();
    let answer = refused.answer();
    check("over the limit", &answer, 503);
    assert_eq!(answer.field("Retry-After"), Some("5"));
    refused.expect_end();
    let framewright_server::ListenAddr::Ip(other) = server.addrs()[1] else { panic!() };
    let mut from_elsewhere = Client::connect(other);
    from_elsewhere.open("/ws");
    first.leave();
    wait_until("one connection", || server.handle().connection_count() == 1);
    server.open("/ws");
}

/// A socket for both families shows a peer of IPv4 under another address.
#[test]
fn a_peer_of_ipv4_is_counted_once_through_whichever_socket_it_comes() {
    let (scripted, _seen) = Scripted::echo();
    let limits = ServerLimits { max_connections_per_ip: Some(1), ..ServerLimits::default() };
    let both = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).expect("a socket");
    both.set_only_v6(false).expect("an option of the socket");
    both.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).expect("a port");
    both.listen(16).expect("a port");
    let port = both.local_addr().ok().and_then(|addr| addr.as_socket()).expect("an address").port();
    let builder = Server::builder().limits(limits).route("/ws", scripted);
    let builder = builder.listen("127.0.0.1:0").listener(both.into());
    let server = TestServer::run(builder.build().expect("a server"));
    let first = server.open("/ws");
    let through_both = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut refused = Client::connect(through_both);
    check("over the limit", &refused.answer(), 503);
    refused.expect_end();
    first.leave();
    wait_until("nobody", || server.handle().connection_count() == 0);
    Client::connect(through_both).open("/ws");
}

#[test]
fn a_request_that_is_not_complete_when_the_server_stops_gets_503() {
    let (server, seen) = serve();
    let mut client = server.connect();
    client.send("GET /ws HTTP/1.1\r\n");
    wait_until("accepted", || server.handle().connection_count() == 1);
    server.handle().stop(Duration::from_secs(5));
    let answer = client.answer();
    check("draining", &answer, 503);
    assert_eq!(answer.field("Retry-After"), Some("5"));
    client.expect_end();
    assert_eq!(seen.try_iter().count(), 0);
}

#[test]
fn a_host_that_is_not_served_gets_421() {
    let (scripted, seen) = Scripted::echo();
    let allowed_hosts = AllowedHosts::new(["chat.example", "localhost:5000"]).expect("hosts");
    let options = Options { allowed_hosts, ..Options::default() };
    let server = TestServer::start(|builder| builder.options(options).route("/ws", scripted));
    for (host, status) in [
        ("chat.example", 101),
        ("CHAT.example:8080", 101),
        ("localhost:5000", 101),
        ("localhost", 421),
        ("rebound.example", 421),
        ("chat.example.evil", 421),
        ("127.0.0.1", 421),
    ] {
        let mut client = server.connect();
        client.send(upgrade_request("/ws", "").replacen("localhost", host, 1));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{host}");
        if status != 101 {
            check(host, &answer, 421);
            client.expect_end();
        }
    }
    // An ordinary request too.
    let mut client = server.connect();
    client.send("GET /ws HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    check("an ordinary request", &client.answer(), 421);
    drop(server);
    assert_eq!(seen.try_iter().filter(|saw| matches!(saw, Saw::Request(..))).count(), 3);
}

#[test]
fn only_origins_that_match_as_a_whole_are_accepted() {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
    //= type=test
    //# If the server does not wish to accept this connection, it MUST return an
    //# appropriate HTTP error code (e.g., 403 Forbidden) and abort the
    //# WebSocket handshake described in this section.
    let (scripted, seen) = Scripted::echo();
    let allowed = ["https://good.example", "http://localhost:5000"];
    let options =
        Options { allowed_origins: AllowedOrigins::new(allowed).expect("origins"), ..Options::default() };
    let server = TestServer::start(|builder| builder.options(options).route("/ws", scripted));
    let accepted = [
        "Origin: https://good.example\r\n",
        "ORIGIN: HTTPS://GOOD.example\r\n",
        "Origin: https://good.example:443\r\n",
        "Origin: http://localhost:5000\r\n",
        "", // not from a page
    ];
    for fields in accepted {
        let mut client = server.connect();
        assert_eq!(client.upgrade("/ws", fields).status, 101, "{fields}");
    }
    for fields in [
        "Origin: https://good.example.evil\r\n",
        "Origin: https://evilgood.example\r\n",
        "Origin: https://evil.good.example\r\n",
        "Origin: http://good.example\r\n",
        "Origin: https://good.example:8443\r\n",
        "Origin: https://good.example.\r\n",
        "Origin: https://good.example/\r\n",
        "Origin: http://localhost\r\n",
        "Origin: null\r\n",
        "Origin:\r\n",
        "Origin: https://good.example, https://evil\r\n",
        "Origin: https://good.example\r\nOrigin: https://evil\r\n",
        "Origin: https://good.example\r\nOrigin: https://good.example\r\n",
    ] {
        let mut client = server.connect();
        check(fields, &client.upgrade("/ws", fields), 403);
        client.expect_end();
    }
    drop(server);
    let requests = seen.try_iter().filter(|saw| matches!(saw, Saw::Request(..))).count();
    assert_eq!(requests, accepted.len(), "the handler was asked for nothing else");
}

#[test]
fn without_allowed_origins_any_origin_is_accepted() {
    let (server, _seen) = serve();
    for origin in ["https://evil.example", "null", "junk"] {
        assert_eq!(server.connect().upgrade("/ws", &format!("Origin: {origin}\r\n")).status, 101, "{origin}");
    }
}

#[test]
fn the_limits_of_the_head_are_the_servers_to_set() {
    let (scripted, _seen) = Scripted::echo();
    let head = HeadLimits { request_line: 40, fields: 6, head: 400 };
    let limits = ServerLimits { head, ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).route("/ws", scripted));
    for (path, fields, status) in [
        ("/ws", "A: b\r\n", 101),
        ("/ws", "A: b\r\nC: d\r\n", 431),
        ("/ws?012345678901234567890123456789", "", 414),
        ("/ws", &format!("A: {}\r\n", "b".repeat(300)), 431),
    ] {
        assert_eq!(server.connect().upgrade(path, fields).status, status, "{path} {fields}");
    }
}
