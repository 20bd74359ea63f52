//! What a server counts: each connection once, by route and by what became of it.

use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::scripted::{Saw, Scripted};
use framewright::frame::{OpCode, encode_frame};
use framewright_server::{
    Accept, AllowedHosts, AllowedOrigins, CloseCode, CloseCodeCounts, Config, Counts, Decision, EndCounts,
    Endpoint, FieldName, FieldValue, HeadLimits, Options, RefusedCounts, Response, Server, ServerLimits,
    ServerStats, StatusCode, TrustedProxies,
};
use std::sync::mpsc;
use std::time::Duration;

/// The counts of the route with this path, or of the fallback.
#[track_caller]
fn of(stats: &ServerStats, path: Option<&str>) -> Counts {
    let mut found = stats.routes.iter().filter(|route| route.path.as_deref() == path);
    let route = found.next().expect("the route");
    assert!(found.next().is_none(), "{path:?} twice");
    route.counts.clone()
}

/// The counts that are not 0.
fn some(counts: impl Iterator<Item = (&'static str, u64)>) -> Vec<(&'static str, u64)> {
    counts.filter(|(_, count)| *count > 0).collect()
}

fn refused(counts: &Counts) -> Vec<(&'static str, u64)> {
    some(counts.refused.iter())
}

/// How connections have ended: by the code received, by that sent, and by the cause.
fn ends(counts: &Counts) -> [Vec<(&'static str, u64)>; 3] {
    [some(counts.closed.iter()), some(counts.close_sent.iter()), some(counts.ended.iter())]
}

/// Every connection is counted once, when nobody is there any more.
#[track_caller]
fn expect_a_sum(server: &TestServer) -> ServerStats {
    wait_until("all are gone", || server.handle().stats().connections == 0);
    let stats = server.handle().stats();
    let totals = stats.totals();
    let counted = totals.opened + totals.answered + totals.refused.total() + totals.abandoned;
    assert_eq!(stats.accepted, counted, "{stats:?}");
    assert_eq!(totals.open(), 0, "{stats:?}");
    for ended in [totals.closed.total(), totals.close_sent.total(), totals.ended.total()] {
        assert_eq!(ended, totals.opened, "{stats:?}");
    }
    stats
}

/// What is answered to this request.
#[track_caller]
fn status(server: &TestServer, request: impl AsRef<[u8]>) -> u16 {
    let mut client = server.connect();
    client.send(request);
    client.answer().status
}

#[test]
fn requests_are_counted_by_route_and_by_the_reason_why_they_are_refused() {
    let allowed_origins = AllowedOrigins::new(["https://good.example"]).expect("an origin");
    let allowed_hosts = AllowedHosts::new(["localhost"]).expect("a host");
    let strict = Options { allowed_origins, allowed_hosts, ..Options::default() };
    let forbids = Scripted::new().0.request(|_| Response::text(StatusCode::FORBIDDEN, "no\n").into());
    let panics = Scripted::new().0.request(|_| panic!("on purpose"));
    let head = HeadLimits { request_line: 100, ..HeadLimits::default() };
    let server = TestServer::start(|builder| {
        builder
            .limits(ServerLimits { head, ..ServerLimits::default() })
            .route("/echo", Scripted::echo().0)
            .route_with("/strict/{name}", strict, Scripted::echo().0)
            .route("/forbids", forbids)
            .route("/panics", panics)
            .page("/page", Response::text(StatusCode::OK, "a page\n"))
    });
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let stats = || server.handle().stats();

    assert_eq!(status(&server, get("/page")), 200);
    assert_eq!(of(&stats(), Some("/page")).answered, 1, "whoever has seen it finds it counted");
    assert_eq!(status(&server, upgrade_request("/strict/a", "Origin: https://evil.example\r\n")), 403);
    assert_eq!(refused(&of(&stats(), Some("/strict/{name}"))), [("origin", 1)]);
    let elsewhere = upgrade_request("/strict/b", "").replace("Host: localhost", "Host: other.example");
    assert_eq!(status(&server, elsewhere), 421);
    let version = upgrade_request("/strict/b", "").replace("Version: 13", "Version: 12");
    assert_eq!(status(&server, version), 426);
    let key = upgrade_request("/strict/b", "").replace("Sec-WebSocket-Key", "X-Key");
    assert_eq!(status(&server, key), 400);
    let strict = of(&stats(), Some("/strict/{name}"));
    assert_eq!(refused(&strict), [("bad_request", 1), ("version", 1), ("origin", 1), ("host", 1)]);

    assert_eq!(status(&server, upgrade_request("/forbids", "")), 403);
    assert_eq!(status(&server, get("/forbids")), 403);
    assert_eq!(status(&server, get("/echo")), 400);
    assert_eq!(status(&server, get("/panics")), 500);
    assert_eq!(refused(&of(&stats(), Some("/forbids"))), [("application", 2)]);
    assert_eq!(refused(&of(&stats(), Some("/echo"))), [("application", 1)]);
    assert_eq!(refused(&of(&stats(), Some("/panics"))), [("internal", 1)]);

    assert_eq!(status(&server, get("/nowhere")), 404);
    assert_eq!(status(&server, "GET / HTTP/1.1\r\nno colon\r\n\r\n"), 400);
    assert_eq!(status(&server, get(&"/x".repeat(100))), 414);
    drop(server.connect());
    let mut half = server.connect();
    half.send("GET /echo HT");
    drop(half);
    server.open("/echo").leave();
    let stats = expect_a_sum(&server);
    let missed = [("bad_request", 1), ("head_too_large", 1), ("not_found", 1)];
    assert_eq!((refused(&stats.elsewhere), stats.elsewhere.abandoned), (missed.to_vec(), 2));
    assert_eq!((of(&stats, Some("/echo")).opened, stats.accepted), (1, 15));
    let paths: Vec<_> = stats.routes.iter().map(|route| route.path.as_deref()).collect();
    assert_eq!(
        paths,
        [Some("/echo"), Some("/strict/{name}"), Some("/forbids"), Some("/panics"), Some("/page")]
    );
}

#[test]
fn connections_over_a_limit_are_counted_by_the_limit() {
    for (limits, reason) in [
        (ServerLimits { max_connections: Some(1), ..ServerLimits::default() }, "max_connections"),
        (
            ServerLimits { max_connections_per_ip: Some(1), ..ServerLimits::default() },
            "max_connections_per_ip",
        ),
    ] {
        let server = TestServer::start(|builder| builder.limits(limits).route("/ws", Scripted::echo().0));
        let client = server.open("/ws");
        for count in 1..=3 {
            let mut over = server.connect();
            assert_eq!(over.answer().status, 503);
            assert_eq!(refused(&server.handle().stats().elsewhere), [(reason, count)]);
        }
        client.leave();
        assert_eq!(expect_a_sum(&server).accepted, 4);
    }
}

#[test]
fn what_is_refused_for_its_proxy_or_its_client_is_counted_so() {
    let limits = ServerLimits { max_connections_per_ip: Some(1), ..ServerLimits::default() };
    let start = |trusted: &str| {
        let proxies = TrustedProxies::new([trusted]).expect("an address");
        let endpoint = Endpoint::tcp("127.0.0.1:0").with_proxy_protocol();
        let builder = Server::builder().limits(limits.clone()).route("/ws", Scripted::echo().0);
        TestServer::run(builder.endpoint(endpoint).trusted_proxies(proxies).build().expect("a server"))
    };
    let header = "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n";

    let server = start("127.0.0.1");
    let mut client = server.connect();
    client.send(header);
    client.open("/ws");
    let mut over = server.connect();
    over.send(header);
    assert_eq!(over.answer().status, 503);
    let mut faulty = server.connect();
    faulty.send("GET /ws HTTP/1.1\r\n");
    faulty.expect_gone();
    client.leave();
    drop(over);
    let stats = expect_a_sum(&server);
    assert_eq!(stats.accepted, 3);
    assert_eq!(refused(&stats.elsewhere), [("max_connections_per_ip", 1), ("proxy", 1)]);

    let server = start("127.0.0.2");
    server.connect().expect_gone();
    assert_eq!(refused(&expect_a_sum(&server).elsewhere), [("proxy", 1)]);
}

#[test]
fn deadlines_of_the_opening_handshake_are_counted_apart() {
    let (waits, waiting) = mpsc::channel();
    let deferring = Scripted::new().0.request(move |_| {
        let (decision, deferred) = Decision::defer();
        waits.send(deferred).expect("the test listens");
        decision
    });
    // Long enough for a request to come in time on a busy machine.
    let limits = ServerLimits { handshake_timeout: Duration::from_secs(1), ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).route("/deferred", deferring));
    let (mut slow, mut undecided) = (server.connect(), server.connect());
    slow.send("GET /deferred HT");
    undecided.send(upgrade_request("/deferred", ""));
    let deferred = next(&waiting);
    assert_eq!(undecided.answer().status, 503);
    assert_eq!(slow.answer().status, 408);
    drop((slow, undecided, deferred));
    let stats = expect_a_sum(&server);
    assert_eq!(refused(&stats.elsewhere), [("timeout", 1)]);
    assert_eq!(refused(&of(&stats, Some("/deferred"))), [("decision_timeout", 1)]);
}

/// The 101 is larger than what the system takes for a peer that does not read.
#[test]
fn a_101_that_is_not_taken_ends_by_the_deadline_or_with_its_peer() {
    let long = FieldValue::new("x".repeat(32 << 20)).expect("a value");
    let scripted = Scripted::new().0.request(move |_| {
        Decision::accept_with(Accept::new().with_field(FieldName::from_static("X-Long"), long.clone()), ())
    });
    let limits = ServerLimits { handshake_timeout: Duration::from_secs(1), ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).route("/ws", scripted));
    let mut leaves = server.connect();
    leaves.send(upgrade_request("/ws", ""));
    leaves.read_until(b"HTTP/1.1 101 ");
    drop(leaves);
    wait_until("it is gone", || server.handle().stats().connections == 0);
    let mut stays = server.connect();
    stays.send(upgrade_request("/ws", ""));
    stays.read_until(b"HTTP/1.1 101 ");
    let counts = of(&expect_a_sum(&server), Some("/ws"));
    let causes = vec![("handshake_timeout", 1), ("transport_lost", 1)];
    assert_eq!(ends(&counts), [vec![("1006", 2)], vec![("1006", 2)], causes]);
    drop(stays);
}

