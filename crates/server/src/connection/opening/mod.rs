//! The opening phase of a connection: reads a request, finds its route, asks the handler, and
//! writes the answer.

mod answer;
mod reading;
mod request;

use crate::api::decision::{AwaitedDecision, ErasedDecision};
use crate::api::route::{Route, RouteId};
use crate::context::LoopContext;
use crate::event_loop::limits::Counted;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{Arrival, PeerAddr, Stream};
use crate::proxies::proxy_header;
use crate::stats::{Outcome, refused_for};
pub(crate) use answer::Opens;
use answer::OutgoingAnswer;
use framewright::handshake::{HeadLimits, Refusal, ServerHandshake, Upgrade};
use framewright_driver::{Lingering, Ready, Rest};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Content bytes that are read and discarded at most, after an answer other than a 101.
const REFUSED_CONTENT: u64 = 32 << 20;

pub(crate) struct Opening {
    handshake: ServerHandshake,
    /// The bytes received, from the first one on, in `head[..len]`. Not used for a head that
    /// arrives in one piece.
    head: Vec<u8>,
    len: usize,
    head_limit: usize,
    peer: Option<PeerAddr>,
    /// The peer, or the address from a header of the PROXY protocol; `None` if that names no
    /// address.
    source: Option<PeerAddr>,
    /// True while a header of the PROXY protocol is expected first.
    wants_proxy_header: bool,
    /// True if the connection is counted for its client's address, or need not be.
    address_counted: bool,
    /// See [`Socket::id`](crate::Socket::id); 0 before a handler is asked.
    id: u64,
    /// For the whole opening phase: request, decision and answer. A long answer renews it with its
    /// first bytes, and again whenever the peer has taken another [`PROGRESS`] bytes.
    deadline: Option<Instant>,
    /// Bytes of the answer sent at which the deadline is renewed.
    renewal: usize,
    timeout: Duration,
    /// True if the request was a HEAD, whose answer has no body.
    head_only: bool,
    /// True if the connection is lost in both directions.
    pub(crate) lost: bool,
    /// True if the peer has ended its direction.
    pub(crate) ended: bool,
    /// True if the deadline has passed in the middle of the answer.
    late: bool,
    /// Bytes of the request's content that did not arrive with its head.
    content: u64,
    /// Bytes of the answer written in the last turn.
    written: usize,
    /// The request's route, once its path is known.
    route: Option<RouteId>,
    /// The count that the answer belongs to, until its first bytes are written.
    outcome: Option<Outcome>,
    step: OpeningStep,
}

/// What follows a turn.
pub(crate) enum OpeningNext {
    /// Wait for readiness or for the deadline.
    Wait,
    /// There is more to write, after others.
    Again,
    /// The 101 has been sent.
    Open(Opens),
    /// Another answer has been sent: discard the remaining input, and end the transport.
    Linger,
    /// The connection has ended.
    Remove,
}

enum OpeningStep {
    Reading,
    /// The handler has deferred its decision.
    Waiting(PendingRequest),
    /// A deferred decision has been made.
    Decided(Option<ErasedDecision>, Arc<PutRequest>),
    Answering(OutgoingAnswer),
}

/// A request that was passed to its handler, with what is needed to carry out the decision.
struct PutRequest {
    route: Arc<Route>,
    upgrade: Option<Upgrade>,
    head_len: usize,
}

/// A request whose decision is deferred.
struct PendingRequest {
    asked: Arc<PutRequest>,
    awaited: AwaitedDecision,
}

