//! What one connection is subscribed to, and what waits for it.

use framewright_driver::topics::{Counters, SubscribeError};
use framewright_driver::topics::{Join, Publication, Pushed, SlowConsumer, Waiting, prefixes};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

/// The state of a [`Member`](super::Member), behind its lock.
#[derive(Debug, Default)]
pub(super) struct Desk {
    subscriptions: HashMap<Arc<str>, Subscription>,
    /// Subscriptions that end with `#`.
    prefixes: usize,
    /// The number of the last subscription.
    ticket: u64,
    /// Subscriptions that resume: the next page is asked for when the last one was sent.
    reading: Vec<(Arc<str>, u64)>,
    /// Filters in which messages may be lost, and the application does not know yet.
    gaps: Vec<Arc<str>>,
    /// Messages that were kept for new subscriptions: they are sent first.
    kept: VecDeque<Arc<Publication>>,
    waiting: Waiting,
    /// Who is woken by the next message.
    pub(super) waker: Option<Waker>,
    /// The peer has not taken all that was queued.
    pub(super) is_blocked: bool,
    pub(super) standing: Standing,
    /// The filter that the hub is being asked for.
    asking: Option<Arc<str>>,
}

/// How the connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    Open,
    /// Too much has waited: it is to be closed with 1013.
    TooSlow,
    /// It was closed for that, and receives no messages any more.
    Closing,
    /// It has ended, and so have its subscriptions.
    Ended,
}

#[derive(Debug)]
struct Subscription {
    /// Tells this subscription from an earlier one of the same filter.
    ticket: u64,
    /// Whether it gets what is published: its join has arrived.
    is_admitted: bool,
    policy: Option<SlowConsumer>,
}

impl Desk {
    pub(super) fn new(waker: Option<Waker>) -> Desk {
        Desk { waker, ..Desk::default() }
    }

    /// Notes a subscription that the hub is asked for next, and returns its number. `None` if the
    /// connection has it already.
    pub(super) fn begin(
        &mut self,
        filter: &Arc<str>,
        policy: Option<SlowConsumer>,
        limit: usize,
    ) -> Result<Option<u64>, SubscribeError> {
        if self.standing != Standing::Open {
            return Err(SubscribeError::Closed);
        }
        if let Some(known) = self.subscriptions.get_mut(filter) {
            known.policy = policy.or(known.policy);
            return Ok(None);
        }
        if self.subscriptions.len() >= limit {
            return Err(SubscribeError::TopicsPerConnection { limit });
        }
        self.ticket += 1;
        let subscription = Subscription { ticket: self.ticket, is_admitted: false, policy };
        self.subscriptions.insert(Arc::clone(filter), subscription);
        self.prefixes += usize::from(is_prefix(filter));
        self.asking = Some(Arc::clone(filter));
        Ok(Some(self.ticket))
    }

    /// Notes that the hub has answered. Returns whether the connection has ended meanwhile: the
    /// subscription has to be ended too.
    pub(super) fn answered(&mut self) -> bool {
        self.asking = None;
        self.standing == Standing::Ended
    }

    /// Ends a subscription, and drops what waits only for it. Returns whether there was one.
    pub(super) fn remove(&mut self, filter: &str, counters: &Counters) -> bool {
        if self.subscriptions.remove(filter).is_none() {
            return false;
        }
        self.prefixes -= usize::from(is_prefix(filter));
        // Subscribed again, it would get what was kept, and this once more.
        let Desk { subscriptions, prefixes, reading, gaps, kept, waiting, .. } = self;
        let is_wanted =
            |publication: &Publication| filters_of(subscriptions, *prefixes, publication).next().is_some();
        reading.retain(|(topic, _)| **topic != *filter);
        gaps.retain(|gap| **gap != *filter);
        kept.retain(|publication| is_wanted(publication));
        waiting.retain(counters, is_wanted);
        true
    }

