//! `wss:` as its server and its application see it: echoes, halves in two threads, what was agreed
//! on, the end of the stream.

use crate::common::certificates::{Authority, VERSIONS, provider, secure, secure_request};
use crate::common::relay::{Way, pass_between, relay};
use crate::common::{
    AnyClient, Command, DEADLINE, Kind, LATER, Listener, Loop, Peer, Server, plain, request,
    through_both_apis, upload,
};
use framewright::Error;
use framewright_client::blocking::Client;
use framewright_client::rustls::version::{TLS12, TLS13};
use framewright_client::rustls::{ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};
use framewright_client::{
    ClientRequest, ClientTls, CloseCode, Closure, ConnectError, FieldName, FieldValue, Message, Options,
    Proxy, RedirectError, TlsError, TlsInfo,
};
use framewright_testkit::endpoint::Seen;
#[cfg(unix)]
use socket2::SockRef;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

const HOST: &[&str] = &["localhost"];

/// A client of this server, at `localhost`, whatever the address that it is reached by.
#[track_caller]
fn connect(kind: Kind, addr: SocketAddr, tls: &ClientTls) -> Box<dyn AnyClient> {
    kind.connect(secure_request(addr), &secure(addr, tls.clone())).expect("a connection")
}

/// Sends back whatever comes, until the client closes.
fn echo(peer: &mut Peer) {
    loop {
        let frame = peer.frame();
        match frame.header.opcode {
            8 => {
                peer.script("close 1000");
                peer.shutdown_write();
                return peer.expect_end();
            }
            9 | 10 => {}
            opcode => peer.send(whole_frame(opcode, &frame.payload)),
        }
        peer.forget_read();
    }
}

/// A frame as a server sends it, with FIN.
fn whole_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..126), _) => frame.push(short),
        (_, Ok(medium)) => frame.extend([&[126][..], &medium.to_be_bytes()].concat()),
        _ => frame.extend([&[127][..], &u64::try_from(len).expect("64 bits").to_be_bytes()].concat()),
    }
    [&frame, payload].concat()
}

/// A payload in which no piece is like another one near it.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 256).expect("below 256")).collect()
}

#[track_caller]
fn close(client: &mut dyn AnyClient) -> Closure {
    client.start_close(1000, "").expect("an open connection");
    loop {
        if let Some(Seen::Closed(closure)) = client.next() {
            return closure;
        }
    }
}

#[test]
fn messages_of_all_sizes_come_back_and_the_end_is_clean() {
    let authority = Authority::new("The Authority");
    let (identity, tls) = (authority.issue(HOST), authority.trusted());
    for version in VERSIONS {
        let config = identity.server_with(&[version], None);
        through_both_apis(|kind| {
            let server = Server::open_tls(Arc::clone(&config), echo);
            let mut client = connect(kind, server.addr(), &tls);
            for len in [0, 1, 125, 126, 1000, 16_384, 16_385, 70_000, 1 << 20] {
                let message = pattern(len);
                client.insist(Command::Send(Message::Binary(&message)));
                let seen = std::iter::from_fn(|| client.next()).find(|seen| *seen != Seen::Writable);
                assert!(seen == Some(Seen::Binary(message)), "{kind:?} {version:?} {len}");
            }
            client.send_text("text").expect("an open connection");
            client.expect_text("text");
            let closure = close(&mut *client);
            assert!(closure.clean, "{closure:?}");
            server.end();
        });
    }
}

#[test]
fn octets_that_come_one_by_one_are_a_stream_too() {
    let authority = Authority::new("The Authority");
    let (identity, tls) = (authority.issue(HOST), authority.trusted());
    for version in VERSIONS {
        let config = identity.server_with(&[version], None);
        through_both_apis(|kind| {
            let server = Server::open_tls(Arc::clone(&config), echo);
            let mut client = connect(kind, relay(server.addr(), Way::OneByOne), &tls);
            client.send_text("one by one").expect("an open connection");
            client.expect_text("one by one");
            assert!(close(&mut *client).clean);
            server.end();
        });
    }
}

