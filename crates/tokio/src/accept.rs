//! The server's opening handshake on a stream (RFC 6455, section 4.2).

#[cfg(feature = "deflate")]
use crate::lent::MEMORY;
use crate::websocket::WebSocket;
use crate::work::now;
#[cfg(feature = "deflate")]
use framewright::Role;
use framewright::deflate::{DeflatePolicy, Reservation};
use framewright::handshake::{
    Accept, AllowedHosts, AllowedOrigins, HeadLimits, Refusal, Request, Response, ServerHandshake,
    StatusCode, Upgrade, choose_subprotocol,
};
use framewright::{Config, Connection, Negotiated};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

/// The bytes that one read of a request asks for.
const CHUNK: usize = 2 << 10;
/// How long, and for how many bytes, a peer that was refused is read from: a reset could reach it
/// before it has read the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// The settings with which a server accepts connections.
///
/// A release may add fields: end a literal with `..AcceptOptions::default()`.
///
/// ```
/// use framewright_tokio::{AcceptOptions, Config};
/// use std::time::Duration;
///
/// let options = AcceptOptions {
///     connection: Config { keep_alive_interval: Some(Duration::from_secs(45)), ..Config::default() }.into(),
///     subprotocols: vec!["chat".into()],
///     ..AcceptOptions::default()
/// };
/// assert_eq!(options.handshake_timeout, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct AcceptOptions {
    /// Keep-alive, timeouts, limits, and whether messages are delivered whole or in chunks. All
    /// connections share it.
    pub connection: Arc<Config>,
    /// The limits on a request's head.
    pub head: HeadLimits,
    /// The time from the first call to the complete request, and then for the answer to leave.
    /// Default 10 s, absolute: neither silence nor a byte now and then extends it.
    pub handshake_timeout: Duration,
    /// The web pages that may connect, by their origin (RFC 6455, section 10.2). Default: any. A
    /// request without `Origin` passes, since it does not come from a page. Other origins are
    /// refused with 403.
    pub allowed_origins: AllowedOrigins,
    /// The values of `Host` that are served. Default: any. Others are refused with 421.
    pub allowed_hosts: AllowedHosts,
    /// The subprotocols that are served, the preferred ones first. The first one that the client
    /// offers is selected. Default: none.
    pub subprotocols: Vec<String>,
    /// How permessage-deflate is negotiated with clients that offer it (RFC 7692); `None` declines.
    /// Default: without context takeover by either side, so that a connection at rest holds no
    /// memory for it.
    ///
    /// Without the feature `deflate` of this crate every offer is declined, and this is `None`.
    pub compression: Option<DeflatePolicy>,
}

impl Default for AcceptOptions {
    fn default() -> AcceptOptions {
        AcceptOptions {
            connection: Arc::default(),
            head: HeadLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            allowed_origins: AllowedOrigins::default(),
            allowed_hosts: AllowedHosts::default(),
            subprotocols: Vec::new(),
            #[cfg(feature = "deflate")]
            compression: Some(DeflatePolicy::default()),
            #[cfg(not(feature = "deflate"))]
            compression: None,
        }
    }
}

/// Reads an opening handshake from `stream` and accepts it.
///
/// A request that is refused gets an answer that says why, before this returns its error.
///
/// *Cancel safety*: dropping the future drops the stream, which ends the connection.
///
/// # Errors
/// [`AcceptError`].
pub async fn accept<S>(stream: S, options: &AcceptOptions) -> Result<WebSocket<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // On the heap: a task that serves the connection afterwards keeps no room for the handshake.
    let handshake = Box::pin(async move {
        let incoming = Incoming::read(stream, options).await?;
        let accept = incoming.default_accept();
        incoming.accept(accept).await
    });
    handshake.await
}

/// Reads an opening handshake from `stream`, and lets `decide` accept or refuse it.
///
/// `decide` gets the request and the acceptance that [`accept`] would send, to which it may add a
/// subprotocol and fields; or it returns a response that refuses. A decision that has to wait is
/// made between [`Incoming::read`] and [`Incoming::accept`].
///
/// *Cancel safety*: dropping the future drops the stream, which ends the connection.
///
/// # Errors
/// [`AcceptError`]; [`AcceptError::Declined`] if `decide` has refused.
pub async fn accept_with<S>(
    stream: S,
    options: &AcceptOptions,
    decide: impl FnOnce(&Request<'_>, Accept) -> Result<Accept, Response>,
) -> Result<WebSocket<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = Box::pin(async move {
        let incoming = Incoming::read(stream, options).await?;
        let decision = decide(&incoming.request(), incoming.default_accept());
        match decision {
            Ok(accept) => incoming.accept(accept).await,
            Err(response) => Err(incoming.refuse(&response).await),
        }
    });
    handshake.await
}

