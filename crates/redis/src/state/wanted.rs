//! The subscriptions of one part that Redis should have.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The filters that have subscribers here.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    inner: Mutex<Inner>,
    /// Wakes the task.
    pub(crate) wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    filters: HashSet<Arc<str>>,
    /// Filters that came or went since the task last looked.
    changed: HashSet<Arc<str>>,
}

impl Wanted {
    pub(crate) fn add(&self, filter: &str) {
        let mut inner = self.lock();
        let filter: Arc<str> = filter.into();
        if inner.filters.insert(filter.clone()) {
            inner.changed.insert(filter);
            self.wake.notify_one();
        }
    }

    pub(crate) fn remove(&self, filter: &str) {
        let mut inner = self.lock();
        if let Some(filter) = inner.filters.take(filter) {
            inner.changed.insert(filter);
            self.wake.notify_one();
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<str>> {
        let mut inner = self.lock();
        inner.changed.clear();
        inner.filters.iter().cloned().collect()
    }

    /// What has changed, and whether it is wanted now.
    pub(crate) fn take_changed(&self) -> Vec<(Arc<str>, bool)> {
        let mut inner = self.lock();
        let changed = std::mem::take(&mut inner.changed);
        changed.into_iter().map(|filter| (filter.clone(), inner.filters.contains(&filter))).collect()
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.lock().filters.contains(filter)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().filters.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
