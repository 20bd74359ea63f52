//! Whom a request is from, behind proxies: what they say in fields and in the PROXY protocol, and
//! what anybody else says.

use crate::common::{Client, TestServer, upgrade_request, wait_until};
use crate::scripted::{Scripted, accept};
use framewright_server::{
    Decision, Endpoint, ForwardedField, HeadLimits, Incoming, Response, Server, ServerBuilder, ServerLimits,
    StatusCode, TrustedProxies,
};
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::time::Duration;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Accepts who wants to speak WebSocket, and tells anybody else who that is.
fn who(request: &Incoming<'_>) -> Decision<()> {
    if request.is_websocket() {
        return accept(request);
    }
    let ip = |ip: Option<IpAddr>| ip.map_or_else(|| "nobody".to_owned(), |ip| ip.to_string());
    let peer = request.peer_addr().ip();
    Response::text(StatusCode::OK, format!("{} through {}", ip(request.client_addr()), ip(peer))).into()
}

fn trusted(proxies: &[&str]) -> TrustedProxies {
    TrustedProxies::new(proxies).expect("addresses")
}

fn start(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    let (scripted, _) = Scripted::new();
    let builder = configure(Server::builder().fallback(scripted.request(who)));
    TestServer::run(builder.build().expect("a server"))
}

/// A server that expects the PROXY protocol of everybody on this machine.
fn start_with_proxy_protocol(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    let endpoint = Endpoint::tcp("127.0.0.1:0").with_proxy_protocol();
    start(|builder| {
        configure(builder.endpoint(endpoint).trusted_proxies(trusted(&["127.0.0.0/8", "10.0.0.0/8"])))
    })
}

fn request(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// What the server answers to these octets, in so many pieces.
#[track_caller]
fn told(client: &mut Client, octets: &[u8], piece: usize) -> String {
    for piece in octets.chunks(piece) {
        client.send(piece);
    }
    let answer = client.answer();
    client.expect_end();
    answer.text().to_owned()
}

/// A header of version 2 for a stream over IPv4.
fn version_2(source: [u8; 4], extensions: usize) -> Vec<u8> {
    let len = u16::try_from(12 + extensions).unwrap().to_be_bytes();
    [SIGNATURE, &[0x21, 0x11], &len, &source, &[127, 0, 0, 1], &[1, 2, 3, 4], &vec![4; extensions]].concat()
}

#[test]
fn a_trusted_proxy_is_believed_and_nobody_else() {
    let fields = "X-Forwarded-For: 203.0.113.9, 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n";
    for (proxies, field, expected) in [
        (&[][..], ForwardedField::XForwardedFor, "127.0.0.1 through 127.0.0.1"),
        (&["127.0.0.2"], ForwardedField::XForwardedFor, "127.0.0.1 through 127.0.0.1"),
        (&["127.0.0.1"], ForwardedField::XForwardedFor, "192.0.2.1 through 127.0.0.1"),
        (&["127.0.0.1", "192.0.2.0/24"], ForwardedField::XForwardedFor, "203.0.113.9 through 127.0.0.1"),
        (&["127.0.0.1"], ForwardedField::Forwarded, "192.0.2.2 through 127.0.0.1"),
        (&["127.0.0.1"], ForwardedField::None, "127.0.0.1 through 127.0.0.1"),
    ] {
        let proxies = trusted(proxies).reading(field);
        let server = start(|builder| builder.listen("127.0.0.1:0").trusted_proxies(proxies));
        assert_eq!(told(&mut server.connect(), request(fields).as_bytes(), 999), expected);
    }
}

#[cfg(unix)]
#[test]
fn a_proxy_on_a_unix_socket_is_believed_if_unix_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (proxies, expected) in [(&[][..], "nobody"), (&["unix"], "192.0.2.1")] {
        let path = folder.path().join("socket");
        let server = start(|builder| builder.listen_unix(&path).trusted_proxies(trusted(proxies)));
        let mut client = Client::connect_unix(&path);
        client.send(request("X-Forwarded-For: 192.0.2.1\r\n"));
        assert_eq!(client.answer().text(), format!("{expected} through nobody"));
        drop(server);
    }
}

#[test]
fn the_proxy_protocol_says_whom_a_connection_is_from() {
    let server = start_with_proxy_protocol(|builder| builder.workers(2));
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n".to_vec(), "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "nobody"),
        (version_2([192, 0, 2, 1], 0), "192.0.2.1"),
        (version_2([192, 0, 2, 1], 4084), "192.0.2.1"),
        ([SIGNATURE, &[0x20, 0, 0, 0]].concat(), "127.0.0.1"),
    ] {
        let octets = [&header[..], request("X: y\r\n").as_bytes()].concat();
        for piece in [octets.len(), 500, 107, 16, 1] {
            if piece == 1 && header.len() > 500 {
                continue;
            }
            let told = told(&mut server.connect(), &octets, piece);
            assert_eq!(told, format!("{expected} through 127.0.0.1"), "{}", header.escape_ascii());
        }
    }
    // A connection that goes on.
    let mut client = server.connect();
    client.send("PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n");
    client.open("/");
    client.leave();
}

