//! The rules of a turn, over a transport whose reads and writes are scripted: in both roles.

use framewright::deflate::DeflateMemory;
use framewright::frame::{CloseCode, OpCode, encode_frame};
use framewright::{
    Closure, Config, Connection, Entropy, Error, Event, LimitExceeded, Message, Negotiated, Role, SendError,
    Timeout,
};
use framewright_driver::{
    Application, Current, Flushed, Io, Leave, Lent, LingerNext, Lingering, Next, Ready, Rest, Transport, Turn,
};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const READ_SIZE: usize = 128 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// A transport that does as it is told: what it is not told to read is not there, and it takes all that it
/// is not told to refuse.
#[derive(Debug, Default)]
struct Scripted {
    reads: VecDeque<Read>,
    writes: VecDeque<Write>,
    written: Vec<u8>,
    shutdowns: Vec<Shutdown>,
    /// Bytes read so far.
    read: usize,
}

#[derive(Clone, Debug)]
enum Read {
    Bytes(Vec<u8>),
    End,
    Lost,
    /// These bytes over and over.
    Endless(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Take(usize),
    Block,
    Lose,
}

impl Transport for Scripted {
    fn read(&mut self, target: &mut [u8]) -> Io {
        let bytes = match self.reads.pop_front() {
            None => return Io::Blocked,
            Some(Read::End) => {
                self.reads.push_front(Read::End);
                return Io::Moved(0);
            }
            Some(Read::Lost) => {
                self.reads.push_front(Read::Lost);
                return Io::Lost;
            }
            Some(Read::Bytes(bytes)) => bytes,
            Some(Read::Endless(bytes)) => {
                self.reads.push_front(Read::Endless(bytes.clone()));
                bytes
            }
        };
        let count = bytes.len().min(target.len());
        target[..count].copy_from_slice(&bytes[..count]);
        if count < bytes.len() {
            self.reads.push_front(Read::Bytes(bytes[count..].to_vec()));
        }
        self.read += count;
        Io::Moved(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let count = match self.writes.pop_front() {
            None => offered,
            Some(Write::Take(count)) => count.min(offered),
            Some(Write::Block) => {
                self.writes.push_front(Write::Block);
                return Io::Blocked;
            }
            Some(Write::Lose) => {
                self.writes.push_front(Write::Lose);
                return Io::Lost;
            }
        };
        let mut left = count;
        for slice in slices {
            let taken = slice.len().min(left);
            self.written.extend_from_slice(&slice[..taken]);
            left -= taken;
        }
        Io::Moved(count)
    }

    fn shutdown(&mut self, how: Shutdown) {
        self.shutdowns.push(how);
    }
}

struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, target: &mut [u8]) {
        target.fill(0);
    }
}

/// One connection, its transport and what it has seen.
struct Bench {
    role: Role,
    turn: Turn,
    transport: Scripted,
    ready: Ready,
    lent: Lent,
    now: Instant,
    seen: Vec<String>,
}

fn config() -> Config {
    Config { keep_alive_interval: None, ..Config::default() }
}

impl Bench {
    fn new(role: Role, config: Config) -> Self {
        let now = Instant::now();
        let config = Arc::new(config);
        let connection = match role {
            Role::Server => Connection::server(config, Negotiated::new(), now),
            Role::Client => Connection::client(config, Negotiated::new(), Box::new(Zeros), now),
        };
        Bench {
            role,
            turn: Turn::new(connection, &[]),
            transport: Scripted::default(),
            ready: Ready::default(),
            lent: Lent::new(READ_SIZE, 1 << 20, DeflateMemory::new(usize::MAX)),
            now,
            seen: Vec::new(),
        }
    }

    /// A frame of the peer.
    fn frame(&self, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let mask = (self.role == Role::Server).then_some([1, 2, 3, 4]);
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, true, opcode, payload, mask);
        bytes
    }

    fn close_frame(&self, code: u16) -> Vec<u8> {
        self.frame(OpCode::Close, &code.to_be_bytes())
    }

    /// These arrive, and readiness is announced.
    fn arrive(&mut self, reads: impl IntoIterator<Item = Read>) {
        self.transport.reads.extend(reads);
        self.ready.read = true;
        self.ready.more_behind |=
            self.transport.reads.iter().any(|read| matches!(read, Read::End | Read::Lost));
    }

    /// One turn, in which messages are echoed.
    fn turn(&mut self) -> Next {
        let Bench { turn, transport, ready, lent, now, seen, .. } = self;
        let mut echo = |current: &mut Current<'_, Scripted>, event: Event<'_>| {
            if let Event::Message(message) = event {
                let _ = current.connection.send(message);
            }
            seen.push(shown(&event));
        };
        turn.run(transport, ready, lent, *now, &mut echo)
    }

    /// Turns until there is nothing left to do.
    fn turns(&mut self) -> Next {
        for _ in 0..10_000 {
            match self.turn() {
                Next::Again => {}
                next => return next,
            }
        }
        panic!("there is no end to it: {:?}", self.seen);
    }

    /// The time is this much later, and the driver's timer has told.
    fn later(&mut self, after: Duration) {
        self.now += after;
        self.ready.due = self.turn.deadline().is_some_and(|deadline| deadline <= self.now);
    }

    #[track_caller]
    fn assert_ended(&self, code: u16, clean: bool, cause: Option<&Error>) {
        let closure = self.turn.closure().expect("it has ended");
        let found = (closure.code(), closure.clean, closure.cause.as_ref());
        assert_eq!(found, (code, clean, cause), "{:?}: {:?}", self.role, self.seen);
        let told = self.seen.iter().filter(|event| event.starts_with("closed")).count();
        assert_eq!(told, 1, "the end is told once: {:?}", self.seen);
        assert_eq!(self.seen.last(), Some(&told_end(&closure)), "and last, as it is");
    }
}

fn told_end(closure: &Closure) -> String {
    format!("closed {} {}", closure.code(), closure.clean)
}

fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Message(Message::Text(text)) => (*text).to_owned(),
        Event::Message(Message::Binary(bytes)) => format!("{} bytes", bytes.len()),
        Event::CloseReceived { code, .. } => format!("close {}", code.map_or(0, CloseCode::get)),
        Event::Closed(closure) => told_end(closure),
        Event::Writable => "writable".to_owned(),
        event => format!("{event:?}"),
    }
}

#[test]
fn a_turn_reads_hands_over_and_writes_once() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        let (one, two) = (bench.frame(OpCode::Text, b"one"), bench.frame(OpCode::Text, b"two"));
        bench.arrive([Read::Bytes([one, two].concat())]);
        bench.transport.writes = [Write::Take(usize::MAX)].into();
        bench.transport.writes.push_back(Write::Lose);
        assert_eq!(bench.turn(), Next::Wait);
        assert_eq!(bench.seen, ["one", "two"]);
        let header = if role == Role::Client { 6 } else { 2 };
        assert_eq!(bench.transport.written.len(), 2 * (header + 3), "both answers, in one write");
        assert!(!bench.ready.read, "a short read has emptied it");
    }
}

#[test]
fn a_failed_write_loses_nothing_of_what_has_arrived() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Lose);
        let first = bench.frame(OpCode::Text, b"one");
        let more = [bench.frame(OpCode::Text, b"why"), bench.close_frame(1009)].concat();
        // Behind it lies what a reset leaves.
        bench.arrive([Read::Bytes(first), Read::Bytes(more), Read::Lost]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close), "{role:?}: {:?}", bench.seen);
        assert_eq!(bench.seen[..3], ["one", "why", "close 1009"]);
        bench.assert_ended(1009, false, Some(&Error::TransportLost));
        assert!(bench.transport.written.is_empty());
    }
}

#[test]
fn a_failed_write_without_a_word_of_the_peer_is_a_lost_transport() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Lose);
        bench.turn.connection.send_text("hello").expect("an open connection");
        assert_eq!(bench.turns(), Next::Leave(Leave::Close));
        bench.assert_ended(1006, false, Some(&Error::TransportLost));
    }
}

#[test]
fn a_peer_that_sends_without_end_after_a_failed_write_is_left() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Lose);
        let flood = bench.frame(OpCode::Binary, &[7; 16_000]);
        bench.arrive([Read::Endless(flood)]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close));
        bench.assert_ended(1006, false, Some(&Error::TransportLost));
        assert!((7 << 20..9 << 20).contains(&bench.transport.read), "{}", bench.transport.read);
    }
}

#[test]
fn a_long_message_that_is_written_through_fails_as_any_other() {
    let mut bench = Bench::new(Role::Server, config());
    bench.transport.writes.push_back(Write::Lose);
    let (first, last) = (bench.frame(OpCode::Text, b"one"), bench.close_frame(1000));
    bench.arrive([Read::Bytes(first)]);
    let Bench { turn, transport, ready, lent, now, seen, .. } = &mut bench;
    let mut answer = |current: &mut Current<'_, Scripted>, event: Event<'_>| {
        if let Event::Message(_) = event {
            let long = vec![7; 64 << 10];
            current
                .write_through(|connection, write| connection.send_through(Message::Binary(&long), write))
                .expect("an open connection");
        }
        seen.push(shown(&event));
    };
    // The event that announces the end has come before.
    let next = turn.run(transport, ready, lent, *now, &mut answer);
    assert_eq!(next, Next::Again, "what has arrived is to be read, though nothing will announce it");
    bench.transport.reads.extend([Read::Bytes(last), Read::Lost]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Close));
    bench.assert_ended(1000, false, Some(&Error::TransportLost));
}

#[test]
fn a_deadline_is_judged_after_what_has_arrived_was_read() {
    for role in ROLES {
        let idle = Config { idle_timeout: Some(SECOND), ..config() };
        let mut bench = Bench::new(role, idle);
        let hello = bench.frame(OpCode::Text, b"hello");
        bench.later(10 * SECOND);
        assert!(bench.ready.due);
        // More than one read takes: the last of it proves that the peer lives.
        let long = bench.frame(OpCode::Binary, &[1; 300_000]);
        bench.arrive([Read::Bytes(long), Read::Bytes(hello)]);
        assert_eq!(bench.turns(), Next::Wait, "{role:?}: {:?}", bench.seen);
        assert_eq!(bench.seen, ["300000 bytes", "hello"]);
        bench.later(2 * SECOND);
        assert!(matches!(bench.turns(), Next::Leave(_)));
        bench.assert_ended(1006, false, Some(&Error::Timeout(Timeout::Idle)));
    }
}

#[test]
fn a_peer_that_sends_without_end_does_not_put_a_deadline_off_for_ever() {
    for role in ROLES {
        // A Pong is awaited that never comes.
        let keep_alive = Config {
            keep_alive_interval: Some(SECOND),
            keep_alive_timeout: Some(SECOND),
            ..Config::default()
        };
        let mut bench = Bench::new(role, keep_alive);
        bench.later(SECOND);
        assert_eq!(bench.turns(), Next::Wait, "the Ping is sent");
        // Whatever arrives puts the Pong off, but for no longer than this.
        bench.later(20 * SECOND);
        // Full reads of whole frames: nothing says that the socket is empty, or that a frame goes on.
        let header = if role == Role::Server { 6 } else { 2 };
        let flood = vec![bench.frame(OpCode::Pong, &[7; 64][header..]); READ_SIZE / 64].concat();
        bench.arrive([Read::Endless(flood)]);
        let next = bench.turns();
        assert!(matches!(next, Next::Leave(_)), "{role:?}: {next:?} after {} bytes", bench.transport.read);
        bench.assert_ended(1006, false, Some(&Error::Timeout(Timeout::KeepAlive)));
        assert!((8 << 20..9 << 20).contains(&bench.transport.read), "{}", bench.transport.read);
    }
}

