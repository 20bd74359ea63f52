//! One page of a durable topic, for a subscriber that comes back.

use crate::link::Failure;
use crate::state::seen::{Seen, Sight};
use crate::state::shared::Shared;
use crate::wire::entry::{Entry, Id, entries};
use framewright_driver::topics::{Page, Stored};
use redis::Value;
use redis::aio::MultiplexedConnection;

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
                || envelope.again && stands_before(&mut connection, &stream, topic, &entry).await?;
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

/// Whether an entry that was sent a second time is in the stream once more, before this one.
///
/// It is looked for up to an older entry of its publisher that was sent once, and not beyond
/// [`LOOK_BACK`] entries.
async fn stands_before(
    connection: &mut MultiplexedConnection,
    stream: &str,
    topic: &str,
    entry: &Entry,
) -> Result<bool, Failure> {
    let Ok(wanted) = entry.envelope(topic) else { return Ok(false) };
    let mut before = entry.id;
    for _ in 0..LOOK_BACK / PAGE {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(stream).arg(format!("({before}")).arg("-").arg("COUNT").arg(PAGE);
        let read = entries(command.query_async::<Value>(connection).await?);
        let Some(last) = read.last().map(|last| last.id) else { return Ok(false) };
        for earlier in &read {
            let Ok(envelope) = earlier.envelope(topic) else { continue };
            if envelope.publisher != wanted.publisher {
                continue;
            }
            if envelope.sequence == wanted.sequence {
                return Ok(true);
            }
            // Those before it may have been sent again just before it was.
            if envelope.sequence < wanted.sequence && !envelope.again {
                return Ok(false);
            }
        }
        before = last;
    }
    Ok(false)
}

/// Entries of a page.
const PAGE: usize = 100;
/// Entries that are looked through for the first copy of one that was sent twice.
const LOOK_BACK: usize = 5_000;
