//! The runs of the suite, whichever side is tested: what each is told, plays and comes to.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, ensure};
use clap::Args;
use framewright_cli::Compress;
use framewright_testkit::programs::workspace::Workspace;
use tempfile::TempDir;

use super::{docs, report, runner};
use crate::conclusion::conclude;

/// How to test, whichever side.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Only with these ways to compress (without this option: all that the side is tested with, one
    /// run for each).
    #[arg(long, value_name = "MODE", num_args = 1..)]
    pub(super) compress: Vec<Compress>,
    /// Only these cases, such as `6.4.*` (without this option: all of them).
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub(super) cases: Vec<String>,
    /// Over TLS, with a certificate that is made for the run.
    #[arg(long)]
    pub(super) tls: bool,
    /// Keep the suite's reports, HTML and JSON, in a folder for each run in this one.
    #[arg(long, value_name = "DIR")]
    pub(super) keep: Option<PathBuf>,
    /// Write the summary into docs/CONFORMANCE.md; needs all runs, of all cases.
    #[arg(long, conflicts_with_all = ["cases", "compress", "tls"])]
    pub(super) update_docs: bool,
}

/// The name that the suite's reports give to whom it tests.
pub(super) const AGENT: &str = "Framewright";

/// A run of the suite that is about to begin.
#[derive(Debug)]
pub(super) struct Run {
    /// What tells it from the others: stands before its progress, and is the name of its folder
    /// below `--keep`.
    pub(super) name: String,
    pub(super) reports: PathBuf,
    pub(super) scratch: TempDir,
    /// The server's certificate, whichever side that is; `None` without TLS.
    pub(super) certificate: Option<Certificate>,
}

/// A certificate that a server of this machine has signed itself, in PEM files.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) file: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificate {
    fn make(folder: &Path) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let certificate = Self { file: folder.join("certificate.pem"), key: folder.join("key.pem") };
        fs::write(&certificate.file, made.cert.pem())?;
        fs::write(&certificate.key, made.signing_key.serialize_pem())?;
        Ok(certificate)
    }
}

/// What has come of one.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The suite, its version, and what it ran.
    pub(super) suite: String,
    /// The options of the program that was tested.
    pub(super) tested: String,
    pub(super) judgement: report::Judgement,
}

impl Common {
    pub(super) fn modes<'a>(&'a self, usual: &'a [Compress]) -> &'a [Compress] {
        if self.compress.is_empty() { usual } else { &self.compress }
    }

    pub(super) fn cases(&self) -> Vec<String> {
        if self.cases.is_empty() { vec!["*".to_owned()] } else { self.cases.clone() }
    }

    /// Makes the folders of a run.
    pub(super) fn prepare(&self, name: String) -> anyhow::Result<Run> {
        let scratch = tempfile::Builder::new().prefix("framewright-autobahn-").tempdir()?;
        let certificate = self.tls.then(|| Certificate::make(scratch.path())).transpose()?;
        let reports = match &self.keep {
            Some(folder) => emptied_of_reports(&folder.join(&name))?,
            None => scratch.path().join("reports"),
        };
        Ok(Run { name, reports, scratch, certificate })
    }

    /// Judges the report of a run that has ended. `mode` is the suite's.
    pub(super) fn judge(
        &self,
        run: &Run,
        played: &runner::Run,
        mode: &str,
        tested: String,
        compress: Compress,
    ) -> anyhow::Result<Outcome> {
        let (expected, what) = match self.cases.as_slice() {
            [] => (report::ALL_CASES, "all cases".to_owned()),
            some => (played.announced, format!("cases {}", some.join(" "))),
        };
        let suite = format!("Autobahn testsuite {}, {mode}, {what}", played.version);
        let tested = if self.tls { format!("{tested} over TLS") } else { tested };
        let report = report::Report::read(&run.reports, AGENT)?;
        let judgement = report.judge(expected, compress != Compress::Off);
        Ok(Outcome { suite, tested, judgement })
    }

    /// Prints what has come of the runs, and writes it into the region of `docs/CONFORMANCE.md` if
    /// that is asked for.
    pub(super) fn conclude(
        &self,
        results: Vec<anyhow::Result<Outcome>>,
        workspace: &Workspace,
        region: &str,
    ) -> anyhow::Result<()> {
        let outcomes = results.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (mut passed, mut failed) = (0, 0);
        let summary = summary(&outcomes);
        println!("\n{summary}");
        for Outcome { tested, judgement, .. } in &outcomes {
            for failure in &judgement.failures {
                println!("FAILED {tested}: {failure}");
            }
            passed += judgement.passed;
            failed += judgement.failures.len();
        }
        if failed > 0 && self.keep.is_none() {
            println!("(the suite's own reports, with the bytes on the wire: run again with --keep DIR)");
        }
        if self.update_docs {
            let complete = outcomes.iter().all(|outcome| outcome.judgement.cases == report::ALL_CASES);
            ensure!(complete, "docs/CONFORMANCE.md is written by complete runs only");
            update_docs(workspace, region, &summary)?;
        }
        conclude(passed, failed)
    }
}