#[test]
fn whoever_leaves_while_a_decision_is_put_off_is_counted_on_its_route() {
    let (waits, waiting) = mpsc::channel();
    let deferring = Scripted::new().0.request(move |_| {
        let (decision, deferred) = Decision::defer();
        waits.send(deferred).expect("the test listens");
        decision
    });
    let server = TestServer::start(|builder| builder.route("/deferred", deferring));
    let mut client = server.connect();
    client.send(upgrade_request("/deferred", ""));
    let deferred = next(&waiting);
    drop(client);
    let stats = expect_a_sum(&server);
    assert_eq!(of(&stats, Some("/deferred")).abandoned, 1);
    drop(deferred);
}

/// A connection, and what has ended it.
#[test]
fn connections_are_counted_by_the_codes_of_both_ends_and_by_the_cause() {
    let (closed_by, seen) = Scripted::new();
    let closed_by = closed_by.message(|socket, message| match message.as_bytes() {
        b"fail" => socket.fail(CloseCode::POLICY_VIOLATION, "no"),
        b"abort" => socket.abort(),
        b"panic" => panic!("on purpose"),
        b"close" => socket.close(CloseCode::new(4001), "").expect("it is open"),
        _ => {}
    });
    let options =
        Options { connection: Config { max_message: 100, ..Config::default() }, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, closed_by));
    let masked = |fin, opcode, payload: &[u8]| {
        let mut octets = Vec::new();
        encode_frame(&mut octets, fin, opcode, payload, Some([1, 2, 3, 4]));
        octets
    };
    type Act = Box<dyn Fn(&mut Client)>;
    let send = |octets: Vec<u8>| -> Act { Box::new(move |client| client.send(&octets)) };
    let say = |text: &str| send(masked(true, OpCode::Text, text.as_bytes()));
    // What the client does, and how that is counted.
    let rows: [(Act, [&str; 3]); 9] = [
        (send(masked(true, OpCode::Close, b"\x03\xe9")), ["1001", "1001", "clean"]),
        (send(masked(true, OpCode::Close, b"")), ["1005", "1005", "clean"]),
        (send(masked(true, OpCode::Close, b"\x0b\xb8")), ["3xxx", "3xxx", "clean"]),
        (Box::new(|client| client.shutdown_write()), ["1006", "1006", "transport_lost"]),
        (send(b"\x81\x05Hello".to_vec()), ["1006", "1002", "protocol_error"]),
        (send(masked(true, OpCode::Text, &[b'x'; 101])), ["1006", "1009", "limit"]),
        (say("fail"), ["1006", "1008", "failed"]),
        (say("abort"), ["1006", "1006", "aborted"]),
        (say("panic"), ["1006", "1011", "failed"]),
    ];
    let mut before = Counts::default();
    let mut expect = |client: Client, [received, sent, cause]: [&str; 3]| {
        while !matches!(next(&seen), Saw::Close(_)) {}
        let counts = of(&server.handle().stats(), Some("/ws"));
        let grown = |now: Vec<(&'static str, u64)>, before: Vec<(&str, u64)>| {
            let new = now.into_iter().filter(|row| !before.contains(row)).map(|(label, _)| label);
            new.collect::<Vec<_>>()
        };
        let [by_received, by_sent, by_cause] = ends(&counts);
        let [had_received, had_sent, had_cause] = ends(&before);
        assert_eq!(grown(by_received, had_received), [received]);
        assert_eq!(grown(by_sent, had_sent), [sent]);
        assert_eq!(grown(by_cause, had_cause), [cause]);
        before = counts;
        drop(client);
    };
    for (act, labels) in rows {
        let mut client = server.open("/ws");
        act(&mut client);
        expect(client, labels);
    }
    // The client answers with another code.
    let mut client = server.open("/ws");
    say("close")(&mut client);
    client.expect_close(4001);
    client.send_close(CloseCode::NORMAL, "");
    expect(client, ["1000", "4xxx", "clean"]);
    expect_a_sum(&server);
}