#[test]
fn a_peer_that_takes_anything_at_the_last_moment_is_kept() {
    for role in ROLES {
        let impatient = Config { write_timeout: Some(SECOND), ..config() };
        let mut bench = Bench::new(role, impatient);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_text("hello").expect("an open connection");
        assert_eq!(bench.turns(), Next::Wait);
        bench.later(2 * SECOND);
        bench.transport.writes = [Write::Take(1), Write::Block].into();
        assert_eq!(bench.turns(), Next::Wait, "it reads");
        assert!(bench.turn.closure().is_none());

        bench.later(2 * SECOND);
        let why = [bench.frame(OpCode::Text, b"why"), bench.close_frame(1008)].concat();
        bench.transport.reads.push_back(Read::Bytes(why));
        bench.ready.read = true;
        // The peer's Close has its answer: that too has its time, and a last write.
        assert_eq!(bench.turns(), Next::Wait);
        assert_eq!(bench.seen, ["why", "close 1008"], "{role:?}");
        bench.later(2 * SECOND);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close));
        bench.assert_ended(1008, false, Some(&Error::Timeout(Timeout::Write)));
    }
}

#[test]
fn a_close_frame_that_never_left_is_no_clean_end() {
    let mut bench = Bench::new(Role::Client, config());
    bench.transport.writes.push_back(Write::Block);
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    assert_eq!(bench.turns(), Next::Wait);
    assert_eq!(bench.seen, ["close 1000"], "the end is not known yet");
    bench.transport.writes = [Write::Lose].into();
    bench.ready.write = true;
    assert_eq!(bench.turns(), Next::Leave(Leave::Close));
    bench.assert_ended(1000, false, Some(&Error::TransportLost));
}

/// As a server's: told of the end before the last write.
struct KnowsFirst(Vec<(String, usize)>, fn(&Scripted) -> usize);

impl Application<Scripted> for KnowsFirst {
    const KNOWS_THE_END_FIRST: bool = true;

    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        self.0.push((shown(&event), (self.1)(current.transport)));
    }
}

#[test]
fn whoever_sees_the_close_frame_finds_that_the_application_knows() {
    let mut bench = Bench::new(Role::Server, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    let mut application = KnowsFirst(Vec::new(), |transport| transport.written.len());
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let next = turn.run(transport, ready, lent, *now, &mut application);
    assert_eq!(next, Next::Leave(Leave::Close));
    assert_eq!(application.0, [("close 1000".to_owned(), 0), ("closed 1000 true".to_owned(), 0)]);
    assert_eq!(bench.transport.written, [0x88, 2, 0x03, 0xe8]);
}

#[test]
fn only_a_client_reads_ahead_while_its_send_queue_is_full() {
    for role in ROLES {
        let narrow = Config { high_water: 1000, low_water: 500, ..config() };
        let mut bench = Bench::new(role, narrow);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_binary(&[1; 2000]).expect("an empty queue");
        assert_eq!(bench.turn.connection.send_text("more"), Err(SendError::Full));
        let message = bench.frame(OpCode::Text, b"hello");
        bench.arrive([Read::Bytes(message)]);
        assert_eq!(bench.turns(), Next::Wait);
        assert!(bench.seen.is_empty(), "every message finds room for an answer");
        assert_eq!(bench.transport.read > 0, role == Role::Client);
        bench.transport.writes.clear();
        bench.ready.write = true;
        assert_eq!(bench.turns(), Next::Wait);
        assert!(bench.seen.contains(&"hello".to_owned()), "{:?}", bench.seen);
    }
}

#[test]
fn a_panic_costs_its_own_connection_only() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        let bytes = [bench.frame(OpCode::Text, b"one"), bench.frame(OpCode::Text, b"two")].concat();
        bench.arrive([Read::Bytes(bytes)]);
        let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut explode = |_: &mut Current<'_, Scripted>, _: Event<'_>| std::panic::panic_any(5);
            turn.run(transport, ready, lent, *now, &mut explode)
        }));
        assert!(panicked.is_err());
        // Another connection of the loop has its turn in between.
        let mut other = Bench::new(role, config());
        std::mem::swap(&mut other.lent, &mut bench.lent);
        let hello = other.frame(OpCode::Text, b"hello");
        other.arrive([Read::Bytes(hello)]);
        assert_eq!(other.turns(), Next::Wait);
        assert_eq!(other.seen, ["hello"], "nothing of the first connection is left");
        std::mem::swap(&mut other.lent, &mut bench.lent);

        bench.turn.after_panic(&mut bench.lent, bench.now);
        let next = bench.turns();
        assert!(matches!(next, Next::Leave(Leave::Linger)), "{role:?}: {next:?}");
        bench.assert_ended(1006, false, Some(&Error::Failed(CloseCode::INTERNAL_ERROR)));
        let code = if role == Role::Client { 6..8 } else { 2..4 };
        assert_eq!(bench.transport.written[code], 1011_u16.to_be_bytes());
    }
}

#[test]
fn a_transport_lingers_only_for_a_peer_that_may_still_read() {
    let violation = |bench: &Bench| {
        let mut bytes = bench.frame(OpCode::Text, b"x");
        bytes[0] |= 0x40;
        Read::Bytes(bytes)
    };
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        let fault = violation(&bench);
        bench.arrive([fault]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger), "it is to read why: {role:?}");

        let mut bench = Bench::new(role, config());
        bench.turn.connection.abort(bench.now);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close), "nothing was said");

        let mut bench = Bench::new(role, config());
        bench.arrive([Read::End]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close), "nothing more can come");
        bench.assert_ended(1006, false, Some(&Error::TransportLost));
    }
    let mut bench = Bench::new(Role::Server, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close.clone())]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Close), "a server ends the transport at once");

    let mut bench = Bench::new(Role::Server, config());
    let more = [close, vec![0; READ_SIZE + 9000]].concat();
    bench.arrive([Read::Bytes(more)]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Linger), "closing on unread bytes is a reset");
}

#[test]
fn a_client_waits_for_the_servers_end_and_drops_what_still_comes() {
    let mut bench = Bench::new(Role::Client, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    assert_eq!(bench.turns(), Next::Wait);
    bench.assert_ended(1000, true, None);
    bench.arrive([Read::Bytes(vec![0xff; 100_000])]);
    assert_eq!(bench.turns(), Next::Wait);
    assert!(bench.transport.reads.is_empty(), "it is read");
    bench.arrive([Read::End]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Close));

    let mut patient = Bench::new(Role::Client, config());
    let close = patient.close_frame(1000);
    patient.arrive([Read::Bytes(close)]);
    assert_eq!(patient.turns(), Next::Wait);
    patient.later(Config::default().close_timeout);
    assert_eq!(patient.turns(), Next::Leave(Leave::Close), "the server has had its time");
    patient.assert_ended(1000, true, None);
}

