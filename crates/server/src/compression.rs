//! What a server, its event loops and its connections have to do with permessage-deflate (RFC 7692): with which terms it is
//! agreed on, and who is lent the one set of compressors and decompressors that a loop has.

use crate::api::route::Route;
use crate::pool::KEEP_FOR;
use framewright::deflate::{Codec, DeflateMemory, Reservation};
use framewright::handshake::{Accept, Request};
use framewright::{Connection, Role};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a whole server may hold for compression.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<DeflateMemory>);

impl Memory {
    pub(crate) fn new(cap: usize) -> Memory {
        Memory(DeflateMemory::new(cap))
    }

    pub(crate) fn stats(&self) -> framewright::deflate::DeflateMemoryStats {
        self.0.stats()
    }

    /// Adds to an answer that permessage-deflate would be agreed on, and how: as the handler says, or as the route does. Where
    /// there is no memory left for what context takeover would take, without it.
    pub(crate) fn offer(&self, accept: Accept, request: &Request<'_>, route: &Route) -> (Accept, Terms) {
        let Some(policy) = accept.deflate().or(route.options.compression) else {
            return (accept, Terms(None));
        };
        let agreed = policy.accept(request.extensions());
        let size =
            agreed.map_or(0, |answer| answer.params().takeover_size(Role::Server, &route.config.deflate));
        if size == 0 {
            return (accept.with_deflate(policy), Terms(None));
        }
        match self.0.reserve(size) {
            Some(reservation) => (accept.with_deflate(policy), Terms(Some(reservation))),
            None => (accept.with_deflate(policy.without_takeover()), Terms(None)),
        }
    }
}

/// What was reserved for a connection that is being accepted.
pub(crate) struct Terms(Option<Reservation>);

impl Terms {
    /// The connection keeps it.
    pub(crate) fn hand_over(self, connection: &mut Connection) {
        if let Some(reservation) = self.0 {
            connection.hold_reservation(reservation);
        }
    }
}

/// The compressors and decompressors of a loop: none until a connection needs them, and none after nobody has for a while.
pub(crate) struct Shared {
    memory: Memory,
    codec: Option<Box<Codec>>,
    used: Option<Instant>,
}

impl Shared {
    pub(crate) fn new(memory: Memory) -> Shared {
        Shared { memory, codec: None, used: None }
    }

    /// For the turn of a connection.
    #[inline]
    pub(crate) fn lend(&mut self, connection: &mut Connection) {
        if connection.compresses() {
            let codec = self.codec.take().unwrap_or_else(|| Box::new(Codec::new(Arc::clone(&self.memory.0))));
            self.codec = connection.lend_codec(codec);
        }
    }

    /// After its turn.
    #[inline]
    pub(crate) fn reclaim(&mut self, connection: &mut Connection, now: Instant) {
        if let Some(codec) = connection.reclaim_codec() {
            self.codec = Some(codec);
            self.used = Some(now);
        }
    }

    /// After a turn that panicked: in which state they are nobody knows.
    pub(crate) fn discard(&mut self, connection: &mut Connection) {
        drop(connection.reclaim_codec());
    }

    /// Frees them if nobody has used them for a while. Returns how long until there is something to do here.
    pub(crate) fn trim(&mut self, now: Instant) -> Option<Duration> {
        let idle = now.saturating_duration_since(self.used?);
        if idle < KEEP_FOR {
            return Some(KEEP_FOR - idle);
        }
        (self.codec, self.used) = (None, None);
        None
    }
}
