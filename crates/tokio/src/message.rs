//! Messages that borrow nothing, for streams, sinks and other tasks.

use bytes::Bytes;
use bytestring::ByteString;
use framewright::{Chunk, CloseCode, Closure, Event, Message, TakenPayload};

/// A message that borrows nothing and is cheap to clone: clones share the payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "section 5.6 knows two types of message")]
pub enum OwnedMessage {
    /// UTF-8 text.
    Text(ByteString),
    /// Bytes whose meaning the application knows.
    Binary(Bytes),
}

impl OwnedMessage {
    /// Makes a text message.
    #[must_use]
    pub fn text(text: impl Into<ByteString>) -> OwnedMessage {
        OwnedMessage::Text(text.into())
    }

    /// Makes a binary message.
    #[must_use]
    pub fn binary(payload: impl Into<Bytes>) -> OwnedMessage {
        OwnedMessage::Binary(payload.into())
    }

    /// Borrows the message.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(payload) => Message::Binary(payload),
        }
    }

    /// The message with this payload, which was received.
    pub(crate) fn taken(payload: TakenPayload) -> OwnedMessage {
        let TakenPayload { text, octets, range, .. } = payload;
        let octets = Bytes::from(octets).slice(range);
        if text {
            OwnedMessage::Text(ByteString::try_from(octets).expect("text was checked when it was decoded"))
        } else {
            OwnedMessage::Binary(octets)
        }
    }

    /// Returns the payload.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            OwnedMessage::Text(text) => text.into_bytes(),
            OwnedMessage::Binary(payload) => payload,
        }
    }
}

impl From<ByteString> for OwnedMessage {
    fn from(text: ByteString) -> OwnedMessage {
        OwnedMessage::Text(text)
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> OwnedMessage {
        OwnedMessage::Text(text.into())
    }
}

impl From<&str> for OwnedMessage {
    /// Copies the text.
    fn from(text: &str) -> OwnedMessage {
        OwnedMessage::Text(text.into())
    }
}

impl From<Bytes> for OwnedMessage {
    fn from(payload: Bytes) -> OwnedMessage {
        OwnedMessage::Binary(payload)
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(payload: Vec<u8>) -> OwnedMessage {
        OwnedMessage::Binary(payload.into())
    }
}

impl From<Message<'_>> for OwnedMessage {
    /// Copies the payload.
    fn from(message: Message<'_>) -> OwnedMessage {
        match message {
            Message::Text(text) => OwnedMessage::Text(text.into()),
            Message::Binary(payload) => OwnedMessage::Binary(Bytes::copy_from_slice(payload)),
        }
    }
}

impl From<framewright::OwnedMessage> for OwnedMessage {
    fn from(message: framewright::OwnedMessage) -> OwnedMessage {
        match message {
            framewright::OwnedMessage::Text(text) => OwnedMessage::Text(text.into()),
            framewright::OwnedMessage::Binary(payload) => OwnedMessage::Binary(payload.into()),
        }
    }
}

/// An [`Event`] that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedEvent {
    /// A whole message arrived.
    Message(OwnedMessage),
    /// A piece of a message arrived.
    Chunk {
        /// The bytes of the piece. The pieces of a text are text, too.
        data: OwnedMessage,
        /// Whether it is the first piece of its message.
        first: bool,
        /// Whether it is the last piece of its message.
        last: bool,
    },
    /// A Ping arrived. Its Pong is queued.
    Ping(Bytes),
    /// A Pong arrived.
    Pong(Bytes),
    /// A Close frame arrived. Its answer is queued.
    CloseReceived {
        /// The code, `None` if the frame had no body.
        code: Option<CloseCode>,
        /// The reason; empty if there was none.
        reason: ByteString,
    },
    /// There is room for messages again.
    Writable,
    /// The connection has ended. This is the last event.
    Closed(Closure),
}

impl OwnedEvent {
    /// Copies the payload. `None` is an event that this version does not know.
    pub(crate) fn of(event: Event<'_>) -> Option<OwnedEvent> {
        Some(match event {
            Event::Message(message) => OwnedEvent::Message(message.into()),
            Event::Chunk(Chunk { data, first, last }) => OwnedEvent::Chunk { data: data.into(), first, last },
            Event::Ping(data) => OwnedEvent::Ping(Bytes::copy_from_slice(data)),
            Event::Pong(data) => OwnedEvent::Pong(Bytes::copy_from_slice(data)),
            Event::CloseReceived { code, reason } => {
                OwnedEvent::CloseReceived { code, reason: reason.into() }
            }
            Event::Closed(closure) => OwnedEvent::Closed(closure),
            Event::Writable => OwnedEvent::Writable,
            _ => return None,
        })
    }
}
