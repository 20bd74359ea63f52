//! What has happened, in numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a backplane has done, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Messages that Redis has accepted.
    pub published: u64,
    /// Messages of others, and of durable topics, that were handed over.
    pub received: u64,
    /// Copies that were dropped, because the message had come before.
    pub duplicates: u64,
    /// Messages that were not accepted for publishing, because the queue was full.
    pub refused: u64,
    /// Messages that were accepted for publishing, and then dropped: Redis refuses them.
    pub dropped: u64,
    /// Messages in channels and streams that were dropped because they could not be understood.
    pub broken: u64,
    /// Gaps that were told.
    pub gaps: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections that ended, or could not be made.
    pub failures: u64,
    /// Messages that wait for Redis now.
    pub waiting: usize,
    /// Bytes that these take.
    pub waiting_bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> RedisStats {
        RedisStats {
            published: self.published.load(Relaxed),
            received: self.received.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            refused: self.refused.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            broken: self.broken.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            connections: self.connections.load(Relaxed),
            failures: self.failures.load(Relaxed),
            waiting: 0,
            waiting_bytes: 0,
        }
    }
}

/// Adds one, and returns how many there are now.
pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Relaxed) + 1
}
