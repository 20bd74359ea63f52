//! What a connection over TCP holds on the heap while it waits, its task included.

#![allow(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

use dhat::{HeapStats, Profiler};
use framewright_tokio::topics::{Hub, Topics};
use framewright_tokio::{Config, Negotiated, Role, WebSocket};
use std::io::{Read as _, Write as _};
use std::net::TcpStream as Peer;
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The most bytes that an idle connection may hold.
const MOST: usize = 1500;
/// The most bytes that a connection holds more once it is subscribed to a topic of others.
const MOST_TOPIC: usize = 1000;
const CONNECTIONS: usize = 60;

/// A masked binary frame, whose masking key is 0.
fn frame(len: usize) -> Vec<u8> {
    let mut octets = vec![0x82];
    match u16::try_from(len) {
        Ok(short @ ..126) => octets.push(0x80 | short.to_be_bytes()[1]),
        Ok(medium) => {
            octets.push(0xfe);
            octets.extend(medium.to_be_bytes());
        }
        Err(_) => {
            octets.push(0xff);
            octets.extend((len as u64).to_be_bytes());
        }
    }
    octets.extend([0; 4]);
    octets.resize(octets.len() + len, 7);
    octets
}

/// Sends a message, and waits for its echo: the bytes behind the header of our own frame.
async fn echo(peer: &mut Peer, len: usize) {
    let octets = frame(len);
    let mut written = 0;
    let mut received = vec![0; octets.len() - 4];
    let mut read = 0;
    while read < received.len() {
        if let Ok(count) = peer.write(&octets[written..]) {
            written += count;
        }
        if let Ok(count) = peer.read(&mut received[read..]) {
            read += count;
        }
        tokio::task::yield_now().await;
    }
    assert!(received.ends_with(&[7; 20]));
}

async fn open(listener: &TcpListener, hub: Option<&Hub>) -> Peer {
    let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    tokio::spawn(serve(stream, hub.cloned()));
    peer
}

async fn serve(stream: TcpStream, hub: Option<Hub>) {
    let config = Config::default();
    let mut socket = WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], config);
    if let Some(hub) = hub {
        socket.join(&hub);
        socket.subscribe("a topic").unwrap();
    }
    let (receiver, sender) = socket.parts();
    while let Some(Ok(message)) = receiver.recv().await {
        sender.feed(message).await.unwrap();
    }
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// The bytes that each connection adds, after `act` on its peer.
async fn bytes_for_each(hub: Option<&Hub>, act: impl AsyncFn(&mut Peer)) -> usize {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    // The thread's buffers are made by the first ones.
    let mut peers = Vec::with_capacity(2 * CONNECTIONS);
    for _ in 0..CONNECTIONS {
        peers.push(open(&listener, hub).await);
        act(peers.last_mut().unwrap()).await;
    }
    settle().await;
    let before = HeapStats::get().curr_bytes;
    for _ in 0..CONNECTIONS {
        peers.push(open(&listener, hub).await);
        act(peers.last_mut().unwrap()).await;
    }
    settle().await;
    let each = HeapStats::get().curr_bytes.saturating_sub(before) / CONNECTIONS;
    drop(peers);
    settle().await;
    each
}

// One test, as everything that the process allocates is counted.
#[tokio::test]
async fn a_connection_that_waits_holds_what_it_has_received_of_a_frame_and_no_buffer() {
    let _profiler = Profiler::builder().testing().build();
    let short = bytes_for_each(None, async |peer| echo(peer, 20).await).await;
    let long = bytes_for_each(None, async |peer| {
        echo(peer, 20).await;
        echo(peer, 64 << 10).await;
    })
    .await;
    println!("after an echo of 20 bytes {short}, of 64 KiB {long}");
    assert!(short <= MOST, "{short} bytes");
    assert!(long <= MOST, "{long} bytes");
    let hub = Hub::new(Topics::default()).unwrap();
    let subscribed = bytes_for_each(Some(&hub), async |peer| echo(peer, 20).await).await;
    println!("with a topic {subscribed}");
    assert!(subscribed > short && subscribed <= short + MOST_TOPIC, "{subscribed} bytes");
    for part in [40, 700, 5000, 30_000] {
        let each = bytes_for_each(None, async |peer| {
            echo(peer, 20).await;
            peer.write_all(&frame(60_000)[..part]).unwrap();
            settle().await;
        })
        .await;
        println!("within a frame of which {part} bytes have arrived {each}");
        assert!(each >= part / 2 && each <= MOST + 200 + part * 5 / 2, "{each} bytes");
    }
}
