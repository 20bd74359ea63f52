//! Other programs: cargo, what it builds, whoever answers on its standard output, and whoever runs until told to end.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, bail, ensure};

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// What a program says on its standard output, without the end of the last line.
///
/// # Errors
/// If it cannot be run or fails.
pub(crate) fn say(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} failed: {}", String::from_utf8_lossy(&stderr).trim());
    Ok(String::from_utf8_lossy(&stdout).trim_end().to_owned())
}

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

/// A program that runs beside this one. Dropping it ends the process, by its id, and waits for it.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts a program; `name` is what an error calls it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        command.spawn().map(Self).with_context(|| format!("cannot start {name}"))
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        // An error: it is no child of this process, which cannot be, or was waited for.
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Programs that cargo has built, by the names of their targets.
#[derive(Debug)]
pub(crate) struct Built(BTreeMap<String, PathBuf>);

impl Built {
    /// Runs a command of cargo that builds, and shows what the compiler says.
    ///
    /// # Errors
    /// If cargo cannot be run, or something does not build.
    pub(crate) fn by(cargo: &mut Command) -> anyhow::Result<Self> {
        let output = cargo
            .arg("--message-format=json-render-diagnostics")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        let arguments = || cargo.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>();
        ensure!(output.status.success(), "cargo {} failed", arguments().join(" "));
        Ok(Self::named_in(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The program of this name.
    ///
    /// # Errors
    /// If it was not built.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<&Path> {
        let program = self.0.get(name);
        program.map(PathBuf::as_path).with_context(|| format!("cargo built no program named {name}"))
    }

    /// The programs in what cargo says about a build: one JSON value a line.
    fn named_in(messages: &str) -> Self {
        let messages =
            messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let programs = messages.filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        });
        Self(programs.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"peer-common"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"peer-yawc"},"executable":"/t/peer-yawc"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"peer-floor"},"executable":"/t/peer-floor"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let built = Built::named_in(messages);
        assert_eq!(built.program("peer-yawc").expect("it is named"), Path::new("/t/peer-yawc"));
        assert_eq!(built.program("peer-floor").expect("it is named"), Path::new("/t/peer-floor"));
        let error = built.program("peer-common").expect_err("it is a library");
        assert_eq!(error.to_string(), "cargo built no program named peer-common");
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_its_name() {
        let error = say(&mut Command::new("false")).expect_err("it fails");
        assert!(error.to_string().contains("false failed"));
        assert!(say(&mut Command::new("there-is-no-such-program")).is_err());
    }
}