/// A transport that lingers.
struct Lingers {
    transport: Scripted,
    lingering: Lingering,
    ready: Ready,
    now: Instant,
    /// Whether it may last, and how often that was asked.
    may_stay: bool,
    asked: usize,
}

impl Lingers {
    /// With so much announced, and so much to be dropped at the most; these have arrived.
    fn new(announced: u64, most: u64, reads: impl IntoIterator<Item = Read>) -> Self {
        let mut transport = Scripted { reads: reads.into_iter().collect(), ..Scripted::default() };
        let (ready, now) = (Ready { read: !transport.reads.is_empty(), ..Ready::default() }, Instant::now());
        let rest = Rest { announced, most, time: Rest::TIME };
        let lingering = Lingering::begin(&mut transport, &ready, rest, now);
        Lingers { transport, lingering, ready, now, may_stay: true, asked: 0 }
    }

    fn of(bench: Bench) -> Self {
        let Bench { turn, mut transport, ready, now, .. } = bench;
        let lingering = turn.linger(&mut transport, &ready, now);
        Lingers { transport, lingering, ready, now, may_stay: true, asked: 0 }
    }

    fn turn(&mut self) -> LingerNext {
        let mut scratch = [0; 16 << 10];
        let Lingers { transport, lingering, ready, now, may_stay, asked } = self;
        lingering.turn(transport, ready, &mut scratch, *now, || {
            *asked += 1;
            *may_stay
        })
    }

    fn turns(&mut self) -> LingerNext {
        loop {
            let next = self.turn();
            if next != LingerNext::Again {
                return next;
            }
        }
    }

    fn arrive(&mut self, read: Read) -> LingerNext {
        self.transport.reads.push_back(read);
        self.ready.read = true;
        self.turns()
    }

    /// To its deadline, which has to be so far away.
    #[track_caller]
    fn wait(&mut self, expected: Duration) -> LingerNext {
        assert_eq!(self.lingering.deadline() - self.now, expected);
        self.now += expected;
        self.turns()
    }

    fn has_ended_our_direction(&self) -> bool {
        !self.transport.shutdowns.is_empty()
    }
}

const MOMENT: Duration = Duration::from_millis(100);

#[test]
fn where_nothing_is_under_way_our_direction_is_ended_at_once() {
    for mut lingers in [Lingers::new(0, 1 << 20, []), Lingers::new(0, 1 << 20, [Read::Bytes(Vec::new())])] {
        if lingers.ready.read {
            // It was ready, and there is nothing.
            lingers.transport.reads.clear();
        }
        assert_eq!(lingers.turns(), LingerNext::Wait);
        assert_eq!(lingers.transport.shutdowns, [Shutdown::Write]);
        assert_eq!(lingers.arrive(Read::Bytes(vec![1; 10_000])), LingerNext::Wait, "it is dropped");
        assert_eq!(lingers.wait(SECOND), LingerNext::Close, "it is silent");
        assert_eq!(lingers.asked, 0);
    }
    for end in [Read::End, Read::Lost] {
        let mut lingers = Lingers::new(0, 1 << 20, [Read::Bytes(vec![1; 10]), end]);
        lingers.ready.more_behind = true;
        assert_eq!(lingers.turns(), LingerNext::Close);
    }
}

#[test]
fn our_direction_stays_open_until_the_announced_bytes_have_come() {
    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Bytes(vec![1; 100_000])]);
    for piece in [400_000, 500_000] {
        assert_eq!(lingers.turns(), LingerNext::Wait);
        lingers.now += SECOND / 2;
        assert_eq!(lingers.arrive(Read::Bytes(vec![1; piece])), LingerNext::Wait);
    }
    assert!(!lingers.has_ended_our_direction(), "the peer is in the middle of a frame");
    assert_eq!(lingers.arrive(Read::Bytes(vec![1; (1 << 20) - 1_000_000])), LingerNext::Wait);
    assert!(!lingers.has_ended_our_direction(), "it may answer");
    lingers.now += MOMENT / 2;
    assert_eq!(lingers.arrive(Read::Bytes(vec![1; 8])), LingerNext::Wait);
    assert_eq!(lingers.wait(MOMENT), LingerNext::Wait);
    assert!(lingers.has_ended_our_direction());
    assert_eq!(lingers.arrive(Read::End), LingerNext::Close);
    assert_eq!((lingers.transport.shutdowns.len(), lingers.asked), (1, 1));
}

#[test]
fn a_peer_that_falls_silent_in_the_middle_has_a_second_and_another_behind_our_end() {
    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Bytes(vec![1; 1000])]);
    assert_eq!(lingers.turns(), LingerNext::Wait);
    assert_eq!(lingers.wait(SECOND), LingerNext::Wait);
    assert!(lingers.has_ended_our_direction());
    assert_eq!(lingers.wait(SECOND), LingerNext::Close);
}

#[test]
fn a_peer_without_a_place_to_linger_has_a_second_or_256_kib() {
    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Bytes(vec![1; 1000])]);
    lingers.may_stay = false;
    assert_eq!(lingers.turns(), LingerNext::Wait);
    assert_eq!(lingers.wait(SECOND), LingerNext::Close);

    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Endless(vec![1; 16 << 10])]);
    lingers.may_stay = false;
    assert_eq!(lingers.turns(), LingerNext::Close);
    assert_eq!((lingers.transport.read, lingers.asked), (256 << 10, 1));

    let mut transport = Scripted { reads: [Read::Endless(vec![1; 4096])].into(), ..Scripted::default() };
    let mut lingering = Lingering::briefly(&mut transport, Instant::now());
    assert_eq!(transport.shutdowns, [Shutdown::Write]);
    let mut ready = Ready { read: true, ..Ready::default() };
    let next = lingering.turn(&mut transport, &mut ready, &mut [0; 4096], Instant::now(), || true);
    assert_eq!((next, transport.read), (LingerNext::Close, 256 << 10));
}

