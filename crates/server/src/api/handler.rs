//! What an application implements, and what it is given.

use crate::api::decision::Decision;
use crate::api::socket::Socket;
use crate::event_loop::stream::{PeerAddr, Stream};
use crate::stats::ServerStats;
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
/// One value serves all connections of the route, on all event loops. What belongs to one
/// connection is its [`State`](Handler::State), which each callback gets beside the [`Socket`].
///
/// All callbacks run on the connection's event loop and must not block it; nothing in the API that
/// they are given blocks. Work that takes long goes to another thread, which sends through a
/// [`Handle`](crate::Handle). A callback that returns does not close the connection. One that
/// panics costs its own connection (1011), not the loop.
pub trait Handler: Send + Sync + 'static {
    /// What each connection carries.
    type State: Send + 'static;

    /// A request has arrived: an opening handshake ([`Incoming::is_websocket`]) or an ordinary HTTP
    /// request.
    ///
    /// An opening handshake has been checked (RFC 6455, section 4.2.1), its `Origin` too. Answer
    /// with [`Incoming::accept`], [`Decision::accept`] or [`Decision::respond`], or decide later
    /// with [`Decision::defer`].
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
    /// [`Delivery::Chunks`](framewright::Delivery::Chunks).
    fn on_chunk(&self, socket: &mut Socket<'_>, state: &mut Self::State, chunk: Chunk<'_>) {
        let _ = (socket, state, chunk);
    }

    /// A Ping has arrived; its Pong is queued already, unless the connection is closing.
    fn on_ping(&self, socket: &mut Socket<'_>, state: &mut Self::State, data: &[u8]) {
        let _ = (socket, state, data);
    }

    /// A Pong has arrived, asked for or not.
    fn on_pong(&self, socket: &mut Socket<'_>, state: &mut Self::State, data: &[u8]) {
        let _ = (socket, state, data);
    }

    /// The bytes queued for the peer fell to the low-water mark after they had reached the
    /// high-water mark.
    fn on_writable(&self, socket: &mut Socket<'_>, state: &mut Self::State) {
        let _ = (socket, state);
    }

    /// A timer has come that was set with [`Socket::set_timer`], which says when that is.
    fn on_timer(&self, socket: &mut Socket<'_>, state: &mut Self::State, token: u64) {
        let _ = (socket, state, token);
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
    origin: Origin,
    websocket: bool,
    stats: &'a dyn Fn() -> ServerStats,
}

/// Where a request came from, and whom it is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) peer: Option<PeerAddr>,
    /// `None` where a proxy does not say.
    pub(crate) client: Option<IpAddr>,
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("id", &self.id)
            .field("request", &self.request)
            .field("peer", &self.origin.peer)
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
        origin: Origin,
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

    /// Where the request came from: a proxy, if one stands in front of the server. `None` if the
    /// peer has left already.
    #[must_use]
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        self.origin.peer
    }

    /// Whom the request is from: the peer, or whom
    /// [trusted proxies](crate::ServerBuilder::trusted_proxies) name.
    ///
    /// Where the peer is such a proxy, its field is read from the right (RFC 7239, section 5.2;
    /// `X-Forwarded-For` likewise), and the first address that is not one of them is the client's.
    /// What stands to the left of that is what the client has sent, and is not looked at. Where a
    /// line of `Forwarded` that is looked at is malformed the request is answered with 400. If all of
    /// them are proxies it is the leftmost one, and the peer's without the field. In place of the
    /// peer's address that of its header counts, on a listener that expects the
    /// [PROXY protocol](crate::Endpoint::with_proxy_protocol); if that has none, no field is
    /// read.
    ///
    /// `None` where a trusted proxy does not name an address: `unknown`, a name of its own, or what
    /// is no address, or in the PROXY protocol; and for a peer on a Unix socket, unless it is a trusted proxy that
    /// names one. An IPv4 address that is written as one of IPv6 is the IPv4 address.
    #[doc(alias = "X-Forwarded-For")]
    #[doc(alias = "Forwarded")]
    #[must_use]
    pub fn client_addr(&self) -> Option<IpAddr> {
        self.origin.client
    }

    /// What the server holds now and has counted, as
    /// [`ServerHandle::stats`](crate::ServerHandle::stats) tells it: for a route that answers a
    /// monitoring system.
    #[must_use]
    pub fn server_stats(&self) -> ServerStats {
        (self.stats)()
    }

    /// The part of the path that the route's pattern calls `name`, percent-decoded; `None` if the
    /// pattern has no such part.
    ///
    /// What is not UTF-8 after decoding is replaced by U+FFFD. [`path`](Request::path) has the path
    /// as it was sent.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params.get(name).map(|value| percent_decode_str(value).decode_utf8_lossy())
    }

    /// The names and values of the query, decoded as HTML forms encode them, in their order. Empty
    /// without a query.
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

    /// The names and values of all cookies, percent-decoded, in their order (RFC 6265, section
    /// 4.2.1).
    ///
    /// What is no cookie, or not UTF-8, is left out.
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

    /// The decision of a route that serves everybody: accepts an opening handshake, and answers an
    /// ordinary request with [`not_a_websocket_request`](Incoming::not_a_websocket_request).
    pub fn accept<S>(&self, state: S) -> Decision<S> {
        if self.websocket { Decision::accept(state) } else { self.not_a_websocket_request().into() }
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

/// The parts of a path that a route's pattern names, as they stand in the request.
pub(crate) type Params<'a> = matchit::Params<'a, 'a>;

/// A connection that has ended, and how.
pub struct Closed<'a> {
    connection: &'a Connection,
    stream: &'a Stream,
    closure: &'a Closure,
    id: u64,
}

impl fmt::Debug for Closed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").field("id", &self.id).field("closure", &self.closure).finish_non_exhaustive()
    }
}

impl<'a> Closed<'a> {
    pub(crate) fn new(connection: &'a Connection, stream: &'a Stream, closure: &'a Closure, id: u64) -> Self {
        Closed { connection, stream, closure, id }
    }

    /// How the connection ended: cleanly or not, with which code, and why.
    #[must_use]
    pub fn closure(&self) -> &'a Closure {
        self.closure
    }

    /// The number of the connection: see [`Socket::id`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the peer is; `None` if its end was a reset, after which the system no longer knows.
    #[must_use]
    pub fn peer_addr(&self) -> Option<PeerAddr> {
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
