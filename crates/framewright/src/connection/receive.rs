//! Inputs: receiving (RFC 6455, section 6.2), from bytes in a [`RecvBuffer`] to events; the end of
//! the transport, and the time.
//!
//! The fast path decodes an unfragmented message that lies whole in the buffer. Everything else is
//! decoded piece by piece: each piece is unmasked and checked while it is in cache, and joined to
//! the held payload of its message.

use super::closing::parse_close_body;
use super::config::Delivery;
use super::deadlines::Timer;
use super::event::{Decoded, Event, Message, UnresolvedEvent};
use super::recv_buffer::PayloadRange;
use super::{Connection, RecvBuffer, TransmitBuffer, utf8};
use crate::error::{Error, PeerMisbehaved};
use crate::frame::{Header, OpCode, Rules, SHORT_MASKED_LEN};
use crate::role::Role;
use framewright_simd::apply_mask;
use std::ops::Range;
use std::time::Instant;

/// The result of one pass of the decoder.
pub(super) enum DecodeOutcome {
    NeedMoreBytes,
    /// There is more to inflate, in the connection's next turn.
    Paused,
    /// The decoder made progress, but has no event yet.
    Again,
    Event(UnresolvedEvent),
}

/// # Inputs
///
/// Received bytes, the end of the transport, and the time.
impl Connection {
    /// Decodes the next event, its payload borrowed from `rx`. `None` means that more bytes are
    /// needed, or that the connection has ended and `Event::Closed` was delivered.
    ///
    /// Call it until it returns `None`, after any input. Bytes behind the end of a connection are
    /// dropped.
    //
    // The text of a whole frame is checked and borrowed in the same pass. Inlined where it is called:
    // a loop over messages is a fifth shorter then.
    #[inline(always)]
    pub fn next_event<'a>(&mut self, now: Instant, rx: &'a mut RecvBuffer) -> Option<Event<'a>> {
        let Some((opcode, range)) = self.whole_message(now, rx) else {
            // The usual end of a turn.
            if !rx.has_undecoded() && !self.is_closed() && !self.writable {
                return None;
            }
            return self.next_unresolved(now, rx).map(|event| event.resolve(rx));
        };
        let rx: &'a RecvBuffer = rx;
        let payload = rx.bytes(range);
        let message = if opcode == OpCode::Binary {
            Message::Binary(payload)
        } else if let Some(text) = utf8::whole(payload) {
            Message::Text(text)
        } else {
            self.fail_with(now, Error::Peer(PeerMisbehaved::InvalidUtf8));
            return self.pending_event();
        };
        self.count_received(message.len(), true);
        Some(Event::Message(message))
    }

    /// Decodes the next event without borrowing `rx`: the event refers to its payload by a range.
    ///
    /// For a caller that needs `rx` for something else before it turns the event into one of
    /// [`next_event`](Connection::next_event) with [`Decoded::resolve`].
    pub fn decode(&mut self, now: Instant, rx: &mut RecvBuffer) -> Option<Decoded> {
        let event = match self.whole_message(now, rx) {
            // The usual end of a turn.
            None if !rx.has_undecoded() && !self.is_closed() && !self.writable => return None,
            None => self.next_unresolved(now, rx)?,
            Some((OpCode::Text, range)) if utf8::whole(rx.bytes(range.clone())).is_none() => {
                self.fail_with(now, Error::Peer(PeerMisbehaved::InvalidUtf8));
                self.take_pending()?
            }
            Some((opcode, range)) => {
                self.count_received(range.len(), true);
                let payload = PayloadRange::received(range);
                if opcode == OpCode::Text {
                    UnresolvedEvent::Text(payload)
                } else {
                    UnresolvedEvent::Binary(payload)
                }
            }
        };
        Some(Decoded { event, stamp: rx.stamp() })
    }

    /// Notes that the peer has ended its direction of the transport, so that no more bytes will be
    /// received.
    ///
    /// Call it after decoding all bytes received before. The bytes queued are still transmitted,
    /// then [`Transmit::Shutdown`](super::Transmit::Shutdown) follows.
    pub fn handle_eof(&mut self, now: Instant) {
        self.transport_ended(now);
    }

    /// Notes that writing to the transport has failed: drops the bytes queued, and ends the
    /// connection unless it has ended.
    pub fn handle_transport_error(&mut self, now: Instant) {
        self.cut(now, Error::TransportLost);
    }

    /// Acts once on every deadline that has passed at `now`. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_all_deadlines(now);
    }
}

