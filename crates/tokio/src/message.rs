//! Messages that borrow nothing, for streams, sinks and other tasks.

use bytes::Bytes;
use bytestring::ByteString;
use framewright::{Message, TakenPayload};

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
