//! Stored messages for one connection that resumes: pages, each of which is asked for when the last
//! one was taken.

use framewright_driver::topics::{Join, Publication};
use std::collections::VecDeque;
use std::sync::Arc;

/// The pages that wait for one connection, in the order in which they have come.
///
/// No policy of slow consumers counts them: a subscription that resumes has one page here, and at
/// its end what was held back meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    pages: VecDeque<Page>,
    held: usize,
}

/// Messages of one join. Never without any.
#[derive(Debug)]
struct Page {
    topic: Arc<str>,
    serial: u64,
    /// What is published from here on goes behind it.
    admits: bool,
    messages: VecDeque<Arc<Publication>>,
}

impl Replays {
    /// Adds the messages of a join, which has some.
    pub(crate) fn push(&mut self, join: &Join) {
        self.held += join.retained.iter().map(cost).sum::<usize>();
        self.pages.push_back(Page {
            topic: Arc::clone(&join.filter),
            serial: join.serial,
            admits: join.admits,
            messages: join.retained.iter().cloned().collect(),
        });
    }

    /// The subscription gets what is published from here on, behind its pages.
    pub(crate) fn admit(&mut self, serial: u64) {
        self.pages.iter_mut().filter(|page| page.serial == serial).for_each(|page| page.admits = true);
    }

    /// Whether something that waits by a policy belongs behind these.
    pub(crate) fn goes_first(&self) -> bool {
        self.pages.iter().any(|page| page.admits)
    }

    /// Takes the next message. Adds the page to `taken` if it was its last one.
    pub(crate) fn pop(&mut self, taken: &mut Vec<(Arc<str>, u64)>) -> Option<Arc<Publication>> {
        let page = self.pages.front_mut()?;
        let publication = page.messages.pop_front()?;
        self.held -= cost(&publication);
        if page.messages.is_empty() {
            taken.extend(self.pages.pop_front().map(|page| (page.topic, page.serial)));
        }
        Some(publication)
    }

    /// Drops the pages of a subscription that has ended.
    pub(crate) fn end(&mut self, topic: &str) {
        self.pages.retain(|page| *page.topic != *topic);
        self.held = self.pages.iter().flat_map(|page| &page.messages).map(cost).sum();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Bytes of memory that these hold.
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}

fn cost(publication: &Arc<Publication>) -> usize {
    size_of::<Publication>() + publication.message().payload_len()
}
