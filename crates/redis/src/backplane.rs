//! The backplane itself: what callers see, and the thread.

use crate::link::{Failure, Verdict, judge};
use crate::settings::Settings;
use crate::state::queue::cost;
use crate::state::shared::{Shared, Stop};
use crate::stats::{RedisStats, count};
use crate::tasks::page::page;
use crate::tasks::{following, publishing, subscribing};
use crate::wire::entry::Id;
use crate::wire::names::is_prefix;
use crate::{link, wire::envelope::LONGEST_NAME};
use framewright_driver::topics::{
    Backplane, BackplaneError, Page, Passed, Publication, Remote, Reply, TopicOptions,
};
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::runtime::{Builder, Handle, Runtime};

/// The topics of several machines, on Redis. Cloning shares it.
///
/// It is given to a server's topics. A clone tells how it is doing: [`is_connected`](Self::is_connected),
/// [`last_failure`](Self::last_failure), [`stats`](Self::stats).
///
/// All work is done by one thread of its own. No method waits for Redis but [`check`](Self::check) and
/// `stop`. The thread ends with `stop`, or when the last clone is dropped.
#[derive(Clone)]
pub struct RedisBackplane {
    owner: Arc<Owner>,
}

/// Ends the thread with the last clone.
struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    runtime: OnceLock<Handle>,
}

impl RedisBackplane {
    pub(crate) fn new(settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(settings));
        Self { owner: Arc::new(Owner { shared, thread: Mutex::new(None), runtime: OnceLock::new() }) }
    }

    /// Connects once, to see whether Redis can be used. It waits for that, up to the timeout of the
    /// builder.
    ///
    /// A program that calls this at its start ends with a clear sentence if the password is wrong. The
    /// backplane itself goes on trying. Not to be called in a task of tokio's.
    ///
    /// # Errors
    /// [`CheckError`] says why Redis cannot be used.
    pub fn check(&self) -> Result<(), CheckError> {
        let shared = &self.owner.shared;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CheckError(error.to_string()))?;
        let connected = link::connect(&shared.settings, &shared.homes, 0, None);
        let connected = runtime.block_on(connected).map(drop);
        // A name lookup may go on for longer than anybody wants to wait.
        runtime.shutdown_background();
        connected.map_err(|failure| CheckError(failure.to_string()))
    }

    /// Whether there is a connection for publishing. In a cluster: for the first of its parts.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.owner.shared.lanes[0].is_connected()
    }

    /// Why the last connection failed. `None` if one has been made since then, or none has failed.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.owner.shared.failure()
    }

    /// Returns what has happened, in numbers.
    #[must_use]
    pub fn stats(&self) -> RedisStats {
        let shared = &self.owner.shared;
        let (waiting, waiting_bytes) = shared.room.taken();
        RedisStats { waiting, waiting_bytes, ..shared.counters.snapshot() }
    }
}

