//! What the connections of one event loop share, and what all loops of a server do.

use crate::api::options::ServerLimits;
use crate::api::route::Routes;
use crate::api::socket::LoopParts;
use crate::event_loop::limits::{Counters, LingerPlaces};
use crate::event_loop::mailbox::Mailbox;
use crate::event_loop::timers::Timers;
use crate::event_loop::walk::Waiting;
use crate::memory::ledger::{Holders, Ledger};
use crate::proxies::trusted::TrustedProxies;
use crate::stats::{LoopCounters, RouteStats, ServerCounters, ServerStats};
use framewright::deflate::DeflateMemory;
use framewright_driver::{Lent, SHORT_TAIL};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// What all loops of a server share.
pub(crate) struct ServerShared {
    pub(crate) routes: Routes,
    pub(crate) limits: ServerLimits,
    pub(crate) proxies: TrustedProxies,
    pub(crate) linger_places: LingerPlaces,
    /// How many requests were put to handlers: each connection has its number from here.
    pub(crate) requests: AtomicU64,
    pub(crate) totals: Arc<Totals>,
}

/// What a server counts, and all of it that its handles know: nothing of the application's, so that
/// a handler can have a handle of its own server and goes with it all the same.
pub(crate) struct Totals {
    /// The paths of its routes, as they were added; `None` for the fallback.
    pub(crate) paths: Vec<Option<Arc<str>>>,
    /// How many connections there are.
    pub(crate) counters: Counters,
    /// What was counted besides.
    pub(crate) counted: ServerCounters,
    /// What compression may hold.
    pub(crate) compression: Arc<DeflateMemory>,
    /// What connections hold besides.
    pub(crate) ledger: Arc<Ledger>,
    /// What waits to be done for all connections.
    pub(crate) waiting: Waiting,
}

impl Totals {
    /// See [`ServerHandle::stats`](crate::ServerHandle::stats).
    pub(crate) fn stats(&self) -> ServerStats {
        let route = |(index, path): (usize, &Option<Arc<str>>)| RouteStats {
            path: path.clone(),
            counts: self.counted.of(Some(index)),
        };
        ServerStats {
            connections: self.counters.open(),
            memory: self.ledger.stats(),
            #[cfg(feature = "deflate")]
            compression: self.compression.stats(),
            accepted: self.counted.accepted(),
            routes: self.paths.iter().enumerate().map(route).collect(),
            elsewhere: self.counted.of(None),
        }
    }
}

/// What all connections of a loop share.
pub(crate) struct LoopContext {
    pub(crate) server: Arc<ServerShared>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// What callbacks reach.
    pub(crate) parts: LoopParts,
    /// The time of the turn, read before it: a round of many turns may be long.
    pub(crate) now: Instant,
    /// What this loop counts.
    pub(crate) counted: Arc<LoopCounters>,
    /// What connections have charged.
    pub(crate) holders: Holders,
    /// What is lent to one connection at a time.
    pub(crate) lent: Lent,
    /// For heads that come in one piece, and for bytes that nobody wants.
    pub(crate) scratch: Vec<u8>,
    /// The server is stopping.
    pub(crate) draining: bool,
}

impl LoopContext {
    pub(crate) fn new(server: Arc<ServerShared>, mailbox: Arc<Mailbox>) -> LoopContext {
        let read_size = read_size(&server);
        LoopContext {
            lent: Lent::new(
                read_size,
                server.routes.largest_message(),
                Arc::clone(&server.totals.compression),
            ),
            scratch: new_scratch(read_size),
            parts: LoopParts {
                mailbox: Arc::clone(&mailbox),
                timers: RefCell::new(Timers::default()),
                parcels: RefCell::new(Vec::new()),
            },
            counted: server.totals.counted.add_loop(),
            holders: Holders::new(Arc::clone(&server.totals.ledger), Arc::clone(&mailbox)),
            server,
            mailbox,
            now: Instant::now(),
            draining: false,
        }
    }

    /// The time now, which is that of the turn from here on.
    pub(crate) fn read_clock(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// Makes the scratch buffer anew, which a panic may have taken along.
    pub(crate) fn restore_scratch(&mut self) {
        self.scratch = new_scratch(read_size(&self.server));
    }
}

/// The most bytes that a read asks for on any route.
fn read_size(server: &ServerShared) -> usize {
    let sizes = server.routes.iter().map(|route| route.options.receive_buffer_size);
    sizes.max().unwrap_or(0).clamp(SHORT_TAIL, 1 << 20)
}

fn new_scratch(read_size: usize) -> Vec<u8> {
    vec![0; read_size.max(16 << 10)]
}
