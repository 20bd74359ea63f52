//! The connection of a handler, and its halves.

use crate::error::InvalidCloseCode;
use crate::message::{CloseFrame, Message};
use axum::Error;
use framewright_tokio::hyper::Upgraded;
use framewright_tokio::{self as core, Closure, OwnedEvent, RecvError, SendError};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use http::HeaderValue;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A WebSocket connection, as [`WebSocketUpgrade::on_upgrade`](crate::WebSocketUpgrade::on_upgrade)
/// hands it to a handler.
///
/// - [`recv`](WebSocket::recv) returns messages and control frames. Pings and the peer's Close are
///   answered already, even if nothing is ever sent.
/// - Ends are values: `None` after a clean end, and one error before it otherwise.
///   [`closure`](WebSocket::closure) has both sides' codes.
/// - Deadlines and keep-alive go on while the handler waits for something else.
/// - [`inner_mut`](WebSocket::inner_mut) lends messages instead of copying them.
///
/// Dropping it drops the connection without a Close frame: call [`close`](WebSocket::close) first.
pub struct WebSocket {
    inner: core::WebSocket<Upgraded>,
    protocol: Option<HeaderValue>,
    incoming: Incoming,
}

impl WebSocket {
    pub(crate) fn new(inner: core::WebSocket<Upgraded>, protocol: Option<HeaderValue>) -> Self {
        WebSocket { inner, protocol, incoming: Incoming::default() }
    }

    /// Waits for the next message or control frame. `None` once the connection has ended.
    ///
    /// The peer's Close arrives as [`Message::Close`], after its answer has left.
    ///
    /// *Cancel safety*: a message is lost only if this has returned it.
    ///
    /// # Errors
    /// Once, if the connection has ended without a closing handshake: the error holds a
    /// [`RecvError`](framewright_tokio::RecvError).
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let (receiver, _) = self.inner.parts();
        self.incoming.poll(receiver, context)
    }

    /// Sends a message or a control frame, and waits until the transport has taken it.
    ///
    /// [`Message::Close`] starts the closing handshake, and does nothing if it has begun before.
    /// Receive until `None` to complete it.
    ///
    /// # Errors
    /// The error holds a [`SendError`](framewright_tokio::SendError) or an [`InvalidCloseCode`].
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        let (_, sender) = self.inner.parts();
        match message {
            Message::Text(text) => sender.send_text(&text).await.map_err(Error::new),
            Message::Binary(bytes) => sender.send_binary(&bytes).await.map_err(Error::new),
            control => {
                poll_fn(|context| poll_ready(sender, context)).await?;
                start_send(sender, &control)?;
                poll_fn(|context| poll_flush(sender, context)).await
            }
        }
    }

    /// Does the whole closing handshake: sends a Close frame, waits for the peer's, and returns how
    /// the connection ended. Messages that still arrive are dropped.
    ///
    /// # Errors
    /// The error holds a [`SendError`](framewright_tokio::SendError) or an [`InvalidCloseCode`];
    /// nothing has happened then.
    pub async fn close(mut self, frame: Option<CloseFrame>) -> Result<Closure, Error> {
        let (code, reason) = split_frame(frame.as_ref())?;
        self.inner.close(code, reason).await.map_err(Error::new)
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.inner.closure()
    }

    /// The subprotocol that was selected, if any.
    pub fn protocol(&self) -> Option<&HeaderValue> {
        self.protocol.as_ref()
    }

    /// Splits it into halves for two tasks, in the order of `futures::StreamExt::split`. The
    /// receiving one answers Pings and the peer's Close.
    pub fn split(self) -> (WebSocketSender, WebSocketReceiver) {
        let (receiver, sender) = self.inner.split();
        (WebSocketSender { inner: sender }, WebSocketReceiver { inner: receiver, incoming: self.incoming })
    }

    /// The connection below, whose methods lend payloads: `recv`, `recv_chunk`, `parts`.
    pub fn inner_mut(&mut self) -> &mut core::WebSocket<Upgraded> {
        &mut self.inner
    }

    /// Returns the connection below.
    pub fn into_inner(self) -> core::WebSocket<Upgraded> {
        self.inner
    }
}

impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context)
    }
}

impl FusedStream for WebSocket {
    fn is_terminated(&self) -> bool {
        self.incoming.ended
    }
}

impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        unless_closed(ready!(self.inner.poll_ready(context)))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        start_send(self.inner.parts().1, &message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_flush(context).map_err(Error::new)
    }

    /// Sends a Close frame with 1000. Receive until `None` to complete the closing handshake.
    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_close(context).map_err(Error::new)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// The half of a connection that receives, and answers Pings and the peer's Close.
pub struct WebSocketReceiver {
    inner: core::Receiver<Upgraded>,
    incoming: Incoming,
}

impl WebSocketReceiver {
    /// Waits for the next message or control frame, as [`WebSocket::recv`] does.
    ///
    /// # Errors
    /// Those of [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|context| self.incoming.poll(&mut self.inner, context)).await
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.inner.closure()
    }

    /// The half below, whose methods lend payloads.
    pub fn inner_mut(&mut self) -> &mut core::Receiver<Upgraded> {
        &mut self.inner
    }

    /// Returns the half below.
    pub fn into_inner(self) -> core::Receiver<Upgraded> {
        self.inner
    }
}