impl Run {
    /// The URL of the server at `addr`.
    pub(super) fn url(&self, addr: SocketAddr) -> String {
        let scheme = if self.certificate.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{addr}")
    }

    /// Writes the suite's specification of this run.
    pub(super) fn write_spec(&self, spec: &serde_json::Value) -> anyhow::Result<PathBuf> {
        let file = self.scratch.path().join("spec.json");
        fs::write(&file, serde_json::to_string_pretty(spec)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// Plays the runs, as many at a time as there are processors: the suite is one thread, and takes
/// most of the time for itself. The results are in the order of the runs.
pub(super) fn play_all<R: Send>(
    runs: Vec<R>,
    play: impl Fn(R) -> anyhow::Result<Outcome> + Sync,
) -> Vec<anyhow::Result<Outcome>> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<Mutex<Option<anyhow::Result<Outcome>>>> =
        runs.iter().map(|_| Mutex::default()).collect();
    let waiting = Mutex::new(runs.into_iter().zip(&results));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("taking the next does not panic").next();
                    let Some((run, result)) = next else { return };
                    *result.lock().expect("each result has one writer") = Some(play(run));
                }
            });
        }
    });
    let result = |result: Mutex<Option<_>>| {
        result.into_inner().expect("its writer is done").expect("every run was played")
    };
    results.into_iter().map(result).collect()
}

/// A table for the runs that came to the same, with a line that names them.
fn summary(outcomes: &[Outcome]) -> String {
    let mut alike: Vec<(&str, Vec<&str>, String)> = Vec::new();
    for Outcome { suite, tested, judgement } in outcomes {
        let table = judgement.table();
        match alike.iter_mut().find(|(other, _, same)| other == suite && *same == table) {
            Some((_, all, _)) => all.push(tested),
            None => alike.push((suite, vec![tested], table)),
        }
    }
    let mut summary = String::new();
    for (suite, tested, table) in alike {
        let each = if tested.len() > 1 { ", each" } else { "" };
        writeln!(summary, "{suite}, against {}{each}:\n\n{table}", tested.join(", "))
            .expect("writing to a String cannot fail");
    }
    summary
}

/// A folder without the reports of an earlier run, which would be taken for this one's. The suite
/// overwrites each case's files; the index is what is read, so the index must go.
fn emptied_of_reports(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let index = folder.join(report::INDEX);
    if index.exists() {
        fs::remove_file(&index).with_context(|| format!("cannot remove {}", index.display()))?;
    }
    Ok(folder)
}

/// Writes the summary of complete runs into a region of `docs/CONFORMANCE.md`. What failed is told
/// there too.
fn update_docs(workspace: &Workspace, region: &str, summary: &str) -> anyhow::Result<()> {
    let file = workspace.root.join("docs/CONFORMANCE.md");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(tested: &str, failed: bool) -> Outcome {
        let index = format!(
            r#"{{"a":{{"1.1.1":{{"behavior":"{}","behaviorClose":"OK"}}}}}}"#,
            if failed { "FAILED" } else { "OK" }
        );
        let judgement = report::Report::parse(&index, "a").expect("a report").judge(1, true);
        Outcome { suite: "The suite".to_owned(), tested: tested.to_owned(), judgement }
    }

    #[test]
    fn runs_that_came_to_the_same_share_a_table() {
        let summary = summary(&[outcome("`a`", false), outcome("`b`", true), outcome("`c`", false)]);
        let said: Vec<&str> = summary.lines().filter(|line| line.starts_with("The suite")).collect();
        assert_eq!(said, ["The suite, against `a`, `c`, each:", "The suite, against `b`:"]);
        assert_eq!(summary.matches("| **all**").count(), 2);
    }

    #[test]
    fn results_come_in_the_order_of_the_runs() {
        let runs: Vec<usize> = (0..20).collect();
        let results = play_all(runs, |run| Ok(outcome(&run.to_string(), false)));
        let tested: Vec<String> = results.into_iter().map(|result| result.expect("played").tested).collect();
        assert_eq!(tested, (0..20).map(|run| run.to_string()).collect::<Vec<_>>());
    }
}
