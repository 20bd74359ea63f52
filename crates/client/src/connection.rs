//! An open connection on its socket, for both APIs of the client: each waits in its own way, and
//! then calls this module. The driver ([`Turn`]) does the work of a turn.

use crate::opening::Opened;
use crate::stream::ClientStream;
#[cfg(feature = "tls")]
use framewright::Error;
use framewright::handshake::{ServerResponse, WsUri};
use framewright::{Closure, Config, Connection, Decoded, RecvBuffer, State};
use framewright_driver::opening::Csprng;
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

/// How far the end of the transport has progressed.
#[derive(Debug)]
enum TransportEnd {
    /// The connection is open, has bytes to send, or waits for the server to end the transport.
    Before,
    Lingering(Lingering),
    /// Both directions have ended.
    Done,
}

/// The result of an opening handshake.
pub(crate) struct OpenClient {
    pub(crate) connection: ClientConnection,
    /// The URI that the connection leads to, after redirects.
    pub(crate) uri: WsUri,
    /// The server's response.
    pub(crate) response: ServerResponse,
}

impl ClientConnection {
    /// Creates the connection after its opening handshake. The frames that arrived with the
    /// server's response go to `rx`, or are kept for the first turn.
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
        // The edges reported during the handshake are lost, including that of the end of the
        // stream.
        let ready = Ready { read: true, more_behind: true, ..Ready::default() };
        let connection = ClientConnection { turn, socket: stream, ready, ending: TransportEnd::Before };
        OpenClient { connection, uri, response }
    }

    pub(crate) fn stream(&self) -> &ClientStream {
        &self.socket
    }

    /// Notes an event of the socket.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        let read_closed = event.is_read_closed() || event.is_error();
        self.ready.read |= event.is_readable() || read_closed;
        self.ready.more_behind |= read_closed || event.is_priority();
        self.ready.write |= event.is_writable();
    }

    /// Does a turn in an event loop. Returns whether there is more to do that no event announces.
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
        // One poll reports a bounded number of sockets: the bytes that lie in this socket count
        // before its deadline.
        self.ready.read |= self.ready.due;
        let ClientConnection { turn, socket, ready, .. } = self;
        match turn.run(socket, ready, lent, now, application) {
            Next::Wait => false,
            Next::Again => true,
            Next::Leave(leave) => {
                self.leave(leave, now);
                // Bytes that have arrived already may not be announced again.
                self.linger(lent.scratch(), now)
            }
        }
    }

    /// The next event of the bytes received; reads into `rx` as far as that needs.
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

    /// True if a read may return bytes, or the end of the stream.
    pub(crate) fn is_readable(&self) -> bool {
        self.ready.read && !self.turn.has_eof()
    }

    /// Writes what is queued, until the kernel takes no more.
    pub(crate) fn flush(&mut self, now: Instant) {
        let flushed = self.turn.flush(&mut self.socket, &mut self.ready, now);
        self.leave_after(flushed, now);
    }

    /// After the end of the connection: reads and drops the bytes that still arrive, until the
    /// server has ended the transport or its time is over. Each call does a bounded part of that
    /// work.
    pub(crate) fn finish(&mut self, scratch: &mut RecvBuffer, now: Instant) {
        if matches!(self.ending, TransportEnd::Before) {
            let flushed = self.turn.await_end(&mut self.socket, &mut self.ready, scratch, now);
            self.leave_after(flushed, now);
        }
        scratch.clear();
        self.linger(scratch.spare(SHORT_TAIL), now);
    }

    /// Checks the deadlines. Returns true if one that has passed must be acted on now, even if more
    /// bytes arrive.
    pub(crate) fn is_overdue(&mut self, now: Instant) -> bool {
        self.turn.note_time(&mut self.ready, now)
    }

    /// Acts on deadlines that have passed. The caller has read the bytes that had arrived.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.turn.handle_timeout(&mut self.socket, &mut self.ready, now);
    }

    /// Acts on the deadlines of sending only.
    pub(crate) fn handle_send_timeout(&mut self, now: Instant) {
        self.turn.handle_send_timeout(&mut self.socket, &mut self.ready, now);
    }

    /// Gives up sending, because the sender no longer waits.
    pub(crate) fn give_up_sending(&mut self, now: Instant) {
        self.turn.give_up(&mut self.socket, &mut self.ready, now);
    }

    /// Drops the connection and its transport, without waiting for the server.
    pub(crate) fn drop_now(&mut self, now: Instant) {
        self.turn.abort(now);
        self.be_done();
    }

    /// Drops the connection and its transport after the stream has panicked: not even the end of
    /// TLS is written, since a stream that panics again while its thread unwinds ends the process.
    pub(crate) fn cut_now(&mut self, now: Instant) {
        self.turn.abort(now);
        self.socket.cut();
        self.ending = TransportEnd::Done;
    }

    /// The latest time to check the deadlines.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.ending {
            TransportEnd::Before => self.turn.deadline(),
            TransportEnd::Lingering(lingering) => Some(lingering.deadline()),
            TransportEnd::Done => None,
        }
    }

    /// True once the transport has ended and the end was reported to the application: nothing is
    /// left to do.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.ending, TransportEnd::Done) && self.turn.is_over()
    }

    /// How the connection ended; `None` while it has not.
    pub(crate) fn closure(&self) -> Option<Closure> {
        self.turn.closure()
    }

    /// Why TLS has ended the connection; `None` if it has not.
    #[cfg(feature = "tls")]
    pub(crate) fn tls_error(&self) -> Option<crate::TlsError> {
        // Behind the closing handshake nothing is missing, and behind another error it is the other
        // error that has ended the connection.
        let is_lost = self.closure()?.cause == Some(Error::TransportLost);
        if is_lost { self.socket.tls_error() } else { None }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.turn.connection.state() == State::Closed
    }

    /// True if an idle connection holds more memory than it may keep permanently.
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

    /// Frees a transmit buffer that large messages have enlarged. It stays if bytes are queued in
    /// it, or if the message just sent, of `used` bytes, needed it.
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
            let leave = self.turn.leave(&mut self.socket, &self.ready);
            self.leave(leave, now);
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

    /// If the connection lingers, drops the bytes that have arrived. Returns whether there is more
    /// to drop.
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

    /// Ends the transport, which wakes a thread that waits for the socket.
    fn be_done(&mut self) {
        self.socket.shutdown(Shutdown::Both);
        self.ending = TransportEnd::Done;
    }
}
