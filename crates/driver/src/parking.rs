//! Chooses the buffer that holds the received part of an incomplete message. The event loop's own
//! buffer serves all its connections, so bytes left in it at the end of a turn are parked in
//! another buffer.

use crate::pool::{Pool, TRUST};
use framewright::RecvBuffer;
use std::time::Instant;

/// The longest tail of an incomplete frame, in bytes, that is copied to the event loop's buffer and
/// back. A longer tail gets a buffer of its own, which is read into directly.
pub const SHORT_TAIL: usize = 4 << 10;

/// The most bytes that one read of a large frame takes. Each piece is thus unmasked while it is in
/// cache, and a large message does not keep the loop from its other connections.
const LARGE_READ: usize = 256 << 10;

/// The read size in bytes from which large frames are read in pieces larger than that size.
const STEADY_SIZE_FOR_LARGE_READS: usize = 4 << 10;

/// The least room in bytes that the next read needs, and the most that it asks for. `direct`:
/// whether it reads into the connection's own buffer. `steady`: the usual read size.
pub(crate) fn reach(rx: &RecvBuffer, direct: bool, steady: usize) -> (usize, usize) {
    if !direct {
        return (1, steady);
    }
    if steady < STEADY_SIZE_FOR_LARGE_READS {
        return (steady, steady);
    }
    // Room for the rest of the frame, but for no more bytes than have been received: a declared
    // length allocates nothing. Between fragments the rest is unknown.
    let wanted = match rx.frame_remaining() {
        0 => steady,
        remaining => usize::try_from(remaining).unwrap_or(usize::MAX),
    };
    (wanted.min(rx.len()).max(1), LARGE_READ.max(steady))
}

/// If the next read has no room, moves the bytes received to a larger pooled buffer, if there is
/// one. That costs a copy, but no page faults.
pub(crate) fn grow(rx: &mut RecvBuffer, least: usize, pool: &mut Pool<RecvBuffer>, now: Instant) {
    let come = rx.len();
    if come + least <= rx.capacity() {
        return;
    }
    let remaining = usize::try_from(rx.frame_remaining()).unwrap_or(usize::MAX);
    if let Some(mut larger) = pool.take_filled(come.saturating_add(remaining.max(least)), come) {
        larger.absorb(rx);
        std::mem::swap(&mut *larger, rx);
        pool.put_cleared(now, larger);
    }
}

/// Moves the bytes left in a buffer that other connections use next: a short tail to a buffer of
/// about its size, a long one to a buffer that grows with the bytes received. `None` if nothing is
/// left.
pub(crate) fn park(
    rx: &mut RecvBuffer,
    pool: &mut Pool<RecvBuffer>,
    tails: &mut Pool<RecvBuffer>,
) -> Option<Box<RecvBuffer>> {
    if rx.is_empty() {
        return None;
    }
    let len = rx.len();
    let mut own = if len <= SHORT_TAIL {
        tails.take_tail(len)
    } else {
        let remaining = usize::try_from(rx.frame_remaining()).unwrap_or(usize::MAX);
        pool.take_for(len.saturating_add(remaining), len)
    };
    own.absorb(rx);
    Some(own)
}

/// Whether a connection keeps its own buffer: it holds more than a short tail, and its bytes and
/// the rest of the frame fill a quarter of it.
pub(crate) fn pays_for(own: &RecvBuffer) -> bool {
    let remaining = usize::try_from(own.frame_remaining()).unwrap_or(usize::MAX);
    let len = own.len();
    len > SHORT_TAIL && own.capacity() / 4 <= len.saturating_add(remaining.min(TRUST * len))
}

