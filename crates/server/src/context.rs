//! State shared by the connections of one event loop, and by all loops of a server.

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
#[cfg(feature = "tls")]
use crate::tls::endpoints::TlsEndpoints;
use crate::topics::port::LoopPorts;
use framewright::deflate::DeflateMemory;
use framewright_driver::topics::Counters as TopicCounters;
use framewright_driver::{Lent, SHORT_TAIL};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// State shared by all loops of a server.
pub(crate) struct ServerShared {
    pub(crate) routes: Routes,
    pub(crate) limits: ServerLimits,
    pub(crate) proxies: TrustedProxies,
    /// The settings of its endpoints with TLS. Handles refer to them only while the server exists.
    #[cfg(feature = "tls")]
    pub(crate) tls: Arc<TlsEndpoints>,
    pub(crate) linger_places: LingerPlaces,
    /// Requests passed to handlers so far. Each connection takes its id from this count.
    pub(crate) requests: AtomicU64,
    pub(crate) totals: Arc<Totals>,
    /// The registry of topics. Handles refer to it only while the server exists: its observer is
    /// the application's.
    pub(crate) topics: LoopPorts,
}

/// The counts of a server, and all that its handles refer to. Nothing here belongs to the
/// application, so a handler can hold a handle of its own server without keeping itself alive.
pub(crate) struct Totals {
    /// The paths of its routes, in the order in which they were added; `None` for the fallback.
    pub(crate) paths: Vec<Option<Arc<str>>>,
    /// The counts of open connections, and their limits.
    pub(crate) counters: Counters,
    /// All other counts.
    pub(crate) counted: ServerCounters,
    /// The memory budget of compression.
    pub(crate) compression: Arc<DeflateMemory>,
    /// The account of the other memory that connections hold.
    pub(crate) ledger: Arc<Ledger>,
    /// The cost of the walks that are queued.
    pub(crate) waiting: Waiting,
    /// The counts of topics.
    pub(crate) topics: Arc<TopicCounters>,
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
            topics: self.topics.stats(),
            routes: self.paths.iter().enumerate().map(route).collect(),
            elsewhere: self.counted.of(None),
        }
    }
}

/// State shared by all connections of a loop.
pub(crate) struct LoopContext {
    pub(crate) server: Arc<ServerShared>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// The parts of the loop that callbacks can use.
    pub(crate) parts: LoopParts,
    /// The time of the current turn, read before it: a round of many turns may be long.
    pub(crate) now: Instant,
    /// The counts of this loop.
    pub(crate) counted: Arc<LoopCounters>,
    /// The memory charged to each connection.
    pub(crate) holders: Holders,
    /// Buffers and codecs lent to one connection at a time.
    pub(crate) lent: Lent,
    /// A buffer for request heads that arrive in one piece, and for bytes that are discarded.
    pub(crate) scratch: Vec<u8>,
    /// True once the server is stopping.
    pub(crate) draining: bool,
}

impl LoopContext {
    pub(crate) fn new(server: Arc<ServerShared>, mailbox: Arc<Mailbox>, index: usize) -> LoopContext {
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
                topics: RefCell::new(server.topics.of_loop(index)),
                server: None,
            },
            counted: server.totals.counted.add_loop(),
            holders: Holders::new(Arc::clone(&server.totals.ledger), Arc::clone(&mailbox)),
            server,
            mailbox,
            now: Instant::now(),
            draining: false,
        }
    }

    /// Reads the clock. The result is the time of the turn from here on.
    pub(crate) fn read_clock(&mut self) -> Instant {
        self.now = Instant::now();
        self.now
    }

    /// Allocates the scratch buffer again, after a panic that may have dropped it.
    pub(crate) fn restore_scratch(&mut self) {
        self.scratch = new_scratch(read_size(&self.server));
    }
}

/// The largest number of bytes that a read requests on any route.
fn read_size(server: &ServerShared) -> usize {
    let sizes = server.routes.iter().map(|route| route.options.receive_buffer_size);
    sizes.max().unwrap_or(0).clamp(SHORT_TAIL, 1 << 20)
}

fn new_scratch(read_size: usize) -> Vec<u8> {
    vec![0; read_size.max(16 << 10)]
}
