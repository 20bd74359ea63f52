//! The echo program under test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use framewright_testkit::programs::cargo::{Built, cargo};
use framewright_testkit::programs::server::ServerProcess;

#[cfg(feature = "browser")]
use crate::certificates::Certificate;

/// Starts `framewright echo <args>` on a free port of the IPv4 loopback address.
///
/// The program is the release build, which is built first; or, if the environment variable
/// `FRAMEWRIGHT_BIN` is set, the program that it names.
///
/// # Errors
/// If the program cannot be built or started, ends early, or does not listen within the deadline.
pub(crate) fn start(args: &[&str]) -> anyhow::Result<ServerProcess> {
    start_with(args, |command| {
        command.args(["--listen", "127.0.0.1:0"]);
    })
}

/// Starts `framewright echo <args>` as [`start`] does, but for TLS, with this certificate.
///
/// # Errors
/// Those of [`start`].
pub(crate) fn start_with_tls(args: &[&str], certificate: &Path, key: &Path) -> anyhow::Result<ServerProcess> {
    start_with(args, |command| {
        command.args(["--tls-listen", "127.0.0.1:0", "--tls-cert"]).arg(certificate);
        command.arg("--tls-key").arg(key);
    })
}

fn start_with(args: &[&str], listen: impl FnOnce(&mut Command)) -> anyhow::Result<ServerProcess> {
    let program = program()?;
    let mut command = Command::new(&program);
    command.arg("echo").args(args);
    listen(&mut command);
    ServerProcess::start(&program.to_string_lossy(), &mut command)
}

/// Starts `framewright echo <args>`, which speaks TLS with this certificate on a free port, and
/// listens nowhere else.
///
/// # Errors
/// As [`start`].
#[cfg(feature = "browser")]
pub(crate) fn start_tls(certificate: &Certificate, args: &[&str]) -> anyhow::Result<ServerProcess> {
    let program = program()?;
    let mut command = Command::new(&program);
    command.args(["echo", "--tls-listen", "127.0.0.1:0", "--tls-cert"]).arg(&certificate.chain);
    command.arg("--tls-key").arg(&certificate.key).args(args);
    ServerProcess::start(&program.to_string_lossy(), &mut command)
}

/// The program to start: the one that `FRAMEWRIGHT_BIN` names, else a fresh release build.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("FRAMEWRIGHT_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "FRAMEWRIGHT_BIN names no file: {}", path.display());
        return Ok(path);
    }
    let mut build = cargo();
    build.args(["build", "--release", "--package=framewright-cli"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    Ok(Built::by(&mut build)?.program("framewright")?.to_owned())
}
