//! The codec without sockets: `cargo bench -p framewright-benches --bench codec`.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use framewright::frame::{Header, OpCode, Rules, encode_frame};
use framewright::{Config, Connection, Event, Negotiated, RecvBuffer, Role, Transmit};
use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

fn stream_of(size: usize, frames: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..frames {
        encode_frame(&mut stream, true, OpCode::Binary, &vec![7; size], Some([1, 2, 3, 4]));
    }
    stream
}

fn header(criterion: &mut Criterion) {
    let rules = Rules::for_receiver(Role::Server);
    let mut group = criterion.benchmark_group("header");
    for size in [20, 1000, 100_000] {
        let stream = stream_of(size, 1);
        group.bench_with_input(BenchmarkId::new("parse", size), &stream, |bencher, stream| {
            bencher.iter(|| Header::parse(black_box(stream), rules));
        });
        let (header, _) = Header::parse(&stream, rules).ok().flatten().expect("a frame");
        group.bench_with_input(BenchmarkId::new("encode", size), &header, |bencher, header| {
            let mut target = [0; 14];
            bencher.iter(|| black_box(header).encode(&mut target));
        });
    }
}

/// Decodes a batch of frames from memory and echoes each into the outgoing vector.
fn connection(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode and echo");
    for (size, frames) in [(20, 1000), (125, 500), (4096, 16), (60_000, 1)] {
        let stream = stream_of(size, frames);
        group.throughput(Throughput::Elements(frames as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &stream, |bencher, stream| {
            let now = Instant::now();
            let mut connection = Connection::server(Arc::new(Config::default()), Negotiated::new(), now);
            let mut rx = RecvBuffer::with_capacity(stream.len());
            bencher.iter(|| {
                rx.extend_from_slice(stream);
                while let Some(event) = connection.next_event(now, &mut rx) {
                    if let Event::Message(message) = event {
                        connection.send(message).expect("there is room");
                    }
                }
                let mut slices = [IoSlice::new(&[]); 8];
                if let Transmit::Bytes { octets, .. } = connection.poll_transmit(&mut slices) {
                    connection.transmitted(now, octets);
                }
            });
        });
    }
}

fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in [20, 125, 1024, 16 << 10, 1 << 20] {
        let mut payload = vec![7u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("apply_mask", size), |bencher| {
            bencher.iter(|| framewright_simd::apply_mask(black_box(&mut payload), [1, 2, 3, 4], 0));
        });
        group.bench_function(BenchmarkId::new("read-modify-write", size), |bencher| {
            bencher
                .iter(|| black_box(&mut payload).iter_mut().for_each(|octet| *octet = octet.wrapping_add(3)));
        });
    }
}

criterion_group!(benches, header, connection, mask);
criterion_main!(benches);
