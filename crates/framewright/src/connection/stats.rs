//! The counters of one connection, and of its compression.

/// The messages and payload bytes received and queued on a connection so far. Counters wrap after
/// 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages received whole (in chunk delivery: whose last chunk was delivered).
    pub messages_received: u64,
    /// Bytes of message payload received.
    pub bytes_received: u64,
    /// Messages queued whole (in fragments: whose last fragment was queued).
    pub messages_sent: u64,
    /// Bytes of message payload queued.
    pub bytes_sent: u64,
}

/// The messages that permessage-deflate (RFC 7692) compressed, and their sizes before and after.
/// Counters wrap after 2^64.
///
/// Messages sent or received uncompressed are not counted, even if compression was negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompressionStats {
    /// Compressed messages received whole.
    pub messages_received: u64,
    /// Bytes of payload after inflating. They are part of [`Stats::bytes_received`].
    pub bytes_received: u64,
    /// Bytes of payload before inflating, as received on the wire.
    pub compressed_bytes_received: u64,
    /// Messages queued compressed (in fragments: whose last fragment was queued).
    pub messages_sent: u64,
    /// Bytes of payload before compressing. They are part of [`Stats::bytes_sent`].
    pub bytes_sent: u64,
    /// Bytes of payload after compressing, as sent on the wire.
    pub compressed_bytes_sent: u64,
}

impl CompressionStats {
    /// Adds the counters of `other` to these.
    pub fn add(&mut self, other: &CompressionStats) {
        for (sum, more) in [
            (&mut self.messages_received, other.messages_received),
            (&mut self.bytes_received, other.bytes_received),
            (&mut self.compressed_bytes_received, other.compressed_bytes_received),
            (&mut self.messages_sent, other.messages_sent),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.compressed_bytes_sent, other.compressed_bytes_sent),
        ] {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// Counts up to 2^32, at half the size. Counts that do not fit are carried to a [`Stats`], which
/// few connections need.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    messages_received: u32,
    bytes_received: u32,
    messages_sent: u32,
    bytes_sent: u32,
}

impl Counts {
    /// Counts `octets` bytes of payload received, and one message if they are its end (`whole`).
    /// False if a counter would overflow: nothing is counted then.
    #[inline]
    #[must_use]
    pub(super) fn received(&mut self, octets: usize, whole: bool) -> bool {
        add(&mut self.bytes_received, &mut self.messages_received, octets, whole)
    }

    /// Counts `octets` bytes of payload queued, as [`received`](Counts::received) does.
    #[inline]
    #[must_use]
    pub(super) fn sent(&mut self, octets: usize, whole: bool) -> bool {
        add(&mut self.bytes_sent, &mut self.messages_sent, octets, whole)
    }
}

#[inline]
fn add(bytes: &mut u32, messages: &mut u32, octets: usize, whole: bool) -> bool {
    let sums = (
        u32::try_from(octets).ok().and_then(|octets| bytes.checked_add(octets)),
        messages.checked_add(u32::from(whole)),
    );
    let (Some(more_bytes), Some(more_messages)) = sums else { return false };
    (*bytes, *messages) = (more_bytes, more_messages);
    true
}

impl Stats {
    pub(super) fn received(&mut self, octets: usize, whole: bool) {
        self.bytes_received = self.bytes_received.wrapping_add(octets as u64);
        self.messages_received = self.messages_received.wrapping_add(u64::from(whole));
    }

    pub(super) fn sent(&mut self, octets: usize, whole: bool) {
        self.bytes_sent = self.bytes_sent.wrapping_add(octets as u64);
        self.messages_sent = self.messages_sent.wrapping_add(u64::from(whole));
    }

    /// The sum of the counts carried here and of `counts`.
    #[must_use]
    pub(super) fn with(self, counts: Counts) -> Stats {
        Stats {
            messages_received: self.messages_received.wrapping_add(u64::from(counts.messages_received)),
            bytes_received: self.bytes_received.wrapping_add(u64::from(counts.bytes_received)),
            messages_sent: self.messages_sent.wrapping_add(u64::from(counts.messages_sent)),
            bytes_sent: self.bytes_sent.wrapping_add(u64::from(counts.bytes_sent)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = u32::MAX as usize;

    #[test]
    fn what_does_not_fit_is_not_counted_at_all() {
        let mut counts = Counts::default();
        assert!(counts.received(MOST - 5, true) && counts.received(5, false), "up to the last one");
        assert!(counts.sent(MOST, true));
        let full = Stats::default().with(counts);
        assert!(!counts.received(1, true) && !counts.sent(1, true));
        assert_eq!(Stats::default().with(counts), full);
        assert!(counts.received(0, true), "a message of no octets");

        let mut counts = Counts { messages_received: u32::MAX, messages_sent: u32::MAX, ..Counts::default() };
        assert!(!counts.received(7, true) && !counts.sent(7, true));
        assert!(counts.received(7, false) && counts.sent(8, false), "the rest of no message");
        assert_eq!((counts.bytes_received, counts.bytes_sent), (7, 8));
        assert!(!counts.received(MOST, true) && !counts.sent(MOST, false));
    }

    #[test]
    fn what_was_carried_and_what_was_not_are_one_sum() {
        let mut carried = Stats::default();
        carried.received(MOST, true);
        carried.received(MOST, false);
        carried.sent(3, true);
        carried.sent(4, true);
        let counts = Counts { messages_received: 10, bytes_received: 20, messages_sent: 30, bytes_sent: 40 };
        let sum = Stats {
            messages_received: 11,
            bytes_received: 2 * MOST as u64 + 20,
            messages_sent: 32,
            bytes_sent: 47,
        };
        assert_eq!(carried.with(counts), sum);
        let most = Stats {
            messages_received: u64::MAX,
            bytes_received: u64::MAX,
            messages_sent: u64::MAX,
            bytes_sent: u64::MAX,
        };
        let one = Counts { messages_received: 1, bytes_received: 1, messages_sent: 1, bytes_sent: 1 };
        assert_eq!(most.with(one), Stats::default(), "they wrap");
    }
}