#[test]
fn both_halves_of_a_client_work_in_two_threads() {
    const MESSAGES: usize = 200;
    let authority = Authority::new("The Authority");
    let identity = authority.issue(HOST);
    for version in VERSIONS {
        let config = identity.server_with(&[version], None);
        let server = Listener::taking_little().run(move |listener| {
            listener.serve_tls(&config, |peer| {
                peer.upgrade();
                echo(peer);
            });
        });
        let addr = server.addr();
        let client = Client::connect_with(secure_request(addr), &secure(addr, authority.trusted()));
        let (mut sender, mut receiver) = client.expect("a connection").split();
        let message = |number: usize| pattern(number * 997 % 60_000);
        let sending = thread::spawn(move || {
            for number in 0..MESSAGES {
                sender.send_binary(&message(number)).expect("an open connection");
            }
            sender.close(CloseCode::NORMAL, "").expect("an open connection");
        });
        let until = Instant::now() + DEADLINE;
        for number in 0..MESSAGES {
            let received = receiver.receive_before(until).expect("a message").expect("an open connection");
            assert!(received == Message::Binary(&message(number)), "{number}");
        }
        assert_eq!(receiver.receive_before(until), Ok(None));
        assert!(receiver.closure().expect("it has ended").clean);
        sending.join().expect("no panic");
        server.end();
    }
}

#[test]
fn new_keys_in_the_middle_of_a_message_change_nothing() {
    let authority = Authority::new("The Authority");
    let (config, tls) = (authority.issue(HOST).server(), authority.trusted());
    through_both_apis(|kind| {
        let server = Server::open_tls(Arc::clone(&config), |peer| {
            let frame = whole_frame(2, &pattern(50_000));
            for piece in frame.chunks(5000) {
                peer.tls().refresh_traffic_keys().expect("TLS 1.3");
                peer.send(piece);
            }
            // The client's keys change with its answer.
            peer.expect_text("got it");
            echo(peer);
        });
        let mut client = connect(kind, server.addr(), &tls);
        assert!(client.next() == Some(Seen::Binary(pattern(50_000))));
        client.send_text("got it").expect("an open connection");
        client.send_text("again").expect("an open connection");
        client.expect_text("again");
        assert!(close(&mut *client).clean);
        server.end();
    });
}

/// What was agreed on, by either API.
fn info_of(kind: Kind, request: ClientRequest, options: &Options) -> TlsInfo {
    let info = match kind {
        Kind::Blocking => {
            let mut client = Client::connect_with(request, options).expect("a connection");
            let info = client.tls();
            assert!(client.close_and_wait(CloseCode::NORMAL, "").expect("an open connection").clean);
            info
        }
        Kind::EventLoop => {
            let mut client = Loop::connect(request, options).expect("a connection");
            let info = client.client.tls();
            assert!(close(&mut client).clean);
            assert!(client.client.tls().is_none(), "it is not open any more");
            info
        }
    };
    info.expect("TLS")
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# Clients MUST use the Server Name Indication extension in the TLS
//# handshake [RFC6066].
#[test]
fn application_learns_what_was_agreed_on_and_later_connections_resume_the_session() {
    let authority = Authority::new("The Authority");
    let identity = authority.intermediate("In Between").issue(HOST);
    for (version, expected) in VERSIONS.into_iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3])
    {
        let config = identity.server_with(&[version], None);
        through_both_apis(|kind| {
            let tls = authority.trusted();
            for resumed in [false, true] {
                let server = Server::open_tls(Arc::clone(&config), |peer| {
                    echo(peer);
                    let name = peer.tls().server_name().map(str::to_owned);
                    (name, peer.tls().handshake_kind() == Some(HandshakeKind::Resumed))
                });
                let addr = server.addr();
                let info = info_of(kind, secure_request(addr), &secure(addr, tls.clone()));
                assert_eq!(info.version, expected);
                assert_eq!(info.alpn.as_deref(), Some(&b"http/1.1"[..]));
                assert_eq!(info.peer_certificates, identity.chain());
                assert_eq!(info.resumed, resumed, "{kind:?} {expected:?}");
                assert_eq!(server.end(), (Some("localhost".to_owned()), resumed));
            }
        });
    }
}

#[test]
fn a_connection_without_tls_tells_nothing_of_it() {
    let server = Server::open(Peer::answer_close);
    let mut client = Client::connect_with(request(server.addr()), &plain()).expect("a connection");
    assert!(client.tls().is_none());
    client.close_and_wait(CloseCode::NORMAL, "").expect("an open connection");
    server.end();
}

