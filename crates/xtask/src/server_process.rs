//! A server in a process of its own: started, asked where it listens, and gone again when its value is dropped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::bail;

use crate::commands::Running;

/// A running server, until it is dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    process: Running,
    /// The peers end when this is closed, so that they do not outlive this program even if it is killed.
    _stdin: Option<ChildStdin>,
    addr: SocketAddr,
}

impl ServerProcess {
    /// Starts a server and waits until it says where it listens.
    ///
    /// # Errors
    /// If the program cannot be started, ends early, or does not listen within the deadline. `name` is what the error calls
    /// it.
    pub(crate) fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut process = Running::start(name, command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let stdin = process.0.stdin.take();
        let stdout = process.0.stdout.take().expect("stdout was asked for as a pipe");
        match first_in(stdout, listening_line).recv_timeout(START_DEADLINE) {
            Ok(addr) => Ok(Self { process, _stdin: stdin, addr }),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{name} did not say where it listens within {START_DEADLINE:?}");
            }
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{name} ended, or closed its output, before it said where it listens");
            }
        }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Whether its process has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }
}

/// How long a server may take from its start to listening.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Reads a program's output to its end, so that it never blocks on a full pipe, and sends on what `find` sees in a line.
pub(crate) fn first_in<T: Send + 'static>(
    stdout: ChildStdout,
    find: fn(&str) -> Option<T>,
) -> mpsc::Receiver<T> {
    let (found, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n') {
            let Ok(line) = line else { return };
            if let Some(value) = find(&String::from_utf8_lossy(&line)) {
                // After the first nobody listens any more: only the reading matters.
                let _ = found.send(value);
            }
        }
    });
    receiver
}

/// The address in a line `listening on ADDR:PORT`.
fn listening_line(line: &str) -> Option<SocketAddr> {
    line.trim().strip_prefix("listening on ")?.split_whitespace().next()?.parse().ok()
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
}
