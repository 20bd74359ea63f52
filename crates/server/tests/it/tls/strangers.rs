//! Peers at a port with TLS that do not speak it, or not to the end; and headers in front of it.

use super::client::{Ca, provider};
use super::{expect_refused, start, start_echo, tls};
use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::scripted::Scripted;
use framewright::frame::{OpCode, encode_frame};
use framewright_server::{
    Endpoint, ForwardedField, MemoryLimit, Message, Page, Response, Server, ServerLimits, StatusCode,
    TrustedProxies,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn limits(
    limits: ServerLimits,
) -> impl FnOnce(framewright_server::ServerBuilder) -> framewright_server::ServerBuilder {
    |builder| builder.limits(limits)
}

/// Everything up to the end of the stream, which must not be a reset.
#[track_caller]
fn read_to_end(client: &mut Client) -> Vec<u8> {
    let mut octets = Vec::new();
    client.stream_mut().read_to_end(&mut octets).expect("an end without a reset");
    octets
}

#[test]
fn http_without_tls_is_told_what_to_do() {
    let (server, _) = start_echo(|builder| builder);
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    let post = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n{}",
        "x".repeat(300_000)
    );
    let mut refused = 0;
    for request in [page.clone(), upgrade_request("/", ""), post, "OPTIONS * HTTP/1.0\r\n\r\n".to_owned()] {
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (400, "This port speaks TLS: use https:// or wss://\n"));
        assert_eq!(answer.field("Connection"), Some("close"));
        client.expect_end();
        refused += 1;
        expect_refused(&server, refused, |refused| refused.plain_http);
    }
    // Octet by octet, too.
    let mut client = server.connect();
    for octet in page.as_bytes().chunks(1) {
        if client.try_send(octet).is_err() {
            break;
        }
    }
    assert_eq!(client.answer().status, 400);
}

#[test]
fn garbage_is_closed_with_an_alert_if_it_looks_like_tls_and_counted() {
    let (server, connector) = start_echo(|builder| builder);
    let handshake_of_garbage = [&b"\x16\x03\x01\x00\x44\x01\x00\x00\x40"[..], &[0xff; 64]].concat();
    let no_hello = b"\x17\x03\x03\x00\x05hello".to_vec();
    let mut refused = 0;
    for (octets, alert) in [
        (handshake_of_garbage, true),
        (no_hello, true),
        (b"hello, who is there?\r\n".to_vec(), false),
        (vec![0; 1000], false),
        (vec![0xff; 100_000], false),
    ] {
        let mut client = server.connect();
        // It may have left meanwhile.
        let _ = client.try_send(&octets);
        let mut answer = Vec::new();
        let end = client.stream_mut().read_to_end(&mut answer);
        // What is no TLS is not read to its end.
        assert!(end.is_ok() || !alert, "{end:?}");
        let is_alert = answer.len() == 7 && answer.starts_with(b"\x15\x03");
        assert_eq!((is_alert, answer.is_empty()), (alert, !alert), "{:?} to {:?}", answer, &octets[..5]);
        refused += 1;
        expect_refused(&server, refused, |refused| refused.tls);
    }
    connector.open(server.addr(), "/").leave();
}

/// Nothing is said to who speaks neither TLS nor HTTP: the place is free at once.
#[test]
fn garbage_that_is_not_tls_takes_no_place_behind_its_end() {
    let ca = Ca::new("the CA");
    let handler = Scripted::new().0.message(|socket, _| {
        let count = socket.server().connection_count();
        socket.send_text(&count.to_string()).expect("room");
    });
    let server = start(tls(&ca.issue(&["localhost"])), handler, |builder| builder.workers(1));
    let mut open = super::Connector::new(&ca).open(server.addr(), "/");
    for _ in 0..10 {
        // It does not end its own direction.
        let mut garbage = server.connect();
        garbage.send(b"hello, who is there?\r\n");
        garbage.expect_gone();
        open.send_text("how many?");
        open.expect_text("1");
    }
    expect_refused(&server, 10, |refused| refused.tls);
    open.leave();
}

/// The octets of a ClientHello.
fn client_hello(connector: &super::Connector) -> Vec<u8> {
    let (mut session, mut octets) = (connector.session(), Vec::new());
    session.write_tls(&mut octets).expect("a ClientHello");
    octets
}

