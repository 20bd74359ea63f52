//! Running a server, and stopping it.

use crate::api::connections::{Broadcast, Connected, Connections, ServerBusy};
use crate::api::handler::Closed;
use crate::api::socket::{OwnParts, Socket};
use crate::context::{ServerShared, Totals};
use crate::event_loop::EventLoop;
use crate::event_loop::listen_addr::ListenAddr;
use crate::event_loop::listener::Listener;
use crate::event_loop::mailbox::{Command, Mailbox};
use crate::event_loop::ticker::Ticker;
use crate::event_loop::walk::{Filter, Job, Mail, Sending, Walk, Walks};
use crate::stats::ServerStats;
#[cfg(feature = "tls")]
use crate::tls::endpoints::{SetTlsError, TlsEndpoints};
#[cfg(feature = "tls")]
use crate::tls::settings::ServerTls;
use framewright::Prepared;
use framewright_driver::topics::Hub;
use mio::Poll;
use std::fmt;
use std::io;
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A WebSocket server that listens, and does not serve yet.
///
/// [`run`](Server::run) serves on this thread, [`spawn`](Server::spawn) on another.
///
/// Several servers can run in a process, each on its own threads, without shared routes, limits or
/// counts. Resources of the process are shared nevertheless: descriptors, and the memory of which
/// [`ServerLimits::memory`](crate::ServerLimits::memory) takes a quarter by default. If several
/// servers face strangers, set it for each.
pub struct Server {
    pub(crate) shared: Arc<ServerShared>,
    pub(crate) polls: Vec<Poll>,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// The jobs of each loop for all of its connections.
    pub(crate) walks: Arc<[Walks]>,
    pub(crate) tickers: Vec<(Duration, OnTick)>,
    /// The listeners of each loop.
    pub(crate) listeners: Vec<Vec<Listener>>,
    pub(crate) addrs: Vec<ListenAddr>,
}

/// A periodic callback of the application.
pub(crate) type OnTick = Box<dyn FnMut(&ServerHandle) + Send>;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addrs", &self.addrs).finish_non_exhaustive()
    }
}

impl Server {
    /// The addresses that the server listens at, in the order in which they were added, with the
    /// ports that the system has chosen.
    #[must_use]
    pub fn local_addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// Those of [`local_addrs`](Server::local_addrs) where TLS is spoken.
    #[cfg(feature = "tls")]
    pub fn tls_addrs(&self) -> impl Iterator<Item = &ListenAddr> {
        self.shared.tls.addrs()
    }

    /// Returns a handle that stops the server, and sends to all of its connections, from any
    /// thread.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            mailboxes: Arc::from(&self.mailboxes[..]),
            totals: Arc::clone(&self.shared.totals),
            walks: Arc::downgrade(&self.walks),
            topics: Arc::downgrade(&self.shared.topics.hub),
            #[cfg(feature = "tls")]
            tls: Arc::downgrade(&self.shared.tls),
        }
    }

    /// Serves on this thread, and on one more for each further worker, until the server is stopped.
    ///
    /// # Errors
    /// If a thread cannot be started, or the system's event queue fails. The other loops are then
    /// stopped.
    pub fn run(self) -> io::Result<()> {
        let handle = self.handle();
        let Server { shared, polls, mailboxes, walks, tickers, listeners, .. } = self;
        let mut loops = Vec::new();
        for (index, (poll, listeners)) in polls.into_iter().zip(listeners).enumerate() {
            let (shared, walks, all) = (Arc::clone(&shared), Arc::clone(&walks), mailboxes.clone());
            let mut event_loop = EventLoop::new(poll, shared, (all, index), walks, listeners)?;
            event_loop.set_server(Box::new(handle.clone()));
            loops.push(event_loop);
        }
        // From here on only the loops own the walks.
        drop(walks);
        let mut loops = loops.into_iter();
        let Some(mut first) = loops.next() else { return Ok(()) };
        first.set_tickers(start(tickers, &handle));
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
            shared.topics.hub.stop(Instant::now() + LAST_PUBLICATIONS);
            result
        })
    }
}

/// The time in which what was published is passed on to other servers, once the loops have ended.
const LAST_PUBLICATIONS: Duration = Duration::from_secs(1);