#[test]
fn an_address_is_a_host_and_is_not_sent_as_a_name() {
    let authority = Authority::new("The Authority");
    let (config, tls) = (authority.issue(&["127.0.0.1", "::1"]).server(), authority.trusted());
    through_both_apis(|kind| {
        for host in ["127.0.0.1", "[::1]"] {
            let server = Server::open_tls(Arc::clone(&config), |peer| {
                echo(peer);
                peer.tls().server_name().map(str::to_owned)
            });
            let addr = server.addr();
            let request = format!("wss://{host}:{}/", addr.port()).parse().expect("a URI");
            let mut client = kind.connect(request, &secure(addr, tls.clone())).expect("a connection");
            assert!(close(&mut *client).clean);
            assert_eq!(server.end(), None);
        }
    });
}

#[test]
fn a_name_with_the_dot_of_the_root_is_the_same_host_to_tls() {
    let authority = Authority::new("The Authority");
    let server = Server::open_tls(authority.issue(&["server.example"]).server(), |peer| {
        echo(peer);
        peer.tls().server_name().map(str::to_owned)
    });
    let request = "wss://Server.Example./".parse().expect("a URI");
    let options = secure(server.addr(), authority.trusted());
    let mut client = Client::connect_with(request, &options).expect("a connection");
    client.close_and_wait(CloseCode::NORMAL, "").expect("an open connection");
    assert_eq!(server.end().as_deref(), Some("server.example"));
}

/// The certificate of this end fills the socket, so that the rest of the handshake has to wait for
/// room, while there is nothing to read.
#[cfg(unix)]
#[test]
fn a_handshake_that_waits_for_room_goes_on() {
    let authority = Authority::new("The Authority");
    let hosts: Vec<_> = (0..1000).map(|number| format!("host-{number}.example")).collect();
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let own = authority.issue(&hosts);
    assert!(own.certificate().len() > 16 << 10);
    let tls = ClientTls::builder()
        .only_ca_pem(authority.pem())
        .identity_pem(own.chain_pem(), own.key_pem())
        .build()
        .expect("settings");
    for version in VERSIONS {
        let config = authority.issue(&["tunnel.example"]).server_with(&[version], Some(&authority));
        let server = Server::open_tls(config, echo);
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        SockRef::from(&ours).set_send_buffer_size(4096).expect("an option of the socket");
        let addr = server.addr();
        let tunnel = thread::spawn(move || pass_between(theirs, TcpStream::connect(addr).expect("a server")));
        let request = "wss://tunnel.example/".parse().expect("a URI");
        let client = Client::over_with(ours, request, &Options { tls: tls.clone(), ..plain() });
        let mut client = client.expect("a connection");
        assert!(client.close_and_wait(CloseCode::NORMAL, "").expect("an open connection").clean);
        server.end();
        drop(client);
        tunnel.join().expect("no panic");
    }
}

#[test]
fn default_port_is_that_of_https() {
    let authority = Authority::new("The Authority");
    let server = Server::open_tls(authority.issue(&["server.example"]).server(), |peer| {
        let host = peer.field("Host").map(str::to_owned);
        echo(peer);
        host
    });
    let request: ClientRequest = "wss://server.example/".parse().expect("a URI");
    assert_eq!(request.uri().port(), 443);
    let options = secure(server.addr(), authority.trusted());
    let mut client = Client::connect_with(request, &options).expect("a connection");
    client.close_and_wait(CloseCode::NORMAL, "").expect("an open connection");
    assert_eq!(server.end().as_deref(), Some("server.example"));
}

/// Why TLS has ended a connection, by either API.
trait TellsTls: AnyClient {
    fn told(&self) -> Option<String>;
}

impl TellsTls for Client {
    fn told(&self) -> Option<String> {
        self.tls_error().map(|error| error.to_string())
    }
}

impl TellsTls for Loop {
    fn told(&self) -> Option<String> {
        self.client.tls_error().map(ToString::to_string)
    }
}

fn telling(kind: Kind, addr: SocketAddr, tls: &ClientTls) -> Box<dyn TellsTls> {
    telling_with(kind, secure_request(addr), &secure(addr, tls.clone()))
}

fn telling_with(kind: Kind, request: ClientRequest, options: &Options) -> Box<dyn TellsTls> {
    match kind {
        Kind::Blocking => Box::new(Client::connect_with(request, options).expect("a connection")),
        Kind::EventLoop => Box::new(Loop::connect(request, options).expect("a connection")),
    }
}

