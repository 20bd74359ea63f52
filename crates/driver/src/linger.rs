//! Lingering: after an HTTP refusal, or a Close frame for a fault, bytes that the peer still sends
//! are read and dropped, and then the transport is closed. If it were closed at once, the kernel
//! would answer the peer's bytes with a reset. A reset can reach the peer before it has read the
//! reason (RFC 6455, section 7.1.1).
//!
//! ```text
//!   our last bytes are sent
//!     |-- nothing is under way ------------------------> our direction is ended --+
//!     |-- bytes come: they are dropped, until the                                 |
//!         announced frame or body is complete and       ^                         |
//!         the peer is silent for a moment --------------+                         v
//!                                      closed: the peer has ended its direction, is silent,
//!                                              or has had its bytes and its time
//! ```
//! Our direction stays open while the peer is in the middle of sending. A proxy that sees our end
//! closes its own client's connection at once, and bytes that this client still sends then reset
//! it.

use crate::transport::{Io, Ready, Transport};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// A transport whose connection has ended, while bytes still received are dropped.
#[derive(Debug)]
pub struct Lingering {
    /// Bytes of the announced frame or body that have not been received.
    rest: u64,
    dropped: u64,
    most: u64,
    began: Instant,
    /// When bytes were last received, or our direction was ended.
    heard: Instant,
    last: Instant,
    /// Whether our direction is ended.
    ended: bool,
    /// Whether the peer's direction is ended.
    peer_ended: bool,
    /// Whether lingering may last longer than [`BRIEF`].
    stays: bool,
}

/// The limits for what a peer may still send after the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a driver makes it")]
pub struct Rest {
    /// Bytes that the peer has announced but not sent: of a frame, or of the body of a request. 0
    /// if there are none, or if their number is unknown.
    pub announced: u64,
    /// The most bytes to drop.
    pub most: u64,
    /// The longest time to linger.
    pub time: Duration,
}

impl Rest {
    /// The longest time that a server gives a peer: 32 MiB take this long at 4.5 Mbit/s.
    pub const TIME: Duration = Duration::from_secs(60);
}

/// What follows a turn of [`Lingering`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum LingerNext {
    /// Wait for readiness or for [`Lingering::deadline`].
    Wait,
    /// Run another turn: there is more to read. Other connections may have their turns first.
    Again,
    /// Close the transport.
    Close,
}

impl Lingering {
    /// Begins to linger after our last bytes have been sent, within the limits of `rest`.
    ///
    /// Our direction is ended at once if no bytes of the peer are known to be on their way.
    pub fn begin(transport: &mut impl Transport, ready: &Ready, rest: Rest, now: Instant) -> Self {
        let mut lingering = Lingering {
            rest: rest.announced,
            dropped: 0,
            most: rest.most.max(BRIEF_BYTES),
            began: now,
            heard: now,
            last: now + rest.time.clamp(BRIEF, LONGEST),
            ended: false,
            peer_ended: false,
            stays: false,
        };
        if !ready.read && lingering.rest == 0 {
            lingering.end(transport, now);
        }
        lingering
    }

    /// Begins to linger briefly: ends our direction at once, and drops at most 256 KiB for at most
    /// a second.
    pub fn briefly(transport: &mut impl Transport, now: Instant) -> Self {
        let nothing = Rest { announced: 0, most: 0, time: Duration::ZERO };
        Lingering::begin(transport, &Ready::default(), nothing, now)
    }

    /// Reads what has arrived into `scratch` and drops it, about 256 KiB at most.
    ///
    /// `may_stay` is called once, when lingering has lasted a second or dropped 256 KiB. It returns
    /// whether lingering may continue.
    #[must_use]
    pub fn turn(
        &mut self,
        transport: &mut impl Transport,
        ready: &mut Ready,
        scratch: &mut [u8],
        now: Instant,
        may_stay: impl FnOnce() -> bool,
    ) -> LingerNext {
        // What has arrived is read before a deadline is checked.
        ready.read |= now >= self.deadline();
        let mut has_our_end = transport.flush_own();
        if !has_our_end {
            // The peer has not taken our end yet: it counts as heard.
            self.heard = now;
        }
        let is_gone = self.read(transport, ready, scratch, now);
        if self.peer_ended && !self.ended {
            // A peer that reads on has to tell our end from a cut.
            has_our_end = transport.end();
        }
        if is_gone || (self.peer_ended && has_our_end) || self.is_over(now) {
            return LingerNext::Close;
        }
        if !self.stays && self.is_long(now) {
            self.stays = may_stay();
            if !self.stays {
                return LingerNext::Close;
            }
        }
        if !self.ended && self.is_silent(ready, now) {
            self.end(transport, now);
        }
        if ready.read { LingerNext::Again } else { LingerNext::Wait }
    }

