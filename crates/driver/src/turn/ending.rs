//! The end of a connection, and of its transport.

use super::application::Application;
use super::{Flushed, Leave, Next, Turn};
use crate::lent::Lent;
use crate::linger::{Lingering, Rest};
use crate::parking::SHORT_TAIL;
use crate::transport::{Io, Ready, Transport};
use framewright::{CloseCode, Closure, Error, RecvBuffer, Role, State, Timeout};
use std::time::Instant;

impl Turn {
    /// Whether the connection has ended and the application has been told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.connection.state() == State::Closed && !self.connection.has_event()
    }

    /// Drops the connection: no Close frame, and nothing of what is queued, of which
    /// [`has_dropped`](Turn::has_dropped) tells.
    pub fn abort(&mut self, now: Instant) {
        self.with_drops(|connection| connection.abort(now));
    }

    /// How the connection has ended; `None` before.
    ///
    /// A closing handshake of which our Close frame was dropped was not completed.
    #[must_use]
    pub fn closure(&self) -> Option<Closure> {
        self.connection.closure().map(|closure| self.corrected(closure))
    }

    pub(super) fn corrected(&self, mut closure: Closure) -> Closure {
        if closure.clean && (self.dropped || (self.broken && self.connection.buffered() > 0)) {
            closure.clean = false;
            closure.cause = Some(Error::TransportLost);
        }
        if self.late && closure.cause == Some(Error::TransportLost) {
            closure.cause = Some(Error::Timeout(Timeout::Write));
        }
        closure
    }

    /// After the end of the connection: tells it of the transport's end, and as long as a client
    /// waits for that (section 7.1.1), or our last bytes for a peer that has failed, reads and
    /// drops what still comes. A bounded piece of that work.
    pub fn await_end<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        scratch: &mut RecvBuffer,
        now: Instant,
    ) -> Flushed {
        self.connection.driver().note_rest(scratch);
        let mut flushed = self.flush_at_the_end(transport, ready, now);
        if flushed == Flushed::Shutdown || !self.drops_what_arrives() || !ready.read {
            return flushed;
        }
        scratch.clear();
        let mut reads = 0;
        while self.drops_what_arrives() && ready.read && reads < READS {
            match transport.read(scratch.spare(SHORT_TAIL)) {
                Io::Moved(count @ 1..) => {
                    reads += 1;
                    self.connection.driver().note_dropped(count as u64);
                }
                Io::Blocked => ready.note_blocked(),
                Io::Moved(_) | Io::Lost => {
                    self.eof = true;
                    flushed = self.flush_at_the_end(transport, ready, now);
                }
            }
        }
        flushed
    }

    /// Tells the connection of the transport's end, if it has come, and writes what is queued.
    fn flush_at_the_end<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
    ) -> Flushed {
        if self.eof || self.broken {
            self.connection.handle_eof(now);
        }
        self.flush(transport, ready, now)
    }

    /// Whether what still comes is read and dropped: the peer is to end the transport, or it has
    /// failed, and may write to its end before it reads our last bytes.
    pub(super) fn drops_what_arrives(&self) -> bool {
        let waits = || self.connection.buffered() > 0 && !self.eof && !self.broken;
        self.awaits_end() || (waits() && self.connection.closure().is_some_and(|closure| !closure.clean))
    }

    /// Whether the peer is to end the transport: it is a server, and has not.
    fn awaits_end(&self) -> bool {
        self.connection.role() == Role::Client && !self.eof && !self.broken
    }

    /// How the transport ends, now that [`flush`](Turn::flush) has said
    /// [`Shutdown`](Flushed::Shutdown).
    ///
    /// Lingering is for a peer that may still send, and has something to read. It is left out where
    /// the peer has ended its direction, or is gone, or is given up; and after a clean end, unless
    /// a client has sent more behind its Close frame: closing on that would reset it.
    #[must_use]
    pub fn leave(&self, ready: &Ready) -> Leave {
        let Some(closure) = self.connection.closure() else { return Leave::Close };
        let gone = matches!(
            closure.cause,
            Some(Error::TransportLost | Error::Aborted | Error::Timeout(Timeout::Write | Timeout::Close))
        );
        //= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.1
        //# The underlying TCP connection, in most normal cases, SHOULD be closed
        //# first by the server, so that it holds the TIME_WAIT state and not the
        //# client
        let is_clean = closure.clean && (self.connection.role() == Role::Client || !ready.read);
        if gone || is_clean || self.eof || self.broken { Leave::Close } else { Leave::Linger }
    }

    /// Begins to linger, after [`Leave::Linger`]: for a peer that has failed, until the frame has
    /// come in which it did.
    ///
    /// A client's application waits for the end of the transport: it lingers for
    /// [`Config::close_timeout`](framewright::Config::close_timeout) at the most, a server for a
    /// minute.
    pub fn linger<T: Transport>(&self, transport: &mut T, ready: &Ready, now: Instant) -> Lingering {
        if self.connection.closure().is_some_and(|closure| closure.clean) {
            return Lingering::briefly(transport, now);
        }
        let config = self.connection.config();
        let rest = Rest {
            announced: self.connection.driver_view().unreceived(),
            most: config.max_message.saturating_mul(2).saturating_add(BEHIND_A_FRAME),
            time: match self.connection.role() {
                Role::Server => Rest::TIME,
                Role::Client => config.close_timeout,
            },
        };
        Lingering::begin(transport, ready, rest, now)
    }

    /// The application has panicked in [`run`](Turn::run): fails the connection with 1011 (section
    /// 7.4.1). What it was lent is dropped, but for a transmit buffer in which something is queued.
    /// What had arrived is lost: where the next frame begins is unknown. Other connections lose
    /// nothing.
    #[cold]
    pub fn after_panic(&mut self, lent: &mut Lent, now: Instant) {
        lent.discard(&mut self.connection);
        self.parked = None;
        self.undecoded = false;
        self.connection.fail(now, CloseCode::INTERNAL_ERROR, "internal error");
    }

    /// Tells the application what it has not been told, and writes what can be written: for a
    /// driver that has failed or aborted the connection outside a turn.
    pub fn finish<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
        application: &mut A,
    ) -> Flushed {
        let mut no_bound = usize::MAX;
        self.settle(transport, ready, now, &mut no_bound, application)
    }

    /// What follows a turn that ended with a panic.
    #[must_use]
    pub fn after(&self, flushed: Flushed, ready: &Ready) -> Next {
        match flushed {
            Flushed::Shutdown => Next::Leave(self.leave(ready)),
            Flushed::Paused => Next::Again,
            // The peer may have to write all before it reads.
            Flushed::Blocked if self.is_over() && self.drops_what_arrives() && ready.read => Next::Again,
            Flushed::All | Flushed::Blocked => Next::Wait,
        }
    }
}

/// How many reads of a client that waits for the transport's end one turn makes.
const READS: usize = 16;

/// What a peer may send behind a frame of twice the largest message, while it lingers: its Close
/// frame, and what else lay in its queue.
const BEHIND_A_FRAME: u64 = 256 << 10;
