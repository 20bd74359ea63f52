//! A connection on a stream, both halves together.

use crate::attendant::Attendant;
use crate::commands::commands;
use crate::entropy::Csprng;
use crate::message::{OwnedEvent, OwnedMessage};
use crate::receiver::{Receiver, RecvError};
use crate::sender::Sender;
use crate::shared::{Command, Shared};
use crate::topics::topics;
use crate::work::{Pulled, now};
use framewright::{
    Chunk, CloseCode, Closure, Config, Connection, Event, Message, Negotiated, Prepared, Role, SendError,
    Stats,
};
use futures_core::Stream;
use futures_sink::Sink;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// A WebSocket connection on a stream of tokio's.
///
/// ```
/// use framewright_tokio::WebSocket;
/// use tokio::net::TcpStream;
///
/// async fn echo(mut socket: WebSocket<TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
///     let (receiver, sender) = socket.parts();
///     while let Some(message) = receiver.recv().await {
///         // The payload is lent, not copied. `recv` writes the answers before it waits.
///         sender.feed(message?).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// Ends are values: after the peer's Close, [`recv`](WebSocket::recv) returns `None`, and
/// [`closure`](WebSocket::closure) says how the connection ended. Pings are answered by the task
/// that receives. The connection has no task of its own; an [`Attendant`] keeps the deadlines while
/// nobody receives. It needs a runtime with a time driver, and panics without one.
///
/// Dropping it drops the stream, without a Close frame: call [`close`](WebSocket::close) first.
pub struct WebSocket<S> {
    receiver: Receiver<S>,
    sender: Sender<S>,
}

commands!(WebSocket);
topics!(WebSocket);

impl<S> WebSocket<S> {
    /// Makes the connection of a stream whose opening handshake is complete: by another HTTP stack,
    /// for instance. `leftovers` are the bytes that were received behind the handshake.
    pub fn from_negotiated(
        stream: S,
        role: Role,
        negotiated: Negotiated,
        leftovers: &[u8],
        config: impl Into<Arc<Config>>,
    ) -> WebSocket<S> {
        let connection = match role {
            Role::Server => Connection::server(config.into(), negotiated, now()),
            Role::Client => Connection::client(config.into(), negotiated, Box::new(Csprng), now()),
        };
        WebSocket::of(connection, stream, leftovers)
    }

    pub(crate) fn of(connection: Connection, stream: S, leftovers: &[u8]) -> WebSocket<S> {
        let shared = Shared::new(connection, stream);
        let receiver = Receiver::new(Arc::clone(&shared), leftovers);
        WebSocket { receiver, sender: Sender { shared } }
    }

    fn shared(&self) -> &Arc<Shared<S>> {
        &self.sender.shared
    }

    /// Borrows both halves: a message that one lends can be sent by the other.
    pub fn parts(&mut self) -> (&mut Receiver<S>, &mut Sender<S>) {
        (&mut self.receiver, &mut self.sender)
    }

    /// Splits the connection into halves for two tasks. Pings and the peer's Close are answered by
    /// the receiving one.
    pub fn split(self) -> (Receiver<S>, Sender<S>) {
        (self.receiver, self.sender)
    }

    /// Lets `look` see the stream: for the peer's address, or what TLS has agreed on. `None` once the
    /// stream has ended and was dropped.
    ///
    /// ```
    /// # fn peer(socket: &framewright_tokio::WebSocket<tokio::net::TcpStream>) -> Option<std::net::SocketAddr> {
    /// socket.with_stream(|stream| stream.peer_addr().ok()).flatten()
    /// # }
    /// ```
    ///
    /// # Panics
    /// If `look` calls a method of this connection.
    pub fn with_stream<R>(&self, look: impl FnOnce(&S) -> R) -> Option<R> {
        self.shared().lock().stream().map(look)
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.receiver.closure()
    }

    /// Statistics of the connection so far.
    pub fn stats(&self) -> Stats {
        self.receiver.stats()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Waits for the next message, as [`Receiver::recv`] does.
    ///
    /// # Errors
    /// Those of [`Receiver::recv`].
    pub async fn recv(&mut self) -> Option<Result<Message<'_>, RecvError>> {
        self.receiver.recv().await
    }

    /// Waits for the next piece of a message, as [`Receiver::recv_chunk`] does.
    ///
    /// # Errors
    /// Those of [`Receiver::recv_chunk`].
    pub async fn recv_chunk(&mut self) -> Option<Result<Chunk<'_>, RecvError>> {
        self.receiver.recv_chunk().await
    }

    /// Waits for the next event of any kind, as [`Receiver::recv_event`] does.
    pub async fn recv_event(&mut self) -> Option<Event<'_>> {
        self.receiver.recv_event().await
    }

    /// Waits for the next message, for a caller that polls.
    ///
    /// # Errors
    /// Those of [`recv`](WebSocket::recv).
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message<'_>, RecvError>>> {
        self.receiver.poll_recv(context)
    }

    /// Waits for the next event of any kind, for a caller that polls.
    pub fn poll_recv_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event<'_>>> {
        self.receiver.poll_recv_event(context)
    }

    /// Waits for the next event of any kind, and returns it with its payload, as
    /// [`Receiver::poll_recv_owned_event`] does.
    pub fn poll_recv_owned_event(&mut self, context: &mut Context<'_>) -> Poll<Option<OwnedEvent>> {
        self.receiver.poll_recv_owned_event(context)
    }

    /// Closes the connection: does the whole closing handshake, and waits for the end of the
    /// transport. Messages that still arrive are dropped. Returns how the connection ended, whoever
    /// has ended it.
    ///
    /// The peer has [`Config::close_timeout`] to answer.
    ///
    /// *Cancel safety*: a further call goes on.
    ///
    /// # Errors
    /// [`SendError::CloseReason`](framewright::SendError::CloseReason), as for
    /// [`start_close`](WebSocket::start_close); nothing has happened then.
    pub async fn close(
        &mut self,
        code: impl Into<Option<CloseCode>>,
        reason: &str,
    ) -> Result<Closure, SendError> {
        match self.start_close(code, reason) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => return Err(error),
        }
        loop {
            match poll_fn(|context| self.receiver.poll_pulled(context)).await {
                Some(Pulled::Event(_)) => {}
                Some(Pulled::Ended) | None => return self.closure().ok_or(SendError::Closed),
            }
        }
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        queued: &mut bool,
        command: Command<'_, S>,
    ) -> Poll<Result<(), SendError>> {
        let sent = self.sender.poll_send(context, queued, command);
        self.read_ahead_while(sent, context)
    }

    fn poll_feed(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_, S>,
    ) -> Poll<Result<(), SendError>> {
        let fed = self.sender.poll_feed(context, command);
        self.read_ahead_while(fed, context)
    }

    /// Waits until the stream has taken everything that is queued, for a caller that polls.
    ///
    /// # Errors
    /// Those of [`flush`](WebSocket::flush).
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let flushed = self.sender.poll_flush(context);
        self.read_ahead_while(flushed, context)
    }

    fn read_ahead_while(
        &mut self,
        sent: Poll<Result<(), SendError>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        if sent.is_pending() {
            self.receiver.shared.lock().read_ahead(context, &mut self.receiver.inbox);
        }
        sent
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<OwnedMessage, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(context)
    }
}

impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}
