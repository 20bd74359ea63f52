//! Stopping with peers in every phase.

use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::probe::{Deferring, Probe, frame, ws};
use framewright::Error;
use framewright::frame::OpCode;
use framewright_server::{CloseCode, Decision, Message, Server};
use std::net::TcpStream;
use std::sync::mpsc::{self};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_server_that_stops_tells_all_and_cuts_at_the_deadline_who_does_not_go() {
    for workers in [1, 3] {
        let (probe, watch) = Probe::new(|socket, message| match message {
            Message::Text("close") => socket.close(Some(CloseCode::NORMAL), "").expect("it is open"),
            message => socket.send(message).expect("room"),
        });
        let (deferring, deferred) = Deferring::new();
        let server =
            TestServer::start(|builder| ws(probe)(builder.workers(workers)).route("/later", deferring));
        let addr = server.addr();
        let mut polite = server.open("/ws");
        let mut silent = server.open("/ws");
        let mut in_message = server.open("/ws");
        in_message.send_frame(false, OpCode::Text, b"half of i");
        let mut closing = server.open("/ws");
        closing.send_text("close");
        closing.expect_close(1000);
        let mut handshaking = server.connect();
        handshaking.send("GET /ws HTTP/1.1\r\n");
        let mut waiting = server.connect();
        waiting.send(upgrade_request("/later", ""));
        let decision = next(&deferred);
        let mut lingering = server.open("/ws");
        lingering.send([0x81, 0x01, b'x']);
        lingering.expect_close(1002);
        // The one that failed is the first that its handler has heard the end of.
        assert!(matches!(next(&watch.closures).cause, Some(Error::Peer(_))));
        wait_until("all are there", || watch.tally.opened() == 5);

        let grace = Duration::from_millis(600);
        let began = Instant::now();
        let handle = server.handle().clone();
        let stopping = thread::spawn(move || server.stop(grace));
        polite.expect_close(1001);
        polite.send(frame(true, OpCode::Close, &1001u16.to_be_bytes()));
        polite.expect_end();
        assert!(next(&watch.closures).clean, "the polite one is done with before the others");
        for client in [&mut silent, &mut in_message] {
            client.expect_close(1001);
        }
        for client in [&mut handshaking, &mut waiting] {
            assert_eq!(client.answer().status, 503);
            client.expect_end();
        }
        assert!(!decision.is_waiting());
        decision.decide(Decision::accept(()));
        assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");

        stopping.join().unwrap().expect("the server ends well");
        let took = began.elapsed();
        assert!(took >= grace, "two did not go, but it took only {took:?}");
        for client in [&mut silent, &mut in_message, &mut closing, &mut lingering] {
            client.expect_gone();
        }
        for _ in 0..3 {
            assert_eq!(next(&watch.closures).cause, Some(Error::Aborted));
        }
        assert_eq!((watch.tally.closed(), handle.connections()), (5, 0));
    }
}

#[test]
fn a_server_whose_peers_all_go_stops_before_its_grace_is_over() {
    let (probe, watch) = Probe::echo();
    let server = TestServer::start(|builder| ws(probe)(builder.workers(2)));
    let clients: Vec<Client> = (0..20).map(|_| server.open("/ws")).collect();
    let began = Instant::now();
    let stopping = thread::spawn(move || server.stop(Duration::from_secs(3600)));
    for mut client in clients {
        client.expect_close(1001);
        client.send(frame(true, OpCode::Close, &1001u16.to_be_bytes()));
        client.expect_end();
    }
    stopping.join().unwrap().expect("the server ends well");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(watch.tally.closed(), 20);
    assert!(watch.closures.iter().take(20).all(|closure| closure.clean));
}

/// A second call shortens the time, and never prolongs it.
#[test]
fn stopping_again_only_shortens_the_time() {
    let (probe, watch) = Probe::echo();
    let server = TestServer::start(ws(probe));
    let mut silent = server.open("/ws");
    server.handle().stop(Duration::from_secs(3600));
    silent.expect_close(1001);
    server.handle().stop(Duration::from_millis(50));
    server.stop(Duration::from_secs(3600)).expect("the server ends well");
    assert_eq!(next(&watch.closures).cause, Some(Error::Aborted));
}

#[test]
fn a_server_that_was_stopped_before_it_ran_ends_at_once() {
    let (probe, _watch) = Probe::echo();
    let builder = Server::builder().listen("127.0.0.1:0").expect("a free port");
    let server = ws(probe)(builder.workers(2)).build().expect("a server");
    server.handle().stop(Duration::from_secs(3600));
    TestServer::run(server).wait().expect("the server ends well");
}

/// A connection that one loop accepts for another as both stop belongs to nobody unless care is taken.
#[test]
fn nobody_is_left_hanging_who_connects_while_the_server_stops() {
    for _ in 0..30 {
        let (probe, _watch) = Probe::echo();
        let server = TestServer::start(|builder| ws(probe)(builder.workers(4)));
        let (addr, handle) = (server.addr(), server.handle().clone());
        let (sender, connected) = mpsc::channel();
        let connecting = thread::spawn(move || {
            while let Ok(stream) = TcpStream::connect(addr) {
                if sender.send(Client::from_tcp(stream)).is_err() {
                    return;
                }
            }
        });
        let mut clients: Vec<Client> = (0..5).map(|_| next(&connected)).collect();
        server.stop(Duration::ZERO).expect("the server ends well");
        connecting.join().unwrap();
        clients.extend(connected.try_iter());
        for mut client in clients {
            // A connection that the system had not handed over yet may have been dropped without a word.
            let _ = client.try_send("?");
            client.expect_gone();
        }
        assert_eq!(handle.connections(), 0);
    }
}
