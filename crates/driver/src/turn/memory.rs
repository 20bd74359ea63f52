//! What a connection holds between its turns, and giving it up for others.

use super::{Flushed, SHARE, Turn};
use crate::lent::Lent;
use crate::transport::{Ready, Transport};
use framewright::RecvBuffer;
use std::time::Instant;

impl Turn {
    /// Bytes of memory that the connection holds between its turns: what has come of an incomplete
    /// frame or message, what waits to be sent, and the room around both. What compression holds is
    /// counted elsewhere ([`DeflateMemory`](framewright::deflate::DeflateMemory)).
    #[inline]
    #[must_use]
    pub fn held(&self) -> usize {
        self.parked.as_ref().map_or(0, |parked| parked.allocated())
            + self.connection.driver_view().allocated()
    }

    /// Bytes that the turn before has moved towards letting go of what is [`held`](Turn::held):
    /// payload of the message that is being received, or what was written where more is held to be
    /// sent. Neither Pings nor Pongs count. `lent` is what that turn had, and no other has had
    /// since.
    #[must_use]
    pub fn progress(&self, lent: &Lent) -> usize {
        let received = self.parked.as_ref().map_or(0, |parked| parked.allocated());
        if self.connection.driver_view().allocated() > received {
            return SHARE - lent.share;
        }
        let Some(parked) = &self.parked else { return 0 };
        let (stands, messages) = self.stands(parked);
        let grown = match lent.stood {
            Some((stood, before)) if stood > 0 && before != messages => return lent.read, // that one has ended
            Some((stood, _)) => stands.saturating_sub(stood),
            None if lent.read == 0 => 0,
            None => stands,
        };
        usize::try_from(grown).unwrap_or(usize::MAX)
    }

    /// Bytes of payload that have come of the message in `parked`, and how many messages have been
    /// received.
    pub(super) fn stands(&self, parked: &RecvBuffer) -> (u64, u64) {
        (parked.message_arrived(), self.connection.stats().messages_received)
    }

    /// Ends the connection, since others need what it holds: with 1013
    /// ([`LimitExceeded::Memory`](framewright::LimitExceeded::Memory)). What has come of a message
    /// is dropped, and what the transport does not take at once of what waits, the Close frame too.
    /// The application hears of it in the next turn.
    #[cold]
    pub fn give_way<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        self.connection.driver().fail_for_memory(now);
        if let Some(parked) = self.parked.take() {
            self.connection.driver().note_rest(&parked);
        }
        self.undecoded = false;
        if self.flush(transport, ready, now) == Flushed::Blocked {
            self.with_drops(|connection| connection.handle_transport_error(now));
        }
    }
}
