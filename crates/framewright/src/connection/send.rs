//! The commands with which an application sends (RFC 6455, section 6.1) and ends the connection.
//! The states of closing are in `closing`. Each command is checked first, so that a refused one has
//! queued nothing.
//!
//! Below the commands: messages passed by value, and messages encoded once and sent on many
//! connections.

use super::event::Message;
use super::{Connection, TransmitBuffer};
use crate::deflate::{DeflateState, Form};
use crate::error::{Error, SendError};
use crate::frame::{
    CloseCode, Header, MAX_CLOSE_REASON, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, OpCode, RSV1, encode_frame,
};
use crate::role::Role;
use framewright_simd::apply_mask;
use std::fmt;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// # Commands
///
/// They send messages and control frames, and end the connection. A command that is refused has
/// queued nothing.
impl Connection {
    /// Queues a text message. See [`send`](Connection::send).
    ///
    /// # Errors
    /// Those of [`send`](Connection::send).
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send(Message::Text(text))
    }

    /// Queues a binary message. See [`send`](Connection::send).
    ///
    /// # Errors
    /// Those of [`send`](Connection::send).
    pub fn send_binary(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.send(Message::Binary(payload))
    }

    /// Queues a message as a single frame.
    ///
    /// The payload is copied once; a client masks it in that pass. If permessage-deflate was
    /// negotiated and compression pays, the message is compressed: see `DeflateConfig`.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::FragmentInProgress`]. Nothing is
    /// queued then.
    #[inline]
    pub fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.check_message()?;
        self.queue(message);
        Ok(())
    }

    /// Queues a message uncompressed, even if permessage-deflate was negotiated.
    ///
    /// Use it for data that does not compress, and for secrets next to text that an attacker
    /// chooses. The length of the compressed message would reveal the secret (RFC 7692, section 8).
    ///
    /// # Errors
    /// Those of [`send`](Connection::send).
    pub fn send_uncompressed(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.check_message()?;
        self.push_plain(message);
        self.count_sent(message.len(), true);
        self.note_queued();
        Ok(())
    }

    /// Queues a message passed by value, so that a long payload is not copied.
    ///
    /// A client masks the payload in place (section 5.3); it is freed once it is sent. A payload
    /// that is compressed, or shorter than 4 KiB, is copied as by [`send`](Connection::send).
    ///
    /// # Errors
    /// Those of [`send`](Connection::send). [`Unsent`] returns the message unchanged.
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

    /// Queues a message that was encoded in advance, to be sent on many connections.
    ///
    /// # Errors
    /// Those of [`send`](Connection::send).
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        self.check_message()?;
        if !self.push_prepared_compressed(prepared) {
            match self.next_mask() {
                None => self.buffer_mut().push_shared(&prepared.plain.frame),
                mask => self.buffer_mut().push(true, prepared.opcode(), prepared.plain.payload(), mask),
            }
        }
        self.count_sent(prepared.payload_len(), true);
        self.note_queued();
        Ok(())
    }

    /// Queues one fragment of a message (section 5.4). `last` ends the message.
    ///
    /// All fragments of a message are of one type, so a text is cut between characters. Control
    /// frames may be sent between fragments, other messages may not.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::FragmentType`]: nothing was
    /// queued.
    pub fn send_fragment(&mut self, data: Message<'_>, last: bool) -> Result<(), SendError> {
        let opcode = self.fragment_opcode(data)?;
        if !self.push_compressed_fragment(opcode, data, last) {
            let mask = self.next_mask();
            self.buffer_mut().push(last, opcode, data.as_bytes(), mask);
        }
        self.outgoing_text = if last { None } else { Some(data.is_text()) };
        self.count_sent(data.len(), last);
        self.note_queued();
        Ok(())
    }

    /// Queues a Ping with `data` as its application data, at most 125 bytes.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::ControlTooLong`]: nothing was
    /// queued.
    pub fn ping(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.control(OpCode::Ping, data)
    }

    /// Queues an unsolicited Pong (section 5.5.3), at most 125 bytes. The connection answers Pings
    /// by itself.
    ///
    /// # Errors
    /// Those of [`ping`](Connection::ping).
    pub fn pong(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.control(OpCode::Pong, data)
    }

    /// Starts the closing handshake: queues a Close frame behind the bytes already queued.
    ///
    /// Messages are still received until the peer's Close arrives. `code` is `None` for a frame
    /// without a body, which has no reason either.
    ///
    /// # Errors
    /// - [`SendError::Closed`] if the connection is not open: a Close frame was queued before, or
    ///   the connection has ended.
    /// - [`SendError::CloseReason`] if `reason` has more than 123 bytes, or has no code to go with
    ///   it.
    ///
    /// Never [`SendError::Full`].
    pub fn close(&mut self, code: impl Into<Option<CloseCode>>, reason: &str) -> Result<(), SendError> {
        let code = code.into();
        if !self.is_open() {
            return Err(SendError::Closed);
        }
        if reason.len() > MAX_CLOSE_REASON || (code.is_none() && !reason.is_empty()) {
            return Err(SendError::CloseReason);
        }
        self.begin_closing(code, reason);
        Ok(())
    }

    /// *Fails the connection* (section 7.1.7) for a reason of the application.
    ///
    /// Queues a Close frame with `code`, unless one was queued before, and does not wait for the
    /// peer's. A reason over 123 bytes is cut between characters.
    pub fn fail(&mut self, now: Instant, code: CloseCode, reason: &str) {
        self.fail_saying(now, Error::Failed(code), reason);
    }

    /// Drops the connection: no Close frame is sent, and the bytes queued are discarded.
    pub fn abort(&mut self, now: Instant) {
        self.cut(now, Error::Aborted);
    }
}

