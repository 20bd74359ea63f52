//! A connection against any stream, in any pieces: the law that events and answers depend on the
//! octets alone.
//!
//! The stream is read whole, octet by octet, in random pieces, through parked buffers, and over a
//! transport that takes little at a time. All of these, and the [naive decoder](crate::naive), have
//! to agree.

use crate::app::Behaviour;
use crate::endpoint::{Endpoint, Seen, join_chunks};
use crate::naive::connection::{Reading, Verdict, read_compressed};
use crate::rng::SplitMix64;
use crate::split::random_pieces;
use crate::wire::{Message, WireFrame};
#[cfg(feature = "deflate")]
use framewright::deflate::DeflateParams;
use framewright::{Closure, Config, Delivery, Error, RecvBuffer, Role, State};

/// Checks the whole of `data` as the stream of a client under default settings, and then what
/// follows its first four octets under the settings that these pick.
///
/// # Panics
/// If anything is wrong.
pub fn check(data: &[u8]) {
    Plan::default().check(data);
    if let Some((picks, stream)) = data.split_first_chunk() {
        Plan::pick(*picks).check(stream);
    }
}

/// The settings of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) role: Role,
    config: Config,
    behaviour: Behaviour,
    seed: u64,
    /// What was agreed on for permessage-deflate, if anything was; the codec is lent.
    #[cfg(feature = "deflate")]
    pub(crate) deflate: Option<DeflateParams>,
}

