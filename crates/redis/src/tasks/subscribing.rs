//! The task that keeps the subscriptions of one part in Redis, and the reader of what they bring.
//!
//! From the loss of a connection until Redis has confirmed the subscription on the next one, everything
//! is lost that others publish. So a gap is told twice: when it begins, and when it has ended.

use crate::backoff::Backoff;
use crate::link::{Failure, Verdict, judge, require_master};
use crate::state::incoming::Incoming;
use crate::state::shared::{Shared, Stop};
use crate::wire::names::is_prefix;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{Pipeline, PushInfo, PushKind, RedisError, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

pub(crate) async fn run(shared: Arc<Shared>, part: u16) {
    let mut task = Subscribing {
        backoff: Backoff::new(shared.settings.first_pause, shared.settings.longest_pause),
        shared,
        part,
        incoming: Arc::new(Incoming::new()),
        missed: HashSet::new(),
    };
    let mut stop = task.shared.stop.subscribe();
    tokio::select! {
        () = task.run() => (),
        _ = stop.wait_for(|stop| *stop == Stop::Now) => (),
    }
}

struct Subscribing {
    shared: Arc<Shared>,
    part: u16,
    backoff: Backoff,
    incoming: Arc<Incoming>,
    /// Filters of which something may have been lost, until Redis has confirmed them again.
    missed: HashSet<Arc<str>>,
}

/// One connection, and what was asked of it.
struct Session {
    connection: MultiplexedConnection,
    events: UnboundedReceiver<Event>,
    asked: HashSet<Arc<str>>,
    /// Channels and patterns that were asked for, with their filters.
    names: HashMap<Asked, Arc<str>>,
    /// How many names of a filter Redis has still to confirm.
    unconfirmed: HashMap<Arc<str>, usize>,
}

/// A channel or a pattern. Both can have the same name: `prices` has a channel, and `prices/#` a
/// pattern for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    is_pattern: bool,
    name: Vec<u8>,
}

/// What the reader tells the task.
#[derive(Debug)]
enum Event {
    Subscribed(Asked),
    Unsubscribed(Asked),
    Lost,
}

impl Subscribing {
    async fn run(&mut self) {
        loop {
            let shared = self.shared.clone();
            let wanted = &shared.lane(self.part).wanted;
            if wanted.is_empty() {
                self.missed.clear();
                wanted.wake.notified().await;
                continue;
            }
            let (sender, events) = mpsc::unbounded_channel();
            let reader = self.reader(sender);
            let failure = match shared.connect(self.part, Some(reader)).await {
                Ok(connection) => {
                    self.incoming.reconnected();
                    let (asked, names, unconfirmed) = Default::default();
                    let mut session = Session { connection, events, asked, names, unconfirmed };
                    let failure = self.serve(&mut session).await;
                    self.lost(&session);
                    failure
                }
                Err(failure) => failure,
            };
            self.missed.extend(wanted.all());
            shared.failed(&failure);
            tokio::time::sleep(self.backoff.pause()).await;
        }
    }

