//! Messages in memory of their own, for an iterator, which cannot lend.

use super::error::ReceiveError;
use super::receiver::Receiver;
use framewright::Message;

/// A message that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "RFC 6455, section 5.6, knows two types of message")]
pub enum OwnedMessage {
    /// UTF-8 text.
    Text(String),
    /// Octets whose meaning the application knows.
    Binary(Vec<u8>),
}

impl OwnedMessage {
    /// A view on it, to be sent.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(octets) => Message::Binary(octets),
        }
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => OwnedMessage::Text(text.to_owned()),
            Message::Binary(octets) => OwnedMessage::Binary(octets.to_owned()),
        }
    }
}

/// The messages to come: ends with the connection, after an error if that has failed. From
/// [`Client::messages`](super::Client::messages).
pub struct Messages<'a> {
    receiver: &'a mut Receiver,
}

impl<'a> Messages<'a> {
    pub(super) fn new(receiver: &'a mut Receiver) -> Self {
        Messages { receiver }
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<OwnedMessage, ReceiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.receive().map(|message| message.map(OwnedMessage::from)).transpose()
    }
}
