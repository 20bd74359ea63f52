//! Steps of installations, and Python.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Runs a step of an installation. Its output goes to a file, whose end is shown if the step fails.
///
/// # Errors
/// If it cannot be run or fails.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone()?;
    let status = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(20)..];
        bail!("{program} failed with {status}; the end of {}:\n{}", log.display(), tail.join("\n"));
    }
    Ok(())
}

/// A command for a Python program, undisturbed by settings made for another Python.
pub(crate) fn python_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").env_remove("VIRTUAL_ENV");
    command
}
