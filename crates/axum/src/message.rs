//! Messages that own their payload, in the shape of `axum::extract::ws`.

use axum::Error;
use axum::body::Bytes;
use bytestring::ByteString;
use framewright_tokio::OwnedMessage;
use std::fmt;
use std::ops::Deref;
use std::str::Utf8Error;

/// Text in shared memory: always UTF-8, and cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Utf8Bytes(ByteString);

impl Utf8Bytes {
    /// Text that is part of the program.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Utf8Bytes(ByteString::from_static(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        ByteString::try_from(bytes).map(Utf8Bytes)
    }
}

impl TryFrom<Vec<u8>> for Utf8Bytes {
    type Error = Utf8Error;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Utf8Error> {
        Bytes::from(bytes).try_into()
    }
}

impl From<ByteString> for Utf8Bytes {
    fn from(text: ByteString) -> Self {
        Utf8Bytes(text)
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Utf8Bytes(text.into())
    }
}

impl From<&String> for Utf8Bytes {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Utf8Bytes(text.into())
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.0.into_bytes()
    }
}

impl From<Utf8Bytes> for ByteString {
    fn from(text: Utf8Bytes) -> Self {
        text.0
    }
}

impl<T> PartialEq<T> for Utf8Bytes
where
    for<'a> &'a str: PartialEq<T>,
{
    fn eq(&self, other: &T) -> bool {
        self.as_str() == *other
    }
}

/// The number of a status code (RFC 6455, section 7.4). [`close_code`] has names for those of the
/// registry.
pub type CloseCode = u16;

/// The status codes of the registry that a Close frame may carry.
pub mod close_code {
    use super::CloseCode;

    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = 1000;
    /// 1001: the server is going down, or the browser has left the page.
    pub const AWAY: CloseCode = 1001;
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: CloseCode = 1002;
    /// 1003: the data is of a type that this endpoint cannot accept.
    pub const UNSUPPORTED: CloseCode = 1003;
    /// 1005: a Close frame without a code was received. It is never sent.
    pub const STATUS: CloseCode = 1005;
    /// 1006: no Close frame was received. It is never sent.
    pub const ABNORMAL: CloseCode = 1006;
    /// 1007: the data does not match its type, such as text that is not UTF-8.
    pub const INVALID: CloseCode = 1007;
    /// 1008: a message breaks this endpoint's policy.
    pub const POLICY: CloseCode = 1008;
    /// 1009: a message is too big to process.
    pub const SIZE: CloseCode = 1009;
    /// 1010: the client expected an extension that the server did not negotiate.
    pub const EXTENSION: CloseCode = 1010;
    /// 1011: an unexpected condition prevents the server from continuing.
    pub const ERROR: CloseCode = 1011;
    /// 1012: the service restarts.
    pub const RESTART: CloseCode = 1012;
    /// 1013: try again later.
    pub const AGAIN: CloseCode = 1013;
}

/// What a Close frame carries (RFC 6455, section 5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "section 5.5.1 has these two")]
pub struct CloseFrame {
    /// The status code. One that must not be sent, such as 1005 or 1006, is refused by a send.
    pub code: CloseCode,
    /// The reason, at most 123 bytes.
    pub reason: Utf8Bytes,
}

/// A message, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the opcodes of section 11.8")]
pub enum Message {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A Ping, at most 125 bytes. One that was received is answered already.
    Ping(Bytes),
    /// A Pong, at most 125 bytes. To send one is hardly ever needed.
    Pong(Bytes),
    /// A Close frame, which may have no body. One that was received is answered already, and
    /// nothing follows it. Sending one starts the closing handshake.
    Close(Option<CloseFrame>),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Message::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Message::Binary(bytes.into())
    }

    /// The payload; of a Close frame its reason.
    #[must_use]
    pub fn into_data(self) -> Bytes {
        match self {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes,
            Message::Close(frame) => frame.map(|frame| frame.reason.into()).unwrap_or_default(),
        }
    }

    /// The payload as text; of a Close frame its reason.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn into_text(self) -> Result<Utf8Bytes, Error> {
        match self {
            Message::Text(text) => Ok(text),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => {
                bytes.try_into().map_err(Error::new)
            }
            Message::Close(frame) => Ok(frame.map(|frame| frame.reason).unwrap_or_default()),
        }
    }

    /// Borrows the payload as text; of a Close frame its reason.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn to_text(&self) -> Result<&str, Error> {
        match self {
            Message::Text(text) => Ok(text),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => {
                std::str::from_utf8(bytes).map_err(Error::new)
            }
            Message::Close(frame) => Ok(frame.as_ref().map_or("", |frame| &frame.reason)),
        }
    }
}

