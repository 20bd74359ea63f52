//! Running a server, and stopping it.

use crate::context::ServerShared;
use crate::event_loop::EventLoop;
use crate::event_loop::listener::{ListenAddr, Listener};
use crate::event_loop::mailbox::{Command, Mailbox};
use crate::memory::ledger::MemoryStats;
use mio::Poll;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A WebSocket server that listens, and does not serve yet.
///
/// [`run`](Server::run) serves on this thread, [`spawn`](Server::spawn) on another. Several servers
/// can run in a process.
pub struct Server {
    pub(crate) shared: Arc<ServerShared>,
    pub(crate) polls: Vec<Poll>,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// What each loop accepts on.
    pub(crate) listeners: Vec<Vec<Listener>>,
    pub(crate) addrs: Vec<ListenAddr>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addrs", &self.addrs).finish_non_exhaustive()
    }
}

impl Server {
    /// Where it listens, in the order in which that was asked for, with the ports that the system
    /// has chosen.
    #[must_use]
    pub fn local_addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// What stops it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { mailboxes: self.mailboxes.clone(), shared: Arc::clone(&self.shared) }
    }

    /// Serves, on this thread and on one more for each further worker, until it is stopped.
    ///
    /// # Errors
    /// If a thread cannot be started, or the system's event queue fails. The other loops are stopped then.
    pub fn run(self) -> io::Result<()> {
        let handle = self.handle();
        let Server { shared, polls, mailboxes, listeners, .. } = self;
        let mut loops = Vec::new();
        for ((poll, mailbox), listeners) in polls.into_iter().zip(&mailboxes).zip(listeners) {
            let (shared, mailbox) = (Arc::clone(&shared), Arc::clone(mailbox));
            loops.push(EventLoop::new(poll, shared, mailbox, mailboxes.clone(), listeners)?);
        }
        let mut loops = loops.into_iter();
        let Some(first) = loops.next() else { return Ok(()) };
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for (index, event_loop) in loops.enumerate() {
                let (handle, stop) = (handle.clone(), &handle);
                let builder = thread::Builder::new().name(format!("framewright-{}", index + 1));
                let spawned = builder.spawn_scoped(scope, move || run_loop(event_loop, &handle));
                threads.push(spawned.inspect_err(|_| stop.stop(Duration::ZERO))?);
            }
            let mut result = run_loop(first, &handle);
            for thread in threads {
                let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("an event loop panicked")));
                result = result.and(ended);
            }
            result
        })
    }
}

impl Server {
    /// Serves on a thread of its own: for tests, and for a program that has other things to do.
    ///
    /// ```
    /// use framewright_server::{Response, Server, StatusCode};
    /// use std::time::Duration;
    ///
    /// let page = Response::text(StatusCode::OK, "hello\n");
    /// let server = Server::builder().page("/", page).listen("127.0.0.1:0").build()?.spawn()?;
    /// println!("listening on {}", server.local_addrs()[0]);
    /// server.stop(Duration::from_secs(5))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn spawn(self) -> io::Result<RunningServer> {
        let (handle, addrs) = (self.handle(), self.addrs.clone());
        let builder = thread::Builder::new().name("framewright-0".to_owned());
        let thread = builder.spawn(move || self.run())?;
        Ok(RunningServer { handle, addrs, thread: Some(thread) })
    }
}

/// A server that runs on a thread of its own, from [`Server::spawn`].
///
/// Dropping it cuts all connections, and waits for its end. [`stop`](RunningServer::stop) ends it
/// gracefully.
#[derive(Debug)]
pub struct RunningServer {
    handle: ServerHandle,
    addrs: Vec<ListenAddr>,
    /// `None` once its end has been waited for.
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl RunningServer {
    /// Where it listens: see [`Server::local_addrs`].
    #[must_use]
    pub fn local_addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// A handle that stops it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    /// Stops it as [`ServerHandle::stop`] does, and waits for its end.
    ///
    /// # Errors
    /// Those of [`Server::run`].
    ///
    /// # Panics
    /// If it is called on one of its own event loops, which would wait for itself.
    pub fn stop(self, grace: Duration) -> io::Result<()> {
        self.assert_elsewhere();
        self.handle.stop(grace);
        self.wait()
    }

    /// Waits until it has ended: somebody else has to stop it.
    ///
    /// # Errors
    /// Those of [`Server::run`].
    ///
    /// # Panics
    /// If it is called on one of its own event loops, which would wait for itself.
    pub fn wait(mut self) -> io::Result<()> {
        self.assert_elsewhere();
        self.thread.take().map_or(Ok(()), join)
    }

    #[track_caller]
    fn assert_elsewhere(&self) {
        assert!(!self.handle.is_here(), "an event loop cannot wait for its own end");
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.handle.stop(Duration::ZERO);
        // A callback that drops its own server must not wait for itself.
        if !self.handle.is_here()
            && let Err(error) = join(thread)
        {
            tracing::error!(%error, "a server that was dropped had failed");
        }
    }
}

fn join(thread: thread::JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("an event loop panicked")))
}

/// Runs one loop; if it fails, connections may come to it that nobody accepts, and the others stop.
fn run_loop(event_loop: EventLoop, handle: &ServerHandle) -> io::Result<()> {
    let _others = StopOnPanic(handle);
    let _here = event_loop.enter();
    event_loop.run().inspect_err(|error| {
        tracing::error!(%error, "an event loop failed");
        handle.stop(Duration::ZERO);
    })
}

/// A loop that panics must not leave the others accepting for one that is gone, or without one that
/// accepts for them.
struct StopOnPanic<'a>(&'a ServerHandle);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(Duration::ZERO);
        }
    }
}

/// Stops a server, from any thread. Cloning is cheap.
#[derive(Clone)]
pub struct ServerHandle {
    mailboxes: Vec<Arc<Mailbox>>,
    shared: Arc<ServerShared>,
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("connections", &self.connection_count()).finish_non_exhaustive()
    }
}

impl ServerHandle {
    /// Stops gracefully: no new connections, a Close frame with 1001 to the open ones, and what is
    /// left after `grace` is cut. Returns at once; [`Server::run`] returns when it is done. A
    /// second call can only shorten the time.
    pub fn stop(&self, grace: Duration) {
        let now = Instant::now();
        let at = now.checked_add(grace).unwrap_or_else(|| now + Duration::from_secs(365 * 86400));
        for mailbox in &self.mailboxes {
            // One that has ended has stopped.
            let _ = mailbox.post(Command::Stop(at));
        }
    }

    /// Whether this thread runs one of the server's event loops.
    fn is_here(&self) -> bool {
        self.mailboxes.iter().any(|mailbox| mailbox.is_here())
    }

    /// How many connections there are, in all phases.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.counters.open()
    }

    /// What the server holds now.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            connections: self.connection_count(),
            memory: self.shared.ledger.stats(),
            #[cfg(feature = "deflate")]
            compression: self.shared.compression.stats(),
        }
    }
}

/// What a server holds: see [`ServerHandle::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections, in all phases.
    pub connections: usize,
    /// Bytes that all connections hold together.
    pub memory: MemoryStats,
    /// Octets for compression: held, the most that may be, and how often context takeover did not
    /// fit.
    #[cfg(feature = "deflate")]
    pub compression: framewright::deflate::DeflateMemoryStats,
}
