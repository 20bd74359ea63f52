//! The buffers of a thread, which its connections borrow in turn: a connection that waits holds
//! none.

use framewright::deflate::DeflateMemory;
use framewright::{Connection, RecvBuffer};
use framewright_driver::{KEEP_FOR, Lent};
use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// The room in bytes of a new receive buffer, and the most that a read of short frames asks for.
pub(crate) const READ_SIZE: usize = 64 << 10;
/// The size in bytes of a message by which a thread's pools are sized: each keeps four such buffers,
/// and no more than 16 MiB.
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
    /// A receive buffer of the usual size.
    rx: Option<Box<RecvBuffer>>,
    /// When to look for what was unused for long.
    trim: Instant,
}

/// The buffers of this thread, for one poll of a connection. A stream that is itself made of such
/// connections finds them gone meanwhile, and makes others.
pub(crate) struct Borrowed(Option<Box<Kept>>);

impl Borrowed {
    pub(crate) fn of_this_thread(now: Instant) -> Borrowed {
        let kept = THREAD.try_with(Cell::take).ok().flatten();
        Borrowed(Some(kept.unwrap_or_else(|| {
            let lent = Lent::new(READ_SIZE, LARGEST_KEPT, Arc::clone(&MEMORY));
            Box::new(Kept { lent, rx: None, trim: now + KEEP_FOR })
        })))
    }

    fn kept(&mut self) -> &mut Kept {
        self.0.as_mut().expect("it is there until this is dropped")
    }

    pub(crate) fn lent(&mut self) -> &mut Lent {
        &mut self.kept().lent
    }

    /// Lends a connection what it needs to send a message of `message` bytes, and to inflate.
    pub(crate) fn lend(&mut self, connection: &mut Connection, message: usize, now: Instant) {
        self.lent().lend_for(connection, message, now);
    }

    /// Takes back what a connection was lent, and any other buffer that it sends from and that is
    /// empty.
    pub(crate) fn reclaim(&mut self, connection: &mut Connection, now: Instant) {
        self.lent().reclaim(connection, now);
    }

    /// A receive buffer with what was parked.
    #[inline]
    pub(crate) fn receive_buffer(
        &mut self,
        parked: Option<Box<RecvBuffer>>,
        now: Instant,
    ) -> Box<RecvBuffer> {
        let Kept { lent, rx, .. } = self.kept();
        match (parked, rx.take()) {
            (None, Some(rx)) => rx,
            (parked, kept) => {
                *rx = kept;
                lent.receive_buffer(parked, READ_SIZE, now)
            }
        }
    }

    /// Takes a receive buffer back, and returns what has to be kept of it.
    #[inline]
    pub(crate) fn rest(&mut self, mut buffer: Box<RecvBuffer>, now: Instant) -> Option<Box<RecvBuffer>> {
        let Kept { lent, rx, .. } = self.kept();
        if rx.is_none() && buffer.is_empty() && buffer.capacity() == READ_SIZE {
            buffer.clear();
            *rx = Some(buffer);
            return None;
        }
        lent.rest(buffer, now)
    }

    /// Gives the buffers back to the thread.
    pub(crate) fn give_back(mut self, now: Instant) {
        let Some(mut kept) = self.0.take() else { return };
        if now >= kept.trim {
            kept.lent.trim(now);
            kept.trim = now + KEEP_FOR;
        }
        // A thread that ends has no place for them any more.
        let _ = THREAD.try_with(|thread| thread.set(Some(kept)));
    }
}
