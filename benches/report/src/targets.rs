//! The targets, and whether the results meet them.

use framewright_cli::Compress;

use super::broadcast;
use super::compression;
use super::results::{Outcome, Results, Round};
use super::servers::{OURS, OURS_TOKIO, OURS_TOPICS, SERVERS};
use super::stats::Stat;
use super::tables::{Columns, markdown, multiple, size, thousands, time};
use super::tls;
use super::tokio;
use super::workload::{Group, KINDS, TLS_SIZES, TOKIO_SIZES, blocks, compressed_cell, compressed_idle_cell};

/// A target with what was measured.
#[derive(Debug, PartialEq)]
struct Row {
    workload: String,
    target: String,
    /// None, if it was not measured.
    measured: Option<Measured>,
}

#[derive(Debug, PartialEq)]
struct Measured {
    text: String,
    met: bool,
}

/// The table of targets.
pub(crate) fn table(results: &Results) -> String {
    let rows: Vec<Vec<String>> = rows(results).into_iter().map(Row::line).collect();
    markdown(Columns::Words, &["workload", "target", "measured", ""].map(str::to_owned), &rows)
}

impl Row {
    fn line(self) -> Vec<String> {
        let (text, met) = match self.measured {
            Some(Measured { text, met }) => (text, if met { "met" } else { "**not met**" }),
            None => ("–".to_owned(), "not measured"),
        };
        vec![self.workload, self.target, text, met.to_owned()]
    }
}

/// Server CPU per echo on 100 connections: sizes of a target, and the most that it may be of the
/// floor's.
const ECHO: [(&[usize], f64); 3] =
    [(&[0, 20, 125, 126, 1 << 10, 4 << 10], 1.04), (&[16_000, 16 << 10], 1.08), (&[64 << 10], 1.15)];

fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for (sizes, most) in ECHO {
        let cells: Vec<String> = sizes.iter().map(|size| format!("echo/100/{size}")).collect();
        let names: Vec<String> = sizes.iter().map(|&octets| size(octets)).collect();
        let workload = format!("echo of {}, 1 in flight, 100 connections: CPU", names.join(", "));
        rows.push(of_floor(results, workload, &cells, most));
    }
    rows.push(of_floor(
        results,
        "echo of 1 MiB, 10 connections: CPU".to_owned(),
        &["large/1M".to_owned()],
        1.20,
    ));
    let user = results.stat("pipelined/32/20", OURS, |round| round.report.user_ns());
    rows.push(Row {
        workload: "echo of 20 B, 32 in flight: user time of a message".to_owned(),
        target: "≤ 40 ns".to_owned(),
        measured: user.map(|user| Measured {
            text: format!("{} ±{}", time(user.median), time(user.spread)),
            met: user.median <= 40.0,
        }),
    });
    rows.push(of_floor(results, "the same: CPU".to_owned(), &["pipelined/32/20".to_owned()], 1.15));
    rows.push(text(results));
    rows.push(peers(results));
    rows.push(throughput(results));
    rows.push(idle(results));
    rows.push(of_floor(results, "connect, upgrade, close: CPU".to_owned(), &["connect/16".to_owned()], 1.15));
    rows.push(fairness(results));
    rows.push(compressed(results));
    rows.push(compressed_idle(results));
    rows.extend(over_tls(results));
    rows.extend(on_tokio(results));
    rows.extend(to_many(results));
    rows
}

/// Ours may be at most so many times the floor in each of the cells.
fn of_floor(results: &Results, workload: String, cells: &[String], most: f64) -> Row {
    server_of_floor(results, OURS, workload, cells, most)
}

fn server_of_floor(results: &Results, server: &str, workload: String, cells: &[String], most: f64) -> Row {
    let measured: Option<Vec<Stat>> =
        cells.iter().map(|cell| results.outcome(cell, server).and_then(Outcome::of_floor)).collect();
    let worst = measured.and_then(|stats| stats.into_iter().max_by(|a, b| a.median.total_cmp(&b.median)));
    Row {
        workload,
        target: format!("≤ {most:.2} x floor"),
        measured: worst.map(|worst| {
            let which = if cells.len() > 1 { " at most" } else { "" };
            Measured { text: format!("{}{which}", finely(worst)), met: worst.median <= most }
        }),
    }
}

