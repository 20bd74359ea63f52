//! Faults below the turn: a transport that is interrupted, moves less than it was asked to, refuses
//! for now, or fails, wherever it likes. Short of failing, nobody sees any of it. Where it fails,
//! the end is told once, and nothing hangs.

use framewright::deflate::DeflateMemory;
use framewright::frame::{OpCode, encode_frame};
use framewright::{Config, Connection, Entropy, Event, Message, Negotiated, OwnedMessage, RecvBuffer, Role};
use framewright_driver::{
    Current, Flushed, Io, Leave, Lent, LingerNext, Next, Ready, Transport, Turn, moved,
};
use framewright_testkit::wire::{WireFrame, frames};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// A signal interrupts it so often before it does its work.
    Interrupted(u8),
    /// It moves this many bytes at the most.
    Short(usize),
    Blocked,
    /// It fails, and so does every one after it.
    Lost,
}

/// A transport with these faults, one for each call, and none behind them.
struct Faulty {
    /// What is still to be read; then comes the end, or nothing.
    input: VecDeque<u8>,
    ends: bool,
    faults: VecDeque<Fault>,
    lost: bool,
    written: Vec<u8>,
    shutdowns: usize,
    short_read_empties: bool,
}

impl Faulty {
    /// One call, which would move `count` bytes: how many it moves.
    fn call(&mut self, count: usize) -> (Fault, io::Result<usize>) {
        let fault = if self.lost { Fault::Lost } else { self.faults.pop_front().unwrap_or(Fault::None) };
        let result = match fault {
            Fault::None | Fault::Interrupted(_) => Ok(count),
            Fault::Short(most) => Ok(count.min(most)),
            Fault::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            Fault::Lost => {
                self.lost = true;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        };
        (fault, result)
    }
}

/// The call as the system makes it.
fn interrupted(fault: Fault, result: io::Result<usize>) -> Io {
    let (mut times, mut result) =
        (if let Fault::Interrupted(times) = fault { times } else { 0 }, Some(result));
    moved(|| {
        if times > 0 {
            times -= 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        result.take().expect("it is called once more only if it was interrupted")
    })
}

impl Transport for Faulty {
    fn read(&mut self, target: &mut [u8]) -> Io {
        assert!(!target.is_empty(), "a read into nothing looks like the end");
        let count = self.input.len().min(target.len());
        let (fault, result) = self.call(count);
        let result = match result {
            Ok(0) if !self.ends || !self.input.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            result => result,
        };
        let io = interrupted(fault, result);
        if let Io::Moved(count) = io {
            for (byte, read) in target.iter_mut().zip(self.input.drain(..count)) {
                *byte = read;
            }
        }
        io
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(offered > 0, "a write of nothing");
        let (fault, result) = self.call(offered);
        let io = interrupted(fault, result.map(|count| count.max(1)));
        if let Io::Moved(count) = io {
            self.written.extend(slices.iter().flat_map(|slice| slice.iter()).take(count));
        }
        io
    }

    fn shutdown(&mut self, _: Shutdown) {
        self.shutdowns += 1;
    }

    fn short_read_empties(&self) -> bool {
        self.short_read_empties
    }
}

struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, target: &mut [u8]) {
        target.fill(0);
    }
}

/// What the peer sends.
#[derive(Clone, Debug)]
enum Sent {
    Text(usize),
    Binary(usize),
    Fragments(Vec<usize>),
    Ping(usize),
    Pong(usize),
}

/// What the peer does behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing.
    Stays,
    Leaves,
    Closes,
    /// Breaks a rule, and sends so much behind it.
    Breaks(usize),
}

/// A conversation.
#[derive(Clone, Debug)]
struct Plan {
    client: bool,
    sent: Vec<Sent>,
    end: End,
    high_water: usize,
    short_read_empties: bool,
    /// Events are asked for one by one, as by a client whose calls wait.
    one_by_one: bool,
}

/// The letter that message or frame `number` is full of.
fn fill(number: usize) -> u8 {
    b'a' + u8::try_from(number % 26).expect("a letter")
}

impl Plan {
    fn role(&self) -> Role {
        if self.client { Role::Client } else { Role::Server }
    }

    /// The data of the Pings.
    fn pings(&self) -> Vec<Vec<u8>> {
        let ping = |(number, sent): (usize, &Sent)| match sent {
            Sent::Ping(len) => Some(vec![fill(number); *len]),
            _ => None,
        };
        self.sent.iter().enumerate().filter_map(ping).collect()
    }

