//! What the tasks of a backplane and its callers share.

use crate::link::{self, Failure, Homes};
use crate::settings::Settings;
use crate::state::queue::{Queue, Room, Sequences};
use crate::state::streams::Streams;
use crate::state::wanted::Wanted;
use crate::stats::{Counters, count};
use crate::wire::envelope::{Broken, Envelope, Publisher};
use framewright::OwnedMessage;
use framewright_driver::topics::Remote;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::watch;

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) homes: Homes,
    pub(crate) publisher: Publisher,
    pub(crate) sequences: Sequences,
    pub(crate) room: Room,
    pub(crate) counters: Counters,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) remote: OnceLock<Remote>,
    /// Pages that are being read.
    pub(crate) reads: AtomicUsize,
    /// Durable topics that have subscribers here.
    streams: AtomicUsize,
    /// Why the last connection failed, until one succeeds.
    failure: Mutex<Option<String>>,
    pub(crate) stop: watch::Sender<Stop>,
}

/// How far stopping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// Nothing more is accepted. What was accepted is passed on.
    Draining,
    Now,
}

/// One part of the topics: all of them on one server, a sixteenth in a cluster. All of its channels and
/// streams are in one slot, so on one server. It has connections of its own.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) queue: Queue,
    pub(crate) wanted: Wanted,
    pub(crate) streams: Streams,
    /// The connection for commands, for those who read a page.
    connection: Mutex<Option<MultiplexedConnection>>,
    connected: AtomicBool,
}

impl Lane {
    pub(crate) fn set_connection(&self, connection: Option<MultiplexedConnection>) {
        self.connected.store(connection.is_some(), Relaxed);
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    pub(crate) fn connection(&self) -> Option<MultiplexedConnection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        let parts = settings.names.partitions();
        Self {
            homes: Homes::new(settings.servers.clone()),
            publisher: rand::random(),
            sequences: Sequences::default(),
            room: Room::new(settings.waiting_messages, settings.waiting_bytes),
            counters: Counters::default(),
            lanes: (0..parts).map(|_| Lane::default()).collect(),
            remote: OnceLock::new(),
            reads: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            failure: Mutex::new(None),
            stop: watch::Sender::new(Stop::No),
            settings,
        }
    }

    pub(crate) fn lane_of(&self, topic: &str) -> &Lane {
        self.lane(self.settings.names.partition(topic))
    }

    pub(crate) fn lane(&self, part: u16) -> &Lane {
        &self.lanes[usize::from(part)]
    }

    /// Counts one more durable topic, if the limit allows it.
    pub(crate) fn stream_comes(&self) -> bool {
        let room = self.streams.fetch_add(1, Relaxed) < self.settings.durable_topics;
        if !room {
            self.stream_gone();
        }
        room
    }

    pub(crate) fn stream_gone(&self) {
        self.streams.fetch_sub(1, Relaxed);
    }

    pub(crate) async fn connect(
        &self,
        part: u16,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<MultiplexedConnection, Failure> {
        let connection = link::connect(&self.settings, &self.homes, part, pushes).await?;
        count(&self.counters.connections);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(connection)
    }

    /// Notes why a connection failed. The log has each new reason once.
    pub(crate) fn failed(&self, failure: &Failure) {
        count(&self.counters.failures);
        let text = failure.to_string();
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&text) {
            tracing::warn!(reason = %text, "Redis cannot be used now; trying again");
            *last = Some(text);
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn gap(&self, filter: &str) {
        count(&self.counters.gaps);
        if let Some(remote) = self.remote.get() {
            let _ = guarded(|| remote.gap(Some(filter)));
        }
    }

    /// Hands over what came from Redis. `id` is its place in a stream. `false`: there is no room now,
    /// and nothing was handed over.
    pub(crate) fn deliver(&self, envelope: &Envelope<'_>, id: Option<&str>) -> Result<bool, Broken> {
        let message = OwnedMessage::from(envelope.message()?);
        let Some(remote) = self.remote.get() else { return Ok(true) };
        let delivered = guarded(|| remote.deliver(envelope.topic, message, envelope.key, id)).unwrap_or(true);
        if delivered {
            count(&self.counters.received);
        }
        Ok(delivered)
    }

    /// Counts something that is no envelope. The log has the first one, the second, the fourth and so on.
    pub(crate) fn broken(&self, place: &[u8], broken: Broken) {
        let number = count(&self.counters.broken);
        if number.is_power_of_two() {
            let place = String::from_utf8_lossy(place);
            tracing::warn!(%place, number, "a message in Redis was dropped, because {broken}");
        }
    }
}

/// Calls what the application may have a part in. `None` if it panics: the task goes on.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = panic::catch_unwind(AssertUnwindSafe(call)).ok();
    if result.is_none() {
        tracing::error!("what receives from Redis has panicked; the backplane goes on");
    }
    result
}

/// Sequence numbers that a reader remembers at least, for pairs of a publisher and a topic.
pub(crate) const REMEMBERED_NUMBERS: usize = 16_384;