/// With a digit more than in the tables: the verdict is of the figure as it is.
pub(crate) fn finely(stat: Stat) -> String {
    format!("{:.3} ±{:.3}", stat.median, stat.spread)
}

/// A figure of ours in one cell over that in another, round by round: the cells must be of one
/// block.
pub(crate) fn over(
    results: &Results,
    server: &str,
    cell: &str,
    base: &str,
    figure: impl Fn(&Round) -> Option<f64>,
) -> Option<Stat> {
    results.pairs((cell, server), (base, server), |round, base| Some(figure(round)? / figure(base)?))
}

/// What is to be reached over TLS.
fn over_tls(results: &Results) -> Vec<Row> {
    let echo = tls::echo_cells();
    let echoed = format!("echo of {} over TLS, 1 in flight", TLS_SIZES.map(size).join(", "));
    let [full, resumed] = tls::CONNECT.map(str::to_owned);
    let bytes = results.stat(tls::IDLE, OURS, tls::bytes);
    let same = || "the same: CPU".to_owned();
    vec![
        of_floor(results, format!("{echoed}: CPU"), &echo, 1.05),
        of_best_peer(results, same(), &echo, 1.00),
        of_floor(results, "20 B over TLS, 32 in flight: CPU".to_owned(), &[tls::PIPELINED.to_owned()], 1.20),
        of_best_peer(results, same(), &[tls::PIPELINED.to_owned()], 0.80),
        of_floor(results, "1 MiB over TLS, 10 connections: CPU".to_owned(), &[tls::LARGE.to_owned()], 1.15),
        Row {
            workload: "2,000 idle connections over TLS, behind an echo of 16,000 B: user memory of each"
                .to_owned(),
            target: "≤ 4,000 B".to_owned(),
            measured: bytes.map(|bytes| Measured {
                text: format!("{} B", thousands(bytes.median)),
                met: bytes.median <= 4000.0,
            }),
        },
        of_floor(results, "connect, full TLS handshake, upgrade, close: CPU".to_owned(), &[full], 1.05),
        of_floor(results, "the same with resumed sessions: CPU".to_owned(), &[resumed], 1.05),
    ]
}

/// What is to be reached on tokio.
fn on_tokio(results: &Results) -> Vec<Row> {
    let sizes = TOKIO_SIZES.map(size).join(", ");
    let (echo, same) = (tokio::echo_cells(), || "the same: CPU".to_owned());
    let peers: Vec<&str> =
        SERVERS.iter().filter(|server| server.tokio).filter_map(|server| server.peer).collect();
    let beside = |peers: &[&'static str], whom: &str, workload: String, cells: &[String], most: f64| {
        beside_all(results, OURS_TOKIO, peers, workload, cells, (most, whom))
    };
    let (pipelined, large) = ([tokio::PIPELINED.to_owned()], [tokio::LARGE.to_owned()]);
    vec![
        beside(
            &["fastwebsockets"],
            "fastwebsockets",
            format!("echo of {sizes} on tokio, 1 in flight: CPU"),
            &echo,
            1.00,
        ),
        beside(&["tokio-tungstenite"], "tokio-tungstenite", same(), &echo, 0.85),
        beside(&peers, "the best peer", "20 B on tokio, 32 in flight: CPU".to_owned(), &pipelined, 0.75),
        server_of_floor(results, OURS_TOKIO, same(), &pipelined, 1.15),
        beside(&peers, "the best peer", "1 MiB on tokio, 10 connections: CPU".to_owned(), &large, 1.05),
        beside(
            &["yawc"],
            "yawc in the same mode",
            "echo of 1 KiB of JSON on tokio, compressed both ways: CPU".to_owned(),
            &tokio::compressed_cells(),
            0.90,
        ),
        idle_on_tokio(results),
    ]
}