/// The length of a parked frame that the next read can complete; 0 if more bytes are missing, or
/// none.
pub(crate) fn nearly_complete(parked: &RecvBuffer) -> usize {
    match usize::try_from(parked.frame_remaining()) {
        Ok(remaining) if remaining > 0 && remaining <= LARGE_READ => parked.len() + remaining,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::frame::{Header, MAX_HEADER_LEN, OpCode};
    use framewright::{Config, Connection, Negotiated};
    use std::sync::Arc;

    /// A buffer of `room` bytes that holds `come` decoded bytes of a frame of `len`.
    fn within_a_frame(room: usize, len: usize, come: usize) -> RecvBuffer {
        let header =
            Header { fin: true, rsv: 0, opcode: OpCode::Binary, mask: Some([1; 4]), payload_len: len as u64 };
        let mut octets = [0; MAX_HEADER_LEN];
        let header_len = header.encode(&mut octets);
        let mut rx = RecvBuffer::with_capacity(room);
        rx.extend_from_slice(&octets[..header_len]);
        rx.extend_from_slice(&vec![7; come]);
        let now = Instant::now();
        let mut connection = Connection::server(Arc::new(Config::default()), Negotiated::new(), now);
        assert!(connection.next_event(now, &mut rx).is_none());
        assert_eq!((rx.len(), rx.frame_remaining()), (come, (len - come) as u64));
        rx
    }

    #[test]
    fn a_buffer_is_kept_by_whom_fills_a_quarter_of_it_or_is_about_to() {
        assert!(pays_for(&within_a_frame(1 << 20, 1 << 20, 100 << 10)), "the rest is coming");
        assert!(pays_for(&within_a_frame(64 << 10, 20 << 10, 18 << 10)));
        assert!(!pays_for(&within_a_frame(16 << 20, 20 << 10, 5 << 10)), "left from a larger message");
        assert!(!pays_for(&within_a_frame(8 << 10, 1 << 20, SHORT_TAIL)), "short enough to be copied");
        assert!(!pays_for(&within_a_frame(8 << 20, 12 << 20, 5 << 10)), "so far this is a word only");
    }

    #[test]
    fn only_a_frame_that_the_next_read_can_end_is_nearly_complete() {
        assert_eq!(nearly_complete(&within_a_frame(1 << 20, 1 << 20, (1 << 20) - LARGE_READ)), 1 << 20);
        assert_eq!(nearly_complete(&within_a_frame(1 << 20, 1 << 20, (1 << 20) - LARGE_READ - 1)), 0);
        assert_eq!(nearly_complete(&RecvBuffer::new()), 0);
    }

    #[test]
    fn a_short_tail_is_parked_in_a_small_buffer_and_a_long_one_where_it_can_grow() {
        let (mut pool, mut tails) = (Pool::for_messages(1 << 20), Pool::with_keep(1 << 16));
        assert!(park(&mut RecvBuffer::new(), &mut pool, &mut tails).is_none());
        let mut rx = within_a_frame(1 << 17, 1 << 20, 100);
        let short = park(&mut rx, &mut pool, &mut tails).expect("something is left");
        assert_eq!((short.len(), short.capacity(), rx.is_empty()), (100, 128, true));
        let mut rx = within_a_frame(1 << 17, 1 << 20, 10_000);
        let long = park(&mut rx, &mut pool, &mut tails).expect("something is left");
        assert_eq!((long.len(), long.capacity(), rx.is_empty()), (10_000, 20_000, true));
    }

    #[test]
    fn a_full_buffer_is_changed_for_a_larger_one_that_waits() {
        let now = Instant::now();
        let mut pool = Pool::for_messages(1 << 20);
        let mut rx = within_a_frame(100_014, 1 << 20, 100_000);
        grow(&mut rx, 100_000, &mut pool, now);
        assert_eq!(rx.capacity(), 100_014, "none waits");
        pool.put(now, Box::new(RecvBuffer::with_capacity(1 << 20)));
        grow(&mut rx, 1, &mut pool, now);
        assert_eq!(rx.capacity(), 100_014, "there is room");
        grow(&mut rx, 100_000, &mut pool, now);
        assert_eq!((rx.capacity(), rx.len(), rx.frame_remaining()), (1 << 20, 100_000, (1 << 20) - 100_000));
    }
}
