//! What the benches measure with: streams of frames as a client sends them, texts of three kinds,
//! and a driver without sockets that echoes.

use crate::rng::SplitMix64;
use framewright::frame::{OpCode, encode_frame};
use framewright::{Chunk, Config, Connection, Event, Negotiated, RecvBuffer, Transmit};
use std::io::{IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// Octets that one read of [`Echo`] takes at most, as the server reads by default.
pub const READ: usize = 128 << 10;

/// From this many octets on [`Echo`] writes a message from where it lies, as the server does.
const WRITE_THROUGH: usize = 16 << 10;

const WRITES: &str = "a sink that takes what it is given";

/// `count` masked frames with this payload, each with a key of its own.
#[must_use]
pub fn masked_frames(opcode: OpCode, payload: &[u8], count: usize) -> Vec<u8> {
    let mut keys = SplitMix64::new(1);
    let mut stream = Vec::new();
    for _ in 0..count {
        let [a, b, c, d, ..] = keys.next_u64().to_le_bytes();
        encode_frame(&mut stream, true, opcode, payload, Some([a, b, c, d]));
    }
    stream
}

/// What the characters of a text are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// One octet each.
    Ascii,
    /// One to four octets, most of them one.
    Mixed,
    /// Three octets each.
    Cjk,
}

impl Script {
    /// All of them.
    pub const ALL: [Script; 3] = [Script::Ascii, Script::Mixed, Script::Cjk];

    /// What tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Script::Ascii => "ASCII",
            Script::Mixed => "mixed",
            Script::Cjk => "CJK",
        }
    }

    /// A text of exactly `len` octets. Where the next character does not fit, dots fill up.
    #[must_use]
    pub fn text(self, len: usize) -> String {
        let sample = match self {
            Script::Ascii => "The quick brown fox jumps over the lazy dog, 1234567890 times. ",
            Script::Mixed => "Grüße aus Köln – naïve café, κόσμε, «привет», 10 €, 日本, ok 👍 fine; ",
            Script::Cjk => "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽",
        };
        let mut text = String::with_capacity(len);
        for character in sample.chars().cycle() {
            if text.len() + character.len_utf8() > len {
                break;
            }
            text.push(character);
        }
        text.extend(std::iter::repeat_n('.', len - text.len()));
        text
    }
}

/// A text of exactly `len` octets, such as an API answers with: JSON records, the last one cut off.
#[must_use]
pub fn json_records(random: &mut SplitMix64, len: usize) -> String {
    const NAMES: [&str; 8] = ["Ada", "Barbara", "Claude", "Edsger", "Frances", "Grace", "Ken", "Radia"];
    const CITIES: [&str; 4] = ["Lisbon", "Oslo", "Prague", "Vienna"];
    let mut text = String::with_capacity(len + 200);
    while text.len() < len {
        let mut below = |bound: usize| random.below(bound);
        let record = format!(
            "{{\"id\":{},\"name\":\"{}\",\"email\":\"user{}@example.com\",\"city\":\"{}\",\"balance\":{}.{:02},\
             \"active\":{},\"seen\":\"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z\"}},",
            below(1_000_000),
            NAMES[below(8)],
            below(100_000),
            CITIES[below(4)],
            below(10_000),
            below(100),
            below(2) == 0,
            1 + below(12),
            1 + below(28),
            below(24),
            below(60),
            below(60),
        );
        text.push_str(&record);
    }
    text.truncate(len);
    text
}

/// A server's connection and its driver: every message goes back as it came.
#[derive(Debug)]
pub struct Echo {
    /// The connection.
    pub connection: Connection,
    rx: RecvBuffer,
    now: Instant,
}

