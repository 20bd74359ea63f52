//! The server's side: a request becomes a response and the future of a connection.

use super::stream::Upgraded;
use crate::accept::{AcceptOptions, default_accept, open, reserve};
use crate::gateway::server::{Opening, Received, refuse, status};
use crate::websocket::WebSocket;
use ::hyper::ext::Protocol;
use ::hyper::upgrade::OnUpgrade;
use framewright::deflate::Reservation;
use framewright::handshake::{Accept, AcceptError, Refusal, Request, Response};
use framewright::{Config, Negotiated};
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Checks a request, and accepts it as the options have it. Send the response, and await the
/// future in a task of its own: it waits until the response has left.
///
/// The limits and the time for a request's head are hyper's to set:
/// [`AcceptOptions::head`] and [`AcceptOptions::handshake_timeout`] are not used.
///
/// # Errors
/// [`Refused`] holds the response that says why.
pub fn upgrade<B, R: Default>(
    request: &mut http::Request<B>,
    options: &AcceptOptions,
) -> Result<(http::Response<R>, Upgrading), Refused> {
    let upgrade = Upgrade::new(request)?;
    upgrade.check(options)?;
    let accept = upgrade.default_accept(options);
    let version = upgrade.version();
    upgrade.accept(accept, options).map_err(|_| Refused::new(Refusal::Internal, version))
}

/// A request that is a correct opening handshake, to be accepted or refused.
///
/// ```
/// use framewright_tokio::hyper::{Refused, Upgrade, Upgrading};
/// use framewright_tokio::{AcceptOptions, Response, StatusCode};
/// # use http_body_util::Full;
/// # use hyper::body::Bytes;
///
/// async fn serve<B>(
///     mut request: hyper::Request<B>,
///     options: &AcceptOptions,
/// ) -> Result<(hyper::Response<Full<Bytes>>, Upgrading), Refused> {
///     let upgrade = Upgrade::new(&mut request)?;
///     upgrade.check(options)?;
///     if !is_known(request.headers().get("authorization")).await {
///         return Err(upgrade.refuse(Response::new(StatusCode::UNAUTHORIZED)));
///     }
///     let accept = upgrade.default_accept(options);
///     Ok(upgrade.accept(accept, options).expect("the subprotocol is one that was offered"))
/// }
/// # async fn is_known(token: Option<&hyper::header::HeaderValue>) -> bool { token.is_some() }
/// ```
pub struct Upgrade {
    opening: Opening,
    version: Version,
    on_upgrade: OnUpgrade,
}

impl Upgrade {
    /// Checks a request by the rules of RFC 6455, section 4.2.1, or of RFC 8441 if it is one of
    /// HTTP/2, and takes what hyper needs to upgrade its connection.
    ///
    /// # Errors
    /// [`Refused`] with the first rule that the request breaks. [`Refusal::NotAWebSocketRequest`] if
    /// it is an ordinary request. [`Refusal::Internal`] if hyper serves the connection without
    /// upgrades.
    pub fn new<B>(request: &mut http::Request<B>) -> Result<Self, Refused> {
        let protocol = request.extensions().get().cloned();
        let received = received(
            request.method(),
            request.uri(),
            request.version(),
            request.headers(),
            protocol.as_ref(),
        );
        Upgrade::of(received, request.version(), request.extensions_mut())
    }

    /// Checks the parts of a request, as [`new`](Upgrade::new) does.
    ///
    /// # Errors
    /// Those of [`new`](Upgrade::new).
    pub fn from_parts(parts: &mut http::request::Parts) -> Result<Self, Refused> {
        let protocol = parts.extensions.get().cloned();
        let received = received(&parts.method, &parts.uri, parts.version, &parts.headers, protocol.as_ref());
        Upgrade::of(received, parts.version, &mut parts.extensions)
    }

    fn of(
        opening: Result<Opening, Refusal>,
        version: Version,
        extensions: &mut Extensions,
    ) -> Result<Self, Refused> {
        let refused = |refusal| Refused::new(refusal, version);
        let opening = opening.map_err(refused)?;
        let on_upgrade = extensions.remove().ok_or_else(|| refused(Refusal::Internal))?;
        Ok(Upgrade { opening, version, on_upgrade })
    }

