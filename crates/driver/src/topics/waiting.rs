//! The messages that wait for one slow connection.
//!
//! ```text
//!   first ->  [A] [ ] [C] [D] [E]   <- first + 4          [ ]: replaced or dropped meanwhile
//!   oldest:    A           D        those that DropOldest may drop, by number
//!   newest:   (topic, key) -> C     those that Latest may replace
//! ```

use super::counters::Counters;
use super::options::SlowConsumer;
use super::publication::Publication;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Messages of any topics that wait for one slow connection, oldest first.
///
/// A driver makes one when the connection becomes slow, and drops it when it is empty. The gauge
/// in [`Counters`] is right only if it is [cleared](Waiting::clear) before that.
#[derive(Debug, Default)]
pub struct Waiting {
    /// `None`: the message waits no longer. The first entry is never `None`.
    queue: VecDeque<Option<Arc<Publication>>>,
    /// The number of the first entry.
    first: u64,
    len: usize,
    bytes: usize,
    oldest: VecDeque<u64>,
    newest: HashMap<ByKey, u64>,
}

/// The result of [`Waiting::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "one for each thing that a policy can do")]
pub enum Pushed {
    /// The message waits. Older ones may have been dropped for it.
    Waits,
    /// The message waits, in place of an older one with its key.
    Replaced,
    /// The message was dropped.
    Dropped,
    /// The connection is to be closed with code 1013. Nothing waits any more.
    Disconnect,
}

/// Compared by topic and key.
#[derive(Debug)]
struct ByKey(Arc<Publication>);

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0.topic(), self.0.key()).hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        (self.0.topic(), self.0.key()) == (other.0.topic(), other.0.key())
    }
}

impl Eq for ByKey {}

impl Waiting {
    /// Adds a message as the policy says.
    pub fn push(
        &mut self,
        publication: &Arc<Publication>,
        policy: &SlowConsumer,
        counters: &Counters,
    ) -> Pushed {
        let cost = publication.cost();
        match *policy {
            SlowConsumer::Disconnect { limit } => {
                if !self.fits(cost, limit) {
                    return self.disconnect(counters);
                }
            }
            SlowConsumer::DropNewest { limit } => {
                if !self.fits(cost, limit) {
                    counters.dropped_newest();
                    return Pushed::Dropped;
                }
            }
            SlowConsumer::DropOldest { limit } => {
                if cost <= limit {
                    self.make_room(cost, limit, counters);
                }
                if !self.fits(cost, limit) {
                    counters.dropped_newest();
                    return Pushed::Dropped;
                }
                self.oldest.push_back(self.next());
            }
            SlowConsumer::Latest { limit } => {
                let earlier = self.newest.remove(&ByKey(Arc::clone(publication)));
                let replaces = earlier.is_some_and(|number| self.take(number, counters).is_some());
                if replaces {
                    counters.replaced();
                }
                if !self.fits(cost, limit) {
                    return self.disconnect(counters);
                }
                self.newest.insert(ByKey(Arc::clone(publication)), self.next());
                self.append(publication, counters);
                return if replaces { Pushed::Replaced } else { Pushed::Waits };
            }
        }
        self.append(publication, counters);
        Pushed::Waits
    }

    /// Takes the oldest message; `None` if nothing waits.
    pub fn pop(&mut self, counters: &Counters) -> Option<Arc<Publication>> {
        let publication = self.take(self.first, counters)?;
        if !self.newest.is_empty() {
            let key = ByKey(publication);
            // A message that came by another policy may have the key of one that waits.
            if self.newest.get(&key).is_some_and(|&number| number < self.first) {
                self.newest.remove(&key);
            }
            return Some(key.0);
        }
        Some(publication)
    }

    /// The oldest message; `None` if nothing waits.
    #[must_use]
    pub fn front(&self) -> Option<&Arc<Publication>> {
        self.queue.front()?.as_ref()
    }

    /// Drops the messages for which `keep` returns false. They are not counted as dropped.
    pub fn retain(&mut self, counters: &Counters, mut keep: impl FnMut(&Publication) -> bool) {
        for entry in &mut self.queue {
            if let Some(publication) = entry.take_if(|publication| !keep(publication)) {
                self.len -= 1;
                self.bytes -= publication.cost();
                counters.waits_less(publication.cost());
            }
        }
        self.tidy();
        let (first, queue) = (self.first, &self.queue);
        self.newest.retain(|_, number| {
            number.checked_sub(first).and_then(|at| queue.get(usize::try_from(at).ok()?)?.as_ref()).is_some()
        });
    }

    /// Drops everything.
    pub fn clear(&mut self, counters: &Counters) {
        counters.waits_less(self.bytes);
        *self = Self { first: self.next(), ..Self::default() };
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes that count against the limits of policies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of memory to charge the connection for. Payloads that others hold too are counted
    /// in full.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes
            + self.queue.capacity() * size_of::<Option<Arc<Publication>>>()
            + self.oldest.capacity() * size_of::<u64>()
            + self.newest.capacity() * (size_of::<(ByKey, u64)>() + 1)
    }

    fn fits(&self, cost: usize, limit: usize) -> bool {
        self.bytes.saturating_add(cost) <= limit
    }

    /// The number of the next entry.
    fn next(&self) -> u64 {
        self.first + self.queue.len() as u64
    }

    fn append(&mut self, publication: &Arc<Publication>, counters: &Counters) {
        let cost = publication.cost();
        self.queue.push_back(Some(Arc::clone(publication)));
        self.len += 1;
        self.bytes += cost;
        counters.waits_more(cost);
    }

    fn make_room(&mut self, cost: usize, limit: usize, counters: &Counters) {
        while !self.fits(cost, limit)
            && let Some(number) = self.oldest.pop_front()
        {
            if self.take(number, counters).is_some() {
                counters.dropped_oldest();
            }
        }
    }

    fn disconnect(&mut self, counters: &Counters) -> Pushed {
        self.clear(counters);
        counters.disconnected();
        Pushed::Disconnect
    }

    /// Takes the entry with a number; `None` if it waits no longer.
    fn take(&mut self, number: u64, counters: &Counters) -> Option<Arc<Publication>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let publication = self.queue.get_mut(at)?.take()?;
        self.len -= 1;
        self.bytes -= publication.cost();
        counters.waits_less(publication.cost());
        self.tidy();
        Some(publication)
    }

    /// Removes what nobody needs any more: empty entries at the front, and, where most entries are
    /// empty, those in the middle.
    fn tidy(&mut self) {
        while matches!(self.queue.front(), Some(None)) {
            self.queue.pop_front();
            self.first += 1;
        }
        while self.oldest.front().is_some_and(|number| *number < self.first) {
            self.oldest.pop_front();
        }
        if self.queue.len() > 2 * self.len + SPARE {
            self.compact();
        }
    }

    fn compact(&mut self) {
        // The numbers of entries, in ascending order, become those from `first` on.
        let numbers: Vec<u64> =
            (self.first..).zip(&self.queue).filter(|(_, entry)| entry.is_some()).map(|(n, _)| n).collect();
        let renumbered = |number: &u64| numbers.binary_search(number).ok().map(|at| self.first + at as u64);
        self.oldest = self.oldest.iter().filter_map(renumbered).collect();
        self.newest = std::mem::take(&mut self.newest)
            .into_iter()
            .filter_map(|(key, number)| Some((key, renumbered(&number)?)))
            .collect();
        self.queue = self.queue.drain(..).filter(Option::is_some).collect();
    }
}

/// The number of empty entries that are not worth a compaction.
const SPARE: usize = 32;
