//! The mailbox by which other threads reach an event loop: a queue and a waker.

use crate::api::decision::ErasedDecision;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{Arrival, Stream};
use crate::guard::lock;
use crate::topics::work::{Backlog, TopicsPort, Work};
use framewright_driver::topics::{Hub, PortId};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

/// A request to a loop.
pub(crate) enum Command {
    /// Take over a connection that another loop has accepted.
    Adopt(Stream, Arrival, crate::event_loop::limits::Counted),
    /// A connection's handle has queued something.
    Attend(Key),
    /// The decision on a deferred request.
    Decide(Key, ErasedDecision),
    /// A connection holds too much memory and was selected to give way.
    GiveWay(Key),
    /// All connections together hold too much memory: some that hold little are to end.
    MakeRoom,
    /// A publication, or a change of a subscription.
    Work(Work),
    /// There are new walks: see [`Walks`](crate::event_loop::walk::Walks).
    Walk,
    /// Stop, with all connections ended by this time.
    Stop(Instant),
}

/// The mailbox of one event loop.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// `None` once the loop has ended.
    commands: Mutex<Option<Vec<Command>>>,
    waker: mio::Waker,
    /// The loop's own thread has queued the first command of a batch. It does not wake itself.
    own: AtomicBool,
    /// The registry of topics, and the loop's port there, as long as the server exists.
    topics: OnceLock<(Weak<Hub>, PortId, Arc<Backlog>)>,
    /// The number of the loop's connections, read to spread new ones over the loops.
    pub(crate) load: AtomicUsize,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

/// A guard: the thread that created it runs the loop of this mailbox.
#[derive(Debug)]
pub(crate) struct Here(Arc<Mailbox>);

impl Drop for Here {
    fn drop(&mut self) {
        // Another mailbox may later be allocated at the same address.
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
    /// Marks the calling thread as the one that runs the loop of this mailbox, until the returned
    /// guard is dropped. The guard outlives the loop, whose end calls the application too.
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
        Mailbox {
            commands: Mutex::new(Some(Vec::new())),
            waker,
            own: AtomicBool::new(false),
            topics: OnceLock::new(),
            load: AtomicUsize::new(0),
        }
    }

    /// Queues a command. Only the first command of a batch wakes the loop, and none of its own
    /// thread does: that thread [looks](Mailbox::has_own) before it waits.
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
        if !first {
            return Ok(());
        }
        if self.is_here() {
            self.own.store(true, Ordering::Relaxed);
        } else if let Err(error) = self.waker.wake() {
            // Only a lack of kernel memory causes this. The command is handled with the loop's next
            // event.
            tracing::error!(%error, "an event loop could not be woken");
        }
        Ok(())
    }

    /// Whether this thread, the loop's, has queued commands that nothing announces.
    #[inline]
    pub(crate) fn has_own(&self) -> bool {
        self.own.load(Ordering::Relaxed)
    }

    /// Moves all queued commands to `batch`, whose emptied allocation becomes the next queue.
    pub(crate) fn take(&self, batch: &mut Vec<Command>) {
        batch.clear();
        self.own.store(false, Ordering::Relaxed);
        if let Some(commands) = &mut *lock(&self.commands) {
            std::mem::swap(commands, batch);
        }
    }

    /// Releases the memory of the queue, if it is empty.
    pub(crate) fn trim(&self) {
        if let Some(commands) = &mut *lock(&self.commands)
            && commands.is_empty()
        {
            *commands = Vec::new();
        }
    }

    /// Accepts nothing more, because the loop has ended, and returns the queued commands.
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

    /// Sets the registry of topics, once.
    pub(crate) fn set_topics(&self, topics: &TopicsPort) {
        let TopicsPort { hub, port, backlog } = topics;
        // The second call would be a mistake of the builder, which has one.
        let _ = self.topics.set((Arc::downgrade(hub), *port, Arc::clone(backlog)));
    }

    /// The registry of topics; `None` once the server has ended.
    pub(crate) fn topics(&self) -> Option<TopicsPort> {
        let (hub, port, backlog) = self.topics.get()?;
        Some(TopicsPort { hub: hub.upgrade()?, port: *port, backlog: Arc::clone(backlog) })
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}
