//! Stopping with peers in every phase.

use crate::common::{Client, DEADLINE, TestServer, next, upgrade_request, wait_until};
use crate::probe::{Deferring, Probe, frame, ws};
use framewright::Error;
use framewright::frame::OpCode;
use framewright_server::{
    CloseCode, Closed, Decision, Handler, Incoming, ListenAddr, Message, RunningServer, Server,
};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
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
        assert_eq!((watch.tally.closed(), handle.connection_count()), (5, 0));
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
    let builder = Server::builder().listen("127.0.0.1:0");
    let server = ws(probe)(builder.workers(2)).build().expect("a server");
    server.handle().stop(Duration::from_secs(3600));
    TestServer::run(server).wait().expect("the server ends well");
}

/// Drops its own server with the first connection that ends.
struct Last(Arc<Mutex<Option<RunningServer>>>);

impl Handler for Last {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_close(&self, _: &Closed<'_>, _: &mut ()) {
        let server = self.0.lock().expect("no panic in here").take();
        drop(server);
    }
}

// Its loop waited for its own end: at the end of the grace it was taken for another thread.
#[test]
fn a_callback_may_drop_its_own_server() {
    for (workers, at_the_end) in [(1, false), (2, false), (1, true), (2, true)] {
        let place = Arc::new(Mutex::new(None));
        let builder = Server::builder().workers(workers).route("/ws", Last(Arc::clone(&place)));
        let server = builder.listen("127.0.0.1:0").build().and_then(Server::spawn).expect("a server");
        let ListenAddr::Ip(addr) = server.local_addrs()[0] else { panic!("{server:?}") };
        let handle = server.handle().clone();
        *place.lock().expect("no panic") = Some(server);
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
        clients.iter_mut().for_each(|client| drop(client.open("/ws")));
        if at_the_end {
            handle.stop(Duration::ZERO);
        } else {
            clients.truncate(3);
        }
        wait_until("all are told", || handle.connection_count() == 0);
        wait_until("it has ended", || TcpStream::connect(addr).is_err());
        assert!(place.lock().expect("no panic").is_none());
    }
}

#[test]
fn a_server_on_a_thread_of_its_own_is_stopped_or_waited_for() {
    let server = || {
        let (probe, watch) = Probe::echo();
        let builder = ws(probe)(Server::builder().listen("127.0.0.1:0").workers(2));
        (builder.build().and_then(Server::spawn).expect("a server"), watch)
    };
    let open = |server: &RunningServer| {
        let ListenAddr::Ip(addr) = server.local_addrs()[0] else { panic!("{server:?}") };
        let mut client = Client::connect(addr);
        client.open("/ws");
        client
    };
    let (graceful, _watch) = server();
    let mut client = open(&graceful);
    let answering = thread::spawn(move || {
        client.expect_close(1001);
        client.send_close(CloseCode::GOING_AWAY, "");
        client.expect_end();
    });
    graceful.stop(DEADLINE).expect("it ends well");
    answering.join().expect("the client was told");

    let (waited_for, _watch) = server();
    waited_for.handle().stop(Duration::ZERO);
    waited_for.wait().expect("it ends well");

    let (dropped, _watch) = server();
    let mut client = open(&dropped);
    drop(dropped);
    client.expect_close(1001);
    client.expect_gone();
}

/// Other systems have no means against the last of a stream of connections being reset.
#[cfg(target_os = "linux")]
mod crowd {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Connections in every place that there is at that moment: the system's queue, a loop's
    /// mailbox, a loop that has stopped already or has not heard of it yet.
    #[test]
    fn whoever_connects_while_the_server_stops_is_told_so_or_not_let_in() {
        thread::scope(|scope| {
            for workers in [1, 2, 4] {
                scope.spawn(move || {
                    for grace in [Duration::ZERO, Duration::ZERO, DEADLINE, DEADLINE] {
                        a_server_stops_in_a_stream_of_connections(workers, grace);
                    }
                });
            }
        });
    }

    fn a_server_stops_in_a_stream_of_connections(workers: usize, grace: Duration) {
        let (probe, _watch) = Probe::echo();
        let server = TestServer::start(|builder| ws(probe)(builder.workers(workers)));
        let (addr, handle) = (server.addr(), server.handle().clone());
        let connected = AtomicUsize::new(0);
        thread::scope(|scope| {
            let crowds = [(); 3].map(|()| scope.spawn(|| connect_until_refused(addr, &connected)));
            wait_until("a stream of connections", || connected.load(Relaxed) >= 200);
            server.handle().stop(grace);
            for crowd in crowds {
                crowd
                    .join()
                    .expect("nobody is turned away before the stop")
                    .into_iter()
                    .for_each(expect_told);
            }
        });
        server.stop(grace).expect("the server ends well");
        assert_eq!(handle.connection_count(), 0);
    }

    /// Connects until the server does not let it in, and returns the last clients. Every second one
    /// asks for a WebSocket at once, the others say nothing.
    fn connect_until_refused(addr: SocketAddr, connected: &AtomicUsize) -> Vec<Client> {
        let mut clients: Vec<Client> = Vec::new();
        while let Ok(stream) = TcpStream::connect(addr) {
            let mut client = Client::from_tcp(stream);
            if clients.len() % 2 == 0 {
                // An error means that it has been told already, and has gone.
                let _ = client.try_send(upgrade_request("/ws", ""));
            }
            clients.push(client);
            connected.fetch_add(1, Relaxed);
            if clients.len() == 40 {
                for mut client in clients.drain(..).step_by(2) {
                    assert!(matches!(client.answer_head().status, 101 | 503));
                }
            }
        }
        clients
    }

    /// The client hears of the stop, as an answer to its request or by a Close frame, before its
    /// connection ends.
    fn expect_told(mut client: Client) {
        match client.answer().status {
            101 => {
                client.expect_close(1001);
                let _ = client.try_send(frame(true, OpCode::Close, &1001u16.to_be_bytes()));
            }
            status => assert_eq!(status, 503),
        }
        client.expect_gone();
    }
}