#[test]
fn a_turn_drops_256_kib_and_no_peer_more_than_its_bytes_or_its_time() {
    let mut lingers = Lingers::new(1 << 40, 1 << 20, [Read::Endless(vec![1; 16 << 10])]);
    for quarter in 1..4 {
        assert_eq!(lingers.turn(), LingerNext::Again);
        assert_eq!(lingers.transport.read, quarter << 18);
    }
    assert_eq!(lingers.turn(), LingerNext::Close);
    assert_eq!(lingers.transport.read, 1 << 20);

    let mut lingers = Lingers::new(1 << 40, 1 << 40, [Read::Bytes(vec![1; 1000])]);
    let until = lingers.now + Rest::TIME;
    while lingers.turns() == LingerNext::Wait {
        assert!(lingers.now < until, "it lasts");
        lingers.now += SECOND / 2;
        lingers.transport.reads.push_back(Read::Bytes(vec![1; 1000]));
        lingers.ready.read = true;
    }
    assert_eq!(lingers.now, until);
}

#[test]
fn what_lies_there_at_the_deadline_is_dropped_before_it_is_judged() {
    let mut lingers = Lingers::new(2000, 1 << 20, [Read::Bytes(vec![1; 1000])]);
    assert_eq!(lingers.turns(), LingerNext::Wait);
    lingers.now += 10 * SECOND;
    // The poll has not told yet.
    lingers.transport.reads.push_back(Read::Bytes(vec![1; 1000]));
    assert_eq!(lingers.turns(), LingerNext::Wait);
    assert_eq!(lingers.transport.read, 2000);
    assert!(!lingers.has_ended_our_direction());
}

#[test]
fn a_server_that_stops_lingers_for_a_second_more() {
    let mut lingers = Lingers::new(1 << 30, 1 << 30, [Read::Bytes(vec![1; 1000])]);
    assert_eq!(lingers.turns(), LingerNext::Wait);
    lingers.lingering.hurry(&mut lingers.transport, lingers.now);
    assert!(lingers.has_ended_our_direction());
    lingers.now += SECOND / 2;
    assert_eq!(lingers.arrive(Read::Bytes(vec![1; 1000])), LingerNext::Wait);
    assert_eq!(lingers.wait(SECOND / 2), LingerNext::Close);
}

// It could not finish writing before it had read, nor read before it had finished writing.
#[test]
fn what_a_failed_peer_writes_is_read_while_our_close_frame_waits() {
    for role in ROLES {
        let mut bench = Bench::new(role, Config { max_message: 1 << 20, ..config() });
        bench.transport.writes.push_back(Write::Block);
        let mut frame = bench.frame(OpCode::Binary, &vec![7; 2 << 20]);
        let rest = frame.split_off(100_000);
        bench.arrive([Read::Bytes(frame)]);
        assert_eq!(bench.turns(), Next::Wait, "the Close frame waits");
        let (most, last) = rest.split_at(rest.len() - 1);
        for piece in most.chunks(100_000) {
            bench.arrive([Read::Bytes(piece.to_vec())]);
            assert_eq!(bench.turns(), Next::Wait);
        }
        assert!(bench.transport.reads.is_empty() && bench.transport.written.is_empty(), "{role:?}");

        bench.transport.writes.clear();
        bench.ready.write = true;
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger));
        let mut lingers = Lingers::of(bench);
        assert_eq!(lingers.turns(), LingerNext::Wait);
        assert!(!lingers.has_ended_our_direction(), "a byte is missing");
        assert_eq!(lingers.arrive(Read::Bytes(last.to_vec())), LingerNext::Wait);
        assert_eq!(lingers.wait(MOMENT), LingerNext::Wait);
        assert!(lingers.has_ended_our_direction());
    }
}

