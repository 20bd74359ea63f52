//! The task that reads the streams of the durable topics of one part that have subscribers here.
//!
//! It waits for all of them with one command, always behind the last entry that it has seen: never
//! behind `$`, which would be what has come while the connection was away.

use crate::backoff::Backoff;
use crate::envelope::{Broken, Envelope};
use crate::link::{Failure, Verdict, judge};
use crate::publishing::FIELD;
use crate::seen::{Seen, Sight};
use crate::shared::{REMEMBERED_NUMBERS, Shared, Stop};
use crate::stats::count;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The durable topics that have subscribers here, and how far each was read.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    inner: Mutex<Inner>,
    wake: Notify,
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

    fn advance(&self, place: &Place, after: Id) {
        let mut inner = self.lock();
        if let Some(position) = inner.topics.get_mut(&place.topic).filter(|p| p.serial == place.serial) {
            position.after = Some(after);
        }
    }

    fn is_current(&self, place: &Place) -> bool {
        self.lock().topics.get(&place.topic).is_some_and(|position| position.serial == place.serial)
    }

    fn places(&self) -> Vec<Place> {
        let inner = self.lock();
        let places = inner.topics.iter().filter_map(|(topic, position)| {
            Some(Place { topic: topic.clone(), serial: position.serial, after: position.after? })
        });
        places.collect()
    }

    fn set_reader(&self, reader: Option<i64>) {
        self.lock().reader = reader;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a stream is read next.
#[derive(Clone, Debug)]
struct Place {
    topic: Arc<str>,
    serial: u64,
    after: Id,
}

pub(crate) async fn run(shared: Arc<Shared>, part: u16) {
    let mut task = Reading {
        backoff: Backoff::new(shared.settings.first_pause, shared.settings.longest_pause),
        shared,
        part,
        seen: Seen::new(REMEMBERED_NUMBERS),
        serials: HashMap::new(),
        entries: FEWEST_ENTRIES,
    };
    let mut stop = task.shared.stop.subscribe();
    tokio::select! {
        () = task.run() => (),
        _ = stop.wait_for(|stop| *stop == Stop::Now) => (),
    }
}

struct Reading {
    shared: Arc<Shared>,
    part: u16,
    backoff: Backoff,
    seen: Seen,
    /// The subscription of each topic for which `seen` speaks.
    serials: HashMap<Arc<str>, u64>,
    /// How many entries of a stream are read at a time.
    entries: usize,
}

impl Reading {
    async fn run(&mut self) {
        loop {
            let shared = self.shared.clone();
            let streams = &shared.lane(self.part).streams;
            if streams.places().is_empty() {
                streams.wake.notified().await;
                continue;
            }
            let failure = match shared.connect(self.part, None).await {
                Ok(connection) => self.serve(connection).await,
                Err(failure) => failure,
            };
            streams.set_reader(None);
            shared.failed(&failure);
            tokio::time::sleep(self.backoff.pause()).await;
        }
    }

    async fn serve(&mut self, mut connection: MultiplexedConnection) -> Failure {
        let shared = self.shared.clone();
        let streams = &shared.lane(self.part).streams;
        // Without the permission nobody wakes the reader; it looks for itself twice a second.
        let reader: Option<i64> = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await.ok();
        streams.set_reader(reader);
        let mut checked = false;
        loop {
            let places = streams.places();
            if places.is_empty() {
                streams.wake.notified().await;
                continue;
            }
            self.forget_earlier(&places);
            let result = async {
                if !std::mem::replace(&mut checked, true) {
                    self.check_kept(&mut connection, &places).await?;
                }
                self.read(&mut connection, &places).await
            };
            match result.await {
                Ok(()) => self.backoff.reset(),
                Err(error) => {
                    if let Verdict::Moved(home) = judge(&error) {
                        shared.homes.moved(self.part, home);
                    }
                    return error.into();
                }
            }
        }
    }

    /// What an earlier subscription of a topic has seen tells nothing about this one.
    fn forget_earlier(&mut self, places: &[Place]) {
        for place in places {
            if self
                .serials
                .insert(place.topic.clone(), place.serial)
                .is_some_and(|serial| serial != place.serial)
            {
                self.seen.forget(|topic| *topic == *place.topic);
            }
        }
        if self.serials.len() > 2 * places.len() + 16 {
            let current: HashMap<_, _> =
                places.iter().map(|place| (place.topic.clone(), place.serial)).collect();
            self.seen.forget(|topic| !current.contains_key(topic));
            self.serials = current;
        }
    }

    /// Tells a gap for each stream whose entry that was read last is not kept any more, though later
    /// ones are: those between may be gone too.
    async fn check_kept(
        &self,
        connection: &mut MultiplexedConnection,
        places: &[Place],
    ) -> Result<(), RedisError> {
        let places: Vec<&Place> = places.iter().filter(|place| place.after != Id::default()).collect();
        if places.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(places.len());
        pipeline.ignore_errors();
        for place in &places {
            let stream = self.shared.settings.names.stream(&place.topic);
            pipeline.cmd("XRANGE").arg(stream).arg(place.after.to_string()).arg("+").arg("COUNT").arg(1);
        }
        let answers: Vec<Result<Value, RedisError>> = pipeline.query_async(connection).await?;
        for (place, answer) in places.into_iter().zip(answers) {
            if entries(answer?).first().is_some_and(|first| first.id != place.after) {
                self.shared.gap(&place.topic);
            }
        }
        Ok(())
    }

    /// Waits for new entries, and hands them over.
    async fn read(
        &mut self,
        connection: &mut MultiplexedConnection,
        places: &[Place],
    ) -> Result<(), RedisError> {
        let names: Vec<String> =
            places.iter().map(|place| self.shared.settings.names.stream(&place.topic)).collect();
        let block = WAIT.min(self.shared.settings.timeout / 2);
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(self.entries).arg("BLOCK").arg(block.as_millis().to_string());
        command.arg("STREAMS").arg(&names);
        for place in places {
            command.arg(place.after.to_string());
        }
        let reply: Value = command.query_async(connection).await?;
        let Value::Map(streams) = reply else { return Ok(()) };
        let (mut bytes, mut longest, mut next) = (0, 0, 0);
        for (name, value) in streams {
            let Value::BulkString(name) = name else { continue };
            // Redis answers in the order of the names.
            let ahead = names[next..].iter().position(|known| known.as_bytes() == name);
            let Some(at) = ahead.map(|ahead| next + ahead) else { continue };
            next = at + 1;
            let entries = entries(value);
            longest = longest.max(entries.len());
            for entry in entries {
                bytes += entry.bytes.as_ref().map_or(0, Vec::len);
                if !self.hand_over(&places[at], &name, entry).await {
                    break;
                }
            }
        }
        if bytes > TURN_BYTES {
            self.entries = (self.entries / 2).max(1);
        } else if longest == self.entries {
            self.entries = (self.entries * 2).min(MOST_ENTRIES);
        }
        Ok(())
    }

    /// `false`: the topic has no subscribers any more, or others.
    async fn hand_over(&mut self, place: &Place, name: &[u8], entry: Entry) -> bool {
        let shared = self.shared.clone();
        let streams = &shared.lane(self.part).streams;
        match entry.envelope(&place.topic) {
            Err(broken) => shared.broken(name, broken),
            Ok(envelope) => {
                let sight = self.seen.look(&envelope);
                if sight == Sight::Gap {
                    shared.gap(&place.topic);
                }
                if sight == Sight::Again {
                    count(&shared.counters.duplicates);
                } else if !self.deliver(place, name, &envelope, entry.id).await {
                    return false;
                }
            }
        }
        streams.advance(place, entry.id);
        true
    }

    /// Hands an entry over as soon as there is room for it.
    async fn deliver(&self, place: &Place, name: &[u8], envelope: &Envelope<'_>, id: Id) -> bool {
        let streams = &self.shared.lane(self.part).streams;
        let id = id.to_string();
        loop {
            if !streams.is_current(place) {
                return false;
            }
            match self.shared.deliver(envelope, Some(&id)) {
                Ok(true) => return true,
                Ok(false) => tokio::time::sleep(NO_ROOM).await,
                Err(broken) => {
                    self.shared.broken(name, broken);
                    return true;
                }
            }
        }
    }
}

/// The place of an entry in its stream: the server's milliseconds, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    milliseconds: u64,
    number: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, ()> {
        let (milliseconds, number) = id.split_once('-').ok_or(())?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(milliseconds) || !digits(number) {
            return Err(());
        }
        let milliseconds = milliseconds.parse().map_err(|_| ())?;
        Ok(Self { milliseconds, number: number.parse().map_err(|_| ())? })
    }
}

