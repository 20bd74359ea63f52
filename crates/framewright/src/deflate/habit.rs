//! What a peer does that has agreed to compress each message on its own (RFC 7692, sections 7.1.1.1 and 7.1.1.2).
//!
//! Tornado and Mojolicious agree to it, and refer to earlier messages all the same. So the last octets of a peer's first compressed
//! messages are kept until it is seen what it does:
//!
//! ```text
//!              no message can refer to another, though it begins like one
//!   Unknown ------------------------------------------------------------> Forgets     nothing is kept
//!      |
//!      | a message refers to what came before it
//!      +----------------------------------------------------------------> Refers      as with context takeover
//! ```
//!
//! A message is inflated as was agreed first. One that refers to what is not there is inflated once more from its start, with the
//! messages before it. For that its payload is kept, too, as far as such a reference can come: no distance is longer than 32 KiB.
//!
//! How exactly a message ends does not matter as long as each is taken to stand by itself, nor for the one that is inflated once
//! more. It matters for those behind: a peer that refers to earlier messages is held to what holds with context takeover.

use super::history::History;
use super::memory::{DeflateMemory, Reservation};
use super::{Decompressor, Progress, WindowBits};
use std::sync::Arc;

/// What is known of a peer's compressed messages, where it has agreed to forget each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nothing is certain; with the points that speak for its forgetting.
    Unknown(u8),
    /// It does as it said.
    Forgets,
    /// It refers to earlier messages.
    Refers,
}

/// A point for each message without a reference.
const FORGETS: u8 = 32;
/// And as many for one that begins as one before it has: whoever remembers that refers to it.
const ALIKE: u8 = 16;
/// How many octets are compared for that, and of a shorter message the least. A match of three octets is the shortest there is.
const START: usize = 8;
const SHORT_START: usize = 4;

/// The last octets of what a peer has sent, and what that takes where nobody has reserved it before.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) history: History,
    held: Option<Reservation>,
}

impl Received {
    /// Those that an agreement lets the peer refer to. They were reserved with it.
    pub(super) fn agreed(most: usize) -> Box<Received> {
        Box::new(Received { history: History::new(most), held: None })
    }

    /// Those of a peer that has agreed to refer to none. They are counted.
    fn unagreed(most: usize, memory: &Arc<DeflateMemory>) -> Box<Received> {
        Box::new(Received { history: History::new(most), held: Some(memory.count(0)) })
    }

    /// Reserves as many octets as the history can hold, if they fit.
    fn reserve_all(&mut self) -> bool {
        let most = self.history.most();
        self.held.as_mut().is_none_or(|held| held.grow_to(most))
    }

    /// Reserves so many octets, if half of the memory stays free.
    fn reserve_spare(&mut self, octets: usize) -> bool {
        self.held.as_mut().is_none_or(|held| held.grow_spare_to(octets))
    }

    /// The most octets that `len` octets of history take.
    fn room_for(&self, len: usize) -> usize {
        (2 * len).min(self.history.most())
    }

    /// Whether it has the first octets of this message somewhere.
    fn has_start_of(&self, message: &History) -> bool {
        let [first, _] = message.parts();
        let start = &first[..first.len().min(START)];
        start.len() >= SHORT_START
            && self.history.parts().concat().windows(start.len()).any(|part| part == start)
    }
}

impl Habit {
    /// What is known once another message has been inflated that refers to none before it: and what is kept of it and of those
    /// before. `len` is its length, of which `message` has the last octets.
    pub(super) fn after(
        self,
        kept: Option<Box<Received>>,
        (message, len): (&History, u64),
        most: usize,
        memory: &Arc<DeflateMemory>,
    ) -> (Habit, Option<Box<Received>>) {
        let Habit::Unknown(points) = self else { return (self, kept) };
        let whole = len <= WindowBits::MAX.size() as u64;
        let alike = whole && kept.as_ref().is_some_and(|kept| kept.has_start_of(message));
        let points = points.saturating_add(if alike { ALIKE } else { 1 });
        if points >= FORGETS {
            return (Habit::Forgets, None);
        }
        let mut kept = kept.unwrap_or_else(|| Received::unagreed(most, memory));
        let len = (kept.history.len() + message.len()).min(most);
        if !kept.reserve_spare(kept.room_for(len)) {
            return (Habit::Forgets, None);
        }
        message.parts().into_iter().for_each(|part| kept.history.push(part));
        (Habit::Unknown(points), Some(kept))
    }
}

/// A message of a peer whose habit is not known, while it is inflated.
#[derive(Debug)]
pub(super) struct Trial {
    kept: Box<Received>,
    /// Its payload so far, as long as that may be needed.
    input: Option<Vec<u8>>,
    /// It has referred to an earlier message.
    refers: bool,
}

/// The most octets of payload that are kept of a message: what 32 KiB that do not compress come to in many small fragments.
const MOST_INPUT: usize = 40 << 10;

impl Trial {
    /// Begins a message behind these.
    pub(super) fn new(kept: Box<Received>) -> Box<Trial> {
        Box::new(Trial { kept, input: Some(Vec::new()), refers: false })
    }

    /// What is kept of earlier messages, and whether this one has referred to them. Takes it back from the decompressor then.
    pub(super) fn end(mut self, decompressor: &mut Decompressor) -> (Box<Received>, bool) {
        if self.refers {
            decompressor.swap_history(&mut self.kept.history);
        }
        let len = self.kept.history.len();
        let room = if self.refers { self.kept.history.most() } else { self.kept.room_for(len) };
        if let Some(held) = &mut self.kept.held {
            held.shrink_to(room);
        }
        (self.kept, self.refers)
    }

