//! The programs to measure and to measure with, built first.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::servers::Server;
use crate::workspace::Workspace;

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Ours: the server and the generator.
    pub(crate) framewright: PathBuf,
    /// The peers, by package.
    peers: BTreeMap<String, PathBuf>,
}

impl Programs {
    /// Builds what these servers need, in release mode. The peers are built by themselves, in `target/peers`.
    ///
    /// # Errors
    /// If something does not build.
    pub(crate) fn build(workspace: &Workspace, servers: &[&Server]) -> anyhow::Result<Self> {
        let mut ours =
            build(&workspace.root.join("Cargo.toml"), &workspace.target, &["framewright-cli".to_owned()])?;
        let framewright = ours.remove("framewright").context("cargo built no program named framewright")?;
        // Only the packages of servers: what else lies in their workspace must not switch features on.
        let packages: Vec<String> = servers.iter().filter_map(|server| server.package()).collect();
        let manifest = workspace.root.join("benches/peers/Cargo.toml");
        let peers = build(&manifest, &workspace.target.join("peers"), &packages)?;
        Ok(Self { framewright, peers })
    }

    /// The program of a package of the peers.
    ///
    /// # Errors
    /// If it was not built.
    pub(crate) fn peer(&self, package: &str) -> anyhow::Result<&Path> {
        let program = self.peers.get(package);
        program.map(PathBuf::as_path).with_context(|| format!("cargo built no program named {package}"))
    }
}

/// Builds packages, and tells where their programs are, by name.
fn build(manifest: &Path, target: &Path, packages: &[String]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the release build of {} failed", packages.join(", "));
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// The programs in what cargo says about a build: one JSON value a line.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let programs = messages.filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    });
    programs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargo_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"peer-common"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"peer-yawc"},"executable":"/t/peer-yawc"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"peer-floor"},"executable":"/t/peer-floor"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let found = executables(messages);
        assert_eq!(found.len(), 2);
        assert_eq!(found["peer-yawc"], PathBuf::from("/t/peer-yawc"));
        assert!(executables("").is_empty());
    }
}