impl Connection {
    #[inline]
    fn queue(&mut self, message: Message<'_>) {
        if !self.push_compressed(message) {
            self.push_plain(message);
        }
        self.count_sent(message.len(), true);
        self.note_queued();
    }

    /// Queues a message though there may be no room for it.
    pub(super) fn send_past_mark(&mut self, message: Message<'_>) -> Result<(), SendError> {
        match self.check_message() {
            Ok(()) => {}
            Err(SendError::Full) if self.outgoing_text.is_none() => {}
            Err(SendError::Full) => return Err(SendError::FragmentInProgress),
            Err(error) => return Err(error),
        }
        self.queue(message);
        Ok(())
    }

    #[inline]
    fn push_plain(&mut self, message: Message<'_>) {
        match self.role {
            Role::Server => self.buffer_mut().push_message(opcode(message), message.as_bytes()),
            Role::Client => self.push_masked(opcode(message), message.as_bytes()),
        }
    }

    #[inline(never)]
    fn push_masked(&mut self, opcode: OpCode, payload: &[u8]) {
        let mask = self.next_mask();
        self.buffer_mut().push(true, opcode, payload, mask);
    }

    /// See [`DriverAccess::send_with_writer`](super::DriverAccess::send_with_writer). For servers
    /// only.
    pub(super) fn send_through(
        &mut self,
        message: Message<'_>,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) -> Result<(), SendError> {
        self.check_message()?;
        if self.push_compressed(message) {
            self.count_sent(message.len(), true);
            self.note_queued();
        } else {
            self.push_through(true, opcode(message), message, write);
        }
        Ok(())
    }

    /// Does for a fragment what [`send_through`](Connection::send_through) does for a message.
    pub(super) fn send_fragment_through(
        &mut self,
        data: Message<'_>,
        last: bool,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) -> Result<(), SendError> {
        let opcode = self.fragment_opcode(data)?;
        if self.push_compressed_fragment(opcode, data, last) {
            self.count_sent(data.len(), last);
            self.note_queued();
        } else {
            self.push_through(last, opcode, data, write);
        }
        self.outgoing_text = if last { None } else { Some(data.is_text()) };
        Ok(())
    }

    fn push_through(
        &mut self,
        fin: bool,
        opcode: OpCode,
        data: Message<'_>,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) {
        let payload = data.as_bytes();
        let header = Header { fin, rsv: 0, opcode, mask: None, payload_len: payload.len() as u64 };
        self.buffer_mut().push_through(&header, payload, write);
        self.count_sent(payload.len(), fin);
        self.note_queued();
    }

