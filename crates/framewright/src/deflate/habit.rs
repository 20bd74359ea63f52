//! Whether a peer that has agreed to compress each message on its own (RFC 7692, sections 7.1.1.1
//! and 7.1.1.2) does so.
//!
//! Tornado and Mojolicious agree to it, and refer to earlier messages nevertheless. So the last
//! bytes of a peer's first compressed messages are kept until its habit is known:
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
//! A message is first inflated as negotiated. If it refers to bytes that are not there, it is
//! inflated once more from its start, with the messages before it. For that its payload is kept
//! too, as long as such a reference is possible: no distance is longer than 32 KiB.
//!
//! While each message stands on its own, it does not matter how exactly it ends; nor does it for
//! the message that is inflated once more. It matters for later messages: a peer that refers to
//! earlier messages has to keep to the rules of context takeover.

use super::history::History;
use super::kept::{Kept, Taken};
use super::memory::DeflateMemory;
use super::{Decompressor, Progress, WindowBits};
use std::sync::Arc;
use std::time::Instant;

/// The known habit of a peer that has agreed to forget each of its compressed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// No compressed message was received yet.
    New,
    /// Nothing is certain. With the number of messages that indicate that the peer forgets.
    Unknown(u8),
    /// The peer forgets its messages, as agreed.
    Forgets,
    /// The peer refers to earlier messages.
    Refers,
}

/// The number of messages that could have referred to earlier ones, and did not, that is no
/// accident.
const FORGETS: u8 = 2;
/// The first `START` bytes of a message are searched for in earlier messages. A shorter message is
/// searched for as a whole, if it has at least `SHORT_START` bytes. The shortest match has three
/// bytes, and some compressors find none of fewer than four.
const START: usize = 8;
const SHORT_START: usize = 4;

/// An inflated message that refers to no earlier one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone<'a> {
    /// Its last bytes.
    pub(super) octets: &'a History,
    /// Its length in bytes.
    pub(super) len: u64,
    /// The length of its payload in bytes.
    pub(super) payload: u64,
    /// Its payload begins with a block without compression.
    pub(super) stored: bool,
}

impl Alone<'_> {
    /// Whether a compressor that remembers the kept messages would have referred to them.
    ///
    /// At the start of a message, a compressor has no other match, and takes the one in the kept
    /// messages. There are two exceptions:
    ///
    /// - It makes a block without compression, because the rest would be longer otherwise.
    /// - A longer match begins behind the first bytes, in the message itself. So these bytes must
    ///   not repeat each other.
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
    /// Returns the habit after another inflated message that refers to no earlier one, and the
    /// bytes kept of it and of earlier messages. The peer can refer to the last `most` bytes of its
    /// messages.
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
            // The bytes that the peer refers to were taken away.
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

/// A message that is being inflated, of a peer whose earlier messages are kept.
#[derive(Debug)]
pub(super) struct Trial {
    kept: Kept,
    /// All of its payload so far is kept too.
    has_input: bool,
    /// It refers to earlier messages, or may do so.
    refers: bool,
    /// The decompressor has all earlier messages.
    is_complete: bool,
    /// Nothing of the message was inflated yet.
    is_new: bool,
}

/// The most bytes of payload kept of a message: the payload of 32 KiB that do not compress, in many
/// small fragments.
const MOST_INPUT: usize = 40 << 10;

impl Trial {
    /// Begins a message behind the `kept` ones, to which it may refer if the peer is known to do so
    /// (`refers`). `None` if their memory was taken away.
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

    /// Ends the message. Returns the kept messages, unless their memory was taken away, and whether
    /// this message has referred to them. If it has, it is now one of them.
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

    /// Inflates the next piece, as [`Decompressor::inflate`] does. `before` bytes of the message
    /// were inflated before.
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
            // The beginning of a longer message is gone with the kept ones, and the fault is most
            // likely a reference to them.
            let too_far = progress.too_far || !is_new || decompressor.is_too_far([&[], payload], last);
            return Progress { too_far, ..progress };
        };
        if !self.has_input {
            return progress;
        }
        (self.refers, self.has_input, self.is_complete) = (true, false, is_complete);
        decompressor.reset();
        decompressor.swap_history(&mut history);
        // As lenient as before: it is the same message. From the next message on there is takeover.
        decompressor.begin(true);
        let progress = again(decompressor, &input, before, (payload, last), out);
        self.beyond(progress)
    }

    /// If no earlier message is missing, a distance that is still too far refers to bytes that were
    /// never sent: then it is a plain fault.
    fn beyond(&self, progress: Progress) -> Progress {
        Progress { too_far: progress.too_far && !self.is_complete, ..progress }
    }

    /// Keeps payload that was inflated, as long as a reference to an earlier message can follow it.
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

/// Inflates `input` once more, of whose result `before` bytes were taken already, and then the next
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
    // The end of a block may be left. It inflates to no further bytes, as it did the first time.
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

    /// The habit after `messages`, and how many bytes are kept and counted.
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

    /// Once any 32 messages counted, even those too short to refer to anything, and those that are
    /// like no earlier ones.
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
        // A file's header, and data behind it that does not compress.
        assert_eq!(after(&[&b"\x89PNG\r\n\x1a\n"[..]; 100], true, &memory).0, Habit::Unknown(0));
        // The second byte begins a longer match, in the message itself.
        assert_eq!(after(&[&b"aaaaaaaaaaaaaaaa"[..]; 100], false, &memory).0, Habit::Unknown(0));
        assert_eq!(after(&[&b"abababababababab"[..]; 100], false, &memory).0, Habit::Unknown(0));
        // The similar message is too far away for some compressors to find.
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
        // Later messages are kept again.
        assert_eq!(after(&[b"abc", &long, b"abc"], false, &memory), (Habit::Unknown(0), 3, 6));
    }

    /// A compressed message with fixed codes (RFC 1951, section 3.2.6): `octets` bytes, a match of
    /// three at a distance with `code`, and more bytes behind it.
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

    /// Whether a message with such a distance is reported to refer to bytes that are not there. It
    /// is inflated in one or two `pieces`, with `room` bytes each time. All messages of its peer
    /// were kept; if `lost`, their memory is taken before the last piece.
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

    /// Once any fault was reported as a reference to kept messages, if their memory was taken.
    #[test]
    fn what_is_wrong_is_told_also_where_what_was_kept_is_gone() {
        for (pieces, room) in [(1, 4 << 10), (2, 4 << 10), (1, 60), (2, 60)] {
            // Code 28 is a distance of 16,385, more bytes than were ever sent. Code 30 is invalid.
            for code in [28, 30] {
                for (lost, refers) in [(false, false), (false, true), (true, true)] {
                    let what = format!("{code}, {pieces}, {room}, {lost}, {refers}");
                    assert!(!is_too_far(code, pieces, room, lost, refers), "{what}");
                }
            }
            assert!(is_too_far(28, pieces, room, true, false), "{pieces}, {room}");
            // Only for the rest of a message, and with much room, zlib does not name the fault.
            let is_unsaid = pieces == 2 && room > 60;
            assert_eq!(is_too_far(30, pieces, room, true, false), is_unsaid, "{pieces}, {room}");
        }
    }
}
