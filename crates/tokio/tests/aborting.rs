//! A task that is aborted anywhere leaves no descriptor, and its peer sees an end.

#![cfg(target_os = "linux")]

use framewright_tokio::{AcceptOptions, CloseCode, Config, Negotiated, Role, WebSocket, accept};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream as Peer;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(20);

/// Where the task is when it is aborted.
#[derive(Clone, Copy, Debug)]
enum State {
    WithinARequest,
    Refusing,
    Receiving,
    WithinAMessage,
    Sending,
    Closing,
    Lingering,
    InHalves,
    Attended,
}

const STATES: [State; 9] = [
    State::WithinARequest,
    State::Refusing,
    State::Receiving,
    State::WithinAMessage,
    State::Sending,
    State::Closing,
    State::Lingering,
    State::InHalves,
    State::Attended,
];

/// What the peer sends first.
fn bytes(state: State) -> &'static [u8] {
    match state {
        State::WithinARequest => b"GET / HTTP/1.1\r\nHost: a\r\nUpgr",
        State::Refusing => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        State::WithinAMessage => &[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3],
        // A frame without a mask, of which the rest is to come.
        State::Lingering => &[0x82, 0x7e, 0xff, 0xff, 1, 2, 3],
        _ => &[],
    }
}

async fn serve(stream: TcpStream, state: State) {
    if matches!(state, State::WithinARequest | State::Refusing) {
        let _ = accept(stream, &AcceptOptions::default()).await;
        std::future::pending::<()>().await;
        return;
    }
    let config = Config::default();
    let mut socket = WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], config);
    match state {
        State::Sending => socket.send_binary(&vec![1; 32 << 20]).await.unwrap(),
        State::Closing => drop(socket.close(CloseCode::NORMAL, "").await),
        State::InHalves => {
            let (mut receiver, mut sender) = socket.split();
            let sending = async { while sender.send_binary(&[1; 100_000]).await.is_ok() {} };
            tokio::join!(async { while receiver.recv().await.is_some() {} }, sending);
        }
        State::Attended => {
            let attendant = tokio::spawn(socket.attendant());
            std::future::pending::<()>().await;
            drop((socket, attendant));
        }
        _ => while socket.recv().await.is_some() {},
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until the peer has read the end of its stream, or a reset.
fn see_the_end(mut peer: Peer, state: State) {
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut scratch = vec![0; 1 << 20];
    loop {
        match peer.read(&mut scratch) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{state:?}: {error}"),
        }
    }
}

fn abort_all(runtime: &Runtime, halts: u32) {
    let listener = runtime.block_on(TcpListener::bind("localhost:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let before = descriptors();
    let mut tasks: Vec<(State, Peer, JoinHandle<()>)> = Vec::new();
    for state in STATES {
        let mut peer = Peer::connect(address).unwrap();
        peer.write_all(bytes(state)).unwrap();
        let (stream, _) = runtime.block_on(listener.accept()).unwrap();
        tasks.push((state, peer, runtime.spawn(serve(stream, state))));
    }
    // However far they get: each number of turns is another place to be aborted at.
    runtime.block_on(async {
        for _ in 0..halts {
            tokio::task::yield_now().await;
        }
    });
    let mut ends = Vec::new();
    for (state, peer, task) in tasks {
        task.abort();
        // It may have ended before.
        drop(runtime.block_on(task));
        ends.push((state, peer));
    }
    for (state, peer) in ends {
        see_the_end(peer, state);
    }
    let begun = Instant::now();
    while descriptors() > before {
        assert!(begun.elapsed() < DEADLINE, "{} descriptors, and {before} before", descriptors());
        runtime.block_on(tokio::task::yield_now());
    }
}

// One test, as the descriptors of the whole process are counted.
#[test]
fn a_task_that_is_aborted_anywhere_leaves_no_descriptor_and_its_peer_sees_an_end() {
    let current = Builder::new_current_thread().enable_all().build().unwrap();
    let threads = Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    for runtime in [current, threads] {
        for halts in [0, 1, 2, 3, 5, 8, 30, 200] {
            abort_all(&runtime, halts);
        }
    }
}