/// How a connection ends, and what TLS says of it, if the server is gone without the end of TLS:
/// behind a closing handshake or without one.
fn end_without_close_notify(
    kind: Kind,
    config: &Arc<ServerConfig>,
    tls: &ClientTls,
    closes: bool,
) -> (Closure, Option<String>) {
    let server = Server::open_tls(Arc::clone(config), move |peer| {
        peer.script("text \"the last\"");
        if closes {
            assert_eq!(peer.expect_close(1000), "");
            peer.script("close 1000");
        }
        peer.cut();
        peer.wait_gone();
    });
    let mut client = telling(kind, server.addr(), tls);
    client.expect_text("the last");
    assert_eq!(client.told(), None);
    let closure = if closes { close(&mut *client) } else { client.expect_closed() };
    server.end();
    (closure, client.told())
}

#[test]
fn an_end_of_tcp_without_close_notify_is_clean_behind_the_close_frames_only() {
    let authority = Authority::new("The Authority");
    let (identity, tls) = (authority.issue(HOST), authority.trusted());
    for version in VERSIONS {
        let config = identity.server_with(&[version], None);
        through_both_apis(|kind| {
            let (closure, told) = end_without_close_notify(kind, &config, &tls, false);
            assert!(!closure.clean);
            assert_eq!(closure.cause, Some(Error::TransportLost));
            let told = told.expect("a truncation");
            assert!(told.starts_with("the server ended the connection in the middle"), "{told}");
            let (closure, told) = end_without_close_notify(kind, &config, &tls, true);
            assert!(closure.clean, "{closure:?}");
            assert_eq!(told, None);
        });
    }
}

#[test]
fn a_proxy_that_cuts_the_tunnel_is_named() {
    let authority = Authority::new("The Authority");
    let config = authority.issue(HOST).server();
    through_both_apis(|kind| {
        // The proxy, and behind it the server.
        let proxy = Server::start_tls(Arc::clone(&config), |peer| {
            peer.send("HTTP/1.1 200 OK\r\n\r\n");
            peer.read_request();
            peer.upgrade();
            peer.cut();
            peer.wait_gone();
        });
        let url = format!("https://localhost:{}", proxy.addr().port());
        let options = Options {
            proxy: Some(Proxy::new(&url).expect("a proxy")),
            ..secure(proxy.addr(), authority.trusted())
        };
        let mut client = telling_with(kind, "ws://server.example/".parse().expect("a URI"), &options);
        assert_eq!(client.expect_closed().cause, Some(Error::TransportLost));
        assert_eq!(
            client.told().as_deref(),
            Some("the proxy ended the connection in the middle, without the end that TLS has (close_notify)")
        );
        proxy.end();
    });
}

/// The broken rule is what has ended the connection; that TLS is cut afterwards is not.
#[test]
fn a_cut_behind_a_broken_rule_is_not_told() {
    let authority = Authority::new("The Authority");
    let (config, tls) = (authority.issue(HOST).server(), authority.trusted());
    let (sent, is_sent) = mpsc::channel::<()>();
    let (failed, has_failed) = mpsc::channel::<()>();
    let server = Listener::taking_little().run(move |listener| {
        listener.serve_tls(&config, |peer| {
            peer.upgrade();
            let _ = is_sent.recv_timeout(DEADLINE);
            // An opcode that is reserved.
            peer.send([0x83, 0]);
            peer.cut();
            let _ = has_failed.recv_timeout(DEADLINE);
            peer.forget();
        });
    });
    let mut client =
        Loop::connect(secure_request(server.addr()), &secure(server.addr(), tls)).expect("a connection");
    client.command(Command::Send(Message::Binary(&vec![7; upload()]))).expect("an open connection");
    sent.send(()).expect("the server waits");
    let closure = client.expect_closed();
    assert!(closure.cause.as_ref().is_some_and(|cause| *cause != Error::TransportLost), "{closure:?}");
    assert_eq!(client.told(), None);
    drop(client);
    failed.send(()).expect("the server waits");
    server.end();
}

#[test]
fn a_client_that_is_dropped_ends_tls() {
    let authority = Authority::new("The Authority");
    for version in VERSIONS {
        let config = authority.issue(HOST).server_with(&[version], None);
        through_both_apis(|kind| {
            let server = Server::open_tls(Arc::clone(&config), Peer::expect_end);
            drop(connect(kind, server.addr(), &authority.trusted()));
            server.end();
        });
    }
}

