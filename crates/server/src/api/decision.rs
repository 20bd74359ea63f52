//! What a handler decides on a request, at once or later.

use crate::guard::lock;
use framewright::handshake::{Accept, Refusal, Response};
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

/// What to do with a request: accept it, answer it, or decide later.
#[must_use = "a decision is made by returning it from `on_request`, or with `Deferred::decide`"]
pub struct Decision<S> {
    kind: Kind<S>,
}

enum Kind<S> {
    Accept(Accept, S),
    Respond(Response),
    Deferred(AwaitedDecision),
}

impl<S> fmt::Debug for Decision<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Accept(accept, _) => f.debug_tuple("Accept").field(accept).finish_non_exhaustive(),
            Kind::Respond(response) => f.debug_tuple("Respond").field(response).finish(),
            Kind::Deferred(_) => f.write_str("Deferred"),
        }
    }
}

impl<S> Decision<S> {
    /// Accepts the opening handshake without a subprotocol or fields. The connection carries
    /// `state`.
    pub fn accept(state: S) -> Self {
        Decision::accept_with(Accept::new(), state)
    }

    /// Accepts the opening handshake with a subprotocol or with fields. The connection carries
    /// `state`.
    ///
    /// An ordinary HTTP request cannot be accepted, nor a subprotocol that the client did not
    /// offer: such a request is answered with 500.
    pub fn accept_with(accept: Accept, state: S) -> Self {
        Decision { kind: Kind::Accept(accept, state) }
    }

    /// Answers with `response`, a page or a refusal, and closes the connection.
    pub fn respond(response: Response) -> Self {
        Decision { kind: Kind::Respond(response) }
    }
}

impl<S: Send + 'static> Decision<S> {
    /// Defers the decision: return the `Decision` from the callback, and decide later with the
    /// [`Deferred`], from any thread. [`Incoming::decide_later`](crate::Incoming::decide_later) is
    /// shorter where a function can decide on a thread of the server's.
    ///
    /// Until then nothing is read from the peer. The deadline of the opening handshake
    /// ([`ServerLimits::handshake_timeout`](crate::ServerLimits::handshake_timeout)) stays in
    /// force: when it passes, the request is answered with 503.
    ///
    /// ```
    /// use framewright_server::{Decision, Handler, Incoming};
    /// use std::thread;
    ///
    /// struct Members;
    ///
    /// impl Handler for Members {
    ///     type State = String;
    ///
    ///     fn on_request(&self, request: &Incoming<'_>) -> Decision<String> {
    ///         if !request.is_websocket() {
    ///             return request.not_a_websocket_request().into(); // it cannot be accepted later
    ///         }
    ///         let token = request.query().unwrap_or_default().to_owned();
    ///         let (decision, deferred) = Decision::defer();
    ///         thread::spawn(move || deferred.decide(Decision::accept(format!("member {token}"))));
    ///         decision
    ///     }
    /// }
    /// ```
    pub fn defer() -> (Self, Deferred<S>) {
        let deferral = Arc::new(Deferral { step: Mutex::new(Step::Returning) });
        let deferred = Deferred { deferral: Arc::clone(&deferral), decided: false, _state: PhantomData };
        (Decision { kind: Kind::Deferred(AwaitedDecision(deferral)) }, deferred)
    }

    pub(crate) fn erase(self) -> ErasedDecision {
        match self.kind {
            Kind::Accept(accept, state) => ErasedDecision::Accept(accept, Box::new(state)),
            Kind::Respond(response) => ErasedDecision::Respond(response),
            Kind::Deferred(awaited) => ErasedDecision::Deferred(awaited),
        }
    }
}

impl<S> From<Response> for Decision<S> {
    fn from(response: Response) -> Self {
        Decision::respond(response)
    }
}

/// `Ok` accepts an opening handshake, as [`Decision::accept`] does, and `Err` answers. For functions
/// that use `?`.
impl<S> From<Result<S, Response>> for Decision<S> {
    fn from(result: Result<S, Response>) -> Self {
        result.map_or_else(Decision::respond, Decision::accept)
    }
}

/// A deferred decision, to be made from any thread. Dropping it undecided answers the request with
/// 500.
///
/// From [`Decision::defer`].
pub struct Deferred<S: Send + 'static> {
    deferral: Arc<Deferral>,
    decided: bool,
    _state: PhantomData<fn(S)>,
}

impl<S: Send + 'static> fmt::Debug for Deferred<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("waiting", &self.is_waiting()).finish_non_exhaustive()
    }
}

impl<S: Send + 'static> Deferred<S> {
    /// Whether the request still waited for the decision a moment ago. False once the peer has
    /// left, the deadline has passed, or the callback has returned another decision.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !matches!(*lock(&self.deferral.step), Step::Over)
    }

    /// Makes the decision. If the request no longer waits for one, `decision` and its state are
    /// dropped. A decision made before the loop has seen the deadline pass counts, however late it
    /// reaches the loop.
    ///
    /// A `decision` that is itself deferred defers this one further.
    pub fn decide(mut self, decision: Decision<S>) {
        self.decided = true;
        self.deferral.decide(decision.erase());
    }
}

impl<S: Send + 'static> Drop for Deferred<S> {
    fn drop(&mut self) {
        if !self.decided {
            self.deferral.decide(ErasedDecision::Respond(Refusal::Internal.to_response()));
        }
    }
}

/// A decision without its type.
pub(crate) enum ErasedDecision {
    Accept(Accept, Box<dyn Any + Send>),
    Respond(Response),
    Deferred(AwaitedDecision),
}

/// The request's side of a deferred decision. Dropping it ends the request's wait.
pub(crate) struct AwaitedDecision(Arc<Deferral>);

/// The state that both sides of a deferred decision share.
struct Deferral {
    step: Mutex<Step>,
}

/// The progress of a deferred decision.
enum Step {
    /// The callback has not returned yet.
    Returning,
    /// The decision was made before the callback returned.
    Decided(ErasedDecision),
    /// A request waits, and this closure sends it the decision.
    Waiting(Box<dyn FnOnce(ErasedDecision) + Send>),
    /// No request waits, or the decision is on its way.
    Over,
}

impl Deferral {
    fn decide(&self, decision: ErasedDecision) {
        let mut step = lock(&self.step);
        match std::mem::replace(&mut *step, Step::Over) {
            Step::Returning => *step = Step::Decided(decision),
            Step::Waiting(send) => {
                drop(step);
                send(decision);
            }
            // Application values inside the decision may be slow to drop: not under the lock.
            Step::Decided(_) | Step::Over => drop(step),
        }
    }
}

impl AwaitedDecision {
    /// Starts the request's wait; `send` delivers the decision later. Returns the decision if it
    /// has already been made.
    pub(crate) fn wait(&self, send: impl FnOnce(ErasedDecision) + Send + 'static) -> Option<ErasedDecision> {
        let mut step = lock(&self.0.step);
        match std::mem::replace(&mut *step, Step::Over) {
            Step::Decided(decision) => Some(decision),
            Step::Returning => {
                *step = Step::Waiting(Box::new(send));
                None
            }
            Step::Waiting(_) | Step::Over => unreachable!("a decision is returned once"),
        }
    }
}

impl AwaitedDecision {
    /// Ends the request's wait. Returns false if the decision has already been made: it then
    /// arrives, however late.
    pub(crate) fn give_up(&self) -> bool {
        !matches!(self.end(), Step::Over)
    }

    fn end(&self) -> Step {
        std::mem::replace(&mut *lock(&self.0.step), Step::Over)
    }
}

impl Drop for AwaitedDecision {
    fn drop(&mut self) {
        self.end();
    }
}
