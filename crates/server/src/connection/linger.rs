//! After an HTTP refusal, or a Close frame for a fault: our direction is ended, and what the peer still sends is read and
//! dropped for a moment. Closing at once would make the kernel answer the peer's octets with a reset, which can reach it before
//! it has read why.

use crate::connection::slot::{Next, Ready};
use crate::context::Context;
use crate::event_loop::stream::{Io, Stream};
use std::time::{Duration, Instant};

/// How long to linger at the most.
const LINGER_FOR: Duration = Duration::from_secs(1);
/// How many octets to drop at the most.
const LINGER_OCTETS: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Lingering {
    until: Instant,
    left: usize,
}

impl Lingering {
    /// Ends our direction.
    pub(crate) fn begin(stream: &Stream, now: Instant) -> Lingering {
        stream.shutdown_write();
        Lingering { until: now + LINGER_FOR, left: LINGER_OCTETS }
    }

    pub(crate) fn turn(&mut self, stream: &mut Stream, ready: &mut Ready, context: &mut Context) -> Next {
        if context.now >= self.until {
            return Next::Remove;
        }
        while ready.read {
            match stream.read(&mut context.scratch) {
                Io::Moved(0) | Io::Lost => return Next::Remove,
                Io::Blocked => ready.read = false,
                Io::Moved(count) => {
                    ready.note_read(count, context.scratch.len());
                    self.left = self.left.saturating_sub(count);
                    if self.left == 0 {
                        return Next::Remove;
                    }
                }
            }
        }
        Next::Wait
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.until
    }
}
