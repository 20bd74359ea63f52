//! The floor: a raw mio loop that sends back the octets it receives, without looking at them. No
//! server that echoes messages over the same event queue can do less.
//!
//! With `--cycles` it closes a connection behind its second reply, as a server does behind its
//! Close frame.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

const LISTENER: Token = Token(usize::MAX);

/// How many octets one read asks for. More gains nothing, less costs reads of large messages.
const READ_SIZE: usize = 256 << 10;

struct Peer {
    stream: TcpStream,
    /// Octets that the kernel would not take yet.
    waiting: VecDeque<u8>,
    /// After how many replies it is closed.
    replies_left: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    let mut listener = TcpListener::bind(peer_common::any_port())?;
    let inherited = SockRef::from(&listener).set_tcp_nodelay(true).is_ok() && cfg!(target_os = "linux");
    let replies = std::env::args().any(|argument| argument == "--cycles").then_some(2);
    peer_common::announce(listener.local_addr()?)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    // Places of peers that are gone.
    let mut free = Vec::new();
    let mut buffer = vec![0; READ_SIZE];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Some(mut stream) = accept(&listener)? {
                    if !inherited {
                        stream.set_nodelay(true)?;
                    }
                    let place = free.pop().unwrap_or_else(|| {
                        peers.push(None);
                        peers.len() - 1
                    });
                    let interests = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(place), interests)?;
                    peers[place] = Some(Peer { stream, waiting: VecDeque::new(), replies_left: replies });
                }
                continue;
            }
            let Token(place) = event.token();
            if let Some(peer) = &mut peers[place]
                && echo(peer, &mut buffer).is_err()
            {
                peers[place] = None;
                free.push(place);
            }
        }
    }
}

/// The next connection, if one waits.
fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves what there is; an error is the end of the peer, its own or ours.
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
        if let Some(left) = &mut peer.replies_left {
            *left -= 1;
            if *left == 0 {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
        // A short read has emptied the socket: the same rule that the server uses.
        if peer.waiting.is_empty() && count < buffer.len() {
            return Ok(());
        }
    }
}