    fn input(&self) -> Vec<u8> {
        let mask = (!self.client).then_some([1, 2, 3, 4]);
        let mut bytes = Vec::new();
        let mut frame = |fin, opcode, payload: &[u8]| encode_frame(&mut bytes, fin, opcode, payload, mask);
        for (number, sent) in self.sent.iter().enumerate() {
            let fill = fill(number);
            match sent {
                Sent::Text(len) => frame(true, OpCode::Text, &vec![fill; *len]),
                Sent::Binary(len) => frame(true, OpCode::Binary, &vec![fill; *len]),
                Sent::Ping(len) => frame(true, OpCode::Ping, &vec![fill; *len]),
                Sent::Pong(len) => frame(true, OpCode::Pong, &vec![fill; *len]),
                Sent::Fragments(lens) => {
                    for (at, len) in lens.iter().enumerate() {
                        let opcode = if at == 0 { OpCode::Binary } else { OpCode::Continuation };
                        frame(at + 1 == lens.len(), opcode, &vec![fill; *len]);
                    }
                }
            }
        }
        match self.end {
            End::Closes => frame(true, OpCode::Close, &1000_u16.to_be_bytes()),
            End::Breaks(behind) => {
                bytes.extend([0xf1, 0x00]);
                bytes.extend(vec![7; behind]);
            }
            End::Stays | End::Leaves => {}
        }
        bytes
    }
}

/// What a conversation came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// All events but those of room.
    seen: Vec<String>,
    written: Vec<u8>,
    /// It has ended, and so has its transport.
    left: bool,
}

struct Conversation {
    turn: Turn,
    transport: Faulty,
    ready: Ready,
    lent: Lent,
    rx: RecvBuffer,
    now: Instant,
    seen: Vec<String>,
}

/// More than any conversation here takes.
const ROUNDS: usize = 20_000;

impl Conversation {
    fn new(plan: &Plan, faults: &[Fault]) -> Self {
        let now = Instant::now();
        let config = Arc::new(Config {
            keep_alive_interval: None,
            high_water: plan.high_water,
            low_water: plan.high_water / 2,
            ..Config::default()
        });
        let connection = match plan.role() {
            Role::Server => Connection::server(config, Negotiated::new(), now),
            Role::Client => Connection::client(config, Negotiated::new(), Box::new(Zeros), now),
        };
        let transport = Faulty {
            input: plan.input().into(),
            ends: plan.end == End::Leaves,
            faults: faults.iter().copied().collect(),
            lost: false,
            written: Vec::new(),
            shutdowns: 0,
            short_read_empties: plan.short_read_empties,
        };
        let lent = Lent::new(4 << 10, 1 << 20, DeflateMemory::new(usize::MAX));
        let (ready, rx, seen) = (Ready::default(), RecvBuffer::new(), Vec::new());
        Conversation { turn: Turn::new(connection, &[]), transport, ready, lent, rx, now, seen }
    }

    fn run(mut self, one_by_one: bool) -> Outcome {
        let mut idle = 0;
        for _ in 0..ROUNDS {
            let before = self.progress();
            let next = if one_by_one { self.calls() } else { self.turn() };
            match next {
                Next::Again => {}
                Next::Leave(leave) => return self.leave(leave),
                Next::Wait => poll(&self.transport, &mut self.ready),
            }
            idle = if before == self.progress() { idle + 1 } else { 0 };
            if idle == 3 {
                let Conversation { transport, seen, .. } = self;
                return Outcome { seen, written: transport.written, left: false };
            }
        }
        panic!("there is no end to it: {:?}", self.seen);
    }

    /// What changes as long as something happens.
    fn progress(&self) -> [usize; 4] {
        let Faulty { input, written, faults, .. } = &self.transport;
        [input.len(), written.len(), faults.len(), self.seen.len()]
    }

    fn turn(&mut self) -> Next {
        let Conversation { turn, transport, ready, lent, now, seen, .. } = self;
        let mut echo = |current: &mut Current<'_, Faulty>, event: Event<'_>| {
            if let Event::Message(message) = event {
                let answered = if message.len() > 1000 {
                    current.write_through(|connection, write| {
                        connection.driver().send_with_writer(message, write)
                    })
                } else {
                    current.connection.send(message)
                };
                answered.expect("room");
            }
            note(seen, &event);
        };
        turn.run(transport, ready, lent, *now, &mut echo)
    }

