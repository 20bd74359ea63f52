//! The answer to a request, and what a 101 opens.

use super::{Opening, OpeningNext, OpeningStep};
use crate::api::route::{Route, RouteId};
use crate::connection::open::Open;
use crate::context::LoopContext;
use crate::event_loop::stream::Stream;
use crate::memory::ledger::PROGRESS;
use crate::stats::{Outcome, refused_for};
use framewright::Connection;
use framewright::deflate::Reservation;
use framewright::handshake::{Body, Negotiated, Refusal, Response};
use framewright_driver::{Io, Transport as _};
use std::any::Any;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Bytes of an answer that one turn writes at most, so that other connections get their turns.
const ANSWER_AT_ONCE: usize = 1 << 20;

pub(super) struct OutgoingAnswer {
    /// A 101, or the head of another answer.
    pub(super) octets: Vec<u8>,
    /// The body that follows `octets`.
    pub(super) body: Body,
    /// True if the body belongs to the route, which keeps it as long as the server exists. Then it
    /// does not count as this connection's memory.
    pub(super) is_of_route: bool,
    /// Bytes of head and body that have been sent.
    pub(super) sent: usize,
    /// What a 101 opens; `None` for any other answer.
    pub(super) opens: Option<Opens>,
}

/// The parts of the open connection, to be used once the 101 has been sent.
pub(crate) struct Opens {
    pub(super) id: u64,
    pub(super) negotiated: Negotiated,
    pub(super) route: Arc<Route>,
    pub(super) state: Box<dyn Any + Send>,
    /// The bytes received after the request's head.
    pub(super) early: Vec<u8>,
    /// The memory reserved for context takeover.
    pub(super) reservation: Option<Reservation>,
}

impl Opening {
    /// Writes as much of the answer as the peer accepts.
    pub(super) fn write(&mut self, stream: &mut Stream, now: Instant) -> OpeningNext {
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

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        tracing::debug!(%refusal, "refused");
        self.answer(&refusal.to_response(), refused_for(&refusal));
    }

    pub(super) fn answer(&mut self, response: &Response, outcome: Outcome) {
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

impl OutgoingAnswer {
    /// Bytes held by the answer, and by the bytes received after the request.
    pub(super) fn held(&self) -> usize {
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
    use std::time::Duration;

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
