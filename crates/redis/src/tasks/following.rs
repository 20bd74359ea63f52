//! The task that reads the streams of the durable topics of one part that have subscribers here.
//!
//! It waits for all of them with one command, always behind the last entry that it has seen: never
//! behind `$`, which would be what has come while the connection was away.

use crate::backoff::Backoff;
use crate::link::{Failure, Verdict, judge};
use crate::state::seen::{Seen, Sight};
use crate::state::shared::{REMEMBERED_NUMBERS, Shared, Stop};
use crate::state::streams::Place;
use crate::stats::count;
use crate::wire::entry::{Entry, Id, entries};
use crate::wire::envelope::Envelope;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

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

/// How long one command waits for entries.
const WAIT: Duration = Duration::from_millis(500);
/// How long the reader waits when subscribers have no room.
const NO_ROOM: Duration = Duration::from_millis(5);
const FEWEST_ENTRIES: usize = 16;
const MOST_ENTRIES: usize = 512;
/// Of entries that take more, fewer are read the next time.
const TURN_BYTES: usize = 4 << 20;
