//! A client on a blocking socket that does what no library would let it. It shares no code with the
//! server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use framewright_testkit::rng::SplitMix64;
use framewright_testkit::wire::{WireFrame, masked};
use socket2::SockRef;

/// How long anything may take that the server owes: longer than each of its deadlines here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The opcodes of RFC 6455, section 5.2, and the bits beside them.
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A client.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// What was received and not looked at.
    received: Vec<u8>,
    keys: SplitMix64,
}

/// The opening handshake, with compression offered or without.
pub(crate) fn request(compressed: bool) -> String {
    let offer = if compressed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    )
}

impl Peer {
    /// A connection of which the server has heard nothing yet.
    pub(crate) fn connect(addr: SocketAddr, seed: u64) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), keys: SplitMix64::new(seed) })
    }

    /// A connection whose opening handshake is done.
    pub(crate) fn open(addr: SocketAddr, compressed: bool, seed: u64) -> io::Result<Self> {
        let mut peer = Self::connect(addr, seed)?;
        peer.stream.write_all(request(compressed).as_bytes())?;
        peer.read_head()?;
        Ok(peer)
    }

    /// Reads the answer to the opening handshake, which has to be 101.
    pub(crate) fn read_head(&mut self) -> io::Result<()> {
        let len = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.received.drain(..len).collect();
        if head.starts_with(b"HTTP/1.1 101 ") {
            return Ok(());
        }
        Err(io::Error::other(format!("the answer is {}", String::from_utf8_lossy(&head).trim())))
    }

    /// A masked frame.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        let key = self.keys.key();
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..=125 => frame.push(FIN | u8::try_from(len).expect("at most 125")),
            len @ 126..=0xffff => {
                frame.push(FIN | 126);
                frame.extend_from_slice(&u16::try_from(len).expect("at most 65535").to_be_bytes());
            }
            len => {
                frame.push(FIN | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&key);
        frame.extend(masked(payload, key));
        frame
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let frame = self.frame(first, payload);
        self.stream.write_all(&frame)
    }

    /// Sends these bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame that is no Ping; Pings are answered.
    pub(crate) fn read(&mut self) -> io::Result<WireFrame> {
        loop {
            while let Some(frame) = WireFrame::read(&self.received) {
                self.received.drain(..frame.at.end);
                if frame.header.opcode != PING {
                    return Ok(frame);
                }
                self.send(FIN | PONG, &frame.payload)?;
            }
            self.fill()?;
        }
    }

    /// Reads and drops until the server has ended its direction. Returns the code of its Close
    /// frame, if one came.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Option<u16>> {
        loop {
            match self.read() {
                Ok(frame) if frame.header.opcode == CLOSE => {
                    return self.drain().map(|()| frame.close_code());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        while self.stream.read(&mut [0; 4096])? > 0 {}
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 << 10];
        let count = self.stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received.extend_from_slice(&piece[..count]);
        Ok(())
    }

    /// Ends this direction.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Ends the connection as RFC 6455, section 7.1.2 has it, and checks that the server does its
    /// part.
    pub(crate) fn close(mut self) -> Result<(), String> {
        let said = |error: io::Error| format!("closing: {error}");
        self.send(FIN | CLOSE, &1000u16.to_be_bytes()).map_err(said)?;
        match self.read_to_end().map_err(said)? {
            Some(1000) => Ok(()),
            other => Err(format!("closing: the server answers 1000 with {other:?}")),
        }
    }
}