impl Echo {
    /// A connection that is open since `now`, which is the time that it will always be.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Echo {
        let connection = Connection::server(Arc::new(config), Negotiated::new(), now);
        Echo { connection, rx: RecvBuffer::with_capacity(READ), now }
    }

    /// Takes `stream` in reads of at most [`READ`] octets, each of which it
    /// [answers](Echo::answer).
    ///
    /// # Panics
    /// If the connection refuses a reply, or the sink fails.
    #[inline]
    pub fn turn(&mut self, mut stream: &[u8], sink: &mut impl Write) {
        while !stream.is_empty() {
            self.read(&mut stream);
            self.answer(sink);
        }
    }

    /// Decodes a stream without replying: each event is only shown to `see`.
    #[inline]
    pub fn decode(&mut self, mut stream: &[u8], mut see: impl FnMut(Event<'_>)) {
        while !stream.is_empty() {
            self.read(&mut stream);
            while let Some(event) = self.connection.next_event(self.now, &mut self.rx) {
                see(event);
            }
        }
    }

    /// Reads once, at most [`READ`] octets.
    ///
    /// # Panics
    /// If the source fails.
    #[inline]
    pub fn read(&mut self, source: &mut impl Read) {
        let remaining = usize::try_from(self.rx.frame_remaining()).unwrap_or(usize::MAX);
        let spare = self.rx.spare(remaining.clamp(1, READ));
        let room = spare.len().min(READ);
        let count = source.read(&mut spare[..room]).expect("a source that does not fail");
        self.rx.filled(count);
    }

    /// Echoes all that was read, and gives the replies to `sink` in one write.
    ///
    /// # Panics
    /// If the connection refuses a reply, or the sink fails.
    #[inline]
    pub fn answer(&mut self, sink: &mut impl Write) {
        while let Some(event) = self.connection.next_event(self.now, &mut self.rx) {
            match event {
                Event::Message(message) if message.len() >= WRITE_THROUGH => {
                    let mut write = |slices: &[IoSlice<'_>]| sink.write_vectored(slices).expect(WRITES);
                    self.connection.driver().send_with_writer(message, &mut write).expect("there is room");
                    self.connection.transmitted(self.now, 0);
                }
                Event::Message(message) => self.connection.send(message).expect("there is room"),
                Event::Chunk(Chunk { data, last, .. }) => {
                    self.connection.send_fragment(data, last).expect("there is room");
                }
                _ => {}
            }
        }
        self.transmit(sink);
    }

    #[inline]
    fn transmit(&mut self, sink: &mut impl Write) {
        let mut slices = [IoSlice::new(&[]); 8];
        while let Transmit::Bytes { slices: filled, .. } = self.connection.poll_transmit(&mut slices) {
            let octets = sink.write_vectored(&slices[..filled]).expect(WRITES);
            self.connection.transmitted(self.now, octets);
            slices = [IoSlice::new(&[]); 8];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;
    use framewright::{Delivery, Role};

    #[test]
    fn a_text_has_the_length_and_the_characters_that_were_asked_for() {
        for script in Script::ALL {
            for len in [0, 1, 16, 125, 4096] {
                assert_eq!(script.text(len).len(), len, "{script:?}");
            }
        }
        assert!(Script::Ascii.text(100).is_ascii());
        assert!(Script::Cjk.text(99).chars().all(|character| character.len_utf8() == 3));
        let lengths: Vec<usize> = Script::Mixed.text(100).chars().map(char::len_utf8).collect();
        assert!((1..=4).all(|len| lengths.contains(&len)));
    }

    #[test]
    fn every_message_comes_back_whole_and_in_chunks() {
        for (delivery, len) in [(Delivery::Whole, 5000), (Delivery::Whole, 20_000), (Delivery::Chunks, 5000)]
        {
            let text = Script::Mixed.text(len);
            let mut echo = Echo::new(Config { delivery, ..Config::default() }, Instant::now());
            for size in [1000, READ * 2] {
                let mut sent = Vec::new();
                let stream = masked_frames(OpCode::Text, text.as_bytes(), 30);
                for piece in stream.chunks(size) {
                    echo.turn(piece, &mut sent);
                }
                let frames = wire::check_output(Role::Server, &sent).expect("correct frames");
                let payload: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
                assert_eq!(payload, text.repeat(30).as_bytes());
            }
        }
    }
}