/// What is to be reached with messages that go to many.
fn to_many(results: &Results) -> Vec<Row> {
    let (single, burst) = ([broadcast::SINGLE.to_owned()], [broadcast::BURST.to_owned()]);
    let peers: Vec<&str> = SERVERS
        .iter()
        .filter(|server| server.broadcast && (server.peer.is_some() || server.library.is_some()))
        .map(|server| server.name)
        .collect();
    let floor = |workload: &str, cells: &[String], most| {
        server_of_floor(results, OURS_TOPICS, workload.to_owned(), cells, most)
    };
    let over =
        |workload: &str, of: &str, [cell, base]: [&str; 2], most: f64, figure: fn(&Round) -> Option<f64>| {
            let times = over(results, OURS_TOPICS, cell, base, figure);
            Row {
                workload: workload.to_owned(),
                target: format!("≤ {most:.2} x {of}"),
                measured: times.map(|times| Measured { text: finely(times), met: times.median <= most }),
            }
        };
    let same = "the same: CPU".to_owned();
    vec![
        floor("128 B of one to 1,000: CPU of each arrival", &single, 1.06),
        beside_all(results, OURS_TOPICS, &peers, same, &single, (0.85, "the best peer")),
        floor("16 times 128 B at once, of one to 1,000: CPU of each arrival", &burst, 0.20),
        over(
            "1 KiB of JSON, compressed, of one to 1,000: CPU of each arrival",
            "uncompressed",
            broadcast::JSON,
            1.10,
            |round| round.report.cpu_ns(),
        ),
        over(
            "128 B of one to 9,900, while 100 more do not read: p99 of arrivals",
            "without them",
            broadcast::CROWD,
            1.5,
            Round::p99,
        ),
        subscription(results),
    ]
}

/// The larger of what the first subscription of a connection takes and what each of ten does.
fn subscription(results: &Results) -> Row {
    let [none, one, _, ten] = broadcast::memory_cells();
    let more = |cell: &str, count: f64| {
        results.pairs((cell, OURS_TOPICS), (&none, OURS_TOPICS), |round, base| {
            Some((tls::bytes(round)? - tls::bytes(base)?) / count)
        })
    };
    let measured = more(&one, 1.0).zip(more(&ten, 10.0)).map(|(first, each)| Measured {
        text: format!("{:.1} B the first, {:.1} B each of ten", first.median, each.median),
        met: first.median.max(each.median) <= 24.0,
    });
    Row {
        workload: "10,000 connections that listen: user memory of a subscription".to_owned(),
        target: "≤ 24 B".to_owned(),
        measured,
    }
}

fn idle_on_tokio(results: &Results) -> Row {
    let bytes = results.stat(tokio::IDLE, OURS_TOKIO, tls::bytes);
    let share =
        results.pairs((tokio::IDLE, OURS_TOKIO), (tokio::IDLE, "tokio-tungstenite"), |round, other| {
            Some(tls::bytes(round)? / tls::bytes(other)?)
        });
    Row {
        workload: "10,000 idle connections on tokio, their tasks included: user memory of each".to_owned(),
        target: "≤ 1,500 B, and ≤ 0.02 x tokio-tungstenite".to_owned(),
        measured: bytes.zip(share).map(|(bytes, share)| Measured {
            text: format!("{} B, {:.3} x", thousands(bytes.median), share.median),
            met: bytes.median <= 1500.0 && share.median <= 0.02,
        }),
    }
}

/// Ours may be at most so many times the best peer over TLS in each of the cells, all of which have
/// to be measured of all such peers.
fn of_best_peer(results: &Results, workload: String, cells: &[String], most: f64) -> Row {
    let peers: Vec<&str> =
        SERVERS.iter().filter(|server| server.tls).filter_map(|server| server.peer).collect();
    beside_all(results, OURS, &peers, workload, cells, (most, "the best peer"))
}

