//! One run of the suite: its specification, its progress, its deadline.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use framewright_testkit::programs::packages::python_command;
use framewright_testkit::programs::process::Running;
use serde_json::{Value, json};

/// How long a run of all cases may take. Those with compression, each with 1000 messages of up to
/// 128 KiB, need most of it.
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

/// The specification of a run against one server, at `ws://ADDR:PORT` or `wss://ADDR:PORT`.
pub(super) fn against_server(agent: &str, url: &str, reports: &Path, cases: &[String]) -> Value {
    let mut spec = spec(reports, cases);
    spec["servers"] = json!([{ "agent": agent, "url": format!("{url}/") }]);
    spec
}

/// The specification of a run in which the suite is the server, and listens at `ws://ADDR:PORT` or
/// `wss://ADDR:PORT`.
pub(super) fn as_server(url: &str, reports: &Path, cases: &[String]) -> Value {
    let mut spec = spec(reports, cases);
    spec["url"] = json!(url);
    spec
}

fn spec(reports: &Path, cases: &[String]) -> Value {
    json!({ "outdir": reports, "cases": cases, "exclude-cases": [], "exclude-agent-cases": {} })
}

/// The suite's program, in one of its modes.
pub(super) fn command(wstest: &Path, mode: &str, spec: &Path) -> anyhow::Result<Command> {
    let folder = spec.parent().context("the specification lies in a folder")?;
    let mut command = python_command(wstest);
    command
        .args([OsStr::new("--mode"), OsStr::new(mode), OsStr::new("--spec"), spec.as_os_str()])
        // As a server it would serve pages, too, on a port that it does not choose.
        .args(["--webport", "0"])
        .current_dir(folder)
        // Python holds back what it writes to a pipe otherwise, and there would be no progress to
        // show.
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// Follows a run to its end: that of the suite, or, where the suite is a server, that of its
/// client. `name` stands before what is shown of the progress: another run may go on at the same
/// time.
///
/// # Errors
/// If either fails, the suite ends before its client, or the run takes longer than the deadline.
/// Both are ended then.
pub(super) fn follow(mut suite: Running, mut client: Option<Running>, name: &str) -> anyhow::Result<Run> {
    let started = Instant::now();
    let (sender, lines) = mpsc::channel();
    forward(suite.0.stdout.take(), sender.clone());
    forward(suite.0.stderr.take(), sender);

    let mut watch = Watch { run: Run::default(), progress: Progress::new(name), tail: Vec::new() };
    let status = loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => watch.note(line),
            Err(RecvTimeoutError::Disconnected) if client.is_none() => {
                break suite.0.wait().context("cannot wait for wstest")?;
            }
            Err(RecvTimeoutError::Disconnected) => bail!("wstest ended early; {}", watch.last_words()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = client.as_mut().and_then(Running::ended) {
            lines.try_iter().for_each(|line| watch.note(line));
            break status;
        }
        if started.elapsed() > DEADLINE {
            watch.progress.end();
            bail!("the suite was not done within {DEADLINE:?}: it hangs in case {}", watch.run.last_case);
        }
    };
    watch.progress.end();
    let who = if client.is_some() { "the client" } else { "wstest" };
    ensure!(status.success(), "{who} failed with {status}; {}", watch.last_words());
    let run = &watch.run;
    ensure!(run.announced > 0, "wstest ran no case; {}", watch.last_words());
    println!("{name}: {} cases in {:.1} s", run.begun, started.elapsed().as_secs_f64());
    Ok(watch.run)
}

/// How often it is looked whether the client has ended, while the suite says nothing.
const POLL: Duration = Duration::from_millis(100);

/// What is known of a run that goes on.
struct Watch<'a> {
    run: Run,
    progress: Progress<'a>,
    tail: Vec<String>,
}

impl Watch<'_> {
    fn note(&mut self, line: String) {
        self.run.note(&line);
        self.progress.show(&self.run);
        self.tail.push(line);
        if self.tail.len() > TAIL_LINES {
            self.tail.remove(0);
        }
    }

    fn last_words(&self) -> String {
        format!("the last words of wstest:\n{}", self.tail.join("\n"))
    }
}

/// How much of the suite's output is shown when it fails.
const TAIL_LINES: usize = 30;

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
        } else if let Some(rest) = line.strip_prefix("Autobahn WebSocket ") {
            // As a server: the suite's version, a slash, that of the library.
            rest.split('/').next().unwrap_or_default().clone_into(&mut self.version);
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
    fn the_output_of_the_server_tells_the_same() {
        let mut run = Run::default();
        for line in [
            "Autobahn WebSocket 25.10.1/0.10.9 Fuzzing Server (Port 4000)",
            "Ok, will run 8 test cases for any clients connecting",
            "Running test case ID 1.1.1 for agent Framewright from peer tcp4:127.0.0.1:40000",
        ] {
            run.note(line);
        }
        assert_eq!((run.version.as_str(), run.announced, run.begun), ("25.10.1", 8, 1));
        assert_eq!(run.last_case, "1.1.1");
    }

    #[test]
    fn the_specifications_name_the_server_and_the_cases() {
        let url = "wss://127.0.0.1:4000";
        let cases = ["6.4.*".to_owned()];
        let client = against_server("Framewright", url, Path::new("/r"), &cases);
        assert_eq!(client["servers"][0]["url"], "wss://127.0.0.1:4000/");
        let server = as_server(url, Path::new("/r"), &cases);
        assert_eq!(server["url"], "wss://127.0.0.1:4000");
        for spec in [client, server] {
            assert_eq!(spec["cases"], json!(["6.4.*"]));
            assert_eq!(spec["outdir"], "/r");
        }
    }
}