impl Stream for WebSocketReceiver {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let WebSocketReceiver { inner, incoming } = self.get_mut();
        incoming.poll(inner, context)
    }
}

impl FusedStream for WebSocketReceiver {
    fn is_terminated(&self) -> bool {
        self.incoming.ended
    }
}

impl fmt::Debug for WebSocketReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketReceiver").finish_non_exhaustive()
    }
}

/// The half of a connection that sends.
pub struct WebSocketSender {
    inner: core::Sender<Upgraded>,
}

impl WebSocketSender {
    /// Sends a message or a control frame, as [`WebSocket::send`] does.
    ///
    /// # Errors
    /// Those of [`WebSocket::send`].
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Text(text) => self.inner.send_text(&text).await.map_err(Error::new),
            Message::Binary(bytes) => self.inner.send_binary(&bytes).await.map_err(Error::new),
            control => {
                poll_fn(|context| poll_ready(&mut self.inner, context)).await?;
                start_send(&mut self.inner, &control)?;
                poll_fn(|context| poll_flush(&mut self.inner, context)).await
            }
        }
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.inner.closure()
    }

    /// The half below.
    pub fn inner_mut(&mut self) -> &mut core::Sender<Upgraded> {
        &mut self.inner
    }

    /// Returns the half below.
    pub fn into_inner(self) -> core::Sender<Upgraded> {
        self.inner
    }
}

impl Sink<Message> for WebSocketSender {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_ready(&mut self.inner, context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        start_send(&mut self.inner, &message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        poll_flush(&mut self.inner, context)
    }

    /// Sends a Close frame with 1000. The receiving half gets the peer's answer.
    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_close(context).map_err(Error::new)
    }
}

impl fmt::Debug for WebSocketSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketSender").finish_non_exhaustive()
    }
}

/// What is known of the receiving direction between two polls.
#[derive(Debug, Default)]
struct Incoming {
    /// The peer's Close, whose answer has not left yet.
    close: Option<Message>,
    ended: bool,
}

impl Incoming {
    fn poll(
        &mut self,
        receiver: &mut core::Receiver<Upgraded>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if self.close.is_some() {
                // A handler that drops the connection now has answered. It fails if the peer did
                // not wait for the answer, which the next call reports.
                let _ = ready!(receiver.poll_flush(context));
                return Poll::Ready(self.close.take().map(Ok));
            }
            let Some(event) = ready!(receiver.poll_recv_owned_event(context)) else {
                self.ended = true;
                return Poll::Ready(None);
            };
            let message = match event {
                OwnedEvent::Message(message) => message.into(),
                OwnedEvent::Ping(data) => Message::Ping(data),
                OwnedEvent::Pong(data) => Message::Pong(data),
                OwnedEvent::CloseReceived { code, reason } => {
                    let frame = code.map(|code| CloseFrame { code: code.get(), reason: reason.into() });
                    self.close = Some(Message::Close(frame));
                    continue;
                }
                OwnedEvent::Closed(closure) => {
                    self.ended = true;
                    let failed = closure.cause.map(|error| Err(Error::new(RecvError::Failed(error))));
                    return Poll::Ready(failed);
                }
                OwnedEvent::Chunk { .. } => return Poll::Ready(Some(Err(Error::new(RecvError::Chunked)))),
                _ => continue,
            };
            return Poll::Ready(Some(Ok(message)));
        }
    }
}

fn poll_ready(sender: &mut core::Sender<Upgraded>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
    unless_closed(ready!(sender.poll_ready(context)))
}

/// What a poll for room returns. For a Close frame there is always room, and whether more may be
/// sent is decided when it is started.
fn unless_closed(ready: Result<(), SendError>) -> Poll<Result<(), Error>> {
    Poll::Ready(match ready {
        Ok(()) | Err(SendError::Closed) => Ok(()),
        Err(error) => Err(Error::new(error)),
    })
}

fn poll_flush(sender: &mut core::Sender<Upgraded>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
    sender.poll_flush(context).map_err(Error::new)
}

fn start_send(sender: &mut core::Sender<Upgraded>, message: &Message) -> Result<(), Error> {
    let sent = match message {
        Message::Text(text) => sender.start_send(core::Message::Text(text)),
        Message::Binary(bytes) => sender.start_send(core::Message::Binary(bytes)),
        Message::Ping(data) => sender.start_ping(data),
        Message::Pong(data) => sender.start_pong(data),
        Message::Close(frame) => {
            let (code, reason) = split_frame(frame.as_ref())?;
            match sender.start_close(code, reason) {
                // A loop that sends back what it receives sends back the peer's Close, too.
                Err(SendError::Closed) => Ok(()),
                started => started,
            }
        }
    };
    sent.map_err(Error::new)
}

/// The code and the reason to send.
fn split_frame(frame: Option<&CloseFrame>) -> Result<(Option<core::CloseCode>, &str), Error> {
    let Some(CloseFrame { code, reason }) = frame else { return Ok((None, "")) };
    let code = core::CloseCode::new(*code).ok_or_else(|| Error::new(InvalidCloseCode(*code)))?;
    Ok((Some(code), reason))
}
