//! The methods for drivers that serve many connections, or read and write on two threads. They lend
//! buffers and codecs, handle deadlines by kind, and tell how many bytes a failed peer has yet to
//! send.

use super::batch::{Batch, BatchRefused, BatchSent};
use super::{Connection, Event, Message, RecvBuffer, TransmitBuffer};
use crate::deflate::{Codec, Reservation};
use crate::error::{Error, LimitExceeded, SendError};
use crate::role::Role;
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// The commands of a connection that only a driver needs. From [`Connection::driver`].
///
/// | for a driver that | methods |
/// |---|---|
/// | lends its buffers | [`lend_transmit_buffer`](Self::lend_transmit_buffer), [`reclaim_transmit_buffer`](Self::reclaim_transmit_buffer) |
/// | lends what compresses | [`lend_codec`](Self::lend_codec), [`reclaim_codec`](Self::reclaim_codec), [`yield_inflater`](Self::yield_inflater), [`release_inflater`](Self::release_inflater), [`set_deflate_reservation`](Self::set_deflate_reservation), [`free_codec`](Self::free_codec) |
/// | writes long payloads without a copy | [`send_with_writer`](Self::send_with_writer), [`send_fragment_with_writer`](Self::send_fragment_with_writer) |
/// | sends the same messages on many connections | [`send_batch`](Self::send_batch) |
/// | hands over events apart from what has arrived | [`pending_event`](Self::pending_event) |
/// | reads and writes on two threads | [`handle_send_timeout`](Self::handle_send_timeout) |
/// | works only while its application calls it | [`extend_idle_deadline`](Self::extend_idle_deadline) |
/// | decodes only while its application receives | [`handle_timeout_unread`](Self::handle_timeout_unread) |
/// | bounds what all connections hold | [`fail_for_memory`](Self::fail_for_memory) |
/// | lingers after an end that is not clean | [`note_rest`](Self::note_rest), [`note_dropped`](Self::note_dropped) |
///
/// The getters for drivers are in [`DriverView`].
#[derive(Debug)]
pub struct DriverAccess<'a>(&'a mut Connection);

/// The getters of a connection that only a driver needs. From [`Connection::driver_view`].
#[derive(Clone, Copy, Debug)]
pub struct DriverView<'a>(&'a Connection);

/// # For drivers
impl Connection {
    /// Borrows the connection for the commands that only a driver needs, such as lending buffers
    /// and codecs. A driver of one connection at a time does not need them.
    #[inline]
    pub fn driver(&mut self) -> DriverAccess<'_> {
        DriverAccess(self)
    }

    /// Borrows the connection for the getters that only a driver needs.
    #[inline]
    #[must_use]
    pub fn driver_view(&self) -> DriverView<'_> {
        DriverView(self)
    }
}

/// # Buffers and codecs that are lent
impl DriverAccess<'_> {
    /// Lends a buffer for outgoing bytes, so that a connection at rest needs to hold none. If the
    /// connection has a buffer already, it returns `buffer` unused.
    #[inline]
    pub fn lend_transmit_buffer(&mut self, buffer: Box<TransmitBuffer>) -> Option<Box<TransmitBuffer>> {
        if self.0.transmit_buffer.is_some() {
            return Some(buffer);
        }
        self.0.transmit_buffer = Some(buffer);
        None
    }

    /// Takes the buffer for outgoing bytes from the connection, lent or not. `None` while bytes are
    /// queued in it, or if there is none.
    #[inline]
    pub fn reclaim_transmit_buffer(&mut self) -> Option<Box<TransmitBuffer>> {
        self.0.transmit_buffer.take_if(|buffer| buffer.is_empty())
    }

    /// Lends the compressors and decompressors that the connections of an event loop share, for one
    /// turn: until [`reclaim_codec`](Self::reclaim_codec). Returns `codec` at once if this
    /// connection does not compress, or has a lent codec already.
    ///
    /// A connection without a lent codec makes its own when it needs one, and keeps it until a
    /// codec is lent.
    pub fn lend_codec(&mut self, codec: Box<Codec>) -> Option<Box<Codec>> {
        match &mut self.0.deflate {
            Some(deflate) => deflate.lend(codec),
            None => Some(codec),
        }
    }

    /// Takes back the codec that was lent; `None` if none was.
    pub fn reclaim_codec(&mut self) -> Option<Box<Codec>> {
        self.0.deflate.as_mut()?.reclaim()
    }

    /// Frees the compressor and the decompressor that the connection made for itself, if any. The
    /// next message that needs them makes them anew. Do not call it in the middle of a message that
    /// is being received.
    pub fn free_codec(&mut self) {
        if let Some(deflate) = &mut self.0.deflate {
            deflate.free_own();
        }
    }

    /// Keeps the reservation of the memory that context takeover may use
    /// (`DeflateParams::takeover_size`) as long as the connection lives. If permessage-deflate was
    /// not negotiated, the reservation is dropped at once.
    pub fn set_deflate_reservation(&mut self, reservation: Reservation) {
        if let Some(deflate) = &mut self.0.deflate {
            deflate.hold_reservation(reservation);
        }
    }

    /// Makes a message that is being inflated give up the shared decompressor, while backpressure
    /// stops decoding with bytes left in `rx`. Returns whether the connection was failed.
    ///
    /// For drivers that lend a codec, while [`wants_read`](Connection::wants_read) is false. The
    /// message must not keep the decompressor that other connections wait for. If there is no
    /// memory for a decompressor of its own, the connection fails with 1013.
    pub fn yield_inflater(&mut self, now: Instant, rx: &mut RecvBuffer) -> bool {
        let fails = self.release_inflater(now, rx);
        if fails {
            rx.clear();
        }
        fails
    }

    /// Makes a message that is being inflated give up the shared decompressor, as
    /// [`yield_inflater`](Self::yield_inflater) does, but leaves the bytes in `rx`: an application may
    /// still hold an event of them.
    ///
    /// For drivers whose connections are not run in turn, so that nobody knows when this message goes
    /// on.
    pub fn release_inflater(&mut self, now: Instant, rx: &mut RecvBuffer) -> bool {
        let connection = &mut *self.0;
        let Some(inflater) = &mut rx.incoming.inflater else { return false };
        if connection.deflate.as_ref().is_none_or(|deflate| deflate.lets_go(inflater)) {
            return false;
        }
        connection.give_back_inflater(now, rx);
        connection.fail_with(now, Error::Limit(LimitExceeded::DeflateMemory));
        connection.note_rest(rx);
        true
    }
}

