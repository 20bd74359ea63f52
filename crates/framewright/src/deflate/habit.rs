//! What a peer does that has agreed to compress each message on its own (RFC 7692, sections 7.1.1.1 and 7.1.1.2).
//!
//! Tornado and Mojolicious agree to it, and refer to earlier messages all the same. So the last octets of a peer's first compressed
//! messages are kept until it is seen what it does:
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
//! A message is inflated as was agreed first. One that refers to what is not there is inflated once more from its start, with the
//! messages before it. For that its payload is kept, too, as far as such a reference can come: no distance is longer than 32 KiB.
//!
//! How exactly a message ends does not matter as long as each is taken to stand by itself, nor for the one that is inflated once
//! more. It matters for those behind: a peer that refers to earlier messages is held to what holds with context takeover.

use super::history::History;
use super::kept::Kept;
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
/// How many octets of a message's start are looked for in what came before, and of a shorter message the least: all of it. A match
/// of three octets is the shortest there is, and some compressors find none of less than four.
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
    /// At the start of a message it has no other match, and takes the one that there is: unless it has made a block without compression,
    /// since the rest was longer otherwise, or a longer match began behind the first octets, in the message itself. So those must not
    /// repeat each other.
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
    /// What is known once another message has been inflated that refers to none before it: and what is kept of it and of those
    /// before. Of the peer's messages it can refer to the last `most` octets.
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
}

/// The most octets of payload that are kept of a message: what 32 KiB that do not compress come to in many small fragments.
const MOST_INPUT: usize = 40 << 10;

impl Trial {
    /// Begins a message behind these, to which it may refer if the peer is known to do so. `None` if they were taken away.
    pub(super) fn begin(mut kept: Kept, refers: bool, decompressor: &mut Decompressor) -> Option<Box<Trial>> {
        if refers {
            decompressor.swap_history(&mut kept.take_history()?);
        } else if !kept.is_there() {
            return None;
        }
        Some(Box::new(Trial { kept, has_input: !refers, refers }))
    }

    /// What is kept of earlier messages, unless it was taken away; and whether this one has referred to them, of which it is a part then.
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

    /// Inflates the next piece, as [`Decompressor::inflate`]; `before` octets of the message were inflated before.
    pub(super) fn inflate(
        &mut self,
        decompressor: &mut Decompressor,
        before: u64,
        (payload, last): (&[u8], bool),
        out: &mut [u8],
        now: Instant,
    ) -> Progress {
        let progress = decompressor.inflate(payload, last, out);
        self.kept.note_sent(now, progress.read);
        if self.refers {
            return self.beyond(progress);
        }
        if !progress.too_far && !progress.unsaid {
            self.keep(&payload[..progress.read], before + progress.written as u64);
            return progress;
        }
        if !self.kept.is_there() {
            // It was, and nothing else than a reference to it is likely.
            return Progress { too_far: true, ..progress };
        }
        let input = if self.has_input { self.kept.take_input() } else { None };
        let Some((input, mut history)) = input.zip(self.kept.take_history()) else { return progress };
        (self.refers, self.has_input) = (true, false);
        decompressor.reset();
        decompressor.swap_history(&mut history);
        // As leniently as before: it is the same message. From the next one on there is takeover.
        decompressor.begin(true);
        let progress = again(decompressor, &input, before, (payload, last), out);
        self.beyond(progress)
    }

    /// What a distance refers to that is too far even so was never sent, if nothing is lost of what was.
    fn beyond(&self, progress: Progress) -> Progress {
        let too_far = progress.too_far && !self.kept.is_complete();
        Progress { too_far, ..progress }
    }

    /// Keeps payload that was inflated, unless there cannot be a reference to an earlier message behind it.
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

    /// Once any 32 messages counted: those that are too short to refer to anything, and those that are like none before them.
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
}