impl Connection {
    /// The fast path: takes a message in one frame that lies whole in the buffer. Returns its type,
    /// and the range of its payload, which is unmasked and not checked further.
    ///
    /// `None` for everything else, faults included: nothing is changed then, and
    /// [`next_unresolved`](Connection::next_unresolved) takes over.
    #[inline(always)]
    fn whole_message(&mut self, now: Instant, rx: &mut RecvBuffer) -> Option<(OpCode, Range<usize>)> {
        let config = &*self.config;
        if self.writable || self.is_closed() || rx.incoming.in_message || config.delivery != Delivery::Whole {
            return None;
        }
        let most = config.max_frame.min(config.max_message);
        let octets = rx.undecoded();
        let (opcode, header_len, payload_len, key) = match Header::parse_short_masked(octets) {
            Some((opcode, key, len)) if self.role == Role::Server => {
                (opcode, SHORT_MASKED_LEN, len, Some(key))
            }
            _ => {
                let (header, header_len) = Header::parse(octets, Rules::for_receiver(self.role)).ok()??;
                if !header.fin || !matches!(header.opcode, OpCode::Text | OpCode::Binary) {
                    return None;
                }
                (header.opcode, header_len, usize::try_from(header.payload_len).ok()?, header.mask)
            }
        };
        if payload_len > octets.len() - header_len || payload_len as u64 > most {
            return None;
        }
        self.frame_arrived(now);
        let range = rx.take_frame(header_len, payload_len);
        if let Some(key) = key {
            apply_mask(rx.bytes_mut(range.clone()), key, 0);
        }
        Some((opcode, range))
    }

