//! What the connections of one event loop share: buffers that are lent to one at a time, and what the whole server knows.

use crate::api::options::ServerLimits;
use crate::api::route::Routes;
use crate::compression::{Memory, Shared};
use crate::event_loop::limits::Counters;
use crate::event_loop::mailbox::Mailbox;
use crate::pool::Pool;
use framewright::{Delivery, RecvBuffer, TransmitBuffer};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// What all loops of a server share.
pub(crate) struct Site {
    pub(crate) routes: Routes,
    pub(crate) limits: ServerLimits,
    pub(crate) counters: Counters,
    /// How many connections were opened: each has its number from here.
    pub(crate) opened: AtomicU64,
    pub(crate) compression: Memory,
}

/// What all connections of a loop share.
pub(crate) struct Context {
    pub(crate) site: Arc<Site>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// The time of this turn of the loop.
    pub(crate) now: Instant,
    /// Read into and decoded from by one connection at a time; empty in between.
    pub(crate) rx: RecvBuffer,
    /// Encoded into by one connection at a time, unless its last write was not taken whole.
    tx: Option<Box<TransmitBuffer>>,
    /// Those that such connections have given back.
    tx_pool: Pool<TransmitBuffer>,
    /// For heads that come in one piece, and for octets that nobody wants.
    pub(crate) scratch: Vec<u8>,
    /// For large messages in parts.
    pub(crate) pool: Pool<RecvBuffer>,
    /// For what is parked up to [`SHORT_TAIL`].
    pub(crate) tails: Pool<RecvBuffer>,
    pub(crate) compression: Shared,
    /// The server is stopping.
    pub(crate) draining: bool,
}

/// A tail of an incomplete frame up to this length is copied to the loop's buffer and back; a longer one gets a buffer that
/// is read into directly.
pub(crate) const SHORT_TAIL: usize = 4 << 10;

/// The most octets of buffers for short tails that wait for their next use.
const KEEP_TAILS: usize = 64 << 10;

/// The room in a new buffer for outgoing octets.
const NEW_TX: usize = 16 << 10;

/// One that has grown beyond this is lent only to who may need it.
const KEEP_TX: usize = 256 << 10;

impl Context {
    pub(crate) fn new(site: Arc<Site>, mailbox: Arc<Mailbox>) -> Context {
        let now = Instant::now();
        // Chunks are not held.
        let whole = site.routes.iter().filter(|route| route.config.delivery == Delivery::Whole);
        let max_message = whole.map(|route| route.config.max_message).max().unwrap_or(0);
        let mut context = Context {
            compression: Shared::new(site.compression.clone()),
            site,
            mailbox,
            now,
            rx: RecvBuffer::new(),
            tx: None,
            tx_pool: Pool::for_messages(max_message),
            scratch: Vec::new(),
            pool: Pool::for_messages(max_message),
            tails: Pool::with_keep(KEEP_TAILS),
            draining: false,
        };
        context.restore();
        context
    }

    /// Makes the buffers anew that a panic may have left in any state.
    pub(crate) fn restore(&mut self) {
        let sizes = self.site.routes.iter().map(|route| route.options.receive_buffer_size);
        let most = sizes.max().unwrap_or(0).clamp(SHORT_TAIL, 1 << 20);
        self.rx = RecvBuffer::with_capacity(most + 2 * SHORT_TAIL);
        self.scratch = vec![0; most.max(16 << 10)];
    }

    /// A buffer for outgoing octets. For a connection of which a message of so many octets is about to be complete, if possible
    /// a large one: what it answers may be as large.
    #[inline]
    pub(crate) fn lend(&mut self, message: usize) -> Box<TransmitBuffer> {
        let large =
            if message > KEEP_TX { self.tx_pool.take(message / 2..=message.saturating_mul(2)) } else { None };
        large
            .or_else(|| self.tx.take())
            .or_else(|| self.tx_pool.take(NEW_TX..=KEEP_TX))
            .unwrap_or_else(|| Box::new(TransmitBuffer::with_capacity(NEW_TX)))
    }

    /// Takes the lent buffer back, or another one that a connection no longer needs.
    #[inline]
    pub(crate) fn reclaim(&mut self, tx: Box<TransmitBuffer>) {
        if self.tx.is_none() && tx.capacity() <= KEEP_TX {
            self.tx = Some(tx);
        } else {
            self.tx_pool.put(self.now, tx);
        }
    }

    /// Frees buffers that nobody has wanted for a while. Returns how long until there is something to do here.
    pub(crate) fn trim(&mut self, now: Instant) -> Option<Duration> {
        let waits =
            [self.pool.trim(now), self.tails.trim(now), self.tx_pool.trim(now), self.compression.trim(now)];
        waits.into_iter().flatten().min()
    }
}