impl Opening {
    pub(crate) fn new(limits: &HeadLimits, timeout: Duration, arrival: Arrival, now: Instant) -> Opening {
        let Arrival { peer, by_proxy, has_proxy_header } = arrival;
        let before_head = if has_proxy_header { proxy_header::MAX_HEADER } else { 0 };
        Opening {
            handshake: ServerHandshake::new(*limits, now, timeout),
            head: Vec::new(),
            len: 0,
            head_limit: limits.head.saturating_add(before_head),
            peer,
            source: peer,
            wants_proxy_header: has_proxy_header,
            address_counted: !by_proxy,
            id: 0,
            deadline: now.checked_add(timeout),
            renewal: 0,
            timeout,
            head_only: false,
            lost: false,
            ended: false,
            late: false,
            content: 0,
            written: 0,
            route: None,
            outcome: None,
            step: OpeningStep::Reading,
        }
    }

    /// A connection that is refused whatever it requests.
    pub(crate) fn refused(refusal: Refusal, outcome: Outcome, timeout: Duration, now: Instant) -> Opening {
        let mut opening = Opening::new(&HeadLimits::default(), timeout, Arrival::default(), now);
        opening.answer(&refusal.to_response(), outcome);
        opening
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Refuses a connection without an answer yet, because the server stops.
    pub(crate) fn drain(&mut self, retry_after: Duration) {
        // A 101 under way opens a connection, which is then closed.
        if !matches!(self.step, OpeningStep::Answering(_)) {
            self.refuse(Refusal::Draining { retry_after });
        }
    }

    /// Gives the TLS handshake a second to be completed, so that the peer can get its answer: the
    /// server stops.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let second = now + Duration::from_secs(1);
        self.deadline = Some(self.deadline.map_or(second, |deadline| deadline.min(second)));
    }

    /// Bytes held: the request, the bytes received after it, and the answer.
    pub(crate) fn held(&self) -> usize {
        let answer = match &self.step {
            OpeningStep::Answering(answer) => answer.held(),
            _ => 0,
        };
        self.head.capacity() + answer
    }

    /// Bytes of those that the last turn has moved. A request counts nothing: it is small and has
    /// its deadline.
    pub(crate) fn progress(&self) -> usize {
        self.written
    }

    /// Refuses a connection without an answer yet, because other connections need the memory.
    /// Returns false if an answer is under way already.
    pub(crate) fn give_way(&mut self, stream: &Stream, retry_after: Duration) -> bool {
        let answers = matches!(self.step, OpeningStep::Answering(_));
        if !answers && stream.is_handshaking() {
            self.refuse_unheard(refused_for(&Refusal::NoMemory { retry_after }));
            return false;
        }
        if !answers {
            (self.head, self.len) = (Vec::new(), 0);
            self.refuse(Refusal::NoMemory { retry_after });
        }
        !answers
    }

    /// Takes a deferred decision, which the next turn carries out.
    pub(crate) fn decide(&mut self, decision: ErasedDecision) {
        match std::mem::replace(&mut self.step, OpeningStep::Reading) {
            OpeningStep::Waiting(pending) => {
                self.step = OpeningStep::Decided(Some(decision), pending.asked);
            }
            // The decision is no longer needed: the request has been answered otherwise.
            step => self.step = step,
        }
    }

