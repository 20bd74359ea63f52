//! An open connection on its socket: everything that can be done without waiting. Both faces of the client wait in their own way
//! and then come here.

use crate::ending::{Ended, Ending};
use crate::stream::{self, Io};
use framewright::{Closure, Connection, Decoded, Error, RecvBuffer, State, Timeout, Transmit};
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

/// What has come is looked at before a deadline, or a transport that takes nothing more, ends the connection. So much is read then at the
/// most, more than a socket holds: a server that goes on sending does not put the end off for ever.
const LAST_LOOK: usize = 8 << 20;

/// One look reads no more than this: others want the lock, or their turn.
const LOOK: usize = 1 << 20;

/// The most octets that are read ahead, where a message may be longer.
const READ_AHEAD: u64 = 64 << 20;

pub(crate) struct Link {
    pub(crate) connection: Connection,
    stream: TcpStream,
    /// The kernel may have octets for us.
    readable: bool,
    /// The end of the stream is to be expected behind them: a short read does not mean that there is nothing more.
    read_closed: bool,
    /// The end of the stream was read, behind what is undecoded.
    eof: bool,
    /// Nothing can be written any more. What came before that is still read.
    broken: bool,
    /// That is since the server has taken nothing for too long.
    late: bool,
    /// Octets that the kernel has taken.
    written: u64,
    /// The most that were ever written or waiting: if it is less now, something was dropped.
    queued: u64,
    /// Octets looked at since a deadline has passed, or nothing can be written.
    overdue: usize,
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
            broken: false,
            late: false,
            written: 0,
            queued: 0,
            overdue: 0,
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

    /// Whether nothing can be written any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Notes what waits, so that it shows if it is dropped.
    pub(crate) fn note_queued(&mut self) {
        self.queued = self.queued.max(self.queued());
    }

    /// Octets that the kernel has taken, and those that wait for it.
    pub(crate) fn queued(&self) -> u64 {
        self.written + self.connection.buffered() as u64
    }

    /// Octets that the kernel has taken.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// How the connection has ended. A closing handshake of which our Close frame never left was not completed.
    pub(crate) fn closure(&self) -> Option<Closure> {
        let mut closure = self.connection.closure()?;
        if closure.clean && self.queued() < self.queued {
            closure.clean = false;
            closure.cause = Some(Error::TransportLost);
        }
        if self.late && closure.cause == Some(Error::TransportLost) {
            closure.cause = Some(Error::Timeout(Timeout::Write));
        }
        Some(closure)
    }

    /// Reads once, into the room that a frame in progress asks for: for no more than has come, since a declared length allocates
    /// nothing.
    pub(crate) fn read(&mut self, rx: &mut RecvBuffer) -> usize {
        let remaining = usize::try_from(rx.frame_remaining()).unwrap_or(usize::MAX);
        let spare = rx.spare(remaining.min(rx.len()).max(LEAST_READ));
        let room = spare.len().min(LARGE_READ);
        match stream::read(&self.stream, &mut spare[..room]) {
            Io::Moved(0) => self.eof = true,
            Io::Moved(count) => {
                rx.filled(count);
                self.note_read(count, room);
                return count;
            }
            // All that came before the connection broke has been read.
            Io::Blocked if self.broken => self.eof = true,
            Io::Blocked => {
                // So the end has not come yet: it will be announced.
                (self.readable, self.read_closed) = (false, false);
            }
            Io::Lost(_) => {
                self.eof = true;
                self.broken = true;
            }
        }
        0
    }

    /// Notes that so many octets have been read to be looked at now.
    pub(crate) fn note_look(&mut self, octets: usize) {
        self.overdue = self.overdue.saturating_add(octets);
        if self.broken && self.overdue >= LAST_LOOK {
            self.eof = true;
        }
    }

    /// Reads some of what has come, without looking at it. For a time in which nothing else can be done: a peer that waits for us to
    /// read, before it reads on itself, would keep us waiting for ever.
    pub(crate) fn read_ahead(&mut self, rx: &mut RecvBuffer) {
        let mut read = 0;
        while self.may_read_ahead(rx.unread()) && read < LOOK {
            read += self.read(rx);
        }
    }

    /// Whether more may be read ahead where so many octets lie undecoded, and there is something to read.
    pub(crate) fn may_read_ahead(&self, undecoded: usize) -> bool {
        let most = self.connection.config().max_message.min(READ_AHEAD);
        self.is_readable() && undecoded as u64 <= most
    }

