//! The receiving half: waits for what the server sends, answers Pings, and ends the connection's
//! transport.

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

/// The room in a new receive buffer.
const NEW_RX: usize = 64 << 10;
/// One that has grown beyond this is given up when nothing has come for a while.
const KEEP_RX: usize = 256 << 10;
const KEEP_FOR: Duration = Duration::from_secs(2);

/// How often a client that sends looks at what has arrived: often enough for any server that waits
/// for a Pong, and seldom enough to cost nothing beside what is sent.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most octets of messages that are kept, where one message may be longer.
const KEPT: u64 = 64 << 20;
/// The most events that are kept in one go: whoever sends does not wait for a server that sends
/// Pings without end.
const KEPT_AT_ONCE: usize = 4096;

/// The half of a blocking client that receives. While it is in one of its calls it answers Pings
/// and the server's Close, sends keep-alive Pings, and ends the transport.
pub struct Receiver {
    shared: Arc<Shared>,
    poll: Poll,
    events: Events,
    rx: RecvBuffer,
    /// What came while the application was sending.
    kept: Kept,
    /// When what has arrived was last looked at; `None` before.
    looked: Option<Instant>,
    progress: EndProgress,
    /// When the last event was given; `None` once what large messages have needed has been given
    /// up.
    used: Option<Instant>,
}

/// How far the connection's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndProgress {
    Open,
    /// The connection has ended, the transport not yet.
    Ending,
    /// The application has been told.
    Told,
}

/// What [`Receiver::pull`] found.
enum Pulled {
    Event(Undelivered),
    Closed(Closure),
}

