//! Deadlines while nobody receives.

use crate::shared::Shared;
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
/// silence passes, it looks whether anything has arrived, and if so the deadline starts anew. The
/// future is ready when the connection has ended or was dropped; it does not keep the stream open.
pub struct Attendant<S> {
    shared: Weak<Shared<S>>,
}

impl<S> Attendant<S> {
    pub(crate) fn new(shared: &Arc<Shared<S>>) -> Attendant<S> {
        shared.lock().share();
        Attendant { shared: Arc::downgrade(shared) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Attendant<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.shared.upgrade() {
            Some(shared) => shared.lock().poll_deadlines(context),
            None => Poll::Ready(()),
        }
    }
}

impl<S> fmt::Debug for Attendant<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendant").finish_non_exhaustive()
    }
}
