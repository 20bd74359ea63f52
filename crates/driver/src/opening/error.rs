//! Why a connection could not be opened.

use super::tls::TlsError;
#[cfg(feature = "client-tls")]
use super::tls::Told;
use framewright::handshake::{RedirectError, ResponseError, ServerResponse, UriError};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a connection could not be opened. Nothing of the attempt remains.
///
/// [`is_permanent`](ConnectError::is_permanent) tells which errors are not worth another attempt.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URI cannot be used.
    Uri(UriError),
    /// The URI has the scheme `wss`, or the proxy's `https`, and there is no TLS for it: this build
    /// is one without the feature `tls`, or the settings leave TLS to the application's stream
    /// ([`ClientTls::of_the_stream`](super::ClientTls::of_the_stream)).
    TlsNotSupported,
    /// TLS could not be set up, or has failed before the connection was open. That of a proxy is
    /// within [`Proxy`](ConnectError::Proxy).
    Tls(TlsError),
    /// The name of the host, or of the proxy, could not be resolved.
    Resolve(io::Error),
    /// The name of the host, or of the proxy, has no address.
    NoAddress,
    /// There was no connection within the option `connect_timeout`: the name was not resolved, or no
    /// address answered.
    ConnectTimeout,
    /// Other connections of this process to the same address were being opened for all of the option
    /// `turn_timeout`. Cannot occur with the option `one_at_a_time` unset.
    TurnTimeout,
    /// No address could be connected to; the error of each of them.
    Connect(Vec<(SocketAddr, io::Error)>),
    /// The response was not complete within the option `handshake_timeout`.
    HandshakeTimeout,
    /// The server's response breaks a rule.
    Handshake(ResponseError),
    /// The server answered with another status than 101. A redirect counts too, if none are
    /// followed.
    Refused(Box<ServerResponse>),
    /// There were more redirects than the option `redirects` allows.
    TooManyRedirects {
        /// The number of redirects allowed, all of which were followed.
        limit: u8,
        /// The redirect that was not followed.
        response: Box<ServerResponse>,
    },
    /// A redirect leads to a URI that this client does not follow.
    Redirect(RedirectError),
    /// The proxy could not be connected to; the reason.
    Proxy(Box<ConnectError>),
    /// The proxy refused the tunnel; status 407 if it requires credentials.
    ProxyRefused(Box<ServerResponse>),
    /// The proxy's response breaks a rule.
    ProxyHandshake(ResponseError),
    /// Bytes came through the proxy before the request was sent.
    ProxyEarlyData,
    /// The connection failed during the opening handshake.
    Lost(io::Error),
    /// A system call that opening a connection needs has failed.
    Io(io::Error),
}

impl ConnectError {
    /// Whether the same request with the same settings would fail again, as far as the error tells.
    /// A program that connects again should stop then.
    ///
    /// | error | permanent |
    /// |---|---|
    /// | [`Uri`](Self::Uri), [`TlsNotSupported`](Self::TlsNotSupported) | yes |
    /// | [`Refused`](Self::Refused), [`ProxyRefused`](Self::ProxyRefused) | yes, apart from the statuses that ask for another attempt: 408, 425, 429, and all 5xx but 501 and 505 |
    /// | [`TooManyRedirects`](Self::TooManyRedirects), [`Redirect`](Self::Redirect) | yes |
    /// | [`Handshake`](Self::Handshake), [`ProxyHandshake`](Self::ProxyHandshake) | yes, unless the stream has ended before the whole answer, as it does when a server restarts |
    /// | [`ProxyEarlyData`](Self::ProxyEarlyData) | yes |
    /// | [`Tls`](Self::Tls) | yes, apart from the next rows |
    /// | `TlsError::NotBegun`, `TlsError::Truncated` | no |
    /// | `TlsError::Alert` | yes for the alerts about certificates, and for `AccessDenied`, `HandshakeFailure`, `InsufficientSecurity`, `NoApplicationProtocol`, `ProtocolVersion`, `UnrecognisedName`; no for the others: octets may have been altered on the way, or the server has a fault |
    /// | `TlsError::Protocol` | yes if the two ends have not come to terms (`PeerIncompatible`), no if a rule was broken |
    /// | `TlsError::Certificate` | yes, unless it is out of date: it may be renewed, or the clock set |
    /// | [`Proxy`](Self::Proxy) | as the error inside |
    /// | [`Resolve`](Self::Resolve), [`NoAddress`](Self::NoAddress) | no: a name that does not exist looks like a name server that is out of order |
    /// | [`Connect`](Self::Connect), [`Lost`](Self::Lost), [`Io`](Self::Io), and the three timeouts | no |
    ///
    /// ```
    /// # use framewright::handshake::WsUri;
    /// # use framewright_driver::opening::ConnectError;
    /// let error = ConnectError::from(WsUri::parse("ws://localhost:no-port/").unwrap_err());
    /// assert!(error.is_permanent());
    /// let error = ConnectError::Lost(std::io::ErrorKind::ConnectionReset.into());
    /// assert!(!error.is_permanent());
    /// ```
    #[doc(alias = "retry")]
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            ConnectError::Refused(response) | ConnectError::ProxyRefused(response) => {
                !asks_for_another_attempt(response.status())
            }
            ConnectError::Handshake(error) | ConnectError::ProxyHandshake(error) => {
                !matches!(error, ResponseError::Closed | ResponseError::Truncated | ResponseError::Timeout)
            }
            ConnectError::Proxy(error) => error.is_permanent(),
            ConnectError::Tls(error) => error.is_permanent(),
            ConnectError::Uri(_)
            | ConnectError::TlsNotSupported
            | ConnectError::TooManyRedirects { .. }
            | ConnectError::Redirect(_)
            | ConnectError::ProxyEarlyData => true,
            ConnectError::Resolve(_)
            | ConnectError::NoAddress
            | ConnectError::ConnectTimeout
            | ConnectError::TurnTimeout
            | ConnectError::Connect(_)
            | ConnectError::HandshakeTimeout
            | ConnectError::Lost(_)
            | ConnectError::Io(_) => false,
        }
    }
}

