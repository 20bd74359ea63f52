//! The opening phase of a connection: reads a request, finds its route, asks the handler, and
//! writes the answer.

use crate::api::decision::{AwaitedDecision, ErasedDecision};
use crate::api::handler::{Incoming, Origin};
use crate::api::route::{Found, Route, RouteId};
use crate::compression;
use crate::connection::open::{Open, span};
use crate::context::LoopContext;
use crate::event_loop::limits::{Counted, Owner};
use crate::event_loop::mailbox::Command;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{Arrival, PeerAddr, Stream};
use crate::guard::guarded;
use crate::memory::ledger::{PROGRESS, kib};
use crate::proxies::proxy_header::{self, HeaderError, Source};
use crate::proxies::trusted::ClientOf;
use crate::stats::{BAD_REQUEST, MAX_CONNECTIONS_PER_IP, OPENED, Outcome, PROXY, answered_with, refused_for};
#[cfg(feature = "tls")]
use crate::stats::{PLAIN_HTTP, TLS};
use framewright::Connection;
use framewright::deflate::Reservation;
use framewright::handshake::{
    Body, HeadLimits, Negotiated, Refusal, Request, Response, ServerHandshake, StatusCode, Upgrade,
};
#[cfg(feature = "tls")]
use framewright_driver::tls::Fault;
use framewright_driver::{Io, Lingering, Ready, Rest, Transport as _};
use std::any::Any;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// The step by which the buffer grows for a head that arrives in pieces.
const HEAD_STEP: usize = 1 << 10;

/// Content bytes that are read and discarded at most, after an answer other than a 101.
const REFUSED_CONTENT: u64 = 32 << 20;

/// Bytes of an answer that one turn writes at most, so that other connections get their turns.
const ANSWER_AT_ONCE: usize = 1 << 20;

/// The address that connections from a Unix socket are counted for, if no proxy names their client.
const NOBODY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The answer to a request whose malformed field does not allow telling the proxy's part from the
/// client's.
const MALFORMED_FORWARDED: &str = "malformed Forwarded (RFC 7239, section 4)\n";

/// The answer to HTTP without TLS.
#[cfg(feature = "tls")]
const SPEAKS_TLS: &str = "This port speaks TLS: use https:// or wss://\n";

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

struct OutgoingAnswer {
    /// A 101, or the head of another answer.
    octets: Vec<u8>,
    /// The body that follows `octets`.
    body: Body,
    /// True if the body belongs to the route, which keeps it as long as the server exists. Then it
    /// does not count as this connection's memory.
    is_of_route: bool,
    /// Bytes of head and body that have been sent.
    sent: usize,
    /// What a 101 opens; `None` for any other answer.
    opens: Option<Opens>,
}

/// The parts of the open connection, to be used once the 101 has been sent.
pub(crate) struct Opens {
    id: u64,
    negotiated: Negotiated,
    route: Arc<Route>,
    state: Box<dyn Any + Send>,
    /// The bytes received after the request's head.
    early: Vec<u8>,
    /// The memory reserved for context takeover.
    reservation: Option<Reservation>,
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