    /// The request, as this crate sees it: subprotocols, extensions, origin. An extended CONNECT of
    /// HTTP/2 looks like the `GET` that it stands for.
    pub fn request(&self) -> Request<'_> {
        self.opening.request()
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Checks the request against [`AcceptOptions::allowed_hosts`] and
    /// [`AcceptOptions::allowed_origins`].
    ///
    /// # Errors
    /// [`Refusal::HostNotAllowed`] or [`Refusal::OriginNotAllowed`].
    pub fn check(&self, options: &AcceptOptions) -> Result<(), Refused> {
        let request = self.request();
        if !options.allowed_hosts.allows_request(&request) {
            return Err(Refused::new(Refusal::HostNotAllowed, self.version));
        }
        if !options.allowed_origins.allows_request(&request) {
            return Err(Refused::new(Refusal::OriginNotAllowed, self.version));
        }
        Ok(())
    }

    /// The acceptance as the options have it: a subprotocol that is served, and compression.
    pub fn default_accept(&self, options: &AcceptOptions) -> Accept {
        default_accept(&self.request(), options)
    }

    /// Accepts the request: returns the response to send, and the future of the connection. Of the
    /// options it uses [`AcceptOptions::connection`] and [`AcceptOptions::compression`].
    ///
    /// # Errors
    /// `accept` names a subprotocol that must not be sent.
    pub fn accept<R: Default>(
        self,
        accept: Accept,
        options: &AcceptOptions,
    ) -> Result<(http::Response<R>, Upgrading), AcceptError> {
        let config = Arc::clone(&options.connection);
        let (accept, reservation) = reserve(&self.request(), accept, options.compression, &config);
        let (response, negotiated) = self.opening.accept(&accept)?;
        let agreed = Some(Agreed { negotiated, reservation, config });
        Ok((response, Upgrading { on_upgrade: self.on_upgrade, version: self.version, agreed }))
    }

    /// Refuses the request with a response.
    pub fn refuse(self, response: Response) -> Refused {
        Refused { response, refusal: None, version: self.version }
    }
}

impl fmt::Debug for Upgrade {
    /// Without the request, which has the credentials of the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("version", &self.version).finish_non_exhaustive()
    }
}

fn received(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    protocol: Option<&Protocol>,
) -> Result<Opening, Refusal> {
    Opening::new(Received { method, uri, version, headers, protocol: protocol.map(Protocol::as_str) })
}

/// The future of an accepted connection. It is ready when hyper has sent the response.
///
/// Dropping it drops the connection.
///
/// # Errors
/// hyper's error, if the response could not be sent, or if the connection is served without
/// upgrades.
#[must_use = "the connection is its result"]
pub struct Upgrading {
    on_upgrade: OnUpgrade,
    version: Version,
    agreed: Option<Agreed>,
}

struct Agreed {
    negotiated: Negotiated,
    reservation: Option<Reservation>,
    config: Arc<Config>,
}

impl Future for Upgrading {
    type Output = Result<WebSocket<Upgraded>, ::hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let upgraded = ready!(Pin::new(&mut self.on_upgrade).poll(context))?;
        let Agreed { negotiated, reservation, config } =
            self.agreed.take().expect("it is polled until it is ready");
        let connection = open(config, negotiated, reservation);
        // What was received behind the request comes first from this stream.
        let stream = Upgraded::of(upgraded, self.version);
        Poll::Ready(Ok(WebSocket::of(connection, stream, &[])))
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrading").finish_non_exhaustive()
    }
}

/// A request that is not accepted, and the response to send.
#[derive(Clone, Debug)]
pub struct Refused {
    response: Response,
    refusal: Option<Refusal>,
    version: Version,
}

impl Refused {
    /// Refuses a request of `version` with the response that belongs to `refusal`.
    pub fn new(refusal: Refusal, version: Version) -> Self {
        Refused { response: refusal.to_response(), refusal: Some(refusal), version }
    }

    /// The rule that the request broke; `None` if the application has refused it.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The status code of the response. HTTP/2 has 400 instead of 426, which would need the field
    /// Upgrade.
    pub fn status(&self) -> StatusCode {
        status(&self.response, self.version)
    }

    /// The response. It closes a connection of HTTP/1.1.
    pub fn into_response<R: From<Vec<u8>>>(self) -> http::Response<R> {
        refuse(&self.response, self.version)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusal {
            Some(refusal) => refusal.fmt(f),
            None => write!(f, "the application has refused with {}", self.status()),
        }
    }
}

impl Error for Refused {}
