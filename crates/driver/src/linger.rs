//! After an HTTP refusal, or a Close frame for a fault: our direction is ended, and what the peer
//! still sends is read and dropped for a moment. Closing at once would make the kernel answer the
//! peer's bytes with a reset, which can reach it before it has read why (RFC 6455, section 7.1.1).

use crate::transport::{Io, Ready, Transport};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// How long to linger at the most.
const LINGER_FOR: Duration = Duration::from_secs(1);
/// How many bytes to drop at the most.
const LINGER_BYTES: usize = 256 << 10;

/// A transport whose connection has ended, while what still comes is dropped.
#[derive(Debug)]
pub struct Lingering {
    until: Instant,
    left: usize,
}

impl Lingering {
    /// Ends our direction, and drops at most 256 KiB for at most a second from `now`.
    pub fn begin(transport: &mut impl Transport, now: Instant) -> Self {
        transport.shutdown(Shutdown::Write);
        Lingering { until: now + LINGER_FOR, left: LINGER_BYTES }
    }

    /// Drops what has come, read into `scratch`. Returns whether it is over: the peer has ended its
    /// direction or is gone, or the time or the bytes are used up.
    #[must_use]
    pub fn turn(
        &mut self,
        transport: &mut impl Transport,
        ready: &mut Ready,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        if now >= self.until {
            return true;
        }
        while ready.read {
            match transport.read(scratch) {
                Io::Moved(0) | Io::Lost => return true,
                Io::Blocked => ready.note_blocked(),
                Io::Moved(count) => {
                    ready.note_read(transport, count, scratch.len());
                    self.left = self.left.saturating_sub(count);
                    if self.left == 0 {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// When it ends at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.until
    }
}
