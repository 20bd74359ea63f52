//! `docs/BENCHMARKS.md`: what stands around the sections of the workloads.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::results::Results;
use super::sections::Sections;
use super::tables::{Columns, markdown};
use super::targets;
use super::workload::Group;

/// Writes the document, and the charts into a folder beside it.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(results: &Results, file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().context("a file lies in a folder")?;
    let mut parts = vec![INTRODUCTION.to_owned(), workloads(), machine(results)];
    parts.push(format!("## Targets\n\n{TARGETS}\n\n{}", targets::table(results)));
    for group in Group::ALL {
        parts.push(Sections { results, folder }.section(group)?);
    }
    parts.extend(super::micro::section()?);
    fs::create_dir_all(folder)?;
    let text: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    fs::write(file, format!("{}\n", text.join("\n\n")))
        .with_context(|| format!("cannot write {}", file.display()))
}

const INTRODUCTION: &str = "\
# Benchmarks

Framewright's echo server beside echo servers on other crates, and beside the floor. A program writes this page:

```sh
cargo bench-report                                # everything, in 70 minutes; writes this page
cargo bench-report --only echo/100 text           # these workloads again; the others stay as they are
cargo bench-report --servers framewright,yawc     # these servers again, with the floor
cargo bench-report --resume                       # what an interrupted run has not come to
cargo bench-report --render-only                  # this page again, from target/bench/results.json
cargo bench-report --micro                        # the micro benchmarks again
cargo bench-report --list                         # all workloads and servers
cargo bench-report --help
```

The **floor** is a loop that sends back the bytes it receives, without looking at them: the least that an echo can cost over the same event queue. Over TLS it
decrypts and encrypts them with bare rustls. It is the first
row of every table, in absolute figures. What the other rows say is **the server's processor time for a message as a multiple of the floor's**, unless a table says
something else. It is the figure that depends least on the load generator and on the machine. On loopback most of it is the kernel's.

- Each server runs on one processor, on one thread; the load generator (`framewright bench`) runs on another.
- In each round all servers are measured in turn, in another order each time. A multiple is one within a round; the tables have the median of the rounds and,
  behind ±, half the interquartile range. Differences of less than twice that are none.
- Before anything is measured, each server has to echo messages of several sizes, text and binary, octet by octet; compressed and over TLS too, where that is measured.
- How each peer is used, and what it does not check, is in [benches/peers/README.md](../benches/peers/README.md).
- **framewright-streamed** sends a message back piece by piece as it comes, which the peers have no setting for. It differs where messages are large.

## Workloads
";

const TARGETS: &str = "What Framewright is to reach in these workloads, and what it reaches.";

/// The table of workloads.
fn workloads() -> String {
    let rows: Vec<Vec<String>> =
        Group::ALL.iter().map(|group| vec![format!("`{group}`"), group.about().to_owned()]).collect();
    markdown(Columns::Words, &["workload", "what it is"].map(str::to_owned), &rows)
}

fn machine(results: &Results) -> String {
    let Results { machine, .. } = results;
    let versions: Vec<String> =
        machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let (runs, rounds) = results.runs();
    let commits: Vec<String> = runs.iter().map(|run| format!("`{}`", run.commit)).collect();
    let what = match &commits[..] {
        [] => String::new(),
        [one] => format!("\n\nMeasured at commit {one}, {rounds} rounds or more."),
        several => format!(
            "\n\nMeasured in {} runs, at commits {}, {rounds} rounds or more. A cell's servers are compared only where they \
             are of one run.",
            several.len(),
            several.join(", ")
        ),
    };
    format!(
        "## Machine and versions\n\n{}, {} cores, {:.0} GiB of memory, {}, {}.\n\n{}.{what}",
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.compiler,
        versions.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::enter;
    use crate::servers::{FLOOR, OURS};
    use crate::workload::blocks;

    #[test]
    fn the_document_has_every_section_and_its_charts() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let file = folder.path().join("docs").join("BENCHMARKS.md");
        let mut results = Results::default();
        for cell in blocks().into_iter().flatten() {
            let rows: [(&str, &[f64]); 3] =
                [(FLOOR, &[5000.0, 5100.0]), (OURS, &[5200.0, 5250.0]), ("yawc", &[9000.0, 9100.0])];
            enter(&mut results, &cell.name, &rows);
        }
        write(&results, &file).expect("written");
        let text = fs::read_to_string(&file).expect("readable");
        for group in Group::ALL {
            assert!(text.contains(&format!("`cargo bench-report --only {group}`")), "{group}");
        }
        for row in ["| floor | 5.05 µs |", "| framewright | 1.03 ±0.00 |", "| yawc | 1.79 ±0.00 |"] {
            assert!(text.contains(row), "{row}");
        }
        let mut charts = 0;
        for link in text.lines().filter_map(|line| line.strip_prefix("![")) {
            let (_, image) = link.split_once("](").expect("a link");
            assert!(folder.path().join("docs").join(image.trim_end_matches(')')).is_file(), "{image}");
            charts += 1;
        }
        // Echo three times, pipelined twice, large and latency; there is no figure for idle memory
        // in these results.
        assert_eq!(charts, 7);
    }

    #[test]
    fn a_document_of_nothing_says_that_nothing_was_measured() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let file = folder.path().join("BENCHMARKS.md");
        write(&Results::default(), &file).expect("written");
        let text = fs::read_to_string(&file).expect("readable");
        assert_eq!(text.matches("Not measured yet.").count(), Group::ALL.len(), "{text}");
        assert!(!text.contains("!["), "{text}");
    }
}
