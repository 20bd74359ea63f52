//! Building a server.

use crate::api::erased::ErasedHandler;
use crate::api::handler::Handler;
use crate::api::options::{Options, ServerLimits};
use crate::api::route::{MAX_ROUTES, Route, Routes};
use crate::context::{ServerShared, Totals};
use crate::event_loop::limits::{Counters, LingerPlaces};
use crate::event_loop::listener::Listener;
use crate::event_loop::prepare;
use crate::event_loop::stream::PeerAddr;
use crate::event_loop::walk::{Waiting, Walks};
use crate::memory::ledger::Ledger;
use crate::pages::files::{Files, Spelling};
use crate::pages::page::{Page, Pages};
use crate::proxies::trusted::TrustedProxies;
use crate::server::{OnTick, Server, ServerHandle};
use crate::stats::ServerCounters;
#[cfg(feature = "tls")]
use crate::tls::endpoints::TlsEndpoints;
#[cfg(feature = "tls")]
use crate::tls::settings::ServerTls;
use crate::topics::port::LoopPorts;
use framewright::deflate::DeflateMemory;
use framewright_driver::topics::Topics;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::iter;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Collects the routes, settings and endpoints of a [`Server`], and builds it.
pub struct ServerBuilder {
    routes: Vec<Planned>,
    options: Options,
    limits: ServerLimits,
    workers: usize,
    endpoints: Vec<Endpoint>,
    proxies: TrustedProxies,
    tickers: Vec<(Duration, OnTick)>,
    topics: Topics,
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("options", &self.options)
            .field("limits", &self.limits)
            .field("workers", &self.workers)
            .field("endpoints", &self.endpoints)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

impl Default for ServerBuilder {
    fn default() -> ServerBuilder {
        ServerBuilder {
            routes: Vec::new(),
            options: Options::default(),
            limits: ServerLimits::default(),
            workers: 1,
            endpoints: Vec::new(),
            proxies: TrustedProxies::default(),
            tickers: Vec::new(),
            topics: Topics::default(),
        }
    }
}

impl ServerBuilder {
    /// Sets the options of all routes without options of their own, whenever they are added.
    #[must_use]
    pub fn options(mut self, options: Options) -> ServerBuilder {
        self.options = options;
        self
    }

    /// Sets the limits of the whole server.
    #[must_use]
    pub fn limits(mut self, limits: ServerLimits) -> ServerBuilder {
        self.limits = limits;
        self
    }

    /// Sets the number of event loops, each on a thread of its own; at least and by default 1.
    /// Connections are spread evenly: a new one goes to a loop with the fewest, or with up to a
    /// sixteenth more.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> ServerBuilder {
        self.workers = workers.max(1);
        self
    }

    /// Serves `path` with `handler`.
    ///
    /// A segment `{name}` matches any one segment, and `{*name}` at the end matches one or more:
    /// [`Incoming::param`](crate::Incoming::param) returns the match. `{{` and `}}` are literal
    /// braces. Of several matching patterns the most literal one wins. Paths are compared as they
    /// stand in the request, without decoding and without the query. A second handler for a path
    /// replaces the first.
    #[must_use]
    pub fn route(self, path: &str, handler: impl Handler) -> ServerBuilder {
        self.plan(Some(path), Settings::Shared, handler)
    }

    /// Serves `path` with `handler` and with the route's own `options`.
    #[must_use]
    pub fn route_with(self, path: &str, options: Options, handler: impl Handler) -> ServerBuilder {
        self.plan(Some(path), Settings::Own(Box::new(options)), handler)
    }

    /// Serves every other path with `handler`. Without a fallback, other paths are answered with
    /// 404.
    #[must_use]
    pub fn fallback(self, handler: impl Handler) -> ServerBuilder {
        self.plan(None, Settings::Shared, handler)
    }

    /// Serves every other path with `handler` and with the route's own `options`.
    #[must_use]
    pub fn fallback_with(self, options: Options, handler: impl Handler) -> ServerBuilder {
        self.plan(None, Settings::Own(Box::new(options)), handler)
    }