/// An entry of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    /// What its field `m` has.
    bytes: Option<Vec<u8>>,
}

impl Entry {
    pub(crate) fn envelope(&self, topic: &str) -> Result<Envelope<'_>, Broken> {
        let envelope = Envelope::decode(self.bytes.as_deref().ok_or(Broken::Foreign)?)?;
        if envelope.topic == topic { Ok(envelope) } else { Err(Broken::Place) }
    }
}

/// Reads the entries in the answer to XRANGE, or of one stream in that to XREAD.
pub(crate) fn entries(value: Value) -> Vec<Entry> {
    let Value::Array(entries) = value else { return Vec::new() };
    entries.into_iter().filter_map(entry).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(entry) = value else { return None };
    let mut parts = entry.into_iter();
    let Some(Value::BulkString(id)) = parts.next() else { return None };
    let id = std::str::from_utf8(&id).ok()?.parse().ok()?;
    // An entry that was deleted while it was waited for has no fields.
    let Some(Value::Array(fields)) = parts.next() else { return Some(Entry { id, bytes: None }) };
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(name), Value::BulkString(bytes)) = (name, value)
            && name == FIELD.as_bytes()
        {
            return Some(Entry { id, bytes: Some(bytes) });
        }
    }
    Some(Entry { id, bytes: None })
}

