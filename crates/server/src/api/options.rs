//! Settings of a server and of a route.

use crate::memory::limit::MemoryLimit;
use framewright::Config;
use framewright::deflate::DeflatePolicy;
use framewright::handshake::{AllowedHosts, AllowedOrigins, HeadLimits};
use std::time::Duration;

/// The settings of a route. [`ServerBuilder::options`](crate::ServerBuilder::options) sets those of
/// all routes without settings of their own.
///
/// The defaults follow ASP.NET Core's WebSocket middleware: a Ping every two minutes, any origin,
/// upgrades allowed. In addition, a peer is dropped if it leaves two Pings unanswered
/// ([`Config::keep_alive_timeout`]) or does not continue a message that it has begun
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
    /// Keep-alive, timeouts, limits, and whether messages are delivered whole or in chunks.
    pub connection: Config,
    /// The bytes that one read asks for, from 1 to 1 MiB; a larger value counts as 1 MiB. Default
    /// 131072: measured, a larger buffer gains nothing (docs/BENCHMARKS.md). The buffer belongs to
    /// the event loop, not to the connection, so a smaller one saves memory only for connections
    /// with an incomplete frame. If this is at least 4096, reads are larger for a frame that
    /// announces more.
    pub receive_buffer_size: usize,
    /// The web pages that may connect, by their origin (RFC 6455, section 10.2). Default: any. A
    /// request without `Origin` passes, since it does not come from a page. Other origins are
    /// refused with 403.
    pub allowed_origins: AllowedOrigins,
    /// The values of `Host` that are served. Default: any. Others are refused with 421. Use it
    /// against DNS rebinding if a server on a private address trusts every client that reaches it.
    pub allowed_hosts: AllowedHosts,
    /// How permessage-deflate is negotiated with clients that offer it (RFC 7692); `None` declines.
    /// Default: without context takeover by either side, so that a connection at rest holds no
    /// memory for it.
    ///
    /// With takeover (`DeflatePolicy::with_takeover`) each connection holds its own state, as
    /// long as [`ServerLimits::compression_memory`] has room. [`Config::deflate`] says which
    /// messages are compressed, and how. If answers contain secrets next to text that a stranger
    /// chose, send them uncompressed: the length of a compressed message would reveal the secret.
    ///
    /// Without the feature `deflate` of this crate every offer is declined, and this is `None`.
    pub compression: Option<DeflatePolicy>,
    /// Whether the server recognises opening handshakes. Default true. If false, an upgrade is an
    /// ordinary request.
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

/// The settings of a whole server.
///
/// A release may add fields: end a literal with `..ServerLimits::default()`.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct ServerLimits {
    /// The limits on a request's head.
    pub head: HeadLimits,
    /// The time for an opening handshake, from accepting the connection to the server's answer.
    /// Default 10 s, absolute: neither silence nor a byte now and then extends it. For a long
    /// answer (a page) the time starts again with its first bytes, and whenever the peer has taken
    /// 16 KiB more of it.
    pub handshake_timeout: Duration,
    /// The most connections that may be open, in all phases and all workers. Default `None`: as
    /// many as there are descriptors. Further connections are answered with 503 at once, without a
    /// bound on their number. Such a connection stays for at most a second, so that its peer can
    /// read the answer, and each worker keeps only the last 512 of them.
    pub max_connections: Option<usize>,
    /// The most connections that may be open from one IP address, or from one IPv6 network
    /// ([`ipv6_prefix`](Self::ipv6_prefix)). Default `None`. Further connections are answered with
    /// 503.
    ///
    /// Behind a proxy all connections come from the proxy's address. Leave this off there, or name
    /// the proxy among the [trusted ones](crate::ServerBuilder::trusted_proxies). A connection from
    /// a trusted proxy counts, once the head of its request or its PROXY protocol header is read,
    /// as follows:
    ///
    /// | the connection | counts for |
    /// |---|---|
    /// | the proxy names a client | that client |
    /// | the proxy names no client | all such connections of that proxy; on Unix sockets, all such connections |
    /// | the proxy's own request, without the field | the proxy |
    pub max_connections_per_ip: Option<usize>,
    /// The bits of an IPv6 address that form a network for
    /// [`max_connections_per_ip`](Self::max_connections_per_ip), from 0 (all of IPv6 together) to
    /// 128 (each address for itself). A larger value counts as 128.
    ///
    /// Default 64, a subnet (RFC 4291, section 2.5.1): a client with one of its addresses can use
    /// all 2^64. Providers often give a customer many subnets: 56 or 48 counts those together. An
    /// IPv4 address written as IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address.
    pub ipv6_prefix: u8,
    /// The value of `Retry-After` in a 503. Default 5 s.
    pub retry_after: Duration,
    /// The bytes that all connections of all workers may hold together: received parts of messages,
    /// bytes to be sent, the queues of handles, and requests whose decision is deferred. Default: a
    /// quarter of the machine's memory, or of the container's, see [`MemoryLimit::Auto`].
    ///
    /// When it is used up, the server ends connections with 1013 or 503: those that have held the
    /// most for the longest without progress. Holders of up to 64 KiB are spared as long as those
    /// of more hold over a quarter of this limit together. A handle gets
    /// [`HandleError::Full`](crate::HandleError::Full) if its queue would exceed 64 KiB, or if only
    /// smaller holders are left. [`ServerHandle::stats`](crate::ServerHandle::stats) reports the
    /// bytes held.
    ///
    /// It does not include the memory of compression (`compression_memory`), nor the buffers that
    /// each loop keeps for reuse.
    pub memory: MemoryLimit,
    /// The bytes that compression may hold in all workers. Default 64 MiB.
    ///
    /// | case | effect |
    /// |---|---|
    /// | the context takeover of a connection does not fit into three quarters of it | the connection is accepted without takeover |
    /// | inflating a message needs memory that a message without progress holds | that other message gives way: its connection fails with 1013 |
    /// | the compressor and the decompressor of each worker | are counted on top of it, and never refused |
    ///
    /// Less than 632 KiB is of little use: an eighth is reserved for messages in parts, and it then
    /// has no room for the state that inflates one.
    ///
    /// Without the feature `deflate` nothing is held.
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