impl Server {
    /// Serves on a thread of its own: for tests, and for a program with other work on this thread.
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
/// Dropping it drops all connections, and waits until the server has ended.
/// [`stop`](RunningServer::stop) ends it gracefully.
#[derive(Debug)]
pub struct RunningServer {
    handle: ServerHandle,
    addrs: Vec<ListenAddr>,
    /// `None` once its end was waited for.
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl RunningServer {
    /// The addresses that the server listens at: see [`Server::local_addrs`].
    #[must_use]
    pub fn local_addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// A handle that stops the server from any thread.
    #[must_use]
    pub fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    /// Stops the server as [`ServerHandle::stop`] does, and waits until it has ended.
    ///
    /// # Errors
    /// Those of [`Server::run`].
    ///
    /// # Panics
    /// If called on one of the server's own event loops, which would wait for itself.
    pub fn stop(self, grace: Duration) -> io::Result<()> {
        self.assert_elsewhere();
        self.handle.stop(grace);
        self.wait()
    }

    /// Waits until the server has ended. Another thread or a callback has to stop it.
    ///
    /// # Errors
    /// Those of [`Server::run`].
    ///
    /// # Panics
    /// If called on one of the server's own event loops, which would wait for itself.
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

/// Creates the tickers, whose intervals begin now.
fn start(tickers: Vec<(Duration, OnTick)>, handle: &ServerHandle) -> Vec<Ticker> {
    let now = Instant::now();
    let ticker = |(interval, mut tick): (Duration, OnTick)| {
        let handle = handle.clone();
        Ticker::new(interval, now, Box::new(move || tick(&handle)))
    };
    tickers.into_iter().map(ticker).collect()
}

fn join(thread: thread::JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("an event loop panicked")))
}

/// Runs one loop. If it fails, nothing accepts the connections handed to it, so the others are
/// stopped.
fn run_loop(event_loop: EventLoop, handle: &ServerHandle) -> io::Result<()> {
    let _others = StopOnPanic(handle);
    let _here = event_loop.enter();
    event_loop.run().inspect_err(|error| {
        tracing::error!(%error, "an event loop failed");
        handle.stop(Duration::ZERO);
    })
}

/// Stops all loops if this one panics: the others must not accept for a loop that is gone, or
/// depend on one that accepted for them.
struct StopOnPanic<'a>(&'a ServerHandle);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(Duration::ZERO);
        }
    }
}

/// Controls a server from any thread: stops it, sends to all of its connections, visits them.
/// Cloning is cheap.
///
/// No method waits unless its page says so, so callbacks of the server can use it too. Work for all
/// connections is done by their event loops, in the order of the calls. Each loop serves its own
/// connections, in slices of time between which the others have their turns. This needs no lock,
/// and no memory in a connection.
///
/// From [`Server::handle`], and in a callback from [`Socket::server`] or [`Closed::server`].
///
/// The handle keeps none of the application's values alive, so a handler may hold a handle of its
/// own server, and is dropped when the server has ended.
#[derive(Clone)]
pub struct ServerHandle {
    mailboxes: Arc<[Arc<Mailbox>]>,
    pub(crate) totals: Arc<Totals>,
    walks: Weak<[Walks]>,
    pub(crate) topics: Weak<Hub>,
    #[cfg(feature = "tls")]
    tls: Weak<TlsEndpoints>,
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.connection_count();
        f.debug_struct("ServerHandle").field("connection_count", &count).finish_non_exhaustive()
    }
}

impl ServerHandle {
    /// Stops the server gracefully: it accepts no new connections, sends a Close frame with 1001 to
    /// the open ones, and drops those left after `grace`. Returns at once; [`Server::run`] returns
    /// when the server has ended. A second call can only shorten the time.
    ///
    /// A connection gets its Close frame behind the broadcasts begun before this call and behind
    /// the items queued by its handles. With a `grace` of zero, each event loop has a second for
    /// its pending work for all connections.
    pub fn stop(&self, grace: Duration) {
        let now = Instant::now();
        let at = now.checked_add(grace).unwrap_or_else(|| now + Duration::from_secs(365 * 86400));
        for mailbox in &*self.mailboxes {
            // A loop that has ended is already stopped.
            let _ = mailbox.post(Command::Stop(at));
        }
    }

    /// Whether this thread runs one of the server's event loops.
    fn is_here(&self) -> bool {
        self.mailboxes.iter().any(|mailbox| mailbox.is_here())
    }

