//! What the benches measure with: streams of frames as a client sends them, texts of three kinds, and a driver without sockets
//! that echoes.

use crate::rng::SplitMix64;
use framewright::frame::{OpCode, encode_frame};
use framewright::{Chunk, Config, Connection, Event, Negotiated, RecvBuffer, Transmit};
use std::io::{IoSlice, Write};
use std::sync::Arc;
use std::time::Instant;

/// Octets that one read of [`Echo`] takes at most, as the server reads by default.
pub const READ: usize = 128 << 10;

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
#[allow(clippy::exhaustive_enums, reason = "each bench names them all")]
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

    /// Takes `stream` in reads of at most [`READ`] octets. After each one, what is in it is decoded and echoed, and all replies
    /// go to `sink` in one write.
    ///
    /// # Panics
    /// If the connection refuses a reply, or the sink fails.
    #[inline]
    pub fn turn(&mut self, mut stream: &[u8], sink: &mut impl Write) {
        while !stream.is_empty() {
            stream = self.read(stream);
            while let Some(event) = self.connection.next_event(self.now, &mut self.rx) {
                match event {
                    Event::Message(message) => self.connection.send(message).expect("there is room"),
                    Event::Chunk(Chunk { data, last, .. }) => {
                        self.connection.send_fragment(data, last).expect("there is room");
                    }
                    _ => {}
                }
            }
            self.transmit(sink);
        }
    }

    /// The same without replies: each event is only shown to `see`.
    #[inline]
    pub fn decode(&mut self, mut stream: &[u8], mut see: impl FnMut(Event<'_>)) {
        while !stream.is_empty() {
            stream = self.read(stream);
            while let Some(event) = self.connection.next_event(self.now, &mut self.rx) {
                see(event);
            }
        }
    }

    /// As a read from a socket: copies, and returns what did not fit.
    #[inline]
    fn read<'a>(&mut self, stream: &'a [u8]) -> &'a [u8] {
        let spare = self.rx.spare(READ);
        let (taken, rest) = stream.split_at(spare.len().min(READ).min(stream.len()));
        spare[..taken.len()].copy_from_slice(taken);
        self.rx.filled(taken.len());
        rest
    }

    #[inline]
    fn transmit(&mut self, sink: &mut impl Write) {
        let mut slices = [IoSlice::new(&[]); 8];
        while let Transmit::Bytes { slices: filled, .. } = self.connection.poll_transmit(&mut slices) {
            let octets = sink.write_vectored(&slices[..filled]).expect("a sink that takes what it is given");
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
        let text = Script::Mixed.text(5000);
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let mut echo = Echo::new(Config { delivery, ..Config::default() }, Instant::now());
            for size in [1000, READ * 2] {
                let mut sent = Vec::new();
                let stream = masked_frames(OpCode::Text, text.as_bytes(), 50);
                for piece in stream.chunks(size) {
                    echo.turn(piece, &mut sent);
                }
                let frames = wire::check_output(Role::Server, &sent).expect("correct frames");
                let payload: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
                assert_eq!(payload, text.repeat(50).as_bytes());
            }
        }
    }
}
