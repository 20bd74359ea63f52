//! Ends a connection while its threads wait.

use super::shared::Shared;
use framewright::{CloseCode, SendError};
use std::fmt;
use std::sync::{Arc, Weak};

/// Ends the connection of a blocking client from any thread, even while the threads of the client
/// wait. Cloning is cheap.
///
/// [`Client::stopper`](super::Client::stopper) creates one, as does `stopper` of either half. None
/// of its calls waits. It does not keep the connection open: the connection ends with the client,
/// or with the second half.
#[derive(Clone)]
pub struct Stopper {
    shared: Weak<Shared>,
}

impl Stopper {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Stopper { shared: Arc::downgrade(shared) }
    }

    /// Starts the closing handshake. A thread that receives continues until the server has
    /// answered, and then reports the end. A thread that sends gets [`SendError::Closed`] for every
    /// message from now on.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the closing handshake has begun or the connection has ended.
    /// [`SendError::CloseReason`] if the reason has more than 123 bytes, or if there is a reason
    /// without a code (RFC 6455, section 5.5.1).
    pub fn close(&self, code: impl Into<Option<CloseCode>>, reason: &str) -> Result<(), SendError> {
        let Some(shared) = self.shared.upgrade() else { return Err(SendError::Closed) };
        shared.start_to_close(code.into(), reason)
    }

    /// Drops the connection: no Close frame is sent, and the bytes queued are discarded. A waiting
    /// thread returns and reports the end.
    pub fn abort(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.abort();
        }
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.shared.upgrade().map(|shared| shared.uri.as_str().to_owned());
        f.debug_struct("Stopper").field("uri", &uri).finish_non_exhaustive()
    }
}
