//! What can be set for a connection.

use crate::Proxy;
use framewright::Config;
use framewright::deflate::DeflateOffer;
use framewright::handshake::HeadLimits;
use std::net::SocketAddr;
use std::time::Duration;

/// The settings of a connection, from the name of its host to its last frame.
///
/// A release may add fields: end a literal with `..Options::default()`.
///
/// ```
/// use framewright_client::Options;
/// use std::time::Duration;
///
/// let options = Options { connect_timeout: Duration::from_secs(5), redirects: 3, ..Options::default() };
/// assert_eq!(options.handshake_timeout, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct Options {
    /// How long it may take to resolve the host's name and to connect to one of its addresses, both
    /// together. Default 30 s: a handshake packet that is lost is sent again after 1, 3, 7 and 15
    /// s. The time in which there is nothing to do but to wait for other connections to the same
    /// address does not count: see [`one_at_a_time`](Options::one_at_a_time). Each redirect has it
    /// anew.
    ///
    /// A process looks up 64 names at a time, one name 16 times; who waits for a place among them
    /// waits within this time.
    pub connect_timeout: Duration,
    /// Whether connections to one address and port are opened one after the other, by all clients
    /// of the process that have this set. Default true: RFC 6455, section 4.1, demands it of
    /// clients, so that nobody who makes a client connect (a script, a list of URLs) can flood a
    /// server with handshakes. It also means that one server that is slow to answer holds up the
    /// next connection to it, for [`handshake_timeout`](Options::handshake_timeout) at the most.
    /// Set it to false in gateways, load tests and whatever else opens many connections to a server
    /// that expects them; then the connection neither waits for others nor keeps others waiting.
    pub one_at_a_time: bool,
    /// How long to wait for other connections that are being opened to the same address, with
    /// [`one_at_a_time`](Options::one_at_a_time). Default 2 minutes, enough for a thousand before
    /// it that take 100 ms each; `Duration::MAX` is no limit. Each redirect has it anew.
    pub turn_timeout: Duration,
    /// How long the opening handshake may take, from the TCP connection to the complete answer; the
    /// answer of a proxy and the body of a refusal are in it. Default 10 s, absolute: neither
    /// silence nor an octet now and then extends it. Each redirect has it anew.
    pub handshake_timeout: Duration,
    /// How long a call of a blocking client may take that sends, from its beginning until the
    /// kernel has taken all of it. Default `None`: as long as the server takes something every 30 s
    /// ([`Config::write_timeout`]), since a large message over a slow link may take any time. Set
    /// it where a server that reads slowly must not hold the thread; then the connection fails. An
    /// open connection has [`Sender::set_send_timeout`](crate::blocking::Sender::set_send_timeout).
    /// In an event loop no call waits.
    pub send_timeout: Option<Duration>,
    /// Keep-alive, time-outs and limits of the open connection. The default is [`Config::default`],
    /// but for one deadline, since nobody tells a client that its way to the server is gone: 30 s
    /// of silence after the keep-alive Ping of every 2 minutes end the connection
    /// ([`Config::keep_alive_timeout`]). A server with more queued before its Pong than arrives in
    /// ten minutes, a frame or many messages, needs a longer one.
    pub connection: Config,
    /// The limits on the head of the server's answer, interim answers included, and on that of a
    /// proxy's. A status line has no limit of its own: `request_line` plays no part.
    pub head: HeadLimits,
    /// How many redirects to follow. Default 0: a redirect is a [`ConnectError::Refused`](crate::ConnectError::Refused) like any other
    /// answer that is not a 101. Browsers follow none; where a service is known to redirect, 5 is plenty. The proxy stays the same,
    /// wherever they lead. Fields with secrets do not follow to another origin: see
    /// [`ClientRequest::with_secret_field`](crate::ClientRequest::with_secret_field).
    pub redirects: u8,
    /// The HTTP proxy to connect through. Default `None`; [`Proxy::from_env`] asks the environment,
    /// which nothing else does.
    pub proxy: Option<Proxy>,
    /// Which compression to offer with a request that offers none itself, the most wanted first
    /// (RFC 7692). An empty list offers nothing. Default: without context takeover by either side,
    /// so that a connection at rest holds no earlier messages; and behind that, for servers that
    /// cannot do without it (Tornado, Mojolicious), with takeover by the server. A connection to
    /// one of those holds up to 32 KiB of what it received. Leave the second offer out where that
    /// is too much: such a server cannot be connected to then.
    ///
    /// A blocking client makes a compressor and a decompressor of its own (348 KiB) when it needs
    /// them, and frees them when nothing has come for 2 seconds; in an event loop all clients share
    /// those of [`Buffers`](crate::event_loop::Buffers).
    ///
    /// Without the feature `deflate` of this crate nothing is offered, and this is empty.
    pub compression: Vec<DeflateOffer>,
    /// Where to connect to instead of resolving the name of the host, or of the proxy where there
    /// is one. Default `None`: names are resolved by the system, on a thread that goes on until the
    /// system has answered, though nobody may wait for it any more; there are 64 of them at the
    /// most. A redirect to another host is resolved in any case.
    pub addresses: Option<Vec<SocketAddr>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connect_timeout: Duration::from_secs(30),
            one_at_a_time: true,
            turn_timeout: Duration::from_secs(120),
            handshake_timeout: Duration::from_secs(10),
            send_timeout: None,
            connection: Config { keep_alive_timeout: Some(Duration::from_secs(30)), ..Config::default() },
            head: HeadLimits::default(),
            redirects: 0,
            proxy: None,
            compression: default_offers(),
            addresses: None,
        }
    }
}

/// Some servers accept the first one without a word of `server_no_context_takeover`, which is none
/// of the answers that RFC 7692, section 7.1.1.1, allows. It is an answer to the second.
#[cfg(feature = "deflate")]
fn default_offers() -> Vec<DeflateOffer> {
    let second = DeflateOffer { client_no_context_takeover: true, ..DeflateOffer::default() };
    vec![DeflateOffer { server_no_context_takeover: true, ..second }, second]
}

/// This build can offer nothing.
#[cfg(not(feature = "deflate"))]
fn default_offers() -> Vec<DeflateOffer> {
    Vec::new()
}