/// A server that echoes, under default settings.
impl Default for Plan {
    fn default() -> Plan {
        Plan {
            role: Role::Server,
            config: Config::default(),
            behaviour: Behaviour::Echo,
            seed: 0,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

/// What an endpoint has sent, independent of where its messages were cut into fragments.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    messages: Vec<(u8, Vec<u8>)>,
    partial: Option<(u8, Vec<u8>)>,
    /// Pings and the Close.
    control: Vec<(u8, Vec<u8>)>,
    pongs: Vec<Vec<u8>>,
}

impl Plan {
    pub(crate) fn pick(octets: [u8; 4]) -> Plan {
        let [modes, limits, marks, seed] = octets;
        let size = |pick: u8| [0u64, 16, 125, 1000, 70_000, 1 << 20, 3, 200][usize::from(pick % 8)];
        let high_water = [1, 64, 4096, 1 << 20][usize::from(marks % 4)];
        let config = Config {
            delivery: if modes & 1 == 0 { Delivery::Whole } else { Delivery::Chunks },
            max_message: size(limits),
            max_frame: size(limits >> 3),
            small_frame_budget: [0, 3, 16, 1 << 14][usize::from(limits >> 6)],
            high_water,
            low_water: [0, high_water / 2, high_water - 1, high_water][usize::from(marks >> 2) % 4],
            ..Config::default()
        };
        let behaviour = match (modes >> 1) % 8 {
            0 => Behaviour::Silent,
            1 => Behaviour::CloseAfter(1 + usize::from(marks >> 6)),
            2 => Behaviour::Ping,
            3 | 4 => Behaviour::EchoInFragments(1 + usize::from(marks >> 4)),
            _ => Behaviour::Echo,
        };
        let role = if modes >= 0xC0 { Role::Client } else { Role::Server };
        Plan {
            role,
            config,
            behaviour,
            seed: u64::from(seed),
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Checks the law for this stream.
    pub(crate) fn check(&self, stream: &[u8]) {
        let inflation = self.endpoint().inflation_of(self.role.peer());
        let reading = read_compressed(self.role, &self.config, inflation, stream);
        let whole = self.run(&[stream]);
        self.check_against(&reading, &whole);

        let octets: Vec<_> = stream.chunks(1).collect();
        let other_runs = [
            self.run_octets(&octets, &reading),
            self.run(&random_pieces(stream, &mut SplitMix64::new(self.seed), 64)),
            self.run_parked(&random_pieces(stream, &mut SplitMix64::new(!self.seed), 64)),
        ];
        for run in &other_runs {
            self.check_against(&reading, run);
            assert_eq!(run.connection.stats().messages_received, whole.connection.stats().messages_received);
            if self.config.delivery == Delivery::Whole {
                assert!(run.events == whole.events, "other events were seen under {self:?}");
                assert!(run.sent == whole.sent, "other octets were sent under {self:?}");
            }
            self.check_sent(&Sent::of(run), &Sent::of(&whole));
        }
        self.check_blocked(stream, &reading, &whole);
    }

    #[cfg(feature = "deflate")]
    fn endpoint(&self) -> Endpoint {
        use framewright::deflate::{Codec, DeflateMemory};
        let config = self.config.clone();
        let endpoint = Endpoint::deflating(self.role, config, self.deflate, self.seed, self.behaviour);
        endpoint.with_codec(Codec::new(DeflateMemory::new(usize::MAX)))
    }

    #[cfg(not(feature = "deflate"))]
    fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.role, self.config.clone(), self.seed, self.behaviour)
    }

    fn run(&self, pieces: &[&[u8]]) -> Endpoint {
        let mut endpoint = self.endpoint();
        let largest = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
        for piece in pieces {
            endpoint.feed(piece);
            self.check_memory(&endpoint, largest);
        }
        endpoint.eof();
        endpoint
    }

    /// Octet by octet: the connection ends with the octet that the naive decoder names, and the
    /// buffer stays small.
    fn run_octets(&self, octets: &[&[u8]], reading: &Reading) -> Endpoint {
        let mut endpoint = self.endpoint();
        let end = match reading.verdict {
            Verdict::Open => usize::MAX,
            Verdict::Closed { at } | Verdict::Failed { at, .. } => at,
        };
        for (index, octet) in octets.iter().enumerate() {
            endpoint.feed(octet);
            let closed = endpoint.connection.state() == State::Closed;
            assert_eq!(closed, index + 1 >= end, "octet {index}, expected the end after {end}");
            self.check_memory(&endpoint, 1);
        }
        endpoint.eof();
        endpoint
    }

    /// What is kept moves into a buffer of its own after each piece, and back.
    fn run_parked(&self, pieces: &[&[u8]]) -> Endpoint {
        let mut endpoint = self.endpoint();
        for piece in pieces {
            let mut parked = endpoint.rx.park();
            assert!(endpoint.rx.is_empty());
            assert_eq!(parked.capacity(), parked.len());
            endpoint.rx = RecvBuffer::with_capacity(3);
            endpoint.rx.absorb(&mut parked);
            endpoint.feed(piece);
        }
        endpoint.eof();
        endpoint
    }

    /// The most octets that an endpoint which has decoded all it can may keep.
    fn most_held(&self) -> u64 {
        let message = if self.config.delivery == Delivery::Whole { self.config.max_message } else { 3 };
        message + 14 + 125
    }

    fn check_memory(&self, endpoint: &Endpoint, largest_piece: usize) {
        assert!(endpoint.rx.len() as u64 <= self.most_held(), "{} octets are kept", endpoint.rx.len());
        assert!(endpoint.rx.capacity() as u64 <= self.most_held() + largest_piece as u64);
        assert_eq!(endpoint.connection.buffered(), 0, "the transport takes everything");
    }

    /// One finished run against the naive decoder.
    fn check_against(&self, reading: &Reading, run: &Endpoint) {
        let closure = run.closure();
        check_closure(reading.verdict, &closure);
        let (events, partial) = join_chunks(&run.events);
        let mut events: Vec<_> = events.into_iter().filter(|event| *event != Seen::Writable).collect();
        assert_eq!(events.pop(), Some(Seen::Closed(closure)));
        assert!(events == reading.events, "the naive decoder sees other events under {self:?}");
        if let Some((text, payload)) = partial {
            let (wanted_text, wanted) = reading.partial.as_ref().expect("a message was in progress");
            assert!(text == *wanted_text && wanted.starts_with(&payload));
        }
        assert!(run.shutdown || self.role == Role::Client);

        let sent = Sent::of(run);
        let pings =
            events.iter().filter_map(|event| if let Seen::Ping(data) = event { Some(data) } else { None });
        let pings: Vec<_> = pings.cloned().collect();
        match self.behaviour {
            Behaviour::CloseAfter(_) => assert!(pings.starts_with(&sent.pongs)),
            _ => assert_eq!(pings, sent.pongs, "each Ping has its Pong"),
        }
        if matches!(self.behaviour, Behaviour::Echo | Behaviour::EchoInFragments(_)) {
            let messages =
                sent.messages.iter().map(|(opcode, payload)| Seen::message(*opcode == 1, payload.clone()));
            let is_message = |event: &&Seen| matches!(event, Seen::Text(_) | Seen::Binary(_));
            assert!(messages.eq(events.iter().filter(is_message).cloned()), "each message has its echo");
        }
    }

    /// Two runs have sent the same, but for where chunks were cut.
    fn check_sent(&self, one: &Sent, other: &Sent) {
        let counts = (one.messages.len(), other.messages.len());
        assert!(one.messages == other.messages, "other messages were sent: {counts:?} under {self:?}");
        assert_eq!(one.control, other.control);
        match (&one.partial, &other.partial) {
            (Some((one_opcode, one)), Some((other_opcode, other))) => {
                assert_eq!(one_opcode, other_opcode);
                assert!(one.starts_with(other) || other.starts_with(one));
            }
            (None, None) => {}
            _ => assert_eq!(self.config.delivery, Delivery::Chunks, "a piece can be too late for its fault"),
        }
    }

    /// The transport takes a few octets at a time: the same is sent in the end, though not every
    /// Pong.
    fn check_blocked(&self, stream: &[u8], reading: &Reading, whole: &Endpoint) {
        let mut rng = SplitMix64::new(self.seed ^ 0xB10C);
        let mut endpoint = self.endpoint();
        endpoint.room = 0;
        let largest = reading.events.iter().map(largest_answer).max().unwrap_or(0);
        let chunk = if self.config.delivery == Delivery::Chunks { 64 + 3 } else { 0 };
        let most_buffered = self.config.high_water + largest.max(chunk) + 14 + 2048;
        for piece in random_pieces(stream, &mut rng.clone(), 64) {
            while !endpoint.connection.wants_read() && endpoint.connection.state() != State::Closed {
                endpoint.make_room(rng.between(1, 300));
            }
            if endpoint.connection.state() == State::Closed {
                break;
            }
            endpoint.feed(piece);
            assert!(endpoint.connection.buffered() <= most_buffered);
            assert!(endpoint.rx.len() as u64 <= self.most_held() + piece.len() as u64);
            if rng.one_in(3) {
                endpoint.make_room(rng.below(100));
            }
        }
        endpoint.make_room(usize::MAX);
        assert!(!endpoint.app.is_waiting(), "what found no room is sent once there is some");
        endpoint.eof();
        let (events, _) = join_chunks(&endpoint.events);
        let events = events.into_iter().filter(|event| *event != Seen::Writable);
        assert!(events.eq(reading.events.iter().cloned().chain([Seen::Closed(endpoint.closure())])));
        let (sent, wanted) = (Sent::of(&endpoint), Sent::of(whole));
        self.check_sent(&sent, &wanted);
        let mut pongs = wanted.pongs.iter();
        assert!(sent.pongs.iter().all(|pong| pongs.any(|wanted| wanted == pong)), "Pongs keep their order");
        assert_eq!(endpoint.connection.buffered(), 0);
    }
}

/// Octets of the largest frame or frames that an event can be answered with.
fn largest_answer(event: &Seen) -> usize {
    match event {
        Seen::Text(text) => text.len() + 14,
        Seen::Binary(payload) => payload.len() + 14,
        _ => 139,
    }
}

fn check_closure(verdict: Verdict, closure: &Closure) {
    match verdict {
        Verdict::Open => {
            assert_eq!(closure.cause, Some(Error::TransportLost));
            assert_eq!(closure.code(), 1006);
        }
        Verdict::Closed { .. } => assert!(closure.clean && closure.cause.is_none() && closure.sent.is_some()),
        Verdict::Failed { code, .. } => {
            let cause = closure.cause.as_ref().and_then(Error::close_code);
            assert_eq!(cause.map(u16::from), Some(code));
            assert!(closure.sent.is_some() && closure.received.is_none());
        }
    }
    assert_eq!(closure.clean, closure.cause.is_none());
}

impl Sent {
    fn of(endpoint: &Endpoint) -> Sent {
        let (messages, partial) = endpoint.messages();
        let bare = |message: Message| (u8::from(!message.text) + 1, message.payload);
        let messages = messages.into_iter().map(bare).collect();
        let mut sent = Sent { messages, partial: partial.map(bare), control: Vec::new(), pongs: Vec::new() };
        for WireFrame { header, payload, .. } in endpoint.frames() {
            match header.opcode {
                10 => sent.pongs.push(payload),
                8 | 9 => sent.control.push((header.opcode, payload)),
                _ => {}
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script;

    /// Streams of mostly legal frames, so that chance gets deep.
    fn stream(rng: &mut SplitMix64) -> Vec<u8> {
        let statements = [
            "text \"a\"",
            "text \"h\\u{e9}llo w\\u{f6}rld, twice: h\\u{e9}llo w\\u{f6}rld\"",
            "text \"\\xe2\\x82\" !fin",
            "cont \"\\xac\"",
            "cont !fin",
            "cont \"end\"",
            "binary \"ab\" * 100",
            "binary \"x\" !fin",
            "ping \"p\"",
            "ping \"q\" * 125",
            "pong \"x\"",
            "text",
            "binary \"abc\" * 400",
            "binary \"far\" * 23000",
            "close 1000 \"bye\"",
            "close",
            "close 1005",
            "text \"\\xff\"",
            "hex 82",
            "repeat 12 { ping \"flood\" * 20 }",
            "text \"a\" !fin; ping; cont \"b\"",
        ];
        let sender = if rng.one_in(4) { Role::Server } else { Role::Client };
        let mut source = String::new();
        for _ in 0..rng.between(1, 8) {
            source.push_str(statements[rng.below(statements.len())]);
            source.push('\n');
        }
        script::compile(sender, &source, rng.next_u64()).expect("the statements are well formed")
    }

    #[test]
    fn streams_of_chance_pass_under_settings_of_chance() {
        let mut rng = SplitMix64::new(7);
        for _ in 0..150 {
            let mut data = rng.octets(4);
            let stream = stream(&mut rng);
            if stream.len() > 10_000 && !rng.one_in(8) {
                continue;
            }
            data.extend(stream);
            if rng.one_in(4) {
                let at = rng.below(data.len());
                data[at] ^= 1 << rng.below(8);
            }
            check(&data);
        }
    }
}