#[test]
fn a_client_that_gives_up_its_opening_handshake_ends_tls() {
    let authority = Authority::new("The Authority");
    let config = authority.issue(HOST).server();
    through_both_apis(|kind| {
        for answer in ["nonsense\r\n\r\n", ""] {
            let server = Server::start_tls(Arc::clone(&config), move |peer| {
                peer.send(answer);
                peer.expect_end();
            });
            let tls = authority.trusted();
            let options = Options { handshake_timeout: LATER, ..secure(server.addr(), tls) };
            let error = kind.connect(secure_request(server.addr()), &options).err();
            let expected = match answer {
                "" => matches!(error, Some(ConnectError::HandshakeTimeout)),
                _ => matches!(error, Some(ConnectError::Handshake(_))),
            };
            assert!(expected, "{error:?}");
            server.end();
        }
    });
}

#[test]
fn an_octet_that_was_altered_on_the_way_ends_the_connection_and_is_not_delivered() {
    let authority = Authority::new("The Authority");
    let (identity, tls) = (authority.issue(HOST), authority.trusted());
    for version in VERSIONS {
        let config = identity.server_with(&[version], None);
        through_both_apis(|kind| {
            let server = Server::start_raw(Arc::clone(&config), |peer| {
                peer.read_request();
                peer.upgrade();
                peer.send(whole_frame(2, &pattern(100_000)));
                peer.try_read_request().expect_err("an alert").to_string()
            });
            // The handshake has a few thousand octets.
            let mut client = telling(kind, relay(server.addr(), Way::Alter(50_000)), &tls);
            assert_eq!(client.expect_closed().cause, Some(Error::TransportLost));
            let told = client.told().expect("a reason");
            assert!(told.contains("cannot decrypt"), "{told}");
            assert!(server.end().contains("BadRecordMac"));
        });
    }
}

#[test]
fn a_server_that_has_ended_its_direction_reads_on() {
    let authority = Authority::new("The Authority");
    let (config, tls) = (authority.issue(HOST).server(), authority.trusted());
    through_both_apis(|kind| {
        let server = Server::open_tls(Arc::clone(&config), |peer| {
            peer.shutdown_write();
            // No Close came from the server: the client fails the connection, and says nothing.
            peer.expect_end();
        });
        let mut client = connect(kind, server.addr(), &tls);
        assert_eq!(client.expect_closed().cause, Some(Error::TransportLost));
        server.end();
    });
}

#[test]
fn a_truncation_at_any_octet_is_an_error_and_never_a_message() {
    let authority = Authority::new("The Authority");
    let identity = authority.issue(HOST);
    for version in VERSIONS {
        let config = identity.server_with(&[version], None);
        through_both_apis(|kind| {
            let (mut not_begun, mut not_open, mut open, mut most) = (0, 0, 0, 0);
            loop {
                let server = Server::start_raw(Arc::clone(&config), |peer| {
                    if peer.try_read_request().is_ok() {
                        peer.upgrade();
                        peer.script("text \"one\"; text \"two\"");
                        peer.shutdown_write();
                    }
                    peer.wait_gone();
                });
                let addr = relay(server.addr(), Way::Cut(most));
                // New settings, so that no session is resumed: each handshake has the same length.
                match kind.connect(secure_request(addr), &secure(addr, authority.trusted())) {
                    Err(ConnectError::Tls(TlsError::NotBegun)) if not_open == 0 => not_begun += 1,
                    Err(ConnectError::Tls(TlsError::Truncated)) => not_open += 1,
                    Err(error) => panic!("{most}: {error}"),
                    Ok(mut client) => {
                        open += 1;
                        let seen = client.rest();
                        let texts = seen.iter().filter(|seen| matches!(seen, Seen::Text(_))).count();
                        let Some(Seen::Closed(closure)) = seen.last() else { panic!("{seen:?}") };
                        assert!(!closure.clean, "{most}: {closure:?}");
                        if texts == 2 {
                            server.end();
                            break;
                        }
                    }
                }
                server.end();
                most += 61;
            }
            let seen = [not_begun, not_open, open];
            assert!(seen.iter().all(|&count| count > 0) && not_begun + not_open > 5, "{seen:?}");
        });
    }
}

