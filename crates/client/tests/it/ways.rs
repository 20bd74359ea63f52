//! The ways to a server: several addresses, others that connect there, redirects, proxies (RFC
//! 6455, section 4.1).

use crate::common::{
    AnyClient, DEADLINE, Kind, Listener, Loop, Peer, SOON, Server, plain, request, through_both_apis,
};
use framewright::handshake::{FieldName, FieldValue};
use framewright_client::{ClientRequest, ConnectError, Options, Proxy, ResponseError};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// A server that redirects its one client.
fn redirecting(to: String) -> Server {
    Server::start(move |peer| {
        peer.send(redirect(&to));
        peer.expect_gone();
    })
}

fn greets(peer: &mut Peer) {
    peer.upgrade();
    peer.script("text \"hello\"");
    peer.wait_gone();
}

#[test]
fn a_redirect_is_not_followed_unless_asked_for() {
    through_both_apis(|kind| {
        let server = redirecting("/there".to_owned());
        let Err(ConnectError::Refused(response)) = kind.connect(request(server.addr()), &plain()) else {
            panic!("followed")
        };
        assert_eq!((response.status(), response.field("Location")), (302, Some(&b"/there"[..])));
        server.end();
    });
}

#[test]
fn as_many_redirects_are_followed_as_are_allowed_and_a_loop_ends_there() {
    through_both_apis(|kind| {
        // Relative, absolute, with another scheme: to the same server.
        let listener = Listener::bind();
        let addr = listener.addr();
        let server = listener.run(move |listener| {
            for (path, to) in [("/", "/one?q"), ("/one?q", "two"), ("/two", &*format!("http://{addr}/three"))]
            {
                listener.serve(|peer| {
                    assert!(peer.request.starts_with(&format!("GET {path} ")), "{}", peer.request);
                    assert_eq!(peer.field("Authorization"), Some("Bearer t"));
                    peer.send(redirect(to));
                    peer.expect_gone();
                });
            }
            listener.serve(greets);
        });
        let authorized = |addr| {
            let value = FieldValue::from_static("Bearer t");
            request(addr).with_field(FieldName::from_static("Authorization"), value)
        };
        let options = Options { redirects: 3, ..plain() };
        let mut client = kind.connect(authorized(addr), &options).expect("an open connection");
        client.expect_text("hello");
        drop(client);
        server.end();

        let server = Listener::bind().run(|listener| {
            for _ in 0..4 {
                listener.serve(|peer| {
                    peer.send(redirect("/"));
                    peer.expect_gone();
                });
            }
            assert!(listener.try_accept().is_none(), "one for the start and one for each redirect");
        });
        let error = kind.connect(authorized(server.addr()), &options).err().expect("a loop");
        assert!(matches!(&error, ConnectError::TooManyRedirects { limit: 3, .. }), "{error}");
        server.end();
    });
}

#[test]
fn credentials_do_not_follow_to_another_origin() {
    through_both_apis(|kind| {
        let there = Server::start(|peer| {
            for secret in ["Authorization", "Cookie", "X-Api-Key", "X-Session"] {
                assert_eq!(peer.field(secret), None, "{secret}");
            }
            assert_eq!(peer.field("X-Trace"), Some("7"));
            greets(peer);
        });
        let here = redirecting(format!("ws://{}/", there.addr()));
        let fields =
            [("Authorization", "Basic eA=="), ("Cookie", "a=b"), ("X-Api-Key", "k"), ("X-Trace", "7")];
        let request = fields
            .into_iter()
            .fold(request(here.addr()), |request, (name, value)| {
                request.with_field(FieldName::from_static(name), FieldValue::from_static(value))
            })
            .with_secret_field(FieldName::from_static("X-Session"), FieldValue::from_static("s"));
        let mut client =
            kind.connect(request, &Options { redirects: 1, ..plain() }).expect("an open connection");
        client.expect_text("hello");
        drop(client);
        here.end();
        there.end();
    });
}

// A server chooses no words of our next request.
#[test]
fn a_redirect_to_what_is_no_websocket_uri_fails() {
    through_both_apis(|kind| {
        for to in ["ftp://h/", "ws://user@h/", "ws://h:0/", "//", "ws:///x"] {
            let server = redirecting(to.to_owned());
            let error =
                kind.connect(request(server.addr()), &Options { redirects: 5, ..plain() }).err().expect(to);
            assert!(matches!(&error, ConnectError::Redirect(_)), "{error} for {to}");
            server.end();
        }
    });
}

