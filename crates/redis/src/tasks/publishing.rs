//! The task that publishes what was accepted, one turn after the other.
//!
//! A turn ends when Redis has answered to all of it. What Redis has not answered to is sent again, over
//! the next connection and in the same order, so a message may be in Redis twice; readers know it by its
//! sequence number. The messages of durable topics are one transaction, so that none of them overtakes
//! another when Redis refuses only some of them.

use crate::backoff::Backoff;
use crate::link::{Failure, Verdict, check_role, judge, require_master};
use crate::state::queue::{Item, Outgoing};
use crate::state::shared::{Shared, Stop};
use crate::stats::count;
use crate::wire::entry::{FIELD, entries};
use crate::wire::envelope::Envelope;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long a connection may be a replica's before this is noticed. It is asked with the next message,
/// and when there are none.
const ROLE_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(shared: Arc<Shared>, part: u16) {
    let mut task = Publishing {
        backoff: Backoff::new(shared.settings.first_pause, shared.settings.longest_pause),
        shared,
        part,
        connection: None,
        identity: None,
        role_known: Instant::now(),
    };
    let mut stop = task.shared.stop.subscribe();
    tokio::select! {
        () = task.run() => (),
        _ = stop.wait_for(|stop| *stop == Stop::Now) => (),
    }
    task.shared.lane(part).set_connection(None);
}

struct Publishing {
    shared: Arc<Shared>,
    part: u16,
    connection: Option<MultiplexedConnection>,
    /// How Redis calls the connection, or the last one.
    identity: Option<Identity>,
    backoff: Backoff,
    /// When the server was last known to be a master.
    role_known: Instant,
}

impl Publishing {
    async fn run(&mut self) {
        let mut turn = Vec::new();
        loop {
            if turn.is_empty() {
                turn = self.shared.lane(self.part).queue.take();
            }
            // The first connection is made at once, so that a wrong password is known early.
            let needed = !turn.is_empty() || self.part == 0;
            if needed && self.connection.is_none() {
                match self.shared.connect(self.part, None).await {
                    Ok(connection) => self.connected(connection).await,
                    Err(failure) => self.pause(&failure).await,
                }
                continue;
            }
            let result = if turn.is_empty() { self.rest().await } else { self.pass_on(&mut turn).await };
            match result {
                Ok(()) => self.backoff.reset(),
                Err(failure) => {
                    self.connection = None;
                    self.shared.lane(self.part).set_connection(None);
                    self.pause(&failure).await;
                }
            }
        }
    }

    /// Takes a connection in use. The one before it is ended at Redis too: commands may wait there that
    /// Redis has not read, because it was away and not dead, and they would be carried out after their
    /// copies. Without the permission for this, readers know most copies all the same.
    async fn connected(&mut self, mut connection: MultiplexedConnection) {
        if let Some(Identity { id, addr }) = self.identity.take() {
            // With both: a Redis that was started anew gives the number to somebody else.
            let mut kill = redis::cmd("CLIENT");
            kill.arg("KILL").arg("ID").arg(id).arg("ADDR").arg(addr);
            let _: Result<Value, _> = kill.query_async(&mut connection).await;
        }
        let info: Result<String, _> = redis::cmd("CLIENT").arg("INFO").query_async(&mut connection).await;
        self.identity = info.ok().and_then(|info| Identity::read(&info));
        self.shared.lane(self.part).set_connection(Some(connection.clone()));
        self.connection = Some(connection);
        self.role_known = Instant::now();
    }

    async fn pause(&mut self, failure: &Failure) {
        self.shared.failed(failure);
        tokio::time::sleep(self.backoff.pause()).await;
    }

    /// Waits for something to do, and makes sure of the connection meanwhile.
    async fn rest(&mut self) -> Result<(), Failure> {
        let queue = &self.shared.lane(self.part).queue;
        let Some(connection) = &mut self.connection else {
            queue.wake.notified().await;
            return Ok(());
        };
        if tokio::time::timeout(ROLE_EVERY, queue.wake.notified()).await.is_err() {
            require_master(connection).await?;
            self.role_known = Instant::now();
        }
        Ok(())
    }