/// A fault: its settings, the frame that has it as far as that comes at first, what the peer does then, the code.
type Fault = (&'static str, Config, fn(&mut Vec<u8>), fn(&mut Bench), u16);

#[test]
fn the_rest_of_the_frame_in_which_the_connection_failed_is_dropped_before_our_direction_ends() {
    const LEN: usize = 2 << 20;
    let small = || Config { max_message: 1 << 20, ..config() };
    let large = || Config { max_message: 4 << 20, ..config() };
    let timed = || Config { message_timeout: Some(SECOND), ..large() };
    let faults: [Fault; 5] = [
        ("too large", small(), |_| {}, |_| {}, 1009),
        ("reserved bit", large(), |frame| frame[0] |= 0x40, |_| {}, 1002),
        ("not UTF-8", large(), |frame| frame[0] = 0x81, |_| {}, 1007),
        ("too slow", timed(), |_| {}, |bench| bench.later(SECOND), 1008),
        (
            "the application's",
            large(),
            |_| {},
            |bench| bench.turn.connection.fail(bench.now, CloseCode::POLICY_VIOLATION, ""),
            1008,
        ),
    ];
    for role in ROLES {
        for (what, config, spoil, then, code) in faults.clone() {
            // What goes back to the loop's buffer, and what does not.
            for come in [20, 1000, 300_000] {
                let mut bench = Bench::new(role, config.clone());
                let mut frame = bench.frame(OpCode::Binary, &[0xff; LEN]);
                spoil(&mut frame);
                let rest = frame.split_off(come);
                bench.arrive([Read::Bytes(frame)]);
                let mut next = bench.turns();
                if next == Next::Wait && code == 1008 {
                    then(&mut bench);
                    next = bench.turns();
                }
                assert_eq!(next, Next::Leave(Leave::Linger), "{role:?}: {what} after {come} bytes");
                let sent = bench.turn.closure().expect("an end").sent.and_then(|close| close.code);
                assert_eq!(sent.map(CloseCode::get), Some(code), "{what}");

                let mut lingers = Lingers::of(bench);
                assert_eq!(lingers.turns(), LingerNext::Wait);
                let (first, last) = rest.split_at(rest.len() - 1);
                assert_eq!(lingers.arrive(Read::Bytes(first.to_vec())), LingerNext::Wait, "{what}");
                let silence = lingers.lingering.deadline() - lingers.now;
                assert_eq!(silence, SECOND, "{what}: a byte is missing");
                assert_eq!(lingers.arrive(Read::Bytes(last.to_vec())), LingerNext::Wait);
                assert!(!lingers.has_ended_our_direction());
                let silence = lingers.lingering.deadline() - lingers.now;
                assert_eq!(silence, MOMENT, "{role:?}: {what} after {come} bytes: nothing is missing");
                assert_eq!(lingers.wait(MOMENT), LingerNext::Wait);
                assert!(lingers.has_ended_our_direction());
                assert_eq!(lingers.arrive(Read::End), LingerNext::Close);
            }
        }
    }
}

#[test]
fn every_split_of_the_input_gives_the_same() {
    for role in ROLES {
        let bench = Bench::new(role, config());
        let input = [
            bench.frame(OpCode::Text, b"hello"),
            bench.frame(OpCode::Binary, &[7; 300]),
            bench.frame(OpCode::Ping, b"?"),
            bench.close_frame(1000),
        ]
        .concat();
        let whole = run_in_pieces(role, &[&input]);
        for cut in 1..input.len() {
            let (head, tail) = input.split_at(cut);
            assert_eq!(run_in_pieces(role, &[head, tail]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(run_in_pieces(role, &bytes), whole);
    }
}

/// What is seen and written when these arrive one after the other.
fn run_in_pieces(role: Role, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut bench = Bench::new(role, config());
    for piece in pieces {
        bench.arrive([Read::Bytes(piece.to_vec())]);
        bench.turns();
    }
    (bench.seen, bench.transport.written)
}

/// A server application in whose answers a long message is written through.
struct ThroughKnows(Vec<(String, usize)>);
impl Application<Scripted> for ThroughKnows {
    const KNOWS_THE_END_FIRST: bool = true;
    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        if let Event::Message(_) = event {
            let long = vec![7; 64 << 10];
            let _ = current
                .write_through(|connection, write| connection.send_through(Message::Binary(&long), write));
        }
        self.0.push((shown(&event), current.transport.written.len()));
    }
}

#[test]
fn a_server_is_not_told_of_a_clean_end_when_writing_has_failed_before() {
    let mut bench = Bench::new(Role::Server, config());
    bench.transport.writes.push_back(Write::Lose);
    let bytes = [bench.frame(OpCode::Text, b"one"), bench.close_frame(1000)].concat();
    bench.arrive([Read::Bytes(bytes), Read::Lost]);
    let mut application = ThroughKnows(Vec::new());
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let next = turn.run(transport, ready, lent, *now, &mut application);
    assert_eq!(next, Next::Leave(Leave::Close));
    let told = application.0.last().unwrap().0.clone();
    assert_eq!(told, told_end(&turn.closure().unwrap()), "{:?}", application.0);
}

struct FailsOnWritable(Vec<(String, usize)>);
impl Application<Scripted> for FailsOnWritable {
    const KNOWS_THE_END_FIRST: bool = true;
    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        if let Event::Writable = event {
            current.connection.fail(current.now, CloseCode::POLICY_VIOLATION, "");
        }
        self.0.push((shown(&event), current.transport.written.len()));
    }
}

#[test]
fn the_end_made_in_on_writable_is_told_before_the_close_frame_leaves() {
    let mut bench = Bench::new(Role::Server, Config { high_water: 100, low_water: 50, ..config() });
    bench.turn.connection.send_binary(&[1; 100]).unwrap();
    let mut application = FailsOnWritable(Vec::new());
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let mut next = Next::Again;
    while next == Next::Again {
        next = turn.run(transport, ready, lent, *now, &mut application);
    }
    let before = 102;
    assert_eq!(application.0, [("writable".to_owned(), before), ("closed 1006 false".to_owned(), before)]);
}

#[test]
fn an_abort_that_drops_our_close_frame_is_no_clean_end() {
    let mut bench = Bench::new(Role::Client, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let mut seen = Vec::new();
    let mut app = |current: &mut Current<'_, Scripted>, event: Event<'_>| {
        if matches!(event, Event::CloseReceived { .. }) {
            current.connection.abort(current.now);
        }
        seen.push(shown(&event));
    };
    let next = turn.run(transport, ready, lent, *now, &mut app);
    assert_eq!(next, Next::Leave(Leave::Close));
    assert!(transport.written.is_empty());
    assert_eq!(seen, ["close 1000", "closed 1000 false"]);
}

/// Sends whenever there is room.
struct Pump(Vec<String>);
impl Application<Scripted> for Pump {
    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        if let Event::Writable = event {
            while current.connection.send_binary(&[1; 40]).is_ok() {}
        } else {
            self.0.push(shown(&event));
        }
    }
}

#[test]
fn an_application_that_sends_whenever_there_is_room_still_hears_the_peer() {
    for role in ROLES {
        for blocks in [true, false] {
            let mut bench = Bench::new(role, Config { high_water: 100, low_water: 50, ..config() });
            while bench.turn.connection.send_binary(&[1; 40]).is_ok() {}
            let bytes = [bench.frame(OpCode::Ping, b"?"), bench.close_frame(1000)].concat();
            let mut pump = Pump(Vec::new());
            for turn in 0..1000 {
                if turn == 10 {
                    bench.arrive([Read::Bytes(bytes.clone())]);
                }
                if blocks {
                    // The kernel takes all that waits, and no more in this turn.
                    bench.ready.write = true;
                    bench.transport.writes = [Write::Take(1000), Write::Block].into();
                }
                let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
                if matches!(turn.run(transport, ready, lent, *now, &mut pump), Next::Leave(_)) {
                    break;
                }
            }
            assert!(
                pump.0.contains(&"close 1000".to_owned()),
                "{role:?} {blocks}: {:?}, written {}",
                pump.0,
                bench.transport.written.len()
            );
        }
    }
}

#[test]
fn writing_that_fails_through_has_its_own_last_look() {
    // A deadline has passed, almost 8 MiB were read since; then a long message is written through and fails.
    let mut bench = Bench::new(
        Role::Server,
        Config { keep_alive_interval: Some(SECOND), keep_alive_timeout: Some(SECOND), ..Config::default() },
    );
    bench.later(SECOND);
    assert_eq!(bench.turns(), Next::Wait);
    bench.later(SECOND);
    let flood = vec![bench.frame(OpCode::Pong, &[7; 58]); READ_SIZE / 64].concat();
    let flood_len = flood.len();
    assert_eq!(flood_len, READ_SIZE);
    let mut app = ThroughKnows(Vec::new());
    let mut reads: Vec<Read> = (0..62).map(|_| Read::Bytes(flood.clone())).collect();
    let mut text = bench.frame(OpCode::Text, b"go");
    text.extend(&flood[..READ_SIZE - 64]);
    while text.len() < READ_SIZE {
        let more = bench.frame(OpCode::Pong, b"");
        if text.len() + more.len() > READ_SIZE {
            break;
        }
        text.extend(more);
    }
    reads.push(Read::Bytes(text));
    reads.extend((0..10).map(|_| Read::Bytes(flood.clone())));
    reads.push(Read::Bytes([bench.frame(OpCode::Text, b"why"), bench.close_frame(1008)].concat()));
    reads.push(Read::Lost);
    bench.arrive(reads);
    bench.transport.writes.push_back(Write::Lose);
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    for _ in 0..2000 {
        if matches!(turn.run(transport, ready, lent, *now, &mut app), Next::Leave(_)) {
            break;
        }
    }
    let seen: Vec<_> = app.0.iter().map(|s| s.0.clone()).filter(|s| !s.starts_with("Pong")).collect();
    assert!(seen.contains(&"why".to_owned()), "{seen:?} {:?} read {}", turn.closure(), transport.read);
}

#[test]
fn room_found_at_the_write_deadline_lets_what_has_arrived_be_read_before_other_deadlines() {
    for role in ROLES {
        let config = Config {
            high_water: 1000,
            low_water: 500,
            write_timeout: Some(SECOND),
            idle_timeout: Some(SECOND),
            ..config()
        };
        let mut bench = Bench::new(role, config);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_binary(&[1; 2000]).expect("an empty queue");
        assert_eq!(bench.turns(), Next::Wait);
        let hello = bench.frame(OpCode::Text, b"hello");
        bench.arrive([Read::Bytes(hello)]);
        // The loop is late. The peer has read meanwhile, which the kernel has not announced yet.
        bench.later(2 * SECOND);
        bench.transport.writes.clear();
        assert_eq!(bench.turns(), Next::Wait, "{role:?} {:?} {:?}", bench.seen, bench.turn.closure());
        assert!(bench.seen.contains(&"hello".to_owned()));
    }
}

#[test]
fn a_peer_that_takes_nothing_is_heard_though_it_was_idle_too() {
    for role in ROLES {
        let config = Config {
            high_water: 1000,
            low_water: 500,
            write_timeout: Some(SECOND),
            idle_timeout: Some(SECOND),
            ..config()
        };
        let mut bench = Bench::new(role, config);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_binary(&[1; 2000]).expect("an empty queue");
        assert_eq!(bench.turns(), Next::Wait);
        let why = [bench.frame(OpCode::Text, b"why"), bench.close_frame(1008)].concat();
        bench.arrive([Read::Bytes(why)]);
        bench.later(2 * SECOND);
        bench.turns();
        bench.later(2 * SECOND);
        bench.turns();
        assert!(
            bench.seen.contains(&"why".to_owned()),
            "{role:?} {:?} {:?}",
            bench.seen,
            bench.turn.closure()
        );
    }
}

/// What one turn writes at most, a message that is written through aside.
const TURN_WRITES: usize = 4 << 20;

#[test]
fn a_turn_writes_its_share_and_asks_for_another() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        // Several slices: one that is handed over, between small ones.
        let (small, large) = (vec![3; 1000], vec![5; 18 << 20]);
        bench.turn.connection.send_binary(&small).expect("room");
        bench.turn.connection.send_owned(large.clone()).expect("room");
        let mut turns = 0;
        loop {
            let before = bench.transport.written.len();
            let next = bench.turn();
            let written = bench.transport.written.len() - before;
            assert!((1..=TURN_WRITES).contains(&written), "{role:?}: {written} bytes in turn {turns}");
            turns += 1;
            if next != Next::Again {
                assert_eq!(next, Next::Wait, "the last byte is written");
                break;
            }
        }
        assert!(turns > 3, "{turns}");
        let mask = (role == Role::Client).then_some([0; 4]);
        let mut expected = Vec::new();
        for payload in [&small, &large] {
            encode_frame(&mut expected, true, OpCode::Binary, payload, mask);
        }
        assert!(bench.transport.written == expected, "all of it, in order");
    }
}

