//! Finds the testsuite's program, `wstest`, or installs it.
//!
//! The suite is a Python 2.7 program, and few systems still have that Python. Whoever has `wstest`
//! on the search path is done. Otherwise a Python 2.7 is looked for, a virtual environment made
//! with it under the build folder, and the suite installed there, from the Python package index.
//! Nothing outside the build folder changes, and the next run finds the environment ready.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use framewright_testkit::programs::packages::{python_command, run_logged};

/// The suite, as the Python package index names it.
const SUITE: &str = "autobahntestsuite==25.10.1";

/// What masks and validates UTF-8 for the suite in C. In Python that takes hours: the cases with
/// compression send 11 GB.
const ACCELERATOR: &str = "wsaccel==0.6.2";

/// The tool that makes environments for Python 2.7; its later versions no longer do.
const VIRTUALENV: &str = "virtualenv<20.22";

/// The program to run: from the search path, or from an environment in `folder`, made if it is not
/// there yet.
///
/// # Errors
/// If there is no Python 2.7, or the installation fails.
pub(super) fn find_or_install(folder: &Path) -> anyhow::Result<PathBuf> {
    let on_path = PathBuf::from("wstest");
    if works(&on_path) {
        println!("wstest: from the search path");
        return Ok(on_path);
    }
    let environment = folder.join("venv");
    let wstest = environment.join("bin/wstest");
    if works(&wstest) && is_accelerated(&environment) {
        return Ok(wstest);
    }
    let Some(python) = find_python() else { bail!(NO_PYTHON) };
    println!("wstest: installing {SUITE} for {} ...", python.display());
    install(&python, folder, &environment)?;
    ensure!(works(&wstest), "{} was installed, but does not run", wstest.display());
    Ok(wstest)
}

const NO_PYTHON: &str = "\
the Autobahn testsuite needs Python 2.7, and there is none with pip on this machine.
Install one of:
  - Python 2.7 by pyenv:   pyenv install 2.7.18
  - a `wstest` on PATH:    pip install autobahntestsuite==25.10.1, into a Python 2.7
Looked for python2.7 and python2 on PATH, and for versions/2.7* in pyenv's folder.";

/// Whether the program starts and knows itself. (A shim of pyenv may exist and not start anything.)
fn works(wstest: &Path) -> bool {
    succeeds(python_command(wstest).arg("--help"))
}

/// Whether the environment has the accelerator.
fn is_accelerated(environment: &Path) -> bool {
    succeeds(python_command(environment.join("bin/python")).args(["-c", "import wsaccel.xormask"]))
}

/// Installs the suite into a fresh environment.
fn install(python: &Path, folder: &Path, environment: &Path) -> anyhow::Result<()> {
    // What an interrupted installation left is of no use.
    let tool = folder.join("virtualenv");
    for old in [environment, &tool] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;

    // Into a folder of its own: the Python that was found stays as it is.
    let mut pip = python_command(python);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--target"]).arg(&tool).arg(VIRTUALENV);
    run_logged(&mut pip, &folder.join("install-virtualenv.log"))?;

    let mut virtualenv = python_command(python);
    virtualenv
        .args(["-m", "virtualenv", "--app-data"])
        .arg(folder.join("virtualenv-data"))
        .arg(environment)
        .env("PYTHONPATH", &tool);
    run_logged(&mut virtualenv, &folder.join("virtualenv.log"))?;

    let mut pip = python_command(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", SUITE, ACCELERATOR]);
    run_logged(&mut pip, &folder.join("install.log"))
}

/// The first Python 2.7 with pip among the usual places.
fn find_python() -> Option<PathBuf> {
    let mut candidates = vec![PathBuf::from("python2.7"), PathBuf::from("python2")];
    for root in pyenv_roots() {
        candidates.extend(pyenv_pythons(&root));
    }
    candidates.into_iter().find(|python| is_python_2_7(python))
}

/// Where pyenv may keep its versions.
fn pyenv_roots() -> Vec<PathBuf> {
    let asked = Command::new("pyenv").arg("root").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = asked.ok().filter(|output| output.status.success()).map(|output| {
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        PathBuf::from(line)
    });
    let set = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let usual = env::home_dir().map(|home| home.join(".pyenv"));
    [said, set, usual].into_iter().flatten().collect()
}

/// The 2.7 versions in a pyenv folder, the newest first.
fn pyenv_pythons(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join("versions")) else { return Vec::new() };
    let mut pythons: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("2.7"))
        .map(|entry| entry.path().join("bin/python2.7"))
        .collect();
    // All of them are 2.7.N with two digits, where the order of the texts is that of the numbers.
    pythons.sort();
    pythons.reverse();
    pythons
}

fn is_python_2_7(python: &Path) -> bool {
    let test = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))";
    succeeds(python_command(python).args(["-c", test]))
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_2_7_of_pyenv_comes_first_and_others_are_ignored() {
        let root = tempfile::tempdir().expect("a folder for scratch files");
        for version in ["2.7.14", "2.7.18", "3.11.7"] {
            fs::create_dir_all(root.path().join("versions").join(version)).expect("a folder");
        }
        let versions = root.path().join("versions");
        assert_eq!(
            pyenv_pythons(root.path()),
            [versions.join("2.7.18/bin/python2.7"), versions.join("2.7.14/bin/python2.7")]
        );
        assert!(pyenv_pythons(&versions).is_empty());
    }

    #[test]
    fn a_program_that_is_not_there_does_not_work() {
        assert!(!works(Path::new("/nonexistent/wstest")));
        assert!(!is_python_2_7(Path::new("/nonexistent/python2.7")));
    }
}