/// A server of ours may be at most so many times each of these peers in each of the cells, all of
/// which have to be measured of all of them. `whom` names the peers.
fn beside_all(
    results: &Results,
    ours: &str,
    peers: &[&'static str],
    workload: String,
    cells: &[String],
    (most, whom): (f64, &str),
) -> Row {
    let all = cells.iter().flat_map(|cell| peers.iter().map(move |&peer| (cell, peer)));
    let all: Option<Vec<(Stat, &str)>> =
        all.map(|(cell, peer)| Some((results.beside(cell, ours, peer)?, peer))).collect();
    let worst = all.and_then(|all| all.into_iter().max_by(|a, b| a.0.median.total_cmp(&b.0.median)));
    Row {
        workload,
        target: format!("≤ {most:.2} x {whom}"),
        measured: worst.map(|(worst, peer)| {
            let which = if cells.len() > 1 { " at most" } else { "" };
            Measured { text: format!("{} x {peer}{which}", finely(worst)), met: worst.median <= most }
        }),
    }
}

fn text(results: &Results) -> Row {
    let worst = KINDS[1..].iter().map(|kind| {
        over(results, OURS, &format!("text/{kind}"), "text/binary", |round| round.report.cpu_ns())
    });
    let worst: Option<Vec<Stat>> = worst.collect();
    let worst = worst.and_then(|stats| stats.into_iter().max_by(|a, b| a.median.total_cmp(&b.median)));
    Row {
        workload: "text of 4 KiB (ASCII, JSON, mixed UTF-8) against binary: CPU".to_owned(),
        target: "≤ 1.03 x binary".to_owned(),
        measured: worst
            .map(|worst| Measured { text: format!("{} at most", finely(worst)), met: worst.median <= 1.03 }),
    }
}

/// All peers, with our time in a cell as a multiple of theirs where both were measured in one run.
fn beside_peers(results: &Results, cell: &str) -> impl Iterator<Item = (&'static str, Option<Stat>)> {
    let peers = SERVERS.iter().filter_map(|server| server.peer);
    peers.map(move |peer| (peer, results.beside(cell, OURS, peer)))
}

/// Every cell against every peer: ahead, or equal within twice the spread. Where ours failed it is
/// behind; where a peer did, the two are not compared, which the text tells.
fn peers(results: &Results) -> Row {
    let (mut compared, mut not_compared, mut behind) = (0, 0, Vec::new());
    for cell in blocks().into_iter().flatten().filter(|cell| has_cpu_target(cell.group)) {
        if results.outcome(&cell.name, OURS).is_some_and(|ours| ours.failure.is_some()) {
            behind.push(format!("{} failed", cell.name));
            continue;
        }
        for (peer, times) in beside_peers(results, &cell.name) {
            let Some(times) = times else {
                not_compared += 1;
                continue;
            };
            compared += 1;
            if times.median > 1.0 + 2.0 * times.spread {
                behind.push(format!("{} {peer} ({})", cell.name, multiple(times)));
            }
        }
    }
    let mut text = format!("{} of {compared}", compared - behind.len().min(compared));
    if not_compared > 0 {
        text = format!("{text}, {not_compared} not compared");
    }
    if !behind.is_empty() {
        text = format!("{text}; behind: {}", behind.join(", "));
    }
    Row {
        workload: "every workload against every peer: CPU".to_owned(),
        target: "ahead, or equal within twice the spread".to_owned(),
        measured: (compared > 0 || !behind.is_empty()).then_some(Measured { text, met: behind.is_empty() }),
    }
}

/// Whether a group's figure is the server's time for a message at full speed.
fn has_cpu_target(group: Group) -> bool {
    match group {
        Group::Echo | Group::Pipelined | Group::Text | Group::Large | Group::Connect => true,
        // Those that compress are compared with those that do, in a row of their own; so are those
        // that are measured over TLS.
        Group::Idle
        | Group::Latency
        | Group::Fairness
        | Group::Compression
        | Group::Tls
        | Group::Tokio
        | Group::Broadcast => false,
    }
}

/// Messages per CPU-second at 32 in flight, beside the best peer's.
fn throughput(results: &Results) -> Row {
    let least = ["pipelined/32/20", "pipelined/32/512"].iter().map(|cell| {
        let all: Option<Vec<(f64, &str)>> =
            beside_peers(results, cell).map(|(peer, times)| Some((1.0 / times?.median, peer))).collect();
        all?.into_iter().min_by(|a, b| a.0.total_cmp(&b.0))
    });
    let least: Option<Vec<(f64, &str)>> = least.collect();
    let least = least.and_then(|all| all.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)));
    Row {
        workload: "32 in flight, 20 B and 512 B: messages per CPU-second".to_owned(),
        target: "≥ 1.5 x the best peer".to_owned(),
        measured: least.map(|(times, peer)| Measured {
            text: format!("{times:.2} x {peer} at least"),
            met: times >= 1.5,
        }),
    }
}

