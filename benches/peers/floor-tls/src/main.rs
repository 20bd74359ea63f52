//! The floor under TLS: the loop of `floor` over bare rustls. It decrypts what it receives and
//! encrypts it again, without looking at it.
//!
//! It uses rustls' unbuffered connection, which takes less time than the buffered one: 0.96 of it
//! for 20 octets and 1 KiB, 0.89 for 16 KiB, 0.80 for 1 MiB, from memory to memory. Records are
//! decrypted where they were read to, and all connections share that buffer. The records of a read
//! go back in as few as hold their content: nothing that echoes over rustls writes less.
//!
//! With `--cycles` it closes a connection behind its second reply, with a `close_notify`, as a
//! server does behind its Close frame.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use anyhow::Context as _;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, WriteTraffic};
use socket2::SockRef;

const LISTENER: Token = Token(usize::MAX);

/// How many octets one read asks for, as in `floor`.
const READ_SIZE: usize = 256 << 10;

/// The largest record with its header (RFC 8446, section 5.2), of which a part may be left from the
/// read before.
const RECORD: usize = 5 + (16 << 10) + 256;

/// What a record of a reply has besides its content, at most, in both versions.
const AROUND: usize = 64;

struct Peer {
    stream: TcpStream,
    tls: UnbufferedServerConnection,
    /// The beginning of a record whose rest has not come.
    cut: Vec<u8>,
    /// Octets that the kernel would not take yet.
    waiting: VecDeque<u8>,
    /// After how many replies it is closed.
    replies_left: Option<u32>,
}

/// Memory that all connections share.
struct Buffers {
    /// What was read, and what is left of it.
    received: Vec<u8>,
    /// The content of its records.
    content: Vec<u8>,
    /// What is to be written, up to `end`.
    records: Vec<u8>,
    end: usize,
}

impl Buffers {
    fn new() -> Self {
        let content = READ_SIZE + RECORD;
        // Besides a reply to all of it there may be records of the handshake.
        let records = content + (content / (16 << 10) + 1) * AROUND + (64 << 10);
        Self {
            received: vec![0; content],
            content: Vec::with_capacity(content),
            records: vec![0; records],
            end: 0,
        }
    }

    /// Room for further records.
    fn room(&mut self) -> &mut [u8] {
        &mut self.records[self.end..]
    }
}

fn main() -> anyhow::Result<()> {
    let config = peer_common::tls()?.context("--tls-cert and --tls-key are needed")?;
    let mut listener = TcpListener::bind(peer_common::any_port())?;
    let inherited = SockRef::from(&listener).set_tcp_nodelay(true).is_ok() && cfg!(target_os = "linux");
    let replies = std::env::args().any(|argument| argument == "--cycles").then_some(2);
    peer_common::announce(listener.local_addr()?)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut peers: Vec<Option<Box<Peer>>> = Vec::new();
    // Places of peers that are gone.
    let mut free = Vec::new();
    let mut buffers = Buffers::new();
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
                    peers[place] = Some(Box::new(Peer::new(stream, &config, replies)?));
                }
                continue;
            }
            let Token(place) = event.token();
            if let Some(peer) = &mut peers[place]
                && peer.echo(&mut buffers).is_err()
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

impl Peer {
    fn new(
        stream: TcpStream,
        config: &Arc<ServerConfig>,
        replies_left: Option<u32>,
    ) -> Result<Self, rustls::Error> {
        let tls = UnbufferedServerConnection::new(Arc::clone(config))?;
        Ok(Self { stream, tls, cut: Vec::new(), waiting: VecDeque::new(), replies_left })
    }

    /// Moves what there is; an error is the end of the peer, its own or ours.
    fn echo(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        loop {
            while !self.waiting.is_empty() {
                let (front, _) = self.waiting.as_slices();
                match self.stream.write(front) {
                    Ok(count) => drop(self.waiting.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            let cut = self.cut.len();
            buffers.received[..cut].copy_from_slice(&self.cut);
            let count = match self.stream.read(&mut buffers.received[cut..cut + READ_SIZE]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let processed = self.process(cut + count, buffers)?;
            // It is freed when nothing is left: an idle connection holds none.
            self.cut = buffers.received[processed..cut + count].to_vec();
            if !self.write(&buffers.records[..buffers.end])? {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            // A short read has emptied the socket: the same rule that the server uses.
            if self.waiting.is_empty() && count < READ_SIZE {
                return Ok(());
            }
        }
    }

    /// Takes the records that are there whole, and makes those of the reply. Returns how many
    /// octets they were.
    fn process(&mut self, received: usize, buffers: &mut Buffers) -> io::Result<usize> {
        buffers.content.clear();
        buffers.end = 0;
        let mut processed = 0;
        loop {
            let status = self.tls.process_tls_records(&mut buffers.received[processed..received]);
            processed += status.discard;
            match status.state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        processed += record.discard;
                        buffers.content.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    buffers.end += data.encode(buffers.room()).map_err(io::Error::other)?;
                }
                // It is written with the reply, or waits.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::BlockedHandshake => return Ok(processed),
                ConnectionState::WriteTraffic(mut traffic) => {
                    if !buffers.content.is_empty() {
                        reply(&mut traffic, buffers, &mut self.replies_left)?;
                    }
                    return Ok(processed);
                }
                // The peer has ended the session, or sends early data, which is not allowed.
                _ => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Writes, or keeps what the kernel does not take. Says whether the connection goes on.
    fn write(&mut self, records: &[u8]) -> io::Result<bool> {
        if !records.is_empty() {
            let written = match self.stream.write(records) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.waiting.extend(&records[written..]);
        }
        Ok(self.replies_left != Some(0))
    }
}

/// Encrypts the reply, and the end of the session behind the last.
fn reply<D>(
    traffic: &mut WriteTraffic<'_, D>,
    buffers: &mut Buffers,
    replies_left: &mut Option<u32>,
) -> io::Result<()> {
    let room = &mut buffers.records[buffers.end..];
    buffers.end += traffic.encrypt(&buffers.content, room).map_err(io::Error::other)?;
    if let Some(left) = replies_left {
        *left -= 1;
        if *left == 0 {
            buffers.end += traffic.queue_close_notify(buffers.room()).map_err(io::Error::other)?;
        }
    }
    Ok(())
}
