//! The program as the tests run it.

use crate::common::{Answer, Client, wait_until};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_framewright");

/// A running program. Dropping it kills it.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) out: Receiver<String>,
    pub(crate) err: Receiver<String>,
    /// What it said up to the settings, a line each.
    pub(crate) said: Vec<String>,
}

/// The lines of a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Program {
    /// `framewright echo` on a free port of 127.0.0.1, with these arguments.
    pub(crate) fn echo(args: &[&str]) -> Program {
        Program::start(Command::new(PROGRAM).args(["echo", "--listen", "127.0.0.1:0"]).args(args))
    }

    pub(crate) fn start(command: &mut Command) -> Program {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = lines(child.stdout.take().expect("a pipe"));
        let err = lines(child.stderr.take().expect("a pipe"));
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.starts_with("allowed origins")) {
            match out.recv_timeout(crate::common::DEADLINE) {
                Ok(line) => said.push(line),
                Err(error) => panic!("{error} behind {said:?}: {:?}", err.try_iter().collect::<Vec<_>>()),
            }
        }
        Program { child, out, err, said }
    }

    /// Everywhere it says that it listens.
    pub(crate) fn listening(&self) -> Vec<&str> {
        self.said.iter().filter_map(|line| line.strip_prefix("listening on ")).collect()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listening()[0].parse().expect("an address")
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    pub(crate) fn open(&self, path: &str) -> Client {
        let mut client = self.connect();
        client.open(path);
        client
    }

    /// What it answers to an ordinary request.
    pub(crate) fn request(&self, method: &str, path: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = client.answer();
        client.expect_end();
        answer
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_until("the end of the program", || self.child.try_wait().expect("a child").is_some());
        self.child.wait().expect("a child")
    }

    /// Its exit code after Ctrl-C.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        self.signal("-INT");
        self.wait().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end, which comes by itself.
pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).stdin(Stdio::null()).output().expect("the program runs")
}
