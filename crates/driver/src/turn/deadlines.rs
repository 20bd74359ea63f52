//! Deadlines: each is checked after what has arrived was read, up to [`LAST_LOOK`].

use super::Turn;
use crate::transport::{Ready, Transport};
use framewright::{Connection, State};
use std::time::Instant;

impl Turn {
    /// When the next turn is due at the latest; `None` if there is no deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// Sets [`Ready::due`] if a deadline of the connection has passed at `now`, for a driver that
    /// has no timers. Returns whether the deadline must be acted on now, because 8 MiB have been
    /// read since it passed.
    pub fn note_time(&mut self, ready: &mut Ready, now: Instant) -> bool {
        ready.due = self.deadline().is_some_and(|deadline| deadline <= now);
        if !ready.due && !self.broken {
            self.looked = 0;
        }
        self.is_overdue(ready)
    }

    /// Records `count` bytes that were read although a deadline has passed, or writing has failed.
    #[cold]
    pub(super) fn note_look(&mut self, count: usize) {
        self.looked = self.looked.saturating_add(u16::try_from(count.div_ceil(1 << 10)).unwrap_or(u16::MAX));
        if self.broken && self.looked >= LAST_LOOK {
            self.eof = true;
        }
    }

    /// Whether a deadline must be acted on, even if more bytes arrive: [`LAST_LOOK`] KiB have been
    /// read since it passed.
    pub(super) fn is_overdue(&self, ready: &Ready) -> bool {
        ready.due && self.looked >= LAST_LOOK
    }

    /// Acts on deadlines that have passed. Call it after what has arrived was read.
    ///
    /// While the send queue was full, nothing was read. If it has room again, or writing is given
    /// up, the deadlines that depend on received bytes wait for another turn: [`Ready::due`] stays
    /// set.
    #[cold]
    pub fn handle_timeout<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        let was_reading = self.connection.wants_read() && !self.broken;
        self.handle_write_timeout(transport, ready, now);
        let reads_now = self.connection.wants_read() && (ready.read || self.undecoded) && !self.eof;
        if reads_now && !was_reading && self.looked < LAST_LOOK {
            return;
        }
        ready.due = false;
        if !self.broken {
            self.looked = 0;
        }
        // A failed peer that reads slowly may have made room for our last bytes.
        if self.connection.state() == State::Closed && self.connection.buffered() > 0 {
            self.flush(transport, ready, now);
        }
        self.with_drops(|connection| connection.handle_timeout(now));
    }

    /// Acts on the deadlines of sending alone: for a thread that only sends, and does not see what
    /// has arrived.
    pub fn handle_send_timeout<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        self.handle_write_timeout(transport, ready, now);
        self.with_drops(|connection| connection.driver().handle_send_timeout(now));
    }

    /// Acts on deadlines that have passed while the application does not receive, and bytes of the
    /// peer wait for it: the deadlines that depend on them start anew.
    pub fn handle_timeout_unread<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
    ) {
        self.handle_write_timeout(transport, ready, now);
        self.with_drops(|connection| connection.driver().handle_timeout_unread(now));
    }

    /// Gives up writing to a peer that has accepted no bytes for
    /// [`Config::write_timeout`](framewright::Config::write_timeout). One more write comes first,
    /// because a kernel announces room late. What the peer has sent is still read: it may say why
    /// the peer accepts nothing.
    fn handle_write_timeout<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        let has_passed = |turn: &Turn| {
            turn.connection.driver_view().poll_write_timeout().is_some_and(|deadline| deadline <= now)
        };
        if !has_passed(self) {
            return;
        }
        self.flush(transport, ready, now);
        if has_passed(self) {
            self.give_up(transport, ready, now);
        }
    }

    /// Gives up writing to a peer that is too slow, as after
    /// [`Config::write_timeout`](framewright::Config::write_timeout): for a driver whose caller
    /// does not wait any longer. Queued bytes are dropped; what has arrived is still read.
    pub fn give_up<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        self.late = true;
        self.give_up_writing(ready);
        self.flush(transport, ready, now);
    }

    /// Runs `act`, and records whether it drops queued bytes.
    pub(super) fn with_drops(&mut self, act: impl FnOnce(&mut Connection)) {
        let before = self.connection.buffered();
        act(&mut self.connection);
        self.dropped |= self.connection.buffered() < before;
    }
}

/// The most KiB that are read after a deadline has passed or writing has failed, more than a socket
/// holds.
///
/// What has arrived is read before a deadline, or a transport that accepts no more bytes, ends the
/// connection. Because of this limit, a peer that goes on sending does not postpone the end for
/// ever.
const LAST_LOOK: u16 = 8 << 10;
