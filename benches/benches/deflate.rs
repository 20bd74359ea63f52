//! Compressing and inflating: `cargo bench -p framewright-benches --bench deflate`.
//!
//! A connection sends JSON and drops it, or receives it compressed by such a connection, in each
//! mode. The name of each measurement says how many octets a connection holds for it. What all
//! connections of an event loop share besides is printed. With takeover the shared compressor goes
//! on where it is, since there is no other connection. Messages on which compression does not pay
//! are sent as they are after a while, such as those of 128 octets by themselves.

#![forbid(unsafe_code)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use framewright::deflate::{Codec, DeflateConfig, DeflateMemory, DeflateParams, Level, WindowBits};
use framewright::{Config, Connection, Event, Message, Negotiated, RecvBuffer, Role, Transmit};
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::traffic::json_records;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

const LENGTHS: [usize; 4] = [128, 1 << 10, 16 << 10, 1 << 20];

/// How many octets of different messages there are of each length: more than any window holds.
const VARIETY: usize = 256 << 10;

/// What is agreed on.
#[derive(Clone, Copy)]
struct Mode {
    takeover: bool,
    level: u8,
}

const MODES: [Mode; 4] = [
    Mode { takeover: false, level: 1 },
    Mode { takeover: true, level: 1 },
    Mode { takeover: false, level: 6 },
    Mode { takeover: true, level: 6 },
];

impl Mode {
    fn params(self) -> DeflateParams {
        DeflateParams {
            server_no_context_takeover: !self.takeover,
            client_no_context_takeover: !self.takeover,
            client_max_window_bits: WindowBits::new(12).expect("8 to 15"),
            ..DeflateParams::default()
        }
    }

    fn config(self) -> DeflateConfig {
        let level = Level::new(self.level).expect("1 to 9");
        DeflateConfig { level, threshold: 0, ..DeflateConfig::default() }
    }

    fn name(self) -> String {
        let size = self.params().takeover_size(Role::Server, &self.config());
        let name = if self.takeover { "takeover" } else { "shared" };
        format!("{name}, level {}, {size} B", self.level)
    }

    fn connection(self, role: Role, now: Instant) -> Connection {
        let config = Arc::new(Config { deflate: self.config(), ..Config::default() });
        let negotiated = Negotiated::new().with_deflate(self.params());
        match role {
            Role::Server => Connection::server(config, negotiated, now),
            Role::Client => Connection::client(config, negotiated, Box::new(SplitMix64::new(7692)), now),
        }
    }
}

/// Messages of this length, all of them different.
fn messages(len: usize) -> Vec<String> {
    let mut random = SplitMix64::new(1951);
    (0..(VARIETY / len).max(2)).map(|_| json_records(&mut random, len)).collect()
}

/// What waits, dropped: its octets.
fn drain(connection: &mut Connection, now: Instant) -> Vec<u8> {
    let mut wire = Vec::new();
    loop {
        let mut slices = [IoSlice::new(&[]); 4];
        let Transmit::Bytes { octets, slices: used } = connection.poll_transmit(&mut slices) else {
            return wire;
        };
        slices[..used].iter().for_each(|slice| wire.extend_from_slice(slice));
        connection.transmitted(now, octets);
    }
}

fn compress(criterion: &mut Criterion) {
    let now = Instant::now();
    for len in LENGTHS {
        let messages = messages(len);
        let mut group = criterion.benchmark_group(format!("deflate/compress/{len}"));
        group.throughput(Throughput::Bytes(len as u64));
        for mode in MODES {
            let mut connection = mode.connection(Role::Server, now);
            let mut next = messages.iter().cycle();
            group.bench_function(mode.name(), |bencher| {
                bencher.iter(|| {
                    connection.send(Message::Text(next.next().expect("a cycle"))).expect("there is room");
                    let mut slices = [IoSlice::new(&[]); 2];
                    if let Transmit::Bytes { octets, .. } = connection.poll_transmit(&mut slices) {
                        connection.transmitted(now, octets);
                    }
                });
            });
        }
    }
}

fn inflate(criterion: &mut Criterion) {
    let now = Instant::now();
    for len in LENGTHS {
        let messages = messages(len);
        let mut group = criterion.benchmark_group(format!("deflate/inflate/{len}"));
        group.throughput(Throughput::Bytes(len as u64));
        for mode in MODES {
            let mut sender = mode.connection(Role::Client, now);
            let mut receiver = mode.connection(Role::Server, now);
            let mut rx = RecvBuffer::new();
            let mut next = messages.iter().cycle();
            group.bench_function(mode.name(), |bencher| {
                bencher.iter_batched(
                    || {
                        sender.send(Message::Text(next.next().expect("a cycle"))).expect("there is room");
                        drain(&mut sender, now)
                    },
                    |wire| {
                        rx.extend_from_slice(&wire);
                        let event = receiver.next_event(now, &mut rx);
                        assert!(matches!(event, Some(Event::Message(message)) if message.len() == len));
                        wire
                    },
                    // In order: with takeover each message refers to those before it.
                    BatchSize::PerIteration,
                );
            });
        }
    }
}

/// What an event loop holds after one message in each direction.
#[allow(clippy::print_stdout, reason = "a figure beside criterion's")]
fn shared_state(_: &mut Criterion) {
    let now = Instant::now();
    let memory = DeflateMemory::new(usize::MAX);
    let mode = MODES[0];
    let (mut client, mut server) = (mode.connection(Role::Client, now), mode.connection(Role::Server, now));
    assert!(server.driver().lend_codec(Box::new(Codec::new(Arc::clone(&memory)))).is_none());
    client.send(Message::Text("a message, a message")).expect("there is room");
    let mut rx = RecvBuffer::new();
    rx.extend_from_slice(&drain(&mut client, now));
    let Some(Event::Message(message)) = server.next_event(now, &mut rx) else { panic!("no message") };
    server.send(message).expect("there is room");
    println!("deflate: an event loop holds at most {} B for all its connections", memory.stats().held);
}

criterion_group!(benches, shared_state, compress, inflate);
criterion_main!(benches);