    /// What a client does whose calls wait.
    fn calls(&mut self) -> Next {
        let Conversation { turn, transport, ready, rx, now, seen, .. } = self;
        let mut flushed = Flushed::All;
        if !turn.is_over() {
            while let Some(decoded) = turn.next_event(transport, ready, rx, 4 << 10, *now) {
                let event = decoded.resolve(rx);
                note(seen, &event);
                if let Event::Message(message) = event {
                    let answer = OwnedMessage::from(message);
                    send_waiting(turn, transport, ready, rx, *now, answer.as_message());
                }
                flushed = turn.flush(transport, ready, *now);
            }
            flushed = if flushed == Flushed::Shutdown { flushed } else { turn.flush(transport, ready, *now) };
        }
        if turn.is_over() && flushed != Flushed::Shutdown {
            flushed = turn.await_end(transport, ready, rx, *now);
        }
        match flushed {
            Flushed::Shutdown => Next::Leave(turn.leave(transport, ready)),
            _ if turn.connection.has_event() => Next::Again,
            _ => Next::Wait,
        }
    }

    fn leave(mut self, leave: Leave) -> Outcome {
        if leave == Leave::Linger {
            let mut lingering = self.turn.linger(&mut self.transport, &self.ready, self.now);
            let mut rounds = 0;
            loop {
                let Conversation { transport, ready, now, .. } = &mut self;
                match lingering.turn(transport, ready, &mut [0; 1000], *now, || true) {
                    LingerNext::Close => break,
                    LingerNext::Again => {}
                    LingerNext::Wait => {
                        if transport.input.is_empty() {
                            *now = lingering.deadline();
                        }
                        poll(transport, ready);
                    }
                }
                rounds += 1;
                assert!(rounds < ROUNDS, "it lingers for ever");
            }
            assert!(self.transport.lost || self.transport.input.is_empty(), "something was left to read");
        }
        let Conversation { transport, seen, .. } = self;
        Outcome { seen, written: transport.written, left: true }
    }
}

/// The poll tells what there is.
fn poll(transport: &Faulty, ready: &mut Ready) {
    (ready.read, ready.write) = (true, true);
    ready.more_behind |= (transport.ends && transport.input.is_empty()) || transport.lost;
}

/// A call that waits until the message is written: meanwhile what arrives is read ahead.
fn send_waiting(
    turn: &mut Turn,
    transport: &mut Faulty,
    ready: &mut Ready,
    rx: &mut RecvBuffer,
    now: Instant,
    message: Message<'_>,
) {
    let mut queued = false;
    for _ in 0..ROUNDS {
        if turn.is_broken() {
            return;
        }
        if !queued {
            queued = turn.connection.send(message).is_ok();
        }
        turn.flush(transport, ready, now);
        if queued && turn.connection.buffered() == 0 {
            return;
        }
        turn.read_on(transport, ready, rx, 4 << 10);
        poll(transport, ready);
    }
    panic!("it waits for ever");
}

fn note(seen: &mut Vec<String>, event: &Event<'_>) {
    seen.push(match event {
        Event::Message(Message::Text(text)) => format!("text {} {:?}", text.len(), text.chars().next()),
        Event::Message(Message::Binary(bytes)) => format!("binary {} {:?}", bytes.len(), bytes.first()),
        Event::Closed(closure) => format!("closed {} {}", closure.code(), closure.clean),
        Event::Writable => return,
        event => format!("{event:?}"),
    });
}

