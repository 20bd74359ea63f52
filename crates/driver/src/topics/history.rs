//! The last messages of a topic, for new subscribers.

use super::counters::Counters;
use super::options::TopicLimits;
use super::publication::Publication;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Debug, Default)]
pub(super) struct History {
    queue: VecDeque<Arc<Publication>>,
    bytes: usize,
}

impl History {
    /// Keeps a message, and drops the oldest ones beyond the limits. It is dropped itself if it does
    /// not fit alone.
    pub(super) fn push(
        &mut self,
        publication: &Arc<Publication>,
        count: usize,
        limits: &TopicLimits,
        counters: &Counters,
    ) {
        let cost = publication.cost();
        self.queue.push_back(publication_for_all(publication));
        self.bytes += cost;
        counters.history_bytes.fetch_add(cost, Relaxed);
        while self.queue.len() > count
            || self.bytes > limits.history_bytes
            || counters.history_bytes.load(Relaxed) > limits.all_history_bytes
        {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.bytes -= oldest.cost();
            counters.history_bytes.fetch_sub(oldest.cost(), Relaxed);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Publication>> {
        self.queue.iter()
    }
}

/// Who has published it may subscribe later, and receives it then.
fn publication_for_all(publication: &Arc<Publication>) -> Arc<Publication> {
    match publication.publisher {
        None => Arc::clone(publication),
        Some(_) => Arc::new(Publication { publisher: None, ..Publication::clone(publication) }),
    }
}
