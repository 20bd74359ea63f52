//! The micro benchmarks: what costs how much in memory, where no socket hides it. Runs criterion's
//! benches, and makes tables of what they leave behind.
//!
//! Ours and those beside other crates are separate programs in separate workspaces, and keep their
//! results apart: a ratio is taken within one program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use framewright_testkit::programs::cargo::cargo;
use framewright_testkit::programs::workspace::Workspace;

use super::tables::{Columns, markdown, size, time};

mod estimates;

use estimates::{Estimates, Functions};

/// What Framewright's measurements are called.
const OURS: &str = "framewright";

/// The loop that masking is measured beside.
const LOOP: &str = "read-modify-write";

/// Runs all micro benchmarks, in about ten minutes, and forgets the results of earlier runs.
///
/// # Errors
/// If a bench does not build or fails.
pub(crate) fn run() -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let Folders { ours, peers } = Folders::of(&workspace);
    let benches =
        ["codec", "header", "utf8", "mask", "head", "deflate"].map(|bench| format!("--bench={bench}"));
    let mut command = cargo_bench(&workspace.root, "framewright-benches", &ours)?;
    criterion(command.args(benches))?;
    let mut command = cargo_bench(&workspace.root.join("benches/peers"), "peer-micro", &peers)?;
    criterion(command.arg("--target-dir").arg(workspace.target.join("peers")))
}

/// A part of `docs/BENCHMARKS.md` with the results of the last run; `None` if there are none.
///
/// # Errors
/// If results cannot be read.
pub(crate) fn section() -> anyhow::Result<Option<String>> {
    let Folders { ours, peers } = Folders::of(&Workspace::locate()?);
    Ok(render(&Estimates::read(&ours)?, &Estimates::read(&peers)?))
}

/// Where criterion leaves its results.
struct Folders {
    ours: PathBuf,
    peers: PathBuf,
}

impl Folders {
    fn of(workspace: &Workspace) -> Folders {
        let folder = workspace.target.join("bench");
        Folders { ours: folder.join("micro"), peers: folder.join("micro-peers") }
    }
}

/// `cargo bench` in a workspace, with results in a folder that is emptied.
fn cargo_bench(root: &Path, package: &str, results: &Path) -> anyhow::Result<Command> {
    if results.exists() {
        fs::remove_dir_all(results).with_context(|| format!("cannot remove {}", results.display()))?;
    }
    let mut command = cargo();
    command
        .args(["bench", "--locked", "--package", package])
        .current_dir(root)
        .env("CRITERION_HOME", results);
    Ok(command)
}

fn criterion(command: &mut Command) -> anyhow::Result<()> {
    // Medians of many short samples: long ones would only meet more of what else the machine does.
    command.args(["--", "--noplot", "--warm-up-time=0.3", "--measurement-time=1", "--sample-size=50"]);
    let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
    ensure!(status.success(), "the micro benchmarks failed");
    Ok(())
}

fn render(ours: &Estimates, peers: &Estimates) -> Option<String> {
    let parts = [
        ("Targets", TARGETS, targets(ours, peers)),
        ("Decoding and echoing, beside other crates", ECHO, beside(peers, "echo/")),
        ("Decoding and echoing", DECODE, absolute(ours, "decode/")),
        ("Headers", HEADER, absolute(ours, "header/")),
        ("Text", UTF8, text(ours)),
        ("Masking", MASK, beside(ours, "mask/")),
        ("Masking, beside other crates", MASK, beside(peers, "mask/")),
        ("The head of a request", HEAD, absolute(ours, "head/")),
        ("Compressing and inflating", DEFLATE, absolute(ours, "deflate/")),
    ];
    let mut document = String::new();
    for (title, text, table) in parts {
        if let Some(table) = table {
            document.push_str(&format!("\n### {title}\n\n{text}\n\n{table}"));
        }
    }
    if document.is_empty() { None } else { Some(format!("## In memory\n\n{INTRODUCTION}\n{document}")) }
}

const INTRODUCTION: &str = "\
Medians of criterion, from memory to memory: without sockets, and so without the part of the time that is the kernel's. Ratios are of measurements that one program made
one after the other.";

const TARGETS: &str = "What is to be reached here, and what is.";

const ECHO: &str = "\
The time for one message that is read from memory, masked, and sent back to a writer that drops it, and the time of other crates as a multiple of it. Small messages
arrive many at once: 1000 of 20 B, 400 of 125 B, 16 of 4 KiB. How each crate is used is in `benches/peers/micro/benches/echo/contestants.rs`. A write costs next to nothing
here: whoever writes each reply by itself pays for a system call on a socket.";

const DECODE: &str = "\
The time for one message, from a stream of masked frames as above. The copy that a read makes is in it.";

const HEADER: &str = "One header.";

