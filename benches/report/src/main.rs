//! `cargo bench-report`: measures whole servers beside each other and beside the floor.
//!
//! It builds Framewright and the peers (`benches/peers`), gives servers and load generator a
//! processor each, measures the workloads of [`workload`] round by round, keeps what was measured
//! in `target/bench/results.json`, and writes `docs/BENCHMARKS.md` from it. The load generator is
//! `framewright bench`.

// This is a program for a terminal: printing is what it does.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use framewright_testkit::programs::workspace::Workspace;

mod beside;
mod broadcast;
mod certificate;
mod charts;
mod compression;
mod document;
mod machine;
mod micro;
mod programs;
mod report;
mod results;
mod run;
mod scripts;
mod sections;
mod servers;
mod stats;
mod tables;
mod targets;
mod tls;
mod tokio;
mod workload;

use beside::Build;
use machine::{Machine, Run};
use programs::Programs;
use results::Results;
use run::{Runner, Settings};
use scripts::Library;
use servers::Server;
use workload::{Cell, Group};

/// Measure whole servers beside each other and beside a raw loop, and write docs/BENCHMARKS.md.
#[derive(Debug, Parser)]
#[command(name = "cargo bench-report", bin_name = "cargo bench-report")]
struct Options {
    /// Rounds for each cell; medians are taken over them. [default: 5; with --beside: 15]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Seconds that are counted in a round (without this option: what suits each workload, 0.6 for
    /// most).
    #[arg(long, value_name = "SECS", value_parser = positive_seconds)]
    seconds: Option<u32>,
    /// Seconds before them (without this option: what suits each workload, 0.15 for most).
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    warm_up: Option<u32>,
    /// Only these workloads: groups, cells, or beginnings of names of cells, such as `echo/100`.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Another build of the `framewright` program, measured in turn with ours; may be repeated. A
    /// table of ratios is printed, and docs/BENCHMARKS.md stays as it is. Other servers are
    /// measured only if they are named.
    #[arg(long, value_name = "NAME=PATH", conflicts_with_all = ["micro", "render_only"])]
    beside: Vec<Build>,
    /// Only these servers, and the floor.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    servers: Vec<String>,
    /// Only cells that have no results of all these servers yet.
    #[arg(long)]
    resume: bool,
    /// The micro benchmarks instead, which need no sockets; ten minutes.
    #[arg(long)]
    micro: bool,
    /// Name the workloads and the servers, and do nothing.
    #[arg(long)]
    list: bool,
    /// The document to write; its charts go into a folder `benchmarks` beside it. With --beside:
    /// where the table is written to as well. [default: docs/BENCHMARKS.md; with --beside: nowhere]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Measure nothing; write the document from the results of earlier runs.
    #[arg(long)]
    render_only: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and writes the document.
///
/// # Errors
/// If something does not build, a server does not echo, or a file cannot be written. A server that
/// fails in a workload is a result, which the document tells.
fn run(options: &Options) -> anyhow::Result<()> {
    let blocks = workload::choose(workload::blocks(), &options.only)?;
    if !options.beside.is_empty() {
        return run_beside(options, &blocks);
    }
    let servers = servers::choose(&options.servers)?;
    if options.list {
        list(&blocks, &servers);
        return Ok(());
    }
    let workspace = Workspace::locate()?;
    let file = workspace.target.join("bench").join("results.json");
    let mut results = Results::load(&file)?;
    if options.micro {
        micro::run()?;
    } else if !options.render_only {
        let blocks = if options.resume { missing(blocks, &servers, &results) } else { blocks };
        measure(options, &workspace, &servers, &blocks, &mut results, &file)?;
    }
    let output = workspace.root.join(options.output.as_deref().unwrap_or(Path::new("docs/BENCHMARKS.md")));
    document::write(&results, &output)?;
    println!("{}", targets::table(&results));
    println!("written: {}", output.display());
    Ok(())
}

/// Measures ours beside other builds of it, and prints the ratios. The results are kept apart from
/// those of the document.
fn run_beside(options: &Options, blocks: &[Vec<Cell>]) -> anyhow::Result<()> {
    let mut servers = if options.servers.is_empty() {
        servers::choose(&[servers::OURS.to_owned()])?
    } else {
        servers::choose(&options.servers)?
    };
    servers.extend(beside::servers(&options.beside)?);
    if options.list {
        list(blocks, &servers);
        return Ok(());
    }
    let workspace = Workspace::locate()?;
    let file = workspace.target.join("bench").join("beside.json");
    let mut results = if options.resume { Results::load(&file)? } else { Results::default() };
    let left = if options.resume { missing(blocks.to_vec(), &servers, &results) } else { blocks.to_vec() };
    measure(options, &workspace, &servers, &left, &mut results, &file)?;
    let table = beside::table(&results, blocks, &options.beside);
    println!("{table}");
    if let Some(output) = &options.output {
        let output = workspace.root.join(output);
        fs::write(&output, &table).with_context(|| format!("cannot write {}", output.display()))?;
        println!("written: {}", output.display());
    }
    Ok(())
}

fn measure(
    options: &Options,
    workspace: &Workspace,
    servers: &[&'static Server],
    blocks: &[Vec<Cell>],
    results: &mut Results,
    file: &Path,
) -> anyhow::Result<()> {
    servers::check_pinning()?;
    let is_beside = !options.beside.is_empty();
    // Those that no workload asks for are not built.
    let cells = || blocks.iter().flatten();
    let is_measured = |server: &Server| cells().any(|cell| run::takes_part(cell, server));
    let servers: Vec<&'static Server> =
        servers.iter().copied().filter(|&server| is_measured(server)).collect();
    let pairs = cells().flat_map(|cell| run::participants(cell, &servers).map(move |server| (cell, server)));
    let packages: BTreeSet<String> =
        pairs.filter_map(|(cell, server)| server.package(cell.setup())).collect();
    let libraries: BTreeSet<Library> = servers.iter().filter_map(|server| server.library).collect();
    let programs = Programs::build(workspace, packages, libraries, cells().any(|cell| cell.setup().tls))?;
    let settings = Settings {
        rounds: usize::from(options.rounds.unwrap_or(if is_beside { 15 } else { 5 })),
        fresh_processes: is_beside,
        run: Run::begin(&workspace.root)?,
        counted_ms: options.seconds,
        warm_up_ms: options.warm_up,
    };
    results.machine = Machine::look(&workspace.root)?;
    let mut runner = Runner::new(&settings, &programs, &servers)?;
    runner.check(blocks)?;
    let estimate = Duration::from_secs_f64(settings.estimate(blocks, &servers));
    println!("{} cells, about {} minutes", blocks.iter().flatten().count(), estimate.as_secs().div_ceil(60));
    runner.run(blocks, results, file)
}

/// The blocks in which one of the servers has not been measured.
fn missing(mut blocks: Vec<Vec<Cell>>, servers: &[&'static Server], results: &Results) -> Vec<Vec<Cell>> {
    blocks.retain(|block| {
        block.iter().any(|cell| {
            run::participants(cell, servers).any(|server| results.outcome(&cell.name, server.name).is_none())
        })
    });
    blocks
}

fn list(blocks: &[Vec<Cell>], servers: &[&'static Server]) {
    for group in Group::ALL {
        let cells: Vec<&str> = blocks
            .iter()
            .flatten()
            .filter(|cell| cell.group == group)
            .map(|cell| cell.name.as_str())
            .collect();
        if !cells.is_empty() {
            println!("{group}: {}\n  {}", group.about(), cells.join(" "));
        }
    }
    let names: Vec<&str> = servers.iter().map(|server| server.name).collect();
    println!("servers: {}", names.join(", "));
}

/// Seconds on the command line, as milliseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn seconds(text: &str) -> Result<u32, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is no number of seconds"))?;
    if !(0.0..=3600.0).contains(&seconds) {
        return Err("between 0 and 3600 seconds are possible".to_owned());
    }
    Ok((seconds * 1000.0).round() as u32)
}

fn positive_seconds(text: &str) -> Result<u32, String> {
    match seconds(text)? {
        0 => Err("nothing can be counted in no time".to_owned()),
        milliseconds => Ok(milliseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::tests::enter;
    use servers::{FLOOR, OURS};

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_read() {
        let options =
            parse("bench --rounds 3 --seconds 0.25 --warm-up 0 --only echo/100 text --servers yawc,soketto")
                .expect("options");
        assert_eq!((options.rounds, options.seconds, options.warm_up), (Some(3), Some(250), Some(0)));
        assert_eq!(options.only, ["echo/100", "text"]);
        assert_eq!(options.servers, ["yawc", "soketto"]);
        let options = parse("bench").expect("options");
        assert_eq!((options.rounds, options.seconds), (None, None));
        assert_eq!((options.output, options.beside), (None, Vec::new()));
        let program = std::env::current_exe().expect("this program");
        let beside = format!("bench --beside old={} --only echo", program.display());
        assert_eq!(parse(&beside).expect("options").beside[0].name, "old");
        assert!(parse(&format!("{beside} --micro")).is_err());
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for wrong in
            ["--rounds 0", "--seconds 0", "--seconds -1", "--seconds NaN", "--warm-up x", "--seconds 9999"]
        {
            assert!(parse(&format!("bench {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_is_resumed_where_a_server_is_missing() {
        let servers = servers::choose(&[OURS.to_owned()]).expect("servers");
        let blocks = || workload::choose(workload::blocks(), &["echo/10".to_owned()]).expect("workloads");
        let mut results = Results::default();
        enter(&mut results, "echo/10/20", &[(FLOOR, &[1.0]), (OURS, &[1.0])]);
        enter(&mut results, "echo/10/0", &[(FLOOR, &[1.0])]);
        let left = missing(blocks(), &servers, &results);
        assert_eq!(left.len(), blocks().len() - 1);
        assert!(!left.iter().flatten().any(|cell| cell.name == "echo/10/20"));
    }
}