/// # Sending, events and deadlines
impl DriverAccess<'_> {
    /// Sends a message through `write`, so that a server copies only the bytes of its payload that
    /// `write` does not take.
    ///
    /// `write` gets the bytes queued and the payload behind them, and returns the number of bytes
    /// it took, 0 if none. A client, which has to mask, copies the payload and does not call
    /// `write`. A message that is compressed is shorter, and is copied too.
    ///
    /// Afterwards the driver calls [`transmitted`](Connection::transmitted) with 0 bytes, as after
    /// any write that took fewer bytes than it was offered.
    ///
    /// # Errors
    /// Those of [`send`](Connection::send); `write` was not called then.
    pub fn send_with_writer(
        &mut self,
        message: Message<'_>,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) -> Result<(), SendError> {
        match self.0.role {
            Role::Client => self.0.send(message),
            Role::Server => self.0.send_through(message, write),
        }
    }

    /// Queues a message as [`send`](Connection::send) does, even if the queue has reached
    /// [`Config::high_water`](crate::Config::high_water).
    ///
    /// For a driver that has promised its application room for one message: a Pong may have taken
    /// that room since.
    ///
    /// # Errors
    /// Those of [`send`](Connection::send), but never [`SendError::Full`].
    pub fn send_past_mark(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.0.send_past_mark(message)
    }

    /// Sends a fragment through `write`, as [`send_with_writer`](Self::send_with_writer) sends a
    /// message.
    ///
    /// # Errors
    /// Those of [`send_fragment`](Connection::send_fragment); `write` was not called then.
    pub fn send_fragment_with_writer(
        &mut self,
        data: Message<'_>,
        last: bool,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) -> Result<(), SendError> {
        match self.0.role {
            Role::Client => self.0.send_fragment(data, last),
            Role::Server => self.0.send_fragment_through(data, last, write),
        }
    }

    /// Sends the messages of `batch` through `write`, without a buffer: for a connection that has
    /// nothing else to send, and a driver that sends the same messages on many of them.
    ///
    /// `write` gets the frames of all messages, and returns the number of bytes it took, 0 if none.
    /// The other bytes are queued.
    ///
    /// # Errors
    /// [`BatchRefused`]: nothing was sent, and `write` was not called.
    #[inline]
    pub fn send_batch(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        write: impl FnOnce(&[u8]) -> usize,
    ) -> Result<BatchSent, BatchRefused> {
        self.0.send_batch(now, batch, write)
    }

    /// The next event that needs no received bytes: [`Event::Writable`] or [`Event::Closed`].
    ///
    /// [`next_event`](Connection::next_event) returns the same event for an empty buffer. `None` if
    /// [`has_event`](Connection::has_event) is false.
    #[inline]
    pub fn pending_event(&mut self) -> Option<Event<'static>> {
        self.0.pending_event()
    }

    /// Acts on the deadlines of sending only: keep-alive Pings, and a peer that takes no bytes.
    ///
    /// For a thread that only writes, beside a thread that reads and knows whether the peer is
    /// silent.
    pub fn handle_send_timeout(&mut self, now: Instant) {
        self.0.handle_send_deadlines(now);
    }

    /// Acts on the deadlines that have passed while the application does not receive: received bytes
    /// may wait undecoded, so the deadlines that depend on them start anew.
    ///
    /// For a driver that decodes only when its application asks for an event. If nothing was received
    /// since the last event, [`handle_timeout`](Connection::handle_timeout) is right.
    pub fn handle_timeout_unread(&mut self, now: Instant) {
        self.0.handle_deadlines_unread(now);
    }

    /// Extends the idle deadline ([`Config::idle_timeout`](super::Config::idle_timeout)) by `away`,
    /// the time during which the driver was not running and so sent nothing the peer could answer.
    /// Whole milliseconds count.
    ///
    /// For a driver that runs only while its application calls it. The other deadlines stay: a Pong
    /// or the rest of a message that arrived meanwhile is decoded before the deadlines are checked.
    pub fn extend_idle_deadline(&mut self, away: Duration) {
        self.0.put_idle_off(away);
    }
}