#[test]
fn a_client_hello_may_come_octet_by_octet() {
    let (server, connector) = start_echo(|builder| builder);
    let mut session = connector.session();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("a ClientHello");
    let mut socket = server.connect().into_stream();
    for octet in hello.chunks(1) {
        std::io::Write::write_all(&mut socket, octet).expect("the server reads");
    }
    while session.is_handshaking() {
        session.complete_io(&mut socket).expect("a handshake");
    }
    let mut client = Client::over(rustls::StreamOwned::new(session, socket));
    client.open("/");
    client.send_text("hello");
    client.expect_text("hello");
    client.leave();
}

#[test]
fn a_handshake_has_until_the_deadline_of_the_opening() {
    let handshake_timeout = Duration::from_millis(200);
    let (server, connector) =
        start_echo(limits(ServerLimits { handshake_timeout, ..ServerLimits::default() }));
    let hello = client_hello(&connector);
    let mut refused = 0;
    for sent in [0, 1, 5, 100, hello.len() - 1, hello.len()] {
        let mut client = server.connect();
        client.send(&hello[..sent]);
        client.expect_gone();
        refused += 1;
        expect_refused(&server, refused, |refused| refused.timeout);
    }
    // What is behind the handshake has no time of its own, and gets its answer.
    let mut client = connector.connect(server.addr());
    client.send("GET / HTTP/1.1\r\n");
    assert_eq!(client.answer().status, 408);
    client.expect_end();
    expect_refused(&server, refused + 1, |refused| refused.timeout);
}

/// A ClientHello that announces more than any has, and one that goes on in small records.
#[test]
fn a_client_hello_without_an_end_holds_little_and_is_in_the_account() {
    let (server, _) = start_echo(|builder| builder);
    let held = || server.handle().stats().memory.held;
    assert_eq!(held(), 0);
    let mut idle = server.connect();
    wait_until("the session is in the account", || held() >= 3 << 10);
    assert!(held() <= 8 << 10, "{}", held());
    // A handshake message of 64 KiB in records of 16 KiB, of which the last octet is missing.
    let mut client = server.connect();
    let mut hello = b"\x01\x00\xff\xff".to_vec();
    hello.resize(4 + 0xffff, 0);
    let records: Vec<u8> = hello
        .chunks(16 << 10)
        .flat_map(|piece| {
            let len = u16::try_from(piece.len()).expect("it fits").to_be_bytes();
            [&b"\x16\x03\x01"[..], &len, piece].concat()
        })
        .collect();
    client.send(&records[..records.len() - 1]);
    wait_until("what has come is in the account", || held() >= 60 << 10);
    assert!(held() <= 160 << 10, "{}", held());
    client.send(&records[records.len() - 1..]);
    read_to_end(&mut client);
    expect_refused(&server, 1, |refused| refused.tls);
    // One that is longer is not waited for.
    let mut client = server.connect();
    client.send(b"\x16\x03\x01\x40\x00\x01\x01\x00\x00");
    client.send([0; 8 << 10]);
    client.send([0; 8 << 10]);
    read_to_end(&mut client);
    expect_refused(&server, 2, |refused| refused.tls);
    idle.send("x");
    drop((idle, client));
    wait_until("nothing is held", || held() == 0);
}

/// Notes how many handshakes have come to the choice of a certificate, and holds up the first.
#[derive(Debug)]
struct Counting {
    key: Arc<CertifiedKey>,
    resolved: AtomicUsize,
    begun: Sender<()>,
    goes_on: Mutex<Receiver<()>>,
    /// The number from which on they count: those of the open connections do not.
    since: AtomicUsize,
}

impl ResolvesServerCert for Counting {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.resolved.fetch_add(1, Ordering::SeqCst) == self.since.load(Ordering::SeqCst) {
            self.begun.send(()).expect("the test waits");
            next(&self.goes_on.lock().expect("one thread"));
        }
        Some(Arc::clone(&self.key))
    }
}