    /// The number of connections, in all phases.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.totals.counters.open()
    }

    /// Sends a message to all open connections: a [`Message`](crate::Message), a `&str` for text,
    /// or a [`Prepared`].
    ///
    /// The message is encoded once, and compressed once for each set of negotiated parameters.
    /// Returns at once; [`Broadcast::wait`] waits, and returns how many connections it was sent to.
    /// A connection that opens meanwhile may or may not get it.
    ///
    /// | a connection | |
    /// |---|---|
    /// | with as much waiting as [`Config::high_water`](crate::Config::high_water) | is left out: [`Delivered::full`](crate::Delivered::full). For a peer that reads too slowly it is the application's to decide what to do |
    /// | with messages in its handles' queue, or that is sending one in fragments | gets it behind them |
    /// | whose closing handshake has begun | is left out |
    ///
    /// Two broadcasts of one thread reach each connection in their order. A message that the thread
    /// sent earlier with a [`Handle`](crate::Handle) arrives before the broadcast. One that it
    /// sends later may overtake the broadcast.
    ///
    /// ```
    /// use framewright_server::{Message, Server};
    ///
    /// let server = Server::builder().listen("127.0.0.1:0").build()?.spawn()?;
    /// let broadcast = server.handle().broadcast(Message::Text("hello, all"))?;
    /// assert_eq!(broadcast.wait().sent, 0); // nobody is there
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ServerBusy`] if broadcasts of 16 MiB are pending: they are begun faster than they can be
    /// sent.
    pub fn broadcast(&self, message: impl Into<Prepared>) -> Result<Broadcast, ServerBusy> {
        self.send_to_all(message.into(), None)
    }

    /// Sends a message to those open connections for which `filter` returns true, otherwise like
    /// [`broadcast`](ServerHandle::broadcast).
    ///
    /// `filter` runs on the event loops, and must not block. If it panics, that connection is left
    /// out.
    ///
    /// ```
    /// # use framewright_server::{Message, Server};
    /// # let server = Server::builder().listen("127.0.0.1:0").build()?.spawn()?;
    /// let of_chat = server.handle().broadcast_where("news", |to| to.route() == Some("/chat"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`broadcast`](ServerHandle::broadcast).
    pub fn broadcast_where(
        &self,
        message: impl Into<Prepared>,
        filter: impl Fn(&Connected<'_>) -> bool + Send + Sync + 'static,
    ) -> Result<Broadcast, ServerBusy> {
        self.send_to_all(message.into(), Some(Box::new(filter)))
    }

    fn send_to_all(&self, message: Prepared, filter: Option<Filter>) -> Result<Broadcast, ServerBusy> {
        let permit = self.totals.waiting.permit(message.payload_len())?;
        let mail = Mail::new(message, filter, permit);
        let (tell, told) = mpsc::channel();
        self.walk(|| Job::Send(vec![Sending::new(&mail, &tell)]));
        Ok(Broadcast { told, mailboxes: Arc::clone(&self.mailboxes) })
    }

    /// Iterates over the open connections, including those whose closing handshake has begun.
    ///
    /// The iterator waits for the event loops to find them. Each connection is found at most once.
    /// One that opens or ends meanwhile may or may not be found.
    ///
    /// ```
    /// # use framewright_server::Server;
    /// # let server = Server::builder().listen("127.0.0.1:0").build()?.spawn()?;
    /// for connection in server.handle().connections()? {
    ///     println!("{} from {}", connection.id, connection.peer_addr);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Entries found and not yet taken are held, about 100 bytes for each connection: the loops do
    /// not wait for the caller.
    ///
    /// # Errors
    /// [`ServerBusy`] as for [`broadcast`](ServerHandle::broadcast), where each call counts as 1
    /// KiB.
    pub fn connections(&self) -> Result<Connections, ServerBusy> {
        let (tell, found) = mpsc::channel();
        let tell = Arc::new((tell, self.totals.waiting.permit(0)?));
        self.walk(|| {
            let tell = Arc::clone(&tell);
            Job::Visit(Box::new(move |connected| tell.0.send(connected.info()).is_ok()))
        });
        Ok(Connections { found, mailboxes: Arc::clone(&self.mailboxes) })
    }

    /// Calls `visit` for each open connection, on its event loop: to find one, and to get its
    /// [`Handle`](crate::Handle).
    ///
    /// Returns at once. `visit` must not block. If it panics, the walk continues with the next
    /// connection.
    ///
    /// ```
    /// # use framewright_server::{CloseCode, Server};
    /// # let server = Server::builder().listen("127.0.0.1:0").build()?.spawn()?;
    /// # let unwanted = 7;
    /// server.handle().for_each(move |connection| {
    ///     if connection.id() == unwanted {
    ///         let _ = connection.handle().close(CloseCode::POLICY_VIOLATION, "");
    ///     }
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ServerBusy`] as for [`broadcast`](ServerHandle::broadcast), where each call counts as 1
    /// KiB.
    pub fn for_each(&self, visit: impl Fn(&Connected<'_>) + Send + Sync + 'static) -> Result<(), ServerBusy> {
        let visit = Arc::new((visit, self.totals.waiting.permit(0)?));
        self.walk(|| {
            let visit = Arc::clone(&visit);
            Job::Visit(Box::new(move |connected| {
                visit.0(connected);
                true
            }))
        });
        Ok(())
    }

    /// Has each loop walk through its connections, if the server still exists.
    fn walk(&self, job: impl Fn() -> Job) {
        let Some(all) = self.walks.upgrade() else { return };
        for (mailbox, walks) in self.mailboxes.iter().zip(&*all) {
            walks.push(Walk::new(job()));
            // A loop that has ended takes no walks.
            let _ = mailbox.post(Command::Walk);
        }
    }

    /// Replaces the TLS settings, such as a certificate that is about to expire, for handshakes that
    /// begin from now on. Open connections go on with theirs, and none is dropped.
    ///
    /// ```no_run
    /// # use framewright_server::{Endpoint, Server, ServerTls};
    /// let tls = || ServerTls::from_pem_files("chain.pem", "key.pem");
    /// let endpoint = Endpoint::tcp("0.0.0.0:443").with_tls(tls()?);
    /// let server = Server::builder().endpoint(endpoint).build()?.spawn()?;
    /// // Whenever the files have changed:
    /// server.handle().set_tls(tls()?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// This is for the server's only endpoint with TLS, or for several that were given clones of one
    /// [`ServerTls`]. If endpoints have different settings, such as one that wants certificates of
    /// its clients, [`set_tls_at`](ServerHandle::set_tls_at) names one. An endpoint without TLS
    /// stays without.
    ///
    /// Sessions of earlier settings are not resumed: a client that comes back makes a full
    /// handshake, and its certificate is checked by the new settings.
    ///
    /// # Errors
    /// A [`SetTlsError`]; nothing has changed.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: impl Into<ServerTls>) -> Result<(), SetTlsError> {
        self.tls.upgrade().ok_or(SetTlsError::Ended)?.set(&tls.into())
    }

    /// Replaces the TLS settings of the endpoint that listens at `addr`, which is one of
    /// [`Server::local_addrs`]; otherwise like [`set_tls`](ServerHandle::set_tls). Its other
    /// addresses change too, and so do endpoints that were given a clone of the same [`ServerTls`].
    ///
    /// # Errors
    /// A [`SetTlsError`]; nothing has changed.
    #[cfg(feature = "tls")]
    pub fn set_tls_at(&self, addr: &ListenAddr, tls: impl Into<ServerTls>) -> Result<(), SetTlsError> {
        self.tls.upgrade().ok_or(SetTlsError::Ended)?.set_at(addr, &tls.into())
    }

    /// Returns what the server holds now, and what it has counted since it was built.
    ///
    /// It reads the counters of every event loop and route, a few hundred numbers each, and delays
    /// no loop. Cheap enough for any monitoring, but not for each message.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.totals.stats()
    }
}

// Here and not beside the types, whose files this one depends on.
impl Socket<'_> {
    /// Returns a handle of the server: to send to all of its connections, or to stop it.
    ///
    /// ```
    /// use framewright_server::{Decision, Handler, Incoming, Message, Socket};
    ///
    /// /// Sends each message to everybody else.
    /// struct Shout;
    ///
    /// impl Handler for Shout {
    ///     type State = ();
    ///
    ///     fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
    ///         request.accept(())
    ///     }
    ///
    ///     fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
    ///         let sender = socket.id();
    ///         let _ = socket.server().broadcast_where(message, move |to| to.id() != sender);
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn server(&self) -> ServerHandle {
        ServerHandle::of(self.own)
    }
}

impl Closed<'_> {
    /// Returns a handle of the server: to tell other connections about the end of this one.
    #[must_use]
    pub fn server(&self) -> ServerHandle {
        ServerHandle::of(self.own)
    }
}

impl ServerHandle {
    fn of(own: &OwnParts<'_>) -> ServerHandle {
        let handle = own.of_loop.server.as_ref().and_then(|handle| handle.downcast_ref::<ServerHandle>());
        handle.expect("each loop of a server has its handle").clone()
    }
}
