//! `cargo xtask autobahn server`: the Autobahn testsuite against `framewright echo`.
//!
//! The suite's fuzzing client plays 517 cases against the server and writes a report for each. Here the suite is
//! found or installed ([`suite`]), run ([`runner`]) and its report judged ([`report`]), once for each way in which the
//! server compresses; a summary can be put into `docs/CONFORMANCE.md` ([`docs`]).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use tempfile::TempDir;

use crate::compress::Compress;
use crate::echo_server;
use crate::server_process::ServerProcess;
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
    /// Only with these ways to compress (without this option: all of them, one run for each).
    #[arg(long, value_name = "MODE", num_args = 1..)]
    compress: Vec<Compress>,
    /// Only these cases, such as `6.4.*` (without this option: all of them).
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    cases: Vec<String>,
    /// Keep the suite's reports, HTML and JSON, in a folder for each run in this one.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write the summary into docs/CONFORMANCE.md; needs a run of all cases in all ways to compress.
    #[arg(long, conflicts_with_all = ["cases", "compress"])]
    update_docs: bool,
}

/// Runs the suite and judges its reports.
///
/// # Errors
/// If the suite or the echo program cannot be run, and if a report has a failure.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Server(options) = command;
    let workspace = Workspace::locate()?;
    let wstest = suite::find_or_install(&workspace.target.join("autobahn"))?;
    let modes = if options.compress.is_empty() { &Compress::MODES[..] } else { &options.compress };

    // At the same time: the suite is one thread, and takes most of the time for itself.
    let runs: Vec<Run> = modes.iter().map(|&mode| Run::prepare(options, mode)).collect::<Result<_, _>>()?;
    let results: Vec<anyhow::Result<Outcome>> = thread::scope(|scope| {
        let threads: Vec<_> =
            runs.into_iter().map(|run| scope.spawn(|| run.judge(&wstest, options))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });

    let (mut passed, mut failed, mut complete) = (0, 0, true);
    let mut summary = String::new();
    for result in results {
        let Outcome { about, judgement } = result?;
        println!("\n{about}\n\n{}", judgement.table());
        for failure in &judgement.failures {
            println!("FAILED {failure}");
        }
        writeln!(summary, "{about}\n\n{}", judgement.table()).expect("writing to a String cannot fail");
        complete &= judgement.cases == report::ALL_CASES;
        passed += judgement.passed;
        failed += judgement.failures.len();
    }
    if failed > 0 && options.keep.is_none() {
        println!("(the suite's own reports, with the bytes on the wire: run again with --keep DIR)");
    }
    if options.update_docs {
        ensure!(complete, "docs/CONFORMANCE.md is written by a complete run only");
        update_docs(&workspace, options.stream, &summary)?;
    }
    crate::conclude(passed, failed)
}

/// A run of the suite that is about to begin.
struct Run {
    mode: Compress,
    server: ServerProcess,
    reports: PathBuf,
    scratch: TempDir,
}

/// What has come of one.
struct Outcome {
    /// What was run, as a sentence.
    about: String,
    judgement: report::Judgement,
}

impl Run {
    /// Starts a server that compresses in this way.
    fn prepare(options: &Options, mode: Compress) -> anyhow::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("framewright-autobahn-").tempdir()?;
        let name = mode.to_string();
        let reports = match &options.keep {
            Some(folder) => emptied_of_reports(&folder.join(&name))?,
            None => scratch.path().join("reports"),
        };
        let mut args = vec!["--any-path", "--compress", &name];
        if options.stream {
            args.push("--stream");
        }
        let server = echo_server::start(&args)?;
        println!(
            "framewright echo {} listens on {}, process {}",
            args.join(" "),
            server.addr(),
            server.pid()
        );
        Ok(Self { mode, server, reports, scratch })
    }

    /// Runs the suite against the server, and judges its report.
    fn judge(mut self, wstest: &Path, options: &Options) -> anyhow::Result<Outcome> {
        let everything = vec!["*".to_owned()];
        let cases = if options.cases.is_empty() { &everything } else { &options.cases };
        let spec = runner::spec(AGENT, self.server.addr(), &self.reports, cases);
        let spec_file = self.scratch.path().join("spec.json");
        fs::write(&spec_file, serde_json::to_string_pretty(&spec)?)?;
        let run = runner::run(wstest, &spec_file, &self.mode.to_string())?;
        ensure!(self.server.is_running(), "the echo program ended during the run, at case {}", run.last_case);

        let report = report::Report::read(&self.reports, AGENT)?;
        let (expected, what) = match options.cases.as_slice() {
            [] => (report::ALL_CASES, "all cases".to_owned()),
            some => (run.announced, format!("cases {}", some.join(" "))),
        };
        let about = format!(
            "Autobahn testsuite {}, fuzzing client, {what}, against `--compress {}`:",
            run.version, self.mode
        );
        Ok(Outcome { about, judgement: report.judge(expected) })
    }
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

/// Writes the summary of a complete run into `docs/CONFORMANCE.md`. What failed is told there too.
fn update_docs(workspace: &Workspace, stream: bool, summary: &str) -> anyhow::Result<()> {
    let file = workspace.root.join("docs/CONFORMANCE.md");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let region = if stream { "autobahn:server-stream" } else { "autobahn:server" };
    let updated =
        docs::replace_region(&text, region, summary).with_context(|| format!("in {}", file.display()))?;
    if updated == text {
        println!("docs/CONFORMANCE.md says so already");
    } else {
        fs::write(&file, updated).with_context(|| format!("cannot write {}", file.display()))?;
        println!("wrote the tables into docs/CONFORMANCE.md");
    }
    Ok(())
}