/// Each deadline that can end a connection, and which of its counts grows. The times are short, and
/// a server that is late is late.
#[test]
fn deadlines_that_pass_are_counted_by_kind() {
    let soon = Some(Duration::from_millis(40));
    let none = Config { keep_alive_interval: None, keep_alive_timeout: None, ..Config::default() };
    let fill = || {
        let (scripted, seen) = Scripted::new();
        let send = |socket: &mut framewright_server::Socket<'_>| {
            while socket.send_binary(&[7; 64 << 10]).is_ok() {}
        };
        (scripted.open(send).writable(send), seen)
    };
    let close = || {
        let (scripted, seen) = Scripted::new();
        (scripted.open(|socket| socket.close(CloseCode::NORMAL, "").expect("it is open")), seen)
    };
    let ping = Config { keep_alive_interval: soon, keep_alive_timeout: soon, ..Config::default() };
    let begins: &[u8] = b"\x01\x81\0\0\0\0x";
    for (config, (scripted, seen), sent, cause) in [
        (Config { idle_timeout: soon, ..none.clone() }, Scripted::new(), &b""[..], "idle_timeout"),
        (Config { message_timeout: soon, ..none.clone() }, Scripted::new(), begins, "message_timeout"),
        (ping, Scripted::new(), b"", "keep_alive_timeout"),
        (Config { write_timeout: soon, ..none.clone() }, fill(), b"", "write_timeout"),
        (Config { close_timeout: Duration::from_millis(40), ..none }, close(), b"", "close_timeout"),
    ] {
        let options = Options { connection: config, ..Options::default() };
        let server = TestServer::start(|builder| builder.route_with("/ws", options, scripted));
        let mut client = server.open("/ws");
        client.send(sent);
        while !matches!(next(&seen), Saw::Close(_)) {}
        let [_, _, causes] = ends(&of(&server.handle().stats(), Some("/ws")));
        assert_eq!(causes, [(cause, 1)]);
        drop(client);
        expect_a_sum(&server);
    }
}

