//! How contestants that mask a payload in place are measured beside each other: by criterion at
//! some lengths, or by a sweep through many lengths that is quick because it has a rhythm of its
//! own.
//!
//! Both measure passes over [`Payloads`]: many payloads of one length at places of their own. One
//! payload that is masked over and over would be read while the stores of the previous time are
//! still under way, which is not what happens to frames: how a CPU copes with that would be all
//! there is to see below a hundred octets.

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The key that every contestant masks with.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Measures the contestants, the first of them against the others: a table with `--sweep`,
/// criterion without.
pub(crate) fn run(contestants: &[Contestant]) {
    if std::env::args().any(|argument| argument == "--sweep") {
        sweep(contestants);
    } else {
        let mut criterion = Criterion::default().configure_from_args();
        measure_with_criterion(&mut criterion, contestants);
        criterion.final_summary();
    }
}

/// One who masks, or does as much work on memory.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// Goes over all payloads once, see [`Payloads::for_each`].
    pub(crate) pass: fn(&mut Payloads),
}

/// The one that others are compared with.
pub(crate) const OURS: Contestant = Contestant {
    name: "framewright",
    pass: |payloads| {
        payloads.for_each(|payload| {
            framewright_simd::apply_mask(payload, black_box(KEY), 0);
        });
    },
};

impl Contestant {
    /// The time of `passes`.
    fn time(&self, payloads: &mut Payloads, passes: u64) -> Duration {
        let begin = Instant::now();
        for _ in 0..passes {
            (self.pass)(payloads);
        }
        begin.elapsed()
    }
}

/// Payloads of one length, one after the other, each as far after a multiple of 64 octets as it was
/// asked for.
pub(crate) struct Payloads {
    memory: Vec<u8>,
    /// The first multiple of 64.
    origin: usize,
    offset: usize,
    length: usize,
    /// From one payload to the next: a multiple of 64.
    stride: usize,
    count: usize,
}

impl Payloads {
    fn new(length: usize, offset: usize) -> Self {
        let stride = (offset + length).next_multiple_of(64).max(64);
        let count = (TOGETHER / stride).max(1);
        let memory = vec![7; 64 + stride * count];
        let origin = memory.as_ptr().addr().wrapping_neg() % 64;
        Self { memory, origin, offset, length, stride, count }
    }

    /// Calls `mask` for each payload.
    #[inline(always)]
    pub(crate) fn for_each(&mut self, mut mask: impl FnMut(&mut [u8])) {
        for slot in self.memory[self.origin..].chunks_exact_mut(self.stride).take(self.count) {
            mask(black_box(&mut slot[self.offset..][..self.length]));
        }
    }
}

/// So many octets of payloads lie together: they fit into every level-1 cache, so it is the
/// instructions that are measured. A payload that is longer is on its own, in whatever cache it
/// fits.
const TOGETHER: usize = 16 << 10;

/// Where the payload of the first masked frame in a buffer begins: behind its header.
fn behind_header(length: usize) -> usize {
    match length {
        0..=125 => 6,
        126..=0xffff => 8,
        _ => 14,
    }
}

/// The lengths up to 1100 that criterion measures.
const SHORT: [usize; 22] =
    [0, 1, 4, 8, 16, 20, 31, 32, 33, 64, 125, 126, 255, 256, 257, 300, 511, 512, 513, 1000, 1024, 1100];

/// The lengths above 1100 that both measure.
const LONG: [usize; 9] =
    [2 << 10, 4 << 10, 8 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20, 64 << 20];

/// A group of criterion for each length, `mask/<length>`, with the contestants in it.
fn measure_with_criterion(criterion: &mut Criterion, contestants: &[Contestant]) {
    for length in SHORT.into_iter().chain(LONG) {
        let mut group = criterion.benchmark_group(format!("mask/{length}"));
        group.throughput(Throughput::Bytes(length as u64));
        let mut payloads = Payloads::new(length, behind_header(length));
        let count = payloads.count as u64;
        for contestant in contestants {
            group.bench_function(contestant.name, |bencher| {
                bencher.iter_custom(|calls| {
                    let passes = calls.div_ceil(count);
                    contestant.time(&mut payloads, passes).mul_f64(calls as f64 / (passes * count) as f64)
                });
            });
        }
        group.finish();
    }
}

