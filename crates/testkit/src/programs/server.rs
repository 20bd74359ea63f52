//! A server in a process of its own: started, asked where it listens, and gone again when its value
//! is dropped.

use super::process::{Running, found_in};
use anyhow::bail;
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// A running server, until it is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    process: Running,
    /// The peers end when this is closed, so that they do not outlive this program even if it is
    /// killed.
    _stdin: Option<ChildStdin>,
    addr: SocketAddr,
}

impl ServerProcess {
    /// Starts a server and waits until it says where it listens.
    ///
    /// # Errors
    /// If the program cannot be started, ends early, or does not listen within the deadline. `name`
    /// is what the error calls it.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut process = Running::start(name, command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let stdin = process.0.stdin.take();
        let stdout = process.0.stdout.take().expect("stdout was asked for as a pipe");
        match found_in(stdout, listening_line).recv_timeout(START_DEADLINE) {
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
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Whether its process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }
}

/// How long a server may take from its start to listening.
const START_DEADLINE: Duration = Duration::from_secs(20);

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