impl Backplane for RedisBackplane {
    fn start(&self, remote: Remote) -> Result<(), BackplaneError> {
        let shared = self.owner.shared.clone();
        if shared.remote.set(remote).is_err() {
            return Err(refused("it has been started already"));
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| refused(&format!("there is no event loop for Redis: {error}")))?;
        let _ = self.owner.runtime.set(runtime.handle().clone());
        let thread = thread::Builder::new().name("framewright-redis".to_owned());
        let thread = thread.spawn(move || {
            work(&runtime, &shared);
            // A name lookup may go on for longer than whoever stops wants to wait.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(|error| refused(&format!("there is no thread for Redis: {error}")))?;
        *self.owner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    fn publish(
        &self,
        publication: &Arc<Publication>,
        options: &TopicOptions,
    ) -> Result<Passed, BackplaneError> {
        let shared = &self.owner.shared;
        let topic = publication.topic();
        let longest = topic.len().max(publication.key().map_or(0, str::len));
        if longest > LONGEST_NAME {
            return Err(refused("a topic or a key is longer than 65,535 bytes"));
        }
        if *shared.stop.borrow() != Stop::No {
            return Err(BackplaneError::Away);
        }
        let lane = shared.lane_of(topic);
        if let Err(limit) = shared.room.take(cost(publication)) {
            count(&shared.counters.refused);
            // Subscribers here get it all the same, unless it is durable.
            if !options.durable {
                lane.queue.skip(topic, &shared.sequences);
            }
            return Err(if lane.is_connected() {
                BackplaneError::Full { limit }
            } else {
                BackplaneError::Away
            });
        }
        lane.queue.push(publication, options.durable, &shared.sequences);
        Ok(if options.durable { Passed::ComesBack } else { Passed::Deliver })
    }

    fn subscribe(&self, filter: &str, options: &TopicOptions) -> Result<(), BackplaneError> {
        let shared = &self.owner.shared;
        match (is_prefix(filter), options.durable) {
            (true, true) => Err(refused("a durable topic is subscribed to by its name, not by a prefix")),
            (true, false) if shared.settings.is_cluster() => {
                Err(refused("sharded pub/sub, which a cluster of Redis has, knows no prefixes"))
            }
            (true, false) => {
                shared.lanes[0].wanted.add(filter);
                Ok(())
            }
            (false, false) => {
                shared.lane_of(filter).wanted.add(filter);
                Ok(())
            }
            (false, true) => {
                let (topic, lane): (Arc<str>, _) = (filter.into(), shared.lane_of(filter));
                if let Some(serial) = lane.streams.add(&topic) {
                    if !shared.stream_comes() {
                        lane.streams.remove(&topic);
                        let limit = shared.settings.durable_topics;
                        return Err(refused(&format!("{limit} durable topics have subscribers already")));
                    }
                    lane.queue.locate(topic, serial);
                }
                Ok(())
            }
        }
    }

    fn unsubscribe(&self, filter: &str) {
        let shared = &self.owner.shared;
        if is_prefix(filter) {
            shared.lanes[0].wanted.remove(filter);
        } else {
            let lane = shared.lane_of(filter);
            lane.wanted.remove(filter);
            if lane.streams.remove(filter) {
                shared.stream_gone();
            }
        }
    }

    fn read(&self, topic: &str, after: &str, reply: Reply) {
        let shared = self.owner.shared.clone();
        let Ok(after) = after.parse::<Id>() else {
            return reply(Err(refused("this is not the place of a message: digits, a hyphen, digits")));
        };
        let Some(runtime) = self.owner.runtime.get() else { return reply(Err(BackplaneError::Away)) };
        let Some(connection) = shared.lane_of(topic).connection() else {
            return reply(Err(BackplaneError::Away));
        };
        if *shared.stop.borrow() != Stop::No {
            return reply(Err(BackplaneError::Away));
        }
        if shared.reads.fetch_add(1, Relaxed) >= MOST_READS {
            shared.reads.fetch_sub(1, Relaxed);
            return reply(Err(BackplaneError::Full { limit: MOST_READS }));
        }
        let reply = Replying { reply: Some(reply), shared };
        let topic: Arc<str> = topic.into();
        runtime.spawn(async move {
            let page = page(&reply.shared, connection, &topic, after).await;
            reply.with(page.map_err(|failure| match failure {
                Failure::Redis(error) if judge(&error) == Verdict::Refused => refused(&error.to_string()),
                _ => BackplaneError::Away,
            }));
        });
    }

    fn stop(&self, deadline: Instant) {
        let shared = &self.owner.shared;
        shared.stop.send_if_modified(|stop| {
            let begins = *stop == Stop::No;
            if begins {
                *stop = Stop::Draining;
            }
            begins
        });
        let started = self.owner.thread.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if started {
            shared.room.wait_until_empty(deadline);
        }
        self.owner.end();
    }
}

/// Answers, also if the thread ends first.
struct Replying {
    reply: Option<Reply>,
    shared: Arc<Shared>,
}

impl Replying {
    fn with(mut self, result: Result<Page, BackplaneError>) {
        if let Some(reply) = self.reply.take() {
            reply(result);
        }
    }
}

impl Drop for Replying {
    fn drop(&mut self) {
        self.shared.reads.fetch_sub(1, Relaxed);
        if let Some(reply) = self.reply.take() {
            reply(Err(BackplaneError::Away));
        }
    }
}

/// Pages that are read at a time.
const MOST_READS: usize = 1_024;

impl Owner {
    fn end(&self) {
        self.shared.stop.send_replace(Stop::Now);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last clone may be dropped by the thread itself, in what it delivers to.
        if let Some(thread) = thread.filter(|joined| joined.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread.
fn work(runtime: &Runtime, shared: &Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    runtime.block_on(async {
        for part in 0..shared.settings.names.partitions() {
            tokio::spawn(publishing::run(shared.clone(), part));
            tokio::spawn(subscribing::run(shared.clone(), part));
            tokio::spawn(following::run(shared.clone(), part));
        }
        let _ = stop.wait_for(|stop| *stop == Stop::Now).await;
    });
}

fn refused(reason: &str) -> BackplaneError {
    BackplaneError::Refused(reason.to_owned())
}

/// Shows no user name and no password.
impl fmt::Debug for RedisBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplane")
            .field("server", &self.owner.shared.settings.info.addr().to_string())
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// Why Redis cannot be used: from [`RedisBackplane::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError(String);

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis cannot be used: {}", self.0)
    }
}

impl std::error::Error for CheckError {}
