//! The decompressor of one message, which stays with it between its pieces, and how it is taken
//! back when other messages need it more.

use super::giving_way::Revocable;
use super::habit::{Alone, Trial};
use super::history::History;
use super::kept::Kept;
use super::memory::{DeflateMemory, Reservation};
use super::{Decompressor, Progress};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::time::Instant;

/// A decompressor that inflates one message, and stays with it between its pieces.
#[derive(Debug)]
pub(crate) struct Inflater {
    /// The codec's own decompressor, which was not reserved. `None` if there is a seat.
    home: Option<Home>,
    /// A reserved decompressor.
    seat: Option<Arc<Seat>>,
    /// Bytes of the message inflated so far.
    inflated: u64,
    /// Bytes of payload that they were inflated from.
    consumed: u64,
    /// The payload begins with a block without compression.
    stored: bool,
    /// `Some` for a message of a peer that may refer to earlier messages against its agreement.
    trial: Option<Box<Trial>>,
    /// `Some` if its message may be inflated beyond the size that other messages may have.
    pub(super) runs: Option<Arc<()>>,
}

#[derive(Debug)]
struct Home {
    decompressor: Decompressor,
    /// Given back when it is dropped.
    _held: Reservation,
    /// Shows the codec that its decompressor is out.
    _out: Arc<()>,
}

/// A reserved decompressor. Its memory can be taken for another message, in any event loop. The
/// message that has lost it finds out when more of it arrives.
struct Seat(Mutex<Option<Occupied>>);

struct Occupied {
    decompressor: Decompressor,
    /// Given back when it is dropped.
    _held: Reservation,
    /// Bytes of payload inflated since it was last asked to give way.
    lately: usize,
    /// The whole message has arrived: it waits for its turn, and not for its peer.
    arrived: bool,
}

/// A message keeps its decompressor if at least `BUSY` bytes of its payload were inflated since it
/// was last asked to give way. A message asks only with four times as many bytes held: a peer that
/// sends little takes nothing from peers that send.
const BUSY: usize = 16 << 10;

impl Revocable for Seat {
    fn revoke(&self) -> bool {
        let mut occupied = match self.0.try_lock() {
            Ok(occupied) => occupied,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false, // it is in use
        };
        let keeps =
            |occupied: &mut Occupied| std::mem::take(&mut occupied.lately) >= BUSY || occupied.arrived;
        if occupied.as_mut().is_some_and(keeps) {
            return false;
        }
        occupied.take().is_some()
    }
}

impl Seat {
    fn new(memory: &Arc<DeflateMemory>, decompressor: Decompressor, held: Reservation) -> Arc<Seat> {
        let seat = Arc::new(Seat(Mutex::new(Some(Occupied {
            decompressor,
            _held: held,
            lately: BUSY,
            arrived: false,
        }))));
        let holder: Weak<Seat> = Arc::downgrade(&seat);
        memory.register(holder);
        seat
    }

    /// Calls `act` with the decompressor; `None` if it was taken back.
    fn with<R>(&self, act: impl FnOnce(&mut Occupied) -> R) -> Option<R> {
        let mut occupied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        occupied.as_mut().map(act)
    }
}

impl Inflater {
    /// Makes a codec's own decompressor, which needs no reservation. It drops `out` when it is
    /// dropped, so the codec can see whether it still exists.
    pub(super) fn home(held: Reservation, out: Arc<()>) -> Box<Inflater> {
        let home = Home { decompressor: Decompressor::new(), _held: held, _out: out };
        Inflater::new(Some(home), None)
    }

    /// Makes a reserved decompressor, which is taken back if other messages need it more. With
    /// `urgent`, another message gives way if there is no memory. `None` if there is none at all.
    pub(super) fn reserved(memory: &Arc<DeflateMemory>, urgent: bool) -> Option<Box<Inflater>> {
        let held = memory.reserve_in_parts(Decompressor::MAX_SIZE, urgent)?;
        let seat = Some(Seat::new(memory, Decompressor::new(), held));
        Some(Inflater::new(None, seat))
    }

    fn new(home: Option<Home>, seat: Option<Arc<Seat>>) -> Box<Inflater> {
        Box::new(Inflater { home, seat, inflated: 0, consumed: 0, stored: false, trial: None, runs: None })
    }

    /// Whether it is the codec's own decompressor.
    pub(super) fn is_home(&self) -> bool {
        self.home.is_some()
    }

    /// Whether it can inflate: a reserved one may have been taken back.
    pub(super) fn is_there(&self) -> bool {
        self.is_home() || self.seat.as_ref().is_some_and(|seat| seat.with(|_| ()).is_some())
    }

    /// Turns the codec's own decompressor into a reserved one, if there is memory. Returns whether
    /// it is a reserved one now. No other message gives way to a peer that does not read.
    pub(super) fn leave_home(&mut self, memory: &Arc<DeflateMemory>) -> bool {
        if let Some(home) = self.home.take() {
            let Some(held) = memory.reserve_in_parts(Decompressor::MAX_SIZE, false) else {
                self.home = Some(home);
                return false;
            };
            self.seat = Some(Seat::new(memory, home.decompressor, held));
        }
        true
    }

    /// Calls `act` with the decompressor; `None` if it was taken back.
    fn with<R>(&mut self, act: impl FnOnce(&mut Decompressor) -> R) -> Option<R> {
        match (&mut self.home, &self.seat) {
            (Some(home), _) => Some(act(&mut home.decompressor)),
            (None, Some(seat)) => seat.with(|occupied| act(&mut occupied.decompressor)),
            (None, None) => None,
        }
    }

    /// Begins a message that may refer to `history`. The decompressor has the history until
    /// [`end`](Inflater::end).
    pub(super) fn begin(&mut self, history: &mut History) {
        self.begin_with(|decompressor| {
            decompressor.swap_history(history);
            decompressor.begin(false);
        });
    }

