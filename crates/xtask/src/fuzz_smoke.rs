//! `cargo xtask fuzz-smoke`: every fuzz target for a short while, under AddressSanitizer.
//!
//! The targets are the files of `fuzz/fuzz_targets`. Each starts from its committed corpus,
//! `fuzz/corpus/TARGET`, of which it gets a copy: what the fuzzer finds on the way is not committed
//! by accident. An input that fails a target is left in `fuzz/artifacts/TARGET`; reduce it, fix
//! what it shows, and add it to the corpus.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use framewright_testkit::programs::workspace::Workspace;

/// How to run the fuzz targets.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long to run each target.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Only these targets (without this option: all of them).
    #[arg(long, value_name = "NAME", num_args = 1..)]
    target: Vec<String>,
}

/// Runs the targets one after the other.
///
/// # Errors
/// If cargo-fuzz is missing, a target does not build, or a target fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let fuzz = workspace.root.join("fuzz");
    let targets = choose(&targets(&fuzz)?, &options.target)?;
    ensure!(is_installed(), NOT_INSTALLED);

    // All at once: the time for building does not count as time for fuzzing.
    let status = cargo_fuzz("build", &fuzz)
        .arg("--fuzz-dir")
        .arg(&fuzz)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the fuzz targets do not build");

    let scratch = workspace.target.join("fuzz-smoke");
    let mut failed = 0;
    for target in &targets {
        if !smoke(&fuzz, &scratch, target, options.seconds)? {
            failed += 1;
        }
    }
    crate::conclusion::conclude(targets.len() - failed, failed)
}

const NOT_INSTALLED: &str = "\
fuzzing needs cargo-fuzz and a nightly toolchain (for AddressSanitizer). Install them with
  rustup toolchain install nightly --profile minimal
  cargo install cargo-fuzz --locked";

fn is_installed() -> bool {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", "--version"]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// `cargo +nightly fuzz COMMAND`. The plain name `cargo`, not the one in the environment variable:
/// only rustup's `cargo` understands `+nightly`.
fn cargo_fuzz(command: &str, folder: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["+nightly", "fuzz", command]).current_dir(folder);
    cargo
}

/// The names of all targets, in alphabetical order.
fn targets(fuzz: &Path) -> anyhow::Result<Vec<String>> {
    let folder = fuzz.join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no targets in {}", folder.display());
    Ok(names)
}

/// The targets that were asked for, or all.
fn choose(all: &[String], asked: &[String]) -> anyhow::Result<Vec<String>> {
    for name in asked {
        ensure!(all.contains(name), "there is no fuzz target {name}; there are: {}", all.join(", "));
    }
    Ok(if asked.is_empty() { all.to_vec() } else { asked.to_vec() })
}

/// Runs one target, prints a line about it, and tells whether it found nothing.
fn smoke(fuzz: &Path, scratch: &Path, target: &str, seconds: u64) -> anyhow::Result<bool> {
    let corpus = scratch.join("corpus").join(target);
    copy_corpus(&fuzz.join("corpus").join(target), &corpus)?;
    let artifacts = fuzz.join("artifacts").join(target);
    let before = files(&artifacts);

    let output = cargo_fuzz("run", fuzz)
        .arg(target)
        .arg("--fuzz-dir")
        .arg(fuzz)
        .arg(&corpus)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-print_final_stats=1", "-rss_limit_mb=2048", "-timeout=10"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("cannot run cargo")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let log_file = scratch.join(format!("{target}.log"));
    fs::write(&log_file, log.as_bytes()).with_context(|| format!("cannot write {}", log_file.display()))?;

    let mut crashes = files(&artifacts);
    crashes.retain(|file| !before.contains(file));
    let stats = Stats::parse(&log);
    // A target that never ran has found nothing, and proved nothing.
    let passed = output.status.success() && crashes.is_empty() && stats.executions > 0;
    let Stats { executions, coverage, features } = stats;
    println!(
        "{} {target}: {executions} executions, {features} features, {coverage} edges covered, {} crashes",
        if passed { "ok    " } else { "FAILED" },
        crashes.len(),
    );
    if !passed {
        println!("{}", account(&log));
        for crash in &crashes {
            println!("failing input: {}", crash.display());
        }
        println!("whole output: {}", log_file.display());
    }
    Ok(passed)
}