/// How a refusal without Content-Length is told, with close_notify behind it or not.
fn refusal(kind: Kind, config: &Arc<ServerConfig>, tls: &ClientTls, with_end: bool) -> (Vec<u8>, bool) {
    let server = Server::start_tls(Arc::clone(config), move |peer| {
        peer.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nwho are you");
        if with_end {
            peer.shutdown_write();
        } else {
            peer.cut();
        }
        // The client's own end comes before that of its TCP connection, if TLS has not failed.
        if with_end { peer.expect_end() } else { peer.expect_gone() }
    });
    let refused = kind.connect(secure_request(server.addr()), &secure(server.addr(), tls.clone()));
    server.end();
    match refused.err() {
        Some(ConnectError::Refused(response)) => {
            assert_eq!(response.status(), 403);
            (response.body().to_vec(), response.is_truncated())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_that_ends_without_close_notify_is_truncated() {
    let authority = Authority::new("The Authority");
    let (config, tls) = (authority.issue(HOST).server(), authority.trusted());
    through_both_apis(|kind| {
        assert_eq!(refusal(kind, &config, &tls, true), (b"who are you".to_vec(), false));
        assert_eq!(refusal(kind, &config, &tls, false), (b"who are you".to_vec(), true));
    });
}

#[test]
fn nothing_is_sent_as_early_data() {
    let authority = Authority::new("The Authority");
    let mut config = ServerConfig::clone(&authority.issue(HOST).server());
    config.max_early_data_size = 16_384;
    let config = Arc::new(config);
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.expect("a version").with_root_certificates(authority.roots());
    let mut own = builder.with_no_client_auth();
    own.enable_early_data = true;
    let tls = ClientTls::from(Arc::new(own));
    for resumed in [false, true] {
        let server = Server::open_tls(Arc::clone(&config), |peer| {
            assert!(
                peer.tls()
                    .early_data()
                    .is_none_or(|mut data| data.read(&mut [0]).is_ok_and(|read| read == 0))
            );
            echo(peer);
        });
        let options = secure(server.addr(), tls.clone());
        assert_eq!(info_of(Kind::Blocking, secure_request(server.addr()), &options).resumed, resumed);
        server.end();
    }
}

/// A server of an origin that redirects, by TLS or not.
fn redirecting(config: Option<Arc<ServerConfig>>, location: String) -> Server {
    let play = move |peer: &mut Peer| {
        peer.send(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ));
        peer.wait_gone();
    };
    match config {
        Some(config) => Server::start_tls(config, play),
        None => Server::start(play),
    }
}

#[test]
fn redirects_lead_to_tls_and_never_away_from_it() {
    let authority = Authority::new("The Authority");
    let config = authority.issue(&["localhost", "127.0.0.1"]).server();
    let options = Options { redirects: 1, tls: authority.trusted(), ..plain() };
    through_both_apis(|kind| {
        for first in [None, Some(Arc::clone(&config))] {
            let last = Server::open_tls(Arc::clone(&config), |peer| {
                let secret = peer.field("Authorization").map(str::to_owned);
                echo(peer);
                secret
            });
            let scheme = if first.is_some() { "wss" } else { "ws" };
            let first = redirecting(first, format!("wss://127.0.0.1:{}/there", last.addr().port()));
            let request: ClientRequest = format!("{scheme}://{}/", first.addr()).parse().expect("a URI");
            let request = request.with_field(
                FieldName::from_static("Authorization"),
                FieldValue::from_static("Bearer secret"),
            );
            let mut client = kind.connect(request, &options).expect("a connection");
            assert!(close(&mut *client).clean);
            first.end();
            assert_eq!(last.end(), None, "a secret of another origin");
        }
        for location in ["ws://127.0.0.1:9/", "http://127.0.0.1:9/"] {
            let first = redirecting(Some(Arc::clone(&config)), location.to_owned());
            let request = format!("wss://{}/", first.addr()).parse().expect("a URI");
            match kind.connect(request, &options).err() {
                Some(ConnectError::Redirect(RedirectError::Downgrade)) => {}
                other => panic!("{other:?}"),
            }
            first.end();
        }
    });
}

/// A proxy that opens one tunnel to `to`, by TLS or not. Returns its request.
fn proxy(config: Option<Arc<ServerConfig>>, to: SocketAddr) -> Server<String> {
    let play = move |peer: &mut Peer| {
        let request = peer.request.clone();
        peer.send("HTTP/1.1 200 Connection established\r\n\r\n");
        peer.tunnel(TcpStream::connect(to).expect("a server"));
        request
    };
    Listener::bind().run(move |listener| {
        let mut peer = listener.accept();
        if let Some(config) = config {
            peer.start_tls(config);
        }
        peer.read_request();
        play(&mut peer)
    })
}

#[test]
fn tls_goes_through_proxies_and_to_them() {
    let authority = Authority::new("The Authority");
    let of_server = authority.issue(&["server.example"]).server();
    let of_proxy = authority.issue(&["localhost"]).server();
    through_both_apis(|kind| {
        for (secure_proxy, secure_server) in [(false, true), (true, false), (true, true)] {
            let server = match secure_server {
                true => Server::open_tls(Arc::clone(&of_server), echo),
                false => Server::open(echo),
            };
            let proxy = proxy(secure_proxy.then(|| Arc::clone(&of_proxy)), server.addr());
            let scheme = if secure_proxy { "https" } else { "http" };
            let url = format!("{scheme}://user:pass@localhost:{}", proxy.addr().port());
            let options = Options {
                proxy: Some(Proxy::new(&url).expect("a proxy")),
                ..secure(proxy.addr(), authority.trusted())
            };
            let scheme = if secure_server { "wss" } else { "ws" };
            let request = format!("{scheme}://server.example:8443/").parse().expect("a URI");
            let mut client = kind.connect(request, &options).expect("a connection");
            let message = pattern(300_000);
            client.insist(Command::Send(Message::Binary(&message)));
            assert!(client.next() == Some(Seen::Binary(message)));
            assert!(close(&mut *client).clean, "{url} {scheme}");
            server.end();
            let request = proxy.end();
            assert!(request.starts_with("CONNECT server.example:8443 HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{request}");
        }
    });
}

#[cfg(unix)]
#[test]
fn tls_goes_over_a_stream_that_the_application_brings() {
    let authority = Authority::new("The Authority");
    let config = authority.issue(&["tunnel.example"]).server();
    let request: ClientRequest = "wss://tunnel.example/".parse().expect("a URI");
    for of_the_stream in [false, true] {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        // With a stream that does TLS, what the client writes is plain.
        let server =
            if of_the_stream { Server::open(echo) } else { Server::open_tls(Arc::clone(&config), echo) };
        let addr = server.addr();
        let tunnel = thread::spawn(move || pass_between(theirs, TcpStream::connect(addr).expect("a server")));
        let tls = if of_the_stream { ClientTls::of_the_stream() } else { authority.trusted() };
        let client = Client::over_with(ours, request.clone(), &Options { tls, ..plain() });
        let mut client = client.expect("a connection");
        assert_eq!(client.tls().is_some(), !of_the_stream);
        client.send_text("over").expect("an open connection");
        assert_eq!(client.receive(), Ok(Some(Message::Text("over"))));
        assert!(client.close_and_wait(CloseCode::NORMAL, "").expect("an open connection").clean);
        server.end();
        drop(client);
        tunnel.join().expect("no panic");
    }
}

#[test]
fn tls_that_is_left_to_the_stream_is_not_done_by_a_client_that_connects() {
    let addr = SocketAddr::from(([127, 0, 0, 1], 9));
    through_both_apis(|kind| {
        let refused = kind.connect(secure_request(addr), &secure(addr, ClientTls::of_the_stream()));
        assert!(matches!(refused.err(), Some(ConnectError::TlsNotSupported)));
    });
}

#[test]
fn configuration_of_the_applications_own_is_used_as_it_is() {
    let authority = Authority::new("The Authority");
    let identity = authority.issue(HOST);
    let own = |protocols: &[&[u8]]| {
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS12]);
        let builder = builder.expect("a version").with_root_certificates(authority.roots());
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        ClientTls::from(Arc::new(config))
    };
    let server = Server::open_tls(identity.server(), echo);
    let info = info_of(Kind::Blocking, secure_request(server.addr()), &secure(server.addr(), own(&[])));
    assert_eq!((info.version, info.alpn), (ProtocolVersion::TLSv1_2, None));
    server.end();

    let mut config = ServerConfig::clone(&identity.server());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = Server::start_raw(Arc::new(config), |peer| {
        peer.wait_gone();
        peer.wire.len()
    });
    let refused = Client::connect_with(
        secure_request(server.addr()),
        &secure(server.addr(), own(&[b"h2", b"http/1.1"])),
    );
    assert!(matches!(refused.err(), Some(ConnectError::Tls(TlsError::Alpn(protocol))) if protocol == b"h2"));
    assert_eq!(server.end(), 0, "no request leaves for another protocol");
}
