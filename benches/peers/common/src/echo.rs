//! The echo of a library whose socket is a stream and a sink of messages.

use std::future::poll_fn;
use std::task::{Poll, ready};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};

/// Sends back the messages that `is_data` accepts, until the connection ends.
///
/// Replies are queued while more messages are ready, and flushed when none is: a connection with several messages on
/// the way has them answered in one write, where the library can do that.
pub async fn echo<S, M, E>(mut socket: S, is_data: impl Fn(&M) -> bool)
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    // The reply that the sink had no room for.
    let mut waiting = None;
    poll_fn(|context| {
        loop {
            if waiting.is_some() {
                if ready!(socket.poll_ready_unpin(context)).is_err() {
                    return Poll::Ready(());
                }
                if let Some(message) = waiting.take()
                    && socket.start_send_unpin(message).is_err()
                {
                    return Poll::Ready(());
                }
            }
            match socket.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(message))) => waiting = Some(message).filter(&is_data),
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                Poll::Pending => {
                    return match ready!(socket.poll_flush_unpin(context)) {
                        Ok(()) => Poll::Pending,
                        Err(_) => Poll::Ready(()),
                    };
                }
            }
        }
    })
    .await;
}
