//! permessage-deflate on a connection (RFC 7692, sections 6 and 7): which frames are sent
//! compressed. Inflating is in `inflate`.
//!
//! In a build without the feature `deflate` no value of [`DeflateState`](crate::deflate) exists, so
//! this code never compresses.

use super::event::Message;
use super::send::opcode;
use super::{Connection, TransmitBuffer};
use crate::deflate::DeflateState;
use crate::frame::{OpCode, RSV1, Rules};

impl Connection {
    /// See [`DriverView::has_inflate_work`](super::DriverView::has_inflate_work).
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.deflate.as_ref().is_some_and(DeflateState::is_paused) && !self.is_closed()
    }

    /// The rules for the headers of received frames.
    #[inline]
    pub(super) fn rules(&self) -> Rules {
        let rules = Rules::for_receiver(self.role);
        if self.deflate.is_some() { Rules { rsv: RSV1, ..rules } } else { rules }
    }

    /// Queues a message compressed, if compression pays. Returns whether it was queued.
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

    /// Queues a fragment compressed, if its message is. Returns whether it was queued. The first
    /// fragment decides whether the message is compressed.
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