/// An opening handshake that was read and is correct: to be accepted or refused.
///
/// ```
/// use framewright_tokio::{AcceptError, AcceptOptions, Incoming, Response, StatusCode, WebSocket};
/// use tokio::net::TcpStream;
///
/// async fn accept(stream: TcpStream) -> Result<WebSocket<TcpStream>, AcceptError> {
///     let incoming = Incoming::read(stream, &AcceptOptions::default()).await?;
///     if !is_known(incoming.request().field("Authorization")).await {
///         return Err(incoming.refuse(&Response::new(StatusCode::UNAUTHORIZED)).await);
///     }
///     let accept = incoming.default_accept();
///     incoming.accept(accept).await
/// }
/// # async fn is_known(token: Option<&[u8]>) -> bool { token.is_some() }
/// ```
pub struct Incoming<S> {
    stream: S,
    received: Vec<u8>,
    head_len: usize,
    handshake: ServerHandshake,
    upgrade: Upgrade,
    settings: Settings,
}

/// What is needed of the options once the request is there.
struct Settings {
    connection: Arc<Config>,
    timeout: Duration,
    accept: Accept,
    compression: Option<DeflatePolicy>,
}

impl<S> Incoming<S> {
    /// The request.
    pub fn request(&self) -> Request<'_> {
        self.handshake.request(&self.received)
    }

    /// The acceptance as the options have it: the preferred subprotocol that the client offers, and
    /// compression.
    pub fn default_accept(&self) -> Accept {
        self.settings.accept.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    /// Reads a request, and refuses it unless it is a correct opening handshake.
    ///
    /// *Cancel safety*: dropping the future drops the stream, which ends the connection.
    ///
    /// # Errors
    /// [`AcceptError::Refused`] or [`AcceptError::NotWebSocket`], after the answer was sent;
    /// [`AcceptError::Io`].
    pub async fn read(mut stream: S, options: &AcceptOptions) -> Result<Incoming<S>, AcceptError> {
        let until = Instant::now().checked_add(options.handshake_timeout);
        let mut handshake = ServerHandshake::new(options.head, now(), options.handshake_timeout);
        let mut received = Vec::new();
        let head_len = loop {
            match handshake.parse(&received) {
                Ok(Some(head_len)) => break head_len,
                Ok(None) => {}
                Err(refusal) => return Err(refuse_for(stream, refusal, options.handshake_timeout).await),
            }
            received.reserve(CHUNK);
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            match timeout(left, stream.read_buf(&mut received)).await {
                Ok(Ok(0)) => return Err(AcceptError::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(AcceptError::Io(error)),
                Err(_) => return Err(refuse_for(stream, Refusal::HandshakeTimeout, LINGER).await),
            }
        };
        let request = handshake.request(&received);
        let upgrade = match check(&request, options) {
            Ok(Some(upgrade)) => upgrade,
            Ok(None) => {
                let response = Response::text(
                    StatusCode::UPGRADE_REQUIRED,
                    "This address is a WebSocket endpoint: connect with a WebSocket client.\n",
                );
                answer(stream, &response, request.method() == "HEAD", options.handshake_timeout).await;
                return Err(AcceptError::NotWebSocket);
            }
            Err(refusal) => return Err(refuse_for(stream, refusal, options.handshake_timeout).await),
        };
        let accept = default_accept(&request, options);
        let settings = Settings {
            connection: Arc::clone(&options.connection),
            timeout: options.handshake_timeout,
            accept,
            compression: options.compression,
        };
        Ok(Incoming { stream, received, head_len, handshake, upgrade, settings })
    }

    /// Accepts the request, and sends the 101.
    ///
    /// *Cancel safety*: dropping the future drops the stream, which ends the connection.
    ///
    /// # Errors
    /// [`AcceptError::Accept`] if `accept` names a subprotocol that the client has not offered: the
    /// client gets a 500. [`AcceptError::Io`] if the answer cannot be sent.
    pub async fn accept(self, accept: Accept) -> Result<WebSocket<S>, AcceptError> {
        let Settings { compression, connection, .. } = &self.settings;
        let (accept, reservation) = reserve(&self.request(), accept, *compression, connection);
        let Incoming { mut stream, received, head_len, handshake, upgrade, settings } = self;
        let mut out = Vec::with_capacity(256);
        let negotiated = match upgrade.accept(&handshake.request(&received), &accept, &mut out) {
            Ok(negotiated) => negotiated,
            Err(error) => {
                answer(stream, &Response::new(StatusCode::INTERNAL_SERVER_ERROR), false, settings.timeout)
                    .await;
                return Err(AcceptError::Accept(error));
            }
        };
        let sent = timeout(settings.timeout, write(&mut stream, &out)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(AcceptError::Io)?;
        let connection = open(settings.connection, negotiated, reservation);
        Ok(WebSocket::of(connection, stream, &received[head_len..]))
    }

    /// Refuses the request with `response`. Returns [`AcceptError::Declined`], also if the response
    /// cannot be sent: it makes no difference to the caller.
    ///
    /// *Cancel safety*: dropping the future drops the stream, and the rest of the response is lost.
    pub async fn refuse(self, response: &Response) -> AcceptError {
        let head_only = self.request().method() == "HEAD";
        answer(self.stream, response, head_only, self.settings.timeout).await;
        AcceptError::Declined(response.status())
    }
}

/// The acceptance as the options have it.
pub(crate) fn default_accept(request: &Request<'_>, options: &AcceptOptions) -> Accept {
    let mut accept = Accept::new();
    if let Some(chosen) = choose_subprotocol(request, &options.subprotocols) {
        accept = accept.with_subprotocol(chosen.to_owned());
    }
    #[cfg(feature = "deflate")]
    if let Some(policy) = options.compression {
        accept = accept.with_deflate(policy);
    }
    accept
}

/// Reserves the memory of context takeover, or declines takeover if there is no room.
#[cfg(feature = "deflate")]
pub(crate) fn reserve(
    request: &Request<'_>,
    accept: Accept,
    compression: Option<DeflatePolicy>,
    config: &Config,
) -> (Accept, Option<Reservation>) {
    let Some(policy) = accept.deflate().or(compression) else { return (accept, None) };
    let agreed = policy.accept(request.extensions());
    let size = agreed.map_or(0, |agreed| agreed.params().takeover_size(Role::Server, &config.deflate));
    if size == 0 {
        return (accept.with_deflate(policy), None);
    }
    match MEMORY.reserve(size) {
        Some(reservation) => (accept.with_deflate(policy), Some(reservation)),
        None => (accept.with_deflate(policy.without_takeover()), None),
    }
}

/// Reserves nothing: without the feature `deflate` every offer is declined.
#[cfg(not(feature = "deflate"))]
pub(crate) fn reserve(
    _: &Request<'_>,
    accept: Accept,
    _: Option<DeflatePolicy>,
    _: &Config,
) -> (Accept, Option<Reservation>) {
    (accept, None)
}

/// The connection of an accepted handshake.
pub(crate) fn open(
    config: Arc<Config>,
    negotiated: Negotiated,
    reservation: Option<Reservation>,
) -> Connection {
    let mut connection = Connection::server(config, negotiated, now());
    if let Some(reservation) = reservation {
        connection.driver().set_deflate_reservation(reservation);
    }
    connection
}

/// Checks a request against the rules and the options. `None` is a request that is no opening
/// handshake.
fn check(request: &Request<'_>, options: &AcceptOptions) -> Result<Option<Upgrade>, Refusal> {
    if !options.allowed_hosts.allows_request(request) {
        return Err(Refusal::HostNotAllowed);
    }
    let upgrade = request.upgrade()?;
    if upgrade.is_some() && !options.allowed_origins.allows_request(request) {
        return Err(Refusal::OriginNotAllowed);
    }
    Ok(upgrade)
}

async fn refuse_for<S>(stream: S, refusal: Refusal, within: Duration) -> AcceptError
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    answer(stream, &refusal.to_response(), false, within).await;
    AcceptError::Refused(refusal)
}

/// Sends a response, and ends the stream. A failure leaves nothing to be done.
fn answer<'a, S>(
    mut stream: S,
    response: &Response,
    head_only: bool,
    within: Duration,
) -> impl Future<Output = ()> + use<'a, S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'a,
{
    let mut out = Vec::new();
    response.encode(&httpdate::fmt_http_date(SystemTime::now()), head_only, &mut out);
    async move {
        if !matches!(timeout(within, write(&mut stream, &out)).await, Ok(Ok(()))) {
            return;
        }
        let _ = timeout(LINGER, async {
            stream.shutdown().await?;
            let mut scratch = vec![0; 4 << 10];
            let mut dropped = 0;
            while dropped < LINGER_BYTES {
                match stream.read(&mut scratch).await? {
                    0 => break,
                    count => dropped += count,
                }
            }
            io::Result::Ok(())
        })
        .await;
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await
}

/// Why a stream did not become a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request breaks a rule or a limit, or its origin or host is not allowed. It was
    /// answered, unless the stream failed meanwhile.
    Refused(Refusal),
    /// The request is no opening handshake. It was answered with 426.
    NotWebSocket,
    /// The application has refused the request, with this status.
    Declined(StatusCode),
    /// The application's acceptance is not possible. The request was answered with 500.
    Accept(framewright::handshake::AcceptError),
    /// The stream has failed or ended.
    Io(io::Error),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcceptError::Refused(refusal) => refusal.fmt(f),
            AcceptError::NotWebSocket => f.write_str("the request is no WebSocket handshake"),
            AcceptError::Declined(status) => write!(f, "the application has refused with {status}"),
            AcceptError::Accept(error) => error.fmt(f),
            AcceptError::Io(error) => error.fmt(f),
        }
    }
}

impl Error for AcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The message of these is part of this one's.
            AcceptError::Accept(error) => error.source(),
            AcceptError::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl<S> fmt::Debug for Incoming<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("path", &self.request().path()).finish_non_exhaustive()
    }
}
