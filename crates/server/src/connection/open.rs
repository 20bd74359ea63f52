//! An open connection: reads once a turn, hands every event to the handler, and writes once what came of it.

use crate::api::handle::{Outgoing, Popped, Remote};
use crate::api::route::{Route, RouteId};
use crate::api::socket::Core;
use crate::connection::linger::Lingering;
use crate::connection::slot::{Next, Phase, Ready};
use crate::context::{Context, SHORT_TAIL, Site};
use crate::event_loop::mailbox::Mailbox;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{Io, Stream};
use crate::guard::guarded;
use crate::parking::{grow, nearly_complete, park, pays_for, reach};
use framewright::{CloseCode, Connection, Error, Message, RecvBuffer, SendError, State, Timeout, Transmit};
use std::any::Any;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// How many slices one write offers to the kernel.
const SLICES: usize = 8;

pub(crate) struct Open {
    connection: Connection,
    /// See [`Socket::id`](crate::Socket::id); 0 before it is opened.
    id: u64,
    route: RouteId,
    state: Box<dyn Any + Send>,
    /// What has come of an incomplete frame or message, or what waits to be decoded. None at rest.
    parked: Option<Box<RecvBuffer>>,
    /// What handles share; made with the first of them.
    remote: Option<Arc<Remote>>,
    /// `parked` may hold whole frames: decoding stopped because too much waits to be sent, or because others have their turn.
    undecoded: bool,
    /// The end of the stream was read, behind what is undecoded.
    eof: bool,
    /// A handle has queued something.
    attend: bool,
    opened: bool,
}

