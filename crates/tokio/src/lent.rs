//! The buffers of a thread, which its connections borrow in turn: a connection that waits holds
//! none.

use framewright::deflate::DeflateMemory;
use framewright_driver::{KEEP_FOR, Lent};
use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// The room in bytes of a new receive buffer, and the most that a read of short frames asks for.
pub(crate) const READ_SIZE: usize = 64 << 10;
/// The largest message for which a thread keeps buffers.
const LARGEST_KEPT: u64 = 4 << 20;
/// The bytes that compression may hold in all connections of the process.
const COMPRESSION: usize = 64 << 20;

/// The memory of compression in this process.
pub(crate) static MEMORY: LazyLock<Arc<DeflateMemory>> = LazyLock::new(|| DeflateMemory::new(COMPRESSION));

thread_local! {
    static THREAD: Cell<Option<Box<Kept>>> = const { Cell::new(None) };
}

struct Kept {
    lent: Lent,
    trimmed: Instant,
}

/// The buffers of this thread, for one poll of a connection. A stream that is itself made of such
/// connections finds them gone meanwhile, and makes others.
pub(crate) struct Borrowed(Option<Box<Kept>>);

impl Borrowed {
    pub(crate) fn of_this_thread(now: Instant) -> Borrowed {
        let kept = THREAD.try_with(Cell::take).ok().flatten();
        Borrowed(Some(kept.unwrap_or_else(|| {
            let lent = Lent::new(0, LARGEST_KEPT, Arc::clone(&MEMORY));
            Box::new(Kept { lent, trimmed: now })
        })))
    }

    pub(crate) fn lent(&mut self) -> &mut Lent {
        &mut self.0.as_mut().expect("it is there until this is dropped").lent
    }

    /// Gives the buffers back to the thread.
    pub(crate) fn give_back(mut self, now: Instant) {
        let Some(mut kept) = self.0.take() else { return };
        if now.saturating_duration_since(kept.trimmed) >= KEEP_FOR {
            kept.lent.trim(now);
            kept.trimmed = now;
        }
        // A thread that ends has no place for them any more.
        let _ = THREAD.try_with(|thread| thread.set(Some(kept)));
    }
}
