//! The states of a connection and the one place that changes them (RFC 6455, sections 5.5.1 and 7).

use super::event::Closure;
use crate::error::Error;
use crate::frame::{CloseCode, CloseFrame};

/// Where a connection is between its two handshakes.
///
/// ```text
///              close()              the peer's Close
///   Open ----------------> Closing ------------------> Closed (clean)
///    |                        |
///    | the peer's Close       | a fault, a limit, a deadline,
///    | (answered at once)     | the end of the transport
///    v                        v
///   Closed (clean)         Closed (not clean)
///    ^
///    | from Open too: a fault, a limit, a deadline, the end of the transport
/// ```
/// In `Closed` nothing more is received; what is queued is still transmitted, then the transport is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the picture above is complete")]
pub enum State {
    /// Messages flow both ways.
    Open,
    /// A Close frame was queued; messages are still received until the peer's Close frame arrives.
    Closing,
    /// The connection's fate is decided.
    Closed,
}

/// How the connection ends: made when the first Close frame is queued or received, or the connection fails.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) sent: Option<CloseFrame>,
    pub(super) received: Option<CloseFrame>,
    pub(super) cause: Option<Error>,
    /// `Event::Closed` has been given.
    pub(super) reported: bool,
    /// What waits is not worth sending any more.
    pub(super) hurry: bool,
    /// The peer has ended its direction of the transport.
    pub(super) eof: bool,
}

impl Ending {
    pub(super) fn closure(&self) -> Closure {
        let clean = self.cause.is_none() && self.sent.is_some() && self.received.is_some();
        Closure { sent: self.sent.clone(), received: self.received.clone(), clean, cause: self.cause.clone() }
    }
}

/// The body of a Close frame.
pub(super) fn close_body(code: Option<CloseCode>, reason: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(2 + reason.len());
    if let Some(code) = code {
        body.extend_from_slice(&code.get().to_be_bytes());
        body.extend_from_slice(reason.as_bytes());
    }
    body
}
