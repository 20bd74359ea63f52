//! A driver for the protocol crate: an echo server on blocking sockets, one thread for each
//! connection, tried with a few clients.
//!
//! ```text
//! cargo run -p framewright --example sans_io
//! ```
//!
//! `docs/SANS-IO.md` explains it.

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright::handshake::{Accept, HeadLimits, Refusal, ServerHandshake};
use framewright::{Config, Connection, Event, Negotiated, RecvBuffer, Transmit};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many octets one read asks for.
const READ: usize = 16 << 10;

fn serve(stream: &mut TcpStream, config: &Arc<Config>) -> io::Result<()> {
    let mut rx = RecvBuffer::new();
    let Some(negotiated) = open(stream, &mut rx)? else { return linger(stream) };
    let mut connection = Connection::server(Arc::clone(config), negotiated, Instant::now());
    let mut eof = false;
    loop {
        // Drain the events. Those that need no octets come even while nothing is to be read.
        while connection.has_event() || connection.wants_read() {
            match connection.next_event(Instant::now(), &mut rx) {
                // The message borrows `rx`, not the connection. A refusal means that the connection
                // is closing: when too much waits to be sent, `wants_read` is false and no message
                // comes.
                Some(Event::Message(message)) => drop(connection.send(message)),
                Some(Event::Closed(closure)) => println!("closed: {} {:?}", closure.code(), closure.cause),
                Some(_) => {}
                None if eof => connection.handle_eof(Instant::now()),
                None => break,
            }
        }
        if !transmit(stream, &mut connection)? {
            let clean = connection.closure().is_some_and(|closure| closure.clean);
            return if clean { Ok(()) } else { linger(stream) };
        }
        if connection.has_event() || !connection.wants_read() || eof {
            continue;
        }
        // Wait for octets, or until there is something to do without them.
        match read(stream, rx.spare(READ), connection.poll_timeout()) {
            Ok(Some(0)) | Err(_) => eof = true,
            Ok(Some(count)) => rx.filled(count),
            Ok(None) => {}
        }
        connection.handle_timeout(Instant::now());
    }
}

/// Writes until nothing waits. `false`: nothing will any more, the transport is to be ended.
fn transmit(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<bool> {
    loop {
        // This write may block: the deadline for a peer that takes nothing has to start before it.
        connection.transmitted(Instant::now(), 0);
        let deadline = connection.poll_timeout();
        let mut slices = [IoSlice::new(&[]); 4];
        let written = match connection.poll_transmit(&mut slices) {
            Transmit::Idle => return Ok(true),
            Transmit::Shutdown => return Ok(false),
            Transmit::Bytes { slices: used, .. } => {
                stream.set_write_timeout(until(deadline))?;
                stream.write_vectored(&slices[..used])
            }
        };
        let now = Instant::now();
        match written {
            Ok(count) => connection.transmitted(now, count),
            Err(error) if is_wait(&error) => connection.handle_timeout(now),
            Err(_) => connection.handle_transport_error(now),
        }
    }
}

/// The opening handshake. `None`: the request was refused, and told so.
fn open(stream: &mut TcpStream, rx: &mut RecvBuffer) -> io::Result<Option<Negotiated>> {
    let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::from_secs(10));
    let mut head = Vec::new();
    let mut octets = [0; 2048];
    let refusal = loop {
        match handshake.parse(&head) {
            Err(refusal) => break refusal,
            Ok(None) => {}
            Ok(Some(head_len)) => {
                let request = handshake.request(&head);
                let upgrade = match request.upgrade() {
                    Ok(Some(upgrade)) => upgrade,
                    Ok(None) => break Refusal::NotAWebSocketRequest,
                    Err(refusal) => break refusal,
                };
                let mut answer = Vec::new();
                let negotiated =
                    upgrade.accept(&request, &Accept::new(), &mut answer).map_err(io::Error::other)?;
                stream.write_all(&answer)?;
                rx.extend_from_slice(&head[head_len..]); // frames that came in the same segment
                return Ok(Some(negotiated));
            }
        }
        match read(stream, &mut octets, handshake.poll_timeout())? {
            Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Some(count) => head.extend_from_slice(&octets[..count]),
            None => {
                if let Some(refusal) = handshake.handle_timeout(Instant::now()) {
                    break refusal;
                }
            }
        }
    };
    let mut answer = Vec::new();
    refusal.to_response().encode("", false, &mut answer); // a driver with a calendar gives the date
    stream.write_all(&answer)?;
    Ok(None)
}

/// Lets the peer read our last octets while it is still sending: for a second at most, and 256 KiB.
/// One that is in the middle of more than that (`DriverView::unreceived` octets) is reset, and may
/// not get to read them.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut octets = [0; 4096];
    for _ in 0..64 {
        match read(stream, &mut octets, Some(deadline))? {
            None | Some(0) => break,
            Some(_) => {}
        }
    }
    Ok(())
}

/// Reads once; `None` if the deadline passes first.
fn read(stream: &mut TcpStream, target: &mut [u8], deadline: Option<Instant>) -> io::Result<Option<usize>> {
    stream.set_read_timeout(until(deadline))?;
    match stream.read(target) {
        Ok(count) => Ok(Some(count)),
        Err(error) if is_wait(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The time left; a socket takes zero for none at all.
fn until(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Tries it with a client that sends octets and reads to the end.
fn main() -> io::Result<()> {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let hello_and_close = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x80\0\0\0\0";
    let unmasked = b"\x81\x05Hello";
    let no_host = "GET / HTTP/1.1\r\n\r\n";
    for (request, frames, start, end) in [
        (upgrade, &hello_and_close[..], "HTTP/1.1 101 ", &b"\r\n\r\n\x81\x05Hello\x88\x00"[..]),
        (upgrade, unmasked, "HTTP/1.1 101 ", b"\x88\x1e\x03\xeaunmasked frame from a client"),
        (no_host, b"", "HTTP/1.1 400 ", b"Host is missing (RFC 9112, section 3.2)\n"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut stream, _) = listener.accept()?;
        let server = std::thread::spawn(move || serve(&mut stream, &Arc::new(Config::default())));
        client.write_all(request.as_bytes())?;
        client.write_all(frames)?;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        assert!(answer.starts_with(start.as_bytes()) && answer.ends_with(end), "{}", answer.escape_ascii());
        drop(client);
        server.join().expect("the server does not panic")?;
    }
    Ok(())
}