/// An event that the application has not seen.
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
    /// `rx` holds the frames that came with the server's answer.
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

    /// Waits for the next message, however long that takes. `None` once the connection has ended
    /// cleanly, or its failure was told: [`closure`](Receiver::closure) says how.
    ///
    /// # Errors
    /// [`ReceiveError::Failed`], once, where the connection has ended in any other way than by the closing handshake.
    /// [`ReceiveError::Chunked`] with [`Delivery::Chunks`](framewright::Delivery::Chunks), for which there is
    /// [`next_event`](Receiver::next_event).
    pub fn receive(&mut self) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receive_until(None)
    }

    /// Waits for the next message until `deadline` at the most. With one that has passed it takes
    /// what has arrived, and does not wait.
    ///
    /// # Errors
    /// As [`receive`](Receiver::receive); and [`ReceiveError::TimedOut`] if no message is complete by then. Nothing is lost:
    /// the next call goes on.
    pub fn receive_before(&mut self, deadline: Instant) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receive_until(Some(deadline))
    }

    /// Waits for the next message, `timeout` at the most. With zero it takes what has arrived, and
    /// does not wait.
    ///
    /// # Errors
    /// Those of [`receive_before`](Receiver::receive_before). A `timeout` that is too long for the clock waits however long it
    /// takes.
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receive_until(Instant::now().checked_add(timeout))
    }

    /// Waits for the next event: a message or a chunk of one, a Ping (which was answered), a Pong,
    /// the server's Close frame, and last the end of the connection. `None` after that.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.event_until(None).unwrap_or(None)
    }

    /// Waits for the next event of any kind until `deadline` at the most.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] if there is none by then.
    pub fn next_event_before(&mut self, deadline: Instant) -> Result<Option<Event<'_>>, ReceiveError> {
        self.event_until(Some(deadline))
    }

    /// Waits for the next event of any kind, `timeout` at the most.
    ///
    /// # Errors
    /// [`ReceiveError::TimedOut`] if there is none by then.
    pub fn next_event_timeout(&mut self, timeout: Duration) -> Result<Option<Event<'_>>, ReceiveError> {
        self.event_until(Instant::now().checked_add(timeout))
    }

    /// The messages to come, each in memory of its own.
    pub fn messages(&mut self) -> Messages<'_> {
        Messages { receiver: self }
    }

    /// Starts the closing handshake, as [`Sender::close`](super::Sender::close) does. It is
    /// complete when there are no more events.
    ///
    /// # Errors
    /// Those of [`Connection::close`](framewright::Connection::close).
    pub fn close(&mut self, code: impl Into<Option<CloseCode>>, reason: &str) -> Result<(), SendError> {
        let code = code.into();
        self.transmit(&mut |connection| connection.close(code, reason), None)
    }

    /// Sends for a client that is both halves in one, until `deadline`.
    pub(super) fn transmit(
        &mut self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let shared = Arc::clone(&self.shared);
        shared.transmit(command, deadline, &mut |come_back| self.wait_to_write(come_back))
    }

    /// Whether the last event was given.
    pub(super) fn has_told_the_end(&self) -> bool {
        self.progress == EndProgress::Told
    }

    /// Drops the connection: no Close frame, nothing of what is queued. The next call tells its
    /// end.
    pub fn abort(&mut self) {
        self.shared.abort();
    }

    /// Ends the connection from another thread, also while this one waits.
    pub fn stopper(&self) -> Stopper {
        Stopper::new(&self.shared)
    }

    /// How the connection ended; `None` before.
    pub fn closure(&self) -> Option<Closure> {
        self.shared.closure()
    }

    /// What went over the connection so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The subprotocol that the server has chosen, if it has.
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.subprotocol.as_deref()
    }

    /// What was agreed on for permessage-deflate, if anything.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
        self.shared.lock().connection.turn.connection.deflate()
    }

    /// The server's answer to the opening handshake.
    pub fn response(&self) -> &ServerResponse {
        &self.shared.response
    }

    /// Where the connection leads, after redirects.
    pub fn uri(&self) -> &WsUri {
        &self.shared.uri
    }

    /// Which of the server's addresses, or of the proxy's, it is connected to; `None` once that is
    /// gone.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.shared.lock().connection.stream().peer_addr()
    }

    /// The address of this end; `None` once that is gone.
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
            // What came before a message is passed over though the time is up; a flood of control
            // frames is not.
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

    /// The next event, waiting for it. Its end is told when the transport has ended too.
    fn pull(&mut self, deadline: Option<Instant>) -> Result<Option<Pulled>, ReceiveError> {
        if self.progress == EndProgress::Told {
            return Ok(None);
        }
        // What the last event named is gone.
        self.kept.forget();
        if let Some(event) = self.kept.pop() {
            return Ok(Some(Pulled::Event(Undelivered::Kept(event))));
        }
        self.rx.shrink();
        // Whether the poll has been asked, so that what it has not told has not come.
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
            // Before what is queued is sent: a keep-alive Ping may be due.
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

    /// Waits for readiness; meanwhile what large messages have needed is given up. Whether the poll
    /// has told what there is.
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

    /// Waits for readiness. Whether what the poll has not told has not come: not so after an
    /// interruption.
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

    /// Looks now and then, without waiting, at what has arrived, for a client that is both halves
    /// in one and has just sent: one that only sends would leave Pings unanswered, and not see the
    /// server's Close.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        let is_due = |looked: Instant| now.saturating_duration_since(looked) >= LOOK_EVERY;
        if self.looked.is_none_or(is_due) {
            self.looked = Some(now);
            self.poll(Some(now));
            self.keep(now);
        }
    }

    /// Waits until the socket may take more, for a client that is both halves in one: meanwhile
    /// what comes is read and kept, as much as a message may have. A server that waits for us to
    /// read, before it reads on, would wait for ever.
    pub(super) fn wait_to_write(&mut self, deadline: Option<Instant>) {
        let now = Instant::now();
        let more = self.keep(now);
        let mut deadline = if more { Some(now) } else { deadline };
        if self.progress != EndProgress::Open {
            // What is left to be sent has the deadline of closing.
            let mut watched = self.shared.lock();
            watched.connection.handle_timeout(now);
            if watched.connection.turn.connection.buffered() == 0 {
                return;
            }
            deadline = deadline.into_iter().chain(watched.connection.deadline()).min();
        }
        self.poll(deadline);
    }

    /// Decodes what has arrived, which answers Pings and a Close, and keeps what it is for the
    /// calls that receive. Beyond what a message may have it is read and not decoded, up to as much
    /// again; then nothing is read. Whether there is more to read.
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

/// The messages to come: ends with the connection, after an error if that has failed. From
/// [`Client::messages`](super::Client::messages).
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
    /// The caller's deadline passed first. The connection goes on.
    TimedOut,
    /// The connection has ended otherwise than by the closing handshake: the server broke a rule,
    /// went over a limit, let a deadline pass, or the transport was lost.
    Failed(Error),
    /// A chunk of a message has come: with [`Delivery::Chunks`](framewright::Delivery::Chunks) they
    /// come as events. It is lost.
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
            // Its message is part of this one's.
            ReceiveError::Failed(error) => error.source(),
            _ => None,
        }
    }
}
