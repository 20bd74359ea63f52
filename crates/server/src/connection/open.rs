//! An open connection: its turns, and the consequences of its end for the server.

use crate::api::connections::Connected;
use crate::api::erased::{Errands, OpenParts};
use crate::api::handle::Remote;
use crate::api::route::{Route, RouteId};
use crate::api::socket::{LoopParts, OwnParts};
use crate::context::LoopContext;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{PeerAddr, Stream};
use crate::guard::guarded;
use crate::memory::ledger::Ledger;
use crate::stats::RouteCounters;
use framewright::connection::{Batch, BatchRefused};
use framewright::{CloseCode, Connection, State, Stats};
use framewright_driver::{Lent, Lingering, Next, Ready, SentBatch, Turn};
use std::any::Any;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

pub(crate) struct Open {
    turn: Turn,
    /// See [`Socket::id`](crate::Socket::id).
    id: u64,
    state: Box<dyn Any + Send>,
    /// State shared by its handles; created with the first of them.
    remote: OnceCell<Arc<Remote>>,
}

/// The result of sending messages outside a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The socket has taken them.
    All,
    /// They are sent or queued, and a turn has to follow.
    Turn,
}

/// Why messages were not sent outside a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The connection takes no messages: it is not open yet, or no longer.
    Ended,
    /// Something goes first: bytes that are queued, items of its handles, the rest of a message
    /// that is being sent in fragments.
    Waits,
}

/// The parts of a slot besides the phase.
pub(crate) struct SlotParts<'a> {
    pub(crate) stream: &'a mut Stream,
    pub(crate) key: Key,
    pub(crate) ready: &'a mut Ready,
    pub(crate) route: RouteId,
    pub(crate) errands: &'a mut Errands,
}

impl Open {
    /// A connection whose 101 has been sent. `early` holds the bytes received after the request's
    /// head.
    pub(crate) fn new(connection: Connection, id: u64, state: Box<dyn Any + Send>, early: &[u8]) -> Open {
        Open { turn: Turn::new(connection, early), id, state, remote: OnceCell::new() }
    }

    /// Whether messages can be sent: no Close frame was sent, and the connection has not ended.
    pub(crate) fn takes_messages(&self) -> bool {
        self.turn.connection.state() == State::Open
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.turn.deadline()
    }

    /// Begins to linger: the connection has ended, and its peer may still be sending.
    pub(crate) fn linger(&self, stream: &mut Stream, ready: &Ready, now: Instant) -> Lingering {
        self.turn.linger(stream, ready, now)
    }

    pub(crate) fn is_in_bulk(&self) -> bool {
        self.turn.is_in_bulk()
    }

    /// Whether nothing is queued for the peer.
    pub(crate) fn has_drained(&self) -> bool {
        self.turn.connection.buffered() == 0
    }

