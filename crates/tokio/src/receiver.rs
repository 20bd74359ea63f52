//! The receiving half.

use crate::message::{OwnedEvent, OwnedMessage};
use crate::shared::{Inbox, Shared};
use crate::tasks::Party;
use crate::work::Pulled;
use framewright::{Chunk, Closure, Decoded, Error, Event, Message, RecvBuffer, SendError, Stats};
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;

/// The half of a connection that receives. While it waits, it answers Pings and the peer's Close,
/// sends keep-alive Pings, keeps the deadlines, and writes what was queued.
///
/// Dropping it ends nothing: the connection ends when both halves are dropped. Nobody reads then,
/// so Pings stay unanswered.
pub struct Receiver<S> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) inbox: Inbox,
    /// Whether the end was reported.
    told: bool,
    /// The messages that were returned since the last step of the task's budget.
    unpaid: u8,
}

/// Messages of one read that are one step of the task's budget: each costs far less than a poll of
/// something else.
const STEP: u8 = 16;

impl<S> Receiver<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>, early: &[u8]) -> Receiver<S> {
        let mut inbox = Inbox::default();
        if !early.is_empty() {
            let mut rx = RecvBuffer::with_capacity(early.len());
            rx.extend_from_slice(early);
            inbox.rx = Some(Box::new(rx));
        }
        Receiver { shared, inbox, told: false, unpaid: 0 }
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.shared.lock().closure()
    }

    /// Statistics of the connection so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().turn.connection.stats()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Receiver<S> {
    /// Waits for the next message, and lends its payload until the next call. `None` once the
    /// connection has ended cleanly, or after its failure was reported:
    /// [`closure`](Receiver::closure) says how it ended.
    ///
    /// *Cancel safety*: a message is lost only if this has returned it.
    ///
    /// # Errors
    /// [`RecvError::Failed`], once, if the connection has ended in any other way than by the closing
    /// handshake. [`RecvError::Chunked`] with [`Delivery::Chunks`](framewright::Delivery::Chunks):
    /// use [`recv_chunk`](Receiver::recv_chunk) there.
    pub async fn recv(&mut self) -> Option<Result<Message<'_>, RecvError>> {
        let decoded = match self.next_data() {
            Some(decoded) => Ok(decoded),
            None => poll_fn(|context| self.poll_data(context)).await?,
        };
        Some(decoded.and_then(|decoded| match self.resolve(decoded) {
            Event::Message(message) => Ok(message),
            _ => Err(RecvError::Chunked),
        }))
    }

    /// Waits for the next piece of a message, with
    /// [`Delivery::Chunks`](framewright::Delivery::Chunks). In whole delivery each message is one
    /// piece.
    ///
    /// *Cancel safety*: a piece is lost only if this has returned it.
    ///
    /// # Errors
    /// [`RecvError::Failed`], as for [`recv`](Receiver::recv).
    pub async fn recv_chunk(&mut self) -> Option<Result<Chunk<'_>, RecvError>> {
        let decoded = poll_fn(|context| self.poll_data(context)).await?;
        Some(decoded.map(|decoded| match self.resolve(decoded) {
            Event::Message(data) => Chunk { data, first: true, last: true },
            Event::Chunk(chunk) => chunk,
            event => unreachable!("{event:?} holds no data"),
        }))
    }

    /// Waits for the next event of any kind. `None` after the last one, which is
    /// [`Event::Closed`].
    ///
    /// *Cancel safety*: an event is lost only if this has returned it.
    pub async fn recv_event(&mut self) -> Option<Event<'_>> {
        match poll_fn(|context| self.poll_pulled(context)).await? {
            Pulled::Event(decoded) => Some(self.resolve(decoded)),
            Pulled::Ended => self.closure().map(Event::Closed),
        }
    }

    /// Waits for the next event, as [`recv_event`](Receiver::recv_event) does, for a caller that
    /// polls.
    pub fn poll_recv_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event<'_>>> {
        Poll::Ready(match ready!(self.poll_pulled(context)) {
            Some(Pulled::Event(decoded)) => Some(self.resolve(decoded)),
            Some(Pulled::Ended) => self.closure().map(Event::Closed),
            None => None,
        })
    }

    /// Waits for the next event of any kind, and returns it with its payload: that of a long message
    /// is not copied. `None` after the last one, which is [`OwnedEvent::Closed`].
    pub fn poll_recv_owned_event(&mut self, context: &mut Context<'_>) -> Poll<Option<OwnedEvent>> {
        loop {
            let event = match ready!(self.poll_pulled(context)) {
                Some(Pulled::Event(decoded)) if decoded.is_message() => {
                    let rx = self.inbox.rx.as_deref_mut().expect("an event leaves its buffer");
                    let payload = decoded.take_payload(rx).expect("it is a message");
                    Some(OwnedEvent::Message(OwnedMessage::taken(payload)))
                }
                Some(Pulled::Event(decoded)) => OwnedEvent::of(self.resolve(decoded)),
                Some(Pulled::Ended) => return Poll::Ready(self.closure().map(OwnedEvent::Closed)),
                None => return Poll::Ready(None),
            };
            if event.is_some() {
                return Poll::Ready(event);
            }
        }
    }

    /// Waits until the stream has taken the answers to what was received, for a caller that polls
    /// and receives nothing more for a while. A call that receives does so before it waits.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the connection has ended before.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.shared.lock().poll_flush_as(Party::Receiver, context)
    }

    /// The next event, or the end, which is reported once.
    pub(crate) fn poll_pulled(&mut self, context: &mut Context<'_>) -> Poll<Option<Pulled>> {
        if self.told {
            return Poll::Ready(None);
        }
        // Each event is a step of the task: a peer that sends without end leaves other tasks their
        // turns.
        let step = ready!(coop::poll_proceed(context));
        let pulled = ready!(self.shared.lock().poll_event(context, &mut self.inbox));
        step.made_progress();
        self.told = matches!(pulled, Pulled::Ended);
        if self.told {
            self.shared.end_topics();
        }
        Poll::Ready(Some(pulled))
    }

    /// The next event that holds data, if one was received already and a step of the budget is not
    /// due.
    #[inline]
    fn next_data(&mut self) -> Option<Decoded> {
        if self.unpaid == STEP {
            self.unpaid = 0;
            return None;
        }
        self.unpaid += 1;
        let mut linked = self.shared.lock();
        loop {
            let decoded = linked.next_received(&mut self.inbox)?;
            if decoded.is_message() || decoded.is_chunk() {
                return Some(decoded);
            }
        }
    }

    /// The next event that holds data.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Decoded, RecvError>>> {
        loop {
            match ready!(self.poll_pulled(context)) {
                Some(Pulled::Event(decoded)) if decoded.is_message() || decoded.is_chunk() => {
                    return Poll::Ready(Some(Ok(decoded)));
                }
                Some(Pulled::Event(_)) => {}
                Some(Pulled::Ended) => {
                    let cause = self.closure().and_then(|closure| closure.cause);
                    return Poll::Ready(cause.map(|error| Err(RecvError::Failed(error))));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    /// Waits for the next message, as [`recv`](Receiver::recv) does, for a caller that polls.
    ///
    /// # Errors
    /// Those of [`recv`](Receiver::recv).
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message<'_>, RecvError>>> {
        let decoded = ready!(self.poll_data(context));
        Poll::Ready(decoded.map(|decoded| {
            decoded.and_then(|decoded| match self.resolve(decoded) {
                Event::Message(message) => Ok(message),
                _ => Err(RecvError::Chunked),
            })
        }))
    }

    fn resolve(&self, decoded: Decoded) -> Event<'_> {
        decoded.resolve(self.inbox.rx.as_deref().expect("an event leaves its buffer"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Receiver<S> {
    type Item = Result<OwnedMessage, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let decoded = ready!(self.poll_data(context));
        Poll::Ready(decoded.map(|decoded| {
            let rx = self.inbox.rx.as_deref_mut().expect("an event leaves its buffer");
            decoded?.take_payload(rx).map(OwnedMessage::taken).ok_or(RecvError::Chunked)
        }))
    }
}

impl<S> fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// Why no message was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The connection has ended in another way than by the closing handshake: the peer broke a rule,
    /// exceeded a limit, let a deadline pass, or the transport was lost.
    Failed(Error),
    /// A chunk of a message arrived, and is lost: with
    /// [`Delivery::Chunks`](framewright::Delivery::Chunks), receive chunks.
    Chunked,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Failed(error) => error.fmt(f),
            RecvError::Chunked => f.write_str("messages come in chunks: receive chunks"),
        }
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The message of that error is part of this one's.
            RecvError::Failed(error) => error.source(),
            RecvError::Chunked => None,
        }
    }
}
