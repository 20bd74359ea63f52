//! Accepting connections: many at a time, and from behind a proxy.

use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::probe::{Probe, ws};
use framewright_server::{Decision, Handler, Incoming, PeerAddr, Server, ServerLimits};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

#[test]
fn two_thousand_connections_at_once_are_all_served() {
    // Both ends are here; what a machine allows less is tested with less.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let count = usize::try_from(descriptors.saturating_sub(1000) / 2).unwrap_or(usize::MAX).min(2000);
    for workers in [1, 2] {
        let (probe, watch) = Probe::echo();
        // The first ones wait for the last ones to connect.
        let limits = ServerLimits { handshake_timeout: Duration::from_secs(60), ..ServerLimits::default() };
        let server = TestServer::start(|builder| ws(probe)(builder.workers(workers).limits(limits)));
        let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(upgrade_request("/ws", ""));
        }
        for client in &mut clients {
            assert_eq!(client.answer_head().status, 101);
            client.send_text("here");
        }
        for client in &mut clients {
            client.expect_text("here");
        }
        assert_eq!(server.handle().connection_count(), count);
        assert_eq!(watch.tally.opened(), count);
        drop(clients);
        wait_until("all are gone", || server.handle().connection_count() == 0);
        assert_eq!(watch.tally.closed(), count);
    }
}

/// However the system shares them out, and however many loops accept at a time.
#[test]
fn a_thousand_connections_are_spread_evenly_over_four_loops() {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let count = usize::try_from(descriptors.saturating_sub(1000) / 2).unwrap_or(usize::MAX).min(1000) / 4;
    let (sender, opened) = mpsc::channel();
    let (probe, _watch) = Probe::silent();
    let probe = probe.open(move |_| sender.send(thread::current().id()).expect("the test is not over"));
    let server = TestServer::start(|builder| ws(probe)(builder.workers(4)));
    let addr = server.addr();
    let clients: Vec<Vec<Client>> = thread::scope(|scope| {
        let open = || {
            let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(addr)).collect();
            clients.iter_mut().for_each(|client| drop(client.open("/ws")));
            clients
        };
        let crowds = [(); 4].map(|()| scope.spawn(open));
        crowds.into_iter().map(|crowd| crowd.join().expect("all are served")).collect()
    });
    let mut counts = HashMap::new();
    for _ in 0..4 * count {
        *counts.entry(next(&opened)).or_insert(0_usize) += 1;
    }
    // Two loops that accept at the same time may both choose the one with the fewest.
    let even = count - count / 10..=count + count / 10;
    assert!(counts.len() == 4 && counts.values().all(|count| even.contains(count)), "{counts:?}");
    drop(clients);
}

/// Two servers on one port would each get a part of what is meant for one of them.
#[test]
fn a_second_server_is_told_that_the_address_is_in_use() {
    for workers in [1, 4] {
        let (probe, _watch) = Probe::echo();
        let server = TestServer::start(|builder| ws(probe)(builder.workers(workers)));
        assert_eq!(server.addrs().len(), 1, "one port for all workers");
        let second = Server::builder().workers(workers).listen(server.addr()).build().expect_err("in use");
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        assert!(second.to_string().contains(&server.addr().to_string()), "{second}");
    }
}

/// More than the server keeps at a time, all there before any of them reads or leaves.
#[test]
fn however_many_come_over_a_limit_each_is_told_so() {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let count = usize::try_from(descriptors.saturating_sub(1000) / 2).unwrap_or(usize::MAX).min(1300);
    for workers in [1, 2] {
        let (probe, _watch) = Probe::echo();
        let limits = ServerLimits { max_connections: Some(1), ..ServerLimits::default() };
        let server = TestServer::start(|builder| ws(probe)(builder.workers(workers).limits(limits)));
        let mut first = server.open("/ws");
        let refused: Vec<Client> = (0..count).map(|_| server.connect()).collect();
        for mut client in refused {
            let answer = client.answer();
            assert_eq!(answer.status, 503);
            assert_eq!(answer.field("Retry-After"), Some("5"));
            client.expect_gone();
        }
        assert_eq!(server.handle().connection_count(), 1);
        first.send_text("still here");
        first.expect_text("still here");
    }
}

/// Tells whom it takes the peer for.
struct WhoIsThere(Sender<PeerAddr>);

impl Handler for WhoIsThere {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        let _ = self.0.send(request.peer_addr());
        Decision::accept(())
    }
}

#[test]
fn what_a_peer_says_about_its_address_is_not_believed() {
    let (sender, seen) = mpsc::channel();
    let server = TestServer::start(|builder| builder.route("/ws", WhoIsThere(sender)));
    let mut client = server.connect();
    let fields = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n";
    client.open_with("/ws", fields);
    let local = client.stream().local_addr().expect("an address");
    assert_eq!(next(&seen), PeerAddr::Ip(local));
    for preface in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"] {
        let mut client = server.connect();
        client.send([preface, upgrade_request("/ws", "").as_bytes()].concat());
        assert_eq!(client.answer().status, 400);
    }
}

#[test]
fn a_server_binds_the_port_again_at_once() {
    for workers in [1, 3] {
        let (probe, _watch) = Probe::echo();
        let server = TestServer::start(|builder| ws(probe)(builder.workers(workers)));
        let addr = server.addr();
        // The server ends these first, and so holds them in TIME_WAIT.
        for _ in 0..5 {
            server.open("/ws").leave();
        }
        let left_open = server.open("/ws");
        server.stop(Duration::ZERO).expect("the server ends well");
        let (probe, _watch) = Probe::echo();
        let builder = Server::builder().workers(workers).listen(addr);
        let server = TestServer::run(ws(probe)(builder).build().expect("a server"));
        for _ in 0..20 {
            server.open("/ws").leave();
        }
        drop(left_open);
    }
}