/// What stands for strangers that the proxy does not name made them count as the proxy, whose
/// X-Forwarded-For is believed.
#[test]
fn nobody_but_the_proxy_itself_is_believed_where_it_does_not_say_whom_a_connection_is_from() {
    let endpoint = Endpoint::tcp("127.0.0.1:0").with_proxy_protocol();
    let server = start(|builder| builder.endpoint(endpoint).trusted_proxies(trusted(&["127.0.0.1", "unix"])));
    let request = request("X-Forwarded-For: 192.0.2.66\r\n");
    for (header, expected) in [
        (b"PROXY UNKNOWN\r\n".to_vec(), "nobody"),
        ([SIGNATURE, &[0x21, 0x00, 0, 0]].concat(), "nobody"),
        ([SIGNATURE, &[0x21, 0x31, 0, 216], &[0; 216]].concat(), "nobody"),
        ([SIGNATURE, &[0x20, 0x00, 0, 0]].concat(), "192.0.2.66"),
        ([SIGNATURE, &[0x20, 0x31, 0, 0]].concat(), "192.0.2.66"),
    ] {
        let octets = [&header[..], request.as_bytes()].concat();
        let told = told(&mut server.connect(), &octets, octets.len());
        assert_eq!(told, format!("{expected} through 127.0.0.1"), "{}", header.escape_ascii());
    }
}

#[test]
fn a_head_without_a_limit_finds_room_behind_a_header() {
    let head = HeadLimits { head: usize::MAX, ..HeadLimits::default() };
    let server =
        start_with_proxy_protocol(|builder| builder.limits(ServerLimits { head, ..ServerLimits::default() }));
    let octets = [version_2([192, 0, 2, 1], 0), request("").into_bytes()].concat();
    for piece in [octets.len(), 20] {
        assert_eq!(told(&mut server.connect(), &octets, piece), "192.0.2.1 through 127.0.0.1");
    }
}

#[test]
fn a_header_and_a_head_both_find_room() {
    let head = HeadLimits { head: 200, request_line: 100, ..HeadLimits::default() };
    let server =
        start_with_proxy_protocol(|builder| builder.limits(ServerLimits { head, ..ServerLimits::default() }));
    let octets = [version_2([192, 0, 2, 1], 4084), request("").into_bytes()].concat();
    for piece in [octets.len(), 1000] {
        assert_eq!(told(&mut server.connect(), &octets, piece), "192.0.2.1 through 127.0.0.1");
    }
    let long = request(&format!("X: {}\r\n", "y".repeat(300)));
    let mut client = server.connect();
    client.send([version_2([192, 0, 2, 1], 0), long.into_bytes()].concat());
    assert_eq!(client.answer().status, 431);
}

#[test]
fn a_source_that_is_a_proxy_itself_is_asked_for_the_client() {
    let server = start_with_proxy_protocol(|builder| builder);
    let fields = request("X-Forwarded-For: 192.0.2.1\r\n");
    let through = |source: &str| format!("PROXY TCP4 {source} 127.0.0.1 4711 80\r\n{fields}");
    assert_eq!(
        told(&mut server.connect(), through("10.1.2.3").as_bytes(), 999),
        "192.0.2.1 through 127.0.0.1"
    );
    // What a client says itself does not count.
    assert_eq!(
        told(&mut server.connect(), through("203.0.113.9").as_bytes(), 999),
        "203.0.113.9 through 127.0.0.1"
    );
}

/// The connection ends without a word.
#[track_caller]
fn expect_silent_end(client: &mut Client) {
    let mut octets = Vec::new();
    let mut stream = client.stream();
    if let Err(error) = stream.read_to_end(&mut octets) {
        // A reset where something was left unread.
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    }
    assert_eq!(octets, b"");
}

#[test]
fn without_a_correct_header_the_connection_is_closed_without_an_answer() {
    let server = start_with_proxy_protocol(|builder| builder);
    for octets in [
        request("").into_bytes(),
        b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        [SIGNATURE, &[0x11, 0x11, 0, 12]].concat(),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        [SIGNATURE, &[0x21, 0x11, 0, 2, 1, 1]].concat(),
    ] {
        let mut client = server.connect();
        client.send(&octets);
        expect_silent_end(&mut client);
    }
    // One that ends before its header does.
    let mut client = server.connect();
    client.send("PROXY TCP4 192.0");
    client.shutdown_write();
    expect_silent_end(&mut client);
    wait_until("all have gone", || server.handle().connection_count() == 0);
}

