//! A load generator: many connections, each with a fixed number of messages on the way, on one thread.

use anyhow::{Context, bail};
use framewright::frame::{OpCode, encode_frame, encoded_len};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What to do to a server.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "built by the benchmarks")]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Octets of payload.
    pub size: usize,
    /// Messages on the way on each connection.
    pub in_flight: usize,
    /// How long to count.
    pub duration: Duration,
    /// Whether the server speaks WebSocket; else it sends back what it gets.
    pub websocket: bool,
}

struct Peer {
    stream: TcpStream,
    /// Octets of replies received that do not make a whole one.
    partial: usize,
    /// Octets of requests to send.
    to_send: usize,
    /// Where in the repeated request the next octet to send is.
    at: usize,
}

/// Runs a load against `addr`: messages echoed, and the time that took.
///
/// # Errors
/// If the server refuses a connection, ends one, or does not answer.
pub fn run(addr: SocketAddr, load: Load) -> anyhow::Result<(u64, Duration)> {
    let mut request = Vec::new();
    let payload = vec![b'x'; load.size];
    encode_frame(&mut request, true, OpCode::Binary, &payload, Some([0x12, 0x34, 0x56, 0x78]));
    let request_len = request.len();
    let reply_len = if load.websocket { encoded_len(load.size, false) } else { request_len };
    // Repeated, so that several requests leave in one write.
    let copies = ((256 << 10) / request_len).clamp(1, load.in_flight) + 1;
    let requests = request.repeat(copies);

    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut peers = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let mut stream = connect(addr, load.websocket)?;
        poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        peers.push(Peer { stream, partial: 0, to_send: load.in_flight * request_len, at: 0 });
    }
    let mut buffer = vec![0; 256 << 10];
    let warm_up = load.duration / 5;
    let mut started = Instant::now();
    let mut counting = false;
    let mut messages = 0;
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(5)))?;
        if events.is_empty() {
            bail!("the server does not answer");
        }
        for event in &events {
            let peer = &mut peers[event.token().0];
            messages += receive(peer, &mut buffer, reply_len, request_len)?;
            send(peer, &requests, request_len)?;
        }
        let elapsed = started.elapsed();
        if !counting && elapsed >= warm_up {
            (counting, started, messages) = (true, Instant::now(), 0);
        } else if counting && elapsed >= load.duration {
            return Ok((messages, elapsed));
        }
    }
}

/// Connects and, for WebSocket, does the opening handshake.
///
/// # Errors
/// Those of connecting, or an answer that is not 101.
pub fn connect(addr: SocketAddr, websocket: bool) -> anyhow::Result<TcpStream> {
    let mut stream = std::net::TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    if websocket {
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )?;
        let mut head = Vec::new();
        let mut octet = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut octet)?;
            head.push(octet[0]);
        }
        let status = head.split(|&octet| octet == b'\r').next().context("a status line")?;
        if !status.starts_with(b"HTTP/1.1 101") {
            bail!("the server answered {}", String::from_utf8_lossy(status));
        }
    }
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

fn receive(peer: &mut Peer, buffer: &mut [u8], reply_len: usize, request_len: usize) -> anyhow::Result<u64> {
    let mut replies = 0;
    loop {
        match peer.stream.read(buffer) {
            Ok(0) => bail!("the server has closed a connection"),
            Ok(count) => {
                let octets = peer.partial + count;
                replies += octets / reply_len;
                peer.partial = octets % reply_len;
                if count < buffer.len() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    peer.to_send += replies * request_len;
    Ok(replies as u64)
}

fn send(peer: &mut Peer, requests: &[u8], request_len: usize) -> anyhow::Result<()> {
    while peer.to_send > 0 {
        let end = requests.len().min(peer.at + peer.to_send);
        match peer.stream.write(&requests[peer.at..end]) {
            Ok(count) => {
                peer.to_send -= count;
                peer.at = (peer.at + count) % request_len;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
