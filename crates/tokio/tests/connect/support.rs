//! Clocks that stand still, futures that are dropped, and requests.

use framewright_tokio::{ClientRequest, ConnectOptions};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The time after which a test that waits for ever fails.
const TOO_LONG: Duration = Duration::from_secs(60);

/// Does `work` while tokio's clock stands still, unless it is moved with `tokio::time::advance`. The
/// runtime has to be a `current_thread` one.
pub(crate) async fn at_rest<T>(work: impl Future<Output = T>) -> T {
    tokio::time::pause();
    // A paused clock goes on by itself when all tasks wait, but not while there is blocking work.
    let (done, end) = mpsc::channel::<()>();
    let inhibitor = tokio::task::spawn_blocking(move || end.recv_timeout(TOO_LONG));
    let forever = Duration::from_secs(1_000_000);
    let result = tokio::time::timeout(forever, work).await.expect("it does not wait for ever");
    drop(done);
    let ended = inhibitor.await.expect("it does not panic");
    assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected), "it does not wait until the clock goes on");
    result
}

/// Fails a test that waits for ever.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(TOO_LONG, work).await.expect("it does not wait for ever")
}

/// Lets every task go on until it waits.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// A future that is polled so many times, and dropped if it still waits: `None` then.
pub(crate) struct CutAfter<F> {
    work: Option<Pin<Box<F>>>,
    polls: usize,
}

impl<F: Future> CutAfter<F> {
    pub(crate) fn new(polls: usize, work: F) -> Self {
        CutAfter { work: Some(Box::pin(work)), polls }
    }
}

impl<F: Future> Future for CutAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls > 0 {
            self.polls -= 1;
            let work = self.work.as_mut().expect("it is not polled again");
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
        }
        if self.polls == 0 {
            self.work = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

pub(crate) fn request(uri: &str) -> ClientRequest {
    uri.parse().expect("a URI")
}

/// The default options, with the addresses to connect to.
pub(crate) fn at(addresses: &[SocketAddr]) -> ConnectOptions {
    ConnectOptions { addresses: Some(addresses.to_vec()), ..ConnectOptions::default() }
}
