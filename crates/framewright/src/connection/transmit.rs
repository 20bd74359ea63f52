//! Outputs: what to write.

use super::closing::State;
use super::deadlines::Timer;
use super::transmit_buffer::TransmitBuffer;
use super::{Connection, next_key};
use std::io::IoSlice;
use std::time::Instant;

/// What [`Connection::poll_transmit`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Transmit {
    /// Nothing to write now.
    Idle,
    /// Write the slices, then call [`Connection::transmitted`] with what was taken.
    Bytes {
        /// Octets in all slices.
        octets: usize,
        /// How many slices were filled. With 1, a plain `send` will do.
        slices: usize,
    },
    /// Everything was written: end this direction of the transport. A server whose closing handshake was clean closes the
    /// transport at once (section 7.1.1); after a fault the driver goes on reading for a moment, so that the peer can read
    /// the Close frame before a reset reaches it.
    Shutdown,
}

impl Connection {
    /// What to do with the transport now. Fills `slices` from the front; it should have room for at least two.
    #[inline]
    pub fn poll_transmit<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> Transmit {
        let extra = &mut self.extra;
        if self.outbox.release_pong(|| next_key(extra)) {
            self.note_queued();
        }
        if self.outbox.is_empty() {
            return if self.wants_shutdown() { Transmit::Shutdown } else { Transmit::Idle };
        }
        let (slices, octets) = self.outbox.slices(slices);
        Transmit::Bytes { octets, slices }
    }

    /// Notes that the transport took this many octets at `now`. Call it with 0 too, when it took none: the deadline for a
    /// peer that does not read starts here.
    ///
    /// # Panics
    /// If that is more than waits.
    #[inline]
    pub fn transmitted(&mut self, now: Instant, octets: usize) {
        let progressed = self.outbox.advance(octets);
        if self.outbox.is_empty() {
            self.timers.cancel(Timer::Write);
        } else if progressed || !self.timers.is_armed(Timer::Write) {
            self.timers.arm_if(Timer::Write, now, self.config.write_timeout);
        }
        let waiting = self.outbox.len();
        if self.congested && waiting <= self.config.low_water && !self.is_full() {
            self.congested = false;
            self.writable = self.state == State::Open;
        }
        let watched = self.config.write_timeout.is_some() && !self.close_is_sent();
        if self.state != State::Open && !watched && !self.timers.is_armed(Timer::Close) {
            self.timers.arm(Timer::Close, now, self.config.close_timeout);
        }
    }

    /// Lends a buffer for outgoing octets, so that a connection at rest holds none: it is used unless the connection has one,
    /// in which case it comes back.
    #[inline]
    pub fn lend_transmit_buffer(&mut self, buffer: Box<TransmitBuffer>) -> Option<Box<TransmitBuffer>> {
        self.outbox.lend(buffer)
    }

    /// Takes the buffer for outgoing octets back, lent or not; `None` while something waits in it, or if there is none.
    #[inline]
    pub fn reclaim_transmit_buffer(&mut self) -> Option<Box<TransmitBuffer>> {
        self.outbox.reclaim()
    }
}
