//! The floor: a raw mio loop that sends back the octets it receives. No server that echoes messages over the same event queue
//! can do less.

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

const LISTENER: Token = Token(usize::MAX);

struct Peer {
    stream: TcpStream,
    /// Octets that the kernel would not take yet.
    waiting: VecDeque<u8>,
}

/// Serves until the process ends.
///
/// # Errors
/// Those of the event queue.
pub fn run(mut listener: TcpListener) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let interests = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(peers.len()), interests)?;
                    peers.push(Some(Peer { stream, waiting: VecDeque::new() }));
                }
                continue;
            }
            let place = &mut peers[event.token().0];
            if let Some(peer) = place
                && echo(peer, &mut buffer).is_err()
            {
                *place = None;
            }
        }
    }
}

/// Moves what there is; an error is the end of the peer.
fn echo(peer: &mut Peer, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        while !peer.waiting.is_empty() {
            let (front, _) = peer.waiting.as_slices();
            match peer.stream.write(front) {
                Ok(count) => drop(peer.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let count = match peer.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let written = match peer.stream.write(&buffer[..count]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        peer.waiting.extend(&buffer[written..count]);
        // A short read has emptied the socket: the same rule that the server uses.
        if peer.waiting.is_empty() && count < buffer.len() {
            return Ok(());
        }
    }
}
