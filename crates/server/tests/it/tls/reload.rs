//! Changing the settings of a server that runs.

use super::client::{Ca, Connector};
use super::{start, tls};
use crate::common::{Client, TestServer};
use crate::scripted::Scripted;
use framewright_server::{Endpoint, ListenAddr, Server, ServerTls, SetTlsError};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn a_change_under_load_loses_no_connection() {
    let ca = Ca::new("the CA");
    let certificates: Vec<_> = (0..20).map(|_| ca.issue(&["localhost"])).collect();
    let server = start(tls(&certificates[0]), Scripted::echo().0, |builder| builder.workers(2));
    let (addr, done) = (server.addr(), AtomicBool::new(false));
    thread::scope(|scope| {
        let (ca, done) = (&ca, &done);
        let echo = |client: &mut Client<_>, number: usize| {
            let text = format!("message {number}");
            client.send_text(&text);
            client.expect_text(&text);
        };
        let lasting = scope.spawn(move || {
            let mut clients: Vec<_> = (0..4).map(|_| Connector::new(ca).open(addr, "/")).collect();
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                clients.iter_mut().for_each(|client| echo(client, number));
                number += 1;
            }
            clients.into_iter().for_each(Client::leave);
            number
        });
        let coming = scope.spawn(move || {
            // Tickets of earlier settings are not accepted, and cost nothing but a full handshake.
            let connector = Connector::new(ca);
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                let mut client = connector.open(addr, "/");
                echo(&mut client, number);
                client.leave();
                number += 1;
            }
            number
        });
        for issued in certificates.iter().cycle().take(100) {
            server.handle().set_tls(tls(issued)).expect("an endpoint with TLS");
            let mut client = Connector::new(ca).open(addr, "/");
            assert_eq!(client.server_certificate(), issued.der());
            echo(&mut client, 0);
        }
        done.store(true, Ordering::Relaxed);
        let (lasting, coming) = (lasting.join().expect("no failure"), coming.join().expect("no failure"));
        assert!(lasting > 10 && coming > 10, "{lasting} {coming}");
    });
    assert_eq!(server.handle().stats().totals().refused.total(), 0);
}

#[test]
fn an_endpoint_is_named_where_several_have_different_settings() {
    let ca = Ca::new("the CA");
    let (first, second, third) =
        (ca.issue(&["localhost"]), ca.issue(&["localhost"]), ca.issue(&["localhost"]));
    let endpoint = |tls: Option<ServerTls>| {
        let endpoint = Endpoint::tcp("127.0.0.1:0");
        tls.into_iter().fold(endpoint, Endpoint::with_tls)
    };
    let shared = tls(&first);
    let builder = Server::builder().fallback(Scripted::echo().0).endpoint(endpoint(None));
    let builder = builder.endpoint(endpoint(Some(shared.clone()))).endpoint(endpoint(Some(shared)));
    let server = TestServer::run(builder.endpoint(endpoint(Some(tls(&second)))).build().expect("a server"));
    let addrs = server.addrs().to_vec();
    let shown = |addr: &ListenAddr| {
        let ListenAddr::Ip(addr) = addr else { panic!("{addr}") };
        Connector::new(&ca).open(*addr, "/").server_certificate()
    };
    let all = [first.der(), first.der(), second.der()];
    assert_eq!(addrs[1..].iter().map(shown).collect::<Vec<_>>(), all);
    let handle = server.handle();
    assert_eq!(handle.set_tls(tls(&third)), Err(SetTlsError::Several));
    assert_eq!(handle.set_tls_at(&addrs[0], tls(&third)), Err(SetTlsError::NoTls));
    let nowhere = ListenAddr::Ip(SocketAddr::from(([127, 0, 0, 1], 1)));
    assert_eq!(handle.set_tls_at(&nowhere, tls(&third)), Err(SetTlsError::NoTls));
    assert_eq!(addrs[1..].iter().map(shown).collect::<Vec<_>>(), all, "nothing has changed");

    // Those that share settings change together.
    handle.set_tls_at(&addrs[2], tls(&third)).expect("an endpoint with TLS");
    assert_eq!(addrs[1..].iter().map(shown).collect::<Vec<_>>(), [third.der(), third.der(), second.der()]);
    // The endpoint without TLS is as before.
    let mut plain = server.open("/");
    plain.send_text("hello");
    plain.expect_text("hello");
    plain.leave();
}

#[test]
fn a_server_without_tls_or_that_has_ended_says_so() {
    let issued = Ca::new("the CA").issue(&["localhost"]);
    let server = TestServer::start(|builder| builder);
    let handle = server.handle().clone();
    assert_eq!(handle.set_tls(tls(&issued)), Err(SetTlsError::NoTls));
    drop(server);
    assert_eq!(handle.set_tls(tls(&issued)), Err(SetTlsError::Ended));
}

/// A ticket is for the settings that it was made with: those of the client's certificate among
/// them.
#[test]
fn a_session_is_resumed_until_the_settings_change() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let ca = Ca::new("the CA");
        let issued = ca.issue(&["localhost"]);
        let (tell, told) = std::sync::mpsc::channel();
        let handler = Scripted::echo().0.request(move |request| {
            let tls = request.tls().expect("TLS");
            let _ = tell.send((tls.is_resumed(), tls.server_name().map(str::to_owned)));
            crate::scripted::accept(request)
        });
        let server = start(tls(&issued), handler, |builder| builder);
        let connector = Connector::with(&ca, &[version], None);
        let resumed = || {
            let mut client = connector.open(server.addr(), "/");
            // In TLS 1.3 the tickets come behind the handshake.
            client.send_text("hello");
            client.expect_text("hello");
            client.leave();
            let (resumed, name) = crate::common::next(&told);
            assert_eq!(name.as_deref(), Some("localhost"));
            resumed
        };
        assert_eq!([resumed(), resumed(), resumed()], [false, true, true]);
        // The server keeps nothing of it: as many others as rustls' store has places for change
        // nothing.
        for _ in 0..300 {
            Connector::with(&ca, &[version], None).connect(server.addr());
        }
        assert!(resumed());
        server.handle().set_tls(tls(&issued)).expect("an endpoint with TLS");
        assert_eq!([resumed(), resumed()], [false, true]);
    }
}
