//! The durable topics of one part that are followed, and how far.

use crate::wire::entry::Id;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The durable topics that have subscribers here, and how far each was read.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    inner: Mutex<Inner>,
    /// Wakes the task.
    pub(crate) wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    topics: HashMap<Arc<str>, Position>,
    serial: u64,
    /// The connection that waits, as Redis numbers it.
    reader: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    /// Tells this subscription from an earlier one of the topic.
    serial: u64,
    /// The entry that was read last. `None` until the end of the stream is known.
    after: Option<Id>,
}

impl Streams {
    /// Adds a topic, and returns its serial, unless it is there already.
    pub(crate) fn add(&self, topic: &Arc<str>) -> Option<u64> {
        let mut inner = self.lock();
        if inner.topics.contains_key(topic) {
            return None;
        }
        inner.serial += 1;
        let serial = inner.serial;
        inner.topics.insert(topic.clone(), Position { serial, after: None });
        Some(serial)
    }

    /// Whether it was there.
    pub(crate) fn remove(&self, topic: &str) -> bool {
        self.lock().topics.remove(topic).is_some()
    }

    /// Notes where to begin.
    pub(crate) fn located(&self, topic: &str, serial: u64, after: Id) {
        if let Some(position) = self.lock().topics.get_mut(topic).filter(|position| position.serial == serial)
        {
            position.after.get_or_insert(after);
        }
        self.wake.notify_one();
    }

    /// The connection that waits now.
    pub(crate) fn reader(&self) -> Option<i64> {
        self.lock().reader
    }

    pub(crate) fn advance(&self, place: &Place, after: Id) {
        let mut inner = self.lock();
        if let Some(position) = inner.topics.get_mut(&place.topic).filter(|p| p.serial == place.serial) {
            position.after = Some(after);
        }
    }

    pub(crate) fn is_current(&self, place: &Place) -> bool {
        self.lock().topics.get(&place.topic).is_some_and(|position| position.serial == place.serial)
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let inner = self.lock();
        let places = inner.topics.iter().filter_map(|(topic, position)| {
            Some(Place { topic: topic.clone(), serial: position.serial, after: position.after? })
        });
        places.collect()
    }

    pub(crate) fn set_reader(&self, reader: Option<i64>) {
        self.lock().reader = reader;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a stream is read next.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) serial: u64,
    pub(crate) after: Id,
}