    /// Ends all subscriptions. Returns those whose end the hub has to be told, and whether it is being
    /// asked for another one.
    pub(super) fn end(&mut self, counters: &Counters) -> (Vec<Arc<str>>, bool) {
        self.standing = Standing::Ended;
        self.drop_waiting(counters);
        self.prefixes = 0;
        let asking = self.asking.clone();
        let filters = std::mem::take(&mut self.subscriptions).into_keys();
        (filters.filter(|filter| asking.as_ref() != Some(filter)).collect(), asking.is_some())
    }

    pub(super) fn filters(&self) -> Vec<Arc<str>> {
        self.subscriptions.keys().cloned().collect()
    }

    /// Drops everything that waits.
    pub(super) fn drop_waiting(&mut self, counters: &Counters) {
        self.kept.clear();
        self.reading.clear();
        self.waiting.clear(counters);
    }

    /// Lets a publication wait, if the connection is subscribed to it. Returns whether its task has
    /// something to do.
    pub(super) fn receive(&mut self, publication: &Arc<Publication>, counters: &Counters) -> bool {
        if self.standing != Standing::Open {
            return false;
        }
        let Desk { subscriptions, prefixes, waiting, .. } = self;
        let mut is_wanted = false;
        let mut policy = None;
        for subscription in filters_of(subscriptions, *prefixes, publication) {
            is_wanted |= subscription.is_admitted;
            policy = policy.or(subscription.policy.as_ref().filter(|_| subscription.is_admitted));
        }
        if !is_wanted {
            return false;
        }
        match waiting.push(publication, policy.unwrap_or(publication.slow_consumer()), counters) {
            Pushed::Waits | Pushed::Replaced => true,
            Pushed::Dropped => false,
            Pushed::Disconnect => {
                self.drop_waiting(counters);
                self.standing = Standing::TooSlow;
                true
            }
        }
    }

    /// Begins a subscription with the messages that were kept. Returns whether there are any.
    pub(super) fn join(&mut self, join: Join) -> bool {
        let subscription = self.subscriptions.get_mut(&join.filter);
        let Some(subscription) = subscription.filter(|known| known.ticket == join.subscriber) else {
            return false;
        };
        subscription.is_admitted |= join.admits;
        if !join.admits {
            self.reading.push((Arc::clone(&join.filter), join.serial));
        }
        let has_gap = join.gap;
        if has_gap {
            self.gaps.push(join.filter);
        }
        self.kept.extend(join.retained);
        has_gap || !self.kept.is_empty() || !self.reading.is_empty()
    }

    /// Takes the subscriptions for which the next page is to be read.
    pub(super) fn take_reading(&mut self) -> Vec<(Arc<str>, u64)> {
        if self.kept.is_empty() { std::mem::take(&mut self.reading) } else { Vec::new() }
    }

    /// Takes the filters in which messages may be lost.
    pub(super) fn take_gaps(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.gaps)
    }

    /// Whether a message waits, or is to be read.
    pub(super) fn has_more(&self) -> bool {
        !self.kept.is_empty() || !self.reading.is_empty() || !self.waiting.is_empty()
    }

    /// Takes the next message to send.
    pub(super) fn take(&mut self, counters: &Counters) -> Option<Arc<Publication>> {
        self.kept.pop_front().or_else(|| self.waiting.pop(counters))
    }
}

fn is_prefix(filter: &str) -> bool {
    filter.ends_with('#')
}

/// The subscriptions that match a publication, the exact one first.
fn filters_of<'a>(
    subscriptions: &'a HashMap<Arc<str>, Subscription>,
    count: usize,
    publication: &Publication,
) -> impl Iterator<Item = &'a Subscription> {
    let exact = subscriptions.get(publication.topic());
    let has_prefixes = count > 0 && !publication.is_for_filter();
    let prefixes = has_prefixes.then(|| prefixes(publication.topic()));
    let prefixes = prefixes.into_iter().flatten().filter_map(|name| subscriptions.get(&*name));
    exact.into_iter().chain(prefixes)
}
