//! Messages without sockets: `cargo bench -p framewright-benches --bench codec`.
//!
//! A server decodes a stream of masked frames from memory, one read at a time as it would come from
//! a socket: the copy that a read makes is in the figures, since unmasking in place needs fresh
//! octets each time. Times are for one message.
//!
//! `benches/peers/micro` measures these messages beside other crates.

#![forbid(unsafe_code)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use framewright::frame::OpCode;
use framewright::{Config, Event};
use framewright_testkit::traffic::{Echo, Script, masked_frames};
use std::hint::black_box;
use std::io;
use std::time::Instant;

/// Octets of payload, and how many messages make a stream that stays in the cache.
const SIZES: [(usize, usize); 4] = [(20, 1000), (125, 400), (4 << 10, 16), (64 << 10, 1)];

fn codec(criterion: &mut Criterion) {
    for (size, count) in SIZES {
        let mut group = criterion.benchmark_group(format!("decode/{size}"));
        group.throughput(Throughput::Elements(count as u64));
        for (name, opcode, script) in [
            ("binary", OpCode::Binary, Script::Ascii),
            ("text ASCII", OpCode::Text, Script::Ascii),
            ("text mixed", OpCode::Text, Script::Mixed),
        ] {
            let stream = masked_frames(opcode, script.text(size).as_bytes(), count);
            let mut echo = Echo::new(Config::default(), Instant::now());
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let mut octets = 0;
                    echo.decode(&stream, |event| {
                        let Event::Message(message) = event else { panic!("only messages were sent") };
                        octets += black_box(message.as_bytes()).len();
                    });
                    assert_eq!(octets, size * count);
                });
            });
            group.bench_function(format!("{name}, echoed"), |bencher| {
                bencher.iter(|| echo.turn(&stream, &mut io::sink()));
            });
        }
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