const UTF8: &str = "\
A text that is not masked, checked by `std` and by `simdutf8` alone, and decoded by a Framewright client as a text and as a binary message: what the first takes longer
is the check. In pieces, the message arrives in reads of 1000 octets, which cut characters.";

const MASK: &str = "\
The time for one payload, and that of the others as a multiple of it: above 1, they are slower.";

const HEAD: &str = "\
One request, from its octets to a checked opening handshake with the key that answers it; `parse` is what comes before the checks.";

const DEFLATE: &str = "\
One message of JSON, all of them different, sent or received by a connection with permessage-deflate. The octets are those that a connection holds for it between messages. All connections of an
event loop share 348 KiB besides; with takeover the compressor stays with the one connection that is measured here, as it does with up to 64 busy ones, at 269 KiB each. Messages on which compression
does not pay are sent as they are after a while, such as those of 128 octets by themselves at level 1.";

/// Every time as it is.
fn absolute(estimates: &Estimates, prefix: &str) -> Option<String> {
    let groups = estimates.below(prefix);
    let columns = columns(&groups);
    let rows = groups.iter().map(|(name, functions)| {
        let cell = |column| functions.get(column).map_or_else(missing, |ns| short_time(*ns));
        [vec![label(name)], columns.iter().map(cell).collect()].concat()
    });
    table(prefix.trim_end_matches('/'), &columns, &rows.collect::<Vec<_>>())
}

/// Our time, and those of the others as multiples of it.
fn beside(estimates: &Estimates, prefix: &str) -> Option<String> {
    let groups = estimates.below(prefix);
    let columns = columns(&groups);
    let rows = groups.iter().map(|(name, functions)| {
        let cell = |column: &String| match (functions.get(column), functions.get(OURS)) {
            (Some(ns), _) if column == OURS => short_time(*ns),
            (Some(ns), Some(of)) => format!("{:.2}", ns / of),
            _ => missing(),
        };
        [vec![label(name)], columns.iter().map(cell).collect()].concat()
    });
    table(prefix.trim_end_matches('/'), &columns, &rows.collect::<Vec<_>>())
}

/// `std` and `simdutf8` beside the difference between a text and a binary message.
fn text(estimates: &Estimates) -> Option<String> {
    let columns =
        ["std", "simdutf8", "text", "binary", "text / binary", "the same in pieces"].map(str::to_owned);
    let rows = estimates.below("utf8/").into_iter().map(|(name, functions)| {
        let absolute = |function: &str| functions.get(function).map_or_else(missing, |ns| short_time(*ns));
        let ratio = |over: &str, under: &str| {
            let ratio = functions.get(over).zip(functions.get(under)).map(|(over, under)| over / under);
            ratio.map_or_else(missing, |ratio| format!("{ratio:.2}"))
        };
        vec![
            label(name),
            absolute("std"),
            absolute("simdutf8"),
            absolute("text"),
            absolute("binary"),
            ratio("text", "binary"),
            ratio("text in pieces", "binary in pieces"),
        ]
    });
    table("utf8", &columns, &rows.collect::<Vec<_>>())
}

/// The rows of the project's targets that are measured here.
fn targets(ours: &Estimates, peers: &Estimates) -> Option<String> {
    let mut rows = Vec::new();
    let mut row = |workload: &str, target: &str, measured: String, met: bool| {
        rows.push(vec![
            workload.to_owned(),
            target.to_owned(),
            measured,
            if met { "yes" } else { "no" }.to_owned(),
        ]);
    };
    if let Some(ns) = ours.get("decode/20", "binary") {
        row("decoding 20-byte masked frames", "<= 8 ns each", short_time(ns), ns <= 8.0);
    }
    if let Some((worst, at)) = slowest(ours, "mask/", |other| other == LOOP, 256) {
        let measured = format!("{worst:.3} ({at})");
        row("masking from 256 B up, of the loop's speed", ">= 0.90", measured, worst >= 0.9);
    }
    if let Some((worst, at)) = slowest(peers, "mask/", |other| other != OURS, 0) {
        let measured = format!("{worst:.3} ({at})");
        row("masking, of the fastest peer's speed", ">= 1.00", measured, worst >= 1.0);
    }
    if let Some((worst, at)) = slowest(ours, "head/", |other| other == "httparse", 0) {
        let measured = format!("{worst:.3} ({at})");
        row("the head of a request, of httparse's speed", ">= 1.00", measured, worst >= 1.0);
    }
    table("workload", &["target", "measured", "met"].map(str::to_owned), &rows)
}