/// A port of 127.0.0.1 on which nobody listens.
fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

// Conformance 6.
#[test]
fn the_next_address_is_tried_when_one_refuses() {
    through_both_apis(|kind| {
        let server = Server::start(greets);
        let addresses = vec![closed_port(), "[::1]:9".parse().expect("an address"), server.addr()];
        let options = Options { addresses: Some(addresses), ..plain() };
        let request: ClientRequest = "ws://example.com/".parse().expect("a URI");
        let mut client = kind.connect(request.clone(), &options).expect("an open connection");
        client.expect_text("hello");
        drop(client);
        server.end();

        let closed = [closed_port(), closed_port()];
        let options = Options { addresses: Some(closed.to_vec()), ..plain() };
        let Err(ConnectError::Connect(attempts)) = kind.connect(request.clone(), &options) else {
            panic!("open")
        };
        assert_eq!(attempts.iter().map(|(addr, _)| *addr).collect::<Vec<_>>(), closed);
        let options = Options { addresses: Some(Vec::new()), ..plain() };
        assert!(matches!(kind.connect(request, &options), Err(ConnectError::NoAddress)));
    });
}

/// A listener that takes no more connections: the first octets of others are dropped by Linux, as
/// by a host that is not there.
#[cfg(target_os = "linux")]
fn black_hole() -> (socket2::Socket, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};
    let stream = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = stream();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    listener.listen(0).expect("a listener");
    let addr = listener.local_addr().expect("a bound socket");
    let fillers = (0..3).map(|_| {
        let filler = stream();
        filler.set_nonblocking(true).expect("an option of the socket");
        let _ = filler.connect(&addr);
        filler
    });
    let fillers = fillers.collect();
    (listener, fillers)
}

#[cfg(target_os = "linux")]
#[test]
fn the_next_address_is_tried_beside_one_that_does_not_answer_and_connecting_has_an_end() {
    through_both_apis(|kind| {
        let (hole, _fillers) = black_hole();
        let hole = hole.local_addr().ok().and_then(|addr| addr.as_socket()).expect("an address");
        let server = Server::start(greets);
        let request: ClientRequest = "ws://example.com/".parse().expect("a URI");
        let options = Options { addresses: Some(vec![hole, server.addr()]), ..plain() };
        let mut client = kind.connect(request.clone(), &options).expect("an open connection");
        client.expect_text("hello");
        drop(client);
        server.end();

        let options = Options { addresses: Some(vec![hole]), connect_timeout: SOON, ..plain() };
        let before = Instant::now();
        assert!(matches!(kind.connect(request, &options), Err(ConnectError::ConnectTimeout)));
        assert!(before.elapsed() >= SOON);
    });
}

// Conformance 5.
//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# There MUST be no more than one connection in a
//# CONNECTING state.  If multiple connections to the same IP address
//# are attempted simultaneously, the client MUST serialize them so
//# that there is no more than one connection at a time running
//# through the following steps.
#[test]
fn a_second_connection_to_a_host_waits_until_the_first_is_open() {
    let listener = Listener::bind();
    let [mut first, mut second] =
        [(); 2].map(|()| Loop::start(request(listener.addr()), &plain()).expect("a request"));
    let until = Instant::now() + DEADLINE;
    // Connects, and sends its request.
    while first.turn(Instant::now() + SOON / 4).is_ok() {
        if let Some(mut peer) = listener.try_accept() {
            second.turn(Instant::now() + SOON).expect("its turn does not come");
            assert!(listener.try_accept().is_none(), "only one is CONNECTING");
            first.turn(Instant::now()).expect("an open connection");
            peer.read_request();
            peer.upgrade();
            while !first.is_open() {
                first.turn(until).expect("an open connection");
            }
            let mut peer = loop {
                second.turn(Instant::now() + SOON / 4).expect("its turn has come");
                if let Some(peer) = listener.try_accept() {
                    break peer;
                }
                assert!(Instant::now() < until);
            };
            second.turn(Instant::now()).expect("an open connection");
            peer.read_request();
            peer.upgrade();
            while !second.is_open() {
                second.turn(until).expect("an open connection");
            }
            return;
        }
        assert!(Instant::now() < until);
    }
    panic!("the first one failed");
}

