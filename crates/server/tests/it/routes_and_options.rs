//! Which handler a request comes to, what it can decide by, and with which settings the connection
//! goes on.

use crate::common::{TestServer, next, upgrade_request};
use crate::scripted::{Saw, Scripted, accept, expect_saw};
use framewright_server::{
    Accept, AllowedOrigins, Config, Decision, FieldName, FieldValue, Handler, Incoming, Message, Options,
    PeerAddr, Response, Server, Socket, StatusCode, choose_subprotocol,
};
use std::borrow::Cow;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

#[test]
fn the_subprotocol_is_the_first_of_the_servers_that_the_client_offers() {
    let (scripted, _seen) = Scripted::new();
    let scripted = scripted.request(|request| {
        let accept = match choose_subprotocol(request, &["v2.chat", "v1.chat"]) {
            Some(chosen) => Accept::new().with_subprotocol(chosen),
            None => Accept::new(),
        };
        Decision::accept_with(accept, ())
    });
    let scripted = scripted.open(|socket| {
        let subprotocol = format!("{:?}", socket.subprotocol());
        socket.send_text(&subprotocol).expect("room");
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    for (offered, chosen) in [
        ("Sec-WebSocket-Protocol: v1.chat, v2.chat\r\n", Some("v2.chat")),
        ("Sec-WebSocket-Protocol: v1.chat\r\nsec-websocket-protocol: x, v2.chat\r\n", Some("v2.chat")),
        ("Sec-WebSocket-Protocol: v1.chat\r\n", Some("v1.chat")),
        ("Sec-WebSocket-Protocol: V2.CHAT\r\n", None),
        ("Sec-WebSocket-Protocol: other\r\n", None),
        ("", None),
    ] {
        let mut client = server.connect();
        let answer = client.open_with("/ws", offered);
        assert_eq!(answer.field("Sec-WebSocket-Protocol"), chosen, "{offered}");
        client.expect_text(&format!("{chosen:?}"));
    }
}

#[test]
fn fields_of_the_application_are_in_the_101() {
    let (scripted, _seen) = Scripted::echo();
    let scripted = scripted.request(|_| {
        let cookie = |value| (FieldName::from_static("Set-Cookie"), FieldValue::from_static(value));
        let ((name, one), (same, two)) = (cookie("a=1"), cookie("b=2; HttpOnly"));
        Decision::accept_with(Accept::new().with_field(name, one).with_field(same, two), ())
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.connect();
    let answer = client.open("/ws");
    let cookies = answer.fields.iter().filter(|(name, _)| name == "Set-Cookie").map(|(_, value)| &value[..]);
    assert_eq!(cookies.collect::<Vec<_>>(), ["a=1", "b=2; HttpOnly"]);
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn accepting_what_cannot_be_accepted_answers_500_and_opens_nothing() {
    let (not_offered, seen) = Scripted::new();
    let not_offered =
        not_offered.request(|_| Decision::accept_with(Accept::new().with_subprotocol("surprise"), ()));
    let (ordinary, seen_ordinary) = Scripted::new();
    let ordinary = ordinary.request(|_| Decision::accept(()));
    let server =
        TestServer::start(|builder| builder.route("/not-offered", not_offered).route("/ordinary", ordinary));
    for fields in ["", "Sec-WebSocket-Protocol: other\r\n"] {
        let mut client = server.connect();
        assert_eq!(client.upgrade("/not-offered", fields).status, 500);
        client.expect_end();
    }
    let mut client = server.connect();
    client.send("GET /ordinary HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().status, 500);
    client.expect_end();
    let mut client = server.connect();
    client.send("HEAD /ordinary HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer_head().status, 500);
    client.expect_end(); // no body either
    server.open("/ordinary");
    drop(server);
    let not_opened = |saw: Saw| matches!(saw, Saw::Request(..));
    assert!(seen.try_iter().all(not_opened));
    assert_eq!(seen_ordinary.try_iter().filter(|saw| *saw == Saw::Open).count(), 1);
}

#[test]
fn without_websockets_an_upgrade_is_an_ordinary_request() {
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.request(|request| {
        assert!(!request.is_websocket());
        Response::text(StatusCode::OK, "ordinary\n").into()
    });
    // Not even the origin matters then.
    let allowed_origins = AllowedOrigins::new(["https://good.example"]).expect("an origin");
    let options = Options { websocket_enabled: false, allowed_origins, ..Options::default() };
    let server = TestServer::start(|builder| builder.options(options).route("/ws", scripted));
    let good = upgrade_request("/ws", "Origin: https://evil.example\r\n");
    let bad = upgrade_request("/ws", "").replace("Version: 13", "Version: 99");
    for request in [good, bad] {
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, "ordinary\n"));
        client.expect_end();
        assert_eq!(next(&seen), Saw::Request("/ws".into(), false));
    }
}

#[test]
fn paths_are_compared_as_they_stand_without_their_query() {
    let (scripted, seen) = Scripted::echo();
    let server = TestServer::start(|builder| builder.route("/a/b", scripted));
    for path in ["/a/b", "/a/b?", "/a/b?x=/c", "http://localhost/a/b", "HTTPS://other:81/a/b?x"] {
        assert_eq!(server.connect().upgrade(path, "").status, 101, "{path}");
    }
    for path in ["/", "/a", "/a/", "/a/b/", "/A/b", "/a/%62", "/a//b", "/a/./b", "//a/b", "http://localhost"]
    {
        assert_eq!(server.connect().upgrade(path, "").status, 404, "{path}");
    }
    drop(server);
    let requests = seen.try_iter().filter(|saw| *saw == Saw::Request("/a/b".into(), true));
    assert_eq!(requests.count(), 5);
}

#[test]
fn the_fallback_serves_every_other_path_and_the_last_handler_of_a_path_wins() {
    let ((replaced, never), (exact, seen_exact)) = (Scripted::echo(), Scripted::echo());
    let (fallback, seen_fallback) = Scripted::echo();
    let server =
        TestServer::start(|builder| builder.route("/ws", replaced).fallback(fallback).route("/ws", exact));
    server.open("/ws");
    server.open("/anything/else?x");
    let mut client = server.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().status, 405);
    drop(server);
    assert_eq!(next(&seen_exact), Saw::Request("/ws".into(), true));
    let others = seen_fallback.try_iter().filter(|saw| matches!(saw, Saw::Request(..)));
    let expected = [Saw::Request("/anything/else".into(), true), Saw::Request("*".into(), false)];
    assert_eq!(others.collect::<Vec<_>>(), expected);
    assert!(never.try_iter().next().is_none());
}

#[test]
fn options_are_those_of_the_route_or_the_servers_wherever_they_are_set() {
    let with_max = |max_message| Options {
        connection: Config { max_message, max_frame: max_message, ..Config::default() },
        ..Options::default()
    };
    let echo = || Scripted::echo().0;
    let server = TestServer::start(|builder| {
        builder
            .route("/default", echo())
            .options(with_max(10))
            .route("/ten", echo())
            .route_with("/twenty", with_max(20), echo())
            .fallback_with(with_max(30), echo())
    });
    for (path, most) in [("/ten", 10), ("/twenty", 20), ("/fallback", 30), ("/default", 10)] {
        let mut client = server.open(path);
        let text = "x".repeat(most);
        client.send_text(&text);
        client.expect_text(&text);
        client.send_text(&"x".repeat(most + 1));
        client.expect_close(1009);
        client.expect_end();
    }
}

#[test]
fn a_path_that_no_request_can_have_is_refused() {
    let builder = Server::builder().listen("127.0.0.1:0").route("ws", Scripted::echo().0);
    let error = builder.build().expect_err("it does not begin with /");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"ws\""), "{error}");
}

/// Greets with what its connection carries.
struct Greeter<T>(T);

impl<T: Clone + Send + Sync + ToString + 'static> Handler for Greeter<T> {
    type State = (T, u64);

    fn on_request(&self, _: &Incoming<'_>) -> Decision<Self::State> {
        Decision::accept((self.0.clone(), 0))
    }

    fn on_message(&self, socket: &mut Socket<'_>, state: &mut Self::State, _: Message<'_>) {
        let (greeting, count) = state;
        *count += 1;
        let text = format!("{} {count}", greeting.to_string());
        socket.send_text(&text).expect("room");
    }
}

#[test]
fn routes_have_states_of_different_types_and_connections_have_their_own() {
    let server = TestServer::start(|builder| {
        builder
            .route("/text", Greeter("text".to_owned()))
            .route("/number", Greeter(42_u8))
            .route("/letter", Greeter('c'))
    });
    let mut clients: Vec<_> = ["/text", "/number", "/letter", "/text"].map(|path| server.open(path)).into();
    for round in 1..=3 {
        for (client, greeting) in clients.iter_mut().zip(["text", "42", "c", "text"]) {
            client.send_text("");
            client.expect_text(&format!("{greeting} {round}"));
        }
    }
    let mut new = server.open("/text");
    new.send_text("");
    new.expect_text("text 1");
}

#[test]
fn a_handler_decides_by_everything_in_the_request() {
    let (sender, receiver) = mpsc::channel();
    let (scripted, _seen) = Scripted::new();
    let scripted = scripted.request(move |request| {
        let token = request.field("authorization").map(<[u8]>::to_vec);
        let query = request.query().map(str::to_owned);
        let (origin, host) = (request.origin().map(<[u8]>::to_vec), request.host().to_owned());
        sender.send((query, host, origin, request.peer_addr())).expect("somebody listens");
        if token.as_deref() == Some(b"Bearer 1") {
            Decision::accept(())
        } else {
            let challenge = (FieldName::from_static("WWW-Authenticate"), FieldValue::from_static("Bearer"));
            Response::text(StatusCode::UNAUTHORIZED, "who?\n").with_field(challenge.0, challenge.1).into()
        }
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.connect();
    let from = client.stream().local_addr().expect("an address");
    let answer = client.upgrade("/ws?room=1", "Origin: https://a\r\nAuthorization: Bearer 1\r\n");
    assert_eq!(answer.status, 101);
    let expected = (Some("room=1".to_owned()), "localhost".to_owned(), Some(b"https://a".to_vec()));
    let (query, host, origin, peer) = next(&receiver);
    assert_eq!((query, host, origin), expected);
    assert_eq!(peer, PeerAddr::Ip(from));
    let mut client = server.connect();
    let answer = client.upgrade("/ws", "Authorization: Bearer 2\r\n");
    assert_eq!((answer.status, answer.field("WWW-Authenticate")), (401, Some("Bearer")));
    assert_eq!(answer.text(), "who?\n");
    client.expect_end();
}

#[test]
fn a_handler_that_panics_on_a_request_answers_500_and_the_loop_lives() {
    let (scripted, seen) = Scripted::echo();
    let calm = AtomicBool::new(false);
    let scripted = scripted.request(move |request| {
        assert!(calm.swap(true, Ordering::Relaxed), "as the test wants it");
        accept(request)
    });
    let (other, _seen_other) = Scripted::echo();
    let server = TestServer::start(|builder| builder.route("/ws", scripted).route("/other", other));
    let mut before = server.open("/other");
    let mut client = server.connect();
    let answer = client.upgrade("/ws", "");
    assert_eq!((answer.status, answer.text()), (500, "internal error\n"));
    client.expect_end();
    before.send_text("still here");
    before.expect_text("still here");
    server.open("/ws");
    let request = Saw::Request("/ws".into(), true);
    expect_saw(&seen, &[request.clone(), request, Saw::Open]);
}

#[test]
fn a_server_that_listens_nowhere_is_an_error() {
    let error = Server::builder().route("/", Greeter('x')).build().expect_err("no listener");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// Accepts whoever may connect.
struct Open;

impl Handler for Open {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }
}

#[test]
fn a_route_that_accepts_whoever_may_connect_refuses_ordinary_requests() {
    let server = TestServer::start(|builder| builder.route("/ws", Open));
    for (method, status) in [("GET", 400), ("POST", 405)] {
        let mut client = server.connect();
        client.send(format!("{method} /ws HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(client.answer().status, status, "{method}");
    }
    server.open("/ws").leave();
}

/// Answers with what it finds in the request.
struct Asked;

impl Handler for Asked {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        let params = ["room", "rest"].map(|name| request.param(name).map(Cow::into_owned));
        let queries: Vec<_> = request.query_pairs().collect();
        let cookies: Vec<_> = request.cookies().collect();
        let text = format!(
            "{params:?} {queries:?} {:?} {cookies:?} {:?}",
            request.query_value("q"),
            request.cookie("id")
        );
        Response::text(StatusCode::OK, text).into()
    }
}

#[test]
fn parameters_queries_and_cookies_are_decoded() {
    let server = TestServer::start(|builder| {
        builder.route("/room/{room}", Asked).route("/files/{*rest}", Asked).route("/plain", Asked)
    });
    for (path, cookies, expected) in [
        ("/room/a%20b%2Fc", "", r#"[Some("a b/c"), None] [] None [] None"#),
        ("/room/%FF", "", "[Some(\"\u{fffd}\"), None] [] None [] None"),
        ("/files/a/b.txt?q=1", "", r#"[None, Some("a/b.txt")] [("q", "1")] Some("1") [] None"#),
        (
            "/plain?a=b+c%26&q=%C3%A9&q=2&&=&x",
            "Cookie: id=1%202; theme=dark\r\nCookie: id=3; nonsense\r\n",
            "[None, None] [(\"a\", \"b c&\"), (\"q\", \"é\"), (\"q\", \"2\"), (\"\", \"\"), (\"x\", \"\")] \
             Some(\"é\") [(\"id\", \"1 2\"), (\"theme\", \"dark\"), (\"id\", \"3\")] Some(\"1 2\")",
        ),
    ] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookies}\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, expected), "{path}");
    }
    for path in ["/room", "/room/", "/room/a/b", "/files", "/files/", "/plain/"] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(client.answer().status, 404, "{path}");
    }
}

#[test]
fn the_most_literal_route_wins_and_one_that_cannot_be_told_apart_is_refused() {
    let server = TestServer::start(|builder| {
        builder
            .route("/room/{name}", Scripted::echo().0)
            .page("/room/lobby", Response::text(StatusCode::OK, "first"))
            .page("/room/lobby", Response::text(StatusCode::OK, "lobby"))
    });
    let mut client = server.connect();
    client.send("GET /room/lobby HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().text(), "lobby");
    drop(server.open("/room/attic"));
    let two = |first, second| {
        let builder = Server::builder().listen("127.0.0.1:0");
        builder.route(first, Scripted::echo().0).route(second, Scripted::echo().0).build().map(drop)
    };
    two("/{a}", "/{b}/c").expect("told apart by their length");
    for (first, second) in [("/{a}", "/{b}"), ("/a", "/{b"), ("/a", "/{*b}/c")] {
        let error = two(first, second).expect_err(second);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(second), "{error}");
    }
}
