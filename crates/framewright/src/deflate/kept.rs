//! What is kept of a peer that has agreed to refer to none of its earlier messages, for the case
//! that it does.
//!
//! It lies where other peers can take it from: in whichever event loop they are, and whether a
//! message is being inflated or not. The peer that has lost it is not told. If it refers to nothing
//! that is lost, what comes then is kept as before.

use super::giving_way::{Place, Revocable, Sender};
use super::history::{History, newest};
use super::memory::{DeflateMemory, Reservation};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Instant;

/// The last octets of what a peer has sent, until somebody else takes the memory.
#[derive(Debug)]
pub(super) struct Kept {
    memory: Arc<DeflateMemory>,
    shelf: Arc<Shelf>,
    place: Option<Place>,
    /// What the peer has sent since it is kept.
    sender: Sender,
    /// There is no message before these.
    is_complete: bool,
}

/// What others can take; `None` if they have.
struct Shelf(Mutex<Option<Stored>>);

struct Stored {
    /// Empty while a decompressor has it.
    history: History,
    /// The payload so far of a message that is being inflated.
    input: Vec<u8>,
    /// Octets of both, also while a decompressor has the history.
    kept: usize,
    /// As much as both may take.
    held: Reservation,
}

/// What was kept, once it was taken for a message.
pub(super) struct Taken {
    pub(super) history: History,
    /// The payload of the message so far, unless that was given up.
    pub(super) input: Vec<u8>,
    /// The peer has sent nothing before that.
    pub(super) is_complete: bool,
}

impl Revocable for Shelf {
    fn revoke(&self) -> bool {
        match self.0.try_lock() {
            Ok(mut stored) => drop(stored.take()),
            Err(TryLockError::Poisoned(poisoned)) => drop(poisoned.into_inner().take()),
            Err(TryLockError::WouldBlock) => return false, // its peer has sent something
        }
        true
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Option<Stored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Nothing yet, and at most so many octets, of a peer that has just sent so many octets of
    /// payload.
    pub(super) fn new(memory: &Arc<DeflateMemory>, most: usize, now: Instant, sent: u64) -> Kept {
        let (history, held) = (History::new(most), memory.reserve_kept());
        let stored = Stored { history, input: Vec::new(), kept: 0, held };
        let shelf = Arc::new(Shelf(Mutex::new(Some(stored))));
        let holder: Weak<Shelf> = Arc::downgrade(&shelf);
        let sender = Sender::new(now, sent);
        let place = Some(memory.add_kept(sender, holder));
        Kept { memory: Arc::clone(memory), shelf, place, sender, is_complete: false }
    }

    /// What is kept where the peer has sent no message before.
    pub(super) fn complete(mut self) -> Kept {
        self.is_complete = true;
        self
    }

    /// Whether nobody has taken it.
    pub(super) fn is_there(&self) -> bool {
        self.shelf.lock().is_some()
    }

    /// Notes that the peer has sent so many octets of payload more.
    pub(super) fn note_sent(&mut self, now: Instant, payload: usize) {
        self.sender.note(now, payload as u64);
        self.rank_anew();
    }

    fn rank_anew(&mut self) {
        let (kept, octets) = self.with(|stored| (stored.kept, stored.held.octets())).unwrap_or_default();
        self.place = self.place.and_then(|place| self.memory.change(place, self.sender, kept, octets));
    }

    /// Reserves what the history takes with `len` octets, and as many of `input` in so much `room`,
    /// and gives back what is above that. Whether it fits.
    fn fit(&mut self, len: usize, input: usize, room: usize) -> bool {
        let (sender, kept) = (self.sender, len + input);
        let fits = self.with(|stored| {
            let octets = (2 * len).min(stored.history.most()) + room;
            let fits = stored.held.grow_to(octets, kept, sender);
            if fits {
                stored.held.shrink_to(octets);
                stored.kept = kept;
            }
            fits
        });
        self.rank_anew();
        fits == Some(true)
    }

    /// Adds a message to it. Whether there was room; else all is to be given up, for what follows
    /// may refer to that.
    pub(super) fn push(&mut self, message: &History) -> bool {
        let (len, most) = self.with(|stored| (stored.history.len(), stored.history.most())).unwrap_or((0, 0));
        self.fit((len + message.len()).min(most), 0, 0)
            && self
                .with(|stored| message.parts().into_iter().for_each(|part| stored.history.push(part)))
                .is_some()
    }

    /// Keeps a piece of the payload of the message that is being inflated, of which all before is
    /// kept, and no more than `most` octets. Whether it is.
    pub(super) fn push_input(&mut self, payload: &[u8], most: usize) -> bool {
        let Some((history, len, room)) =
            self.with(|stored| (stored.history.len(), stored.input.len(), stored.input.capacity()))
        else {
            return false;
        };
        let wanted = len + payload.len();
        if wanted > most {
            return false;
        }
        let room = if wanted > room { (2 * wanted).min(most) } else { room };
        self.fit(history, wanted, room)
            && self
                .with(|stored| {
                    stored.input.reserve_exact(room - len);
                    stored.input.extend_from_slice(payload);
                })
                .is_some()
    }

    /// Takes all of it for a message that refers to what came before it. What that takes stays
    /// reserved.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let is_complete = self.is_complete;
        self.with(|stored| {
            let most = stored.history.most();
            let history = std::mem::replace(&mut stored.history, History::new(most));
            Taken { history, input: std::mem::take(&mut stored.input), is_complete }
        })
    }

    /// Puts the history back, longer by that message. Whether there was room; else all is to be
    /// given up.
    pub(super) fn put_history(&mut self, history: History) -> bool {
        self.fit(history.len(), 0, 0) && self.with(|stored| stored.history = history).is_some()
    }

    /// Forgets the payload that is kept.
    pub(super) fn clear_input(&mut self) {
        let len = self.with(|stored| {
            stored.input = Vec::new();
            stored.history.len()
        });
        self.fit(len.unwrap_or(0), 0, 0);
    }

    /// Whether it has these octets, and close enough to what comes next that any compressor with
    /// this window finds them.
    pub(super) fn has_lately(&self, octets: &[u8]) -> bool {
        let has = |stored: &Stored| {
            let near = NEAR.min(stored.history.most().saturating_sub(LOOKAHEAD));
            let lately = newest(stored.history.parts(), near).concat();
            lately.windows(octets.len()).any(|part| part == octets)
        };
        self.shelf.lock().as_ref().is_some_and(has)
    }

    fn with<R>(&self, act: impl FnOnce(&mut Stored) -> R) -> Option<R> {
        self.shelf.lock().as_mut().map(act)
    }

    /// Has others take it.
    #[cfg(test)]
    pub(super) fn lose(&self) {
        assert!(self.shelf.revoke());
    }

    /// How many octets are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.with(|stored| stored.history.len()).unwrap_or(0)
    }
}

/// How far back a match is found by whichever compressor, with few places of its table and few
/// tries for each.
const NEAR: usize = 1 << 10;
/// zlib refers to nothing that is closer to the end of its window than this.
const LOOKAHEAD: usize = 262;

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.memory.remove(place);
        }
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf") // what it has is a peer's
    }
}