#[test]
fn a_connection_that_has_ended_is_left_when_its_last_share_is_written() {
    let mut bench = Bench::new(Role::Server, config());
    bench.turn.connection.send_owned(vec![5; 9 << 20]).expect("room");
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    let mut turns = 1;
    while bench.turn() == Next::Again {
        turns += 1;
    }
    assert!(turns > 1, "{turns}");
    assert_eq!(bench.turn(), Next::Leave(Leave::Close));
    bench.assert_ended(1000, true, None);
    assert!(bench.transport.written.ends_with(&[0x88, 2, 0x03, 0xe8]), "the Close frame is last");
    assert_eq!(bench.transport.written.len(), (9 << 20) + 10 + 4);
}

#[test]
fn many_small_requests_for_much_are_answered_a_share_at_a_time() {
    // The transport takes all it is offered: nothing else would stop the turn.
    let mut bench = Bench::new(Role::Server, config());
    let request = bench.frame(OpCode::Text, b"more");
    bench.arrive([Read::Bytes(request.repeat(200))]);
    let long = vec![7; 64 << 10];
    let (mut answered, mut most) = (0, 0);
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    loop {
        let before = transport.written.len();
        let mut answer = |current: &mut Current<'_, Scripted>, event: Event<'_>| {
            if event == Event::Writable {
                return; // behind a share much is queued
            }
            assert_eq!(event, Event::Message(Message::Text("more")));
            let send = |connection: &mut Connection, write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize| {
                connection.send_through(Message::Binary(&long), write)
            };
            current.write_through(send).expect("what is handed over finds room for an answer");
            answered += 1;
        };
        let next = turn.run(transport, ready, lent, *now, &mut answer);
        most = most.max(transport.written.len() - before);
        if next != Next::Again {
            break;
        }
    }
    assert_eq!(answered, 200);
    assert_eq!(transport.written.len(), 200 * (long.len() + 10));
    assert!(most <= TURN_WRITES + long.len() + 10, "{most} bytes in a turn");
}