    /// Makes what reads the connection. It hands messages over itself: Redis cuts a subscriber that
    /// does not read, so it never waits.
    fn reader(&self, events: UnboundedSender<Event>) -> Arc<dyn AsyncPushSender> {
        let (shared, incoming) = (self.shared.clone(), self.incoming.clone());
        Arc::new(move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            match (push.kind, push.data.as_slice()) {
                (
                    PushKind::Message | PushKind::SMessage,
                    [Value::BulkString(channel), Value::BulkString(bytes)],
                )
                | (PushKind::PMessage, [_, Value::BulkString(channel), Value::BulkString(bytes)]) => {
                    incoming.receive(&shared, channel, bytes);
                    return Ok(());
                }
                (
                    kind @ (PushKind::Subscribe | PushKind::PSubscribe | PushKind::SSubscribe),
                    [Value::BulkString(name), ..],
                ) => {
                    let is_pattern = matches!(kind, PushKind::PSubscribe);
                    events.send(Event::Subscribed(Asked { is_pattern, name: name.clone() }))
                }
                (
                    kind @ (PushKind::Unsubscribe | PushKind::PUnsubscribe | PushKind::SUnsubscribe),
                    [Value::BulkString(name), ..],
                ) => {
                    let is_pattern = matches!(kind, PushKind::PUnsubscribe);
                    events.send(Event::Unsubscribed(Asked { is_pattern, name: name.clone() }))
                }
                (PushKind::Disconnection, _) => events.send(Event::Lost),
                _ => return Ok(()),
            }
            .map_err(|_| redis::aio::SendError)
        })
    }

    /// Keeps the subscriptions until the connection ends.
    async fn serve(&mut self, session: &mut Session) -> Failure {
        let shared = self.shared.clone();
        let wanted = &shared.lane(self.part).wanted;
        let changes = wanted.all().into_iter().map(|filter| (filter, true)).collect();
        if let Err(failure) = self.apply(session, changes).await {
            return failure;
        }
        let mut check = tokio::time::interval(ROLE_EVERY);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                biased;
                // What the connection has told comes first: an end that was asked for is not mistaken
                // for the end of a newer subscription.
                event = session.events.recv() => self.note(session, event.unwrap_or(Event::Lost)),
                () = wanted.wake.notified() => self.apply(session, wanted.take_changed()).await,
                _ = check.tick() => require_master(&mut session.connection).await,
            };
            if let Err(failure) = result {
                return failure;
            }
        }
    }

    /// Asks Redis for what has changed.
    async fn apply(&mut self, session: &mut Session, changes: Vec<(Arc<str>, bool)>) -> Result<(), Failure> {
        let mut commands = Vec::new();
        for (filter, wanted) in changes {
            let changed =
                if wanted { session.asked.insert(filter.clone()) } else { session.asked.remove(&filter) };
            if !changed {
                continue;
            }
            let (command, names) = self.command(&filter, wanted);
            if wanted {
                session.unconfirmed.insert(filter.clone(), names.len());
            } else {
                session.unconfirmed.remove(&filter);
                self.missed.remove(&filter);
                self.incoming.forget(&filter);
            }
            let is_pattern = command.starts_with('P');
            for name in names {
                let asked = Asked { is_pattern, name: name.clone().into_bytes() };
                if wanted {
                    session.names.insert(asked, filter.clone());
                } else {
                    session.names.remove(&asked);
                }
                commands.push((command, name, filter.clone()));
            }
        }
        for commands in commands.chunks(COMMANDS) {
            self.ask(session, commands).await?;
        }
        Ok(())
    }

    fn command(&self, filter: &str, subscribe: bool) -> (&'static str, Vec<String>) {
        let names = &self.shared.settings.names;
        let sharded = self.shared.settings.is_cluster();
        match (sharded, is_prefix(filter), subscribe) {
            (true, _, true) => ("SSUBSCRIBE", vec![names.channel(filter)]),
            (true, _, false) => ("SUNSUBSCRIBE", vec![names.channel(filter)]),
            (false, true, true) => ("PSUBSCRIBE", names.patterns(filter)),
            (false, true, false) => ("PUNSUBSCRIBE", names.patterns(filter)),
            (false, false, true) => ("SUBSCRIBE", vec![names.channel(filter)]),
            (false, false, false) => ("UNSUBSCRIBE", vec![names.channel(filter)]),
        }
    }

    /// One command a name: each has one answer then. Pushes confirm them.
    async fn ask(&mut self, session: &mut Session, commands: &[Command]) -> Result<(), Failure> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        pipeline.ignore_errors();
        for (command, name, _) in commands {
            pipeline.cmd(command).arg(name);
        }
        let answers: Vec<Result<Value, RedisError>> = pipeline.query_async(&mut session.connection).await?;
        for (answer, (_, _, filter)) in answers.into_iter().zip(commands) {
            let Err(error) = answer else { continue };
            match judge(&error) {
                Verdict::Refused => {
                    tracing::error!(filter = &**filter, %error, "Redis refuses a subscription");
                    self.shared.gap(filter);
                }
                Verdict::Moved(home) => {
                    self.shared.homes.moved(self.part, home);
                    return Err(error.into());
                }
                Verdict::Lost | Verdict::Later => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn note(&mut self, session: &mut Session, event: Event) -> Result<(), Failure> {
        match event {
            Event::Lost => Err(Failure::Ended),
            Event::Subscribed(name) => {
                if let Some(filter) = session.names.get(&name) {
                    let left = session.unconfirmed.get_mut(filter);
                    let confirmed = left.is_some_and(|left| {
                        *left = left.saturating_sub(1);
                        *left == 0
                    });
                    if confirmed {
                        let filter = filter.clone();
                        session.unconfirmed.remove(&filter);
                        self.confirmed(&filter);
                    }
                }
                Ok(())
            }
            // Nobody here has asked for it: the slot has moved to another server.
            Event::Unsubscribed(name) if session.names.contains_key(&name) => {
                self.shared.homes.moved(self.part, None);
                Err(Failure::Moved)
            }
            Event::Unsubscribed(_) => Ok(()),
        }
    }

    fn confirmed(&mut self, filter: &Arc<str>) {
        self.backoff.reset();
        if self.missed.remove(filter) {
            self.shared.gap(filter);
        }
    }

    /// Tells that gaps begin, where that was not told before. What Redis has not confirmed may be lost
    /// as well.
    fn lost(&mut self, session: &Session) {
        let wanted = &self.shared.lane(self.part).wanted;
        for filter in &session.asked {
            if !self.missed.contains(filter) && wanted.contains(filter) {
                self.shared.gap(filter);
            }
        }
    }
}

/// A command with the name of a channel or a pattern, and the filter that it is for.
type Command = (&'static str, String, Arc<str>);

/// Commands that are sent in one piece.
const COMMANDS: usize = 256;
const ROLE_EVERY: Duration = Duration::from_secs(1);
