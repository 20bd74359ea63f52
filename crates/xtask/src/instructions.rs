//! `cargo xtask instructions`: how many instructions the hot paths take, beside a baseline that is
//! checked in.
//!
//! The paths are those of `benches/benches/instructions.rs`. Each runs alone under callgrind, which
//! counts what one function of that program executes. The number does not depend on what else the
//! machine does, so that a few percent more of it are a change of the code; it says nothing about
//! caches and branches, so that a few percent less need not be faster.
//!
//! The number does depend on the compiler, on the C library (which copies) and on the vectors that
//! valgrind's CPU has. The baseline names them; see [`baseline::Rigour`] for what follows if they
//! are others here.
//!
//! This is a wrapper around callgrind of our own, in 470 lines. `gungraun` does the same, and needs
//! a second program of the same version as its library, installed wherever CI runs; what is left to
//! do without it is to run, to add up and to compare.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use framewright_testkit::programs::cargo::{Built, cargo};
use framewright_testkit::programs::process::say;
use framewright_testkit::programs::workspace::Workspace;

mod baseline;

use baseline::{Baseline, Tools};

/// What to do with the counts.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Make these counts the baseline, instead of comparing with it.
    #[arg(long)]
    update: bool,
}

/// Counts, and compares with the baseline or replaces it.
///
/// # Errors
/// If valgrind is missing, a path cannot be run, or the comparison fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let file = workspace.root.join("benches/instructions.json");
    let mut current = Baseline { tools: tools()?, ..Baseline::default() };
    let program = build(&workspace)?;
    for path in say(Command::new(&program).arg("--list"))?.lines() {
        current.counts.insert(path.to_owned(), count(&program, path, &workspace.target)?);
    }
    ensure!(!current.counts.is_empty(), "{} names no path", program.display());
    if options.update {
        current.write(&file)?;
        println!("{} counts are the baseline now: {}", current.counts.len(), file.display());
        return Ok(());
    }
    let comparison = Baseline::read(&file)?.compare(&current);
    print!("{comparison}");
    crate::conclusion::conclude(comparison.passed(), comparison.failed())
}

/// All that a count depends on besides the code.
fn tools() -> anyhow::Result<Tools> {
    let valgrind = say(Command::new("valgrind").arg("--version"))
        .context("counting instructions needs valgrind: `apt-get install valgrind`")?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let version = say(Command::new(rustc).arg("-vV"))?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Ok(Tools {
        target: field("host: ").context("rustc names no host")?,
        vectors: vectors().to_owned(),
        rustc: version.lines().next().unwrap_or_default().to_owned(),
        valgrind,
        libc: say(Command::new("getconf").arg("GNU_LIBC_VERSION"))
            .unwrap_or_else(|_| "not the GNU one".to_owned()),
    })
}

/// The widest vectors of this CPU that valgrind passes on.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return "AVX2";
    }
    "those of every CPU of the target"
}

/// Builds the program and returns where it is.
fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["bench", "--no-run", "--package=framewright-benches", "--bench=instructions"])
        // Flags for this machine's CPU would change the counts.
        .env_remove("RUSTFLAGS")
        .current_dir(&workspace.root);
    Ok(Built::by(&mut build)?.program("instructions")?.to_owned())
}

/// Runs one path under callgrind.
fn count(program: &Path, path: &str, scratch: &Path) -> anyhow::Result<u64> {
    let profile = scratch.join("callgrind.out");
    let mut option = OsString::from("--callgrind-out-file=");
    option.push(&profile);
    let mut valgrind = Command::new("valgrind");
    // The program's own path lies in its memory, and the environment too: whatever follows would
    // lie elsewhere, and be copied in other steps, in a folder with a longer name.
    let (Some(folder), Some(name)) = (program.parent(), program.file_name()) else {
        bail!("{} is no program", program.display())
    };
    valgrind.current_dir(folder).env_clear();
    if let Some(search) = env::var_os("PATH") {
        valgrind.env("PATH", search);
    }
    // `rep movsb` would count as one instruction for each octet that it copies: make the C library
    // use vectors for any length.
    valgrind.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=0x10000000");
    valgrind.args(["--tool=callgrind", "--toggle-collect=*::counted*"]).arg(option);
    say(valgrind.arg(Path::new(".").join(name)).arg(path))
        .with_context(|| format!("{path}: cannot be counted"))?;
    let text = fs::read_to_string(&profile)
        .with_context(|| format!("{path}: callgrind has not written {}", profile.display()))?;
    match total(&text) {
        Some(count) if count > 0 => Ok(count),
        // A program without the function, or with another name for it.
        _ => bail!("{path}: callgrind has not counted anything"),
    }
}

/// The sum in a profile of callgrind.
fn total(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_profile_is_read() {
        assert_eq!(total("events: Ir\nfn=(1)\n1 20\ntotals: 4711\n"), Some(4711));
        assert_eq!(total("events: Ir\n"), None);
    }
}
