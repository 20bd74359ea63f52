//! One page of a durable topic, for a subscriber that comes back.

use crate::link::Failure;
use crate::state::seen::{Seen, Sight};
use crate::state::shared::Shared;
use crate::wire::entry::{Id, entries};
use crate::wire::envelope::Publisher;
use framewright_driver::topics::{Page, Stored};
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::collections::{HashMap, HashSet};

/// Reads behind `after`, in the order of the stream, and each message once.
pub(crate) async fn page(
    shared: &Shared,
    mut connection: MultiplexedConnection,
    topic: &str,
    after: Id,
) -> Result<Page, Failure> {
    let stream = shared.settings.names.stream(topic);
    let mut page = Page { stored: Vec::new(), gap: false };
    let mut seen = Seen::new(PAGE);
    let mut before = Before::new(&stream, topic, after);
    let mut from = after;
    // A page that has nothing but what came before, or what cannot be understood, is not the end.
    while page.stored.is_empty() {
        // With the entry itself: whether it is kept tells whether those behind it are.
        let mut command = redis::cmd("XRANGE");
        command.arg(&stream).arg(from.to_string()).arg("+").arg("COUNT").arg(PAGE + 1);
        let mut read = entries(command.query_async(&mut connection).await?);
        match read.first() {
            Some(first) if first.id == from => {
                read.remove(0);
            }
            Some(_) => page.gap |= from == after && after != Id::default(),
            None => (),
        }
        let Some(last) = read.last().map(|last| last.id) else { break };
        for entry in read {
            let envelope = match entry.envelope(topic) {
                Ok(envelope) => envelope,
                Err(broken) => {
                    shared.broken(stream.as_bytes(), broken);
                    continue;
                }
            };
            let sight = seen.look(&envelope);
            let known = sight == Sight::Again
                || envelope.again
                    && before.has(&mut connection, envelope.publisher, envelope.sequence).await?;
            if known {
                continue;
            }
            let Ok(message) = envelope.message() else { continue };
            let key = envelope.key.map(str::to_owned);
            page.stored.push(Stored { id: entry.id.to_string(), message: message.into(), key });
        }
        from = last;
    }
    Ok(page)
}

/// What is in the stream up to the place where a page begins, as far as it was read, backwards.
struct Before<'a> {
    stream: &'a str,
    topic: &'a str,
    /// The messages that were met.
    met: HashSet<(Publisher, u64)>,
    /// The oldest message of each publisher that was met and that was sent once: its later ones are
    /// known.
    oldest: HashMap<Publisher, u64>,
    /// Where to read on. `None`: the stream has no more.
    next: Option<String>,
    /// How many entries may still be read.
    left: usize,
}

impl<'a> Before<'a> {
    fn new(stream: &'a str, topic: &'a str, after: Id) -> Self {
        let (met, oldest) = Default::default();
        Self { stream, topic, met, oldest, next: Some(after.to_string()), left: LOOK_BACK }
    }

    /// Whether a message that was sent a second time is there. It is looked for up to an older message
    /// of its publisher that was sent once, and not beyond [`LOOK_BACK`] entries, for the whole page.
    async fn has(
        &mut self,
        connection: &mut MultiplexedConnection,
        publisher: Publisher,
        sequence: u64,
    ) -> Result<bool, Failure> {
        loop {
            if self.met.contains(&(publisher, sequence)) {
                return Ok(true);
            }
            let passed = self.oldest.get(&publisher).is_some_and(|&oldest| oldest < sequence);
            let Some(next) = self.next.take_if(|_| !passed && self.left > 0) else { return Ok(false) };
            let mut command = redis::cmd("XREVRANGE");
            command.arg(self.stream).arg(next).arg("-").arg("COUNT").arg(PAGE);
            let read = entries(command.query_async::<Value>(connection).await?);
            self.left = self.left.saturating_sub(PAGE);
            self.next = read.last().map(|last| format!("({}", last.id));
            for entry in &read {
                let Ok(envelope) = entry.envelope(self.topic) else { continue };
                self.met.insert((envelope.publisher, envelope.sequence));
                if !envelope.again {
                    self.oldest.insert(envelope.publisher, envelope.sequence);
                }
            }
        }
    }
}

/// Entries of a page.
const PAGE: usize = 100;
/// Entries that are looked through for the first copies of those that were sent twice.
const LOOK_BACK: usize = 5_000;
