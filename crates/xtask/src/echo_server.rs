//! The echo program under test: built, started, and gone again when its value is dropped.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// A running `framewright echo`, listening on a free port of the IPv4 loopback address.
///
/// Dropping it ends the process, by its id, and waits for it.
#[derive(Debug)]
pub(crate) struct EchoServer {
    child: Child,
    addr: SocketAddr,
}

impl EchoServer {
    /// Starts `framewright echo --listen 127.0.0.1:0 <args>` and waits until it says where it listens.
    ///
    /// The program is the release build, which is built first; or, if the environment variable
    /// `FRAMEWRIGHT_BIN` is set, the program that it names.
    ///
    /// # Errors
    /// If the program cannot be built or started, ends early, or does not listen within the deadline.
    pub(crate) fn start(args: &[&str]) -> anyhow::Result<Self> {
        let program = program()?;
        let mut child = Command::new(&program)
            .args(["echo", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        // From here on, leaving this function early ends the child.
        let mut server = Self { child, addr: SocketAddr::from(([0, 0, 0, 0], 0)) };
        match watch(stdout).recv_timeout(START_DEADLINE) {
            Ok(addr) => server.addr = addr,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("the echo program did not say where it listens within {START_DEADLINE:?}");
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!("the echo program ended, or closed its output, before it said where it listens");
            }
        }
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether its process has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long the program may take from its start to listening.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// What the program prints, before the address, for each address that it listens on.
const LISTENING: &str = "listening on ";

/// Reads the program's output to its end, so that it never blocks on a full pipe, and sends on the first
/// address that it names.
fn watch(stdout: ChildStdout) -> mpsc::Receiver<SocketAddr> {
    let (found, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n') {
            let Ok(line) = line else { return };
            if let Some(addr) = listening_line(&String::from_utf8_lossy(&line)) {
                // After the first address nobody listens any more: only the reading matters.
                let _ = found.send(addr);
            }
        }
    });
    receiver
}

/// The address in a line `listening on ADDR:PORT`.
fn listening_line(line: &str) -> Option<SocketAddr> {
    line.trim().strip_prefix(LISTENING)?.split_whitespace().next()?.parse().ok()
}

/// The program to start: the one that `FRAMEWRIGHT_BIN` names, else a fresh release build.
fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("FRAMEWRIGHT_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "FRAMEWRIGHT_BIN names no file: {}", path.display());
        return Ok(path);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", "framewright-cli"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the release build of framewright-cli failed");
    built_program(&String::from_utf8_lossy(&output.stdout))
        .context("cargo built no program named framewright")
}

/// Finds the program's path in what cargo says about a build: one JSON value a line.
fn built_program(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "framewright")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_listening_line() {
        let expected: SocketAddr = "127.0.0.1:41234".parse().expect("an address");
        assert_eq!(listening_line("listening on 127.0.0.1:41234\r\n"), Some(expected));
        assert_eq!(listening_line("listening on unix:echo.socket"), None);
        assert_eq!(listening_line("page: http://localhost:5000"), None);
    }

    #[test]
    fn the_program_is_found_among_cargo_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"framewright"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"framewright"},"executable":"/t/framewright"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(built_program(messages), Some(PathBuf::from("/t/framewright")));
        assert_eq!(built_program(""), None);
    }
}
