//! The sending half.

use crate::attendant::Attendant;
use crate::commands::commands;
use crate::message::OwnedMessage;
use crate::shared::{Command, Shared, WRITE_THROUGH};
use crate::topics::topics;
use crate::work::Work;
use framewright::{CloseCode, Closure, Connection, Message, Prepared, SendError, Stats};
use futures_sink::Sink;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// The half of a connection that sends, which another task may have. The order of two calls is the
/// order on the wire.
///
/// The other half reads, answers Pings and keeps the deadlines. If nobody polls it, an
/// [`Attendant`] keeps the deadlines.
pub struct Sender<S> {
    pub(crate) shared: Arc<Shared<S>>,
}

commands!(Sender);
topics!(Sender);

impl<S> Sender<S> {
    fn shared(&self) -> &Arc<Shared<S>> {
        &self.shared
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

impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        queued: &mut bool,
        command: Command<'_, S>,
    ) -> Poll<Result<(), SendError>> {
        let mut linked = self.shared.lock();
        if !*queued {
            ready!(linked.poll_command(context, command))?;
            *queued = true;
        }
        linked.poll_flush(context)
    }

    pub(crate) fn poll_feed(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_, S>,
    ) -> Poll<Result<(), SendError>> {
        self.shared.lock().poll_command(context, command)
    }

    /// Waits until the stream has taken everything that is queued, for a caller that polls.
    ///
    /// # Errors
    /// Those of [`flush`](Sender::flush).
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.shared.lock().poll_flush(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Work<'_, '_, S> {
    pub(crate) fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        if message.len() < WRITE_THROUGH {
            return self.turn.connection.send(message);
        }
        self.turn.write_through(&mut self.transport, self.now, |connection: &mut Connection, write| {
            connection.driver().send_with_writer(message, write)
        })
    }

    /// Promises room for one message, or says why none can be queued now.
    pub(crate) fn promise_room(&mut self) -> Result<(), SendError> {
        let connection = &self.turn.connection;
        match connection.state() {
            framewright::State::Open if connection.is_writable() => {
                *self.promised = true;
                Ok(())
            }
            framewright::State::Open => Err(SendError::Full),
            _ => Err(SendError::Closed),
        }
    }
}

impl<S> fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
