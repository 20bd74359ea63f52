//! Messages that borrow nothing: to be kept, and to be handed over for sending.

use super::Connection;
use super::event::Message;
use super::send::opcode;
use crate::error::SendError;
use crate::frame::Header;
use framewright_simd::apply_mask;
use std::fmt;

/// A message that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "section 5.6 knows two types of message")]
pub enum OwnedMessage {
    /// UTF-8 text.
    Text(String),
    /// Octets whose meaning the application knows.
    Binary(Vec<u8>),
}

impl OwnedMessage {
    /// A view on it.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(octets) => Message::Binary(octets),
        }
    }

    fn into_octets(self) -> Vec<u8> {
        match self {
            OwnedMessage::Text(text) => text.into_bytes(),
            OwnedMessage::Binary(octets) => octets,
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

impl<'a> From<&'a OwnedMessage> for Message<'a> {
    fn from(message: &'a OwnedMessage) -> Self {
        message.as_message()
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> Self {
        OwnedMessage::Text(text)
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(octets: Vec<u8>) -> Self {
        OwnedMessage::Binary(octets)
    }
}

/// A message that was handed over and refused: as it was, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a message and why it is back")]
pub struct Unsent {
    /// Why it was refused.
    pub error: SendError,
    /// The message.
    pub message: OwnedMessage,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Unsent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Connection {
    /// Queues a message that is handed over: a long payload is not copied, but masked where it lies by a client (section 5.3),
    /// and freed when it is sent. Compressed, or shorter than 4 KiB, it is copied as by [`send`](Connection::send).
    ///
    /// # Errors
    /// Those of [`send`](Connection::send). The message comes back unchanged.
    pub fn send_owned(&mut self, message: impl Into<OwnedMessage>) -> Result<(), Box<Unsent>> {
        let message = message.into();
        if let Err(error) = self.check_message() {
            return Err(Box::new(Unsent { error, message }));
        }
        let len = message.as_message().len();
        if !self.push_compressed(message.as_message()) {
            self.push_owned(message);
        }
        self.count_sent(len, true);
        self.note_queued();
        Ok(())
    }

    fn push_owned(&mut self, message: OwnedMessage) {
        let opcode = opcode(message.as_message());
        let mask = self.next_mask();
        let mut payload = message.into_octets();
        let header = Header { fin: true, rsv: 0, opcode, mask, payload_len: payload.len() as u64 };
        if let Some(key) = mask {
            apply_mask(&mut payload, key, 0);
        }
        self.outbox.push_owned(&header, payload);
    }
}