#[test]
fn a_stranger_cannot_connect_where_the_proxy_protocol_is_spoken() {
    let endpoint = Endpoint::tcp("127.0.0.1:0").with_proxy_protocol();
    let server = start(|builder| builder.endpoint(endpoint).trusted_proxies(trusted(&["127.0.0.2", "unix"])));
    let mut client = server.connect();
    let _ = client.try_send(format!("PROXY TCP4 127.0.0.2 127.0.0.1 1 2\r\n{}", request("")));
    expect_silent_end(&mut client);
}

#[test]
fn a_header_is_expected_where_that_is_said_and_nowhere_else() {
    let server = start_with_proxy_protocol(|builder| builder.listen("127.0.0.1:0"));
    let [_, framewright_server::ListenAddr::Ip(plain)] = server.addrs()[..] else { panic!("two addresses") };
    let mut client = Client::connect(plain);
    client.send(format!("PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n{}", request("")));
    assert_eq!(client.answer().status, 400);
    let told = told(&mut Client::connect(plain), request("X-Forwarded-For: 192.0.2.7\r\n").as_bytes(), 999);
    assert_eq!(told, "192.0.2.7 through 127.0.0.1");
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let limits = ServerLimits { handshake_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let server = start_with_proxy_protocol(|builder| builder.limits(limits));
    for octets in [&b""[..], b"PROXY TCP4 ", SIGNATURE] {
        let mut client = server.connect();
        client.send(octets);
        expect_silent_end(&mut client);
    }
    wait_until("all are counted", || server.handle().stats().elsewhere.refused.timeout == 3);
}

#[test]
fn a_server_that_stops_says_nothing_to_who_has_not_sent_a_header() {
    let server = start_with_proxy_protocol(|builder| builder);
    let (mut nothing, mut part) = (server.connect(), server.connect());
    part.send("PROXY TCP4 ");
    wait_until("both are there", || server.handle().connection_count() == 2);
    server.handle().stop(Duration::from_secs(60));
    expect_silent_end(&mut nothing);
    expect_silent_end(&mut part);
    wait_until("both are counted", || server.handle().stats().elsewhere.refused.draining == 2);
}

/// Nobody could connect there.
#[test]
fn where_the_proxy_protocol_is_spoken_there_has_to_be_a_trusted_proxy() {
    let build = |endpoint: Endpoint, proxies: &[&str]| {
        let builder = Server::builder().listen("127.0.0.1:0").trusted_proxies(trusted(proxies));
        builder.endpoint(endpoint.with_proxy_protocol()).build()
    };
    for proxies in [&[][..], &["unix"]] {
        let error = build(Endpoint::tcp("127.0.0.1:0"), proxies).expect_err("nobody can connect");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("trusted"), "{error}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        build(listener.into(), proxies).expect_err("nobody can connect");
    }
    build(Endpoint::tcp("127.0.0.1:0"), &["192.0.2.1"]).expect("a proxy can");
    #[cfg(unix)]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        for proxies in [&[][..], &["127.0.0.1"]] {
            let error = build(Endpoint::unix(&path), proxies).expect_err("nobody can connect");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("unix"), "{error}");
        }
        build(Endpoint::unix(&path), &["unix"]).expect("a proxy can");
    }
}

fn one_per_client() -> ServerLimits {
    ServerLimits { max_connections_per_ip: Some(1), ..ServerLimits::default() }
}

/// An opening handshake with these octets in front of it and these fields in it; its status.
#[track_caller]
fn open(server: &TestServer, before: &str, fields: &str) -> (Client, u16) {
    let mut client = server.connect();
    client.send(before);
    client.send(upgrade_request("/", fields));
    let status = client.answer().status;
    (client, status)
}

#[test]
fn behind_a_proxy_each_client_has_its_own_connections() {
    let server = start(|builder| {
        builder.listen("127.0.0.1:0").trusted_proxies(trusted(&["127.0.0.1"])).limits(one_per_client())
    });
    let from = |client: &str| open(&server, "", &format!("X-Forwarded-For: {client}\r\n"));
    let (first, status) = from("192.0.2.1");
    assert_eq!(status, 101);
    let (_other, status) = from("192.0.2.2");
    assert_eq!(status, 101);
    assert_eq!(from("192.0.2.1").1, 503);
    assert_eq!(from("::ffff:192.0.2.1").1, 503);
    // Those that are not named count with one another, and the proxy's own requests for themselves.
    let (_unknown, status) = from("192.0.2.3, unknown");
    assert_eq!(status, 101);
    assert_eq!(from("192.0.2.4, _hidden").1, 503);
    let (_own, status) = open(&server, "", "");
    assert_eq!(status, 101);
    assert_eq!(open(&server, "", "").1, 503);
    first.leave();
    wait_until("the first has gone", || from("192.0.2.1").1 == 101);
}

