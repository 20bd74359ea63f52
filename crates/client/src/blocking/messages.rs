//! Messages as an iterator, which cannot lend: each in memory of its own.

use super::error::ReceiveError;
use super::receiver::Receiver;
use framewright::OwnedMessage;

/// The messages to come: ends with the connection, after an error if that has failed. From
/// [`Client::messages`](super::Client::messages).
#[derive(Debug)]
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
