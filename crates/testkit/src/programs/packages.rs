//! Packages of other languages, each of one version, installed into folders of their own.

#![allow(clippy::print_stdout, reason = "an installation takes a while, and says so")]

use super::process::say;
use anyhow::{Context as _, bail, ensure};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of `ws`, from npm.
pub const WS: &str = "8.23.0";
/// The version of `websockets`, from the Python package index.
pub const WEBSOCKETS: &str = "17.4";

/// Installs this version of a package of npm's into `folder`, if it is not there yet. Node finds it
/// from scripts that lie there.
///
/// # Errors
/// If there is no Node or npm, or the installation fails.
pub fn npm_package(folder: &Path, package: &str, wanted: &str) -> anyhow::Result<()> {
    say(Command::new("node").arg("--version"))
        .context("this needs Node (Debian: the packages nodejs and npm)")?;
    let installed = format!("process.stdout.write(require('{package}/package.json').version)");
    let version = || say(Command::new("node").current_dir(folder).args(["-e", &installed]));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if version().ok().as_deref() != Some(wanted) {
        println!("{package}: installing {wanted} ...");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]);
        npm.arg(folder).arg(format!("{package}@{wanted}"));
        run_logged(&mut npm, &folder.join("install.log"))?;
        ensure!(version()? == wanted, "{package} {wanted} was installed, but is not there");
    }
    Ok(())
}

/// Installs this version of a package of the Python package index into an environment in `folder`,
/// if it is not there yet. Returns the environment's Python.
///
/// # Errors
/// If there is no Python 3 that makes environments, or the installation fails.
pub fn python_package(folder: &Path, package: &str, wanted: &str) -> anyhow::Result<PathBuf> {
    let python = folder.join("venv/bin/python");
    let installed = format!("from importlib.metadata import version; print(version('{package}'))");
    let version = || say(python_command(&python).args(["-c", &installed]));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if version().ok().as_deref() != Some(wanted) {
        println!("{package}: installing {wanted} ...");
        let mut venv = python_command("python3");
        venv.args(["-m", "venv", "--clear"]).arg(folder.join("venv"));
        run_logged(&mut venv, &folder.join("venv.log"))
            .context("this needs Python 3 with venv (Debian: the package python3-venv)")?;
        let mut pip = python_command(&python);
        pip.args(["-m", "pip", "install", "--disable-pip-version-check"]).arg(format!("{package}=={wanted}"));
        run_logged(&mut pip, &folder.join("install.log"))?;
        ensure!(version()? == wanted, "{package} {wanted} was installed, but is not there");
    }
    Ok(python)
}

/// Runs a step of an installation. Its output goes to a file, whose end is shown if the step fails.
///
/// # Errors
/// If it cannot be run or fails.
pub fn run_logged(command: &mut Command, log: &Path) -> anyhow::Result<()> {
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
pub fn python_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").env_remove("VIRTUAL_ENV");
    command
}
