//! The turn of an open connection: read once, hand over every event, write once (RFC 6455, sections
//! 5 to 7, as [`Connection`] keeps them). The decisions that hold for every driver are made here:
//!
//! | question | decision |
//! |---|---|
//! | how much is read | once a turn, into the event loop's buffer or one of the connection's own (`parking`); a client that reads ahead, up to 1 MiB |
//! | how much is written | up to [`SHARE`] in a turn, then others have theirs |
//! | a read that fills only a part of the buffer | has emptied the transport, if the transport allows this conclusion and cannot have ended ([`Ready::note_read`]) |
//! | a failed write | ends our direction: what is queued is dropped, what has arrived is handed over |
//! | a deadline | counts once the bytes that have arrived are read, up to [`LAST_LOOK`](deadlines::LAST_LOOK); the one of writing, once another write was tried |
//! | a full send queue | a server stops reading; a client reads ahead, up to a message |
//! | a panic of the application | fails its connection with 1011, and drops what it was lent |
//! | the end | the transport is closed at once, or after [`Lingering`](crate::Lingering) ([`Turn::leave`]) |

mod application;
mod batch;
mod deadlines;
mod ending;
mod memory;
mod reading;
mod writing;

pub use application::{Application, Current};
pub use batch::SentBatch;

use crate::lent::Lent;
use crate::parking::SHORT_TAIL;
use crate::transport::{Ready, Transport};
use framewright::{Connection, RecvBuffer};
use std::time::Instant;

/// An open connection between its turns.
#[derive(Debug)]
pub struct Turn {
    /// The state of the protocol, for inspection and for commands. A driver leaves its input and
    /// output to the turn.
    pub connection: Connection,
    /// The buffer with the bytes of an incomplete frame or message, or undecoded bytes; `None` if
    /// there are none.
    parked: Option<Box<RecvBuffer>>,
    /// KiB read since a deadline passed, or since writing failed; each read is rounded up.
    looked: u16,
    /// Whether `parked` may hold whole frames: decoding stopped because the send queue is full, or
    /// to let other connections have their turns.
    undecoded: bool,
    /// Whether nothing more will be read: the stream has ended, or the transport has failed.
    /// Undecoded bytes are handed over before that.
    eof: bool,
    /// Whether writing has failed. Bytes that arrived before are still read.
    broken: bool,
    /// Whether writing was given up because the peer accepted no bytes for too long.
    late: bool,
    /// Queued bytes were dropped.
    dropped: bool,
    moved: Moved,
}

/// Whether a connection has moved many bytes since it last waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Little,
    /// A turn has moved [`BULK`] bytes or more.
    Much,
    /// A turn has moved [`BULK`] bytes or more, and the connection has not waited since.
    MuchSoFar,
}

impl Turn {
    /// Makes the turn of a connection whose opening handshake is complete. `early` holds the bytes
    /// received after the handshake.
    #[must_use]
    pub fn new(connection: Connection, early: &[u8]) -> Self {
        let parked = (!early.is_empty()).then(|| {
            let mut parked = RecvBuffer::with_capacity(early.len());
            parked.extend_from_slice(early);
            Box::new(parked)
        });
        let undecoded = parked.is_some();
        Turn {
            connection,
            parked,
            looked: 0,
            undecoded,
            eof: false,
            broken: false,
            late: false,
            dropped: false,
            moved: Moved::Little,
        }
    }