    /// Checks that the fragment `data` may be sent now, and returns its opcode. It changes nothing:
    /// if queueing the fragment panics afterwards, the call has had no effect.
    fn fragment_opcode(&self, data: Message<'_>) -> Result<OpCode, SendError> {
        self.check_room()?;
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.4
        //# A fragmented message consists of a single frame with the FIN bit
        //# clear and an opcode other than 0, followed by zero or more frames
        //# with the FIN bit clear and the opcode set to 0, and terminated by
        //# a single frame with the FIN bit set and an opcode of 0.
        match self.outgoing_text {
            None => Ok(opcode(data)),
            Some(text) if text == data.is_text() => Ok(OpCode::Continuation),
            Some(_) => Err(SendError::FragmentType),
        }
    }

    fn control(&mut self, opcode: OpCode, data: &[u8]) -> Result<(), SendError> {
        if data.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::ControlTooLong);
        }
        self.check_room()?;
        let mask = self.next_mask();
        self.buffer_mut().push(true, opcode, data, mask);
        self.note_queued();
        Ok(())
    }

    #[inline]
    pub(super) fn check_message(&self) -> Result<(), SendError> {
        self.check_room()?;
        if self.outgoing_text.is_some() { Err(SendError::FragmentInProgress) } else { Ok(()) }
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
    //# The application MUST NOT send any more data frames after sending a
    //# Close frame.
    #[inline]
    fn check_room(&self) -> Result<(), SendError> {
        if !self.is_open() {
            Err(SendError::Closed)
        } else if self.is_full() {
            Err(SendError::Full)
        } else {
            Ok(())
        }
    }

    /// Notes that a frame was queued in `Open`. If there is no room left, `Event::Writable` is
    /// delivered once there is.
    #[inline]
    pub(super) fn note_queued(&mut self) {
        self.congested |= self.is_full();
    }

    /// Whether the bytes queued have reached the high-water mark. A mark of 0 counts as 1, because
    /// nothing could ever be sent otherwise.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.buffered() >= self.config.high_water.max(1)
    }
}

pub(super) fn opcode(message: Message<'_>) -> OpCode {
    if message.is_text() { OpCode::Text } else { OpCode::Binary }
}

/// A message that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "section 5.6 knows two types of message")]
pub enum OwnedMessage {
    /// UTF-8 text.
    Text(String),
    /// Bytes whose meaning the application knows.
    Binary(Vec<u8>),
}

impl OwnedMessage {
    /// Borrows the message.
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

/// A message that `send_owned` refused: the message unchanged, and the reason.
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
    fn push_owned(&mut self, message: OwnedMessage) {
        let opcode = opcode(message.as_message());
        let mask = self.next_mask();
        let mut payload = message.into_octets();
        let header = Header { fin: true, rsv: 0, opcode, mask, payload_len: payload.len() as u64 };
        if let Some(key) = mask {
            apply_mask(&mut payload, key, 0);
        }
        self.buffer_mut().push_owned(&header, payload);
    }
}

/// A message encoded once, to be sent on many connections. Cloning shares it.
///
/// A server sends its bytes as they are, without a copy if the message is long. A client has to
/// mask them anew for each connection. For connections with permessage-deflate it also holds the
/// compressed form, for each level and window size in use: the first connection that needs a form
/// makes it.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) plain: Encoded,
    text: bool,
    /// `None` if the message is never to be compressed.
    pub(super) forms: Option<Arc<Forms>>,
}

/// An unmasked frame.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) frame: Arc<[u8]>,
    header_len: usize,
}

impl Encoded {
    pub(super) fn payload(&self) -> &[u8] {
        &self.frame[self.header_len..]
    }
}

impl Prepared {
    /// Encodes a message, to be sent compressed where that was negotiated and pays.
    #[must_use]
    pub fn new(message: Message<'_>) -> Prepared {
        Prepared { forms: cfg!(feature = "deflate").then(Arc::default), ..Prepared::uncompressed(message) }
    }

    /// Encodes a message that is sent uncompressed, even if permessage-deflate was negotiated.
    #[must_use]
    pub fn uncompressed(message: Message<'_>) -> Prepared {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, opcode(message), message.as_bytes(), None);
        let header_len = frame.len() - message.len();
        Prepared { plain: Encoded { frame: frame.into(), header_len }, text: message.is_text(), forms: None }
    }

