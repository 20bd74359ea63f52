//! The programs to measure and to measure with, built first.

use std::path::{Path, PathBuf};

use super::servers::Server;
use crate::commands::{Built, cargo};
use crate::workspace::Workspace;

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Ours: the server and the generator.
    pub(crate) framewright: PathBuf,
    peers: Built,
}

impl Programs {
    /// Builds what these servers need, in release mode. The peers are built by themselves, in `target/peers`.
    ///
    /// # Errors
    /// If something does not build.
    pub(crate) fn build(workspace: &Workspace, servers: &[&Server]) -> anyhow::Result<Self> {
        let ours =
            build(&workspace.root.join("Cargo.toml"), &workspace.target, &["framewright-cli".to_owned()])?;
        let framewright = ours.program("framewright")?.to_owned();
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
        self.peers.program(package)
    }
}

fn build(manifest: &Path, target: &Path, packages: &[String]) -> anyhow::Result<Built> {
    Built::by(
        cargo()
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(target)
            .args(packages.iter().flat_map(|package| ["--package", package])),
    )
}