    /// Bytes that the connection holds, without those its handles have queued.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.turn.held()
    }

    /// See [`Turn::progress`].
    pub(crate) fn progress(&self, lent: &Lent) -> usize {
        self.turn.progress(lent)
    }

    /// KiB charged for messages that its handles have queued.
    pub(crate) fn queued(&self) -> u32 {
        self.remote.get().map_or(0, |remote| remote.charged())
    }

    /// Whether the connection was selected to give way because of messages that its handles have
    /// queued.
    pub(crate) fn is_told(&self) -> bool {
        self.remote.get().is_some_and(|remote| remote.is_told())
    }

    /// Ends the connection because other connections need its memory.
    pub(crate) fn give_way(&mut self, stream: &mut Stream, ready: &mut Ready, now: Instant) {
        tracing::debug!(connection = self.id, held = self.held(), "ended: no memory");
        if let Some(remote) = self.remote.get() {
            remote.close();
        }
        self.turn.give_way(stream, ready, now);
    }

    /// Closes the connection because the server stops, after the messages that its handles have
    /// queued.
    pub(crate) fn drain(&mut self) {
        let (code, reason) = (Some(CloseCode::GOING_AWAY), "server shutting down");
        // An error means that the connection is closing already.
        match self.remote.get().filter(|remote| remote.has_queued()) {
            Some(remote) => drop(remote.push_close(code, reason.to_owned())),
            None => drop(self.turn.connection.close(code, reason)),
        }
    }

    /// The connection, as walks through all connections see it; `None` once it has ended.
    pub(crate) fn connected<'a>(
        &'a self,
        (stream, key, route): (&'a Stream, Key, RouteId),
        context: &'a LoopContext,
    ) -> Option<Connected<'a>> {
        let connection = &self.turn.connection;
        let (of_loop, ledger) = (&context.parts, &context.server.totals.ledger);
        let counted = context.counted.route(route.index());
        let own = OwnParts { remote: &self.remote, of_loop, ledger, counted, key, id: self.id };
        let route = context.server.routes.get(route).path();
        (connection.state() != State::Closed).then_some(Connected { own, connection, stream, route })
    }

    /// Does all pending work. In the `first` turn the handler is notified that the connection is
    /// open.
    pub(crate) fn turn(&mut self, mut slot: SlotParts<'_>, first: bool, context: &mut LoopContext) -> Next {
        let route = slot.route;
        let span = span(self.id, context.server.routes.get(route), || slot.stream.peer_addr());
        let _inside = span.enter();
        if first {
            tracing::debug!(connection = self.id, peer = %slot.stream.peer_addr(), "open");
        }
        let before = self.turn.connection.stats();
        let turn = || {
            let LoopContext { server, lent, parts, counted, now, .. } = &mut *context;
            let route = server.routes.get(slot.route);
            let read_size = route.options.receive_buffer_size.max(1);
            let shared = (&*parts, &server.totals.ledger, counted.route(slot.route.index()));
            let (open, state) = self.parts(&mut slot, shared, *now);
            route.handler.turn(open, state, lent, read_size, first)
        };
        let next = guarded(turn).unwrap_or_else(|| self.after_panic(slot, context));
        self.count(&before, context.counted.route(route.index()), &mut context.lent);
        next
    }

    /// Sends the messages of `batch` outside a turn, if the connection has nothing else to send.
    #[inline]
    pub(crate) fn send_batch(
        &mut self,
        slot: SlotParts<'_>,
        batch: &mut Batch,
        context: &mut LoopContext,
    ) -> Result<Sent, Unsent> {
        if self.turn.connection.state() != State::Open {
            return Err(Unsent::Ended);
        }
        if self.remote.get().is_some_and(|remote| remote.has_queued()) {
            return Err(Unsent::Waits);
        }
        let LoopContext { lent, now, counted, .. } = context;
        let SlotParts { stream, ready, route, .. } = slot;
        let mut sent = self.turn.send_batch(stream, ready, *now, batch);
        if sent == Err(BatchRefused::NeedsCodec) {
            lent.lend(&mut self.turn.connection, None, *now);
            sent = self.turn.send_batch(stream, ready, *now, batch);
            lent.reclaim(&mut self.turn.connection, *now);
        }
        let (result, compression) = match sent {
            Ok(SentBatch::All(compression)) => (Sent::All, compression),
            Ok(SentBatch::Turn(compression)) => (Sent::Turn, compression),
            Err(_) => return Err(Unsent::Waits),
        };
        let counted = counted.route(route.index());
        counted.note_sent(batch.messages().len(), batch.payload());
        if compression.messages_sent > 0 {
            counted.note_compression(&compression);
        }
        Ok(result)
    }

    /// Fails the connection outside a turn, which has to follow.
    pub(crate) fn fail(&mut self, code: CloseCode, reason: &str, now: Instant) {
        self.turn.connection.fail(now, code, reason);
    }

    /// Counts the traffic of a turn, including one that ended with a panic.
    #[inline]
    fn count(&self, before: &Stats, counted: &RouteCounters, lent: &mut Lent) {
        let after = self.turn.connection.stats();
        if after != *before {
            counted.note_traffic(before, &after);
        }
        if self.turn.connection.driver_view().compresses() {
            counted.note_compression(&lent.take_compression());
        }
    }

    #[inline]
    fn parts<'a>(
        &'a mut self,
        slot: &'a mut SlotParts<'_>,
        (of_loop, ledger, counted): (&'a LoopParts, &'a Arc<Ledger>, &'a RouteCounters),
        now: Instant,
    ) -> (OpenParts<'a>, &'a mut dyn Any) {
        let Open { turn, id, state, remote } = self;
        let SlotParts { stream, key, ready, errands, .. } = slot;
        let own = OwnParts { remote, of_loop, ledger, counted, key: *key, id: *id };
        (OpenParts { turn, stream, ready, own, errands, now }, &mut **state)
    }

    /// Fails this connection, and no other, after a callback has panicked.
    #[cold]
    fn after_panic(&mut self, mut slot: SlotParts<'_>, context: &mut LoopContext) -> Next {
        tracing::error!(connection = self.id, "a handler panicked; its connection is failed with 1011");
        self.turn.after_panic(&mut context.lent, context.now);
        self.settle(&mut slot, context);
        // If `on_close` panicked too, it has still been called.
        let flushed = self.turn.flush(slot.stream, slot.ready, context.now);
        context.lent.reclaim(&mut self.turn.connection, context.now);
        self.turn.after(slot.stream, flushed, slot.ready)
    }

    /// Notifies the handler of the events that it has not received, and writes as much as the
    /// socket accepts.
    fn settle(&mut self, slot: &mut SlotParts<'_>, context: &LoopContext) {
        let settle = || {
            let route = context.server.routes.get(slot.route);
            let counted = context.counted.route(slot.route.index());
            let shared = (&context.parts, &context.server.totals.ledger, counted);
            let (open, state) = self.parts(slot, shared, context.now);
            route.handler.finish(open, state);
        };
        if guarded(settle).is_none() {
            tracing::error!(connection = self.id, "a handler panicked at the end of its connection");
        }
    }

    /// Ends the connection on removal, and notifies the application of the end if it has not been.
    pub(crate) fn finish(&mut self, mut slot: SlotParts<'_>, context: &LoopContext) {
        if let Some(remote) = self.remote.get() {
            remote.close();
        }
        self.turn.connection.abort(context.now);
        let route = context.server.routes.get(slot.route);
        let span = span(self.id, route, || slot.stream.peer_addr());
        let _inside = span.enter();
        self.settle(&mut slot, context);
    }
}

/// The span that the callbacks of a connection run in. It is created anew for each turn, so a
/// connection stores nothing for it. Without a subscriber it costs a comparison, and `peer` is not
/// called.
#[inline]
pub(crate) fn span(id: u64, route: &Route, peer: impl Fn() -> PeerAddr) -> Span {
    if Level::INFO <= LevelFilter::current() { make_span(id, route, &peer) } else { Span::none() }
}

#[cold]
#[inline(never)]
fn make_span(id: u64, route: &Route, peer: &dyn Fn() -> PeerAddr) -> Span {
    tracing::info_span!(
        target: "framewright_server",
        "connection",
        id,
        route = route.path().map(|path| &**path),
        peer = tracing::field::display(peer())
    )
}
