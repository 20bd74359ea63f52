//! The receiving half: waits for the server's messages, answers Pings, and ends the transport of
//! the connection.

use super::kept::{Kept, KeptEvent};
use super::shared::Shared;
use super::stopper::Stopper;
use super::{SOCKET, until};
use framewright::handshake::{ServerResponse, WsUri};
use framewright::{
    CloseCode, Closure, Connection, Decoded, Error, Event, Message, OwnedMessage, RecvBuffer, SendError,
    Stats,
};
use mio::{Events, Poll};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The capacity of a new receive buffer.
const NEW_RX: usize = 64 << 10;
/// A receive buffer that has grown beyond this is freed when no event has arrived for [`KEEP_FOR`].
const KEEP_RX: usize = 256 << 10;
const KEEP_FOR: Duration = Duration::from_secs(2);

/// How often a client that sends looks at the bytes received: often enough for any server that
/// waits for a Pong, and seldom enough to cost nothing beside the sending.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most bytes of messages that are kept. One message may be longer.
const KEPT: u64 = 64 << 20;
/// The most events that are kept in one call, so that a sender does not wait for a server that
/// sends Pings without end.
const KEPT_AT_ONCE: usize = 4096;

/// The half of a blocking client that receives. During its calls it answers Pings and the server's
/// Close, sends keep-alive Pings, and ends the transport.
pub struct Receiver {
    shared: Arc<Shared>,
    poll: Poll,
    events: Events,
    rx: RecvBuffer,
    /// Events that arrived while the application was sending.
    kept: Kept,
    /// When the bytes received were last looked at; `None` before the first time.
    looked: Option<Instant>,
    progress: EndProgress,
    /// When the last event was delivered; `None` once the memory used by large messages has been
    /// freed.
    used: Option<Instant>,
}

/// How far the end of the connection has progressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndProgress {
    Open,
    /// The connection has ended, but the transport has not.
    Ending,
    /// The end was reported to the application.
    Told,
}

/// The result of [`Receiver::pull`].
enum Pulled {
    Event(Undelivered),
    Closed(Closure),
}

/// An event that is not yet delivered to the application.
enum Undelivered {
    Decoded(Decoded),
    Kept(KeptEvent),
}

impl Undelivered {
    fn is_message(&self) -> bool {
        match self {
            Undelivered::Decoded(event) => event.is_message(),
            Undelivered::Kept(event) => event.is_message(),
        }
    }

    fn is_chunk(&self) -> bool {
        match self {
            Undelivered::Decoded(event) => event.is_chunk(),
            Undelivered::Kept(event) => event.is_chunk(),
        }
    }
}

/// A new receive buffer.
pub(super) fn receive_buffer() -> RecvBuffer {
    RecvBuffer::with_capacity(NEW_RX)
}

impl Receiver {
    /// `rx` holds the frames that arrived with the server's response.
    pub(super) fn new(shared: Arc<Shared>, poll: Poll, events: Events, rx: RecvBuffer) -> Receiver {
        Receiver {
            shared,
            poll,
            events,
            rx,
            kept: Kept::default(),
            looked: None,
            progress: EndProgress::Open,
            used: Some(Instant::now()),
        }
    }

