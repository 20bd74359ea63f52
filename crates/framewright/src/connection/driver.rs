//! What only a driver needs that serves many connections, or reads and writes on two threads:
//! buffers and codecs that are lent, deadlines by kind, and what is known of a peer that failed.

use super::{Connection, Event, Message, RecvBuffer, TransmitBuffer};
use crate::deflate::{Codec, Reservation};
use crate::error::{Error, LimitExceeded, SendError};
use crate::role::Role;
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// What only a driver needs of its connection. From [`Connection::driver`].
///
/// | for a driver that | methods |
/// |---|---|
/// | lends its buffers | [`lend_transmit_buffer`](Self::lend_transmit_buffer), [`reclaim_transmit_buffer`](Self::reclaim_transmit_buffer) |
/// | lends what compresses | [`lend_codec`](Self::lend_codec), [`reclaim_codec`](Self::reclaim_codec), [`yield_inflater`](Self::yield_inflater), [`set_deflate_reservation`](Self::set_deflate_reservation), [`free_codec`](Self::free_codec) |
/// | writes long payloads without a copy | [`send_with_writer`](Self::send_with_writer), [`send_fragment_with_writer`](Self::send_fragment_with_writer) |
/// | hands over events apart from what has arrived | [`pending_event`](Self::pending_event) |
/// | reads and writes on two threads | [`handle_send_timeout`](Self::handle_send_timeout) |
/// | works only while its application calls it | [`extend_idle_deadline`](Self::extend_idle_deadline) |
/// | bounds what all connections hold | [`fail_for_memory`](Self::fail_for_memory) |
/// | lingers after an end that is not clean | [`note_rest`](Self::note_rest), [`note_dropped`](Self::note_dropped) |
///
/// What it only asks is in [`DriverView`].
#[derive(Debug)]
pub struct DriverAccess<'a>(&'a mut Connection);

/// What only a driver asks of its connection. From [`Connection::driver_view`].
#[derive(Clone, Copy, Debug)]
pub struct DriverView<'a>(&'a Connection);

/// # For drivers
impl Connection {
    /// What only a driver needs: buffers and codecs to lend, deadlines by kind, and the like. A
    /// driver for one connection at a time does without.
    #[inline]
    pub fn driver(&mut self) -> DriverAccess<'_> {
        DriverAccess(self)
    }

    /// What only a driver asks.
    #[inline]
    #[must_use]
    pub fn driver_view(&self) -> DriverView<'_> {
        DriverView(self)
    }
}

/// # Buffers and codecs that are lent
impl DriverAccess<'_> {
    /// Lends a buffer for outgoing octets, so that a connection at rest holds none: it is used
    /// unless the connection has one, in which case it comes back.
    #[inline]
    pub fn lend_transmit_buffer(&mut self, buffer: Box<TransmitBuffer>) -> Option<Box<TransmitBuffer>> {
        if self.0.transmit_buffer.is_some() {
            return Some(buffer);
        }
        self.0.transmit_buffer = Some(buffer);
        None
    }

    /// Takes the buffer for outgoing octets back, lent or not; `None` while something waits in it,
    /// or if there is none.
    #[inline]
    pub fn reclaim_transmit_buffer(&mut self) -> Option<Box<TransmitBuffer>> {
        self.0.transmit_buffer.take_if(|buffer| buffer.is_empty())
    }

    /// Lends the compressors and decompressors that the connections of an event loop share, for one
    /// turn: until [`reclaim_codec`](Self::reclaim_codec). It comes back at once if this connection
    /// does not compress, or was lent one.
    ///
    /// A connection that is lent none makes its own when it needs it, and keeps it until it is lent
    /// one.
    pub fn lend_codec(&mut self, codec: Box<Codec>) -> Option<Box<Codec>> {
        match &mut self.0.deflate {
            Some(deflate) => deflate.lend(codec),
            None => Some(codec),
        }
    }

    /// Takes the codec back; `None` if none was lent.
    pub fn reclaim_codec(&mut self) -> Option<Box<Codec>> {
        self.0.deflate.as_mut()?.reclaim()
    }

    /// Frees the compressor and the decompressor that the connection has made for itself, if it
    /// has: the next message that needs them makes them anew. Not in the middle of a message that
    /// is being received.
    pub fn free_codec(&mut self) {
        if let Some(deflate) = &mut self.0.deflate {
            deflate.free_own();
        }
    }

    /// Keeps the reservation of what context takeover may cost (`DeflateParams::takeover_size`) as
    /// long as the connection lives. Dropped at once if permessage-deflate was not negotiated.
    pub fn set_deflate_reservation(&mut self, reservation: Reservation) {
        if let Some(deflate) = &mut self.0.deflate {
            deflate.hold_reservation(reservation);
        }
    }

    /// Says that decoding has stopped with something left in `rx`, until the peer has read:
    /// [`wants_read`](Connection::wants_read) is false. A message that is being inflated must not
    /// keep the decompressor that others wait for then; where there is no memory for one of its
    /// own, the connection is failed with 1013. Whether it was.
    ///
    /// For drivers that lend a codec.
    pub fn yield_inflater(&mut self, now: Instant, rx: &mut RecvBuffer) -> bool {
        let connection = &mut *self.0;
        let Some(inflater) = &mut rx.incoming.inflater else { return false };
        if connection.deflate.as_ref().is_none_or(|deflate| deflate.lets_go(inflater)) {
            return false;
        }
        connection.give_back_inflater(now, rx);
        connection.fail_with(now, Error::Limit(LimitExceeded::DeflateMemory));
        connection.note_rest(rx);
        rx.clear();
        true
    }
}