    /// What follows a read or write that has failed because the peer does not keep to TLS; `None` if
    /// it has failed otherwise.
    #[cfg(feature = "tls")]
    #[cold]
    fn after_fault(&mut self, stream: &mut Stream, context: &LoopContext) -> Option<OpeningNext> {
        let Stream::Tls(session) = stream else { return None };
        match session.fault()?.clone() {
            Fault::NotTls { is_http: true } if session.is_handshaking() => {
                session.give_up();
                tracing::debug!(peer = ?self.peer, "refused: HTTP without TLS");
                // One over a limit has its answer already, and is counted.
                if !matches!(self.step, OpeningStep::Answering(_)) {
                    self.answer(&Response::text(StatusCode::BAD_REQUEST, SPEAKS_TLS), PLAIN_HTTP);
                    self.count(context);
                }
                Some(self.write(stream, context.now))
            }
            fault @ (Fault::Tls(_) | Fault::NotTls { .. }) => {
                tracing::debug!(peer = ?self.peer, error = %fault, "refused: TLS");
                // An answer that waited for the handshake is counted already.
                if !matches!(self.step, OpeningStep::Answering(_)) {
                    self.outcome = Some(TLS);
                }
                if matches!(fault, Fault::NotTls { .. }) {
                    // Nothing is said that could get lost. It is counted when it is removed.
                    return Some(OpeningNext::Remove);
                }
                self.count(context);
                // The alert has to reach a peer that is still writing.
                Some(OpeningNext::Linger)
            }
            _ => None,
        }
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

    /// Writes as much of the answer as the peer accepts.
    fn write(&mut self, stream: &mut Stream, now: Instant) -> OpeningNext {
        let OpeningStep::Answering(answer) = &mut self.step else { return OpeningNext::Wait };
        let before = answer.sent;
        let next = answer.write(stream);
        self.written = answer.sent - before;
        if self.written > 0 && answer.sent >= self.renewal {
            self.renewal = answer.sent + PROGRESS;
            self.deadline = now.checked_add(self.timeout);
        }
        next
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

    /// Reads once, and processes the bytes received.
    fn read(
        &mut self,
        stream: &mut Stream,
        key: Key,
        ready: &mut Ready,
        counted: &mut Option<Counted>,
        context: &mut LoopContext,
    ) -> Option<OpeningNext> {
        let borrowed = self.head.is_empty();
        let mut octets = std::mem::take(if borrowed { &mut context.scratch } else { &mut self.head });
        if octets.len() - self.len < HEAD_STEP / 2 && octets.len() <= self.head_limit {
            octets.resize(octets.len() + HEAD_STEP, 0);
        }
        let room = octets.len() - self.len;
        let outcome = stream.read(&mut octets[self.len..]);
        let mut fault = None;
        if let Io::Moved(count) = outcome
            && count > 0
        {
            ready.note_read(stream, count, room);
            self.len += count;
            if self.wants_proxy_header {
                fault = self.take_proxy_header(&mut octets, counted, context).err();
                #[cfg(feature = "tls")]
                if !self.wants_proxy_header
                    && let Stream::Tls(session) = &mut *stream
                {
                    session.begin(&octets[..self.len]);
                    (self.len, ready.read) = (0, true);
                }
            }
            if !self.wants_proxy_header && matches!(self.step, OpeningStep::Reading) {
                self.parse(&octets[..self.len], (key, stream), counted, context);
            }
            // The bytes received are needed again, unless the answer is under way.
            if borrowed && !matches!(self.step, OpeningStep::Answering(_)) {
                self.head = octets[..self.len].to_vec();
            }
        }
        if borrowed {
            context.scratch = octets;
        } else if !matches!(self.step, OpeningStep::Answering(_)) {
            self.head = octets;
        }
        if let Some(error) = fault {
            // A peer that does not speak the protocol expected here would not understand an answer.
            tracing::debug!(peer = ?self.peer, %error, "refused");
            self.outcome = Some(PROXY);
            return Some(OpeningNext::Remove);
        }
        #[cfg(feature = "tls")]
        if outcome == Io::Lost
            && let Some(next) = self.after_fault(stream, context)
        {
            return Some(next);
        }
        match outcome {
            Io::Moved(0) => {
                // It has room for a few octets: nothing was sent but the handshake.
                stream.end();
                Some(OpeningNext::Remove)
            }
            Io::Lost => Some(OpeningNext::Remove),
            Io::Blocked => {
                ready.read = false;
                None
            }
            Io::Moved(_) => None,
        }
    }

    /// Removes the header of the PROXY protocol from the start of `octets`, once it is complete.
    fn take_proxy_header(
        &mut self,
        octets: &mut [u8],
        counted: &mut Option<Counted>,
        context: &LoopContext,
    ) -> Result<(), HeaderError> {
        let Some((source, header_len)) = proxy_header::parse(&octets[..self.len])? else { return Ok(()) };
        octets.copy_within(header_len..self.len, 0);
        (self.wants_proxy_header, self.len) = (false, self.len - header_len);
        match source {
            Source::Proxy => {}
            Source::Ip(addr) => self.source = Some(PeerAddr::Ip(addr)),
            // An unknown client, which is not the proxy. No proxy has checked the fields of its
            // request.
            Source::Unnamed => self.source = None,
        }
        // Another proxy is not counted for its address: its client is known only with the request.
        if !context.server.proxies.trusts(self.source) {
            let owner = match self.source.and_then(PeerAddr::ip) {
                Some(ip) => Owner::Address(ip),
                None => Owner::UnnamedBy(self.ip_of_hop()),
            };
            self.count_for(owner, counted, context);
        }
        Ok(())
    }

    /// The address of the nearest known sender of the request: the proxy's, if that does not name
    /// the client.
    fn ip_of_hop(&self) -> IpAddr {
        self.source.or(self.peer).and_then(PeerAddr::ip).unwrap_or(NOBODY)
    }

    /// Counts the connection for `owner`, unless it is counted already. Refuses it if it exceeds
    /// the limit.
    fn count_for(&mut self, owner: Owner, counted: &mut Option<Counted>, context: &LoopContext) {
        let server = &context.server;
        if std::mem::replace(&mut self.address_counted, true) {
            return;
        }
        if let Some(counted) = counted
            && let Err(refused) = server.totals.counters.count_for(counted, owner)
        {
            tracing::debug!(peer = ?self.peer, client = ?owner, ?refused, "a connection over a limit");
            let refusal = Refusal::TooManyConnections { retry_after: server.limits.retry_after };
            self.answer(&refusal.to_response(), MAX_CONNECTIONS_PER_IP);
        }
    }

    /// Parses `octets`, which are all bytes received.
    fn parse(
        &mut self,
        octets: &[u8],
        who: (Key, &Stream),
        counted: &mut Option<Counted>,
        context: &mut LoopContext,
    ) {
        match self.handshake.parse(octets) {
            Ok(None) => {}
            Ok(Some(head_len)) => self.request(octets, head_len, who, counted, context),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// The head is complete: finds the route and asks its handler.
    fn request(
        &mut self,
        octets: &[u8],
        head_len: usize,
        (key, stream): (Key, &Stream),
        counted: &mut Option<Counted>,
        context: &mut LoopContext,
    ) {
        let request = self.handshake.request(octets);
        self.head_only = request.method() == "HEAD";
        let come = (octets.len() - head_len) as u64;
        self.content = request.content_length().unwrap_or(0).saturating_sub(come);
        let context = &*context;
        let Ok(client) = context.server.proxies.client(&request, self.source) else {
            tracing::debug!(peer = ?self.peer, "refused: {MALFORMED_FORWARDED}");
            let response = Response::text(StatusCode::BAD_REQUEST, MALFORMED_FORWARDED);
            return self.answer(&response, BAD_REQUEST);
        };
        let owner = match client {
            ClientOf::Itself(ip) => Owner::Address(ip.unwrap_or(NOBODY)),
            ClientOf::Named(ip) => Owner::Address(ip),
            ClientOf::Unnamed => Owner::UnnamedBy(self.ip_of_hop()),
        };
        self.count_for(owner, counted, context);
        if !matches!(self.step, OpeningStep::Reading) {
            return;
        }
        let request = self.handshake.request(octets);
        let found = context.server.routes.find(request.path());
        self.route = found.as_ref().map(|found| found.route.id());
        let (params, asked) = match check(&request, found, context) {
            Ok((found, upgrade)) => {
                (found.params, PutRequest { route: Arc::clone(found.route), upgrade, head_len })
            }
            Err(refusal) => {
                tracing::debug!(path = ?request.path(), %refusal, "refused");
                return self.answer(&refusal.to_response(), refused_for(&refusal));
            }
        };
        self.id = context.server.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let origin = Origin { client: client.ip(), stream };
        let stats = || context.server.totals.stats();
        let incoming = Incoming::new(request, params, self.id, origin, asked.upgrade.is_some(), &stats);
        let span = span(self.id, &asked.route, || stream.peer_addr());
        let _inside = span.enter();
        let ask = || asked.route.handler.on_request(&incoming);
        let decision = guarded(ask).unwrap_or_else(|| {
            tracing::error!("a handler panicked on a request; it is answered with 500");
            ErasedDecision::Respond(Refusal::Internal.to_response())
        });
        self.carry_out(decision, octets, Arc::new(asked), key, context);
    }

    fn carry_out(
        &mut self,
        mut decision: ErasedDecision,
        octets: &[u8],
        asked: Arc<PutRequest>,
        key: Key,
        context: &LoopContext,
    ) {
        while let ErasedDecision::Deferred(awaited) = decision {
            let mailbox = Arc::clone(&context.mailbox);
            // Once the loop has ended, the decision is not needed.
            let send = move |made| drop(mailbox.post(Command::Decide(key, made)));
            match awaited.wait(send) {
                Some(made) => decision = made,
                // Until the decision, the bytes received with the request are kept, for as long as
                // the application takes.
                None if matches!(self.step, OpeningStep::Reading)
                    && !context.server.totals.ledger.has_room(kib(octets.len())) =>
                {
                    let retry_after = context.server.limits.retry_after;
                    return self.refuse(Refusal::NoMemory { retry_after });
                }
                None => {
                    self.step = OpeningStep::Waiting(PendingRequest { asked, awaited });
                    return;
                }
            }
        }
        match (decision, &asked.upgrade) {
            (ErasedDecision::Respond(response), upgrade) => {
                let outcome = answered_with(response.status(), upgrade.is_some());
                self.answer(&response, outcome);
                if let OpeningStep::Answering(answer) = &mut self.step {
                    answer.is_of_route = asked.route.holds_bodies();
                }
            }
            (ErasedDecision::Accept(accept, state), Some(upgrade)) => {
                let server = &context.server;
                let mut out = Vec::with_capacity(256);
                let request = self.handshake.request(octets);
                let (accept, reservation) =
                    compression::negotiate(&server.totals.compression, accept, &request, &asked.route);
                match upgrade.accept(&request, &accept, &mut out) {
                    Ok(negotiated) => {
                        let (route, early) = (Arc::clone(&asked.route), octets[asked.head_len..].to_vec());
                        let opens = Some(Opens { id: self.id, negotiated, route, state, early, reservation });
                        self.outcome = Some(OPENED);
                        let body = Body::default();
                        self.step = OpeningStep::Answering(OutgoingAnswer {
                            octets: out,
                            body,
                            is_of_route: false,
                            sent: 0,
                            opens,
                        });
                    }
                    Err(error) => {
                        tracing::error!(%error, "a handler accepted what the client did not offer");
                        self.refuse(Refusal::Internal);
                    }
                }
            }
            (ErasedDecision::Accept(..), None) => {
                tracing::error!("a handler accepted an ordinary request; it is answered with 500");
                self.refuse(Refusal::Internal);
            }
            (ErasedDecision::Deferred(_), _) => unreachable!("it was resolved above"),
        }
    }

    /// Begins to linger after an answer other than a 101: the peer may still be sending the content
    /// of the refused request.
    pub(crate) fn linger(&self, stream: &mut Stream, ready: &Ready, now: Instant) -> Lingering {
        let rest = Rest { announced: self.content, most: REFUSED_CONTENT, time: Rest::TIME };
        Lingering::begin(stream, ready, rest, now)
    }

    fn refuse(&mut self, refusal: Refusal) {
        tracing::debug!(%refusal, "refused");
        self.answer(&refusal.to_response(), refused_for(&refusal));
    }

    fn answer(&mut self, response: &Response, outcome: Outcome) {
        self.outcome = Some(outcome);
        if self.wants_proxy_header {
            // The recipient of the answer is not known: the turn ends without one.
            return;
        }
        let mut octets = Vec::with_capacity(512);
        response.encode_head(&httpdate::fmt_http_date(SystemTime::now()), &mut octets);
        let body = if self.head_only { Body::default() } else { response.content().clone() };
        self.step =
            OpeningStep::Answering(OutgoingAnswer { octets, body, is_of_route: false, sent: 0, opens: None });
    }
}

/// Checks whether the `found` route serves the request. Returns it, with the [`Upgrade`] to accept
/// if the request is an opening handshake.
fn check<'a>(
    request: &Request<'a>,
    found: Option<Found<'a>>,
    context: &LoopContext,
) -> Result<(Found<'a>, Option<Upgrade>), Refusal> {
    if context.draining {
        return Err(Refusal::Draining { retry_after: context.server.limits.retry_after });
    }
    let found = found.ok_or(Refusal::NotFound)?;
    let route = found.route;
    if !route.options.allowed_hosts.allows_request(request) {
        return Err(Refusal::HostNotAllowed);
    }
    let upgrade = if route.options.websocket_enabled { request.upgrade()? } else { None };
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
    //# If the server does not wish to accept this connection, it MUST return an
    //# appropriate HTTP error code (e.g., 403 Forbidden) and abort the
    //# WebSocket handshake described in this section.
    if upgrade.is_some() && !route.options.allowed_origins.allows_request(request) {
        return Err(Refusal::OriginNotAllowed);
    }
    Ok((found, upgrade))
}

impl OutgoingAnswer {
    /// Bytes held by the answer, and by the bytes received after the request.
    fn held(&self) -> usize {
        let early = self.opens.as_ref().map_or(0, |opens| opens.early.capacity());
        let body = if self.is_of_route { 0 } else { self.body.allocated_share() };
        self.octets.capacity() + body + early
    }

    fn write(&mut self, stream: &mut Stream) -> OpeningNext {
        let until = self.sent + ANSWER_AT_ONCE;
        while self.sent < self.octets.len() + self.body.len() {
            if self.sent >= until {
                return OpeningNext::Again;
            }
            let in_body = self.sent.saturating_sub(self.octets.len());
            let body = &self.body[in_body..];
            let slices = [
                IoSlice::new(self.octets.get(self.sent..).unwrap_or_default()),
                IoSlice::new(&body[..body.len().min(until - self.sent)]),
            ];
            // A single slice costs the kernel less than two.
            let slices = match (slices[0].is_empty(), slices[1].is_empty()) {
                (true, _) => &slices[1..],
                (_, true) => &slices[..1],
                _ => &slices[..],
            };
            match stream.write(slices) {
                Io::Moved(count) => self.sent += count,
                Io::Blocked => return OpeningNext::Wait,
                Io::Lost => return OpeningNext::Remove,
            }
        }
        match self.opens.take() {
            Some(opens) => OpeningNext::Open(opens),
            None => OpeningNext::Linger,
        }
    }
}

impl Opens {
    pub(crate) fn route_id(&self) -> RouteId {
        self.route.id()
    }

    pub(crate) fn open(self, context: &LoopContext) -> Open {
        let Opens { id, negotiated, route, state, early, reservation } = self;
        let mut connection = Connection::server(Arc::clone(&route.config), negotiated, context.now);
        if let Some(reservation) = reservation {
            connection.driver().set_deflate_reservation(reservation);
        }
        let mut open = Open::new(connection, id, state, &early);
        if context.draining {
            open.drain();
        }
        open
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::stats::MAX_CONNECTIONS;
    use std::io::Read as _;

    /// A peer that takes a long page step by step is not one that holds it without progress.
    #[test]
    fn what_a_peer_takes_of_an_answer_is_progress() {
        let (own, mut peer) = mio::net::UnixStream::pair().expect("a pair");
        let (mut stream, now) = (Stream::Unix(own), Instant::now());
        let mut opening = Opening::refused(Refusal::NotFound, MAX_CONNECTIONS, Duration::from_secs(1), now);
        let body = Body::from(vec![7; 8 << 20]);
        opening.step = OpeningStep::Answering(OutgoingAnswer {
            octets: Vec::new(),
            body,
            is_of_route: false,
            sent: 0,
            opens: None,
        });
        assert_eq!(opening.progress(), 0);
        let mut left = 8 << 20;
        while left > 0 {
            let next = opening.write(&mut stream, now);
            assert!(opening.progress() > 0, "{left} octets are left");
            left -= opening.progress();
            match next {
                OpeningNext::Again => assert!(opening.progress() >= ANSWER_AT_ONCE && left > 0),
                OpeningNext::Wait => {
                    opening.write(&mut stream, now);
                    assert_eq!(opening.progress(), 0, "nothing was taken in between");
                }
                _ => assert_eq!(left, 0),
            }
            while peer.read(&mut [0; 64 << 10]).is_ok() {}
        }
    }
}
