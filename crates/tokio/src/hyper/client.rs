//! The client's side: a request that hyper sends, and its response.

use super::stream::Upgraded;
use crate::entropy::Csprng;
use crate::gateway::client::{Judged, Opening};
use crate::websocket::WebSocket;
use ::hyper::body::{Body, Incoming};
use ::hyper::client::conn::{http1, http2};
use ::hyper::ext::Protocol;
use framewright::handshake::{ClientRequest, ResponseError};
use framewright::{Config, Role};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Upgrades a connection of HTTP/1.1: sends the request and checks the response.
///
/// The task that drives the connection has to do so `with_upgrades`. There is no deadline: put it
/// into `tokio::time::timeout`.
///
/// ```
/// use framewright_tokio::hyper::{HandshakeError, Upgraded, handshake};
/// use framewright_tokio::{Config, WebSocket};
/// # use http_body_util::Empty;
/// # use hyper::body::Bytes;
/// # use hyper::client::conn::http1::SendRequest;
///
/// async fn open(mut http: SendRequest<Empty<Bytes>>) -> Result<WebSocket<Upgraded>, HandshakeError> {
///     let request = "wss://example.com/chat".parse().expect("a URI");
///     handshake(&mut http, &request, Config::default()).await
/// }
/// ```
///
/// # Errors
/// [`HandshakeError`].
pub async fn handshake<B>(
    send: &mut http1::SendRequest<B>,
    request: &ClientRequest,
    config: impl Into<Arc<Config>>,
) -> Result<WebSocket<Upgraded>, HandshakeError>
where
    B: Body + Default + 'static,
{
    let (request, upgrade) = ClientUpgrade::new(request, config)?;
    send.ready().await.map_err(HandshakeError::Hyper)?;
    upgrade.finish(send.send_request(request).await.map_err(HandshakeError::Hyper)?).await
}

/// Opens a stream of a connection of HTTP/2: sends an extended CONNECT and checks the response
/// (RFC 8441). Further streams of the connection are other WebSockets, or requests.
///
/// The server's first SETTINGS must have arrived and allow it. The crate's `h2::Connection`, with
/// the feature `h2`, waits for them.
///
/// # Errors
/// [`HandshakeError`].
pub async fn handshake_h2<B>(
    send: &mut http2::SendRequest<B>,
    request: &ClientRequest,
    config: impl Into<Arc<Config>>,
) -> Result<WebSocket<Upgraded>, HandshakeError>
where
    B: Body + Default + 'static,
{
    let (request, upgrade) = ClientUpgrade::new_h2(request, config)?;
    send.ready().await.map_err(HandshakeError::Hyper)?;
    upgrade.finish(send.send_request(request).await.map_err(HandshakeError::Hyper)?).await
}

/// A client's opening handshake that waits for its response.
///
/// It is for clients that send requests in another way than [`handshake`] and [`handshake_h2`]: send
/// the request that comes with it, and pass the response to [`finish`](ClientUpgrade::finish).
pub struct ClientUpgrade {
    opening: Opening,
    config: Arc<Config>,
}

impl ClientUpgrade {
    /// The request for HTTP/1.1. Its URI is the path; Host is set.
    ///
    /// # Errors
    /// [`HandshakeError::Uri`].
    pub fn new<B: Default>(
        request: &ClientRequest,
        config: impl Into<Arc<Config>>,
    ) -> Result<(http::Request<B>, Self), HandshakeError> {
        let upgrade = ClientUpgrade::start(request, config)?;
        Ok((upgrade.opening.http_1_request(B::default()), upgrade))
    }

    /// The extended CONNECT for HTTP/2. Its URI is absolute.
    ///
    /// # Errors
    /// [`HandshakeError::Uri`].
    pub fn new_h2<B: Default>(
        request: &ClientRequest,
        config: impl Into<Arc<Config>>,
    ) -> Result<(http::Request<B>, Self), HandshakeError> {
        let upgrade = ClientUpgrade::start(request, config)?;
        let mut request = upgrade.opening.http_2_request(B::default());
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        Ok((request, upgrade))
    }

    fn start(request: &ClientRequest, config: impl Into<Arc<Config>>) -> Result<Self, HandshakeError> {
        let opening = Opening::new(request, &mut Csprng).map_err(HandshakeError::Uri)?;
        Ok(ClientUpgrade { opening, config: config.into() })
    }

    /// Checks the response, and waits for the upgraded connection.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn finish(
        mut self,
        mut response: http::Response<Incoming>,
    ) -> Result<WebSocket<Upgraded>, HandshakeError> {
        match self.opening.judge(&response).map_err(HandshakeError::Response)? {
            Judged::Refused => Err(HandshakeError::Refused(Box::new(response))),
            Judged::Accepted(negotiated) => {
                let upgraded = ::hyper::upgrade::on(&mut response).await.map_err(HandshakeError::Hyper)?;
                let stream = Upgraded::of(upgraded, response.version());
                Ok(WebSocket::from_negotiated(stream, Role::Client, negotiated, &[], self.config))
            }
        }
    }
}

impl fmt::Debug for ClientUpgrade {
    /// Without the request, which has credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientUpgrade").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why a connection of hyper's did not become a WebSocket.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The `http` crate does not take the URI: it has 65,535 bytes or more.
    Uri(http::Error),
    /// hyper could not send the request, receive the response, or upgrade the connection.
    Hyper(::hyper::Error),
    /// The response accepts the handshake, and breaks a rule of RFC 6455, section 4.1.
    Response(ResponseError),
    /// The server has refused with this response.
    Refused(Box<http::Response<Incoming>>),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Uri(error) => error.fmt(f),
            HandshakeError::Hyper(error) => error.fmt(f),
            HandshakeError::Response(error) => error.fmt(f),
            HandshakeError::Refused(response) => {
                write!(f, "the server has refused with {}", response.status())
            }
        }
    }
}

impl Error for HandshakeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The message of these is part of this one's.
            HandshakeError::Uri(error) => error.source(),
            HandshakeError::Hyper(error) => error.source(),
            HandshakeError::Response(error) => error.source(),
            HandshakeError::Refused(_) => None,
        }
    }
}
