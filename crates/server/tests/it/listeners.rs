//! Where a server listens, and which of its loops a connection comes to.

use crate::common::{Client, TestServer, next, wait_until};
use crate::scripted::Scripted;
use framewright_server::{ListenAddr, PeerAddr, Server, ServerBuilder};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, ThreadId};
use std::time::Duration;

fn echo() -> ServerBuilder {
    Server::builder().route("/ws", Scripted::echo().0)
}

#[track_caller]
fn check(client: &mut Client<impl Read + Write>) {
    client.open("/ws");
    client.send_text("hello");
    client.expect_text("hello");
}

#[track_caller]
fn ip(addr: &ListenAddr) -> SocketAddr {
    match addr {
        ListenAddr::Ip(addr) => *addr,
        other => panic!("{other}"),
    }
}

#[test]
fn ipv4_ipv6_and_both_at_once_are_served() {
    for addrs in [&["127.0.0.1:0"][..], &["[::1]:0"], &["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"]] {
        let builder = addrs.iter().fold(echo(), ServerBuilder::listen);
        let server = TestServer::run(builder.build().expect("a server"));
        assert_eq!(server.addrs().len(), addrs.len());
        for (addr, wanted) in server.addrs().iter().zip(addrs) {
            let addr = ip(addr);
            assert_eq!(addr.ip(), wanted.parse::<SocketAddr>().expect("an address").ip());
            assert_ne!(addr.port(), 0);
            check(&mut Client::connect(addr));
        }
    }
}

#[test]
fn an_address_of_ipv6_stands_for_itself_alone() {
    let first = Server::builder().listen("0.0.0.0:0").build().expect("a port");
    let ListenAddr::Ip(addr) = first.local_addrs()[0] else { panic!("{first:?}") };
    let second = || Server::builder().listen(("::", addr.port()));
    second().build().expect("another address");
    let error = second().listen(addr).build().expect_err("taken");
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[test]
fn a_name_is_listened_on_wherever_it_resolves_to() {
    let server = TestServer::run(echo().listen("localhost:0").build().expect("a server"));
    assert!(!server.addrs().is_empty());
    for addr in server.addrs() {
        assert!(ip(addr).ip().is_loopback());
        check(&mut Client::connect(ip(addr)));
    }
}

#[test]
fn a_listener_that_is_bound_already_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let server = TestServer::run(echo().listener(listener).build().expect("a server"));
    assert_eq!(server.addr(), addr);
    check(&mut server.connect());
}

#[test]
fn a_connection_made_before_the_server_runs_is_served_when_it_does() {
    let server = echo().listen("127.0.0.1:0").build().expect("a server");
    let mut client = Client::connect(ip(&server.local_addrs()[0]));
    client.send(crate::common::upgrade_request("/ws", ""));
    let _server = TestServer::run(server);
    assert_eq!(client.answer().status, 101);
}

#[test]
fn an_address_in_use_is_an_error_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let error = echo().listen(taken.local_addr().expect("an address")).build().expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_server_can_be_started_again_at_once_on_the_same_port() {
    let mut addr: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    for _ in 0..5 {
        let server = TestServer::run(echo().listen(addr).build().expect("a server"));
        addr = server.addr();
        let mut closed = server.connect();
        check(&mut closed);
        closed.leave(); // the server has closed first: its side of the connection stays for a while
        let mut cut = server.connect();
        check(&mut cut);
        server.stop(Duration::ZERO).expect("a good end");
        cut.expect_close(1001);
        cut.expect_gone();
    }
}

#[test]
fn after_the_stop_nobody_is_accepted() {
    let server = TestServer::run(echo().listen("127.0.0.1:0").build().expect("a server"));
    let addr = server.addr();
    server.stop(Duration::from_secs(5)).expect("a good end");
    assert!(std::net::TcpStream::connect(addr).is_err());
}

/// Stops a server before it has run: each client in its queue is answered with 503.
fn stop_with_a_queue<S: Read + Write>(server: Server, mut clients: Vec<Client<S>>) {
    server.handle().stop(Duration::from_secs(60));
    let mut server = TestServer::run(server);
    for client in &mut clients {
        assert_eq!(client.answer().status, 503);
        client.expect_end();
    }
    drop(clients);
    server.wait().expect("a good end");
}

#[test]
fn who_is_not_accepted_yet_when_the_server_stops_gets_503() {
    for workers in [1, 3] {
        let builder = echo().workers(workers).listen("127.0.0.1:0");
        let server = builder.build().expect("a server");
        let clients = (0..100).map(|_| Client::connect(ip(&server.local_addrs()[0]))).collect();
        stop_with_a_queue(server, clients);
    }
}

#[test]
fn a_listener_that_was_handed_over_serves_others_after_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let theirs = listener.try_clone().expect("another descriptor");
    let builder = echo().workers(2).listener(listener);
    let server = TestServer::run(builder.build().expect("a server"));
    let addr = server.addr();
    check(&mut server.connect());
    server.stop(Duration::from_secs(5)).expect("a good end");
    let client = std::net::TcpStream::connect(addr).expect("somebody listens still");
    // The server has made it non-blocking for all that have it.
    theirs.set_nonblocking(false).expect("an option of the socket");
    let (_, peer) = theirs.accept().expect("a connection");
    assert_eq!(peer, client.local_addr().expect("an address"));
}

/// Which loop each of the clients came to, in order.
fn loops_of(workers: usize, run: impl FnOnce(&TestServer, &mut dyn FnMut() -> (Client, ThreadId))) {
    let (sender, threads) = mpsc::channel();
    let (scripted, _seen) = Scripted::echo();
    let scripted = scripted.open(move |_| sender.send(thread::current().id()).expect("somebody listens"));
    let server = TestServer::start(|builder| builder.workers(workers).route("/ws", scripted));
    run(&server, &mut || {
        let client = server.open("/ws");
        (client, next(&threads))
    });
}

