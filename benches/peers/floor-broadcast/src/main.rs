//! The floor of messages to many: a raw mio loop that sends each frame of one connection, ready as
//! it is, to the sockets of all that listen: a `send` for each.
//!
//! A connection begins with the request of an opening handshake, which is sent back: one of
//! `GET /pub` publishes, the others listen. Where a socket takes no more, a frame is left out.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

const LISTENER: Token = Token(usize::MAX);

/// How many octets one read asks for.
const READ_SIZE: usize = 256 << 10;

struct Peer {
    stream: TcpStream,
    stage: Stage,
    /// Octets that came and are no whole request, or no whole frame.
    received: Vec<u8>,
    /// Octets that the kernel would not take yet.
    waiting: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Publishes,
    Listens,
}

struct Floor {
    peers: Vec<Option<Peer>>,
    /// Places of peers that are gone.
    free: Vec<usize>,
    /// Places of those that listen.
    listeners: BTreeSet<usize>,
    buffer: Vec<u8>,
}

fn main() -> anyhow::Result<()> {
    let mut listener = TcpListener::bind(peer_common::any_port())?;
    let inherited = SockRef::from(&listener).set_tcp_nodelay(true).is_ok() && cfg!(target_os = "linux");
    peer_common::announce(listener.local_addr()?)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut floor =
        Floor { peers: Vec::new(), free: Vec::new(), listeners: BTreeSet::new(), buffer: vec![0; READ_SIZE] };
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &events {
            if event.token() != LISTENER {
                floor.turn(event.token().0);
                continue;
            }
            while let Some(mut stream) = accept(&listener)? {
                if !inherited {
                    stream.set_nodelay(true)?;
                }
                let place = floor.free.pop().unwrap_or_else(|| {
                    floor.peers.push(None);
                    floor.peers.len() - 1
                });
                let interests = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(place), interests)?;
                floor.peers[place] =
                    Some(Peer { stream, stage: Stage::Opening, received: Vec::new(), waiting: Vec::new() });
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

impl Floor {
    /// Does what there is to do with a peer.
    fn turn(&mut self, place: usize) {
        let Some(peer) = &mut self.peers[place] else { return };
        if peer.turn(&mut self.buffer).is_err() {
            return self.remove(place);
        }
        match peer.stage {
            Stage::Opening => {}
            Stage::Listens => drop(self.listeners.insert(place)),
            Stage::Publishes => {
                let mut received = std::mem::take(&mut peer.received);
                let sent = self.publish(&received);
                received.drain(..sent);
                if let Some(peer) = &mut self.peers[place] {
                    peer.received = received;
                }
            }
        }
    }

    /// Sends each whole frame to all that listen. Returns how many octets they have.
    fn publish(&mut self, octets: &[u8]) -> usize {
        let mut sent = 0;
        let mut gone = Vec::new();
        while let Some(len) = frame_len(&octets[sent..])
            && let Some(frame) = octets.get(sent..sent + len)
        {
            for &place in &self.listeners {
                if let Some(peer) = &mut self.peers[place]
                    && peer.send(frame).is_err()
                {
                    gone.push(place);
                }
            }
            gone.drain(..).for_each(|place| self.remove(place));
            sent += len;
        }
        sent
    }

    fn remove(&mut self, place: usize) {
        self.listeners.remove(&place);
        self.peers[place] = None;
        self.free.push(place);
    }
}

impl Peer {
    /// Writes what waits, and reads what there is; an error is the end of the peer, its own or ours.
    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.write_waiting()?;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if self.stage != Stage::Listens {
                self.received.extend_from_slice(&buffer[..count]);
            }
            if self.stage == Stage::Opening
                && let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n")
            {
                let request: Vec<u8> = self.received.drain(..end + 4).collect();
                let publishes = request.starts_with(b"GET /pub ");
                self.stage = if publishes { Stage::Publishes } else { Stage::Listens };
                self.send(&request)?;
            }
            if count < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Sends octets, or leaves them out if others wait. What a write leaves over waits.
    fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        match self.stream.write(octets) {
            Ok(count) => self.waiting.extend_from_slice(&octets[count..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How long the masked frame is whose first octets these are; nothing as long as they do not say.
fn frame_len(octets: &[u8]) -> Option<usize> {
    let length = usize::from(octets.get(1)? & 0x7f);
    Some(match length {
        126 => 8 + usize::from(u16::from_be_bytes(octets.get(2..4)?.try_into().ok()?)),
        127 => 14 + usize::try_from(u64::from_be_bytes(octets.get(2..10)?.try_into().ok()?)).ok()?,
        length => 6 + length,
    })
}
