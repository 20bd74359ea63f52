//! What the messages say: content of each kind, of exactly the size that is asked for.

use framewright::frame::OpCode;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::fmt::Write as _;

/// The kinds of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Binary messages: counters.
    Binary,
    /// Text of printable ASCII characters.
    Ascii,
    /// Text: a JSON array of records, with numbers, times and names.
    Json,
    /// Text: characters of one to four octets, mixed.
    Utf8,
    /// Binary messages that nothing compresses.
    Random,
}

impl Kind {
    /// How it is written on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Binary => "binary",
            Kind::Ascii => "ascii",
            Kind::Json => "json",
            Kind::Utf8 => "utf8",
            Kind::Random => "random",
        }
    }

    pub(super) fn opcode(self) -> OpCode {
        match self {
            Kind::Binary | Kind::Random => OpCode::Binary,
            Kind::Ascii | Kind::Json | Kind::Utf8 => OpCode::Text,
        }
    }

    /// The smallest size that has content of this kind: no JSON text is empty.
    pub(super) fn least_size(self) -> usize {
        usize::from(self == Kind::Json)
    }

    /// The content of message `number`: the same for the same arguments, and another for another
    /// number where the size allows it.
    pub(super) fn content(self, size: usize, seed: u64, number: u64) -> Vec<u8> {
        let first = seed.wrapping_add(number.wrapping_mul(ODD));
        let mut rng = StdRng::seed_from_u64(first);
        match self {
            Kind::Binary => counters(size, first),
            Kind::Ascii => ascii(size, &mut rng),
            Kind::Json => json(size, number, &mut rng),
            Kind::Utf8 => utf8(size, &mut rng),
            Kind::Random => {
                let mut octets = vec![0; size];
                rng.fill_bytes(&mut octets);
                octets
            }
        }
    }
}

/// Odd, so that the numbers from 0 to 255 times it have 256 different last octets.
const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Consecutive numbers of eight octets each: any shift, loss or exchange within a message shows.
fn counters(size: usize, first: u64) -> Vec<u8> {
    let mut octets = Vec::with_capacity(size + 8);
    let mut number = first;
    while octets.len() < size {
        octets.extend_from_slice(&number.to_le_bytes());
        number = number.wrapping_add(1);
    }
    octets.truncate(size);
    octets
}

fn ascii(size: usize, rng: &mut StdRng) -> Vec<u8> {
    (0..size).map(|_| rng.random_range(b' '..=b'~')).collect()
}

/// Records as an application's interface sends them, in an array, and a string of words to fill up;
/// what is too small for an array is a string or a digit.
fn json(size: usize, number: u64, rng: &mut StdRng) -> Vec<u8> {
    if size == 1 {
        return (number % 10).to_string().into_bytes();
    }
    if size < 4 {
        return format!("\"{}\"", words(size - 2, rng)).into_bytes();
    }
    let mut text = "[".to_owned();
    let mut id = rng.random_range(10_000_000..99_000_000);
    let mut time = rng.random_range(0..YEAR);
    loop {
        let before = text.len();
        (id, time) = (id + rng.random_range(1..50), time + rng.random_range(1..60_000));
        record(&mut text, id, time, rng);
        // The string that fills up, and the bracket.
        if text.len() + 3 > size {
            text.truncate(before);
            break;
        }
    }
    let fill = words(size - text.len() - 3, rng);
    write!(text, "\"{fill}\"]").expect("a string takes everything");
    text.into_bytes()
}