    /// On epoll and kqueue a short read has emptied the socket.
    fn note_read(&mut self, count: usize, room: usize) {
        if cfg!(unix) && count < room && !self.read_closed && !self.broken {
            self.readable = false;
        }
    }

    /// The next event of what has come, reading as far as it takes. `None`: there is nothing to be had without waiting, or so much was
    /// read that others want the lock, and [`is_readable`](Link::is_readable) still.
    pub(crate) fn next(&mut self, rx: &mut RecvBuffer, now: Instant) -> Option<Decoded> {
        let mut looked = 0;
        loop {
            if let Some(decoded) = self.connection.decode(now, rx) {
                return Some(decoded);
            }
            if self.has_eof() {
                self.connection.handle_eof(now);
            } else if self.connection.state() != State::Closed && self.is_readable() && looked < LOOK {
                let read = self.read(rx);
                self.note_look(read);
                looked += read;
            } else {
                return None;
            }
        }
    }

    /// Tells the connection that no more will come, once all that came is decoded.
    pub(crate) fn handle_eof(&mut self, now: Instant) {
        self.connection.handle_eof(now);
    }

    /// Writes what waits until the kernel takes no more. Where it never will, what waits is dropped.
    pub(crate) fn flush(&mut self, now: Instant) {
        self.note_queued();
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (used, octets) = match self.connection.poll_transmit(&mut slices) {
                Transmit::Idle => return,
                Transmit::Shutdown => return self.end(now),
                Transmit::Bytes { slices, octets } => (slices, octets),
            };
            if self.broken {
                self.connection.transmitted(now, octets);
                continue;
            }
            match stream::write(&self.stream, &slices[..used]) {
                Io::Moved(count) => {
                    self.written += count as u64;
                    self.connection.transmitted(now, count);
                }
                Io::Blocked => return self.connection.transmitted(now, 0),
                Io::Lost(_) => self.give_up_writing(),
            }
        }
    }

    /// Nothing will be written any more. What has come is worth as much as before: it may say why.
    fn give_up_writing(&mut self) {
        (self.broken, self.readable) = (true, true);
        self.overdue = 0;
    }

    fn end(&mut self, now: Instant) {
        let closure = self.connection.closure().expect("a transport is ended after its connection");
        self.ending.begin(&self.stream, &closure, self.eof || self.broken, now);
    }

    /// After the end of the connection: reads and drops what still comes, until the server has closed the transport or has had
    /// its time. A bounded piece of that work for each call.
    pub(crate) fn finish(&mut self, scratch: &mut RecvBuffer, now: Instant) {
        if self.eof || self.broken {
            self.connection.handle_eof(now);
        }
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

    /// When to look at the deadlines at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        earliest(self.connection.poll_timeout(), self.ending.deadline())
    }

    /// Whether a deadline has passed; and then, whether so much was read since that it has to be acted on whatever is still coming.
    pub(crate) fn is_overdue(&mut self, now: Instant) -> bool {
        if self.deadline().is_none_or(|deadline| deadline > now) && !self.broken {
            self.overdue = 0;
        }
        self.overdue >= LAST_LOOK
    }

    /// Acts on deadlines that have passed. What has come has been looked at before.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.handle_write_timeout(now);
        if !self.broken {
            self.overdue = 0;
        }
        self.connection.handle_timeout(now);
        self.ending.handle_timeout(&self.stream, now);
    }

    /// The same for whoever only sends, and knows nothing of what has come.
    pub(crate) fn handle_send_timeout(&mut self, now: Instant) {
        self.handle_write_timeout(now);
        self.connection.handle_send_timeout(now);
    }

    /// A server that takes nothing any more may have said why.
    fn handle_write_timeout(&mut self, now: Instant) {
        self.flush(now);
        if self.connection.poll_write_timeout().is_some_and(|deadline| deadline <= now) {
            self.late = true;
            self.give_up_writing();
            self.flush(now);
        }
    }

    /// Whether more is held, while nothing is sent or received, than is held for ever.
    pub(crate) fn is_large(&mut self) -> bool {
        #[cfg(feature = "deflate")]
        if self.connection.compresses() {
            return true;
        }
        let Some(buffer) = self.connection.reclaim_transmit_buffer() else { return false };
        let is_large = buffer.capacity() > KEEP_TX;
        self.connection.lend_transmit_buffer(buffer);
        is_large
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
