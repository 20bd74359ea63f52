//! Why no message was received.

use framewright::Error;
use std::fmt;

/// Why no message was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The caller's deadline passed first. The connection goes on.
    TimedOut,
    /// The connection has ended otherwise than by the closing handshake: the server broke a rule, went over a limit, let a deadline
    /// pass, or the transport was lost.
    Failed(Error),
    /// A chunk of a message has come: with [`Delivery::Chunks`](framewright::Delivery::Chunks) they come as events. It is lost.
    Chunked,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiveError::TimedOut => f.write_str("no message came before the deadline"),
            ReceiveError::Failed(error) => error.fmt(f),
            ReceiveError::Chunked => f.write_str("messages come in chunks: receive events"),
        }
    }
}

impl std::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReceiveError::Failed(error) => Some(error),
            _ => None,
        }
    }
}
