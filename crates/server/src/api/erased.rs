//! A handler without its type, so that one table holds routes with different handlers.
//!
//! The code that calls a handler for each message is here, where its type is known: no call between
//! decoding and the handler goes through a pointer.

use crate::api::decision::ErasedDecision;
use crate::api::handle::Left;
use crate::api::handler::{Closed, Handler, Incoming};
use crate::api::socket::{OwnParts, Socket};
use crate::event_loop::stream::Stream;
use framewright::{Connection, Event, Message, State};
use framewright_driver::{Application, Current, Lent, Next, Ready, Turn};
use std::any::Any;
use std::time::Instant;

/// A [`Handler`] without its type.
pub(crate) trait ErasedHandler: Send + Sync {
    fn on_request(&self, request: &Incoming<'_>) -> ErasedDecision;

    /// Runs the turn of an open connection. `first`: the handler is first notified that the
    /// connection is open.
    fn turn(
        &self,
        open: OpenParts<'_>,
        state: &mut dyn Any,
        lent: &mut Lent,
        read_size: usize,
        first: bool,
    ) -> Next;

    /// Delivers the remaining events to the handler, and writes what can be written.
    fn finish(&self, open: OpenParts<'_>, state: &mut dyn Any);
}

/// The parts of an open connection that a turn works with.
pub(crate) struct OpenParts<'a> {
    pub(crate) turn: &'a mut Turn,
    pub(crate) stream: &'a mut Stream,
    pub(crate) ready: &'a mut Ready,
    pub(crate) own: OwnParts<'a>,
    pub(crate) errands: &'a mut Errands,
    pub(crate) now: Instant,
}

/// The work of a turn besides that for its socket, its deadlines and its peer. One byte, since each
/// connection holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errands(u8);

impl Errands {
    /// A handle has queued something.
    pub(crate) const QUEUED: u8 = 1;
    /// A timer is due.
    pub(crate) const TIMERS: u8 = 2;
    /// The loop has messages for all connections.
    pub(crate) const PARCELS: u8 = 4;
    /// Publications wait until the peer has taken what is queued.
    pub(crate) const WAITING: u8 = 8;
    /// Messages of a topic may be lost for the connection.
    pub(crate) const GAPS: u8 = 16;

    #[inline]
    fn any(self) -> bool {
        self.0 != 0
    }

    #[inline]
    pub(crate) fn has(self, errand: u8) -> bool {
        self.0 & errand != 0
    }

    pub(crate) fn note(&mut self, errand: u8) {
        self.0 |= errand;
    }

    pub(crate) fn clear(&mut self, errand: u8) {
        self.0 &= !errand;
    }

    fn take(&mut self, errand: u8) -> bool {
        let has = self.has(errand);
        self.clear(errand);
        has
    }
}

impl<H: Handler> ErasedHandler for H {
    fn on_request(&self, request: &Incoming<'_>) -> ErasedDecision {
        self.on_request(request).erase()
    }

    fn turn(
        &self,
        open: OpenParts<'_>,
        state: &mut dyn Any,
        lent: &mut Lent,
        read_size: usize,
        first: bool,
    ) -> Next {
        let OpenParts { turn, stream, ready, own, errands, now } = open;
        let mut callbacks = Callbacks { read_size, first, ..Callbacks::new(self, state, own, errands) };
        turn.run(stream, ready, lent, now, &mut callbacks)
    }

    fn finish(&self, open: OpenParts<'_>, state: &mut dyn Any) {
        let OpenParts { turn, stream, ready, own, errands, now } = open;
        turn.finish(stream, ready, now, &mut Callbacks::new(self, state, own, errands));
    }
}

/// The most that a turn sends of the items queued by handles, by their cost in bytes.
const HANDLES_SHARE: usize = 64 << 10;

/// A handler and its connection, for the length of a turn.
struct Callbacks<'a, H: Handler> {
    handler: &'a H,
    state: &'a mut H::State,
    own: OwnParts<'a>,
    errands: &'a mut Errands,
    /// Handles have queued more than one turn sends.
    more: bool,
    /// Nothing was queued when the turn began.
    drained: bool,
    read_size: usize,
    first: bool,
}