    /// Answers GET and HEAD on `path` with a page or a response, and other methods with 405. If the
    /// client already has the current content, the answer is 304: see [`Page`].
    ///
    /// ```
    /// use framewright_server::{Page, Server};
    ///
    /// let builder = Server::builder().page("/", Page::html("<h1>hello</h1>"));
    /// ```
    #[must_use]
    pub fn page(self, path: &str, page: impl Into<Page>) -> ServerBuilder {
        self.plan(Some(path), Settings::OfPages, Pages(page.into()))
    }

    /// Serves the files of a folder under `prefix`. `files` is a [`Files`] or the path of a folder.
    ///
    /// ```no_run
    /// use framewright_server::Server;
    ///
    /// let builder = Server::builder().files("/", "public"); // /app.js is public/app.js
    /// ```
    ///
    /// Routes with a more literal path come first, in whatever order they are added: `/ws` belongs
    /// to the route of that path, and so does `/` or the prefix itself if it has a route. No other
    /// spelling of such a path gets past the route: see [`Files`]. A path without a file is
    /// answered with 404, so with files at `/` a [`fallback`](ServerBuilder::fallback) receives no
    /// path. [`build`](ServerBuilder::build) reads the folder.
    #[must_use]
    pub fn files(mut self, prefix: &str, files: impl Into<Files>) -> ServerBuilder {
        self.routes.push(Planned::Files(prefix.into(), files.into()));
        self
    }

    /// Sets the options and limits of topics, and the way to other servers.
    ///
    /// ```
    /// use framewright_server::{Server, TopicOptions, Topics, Retain};
    ///
    /// let last_fifty = TopicOptions { retain: Retain::Last(50), ..TopicOptions::default() };
    /// let builder = Server::builder().topics(Topics::builder().options("chat/#", last_fifty).build());
    /// ```
    #[must_use]
    pub fn topics(mut self, topics: Topics) -> ServerBuilder {
        self.topics = topics;
        self
    }

    /// Calls `tick` once in each `interval`, as long as the server runs. Use it for work that
    /// belongs to no single connection, such as a broadcast every second. May be called several
    /// times.
    ///
    /// ```
    /// use framewright_server::{Decision, Handler, Incoming, Message, Server};
    /// use std::time::Duration;
    ///
    /// struct Clock;
    ///
    /// impl Handler for Clock {
    ///     type State = ();
    ///
    ///     fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
    ///         request.accept(())
    ///     }
    /// }
    ///
    /// let mut seconds = 0;
    /// let server = Server::builder().route("/clock", Clock).listen("127.0.0.1:0");
    /// let server = server.every(Duration::from_secs(1), move |server| {
    ///     seconds += 1;
    ///     let _ = server.broadcast(Message::Text(&format!("{seconds} s"))); // or too many wait
    /// });
    /// # let server = server.build()?.spawn()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// `tick` runs on an event loop, and must not block. The first call comes one `interval` after
    /// the server starts to run, and the others follow in step with it; a call whose time is missed
    /// is skipped. An `interval` below a millisecond counts as a millisecond. The calls end once
    /// the server begins to stop. If `tick` panics, it is called again at its next time.
    #[must_use]
    pub fn every(
        mut self,
        interval: Duration,
        tick: impl FnMut(&ServerHandle) + Send + 'static,
    ) -> ServerBuilder {
        self.tickers.push((interval, Box::new(tick)));
        self
    }

    fn plan(mut self, path: Option<&str>, settings: Settings, handler: impl Handler) -> ServerBuilder {
        let (path, handler) = (path.map(Into::into), Box::new(handler));
        self.routes.push(Planned::Route(PlannedRoute { path, settings, handler }));
        self
    }

