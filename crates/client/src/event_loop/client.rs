//! A client in an event loop: its turns, from the first octet of the opening handshake to the end of the transport.

use super::buffers::Buffers;
use super::event::Event;
use super::socket::Socket;
use crate::error::ConnectError;
use crate::link::Link;
use crate::open::open;
use crate::opening::Opening;
use crate::options::Options;
use framewright::handshake::{ClientRequest, ServerResponse, WsUri};
use framewright::{CloseCode, Closure, Config, RecvBuffer, State};
use mio::{Registry, Token, Waker};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is left in the loop's buffer at the end of a turn, up to this length, is copied there and back; a longer rest gets a buffer
/// that is read into directly.
const SHORT_TAIL: usize = 4 << 10;

/// A client in an event loop. See the [module's documentation](super) for how it is driven.
pub struct Client {
    phase: Phase,
    config: Arc<Config>,
    /// Something is left to do that no event will announce.
    again: bool,
}

enum Phase {
    Opening(Box<Opening>),
    Open(Box<Open>),
    Done(Option<Closure>),
}

struct Open {
    link: Link,
    uri: WsUri,
    response: ServerResponse,
    /// What has come of an incomplete message, or waits to be decoded. `None` at rest.
    parked: Option<Box<RecvBuffer>>,
    /// `parked` may hold whole frames.
    undecoded: bool,
    /// The application knows that the connection is open.
    told: bool,
    /// In a turn; before one, that the last one has panicked.
    in_turn: bool,
}

/// What a turn has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a loop has to handle each")]
pub enum Turn {
    /// There is more to do: others may have their turn before.
    Again,
    /// There is nothing to do until an event of the client's token or its deadline.
    Wait,
    /// The client has ended: nothing will come any more.
    Done,
}

impl Client {
    /// Begins to connect; the first turn goes on. All that this client polls for has this token, and wakes the loop with this
    /// waker: host names are resolved on a thread of their own. The waker has to be one of the same poll.
    ///
    /// # Errors
    /// [`ConnectError`] for what can be seen at once; what shows later comes from [`turn`](Client::turn).
    pub fn connect(
        request: ClientRequest,
        options: &Options,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
    ) -> Result<Client, ConnectError> {
        let config = Arc::new(options.connection.clone());
        let opening =
            Opening::start(request, Arc::new(options.clone()), Instant::now(), registry, token, waker)?;
        Ok(Client { phase: Phase::Opening(Box::new(opening)), config, again: true })
    }

    /// Takes note of an event of this client's token.
    pub fn note(&mut self, event: &mio::event::Event) {
        match &mut self.phase {
            Phase::Open(open) => open.link.note(event),
            Phase::Opening(_) => self.again = true,
            Phase::Done(_) => {}
        }
    }

    /// Does all there is to do without waiting: connects, reads once, hands every event to `handler`, and writes once.
    ///
    /// # Errors
    /// [`ConnectError`], once, if the opening handshake has failed. The client is done then.
    pub fn turn(
        &mut self,
        now: Instant,
        registry: &Registry,
        buffers: &mut Buffers,
        mut handler: impl FnMut(&mut Socket<'_>, Event<'_>),
    ) -> Result<Turn, ConnectError> {
        if let Phase::Opening(opening) = &mut self.phase {
            match opening.turn(now, registry) {
                Ok(None) => {
                    self.again = false;
                    return Ok(Turn::Wait);
                }
                Ok(Some(opened)) => {
                    let (link, early, uri, response) = open(opened, Arc::clone(&self.config), now);
                    self.phase = Phase::Open(Box::new(Open::new(link, &early, uri, response)));
                }
                Err(error) => {
                    self.phase = Phase::Done(None);
                    self.again = false;
                    return Err(error);
                }
            }
        }
        let Phase::Open(open) = &mut self.phase else { return Ok(Turn::Done) };
        // Should the handler panic, the next turn is due at once.
        self.again = true;
        if std::mem::replace(&mut open.in_turn, true) {
            open.after_panic(now);
        }
        buffers.lend(&mut open.link.connection);
        open.turn(now, buffers, &mut handler);
        buffers.reclaim(&mut open.link.connection);
        open.in_turn = false;
        self.again = open.has_work();
        if open.link.is_done() && open.link.is_over() {
            self.phase = Phase::Done(open.link.closure());
            self.again = false;
            return Ok(Turn::Done);
        }
        Ok(if self.again { Turn::Again } else { Turn::Wait })
    }

