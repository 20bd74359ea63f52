//! What the client asks for (RFC 6455, section 4.1): the request on the wire, and what is refused
//! before there is one.

use crate::common::{Kind, Listener, Server, plain, request, through_both_apis};
use framewright::handshake::{FieldName, FieldValue};
use framewright_client::{ClientRequest, ConnectError, Options};

// Conformance 1, 4, 17, 99.
#[test]
fn what_cannot_be_asked_for_is_refused_before_any_io() {
    for uri in [
        "ws://localhost:1/#frag",
        "ws:///path",
        "ws://:80/",
        "ws://h:0/",
        "ws://h:65536/",
        "ws://h:+80/",
        "ws:/x",
        "ws://user@h/",
        "ws://user:pw@h/",
        "ws://[fe80::1%25eth0]/",
        "ws://a b/",
        "ws://h/%zz",
        "http://h/",
        "h/x",
        "",
        "ws://h/a b",
        "ws://h/\r\nX: y",
        "ws://h/\u{0}",
        "ws://h/caf\u{e9}",
        "ws://b\u{fc}cher.example/",
        "ws://h?a\tb",
    ] {
        assert!(uri.parse::<ClientRequest>().is_err(), "{uri}");
        assert!(
            matches!(framewright_client::blocking::Client::connect(uri), Err(ConnectError::Uri(_))),
            "{uri}"
        );
    }
    let request: ClientRequest = "ws://localhost/".parse().expect("a URI");
    for subprotocol in ["", "a b", "a,b", "a\r\nX: y", "caf\u{e9}", "a\u{0}", "a/b"] {
        assert!(request.clone().with_subprotocol(subprotocol).is_err(), "{subprotocol:?}");
    }
    assert!(request.clone().with_subprotocol("a").and_then(|request| request.with_subprotocol("a")).is_err());
    for value in ["a\r\nX: y", "a\nb", "a\rb", "a\u{0}b"] {
        assert!(FieldValue::new(value).is_err(), "{value:?}");
    }
    for name in [
        "",
        "a b",
        "a:",
        "X\r\nY",
        "caf\u{e9}",
        "Host",
        "Upgrade",
        "connection",
        "SEC-WEBSOCKET-KEY",
        "Sec-WebSocket-Version",
        "Content-Length",
    ] {
        assert!(FieldName::new(name).is_err(), "{name:?}");
    }
}

// Conformance 2, 3, 9 to 14, 16.
#[test]
fn the_request_is_what_section_4_1_asks_for() {
    through_both_apis(|kind| {
        for (uri, line, host) in [
            ("ws://example.com", "GET / HTTP/1.1", "example.com"),
            ("WS://Example.COM:80/", "GET / HTTP/1.1", "Example.COM"),
            (
                "ws://example.com:8080/a%2Fb/../c?x=%20&y",
                "GET /a%2Fb/../c?x=%20&y HTTP/1.1",
                "example.com:8080",
            ),
            ("ws://example.com?q", "GET /?q HTTP/1.1", "example.com"),
            ("ws://127.0.0.1:443/x", "GET /x HTTP/1.1", "127.0.0.1:443"),
            ("ws://[::1]/", "GET / HTTP/1.1", "[::1]"),
            ("ws://[2001:db8::1]:9/", "GET / HTTP/1.1", "[2001:db8::1]:9"),
        ] {
            let server = Server::start(move |peer| {
                assert_eq!(peer.request.split("\r\n").next(), Some(line));
                assert!(
                    peer.field("Host").is_some_and(|found| found.eq_ignore_ascii_case(host)),
                    "{}",
                    peer.request
                );
                assert!(peer.field("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
                assert!(peer.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
                assert_eq!(peer.field("Sec-WebSocket-Version"), Some("13"));
                assert_eq!(peer.field("Sec-WebSocket-Protocol"), Some("one, two"));
                assert_eq!(peer.field("Origin"), Some("http://localhost"));
                assert_eq!((peer.field("User-Agent"), peer.field("Sec-WebSocket-Extensions")), (None, None));
                peer.upgrade();
                peer.answer_close();
            });
            let request: ClientRequest = uri.parse().expect("a URI");
            let request = request
                .with_subprotocol("one")
                .and_then(|request| request.with_subprotocol("two"))
                .expect("tokens");
            let request = request
                .with_field(FieldName::from_static("Origin"), FieldValue::from_static("http://localhost"));
            let options = Options { addresses: Some(vec![server.addr()]), ..plain() };
            let mut client = kind.connect(request, &options).expect("an open connection");
            client.start_close(1000, "").expect("an open connection");
            client.rest();
            server.end();
        }
    });
}

// Conformance 14 (with erratum 3150).
#[test]
fn every_handshake_has_a_fresh_key_of_16_octets_in_canonical_base64() {
    let listener = Listener::bind();
    let server = listener.run(|listener| {
        let keys = (0..40).map(|_| {
            listener.serve(|peer| {
                peer.upgrade();
                peer.forget();
                peer.field("Sec-WebSocket-Key").expect("a key").to_owned()
            })
        });
        keys.collect::<std::collections::HashSet<_>>()
    });
    for _ in 0..20 {
        for kind in [Kind::Blocking, Kind::EventLoop] {
            drop(kind.connect(request(server.addr()), &plain()).expect("an open connection"));
        }
    }
    let keys = server.end();
    assert_eq!(keys.len(), 40, "all differ");
    for key in keys {
        assert!(key.len() == 24 && key.ends_with("=="), "{key}");
        assert!(b"AQgw".contains(&key.as_bytes()[21]), "{key}: no bits behind the last octet");
    }
}