    /// Passes a turn on. What is left of it is to be tried again.
    async fn pass_on(&mut self, turn: &mut Vec<Item>) -> Result<(), Failure> {
        let Some(connection) = self.connection.clone() else { return Err(Failure::Ended) };
        if let Some(Item::Locate { topic, serial }) = turn.first() {
            let (topic, serial) = (topic.clone(), *serial);
            self.locate(connection, topic, serial).await?;
            turn.clear();
            return Ok(());
        }
        let messages = turn.drain(..).filter_map(|item| match item {
            Item::Message(message) => Some(message),
            Item::Locate { .. } => None,
        });
        let (durable, plain): (Vec<_>, Vec<_>) = messages.partition(|message| message.durable);
        let ask_role = self.role_known.elapsed() >= ROLE_EVERY;
        let (plain, durable) = tokio::join!(
            self.send_plain(connection.clone(), plain, ask_role),
            self.send_durable(connection.clone(), durable),
        );
        if ask_role {
            self.role_known = Instant::now();
        }
        // A topic is of one of the two kinds, so the order within each is kept.
        turn.extend(plain.left.into_iter().chain(durable.left).map(Item::Message));
        plain.end.and(durable.end)
    }

    /// PUBLISH or SPUBLISH for each, in one piece.
    async fn send_plain(
        &self,
        mut connection: MultiplexedConnection,
        messages: Vec<Outgoing>,
        ask_role: bool,
    ) -> Sent {
        if messages.is_empty() {
            return Sent::default();
        }
        let publish = if self.shared.settings.is_cluster() { "SPUBLISH" } else { "PUBLISH" };
        let mut pipeline = Pipeline::with_capacity(messages.len() + 1);
        pipeline.ignore_errors();
        if ask_role {
            pipeline.cmd("ROLE");
        }
        for message in &messages {
            let channel = self.shared.settings.names.channel(message.publication.topic());
            pipeline.cmd(publish).arg(channel).arg(self.encode(message));
        }
        let answers: Result<Vec<Result<Value, RedisError>>, _> = pipeline.query_async(&mut connection).await;
        let mut answers = match answers {
            Ok(answers) if answers.len() == pipeline.len() => answers.into_iter(),
            Ok(_) => return Sent::unanswered(messages, Failure::Ended),
            Err(error) => return Sent::unanswered(messages, error.into()),
        };
        if ask_role {
            let role = answers.next().expect("one answer for each command");
            if let Err(failure) = check_role(role) {
                return Sent::unanswered(messages, failure);
            }
        }
        let mut sent = Sent::default();
        for (message, answer) in messages.into_iter().zip(answers) {
            match answer {
                Ok(_) => self.done(&message),
                Err(error) => self.settle(&mut sent, message, error),
            }
        }
        sent
    }