#[test]
fn a_crowd_of_handshakes_has_its_turns_behind_the_open_connections() {
    const CROWD: usize = 64;
    let ca = Ca::new("the CA");
    let issued = ca.issue(&["localhost"]);
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let key = CertifiedKey::from_der(vec![issued.der()], key, &provider()).expect("a certificate");
    let ((begun, has_begun), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
    let resolver = Arc::new(Counting {
        key: Arc::new(key),
        resolved: AtomicUsize::new(0),
        begun,
        goes_on: Mutex::new(goes_on),
        since: AtomicUsize::new(usize::MAX),
    });
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Counting>::clone(&resolver));
    let ((held, is_held), (release, released)) = (mpsc::channel(), mpsc::channel());
    let (released, counting) = (Mutex::new(released), Arc::clone(&resolver));
    let handler = Scripted::new().0.message(move |socket, message| match message {
        Message::Text("hold") => {
            held.send(()).expect("the test waits");
            next(&released.lock().expect("one thread"));
        }
        _ => {
            let count = counting.resolved.load(Ordering::SeqCst) - counting.since.load(Ordering::SeqCst);
            socket.send_text(&count.to_string()).expect("room");
        }
    });
    let server = start(config.into(), handler, |builder| builder.workers(1));
    let connector = super::Connector::new(&ca);
    let mut open = connector.open(server.addr(), "/");
    let mut holding = connector.open(server.addr(), "/");
    resolver.since.store(resolver.resolved.load(Ordering::SeqCst), Ordering::SeqCst);
    holding.send_text("hold");
    next(&is_held);
    let hello = client_hello(&connector);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut client = server.connect();
            client.send(&hello);
            client
        })
        .collect();
    release.send(()).expect("it waits");
    next(&has_begun);
    open.send_text("how many?");
    go_on.send(()).expect("it waits");
    let Ok(before) = String::from_utf8_lossy(&open.message().1).parse::<usize>() else { panic!("a number") };
    assert!((1..CROWD).contains(&before), "{before} handshakes came first");
    drop(crowd);
    open.leave();
}

#[test]
fn a_connection_over_a_limit_completes_its_handshake_and_gets_503() {
    let (server, connector) =
        start_echo(limits(ServerLimits { max_connections: Some(1), ..ServerLimits::default() }));
    let first = connector.open(server.addr(), "/");
    for _ in 0..3 {
        let mut client = connector.connect(server.addr());
        client.send(upgrade_request("/", ""));
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("5")));
        client.expect_end();
    }
    // Without TLS the answer is the same, and is counted once.
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 503);
    client.expect_end();
    expect_refused(&server, 4, |refused| refused.max_connections);
    first.leave();
    wait_until("room", || server.handle().connection_count() == 0);
    connector.open(server.addr(), "/").leave();
}

#[test]
fn a_connection_over_a_limit_that_speaks_http_without_tls_is_counted_once() {
    let (server, connector) =
        start_echo(limits(ServerLimits { max_connections: Some(1), ..ServerLimits::default() }));
    let first = connector.open(server.addr(), "/");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 503);
    client.expect_end();
    expect_refused(&server, 1, |refused| refused.max_connections);
    first.leave();
}

#[test]
fn a_server_that_stops_answers_503_behind_the_handshake_and_waits_for_no_silent_one() {
    let handshake_timeout = Duration::from_secs(3600);
    let (server, connector) =
        start_echo(limits(ServerLimits { handshake_timeout, ..ServerLimits::default() }));
    let mut silent = server.connect();
    let mut client = connector.connect(server.addr());
    wait_until("both are there", || server.handle().connection_count() == 2);
    server.handle().stop(Duration::from_secs(3600));
    assert_eq!(client.answer().status, 503);
    client.expect_end();
    silent.expect_gone();
    let mut server = server;
    server.wait().expect("an end long before the grace is over");
}

#[test]
fn a_session_counts_in_the_memory_of_all_connections() {
    let (server, connector) =
        start_echo(limits(ServerLimits { memory: MemoryLimit::Bytes(64 << 10), ..ServerLimits::default() }));
    let mut clients: Vec<_> = (0..40).filter_map(|_| connector.try_connect(server.addr()).ok()).collect();
    wait_until("some were ended", || server.handle().stats().memory.ended > 0);
    assert!(server.handle().stats().memory.held <= 80 << 10);
    clients.clear();
    wait_until("nothing is held", || server.handle().stats().memory.held == 0);
}

/// What TLS has encrypted for them is given back too, each is ended once, and nobody else is.
#[test]
fn clients_that_do_not_read_their_echoes_give_way() {
    const CLIENTS: u64 = 24;
    let ca = Ca::new("the CA");
    let handler = Scripted::new().0.message(|socket, message| {
        // There may be no room: what was queued before is not read.
        let _ = match message {
            Message::Text("more") => socket.send_binary(&vec![7; 300_000]),
            message => socket.send(message),
        };
    });
    let server = start(tls(&ca.issue(&["localhost"])), handler, |builder| {
        limits(ServerLimits { memory: MemoryLimit::Bytes(1 << 20), ..ServerLimits::default() })(
            builder.workers(1),
        )
    });
    let connector = super::Connector::new(&ca);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connector.open(server.addr(), "/")).collect();
    let mut asks = Vec::new();
    for _ in 0..64 {
        encode_frame(&mut asks, true, OpCode::Text, b"more", Some([1, 2, 3, 4]));
    }
    for client in &mut clients {
        client.send(&asks);
    }
    let memory = || server.handle().stats().memory;
    wait_until("some were ended", || memory().ended > 0);
    // Others go on meanwhile.
    let mut other = connector.open(server.addr(), "/");
    for _ in 0..300 {
        other.send_text("hello");
        other.expect_text("hello");
    }
    wait_until("those that were ended hold little", || memory().held <= 1 << 20);
    assert!(memory().ended <= CLIENTS, "{}", memory().ended);
    other.leave();
    clients.clear();
    wait_until("nothing is held", || memory().held == 0);
    assert!(memory().ended <= CLIENTS, "{}", memory().ended);
}