/// The lengths up to 1100, all of them, that the sweep takes together in a line of its table.
const RANGES: [RangeInclusive<usize>; 15] = [
    0..=0,
    1..=1,
    2..=3,
    4..=7,
    8..=15,
    16..=31,
    32..=64,
    65..=125,
    126..=255,
    256..=319,
    320..=511,
    512..=575,
    576..=767,
    768..=1023,
    1024..=1100,
];

/// How far after a multiple of 64 octets payloads begin in the sweep: at one, and behind the three
/// forms of a header.
const OFFSETS: [usize; 4] = [0, 6, 8, 14];

/// Prints, for every length up to 1100 and some above, how fast the first contestant is and how it
/// compares with each of the others, as a multiple of their speed: the median of the lengths and
/// offsets in a line, and the lowest.
fn sweep(contestants: &[Contestant]) {
    let [subject, rivals @ ..] = contestants else { return };
    let clock = clock();
    println!(
        "The speed of {} in octets per nanosecond and per cycle{}, and as a multiple of that of",
        subject.name,
        clock.map_or_else(String::new, |clock| format!(" of the {clock:.2} GHz that the system tells"))
    );
    for (number, rival) in (1..).zip(rivals) {
        println!("  ({number}) {}", rival.name);
    }
    print!("\n{:>20}  {:>7}  {:>7}", "octets", "a ns", "a cycle");
    for number in 1..=rivals.len() {
        print!("  {:>6}  {:<24}", format!("({number})"), "lowest");
    }
    println!();
    for range in RANGES.into_iter().chain(LONG.map(|length| length..=length)) {
        let places = range.clone().flat_map(|length| OFFSETS.map(|offset| (length, offset)));
        let results: Vec<_> =
            places.map(|(length, offset)| Fastest::of(contestants, length, offset)).collect();
        let label = format!("{} to {}", range.start(), range.end());
        let speed = median(results.iter().map(Fastest::speed));
        print!("{label:>20}  {speed:>7.2}  {:>7.2}", speed / clock.unwrap_or(f64::NAN));
        for rival in 1..contestants.len() {
            let lowest = results.iter().min_by(|a, b| a.ratio(rival).total_cmp(&b.ratio(rival)));
            let lowest =
                lowest.map(|it| format!("{:.2} for {} at {}", it.ratio(rival), it.length, it.offset));
            let ratio = median(results.iter().map(|result| result.ratio(rival)));
            print!("  {ratio:>6.2}  {:<24}", lowest.unwrap_or_default());
        }
        println!();
    }
}

/// The processor's clock in GHz, where the system tells it: counting cycles themselves is not for
/// safe code. What the processor really runs at may be more.
fn clock() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, megahertz) = fields.find(|(name, _)| name.trim() == "cpu MHz")?;
    Some(megahertz.trim().parse::<f64>().ok()? / 1000.0)
}

/// What one call took at one length and offset, for each contestant: the fastest of many samples,
/// which is what is left when nothing disturbs.
struct Fastest {
    length: usize,
    offset: usize,
    nanoseconds: Vec<f64>,
}

impl Fastest {
    fn of(contestants: &[Contestant], length: usize, offset: usize) -> Self {
        let mut payloads = Payloads::new(length, offset);
        let calls = (OCTETS_OF_SAMPLE / length.max(1)).clamp(1, 1024) as u64;
        let passes = calls.div_ceil(payloads.count as u64);
        let samples = if length > 1 << 20 { 12 } else { 60 };
        let mut fastest = vec![Duration::MAX; contestants.len()];
        // The contestants take turns, so that what disturbs one disturbs the others.
        for _ in 0..samples {
            for (fastest, contestant) in fastest.iter_mut().zip(contestants) {
                *fastest = contestant.time(&mut payloads, passes).min(*fastest);
            }
        }
        let calls = (passes * payloads.count as u64) as f64;
        let nanoseconds = fastest.iter().map(|time| time.as_nanos() as f64 / calls).collect();
        Self { length, offset, nanoseconds }
    }

    /// Of the first contestant, in octets per nanosecond.
    fn speed(&self) -> f64 {
        self.length as f64 / self.nanoseconds[0]
    }

    /// The speed of the first contestant as a multiple of that of `rival`.
    fn ratio(&self, rival: usize) -> f64 {
        self.nanoseconds[rival] / self.nanoseconds[0]
    }
}

/// A sample masks so many octets, in at most 1024 calls: some microseconds, against the tens of
/// nanoseconds that a look at the clock takes.
const OCTETS_OF_SAMPLE: usize = 128 << 10;

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
