//! Counters of one connection.

/// What went over a connection so far. Counters wrap after 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages received whole (in chunk delivery: whose last chunk was delivered).
    pub messages_received: u64,
    /// Octets of message payload received.
    pub bytes_received: u64,
    /// Messages queued whole (in fragments: whose last fragment was queued).
    pub messages_sent: u64,
    /// Octets of message payload queued.
    pub bytes_sent: u64,
}
