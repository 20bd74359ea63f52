//! The trait that an application implements, and what its callbacks receive.

use crate::api::decision::Decision;
use crate::api::decision_threads::DecisionThreads;
use crate::api::socket::{OwnParts, Socket};
use crate::event_loop::stream::{PeerAddr, Stream};
use crate::stats::ServerStats;
#[cfg(feature = "tls")]
use crate::tls::info::TlsInfo;
use cookie::Cookie;
use framewright::handshake::{Refusal, Request, Response};
use framewright::{Chunk, Closure, Connection, Message, Stats};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

/// The application behind a route.
///
/// One value serves all connections of the route, on all event loops. Data of one connection is its
/// [`State`](Handler::State), which each callback receives beside the [`Socket`].
///
/// All callbacks run on the connection's event loop and must not block it; nothing in the API that
/// they are given blocks. Long work goes to another thread, which sends through a
/// [`Handle`](crate::Handle). A callback that returns does not close the connection. One that
/// panics ends its own connection (1011), not the loop.
pub trait Handler: Send + Sync + 'static {
    /// The data that each connection carries.
    type State: Send + 'static;

    /// A request has arrived: an opening handshake ([`Incoming::is_websocket`]) or an ordinary HTTP
    /// request.
    ///
    /// An opening handshake has been checked (RFC 6455, section 4.2.1), its `Origin` too. Answer
    /// with [`Incoming::accept`], [`Decision::accept`] or [`Decision::respond`], or decide later
    /// with [`Incoming::decide_later`] or [`Decision::defer`].
    fn on_request(&self, request: &Incoming<'_>) -> Decision<Self::State>;

    /// The connection is open.
    fn on_open(&self, socket: &mut Socket<'_>, state: &mut Self::State) {
        let _ = (socket, state);
    }

    /// A whole message has arrived.
    fn on_message(&self, socket: &mut Socket<'_>, state: &mut Self::State, message: Message<'_>) {
        let _ = (socket, state, message);
    }

    /// A piece of a message has arrived, on a route with
    /// [`Delivery::Chunks`](crate::Delivery::Chunks).
    fn on_chunk(&self, socket: &mut Socket<'_>, state: &mut Self::State, chunk: Chunk<'_>) {
        let _ = (socket, state, chunk);
    }

    /// A Ping has arrived; its Pong is queued already, unless the connection is closing.
    fn on_ping(&self, socket: &mut Socket<'_>, state: &mut Self::State, data: &[u8]) {
        let _ = (socket, state, data);
    }

    /// A Pong has arrived, solicited or not.
    fn on_pong(&self, socket: &mut Socket<'_>, state: &mut Self::State, data: &[u8]) {
        let _ = (socket, state, data);
    }

    /// The bytes queued for the peer fell to the low-water mark after they had reached the
    /// high-water mark.
    fn on_writable(&self, socket: &mut Socket<'_>, state: &mut Self::State) {
        let _ = (socket, state);
    }

    /// A timer set with [`Socket::set_timer`] is due; that page says when.
    fn on_timer(&self, socket: &mut Socket<'_>, state: &mut Self::State, token: u64) {
        let _ = (socket, state, token);
    }

    /// Messages may be lost that the connection should have received on a durable topic, to which it
    /// has subscribed behind an earlier message
    /// ([`Socket::subscribe_after`](crate::Socket::subscribe_after)).
    fn on_gap(&self, socket: &mut Socket<'_>, state: &mut Self::State, topic: &str) {
        let _ = (socket, state, topic);
    }

    /// The connection has ended. Called last, and exactly once for each connection that was opened,
    /// however it ended.
    fn on_close(&self, closed: &Closed<'_>, state: &mut Self::State) {
        let _ = (closed, state);
    }
}

/// A request, and where it came from. Dereferences to the [`Request`]: method, path, query, fields,
/// subprotocols.
pub struct Incoming<'a> {
    request: Request<'a>,
    params: Params<'a>,
    id: u64,
    origin: Origin<'a>,
    websocket: bool,
    stats: &'a dyn Fn() -> ServerStats,
}

