//! The settings of a client.

use crate::{ClientTls, Proxy};
use framewright::Config;
use framewright::deflate::DeflateOffer;
use framewright::handshake::HeadLimits;
use framewright_driver::opening::Settings;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a client, from resolving the host's name to the last frame.
///
/// A release may add fields: end a literal with `..ConnectOptions::default()`.
///
/// ```
/// use framewright_tokio::ConnectOptions;
/// use std::time::Duration;
///
/// let connect_timeout = Duration::from_secs(5);
/// let options = ConnectOptions { connect_timeout, redirects: 3, ..ConnectOptions::default() };
/// assert_eq!(options.handshake_timeout, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct ConnectOptions {
    /// How long it may take to resolve the host's name and to connect to one of its addresses, both
    /// together. Default 30 s: a handshake packet that is lost is sent again after 1, 3, 7 and 15
    /// s. Each redirect starts it anew.
    ///
    /// Time spent on nothing but waiting for other connections to the same address does not count:
    /// see [`one_at_a_time`](ConnectOptions::one_at_a_time).
    pub connect_timeout: Duration,
    /// Whether connections to one address and port are opened one after the other, by all clients
    /// of the process that have this set, those of other crates of Framewright included. Default
    /// true: RFC 6455, section 4.1, requires it of clients, so that a script or a list of URLs cannot
    /// make a client flood a server with handshakes.
    ///
    /// It also means that a server that is slow to answer holds up the next connection to it, for
    /// [`handshake_timeout`](ConnectOptions::handshake_timeout) at most. Set it to false in gateways,
    /// load tests and other programs that open many connections to a server that expects them. Then
    /// the connection neither waits for others nor keeps others waiting.
    pub one_at_a_time: bool,
    /// How long to wait for other connections that are being opened to the same address, with
    /// [`one_at_a_time`](ConnectOptions::one_at_a_time). Default 2 minutes, enough for a thousand
    /// connections ahead of it that take 100 ms each. `Duration::MAX` is no limit. Each redirect
    /// starts it anew.
    pub turn_timeout: Duration,
    /// How long the opening handshake may take, from the TCP connection to the complete response.
    /// It includes TLS, the response of a proxy and the body of a refusal. Default 10 s, absolute:
    /// neither silence nor a byte now and then extends it. Each redirect starts it anew.
    pub handshake_timeout: Duration,
    /// Keep-alive, timeouts and limits of the open connection. The default is [`Config::default`] but
    /// for one deadline: 30 s of silence after the keep-alive Ping of every 2 minutes end the
    /// connection ([`Config::keep_alive_timeout`]), since nothing else tells a client that its path
    /// to the server is gone. All connections share it.
    pub connection: Arc<Config>,
    /// The limits on the head of the server's response, interim responses included, and on that of
    /// a proxy's. A status line has no limit of its own: `request_line` has no effect.
    pub head: HeadLimits,
    /// How many redirects to follow. Default 0: a redirect is a
    /// [`ConnectError::Refused`](crate::ConnectError::Refused) like any other response that is not
    /// a 101. Browsers follow none; where a service is known to redirect, 5 is plenty.
    ///
    /// Every redirect goes through the same proxy. Fields with secrets are not sent to another
    /// origin: see [`ClientRequest::with_secret_field`](crate::ClientRequest::with_secret_field).
    pub redirects: u8,
    /// The HTTP proxy to connect through. Default `None`: no proxy is read from the environment,
    /// unless by [`Proxy::from_env`].
    pub proxy: Option<Proxy>,
    /// The TLS settings, for `wss:` URIs and `https:` proxies. The default trusts the platform's
    /// certificate authorities, and is shared by all connections of the process.
    pub tls: ClientTls,
    /// The compression to offer with a request that offers none itself, the preferred one first
    /// (RFC 7692). An empty list offers nothing.
    ///
    /// The default is an offer without context takeover by either side, so that an idle connection
    /// holds no earlier messages. A second offer follows, with takeover by the server, for servers
    /// that cannot do without it (Tornado, Mojolicious). A connection to such a server holds up to
    /// 32 KiB of the data it received. If that is too much, leave the second offer out: then the
    /// client cannot connect to such a server.
    ///
    /// Without the feature `deflate` of this crate nothing is offered, and this list is empty.
    pub compression: Vec<DeflateOffer>,
    /// The addresses to connect to, instead of resolving the name of the host, or of the proxy if
    /// there is one. Default `None`: the system resolves names, on a thread of tokio's for blocking
    /// work, which runs until the system has answered, even if the client no longer waits for it. A
    /// redirect to another host is resolved in any case.
    pub addresses: Option<Vec<SocketAddr>>,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        let connection = Config { keep_alive_timeout: Some(Duration::from_secs(30)), ..Config::default() };
        ConnectOptions {
            connect_timeout: Duration::from_secs(30),
            one_at_a_time: true,
            turn_timeout: Duration::from_secs(120),
            handshake_timeout: Duration::from_secs(10),
            connection: Arc::new(connection),
            head: HeadLimits::default(),
            redirects: 0,
            proxy: None,
            tls: ClientTls::default(),
            compression: default_offers(),
            addresses: None,
        }
    }
}

/// Some servers accept the first offer with a response that lacks `server_no_context_takeover`,
/// which RFC 7692, section 7.1.1.1, does not allow. It is a valid response to the second offer.
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

impl From<&ConnectOptions> for Settings {
    fn from(options: &ConnectOptions) -> Self {
        Settings {
            connect_timeout: options.connect_timeout,
            one_at_a_time: options.one_at_a_time,
            turn_timeout: options.turn_timeout,
            handshake_timeout: options.handshake_timeout,
            head: options.head,
            redirects: options.redirects,
            proxy: options.proxy.clone(),
            tls: options.tls.clone(),
            compression: options.compression.clone(),
            addresses: options.addresses.clone(),
        }
    }
}
