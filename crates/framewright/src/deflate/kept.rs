//! The messages kept of a peer that has agreed to refer to none of its earlier ones, in case it
//! does.
//!
//! Their memory can be taken for other peers, in any event loop, and even while a message is being
//! inflated. The connection that loses it is not notified. If its peer refers to none of the lost
//! messages, later messages are kept as before.

use super::giving_way::{Place, Revocable, Sender};
use super::history::{History, newest};
use super::memory::{DeflateMemory, Reservation};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Instant;

/// The last bytes of a peer's messages, until their memory is taken for another peer.
#[derive(Debug)]
pub(super) struct Kept {
    memory: Arc<DeflateMemory>,
    shelf: Arc<Shelf>,
    place: Option<Place>,
    /// How much the peer has sent since its messages are kept.
    sender: Sender,
    /// The peer has sent no message before the kept ones.
    is_complete: bool,
}

/// The memory that can be taken; `None` once it was.
struct Shelf(Mutex<Option<Stored>>);

struct Stored {
    /// Empty while a decompressor has the history.
    history: History,
    /// The payload so far of a message that is being inflated.
    input: Vec<u8>,
    /// Bytes of both, even while a decompressor has the history.
    kept: usize,
    /// The memory that both may take.
    held: Reservation,
}

/// The kept bytes, once they were taken out for a message.
pub(super) struct Taken {
    pub(super) history: History,
    /// The payload of the message so far, unless it is no longer kept.
    pub(super) input: Vec<u8>,
    /// The peer has sent no message before these bytes.
    pub(super) is_complete: bool,
}

impl Revocable for Shelf {
    fn revoke(&self) -> bool {
        match self.0.try_lock() {
            Ok(mut stored) => drop(stored.take()),
            Err(TryLockError::Poisoned(poisoned)) => drop(poisoned.into_inner().take()),
            Err(TryLockError::WouldBlock) => return false, // in use: its peer has sent a message
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
    /// Keeps nothing yet, and at most `most` bytes, of a peer that has just sent `sent` bytes of
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

    /// Notes that the peer has sent no message before the kept ones.
    pub(super) fn complete(mut self) -> Kept {
        self.is_complete = true;
        self
    }

    /// Whether the memory was not taken.
    pub(super) fn is_there(&self) -> bool {
        self.shelf.lock().is_some()
    }

    /// Notes that the peer has sent `payload` more bytes of payload.
    pub(super) fn note_sent(&mut self, now: Instant, payload: usize) {
        self.sender.note(now, payload as u64);
        self.rank_anew();
    }

    fn rank_anew(&mut self) {
        let (kept, octets) = self.with(|stored| (stored.kept, stored.held.octets())).unwrap_or_default();
        self.place = self.place.and_then(|place| self.memory.change(place, self.sender, kept, octets));
    }

    /// Reserves the memory for a history of `len` bytes, and for `input` bytes of payload in a
    /// buffer of `room` bytes, and gives back the rest. Returns whether it fits.
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

    /// Adds a message. Returns whether there was room. If not, the caller has to drop all kept
    /// bytes, because later messages may refer to the missing ones.
    pub(super) fn push(&mut self, message: &History) -> bool {
        let (len, most) = self.with(|stored| (stored.history.len(), stored.history.most())).unwrap_or((0, 0));
        self.fit((len + message.len()).min(most), 0, 0)
            && self
                .with(|stored| message.parts().into_iter().for_each(|part| stored.history.push(part)))
                .is_some()
    }

    /// Keeps a piece of the payload of the message that is being inflated, behind the pieces before
    /// it, and no more than `most` bytes in all. Returns whether it was kept.
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

    /// Takes the kept bytes out, for a message that refers to earlier ones. Their memory stays
    /// reserved.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let is_complete = self.is_complete;
        self.with(|stored| {
            let most = stored.history.most();
            let history = std::mem::replace(&mut stored.history, History::new(most));
            Taken { history, input: std::mem::take(&mut stored.input), is_complete }
        })
    }

    /// Puts the history back, longer by that message. Returns whether there was room. If not, the
    /// caller has to drop all kept bytes.
    pub(super) fn put_history(&mut self, history: History) -> bool {
        self.fit(history.len(), 0, 0) && self.with(|stored| stored.history = history).is_some()
    }

    /// Drops the kept payload.
    pub(super) fn clear_input(&mut self) {
        let len = self.with(|stored| {
            stored.input = Vec::new();
            stored.history.len()
        });
        self.fit(len.unwrap_or(0), 0, 0);
    }

    /// Whether `octets` are among the kept bytes, near enough to the end that any compressor with
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

    /// Lets the memory be taken.
    #[cfg(test)]
    pub(super) fn lose(&self) {
        assert!(self.shelf.revoke());
    }

    /// The number of bytes kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.with(|stored| stored.history.len()).unwrap_or(0)
    }
}

/// How many bytes back every compressor finds a match, even with a small table and few tries.
const NEAR: usize = 1 << 10;
/// zlib uses no distance that comes within `LOOKAHEAD` bytes of the size of its window.
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
        f.write_str("Shelf") // its contents are a peer's
    }
}