    /// See [`DriverAccess::pending_event`](super::DriverAccess::pending_event).
    #[inline(never)]
    pub(super) fn pending_event(&mut self) -> Option<Event<'static>> {
        if std::mem::take(&mut self.writable) {
            return Some(Event::Writable);
        }
        self.report_closure().map(Event::Closed)
    }

    fn take_pending(&mut self) -> Option<UnresolvedEvent> {
        if std::mem::take(&mut self.writable) {
            return Some(UnresolvedEvent::Writable);
        }
        self.report_closure().map(UnresolvedEvent::Closed)
    }

    /// Decodes until there is an event; `None` if the received bytes give none.
    #[inline(never)]
    fn next_unresolved(&mut self, now: Instant, rx: &mut RecvBuffer) -> Option<UnresolvedEvent> {
        loop {
            if self.has_event() {
                return self.take_pending();
            }
            if self.is_closed() {
                self.note_rest(rx);
                rx.clear();
                return None;
            }
            let outcome = if rx.incoming.unfinished {
                Ok(self.inflate(now, rx))
            } else if rx.incoming.in_frame {
                Ok(self.piece(now, rx))
            } else {
                self.frame(now, rx)
            };
            match outcome {
                Ok(DecodeOutcome::NeedMoreBytes | DecodeOutcome::Paused) => return None,
                Ok(DecodeOutcome::Again) => {}
                Ok(DecodeOutcome::Event(event)) => return Some(event),
                Err(error) => {
                    self.fail_with(now, error);
                    self.note_rest(rx);
                    rx.clear();
                }
            }
        }
    }

    /// Takes the header of a data frame, or a whole control frame.
    fn frame(&mut self, now: Instant, rx: &mut RecvBuffer) -> Result<DecodeOutcome, Error> {
        let parsed = Header::parse(rx.undecoded(), self.rules()).map_err(Error::Peer)?;
        let Some((header, header_len)) = parsed else { return Ok(DecodeOutcome::NeedMoreBytes) };
        if header.opcode.is_control() {
            return self.control_frame(now, rx, &header, header_len);
        }
        rx.incoming.check(&header, &self.config)?;
        self.frame_arrived(now);
        rx.skip(header_len);
        if !rx.incoming.in_message {
            rx.incoming.settled = self.timers.arm_settled(Timer::Message, now, self.config.message_timeout);
        }
        rx.incoming.begin(&header);
        Ok(DecodeOutcome::Again)
    }

    /// Inside a data frame: takes the received bytes of its payload.
    fn piece(&mut self, now: Instant, rx: &mut RecvBuffer) -> DecodeOutcome {
        let count = usize::try_from(rx.incoming.remaining).unwrap_or(usize::MAX).min(rx.unread());
        if count == 0 && rx.incoming.remaining > 0 {
            return DecodeOutcome::NeedMoreBytes;
        }
        self.frame_arrived(now);
        if let Some(key) = rx.incoming.key {
            let phase = usize::from(rx.incoming.phase);
            let phase = apply_mask(rx.undecoded_mut(count), key, phase);
            rx.incoming.phase = u8::try_from(phase % 4).expect("a phase");
        }
        let piece = rx.hold(count);
        let incoming = &mut rx.incoming;
        incoming.remaining -= count as u64;
        // Many pieces of a large message arrive within one millisecond, in which the deadline stays
        // the same.
        if incoming.progresses(count, &self.config) && incoming.settled < Some(now) {
            incoming.settled = self.timers.arm_settled(Timer::Message, now, self.config.message_timeout);
        }
        incoming.in_frame = incoming.remaining > 0;
        let last = !incoming.in_frame && incoming.last_frame;
        if incoming.compressed {
            return self.inflate(now, rx);
        }
        if incoming.text {
            let checked = rx.check_text(&PayloadRange::received(piece));
            //= https://www.rfc-editor.org/rfc/rfc6455#section-8.1
            //# When an endpoint is to interpret a byte stream as UTF-8 but finds
            //# that the byte stream is not, in fact, a valid UTF-8 stream, that
            //# endpoint MUST _Fail the WebSocket Connection_.
            if checked.is_err() || (last && rx.incoming.utf8.finish().is_err()) {
                self.fail_with(now, Error::Peer(PeerMisbehaved::InvalidUtf8));
                return DecodeOutcome::Again;
            }
        }
        self.count_received(count, last);
        match self.config.delivery {
            Delivery::Whole if last => self.joined_message(rx),
            Delivery::Whole => DecodeOutcome::Again,
            Delivery::Chunks => self.chunk(rx, last),
        }
    }

    /// Delivers the message, all of whose fragments are held.
    fn joined_message(&mut self, rx: &mut RecvBuffer) -> DecodeOutcome {
        let text = rx.incoming.text;
        self.end_message(rx);
        let payload = PayloadRange::received(rx.release(rx.held().len()));
        DecodeOutcome::Event(if text {
            UnresolvedEvent::Text(payload)
        } else {
            UnresolvedEvent::Binary(payload)
        })
    }

    /// Delivers the held payload, except for an incomplete character at its end.
    fn chunk(&mut self, rx: &mut RecvBuffer, last: bool) -> DecodeOutcome {
        let text = rx.incoming.text;
        let first = !rx.incoming.chunk_delivered;
        let count = rx.held().len() - if text { rx.incoming.utf8.pending() } else { 0 };
        if count == 0 && !last {
            return DecodeOutcome::Again;
        }
        let payload = PayloadRange::received(rx.release(count));
        rx.incoming.chunk_delivered = true;
        if last {
            self.end_message(rx);
        }
        DecodeOutcome::Event(UnresolvedEvent::Chunk { text, payload, first, last })
    }

    pub(super) fn end_message(&mut self, rx: &mut RecvBuffer) {
        rx.incoming.end();
        self.timers.cancel(Timer::Message);
    }

    /// Takes a control frame, once the whole of it was received. It may come between the fragments
    /// of a message.
    fn control_frame(
        &mut self,
        now: Instant,
        rx: &mut RecvBuffer,
        header: &Header,
        header_len: usize,
    ) -> Result<DecodeOutcome, Error> {
        let payload_len = usize::try_from(header.payload_len).expect("at most 125");
        if rx.unread() < header_len + payload_len {
            return Ok(DecodeOutcome::NeedMoreBytes);
        }
        rx.skip(header_len);
        if let Some(key) = header.mask {
            apply_mask(rx.undecoded_mut(payload_len), key, 0);
        }
        let range = rx.take(payload_len);
        self.frame_arrived(now);
        Ok(match header.opcode {
            OpCode::Ping => {
                self.answer_ping(rx.bytes(range.clone()));
                DecodeOutcome::Event(UnresolvedEvent::Ping(range))
            }
            OpCode::Pong => {
                self.pong_arrived(now, rx.bytes(range.clone()));
                DecodeOutcome::Event(UnresolvedEvent::Pong(range))
            }
            _ => {
                let (code, reason) = parse_close_body(rx.bytes(range.clone())).map_err(Error::Peer)?;
                self.close_arrived(now, code, reason);
                let reason = range.end - reason.len()..range.end;
                DecodeOutcome::Event(UnresolvedEvent::CloseReceived { code, reason })
            }
        })
    }

    // After our own Close frame no Pong is sent. The sentence below allows that only once the
    // peer's Close was received; but a peer that gets our Close does not need the Pong.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.2
    //# Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
    //# response, unless it already received a Close frame.
    fn answer_ping(&mut self, data: &[u8]) {
        if self.is_open() {
            let extra = &mut self.extra;
            TransmitBuffer::made(&mut self.transmit_buffer).push_pong(data, || Connection::mask_from(extra));
            self.note_queued();
        }
    }
}