    /// Waits for the next message, without a deadline. `None` once the connection has ended
    /// cleanly, or after its failure was reported: [`closure`](Receiver::closure) says how it
    /// ended.
    ///
    /// # Errors
    /// [`ReceiveError::Failed`], once, if the connection has ended in any other way than by the
    /// closing handshake. [`ReceiveError::Chunked`] with
    /// [`Delivery::Chunks`](crate::Delivery::Chunks): use
    /// [`next_event`](Receiver::next_event) there.
    pub fn receive(&mut self) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receive_until(None)
    }

    /// Waits for the next message, until `deadline` at the latest. With a `deadline` in the past it
    /// considers the bytes that have arrived, and does not wait.
    ///
    /// # Errors
    /// Those of [`receive`](Receiver::receive); and [`ReceiveError::TimedOut`] if no message is
    /// complete by `deadline`. Nothing is lost: the next call continues.
    pub fn receive_before(&mut self, deadline: Instant) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receive_until(Some(deadline))
    }

    /// Waits for the next message, for `timeout` at most. With zero it considers the bytes that
    /// have arrived, and does not wait.
    ///
    /// # Errors
    /// Those of [`receive_before`](Receiver::receive_before). With a `timeout` too long for the
    /// clock it waits without a deadline.
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receive_until(Instant::now().checked_add(timeout))
    }

    /// Waits for the next event of any kind. `None` after the last one.
    ///
    /// Events are a message or a chunk of one, a Ping (already answered), a Pong, the server's
    /// Close frame, and last the end of the connection.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.event_until(None).unwrap_or(None)
    }

    /// Waits for the next event of any kind, until `deadline` at the latest.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] if there is none by `deadline`.
    pub fn next_event_before(&mut self, deadline: Instant) -> Result<Option<Event<'_>>, ReceiveError> {
        self.event_until(Some(deadline))
    }

    /// Waits for the next event of any kind, for `timeout` at most.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] if there is none by then.
    pub fn next_event_timeout(&mut self, timeout: Duration) -> Result<Option<Event<'_>>, ReceiveError> {
        self.event_until(Instant::now().checked_add(timeout))
    }

    /// Returns an iterator over the messages to come, each of them owned.
    pub fn messages(&mut self) -> Messages<'_> {
        Messages { receiver: self }
    }

    /// Starts the closing handshake, as [`Sender::close`](super::Sender::close) does. The handshake
    /// is complete when there are no more events.
    ///
    /// # Errors
    /// Those of [`Sender::close`](super::Sender::close).
    pub fn close(&mut self, code: impl Into<Option<CloseCode>>, reason: &str) -> Result<(), SendError> {
        let code = code.into();
        self.transmit(&mut |connection| connection.close(code, reason), None)
    }

    /// Sends for a client that has both halves, until `deadline`.
    pub(super) fn transmit(
        &mut self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let shared = Arc::clone(&self.shared);
        shared.transmit(command, deadline, &mut |come_back| self.wait_to_write(come_back))
    }

    /// True once the last event was delivered.
    pub(super) fn has_told_the_end(&self) -> bool {
        self.progress == EndProgress::Told
    }

    /// Drops the connection: no Close frame is sent, and the bytes queued are discarded. The next
    /// call reports the end.
    pub fn abort(&mut self) {
        self.shared.abort();
    }

    /// Returns a handle that ends the connection from another thread, even while this one waits.
    pub fn stopper(&self) -> Stopper {
        Stopper::new(&self.shared)
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.shared.closure()
    }

    /// Statistics of the connection so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The subprotocol that the server selected, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.subprotocol.as_deref()
    }

    /// The negotiated parameters of permessage-deflate, if it was negotiated.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
        self.shared.lock().connection.turn.connection.deflate()
    }

    /// The server's response to the opening handshake.
    pub fn response(&self) -> &ServerResponse {
        &self.shared.response
    }

    /// The URI that the connection leads to, after redirects.
    pub fn uri(&self) -> &WsUri {
        &self.shared.uri
    }

    /// What TLS with the server has agreed on: version, cipher suite, certificates. `None` for a
    /// connection without TLS, and if the application's stream does it.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<crate::TlsInfo> {
        self.shared.lock().connection.stream().tls()
    }

    /// Why TLS has ended the connection, in which case [`Closure::cause`] is
    /// [`Error::TransportLost`](framewright::Error::TransportLost): the end of the stream without
    /// `close_notify` ([`TlsError::Truncated`](crate::TlsError::Truncated)), a record that was altered,
    /// an alert. `None` before the end, and for an end that has another reason.
    #[cfg(feature = "tls")]
    pub fn tls_error(&self) -> Option<crate::TlsError> {
        self.shared.lock().connection.tls_error()
    }

    /// The address of the server, or of the proxy, that the client is connected to. `None` once the
    /// connection is gone, and over a stream without such an address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.shared.lock().connection.stream().peer_addr()
    }

    /// The address of this end; `None` once the connection is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.lock().connection.stream().local_addr()
    }

    fn receive_until(&mut self, deadline: Option<Instant>) -> Result<Option<Message<'_>>, ReceiveError> {
        let mut passed_over = 0_u8;
        loop {
            match self.pull(deadline)? {
                None => return Ok(None),
                Some(Pulled::Closed(Closure { cause: Some(error), .. })) => {
                    return Err(ReceiveError::Failed(error));
                }
                Some(Pulled::Closed(_)) => return Ok(None),
                Some(Pulled::Event(event)) if event.is_message() => {
                    let Event::Message(message) = self.resolve(event) else { unreachable!("asked before") };
                    return Ok(Some(message));
                }
                Some(Pulled::Event(event)) if event.is_chunk() => return Err(ReceiveError::Chunked),
                Some(Pulled::Event(_)) => passed_over = passed_over.wrapping_add(1),
            }
            // Events in front of a message are skipped even after the deadline. A flood of control
            // frames ends the call: the deadline is checked once in 256 of them.
            if passed_over == 0 && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(ReceiveError::TimedOut);
            }
        }
    }

    pub(super) fn event_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<Event<'_>>, ReceiveError> {
        Ok(match self.pull(deadline)? {
            None => None,
            Some(Pulled::Closed(closure)) => Some(Event::Closed(closure)),
            Some(Pulled::Event(event)) => Some(self.resolve(event)),
        })
    }

    fn resolve(&mut self, event: Undelivered) -> Event<'_> {
        match event {
            Undelivered::Decoded(event) => event.resolve(&self.rx),
            Undelivered::Kept(event) => self.kept.lend(event),
        }
    }

    /// Waits for the next event. The end of the connection is reported when the transport has ended
    /// too.
    fn pull(&mut self, deadline: Option<Instant>) -> Result<Option<Pulled>, ReceiveError> {
        if self.progress == EndProgress::Told {
            return Ok(None);
        }
        // The event delivered last no longer borrows this.
        self.kept.forget();
        if let Some(event) = self.kept.pop() {
            return Ok(Some(Pulled::Event(Undelivered::Kept(event))));
        }
        self.rx.shrink();
        // True once the poll was asked: then anything it did not report has not arrived.
        let mut asked = false;
        loop {
            let mut watched = self.shared.lock();
            let now = Instant::now();
            watched.look(now);
            self.looked = Some(now);
            let client = &mut watched.connection;
            if client.is_overdue(now) {
                client.handle_timeout(now);
            }
            if self.progress == EndProgress::Open
                && let Some(decoded) = client.next_event(&mut self.rx, NEW_RX, now)
            {
                watched.flush(now);
                self.used = Some(now);
                if !watched.connection.turn.is_over() {
                    watched.note_event();
                    return Ok(Some(Pulled::Event(Undelivered::Decoded(decoded))));
                }
                self.progress = EndProgress::Ending;
            }
            let client = &mut watched.connection;
            let timeout = client.deadline().into_iter().chain(deadline).min();
            let is_due = timeout.is_some_and(|timeout| timeout <= now);
            if is_due && !asked && !client.is_done() {
                drop(watched);
                asked = self.poll(Some(now));
                continue;
            }
            // Before the queued bytes are sent: a keep-alive Ping may be due.
            if self.progress == EndProgress::Ending || !client.is_readable() {
                client.handle_timeout(now);
            }
            if self.progress == EndProgress::Ending {
                client.finish(&mut self.rx, now);
                watched.release_sender();
            } else {
                watched.flush(now);
            }
            let client = &mut watched.connection;
            if client.is_done()
                && let Some(closure) = client.closure()
            {
                self.progress = EndProgress::Told;
                self.rx = RecvBuffer::new();
                return Ok(Some(Pulled::Closed(closure)));
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(ReceiveError::TimedOut);
            }
            if client.turn.connection.has_event() || client.is_readable() {
                continue;
            }
            let timeout = client.deadline().into_iter().chain(deadline).min();
            watched.wait();
            drop(watched);
            asked = self.wait(timeout);
        }
    }

    /// Waits for readiness, and frees meanwhile the memory that large messages used. Returns
    /// whether the poll completed.
    fn wait(&mut self, deadline: Option<Instant>) -> bool {
        let used = self.used.filter(|_| self.rx.is_empty());
        let is_large =
            used.is_some() && (self.rx.capacity() > KEEP_RX || self.shared.lock().connection.is_large());
        let trim_at = used.filter(|_| is_large).map(|used| used + KEEP_FOR);
        let asked = self.poll(deadline.into_iter().chain(trim_at).min());
        if self.events.is_empty() && trim_at.is_some_and(|at| at <= Instant::now()) {
            self.used = None;
            self.rx = receive_buffer();
            let mut watched = self.shared.lock();
            watched.connection.trim(0);
            watched.connection.turn.connection.driver().free_codec();
        }
        asked
    }

    /// Waits for readiness. Returns true if the poll completed, so that silence means nothing
    /// arrived; false after an interruption.
    fn poll(&mut self, deadline: Option<Instant>) -> bool {
        let polled = self.poll.poll(&mut self.events, until(deadline));
        let mut watched = self.shared.lock();
        match polled {
            Ok(()) => {
                let of_socket = self.events.iter().filter(|event| event.token() == SOCKET);
                of_socket.for_each(|event| watched.connection.note(event));
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => watched.connection.turn.connection.handle_transport_error(Instant::now()),
        }
        false
    }

    /// Looks now and then, without waiting, at the bytes received, for a client that has both
    /// halves and has just sent. Otherwise a client that only sends would leave Pings unanswered,
    /// and would not see the server's Close.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        let is_due = |looked: Instant| now.saturating_duration_since(looked) >= LOOK_EVERY;
        if self.looked.is_none_or(is_due) {
            self.looked = Some(now);
            self.poll(Some(now));
            self.keep(now);
        }
    }

    /// Waits until the socket may take more bytes, for a client that has both halves. Meanwhile it
    /// reads and keeps the messages that arrive, up to the limit of one message. A server that
    /// waits for us to read, before it reads on, would otherwise wait for ever.
    pub(super) fn wait_to_write(&mut self, deadline: Option<Instant>) {
        let now = Instant::now();
        let more = self.keep(now);
        let mut deadline = if more { Some(now) } else { deadline };
        if self.progress != EndProgress::Open {
            // The bytes left to send have the deadline of closing.
            let mut watched = self.shared.lock();
            watched.connection.handle_timeout(now);
            if watched.connection.turn.connection.buffered() == 0 {
                return;
            }
            deadline = deadline.into_iter().chain(watched.connection.deadline()).min();
        }
        self.poll(deadline);
    }

    /// Decodes the bytes received, which answers Pings and a Close, and keeps the events for the
    /// calls that receive. Beyond the limit of one message, bytes are read but not decoded, up to
    /// that limit again; then nothing is read. Returns whether there is more to read.
    fn keep(&mut self, now: Instant) -> bool {
        if self.progress != EndProgress::Open {
            return false;
        }
        let mut watched = self.shared.lock();
        let most = watched.connection.turn.connection.config().max_message.min(KEPT);
        for _ in 0..KEPT_AT_ONCE {
            if self.kept.held() > most {
                watched.connection.flush(now);
                return watched.connection.read_on(&mut self.rx, NEW_RX);
            }
            self.rx.shrink();
            let client = &mut watched.connection;
            let Some(decoded) = client.next_event(&mut self.rx, NEW_RX, now) else {
                client.flush(now);
                return client.is_readable();
            };
            self.used = Some(now);
            if client.turn.is_over() {
                self.progress = EndProgress::Ending;
                client.flush(now);
                return false;
            }
            watched.note_kept(now);
            self.kept.push(&decoded.resolve(&self.rx));
        }
        watched.connection.flush(now);
        true
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("uri", &self.shared.uri.as_str()).finish_non_exhaustive()
    }
}

/// An iterator over the messages to come. It ends with the connection, after an error if the
/// connection has failed. From [`Client::messages`](super::Client::messages).
#[derive(Debug)]
pub struct Messages<'a> {
    receiver: &'a mut Receiver,
}

impl Iterator for Messages<'_> {
    type Item = Result<OwnedMessage, ReceiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.receive().map(|message| message.map(OwnedMessage::from)).transpose()
    }
}

/// Why no message was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The caller's deadline passed first. The connection continues.
    TimedOut,
    /// The connection has ended in another way than by the closing handshake: the server broke a
    /// rule, exceeded a limit, let a deadline pass, or the transport was lost.
    Failed(Error),
    /// A chunk of a message arrived, and is lost: with
    /// [`Delivery::Chunks`](crate::Delivery::Chunks), chunks are delivered as events.
    Chunked,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiveError::TimedOut => f.write_str("no message came before the deadline"),
            ReceiveError::Failed(error) => error.fmt(f),
            ReceiveError::Chunked => f.write_str("messages come in chunks: receive events"),
        }
    }
}

impl std::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The message of that error is part of this one's.
            ReceiveError::Failed(error) => error.source(),
            _ => None,
        }
    }
}