    /// Trusts these proxies to name the client of a request, which
    /// [`Incoming::client_addr`](crate::Incoming::client_addr) returns. Default: no proxy is
    /// trusted.
    ///
    /// A connection from a trusted proxy counts for the client that it names in
    /// [`max_connections_per_ip`](ServerLimits::max_connections_per_ip), once its request is read.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> ServerBuilder {
        self.proxies = proxies;
        self
    }

    /// Listens at an [`Endpoint`], which can speak TLS and expect the PROXY protocol. May be called
    /// several times.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Listens on every address that `addr` resolves to. May be called several times.
    ///
    /// An IPv6 address does not include IPv4: to listen everywhere, name both `0.0.0.0` and `[::]`.
    /// If a name such as `localhost` resolves to addresses of both families, its IPv6 addresses are
    /// left out on a machine without IPv6. [`build`](ServerBuilder::build) reports a name that
    /// cannot be resolved and an address that cannot be bound.
    #[must_use]
    pub fn listen(self, addr: impl ToSocketAddrs) -> Self {
        self.endpoint(Endpoint::tcp(addr))
    }

    /// Listens on a Unix socket at `path`, and removes its file at the end.
    ///
    /// A file left by a killed server is replaced. [`build`](ServerBuilder::build) fails if a
    /// process is listening there, or if the path is too long or not permitted.
    #[cfg(unix)]
    #[must_use]
    pub fn listen_unix(self, path: impl AsRef<Path>) -> Self {
        self.endpoint(Endpoint::unix(path))
    }

    /// Listens on a TCP socket that is already bound, such as one from a supervisor. The first
    /// worker accepts for all workers.
    ///
    /// Connections that the server has not accepted when it stops are left to any other owner of
    /// the socket. Without one, the system resets them.
    #[must_use]
    pub fn listener(self, listener: std::net::TcpListener) -> Self {
        self.endpoint(listener.into())
    }

    /// Listens on a Unix socket that is already bound, such as one from a supervisor. Its file is
    /// not removed. The first worker accepts for all workers.
    #[cfg(unix)]
    #[must_use]
    pub fn unix_listener(self, listener: std::os::unix::net::UnixListener) -> Self {
        self.endpoint(listener.into())
    }

    /// Binds all endpoints, and returns the server, which listens but does not run yet.
    ///
    /// # Errors
    /// `InvalidInput` in these cases:
    ///
    /// - The server has no endpoint.
    /// - An endpoint expects the PROXY protocol, and no trusted proxy can connect to it.
    /// - An endpoint has TLS settings that were made with rustls, and accept early data.
    /// - There are more than 65,536 routes.
    /// - A route's path does not begin with `/`, so that no request has it; it is no valid pattern;
    ///   or it cannot be told from another route's.
    /// - The server has files, and a route's path codes a byte that need not be coded, or codes one
    ///   with small letters.
    ///
    /// Errors of reading a folder of files have the path in the message: see [`Files`]. Errors of
    /// resolving and of binding have the address in the message: it is in use, not of this machine,
    /// or not permitted. The system's error if it cannot provide an event queue.
    pub fn build(self) -> io::Result<Server> {
        if self.endpoints.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the server listens nowhere"));
        }
        self.endpoints.iter().try_for_each(|endpoint| endpoint.check(&self.proxies))?;
        let planned = with_files(self.routes)?;
        if planned.len() > MAX_ROUTES {
            let message = format!("{} routes: a server has at most {MAX_ROUTES}", planned.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let routes = plan_routes(planned, &self.options)?;
        #[cfg(feature = "tls")]
        let mut tls = TlsEndpoints::default();
        let listeners = bind_all(
            self.endpoints,
            #[cfg(feature = "tls")]
            &mut tls,
        )?;
        let loops = (0..self.workers).map(|_| prepare()).collect::<io::Result<Vec<_>>>()?;
        let mailboxes: Vec<_> = loops.iter().map(|(_, mailbox)| Arc::clone(mailbox)).collect();
        let counters = Counters::new(&self.limits);
        #[cfg(feature = "deflate")]
        let compression = DeflateMemory::new(self.limits.compression_memory);
        #[cfg(not(feature = "deflate"))]
        let compression = DeflateMemory::new(0);
        let limits = self.limits;
        let memory = limits.memory.resolve(routes.largest_message());
        let ledger = Arc::new(Ledger::new(memory, mailboxes.clone()));
        let (linger_places, requests) = (LingerPlaces::default(), AtomicU64::new(0));
        let topics = LoopPorts::new(self.topics, &mailboxes)?;
        let totals = Totals {
            paths: routes.iter().map(|route| route.path().cloned()).collect(),
            counted: ServerCounters::new(routes.iter().count()),
            counters,
            compression,
            ledger,
            waiting: Waiting::default(),
            topics: Arc::clone(topics.hub.counters()),
        };
        let (proxies, totals) = (self.proxies, Arc::new(totals));
        let shared = ServerShared {
            routes,
            limits,
            proxies,
            #[cfg(feature = "tls")]
            tls: Arc::new(tls.complete()),
            linger_places,
            requests,
            totals,
            topics,
        };
        let addrs = listeners.iter().map(|listener| listener.addr().clone()).collect();
        Ok(Server {
            shared: Arc::new(shared),
            polls: loops.into_iter().map(|(poll, _)| poll).collect(),
            walks: mailboxes.iter().map(|_| Walks::default()).collect(),
            tickers: self.tickers,
            mailboxes,
            listeners: share_out(listeners, self.workers),
            addrs,
        })
    }
}