/// Checks that this was sent for `plan`, as it was without faults but for Pongs: one that waits
/// gives way to the next (RFC 6455, section 5.5.3), or to our Close frame, and whether it waits the
/// transport decides.
fn check_sent(plan: &Plan, found: &[u8], expected: &[u8]) {
    let [(found, pongs), (expected, _)] = [found, expected].map(|bytes| {
        let frames = frames(bytes);
        assert_eq!(frames.last().map_or(0, |frame| frame.at.end), bytes.len(), "the last frame is whole");
        let said = |frame: WireFrame| (frame.header.fin, frame.header.opcode, frame.payload);
        let (pongs, others): (Vec<_>, Vec<_>) =
            frames.into_iter().map(said).partition(|&(_, opcode, _)| opcode == 10);
        (others, pongs.into_iter().map(|(_, _, payload)| payload).collect::<Vec<_>>())
    });
    let headers = |frames: &[(bool, u8, Vec<u8>)]| {
        frames.iter().map(|(fin, opcode, payload)| (*fin, *opcode, payload.len())).collect::<Vec<_>>()
    };
    assert!(found == expected, "{:?} for {:?}", headers(&found), headers(&expected));
    let pings = plan.pings();
    let mut unanswered = pings.iter();
    assert!(pongs.iter().all(|pong| unanswered.any(|ping| ping == pong)), "{pongs:?} for {pings:?}");
    if plan.end == End::Stays {
        assert_eq!(pongs.last(), pings.last(), "the last one is answered");
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let len = prop_oneof![4 => 0..200_usize, 1 => 0..40_000_usize];
    let sent = prop_oneof![
        3 => len.clone().prop_map(Sent::Text),
        2 => len.clone().prop_map(Sent::Binary),
        1 => prop::collection::vec(len, 1..5).prop_map(Sent::Fragments),
        1 => (0..20_usize).prop_map(Sent::Ping),
        1 => (0..20_usize).prop_map(Sent::Pong),
    ];
    let end = prop_oneof![
        1 => Just(End::Stays),
        1 => Just(End::Leaves),
        2 => Just(End::Closes),
        1 => (0..100_000_usize).prop_map(End::Breaks),
    ];
    let high_water = prop_oneof![1 => Just(1 << 20), 1 => 1..5000_usize];
    let frames = prop::collection::vec(sent, 0..12);
    (any::<bool>(), frames, end, high_water, any::<bool>(), any::<bool>()).prop_map(
        |(client, sent, end, high_water, short_read_empties, one_by_one)| Plan {
            client,
            sent,
            end,
            high_water,
            short_read_empties,
            one_by_one: one_by_one && client,
        },
    )
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        2 => Just(Fault::None),
        2 => (1..4_u8).prop_map(Fault::Interrupted),
        4 => (1..300_usize).prop_map(Fault::Short),
        1 => (1..20_000_usize).prop_map(Fault::Short),
        2 => Just(Fault::Blocked),
    ];
    prop::collection::vec(fault, 0..80)
}

/// What the property found once: three Pings, of which two are answered while the first Pong waits.
#[test]
fn a_pong_that_waits_may_give_way_to_the_next() {
    let sent = vec![Sent::Text(12_419), Sent::Text(151), Sent::Ping(0), Sent::Ping(1), Sent::Ping(2)];
    let plan = Plan {
        client: false,
        sent,
        end: End::Stays,
        high_water: 1 << 20,
        short_read_empties: false,
        one_by_one: false,
    };
    let faults = [Fault::Short(12_500), Fault::None, Fault::Short(60), Fault::Blocked, Fault::Short(1)];
    let [expected, found] = [&[][..], &faults].map(|faults| Conversation::new(&plan, faults).run(false));
    assert_eq!(found.seen, expected.seen);
    check_sent(&plan, &found.written, &expected.written);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_faults_short_of_a_lost_transport_nobody_sees_them(plan in plans(), faults in faults()) {
        let expected = Conversation::new(&plan, &[]).run(plan.one_by_one);
        let found = Conversation::new(&plan, &faults).run(plan.one_by_one);
        prop_assert_eq!(&found.seen, &expected.seen);
        check_sent(&plan, &found.written, &expected.written);
        prop_assert_eq!(found.left, expected.left);
    }

    #[test]
    fn wherever_a_transport_is_lost_the_end_is_told_once_and_nothing_hangs(plan in plans(), faults in faults(), at in 0..80_usize) {
        let mut faults = faults;
        faults.truncate(at);
        faults.push(Fault::Lost);
        let expected = Conversation::new(&plan, &[]).run(plan.one_by_one);
        let found = Conversation::new(&plan, &faults).run(plan.one_by_one);
        // The conversation may have been over before.
        let is_over = |outcome: &Outcome| outcome.seen.iter().filter(|event| event.starts_with("closed")).count();
        if found.left {
            prop_assert_eq!(is_over(&found), 1);
            prop_assert!(found.seen.last().is_some_and(|last| last.starts_with("closed")), "{:?}", found.seen);
        } else {
            prop_assert_eq!(&found, &expected);
        }
        // What was seen and sent before is what would have been.
        let before: Vec<&String> = found.seen.iter().filter(|event| !event.starts_with("closed")).collect();
        prop_assert!(expected.seen.iter().zip(&before).all(|(expected, found)| expected == *found), "{:?}", found.seen);
        prop_assert!(before.len() <= expected.seen.len());
    }
}
