//! Frame headers in every form: `cargo bench -p framewright-benches --bench header`.
//!
//! Parsing checks all that section 5.2 and the receiver's role demand of a header.

#![forbid(unsafe_code)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use framewright::Role;
use framewright::frame::{Header, MAX_HEADER_LEN, OpCode, Rules, encode_frame};
use std::hint::black_box;

/// The forms of the payload length, each with a length that needs it.
const LENGTHS: [(&str, usize); 3] = [("7-bit", 20), ("16-bit", 1000), ("64-bit", 100_000)];

fn header(criterion: &mut Criterion) {
    for (form, len) in LENGTHS {
        for (masked, key, receiver) in
            [("masked", Some([1, 2, 3, 4]), Role::Server), ("unmasked", None, Role::Client)]
        {
            let rules = Rules::for_receiver(receiver);
            let mut frame = Vec::new();
            encode_frame(&mut frame, true, OpCode::Binary, &vec![7; len], key);
            let (header, _) = Header::parse(&frame, rules).ok().flatten().expect("a frame");
            let mut group = criterion.benchmark_group("header");
            let id = |what| BenchmarkId::new(what, format!("{form} {masked}"));
            group.bench_function(id("parse"), |bencher| {
                bencher.iter(|| Header::parse(black_box(&frame), rules));
            });
            group.bench_function(id("encode"), |bencher| {
                let mut target = [0; MAX_HEADER_LEN];
                bencher.iter(|| black_box(&header).encode(black_box(&mut target)));
            });
        }
    }
}

criterion_group!(benches, header);
criterion_main!(benches);
