//! `cargo xtask tests-anywhere`: the tests pass on a busy machine, and whatever the kernel's
//! buffers hold.
//!
//! The tests run several times beside one busy thread for each processor. They also run twice in a
//! network namespace of their own: there the buffers of a TCP socket are first the smallest, then
//! larger than any message of a test. The chore judges the tests, not the code: a test that fails
//! here depends on the machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hint;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use framewright_testkit::programs::cargo::cargo;
use framewright_testkit::programs::process::Running;
use framewright_testkit::programs::workspace::Workspace;

use crate::conclusion::conclude;

/// How often the tests run, and which.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many times the tests run beside the load.
    #[arg(long, default_value_t = 10)]
    times: u32,
    /// The most minutes that one run may take.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Leave out the runs with other buffers, which need root.
    #[arg(long)]
    no_buffers: bool,
    /// Passed on to `cargo test`: `-- -p framewright-server --test system`. Without it:
    /// `--workspace`.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// Builds the tests, then runs them in each way.
///
/// # Errors
/// If a network namespace cannot be had, the tests do not build, or a test fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    if !options.no_buffers {
        for buffers in &BUFFERS {
            buffers.try_out()?;
        }
    }
    let filter =
        if options.filter.is_empty() { vec!["--workspace".to_owned()] } else { options.filter.clone() };
    // Building beside the load, and within the time of a run, would say nothing about the tests.
    // Filters such as names of tests come after `--` and do not change what is built.
    let build = filter.split(|argument| argument == "--").next().unwrap_or_default();
    let status = cargo()
        .args(["test", "--locked", "--no-run"])
        .args(build)
        .current_dir(&workspace.root)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the tests do not build");

    let mut tests = cargo();
    tests.args(["test", "--locked", "--no-fail-fast"]).args(&filter).current_dir(&workspace.root);
    let scratch = workspace.target.join("tests-anywhere");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Relaxed))?;
    let run = |name: &str, command: &mut Command| {
        let log = scratch.join(format!("{}.log", name.replace(' ', "-")));
        one_run(name, command, &log, Duration::from_secs(60 * options.minutes), &interrupted)
    };

    let (mut runs, mut failed) = (0, 0);
    let mut count = |passed: bool| {
        runs += 1;
        failed += usize::from(!passed);
    };
    for time in 1..=options.times {
        let _load = Load::start()?;
        count(run(&format!("busy {time}"), &mut tests)?);
    }
    for buffers in BUFFERS.iter().filter(|_| !options.no_buffers) {
        count(run(buffers.name, &mut buffers.within(&tests))?);
    }
    conclude(runs - failed, failed)
}

/// Runs the tests once, prints which of them failed, and returns whether none did.
fn one_run(
    name: &str,
    command: &mut Command,
    log: &Path,
    limit: Duration,
    interrupted: &AtomicBool,
) -> anyhow::Result<bool> {
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let started = Instant::now();
    let mut group = Group(Running::start(name, command)?);
    let status = loop {
        if let Some(status) = group.0.ended() {
            break Some(status);
        }
        ensure!(!interrupted.load(Relaxed), "interrupted");
        if started.elapsed() > limit {
            break None;
        }
        thread::sleep(POLL);
    };
    drop(group);
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let failures = failures(&text, status);
    let ran = text.lines().filter(|line| line.starts_with("test result: ")).count();
    println!(
        "{} {name}: {ran} test programs in {:.0} s",
        if failures.is_empty() { "ok    " } else { "FAILED" },
        started.elapsed().as_secs_f64(),
    );
    for failure in &failures {
        println!("       {failure}");
    }
    if !failures.is_empty() {
        println!("       whole output: {}", log.display());
    }
    Ok(failures.is_empty())
}

const POLL: Duration = Duration::from_millis(50);

/// What a run says failed. `status` is `None` if the run was ended by its time limit.
fn failures(log: &str, status: Option<ExitStatus>) -> BTreeSet<String> {
    let mut failures = BTreeSet::new();
    let (mut program, mut finished) = ("", true);
    for line in log.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("Running ").or_else(|| line.strip_prefix("Doc-tests ")) {
            (program, finished) = (name.split(" (").next().unwrap_or(name), false);
        } else if line.starts_with("test result: ") {
            finished = true;
        } else if let Some(name) =
            line.strip_suffix(" ... FAILED").and_then(|line| line.strip_prefix("test "))
        {
            failures.insert(format!("{program}: {name}"));
        } else if let Some(rerun) = line.strip_prefix("error: test failed, to rerun pass ") {
            // Tests that print have their result on a line of its own, and a program that aborts
            // names none.
            if !failures.iter().any(|failure| failure.starts_with(program)) {
                failures.insert(format!("{program}: a failure ({rerun})"));
            }
        }
    }
    match status {
        None if finished => drop(failures.insert("not within the time limit".to_owned())),
        None => drop(failures.insert(format!("{program}: not within the time limit"))),
        Some(status) if failures.is_empty() && !status.success() => {
            let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
            failures.insert(format!("cargo test: {how}"));
        }
        Some(_) => {}
    }
    // A run without a test proves nothing.
    if failures.is_empty() && !log.contains("test result: ok. ") {
        failures.insert("no test ran".to_owned());
    }
    failures
}