    /// Ends our direction now, and lingering itself within a second.
    pub fn hurry(&mut self, transport: &mut impl Transport, now: Instant) {
        self.last = self.last.min(now + BRIEF);
        if !self.ended {
            self.end(transport, now);
        }
    }

    /// When the next turn is due at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let until = if self.stays { self.last } else { self.last.min(self.began + BRIEF) };
        until.min(self.silent_at())
    }

    /// Reads some of what has arrived. Returns whether the peer is gone.
    fn read(
        &mut self,
        transport: &mut impl Transport,
        ready: &mut Ready,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        let mut read = 0;
        while ready.read && read < TURN_BYTES && self.dropped < self.most {
            match transport.discard(scratch) {
                Io::Lost => return true,
                Io::Moved(0) => {
                    self.peer_ended = true;
                    ready.note_blocked();
                }
                Io::Blocked => ready.note_blocked(),
                Io::Moved(count) => {
                    ready.note_read(transport, count, scratch.len());
                    read += count;
                    self.dropped += count as u64;
                    self.rest = self.rest.saturating_sub(count as u64);
                    self.heard = now;
                }
            }
        }
        false
    }

    fn is_over(&self, now: Instant) -> bool {
        self.dropped >= self.most || now >= self.last || (self.ended && now >= self.silent_at())
    }

    /// Whether lingering exceeds the time or the bytes that every connection has.
    fn is_long(&self, now: Instant) -> bool {
        self.dropped >= BRIEF_BYTES || now >= self.began + BRIEF
    }

    /// Whether the peer seems to have sent everything.
    fn is_silent(&self, ready: &Ready, now: Instant) -> bool {
        !ready.read && ((self.rest == 0 && self.dropped == 0) || now >= self.silent_at())
    }

    /// When a peer from which no bytes are received counts as silent.
    fn silent_at(&self) -> Instant {
        self.heard + if self.rest == 0 && !self.ended { MOMENT } else { SILENCE }
    }

    fn end(&mut self, transport: &mut impl Transport, now: Instant) {
        transport.shutdown(Shutdown::Write);
        (self.ended, self.heard) = (true, now);
    }
}

/// The time for which every connection may linger.
const BRIEF: Duration = Duration::from_secs(1);
/// The longest time to linger, even if a client is configured to wait longer.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The number of bytes that every connection may have dropped.
const BRIEF_BYTES: u64 = 256 << 10;

/// The most bytes that a turn drops before other connections have their turns.
const TURN_BYTES: usize = 256 << 10;

/// The time without bytes after which our direction is ended, if the peer has sent everything that
/// it announced. Fragments of its message may still follow, and its answer to our Close frame.
const MOMENT: Duration = Duration::from_millis(100);

/// The time without bytes after which a peer counts as silent, in the middle of a frame or after
/// our direction was ended.
const SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    struct Quiet;

    impl Transport for Quiet {
        fn read(&mut self, _: &mut [u8]) -> Io {
            Io::Blocked
        }

        fn write(&mut self, _: &[IoSlice<'_>]) -> Io {
            Io::Blocked
        }

        fn shutdown(&mut self, _: Shutdown) {}
    }

    #[test]
    fn a_client_that_waits_for_ever_lingers_for_an_hour_at_the_most() {
        let now = Instant::now();
        let rest = Rest { announced: u64::MAX, most: u64::MAX, time: Duration::MAX };
        let lingering = Lingering::begin(&mut Quiet, &Ready::default(), rest, now);
        assert_eq!(lingering.last, now + LONGEST);
    }
}
