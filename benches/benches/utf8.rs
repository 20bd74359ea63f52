//! The check of text beside `std` and `simdutf8`: `cargo bench -p framewright-benches --bench
//! utf8`.
//!
//! The connection's check cannot be called alone. So a client decodes the same octets, which are
//! not masked, as a text and as a binary message: what the first takes longer is the check. Both
//! copy the frame into the receive buffer first. In pieces the message arrives in reads of 1000
//! octets, which cut characters, and each read is checked as it comes.

#![forbid(unsafe_code)]

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use framewright::frame::{OpCode, encode_frame};
use framewright::{Config, Connection, Event, Negotiated, RecvBuffer};
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::traffic::Script;
use std::hint::black_box;
use std::str;
use std::sync::Arc;
use std::time::Instant;

const LENGTHS: [usize; 5] = [16, 125, 1 << 10, 4 << 10, 64 << 10];

/// Octets of each read of a message in pieces.
const PIECE: usize = 1000;

fn utf8(criterion: &mut Criterion) {
    for script in Script::ALL {
        for len in LENGTHS {
            let text = script.text(len);
            let octets = text.as_bytes();
            let mut group = criterion.benchmark_group(format!("utf8/{}/{len}", script.name()));
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function("std", |bencher| {
                bencher.iter(|| str::from_utf8(black_box(octets)).is_ok());
            });
            group.bench_function("simdutf8", |bencher| {
                bencher.iter(|| simdutf8::basic::from_utf8(black_box(octets)).is_ok());
            });
            decode(&mut group, "text", OpCode::Text, octets, usize::MAX);
            decode(&mut group, "binary", OpCode::Binary, octets, usize::MAX);
            if len > PIECE {
                decode(&mut group, "text in pieces", OpCode::Text, octets, PIECE);
                decode(&mut group, "binary in pieces", OpCode::Binary, octets, PIECE);
            }
        }
    }
}

fn decode(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    opcode: OpCode,
    payload: &[u8],
    piece_len: usize,
) {
    let now = Instant::now();
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, opcode, payload, None);
    let entropy = Box::new(SplitMix64::new(1));
    let mut connection = Connection::client(Arc::new(Config::default()), Negotiated::new(), entropy, now);
    let mut rx = RecvBuffer::with_capacity(frame.len());
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for piece in frame.chunks(piece_len) {
                rx.extend_from_slice(piece);
                while let Some(event) = connection.next_event(now, &mut rx) {
                    assert!(matches!(event, Event::Message(message) if message.len() == payload.len()));
                }
            }
        });
    });
    assert!(connection.closure().is_none(), "the text is UTF-8");
}

criterion_group!(benches, utf8);
criterion_main!(benches);
