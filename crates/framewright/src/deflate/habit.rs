//! What a peer does that has agreed to compress each message on its own (RFC 7692, sections 7.1.1.1
//! and 7.1.1.2).
//!
//! Tornado and Mojolicious agree to it, and refer to earlier messages all the same. So the last
//! octets of a peer's first compressed messages are kept until it is seen what it does:
//!
//! ```text
//!              messages that could have referred to others, and did not
//!   Unknown ------------------------------------------------------------> Forgets     nothing is kept
//!    |  ^
//!    |  | what is kept was needed elsewhere
//!    |  +------------------+
//!    |                     |
//!    +-----------------> Refers                                                       as with context takeover
//!      a message refers to what came before it
//! ```
//!
//! A message is inflated as was agreed first. One that refers to what is not there is inflated once
//! more from its start, with the messages before it. For that its payload is kept, too, as far as
//! such a reference can come: no distance is longer than 32 KiB.
//!
//! How exactly a message ends does not matter as long as each is taken to stand by itself, nor for
//! the one that is inflated once more. It matters for those behind: a peer that refers to earlier
//! messages is held to what holds with context takeover.

use super::history::History;
use super::kept::{Kept, Taken};
use super::memory::DeflateMemory;
use super::{Decompressor, Progress, WindowBits};
use std::sync::Arc;
use std::time::Instant;

/// What is known of a peer's compressed messages, where it has agreed to forget each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// None has come yet.
    New,
    /// Nothing is certain; with the number of messages that speak for its forgetting.
    Unknown(u8),
    /// It does as it said.
    Forgets,
    /// It refers to earlier messages.
    Refers,
}

/// So many messages that could have referred to earlier ones are no accident.
const FORGETS: u8 = 2;
/// How many octets of a message's start are looked for in what came before, and of a shorter
/// message the least: all of it. A match of three octets is the shortest there is, and some
/// compressors find none of less than four.
const START: usize = 8;
const SHORT_START: usize = 4;

/// A message that has been inflated, and refers to none before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone<'a> {
    /// Its last octets.
    pub(super) octets: &'a History,
    /// How many it has.
    pub(super) len: u64,
    /// How many its payload has.
    pub(super) payload: u64,
    /// Its payload begins with a block without compression.
    pub(super) stored: bool,
}

impl Alone<'_> {
    /// Whether a compressor that remembers what is kept would have referred to it.
    ///
    /// At the start of a message it has no other match, and takes the one that there is: unless it
    /// has made a block without compression, since the rest was longer otherwise, or a longer match
    /// began behind the first octets, in the message itself. So those must not repeat each other.
    fn could_have_referred_to(&self, kept: &Kept) -> bool {
        let [first, _] = self.octets.parts();
        let start = &first[..first.len().min(START)];
        let is_whole = self.len == self.octets.len() as u64;
        let repeats = || {
            let mut threes: Vec<&[u8]> = start.windows(3).collect();
            threes.sort_unstable();
            threes.windows(2).any(|pair| pair[0] == pair[1])
        };
        is_whole && !self.stored && start.len() >= SHORT_START && !repeats() && kept.has_lately(start)
    }
}

impl Habit {
    /// What is known once another message has been inflated that refers to none before it: and what
    /// is kept of it and of those before. Of the peer's messages it can refer to the last `most`
    /// octets.
    pub(super) fn after(
        self,
        kept: Option<Kept>,
        message: Alone<'_>,
        most: usize,
        memory: &Arc<DeflateMemory>,
        now: Instant,
    ) -> (Habit, Option<Kept>) {
        let proofs = match self {
            Habit::Forgets => return (self, None),
            Habit::Unknown(proofs) => proofs,
            // What it refers to was taken away.
            Habit::New | Habit::Refers => 0,
        };
        let proves = kept.as_ref().is_some_and(|kept| message.could_have_referred_to(kept));
        let proofs = proofs + u8::from(proves);
        if proofs == FORGETS {
            return (Habit::Forgets, None);
        }
        let mut kept = kept.unwrap_or_else(|| {
            let kept = Kept::new(memory, most, now, message.payload);
            if self == Habit::New { kept.complete() } else { kept }
        });
        let fits = kept.push(message.octets);
        (Habit::Unknown(proofs), fits.then_some(kept))
    }
}

/// A message of a peer of which something is kept, while it is inflated.
#[derive(Debug)]
pub(super) struct Trial {
    kept: Kept,
    /// All of its payload so far is kept, too.
    has_input: bool,
    /// It refers to earlier messages, or may do so.
    refers: bool,
    /// The decompressor has all of them.
    is_complete: bool,
    /// Nothing of it was inflated yet.
    is_new: bool,
}

/// The most octets of payload that are kept of a message: what 32 KiB that do not compress come to
/// in many small fragments.
const MOST_INPUT: usize = 40 << 10;

