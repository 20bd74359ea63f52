//! What a turn writes, and what it tells before.

use super::application::{Application, Current};
use super::{Flushed, Turn};
use crate::transport::{Io, Ready, Transport};
use framewright::{Connection, Event, SendError, State, Transmit};
use std::io::IoSlice;
use std::time::Instant;

impl Turn {
    /// Tells what needs no bytes, and writes what is queued. That there is room again is told
    /// before the write: the room that this write makes is told in the next turn, so that others
    /// have theirs in between.
    pub(super) fn settle<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
        share: &mut usize,
        application: &mut A,
    ) -> Flushed {
        // Room first; and the end too, if the application has made it when it was told of room.
        while self.connection.has_event()
            && (A::KNOWS_THE_END_FIRST || self.connection.state() != State::Closed)
        {
            self.tell(transport, now, share, application);
        }
        application.before_write(&self.connection);
        let flushed = self.write_share(transport, ready, now, share);
        // The write may have dropped the Close frame.
        if !self.connection.has_event() || self.connection.state() != State::Closed || self.holds_end() {
            return flushed;
        }
        self.tell(transport, now, share, application);
        self.write_share(transport, ready, now, share)
    }

    /// Hands over the event that needs no bytes.
    fn tell<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        now: Instant,
        share: &mut usize,
        application: &mut A,
    ) {
        let Some(event) = self.connection.driver().pending_event() else { return };
        let event = match event {
            Event::Writable if self.broken => return,
            Event::Closed(closure) => Event::Closed(self.corrected(closure)),
            event => event,
        };
        let Turn { connection, broken, .. } = self;
        application.on_event(&mut Current { connection, transport, now, broken, share }, event);
    }

    /// Whether the end cannot be told yet: the closing handshake is complete when our Close frame
    /// has left.
    pub(super) fn holds_end(&self) -> bool {
        self.connection.buffered() > 0 && self.closure().is_some_and(|closure| closure.clean)
    }

    /// Writes what is queued until the transport takes no more. Where it never will, drops it.
    pub fn flush<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) -> Flushed {
        let mut no_bound = usize::MAX;
        self.write_share(transport, ready, now, &mut no_bound)
    }

    /// Sends a long message without copying what the transport takes at once, as
    /// [`Current::write_through`] does: for a driver whose application sends between two turns.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn write_through<T: Transport>(
        &mut self,
        transport: &mut T,
        now: Instant,
        send: impl FnOnce(&mut Connection, &mut dyn FnMut(&[IoSlice<'_>]) -> usize) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Turn { connection, broken, .. } = self;
        let mut share = usize::MAX;
        Current { connection, transport, now, broken, share: &mut share }.write_through(send)
    }

    /// Writes what is queued, up to `share` bytes, which it takes off. [`Ready::write`] says that
    /// there is more.
    fn write_share<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
        share: &mut usize,
    ) -> Flushed {
        loop {
            let all = self.connection.buffered();
            let ends = self.connection.driver_view().ends_when_transmitted();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (used, bytes) = match self.connection.poll_transmit(&mut slices) {
                Transmit::Idle if transport.flush_own() => return Flushed::All,
                Transmit::Idle => return Flushed::Blocked,
                Transmit::Shutdown => {
                    // If it is blocked, lingering goes on with it.
                    transport.end();
                    return Flushed::Shutdown;
                }
                Transmit::Bytes { slices, octets } => (slices, octets),
            };
            if self.broken {
                // Writing may have failed in a callback: what the peer has said is read up to its
                // end.
                if !std::mem::replace(&mut self.dropped, true) {
                    self.looked = 0;
                }
                ready.read = true;
                self.connection.transmitted(now, bytes);
                continue;
            }
            if *share == 0 {
                ready.write = true;
                return Flushed::Paused;
            }
            let slices = &slices[..used];
            let moved = if bytes > *share {
                write_part(transport, slices, *share)
            } else if ends && bytes == all {
                transport.write_last(slices)
            } else {
                transport.write(slices)
            };
            match moved {
                // Against the contract of a transport: it would be asked for ever.
                Io::Moved(0) | Io::Lost => self.give_up_writing(ready),
                Io::Moved(count) => {
                    *share = share.saturating_sub(count);
                    self.connection.transmitted(now, count);
                }
                Io::Blocked => {
                    self.connection.transmitted(now, 0);
                    return Flushed::Blocked;
                }
            }
        }
    }

    /// Notes that nothing will be written any more, as a turn does after a failed write: for a driver
    /// whose transport says so elsewhere. What has arrived is worth as much as before: it may say
    /// why.
    #[cold]
    pub fn give_up_writing(&mut self, ready: &mut Ready) {
        (self.broken, ready.read) = (true, true);
        self.looked = 0;
    }
}

/// Writes the first `len` bytes of `slices`, which hold more.
#[cold]
fn write_part<T: Transport>(transport: &mut T, slices: &[IoSlice<'_>], mut len: usize) -> Io {
    let mut part = [IoSlice::new(&[]); SLICES];
    let mut used = 0;
    for (slot, slice) in part.iter_mut().zip(slices) {
        let count = slice.len().min(len);
        *slot = IoSlice::new(&slice[..count]);
        len -= count;
        used += 1;
        if len == 0 {
            break;
        }
    }
    transport.write(&part[..used])
}

/// How many slices one write offers to the transport.
const SLICES: usize = 8;