    /// The connection, to send between two turns; the next one writes it, and once something was sent [`timeout`](Client::timeout) is zero
    /// until then. Drop it before the next turn. `None` unless the connection is open.
    pub fn socket<'a>(&'a mut self, now: Instant, buffers: &'a mut Buffers) -> Option<Socket<'a>> {
        match &mut self.phase {
            Phase::Open(open)
                if open.told && !open.in_turn && open.link.connection.state() != State::Closed =>
            {
                Some(Socket::between_turns(&mut open.link.connection, now, &mut self.again, buffers))
            }
            _ => None,
        }
    }

    /// How long to wait for events at the most before the next turn: zero if there is work left, `None` if there is no deadline.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.again {
            return Some(Duration::ZERO);
        }
        let deadline = match &self.phase {
            Phase::Opening(opening) => opening.deadline(),
            Phase::Open(open) => open.link.deadline(),
            Phase::Done(_) => None,
        };
        deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Whether the client has ended: its token is free.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done(_))
    }

    /// How the connection ended; `None` before, and if there never was one.
    pub fn closure(&self) -> Option<Closure> {
        match &self.phase {
            Phase::Opening(_) => None,
            Phase::Open(open) => open.link.closure(),
            Phase::Done(closure) => closure.clone(),
        }
    }

    /// The server's answer to the opening handshake; `None` unless the connection is open.
    pub fn response(&self) -> Option<&ServerResponse> {
        self.open().map(|open| &open.response)
    }

    /// Where the connection leads, after redirects; `None` unless it is open.
    pub fn uri(&self) -> Option<&WsUri> {
        self.open().map(|open| &open.uri)
    }

    /// Which of the server's addresses, or of the proxy's, it is connected to; `None` unless it is open.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.open()?.link.stream().peer_addr().ok()
    }

    /// The address of this end; `None` unless it is open.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.open()?.link.stream().local_addr().ok()
    }

    fn open(&self) -> Option<&Open> {
        match &self.phase {
            Phase::Open(open) => Some(open),
            _ => None,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            Phase::Opening(_) => "opening",
            Phase::Open(_) => "open",
            Phase::Done(_) => "done",
        };
        f.debug_struct("Client").field("phase", &phase).finish_non_exhaustive()
    }
}

impl Open {
    /// `early` came behind the head of the server's answer.
    fn new(link: Link, early: &[u8], uri: WsUri, response: ServerResponse) -> Open {
        let parked = (!early.is_empty()).then(|| {
            let mut parked = RecvBuffer::with_capacity(early.len());
            parked.extend_from_slice(early);
            Box::new(parked)
        });
        let undecoded = parked.is_some();
        Open { link, uri, response, parked, undecoded, told: false, in_turn: false }
    }

    fn turn(
        &mut self,
        now: Instant,
        buffers: &mut Buffers,
        handler: &mut dyn FnMut(&mut Socket<'_>, Event<'_>),
    ) {
        if !std::mem::replace(&mut self.told, true) {
            handler(&mut Socket::new(&mut self.link.connection, now), Event::Open(&self.response));
        }
        if self.link.is_overdue(now) {
            self.link.handle_timeout(now);
        }
        if self.link.connection.state() != State::Closed {
            self.receive(now, &mut buffers.rx, handler);
        }
        // What the server has sent is looked at before its silence is.
        if !(self.link.is_readable() && self.link.connection.wants_read()) {
            self.link.handle_timeout(now);
        }
        self.settle(now, handler);
        if self.undecoded
            && !self.link.connection.wants_read()
            && let Some(parked) = &mut self.parked
            && self.link.connection.give_way(now, parked)
        {
            self.settle(now, handler);
        }
        if self.link.is_over() {
            self.parked = None;
            self.link.finish(&mut buffers.rx, now);
            buffers.rx.clear();
        }
    }

