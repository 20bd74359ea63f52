//! Commands: what an application sends (RFC 6455, section 6.1). Checked first, so that a refused one has queued nothing.

use super::Connection;
use super::event::Message;
use super::state::State;
use crate::error::SendError;
use crate::frame::{CloseCode, Header, MAX_CLOSE_REASON, MAX_CONTROL_PAYLOAD, OpCode};
use crate::role::Role;
use std::io::IoSlice;

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

    /// Queues a message as a single frame. The payload is copied once, and masked in that pass by a client. Where
    /// permessage-deflate was agreed on and it pays, it is compressed: see `DeflateConfig`.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::FragmentInProgress`]: nothing was queued.
    #[inline]
    pub fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.check_message()?;
        if !self.push_compressed(message) {
            self.push_plain(message);
        }
        self.count_sent(message.len(), true);
        self.note_queued();
        Ok(())
    }

    /// The same, as it is, whatever was agreed on: for what does not compress, and for secrets next to what a stranger chose, of
    /// which the length of a compressed message would tell (RFC 7692, section 8).
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

    #[inline]
    fn push_plain(&mut self, message: Message<'_>) {
        match self.role {
            Role::Server => self.outbox.push_message(opcode(message), message.as_bytes()),
            Role::Client => self.push_masked(opcode(message), message.as_bytes()),
        }
    }

    /// The same, for payloads worth not copying: a server shows everything that waits, and the payload behind it, to
    /// `write`, and copies only what that does not take. `write` returns how many octets it took, 0 if none. A client,
    /// which has to mask, copies and does not call `write`; a message that is compressed is shorter, and copied too.
    ///
    /// After it the driver calls [`transmitted`](Connection::transmitted) with 0 octets, as after any write that took less
    /// than it was offered.
    ///
    /// # Errors
    /// Those of [`send`](Connection::send); `write` was not called then.
    pub fn send_through(
        &mut self,
        message: Message<'_>,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) -> Result<(), SendError> {
        if self.role == Role::Client {
            return self.send(message);
        }
        self.check_message()?;
        if self.push_compressed(message) {
            self.count_sent(message.len(), true);
            self.note_queued();
        } else {
            self.push_through(true, opcode(message), message, write);
        }
        Ok(())
    }

    /// Queues one fragment of a message (section 5.4), the last one with `last`. All fragments of a message are of one type,
    /// so a text is cut between characters. Control frames may be sent in between, other messages may not.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::FragmentType`]: nothing was queued.
    pub fn send_fragment(&mut self, data: Message<'_>, last: bool) -> Result<(), SendError> {
        let opcode = self.fragment_opcode(data)?;
        if !self.push_compressed_fragment(opcode, data, last) {
            let mask = self.next_mask();
            self.outbox.push(last, opcode, data.as_bytes(), mask);
        }
        self.outgoing_text = if last { None } else { Some(data.is_text()) };
        self.count_sent(data.len(), last);
        self.note_queued();
        Ok(())
    }

    /// [`send_fragment`](Connection::send_fragment), for payloads worth not copying, as
    /// [`send_through`](Connection::send_through) is for whole messages.
    ///
    /// # Errors
    /// Those of [`send_fragment`](Connection::send_fragment); `write` was not called then.
    pub fn send_fragment_through(
        &mut self,
        data: Message<'_>,
        last: bool,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) -> Result<(), SendError> {
        if self.role == Role::Client {
            return self.send_fragment(data, last);
        }
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
        self.outbox.push_through(&header, payload, write);
        self.count_sent(payload.len(), fin);
        self.note_queued();
    }

    /// Checks that this fragment may be sent now. Should queueing it panic, it is as if nobody had asked.
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

    /// Queues a Ping with this application data, at most 125 octets.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::ControlTooLong`]: nothing was queued.
    pub fn ping(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.control(OpCode::Ping, data)
    }

    /// Queues an unsolicited Pong (section 5.5.3), at most 125 octets. Pings are answered without this.
    ///
    /// # Errors
    /// Those of [`ping`](Connection::ping).
    pub fn pong(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.control(OpCode::Pong, data)
    }

    /// Starts the closing handshake: queues a Close frame behind what waits. Messages are still received until the peer's
    /// Close arrives. `code` is `None` for a frame without a body, which has no reason either.
    ///
    /// # Errors
    /// [`SendError::Closed`] if a Close frame was queued before; [`SendError::CloseReason`] if the reason has more than 123
    /// octets or there is no code to go with it. Never `Full`.
    pub fn close(&mut self, code: Option<CloseCode>, reason: &str) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        if reason.len() > MAX_CLOSE_REASON || (code.is_none() && !reason.is_empty()) {
            return Err(SendError::CloseReason);
        }
        self.queue_close(code, reason);
        self.state = State::Closing;
        Ok(())
    }

    #[inline(never)]
    fn push_masked(&mut self, opcode: OpCode, payload: &[u8]) {
        let mask = self.next_mask();
        self.outbox.push(true, opcode, payload, mask);
    }

    fn control(&mut self, opcode: OpCode, data: &[u8]) -> Result<(), SendError> {
        if data.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::ControlTooLong);
        }
        self.check_room()?;
        let mask = self.next_mask();
        self.outbox.push(true, opcode, data, mask);
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
        if self.state != State::Open {
            Err(SendError::Closed)
        } else if self.is_full() {
            Err(SendError::Full)
        } else {
            Ok(())
        }
    }

    /// Notes that a frame was queued in `Open`: whoever finds no room from now on is owed an `Event::Writable`.
    #[inline]
    pub(super) fn note_queued(&mut self) {
        self.congested |= self.is_full();
    }

    /// Whether as much waits as may. With a mark of zero nothing could ever be sent, so it counts as one.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.outbox.len() >= self.config.high_water.max(1)
    }
}

pub(super) fn opcode(message: Message<'_>) -> OpCode {
    if message.is_text() { OpCode::Text } else { OpCode::Binary }
}
