//! The echo of a library whose socket is a stream and a sink of messages.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, ready};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};

/// Sends back the messages that `is_data` accepts, until the connection ends.
///
/// It takes messages as long as some are ready, then queues all replies, then flushes: a connection
/// with several messages on the way has them answered in one write, where the library can do that.
/// Replies are not queued between readings, because some libraries flush before they read.
pub async fn echo<S, M, E>(mut socket: S, is_data: impl Fn(&M) -> bool)
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    let mut replies = VecDeque::new();
    let mut ended = false;
    poll_fn(|context| {
        let mut exhausted = false;
        loop {
            while !ended && !exhausted && replies.len() < BATCH {
                match socket.poll_next_unpin(context) {
                    Poll::Ready(Some(Ok(message))) => replies.extend(Some(message).filter(&is_data)),
                    Poll::Ready(None | Some(Err(_))) => ended = true,
                    Poll::Pending => exhausted = true,
                }
            }
            while !replies.is_empty() {
                if ready!(socket.poll_ready_unpin(context)).is_err() {
                    return Poll::Ready(());
                }
                if let Some(reply) = replies.pop_front()
                    && socket.start_send_unpin(reply).is_err()
                {
                    return Poll::Ready(());
                }
            }
            if ready!(socket.poll_flush_unpin(context)).is_err() || ended {
                return Poll::Ready(());
            }
            if exhausted {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// How many messages are taken before they are answered.
const BATCH: usize = 64;
