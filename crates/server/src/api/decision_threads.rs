//! Threads for decisions that have to wait for something.

use crate::api::decision::Decision;
use crate::guard::{guarded, lock};
use framewright::handshake::{Response, StatusCode};
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// Threads that decide on requests, where a decision has to wait for a database or for another
/// server.
///
/// A handler keeps them beside its other data, and uses them with
/// [`Incoming::decide_later`](crate::Incoming::decide_later). Several handlers can share them in an
/// [`Arc`]. An application that has threads or an asynchronous runtime of its own uses
/// [`Decision::defer`] instead.
///
/// Dropping the value drops no decision: the threads make those that wait, and then end.
pub struct DecisionThreads {
    tasks: SyncSender<Task>,
}

/// Makes one decision.
type Task = Box<dyn FnOnce() + Send>;

impl fmt::Debug for DecisionThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionThreads").finish_non_exhaustive()
    }
}

impl DecisionThreads {
    /// Starts `threads` threads, for up to 1,000 requests that wait for one of them.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    ///
    /// # Panics
    ///
    /// If `threads` is 0.
    pub fn new(threads: usize) -> io::Result<Self> {
        DecisionThreads::with_capacity(threads, DEFAULT_CAPACITY)
    }

    /// Starts `threads` threads, for up to `waiting` requests that wait for one of them. A further
    /// request is answered with 503.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    ///
    /// # Panics
    ///
    /// If `threads` is 0.
    pub fn with_capacity(threads: usize, waiting: usize) -> io::Result<Self> {
        assert!(threads > 0, "decisions need a thread");
        let (tasks, queue) = sync_channel(waiting);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("decisions-{number}")).spawn(move || work(&queue))?;
        }
        Ok(DecisionThreads { tasks })
    }

    /// The decision that `decide` returns, once a thread has called it.
    pub(crate) fn decide<S, D>(&self, decide: impl FnOnce() -> D + Send + 'static) -> Decision<S>
    where
        S: Send + 'static,
        D: Into<Decision<S>>,
    {
        let (decision, deferred) = Decision::defer();
        let task = move || {
            if deferred.is_waiting() {
                deferred.decide(decide().into());
            }
        };
        match self.tasks.try_send(Box::new(task)) {
            Ok(()) => decision,
            Err(_) => Response::text(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait\n").into(),
        }
    }
}

/// Makes decisions until the queue is empty and the [`DecisionThreads`] are dropped.
fn work(queue: &Mutex<Receiver<Task>>) {
    loop {
        // Of its own, so that the lock is not held while the application decides.
        let task = lock(queue).recv();
        let Ok(task) = task else { return };
        // A panic drops the `Deferred`, which answers with 500.
        let _ = guarded(task);
    }
}

/// More than the requests that a few threads can decide on within the deadline of the handshake, if
/// each takes some milliseconds.
const DEFAULT_CAPACITY: usize = 1000;
