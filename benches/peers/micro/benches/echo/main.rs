//! Decoding and echoing without sockets, beside other crates: `cargo bench -p peer-micro --bench
//! echo` in `benches/peers`.
//!
//! Each crate reads the same octets from memory, masked frames of a client, and sends every message
//! back to a writer that drops it. Each is used in the way that its documentation shows, buffers
//! replies where it can, and has had its opening handshake before. A time is that of one message.

mod contestants;
mod pipe;

use contestants::{Contestant, FastWebsockets, Framewright, TokioWebsockets, Tungstenite};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use framewright::frame::{OpCode, encode_frame};
use framewright_testkit::traffic::{Script, masked_frames};
use pipe::Pipe;

/// Octets of payload, and how many messages arrive at once.
const SIZES: [(usize, usize); 4] = [(20, 1000), (125, 400), (4 << 10, 16), (64 << 10, 1)];

/// What is sent, and as which type of message.
const KINDS: [(&str, OpCode, Script); 3] = [
    ("binary", OpCode::Binary, Script::Ascii),
    ("text ASCII", OpCode::Text, Script::Ascii),
    ("text mixed", OpCode::Text, Script::Mixed),
];

/// Messages of one kind, and what has to come back.
struct Workload {
    stream: Vec<u8>,
    replies: Vec<u8>,
    count: usize,
}

fn echo(criterion: &mut Criterion) {
    for (kind, opcode, script) in KINDS {
        for (size, count) in SIZES {
            let text = script.text(size);
            let stream = masked_frames(opcode, text.as_bytes(), count);
            let mut replies = Vec::new();
            for _ in 0..count {
                encode_frame(&mut replies, true, opcode, text.as_bytes(), None);
            }
            let workload = Workload { stream, replies, count };
            let mut group = criterion.benchmark_group(format!("echo/{kind}/{size}"));
            group.throughput(Throughput::Elements(count as u64));
            measure::<Framewright>(&mut group, &workload);
            measure::<Tungstenite>(&mut group, &workload);
            measure::<FastWebsockets>(&mut group, &workload);
            measure::<TokioWebsockets>(&mut group, &workload);
        }
    }
}

/// Looks at the replies of two turns first: a contestant that does less than it should is no
/// contestant.
fn measure<C: Contestant>(group: &mut BenchmarkGroup<'_, WallTime>, workload: &Workload) {
    let Workload { stream, replies, count } = workload;
    let (pipe, seen) = Pipe::watched(stream);
    let mut watched = C::new(pipe);
    for _ in 0..2 {
        watched.turn(*count);
        assert!(seen.take() == *replies, "{} sends something else back", C::NAME);
    }
    let mut contestant = C::new(Pipe::new(stream));
    group.bench_function(C::NAME, |bencher| bencher.iter(|| contestant.turn(*count)));
}

criterion_group!(benches, echo);
criterion_main!(benches);