/// A client cannot take the place of its proxy's health checks: neither with what the proxy cannot
/// add to, nor by not being named.
#[test]
fn strangers_do_not_count_as_the_proxy() {
    let proxies = trusted(&["127.0.0.1"]).reading(ForwardedField::Forwarded);
    let server =
        start(|builder| builder.listen("127.0.0.1:0").trusted_proxies(proxies).limits(one_per_client()));
    for malformed in ["a=\", for=192.0.2.1", "for=\"192.0.2.1", "for=192.0.2.1;for=192.0.2.2"] {
        for _ in 0..2 {
            let (_refused, status) = open(&server, "", &format!("Forwarded: {malformed}\r\n"));
            assert_eq!(status, 400, "{malformed}");
        }
    }
    // What a client has sent on a line of its own is in front of what the proxy says.
    let (_client, status) = open(&server, "", "Forwarded: a=\"\r\nForwarded: for=192.0.2.1\r\n");
    assert_eq!(status, 101);
    let (_health_check, status) = open(&server, "", "");
    assert_eq!(status, 101);

    let server = start_with_proxy_protocol(|builder| builder.limits(one_per_client()));
    let local = String::from_utf8([SIGNATURE, &[0x20, 0x00, 0, 0]].concat()).unwrap();
    let (_stranger, status) = open(&server, "PROXY UNKNOWN\r\n", "");
    assert_eq!(status, 101);
    assert_eq!(open(&server, "PROXY UNKNOWN\r\n", "X-Forwarded-For: 192.0.2.7\r\n").1, 503);
    let (_health_check, status) = open(&server, &local, "");
    assert_eq!(status, 101);
}

#[test]
fn the_proxy_protocol_counts_clients_before_their_request() {
    let server = start_with_proxy_protocol(|builder| builder.limits(one_per_client()));
    let header = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n");
    let (_first, status) = open(&server, &header("192.0.2.1"), "");
    assert_eq!(status, 101);
    let mut second = server.connect();
    second.send(header("192.0.2.1"));
    assert_eq!(second.answer().status, 503, "without a request");
    second.expect_end();
    let (_other, status) = open(&server, &header("192.0.2.2"), "");
    assert_eq!(status, 101);
    // A field of a client is not believed, and a proxy's own source is.
    assert_eq!(open(&server, &header("192.0.2.2"), "X-Forwarded-For: 192.0.2.9\r\n").1, 503);
    let (_behind, status) = open(&server, &header("10.0.0.1"), "X-Forwarded-For: 192.0.2.9\r\n");
    assert_eq!(status, 101);
    assert_eq!(open(&server, &header("10.0.0.2"), "X-Forwarded-For: 192.0.2.9\r\n").1, 503);
}

#[cfg(unix)]
#[test]
fn clients_of_a_unix_socket_that_nobody_names_are_counted_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = start(|builder| {
        builder.listen_unix(&path).trusted_proxies(trusted(&["unix"])).limits(one_per_client())
    });
    let open = |fields: &str| {
        let mut client = Client::connect_unix(&path);
        let status = client.upgrade("/", fields).status;
        (client, status)
    };
    let (_first, status) = open("X-Forwarded-For: unknown\r\n");
    assert_eq!(status, 101);
    assert_eq!(open("X-Forwarded-For: unknown\r\n").1, 503);
    let (_own, status) = open("");
    assert_eq!(status, 101);
    assert_eq!(open("").1, 503);
    let (_named, status) = open("X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(status, 101);
    drop(server);
}

/// The address of a client is its own where it is not a proxy's: from another one of this machine.
#[cfg(target_os = "linux")]
#[test]
fn who_connects_without_the_proxy_is_counted_for_itself() {
    use crate::common::DEADLINE;
    use std::io::Write;
    use std::net::{Ipv4Addr, SocketAddr};

    let server = start(|builder| {
        builder.listen("127.0.0.1:0").trusted_proxies(trusted(&["127.0.0.2"])).limits(one_per_client())
    });
    let connect_from = |last: u8| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
        socket.connect_timeout(&server.addr().into(), DEADLINE).unwrap();
        let mut stream = std::net::TcpStream::from(socket);
        stream.write_all(upgrade_request("/", "X-Forwarded-For: 192.0.2.1\r\n").as_bytes()).unwrap();
        let mut client = Client::from_tcp(stream);
        let status = client.answer().status;
        (client, status)
    };
    let (_stranger, status) = connect_from(1);
    assert_eq!(status, 101);
    let (_client, status) = connect_from(2);
    assert_eq!(status, 101);
    assert_eq!(connect_from(2).1, 503);
}
