//! What a handler decides on a request.

use framewright::handshake::{Accept, Response};
use std::any::Any;
use std::sync::atomic::{AtomicU8, Ordering};

/// What to do with a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision<S> {
    /// Accept the opening handshake. The connection carries this state.
    Accept(Accept, S),
    /// Answer with this: a page, or a refusal. The connection is closed afterwards.
    Respond(Response),
    /// The decision will come through the [`Deferred`](crate::Deferred) that was taken.
    Deferred,
}

impl<S> Decision<S> {
    /// Accepts without subprotocol or fields of its own.
    #[must_use]
    pub fn accept(state: S) -> Decision<S> {
        Decision::Accept(Accept::new(), state)
    }

    /// Accepts with a subprotocol or with fields.
    #[must_use]
    pub fn accept_with(accept: Accept, state: S) -> Decision<S> {
        Decision::Accept(accept, state)
    }

    /// Answers with a response.
    #[must_use]
    pub fn respond(response: Response) -> Decision<S> {
        Decision::Respond(response)
    }
}

impl<S> From<Response> for Decision<S> {
    fn from(response: Response) -> Decision<S> {
        Decision::Respond(response)
    }
}

/// A decision without its type.
pub(crate) enum ErasedDecision {
    Accept(Accept, Box<dyn Any + Send>),
    Respond(Response),
    Deferred,
}

impl<S: Send + 'static> Decision<S> {
    pub(crate) fn erase(self) -> ErasedDecision {
        match self {
            Decision::Accept(accept, state) => ErasedDecision::Accept(accept, Box::new(state)),
            Decision::Respond(response) => ErasedDecision::Respond(response),
            Decision::Deferred => ErasedDecision::Deferred,
        }
    }
}

/// What the loop and whoever decides both know of a decision that was put off.
#[derive(Debug)]
pub(crate) struct Awaited(AtomicU8);

/// It is waited for.
const WAITING: u8 = 0;
/// It is made, and on its way to the loop: no deadline counts any more.
const MADE: u8 = 1;
/// The request has been answered otherwise, or the peer has left.
const OVER: u8 = 2;

// Only which of them comes first matters. What is decided travels through the loop's mailbox.
impl Awaited {
    pub(crate) fn new() -> Awaited {
        Awaited(AtomicU8::new(WAITING))
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WAITING
    }

    /// The decision is made. To be said before it is sent to the loop.
    pub(crate) fn note_made(&self) {
        self.end_as(MADE);
    }

    /// The loop waits no longer. Returns false if the decision is made already: then it comes.
    pub(crate) fn give_up(&self) -> bool {
        self.end_as(OVER)
    }

    fn end_as(&self, state: u8) -> bool {
        self.0.compare_exchange(WAITING, state, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