#[test]
fn messages_and_their_bytes_are_counted_on_the_route_while_the_connection_lives() {
    let panics = Scripted::new().0.message(|socket, message| {
        socket.send(message).expect("room");
        panic!("on purpose");
    });
    let server = TestServer::start(|builder| {
        builder
            .workers(2)
            .route("/echo", Scripted::echo().0)
            .route("/panics", panics)
            .fallback(Scripted::new().0)
    });
    let traffic = |path| {
        let traffic = of(&server.handle().stats(), path).traffic;
        let received = (traffic.messages_received, traffic.bytes_received);
        (received, (traffic.messages_sent, traffic.bytes_sent))
    };
    let mut clients: Vec<Client> = (0..20).map(|_| server.open("/echo")).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        for _ in 0..3 {
            client.send_binary(&vec![7; 10 * index]);
            assert_eq!(client.frame().payload.len(), 10 * index);
        }
    }
    let bytes = 3 * 10 * (0..20).sum::<u64>();
    wait_until("what has been seen is counted when the turn ends", || {
        traffic(Some("/echo")) == ((60, bytes), (60, bytes))
    });
    assert_eq!(of(&server.handle().stats(), Some("/echo")).open(), 20);
    clients.into_iter().for_each(Client::leave);

    let mut client = server.open("/panics");
    client.send_text("what was handled before a panic counts");
    assert_eq!(client.frame().opcode, OpCode::Text);
    client.expect_close(1011);
    drop(client);
    let mut silent = server.open("/anywhere");
    silent.send_text("one way");
    silent.leave();
    let stats = expect_a_sum(&server);
    assert_eq!(traffic(Some("/panics")), ((1, 38), (1, 38)));
    assert_eq!(traffic(None), ((1, 7), (0, 0)));
    let (totals, messages) = (stats.totals(), 60 + 1 + 1);
    assert_eq!((totals.traffic.messages_received, totals.traffic.bytes_received), (messages, bytes + 45));
    assert_eq!((totals.opened, totals.closed.normal, totals.closed.no_close_frame), (22, 21, 1));

    // They outlive the server.
    let handle = server.handle().clone();
    server.stop(Duration::ZERO).expect("it ends well");
    assert_eq!(handle.stats().totals(), totals);
}

