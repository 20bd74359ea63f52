//! Other relays, over Redis: `--redis`. A durable message gets its `id` here, on the way in.

use crate::relay::answer::with_id;
use anyhow::Context;
use framewright_redis::RedisBackplane;
use framewright_server::OwnedMessage;
use framewright_server::topics::{
    Backplane, BackplaneError, Page, Passed, Publication, Remote, Reply, Sink, Stored, TopicOptions,
};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What the names of all keys and channels begin with: nothing but envelopes is in them.
const PREFIX: &str = "framewright:relay:";

/// How long the beginning waits for the connection; without one, it goes on by itself.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// A Redis that relays share.
pub(crate) struct Redis(RedisBackplane);

impl Redis {
    /// The Redis at this URL. Waits until it answers.
    ///
    /// # Errors
    /// If the URL is none, or Redis cannot be used now. No password is in the text.
    pub(crate) fn new(url: &str) -> anyhow::Result<Redis> {
        let redis = RedisBackplane::builder(url).prefix(PREFIX).build().context("--redis")?;
        redis.check().context("--redis")?;
        Ok(Redis(redis))
    }
}

impl Backplane for Redis {
    fn start(&self, remote: Remote) -> Result<(), BackplaneError> {
        self.0.start(Remote::to(Ids(remote)))?;
        // The server does not run yet. The first client is told no gap only because it came early.
        let until = Instant::now() + CONNECTED_WITHIN;
        while !self.0.is_connected() && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn publish(
        &self,
        publication: &Arc<Publication>,
        options: &TopicOptions,
    ) -> Result<Passed, BackplaneError> {
        self.0.publish(publication, options)
    }

    fn subscribe(&self, filter: &str, options: &TopicOptions) -> Result<(), BackplaneError> {
        self.0.subscribe(filter, options)
    }

    fn unsubscribe(&self, filter: &str) {
        self.0.unsubscribe(filter);
    }

    fn read(&self, topic: &str, after: &str, reply: Reply) {
        let with_ids = |page: Page| {
            let stored = page.stored.into_iter().map(|stored| {
                let message = identified(stored.message, &stored.id);
                Stored { message, ..stored }
            });
            Page { stored: stored.collect(), ..page }
        };
        self.0.read(topic, after, Box::new(move |page| reply(page.map(with_ids))));
    }

    fn stop(&self, deadline: Instant) {
        self.0.stop(deadline);
    }
}

/// Writes the `id` of each durable message into it.
struct Ids(Remote);

impl Sink for Ids {
    fn deliver(&self, topic: &str, message: OwnedMessage, key: Option<&str>, id: Option<&str>) -> bool {
        let message = match id {
            Some(id) => identified(message, id),
            None => message,
        };
        self.0.deliver(topic, message, key, id)
    }

    fn gap(&self, filter: Option<&str>) {
        self.0.gap(filter);
    }
}

/// The message with its `id`. What is no envelope stays as it is.
fn identified(message: OwnedMessage, id: &str) -> OwnedMessage {
    match &message {
        OwnedMessage::Text(text) => with_id(text, id).map_or(message, OwnedMessage::Text),
        _ => message,
    }
}