impl From<OwnedMessage> for Message {
    fn from(message: OwnedMessage) -> Self {
        match message {
            OwnedMessage::Text(text) => Message::Text(text.into()),
            OwnedMessage::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// Copies the payload.
impl From<framewright_tokio::Message<'_>> for Message {
    fn from(message: framewright_tokio::Message<'_>) -> Self {
        match message {
            framewright_tokio::Message::Text(text) => Message::Text(text.into()),
            framewright_tokio::Message::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Message::text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Message::binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Message::binary(bytes)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Message::binary(bytes)
    }
}

/// The payload, as [`Message::into_data`] returns it.
impl From<Message> for Vec<u8> {
    fn from(message: Message) -> Self {
        message.into_data().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf_8_whatever_it_is_made_of() {
        let texts = [Utf8Bytes::from_static("né"), "né".into(), String::from("né").into()];
        for text in &texts {
            assert_eq!(*text, "né");
            assert_eq!((text.len(), format!("{text} {text:?}")), (3, "né \"né\"".to_owned()));
        }
        assert_eq!(Utf8Bytes::try_from("né".as_bytes().to_vec()).unwrap(), texts[0]);
        assert!(Utf8Bytes::try_from(Bytes::from_static(b"n\xc3")).is_err());
    }

    #[test]
    fn what_was_received_is_not_copied() {
        let text = ByteString::from("long enough to be on the heap".to_owned());
        let address = text.as_ptr();
        let message = Message::from(OwnedMessage::Text(text));
        assert_eq!(message.into_data().as_ptr(), address);
    }

    #[test]
    fn each_message_has_data_and_most_have_text() {
        let close = CloseFrame { code: close_code::AWAY, reason: "bye".into() };
        for (message, data) in [
            (Message::text("a"), "a"),
            (Message::from("a"), "a"),
            (Message::from("a".to_owned()), "a"),
            (Message::from(vec![b'a']), "a"),
            (Message::from(&b"a"[..]), "a"),
            (Message::Ping(Bytes::from_static(b"a")), "a"),
            (Message::Pong(Bytes::from_static(b"a")), "a"),
            (Message::Close(Some(close)), "bye"),
            (Message::Close(None), ""),
        ] {
            assert_eq!(message.to_text().unwrap(), data);
            assert_eq!(message.clone().into_text().unwrap(), data);
            assert_eq!(Vec::from(message), data.as_bytes());
        }
        let binary = Message::binary(vec![0xff]);
        assert!(binary.to_text().is_err() && binary.clone().into_text().is_err());
        assert_eq!(&*binary.into_data(), [0xff]);
    }

    #[test]
    fn names_of_codes_have_the_registry_s_numbers() {
        use framewright_tokio::CloseCode;

        for (name, code) in [
            (close_code::NORMAL, CloseCode::NORMAL),
            (close_code::AWAY, CloseCode::GOING_AWAY),
            (close_code::PROTOCOL, CloseCode::PROTOCOL_ERROR),
            (close_code::UNSUPPORTED, CloseCode::UNSUPPORTED_DATA),
            (close_code::INVALID, CloseCode::INVALID_DATA),
            (close_code::POLICY, CloseCode::POLICY_VIOLATION),
            (close_code::SIZE, CloseCode::TOO_BIG),
            (close_code::EXTENSION, CloseCode::MISSING_EXTENSION),
            (close_code::ERROR, CloseCode::INTERNAL_ERROR),
            (close_code::RESTART, CloseCode::SERVICE_RESTART),
            (close_code::AGAIN, CloseCode::TRY_AGAIN_LATER),
        ] {
            assert_eq!(name, code.get());
        }
    }
}