/// A record with a comma behind it, of 120 octets at most. The time is in milliseconds of the year.
fn record(text: &mut String, id: u32, time: u64, rng: &mut StdRng) {
    let mut one_of = |names: &[&'static str]| names[rng.random_range(0..names.len())];
    let (kind, first, last) = (one_of(&EVENTS), one_of(&FIRST_NAMES), one_of(&LAST_NAMES));
    let (euros, cents) = (rng.random_range(1..2000), rng.random_range(0..100));
    let (days, hours, minutes) = (time / DAY, time / 3_600_000 % 24, time / 60_000 % 60);
    let (month, day) = (1 + days / 28 % 12, 1 + days % 28);
    let (second, millisecond) = (time / 1000 % 60, time % 1000);
    write!(
        text,
        r#"{{"id":{id},"time":"2026-{month:02}-{day:02}T{hours:02}:{minutes:02}:{second:02}.{millisecond:03}Z","#
    )
    .expect("a string takes everything");
    write!(text, r#""type":"{kind}","user":"{first} {last}","amount":{euros}.{cents:02}}},"#)
        .expect("a string takes everything");
}

/// Words with a space behind each, cut off at this length.
fn words(size: usize, rng: &mut StdRng) -> String {
    let mut text = String::with_capacity(size + 12);
    while text.len() < size {
        text.push_str(WORDS[rng.random_range(0..WORDS.len())]);
        text.push(' ');
    }
    text.truncate(size);
    text
}

/// Milliseconds of a day, and of twelve months of four weeks.
const DAY: u64 = 86_400_000;
const YEAR: u64 = 12 * 28 * DAY;
const EVENTS: [&str; 8] = [
    "order.created",
    "order.paid",
    "order.shipped",
    "order.returned",
    "user.login",
    "user.logout",
    "cart.updated",
    "refund.issued",
];
const FIRST_NAMES: [&str; 16] = [
    "Ada", "Alan", "Barbara", "Claude", "Dennis", "Edsger", "Frances", "Grace", "Hedy", "Ivan", "John",
    "Ken", "Lynn", "Niklaus", "Radia", "Tim",
];
const LAST_NAMES: [&str; 16] = [
    "Allen", "Conway", "Dijkstra", "Hopper", "Lamarr", "Liskov", "Lovelace", "McCarthy", "Perlman",
    "Ritchie", "Shannon", "Lee", "Thompson", "Turing", "Wirth", "Kay",
];
const WORDS: [&str; 32] = [
    "a",
    "all",
    "and",
    "at",
    "before",
    "by",
    "delivery",
    "door",
    "for",
    "from",
    "gift",
    "in",
    "is",
    "it",
    "leave",
    "left",
    "letter",
    "neighbour",
    "not",
    "of",
    "on",
    "or",
    "parcel",
    "please",
    "ring",
    "the",
    "to",
    "twice",
    "until",
    "was",
    "with",
    "you",
];

fn utf8(size: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut text = String::with_capacity(size);
    while text.len() < size {
        let range = match rng.random_range(1..=4).min(size - text.len()) {
            1 => 'a'..='z',
            2 => '\u{c0}'..='\u{17f}',
            3 => '\u{4e00}'..='\u{9fff}',
            _ => '\u{1f300}'..='\u{1f5ff}',
        };
        text.push(rng.random_range(range));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 5] = [Kind::Binary, Kind::Ascii, Kind::Json, Kind::Utf8, Kind::Random];

    #[test]
    fn content_has_exactly_the_size_that_was_asked_for() {
        for kind in KINDS {
            for size in (kind.least_size()..300).chain([4096, 65536]) {
                assert_eq!(kind.content(size, 1, 2).len(), size, "{kind:?}");
            }
        }
    }

    #[test]
    fn text_is_utf8_and_ascii_and_json_are_what_they_say() {
        for size in (1..300).chain([4096]) {
            assert!(Kind::Ascii.content(size, 1, 2).is_ascii());
            let mixed = String::from_utf8(Kind::Utf8.content(size, 1, 2)).expect("UTF-8");
            if size == 4096 {
                for len in 1..=4 {
                    assert!(mixed.chars().any(|c| c.len_utf8() == len), "characters of {len} octets");
                }
            }
            let parsed = serde_json::from_slice::<serde_json::Value>(&Kind::Json.content(size, 1, 2));
            assert!(parsed.is_ok(), "{size}: {parsed:?}");
        }
    }

    #[test]
    fn content_is_the_same_again_and_another_for_another_number() {
        for kind in KINDS {
            assert_eq!(kind.content(100, 1, 2), kind.content(100, 1, 2));
            assert_ne!(kind.content(100, 1, 2), kind.content(100, 1, 3), "{kind:?}");
        }
        let octets: Vec<_> = (0..256).map(|number| Kind::Binary.content(1, 0, number)).collect();
        assert!((1..256).all(|i| !octets[..i].contains(&octets[i])), "one octet tells 256 messages apart");
    }
}