/// An address to listen at, and whether the PROXY protocol and TLS are spoken there.
#[derive(Debug)]
pub struct Endpoint {
    binding: Binding,
    proxy_protocol: bool,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
}

impl Endpoint {
    /// Listens on every address that `addr` resolves to: see [`ServerBuilder::listen`].
    #[must_use]
    pub fn tcp(addr: impl ToSocketAddrs) -> Self {
        Endpoint::at(Binding::Addrs(addr.to_socket_addrs().map(Iterator::collect)))
    }

    /// Listens on a Unix socket at `path`: see [`ServerBuilder::listen_unix`].
    #[cfg(unix)]
    #[must_use]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Endpoint::at(Binding::Unix(path.as_ref().to_owned()))
    }

    /// Expects each connection to begin with a PROXY protocol header, version 1 or 2, which names
    /// the client: see [`Incoming::client_addr`](crate::Incoming::client_addr). Default: no header.
    ///
    /// Only [trusted proxies](ServerBuilder::trusted_proxies) may connect; other peers are closed
    /// at once. A connection with a missing or malformed header is closed without an answer, even
    /// if its time is up, the server stops or its memory is used up.
    ///
    /// `LOCAL` means that the connection is the proxy's own. If the header has no address
    /// (`UNKNOWN`, `AF_UNSPEC`, a Unix socket), no other source is trusted and `client_addr` is
    /// `None`. The header must arrive within
    /// [`handshake_timeout`](ServerLimits::handshake_timeout). A header of version 2 has at most
    /// 4,112 bytes, including its extensions, which are skipped.
    ///
    /// ```
    /// use framewright_server::{Endpoint, ForwardedField, Server, TrustedProxies};
    ///
    /// let proxies = TrustedProxies::new(["10.0.0.0/8"])?.reading(ForwardedField::None);
    /// let builder = Server::builder()
    ///     .endpoint(Endpoint::tcp("127.0.0.1:0").with_proxy_protocol())
    ///     .trusted_proxies(proxies);
    /// # Ok::<(), framewright_server::ProxyAddressError>(())
    /// ```
    #[doc(alias = "send-proxy")]
    #[must_use]
    pub fn with_proxy_protocol(self) -> Self {
        Endpoint { proxy_protocol: true, ..self }
    }

    /// Speaks TLS with each connection, for `wss://` and `https://`. Default: no TLS. Other endpoints
    /// of the server are not affected.
    ///
    /// ```no_run
    /// use framewright_server::{Endpoint, Server, ServerTls};
    ///
    /// let tls = ServerTls::from_pem_files("chain.pem", "key.pem")?;
    /// let builder = Server::builder()
    ///     .endpoint(Endpoint::tcp("0.0.0.0:443").with_tls(tls))
    ///     .endpoint(Endpoint::tcp("127.0.0.1:5000"));
    /// # Ok::<(), framewright_server::ServerTlsError>(())
    /// ```
    ///
    /// The handshake is part of the opening: it must be complete, and the request with it, within
    /// [`handshake_timeout`](ServerLimits::handshake_timeout). A header of the PROXY protocol comes
    /// before it, in plain text. HTTP without TLS is answered with 400 in plain text, which says
    /// that the port speaks TLS.
    ///
    /// A connection over a limit completes its handshake, and then gets its 503. So its client
    /// knows when to come back, at the cost of a handshake; at most 512 of them at a time in each
    /// worker, behind the work for open connections.
    ///
    /// [`ServerHandle::set_tls`] replaces the settings while the server runs.
    #[doc(alias = "wss")]
    #[doc(alias = "https")]
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(self, tls: impl Into<ServerTls>) -> Self {
        Endpoint { tls: Some(tls.into()), ..self }
    }

    /// Checks that an endpoint with the PROXY protocol has a trusted proxy that can connect to it,
    /// and that a session can be made with its TLS settings.
    fn check(&self, proxies: &TrustedProxies) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(Err(error)) = self.tls.as_ref().map(ServerTls::check) {
            let message = format!("the TLS settings cannot be used: {error}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (has_one, which) = match self.binding {
            Binding::Addrs(_) | Binding::Tcp(_) => (proxies.has_networks(), "an address"),
            #[cfg(unix)]
            Binding::Unix(_) | Binding::UnixListener(_) => (proxies.trusts(Some(PeerAddr::Unix)), "\"unix\""),
        };
        if has_one || !self.proxy_protocol {
            return Ok(());
        }
        let message = format!(
            "nobody can connect where the PROXY protocol is spoken: no trusted proxy is named by {which}"
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    fn at(binding: Binding) -> Self {
        Endpoint {
            binding,
            proxy_protocol: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl From<std::net::TcpListener> for Endpoint {
    /// See [`ServerBuilder::listener`].
    fn from(listener: std::net::TcpListener) -> Self {
        Endpoint::at(Binding::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixListener> for Endpoint {
    /// See [`ServerBuilder::unix_listener`].
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Endpoint::at(Binding::UnixListener(listener))
    }
}

/// A place to listen at.
#[derive(Debug)]
enum Binding {
    Addrs(io::Result<Vec<SocketAddr>>),
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(PathBuf),
    #[cfg(unix)]
    UnixListener(std::os::unix::net::UnixListener),
}

/// Listens at all endpoints, in their order.
fn bind_all(
    endpoints: Vec<Endpoint>,
    #[cfg(feature = "tls")] all_tls: &mut TlsEndpoints,
) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        let first = listeners.len();
        match endpoint.binding {
            Binding::Addrs(addrs) => bind_addrs(&addrs?, &mut listeners)?,
            Binding::Tcp(listener) => listeners.push(Listener::from_tcp(listener)?),
            #[cfg(unix)]
            Binding::Unix(path) => listeners.push(Listener::bind_unix(&path)?),
            #[cfg(unix)]
            Binding::UnixListener(listener) => listeners.push(Listener::from_unix(listener)?),
        }
        for listener in &mut listeners[first..] {
            listener.proxy_protocol = endpoint.proxy_protocol;
            #[cfg(feature = "tls")]
            if let Some(tls) = &endpoint.tls {
                listener.tls = Some(all_tls.add(listener.addr(), tls));
            }
        }
    }
    Ok(listeners)
}

/// Listens on all addresses of one name.
fn bind_addrs(addrs: &[SocketAddr], listeners: &mut Vec<Listener>) -> io::Result<()> {
    // Binding to any port fails only without this address family, or without its loopback address.
    let has_v6 = || std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let several = addrs.iter().any(SocketAddr::is_ipv4) && addrs.iter().any(SocketAddr::is_ipv6);
    let only_v4 = several && !has_v6();
    for &addr in addrs {
        if only_v4 && addr.is_ipv6() {
            tracing::warn!("not listening on {addr}: there is no IPv6 here");
            continue;
        }
        listeners.push(Listener::bind(addr)?);
    }
    Ok(())
}

/// The listeners of each loop: where possible, a socket of its own for each address; else the first
/// loop accepts for all.
fn share_out(listeners: Vec<Listener>, workers: usize) -> Vec<Vec<Listener>> {
    let mut loops: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in listeners {
        let siblings = listener.siblings(workers - 1);
        for (listeners, listener) in loops.iter_mut().zip(iter::once(listener).chain(siblings)) {
            listeners.push(listener);
        }
    }
    loops
}

/// A route or files that the application has added.
enum Planned {
    Route(PlannedRoute),
    /// Files under a prefix.
    Files(Box<str>, Files),
}

impl Planned {
    /// The path of a route that the application has added itself.
    fn route_path(&self) -> Option<Box<str>> {
        self.path().filter(|_| matches!(self, Planned::Route(_)))
    }

    /// Its path; `None` for the fallback.
    fn path(&self) -> Option<Box<str>> {
        match self {
            Planned::Route(route) => route.path.clone(),
            Planned::Files(prefix, _) => Some(prefix.clone()),
        }
    }
}

/// A route that the application has added.
struct PlannedRoute {
    /// `None` for the fallback.
    path: Option<Box<str>>,
    settings: Settings,
    handler: Box<dyn ErasedHandler>,
}

/// The source of a route's settings.
enum Settings {
    Own(Box<Options>),
    /// The server's, as they are when it is built.
    Shared,
    /// The server's without WebSocket: for a route that only serves pages.
    OfPages,
}

/// Reads the folders of files, and adds a route for each of their paths: the prefix itself, the
/// prefix with a slash, and all paths below. The application's own routes for these paths stay.
fn with_files(planned: Vec<Planned>) -> io::Result<Vec<PlannedRoute>> {
    let mut routes = Vec::with_capacity(planned.len());
    let explicit: HashSet<Box<str>> = planned.iter().filter_map(Planned::route_path).collect();
    let has_files = planned.iter().any(|planned| matches!(planned, Planned::Files(..)));
    let paths: Vec<Box<str>> =
        if has_files { planned.iter().filter_map(Planned::path).collect() } else { Vec::new() };
    let spelling = Spelling::beside(paths.iter().map(|path| &**path)).map_err(|path| {
        let why = "beside files its coded octets have to be such that need it, with capitals (RFC 3986, section 6.2.2)";
        io::Error::new(io::ErrorKind::InvalidInput, format!("the route {path:?}: {why}"))
    })?;
    for planned in planned {
        let (prefix, files) = match planned {
            Planned::Route(route) => {
                routes.push(route);
                continue;
            }
            Planned::Files(prefix, files) => (prefix, files),
        };
        if prefix.contains(['{', '}']) {
            let message = format!("the files at {prefix:?}: their path cannot be a pattern");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let folder = files.load(&prefix, spelling)?;
        let prefix = prefix.trim_end_matches('/');
        let paths = [prefix.to_owned(), format!("{prefix}/"), format!("{prefix}/{{*file}}")];
        for path in paths.into_iter().filter(|path| !path.is_empty() && !explicit.contains(&**path)) {
            let (path, settings) = (Some(path.into()), Settings::OfPages);
            routes.push(PlannedRoute { path, settings, handler: Box::new(folder.clone()) });
        }
    }
    Ok(routes)
}

/// Keeps only the last handler for each path.
fn without_replaced(planned: Vec<PlannedRoute>) -> Vec<PlannedRoute> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> =
        planned.into_iter().rev().filter(|route| seen.insert(route.path.clone())).collect();
    kept.reverse();
    kept
}

fn plan_routes(planned: Vec<PlannedRoute>, shared: &Options) -> io::Result<Routes> {
    let mut routes = Routes::default();
    for PlannedRoute { path, settings, handler } in without_replaced(planned) {
        let route = match settings {
            Settings::Own(options) => Route::new(handler, *options),
            Settings::Shared => Route::new(handler, shared.clone()),
            Settings::OfPages => {
                Route::of_pages(handler, Options { websocket_enabled: false, ..shared.clone() })
            }
        };
        match path {
            Some(path) if !path.starts_with('/') => {
                let message = format!("no request has the path {path:?}: it does not begin with /");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            Some(path) => routes.add(&path, route).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("the route {path:?}: {error}"))
            })?,
            None => routes.set_fallback(route),
        }
    }
    Ok(routes)
}

impl Server {
    /// Creates a builder with default settings, no routes and no endpoints.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }
}