/// A run and all that it started. Dropping it ends them.
struct Group(Running);

impl Drop for Group {
    fn drop(&mut self) {
        // The group outlives its leader while a test program does; without a member there is
        // nothing to end.
        let group = format!("-{}", self.0.0.id());
        let mut kill = Command::new("kill");
        kill.args(["-KILL", "--", &group]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = kill.status();
    }
}

/// One busy thread for each processor, until it is dropped. The threads have the priority of the
/// tests.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let busy = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Relaxed) {
                    hint::spin_loop();
                }
            })
        };
        let threads = (0..thread::available_parallelism()?.get()).map(busy).collect();
        Ok(Self { stop, threads })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a busy thread does not panic");
        }
    }
}

/// What the buffers of a TCP socket hold: values of `net.ipv4.tcp_rmem` and `net.ipv4.tcp_wmem`.
struct Buffers {
    name: &'static str,
    receive: &'static str,
    send: &'static str,
}

const BUFFERS: [Buffers; 2] = [
    // What SO_RCVBUF and SO_SNDBUF can be set to at least. The kernel accepts less here, but then
    // nothing is ever received.
    Buffers { name: "smallest buffers", receive: "2304 2304 2304", send: "4608 4608 4608" },
    Buffers { name: "largest buffers", receive: "4096 33554432 33554432", send: "4096 33554432 33554432" },
];

impl Buffers {
    /// The command in a network namespace of its own with these buffers.
    fn within(&self, command: &Command) -> Command {
        let mut within = Command::new("unshare");
        within.args(["--net", "sh", "-c", SET_UP, "sh", self.receive, self.send]);
        within.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            within.current_dir(folder);
        }
        within
    }

    /// Fails now rather than after the long runs.
    fn try_out(&self) -> anyhow::Result<()> {
        let output = self.within(&Command::new("true")).stdin(Stdio::null()).output();
        let output = output.context("cannot run unshare (util-linux)")?;
        ensure!(
            output.status.success(),
            "a network namespace with buffers of its own needs Linux, root and iproute2 (or leave these runs out: \
             --no-buffers): {}",
            String::from_utf8_lossy(&output.stderr).trim(),
        );
        Ok(())
    }
}

const SET_UP: &str = "\
set -e
ip link set lo up
echo \"$1\" > /proc/sys/net/ipv4/tcp_rmem
echo \"$2\" > /proc/sys/net/ipv4/tcp_wmem
shift 2
exec \"$@\"";

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "\
     Running unittests src/lib.rs (target/debug/deps/a-1)
test good ... ok
test bad ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
error: test failed, to rerun pass `-p a --lib`
     Running tests/b.rs (target/debug/deps/b-1)
error: test failed, to rerun pass `-p a --test b`
     Running tests/c.rs (target/debug/deps/c-1)
test good ... ok
";

    #[test]
    fn failed_tests_and_programs_that_abort_are_named() {
        let failed = ExitStatus::from_raw(101 << 8);
        let expected = ["tests/b.rs: a failure (`-p a --test b`)", "unittests src/lib.rs: bad"];
        assert!(failures(FAILED, Some(failed)).iter().eq(expected));
        let expected = [expected[0], "tests/c.rs: not within the time limit", expected[1]];
        assert!(failures(FAILED, None).iter().eq(expected));
    }

    #[test]
    fn a_run_passes_if_cargo_says_so_and_a_test_ran() {
        let (passed, failed) = (ExitStatus::from_raw(0), ExitStatus::from_raw(101 << 8));
        let good = "     Running tests/b.rs (b)\ntest result: ok. 1 passed; 0 failed\n";
        assert!(failures(good, Some(passed)).is_empty());
        assert!(failures(good, Some(failed)).iter().eq(["cargo test: exit status: 101"]));
        assert!(failures("", Some(passed)).iter().eq(["no test ran"]));
        assert!(failures(good, None).iter().eq(["not within the time limit"]));
    }
}
