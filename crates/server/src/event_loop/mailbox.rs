//! How other threads reach an event loop: a queue and a waker.

use crate::api::decision::ErasedDecision;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{Arrival, Stream};
use crate::guard::lock;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a loop is asked to do.
pub(crate) enum Command {
    /// Take over a connection that another loop has accepted.
    Adopt(Stream, Arrival, crate::event_loop::limits::Counted),
    /// A connection's handle has queued something.
    Attend(Key),
    /// The decision on a deferred request.
    Decide(Key, ErasedDecision),
    /// A connection was told to go for the sake of others: it holds too much.
    GiveWay(Key),
    /// All hold too much together: some that hold little are to go.
    MakeRoom,
    /// There are new walks: see [`Walks`](crate::event_loop::walk::Walks).
    Walk,
    /// Stop, with everything ended by then.
    Stop(Instant),
}

/// The mailbox of one event loop.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// None once the loop has ended.
    commands: Mutex<Option<Vec<Command>>>,
    waker: mio::Waker,
    /// How many connections the loop has, for whoever spreads them.
    pub(crate) load: AtomicUsize,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

/// A thread that runs the loop of this mailbox.
#[derive(Debug)]
pub(crate) struct Here(Arc<Mailbox>);

impl Drop for Here {
    fn drop(&mut self) {
        // Another mailbox may come to lie at the same place.
        if self.0.is_here() {
            HERE.set(ptr::null());
        }
    }
}

thread_local! {
    /// The mailbox of the loop that this thread runs.
    static HERE: Cell<*const Mailbox> = const { Cell::new(ptr::null()) };
}

impl Mailbox {
    /// This thread runs the loop of this mailbox, as long as what is returned lives: longer than
    /// the loop, whose end calls the application too.
    #[must_use]
    pub(crate) fn enter(self: &Arc<Self>) -> Here {
        HERE.set(Arc::as_ptr(self));
        Here(Arc::clone(self))
    }

    /// Whether this thread runs the loop of this mailbox.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        ptr::eq(HERE.get(), self)
    }

    pub(crate) fn new(waker: mio::Waker) -> Mailbox {
        Mailbox { commands: Mutex::new(Some(Vec::new())), waker, load: AtomicUsize::new(0) }
    }

    /// Queues a command. The loop is woken by the first one of a batch only.
    ///
    /// # Errors
    /// The command, if the loop has ended.
    pub(crate) fn post(&self, command: Command) -> Result<(), Command> {
        let first = {
            let mut queue = lock(&self.commands);
            let Some(commands) = &mut *queue else { return Err(command) };
            commands.push(command);
            commands.len() == 1
        };
        if first && let Err(error) = self.waker.wake() {
            // Only a lack of kernel memory does this; the command is seen with the loop's next
            // event.
            tracing::error!(%error, "an event loop could not be woken");
        }
        Ok(())
    }

    /// Takes everything queued, leaving the emptied `batch` as the next queue.
    pub(crate) fn take(&self, batch: &mut Vec<Command>) {
        batch.clear();
        if let Some(commands) = &mut *lock(&self.commands) {
            std::mem::swap(commands, batch);
        }
    }

    /// Gives back the room of a queue that is empty.
    pub(crate) fn trim(&self) {
        if let Some(commands) = &mut *lock(&self.commands)
            && commands.is_empty()
        {
            *commands = Vec::new();
        }
    }

    /// The loop has ended: takes nothing more, and gives back what was queued.
    pub(crate) fn close(&self) -> Vec<Command> {
        lock(&self.commands).take().unwrap_or_default()
    }

    /// Closes the mailbox if nothing is queued. Returns whether it is closed.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut queue = lock(&self.commands);
        if queue.as_ref().is_some_and(Vec::is_empty) {
            *queue = None;
        }
        queue.is_none()
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}