#[test]
fn a_header_of_the_proxy_protocol_comes_before_the_client_hello() {
    let ca = Ca::new("the CA");
    let connector = super::Connector::new(&ca);
    let proxies = TrustedProxies::new(["127.0.0.1"]).expect("an address").reading(ForwardedField::None);
    let handler = Scripted::echo().0.request(|request| {
        let peer = request.peer_addr().ip().expect("an address");
        let name = request.tls().and_then(|tls| tls.server_name()).unwrap_or("nobody").to_owned();
        let client = request.client_addr().expect("an address");
        Response::text(StatusCode::OK, format!("{client} through {peer} for {name}")).into()
    });
    let endpoint =
        Endpoint::tcp("127.0.0.1:0").with_proxy_protocol().with_tls(tls(&ca.issue(&["localhost"])));
    let builder = Server::builder().endpoint(endpoint).trusted_proxies(proxies).fallback(handler);
    let server = TestServer::run(builder.workers(2).build().expect("a server"));
    let header = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n";
    for piece in [1, 10, 41, 60, 10_000] {
        let mut session = connector.session();
        let mut octets = header.to_vec();
        session.write_tls(&mut octets).expect("a ClientHello");
        let mut socket = server.connect().into_stream();
        for piece in octets.chunks(piece) {
            std::io::Write::write_all(&mut socket, piece).expect("the server reads");
        }
        while session.is_handshaking() {
            session.complete_io(&mut socket).expect("a handshake");
        }
        let mut client = Client::over(rustls::StreamOwned::new(session, socket));
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.answer().text(), "192.0.2.1 through 127.0.0.1 for localhost");
        client.expect_end();
    }
    // Without the header nothing is answered, in whatever language; behind it HTTP is told.
    let mut client = server.connect();
    client.send(client_hello(&connector));
    client.expect_gone();
    let mut client = server.connect();
    client.send([&header[..], b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat());
    assert_eq!(client.answer().status, 400);
    client.expect_end();
    let refused = server.handle().stats().totals().refused;
    assert_eq!((refused.proxy, refused.plain_http, refused.total()), (1, 1, 2));
}

#[test]
fn endpoints_with_and_without_tls_stand_side_by_side() {
    let ca = Ca::new("the CA");
    let page = Page::html("<p>hello");
    let server = start(tls(&ca.issue(&["localhost"])), Scripted::echo().0, |builder| {
        builder.listen("127.0.0.1:0").page("/page", page).workers(2)
    });
    let connector = super::Connector::new(&ca);
    let [_, framewright_server::ListenAddr::Ip(plain)] = server.addrs() else { panic!("two addresses") };
    let request = "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..10 {
        let (mut first, mut second) = (connector.connect(server.addr()), Client::connect(*plain));
        first.send(request);
        second.send(request);
        assert_eq!((first.answer().text(), second.answer().text()), ("<p>hello", "<p>hello"));
        connector.open(server.addr(), "/").leave();
        let mut client = Client::connect(*plain);
        client.open("/");
        client.leave();
    }
    // A ClientHello at the port without TLS is a request with a wrong method.
    let mut client = Client::connect(*plain);
    client.send(client_hello(&connector));
    assert_eq!(client.answer().status, 400);
}

#[cfg(unix)]
#[test]
fn a_unix_socket_may_speak_tls() {
    let ca = Ca::new("the CA");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let endpoint = Endpoint::unix(&path).with_tls(tls(&ca.issue(&["localhost"])));
    let builder = Server::builder().endpoint(endpoint).fallback(Scripted::echo().0);
    let _server = TestServer::run(builder.build().expect("a server"));
    let socket = Client::connect_unix(&path).into_stream();
    let session = super::Connector::new(&ca).session();
    let mut client = Client::over(rustls::StreamOwned::new(session, socket));
    client.open("/");
    client.send_text("hello");
    client.expect_text("hello");
    client.leave();
}