/// Whether a later request may get another status: 408 (RFC 9110, section 15.5.9), 425 (RFC 8470,
/// section 5.2), 429 (RFC 6585, section 4), and faults of the server (RFC 9110, section 15.6) apart
/// from what it does not implement.
fn asks_for_another_attempt(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599) && !matches!(status, 501 | 505)
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Uri(error) => write!(f, "{error}"),
            ConnectError::TlsNotSupported => f.write_str(NO_TLS),
            ConnectError::Tls(error) => write!(f, "TLS: {error}"),
            ConnectError::Resolve(error) => write!(f, "the name could not be resolved: {error}"),
            ConnectError::NoAddress => f.write_str("the name has no address"),
            ConnectError::ConnectTimeout => {
                f.write_str("there was no connection in time (the option connect_timeout)")
            }
            ConnectError::TurnTimeout => f.write_str(
                "others to the same address were being opened for too long (the options turn_timeout, one_at_a_time)",
            ),
            ConnectError::Connect(attempts) => {
                f.write_str("no connection")?;
                attempts.iter().try_for_each(|(address, error)| write!(f, "; {address}: {error}"))
            }
            ConnectError::HandshakeTimeout => {
                f.write_str("the opening handshake took too long (the option handshake_timeout)")
            }
            ConnectError::Handshake(error) => write!(f, "the server's answer: {error}"),
            ConnectError::Refused(response) => write!(f, "the server answered with {}", Status(response)),
            ConnectError::TooManyRedirects { limit, response } => {
                write!(f, "{} after {limit} redirects, which is as many as are followed", Status(response))
            }
            ConnectError::Redirect(error) => write!(f, "a redirect: {error}"),
            ConnectError::Proxy(error) => match &**error {
                #[cfg(feature = "client-tls")]
                ConnectError::Tls(error) => write!(f, "TLS: {}", Told::by_proxy(error)),
                error => write!(f, "the proxy: {error}"),
            },
            ConnectError::ProxyRefused(response) => write!(f, "the proxy answered with {}", Status(response)),
            ConnectError::ProxyHandshake(error) => write!(f, "the proxy's answer: {error}"),
            ConnectError::ProxyEarlyData => {
                f.write_str("octets came through the proxy before the request was sent")
            }
            ConnectError::Lost(error) => write!(f, "lost inside the opening handshake: {error}"),
            ConnectError::Io(error) => write!(f, "{error}"),
        }
    }
}

/// Displays the status of a response.
struct Status<'a>(&'a ServerResponse);

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (HTTP/1.{})", self.0.status(), self.0.http_minor())
    }
}

impl std::error::Error for ConnectError {
    /// The cause of the inner error: its own message is already part of this one's.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Resolve(error) | ConnectError::Lost(error) | ConnectError::Io(error) => {
                error.source()
            }
            ConnectError::Uri(error) => error.source(),
            ConnectError::Tls(error) => error.source(),
            ConnectError::Handshake(error) | ConnectError::ProxyHandshake(error) => error.source(),
            ConnectError::Redirect(error) => error.source(),
            ConnectError::Proxy(error) => error.source(),
            _ => None,
        }
    }
}

/// Why a `wss:` URI is refused.
#[cfg(feature = "client-tls")]
const NO_TLS: &str = "wss: the settings leave TLS to a stream of the application (ClientTls::of_the_stream)";
#[cfg(not(feature = "client-tls"))]
const NO_TLS: &str = "wss: this build has no TLS: turn on the feature tls";

impl From<TlsError> for ConnectError {
    fn from(error: TlsError) -> ConnectError {
        ConnectError::Tls(error)
    }
}

impl From<UriError> for ConnectError {
    fn from(error: UriError) -> ConnectError {
        ConnectError::Uri(error)
    }
}
