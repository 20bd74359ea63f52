//! An open connection on its socket, for both APIs of the client: each waits in its own way and
//! then comes here. What a turn does is the driver's ([`Turn`]).

use crate::entropy::Csprng;
use crate::opening::exchange::Opened;
use crate::stream::ClientStream;
use framewright::handshake::{ServerResponse, WsUri};
use framewright::{Closure, Config, Connection, Decoded, RecvBuffer, State};
use framewright_driver::{
    Application, Flushed, KEPT_TRANSMIT_BUFFER, Leave, Lent, LingerNext, Lingering, Next, Ready, SHORT_TAIL,
    Transport as _, Turn,
};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

/// A connection on its socket, from the end of the opening handshake to the end of the transport.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    pub(crate) turn: Turn,
    socket: ClientStream,
    ready: Ready,
    ending: TransportEnd,
}

/// Where the end of the transport is.
#[derive(Debug)]
enum TransportEnd {
    /// The connection goes on, has bytes to send, or waits for the server to end the transport.
    Before,
    Lingering(Lingering),
    /// Both directions are ended.
    Done,
}

/// What an opening handshake has led to.
pub(crate) struct OpenClient {
    pub(crate) connection: ClientConnection,
    /// Where the connection leads to, after redirects.
    pub(crate) uri: WsUri,
    /// The server's answer.
    pub(crate) response: ServerResponse,
}

impl ClientConnection {
    /// The connection whose opening handshake is done. The frames that came with the server's
    /// answer go to `rx`, or are kept for the first turn.
    pub(crate) fn open(
        opened: Opened,
        config: Arc<Config>,
        rx: Option<&mut RecvBuffer>,
        now: Instant,
    ) -> OpenClient {
        let Opened { stream, negotiated, early, response, uri } = opened;
        let connection = Connection::client(config, negotiated, Box::new(Csprng), now);
        let turn = match rx {
            Some(rx) => {
                rx.extend_from_slice(&early);
                Turn::new(connection, &[])
            }
            None => Turn::new(connection, &early),
        };
        // Edges that came during the handshake are gone, that of the end of the stream too.
        let ready = Ready { read: true, more_behind: true, ..Ready::default() };
        let connection = ClientConnection { turn, socket: stream, ready, ending: TransportEnd::Before };
        OpenClient { connection, uri, response }
    }

    pub(crate) fn stream(&self) -> &ClientStream {
        &self.socket
    }