impl Open {
    /// A connection whose 101 has been sent. `early` came behind the request's head.
    pub(crate) fn new(
        connection: Connection,
        route: &Route,
        state: Box<dyn Any + Send>,
        early: &[u8],
    ) -> Open {
        let mut parked = None;
        if !early.is_empty() {
            let mut buffer = RecvBuffer::with_capacity(early.len());
            buffer.extend_from_slice(early);
            parked = Some(Box::new(buffer));
        }
        let undecoded = parked.is_some();
        Open {
            connection,
            id: 0,
            route: route.id(),
            state,
            parked,
            remote: None,
            undecoded,
            eof: false,
            attend: false,
            opened: false,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// A handle has queued something.
    pub(crate) fn attend(&mut self) {
        self.attend = true;
    }

    /// The server stops.
    pub(crate) fn drain(&mut self) {
        // An error means that the connection is closing already.
        let _ = self.connection.close(Some(CloseCode::GOING_AWAY), "server shutting down");
    }

    /// Does all there is to do.
    pub(crate) fn turn(
        &mut self,
        stream: &mut Stream,
        key: Key,
        ready: &mut Ready,
        context: &mut Context,
    ) -> Next {
        let message = self.parked.as_deref().map_or(0, nearly_complete);
        if let Some(back) = self.connection.lend_transmit_buffer(context.lend(message)) {
            context.reclaim(back);
        }
        context.compression.lend(&mut self.connection);
        let worked = guarded(|| self.work(stream, key, ready, context));
        let flushed = match worked {
            Some(flushed) => flushed,
            None => self.after_panic(stream, key, context),
        };
        context.compression.reclaim(&mut self.connection, context.now);
        if let Some(tx) = self.connection.reclaim_transmit_buffer() {
            context.reclaim(tx);
        }
        match flushed {
            Flushed::Shutdown => self.leave(stream, ready, context),
            Flushed::All | Flushed::Blocked if self.has_work(ready) => Next::Again,
            Flushed::All | Flushed::Blocked => Next::Wait,
        }
    }

    /// Whether there is something to do that no event will announce.
    fn has_work(&self, ready: &Ready) -> bool {
        let receive = self.connection.wants_read() && (ready.read || self.undecoded || self.eof);
        // What a handle or the handler itself has to send may have waited for the room that the write has made.
        receive || self.connection.has_event() || (self.attend && self.takes_queued())
    }

    /// Whether a message that a handle has queued would be taken.
    fn takes_queued(&self) -> bool {
        self.connection.is_writable() && !self.connection.is_fragmenting()
    }

    fn work(&mut self, stream: &mut Stream, key: Key, ready: &mut Ready, context: &mut Context) -> Flushed {
        if !self.opened {
            self.opened = true;
            self.id = context.site.opened.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(connection = self.id, peer = ?stream.peer_addr(), "open");
            let (route, mut core, state) =
                self.parts(stream, key, &context.site, &context.mailbox, context.now);
            route.handler.on_open(&mut core, state);
        }
        if std::mem::take(&mut ready.timer) {
            self.connection.handle_timeout(context.now);
        }
        if std::mem::take(&mut ready.write) && self.connection.buffered() > 0 {
            self.settle(stream, key, context);
        }
        self.receive(stream, key, ready, context);
        if self.attend {
            self.send_queued(context.now);
        }
        let flushed = self.settle(stream, key, context);
        // What is undecoded has to wait for the peer to read: others must not wait with it.
        if self.undecoded
            && !self.connection.wants_read()
            && let Some(parked) = &mut self.parked
            && self.connection.give_way(context.now, parked)
        {
            return self.settle(stream, key, context);
        }
        flushed
    }

    /// Reads once and hands over everything decoded.
    fn receive(&mut self, stream: &mut Stream, key: Key, ready: &mut Ready, context: &mut Context) {
        if !self.connection.wants_read() || !(ready.read || self.undecoded || self.eof) {
            return;
        }
        let Context { site, rx: shared, pool, tails, mailbox, now, .. } = context;
        let now = *now;
        let mut own = self.parked.take();
        if let Some(mut short) = own.take_if(|own| own.len() <= SHORT_TAIL) {
            shared.absorb(&mut short);
            tails.put_cleared(now, short);
        }
        let direct = own.is_some();
        let rx = own.as_deref_mut().unwrap_or(shared);
        if !self.undecoded && ready.read && !self.eof {
            let steady = site.routes.get(self.route).options.receive_buffer_size.max(1);
            let reach = reach(rx, direct, steady);
            if direct {
                grow(rx, reach.0, pool, now);
            }
            self.read(stream, ready, rx, reach, now);
        }
        let (route, mut core, state) = self.parts(stream, key, site, mailbox, now);
        route.handler.deliver(&mut core, state, rx);
        if self.connection.state() == State::Closed {
            rx.clear();
        }
        self.undecoded = rx.has_undecoded() && (!self.connection.wants_read() || self.connection.is_paused());
        if self.eof && !self.undecoded {
            self.connection.handle_eof(now);
        }
        rx.shrink();
        match own {
            Some(own) if pays_for(&own) => self.parked = Some(own),
            Some(mut own) => {
                self.parked = park(&mut own, pool, tails);
                pool.put_cleared(now, own);
            }
            None => self.parked = park(shared, pool, tails),
        }
    }

    fn read(
        &mut self,
        stream: &mut Stream,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        (least, most): (usize, usize),
        now: Instant,
    ) {
        let spare = rx.spare(least);
        let room = spare.len().min(most);
        match stream.read(&mut spare[..room]) {
            Io::Moved(0) => self.eof = true,
            Io::Moved(count) => {
                rx.filled(count);
                ready.note_read(count, room);
            }
            Io::Blocked => ready.read = false,
            Io::Lost => self.connection.handle_transport_error(now),
        }
    }

    #[inline]
    fn parts<'a>(
        &'a mut self,
        stream: &'a mut Stream,
        key: Key,
        site: &'a Site,
        mailbox: &'a Arc<Mailbox>,
        now: Instant,
    ) -> (&'a Route, Core<'a>, &'a mut dyn Any) {
        let Open { connection, id, route, state, remote, .. } = self;
        let core = Core { connection, stream, remote, mailbox, key, id: *id, now };
        (site.routes.get(*route), core, &mut **state)
    }

    /// Sends what handles have queued, as far as there is room.
    fn send_queued(&mut self, now: Instant) {
        let Some(remote) = self.remote.clone() else {
            self.attend = false;
            return;
        };
        if remote.aborts() {
            self.connection.abort(now);
        }
        while self.connection.is_writable() {
            // Control frames may come between fragments (RFC 6455, section 5.4), messages may not.
            let item = match remote.pop(!self.connection.is_fragmenting()) {
                Popped::Item(item) => item,
                Popped::Waits => return,
                Popped::Nothing => {
                    self.attend = false;
                    return;
                }
            };
            if let Err(error) = self.send_item(item) {
                // Checked before: open, room, and no fragments. Kept as a message in case a check is forgotten.
                tracing::error!(%error, "a queued message could not be sent");
            }
        }
        if self.connection.state() != State::Open {
            self.attend = false;
        }
    }

    fn send_item(&mut self, item: Outgoing) -> Result<(), SendError> {
        match item {
            Outgoing::Text(text) => self.connection.send(Message::Text(&text)),
            Outgoing::Binary(payload) => self.connection.send(Message::Binary(&payload)),
            Outgoing::Prepared(prepared) => self.connection.send_prepared(&prepared),
            Outgoing::Ping(data) => self.connection.ping(&data),
            Outgoing::Close(code, reason) => self.connection.close(code, &reason),
        }
    }

    /// Hands over the event that needs no octets, if there is one, and writes what waits. A handler that sends whenever there is
    /// room is told of the room that this write makes in the next turn: others have theirs in between.
    fn settle(&mut self, stream: &mut Stream, key: Key, context: &Context) -> Flushed {
        loop {
            if self.connection.has_event() {
                let mut nothing = RecvBuffer::new();
                if let Some(event) = self.connection.next_event(context.now, &mut nothing) {
                    let (route, mut core, state) =
                        self.parts(stream, key, &context.site, &context.mailbox, context.now);
                    route.handler.dispatch(&mut core, state, event);
                }
            }
            // Before the peer learns of it: who sees the Close frame finds the handles closed.
            if self.connection.state() != State::Open
                && let Some(remote) = &self.remote
            {
                remote.close();
            }
            let flushed = flush(&mut self.connection, stream, context.now);
            // Only the end is told at once, and comes once.
            if self.connection.state() != State::Closed || !self.connection.has_event() {
                return flushed;
            }
        }
    }

    /// A callback has panicked: fails the connection, and no other.
    #[cold]
    fn after_panic(&mut self, stream: &mut Stream, key: Key, context: &mut Context) -> Flushed {
        tracing::error!(connection = self.id, "a handler panicked; its connection is failed with 1011");
        context.restore();
        context.compression.discard(&mut self.connection);
        self.parked = None;
        self.undecoded = false;
        self.eof = false;
        self.connection.fail(context.now, CloseCode::INTERNAL_ERROR, "internal error");
        let settled = guarded(|| self.settle(stream, key, context));
        // Should `on_close` panic too, it has been called all the same.
        settled.unwrap_or_else(|| flush(&mut self.connection, stream, context.now))
    }

    /// Everything is sent and the connection has ended: what becomes of the socket.
    fn leave(&mut self, stream: &mut Stream, ready: &Ready, context: &mut Context) -> Next {
        let Some(closure) = self.connection.closure() else { return Next::Wait };
        tracing::debug!(connection = self.id, code = closure.code(), cause = ?closure.cause, "closed");
        let gone = matches!(
            closure.cause,
            Some(Error::TransportLost | Error::Aborted | Error::Timeout(Timeout::Write | Timeout::Close))
        );
        //= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.1
        //# The underlying TCP connection, in most normal cases, SHOULD be closed
        //# first by the server, so that it holds the TIME_WAIT state and not the
        //# client
        if gone || (closure.clean && !ready.read) {
            return Next::Remove;
        }
        Next::Enter(Phase::Lingering(Lingering::begin(stream, context.now)))
    }

    /// The connection is removed: if its application has not heard of the end, it does now.
    pub(crate) fn finish(&mut self, stream: &mut Stream, key: Key, context: &mut Context) {
        if let Some(remote) = &self.remote {
            remote.close();
        }
        if !self.opened {
            return;
        }
        self.connection.abort(context.now);
        if guarded(|| self.settle(stream, key, context)).is_none() {
            tracing::error!(connection = self.id, "a handler panicked at the end of its connection");
        }
    }
}

/// What a write came to.
enum Flushed {
    /// Nothing waits.
    All,
    /// The kernel takes no more for now.
    Blocked,
    /// Nothing waits and nothing will: the transport is to be ended.
    Shutdown,
}

/// Writes what waits until the kernel takes no more.
fn flush(connection: &mut Connection, stream: &mut Stream, now: Instant) -> Flushed {
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = match connection.poll_transmit(&mut slices) {
            Transmit::Idle => return Flushed::All,
            Transmit::Shutdown => return Flushed::Shutdown,
            Transmit::Bytes { slices, .. } => slices,
        };
        match stream.write(&slices[..used]) {
            Io::Moved(count) => connection.transmitted(now, count),
            Io::Blocked => {
                connection.transmitted(now, 0);
                return Flushed::Blocked;
            }
            Io::Lost => connection.handle_transport_error(now),
        }
    }
}
