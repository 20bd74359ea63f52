//! What a handler decides on a request.

use framewright::handshake::{Accept, Response};
use std::any::Any;

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