impl Trial {
    /// Begins a message behind these, to which it may refer if the peer is known to do so. `None`
    /// if they were taken away.
    pub(super) fn begin(mut kept: Kept, refers: bool, decompressor: &mut Decompressor) -> Option<Box<Trial>> {
        let mut is_complete = false;
        if refers {
            let mut taken = kept.take()?;
            decompressor.swap_history(&mut taken.history);
            is_complete = taken.is_complete;
        } else if !kept.is_there() {
            return None;
        }
        Some(Box::new(Trial { kept, has_input: !refers, refers, is_complete, is_new: true }))
    }

    /// What is kept of earlier messages, unless it was taken away; and whether this one has
    /// referred to them, of which it is a part then.
    pub(super) fn end(mut self, decompressor: &mut Decompressor) -> (Option<Kept>, bool) {
        let is_there = if self.refers {
            let mut history = History::new(WindowBits::MAX.size());
            decompressor.swap_history(&mut history);
            self.kept.put_history(history)
        } else {
            self.kept.clear_input();
            self.kept.is_there()
        };
        (is_there.then_some(self.kept), self.refers)
    }

    /// Inflates the next piece, as [`Decompressor::inflate`]; `before` octets of the message were
    /// inflated before.
    pub(super) fn inflate(
        &mut self,
        decompressor: &mut Decompressor,
        before: u64,
        (payload, last): (&[u8], bool),
        out: &mut [u8],
        now: Instant,
    ) -> Progress {
        let is_new = std::mem::take(&mut self.is_new);
        let progress = decompressor.inflate(payload, last, out);
        self.kept.note_sent(now, progress.read);
        if self.refers {
            return self.beyond(progress);
        }
        if !progress.too_far && !progress.unsaid {
            self.keep(&payload[..progress.read], before + progress.written as u64);
            return progress;
        }
        let Some(Taken { mut history, input, is_complete }) = self.kept.take() else {
            // Of a longer message the beginning is gone with it, and nothing else than a reference
            // to it is likely.
            let too_far = progress.too_far || !is_new || decompressor.is_too_far([&[], payload], last);
            return Progress { too_far, ..progress };
        };
        if !self.has_input {
            return progress;
        }
        (self.refers, self.has_input, self.is_complete) = (true, false, is_complete);
        decompressor.reset();
        decompressor.swap_history(&mut history);
        // As leniently as before: it is the same message. From the next one on there is takeover.
        decompressor.begin(true);
        let progress = again(decompressor, &input, before, (payload, last), out);
        self.beyond(progress)
    }

    /// What a distance refers to that is too far even so was never sent, if nothing is lost of what
    /// was.
    fn beyond(&self, progress: Progress) -> Progress {
        Progress { too_far: progress.too_far && !self.is_complete, ..progress }
    }

    /// Keeps payload that was inflated, unless there cannot be a reference to an earlier message
    /// behind it.
    fn keep(&mut self, payload: &[u8], inflated: u64) {
        if self.has_input {
            self.has_input =
                inflated < WindowBits::MAX.size() as u64 && self.kept.push_input(payload, MOST_INPUT);
            if !self.has_input {
                self.kept.clear_input();
            }
        }
    }
}