    /// Inflates the next piece, as [`Decompressor::inflate`]; `before` octets of the message were inflated before.
    pub(super) fn inflate(
        &mut self,
        decompressor: &mut Decompressor,
        before: u64,
        (payload, last): (&[u8], bool),
        out: &mut [u8],
    ) -> Progress {
        let mut progress = decompressor.inflate(payload, last, out);
        if self.refers {
            return nothing_forgotten(progress);
        }
        if !progress.too_far && !progress.unsaid {
            self.keep(&payload[..progress.read], before + progress.written as u64);
            return progress;
        }
        let Some(input) = self.input.take() else { return progress };
        if !self.kept.reserve_all() {
            progress.too_far = progress.too_far || decompressor.is_too_far([&input, payload], last);
            return progress;
        }
        self.refers = true;
        decompressor.reset();
        decompressor.swap_history(&mut self.kept.history);
        // As leniently as before: it is the same message. From the next one on there is takeover.
        decompressor.begin(true);
        nothing_forgotten(again(decompressor, &input, before, (payload, last), out))
    }

    /// Keeps payload that was inflated, unless there cannot be a reference to an earlier message behind it.
    fn keep(&mut self, payload: &[u8], inflated: u64) {
        let Some(mut input) = self.input.take() else { return };
        let len = input.len() + payload.len();
        if inflated >= WindowBits::MAX.size() as u64 || len > MOST_INPUT {
            return;
        }
        let room = if len > input.capacity() { (2 * len).min(MOST_INPUT) } else { input.capacity() };
        if self.kept.reserve_spare(self.kept.room_for(self.kept.history.len()) + room) {
            input.reserve_exact(room - input.len());
            input.extend_from_slice(payload);
            self.input = Some(input);
        }
    }
}

/// What a distance that is too far even so refers to was never sent.
fn nothing_forgotten(progress: Progress) -> Progress {
    Progress { too_far: false, ..progress }
}

/// Inflates `input` once more, of which `before` octets have been taken already, and then the next piece.
#[cold]
fn again(
    decompressor: &mut Decompressor,
    mut input: &[u8],
    before: u64,
    (payload, last): (&[u8], bool),
    out: &mut [u8],
) -> Progress {
    let mut left = usize::try_from(before).expect("less than a window");
    let mut taken = vec![0; left.min(4 << 10)];
    while left > 0 {
        let room = left.min(taken.len());
        let progress = decompressor.inflate(input, false, &mut taken[..room]);
        if progress.corrupt || progress.read + progress.written == 0 {
            return Progress { corrupt: true, ..Progress::default() };
        }
        input = &input[progress.read..];
        left -= progress.written;
    }
    // The end of a block may be left, which comes to nothing by itself: it did not before.
    while !input.is_empty() {
        let progress = decompressor.inflate(input, false, out);
        if progress.corrupt || progress.written > 0 || progress.read == 0 {
            return Progress { corrupt: true, ..Progress::default() };
        }
        input = &input[progress.read..];
    }
    decompressor.inflate(payload, last, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(octets: &[u8]) -> History {
        let mut history = History::new(WindowBits::MAX.size());
        history.push(octets);
        history
    }

    /// What is known after these messages, and how many octets are kept and counted.
    fn after(messages: &[&[u8]], memory: &Arc<DeflateMemory>) -> (Habit, usize, usize) {
        let mut known = (Habit::Unknown(0), None);
        for message in messages {
            let message = (&history(message), message.len() as u64);
            known = known.0.after(known.1, message, WindowBits::MAX.size(), memory);
        }
        (known.0, known.1.as_deref().map_or(0, |kept: &Received| kept.history.len()), memory.stats().held)
    }

    #[test]
    fn a_peer_forgets_that_does_not_refer_where_it_could_have_or_never_has() {
        let memory = DeflateMemory::new(1 << 20);
        assert_eq!(after(&[b"{\"a\":1}"], &memory), (Habit::Unknown(1), 7, 14));
        let alike: [&[u8]; 3] = [b"{\"type\":1}", b"{\"type\":2}", b"{\"type\":3}"];
        assert_eq!(after(&alike[..2], &memory), (Habit::Unknown(17), 20, 40));
        assert_eq!(after(&alike, &memory), (Habit::Forgets, 0, 0));
        let ping: [&[u8]; 3] = [b"ping"; 3];
        assert_eq!(after(&ping, &memory).0, Habit::Forgets);
        let one: [&[u8]; 31] = [b"1"; 31];
        assert_eq!(after(&one, &memory), (Habit::Unknown(31), 31, 62));
        let unlike: Vec<[u8; 8]> = (0..32_u64).map(u64::to_be_bytes).collect();
        let unlike: Vec<&[u8]> = unlike.iter().map(|octets| &octets[..]).collect();
        assert_eq!(after(&unlike, &memory), (Habit::Forgets, 0, 0));
        assert_eq!(memory.stats().held, 0);
    }

    #[test]
    fn no_more_is_kept_than_a_window_and_than_half_of_the_memory() {
        let long = vec![7; 40_000];
        let memory = DeflateMemory::new(1 << 20);
        assert_eq!(after(&[&long, b"a"], &memory), (Habit::Unknown(2), 32 << 10, 32 << 10));
        let memory = DeflateMemory::new(60_000);
        assert_eq!(after(&[b"abc", &long], &memory), (Habit::Forgets, 0, 0));
    }
}
