//! The memory that a connection holds between its turns, and how it is released for other
//! connections.

use super::{Flushed, SHARE, Turn};
use crate::lent::Lent;
use crate::transport::{Ready, Transport};
use framewright::RecvBuffer;
use std::time::Instant;

impl Turn {
    /// Bytes of memory that the connection holds between its turns: the received part of an
    /// incomplete frame or message, the queued bytes, and the spare room of both buffers. Memory
    /// for compression is counted elsewhere
    /// ([`DeflateMemory`](framewright::deflate::DeflateMemory)).
    #[inline]
    #[must_use]
    pub fn held(&self) -> usize {
        self.parked.as_ref().map_or(0, |parked| parked.allocated())
            + self.connection.driver_view().allocated()
    }

    /// Bytes that the last turn has moved towards the release of the memory that is
    /// [`held`](Turn::held): payload of the message being received, or bytes written if more is
    /// held for sending. Pings and Pongs received do not count.
    ///
    /// `lent` is what that turn had, and no other turn has had it since.
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

    /// Payload bytes received of the message in `parked`, and the number of messages received.
    pub(super) fn stands(&self, parked: &RecvBuffer) -> (u64, u64) {
        (parked.message_arrived(), self.connection.stats().messages_received)
    }

    /// Ends the connection with 1013
    /// ([`LimitExceeded::Memory`](framewright::LimitExceeded::Memory)), because other connections
    /// need the memory that it holds.
    ///
    /// The received part of a message is dropped. So are queued bytes that the transport does not
    /// accept at once, the Close frame included. The application is notified in the next turn.
    #[cold]
    pub fn give_way<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        self.connection.driver().fail_for_memory(now);
        if let Some(parked) = self.parked.take() {
            self.connection.driver().note_rest(&parked);
        }
        self.undecoded = false;
        if self.flush(transport, ready, now) == Flushed::Blocked {
            self.with_drops(|connection| connection.handle_transport_error(now));
            transport.drop_queued();
        }
    }
}
