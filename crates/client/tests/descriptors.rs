//! A client that is dropped, in whatever state, gives all its descriptors back. A program of its
//! own: they are counted for the whole process.

#![cfg(target_os = "linux")]

#[path = "common/mod.rs"]
mod common;

use common::{DEADLINE, Kind, Listener, Loop, SOON, plain, request, upload};
use framewright_client::Options;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// How many descriptors this process has, besides the one that it takes to look.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a list of them").count() - 1
}

/// An opened client whose server's end is here.
fn opened(listener: &Listener) -> (Loop, common::Peer) {
    let (mut client, mut peer) = Loop::asking(listener);
    peer.upgrade();
    while !client.is_open() {
        client.turn(Instant::now() + DEADLINE).expect("an answer");
    }
    (client, peer)
}

/// Every state in which a client can be dropped.
fn drop_everywhere(listener: &Listener) {
    let localhost = || "ws://localhost:9/".parse().expect("a URI");
    // Resolving.
    drop(Loop::start(localhost(), &plain()));
    // Waiting for its turn, and holding it (RFC 6455, section 4.1).
    let first = Loop::start(request(listener.addr()), &plain());
    drop(Loop::start(request(listener.addr()), &plain()));
    drop(first);
    while listener.try_accept().is_some() {}
    // Several attempts at a time, none of which is answered.
    let closed = SocketAddr::from(([127, 0, 0, 1], 9));
    let options = Options { addresses: Some(vec![closed, listener.addr()]), ..plain() };
    if let Ok(mut client) = Loop::start(localhost(), &options) {
        let _ = client.turn(Instant::now());
    }
    while listener.try_accept().is_some() {}
    // In the handshake.
    drop(Loop::asking(listener));
    // Open, with a message that has come in part, and with one of ours that waits.
    let (mut client, mut peer) = opened(listener);
    peer.script("binary \"x\" * 1000 len=100000");
    let _ = client.turn(Instant::now() + SOON / 4);
    drop((client, peer));
    let (mut client, peer) = opened(listener);
    let _ = common::AnyClient::send_binary(&mut client, &vec![0; upload()]);
    drop((client, peer));
    // Closing, and closed but for the transport.
    let (mut client, peer) = opened(listener);
    common::AnyClient::start_close(&mut client, 1000, "").expect("an open connection");
    drop((client, peer));
    let (mut client, mut peer) = opened(listener);
    peer.script("close 1000");
    let _ = client.turn(Instant::now() + SOON / 4);
    drop((client, peer));
}

/// Drops blocking clients in each state that can be reached from outside.
fn drop_blocking(listener: Listener) -> Listener {
    let server = listener.run(|listener| {
        for part in ["", "HTTP/1.1 101 ", "HTTP/1.1 404 X\r\nContent-Length: 1\r\n\r\nx"] {
            let mut peer = listener.accept();
            peer.read_request();
            peer.send(part);
        }
        for _ in 0..2 {
            let mut peer = listener.accept();
            peer.read_request();
            peer.upgrade();
            peer.wait_gone();
        }
        listener.try_clone()
    });
    let addr = server.addr();
    for _ in 0..3 {
        assert!(Kind::Blocking.connect(request(addr), &plain()).is_err());
    }
    let options = plain();
    drop(Kind::Blocking.connect(request(addr), &options).expect("an open connection"));
    let client = framewright_client::blocking::Client::connect_with(request(addr), &options);
    let (mut sender, receiver) = client.expect("an open connection").split();
    sender.send_text("x").expect("an open connection");
    drop(receiver);
    drop(sender);
    server.end()
}

#[test]
fn a_client_that_is_dropped_in_any_state_keeps_no_descriptor() {
    let mut listener = Listener::bind();
    let mut before = 0;
    for round in 0..4 {
        drop_everywhere(&listener);
        listener = drop_blocking(listener);
        // A thread that resolves a name has a socket for as long as that takes.
        let until = Instant::now() + DEADLINE;
        while round > 0 && descriptors() > before {
            assert!(Instant::now() < until, "{} descriptors, {before} before", descriptors());
            std::thread::sleep(SOON / 10);
        }
        if round == 0 {
            before = descriptors();
        }
    }
    drop(TcpStream::connect(listener.addr()).expect("it listens"));
}
