//! How a loop accepts connections: here or in the loop with the fewest, or with a refusal over a
//! limit.

use crate::connection::opening::Opening;
use crate::connection::slot::{Place, Slot};
use crate::event_loop::EventLoop;
use crate::event_loop::limits::{Counted, Refused};
use crate::event_loop::listener::Listener;
use crate::event_loop::mailbox::{Command, Mailbox};
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{Arrival, PeerAddr, Stream};
use crate::stats::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_IP, PROXY, TLS};
use framewright::handshake::Refusal;
use mio::Interest;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The events that a connection's socket is registered for. They include TCP's urgent mark where
/// the system reports it ([`Ready::more_behind`](framewright_driver::Ready::more_behind)).
#[cfg(any(target_os = "linux", target_os = "android"))]
const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A loop keeps an accepted connection unless its load exceeds the smallest load of any loop by
/// more than one part in `UNEVEN`. A few connections are spread evenly; of many, most stay where
/// they are accepted. Handing one over costs a wake-up.
const UNEVEN: usize = 16;

/// Refused connections (over a limit) that a loop keeps for a moment, so that their peers can read
/// the answer. One more replaces the oldest.
const REFUSED_AT_ONCE: usize = 512;

impl EventLoop {
    pub(super) fn accept(&mut self) {
        let mut listeners = std::mem::take(&mut self.listeners);
        listeners.iter_mut().for_each(|listener| self.accept_from(listener));
        if self.stop_at.is_some() {
            // Listeners whose queue is empty are closed here.
            listeners.retain(|listener| listener.ready);
        }
        self.listeners = listeners;
    }

    /// Accepts the connections that are queued, up to
    /// [`ACCEPT_AT_ONCE`](crate::event_loop::listener::ACCEPT_AT_ONCE).
    pub(super) fn accept_from(&mut self, listener: &mut Listener) {
        let mut accepted = Vec::new();
        listener.accept(self.context.now, |stream, peer| accepted.push((stream, peer)));
        for (stream, peer) in accepted {
            let (by_proxy, has_proxy_header) =
                (self.context.server.proxies.trusts(peer), listener.proxy_protocol);
            if has_proxy_header && !by_proxy {
                // The peer is not trusted, so its header could not be believed.
                tracing::debug!(?peer, listener = %listener.addr(), "refused: only trusted proxies connect here");
                self.context.counted.accepted.add(1);
                PROXY(self.context.counted.of(None)).add(1);
                continue;
            }
            let Some(stream) = listener.secure(stream) else {
                self.context.counted.accepted.add(1);
                TLS(self.context.counted.of(None)).add(1);
                continue;
            };
            self.admit(stream, Arrival { peer, by_proxy, has_proxy_header });
        }
    }

    /// Admits a new connection, here or in the loop with the fewest. Which listening socket
    /// receives a connection is chance.
    pub(super) fn admit(&mut self, stream: Stream, arrival: Arrival) {
        self.context.counted.accepted.add(1);
        // The client behind a proxy is known only when its request has been read.
        let ip = arrival.peer.filter(|_| !arrival.by_proxy).and_then(PeerAddr::ip);
        let counted = match self.context.server.totals.counters.count(ip) {
            Ok(counted) => counted,
            Err(refused) => return self.refuse(stream, arrival.peer, refused),
        };
        match self.next_loop() {
            Some(mailbox) => self.hand_over(&mailbox, stream, arrival, counted),
            None => {
                self.context.mailbox.load.fetch_add(1, Ordering::Relaxed);
                self.adopt(stream, arrival, counted);
            }
        }
    }

    /// The loop that should get the next connection; `None` for this one.
    fn next_loop(&self) -> Option<Arc<Mailbox>> {
        // While the server stops, the other loops stop too, so a connection is refused by this one.
        let least =
            self.loops.iter().min_by_key(|mailbox| mailbox.load()).filter(|_| !self.context.draining)?;
        let is_fewer = self.context.mailbox.load() > least.load() + least.load() / UNEVEN;
        is_fewer.then(|| Arc::clone(least))
    }

    fn hand_over(&mut self, to: &Mailbox, stream: Stream, arrival: Arrival, counted: Counted) {
        to.load.fetch_add(1, Ordering::Relaxed);
        if let Err(Command::Adopt(stream, arrival, counted)) =
            to.post(Command::Adopt(stream, arrival, counted))
        {
            // The server is stopping: that loop has ended, and this one has not handled its `Stop`
            // yet.
            to.load.fetch_sub(1, Ordering::Relaxed);
            self.context.mailbox.load.fetch_add(1, Ordering::Relaxed);
            self.adopt(stream, arrival, counted);
        }
    }

    pub(super) fn adopt(&mut self, stream: Stream, arrival: Arrival, counted: Counted) {
        let limits = &self.context.server.limits;
        let mut opening = Opening::new(&limits.head, limits.handshake_timeout, arrival, self.context.now);
        if self.context.draining {
            opening.drain(limits.retry_after);
            if stream.is_handshaking() {
                opening.hurry(self.context.now);
            }
        }
        self.insert(stream, opening, Some(counted));
    }

    /// Answers a connection over a limit with 503. The answer fits into the empty send buffer of a
    /// new socket, so it is sent at once.
    fn refuse(&mut self, stream: Stream, peer: Option<PeerAddr>, refused: Refused) {
        tracing::debug!(
            ?peer,
            ?refused,
            open = self.context.server.totals.counters.open(),
            "a connection over a limit"
        );
        let limits = &self.context.server.limits;
        let refusal = Refusal::TooManyConnections { retry_after: limits.retry_after };
        let outcome = match refused {
            Refused::Connections => MAX_CONNECTIONS,
            Refused::ConnectionsFromAddress => MAX_CONNECTIONS_PER_IP,
        };
        let opening = Opening::refused(refusal, outcome, limits.handshake_timeout, self.context.now);
        if self.refused.len() >= REFUSED_AT_ONCE
            && let Some(oldest) = self.refused.pop_front()
        {
            self.remove(oldest);
        }
        let inserted = self.insert(stream, opening, None);
        self.refused.extend(inserted);
    }

    /// Gives a connection a place in the slab and its first turn. Returns its key, or `None` if
    /// there was no place or the socket could not be registered. The turn may have been its last.
    ///
    /// A TLS handshake takes as long as a thousand short messages, so that turn comes from the list
    /// of long turns: however many connections are accepted at once, the open ones have theirs in
    /// between.
    pub(super) fn insert(
        &mut self,
        stream: Stream,
        opening: Opening,
        counted: Option<Counted>,
    ) -> Option<Key> {
        let slot = Slot::new(stream, opening, counted);
        let is_counted = slot.is_counted();
        let Some(key) = self.slots.insert(slot) else {
            tracing::error!("no place for another connection");
            self.context.counted.of(None).abandoned.add(1);
            if is_counted {
                self.context.mailbox.load.fetch_sub(1, Ordering::Relaxed);
            }
            return None;
        };
        let registry = self.poll.registry();
        let slot = self.slots.get_mut(key).expect("just inserted");
        if let Err(error) = registry.register(&mut slot.stream, key.token(), INTERESTS) {
            tracing::warn!(%error, "a connection could not be watched");
            self.remove(key);
            return None;
        }
        // The request has often arrived already: reading now saves a round of the loop.
        slot.with_ready(|ready| ready.read = true);
        if slot.stream.is_handshaking() {
            slot.place = Place::Listed;
            self.long_turns.push_back(key);
        } else {
            self.take_turn(key);
        }
        Some(key)
    }
}
