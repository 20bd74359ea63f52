//! permessage-deflate beside peers that have it: the best of them, and what the section shows.

use std::fmt::Write as _;

use framewright_cli::Compress;

use super::results::{Results, Round};
use super::servers::SERVERS;
use super::tables::{Entry, Table, multiple, size, thousands, time};
use super::workload::{COMPRESSION_MESSAGES, COMPRESSION_SIZES, compressed_cell, compressed_idle_cell};

/// A peer in one of its modes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    pub(crate) server: &'static str,
    pub(crate) mode: Compress,
    /// The cell in which it was measured.
    pub(crate) cell: String,
    /// Its processor time for a message, in nanoseconds.
    cpu_ns: f64,
    /// What it compresses replies to.
    pub(crate) ratio: f64,
}

/// The peer that needs the least processor time for messages of this size, in whichever mode.
pub(crate) fn best_peer(results: &Results, size: usize) -> Option<Peer> {
    let peers = SERVERS.iter().filter_map(|server| server.peer);
    let all = peers.flat_map(|server| Compress::MODES.map(|mode| (server, mode)));
    let measured = all.filter_map(|(server, mode)| {
        let cell = compressed_cell(size, mode);
        let median = |figure: fn(&Round) -> Option<f64>| Some(results.stat(&cell, server, figure)?.median);
        let (cpu_ns, ratio) =
            (median(|round| round.report.cpu_ns())?, median(|round| round.report.reply_ratio)?);
        Some(Peer { server, mode, cell, cpu_ns, ratio })
    });
    measured.min_by(|a, b| a.cpu_ns.total_cmp(&b.cpu_ns))
}

/// The section's tables.
pub(crate) fn section(results: &Results) -> String {
    let mut text = INTRODUCTION.to_owned();
    for octets in COMPRESSION_SIZES {
        // Writing to a string does not fail.
        let _ = write!(text, "\n### JSON of {}\n\n{}", size(octets), speed(results, octets));
    }
    let _ = write!(text, "\n### Memory of 10,000 connections\n\n{MEMORY}\n\n{}", memory(results));
    text
}

const INTRODUCTION: &str = "\
The server inflates every message and compresses every reply; **shared** compresses each by itself, **takeover** lets messages refer to those before them, in both \
directions. The client offers what browsers do, and sends messages that zlib compresses at its level 6, all of them different. **Ratio** is what replies are compressed \
to, of their payload; 1 is what was sent as it is, because it does not pay. Behind the time of a message is its multiple of the time of the best peer, in whichever \
mode that is the fastest. Framewright compresses at its default level, here without its threshold; how the peers are set is in \
[benches/peers/README.md](../benches/peers/README.md#with-compression).
";

const MEMORY: &str = "\
Bytes of user memory for a connection: after its handshake, and after four messages of 1 KiB of JSON each way.";

/// Times and ratios for one size.
fn speed(results: &Results, octets: usize) -> String {
    let best = best_peer(results, octets);
    let mut columns = vec!["off: CPU".to_owned()];
    let mut cells = vec![compressed_cell(octets, Compress::Off)];
    for mode in Compress::MODES {
        columns.extend([format!("{mode}: CPU"), "ratio".to_owned()]);
        cells.extend([compressed_cell(octets, mode), compressed_cell(octets, mode)]);
    }
    let write = |entry: Entry<'_>| match entry.column {
        0 => entry.median(|round| round.report.cpu_ns()).map(time),
        2 | 4 => entry.median(|round| round.report.reply_ratio).map(|ratio| format!("{ratio:.3}")),
        column => {
            let cpu = entry.median(|round| round.report.cpu_ns()).map(time)?;
            let beside = best.as_ref().and_then(|best| {
                let (ours, other) =
                    ((cells[column].as_str(), entry.server.name), (best.cell.as_str(), best.server));
                results
                    .pairs(ours, other, |round, other| Some(round.report.cpu_ns()? / other.report.cpu_ns()?))
            });
            Some(beside.map_or(cpu.clone(), |beside| format!("{cpu} ({})", multiple(beside))))
        }
    };
    Table::new(results, columns).fill(&cells, write).to_string()
}

/// What connections hold.
fn memory(results: &Results) -> String {
    let columns = COMPRESSION_MESSAGES.map(|messages| {
        Compress::ALL.map(|mode| {
            let state = if messages == 0 { "idle" } else { "used" };
            (format!("{mode}: {state}"), compressed_idle_cell(messages, mode))
        })
    });
    let (columns, cells): (Vec<String>, Vec<String>) = columns.into_iter().flatten().unzip();
    let bytes = |round: &Round| Some(round.report.idle.as_ref()?.bytes_per_connection);
    Table::new(results, columns).fill(&cells, |entry| entry.median(bytes).map(thousands)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Run;
    use crate::report::Idle;
    use crate::results::tests::{enter, outcome};
    use crate::servers::{FLOOR, OURS};
    use std::collections::BTreeMap;

    /// Enters a cell in which these servers need this time and compress to this ratio.
    fn measured(results: &mut Results, cell: &str, servers: &[(&str, f64, f64)]) {
        let outcomes = servers.iter().map(|&(server, cpu_ns, ratio)| {
            let mut outcome = outcome(&[cpu_ns]);
            outcome.rounds[0].report.reply_ratio = Some(ratio);
            (server.to_owned(), outcome)
        });
        results.enter(cell, &Run::default(), outcomes.collect());
    }

    #[test]
    fn times_are_told_beside_the_best_peer_in_whichever_mode() {
        let mut results = Results::default();
        enter(&mut results, &compressed_cell(1024, Compress::Off), &[(FLOOR, &[3000.0]), (OURS, &[3100.0])]);
        let shared = [(OURS, 9000.0, 0.45), ("yawc", 15_000.0, 0.46), ("soketto", 75_000.0, 0.38)];
        measured(&mut results, &compressed_cell(1024, Compress::Shared), &shared);
        measured(
            &mut results,
            &compressed_cell(1024, Compress::Takeover),
            &[(OURS, 6000.0, 0.3), ("yawc", 12_000.0, 0.3)],
        );
        let best = best_peer(&results, 1024).expect("a peer");
        assert_eq!((best.server, best.mode), ("yawc", Compress::Takeover));
        let table = speed(&results, 1024);
        for row in [
            "| server | off: CPU | shared: CPU | ratio | takeover: CPU | ratio |",
            "| floor | 3.00 µs | – | – | – | – |",
            "| framewright | 3.10 µs | 9.00 µs (0.75 ±0.00) | 0.450 | 6.00 µs (0.50 ±0.00) | 0.300 |",
            "| soketto | – | 75.00 µs (6.25 ±0.00) | 0.380 | – | – |",
        ] {
            assert!(table.contains(row), "{row}\n{table}");
        }
        assert!(section(&results).contains("### JSON of 16 KiB\n\nNot measured yet."));
    }

    #[test]
    fn memory_is_told_before_and_after_messages() {
        let mut results = Results::default();
        for (messages, mode, bytes) in [(0, Compress::Shared, 254.4), (4, Compress::Takeover, 9000.0)] {
            let mut outcome = outcome(&[1.0]);
            outcome.rounds[0].report.idle = Some(Idle { bytes_per_connection: bytes });
            let outcomes = BTreeMap::from([(OURS.to_owned(), outcome)]);
            results.enter(&compressed_idle_cell(messages, mode), &Run::default(), outcomes);
        }
        let table = memory(&results);
        assert!(table.contains("| framewright | – | 254 | – | – | – | 9,000 |"), "{table}");
    }
}
