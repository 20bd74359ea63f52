//! Clients of WebSockets over HTTP/2 (RFC 8441), with the crate `h2`: each is one stream of
//! a connection that many of them share.
//!
//! ```
//! use framewright_tokio::{CloseCode, Config, Message};
//! use framewright_tokio::h2::{Connection, HandshakeError};
//! use tokio::net::TcpStream;
//!
//! async fn two_on_one(tcp: TcpStream) -> Result<(), HandshakeError> {
//!     // Over TLS, `http/1.1` and `h2` are told apart by ALPN: this is `h2`.
//!     let (connection, driver) = Connection::open(tcp).await?;
//!     tokio::spawn(driver);
//!     let request = "wss://example.com/chat".parse().expect("a URI");
//!     let mut one = connection.connect(&request, Config::default()).await?;
//!     let mut other = connection.connect(&request, Config::default()).await?;
//!     one.send(Message::Text("to one")).await.ok();
//!     other.send(Message::Text("to the other")).await.ok();
//!     // h2 drops what it has not written when a stream is dropped before its end.
//!     one.close(CloseCode::NORMAL, "").await.ok();
//!     other.close(CloseCode::NORMAL, "").await.ok();
//!     Ok(())
//! }
//! ```
//!
//! A socket that nobody reads stops its own peer when its window is full. It stops no other socket
//! while at most [`STREAMS`] sockets are unread: the window of the connection has room for as many
//! full streams. The server may allow more streams than that.
//!
//! A WebSocket ends with 1006 if its stream ends without a Close frame or by RST_STREAM, and if the
//! connection is lost or ends by a GOAWAY with an error. After a GOAWAY without an error, as of a
//! server that stops, the open sockets go on to their own ends.

mod stream;

pub use framewright::handshake::{ClientRequest, ResponseError};
pub use stream::Stream;

use crate::entropy::Csprng;
use crate::gateway::client::{Judged, Opening};
use crate::websocket::WebSocket;
use ::h2::client::{Builder, SendRequest};
use ::h2::ext::Protocol;
use ::h2::{Ping, RecvStream};
use bytes::Bytes;
use framewright::{Config, Role};
use std::error::Error;
use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};

/// The window of each stream of a [`Connection`], in bytes: what its peer may send ahead of the
/// application.
pub const STREAM_WINDOW: u32 = 256 << 10;
/// The number of streams whose unread bytes fit into the window of a [`Connection`].
pub const STREAMS: u32 = 100;

/// A client's connection of HTTP/2 that can carry WebSockets. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Connection {
    send: SendRequest<Bytes>,
}

impl Connection {
    /// Starts HTTP/2 on a stream, and waits for the server's SETTINGS, which say whether it takes
    /// WebSockets. Returns the connection, and the future that drives it: spawn that. There is no
    /// deadline.
    ///
    /// # Errors
    /// [`HandshakeError::H2`] or [`HandshakeError::Closed`].
    pub async fn open<T>(stream: T) -> Result<(Self, ::h2::client::Connection<T, Bytes>), HandshakeError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * STREAMS);
        Connection::open_with(&builder, stream).await
    }

    /// Starts HTTP/2 with settings of the application's.
    ///
    /// # Errors
    /// Those of [`open`](Connection::open).
    pub async fn open_with<T>(
        builder: &Builder,
        stream: T,
    ) -> Result<(Self, ::h2::client::Connection<T, Bytes>), HandshakeError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let (send, mut driver) = builder.handshake(stream).await.map_err(HandshakeError::H2)?;
        // The server's SETTINGS are its first frame, so they are there when it answers a PING.
        let mut pings = driver.ping_pong().expect("nobody has taken it");
        let mut pong = pin!(pings.ping(Ping::opaque()));
        poll_fn(|context| {
            if let Poll::Ready(ended) = Pin::new(&mut driver).poll(context) {
                return Poll::Ready(Err(ended.map_or_else(HandshakeError::H2, |()| HandshakeError::Closed)));
            }
            pong.as_mut().poll(context).map(|pong| pong.map(|_| ()).map_err(HandshakeError::H2))
        })
        .await?;
        Ok((Connection { send }, driver))
    }

    /// Whether the server takes WebSockets (SETTINGS_ENABLE_CONNECT_PROTOCOL).
    pub fn takes_websockets(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    /// Opens a WebSocket, as [`connect_h2`] does.
    ///
    /// # Errors
    /// Those of [`connect_h2`].
    pub async fn connect(
        &self,
        request: &ClientRequest,
        config: impl Into<Arc<Config>>,
    ) -> Result<WebSocket<Stream>, HandshakeError> {
        connect_h2(&mut self.send.clone(), request, config).await
    }

    /// Returns the handle of h2, for ordinary requests on the same connection.
    pub fn into_inner(self) -> SendRequest<Bytes> {
        self.send
    }
}

/// Opens a WebSocket on a stream of an HTTP/2 connection (RFC 8441). It waits while the server
/// allows no further stream. There is no deadline: put it into `tokio::time::timeout`.
///
/// The server's SETTINGS must have arrived. [`Connection::open`] waits for them.
///
/// # Errors
/// [`HandshakeError`].
pub async fn connect_h2(
    send: &mut SendRequest<Bytes>,
    request: &ClientRequest,
    config: impl Into<Arc<Config>>,
) -> Result<WebSocket<Stream>, HandshakeError> {
    let mut opening = Opening::new(request, &mut Csprng).map_err(HandshakeError::Uri)?;
    //= https://www.rfc-editor.org/rfc/rfc8441#section-3
    //# Upon receipt of SETTINGS_ENABLE_CONNECT_PROTOCOL with a value of 1, a client MAY use the Extended CONNECT as
    //# defined in this document when creating new streams.
    if !send.is_extended_connect_protocol_enabled() {
        return Err(HandshakeError::NotSupported);
    }
    let mut request = opening.http_2_request(());
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    poll_fn(|context| send.poll_ready(context)).await.map_err(HandshakeError::H2)?;
    let (response, send) = send.send_request(request, false).map_err(HandshakeError::H2)?;
    let response = response.await.map_err(HandshakeError::H2)?;
    match opening.judge(&response).map_err(HandshakeError::Response)? {
        Judged::Refused => Err(HandshakeError::Refused(Box::new(response))),
        Judged::Accepted(negotiated) => {
            let stream = Stream::new(send, response.into_body());
            Ok(WebSocket::from_negotiated(stream, Role::Client, negotiated, &[], config))
        }
    }
}

/// Why there is no WebSocket on a connection of HTTP/2.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The `http` crate does not take the URI: it has 65,535 bytes or more.
    Uri(http::Error),
    /// The server has not said that it takes extended CONNECT (RFC 8441, section 3).
    NotSupported,
    /// The server has ended the connection.
    Closed,
    /// The connection or the stream has failed.
    H2(::h2::Error),
    /// The response accepts the handshake, and breaks a rule of RFC 6455, section 4.1.
    Response(ResponseError),
    /// The server has refused with this response.
    Refused(Box<http::Response<RecvStream>>),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Uri(error) => error.fmt(f),
            HandshakeError::NotSupported => {
                f.write_str("the server takes no WebSockets over HTTP/2 (RFC 8441, section 3)")
            }
            HandshakeError::Closed => f.write_str("the server has ended the connection"),
            HandshakeError::H2(error) => error.fmt(f),
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
            HandshakeError::H2(error) => error.source(),
            HandshakeError::Response(error) => error.source(),
            HandshakeError::NotSupported | HandshakeError::Closed | HandshakeError::Refused(_) => None,
        }
    }
}
