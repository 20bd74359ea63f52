//! One run of the fuzzing client: its specification, its progress, its deadline.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

/// How long a run of all cases may take. Those with compression, each with 1000 messages of up to 128 KiB, need most of it.
const DEADLINE: Duration = Duration::from_secs(40 * 60);

/// What a run said about itself.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The suite's version.
    pub(super) version: String,
    /// How many cases the suite was going to run.
    pub(super) announced: usize,
    /// The last case that it began.
    pub(super) last_case: String,
    begun: usize,
}

/// The specification of a run against one server.
pub(super) fn spec(agent: &str, addr: SocketAddr, reports: &Path, cases: &[String]) -> Value {
    json!({
        "outdir": reports,
        "servers": [{ "agent": agent, "url": format!("ws://{addr}/") }],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    })
}

/// Runs the suite to its end. `name` stands before what is shown of its progress: another run may go on at the same time.
///
/// # Errors
/// If it cannot be started, fails, or takes longer than the deadline; it is ended then.
pub(super) fn run(wstest: &Path, spec: &Path, name: &str) -> anyhow::Result<Run> {
    let started = Instant::now();
    let mut suite = Suite::start(wstest, spec)?;
    let (sender, lines) = mpsc::channel();
    forward(suite.0.stdout.take(), sender.clone());
    forward(suite.0.stderr.take(), sender);

    let mut run = Run::default();
    let mut progress = Progress::new(name);
    let mut tail = Vec::new();
    loop {
        match lines.recv_timeout(DEADLINE.saturating_sub(started.elapsed())) {
            Ok(line) => {
                run.note(&line);
                progress.show(&run);
                tail.push(line);
                if tail.len() > TAIL_LINES {
                    tail.remove(0);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                progress.end();
                bail!("the suite was not done within {DEADLINE:?}: it hangs in case {}", run.last_case);
            }
        }
    }
    progress.end();
    let status = suite.0.wait().context("cannot wait for wstest")?;
    ensure!(status.success(), "wstest failed with {status}; its last words:\n{}", tail.join("\n"));
    ensure!(run.announced > 0, "wstest ran no case; its last words:\n{}", tail.join("\n"));
    println!("{name}: {} cases in {:.1} s", run.begun, started.elapsed().as_secs_f64());
    Ok(run)
}

/// How much of the suite's output is shown when it fails.
const TAIL_LINES: usize = 30;

/// The suite's process, ended and waited for when dropped.
#[derive(Debug)]
struct Suite(Child);

impl Suite {
    fn start(wstest: &Path, spec: &Path) -> anyhow::Result<Self> {
        let folder = spec.parent().context("the specification lies in a folder")?;
        Command::new(wstest)
            .args([OsStr::new("--mode"), OsStr::new("fuzzingclient"), OsStr::new("--spec"), spec.as_os_str()])
            .current_dir(folder)
            // Python holds back what it writes to a pipe otherwise, and there would be no progress to show.
            .env("PYTHONUNBUFFERED", "1")
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Self)
            .with_context(|| format!("cannot start {}", wstest.display()))
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends on the lines of one of the suite's outputs until it ends, from a thread of its own.
fn forward(output: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let output = output.expect("the output was asked for as a pipe");
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

impl Run {
    /// Takes from a line of the suite's output what it tells.
    fn note(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("Running test case ID ") {
            self.begun += 1;
            rest.split(' ').next().unwrap_or_default().clone_into(&mut self.last_case);
        } else if let Some(rest) = line.strip_prefix("Ok, will run ") {
            self.announced = rest.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default();
        } else if let Some((_, rest)) = line.split_once("(Autobahn Testsuite Version ") {
            rest.split(' ').next().unwrap_or_default().clone_into(&mut self.version);
        }
    }
}

/// Shows how far the run is: a line that is rewritten on a terminal, a line now and then elsewhere.
#[derive(Debug)]
struct Progress<'a> {
    name: &'a str,
    terminal: bool,
    shown: usize,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, terminal: io::stdout().is_terminal(), shown: 0 }
    }

    fn show(&mut self, run: &Run) {
        let step = if self.terminal { 1 } else { 25 };
        if run.begun < self.shown + step {
            return;
        }
        self.shown = run.begun;
        let Run { begun, announced, last_case, .. } = run;
        if self.terminal {
            print!("\r  {}: {begun} of {announced}: case {last_case}      ", self.name);
        } else {
            println!("  {}: {begun} of {announced}: case {last_case}", self.name);
        }
        // A progress line that cannot be shown is no reason to stop.
        let _ = io::stdout().flush();
    }

    fn end(&self) {
        if self.terminal && self.shown > 0 {
            println!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_tells_the_version_the_count_and_the_case() {
        let mut run = Run::default();
        for line in [
            "Loading spec from spec.json",
            "Autobahn Fuzzing WebSocket Client (Autobahn Testsuite Version 25.10.1 / Autobahn Version 0.10.9)",
            "Ok, will run 517 test cases against 1 servers",
            "Running test case ID 1.1.1 for agent Framewright from peer tcp4:127.0.0.1:4000",
            "Running test case ID 1.1.2 for agent Framewright from peer tcp4:127.0.0.1:4000",
        ] {
            run.note(line);
        }
        assert_eq!((run.version.as_str(), run.announced, run.begun), ("25.10.1", 517, 2));
        assert_eq!(run.last_case, "1.1.2");
    }

    #[test]
    fn the_specification_names_the_server_and_the_cases() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 4000));
        let spec = spec("Framewright", addr, Path::new("/r"), &["6.4.*".to_owned()]);
        assert_eq!(spec["servers"][0]["url"], "ws://127.0.0.1:4000/");
        assert_eq!(spec["cases"], json!(["6.4.*"]));
        assert_eq!(spec["outdir"], "/r");
    }
}
