//! An open connection on its socket: everything that can be done without waiting. Both faces of the client wait in their own way
//! and then come here.

use crate::ending::{Ended, Ending};
use crate::stream::{self, Io};
use framewright::{Connection, Decoded, RecvBuffer, State, Transmit};
use mio::net::TcpStream;
use std::io::IoSlice;
use std::time::Instant;

/// How many slices one write offers to the kernel.
const SLICES: usize = 8;

/// The most octets that one read takes, so that each piece is unmasked and checked while it is in cache.
const LARGE_READ: usize = 256 << 10;

/// A read has room for so many octets at least, however much of a frame lies in the buffer.
const LEAST_READ: usize = 4 << 10;

/// A buffer for outgoing octets that has grown beyond this is not kept for ever.
pub(crate) const KEEP_TX: usize = 256 << 10;

pub(crate) struct Link {
    pub(crate) connection: Connection,
    stream: TcpStream,
    /// The kernel may have octets for us.
    readable: bool,
    /// The end of the stream is to be expected behind them: a short read does not mean that there is nothing more.
    read_closed: bool,
    /// The end of the stream was read, behind what is undecoded.
    eof: bool,
    ending: Ending,
}

impl Link {
    /// A connection whose opening handshake is done.
    pub(crate) fn new(connection: Connection, stream: TcpStream) -> Link {
        Link {
            connection,
            stream,
            // Edges that came while the handshake was read are gone, that of the end of the stream too.
            readable: true,
            read_closed: true,
            eof: false,
            ending: Ending::default(),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Notes what the poll has said of the socket.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.read_closed |= event.is_read_closed() || event.is_error();
    }

    /// Whether a read may give something.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable && !self.eof
    }

    /// Whether the end of the stream has been read and not yet been told to the connection.
    pub(crate) fn has_eof(&self) -> bool {
        self.eof && self.connection.state() != State::Closed
    }

    /// Reads once, into the room that a frame in progress asks for: for no more than has come, since a declared length allocates
    /// nothing.
    pub(crate) fn read(&mut self, rx: &mut RecvBuffer, now: Instant) {
        let remaining = usize::try_from(rx.frame_remaining()).unwrap_or(usize::MAX);
        let spare = rx.spare(remaining.min(rx.len()).max(LEAST_READ));
        let room = spare.len().min(LARGE_READ);
        match stream::read(&self.stream, &mut spare[..room]) {
            Io::Moved(0) => self.eof = true,
            Io::Moved(count) => {
                rx.filled(count);
                self.note_read(count, room);
            }
            Io::Blocked => {
                // So the end has not come yet: it will be announced.
                (self.readable, self.read_closed) = (false, false);
            }
            Io::Lost(_) => {
                self.eof = true;
                self.connection.handle_transport_error(now);
            }
        }
    }

    /// Reads what has come, without looking at it, as long as less than `most` octets lie undecoded. For a time in which nothing
    /// else can be done: a peer that waits for us to read, before it reads on itself, would keep us waiting for ever.
    pub(crate) fn read_ahead(&mut self, rx: &mut RecvBuffer, most: u64, now: Instant) {
        while self.is_readable() && rx.unread() as u64 <= most {
            self.read(rx, now);
        }
    }

    /// On epoll and kqueue a short read has emptied the socket.
    fn note_read(&mut self, count: usize, room: usize) {
        if cfg!(unix) && count < room && !self.read_closed {
            self.readable = false;
        }
    }

    /// The next event of what has come, reading as far as it takes. `None`: there is nothing to be had without waiting.
    pub(crate) fn next(&mut self, rx: &mut RecvBuffer, now: Instant) -> Option<Decoded> {
        loop {
            if let Some(decoded) = self.connection.decode(now, rx) {
                return Some(decoded);
            }
            if self.has_eof() {
                self.connection.handle_eof(now);
            } else if self.connection.state() != State::Closed && self.is_readable() {
                self.read(rx, now);
            } else {
                return None;
            }
        }
    }

    /// Tells the connection that no more will come, once all that came is decoded.
    pub(crate) fn handle_eof(&mut self, now: Instant) {
        self.connection.handle_eof(now);
    }

    /// Writes what waits until the kernel takes no more.
    pub(crate) fn flush(&mut self, now: Instant) {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = match self.connection.poll_transmit(&mut slices) {
                Transmit::Idle => return,
                Transmit::Shutdown => return self.end(now),
                Transmit::Bytes { slices, .. } => slices,
            };
            match stream::write(&self.stream, &slices[..used]) {
                Io::Moved(count) => self.connection.transmitted(now, count),
                Io::Blocked => return self.connection.transmitted(now, 0),
                Io::Lost(_) => self.connection.handle_transport_error(now),
            }
        }
    }

    fn end(&mut self, now: Instant) {
        let closure = self.connection.closure().expect("a transport is ended after its connection");
        self.ending.begin(&self.stream, &closure, self.eof, now);
    }

    /// After the end of the connection: reads and drops what still comes, until the server has closed the transport or has had
    /// its time. A bounded piece of that work for each call.
    pub(crate) fn finish(&mut self, scratch: &mut RecvBuffer, now: Instant) {
        self.flush(now);
        if self.is_done() || !self.is_readable() {
            return;
        }
        scratch.clear();
        let target = scratch.spare(LEAST_READ);
        match self.ending.drain(&self.stream, target) {
            Ended::Blocked => self.readable = false,
            Ended::More => {}
            Ended::Eof => {
                self.eof = true;
                self.connection.handle_eof(now);
                self.flush(now);
            }
        }
    }

    /// Whether the transport is ended: nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.ending.is_done()
    }

    /// Whether the connection has ended and the application has been told.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.state() == State::Closed && !self.connection.has_event()
    }

    /// When to call [`handle_timeout`](Link::handle_timeout) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        earliest(self.connection.poll_timeout(), self.ending.deadline())
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
        self.ending.handle_timeout(&self.stream, now);
    }

    /// Gives up a buffer for outgoing octets that large messages have made large, unless something waits in it, or what was just
    /// sent, so many octets, has made use of it.
    pub(crate) fn trim(&mut self, used: usize) {
        if let Some(buffer) = self.connection.reclaim_transmit_buffer()
            && (buffer.capacity() <= KEEP_TX || buffer.capacity() / 4 <= used)
        {
            self.connection.lend_transmit_buffer(buffer);
        }
    }
}

/// The earlier one of two deadlines.
pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
