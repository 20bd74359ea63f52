//! Deadlines while nobody receives.

use crate::shared::Shared;
use crate::tasks::Party;
use framewright::{CloseCode, SendError};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// A future that keeps the deadlines of a connection while nobody receives: it sends keep-alive
/// Pings, and ends the connection of a peer that is silent, or takes nothing, for too long.
///
/// A connection has no task of its own. While a task waits in [`recv`](crate::WebSocket::recv), that
/// call keeps the deadlines. A task that waits for something else for longer polls this beside it,
/// or spawns it:
///
/// ```
/// # async fn example(mut socket: framewright_tokio::WebSocket<tokio::net::TcpStream>) {
/// tokio::spawn(socket.attendant());
/// // However long this takes, the peer gets its Pings.
/// let news = wait_for_news().await;
/// socket.send_text(&news).await.ok();
/// # }
/// # async fn wait_for_news() -> String { String::new() }
/// ```
///
/// It does not receive: what the peer sends waits for the application. If a deadline for the peer's
/// silence passes, it looks whether anything has arrived since it last looked, and if so the deadline
/// starts anew. It holds up to 4 KiB that way. A peer that has sent more, and of which the application
/// receives nothing, is not dropped for its silence. One that has sent less is, and messages that
/// were not received by then are lost.
///
/// It writes what is published for a connection that is subscribed to [`topics`](crate::topics).
///
/// If the connection has ended, it also ends the stream, and closes it. The future is ready after
/// that, if the connection was dropped, or if nothing can be sent any more. It does not keep the
/// stream open.
pub struct Attendant<S> {
    shared: Weak<Shared<S>>,
    /// Whether a Close frame was queued here, which nobody may be about to write.
    unwritten: bool,
}

impl<S> Attendant<S> {
    pub(crate) fn new(shared: &Arc<Shared<S>>) -> Attendant<S> {
        Attendant { shared: Arc::downgrade(shared), unwritten: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Attendant<S> {
    /// Starts the closing handshake from outside of the task that has the connection: queues a Close
    /// frame, which this future writes. A task that receives gets the rest of what the peer has
    /// sent, and then the end.
    ///
    /// # Errors
    /// [`SendError::Closed`] if a Close frame was sent before, or if the connection has ended or was
    /// dropped. [`SendError::CloseReason`] if `reason` has more than 123 bytes, or is not empty
    /// without a `code`.
    pub fn start_close(&mut self, code: impl Into<Option<CloseCode>>, reason: &str) -> Result<(), SendError> {
        let shared = self.shared.upgrade().ok_or(SendError::Closed)?;
        let code = code.into();
        shared.lock().command(|connection| connection.close(code, reason))?;
        self.unwritten = true;
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Attendant<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = self.shared.upgrade() else { return Poll::Ready(()) };
        let mut linked = shared.lock();
        if self.unwritten && linked.poll_flush_as(Party::Attendant, context).is_ready() {
            self.unwritten = false;
        }
        let attended = linked.poll_deadlines(context);
        drop(linked);
        if attended.is_ready() {
            shared.end_topics();
        }
        attended
    }
}

impl<S> fmt::Debug for Attendant<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendant").finish_non_exhaustive()
    }
}
