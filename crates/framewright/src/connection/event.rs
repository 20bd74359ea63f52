//! The events that a connection delivers to its application. They borrow the [`RecvBuffer`], never
//! the connection, so an answer can be sent while a payload is borrowed.

use super::RecvBuffer;
use super::recv_buffer::PayloadRange;
use crate::error::Error;
use crate::frame::{CloseCode, CloseFrame};
use std::ops::Range;
use std::str;

/// A whole message (RFC 6455, section 5.6), received or to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "section 5.6 knows two types of message")]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes whose meaning the application knows.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload data.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// Whether the message is text.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Message::Text(_))
    }

    /// The number of bytes of payload data.
    #[must_use]
    pub const fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A piece of a message, in [`Delivery::Chunks`](super::Delivery::Chunks). Pieces follow the
/// arrival of bytes, not the sender's fragments; a piece of text never ends inside a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a piece and its place")]
pub struct Chunk<'a> {
    /// The piece. Empty only if it is the last one.
    pub data: Message<'a>,
    /// Whether this is the first piece of its message.
    pub first: bool,
    /// Whether this is the last piece of its message.
    pub last: bool,
}

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole message arrived.
    Message(Message<'a>),
    /// A piece of a message arrived.
    Chunk(Chunk<'a>),
    /// A Ping arrived, with this application data. Its Pong is already queued, unless a Close frame
    /// was queued before.
    Ping(&'a [u8]),
    /// A Pong arrived: for a keep-alive Ping, for a Ping of the application, or unsolicited.
    Pong(&'a [u8]),
    /// A Close frame arrived. Its answer is already queued.
    CloseReceived {
        /// The code, `None` if the frame had no body.
        code: Option<CloseCode>,
        /// The reason; empty if there was none.
        reason: &'a str,
    },
    /// The bytes queued have fallen to the low-water mark after they had reached the high-water
    /// mark.
    Writable,
    /// The connection's fate is decided: this event is delivered exactly once, and last. The bytes
    /// still queued (the Close frame) have yet to be transmitted.
    Closed(Closure),
}

/// How a connection ended (sections 7.1.4 to 7.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closure {
    /// The Close frame that this endpoint queued, if any.
    pub sent: Option<CloseFrame>,
    /// The Close frame received from the peer, if any.
    pub received: Option<CloseFrame>,
    /// Whether the closing handshake was completed: both Close frames exist, and no error came
    /// first.
    pub clean: bool,
    /// The error that ended the connection; `None` if `clean`.
    pub cause: Option<Error>,
}

impl Closure {
    /// *The WebSocket connection close code* (section 7.1.5): the peer's code, 1005 if its Close
    /// frame had none, 1006 if no Close frame was received.
    #[must_use]
    pub fn code(&self) -> u16 {
        match &self.received {
            Some(frame) => frame.code.map_or(1005, CloseCode::get),
            None => 1006,
        }
    }

    /// *The WebSocket connection close reason* (section 7.1.6): the peer's reason, empty if there
    /// was none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.received.as_ref().map_or("", |frame| &frame.reason)
    }
}

/// An event that refers to its payload by a range of the [`RecvBuffer`], so that it borrows
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub(super) event: UnresolvedEvent,
    /// Identifies the buffer and its state: the address of its bytes, and how often it had changed.
    pub(super) stamp: (usize, u32),
}

/// The event inside [`Decoded`], with ranges of the buffer as its payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UnresolvedEvent {
    Text(PayloadRange),
    Binary(PayloadRange),
    Chunk { text: bool, payload: PayloadRange, first: bool, last: bool },
    Ping(Range<usize>),
    Pong(Range<usize>),
    CloseReceived { code: Option<CloseCode>, reason: Range<usize> },
    Writable,
    Closed(Closure),
}

impl Decoded {
    /// Whether the event is a whole message.
    #[must_use]
    pub fn is_message(&self) -> bool {
        matches!(self.event, UnresolvedEvent::Text(_) | UnresolvedEvent::Binary(_))
    }

    /// Whether the event is a chunk of a message.
    #[must_use]
    pub fn is_chunk(&self) -> bool {
        matches!(self.event, UnresolvedEvent::Chunk { .. })
    }

    /// Turns this into the event, its payload borrowed from the buffer that
    /// [`Connection::decode`](super::Connection::decode) was given.
    ///
    /// Text is validated a second time here, to prove that the buffer still holds UTF-8;
    /// [`Connection::next_event`](super::Connection::next_event) does not need to.
    ///
    /// # Panics
    /// If `rx` is another buffer, or has changed since: more was read into it or decoded from it.
    #[must_use]
    pub fn resolve(self, rx: &RecvBuffer) -> Event<'_> {
        assert_eq!(
            self.stamp,
            rx.stamp(),
            "the buffer is another one, or has changed since this event was decoded"
        );
        self.event.resolve(rx)
    }

    /// Takes the payload of a whole message out of the buffer that
    /// [`Connection::decode`](super::Connection::decode) was given. A long payload that fills half of
    /// the buffer takes the buffer's memory with it; other payloads are copied. `None` if the event
    /// is not a message.
    ///
    /// # Panics
    /// As [`resolve`](Decoded::resolve).
    #[must_use]
    pub fn take_payload(self, rx: &mut RecvBuffer) -> Option<TakenPayload> {
        assert_eq!(
            self.stamp,
            rx.stamp(),
            "the buffer is another one, or has changed since this event was decoded"
        );
        let (text, payload) = match self.event {
            UnresolvedEvent::Text(payload) => (true, payload),
            UnresolvedEvent::Binary(payload) => (false, payload),
            _ => return None,
        };
        let (octets, range) = rx.take_at(payload);
        Some(TakenPayload { text, octets, range })
    }
}

/// The payload of a whole message, with the memory that it was received in. From
/// [`Decoded::take_payload`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenPayload {
    /// Whether the message is text. Then the payload is UTF-8.
    pub text: bool,
    /// The memory: the payload, and perhaps other bytes before it.
    pub octets: Vec<u8>,
    /// Where the payload lies in `octets`.
    pub range: Range<usize>,
}

impl UnresolvedEvent {
    #[inline]
    pub(super) fn resolve(self, rx: &RecvBuffer) -> Event<'_> {
        match self {
            UnresolvedEvent::Text(payload) => Event::Message(Message::Text(valid(rx.at(&payload)))),
            UnresolvedEvent::Binary(payload) => Event::Message(Message::Binary(rx.at(&payload))),
            UnresolvedEvent::Chunk { text, payload, first, last } => {
                let bytes = rx.at(&payload);
                let data = if text { Message::Text(valid(bytes)) } else { Message::Binary(bytes) };
                Event::Chunk(Chunk { data, first, last })
            }
            UnresolvedEvent::Ping(range) => Event::Ping(rx.bytes(range)),
            UnresolvedEvent::Pong(range) => Event::Pong(rx.bytes(range)),
            UnresolvedEvent::CloseReceived { code, reason } => {
                Event::CloseReceived { code, reason: valid(rx.bytes(reason)) }
            }
            UnresolvedEvent::Writable => Event::Writable,
            UnresolvedEvent::Closed(closure) => Event::Closed(closure),
        }
    }
}

fn valid(bytes: &[u8]) -> &str {
    super::utf8::whole(bytes).expect("checked when it was decoded")
}
