//! Ending all connections when the server stops.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Ends all WebSockets of a server: each gets a Close frame with 1001 (going away), and has some time
/// to complete the closing handshake. Clones are the same.
///
/// Lay it over the routes, and each [`WebSocketUpgrade`](crate::WebSocketUpgrade) below finds it:
///
/// ```
/// use axum::{Extension, Router, routing::any};
/// use framewright_axum::{Graceful, WebSocketUpgrade};
/// use std::time::Duration;
///
/// let graceful = Graceful::new();
/// let app: Router = Router::new()
///     .route("/ws", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_| {})))
///     .layer(Extension(graceful.clone()));
///
/// # async fn example(graceful: Graceful) {
/// // Later: no further upgrades, 1001 to each socket, and ten seconds for their handlers to end.
/// let all_ended = graceful.shutdown(Duration::from_secs(10)).await;
/// # }
/// ```
///
/// A handler sees the end of its socket as any other: [`recv`](crate::WebSocket::recv) returns what
/// the peer still sends, and then its Close. A request for an upgrade that arrives from now on is
/// refused with 503.
#[derive(Clone, Default)]
pub struct Graceful {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    going_away: CancellationToken,
    time_is_up: CancellationToken,
    sockets: TaskTracker,
    /// The connections that [`serve`](crate::serve()) serves.
    connections: TaskTracker,
}

impl Graceful {
    /// Makes one that is started by [`start`](Graceful::start) or [`shutdown`](Graceful::shutdown).
    #[must_use]
    pub fn new() -> Self {
        Graceful::default()
    }

    /// Makes one that also starts when `token` is cancelled.
    #[must_use]
    pub fn with_token(token: CancellationToken) -> Self {
        let shared = Shared { going_away: token, ..Shared::default() };
        Graceful { shared: Arc::new(shared) }
    }

    /// Sends the Close frames, and refuses further upgrades. It does not wait.
    pub fn start(&self) {
        self.shared.going_away.cancel();
    }

    /// Starts, and waits until all handlers of sockets have ended, and all connections of
    /// [`serve`](crate::serve()), for at most `within`. What has not ended by then is dropped. Returns
    /// whether all have ended in time.
    ///
    /// A socket that its handler has given to another task is waited for, too. When the time is up,
    /// it stays with that task.
    pub async fn shutdown(&self, within: Duration) -> bool {
        self.start();
        let in_time = tokio::time::timeout(within, self.ended()).await.is_ok();
        self.shared.time_is_up.cancel();
        self.ended().await;
        in_time
    }

    /// Waits until nothing is counted. A request that still runs may have become a socket while this
    /// waited for connections.
    async fn ended(&self) {
        let trackers = [&self.shared.sockets, &self.shared.connections];
        while !trackers.iter().all(|tracker| tracker.is_closed() && tracker.is_empty()) {
            for tracker in trackers {
                tracker.close();
                tracker.wait().await;
            }
        }
    }

    /// Whether it has started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.shared.going_away.is_cancelled()
    }

    /// The number of sockets whose handlers have not ended, or have given them to other tasks that
    /// have not ended them.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.shared.sockets.len()
    }

    /// Waits until it starts.
    pub async fn started(&self) {
        self.shared.going_away.cancelled().await;
    }

    /// Waits until the handlers' time is up.
    pub(crate) async fn time_is_up(&self) {
        self.shared.time_is_up.cancelled().await;
    }

    /// Counts a connection until the token is dropped.
    pub(crate) fn count_connection(&self) -> TaskTrackerToken {
        self.shared.connections.token()
    }

    /// Counts a socket until the token is dropped.
    pub(crate) fn count(&self) -> TaskTrackerToken {
        self.shared.sockets.token()
    }
}

impl fmt::Debug for Graceful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graceful")
            .field("started", &self.has_started())
            .field("sockets", &self.sockets())
            .finish()
    }
}
