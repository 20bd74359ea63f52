//! What an application implements, and what it is given.

use crate::api::decision::{Awaited, Decision, ErasedDecision};
use crate::api::socket::Socket;
use crate::event_loop::mailbox::{Command, Mailbox};
use crate::event_loop::slab::Key;
use crate::event_loop::stream::PeerAddr;
use framewright::handshake::{Refusal, Request, Response};
use framewright::{Chunk, Closure, Message};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// The application behind a route. One value serves all connections, on all event loops; what belongs to one connection is
/// its [`State`](Handler::State).
///
/// All callbacks run on the connection's event loop and must not block it; nothing in the API that they are given blocks.
/// Work that takes long goes to another thread, which sends through a [`Handle`](crate::Handle). A callback that returns does
/// not close the connection. One that panics costs its own connection (1011), not the loop.
pub trait Handler: Send + Sync + 'static {
    /// What each connection carries.
    type State: Send + 'static;

    /// A request has arrived: an opening handshake ([`Incoming::is_websocket`]) or an ordinary HTTP request.
    ///
    /// An opening handshake has been checked (RFC 6455, section 4.2.1), its `Origin` too. Answer with
    /// [`Decision::accept`], [`Decision::respond`], or take a [`Deferred`] with [`Incoming::defer`] and decide later.
    fn on_request(&self, request: &Incoming<'_, Self::State>) -> Decision<Self::State>;

    /// The connection is open.
    fn on_open(&self, socket: &mut Socket<'_, '_, Self::State>) {
        let _ = socket;
    }

    /// A whole message has arrived.
    fn on_message(&self, socket: &mut Socket<'_, '_, Self::State>, message: Message<'_>) {
        let _ = (socket, message);
    }

    /// A piece of a message has arrived, on a route with [`Delivery::Chunks`](framewright::Delivery::Chunks).
    fn on_chunk(&self, socket: &mut Socket<'_, '_, Self::State>, chunk: Chunk<'_>) {
        let _ = (socket, chunk);
    }

    /// A Ping has arrived; its Pong is queued already, unless the connection is closing.
    fn on_ping(&self, socket: &mut Socket<'_, '_, Self::State>, data: &[u8]) {
        let _ = (socket, data);
    }

    /// A Pong has arrived, asked for or not.
    fn on_pong(&self, socket: &mut Socket<'_, '_, Self::State>, data: &[u8]) {
        let _ = (socket, data);
    }

    /// What waited to be sent fell to the low-water mark after it had reached the high-water mark.
    fn on_writable(&self, socket: &mut Socket<'_, '_, Self::State>) {
        let _ = socket;
    }

    /// The connection has ended: called exactly once for each that was opened, however it ended, and last.
    fn on_close(&self, state: &mut Self::State, closure: &Closure) {
        let _ = (state, closure);
    }
}

/// A request, and where it came from. Dereferences to the [`Request`]: method, path, query, fields, subprotocols.
pub struct Incoming<'a, S> {
    request: Request<'a>,
    peer: Option<PeerAddr>,
    websocket: bool,
    deferral: &'a DeferralSlot,
    _state: PhantomData<fn(S)>,
}

impl<S> fmt::Debug for Incoming<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("request", &self.request)
            .field("peer", &self.peer)
            .field("websocket", &self.websocket)
            .finish_non_exhaustive()
    }
}

impl<'a, S> Deref for Incoming<'a, S> {
    type Target = Request<'a>;

    fn deref(&self) -> &Request<'a> {
        &self.request
    }
}

impl<'a, S: Send + 'static> Incoming<'a, S> {
    pub(crate) fn new(
        request: Request<'a>,
        peer: Option<PeerAddr>,
        websocket: bool,
        deferral: &'a DeferralSlot,
    ) -> Incoming<'a, S> {
        Incoming { request, peer, websocket, deferral, _state: PhantomData }
    }

    /// Whether this is a correct opening handshake, which may be accepted.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// Where the request came from; `None` if the peer has left already.
    #[must_use]
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        self.peer
    }

    /// The decision of a route that accepts whoever may connect: accepts an opening handshake, and answers an ordinary request
    /// with [`not_a_websocket_request`](Incoming::not_a_websocket_request).
    #[must_use]
    pub fn accept(&self, state: S) -> Decision<S> {
        if self.websocket { Decision::accept(state) } else { self.not_a_websocket_request().into() }
    }

    /// The answer to an ordinary request on a route that only speaks WebSocket: 405 with `Allow: GET` for another method, else
    /// 400.
    #[must_use]
    pub fn not_a_websocket_request(&self) -> Response {
        let refusal = if self.request.method() == "GET" {
            Refusal::NotAWebSocketRequest
        } else {
            Refusal::MethodNotAllowed { allow: "GET" }
        };
        refusal.to_response()
    }

    /// Puts the decision off: returns what the decision is to be made with, from any thread. Return
    /// [`Decision::Deferred`] then. Until it is made nothing is read from the peer; the handshake's deadline stands, and is
    /// answered with 503 when it passes.
    ///
    /// # Panics
    /// If it is called twice for a request: there is one decision.
    #[must_use = "dropping it answers the request with 500"]
    pub fn defer(&self) -> Deferred<S> {
        let awaited = Arc::new(Awaited::new());
        let first = self.deferral.awaited.set(Arc::clone(&awaited)).is_ok();
        assert!(first, "the decision on a request was put off twice");
        Deferred {
            key: self.deferral.key,
            mailbox: Arc::clone(&self.deferral.mailbox),
            awaited,
            decided: false,
            _state: PhantomData,
        }
    }
}

/// A decision to be made, from any thread. Dropped without one it answers 500.
pub struct Deferred<S: Send + 'static> {
    key: Key,
    mailbox: Arc<Mailbox>,
    awaited: Arc<Awaited>,
    decided: bool,
    _state: PhantomData<fn(S)>,
}

impl<S: Send + 'static> fmt::Debug for Deferred<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("waiting", &self.is_waiting()).finish_non_exhaustive()
    }
}

impl<S: Send + 'static> Deferred<S> {
    /// Whether somebody waited for the decision a moment ago: false once the peer has left or the deadline has passed.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.awaited.is_waiting()
    }

    /// Makes the decision. If nobody waits for it any more it is dropped, the state with it. One that is made before the loop has
    /// seen the deadline pass counts, however late the loop hears of it.
    /// [`Decision::Deferred`] counts as none, and answers 500.
    pub fn decide(mut self, decision: Decision<S>) {
        self.decided = true;
        self.post(decision.erase());
    }

    fn post(&self, decision: ErasedDecision) {
        self.awaited.note_made();
        // Once the loop has ended nobody waits.
        let _ = self.mailbox.post(Command::Decide(self.key, decision));
    }
}

impl<S: Send + 'static> Drop for Deferred<S> {
    fn drop(&mut self) {
        if !self.decided {
            self.post(ErasedDecision::Respond(Refusal::Internal.to_response()));
        }
    }
}

/// The place of a request in its loop, for a decision that comes later.
pub(crate) struct DeferralSlot {
    pub(crate) key: Key,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Set when a `Deferred` is taken.
    pub(crate) awaited: OnceLock<Arc<Awaited>>,
}