    /// XADD for each, all or none of them.
    async fn send_durable(&self, mut connection: MultiplexedConnection, messages: Vec<Outgoing>) -> Sent {
        if messages.len() < 2 {
            return self.send_one_by_one(connection, messages).await;
        }
        let mut pipeline = Pipeline::with_capacity(messages.len());
        pipeline.atomic().ignore_errors();
        for message in &messages {
            pipeline.add_command(self.xadd(message));
        }
        let answers: Result<Vec<Result<Value, RedisError>>, _> = pipeline.query_async(&mut connection).await;
        match answers {
            Ok(answers) if answers.len() == messages.len() => {
                let mut sent = Sent::default();
                for (message, answer) in messages.into_iter().zip(answers) {
                    match answer {
                        Ok(_) => self.done(&message),
                        Err(error) => self.settle(&mut sent, message, error),
                    }
                }
                sent
            }
            Ok(_) => Sent::unanswered(messages, Failure::Ended),
            // None of them was carried out. One after the other, it shows which of them Redis refuses.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ExecAbort) => {
                self.send_one_by_one(connection, messages).await
            }
            Err(error) if matches!(judge(&error), Verdict::Lost) => Sent::unanswered(messages, error.into()),
            Err(_) => self.send_one_by_one(connection, messages).await,
        }
    }

    async fn send_one_by_one(&self, mut connection: MultiplexedConnection, messages: Vec<Outgoing>) -> Sent {
        let mut sent = Sent::default();
        let mut messages = messages.into_iter();
        while let Some(message) = messages.next() {
            match self.xadd(&message).query_async::<Value>(&mut connection).await {
                Ok(_) => self.done(&message),
                Err(error) => self.settle(&mut sent, message, error),
            }
            if sent.end.is_err() {
                sent.left.extend(messages);
                break;
            }
        }
        sent
    }

    fn xadd(&self, message: &Outgoing) -> Cmd {
        let mut command = redis::cmd("XADD");
        command.arg(self.shared.settings.names.stream(message.publication.topic()));
        if self.shared.settings.keep != usize::MAX {
            command.arg("MAXLEN").arg("~").arg(self.shared.settings.keep);
        }
        command.arg("*").arg(FIELD).arg(self.encode(message));
        command
    }

    fn encode(&self, message: &Outgoing) -> Vec<u8> {
        let publication = &message.publication;
        let envelope = Envelope {
            publisher: self.shared.publisher,
            sequence: message.sequence,
            previous: message.previous,
            again: message.again,
            topic: publication.topic(),
            key: publication.key(),
            text: publication.message().is_text(),
            payload: publication.message().payload(),
        };
        envelope.encode()
    }

    fn done(&self, message: &Outgoing) {
        self.shared.counters.published.fetch_add(1, Relaxed);
        self.shared.room.free(message.cost());
    }

    /// Decides what becomes of a message to which Redis has answered with an error.
    fn settle(&self, sent: &mut Sent, mut message: Outgoing, error: RedisError) {
        match judge(&error) {
            Verdict::Refused => {
                let topic = message.publication.topic();
                let number = count(&self.shared.counters.dropped);
                if number.is_power_of_two() {
                    tracing::error!(topic, number, %error, "Redis refuses a message: it was dropped");
                }
                self.shared.room.free(message.cost());
                // Others notice the gap by the next message. Here a durable one was expected.
                if message.durable {
                    self.shared.gap(topic);
                }
                return;
            }
            Verdict::Lost => message.again = true,
            Verdict::Moved(home) => self.shared.homes.moved(self.part, home),
            Verdict::Later => (),
        }
        sent.left.push(message);
        sent.end = Err(error.into());
    }

    /// Finds the last entry of a stream: what comes behind it is for the subscribers.
    async fn locate(
        &self,
        mut connection: MultiplexedConnection,
        topic: Arc<str>,
        serial: u64,
    ) -> Result<(), Failure> {
        let stream = self.shared.settings.names.stream(&topic);
        let mut command = redis::cmd("XREVRANGE");
        command.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let last: Value = match command.query_async(&mut connection).await {
            Ok(last) => last,
            Err(error) => {
                if let Verdict::Moved(home) = judge(&error) {
                    self.shared.homes.moved(self.part, home);
                }
                if judge(&error) == Verdict::Refused {
                    tracing::error!(topic = &*topic, %error, "a durable topic cannot be read");
                    self.shared.gap(&topic);
                    return Ok(());
                }
                return Err(error.into());
            }
        };
        let last = entries(last).into_iter().next().map(|entry| entry.id);
        let streams = &self.shared.lane(self.part).streams;
        streams.located(&topic, serial, last.unwrap_or_default());
        // Without the permission it is read within half a second all the same.
        if let Some(reader) = streams.reader() {
            let _: Result<Value, _> =
                redis::cmd("CLIENT").arg("UNBLOCK").arg(reader).query_async(&mut connection).await;
        }
        Ok(())
    }
}

/// A connection in the words of Redis.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    id: String,
    addr: String,
}

impl Identity {
    /// Reads the answer to CLIENT INFO: `id=3 addr=127.0.0.1:55555 laddr=.. ..`.
    fn read(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = info.split_ascii_whitespace();
            fields.find_map(|field| field.strip_prefix(name)).map(str::to_owned)
        };
        Some(Self { id: field("id=")?, addr: field("addr=")? })
    }
}

/// What has become of some messages.
struct Sent {
    /// Those that are to be sent again, in their order.
    left: Vec<Outgoing>,
    end: Result<(), Failure>,
}

impl Default for Sent {
    fn default() -> Self {
        Self { left: Vec::new(), end: Ok(()) }
    }
}

impl Sent {
    fn unanswered(mut messages: Vec<Outgoing>, failure: Failure) -> Self {
        for message in &mut messages {
            message.again = true;
        }
        Self { left: messages, end: Err(failure) }
    }
}
