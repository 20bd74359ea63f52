//! The events that a client in an event loop reports to its application.

use framewright::handshake::ServerResponse;
use framewright::{Chunk, CloseCode, Closure, Message};

/// An event of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The connection is open: the server accepted the request. First, and once.
    Open(&'a ServerResponse),
    /// A whole message arrived.
    Message(Message<'a>),
    /// A piece of a message arrived, with [`Delivery::Chunks`](crate::Delivery::Chunks).
    Chunk(Chunk<'a>),
    /// A Ping arrived, and was answered.
    Ping(&'a [u8]),
    /// A Pong arrived.
    Pong(&'a [u8]),
    /// The server's Close frame arrived, and was answered.
    CloseReceived {
        /// The code, `None` if the frame had none.
        code: Option<CloseCode>,
        /// The reason; empty if there was none.
        reason: &'a str,
    },
    /// There is room again, after a message was refused as [`Full`](crate::SendError::Full).
    Writable,
    /// The connection has ended. Last, and once.
    Closed(Closure),
}

impl<'a> Event<'a> {
    /// Converts an event of the connection into one of the client; `None` for a kind of event that
    /// this version does not know.
    pub(super) fn of(event: framewright::Event<'a>) -> Option<Event<'a>> {
        Some(match event {
            framewright::Event::Message(message) => Event::Message(message),
            framewright::Event::Chunk(chunk) => Event::Chunk(chunk),
            framewright::Event::Ping(data) => Event::Ping(data),
            framewright::Event::Pong(data) => Event::Pong(data),
            framewright::Event::CloseReceived { code, reason } => Event::CloseReceived { code, reason },
            framewright::Event::Writable => Event::Writable,
            framewright::Event::Closed(closure) => Event::Closed(closure),
            _ => return None,
        })
    }
}