/// Where a request came from, and which client it is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// `None` if a proxy does not name the client.
    pub(crate) client: Option<IpAddr>,
    pub(crate) stream: &'a Stream,
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("id", &self.id)
            .field("request", &self.request)
            .field("peer", &self.peer_addr())
            .field("client", &self.origin.client)
            .field("websocket", &self.websocket)
            .finish_non_exhaustive()
    }
}

impl<'a> Deref for Incoming<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Request<'a> {
        &self.request
    }
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(
        request: Request<'a>,
        params: Params<'a>,
        id: u64,
        origin: Origin<'a>,
        websocket: bool,
        stats: &'a dyn Fn() -> ServerStats,
    ) -> Self {
        Incoming { request, params, id, origin, websocket, stats }
    }

    /// The number of the connection: see [`Socket::id`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether this is a correct opening handshake, which may be accepted.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// The address that the request came from: a proxy's, if one stands in front of the server.
    #[must_use]
    pub fn peer_addr(&self) -> PeerAddr {
        self.origin.stream.peer_addr()
    }

    /// The address of the client: the peer's, or the one that [trusted
    /// proxies](crate::ServerBuilder::trusted_proxies) name.
    ///
    /// | the peer | the client's address |
    /// |---|---|
    /// | no trusted proxy | the peer's |
    /// | a trusted proxy, with a field | the first address, read from the right, that is not a trusted proxy's (RFC 7239, section 5.2; `X-Forwarded-For` likewise) |
    /// | a trusted proxy, whose field names trusted proxies alone | the leftmost one |
    /// | a trusted proxy, without the field | the peer's |
    ///
    /// Entries to the left of that address are the client's own claims, and are not read. If a line
    /// of `Forwarded` that is read is malformed, the request is answered with 400. On a listener
    /// that expects the [PROXY protocol](crate::Endpoint::with_proxy_protocol), the address in its
    /// header replaces the peer's; if the header has none, no field is read.
    ///
    /// `None` if a trusted proxy names no address, in the field (`unknown`, a name of its own, or
    /// no address) or in the PROXY protocol. Also `None` for a peer on a Unix socket, unless it is
    /// a trusted proxy that names an address. An IPv4 address written as IPv6 is returned as the
    /// IPv4 address.
    #[doc(alias = "X-Forwarded-For")]
    #[doc(alias = "Forwarded")]
    #[must_use]
    pub fn client_addr(&self) -> Option<IpAddr> {
        self.origin.client
    }

    /// What was agreed on in the TLS handshake, and the client's certificates; `None` on an endpoint
    /// without [TLS](crate::Endpoint::with_tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo<'a>> {
        self.origin.stream.tls()
    }

    /// The server's current state and its counts, as
    /// [`ServerHandle::stats`](crate::ServerHandle::stats) returns them. Use it for a route that
    /// answers a monitoring system.
    #[must_use]
    pub fn server_stats(&self) -> ServerStats {
        (self.stats)()
    }

    /// The part of the path that the route's pattern calls `name`, percent-decoded; `None` if the
    /// pattern has no such part.
    ///
    /// Bytes that are not UTF-8 after decoding are replaced by U+FFFD. [`path`](Request::path)
    /// returns the path as it was sent.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params.get(name).map(|value| percent_decode_str(value).decode_utf8_lossy())
    }

    /// The names and values of the query, decoded as HTML forms encode them, in the order of the
    /// request. Empty without a query.
    ///
    /// ```text
    /// /ws?room=a%20b&quiet    ("room", "a b"), ("quiet", "")
    /// ```
    #[doc(alias = "query string")]
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        form_urlencoded::parse(self.request.query().unwrap_or_default().as_bytes())
    }

    /// The first value of the query called `name`, decoded; `None` if there is none.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The names and values of all cookies, percent-decoded, in the order of the request (RFC 6265,
    /// section 4.2.1).
    ///
    /// Entries that are no cookie, or not UTF-8, are left out.
    pub fn cookies(&self) -> impl Iterator<Item = (String, String)> + use<'a> {
        let lists = self.request.field_all("Cookie").filter_map(|list| std::str::from_utf8(list).ok());
        lists.flat_map(Cookie::split_parse_encoded).filter_map(Result::ok).map(|cookie| {
            let (name, value) = cookie.name_value();
            (name.to_owned(), value.to_owned())
        })
    }

    /// The first cookie called `name`, percent-decoded; `None` if there is none.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Accepts an opening handshake, and answers an ordinary request with
    /// [`not_a_websocket_request`](Incoming::not_a_websocket_request). For a route that serves
    /// every client.
    pub fn accept<S>(&self, state: S) -> Decision<S> {
        if self.websocket { Decision::accept(state) } else { self.not_a_websocket_request().into() }
    }

    /// Decides on an opening handshake on one of `threads`, and answers an ordinary request with
    /// [`not_a_websocket_request`](Incoming::not_a_websocket_request). For a decision that has to
    /// wait for a database or for another server.
    ///
    /// `decide` returns a [`Decision`], a [`Response`], or a `Result` of the connection's state and
    /// a `Response`. It is not called if the peer has left by then, or if the deadline has passed:
    /// see [`Decision::defer`]. If it panics, the request is answered with 500. If too many requests
    /// wait for `threads`, this one is answered with 503.
    ///
    /// ```
    /// use framewright_server::{Decision, DecisionThreads, Handler, Incoming, Response, StatusCode};
    ///
    /// struct Members {
    ///     threads: DecisionThreads, // DecisionThreads::new(4)?
    /// }
    ///
    /// impl Handler for Members {
    ///     type State = String;
    ///
    ///     fn on_request(&self, request: &Incoming<'_>) -> Decision<String> {
    ///         let token = request.cookie("token").unwrap_or_default();
    ///         request.decide_later(&self.threads, move || name_of(&token))
    ///     }
    /// }
    ///
    /// fn name_of(token: &str) -> Result<String, Response> {
    ///     // Asks the database.
    ///     # let name = (token == "secret").then(|| "Ann".to_owned());
    ///     name.ok_or_else(|| Response::text(StatusCode::FORBIDDEN, "who are you?\n"))
    /// }
    /// # let threads = DecisionThreads::new(1)?;
    /// # let members = Members { threads };
    /// # let server = framewright_server::Server::builder().route("/", members).listen("127.0.0.1:0").build()?;
    /// # assert!(name_of("secret").is_ok() && name_of("").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn decide_later<S, D>(
        &self,
        threads: &DecisionThreads,
        decide: impl FnOnce() -> D + Send + 'static,
    ) -> Decision<S>
    where
        S: Send + 'static,
        D: Into<Decision<S>>,
    {
        if self.websocket { threads.decide(decide) } else { self.not_a_websocket_request().into() }
    }

    /// The answer to an ordinary request on a route that only speaks WebSocket: 405 with `Allow:
    /// GET` for another method, else 400.
    #[must_use]
    pub fn not_a_websocket_request(&self) -> Response {
        let refusal = if self.request.method() == "GET" {
            Refusal::NotAWebSocketRequest
        } else {
            Refusal::MethodNotAllowed { allow: "GET" }
        };
        refusal.to_response()
    }
}

/// The parts of a path that a route's pattern names, undecoded.
pub(crate) type Params<'a> = matchit::Params<'a, 'a>;

/// A connection that has ended, and how.
pub struct Closed<'a> {
    connection: &'a Connection,
    stream: &'a Stream,
    closure: &'a Closure,
    pub(crate) own: &'a OwnParts<'a>,
}

impl fmt::Debug for Closed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed")
            .field("id", &self.id())
            .field("closure", &self.closure)
            .finish_non_exhaustive()
    }
}

impl<'a> Closed<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        stream: &'a Stream,
        closure: &'a Closure,
        own: &'a OwnParts<'a>,
    ) -> Self {
        Closed { connection, stream, closure, own }
    }

    /// How the connection ended: cleanly or not, with which code, and why.
    #[must_use]
    pub fn closure(&self) -> &'a Closure {
        self.closure
    }

    /// The number of the connection: see [`Socket::id`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.own.id
    }

    /// The peer's address: that of a proxy, if one stands in front of the server.
    #[must_use]
    pub fn peer_addr(&self) -> PeerAddr {
        self.stream.peer_addr()
    }

    /// The negotiated subprotocol, if any.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.connection.subprotocol()
    }

    /// What the connection sent and received.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }
}