    /// Begins a message whose peer has agreed to refer to no earlier one. The `kept` messages are
    /// used if it refers to them nevertheless, until [`end_trial`](Inflater::end_trial).
    ///
    /// `refers`: the peer is known to refer to earlier messages. Otherwise the message stands on
    /// its own, and nothing depends on how exactly its sender has ended it.
    pub(super) fn begin_trial(&mut self, kept: Option<Kept>, refers: bool) {
        let begun = self.begin_with(|decompressor| {
            let trial = kept.and_then(|kept| Trial::begin(kept, refers, decompressor));
            decompressor.begin(!refers);
            trial
        });
        self.trial = begun.flatten();
    }

    fn begin_with<R>(&mut self, begin: impl FnOnce(&mut Decompressor) -> R) -> Option<R> {
        (self.inflated, self.consumed, self.stored) = (0, 0, false);
        // This message counts as busy: its payload is inflated next, so requests for memory go to
        // other messages.
        if let Some(seat) = &self.seat {
            seat.with(|occupied| (occupied.lately, occupied.arrived) = (BUSY, false));
        }
        self.with(begin)
    }

    /// Notes whether the whole message has `arrived`, and its connection inflates it in its turns.
    /// Then its decompressor is not taken back.
    pub(crate) fn note_arrived(&self, arrived: bool) {
        if let Some(seat) = &self.seat {
            seat.with(|occupied| occupied.arrived = arrived);
        }
    }

    /// See [`Decompressor::inflate`]. `None` if the decompressor was taken back.
    pub(crate) fn inflate(
        &mut self,
        payload: &[u8],
        last: bool,
        out: &mut [u8],
        now: Instant,
    ) -> Option<Progress> {
        let Inflater { home, seat, trial, inflated, consumed, .. } = self;
        if *consumed == 0 {
            // A stored block, BTYPE 00 (RFC 1951, section 3.2.3).
            self.stored = payload.first().is_some_and(|first| first & 0b110 == 0);
        }
        let mut inflate = |decompressor: &mut Decompressor| match trial {
            None => {
                let progress = decompressor.inflate(payload, last, out);
                // The beginning of a longer message is no longer at hand.
                let too_far = progress.too_far
                    || (progress.unsaid && *consumed == 0 && decompressor.is_too_far([&[], payload], last));
                Progress { too_far, ..progress }
            }
            Some(trial) => trial.inflate(decompressor, *inflated, (payload, last), out, now),
        };
        let progress = match (home, seat) {
            (Some(home), _) => inflate(&mut home.decompressor),
            (None, seat) => seat.as_ref()?.with(|occupied| {
                let progress = inflate(&mut occupied.decompressor);
                let before = if *consumed == 0 { 0 } else { occupied.lately };
                occupied.lately = before.saturating_add(progress.read);
                progress
            })?,
        };
        self.inflated += progress.written as u64;
        self.consumed += progress.read as u64;
        Some(progress)
    }

    /// The number of bytes of the message inflated so far.
    pub(crate) fn inflated(&self) -> u64 {
        self.inflated
    }

    /// The number of bytes of payload that they were inflated from.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Ends a message begun with [`begin`](Inflater::begin), and gives its history back.
    pub(super) fn end(&mut self, history: &mut History) {
        self.with(|decompressor| decompressor.swap_history(history));
    }

    /// Ends a message begun with [`begin_trial`](Inflater::begin_trial). Passes to `look` the kept
    /// messages, whether the message has referred to them, and the message. `None` if the
    /// decompressor was taken back.
    pub(super) fn end_trial<R>(
        &mut self,
        look: impl FnOnce(Option<Kept>, bool, Alone<'_>) -> R,
    ) -> Option<R> {
        let (trial, len, payload, stored) = (self.trial.take(), self.inflated, self.consumed, self.stored);
        self.with(|decompressor| {
            let (kept, refers) = trial.map_or((None, false), |trial| trial.end(decompressor));
            look(kept, refers, Alone { octets: decompressor.history(), len, payload, stored })
        })
    }

    /// Makes the decompressor ready for another message.
    pub(super) fn reset(&mut self) {
        (self.runs, self.trial) = (None, None);
        self.with(Decompressor::reset);
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seat")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoked(inflater: &Inflater) -> bool {
        inflater.seat.as_ref().expect("one that was reserved").revoke()
    }

    #[test]
    fn what_inflates_a_message_that_has_arrived_is_not_taken_away() {
        let memory = DeflateMemory::new(4 * Decompressor::MAX_SIZE);
        let mut inflater = Inflater::reserved(&memory, false).expect("room");
        inflater.begin_trial(None, false);
        inflater.note_arrived(true);
        assert!(!revoked(&inflater) && !revoked(&inflater) && inflater.is_there());
        // The peer does not read, so the message does not go on.
        inflater.note_arrived(false);
        assert!(revoked(&inflater) && !inflater.is_there());
    }

    #[test]
    fn what_was_reserved_just_now_is_not_taken_away_before_its_message_begins() {
        let memory = DeflateMemory::new(4 * Decompressor::MAX_SIZE);
        let inflater = Inflater::reserved(&memory, false).expect("room");
        assert!(!revoked(&inflater) && inflater.is_there());
    }

    #[test]
    fn the_next_message_has_to_arrive_itself() {
        let memory = DeflateMemory::new(4 * Decompressor::MAX_SIZE);
        let mut inflater = Inflater::reserved(&memory, false).expect("room");
        inflater.note_arrived(true);
        inflater.begin_trial(None, false);
        assert!(!revoked(&inflater), "it has begun just now");
        assert!(revoked(&inflater));
    }
}
