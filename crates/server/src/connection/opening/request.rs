//! A complete request: finds its route, asks the handler, and carries the decision out.

use super::answer::{Opens, OutgoingAnswer};
use super::{Opening, OpeningStep, PendingRequest, PutRequest};
use crate::api::decision::ErasedDecision;
use crate::api::handler::{Incoming, Origin};
use crate::api::route::Found;
use crate::compression;
use crate::connection::open::span;
use crate::context::LoopContext;
use crate::event_loop::limits::{Counted, Owner};
use crate::event_loop::mailbox::Command;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{PeerAddr, Stream};
use crate::guard::guarded;
use crate::memory::ledger::kib;
use crate::proxies::trusted::ClientOf;
use crate::stats::{BAD_REQUEST, MAX_CONNECTIONS_PER_IP, OPENED, answered_with, refused_for};
use framewright::handshake::{Body, Refusal, Request, Response, StatusCode, Upgrade};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The address that connections from a Unix socket are counted for, if no proxy names their client.
const NOBODY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The answer to a request whose malformed field does not allow telling the proxy's part from the
/// client's.
const MALFORMED_FORWARDED: &str = "malformed Forwarded (RFC 7239, section 4)\n";

impl Opening {
    /// The head is complete: finds the route and asks its handler.
    pub(super) fn request(
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

    pub(super) fn carry_out(
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

    /// The address of the nearest known sender of the request: the proxy's, if that does not name
    /// the client.
    pub(super) fn ip_of_hop(&self) -> IpAddr {
        self.source.or(self.peer).and_then(PeerAddr::ip).unwrap_or(NOBODY)
    }

    /// Counts the connection for `owner`, unless it is counted already. Refuses it if it exceeds
    /// the limit.
    pub(super) fn count_for(&mut self, owner: Owner, counted: &mut Option<Counted>, context: &LoopContext) {
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