impl<H: Handler> Application<Stream> for Callbacks<'_, H> {
    const KNOWS_THE_END_FIRST: bool = true;

    #[inline]
    fn read_size(&self) -> usize {
        self.read_size
    }

    #[inline]
    fn on_turn(&mut self, current: &mut Current<'_, Stream>) {
        if std::mem::take(&mut self.first) {
            self.handler.on_open(&mut Socket::new(current, &self.own), self.state);
        }
        self.drained = current.connection.buffered() == 0;
        // Before any event is delivered, so that its answer finds room.
        self.own.catch_up(current.connection, current.now);
    }

    #[inline]
    fn on_message(&mut self, current: &mut Current<'_, Stream>, message: Message<'_>) {
        self.handler.on_message(&mut Socket::new(current, &self.own), self.state, message);
        self.own.catch_up(current.connection, current.now);
    }

    fn on_event(&mut self, current: &mut Current<'_, Stream>, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                self.handler.on_message(&mut Socket::new(current, &self.own), self.state, message);
            }
            Event::Chunk(chunk) => {
                self.handler.on_chunk(&mut Socket::new(current, &self.own), self.state, chunk);
            }
            Event::Ping(data) => {
                self.handler.on_ping(&mut Socket::new(current, &self.own), self.state, data);
            }
            Event::Pong(data) => {
                self.handler.on_pong(&mut Socket::new(current, &self.own), self.state, data);
            }
            Event::Writable => {
                self.handler.on_writable(&mut Socket::new(current, &self.own), self.state);
            }
            Event::Closed(closure) => {
                self.own.close_handles(current.connection);
                self.own.forget_timers();
                self.own.forget_topics();
                self.own.counted.note_closed(&closure);
                tracing::debug!(
                    connection = self.own.id,
                    code = closure.code(),
                    cause = ?closure.cause,
                    "closed"
                );
                let closed = Closed::new(current.connection, current.transport, &closure, &self.own);
                self.handler.on_close(&closed, self.state);
            }
            // The answer is queued, and `Closed` follows.
            _ => {}
        }
        self.own.catch_up(current.connection, current.now);
    }

    #[inline]
    fn queue(&mut self, current: &mut Current<'_, Stream>) {
        if self.errands.any() {
            self.run_errands(current);
        }
    }

    /// Closes the handles before the peer can see a Close frame.
    #[inline]
    fn before_write(&mut self, connection: &Connection) {
        if connection.state() != State::Open {
            self.own.close_handles(connection);
        }
    }

    #[inline]
    fn has_queued(&self, connection: &Connection) -> bool {
        let has_items = self.errands.has(Errands::QUEUED)
            && connection.is_writable()
            && (self.more || !connection.is_fragmenting());
        let waits = self.errands.has(Errands::WAITING);
        has_items || (waits && connection.buffered() == 0 && !connection.is_fragmenting())
    }
}

impl<'a, H: Handler> Callbacks<'a, H> {
    /// Creates the callbacks for a turn that neither reads nor opens.
    fn new(handler: &'a H, state: &'a mut dyn Any, own: OwnParts<'a>, errands: &'a mut Errands) -> Self {
        let state = state.downcast_mut().expect("a connection's state is of its route's type");
        Callbacks { handler, state, own, errands, more: false, drained: false, read_size: 0, first: false }
    }

    /// Runs the errands after reading, so that a message that has arrived comes before a timer that
    /// it postpones.
    #[inline(never)]
    fn run_errands(&mut self, current: &mut Current<'_, Stream>) {
        if self.errands.take(Errands::TIMERS) {
            self.tell_timers(current);
        }
        if self.errands.has(Errands::QUEUED) {
            self.send_queued(current.connection, current.now);
        }
        if self.errands.take(Errands::PARCELS) {
            self.own.send_parcels(current.connection);
        }
        if self.errands.take(Errands::GAPS) {
            self.tell_gaps(current);
        }
        if self.errands.has(Errands::WAITING) {
            self.send_waiting(current.connection);
        }
    }

    /// Calls the handler for each timer that is due. A timer set by a callback meanwhile waits for
    /// its own tick, and one cancelled by a callback does not fire.
    fn tell_timers(&mut self, current: &mut Current<'_, Stream>) {
        let end = self.own.timers().begin();
        while current.connection.state() != State::Closed {
            let due = self.own.timers().take_due(self.own.key, current.now, end);
            let Some(token) = due else { break };
            self.handler.on_timer(&mut Socket::new(current, &self.own), self.state, token);
            self.own.catch_up(current.connection, current.now);
        }
    }

    /// Calls the handler for each topic of which messages may be lost.
    fn tell_gaps(&mut self, current: &mut Current<'_, Stream>) {
        let gaps = self.own.of_loop.topics.borrow_mut().take_gaps(self.own.key);
        for filter in gaps {
            if current.connection.state() == State::Closed {
                break;
            }
            self.handler.on_gap(&mut Socket::new(current, &self.own), self.state, &filter);
            self.own.catch_up(current.connection, current.now);
        }
    }

    /// Sends publications that have waited until the peer had taken what was queued.
    fn send_waiting(&mut self, connection: &mut Connection) {
        let has_ended = connection.state() != State::Open;
        let may_send = self.drained && !connection.is_fragmenting();
        if (has_ended || may_send) && self.own.send_waiting(connection) {
            self.errands.clear(Errands::WAITING);
        }
    }

    /// Sends the items that handles have queued, as far as there is room.
    fn send_queued(&mut self, connection: &mut Connection, now: Instant) {
        self.errands.clear(Errands::QUEUED);
        let Some(remote) = self.own.remote.get() else { return };
        remote.end_as_asked(connection, now);
        let left = remote.send(connection, HANDLES_SHARE);
        self.more = left == Left::More;
        if left != Left::Nothing && connection.state() == State::Open {
            self.errands.note(Errands::QUEUED);
        }
    }
}