/// How long one command waits for entries.
const WAIT: Duration = Duration::from_millis(500);
/// How long the reader waits when subscribers have no room.
const NO_ROOM: Duration = Duration::from_millis(5);
const FEWEST_ENTRIES: usize = 16;
const MOST_ENTRIES: usize = 512;
/// Of entries that take more, fewer are read the next time.
const TURN_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_redis_orders_them_and_nothing_else_is_one() {
        let id = |text: &str| text.parse::<Id>();
        assert_eq!(id("1526919030474-55").map(|id| id.to_string()), Ok("1526919030474-55".to_owned()));
        assert!(id("9-1") < id("10-0") && id("10-2") < id("10-10"));
        for wrong in ["", "$", "1", "1-", "-1", "+1-1", "1-1-1", "1-99999999999999999999", "a-b"] {
            assert_eq!(id(wrong), Err(()), "{wrong}");
        }
    }

    #[test]
    fn entries_of_others_are_read_without_a_panic() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let with = |fields: Value| Value::Array(vec![text("5-1"), fields]);
        let reply = Value::Array(vec![
            with(Value::Array(vec![text("other"), text("x"), text("m"), text("y")])),
            with(Value::Array(vec![text("other")])),
            with(Value::Nil),
            Value::Int(3),
            Value::Array(vec![text("no id"), Value::Nil]),
        ]);
        let id = Id { milliseconds: 5, number: 1 };
        let expected = [Some(b"y".to_vec()), None, None].map(|bytes| Entry { id, bytes });
        assert_eq!(entries(reply), expected);
        assert_eq!(expected[0].envelope("t"), Err(Broken::Short));
        assert_eq!(expected[1].envelope("t"), Err(Broken::Foreign));
    }
}