    /// Reads once and hands over everything decoded.
    fn receive(
        &mut self,
        now: Instant,
        shared: &mut RecvBuffer,
        handler: &mut dyn FnMut(&mut Socket<'_>, Event<'_>),
    ) {
        let mut own = self.parked.take();
        if let Some(short) = own.take_if(|own| own.len() <= SHORT_TAIL).as_deref_mut() {
            shared.absorb(short);
        }
        let rx = own.as_deref_mut().unwrap_or(shared);
        let link = &mut self.link;
        if link.connection.wants_read() {
            if !self.undecoded && link.is_readable() {
                let read = link.read(rx);
                link.note_look(read);
            }
            // The end is told when what waits has been written.
            while link.connection.wants_read() {
                let Some(event) = link.connection.next_event(now, rx) else { break };
                link.note_queued();
                // There is no room where nothing leaves any more.
                if matches!(event, framewright::Event::Writable) && link.is_broken() {
                    continue;
                }
                if let Some(event) = Event::of(event) {
                    handler(&mut Socket::new(&mut link.connection, now), event);
                }
            }
        } else {
            // Nothing is decoded while too much waits to be sent, so that every message finds room for an answer.
            link.read_ahead(rx);
        }
        let (wants_read, is_paused) = (link.connection.wants_read(), link.connection.is_paused());
        self.undecoded = rx.has_undecoded() && (!wants_read || is_paused);
        if link.has_eof() && !self.undecoded {
            link.handle_eof(now);
        }
        rx.shrink();
        if own.as_ref().is_none_or(|own| own.is_empty()) {
            own = None;
        }
        self.parked = own.or_else(|| (!shared.is_empty()).then(|| Box::new(shared.park())));
    }

    /// Writes what waits, and tells what needs no octets. That there is room again is told before, so that it is used at once; the
    /// end after, with what has become of our Close frame.
    fn settle(&mut self, now: Instant, handler: &mut dyn FnMut(&mut Socket<'_>, Event<'_>)) {
        if self.link.connection.state() != State::Closed {
            self.tell(now, handler);
        }
        self.link.flush(now);
        if self.link.connection.state() == State::Closed && !self.holds_end() {
            self.tell(now, handler);
            self.link.flush(now);
        }
    }

    /// Whether the end is not told yet: the closing handshake is complete when our Close frame has left.
    fn holds_end(&self) -> bool {
        self.link.connection.buffered() > 0
            && self.link.connection.closure().is_some_and(|closure| closure.clean)
    }

    /// Hands over the event that needs no octets, if there is one.
    fn tell(&mut self, now: Instant, handler: &mut dyn FnMut(&mut Socket<'_>, Event<'_>)) {
        let mut nothing = RecvBuffer::new();
        if !self.link.connection.has_event() {
            return;
        }
        let Some(event) = self.link.connection.next_event(now, &mut nothing) else { return };
        let event = match (event, self.link.closure()) {
            (framewright::Event::Closed(_), Some(closure)) => Some(Event::Closed(closure)),
            (framewright::Event::Writable, _) if self.link.is_broken() => None,
            (event, _) => Event::of(event),
        };
        if let Some(event) = event {
            handler(&mut Socket::new(&mut self.link.connection, now), event);
        }
    }

    /// The handler has panicked in the last turn, and the application goes on: what had been received then is lost, so that nobody
    /// knows where the next frame begins.
    #[cold]
    fn after_panic(&mut self, now: Instant) {
        Buffers::discard(&mut self.link.connection);
        self.parked = None;
        self.undecoded = false;
        self.link.connection.fail(now, CloseCode::INTERNAL_ERROR, "internal error");
    }

    /// Whether there is something to do that no event will announce.
    fn has_work(&self) -> bool {
        let connection = &self.link.connection;
        if self.link.is_over() {
            return !self.link.is_done() && self.link.is_readable();
        }
        let receive = connection.wants_read()
            && (self.link.is_readable() || self.undecoded || self.link.has_eof() || connection.is_paused());
        let undecoded = self.parked.as_ref().map_or(0, |parked| parked.unread());
        let read_ahead = connection.state() != State::Closed
            && !connection.wants_read()
            && self.link.may_read_ahead(undecoded);
        receive || read_ahead || (connection.has_event() && !self.holds_end())
    }
}