/// # The end
impl DriverAccess<'_> {
    /// *Fails the connection* (RFC 6455, section 7.1.7) because it holds memory that others need:
    /// with 1013 and [`LimitExceeded::Memory`].
    ///
    /// For a driver that bounds the memory of all its connections. The bytes queued are still
    /// transmitted before the Close frame.
    pub fn fail_for_memory(&mut self, now: Instant) {
        self.0.fail_with(now, Error::Limit(LimitExceeded::Memory));
    }

    /// Notes how many bytes are missing of the frame in which the connection has ended. `rx` is the
    /// buffer that the driver is about to drop.
    ///
    /// For a driver whose connection has ended by a deadline or a command, and not by decoding.
    pub fn note_rest(&mut self, rx: &RecvBuffer) {
        self.0.note_rest(rx);
    }

    /// Notes `octets` bytes that were received after the connection ended, and dropped.
    pub fn note_dropped(&mut self, octets: u64) {
        self.0.note_dropped(octets);
    }
}

impl DriverView<'_> {
    /// Whether permessage-deflate was negotiated, so that the connection can use a codec.
    #[inline]
    #[must_use]
    pub fn compresses(self) -> bool {
        self.0.deflate.is_some()
    }

    /// Whether [`poll_transmit`](Connection::poll_transmit) may return anything but
    /// [`Transmit::Idle`](super::Transmit::Idle).
    #[inline]
    #[must_use]
    pub fn has_output(self) -> bool {
        self.0.is_closed() || self.0.transmit_buffer.as_ref().is_some_and(|buffer| !buffer.is_empty())
    }

    /// Whether decoding has stopped in the middle of a compressed message, to leave time to the
    /// other connections of the event loop.
    ///
    /// Decoding goes on when it is called in the next turn, even if no bytes were received. Only
    /// with a lent codec.
    #[inline]
    #[must_use]
    pub fn has_inflate_work(self) -> bool {
        self.0.is_paused()
    }

    /// When to call [`DriverAccess::handle_send_timeout`] at the latest; `None` if no deadline is
    /// set.
    #[must_use]
    pub fn poll_send_timeout(self) -> Option<Instant> {
        self.0.next_send_deadline()
    }

    /// When the peer will have taken no bytes for
    /// [`Config::write_timeout`](super::Config::write_timeout); `None` if this deadline is not set.
    ///
    /// It is one of the deadlines of [`handle_timeout`](Connection::handle_timeout). A driver that
    /// prefers to read the bytes received first reports all bytes as transmitted instead, and stops
    /// writing to the transport.
    #[must_use]
    pub fn poll_write_timeout(self) -> Option<Instant> {
        self.0.next_write_deadline()
    }

    /// Whether the transport is to be ended once all queued bytes are transmitted: nothing follows
    /// them, and [`Transmit::Shutdown`](super::Transmit::Shutdown) comes next.
    #[inline]
    #[must_use]
    pub fn ends_when_transmitted(self) -> bool {
        self.0.wants_shutdown()
    }

    /// The memory allocated for outgoing bytes, queued ones and spare room, in bytes.
    ///
    /// A frame that several connections send ([`Prepared`](super::Prepared)) is divided among those
    /// that still hold it.
    #[inline]
    #[must_use]
    pub fn allocated(self) -> usize {
        self.0.transmit_buffer.as_ref().map_or(0, |buffer| buffer.allocated())
    }

    /// The announced bytes of the frame in which the connection ended that were not received by
    /// then. 0 if the whole frame was received, or if its length was not.
    ///
    /// A driver that closes a transport on which the peer is still sending resets it, and the peer
    /// may not read our Close frame (section 7.1.1). So the driver first reads that many bytes, and
    /// drops them.
    #[must_use]
    pub fn unreceived(self) -> u64 {
        self.0.unreceived()
    }
}
