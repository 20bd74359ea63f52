//! What waits to be published, in the order in which it was accepted, and its sequence numbers.

use framewright_driver::topics::Publication;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// The messages of one part of the topics.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    pub(crate) wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    previous: Previous,
}

/// What the publishing task does, one after the other.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Outgoing),
    /// Finds the last entry of a durable topic's stream. It waits its turn: what is published after a
    /// subscription must be read by it.
    Locate {
        topic: Arc<str>,
        serial: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) publication: Arc<Publication>,
    pub(crate) durable: bool,
    pub(crate) sequence: u64,
    pub(crate) previous: u64,
    /// Whether an attempt to send it has ended without an answer.
    pub(crate) again: bool,
}

impl Outgoing {
    /// What the message counts for.
    pub(crate) fn cost(&self) -> usize {
        cost(&self.publication)
    }
}

/// What a message counts for: its payload, its names, and 128 bytes.
pub(crate) fn cost(publication: &Publication) -> usize {
    let names = publication.topic().len() + publication.key().map_or(0, str::len);
    publication.message().payload_len() + names + 128
}

impl Queue {
    /// Puts a message at the end, with the next number of `sequences`.
    pub(crate) fn push(&self, publication: &Arc<Publication>, durable: bool, sequences: &Sequences) {
        let mut inner = self.lock();
        // Under the lock: in the queue the numbers ascend.
        let sequence = sequences.next();
        let previous = inner.previous.replace(publication.topic(), sequence);
        let publication = publication.clone();
        let message = Outgoing { publication, durable, sequence, previous, again: false };
        self.push_item(&mut inner, Item::Message(message));
    }

    /// Uses up a number for a message that others will not get, so that the next one tells them of the
    /// gap.
    pub(crate) fn skip(&self, topic: &str, sequences: &Sequences) {
        self.lock().previous.replace(topic, sequences.next());
    }

    pub(crate) fn locate(&self, topic: Arc<str>, serial: u64) {
        self.push_item(&mut self.lock(), Item::Locate { topic, serial });
    }

    fn push_item(&self, inner: &mut Inner, item: Item) {
        inner.items.push_back(item);
        if inner.items.len() == 1 {
            self.wake.notify_one();
        }
    }

    /// Takes messages for one turn, or one `Locate`.
    pub(crate) fn take(&self) -> Vec<Item> {
        let mut inner = self.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(item) = inner.items.front() {
            match item {
                Item::Message(message) => {
                    bytes += message.cost();
                    if !taken.is_empty() && (taken.len() == TURN_MESSAGES || bytes > TURN_BYTES) {
                        break;
                    }
                }
                Item::Locate { .. } if !taken.is_empty() => break,
                Item::Locate { .. } => {
                    taken.extend(inner.items.pop_front());
                    break;
                }
            }
            taken.extend(inner.items.pop_front());
        }
        taken
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages and bytes of one command to Redis.
const TURN_MESSAGES: usize = 256;
const TURN_BYTES: usize = 1 << 20;

/// The last sequence on each topic, for a bounded number of topics: half of them is forgotten at a time.
#[derive(Debug, Default)]
struct Previous {
    young: HashMap<Box<str>, u64>,
    old: HashMap<Box<str>, u64>,
}

impl Previous {
    /// Returns the last number of the topic, or 0, and notes the next.
    fn replace(&mut self, topic: &str, sequence: u64) -> u64 {
        if let Some(last) = self.young.get_mut(topic) {
            return std::mem::replace(last, sequence);
        }
        let last = self.old.get(topic).copied().unwrap_or(0);
        if self.young.len() >= REMEMBERED_TOPICS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(topic.into(), sequence);
        last
    }
}

const REMEMBERED_TOPICS: usize = 16_384;

/// The numbers of what a publisher sends, from 1 on.
#[derive(Debug, Default)]
pub(crate) struct Sequences(std::sync::atomic::AtomicU64);

impl Sequences {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed) + 1
    }
}

/// How much waits, over all parts.
#[derive(Debug)]
pub(crate) struct Room {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    most_messages: usize,
    most_bytes: usize,
    /// Tells that nothing waits any more.
    empty: (Mutex<()>, Condvar),
}

impl Room {
    pub(crate) fn new(most_messages: usize, most_bytes: usize) -> Self {
        let (messages, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { messages, bytes, most_messages, most_bytes, empty: Default::default() }
    }

    /// Reserves room for a message. The error is the limit that is reached.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), usize> {
        if self.messages.fetch_add(1, Relaxed) >= self.most_messages {
            self.messages.fetch_sub(1, Relaxed);
            return Err(self.most_messages);
        }
        if self.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes) > self.most_bytes {
            self.free(bytes);
            return Err(self.most_bytes);
        }
        Ok(())
    }

    pub(crate) fn free(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        if self.messages.fetch_sub(1, Relaxed) == 1 {
            // Under the lock: who waits has not looked yet, or hears it.
            let _lock = self.empty.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.empty.1.notify_all();
        }
    }

    /// Waits until nothing waits for Redis, at most until `deadline`.
    pub(crate) fn wait_until_empty(&self, deadline: Instant) {
        let mut lock = self.empty.0.lock().unwrap_or_else(PoisonError::into_inner);
        while self.messages.load(Relaxed) > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            lock = self.empty.1.wait_timeout(lock, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Messages and bytes that wait.
    pub(crate) fn taken(&self) -> (usize, usize) {
        (self.messages.load(Relaxed), self.bytes.load(Relaxed))
    }
}
