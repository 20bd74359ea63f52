//! Outputs: the bytes to write, and the next deadline.

use super::Connection;
use super::deadlines::Timer;
use super::transmit_buffer::TransmitBuffer;
use std::io::IoSlice;
use std::time::Instant;

/// What the driver does next with its transport: the result of [`Connection::poll_transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Transmit {
    /// Nothing to write now.
    Idle,
    /// Write the slices, then call [`Connection::transmitted`] with the number of bytes taken.
    Bytes {
        /// The number of bytes in all slices.
        octets: usize,
        /// The number of slices that were filled. With 1, a plain `send` is enough.
        slices: usize,
    },
    /// Everything is written: end the transport.
    ///
    /// A server whose closing handshake was clean closes it at once (section 7.1.1). After a fault,
    /// the driver reads and drops further bytes, within bounds, so that the peer can read the Close
    /// frame before a reset reaches it.
    Shutdown,
}

/// # Outputs
///
/// What the driver does next: bytes to write, events that need no received bytes, the next
/// deadline.
impl Connection {
    /// Returns what to do with the transport now, and fills `slices` from the front with the bytes
    /// to write. `slices` should have room for at least two.
    #[inline]
    pub fn poll_transmit<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> Transmit {
        if let Some(buffer) = &mut self.transmit_buffer
            && buffer.holds_pong()
        {
            let extra = &mut self.extra;
            buffer.release_pong(|| Connection::mask_from(extra));
            self.note_queued();
        }
        match &self.transmit_buffer {
            Some(buffer) if !buffer.is_empty() => {
                let (slices, octets) = buffer.slices(slices);
                Transmit::Bytes { octets, slices }
            }
            _ if self.wants_shutdown() => Transmit::Shutdown,
            _ => Transmit::Idle,
        }
    }

    /// Notes that the transport took `octets` bytes at `now`. Call it with 0 too, if the transport
    /// took none: the deadline for a peer that does not read starts here.
    ///
    /// # Panics
    /// If `octets` is more than [`buffered`](Connection::buffered).
    #[inline]
    pub fn transmitted(&mut self, now: Instant, octets: usize) {
        let progressed = match &mut self.transmit_buffer {
            Some(buffer) => {
                buffer.advance(octets);
                buffer.has_progressed()
            }
            None => {
                assert!(octets == 0, "octets transmitted, and none wait");
                false
            }
        };
        let waiting = self.buffered();
        if self.unanswered > 0 {
            let full = waiting > 0 || self.timers.is_armed(Timer::Write);
            self.pong_is_due(now, progressed && full);
        }
        if waiting == 0 {
            self.timers.cancel(Timer::Write);
        } else if progressed || !self.timers.is_armed(Timer::Write) {
            self.timers.arm_if(Timer::Write, now, self.config.write_timeout);
        }
        if self.congested && waiting <= self.config.low_water && !self.is_full() {
            self.congested = false;
            self.writable = self.is_open();
        }
        let watched = self.config.write_timeout.is_some() && !self.close_is_sent();
        if !self.is_open() && !watched && !self.timers.is_armed(Timer::End) {
            self.timers.arm(Timer::End, now, self.config.close_timeout);
        }
    }

    /// When to call [`handle_timeout`](Connection::handle_timeout) at the latest; `None` if no
    /// deadline is set.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline()
    }

    /// Whether [`next_event`](Connection::next_event) has an event that needs no received bytes.
    #[inline]
    #[must_use]
    pub fn has_event(&self) -> bool {
        self.writable || self.is_closure_due()
    }
}

impl Connection {
    /// The buffer for outgoing bytes, made now if the connection has none.
    #[inline]
    pub(super) fn buffer_mut(&mut self) -> &mut TransmitBuffer {
        TransmitBuffer::made(&mut self.transmit_buffer)
    }

    /// Drops the Pong in the Pong slot: nothing may follow a Close.
    pub(super) fn drop_pong(&mut self) {
        if let Some(buffer) = &mut self.transmit_buffer {
            buffer.drop_pong();
        }
    }
}