/// Our least speed as a share of that of the others that are chosen, and where that is. Of groups
/// that are named after a length, only those from `least` up.
fn slowest(
    estimates: &Estimates,
    prefix: &str,
    others: impl Fn(&str) -> bool,
    least: usize,
) -> Option<(f64, String)> {
    let mut shares = Vec::new();
    for (name, functions) in estimates.below(prefix) {
        let Some(of) = functions.get(OURS) else { continue };
        if name.parse().is_ok_and(|length: usize| length < least) {
            continue;
        }
        for (function, ns) in functions.iter().filter(|(function, _)| others(function)) {
            shares.push((ns / of, format!("{}, {function}", label(name))));
        }
    }
    shares.into_iter().min_by(|(a, _), (b, _)| a.total_cmp(b))
}

/// All functions of these groups: ours, and then the others in the order of the alphabet.
fn columns(groups: &[(&str, &Functions)]) -> Vec<String> {
    let mut columns: Vec<String> =
        groups.iter().flat_map(|(_, functions)| functions.keys().cloned()).collect();
    columns.sort_by_key(|column| (column != OURS, column.clone()));
    columns.dedup();
    columns
}

fn table(title: &str, columns: &[String], rows: &[Vec<String>]) -> Option<String> {
    let head = [&[title.to_owned()], columns].concat();
    if rows.is_empty() { None } else { Some(markdown(Columns::Numbers, &head, rows)) }
}

/// The rest of a group's name: its numbers are lengths.
fn label(name: &str) -> String {
    let words = name.split('/').map(|word| word.parse().map_or_else(|_| word.to_owned(), size));
    words.collect::<Vec<_>>().join(", ")
}

/// With a digit more where a nanosecond counts.
fn short_time(ns: f64) -> String {
    if ns < 100.0 { format!("{ns:.1} ns") } else { time(ns) }
}

fn missing() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimates(measured: &[(&str, &str, f64)]) -> Estimates {
        let mut estimates = Estimates::default();
        for (group, function, ns) in measured {
            estimates.enter(group, function, *ns);
        }
        estimates
    }

    #[test]
    fn nothing_measured_makes_no_section() {
        assert_eq!(render(&Estimates::default(), &Estimates::default()), None);
    }

    #[test]
    fn other_crates_stand_beside_ours_as_multiples() {
        let peers = estimates(&[
            ("echo/binary/4096", "framewright", 200.0),
            ("echo/binary/4096", "a", 150.0),
            ("echo/binary/20", "framewright", 10.0),
            ("echo/binary/20", "a", 25.0),
            ("echo/binary/20", "b", 10.04),
        ]);
        let section = render(&Estimates::default(), &peers).expect("a section");
        let expected = "\
| echo | framewright | a | b |
| --- | ---: | ---: | ---: |
| binary, 20 B | 10.0 ns | 2.50 | 1.00 |
| binary, 4 KiB | 200 ns | 0.75 | – |
";
        assert!(section.ends_with(expected), "{section}");
        assert!(section.starts_with("## In memory\n\n") && !section.contains("### Masking"), "{section}");
    }

    #[test]
    fn a_text_stands_beside_a_binary_message() {
        let ours = estimates(&[
            ("utf8/CJK/16", "text", 30.0),
            ("utf8/CJK/16", "binary", 20.0),
            ("utf8/CJK/16", "std", 11.0),
            ("utf8/CJK/16", "simdutf8", 12.0),
        ]);
        let table = text(&ours).expect("a table");
        assert!(
            table.ends_with("| CJK, 16 B | 11.0 ns | 12.0 ns | 30.0 ns | 20.0 ns | 1.50 | – |\n"),
            "{table}"
        );
    }

    #[test]
    fn targets_are_judged_by_the_worst_that_was_measured() {
        let ours = estimates(&[
            ("decode/20", "binary", 8.00),
            ("mask/16", "framewright", 10.0),
            ("mask/16", LOOP, 1.0),
            ("mask/256", "framewright", 10.0),
            ("mask/256", LOOP, 12.0),
            ("mask/1024", "framewright", 10.0),
            ("mask/1024", LOOP, 8.9),
            ("head/long", "framewright", 10.0),
            ("head/long", "httparse", 9.0),
            ("head/long", "httparse parse", 1.0),
            ("head/short", "framewright", 10.0),
            ("head/short", "httparse", 9.96),
        ]);
        let peers = estimates(&[("mask/0", "framewright", 1.0), ("mask/0", "a", 3.0), ("mask/0", "b", 2.0)]);
        let expected = "\
| workload | target | measured | met |
| --- | ---: | ---: | ---: |
| decoding 20-byte masked frames | <= 8 ns each | 8.0 ns | yes |
| masking from 256 B up, of the loop's speed | >= 0.90 | 0.890 (1 KiB, read-modify-write) | no |
| masking, of the fastest peer's speed | >= 1.00 | 2.000 (0 B, b) | yes |
| the head of a request, of httparse's speed | >= 1.00 | 0.900 (long, httparse) | no |
";
        assert_eq!(targets(&ours, &peers).as_deref(), Some(expected));
    }
}
