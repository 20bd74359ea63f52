//! The settings of an opening: what the options of every client have in common.

use super::proxy::Proxy;
use super::tls::ClientTls;
use framewright::deflate::DeflateOffer;
use framewright::handshake::HeadLimits;
use std::net::SocketAddr;
use std::time::Duration;

/// The settings of an opening. A client documents them in its own options, and has the defaults.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "a client fills in every field from its options")]
pub struct Settings {
    /// How long it may take to resolve the host's name and to connect to one of its addresses, both
    /// together, without the time spent on nothing but waiting for other connections.
    pub connect_timeout: Duration,
    /// Whether connections to one address and port are opened one after the other (RFC 6455, section
    /// 4.1), by all clients of the process that have this set.
    pub one_at_a_time: bool,
    /// How long to wait for other connections that are being opened to the same address.
    pub turn_timeout: Duration,
    /// How long the opening handshake may take, from the TCP connection to the complete response.
    pub handshake_timeout: Duration,
    /// The limits on the head of the server's response, and on that of a proxy's.
    pub head: HeadLimits,
    /// How many redirects to follow.
    pub redirects: u8,
    /// The HTTP proxy to connect through.
    pub proxy: Option<Proxy>,
    /// The TLS settings, for `wss:` URIs and `https:` proxies.
    pub tls: ClientTls,
    /// The compression to offer with a request that offers none itself, the preferred one first.
    pub compression: Vec<DeflateOffer>,
    /// The addresses to connect to, instead of resolving the name of the host, or of the proxy if
    /// there is one.
    pub addresses: Option<Vec<SocketAddr>>,
}
