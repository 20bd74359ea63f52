//! What can be set, for a server and for a route.

use crate::memory::limit::MemoryLimit;
use framewright::Config;
use framewright::deflate::DeflatePolicy;
use framewright::handshake::{AllowedHosts, AllowedOrigins, HeadLimits};
use std::time::Duration;

/// The settings of a route; those given to
/// [`ServerBuilder::options`](crate::ServerBuilder::options) are for the routes that have none of
/// their own.
///
/// The defaults are those that users of ASP.NET Core's WebSocket middleware know: a Ping every two
/// minutes, any origin, upgrades allowed. Beyond those, a peer is gone that lets two Pings pass
/// ([`Config::keep_alive_timeout`]) or does not go on with a message that it has begun
/// ([`Config::message_timeout`]).
///
/// A release may add fields: end a literal with `..Options::default()`.
///
/// ```
/// use framewright_server::{Config, Options};
/// use std::time::Duration;
///
/// let options = Options {
///     connection: Config { keep_alive_timeout: Some(Duration::from_secs(20)), ..Config::default() },
///     ..Options::default()
/// };
/// assert_eq!(options.connection.keep_alive_interval, Some(Duration::from_secs(120)));
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct Options {
    /// Keep-alive, time-outs, limits, and whether messages are delivered whole or in chunks.
    pub connection: Config,
    /// How many octets one read asks for, from 1 to 1 MiB; more is taken as 1 MiB. Default 131072:
    /// measured, more gains nothing (docs/BENCHMARKS.md). The buffer is the event loop's, not the
    /// connection's, so a smaller one saves memory only for connections with an incomplete frame.
    /// Larger reads are made for a frame that announced more, where this is at least 4096.
    pub receive_buffer_size: usize,
    /// Which pages may connect (RFC 6455, section 10.2). Default: any. A request without `Origin`
    /// passes, since it does not come from a page; others are refused with 403.
    pub allowed_origins: AllowedOrigins,
    /// Which values of `Host` are served. Default: any. Others are refused with 421. Use it against
    /// DNS rebinding where a server on a private address trusts whoever reaches it.
    pub allowed_hosts: AllowedHosts,
    /// How permessage-deflate is agreed on with clients that offer it (RFC 7692); `None` declines.
    /// Default: without context takeover by either side, so that a connection at rest holds nothing
    /// for it. With takeover ([`DeflatePolicy::with_takeover`]) each connection holds its own
    /// state, as long as there is room in [`ServerLimits::compression_memory`]. Which messages are
    /// compressed, and how, is in [`Config::deflate`]. Where answers hold secrets beside what a
    /// stranger chose, send those uncompressed: their length would tell of the secret.
    ///
    /// Without the feature `deflate` of this crate every offer is declined, and this is `None`.
    pub compression: Option<DeflatePolicy>,
    /// Whether opening handshakes are recognised. Default true. If false, an upgrade is an ordinary
    /// request.
    pub websocket_enabled: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connection: Config::default(),
            receive_buffer_size: 128 << 10,
            allowed_origins: AllowedOrigins::default(),
            allowed_hosts: AllowedHosts::default(),
            #[cfg(feature = "deflate")]
            compression: Some(DeflatePolicy::default()),
            #[cfg(not(feature = "deflate"))]
            compression: None,
            websocket_enabled: true,
        }
    }
}

/// The settings of a whole server. A release may add fields: end a literal with
/// `..ServerLimits::default()`.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct ServerLimits {
    /// The limits on a request's head.
    pub head: HeadLimits,
    /// How long an opening handshake may take, from the accepted connection to our answer. Default
    /// 10 s, absolute: neither silence nor an octet now and then extends it. A long answer (a page)
    /// has the time anew with its first octets, and whenever the peer has taken 16 KiB of it since.
    pub handshake_timeout: Duration,
    /// How many connections may be open, in all phases and all workers. Default `None`: as many as
    /// there are descriptors. More are answered with 503 at once, however many; for a second at the
    /// most such a connection stays, for its peer to read that, and each worker keeps the last 512
    /// of them.
    pub max_connections: Option<usize>,
    /// How many connections may be open from one IP address, of IPv6 from one network. Default
    /// `None`. More are answered with 503.
    ///
    /// Behind a proxy all connections come from the proxy's address: leave it off there, or name the
    /// proxy among the [trusted ones](crate::ServerBuilder::trusted_proxies). Then a connection
    /// counts for the client that the proxy names, once the request's head has been read or a header
    /// of the PROXY protocol. Those that a proxy does not name count for one another, on Unix
    /// sockets all of them, and requests of the proxy's own, without the field, for the proxy.
    pub max_connections_per_ip: Option<usize>,
    /// How many bits of an IPv6 address tell whom
    /// [`max_connections_per_ip`](Self::max_connections_per_ip) counts a connection with, from 0
    /// (all of IPv6 together) to 128 (each address for itself); more is taken as 128. Default 64, a
    /// subnet (RFC 4291, section 2.5.1): who has one address of it can come from each of its 2^64.
    /// Providers often give a customer many subnets: 56 or 48 counts those together. An IPv4
    /// address written as one of IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address.
    pub ipv6_prefix: u8,
    /// What `Retry-After` says with a 503. Default 5 s.
    pub retry_after: Duration,
    /// How many bytes all connections may hold together, over all workers: what has come of
    /// messages in parts, what waits to be sent, what handles have queued, and requests whose
    /// decision is put off. Default: a quarter of the machine's memory, or of the container's, see
    /// [`MemoryLimit::Auto`].
    ///
    /// Where it is used up, connections are ended with 1013 or 503: those that hold the most for
    /// the longest without moving anything. Who holds up to 64 KiB stays as long as those that hold
    /// more come to more than a quarter of this together. Handles with more than that in their
    /// queue, or with less where only such are left, get
    /// [`HandleError::Full`](crate::HandleError::Full). `ServerHandle::stats` tells what is held.
    ///
    /// What compression holds is not in it (`compression_memory`), nor what each loop keeps for its
    /// next use.
    pub memory: MemoryLimit,
    /// How many octets compression may hold, over all workers. Default 64 MiB. Where a connection's
    /// context takeover does not fit into three quarters of it, the connection is accepted without
    /// it. A message of which nothing comes gives way to one that needs memory to be inflated: its
    /// connection fails with 1013. The compressor and the decompressor that every worker has are
    /// counted, not refused, and beside it. Less than 632 KiB is of little use: an eighth is left
    /// for messages in parts, and has no room for what inflates one.
    ///
    /// Without the feature `deflate` there is nothing to hold.
    pub compression_memory: usize,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            head: HeadLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            max_connections: None,
            max_connections_per_ip: None,
            ipv6_prefix: 64,
            retry_after: Duration::from_secs(5),
            memory: MemoryLimit::default(),
            compression_memory: 64 << 20,
        }
    }
}