#[test]
fn what_a_turn_leaves_unwritten_is_not_given_up_by_a_deadline() {
    // Between its shares a connection waits for its turn, and not for its peer.
    for role in ROLES {
        let impatient = Config { write_timeout: Some(SECOND), ..config() };
        let mut bench = Bench::new(role, impatient);
        bench.turn.connection.send_owned(vec![5; 9 << 20]).expect("room");
        while bench.turn() == Next::Again {
            bench.later(10 * SECOND);
        }
        assert!(bench.turn.closure().is_none(), "{role:?}: {:?}", bench.turn.closure());
        assert!(bench.transport.written.len() > 9 << 20);
    }
}

/// A kernel announces room late, and a peer that has failed may have begun to read.
#[test]
fn our_last_bytes_are_offered_once_more_before_their_time_is_up() {
    for role in ROLES {
        let mut bench = Bench::new(role, Config { close_timeout: SECOND, ..config() });
        bench.transport.writes.push_back(Write::Block);
        // RSV1 without an extension.
        let mut fault = bench.frame(OpCode::Text, b"x");
        fault[0] |= 0x40;
        bench.arrive([Read::Bytes(fault)]);
        assert_eq!(bench.turns(), Next::Wait, "the Close frame waits");
        bench.transport.writes.clear();
        bench.later(2 * SECOND);
        assert!(bench.ready.due && !bench.ready.write, "nothing has told of room");
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger), "{role:?}");
        let code = if role == Role::Client { 6..8 } else { 2..4 };
        assert_eq!(bench.transport.written[code], 1002_u16.to_be_bytes());
        let closure = bench.turn.closure().expect("it has ended");
        assert!(matches!(closure.cause, Some(Error::Peer(_))), "{:?}", closure.cause);
        assert!(!bench.turn.has_dropped());
    }
}

// Nothing would announce what has come already.
#[test]
fn after_a_panic_what_the_peer_still_writes_is_read_while_our_close_frame_waits() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Block);
        bench.arrive([Read::Endless(vec![7; 1000])]);
        let Bench { turn, transport, ready, lent, now, seen, .. } = &mut bench;
        turn.after_panic(lent, *now);
        let mut note = |_: &mut Current<'_, Scripted>, event: Event<'_>| seen.push(shown(&event));
        turn.finish(transport, ready, *now, &mut note);
        let flushed = turn.flush(transport, ready, *now);
        assert_eq!(flushed, Flushed::Blocked);
        assert_eq!(turn.after(flushed, ready), Next::Again, "{role:?}");
        assert_eq!(bench.turn(), Next::Again);
        assert!(bench.transport.read >= 1000, "{}", bench.transport.read);
    }
}

#[test]
fn a_connection_lingers_whatever_its_close_timeout_is() {
    for role in ROLES {
        let mut bench = Bench::new(role, Config { close_timeout: Duration::MAX, ..config() });
        let mut fault = bench.frame(OpCode::Text, b"x");
        fault[0] |= 0x40;
        bench.arrive([Read::Bytes(fault)]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger));
        let Bench { turn, transport, ready, now, .. } = &mut bench;
        let lingering = turn.linger(transport, ready, *now);
        assert!(lingering.deadline() > *now, "{role:?}");
    }
}

/// Whoever gives way holds nothing afterwards, and says why if that can be said.
#[test]
fn who_gives_way_drops_what_it_holds_and_tells_1013_where_the_transport_takes_it() {
    let cause = Error::Limit(LimitExceeded::Memory);
    for blocked in [false, true] {
        let mut bench = Bench::new(Role::Server, config());
        let half = bench.frame(OpCode::Binary, &[7; 100_000])[..60_000].to_vec();
        bench.arrive([Read::Bytes(half)]);
        assert_eq!(bench.turn(), Next::Wait);
        assert!((60_000..130_000).contains(&bench.turn.held()), "{} bytes", bench.turn.held());
        assert_eq!(bench.turn.progress(&bench.lent), 60_000);
        bench.transport.writes.extend(blocked.then_some(Write::Block));
        let Bench { turn, transport, ready, now, .. } = &mut bench;
        turn.give_way(transport, ready, *now);
        assert!(bench.turn.held() < 100, "{} bytes", bench.turn.held());
        assert_eq!(bench.turn(), Next::Leave(Leave::Linger));
        assert_eq!(bench.turn.closure().and_then(|closure| closure.cause), Some(cause.clone()));
        assert_eq!(bench.seen.len(), 1, "the application hears of it: {:?}", bench.seen);
        let told: &[u8] = if blocked { b"" } else { b"\x88\x0b\x03\xf5no memory" };
        assert_eq!(bench.transport.written, told);
        assert_eq!(bench.turn.held(), 0);
    }
}

#[test]
fn what_waits_to_be_sent_is_held_and_its_progress_is_what_leaves() {
    let mut bench = Bench::new(Role::Server, config());
    bench.transport.writes.extend([Write::Take(30_000), Write::Block]);
    bench.turn.connection.send_binary(&[5; 200_000]).expect("room");
    let short = bench.frame(OpCode::Text, b"short");
    bench.arrive([Read::Bytes(short)]);
    assert_eq!(bench.turn(), Next::Wait);
    assert!(bench.turn.held() >= 170_000, "{} bytes", bench.turn.held());
    assert_eq!(bench.turn.progress(&bench.lent), 30_000, "written, not read");
    bench.transport.writes.clear();
    bench.ready.write = true;
    assert_eq!(bench.turn(), Next::Wait);
    assert_eq!(bench.turn.held(), 0, "at rest again");
}
