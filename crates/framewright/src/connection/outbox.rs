//! Where a connection's outgoing octets are: in a [`TransmitBuffer`] that was lent or made when the first were queued, or
//! nowhere, since none wait.

use super::transmit_buffer::TransmitBuffer;
use crate::frame::{Header, OpCode};
use std::io::IoSlice;
use std::sync::Arc;

/// The outgoing octets of one connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    buffer: Option<Box<TransmitBuffer>>,
}

impl Outbox {
    /// Octets that wait to be sent.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// See [`TransmitBuffer::push`].
    pub(super) fn push(&mut self, fin: bool, opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) {
        self.buffer_mut().push(fin, opcode, payload, mask);
    }

    /// See [`TransmitBuffer::push_frame`].
    pub(super) fn push_frame(
        &mut self,
        fin: bool,
        rsv: u8,
        opcode: OpCode,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) {
        self.buffer_mut().push_frame(fin, rsv, opcode, payload, mask);
    }

    /// See [`TransmitBuffer::push_message`].
    #[inline]
    pub(super) fn push_message(&mut self, opcode: OpCode, payload: &[u8]) {
        self.buffer_mut().push_message(opcode, payload);
    }

    /// See [`TransmitBuffer::push_shared`].
    pub(super) fn push_shared(&mut self, frame: &Arc<[u8]>) {
        self.buffer_mut().push_shared(frame);
    }

    /// See [`TransmitBuffer::push_owned`].
    pub(super) fn push_owned(&mut self, header: &Header, payload: Vec<u8>) {
        self.buffer_mut().push_owned(header, payload);
    }

    /// See [`TransmitBuffer::push_through`].
    pub(super) fn push_through(
        &mut self,
        header: &Header,
        payload: &[u8],
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) {
        self.buffer_mut().push_through(header, payload, write);
    }

    /// See [`TransmitBuffer::push_pong`].
    pub(super) fn push_pong(&mut self, data: &[u8], mask: impl FnOnce() -> Option<[u8; 4]>) {
        self.buffer_mut().push_pong(data, mask);
    }

    /// See [`TransmitBuffer::release_pong`].
    #[inline]
    pub(super) fn release_pong(&mut self, mask: impl FnOnce() -> Option<[u8; 4]>) -> bool {
        match &mut self.buffer {
            Some(buffer) if buffer.holds_pong() => {
                buffer.release_pong(mask);
                true
            }
            _ => false,
        }
    }

    /// Drops the Pong of the slot: nothing may follow a Close.
    pub(super) fn drop_pong(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.drop_pong();
        }
    }

    /// See [`TransmitBuffer::slices`].
    #[inline]
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> (usize, usize) {
        self.buffer.as_ref().map_or((0, 0), |buffer| buffer.slices(slices))
    }

    /// Notes that this many octets have been transmitted; whether that, or anything since the last call, was any.
    ///
    /// # Panics
    /// If not so many wait.
    #[inline]
    pub(super) fn advance(&mut self, count: usize) -> bool {
        match &mut self.buffer {
            Some(buffer) => {
                buffer.advance(count);
                buffer.has_progressed()
            }
            None => {
                assert!(count == 0, "octets transmitted, and none wait");
                false
            }
        }
    }

    /// Drops everything that waits.
    pub(super) fn discard(&mut self) {
        self.buffer = None;
    }

    /// Takes a buffer to encode into, unless there is one: then it is returned.
    #[inline]
    pub(super) fn lend(&mut self, buffer: Box<TransmitBuffer>) -> Option<Box<TransmitBuffer>> {
        if self.buffer.is_some() {
            return Some(buffer);
        }
        self.buffer = Some(buffer);
        None
    }

    /// Gives the buffer back once nothing waits in it.
    #[inline]
    pub(super) fn reclaim(&mut self) -> Option<Box<TransmitBuffer>> {
        if self.buffer.as_ref().is_some_and(|buffer| buffer.is_empty()) { self.buffer.take() } else { None }
    }

    #[inline]
    fn buffer_mut(&mut self) -> &mut TransmitBuffer {
        self.buffer.get_or_insert_with(new_buffer)
    }
}

/// For a connection that was lent none.
#[cold]
fn new_buffer() -> Box<TransmitBuffer> {
    Box::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_and_reclaimed_when_nothing_waits() {
        let mut outbox = Outbox::default();
        assert!(outbox.lend(Box::new(TransmitBuffer::with_capacity(100))).is_none());
        assert!(outbox.lend(Box::new(TransmitBuffer::with_capacity(50))).is_some(), "one is enough");
        outbox.push(true, OpCode::Text, b"x", None);
        assert!(outbox.reclaim().is_none());
        outbox.advance(3);
        assert_eq!(outbox.reclaim().map(|buffer| buffer.capacity()), Some(100));
        assert!(outbox.reclaim().is_none());
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn without_a_lent_buffer_one_is_made() {
        let mut outbox = Outbox::default();
        outbox.push(true, OpCode::Text, b"x", None);
        assert_eq!(outbox.len(), 3);
        outbox.advance(3);
        assert!(outbox.reclaim().is_some());
    }
}
