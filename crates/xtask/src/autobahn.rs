//! `cargo xtask autobahn server`: the Autobahn testsuite against `framewright echo`.
//!
//! The suite's fuzzing client plays 517 cases against the server and writes a report for each. Here the suite is
//! found or installed ([`suite`]), run ([`runner`]) and its report judged ([`report`]); a summary can be put into
//! `docs/CONFORMANCE.md` ([`docs`]).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};

use crate::echo_server;
use crate::workspace::Workspace;

mod docs;
mod report;
mod runner;
mod suite;

/// What to test with the suite.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The server: the suite is the client of the echo program.
    Server(Options),
}

/// How to test the server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Echo chunk by chunk, without ever holding a whole message.
    #[arg(long)]
    stream: bool,
    /// Only these cases, such as `6.4.*` (without this option: all of them).
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    cases: Vec<String>,
    /// Keep the suite's reports, HTML and JSON, in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write the summary into docs/CONFORMANCE.md; needs a run of all cases.
    #[arg(long, conflicts_with = "cases")]
    update_docs: bool,
}

/// Runs the suite and judges its report.
///
/// # Errors
/// If the suite or the echo program cannot be run, and if the report has a failure.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Server(options) = command;
    let workspace = Workspace::locate()?;
    let wstest = suite::find_or_install(&workspace.target.join("autobahn"))?;

    let scratch = tempfile::Builder::new().prefix("framewright-autobahn-").tempdir()?;
    let reports = match &options.keep {
        Some(folder) => emptied_of_reports(folder)?,
        None => scratch.path().join("reports"),
    };

    let mut args = vec!["--any-path"];
    if options.stream {
        args.push("--stream");
    }
    let mut server = echo_server::start(&args)?;
    println!("framewright echo {} listens on {}, process {}", args.join(" "), server.addr(), server.pid());

    let everything = vec!["*".to_owned()];
    let cases = if options.cases.is_empty() { &everything } else { &options.cases };
    let spec = runner::spec(AGENT, server.addr(), &reports, cases);
    let spec_file = scratch.path().join("spec.json");
    fs::write(&spec_file, serde_json::to_string_pretty(&spec)?)?;
    let run = runner::run(&wstest, &spec_file)?;
    ensure!(server.is_running(), "the echo program ended during the run, at case {}", run.last_case);
    drop(server);

    let report = report::Report::read(&reports, AGENT)?;
    let expected = if options.cases.is_empty() { report::ALL_CASES } else { run.announced };
    let judgement = report.judge(expected);
    println!("\nAutobahn testsuite {}\n\n{}", run.version, judgement.table());
    for failure in &judgement.failures {
        println!("FAILED {failure}");
    }
    if !judgement.failures.is_empty() && options.keep.is_none() {
        println!("(the suite's own reports, with the bytes on the wire: run again with --keep DIR)");
    }
    if options.update_docs {
        update_docs(&workspace, options.stream, &run.version, &judgement)?;
    }
    crate::conclude(judgement.passed, judgement.failures.len())
}

/// The name that the suite's reports give the echo server.
const AGENT: &str = "Framewright";

/// A folder without the reports of an earlier run, which would be taken for this one's. The suite overwrites each
/// case's files; the index is what is read, so the index must go.
fn emptied_of_reports(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let index = folder.join(report::INDEX);
    if index.exists() {
        fs::remove_file(&index).with_context(|| format!("cannot remove {}", index.display()))?;
    }
    Ok(folder)
}

/// Writes the summary into `docs/CONFORMANCE.md`, if all cases ran.
fn update_docs(
    workspace: &Workspace,
    stream: bool,
    version: &str,
    judgement: &report::Judgement,
) -> anyhow::Result<()> {
    ensure!(judgement.cases == report::ALL_CASES, "docs/CONFORMANCE.md is written by a complete run only");
    let file = workspace.root.join("docs/CONFORMANCE.md");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let region = if stream { "autobahn:server-stream" } else { "autobahn:server" };
    let summary =
        format!("Autobahn testsuite {version}, fuzzing client, all cases:\n\n{}", judgement.table());
    let updated =
        docs::replace_region(&text, region, &summary).with_context(|| format!("in {}", file.display()))?;
    if updated == text {
        println!("docs/CONFORMANCE.md says so already");
    } else {
        fs::write(&file, updated).with_context(|| format!("cannot write {}", file.display()))?;
        println!("wrote the table into docs/CONFORMANCE.md");
    }
    Ok(())
}