    /// Notes what the poll has said of the socket.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        let read_closed = event.is_read_closed() || event.is_error();
        self.ready.read |= event.is_readable() || read_closed;
        self.ready.more_behind |= read_closed || event.is_priority();
        self.ready.write |= event.is_writable();
    }

    /// A turn in an event loop. Returns whether there is more to do that no event announces.
    pub(crate) fn run(
        &mut self,
        lent: &mut Lent,
        now: Instant,
        application: &mut impl Application<ClientStream>,
    ) -> bool {
        if !matches!(self.ending, TransportEnd::Before) {
            return self.linger(lent.scratch(), now);
        }
        self.turn.note_time(&mut self.ready, now);
        // One poll tells of a bounded number of sockets: what lies in this one counts before its
        // deadline.
        self.ready.read |= self.ready.due;
        let ClientConnection { turn, socket, ready, .. } = self;
        match turn.run(socket, ready, lent, now, application) {
            Next::Wait => false,
            Next::Again => true,
            Next::Leave(leave) => {
                self.leave(leave, now);
                // What lies there already may not be announced again.
                self.linger(lent.scratch(), now)
            }
        }
    }

    /// The next event of what has arrived, reading into `rx` as far as that takes.
    pub(crate) fn next_event(
        &mut self,
        rx: &mut RecvBuffer,
        read_size: usize,
        now: Instant,
    ) -> Option<Decoded> {
        self.turn.next_event(&mut self.socket, &mut self.ready, rx, read_size, now)
    }

    /// Reads ahead while a sender waits for the server. Returns whether there is more to read.
    pub(crate) fn read_on(&mut self, rx: &mut RecvBuffer, read_size: usize) -> bool {
        self.turn.read_on(&mut self.socket, &mut self.ready, rx, read_size)
    }

    /// Whether a read may give something.
    pub(crate) fn is_readable(&self) -> bool {
        self.ready.read && !self.turn.has_eof()
    }

    /// Writes what is queued, until the kernel takes no more.
    pub(crate) fn flush(&mut self, now: Instant) {
        let flushed = self.turn.flush(&mut self.socket, &mut self.ready, now);
        self.leave_after(flushed, now);
    }

    /// After the end of the connection: reads and drops what still comes, until the server has
    /// ended the transport or has had its time. A bounded piece of that work for each call.
    pub(crate) fn finish(&mut self, scratch: &mut RecvBuffer, now: Instant) {
        if matches!(self.ending, TransportEnd::Before) {
            let flushed = self.turn.await_end(&mut self.socket, &mut self.ready, scratch, now);
            self.leave_after(flushed, now);
        }
        scratch.clear();
        self.linger(scratch.spare(SHORT_TAIL), now);
    }

    /// Looks whether a deadline has passed. Returns whether it has to be acted on, whatever still
    /// comes.
    pub(crate) fn is_overdue(&mut self, now: Instant) -> bool {
        self.turn.note_time(&mut self.ready, now)
    }

    /// Acts on deadlines that have passed. What has arrived has been read before.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.turn.handle_timeout(&mut self.socket, &mut self.ready, now);
    }

    /// Acts on the deadlines of sending alone.
    pub(crate) fn handle_send_timeout(&mut self, now: Instant) {
        self.turn.handle_send_timeout(&mut self.socket, &mut self.ready, now);
    }

    /// Gives up sending: whoever sends waits no longer.
    pub(crate) fn give_up_sending(&mut self, now: Instant) {
        self.turn.give_up(&mut self.socket, &mut self.ready, now);
    }

    /// Drops the connection and its transport: whoever closes it waits no longer.
    pub(crate) fn drop_now(&mut self, now: Instant) {
        self.turn.abort(now);
        self.be_done();
    }

    /// When to look at the deadlines at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.ending {
            TransportEnd::Before => self.turn.deadline(),
            TransportEnd::Lingering(lingering) => Some(lingering.deadline()),
            TransportEnd::Done => None,
        }
    }

    /// Whether the transport is ended and the application has been told: nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.ending, TransportEnd::Done) && self.turn.is_over()
    }

    /// How the connection has ended; `None` before.
    pub(crate) fn closure(&self) -> Option<Closure> {
        self.turn.closure()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.turn.connection.state() == State::Closed
    }

    /// Whether more is held, while nothing is sent or received, than is held for ever.
    pub(crate) fn is_large(&mut self) -> bool {
        let connection = &mut self.turn.connection;
        if connection.driver_view().compresses() {
            return true;
        }
        let Some(buffer) = connection.driver().reclaim_transmit_buffer() else { return false };
        let is_large = buffer.capacity() > KEPT_TRANSMIT_BUFFER;
        connection.driver().lend_transmit_buffer(buffer);
        is_large
    }

    /// Gives up a transmit buffer that large messages have made large, unless something is queued
    /// in it, or what was just sent, `used` bytes, has made use of it.
    pub(crate) fn trim(&mut self, used: usize) {
        let connection = &mut self.turn.connection;
        if let Some(buffer) = connection.driver().reclaim_transmit_buffer()
            && (buffer.capacity() <= KEPT_TRANSMIT_BUFFER || buffer.capacity() / 4 <= used)
        {
            connection.driver().lend_transmit_buffer(buffer);
        }
    }

    fn leave_after(&mut self, flushed: Flushed, now: Instant) {
        if flushed == Flushed::Shutdown && matches!(self.ending, TransportEnd::Before) {
            self.leave(self.turn.leave(&self.ready), now);
        }
    }

    fn leave(&mut self, leave: Leave, now: Instant) {
        match leave {
            Leave::Close => self.be_done(),
            Leave::Linger => {
                let lingering = self.turn.linger(&mut self.socket, &self.ready, now);
                self.ending = TransportEnd::Lingering(lingering);
            }
        }
    }

    /// Drops what has arrived, if it lingers. Returns whether there is more to drop.
    fn linger(&mut self, scratch: &mut [u8], now: Instant) -> bool {
        let ClientConnection { socket, ready, ending: TransportEnd::Lingering(lingering), .. } = self else {
            return false;
        };
        match lingering.turn(socket, ready, scratch, now, || true) {
            LingerNext::Again => return true,
            LingerNext::Wait => {}
            LingerNext::Close => self.be_done(),
        }
        false
    }

    /// Whoever waits for the socket in another thread wakes.
    fn be_done(&mut self) {
        self.socket.shutdown(Shutdown::Both);
        self.ending = TransportEnd::Done;
    }
}
