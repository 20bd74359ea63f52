//! What the connections of one event loop share: buffers that are lent to one at a time, and what the whole server knows.

use crate::counters::Counters;
use crate::mailbox::Mailbox;
use crate::options::ServerLimits;
use crate::pool::Pool;
use crate::route::Routes;
use framewright::{RecvBuffer, TransmitBuffer};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// What all loops of a server share.
pub(crate) struct Site {
    pub(crate) routes: Routes,
    pub(crate) limits: ServerLimits,
    pub(crate) counters: Counters,
    /// How many connections were opened: each has its number from here.
    pub(crate) opened: AtomicU64,
}

/// What all connections of a loop share.
pub(crate) struct Context {
    pub(crate) site: Arc<Site>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// The time of this turn of the loop.
    pub(crate) now: Instant,
    /// Read into and decoded from by one connection at a time; empty in between.
    pub(crate) rx: RecvBuffer,
    /// To encode into: one for the connection whose turn it is, and some for those whose last write was not taken whole.
    tx: Vec<Box<TransmitBuffer>>,
    /// For heads that come in one piece, and for octets that nobody wants.
    pub(crate) scratch: Vec<u8>,
    pub(crate) pool: Pool,
    /// The server is stopping.
    pub(crate) draining: bool,
}

/// A tail of an incomplete frame up to this length is copied to the loop's buffer and back; a longer one gets a buffer that
/// is read into directly.
pub(crate) const SHORT_TAIL: usize = 4 << 10;

/// The room in a new buffer for outgoing octets.
const NEW_TX: usize = 16 << 10;

/// How many of them wait for their next use.
const KEPT_TX: usize = 16;

/// One that has grown beyond this is not kept.
const KEEP_TX: usize = 256 << 10;

impl Context {
    pub(crate) fn new(site: Arc<Site>, mailbox: Arc<Mailbox>) -> Context {
        let now = Instant::now();
        let mut context = Context {
            site,
            mailbox,
            now,
            rx: RecvBuffer::new(),
            tx: Vec::new(),
            scratch: Vec::new(),
            pool: Pool::new(now),
            draining: false,
        };
        context.restore();
        context
    }

    /// Makes the buffers anew that a panic may have left with the connection they were lent to.
    pub(crate) fn restore(&mut self) {
        let sizes = self.site.routes.iter().map(|route| route.options.receive_buffer_size);
        let most = sizes.max().unwrap_or(0).clamp(SHORT_TAIL, 1 << 20);
        self.rx = RecvBuffer::with_capacity(most + 2 * SHORT_TAIL);
        self.scratch = vec![0; most.max(16 << 10)];
    }

    /// A buffer for outgoing octets.
    pub(crate) fn lend(&mut self) -> Box<TransmitBuffer> {
        self.tx.pop().unwrap_or_else(|| Box::new(TransmitBuffer::with_capacity(NEW_TX)))
    }

    /// Takes the lent buffer back, or another one that a connection no longer needs.
    pub(crate) fn reclaim(&mut self, tx: Box<TransmitBuffer>) {
        if self.tx.len() < KEPT_TX && tx.capacity() <= KEEP_TX {
            self.tx.push(tx);
        }
    }
}