/// # Sending, events and deadlines
impl DriverAccess<'_> {
    /// Sends a message whose payload is worth not copying: a server shows everything that waits,
    /// and the payload behind it, to `write`, and copies only what that does not take. `write`
    /// returns how many octets it took, 0 if none. A client, which has to mask, copies and does not
    /// call `write`; a message that is compressed is shorter, and copied too.
    ///
    /// After it the driver calls [`transmitted`](Connection::transmitted) with 0 octets, as after
    /// any write that took less than it was offered.
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

    /// Sends a fragment as [`send_with_writer`](Self::send_with_writer) sends a message.
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

    /// The next event that needs no octets, as [`next_event`](Connection::next_event) gives it from
    /// an empty buffer: [`Event::Writable`] or [`Event::Closed`]. `None` when
    /// [`has_event`](Connection::has_event) is false.
    #[inline]
    pub fn pending_event(&mut self) -> Option<Event<'static>> {
        self.0.pending_event()
    }

    /// Acts on the deadlines that have to do with sending, and on no other: keep-alive Pings, and
    /// what the peer takes. For a thread that only writes, beside one that reads and knows whether
    /// the peer is silent.
    pub fn handle_send_timeout(&mut self, now: Instant) {
        self.0.handle_send_deadlines(now);
    }

    /// Tells that the driver has done nothing for so long, not even sent a Ping: puts off the
    /// deadline for an idle peer ([`Config::idle_timeout`](super::Config::idle_timeout)), which had
    /// nothing to answer. Whole milliseconds count. For a driver that works only while its
    /// application calls it. The other deadlines stay: whether a Pong or the rest of a message has
    /// come meanwhile shows when what came is decoded, before the deadlines are looked at.
    pub fn extend_idle_deadline(&mut self, away: Duration) {
        self.0.put_idle_off(away);
    }
}

/// # The end
impl DriverAccess<'_> {
    /// *Fails the connection* (RFC 6455, section 7.1.7) since it holds what others need: with 1013
    /// and [`LimitExceeded::Memory`].
    ///
    /// For a driver that bounds what all its connections hold. What waits is still transmitted
    /// before the Close frame.
    pub fn fail_for_memory(&mut self, now: Instant) {
        self.0.fail_with(now, Error::Limit(LimitExceeded::Memory));
    }

    /// Notes how much of the frame in which the connection has ended has not arrived. `rx` is what
    /// the driver is about to drop.
    ///
    /// For a driver whose connection has ended otherwise than by decoding: by a deadline, or a
    /// command.
    pub fn note_rest(&mut self, rx: &RecvBuffer) {
        self.0.note_rest(rx);
    }

    /// Notes octets that have arrived since the connection has ended, and were dropped.
    pub fn note_dropped(&mut self, octets: u64) {
        self.0.note_dropped(octets);
    }
}

impl DriverView<'_> {
    /// Whether permessage-deflate was negotiated, so that there is use for a codec.
    #[inline]
    #[must_use]
    pub fn compresses(self) -> bool {
        self.0.deflate.is_some()
    }

    /// Whether decoding has stopped in the middle of a compressed message for the sake of the other
    /// connections of the event loop: it goes on when it is called in the next turn, though nothing
    /// has arrived. Only with a codec that was lent.
    #[inline]
    #[must_use]
    pub fn has_inflate_work(self) -> bool {
        self.0.is_paused()
    }

    /// When to call [`DriverAccess::handle_send_timeout`] at the latest; `None` if nothing is
    /// waited for.
    #[must_use]
    pub fn poll_send_timeout(self) -> Option<Instant> {
        self.0.next_send_deadline()
    }

    /// When the peer has taken nothing for [`Config::write_timeout`](super::Config::write_timeout):
    /// one of the deadlines of [`handle_timeout`](Connection::handle_timeout). A driver that would
    /// rather read first what the peer has said says instead that everything was transmitted, and
    /// gives up the transport for writing.
    #[must_use]
    pub fn poll_write_timeout(self) -> Option<Instant> {
        self.0.next_write_deadline()
    }

    /// Octets of memory that hold what waits to be sent, with the room for more. A frame that
    /// several connections send ([`Prepared`](super::Prepared)) is shared out among those that
    /// still hold it.
    #[inline]
    #[must_use]
    pub fn allocated(self) -> usize {
        self.0.transmit_buffer.as_ref().map_or(0, |buffer| buffer.allocated())
    }

    /// Octets of the frame in which the connection has ended that had not arrived by then, as the
    /// peer has announced them. 0 if it had arrived, or its length had not.
    ///
    /// A driver that closes a transport on which the peer is still sending resets it, and the peer
    /// may not get to read our Close frame (section 7.1.1). So it reads that much first, and drops
    /// it.
    #[must_use]
    pub fn unreceived(self) -> u64 {
        self.0.unreceived()
    }
}
