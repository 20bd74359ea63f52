//! What comes in the channels of one part.

use crate::state::seen::{Seen, Sight};
use crate::state::shared::{REMEMBERED_NUMBERS, Shared};
use crate::stats::count;
use crate::wire::envelope::{Broken, Envelope};
use crate::wire::names::matches;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reads what came in a channel: for the reader of the subscriptions, which never waits.
pub(crate) struct Incoming {
    seen: Mutex<Seen>,
}

impl Incoming {
    pub(crate) fn new() -> Self {
        Self { seen: Mutex::new(Seen::new(REMEMBERED_NUMBERS)) }
    }

    pub(crate) fn receive(&self, shared: &Shared, channel: &[u8], bytes: &[u8]) {
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) if channel != shared.settings.names.channel(envelope.topic).as_bytes() => {
                return shared.broken(channel, Broken::Place);
            }
            Ok(envelope) => envelope,
            Err(broken) => return shared.broken(channel, broken),
        };
        // What was published here has been delivered here.
        if envelope.publisher == shared.publisher {
            return;
        }
        let sight = self.lock().look(&envelope);
        match sight {
            Sight::Again => {
                count(&shared.counters.duplicates);
                return;
            }
            Sight::Gap => shared.gap(envelope.topic),
            Sight::New => (),
        }
        match shared.deliver(&envelope, None) {
            Ok(true) => (),
            // The reader never waits.
            Ok(false) => shared.gap(envelope.topic),
            Err(broken) => shared.broken(channel, broken),
        }
    }

    pub(crate) fn reconnected(&self) {
        self.lock().reconnected();
    }

    pub(crate) fn forget(&self, filter: &str) {
        self.lock().forget(|topic| matches(filter, topic));
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
