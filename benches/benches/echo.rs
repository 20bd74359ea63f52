//! Whole servers beside the floor: `cargo bench -p framewright-benches --bench echo [-- --help]`.
//!
//! Server and generator each have a processor; the floor and the server are measured in turn, several rounds, and each figure
//! is a ratio of medians.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, missing_docs, reason = "a benchmark prints its table")]

use anyhow::Context;
use clap::Parser;
use framewright_benches::load::{self, Load};
use framewright_benches::process::{self, Kind, Process};
use std::time::Duration;

#[derive(Debug, Parser)]
struct Args {
    /// Rounds; medians are taken over them.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds to count in each round.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only the workload of this name.
    #[arg(long)]
    only: Option<String>,
    /// Also the sizes of the receive buffer.
    #[arg(long)]
    receive_sizes: bool,
    /// Also the memory of this many idle connections.
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Name, connections, octets of payload, messages in flight.
const WORKLOADS: [(&str, usize, usize, usize); 8] = [
    ("20 B, 1 in flight", 100, 20, 1),
    ("125 B, 1 in flight", 100, 125, 1),
    ("4 KiB, 1 in flight", 100, 4 << 10, 1),
    ("16 KiB, 1 in flight", 100, 16 << 10, 1),
    ("64 KiB, 1 in flight", 100, 64 << 10, 1),
    ("20 B, 32 in flight", 100, 20, 32),
    ("512 B, 16 in flight", 100, 512, 16),
    ("1 MiB, 1 in flight", 10, 1 << 20, 1),
];

/// One round: messages a second, and processor time a message in microseconds, user and in all.
#[derive(Clone, Copy)]
struct Round {
    rate: f64,
    user: f64,
    all: f64,
}

fn main() -> anyhow::Result<()> {
    process::serve_if_asked()?;
    let args = Args::parse();
    process::pin(1);
    println!("| workload | server | messages/s | of the floor | server CPU a message | x floor | user |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    let sizes: &[usize] =
        if args.receive_sizes { &[4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10] } else { &[128 << 10] };
    for workload in WORKLOADS {
        if args.only.as_ref().is_none_or(|only| workload.0.contains(only)) {
            measure(&args, workload, sizes)?;
        }
    }
    if args.idle > 0 {
        idle(args.idle)?;
    }
    Ok(())
}

fn measure(args: &Args, workload: (&str, usize, usize, usize), sizes: &[usize]) -> anyhow::Result<()> {
    let (name, connections, size, in_flight) = workload;
    let mut kinds = vec![Kind::Floor];
    kinds.extend(sizes.iter().map(|&size| Kind::Framewright(size)));
    let mut rounds = vec![Vec::new(); kinds.len()];
    for _ in 0..args.rounds {
        for (kind, rounds) in kinds.iter().zip(&mut rounds) {
            let duration = Duration::from_secs_f64(args.seconds);
            let websocket = *kind != Kind::Floor;
            rounds.push(round(*kind, Load { connections, size, in_flight, duration, websocket })?);
        }
    }
    let floor = median(&rounds[0]).context("at least one round")?;
    for (kind, rounds) in kinds.iter().zip(&rounds) {
        let round = median(rounds).context("at least one round")?;
        println!(
            "| {name} | {} | {:.0} | {:.2} | {:.2} us | {:.2} | {:.3} us |",
            kind.name(),
            round.rate,
            round.rate / floor.rate,
            round.all,
            round.all / floor.all,
            round.user
        );
    }
    Ok(())
}

fn round(kind: Kind, load: Load) -> anyhow::Result<Round> {
    let server = Process::start(kind)?;
    let before = server.ticks()?;
    let (messages, elapsed) = load::run(server.addr, load)?;
    let after = server.ticks()?;
    // The ticks cover the warm-up too, a fifth of the time more; it is the same for every server.
    let covered = messages as f64 * 1.2;
    let tick = 10_000.0; // microseconds: the kernel reports hundredths of a second
    let user = (after.0 - before.0) as f64 * tick / covered;
    let kernel = (after.1 - before.1) as f64 * tick / covered;
    Ok(Round { rate: messages as f64 / elapsed.as_secs_f64(), user, all: user + kernel })
}

fn median(rounds: &[Round]) -> Option<Round> {
    let of = |field: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some(Round { rate: of(|r| r.rate)?, user: of(|r| r.user)?, all: of(|r| r.all)? })
}

fn idle(connections: usize) -> anyhow::Result<()> {
    let server = Process::start(Kind::Framewright(128 << 10))?;
    let first = load::connect(server.addr, true)?;
    let before = server.resident()?;
    let streams =
        (0..connections).map(|_| load::connect(server.addr, true)).collect::<anyhow::Result<Vec<_>>>()?;
    let after = server.resident()?;
    println!("\n{connections} idle connections: {} bytes each", (after - before) / connections as u64);
    drop((first, streams));
    Ok(())
}