// Whoever gives up does not keep the others waiting.
#[test]
fn a_second_connection_goes_on_when_the_first_is_dropped() {
    let listener = Listener::bind();
    let mut first = Loop::start(request(listener.addr()), &plain()).expect("a request");
    first.turn(Instant::now() + SOON / 4).expect("a connection");
    let mut second = Loop::start(request(listener.addr()), &plain()).expect("a request");
    second.turn(Instant::now() + SOON / 4).expect("its turn does not come");
    drop(first);
    let server = listener.run(|listener| {
        drop(listener.accept());
        listener.serve(greets);
    });
    second.expect_text("hello");
    drop(second);
    server.end();
}

/// Connects through a proxy that is this server.
fn through(kind: Kind, proxy: SocketAddr, credentials: &str) -> Result<Box<dyn AnyClient>, ConnectError> {
    let proxy = Proxy::new(&format!("http://{credentials}{proxy}")).expect("a proxy");
    let request = "ws://server.example:8080/chat".parse().expect("a URI");
    kind.connect(request, &Options { proxy: Some(proxy), ..plain() })
}

// Conformance 6.
#[test]
fn a_proxy_is_asked_for_a_tunnel_and_nothing_is_sent_before_it_agrees() {
    through_both_apis(|kind| {
        for agreed in ["200 OK", "299 Fine"] {
            let proxy = Listener::bind().run(move |listener| {
                let mut peer = listener.accept();
                peer.read_request();
                assert!(
                    peer.request.starts_with("CONNECT server.example:8080 HTTP/1.1\r\n"),
                    "{}",
                    peer.request
                );
                assert_eq!(peer.field("Host"), Some("server.example:8080"));
                assert_eq!(peer.field("Proxy-Authorization"), Some("Basic dXNlcjpwYXNz"));
                peer.expect_silence(SOON / 2);
                // Neither field of a 2xx has a meaning.
                peer.send(format!(
                    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 {agreed}\r\nContent-Length: 5\r\n\r\n"
                ));
                peer.read_request();
                assert!(peer.request.starts_with("GET /chat HTTP/1.1\r\n"), "{}", peer.request);
                assert_eq!(peer.field("Host"), Some("server.example:8080"));
                assert_eq!(peer.field("Proxy-Authorization"), None);
                greets(&mut peer);
            });
            let mut client = through(kind, proxy.addr(), "user:pass@").expect("an open connection");
            client.expect_text("hello");
            drop(client);
            proxy.end();
        }
    });
}

#[test]
fn a_proxy_that_does_not_agree_fails_the_connection() {
    through_both_apis(|kind| {
        type Expected = fn(&ConnectError) -> bool;
        let cases: [(&str, Expected); 5] = [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno",
                |error| matches!(error, ConnectError::ProxyRefused(response) if response.status() == 407 && response.body() == b"no"),
            ),
            (
                "HTTP/1.0 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\n\r\n",
                |error| matches!(error, ConnectError::ProxyRefused(response) if response.status() == 302),
            ),
            ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 X\r\n\r\n", |error| {
                matches!(error, ConnectError::ProxyEarlyData)
            }),
            ("SOCKS\r\n\r\n", |error| matches!(error, ConnectError::ProxyHandshake(ResponseError::NotHttp))),
            ("HTTP/1.1 101 Switching\r\n\r\n", |error| {
                matches!(error, ConnectError::ProxyHandshake(_) | ConnectError::ProxyRefused(_))
            }),
        ];
        for (answer, expected) in cases {
            let proxy = Server::start(move |peer| {
                peer.send(answer);
                peer.expect_gone();
            });
            let error = through(kind, proxy.addr(), "").err().expect(answer);
            assert!(expected(&error), "{error} for {answer}");
            proxy.end();
        }

        let endless = Server::start(move |peer| {
            peer.send("HTTP/1.1 200 OK\r\n");
            while peer.try_send("X: y\r\n").is_ok() {}
            peer.expect_gone();
        });
        let error = through(kind, endless.addr(), "").err().expect("an endless head");
        assert!(
            matches!(error, ConnectError::ProxyHandshake(ResponseError::TooManyFields { .. })),
            "{error}"
        );
        endless.end();
    });
}
