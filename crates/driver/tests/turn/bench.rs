//! One connection, its transport and what it has seen.

use framewright::deflate::DeflateMemory;
use framewright::frame::{CloseCode, OpCode, encode_frame};
use framewright::{Closure, Config, Connection, Entropy, Error, Event, Message, Negotiated, Role};
use framewright_driver::{Current, Io, Lent, Next, Ready, Transport, Turn};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const ROLES: [Role; 2] = [Role::Server, Role::Client];

pub(crate) const READ_SIZE: usize = 128 << 10;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A transport that does as it is told: what it is not told to read is not there, and it takes all
/// that it is not told to refuse.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    pub(crate) reads: VecDeque<Read>,
    pub(crate) writes: VecDeque<Write>,
    pub(crate) written: Vec<u8>,
    /// How many writes have moved bytes.
    pub(crate) calls: usize,
    pub(crate) shutdowns: Vec<Shutdown>,
    /// Bytes read so far.
    pub(crate) read: usize,
    /// Whether the transport itself has told the peer why it has failed.
    pub(crate) owes_reason: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Read {
    Bytes(Vec<u8>),
    End,
    Lost,
    /// These bytes over and over.
    Endless(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
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
        self.calls += 1;
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

    fn owes_reason(&self) -> bool {
        self.owes_reason
    }
}

pub(crate) struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, target: &mut [u8]) {
        target.fill(0);
    }
}

/// One connection, its transport and what it has seen.
pub(crate) struct Bench<T = Scripted> {
    pub(crate) role: Role,
    pub(crate) turn: Turn,
    pub(crate) transport: T,
    pub(crate) ready: Ready,
    pub(crate) lent: Lent,
    pub(crate) now: Instant,
    pub(crate) seen: Vec<String>,
}

pub(crate) fn config() -> Config {
    Config { keep_alive_interval: None, ..Config::default() }
}

impl Bench {
    pub(crate) fn new(role: Role, config: Config) -> Self {
        Bench::over(Scripted::default(), role, config)
    }

    /// These arrive, and readiness is announced.
    pub(crate) fn arrive(&mut self, reads: impl IntoIterator<Item = Read>) {
        self.transport.reads.extend(reads);
        self.ready.read = true;
        self.ready.more_behind |=
            self.transport.reads.iter().any(|read| matches!(read, Read::End | Read::Lost));
    }
}

impl<T: Transport> Bench<T> {
    pub(crate) fn over(transport: T, role: Role, config: Config) -> Self {
        let now = Instant::now();
        let config = Arc::new(config);
        let connection = match role {
            Role::Server => Connection::server(config, Negotiated::new(), now),
            Role::Client => Connection::client(config, Negotiated::new(), Box::new(Zeros), now),
        };
        Bench {
            role,
            turn: Turn::new(connection, &[]),
            transport,
            ready: Ready::default(),
            lent: Lent::new(READ_SIZE, 1 << 20, DeflateMemory::new(usize::MAX)),
            now,
            seen: Vec::new(),
        }
    }

    /// A frame of the peer.
    pub(crate) fn frame(&self, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let mask = (self.role == Role::Server).then_some([1, 2, 3, 4]);
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, true, opcode, payload, mask);
        bytes
    }

    pub(crate) fn close_frame(&self, code: u16) -> Vec<u8> {
        self.frame(OpCode::Close, &code.to_be_bytes())
    }

    /// One turn, in which messages are echoed.
    pub(crate) fn turn(&mut self) -> Next {
        let Bench { turn, transport, ready, lent, now, seen, .. } = self;
        let mut echo = |current: &mut Current<'_, T>, event: Event<'_>| {
            if let Event::Message(message) = event {
                let _ = current.connection.send(message);
            }
            seen.push(shown(&event));
        };
        turn.run(transport, ready, lent, *now, &mut echo)
    }

    /// Turns until there is nothing left to do.
    pub(crate) fn turns(&mut self) -> Next {
        for _ in 0..10_000 {
            match self.turn() {
                Next::Again => {}
                next => return next,
            }
        }
        panic!("there is no end to it: {:?}", self.seen);
    }

    /// The time is this much later, and the driver's timer has told.
    pub(crate) fn later(&mut self, after: Duration) {
        self.now += after;
        self.ready.due = self.turn.deadline().is_some_and(|deadline| deadline <= self.now);
    }

    #[track_caller]
    pub(crate) fn assert_ended(&self, code: u16, clean: bool, cause: Option<&Error>) {
        let closure = self.turn.closure().expect("it has ended");
        let found = (closure.code(), closure.clean, closure.cause.as_ref());
        assert_eq!(found, (code, clean, cause), "{:?}: {:?}", self.role, self.seen);
        let told = self.seen.iter().filter(|event| event.starts_with("closed")).count();
        assert_eq!(told, 1, "the end is told once: {:?}", self.seen);
        assert_eq!(self.seen.last(), Some(&told_end(&closure)), "and last, as it is");
    }
}

pub(crate) fn told_end(closure: &Closure) -> String {
    format!("closed {} {}", closure.code(), closure.clean)
}

pub(crate) fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Message(Message::Text(text)) => (*text).to_owned(),
        Event::Message(Message::Binary(bytes)) => format!("{} bytes", bytes.len()),
        Event::CloseReceived { code, .. } => format!("close {}", code.map_or(0, CloseCode::get)),
        Event::Closed(closure) => told_end(closure),
        Event::Writable => "writable".to_owned(),
        event => format!("{event:?}"),
    }
}