fn idle(results: &Results) -> Row {
    let bytes =
        results.stat("idle/10000", OURS, |round| Some(round.report.idle.as_ref()?.bytes_per_connection));
    Row {
        workload: "10,000 idle connections: user memory of each".to_owned(),
        target: "≤ 200 B".to_owned(),
        measured: bytes
            .map(|bytes| Measured { text: format!("{:.0} B", bytes.median), met: bytes.median <= 200.0 }),
    }
}

fn fairness(results: &Results) -> Row {
    let p99 = |round: &Round| round.report.p99();
    let ours = over(results, OURS, "fairness/flooded", "fairness/alone", p99);
    Row {
        workload: "p99 of 99 connections while one floods".to_owned(),
        target: "≤ 3 x without it".to_owned(),
        measured: ours.map(|ours| Measured { text: multiple(ours), met: ours.median <= 3.0 }),
    }
}

/// The peer that needs the least time in whichever mode, and ours in the mode that needs the least
/// among those whose replies are as short or shorter.
fn compressed(results: &Results) -> Row {
    let measured = compression::best_peer(results, 1 << 10).map(|best| {
        let ours = Compress::MODES.iter().filter_map(|&mode| {
            let cell = compressed_cell(1 << 10, mode);
            let ratio = results.stat(&cell, OURS, |round| round.report.reply_ratio)?.median;
            let times = results.pairs((&cell, OURS), (&best.cell, best.server), |round, other| {
                Some(round.report.cpu_ns()? / other.report.cpu_ns()?)
            })?;
            (ratio <= best.ratio).then_some((mode, ratio, times))
        });
        let peer = format!("{} ({}, to {:.3})", best.server, best.mode, best.ratio);
        match ours.min_by(|a, b| a.2.median.total_cmp(&b.2.median)) {
            Some((mode, ratio, times)) => Measured {
                text: format!("{} x {peer}, ours {mode}, to {ratio:.3}", finely(times)),
                met: times.median <= 0.75,
            },
            None => Measured { text: format!("no mode of ours is as short as {peer}"), met: false },
        }
    });
    Row {
        workload: "echo of 1 KiB of JSON, compressed both ways, 32 connections: CPU".to_owned(),
        target: "≤ 0.75 x the best peer, at its ratio or better".to_owned(),
        measured,
    }
}

