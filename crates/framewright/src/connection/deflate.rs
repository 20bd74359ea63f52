//! permessage-deflate on a connection (RFC 7692, sections 6 and 7): what its driver lends it, and
//! which frames are sent compressed. Inflating is in `inflate`.
//!
//! In a build without the feature `deflate` there is no [`DeflateState`](crate::deflate), so that
//! none of this ever happens.

use super::event::Message;
use super::send::opcode;
use super::{Connection, TransmitBuffer};
use crate::deflate::{Codec, DeflateParams, DeflateState, Reservation};
use crate::frame::{OpCode, RSV1, Rules};

impl Connection {
    /// What the opening handshake has agreed on for permessage-deflate, if it has.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate.as_ref().map(DeflateState::params)
    }

    /// Whether permessage-deflate was agreed on, so that there is use for a codec.
    #[inline]
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.deflate.is_some()
    }

    /// Lends the compressors and decompressors that the connections of an event loop share, for one
    /// turn: until [`reclaim_codec`](Connection::reclaim_codec). It comes back at once if this
    /// connection does not compress, or was lent one.
    ///
    /// A connection that is lent none makes its own when it needs it, and keeps it until it is lent
    /// one.
    pub fn lend_codec(&mut self, codec: Box<Codec>) -> Option<Box<Codec>> {
        match &mut self.deflate {
            Some(deflate) => deflate.lend(codec),
            None => Some(codec),
        }
    }

    /// Takes the codec back; `None` if none was lent.
    pub fn reclaim_codec(&mut self) -> Option<Box<Codec>> {
        self.deflate.as_mut()?.reclaim()
    }

    /// Frees the compressor and the decompressor that the connection has made for itself, if it
    /// has: the next message that needs them makes them anew. Not in the middle of a message that
    /// is being received.
    pub fn free_codec(&mut self) {
        if let Some(deflate) = &mut self.deflate {
            deflate.free_own();
        }
    }

    /// Keeps the reservation of what context takeover may cost (`DeflateParams::takeover_size`) as
    /// long as the connection lives. Dropped at once if permessage-deflate was not agreed on.
    pub fn hold_reservation(&mut self, reservation: Reservation) {
        if let Some(deflate) = &mut self.deflate {
            deflate.hold_reservation(reservation);
        }
    }

    /// Whether decoding has stopped in the middle of a compressed message for the sake of the other
    /// connections of the event loop: it goes on when it is called in the next turn, though nothing
    /// has arrived. Only with a codec that was lent.
    #[inline]
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.deflate.as_ref().is_some_and(DeflateState::is_paused) && !self.is_closed()
    }

    /// The rules for the headers of received frames.
    #[inline]
    pub(super) fn rules(&self) -> Rules {
        let rules = Rules::for_receiver(self.role);
        if self.deflate.is_some() { Rules { rsv: RSV1, ..rules } } else { rules }
    }

    /// Queues a message compressed, if that is worth it: whether it was.
    #[inline]
    pub(super) fn push_compressed(&mut self, message: Message<'_>) -> bool {
        self.deflate.is_some() && self.try_compressed(message)
    }

    #[inline(never)]
    fn try_compressed(&mut self, message: Message<'_>) -> bool {
        let Connection { deflate: Some(deflate), transmit_buffer, extra, config, role, .. } = self else {
            return false;
        };
        let data = message.as_bytes();
        let Some(payload) = deflate.compress_message(data, *role, config) else { return false };
        let len = payload.len();
        //= https://www.rfc-editor.org/rfc/rfc7692#section-6.1
        //# Set the "Per-Message Compressed" bit of the first frame to 1.
        TransmitBuffer::made(transmit_buffer).push_frame(
            true,
            RSV1,
            opcode(message),
            payload,
            Connection::mask_from(extra),
        );
        deflate.note_sent(data.len(), len, true);
        deflate.remember(data, *role, config);
        true
    }

    /// Queues a fragment of a compressed message, if it is one of such a message: whether it is.
    /// The first one decides.
    pub(super) fn push_compressed_fragment(&mut self, opcode: OpCode, data: Message<'_>, last: bool) -> bool {
        let Connection { deflate: Some(deflate), transmit_buffer, extra, config, role, .. } = self else {
            return false;
        };
        let data = data.as_bytes();
        let first = opcode != OpCode::Continuation;
        let Some(payload) = deflate.compress_fragment(data, first, last, *role, config) else { return false };
        let len = payload.len();
        //= https://www.rfc-editor.org/rfc/rfc7692#section-6.1
        //# An endpoint MUST NOT set the "Per-Message Compressed"
        //# bit of control frames and non-first fragments of a data message.
        TransmitBuffer::made(transmit_buffer).push_frame(
            last,
            if first { RSV1 } else { 0 },
            opcode,
            payload,
            Connection::mask_from(extra),
        );
        deflate.note_sent(data.len(), len, last);
        if !data.is_empty() {
            deflate.remember(data, *role, config);
        }
        true
    }
}