    /// The number of bytes of payload data, uncompressed.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.plain.payload().len()
    }

    /// Borrows the payload data, uncompressed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.plain.payload()
    }

    /// Whether it is a text message.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// This holder's share, in bytes, of the memory that the message occupies. Each clone has an
    /// equal share, and so has each connection that has the uncompressed frame queued.
    #[must_use]
    pub fn allocated_share(&self) -> usize {
        self.plain.frame.len() / Arc::strong_count(&self.plain.frame)
    }

    fn opcode(&self) -> OpCode {
        if self.text { OpCode::Text } else { OpCode::Binary }
    }

    /// Whether the message was compressed in `form` before.
    pub(super) fn has_form(&self, form: Form) -> bool {
        self.forms.as_ref().is_some_and(|forms| forms.has(form))
    }

    /// The message in `form`; `None` if it is sent uncompressed.
    pub(super) fn in_form(&self, form: Form, deflate: &mut DeflateState) -> Option<Encoded> {
        self.forms.as_ref()?.get(self, form, deflate)
    }
}

impl From<Message<'_>> for Prepared {
    fn from(message: Message<'_>) -> Self {
        Prepared::new(message)
    }
}

/// A text message.
impl From<&str> for Prepared {
    fn from(text: &str) -> Self {
        Prepared::new(Message::Text(text))
    }
}

impl From<&Prepared> for Prepared {
    fn from(prepared: &Prepared) -> Self {
        prepared.clone()
    }
}

impl Connection {
    /// Queues the compressed form if this connection compresses and that form is shorter. Returns
    /// whether it was queued.
    fn push_prepared_compressed(&mut self, prepared: &Prepared) -> bool {
        let Some(forms) = &prepared.forms else { return false };
        let Connection { deflate: Some(deflate), transmit_buffer, extra, config, role, .. } = self else {
            return false;
        };
        let form = deflate.prepared_form(prepared.payload_len(), *role, config);
        let Some(form) = form else { return false };
        let Some(encoded) = forms.get(prepared, form, deflate) else { return false };
        let buffer = TransmitBuffer::made(transmit_buffer);
        match Connection::mask_from(extra) {
            None => buffer.push_shared(&encoded.frame),
            mask => buffer.push_frame(true, RSV1, prepared.opcode(), encoded.payload(), mask),
        }
        deflate.note_sent(prepared.payload_len(), encoded.payload().len(), true);
        deflate.remember_prepared(prepared.plain.payload(), *role, config);
        true
    }
}

/// The compressed forms of a message.
#[derive(Debug, Default)]
pub(super) struct Forms(Mutex<Vec<Compressed>>);

#[derive(Debug)]
struct Compressed {
    form: Form,
    /// `None` if the compressed form is no shorter than the payload.
    encoded: Option<Encoded>,
}

impl Forms {
    fn has(&self, form: Form) -> bool {
        let forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forms.iter().any(|compressed| compressed.form == form)
    }

    /// Returns the message in `form`, and makes it on the first request. `None` if it is no shorter
    /// than the payload. Other threads that ask for a form wait meanwhile.
    fn get(&self, prepared: &Prepared, form: Form, deflate: &mut DeflateState) -> Option<Encoded> {
        // A form is added whole, so a thread that panicked with the lock left nothing half done.
        let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compressed) = forms.iter().find(|compressed| compressed.form == form) {
            return compressed.encoded.clone();
        }
        let payload = deflate.compress_prepared(prepared.plain.payload(), form);
        let encoded = (payload.len() < prepared.payload_len()).then(|| encode(prepared, payload));
        forms.push(Compressed { form, encoded: encoded.clone() });
        encoded
    }
}

fn encode(prepared: &Prepared, payload: &[u8]) -> Encoded {
    let header = Header {
        fin: true,
        rsv: RSV1,
        opcode: prepared.opcode(),
        mask: None,
        payload_len: payload.len() as u64,
    };
    let mut octets = [0; MAX_HEADER_LEN];
    let header_len = header.encode(&mut octets);
    Encoded { frame: [&octets[..header_len], payload].concat().into(), header_len }
}