    pub(crate) fn turn(
        &mut self,
        stream: &mut Stream,
        key: Key,
        ready: &mut Ready,
        counted: &mut Option<Counted>,
        context: &mut LoopContext,
    ) -> OpeningNext {
        let due =
            std::mem::take(&mut ready.due) && self.deadline.is_some_and(|deadline| context.now >= deadline);
        // An answer gets one more write, since a kernel reports free buffer space late.
        let was_answering = matches!(self.step, OpeningStep::Answering(_));
        let was_reading = matches!(self.step, OpeningStep::Reading);
        if let OpeningStep::Decided(decision, asked) = &mut self.step
            && let Some(decision) = decision.take()
        {
            let asked = Arc::clone(asked);
            let head = std::mem::take(&mut self.head);
            self.carry_out(decision, &head[..self.len], asked, key, context);
            if matches!(self.step, OpeningStep::Waiting(_)) {
                self.head = head;
            }
        }
        if self.is_refused_silently() {
            return OpeningNext::Remove;
        }
        // What is left of the TLS handshake, if there is room again. Session tickets leave with the
        // answer.
        stream.flush_offered();
        while matches!(self.step, OpeningStep::Reading) && ready.read {
            if let Some(next) = self.read(stream, key, ready, counted, context) {
                return next;
            }
        }
        if due && !was_answering {
            self.time_is_up(context.now, was_reading);
        }
        if self.is_refused_silently() {
            return OpeningNext::Remove;
        }
        match &mut self.step {
            OpeningStep::Answering(_) => {
                self.count(context);
                let next = self.write(stream, context.now);
                #[cfg(feature = "tls")]
                if matches!(next, OpeningNext::Remove)
                    && let Some(next) = self.after_fault(stream, context)
                {
                    return next;
                }
                let is_over = due && was_answering && self.deadline.is_some_and(|at| context.now >= at);
                self.late = is_over && matches!(next, OpeningNext::Wait);
                if self.late { OpeningNext::Remove } else { next }
            }
            // A peer that disconnects while the decision is pending is dropped. One that only
            // half-closed can still receive a page, but not speak WebSocket.
            OpeningStep::Waiting(waiting) if self.lost || (self.ended && waiting.asked.upgrade.is_some()) => {
                OpeningNext::Remove
            }
            _ => OpeningNext::Wait,
        }
    }

    /// Refuses a connection that cannot get an answer, because its TLS handshake is not complete.
    /// The connection is to be removed.
    fn refuse_unheard(&mut self, outcome: Outcome) {
        tracing::debug!(peer = ?self.peer, "refused: the TLS handshake is not complete");
        self.outcome = Some(outcome);
    }

    /// True if the connection was refused before it sent its header of the PROXY protocol.
    fn is_refused_silently(&self) -> bool {
        self.wants_proxy_header && self.outcome.is_some()
    }

    /// Counts the answer, once, and before it is sent: a peer that has received the answer finds it
    /// counted.
    fn count(&mut self, context: &LoopContext) {
        if let Some(outcome) = self.outcome.take() {
            outcome(context.counted.of(self.route.map(RouteId::index))).add(1);
        }
    }

    /// Counts the outcome of a connection that is removed in this phase.
    pub(crate) fn finish(&self, context: &LoopContext) {
        let counted = context.counted.of(self.route.map(RouteId::index));
        match (&self.step, self.outcome) {
            (OpeningStep::Answering(answer), None) if answer.opens.is_none() => {}
            (OpeningStep::Answering(_), None) => counted.note_cut(self.late),
            // Refused without an answer.
            (OpeningStep::Reading, Some(outcome)) => outcome(counted).add(1),
            _ => counted.abandoned.add(1),
        }
    }

    /// Handles a deadline that has passed, after the bytes received have been read: a request that
    /// arrived while the loop was busy is in time.
    #[cold]
    fn time_is_up(&mut self, now: Instant, was_reading: bool) {
        match &self.step {
            // The request was complete only in this turn: the decision gets the full time.
            OpeningStep::Waiting(_) if was_reading => {
                self.deadline = now.checked_add(self.timeout);
                return;
            }
            OpeningStep::Reading => self.refuse(Refusal::HandshakeTimeout),
            OpeningStep::Waiting(decision) if decision.awaited.give_up() => {
                self.refuse(Refusal::DecisionTimeout);
            }
            // The decision is made, and queued behind other commands.
            OpeningStep::Waiting(_) | OpeningStep::Decided(..) | OpeningStep::Answering(_) => {}
        }
        // One more second for the decision to arrive, or for the answer to be taken.
        self.deadline = now.checked_add(Duration::from_secs(1));
    }

    /// Begins to linger after an answer other than a 101: the peer may still be sending the content
    /// of the refused request.
    pub(crate) fn linger(&self, stream: &mut Stream, ready: &Ready, now: Instant) -> Lingering {
        let rest = Rest { announced: self.content, most: REFUSED_CONTENT, time: Rest::TIME };
        Lingering::begin(stream, ready, rest, now)
    }
}