fn compressed_idle(results: &Results) -> Row {
    let cells = [Compress::Shared, Compress::Off].map(|mode| compressed_idle_cell(0, mode));
    let [with, without] = &cells;
    let bytes = |round: &Round| Some(round.report.idle.as_ref()?.bytes_per_connection);
    let more = results.pairs((with, OURS), (without, OURS), |round, base| Some(bytes(round)? - bytes(base)?));
    Row {
        workload: "10,000 idle connections with compression: user memory of each".to_owned(),
        target: "≤ 64 B more than without".to_owned(),
        measured: more
            .map(|more| Measured { text: format!("{:+.0} B", more.median), met: more.median <= 64.0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::machine::Run;
    use crate::report::Idle;
    use crate::results::tests::{enter, outcome};
    use crate::servers::FLOOR;

    fn verdicts(results: &Results) -> Vec<Option<bool>> {
        rows(results).iter().map(|row| row.measured.as_ref().map(|measured| measured.met)).collect()
    }

    /// Enters a cell of ours with this multiple of the floor.
    fn ours(results: &mut Results, cell: &str, multiple: f64) {
        let time = 1000.0 * multiple;
        enter(results, cell, &[(FLOOR, &[1000.0; 3]), (OURS, &[time; 3])]);
    }

    #[test]
    fn nothing_is_met_that_was_not_measured() {
        assert!(verdicts(&Results::default()).iter().all(Option::is_none));
        assert!(table(&Results::default()).contains("| not measured |"));
    }

    #[test]
    fn the_worst_size_decides_and_all_sizes_must_be_measured() {
        let mut results = Results::default();
        for size in &ECHO[0].0[1..] {
            ours(&mut results, &format!("echo/100/{size}"), 1.02);
        }
        assert_eq!(verdicts(&results)[0], None);
        ours(&mut results, "echo/100/0", 1.04);
        assert_eq!(verdicts(&results)[0], Some(true));
        ours(&mut results, "echo/100/0", 1.041);
        assert_eq!(verdicts(&results)[0], Some(false));
        ours(&mut results, "echo/100/126", 1.06);
        assert_eq!(verdicts(&results)[0], Some(false));
        assert!(table(&results).contains("| ≤ 1.04 x floor | 1.060 ±0.000 at most | **not met** |"));
    }

    #[test]
    fn a_peer_that_is_ahead_by_more_than_the_spread_is_named() {
        let mut results = Results::default();
        let base: [(&str, &[f64]); 2] = [(FLOOR, &[100.0; 3]), (OURS, &[110.0; 3])];
        enter(&mut results, "echo/10/20", &[base[0], base[1], ("yawc", &[104.0, 108.0, 112.0])]);
        let text = peers(&results).measured.expect("compared").text;
        assert!(text.starts_with("1 of 1, ") && text.ends_with(" not compared"), "{text}");
        let rows: [(&str, &[f64]); 4] = [base[0], base[1], ("yawc", &[100.0; 3]), ("soketto", &[300.0; 3])];
        enter(&mut results, "echo/10/0", &rows);
        let measured = peers(&results).measured.expect("compared");
        assert!(measured.text.ends_with("; behind: echo/10/0 yawc (1.10 ±0.00)"), "{}", measured.text);
        assert!(!measured.met);
    }

    #[test]
    fn a_cell_in_which_ours_failed_is_not_met() {
        let mut results = Results::default();
        enter(&mut results, "echo/10/20", &[(FLOOR, &[100.0]), (OURS, &[100.0]), ("yawc", &[900.0])]);
        assert!(peers(&results).measured.expect("compared").met);
        let failed = Outcome { failure: Some("no answer".to_owned()), ..Outcome::default() };
        let outcomes = BTreeMap::from([(OURS.to_owned(), failed)]);
        results.enter("echo/10/0", &Run::default(), outcomes);
        let measured = peers(&results).measured.expect("compared");
        assert!(!measured.met && measured.text.contains("echo/10/0 failed"), "{}", measured.text);
    }

    #[test]
    fn servers_of_different_runs_are_not_compared() {
        let mut results = Results::default();
        enter(&mut results, "echo/10/20", &[(OURS, &[100.0]), ("yawc", &[50.0])]);
        assert!(!peers(&results).measured.expect("compared").met);
        let later = Run { commit: "later".to_owned(), began: 1 };
        results.enter("echo/10/20", &later, BTreeMap::from([(OURS.to_owned(), outcome(&[100.0]))]));
        assert_eq!(peers(&results).measured, None);
    }

    #[test]
    fn the_best_peer_is_what_throughput_is_compared_with() {
        let mut results = Results::default();
        for cell in ["pipelined/32/20", "pipelined/32/512"] {
            let peers = SERVERS.iter().filter_map(|server| server.peer);
            let mut rows: Vec<(&str, &[f64])> = peers.map(|peer| (peer, &[900.0][..])).collect();
            rows.push((OURS, &[110.0]));
            enter(&mut results, cell, &rows);
            enter(&mut results, cell, &[(OURS, &[110.0]), ("yawc", &[176.0])]);
        }
        let measured = throughput(&results).measured.expect("compared");
        assert_eq!((measured.text.as_str(), measured.met), ("1.60 x yawc at least", true));
    }

    #[test]
    fn over_tls_the_best_peer_counts_and_all_peers_must_be_measured() {
        let mut results = Results::default();
        let cells = tls::echo_cells();
        let verdict = |results: &Results| of_best_peer(results, String::new(), &cells, 1.00).measured;
        for cell in &cells {
            let peers: [(&str, &[f64]); 3] =
                [(OURS, &[99.0]), ("tokio-tungstenite", &[150.0]), ("tokio-websockets", &[110.0])];
            enter(&mut results, cell, &peers);
            assert_eq!(verdict(&results), None);
        }
        for cell in &cells {
            enter(&mut results, cell, &[(OURS, &[99.0]), ("fastwebsockets", &[100.0])]);
        }
        let text = "0.990 ±0.000 x fastwebsockets at most".to_owned();
        assert_eq!(verdict(&results), Some(Measured { text, met: true }));
        enter(&mut results, &cells[1], &[(OURS, &[100.1]), ("fastwebsockets", &[100.0])]);
        assert!(!verdict(&results).expect("measured").met);
    }

    #[test]
    fn the_memory_of_an_idle_connection_over_tls_has_a_limit() {
        let mut results = Results::default();
        for (bytes, met) in [(4000.0, true), (4000.6, false)] {
            let mut outcome = outcome(&[1.0]);
            outcome.rounds[0].report.idle = Some(Idle { bytes_per_connection: bytes });
            results.enter(tls::IDLE, &Run::default(), BTreeMap::from([(OURS.to_owned(), outcome)]));
            let rows = over_tls(&results);
            let verdicts: Vec<bool> =
                rows.iter().filter_map(|row| Some(row.measured.as_ref()?.met)).collect();
            assert_eq!(verdicts, [met]);
        }
    }

    #[test]
    fn on_tokio_each_target_is_of_the_peers_that_it_names() {
        let mut results = Results::default();
        let cells = [tokio::PIPELINED, tokio::LARGE];
        let all = cells.map(str::to_owned).into_iter().chain(tokio::echo_cells());
        for cell in all.chain(tokio::compressed_cells()) {
            let peers = SERVERS.iter().filter(|server| server.tokio).filter_map(|server| server.peer);
            let mut rows: Vec<(&str, &[f64])> = peers.map(|peer| (peer, &[150.0; 3][..])).collect();
            rows.extend([(FLOOR, &[100.0; 3][..]), (OURS_TOKIO, &[112.0; 3][..])]);
            enter(&mut results, &cell, &rows);
        }
        for (server, bytes) in [(OURS_TOKIO, 1500.0), ("tokio-tungstenite", 75_000.0)] {
            let mut outcome = outcome(&[1.0]);
            outcome.rounds[0].report.idle = Some(Idle { bytes_per_connection: bytes });
            results.enter(tokio::IDLE, &Run::default(), BTreeMap::from([(server.to_owned(), outcome)]));
        }
        let verdicts = |results: &Results| -> Vec<Option<bool>> {
            on_tokio(results).iter().map(|row| row.measured.as_ref().map(|measured| measured.met)).collect()
        };
        assert_eq!(verdicts(&results), [Some(true); 7]);
        // A best peer counts where all are compared, and nowhere else.
        for (cell, peer) in [(tokio::PIPELINED, "yawc"), ("tokio/echo/20", "tokio-websockets")] {
            enter(&mut results, cell, &[(OURS_TOKIO, &[112.0; 3]), (peer, &[112.0; 3])]);
        }
        assert_eq!(verdicts(&results)[..3], [Some(true), Some(true), Some(false)]);
        enter(
            &mut results,
            "tokio/echo/16384",
            &[(OURS_TOKIO, &[112.0; 3]), ("fastwebsockets", &[111.0; 3])],
        );
        assert_eq!(verdicts(&results)[0], Some(false));
    }

    #[test]
    fn messages_to_many_have_a_target_for_each_of_their_cells() {
        let mut results = Results::default();
        let peers = ["tokio-tungstenite", "sockudo-ws", "ws", "websockets"];
        let mut enter_single = |ours: f64, best: f64| {
            let mut rows: Vec<(&str, &[f64])> = vec![(FLOOR, &[100.0; 3])];
            let (ours, best) = ([ours; 3], [best; 3]);
            rows.push((OURS_TOPICS, &ours));
            rows.extend(peers.map(|peer| (peer, &[200.0; 3][..])));
            rows.push(("sockudo-ws", &best));
            enter(&mut results, broadcast::SINGLE, &rows);
            to_many(&results).iter().filter_map(|row| Some(row.measured.as_ref()?.met)).collect::<Vec<_>>()
        };
        assert_eq!(enter_single(106.0, 125.0), [true, true]);
        assert_eq!(enter_single(106.1, 124.0), [false, false]);
        enter(&mut results, broadcast::BURST, &[(FLOOR, &[100.0]), (OURS_TOPICS, &[20.1])]);
        enter(&mut results, broadcast::JSON[1], &[(OURS_TOPICS, &[100.0])]);
        enter(&mut results, broadcast::JSON[0], &[(OURS_TOPICS, &[109.0])]);
        enter(&mut results, broadcast::CROWD[1], &[(OURS_TOPICS, &[100.0])]);
        enter(&mut results, broadcast::CROWD[0], &[(OURS_TOPICS, &[151.0])]);
        // The first subscription of a connection may not take more either.
        for (cell, bytes) in broadcast::memory_cells().iter().zip([190.0, 215.0, 214.0, 430.0]) {
            let mut outcome = outcome(&[1.0]);
            outcome.rounds[0].report.idle = Some(Idle { bytes_per_connection: bytes });
            results.enter(cell, &Run::default(), BTreeMap::from([(OURS_TOPICS.to_owned(), outcome)]));
        }
        let rows = to_many(&results);
        let met: Vec<bool> = rows.iter().filter_map(|row| Some(row.measured.as_ref()?.met)).collect();
        assert_eq!(met, [false, false, false, true, false, false]);
        let text = &rows[5].measured.as_ref().expect("measured").text;
        assert_eq!(text, "25.0 B the first, 24.0 B each of ten");
    }

    /// Rounds with these times and replies compressed to this ratio.
    fn compressing(cpu_ns: &[f64], ratio: f64) -> Outcome {
        let mut outcome = outcome(cpu_ns);
        outcome.rounds.iter_mut().for_each(|round| round.report.reply_ratio = Some(ratio));
        outcome
    }

    #[test]
    fn compression_is_compared_with_the_fastest_peer_by_a_mode_whose_replies_are_not_longer() {
        let mut results = Results::default();
        let mut enter = |mode, servers: &[(&str, f64, f64)]| {
            let outcomes =
                servers.iter().map(|&(server, ns, ratio)| (server.to_owned(), compressing(&[ns; 3], ratio)));
            results.enter(&compressed_cell(1 << 10, mode), &Run::default(), outcomes.collect());
            compressed(&results).measured.map(|measured| (measured.text, measured.met))
        };
        assert_eq!(enter(Compress::Off, &[(OURS, 10.0, 1.0), ("yawc", 10.0, 1.0)]), None);
        let shared = [(OURS, 120.0, 0.45), ("yawc", 160.0, 0.45), ("soketto", 700.0, 0.38)];
        let text = "0.750 ±0.000 x yawc (shared, to 0.450), ours shared, to 0.450";
        assert_eq!(enter(Compress::Shared, &shared), Some((text.to_owned(), true)));
        // The fastest peer counts in whichever mode it is fastest.
        let (text, met) = enter(Compress::Takeover, &[("yawc", 150.0, 0.30)]).expect("measured");
        assert_eq!((text.as_str(), met), ("no mode of ours is as short as yawc (takeover, to 0.300)", false));
        let (text, met) =
            enter(Compress::Takeover, &[(OURS, 120.0, 0.29), ("yawc", 150.0, 0.30)]).expect("measured");
        assert!(text.starts_with("0.800 ") && text.ends_with("ours takeover, to 0.290") && !met, "{text}");
    }

    #[test]
    fn an_idle_connection_with_compression_is_compared_with_one_without() {
        let mut results = Results::default();
        for (mode, bytes) in [(Compress::Off, 190.0), (Compress::Shared, 254.0)] {
            let mut outcome = outcome(&[1.0]);
            outcome.rounds[0].report.idle = Some(Idle { bytes_per_connection: bytes });
            let outcomes = BTreeMap::from([(OURS.to_owned(), outcome)]);
            results.enter(&compressed_idle_cell(0, mode), &Run::default(), outcomes);
        }
        assert_eq!(
            compressed_idle(&results).measured,
            Some(Measured { text: "+64 B".to_owned(), met: true })
        );
    }

    #[test]
    fn text_and_fairness_are_compared_round_by_round() {
        let mut results = Results::default();
        for kind in KINDS {
            enter(&mut results, &format!("text/{kind}"), &[(OURS, &[100.0, 200.0])]);
        }
        enter(&mut results, "text/utf8", &[(OURS, &[103.0, 206.0])]);
        assert_eq!(
            text(&results).measured,
            Some(Measured { text: "1.030 ±0.000 at most".to_owned(), met: true })
        );
        enter(&mut results, "fairness/alone", &[(OURS, &[100.0])]);
        enter(&mut results, "fairness/flooded", &[(OURS, &[310.0])]);
        assert_eq!(fairness(&results).measured, Some(Measured { text: "3.10 ±0.00".to_owned(), met: false }));
    }
}