#[test]
fn connections_are_spread_evenly_over_the_loops() {
    for workers in [1, 2, 3] {
        loops_of(workers, |_, connect| {
            let clients: Vec<_> = (0..6 * workers).map(|_| connect()).collect();
            let mut counts = HashMap::new();
            for (_, thread) in &clients {
                *counts.entry(*thread).or_insert(0) += 1;
            }
            assert_eq!(counts.len(), workers);
            assert!(counts.values().all(|&count| count == 6), "{counts:?}");
        });
    }
}

#[test]
fn new_connections_go_to_the_loop_with_the_fewest() {
    loops_of(2, |server, connect| {
        let clients: Vec<_> = (0..10).map(|_| connect()).collect();
        let (_, left) = clients[0];
        let (leaving, staying): (Vec<_>, Vec<_>) =
            clients.into_iter().partition(|(_, thread)| *thread == left);
        for (client, _) in leaving {
            client.leave();
        }
        wait_until("five have left", || server.handle().connection_count() == staying.len());
        let new: Vec<_> = (0..5).map(|_| connect()).collect();
        assert!(new.iter().all(|(_, thread)| *thread == left), "until it has as many again");
    });
}

#[test]
fn clients_of_all_loops_are_told_of_the_stop() {
    let (scripted, _seen) = Scripted::echo();
    let server = TestServer::start(|builder| builder.workers(3).route("/ws", scripted));
    let mut clients: Vec<_> = (0..9).map(|_| server.open("/ws")).collect();
    server.handle().stop(Duration::from_secs(5));
    for client in &mut clients {
        client.expect_close(1001);
        client.send_close(framewright::CloseCode::GOING_AWAY, "");
        client.expect_end();
    }
    assert!(server.stop(Duration::from_secs(5)).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_silent_connection_that_arrives_while_the_server_stops_gets_503() {
    for _ in 0..5 {
        let mut server = TestServer::start(|builder| builder.workers(4).route("/ws", Scripted::echo().0));
        let addr = server.addr();
        let connecting = thread::spawn(move || {
            let connect = || std::net::TcpStream::connect(addr).ok();
            // Fewer than the kernel queues: over that, it forgets some by itself.
            std::iter::from_fn(connect).take(100).map(Client::from_tcp).collect::<Vec<_>>()
        });
        wait_until("connections", || server.handle().connection_count() >= 8);
        server.handle().stop(Duration::ZERO);
        server.wait().expect("a good end");
        // The server's handle is still there; its connections are not.
        for mut client in connecting.join().expect("no panic") {
            assert_eq!(client.answer().status, 503);
            client.expect_gone();
        }
        assert_eq!(server.handle().connection_count(), 0);
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_unix_socket_is_served_and_its_file_removed_at_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let (sender, peers) = mpsc::channel();
        let (scripted, _seen) = Scripted::echo();
        let scripted =
            scripted.open(move |socket| sender.send(socket.peer_addr()).expect("somebody listens"));
        let builder = Server::builder().route("/ws", scripted).listen_unix(&path);
        let server = TestServer::run(builder.build().expect("a server"));
        assert_eq!(server.addrs(), [ListenAddr::Unix(Some(path.clone()))]);
        let mut client = Client::connect_unix(&path);
        check(&mut client);
        assert_eq!(next(&peers), PeerAddr::Unix);
        client.leave();
        assert!(path.exists());
        server.stop(Duration::from_secs(5)).expect("a good end");
        assert!(!path.exists());
    }

    #[test]
    fn who_is_not_accepted_yet_on_a_unix_socket_gets_503_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let server = echo().workers(2).listen_unix(&path).build().expect("a server");
        let clients = (0..20).map(|_| Client::connect_unix(&path)).collect();
        stop_with_a_queue(server, clients);
        assert!(!path.exists());
    }

    #[test]
    fn a_server_that_never_ran_removes_its_file_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        drop(echo().listen_unix(&path).build().expect("a server"));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_a_killed_server_has_left_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).expect("a free path"));
        assert!(path.exists());
        let server = TestServer::run(echo().listen_unix(&path).build().expect("a server"));
        check(&mut Client::connect_unix(&path));
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_where_somebody_listens_or_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let (busy, file) = (directory.path().join("busy"), directory.path().join("file"));
        let _listener = UnixListener::bind(&busy).expect("a free path");
        std::fs::write(&file, "precious").expect("a file");
        for path in [&busy, &file] {
            let error = echo().listen_unix(path).build().expect_err("not ours");
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{}", path.display());
            assert!(path.exists());
        }
        assert_eq!(std::fs::read(&file).expect("still there"), b"precious");
        assert!(echo().listen_unix(directory.path().join("no/such/directory")).build().is_err());
    }

    #[test]
    fn a_unix_listener_that_is_bound_already_is_taken_and_its_file_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a free path");
        let builder = echo().unix_listener(listener);
        let server = TestServer::run(builder.build().expect("a server"));
        check(&mut Client::connect_unix(&path));
        drop(server);
        assert!(path.exists());
    }

    #[test]
    fn tcp_and_unix_are_served_by_one_server() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let builder = echo().workers(2).listen_unix(&path).listen("127.0.0.1:0");
        let server = TestServer::run(builder.build().expect("a server"));
        for _ in 0..3 {
            check(&mut Client::connect_unix(&path));
            check(&mut Client::connect(ip(&server.addrs()[1])));
        }
    }
}
