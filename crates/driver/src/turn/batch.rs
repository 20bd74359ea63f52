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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lent::Lent;
    use crate::turn::{Current, Next};
    use framewright::deflate::DeflateMemory;
    use framewright::{Config, Connection, Event, Negotiated, Prepared, State};
    use std::net::Shutdown;
    use std::sync::Arc;

    /// A transport that counts its writes, and takes so many bytes in all.
    struct Counting {
        room: usize,
        is_lost: bool,
        written: Vec<u8>,
        writes: usize,
    }

    impl Counting {
        fn with_room(room: usize) -> Counting {
            Counting { room, is_lost: false, written: Vec::new(), writes: 0 }
        }
    }

    impl Transport for Counting {
        fn read(&mut self, _: &mut [u8]) -> Io {
            if self.is_lost { Io::Lost } else { Io::Blocked }
        }

        fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
            self.writes += 1;
            let octets: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let count = octets.len().min(self.room);
            self.written.extend_from_slice(&octets[..count]);
            self.room -= count;
            match count {
                _ if self.is_lost => Io::Lost,
                0 => Io::Blocked,
                count => Io::Moved(count),
            }
        }

        fn shutdown(&mut self, _: Shutdown) {}
    }

    fn turn() -> Turn {
        let config = Arc::new(Config::default());
        Turn::new(Connection::server(config, Negotiated::default(), Instant::now()), &[])
    }

    fn batch(count: usize, len: usize) -> Batch {
        let mut batch = Batch::new();
        let text = "x".repeat(len);
        (0..count).for_each(|_| batch.push(Prepared::from(&*text)));
        batch
    }

    fn run(turn: &mut Turn, transport: &mut Counting, ready: &mut Ready) -> Next {
        let mut lent = Lent::new(1 << 10, 1 << 10, DeflateMemory::new(0));
        let mut application = |_: &mut Current<'_, Counting>, _: Event<'_>| {};
        turn.run(transport, ready, &mut lent, Instant::now(), &mut application)
    }

    #[test]
    fn sixteen_messages_leave_in_one_write_and_the_connection_holds_nothing() {
        let (mut turn, mut transport) = (turn(), Counting::with_room(1 << 20));
        let mut ready = Ready::default();
        let sent = turn.send_batch(&mut transport, &mut ready, Instant::now(), &mut batch(16, 100));
        assert_eq!(sent, Ok(SentBatch::All(CompressionStats::default())));
        assert_eq!((transport.writes, transport.written.len()), (1, 16 * 102));
        assert_eq!((turn.held(), turn.connection.buffered(), ready), (0, 0, Ready::default()));
        assert_eq!(turn.connection.stats().messages_sent, 16);
    }

    #[test]
    fn what_the_transport_does_not_take_leaves_in_the_turns_that_follow() {
        let (mut turn, mut transport) = (turn(), Counting::with_room(100));
        let mut ready = Ready::default();
        let mut sixteen = batch(16, 100);
        let sent = turn.send_batch(&mut transport, &mut ready, Instant::now(), &mut sixteen);
        assert!(matches!(sent, Ok(SentBatch::Turn(_))) && ready.write);
        assert_eq!(turn.connection.buffered(), 16 * 102 - 100);
        assert_eq!(run(&mut turn, &mut transport, &mut ready), Next::Wait);
        let refused = turn.send_batch(&mut transport, &mut ready, Instant::now(), &mut sixteen);
        assert_eq!(refused, Err(BatchRefused::NotNow));
        (transport.room, ready.write) = (1 << 20, true);
        assert_eq!(run(&mut turn, &mut transport, &mut ready), Next::Wait);
        assert_eq!((transport.written.len(), turn.connection.buffered()), (16 * 102, 0));
    }

    #[test]
    fn a_long_message_leaves_a_share_at_a_time() {
        let (mut turn, mut transport) = (turn(), Counting::with_room(usize::MAX));
        let mut ready = Ready::default();
        let sent = turn.send_batch(&mut transport, &mut ready, Instant::now(), &mut batch(1, 2 * SHARE));
        assert!(matches!(sent, Ok(SentBatch::Turn(_))));
        assert_eq!((transport.writes, transport.written.len()), (1, SHARE));
        while run(&mut turn, &mut transport, &mut ready) == Next::Again {}
        assert_eq!(transport.written.len(), 2 * SHARE + 10);
    }

    #[test]
    fn a_transport_that_is_lost_ends_the_connection_in_the_turn_that_follows() {
        let (mut turn, mut transport) = (turn(), Counting::with_room(0));
        transport.is_lost = true;
        let mut ready = Ready::default();
        let sent = turn.send_batch(&mut transport, &mut ready, Instant::now(), &mut batch(1, 10));
        assert!(matches!(sent, Ok(SentBatch::Turn(_))) && ready.read);
        assert!(matches!(run(&mut turn, &mut transport, &mut ready), Next::Leave(_)));
        assert_eq!(turn.connection.state(), State::Closed);
        let refused = turn.send_batch(&mut transport, &mut ready, Instant::now(), &mut batch(1, 10));
        assert_eq!(refused, Err(BatchRefused::NotNow));
    }
}