#[test]
fn what_a_handle_sends_is_counted_and_what_the_server_cuts_too() {
    let (handles, from) = mpsc::channel();
    let scripted = Scripted::new().0.open(move |socket| handles.send(socket.handle()).expect("it listens"));
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let remote = next(&from);
    remote.send_text("from elsewhere").expect("it is open");
    client.expect_text("from elsewhere");
    let counts = || of(&server.handle().stats(), Some("/ws"));
    wait_until("it is counted", || counts().traffic.messages_sent == 1);
    let handle = server.handle().clone();
    server.stop(Duration::ZERO).expect("it ends well");
    let counts = of(&handle.stats(), Some("/ws"));
    assert_eq!(ends(&counts), [vec![("1006", 1)], vec![("1001", 1)], vec![("aborted", 1)]]);
}

#[cfg(feature = "deflate")]
#[test]
fn compression_is_counted_before_and_after_both_ways_also_in_a_turn_that_panics() {
    use crate::common::Deflating;
    let scripted = Scripted::new().0.message(|socket, message| {
        socket.send(message).expect("room");
        assert!(message.len() < 3000, "on purpose");
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let mut peer = Deflating::open(server.addr(), "/ws", offer);
    let (mut sent, mut received) = (0, 0);
    for message in ["a text that comes again and again. ".repeat(50), "the last one ".repeat(300)] {
        let payload = peer.deflate(message.as_bytes(), true, true);
        peer.client.send(crate::common::frame_with_rsv1(true, OpCode::Text, &payload));
        sent += payload.len() as u64;
        let frame = peer.client.frame();
        assert!(frame.rsv1 && frame.fin);
        received += frame.payload.len() as u64;
    }
    peer.client.expect_close(1011);
    drop(peer);
    let counts = of(&expect_a_sum(&server), Some("/ws"));
    let compression = counts.compression;
    assert_eq!((compression.messages_received, compression.messages_sent), (2, 2));
    assert_eq!((compression.compressed_bytes_received, compression.compressed_bytes_sent), (sent, received));
    let plain = 35 * 50 + 13 * 300;
    assert_eq!((compression.bytes_received, compression.bytes_sent), (plain, plain));
    assert_eq!((counts.traffic.bytes_received, counts.traffic.bytes_sent), (plain, plain));
    // What is too short to be compressed is not part of it.
    let mut peer = Deflating::open(server.addr(), "/ws", offer);
    peer.client.send_text("short");
    peer.client.expect_text("short");
    peer.client.leave();
    let counts = of(&expect_a_sum(&server), Some("/ws"));
    assert_eq!((counts.traffic.messages_sent, counts.compression.messages_sent), (3, 2));
}

/// What an exporter goes through has every field once.
#[test]
fn tables_have_a_label_for_each_field() {
    let labels = [
        RefusedCounts::default().iter().map(|(label, _)| label).collect::<Vec<_>>(),
        CloseCodeCounts::default().iter().map(|(label, _)| label).collect(),
        EndCounts::default().iter().map(|(label, _)| label).collect(),
    ];
    assert_eq!(labels.each_ref().map(Vec::len), [17, 16, 14]);
    for mut labels in labels {
        let is_plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        assert!(labels.iter().all(|label| label.chars().all(is_plain)), "{labels:?}");
        let count = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), count, "{labels:?}");
    }
}