    /// Runs one turn: does all work that is possible without waiting.
    ///
    /// If the application panics, the buffers stay lent: see [`after_panic`](Turn::after_panic).
    #[inline]
    pub fn run<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        lent: &mut Lent,
        now: Instant,
        application: &mut A,
    ) -> Next {
        lent.lend(&mut self.connection, self.parked.as_deref(), now);
        let flushed = self.work(transport, ready, lent, now, application);
        lent.reclaim(&mut self.connection, now);
        let goes_on = match flushed {
            Flushed::Shutdown => return Next::Leave(self.leave(transport, ready)),
            Flushed::Paused => true,
            Flushed::All | Flushed::Blocked => self.has_work(ready, application),
        };
        let much = lent.read + (SHARE - lent.share) + lent.work >= BULK;
        self.moved = match (much || self.moved == Moved::MuchSoFar, goes_on) {
            (false, _) => Moved::Little,
            (true, false) => Moved::Much,
            (true, true) => Moved::MuchSoFar,
        };
        if goes_on { Next::Again } else { Next::Wait }
    }

    #[inline]
    fn work<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        lent: &mut Lent,
        now: Instant,
        application: &mut A,
    ) -> Flushed {
        (lent.read, lent.share, lent.work, lent.stood) = (0, SHARE, 0, None);
        let Turn { connection, broken, .. } = self;
        application.on_turn(&mut Current { connection, transport, now, broken, share: &mut lent.share });
        if std::mem::take(&mut ready.write) && self.connection.buffered() > 0 {
            self.settle(transport, ready, now, &mut lent.share, application);
        }
        if ready.due && self.is_overdue(ready) {
            self.handle_timeout(transport, ready, now);
        }
        self.receive(transport, ready, lent, now, application);
        application.before_write(&self.connection);
        if ready.due && !(ready.read && self.connection.wants_read()) {
            self.handle_timeout(transport, ready, now);
        }
        let Turn { connection, broken, .. } = self;
        application.queue(&mut Current { connection, transport, now, broken, share: &mut lent.share });
        let flushed = self.settle(transport, ready, now, &mut lent.share, application);
        if self.is_over() && flushed != Flushed::Paused {
            if let Some(parked) = self.parked.take() {
                self.connection.driver().note_rest(&parked);
            }
            return self.await_end(transport, ready, &mut lent.rx, now);
        }
        // Decoding goes on when the peer has read. Other connections must not wait that long for an
        // inflater that this one holds.
        if self.undecoded
            && !self.connection.wants_read()
            && let Some(parked) = &mut self.parked
            && self.connection.driver().yield_inflater(now, parked)
        {
            return self.settle(transport, ready, now, &mut lent.share, application);
        }
        flushed
    }

    /// Whether there is work that no event announces.
    fn has_work<T, A: Application<T>>(&self, ready: &Ready, application: &A) -> bool {
        if self.is_over() {
            return self.drops_what_arrives() && ready.read;
        }
        self.may_receive(ready)
            || (self.connection.has_event() && (A::KNOWS_THE_END_FIRST || !self.holds_end()))
            // The application's messages may have waited for the room that the write has made.
            || application.has_queued(&self.connection)
    }

    /// Whether the next turn is likely to be a long one. If it is, the peer is not waiting for the
    /// answer to a short message, so other connections may go first.
    ///
    /// It is likely if
    ///
    /// - a turn since the last wait has moved 64 KiB or more, including inflated and compressed
    ///   bytes;
    /// - the last turn has left bytes unsent, or a large message incomplete.
    ///
    /// Bytes are the measure, not the duration of a turn: a thread whose write wakes its peer may
    /// lose its processor to it.
    #[must_use]
    pub fn is_in_bulk(&self) -> bool {
        self.moved != Moved::Little
            || self.connection.buffered() > 0
            || self.parked.as_ref().is_some_and(|parked| parked.len() > SHORT_TAIL)
    }

    /// Whether writing has failed or was given up.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether nothing more will be read: the stream has ended, or the transport has failed.
    #[must_use]
    pub fn has_eof(&self) -> bool {
        self.eof
    }

    /// Whether queued bytes were dropped.
    #[must_use]
    pub fn has_dropped(&self) -> bool {
        self.dropped
    }
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Next {
    /// Wait for readiness or for [`Turn::deadline`].
    Wait,
    /// Run another turn: there is work left that no event announces. Other connections may have
    /// their turns first.
    Again,
    /// The connection has ended, the application has been notified, and everything is sent: end the
    /// transport.
    Leave(Leave),
}

/// How a transport ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Leave {
    /// Close it.
    Close,
    /// Close it after [`Turn::linger`].
    Linger,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Flushed {
    /// Nothing is queued.
    All,
    /// The transport accepts no more bytes for now.
    Blocked,
    /// The turn has written its share: the transport may accept more in the next turn.
    Paused,
    /// Nothing is queued and nothing will be: end the transport.
    Shutdown,
}

/// The most bytes that a turn writes: about a millisecond of work, and as much as a socket accepts
/// at once. With a quarter of it, messages of 16 MiB cost 3 % more.
///
/// A long message that is written through is offered as a whole, because the bytes not accepted are
/// copied. Once the share is used up, all of it is copied.
const SHARE: usize = 4 << 20;

/// The number of bytes from which a turn takes as long as many small ones.
const BULK: usize = 64 << 10;
