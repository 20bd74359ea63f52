//! Sessions: versions, what is agreed on, tickets, and their end.

use super::client::{Ca, Connector};
use super::{start, tls};
use crate::common::next;
use crate::scripted::{Scripted, accept};
use framewright_server::TlsInfo;
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use std::sync::mpsc;

#[test]
fn messages_come_back_over_tls_1_2_and_1_3() {
    let ca = Ca::new("the CA");
    let (tell, told) = mpsc::channel();
    let (echo, _seen) = Scripted::echo();
    let describe = move |tls: Option<TlsInfo<'_>>| {
        let tls = tls.expect("TLS");
        let alpn = tls.alpn().map(<[u8]>::to_vec);
        let name = tls.server_name().map(str::to_owned);
        assert!(tls.peer_certificates().is_none() && !tls.is_resumed());
        let _ = tell.send((tls.protocol_version(), tls.cipher_suite(), name, alpn));
    };
    let on_open = describe.clone();
    let echo = echo.open(move |socket| on_open(socket.tls())).request(move |request| {
        describe(request.tls());
        accept(request)
    });
    let server = start(tls(&ca.issue(&["localhost"])), echo, |builder| builder);
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut connector = Connector::with(&ca, &[version], None);
        connector.config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = connector.open(server.addr(), "/");
        let suite = client.stream().conn.negotiated_cipher_suite().expect("a suite").suite();
        for _ in 0..2 {
            let agreed = (expected, suite, Some("localhost".to_owned()), Some(b"http/1.1".to_vec()));
            assert_eq!(next(&told), agreed);
        }
        client.send_text("hello");
        client.expect_text("hello");
        let large = vec![7; 100_000];
        client.send_binary(&large);
        assert_eq!(client.message().1, large);
        client.leave();
    }
}