/// Inflates `input` once more, of which `before` octets have been taken already, and then the next
/// piece.
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
    fn after(messages: &[&[u8]], stored: bool, memory: &Arc<DeflateMemory>) -> (Habit, usize, usize) {
        let (mut known, now) = ((Habit::New, None), Instant::now());
        for message in messages {
            let octets = &history(message);
            let len = message.len() as u64;
            let message = Alone { octets, len, payload: len, stored };
            known = known.0.after(known.1, message, WindowBits::MAX.size(), memory, now);
        }
        (known.0, known.1.as_ref().map_or(0, Kept::len), memory.stats().held)
    }

    #[test]
    fn a_peer_forgets_that_does_not_refer_where_it_would_have_if_it_remembered() {
        let memory = DeflateMemory::new(1 << 20);
        assert_eq!(after(&[b"{\"a\":1}"], false, &memory), (Habit::Unknown(0), 7, 14));
        let alike: [&[u8]; 3] = [b"{\"type\":1}", b"{\"type\":2}", b"{\"type\":3}"];
        assert_eq!(after(&alike[..2], false, &memory), (Habit::Unknown(1), 20, 40));
        assert_eq!(after(&alike, false, &memory), (Habit::Forgets, 0, 0));
        assert_eq!(after(&[&b"ping"[..]; 3], false, &memory).0, Habit::Forgets);
        assert_eq!(memory.stats().held, 0);
    }

    /// Once any 32 messages counted: those that are too short to refer to anything, and those that
    /// are like none before them.
    #[test]
    fn messages_that_would_refer_to_nothing_even_if_it_remembered_prove_nothing() {
        let memory = DeflateMemory::new(1 << 20);
        for short in ["", "1", "12", "123"] {
            let messages = vec![short.as_bytes(); 100];
            assert_eq!(after(&messages, false, &memory).0, Habit::Unknown(0), "{short:?}");
        }
        let unlike: Vec<[u8; 8]> =
            (1..200_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect();
        let unlike: Vec<&[u8]> = unlike.iter().map(|octets| &octets[..]).collect();
        assert_eq!(after(&unlike, false, &memory), (Habit::Unknown(0), 199 * 8, 2 * 199 * 8));
        // A file's header, and what does not compress behind it.
        assert_eq!(after(&[&b"\x89PNG\r\n\x1a\n"[..]; 100], true, &memory).0, Habit::Unknown(0));
        // The second octet begins a longer match, in the message itself.
        assert_eq!(after(&[&b"aaaaaaaaaaaaaaaa"[..]; 100], false, &memory).0, Habit::Unknown(0));
        assert_eq!(after(&[&b"abababababababab"[..]; 100], false, &memory).0, Habit::Unknown(0));
        // What is alike is too far away for some compressors to find.
        let far: [&[u8]; 3] = [b"{\"type\":1}", &[7; 1100], b"{\"type\":1}"];
        assert_eq!(after(&far, false, &memory).0, Habit::Unknown(0));
        assert_eq!(memory.stats().held, 0);
    }

    #[test]
    fn no_more_is_kept_than_a_window_and_than_there_is_memory_for() {
        let long = vec![7; 40_000];
        let memory = DeflateMemory::new(1 << 20);
        assert_eq!(after(&[&long, b"a"], false, &memory), (Habit::Unknown(0), 32 << 10, 32 << 10));
        let memory = DeflateMemory::new(40_000);
        assert_eq!(after(&[b"abc", &long], false, &memory), (Habit::Unknown(0), 0, 0));
        // What comes behind it is kept again.
        assert_eq!(after(&[b"abc", &long, b"abc"], false, &memory), (Habit::Unknown(0), 3, 6));
    }

    /// A compressed message with fixed codes (RFC 1951, section 3.2.6): so many octets, a match of
    /// three at a distance with this code, and more of them behind it.
    fn with_distance(octets: usize, code: u32) -> Vec<u8> {
        let mut bits = vec![false, true, false];
        let mut put = |code: u32, len: u32| bits.extend((0..len).rev().map(|bit| code >> bit & 1 == 1));
        (0..octets).for_each(|_| put(0x30 + 7, 8));
        put(1, 7);
        put(code, 5);
        (0..13).for_each(|_| put(0, 1)); // as many extra bits as a distance can have
        (0..400).for_each(|_| put(0x30 + 7, 8));
        bits.chunks(8)
            .map(|bits| bits.iter().rev().fold(0, |octet, bit| octet << 1 | u8::from(*bit)))
            .collect()
    }

    /// Whether a message with such a distance is said to refer to what is not there: inflated in
    /// two pieces or one, with so much room each time, of a peer of which all was kept that it has
    /// sent; and that others have taken before the last piece if it is `lost`.
    fn is_too_far(code: u32, pieces: usize, room: usize, lost: bool, refers: bool) -> bool {
        let (memory, now) = (DeflateMemory::new(1 << 20), Instant::now());
        let mut decompressor = Decompressor::new();
        let mut kept = Kept::new(&memory, WindowBits::MAX.size(), now, 5).complete();
        assert!(kept.push(&history(b"hello")));
        let mut trial = Trial::begin(kept, refers, &mut decompressor).expect("it is there");
        decompressor.begin(!refers);
        let payload = with_distance(400, code);
        let (first, mut rest) = payload.split_at(if pieces == 2 { 20 } else { 0 });
        let (mut out, mut before) = (vec![0; room], 0);
        if pieces == 2 {
            let progress = trial.inflate(&mut decompressor, 0, (first, false), &mut out, now);
            assert!(!progress.corrupt && progress.read == first.len());
            before = progress.written as u64;
        }
        if lost {
            trial.kept.lose();
        }
        loop {
            let progress = trial.inflate(&mut decompressor, before, (rest, true), &mut out, now);
            if progress.corrupt {
                return progress.too_far;
            }
            before += progress.written as u64;
            rest = &rest[progress.read..];
        }
    }

    /// Once what was kept was taken, whatever was wrong was said to refer to it.
    #[test]
    fn what_is_wrong_is_told_also_where_what_was_kept_is_gone() {
        for (pieces, room) in [(1, 4 << 10), (2, 4 << 10), (1, 60), (2, 60)] {
            // Code 28 is a distance of 16,385: never was there so much. Code 30 is none.
            for code in [28, 30] {
                for (lost, refers) in [(false, false), (false, true), (true, true)] {
                    let what = format!("{code}, {pieces}, {room}, {lost}, {refers}");
                    assert!(!is_too_far(code, pieces, room, lost, refers), "{what}");
                }
            }
            assert!(is_too_far(28, pieces, room, true, false), "{pieces}, {room}");
            // Only of the rest of a message, and with much room, zlib does not say what it is.
            let is_unsaid = pieces == 2 && room > 60;
            assert_eq!(is_too_far(30, pieces, room, true, false), is_unsaid, "{pieces}, {room}");
        }
    }
}