/// The part of the fuzzer's output that tells what happened: a stack trace of the fuzzer itself
/// follows it.
fn account(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let tells = |line: &&str| line.contains("panicked at") || line.contains("ERROR: ");
    let first = lines.iter().position(tells).unwrap_or_else(|| lines.len().saturating_sub(ACCOUNT_LINES));
    lines[first..].iter().take(ACCOUNT_LINES).copied().collect::<Vec<_>>().join("\n")
}

/// How much of the fuzzer's output is shown when a target fails.
const ACCOUNT_LINES: usize = 20;

/// Makes `to` a fresh copy of the committed corpus.
fn copy_corpus(from: &Path, to: &Path) -> anyhow::Result<()> {
    let seeds = files(from);
    if seeds.is_empty() {
        bail!("there is no corpus in {}", from.display());
    }
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for seed in seeds {
        let name = seed.file_name().context("a file has a name")?;
        fs::copy(&seed, to.join(name)).with_context(|| format!("cannot copy {}", seed.display()))?;
    }
    Ok(())
}

/// The files in a folder; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

/// What libFuzzer says about a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stats {
    /// How many inputs were tried.
    executions: u64,
    /// The edges of the program that were reached (`cov`).
    coverage: u64,
    /// The features, which are finer: how often, and together with which (`ft`).
    features: u64,
}

impl Stats {
    /// Takes the last numbers of each kind out of the fuzzer's output.
    fn parse(log: &str) -> Self {
        let mut stats = Self::default();
        for line in log.lines() {
            if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
                stats.executions = count.trim().parse().unwrap_or_default();
            } else if line.starts_with('#') {
                let words: Vec<&str> = line.split_whitespace().collect();
                for pair in words.windows(2) {
                    let number = || pair[1].parse().ok();
                    match pair[0] {
                        "cov:" => stats.coverage = number().unwrap_or(stats.coverage),
                        "ft:" => stats.features = number().unwrap_or(stats.features),
                        _ => {}
                    }
                }
            }
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_numbers_of_the_log_count() {
        let log = "\
INFO: Seed: 3388455365
#2\tINITED cov: 19 ft: 19 corp: 1/1b exec/s: 0 rss: 33Mb
#86\tNEW    cov: 21 ft: 25 corp: 2/5b lim: 4 exec/s: 0 rss: 34Mb L: 4/4 MS: 4 CrossOver-
#2236069\tDONE   cov: 26 ft: 31 corp: 6/29b lim: 4096 exec/s: 559017 rss: 209Mb
stat::number_of_executed_units: 2236069
stat::average_exec_per_sec:     559017
";
        let expected = Stats { executions: 2_236_069, coverage: 26, features: 31 };
        assert_eq!(Stats::parse(log), expected);
        assert_eq!(Stats::parse("ERROR: The required directory does not exist"), Stats::default());
    }

    #[test]
    fn the_account_of_a_failure_begins_with_the_panic() {
        let trace = "    #1 0x55\n".repeat(100);
        let log = format!("INFO: Seed: 1\nthread 'a' panicked at src/lib.rs:1:1:\nboom\n{trace}");
        assert!(account(&log).starts_with("thread 'a' panicked at src/lib.rs:1:1:\nboom\n"));
        assert_eq!(account(&log).lines().count(), ACCOUNT_LINES);
        assert_eq!(account("short"), "short");
        assert_eq!(account(""), "");
    }

    #[test]
    fn targets_are_chosen_by_name() {
        let all = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&all, &[]).expect("all"), all);
        assert_eq!(choose(&all, &all[1..]).expect("one"), ["b"]);
        assert!(choose(&all, &["c".to_owned()]).is_err());
    }

    #[test]
    fn the_corpus_is_copied_afresh_and_may_not_be_empty() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        assert!(copy_corpus(&from, &to).is_err());
        for made in [&from, &to] {
            fs::create_dir(made).expect("a folder");
        }
        assert!(copy_corpus(&from, &to).is_err());
        fs::write(from.join("seed"), "x").expect("a file");
        fs::write(to.join("old"), "x").expect("a file");
        copy_corpus(&from, &to).expect("a copy");
        assert_eq!(files(&to), [to.join("seed")]);
    }
}
