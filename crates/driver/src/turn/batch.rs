//! Messages for many connections, sent outside a turn.

use super::{SHARE, Turn};
use crate::transport::{Io, Ready, Transport};
use framewright::CompressionStats;
use framewright::connection::{Batch, BatchRefused, BatchSent};
use std::io::IoSlice;
use std::time::Instant;

/// The result of [`Turn::send_batch`]: what follows, and the messages that were sent compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum SentBatch {
    /// Nothing: the transport has taken everything.
    All(CompressionStats),
    /// Bytes are queued, or writing has failed: run a turn.
    Turn(CompressionStats),
}

impl Turn {
    /// Sends the messages of `batch` in one write, outside a turn: for a connection that has nothing
    /// else to do. It holds no buffer meanwhile, and the application is not called.
    ///
    /// # Errors
    /// [`BatchRefused`]: nothing was sent. With [`NotNow`](BatchRefused::NotNow) the messages have to
    /// go through a turn, or wait; with [`NeedsCodec`](BatchRefused::NeedsCodec) this call is made
    /// again between [`Lent::lend`](crate::Lent::lend) and [`Lent::reclaim`](crate::Lent::reclaim).
    #[inline]
    pub fn send_batch<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
        batch: &mut Batch,
    ) -> Result<SentBatch, BatchRefused> {
        if self.broken {
            return Err(BatchRefused::NotNow);
        }
        let mut is_lost = false;
        let sent = self.connection.driver().send_batch(now, batch, |frames| {
            match transport.write(&[IoSlice::new(&frames[..frames.len().min(SHARE)])]) {
                Io::Moved(count @ 1..) => count,
                Io::Blocked => 0,
                Io::Moved(0) | Io::Lost => {
                    is_lost = true;
                    0
                }
            }
        });
        let BatchSent { left, compression } = sent?;
        if !left {
            return Ok(SentBatch::All(compression));
        }
        if is_lost {
            self.give_up_writing(ready);
        }
        ready.write = true;
        Ok(SentBatch::Turn(compression))
    }
}
