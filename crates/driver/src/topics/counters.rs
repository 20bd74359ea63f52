//! What topics count.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counters and gauges of the topics of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// Messages that were published in this process.
    pub published: u64,
    /// Messages of other processes that have arrived.
    pub received: u64,
    /// Messages that were queued on a connection: one for each subscriber.
    pub delivered: u64,
    /// Messages that were refused because an event loop has too much to deliver.
    pub refused: u64,
    /// Messages that were not passed on to other processes.
    pub not_passed_on: u64,
    /// Messages that were dropped for a slow subscriber because they were the newest.
    pub dropped_newest: u64,
    /// Messages that were dropped for a slow subscriber because they were the oldest.
    pub dropped_oldest: u64,
    /// Messages that a newer one of the same key has replaced for a slow subscriber.
    pub replaced: u64,
    /// Connections that were closed because they were too slow.
    pub disconnected: u64,
    /// Bytes that wait for slow subscribers now.
    pub waiting_bytes: u64,
    /// Bytes of messages that are kept for new subscribers now.
    pub history_bytes: usize,
    /// Topics with subscribers or kept messages now, and prefixes with subscribers.
    pub topics: usize,
    /// Subscriptions now.
    pub subscriptions: usize,
}

/// The counters that drivers add to. They outlive the hub if somebody holds them.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) published: AtomicU64,
    pub(super) received: AtomicU64,
    delivered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) not_passed_on: AtomicU64,
    dropped_newest: AtomicU64,
    dropped_oldest: AtomicU64,
    replaced: AtomicU64,
    disconnected: AtomicU64,
    waiting: AtomicU64,
    pub(super) history_bytes: AtomicUsize,
    pub(super) topics: AtomicUsize,
    pub(super) prefixes: AtomicUsize,
    pub(super) subscriptions: AtomicUsize,
}

impl Counters {
    /// Counts messages that were queued on connections.
    pub fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Relaxed);
    }

    pub(super) fn dropped_newest(&self) {
        self.dropped_newest.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped_oldest(&self) {
        self.dropped_oldest.fetch_add(1, Relaxed);
    }

    pub(super) fn replaced(&self) {
        self.replaced.fetch_add(1, Relaxed);
    }

    pub(super) fn disconnected(&self) {
        self.disconnected.fetch_add(1, Relaxed);
    }

    pub(super) fn waits_more(&self, bytes: usize) {
        self.waiting.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn waits_less(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes as u64, Relaxed);
    }

    /// Returns the values, each read at its own instant.
    #[must_use]
    pub fn stats(&self) -> TopicStats {
        TopicStats {
            published: self.published.load(Relaxed),
            received: self.received.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            not_passed_on: self.not_passed_on.load(Relaxed),
            dropped_newest: self.dropped_newest.load(Relaxed),
            dropped_oldest: self.dropped_oldest.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
            disconnected: self.disconnected.load(Relaxed),
            waiting_bytes: self.waiting.load(Relaxed),
            history_bytes: self.history_bytes.load(Relaxed),
            topics: self.topics.load(Relaxed) + self.prefixes.load(Relaxed),
            subscriptions: self.subscriptions.load(Relaxed),
        }
    }
}
