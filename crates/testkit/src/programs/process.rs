//! Programs: whoever answers on its standard output, and whoever runs until told to end.

use anyhow::{Context as _, ensure};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;

/// What a program says on its standard output, without the end of the last line.
///
/// # Errors
/// If it cannot be run or fails.
pub fn say(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} failed: {}", String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8_lossy(&stdout).trim_end().to_owned())
}

/// A program that runs beside this one. Dropping it ends the process, by its id, and waits for it.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts a program; `name` is what an error calls it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        command.spawn().map(Self).with_context(|| format!("cannot start {name}"))
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        // An error: it is no child of this process, which cannot be, or was waited for.
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for, and then there is nothing to
        // do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads a program's output to its end, so that it never blocks on a full pipe, and sends on what
/// `find` sees in each line.
pub fn found_in<T: Send + 'static>(stdout: ChildStdout, find: fn(&str) -> Option<T>) -> mpsc::Receiver<T> {
    let (found, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n') {
            let Ok(line) = line else { return };
            if let Some(value) = find(&String::from_utf8_lossy(&line)) {
                // Who wants one value does not listen any more: only the reading matters.
                let _ = found.send(value);
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_an_error_with_its_name() {
        let error = say(&mut Command::new("false")).expect_err("it fails");
        assert!(error.to_string().contains("false failed"));
        assert!(say(&mut Command::new("there-is-no-such-program")).is_err());
    }
}
