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
    /// Whether the connection has ended and the application has been notified.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.connection.state() == State::Closed && !self.connection.has_event()
    }

    /// Drops the connection without a Close frame, and drops the queued bytes;
    /// [`has_dropped`](Turn::has_dropped) reports that.
    pub fn abort(&mut self, now: Instant) {
        self.with_drops(|connection| connection.abort(now));
    }

    /// How the connection ended; `None` before its end.
    ///
    /// A closing handshake is not complete if our Close frame was dropped.
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

    /// Does a bounded piece of the work that remains after the end of the connection: reports the
    /// end of the transport to the connection, and writes queued bytes.
    ///
    /// It also reads and drops bytes that still arrive, in two cases:
    ///
    /// - a client waits for the end of the transport (section 7.1.1);
    /// - our last bytes are queued for a peer that has failed.
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
            let scratch = scratch.spare(SHORT_TAIL);
            // Our direction of a TLS session may have ended: rustls is not asked any more.
            let ends = self.connection.driver_view().ends_when_transmitted();
            match if ends { transport.discard(scratch) } else { transport.read(scratch) } {
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

    /// Reports the end of the transport to the connection, if it was reached, and writes what is
    /// queued. If that fails, reports the end too: nothing would announce it any more.
    fn flush_at_the_end<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
    ) -> Flushed {
        loop {
            if self.eof || self.broken {
                self.connection.handle_eof(now);
            }
            let was_broken = self.broken;
            let flushed = self.flush(transport, ready, now);
            if self.broken == was_broken {
                return flushed;
            }
        }
    }

    /// Whether bytes that still arrive are read and dropped. They are if the peer is to end the
    /// transport. They also are if the peer has failed, because it may write everything before it
    /// reads our last bytes.
    #[must_use]
    pub fn drops_what_arrives(&self) -> bool {
        let waits = || self.connection.buffered() > 0 && !self.eof && !self.broken;
        self.awaits_end() || (waits() && self.connection.closure().is_some_and(|closure| !closure.clean))
    }

    /// Whether the peer is to end the transport: it is a server, and has not ended it yet.
    fn awaits_end(&self) -> bool {
        self.connection.role() == Role::Client && !self.eof && !self.broken
    }

    /// How to end the transport, once [`flush`](Turn::flush) has returned
    /// [`Shutdown`](Flushed::Shutdown).
    ///
    /// Lingering is for a peer that may still send, and has something to read. It is omitted
    ///
    /// - if the peer has ended its direction, is gone, or was given up, and the transport owes it no
    ///   reason;
    /// - after a clean end, unless a client has sent more after its Close frame: closing the
    ///   transport would then reset it. The end of the transport itself (close_notify of TLS) must
    ///   have left, too.
    #[must_use]
    pub fn leave<T: Transport>(&self, transport: &mut T, ready: &Ready) -> Leave {
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
        if transport.owes_reason() {
            Leave::Linger
        } else if gone || self.broken || ((is_clean || self.eof) && transport.flush_own()) {
            Leave::Close
        } else {
            Leave::Linger
        }
    }

    /// Begins to linger, after [`Leave::Linger`]. If the peer has failed, lingering lasts until the
    /// frame in which it failed has been received.
    ///
    /// A client lingers for at most [`Config::close_timeout`](framewright::Config::close_timeout),
    /// because its application waits for the end of the transport. A server lingers for at most a
    /// minute.
    pub fn linger<T: Transport>(&self, transport: &mut T, ready: &Ready, now: Instant) -> Lingering {
        if transport.owes_reason() {
            return Lingering::briefly(transport, now);
        }
        let config = self.connection.config();
        if self.connection.closure().is_some_and(|closure| closure.clean) {
            if transport.flush_own() {
                return Lingering::briefly(transport, now);
            }
            let time = config.write_timeout.unwrap_or(Rest::TIME);
            return Lingering::begin(transport, ready, Rest { announced: 0, most: 0, time }, now);
        }
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

    /// Fails the connection with 1011 (section 7.4.1) after the application has panicked in
    /// [`run`](Turn::run).
    ///
    /// What the connection was lent is dropped, except a transmit buffer with queued bytes. Bytes
    /// received are lost, because the start of the next frame is unknown. Other connections lose
    /// nothing.
    #[cold]
    pub fn after_panic(&mut self, lent: &mut Lent, now: Instant) {
        lent.discard(&mut self.connection);
        self.parked = None;
        self.undecoded = false;
        self.connection.fail(now, CloseCode::INTERNAL_ERROR, "internal error");
    }

    /// Hands the application the remaining events and writes what can be written: for a driver that
    /// has failed or aborted the connection outside a turn.
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
    pub fn after<T: Transport>(&self, transport: &mut T, flushed: Flushed, ready: &Ready) -> Next {
        match flushed {
            Flushed::Shutdown => Next::Leave(self.leave(transport, ready)),
            Flushed::Paused => Next::Again,
            // The peer may write everything before it reads.
            Flushed::Blocked if self.is_over() && self.drops_what_arrives() && ready.read => Next::Again,
            Flushed::All | Flushed::Blocked => Next::Wait,
        }
    }
}

/// The most reads in one turn of a connection that has ended.
const READS: usize = 16;

/// The most bytes that a lingering peer may send after a frame of twice the largest message: its
/// Close frame, and other bytes that were in its queue.
const BEHIND_A_FRAME: u64 = 256 << 10;
