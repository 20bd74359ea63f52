//! The programs to measure and to measure with, built first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use framewright_testkit::programs::cargo::{Built, cargo};
use framewright_testkit::programs::workspace::Workspace;

use super::certificate::Certificate;
use super::scripts::{Library, Script};

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Ours: the server and the generator.
    pub(crate) framewright: PathBuf,
    /// By package.
    peers: BTreeMap<String, Built>,
    /// Those on libraries of other languages.
    scripts: BTreeMap<Library, Script>,
    /// What servers have over TLS, if one is measured over it.
    certificate: Option<Certificate>,
}

impl Programs {
    /// Builds ours and these packages of the peers, in release mode, installs these libraries, and
    /// makes a certificate if something is measured over TLS. The peers are built by themselves, in
    /// `target/peers`.
    ///
    /// # Errors
    /// If something does not build, or cannot be installed.
    pub(crate) fn build(
        workspace: &Workspace,
        packages: impl IntoIterator<Item = String>,
        libraries: impl IntoIterator<Item = Library>,
        tls: bool,
    ) -> anyhow::Result<Self> {
        let ours = build(&workspace.root.join("Cargo.toml"), &workspace.target, "framewright-cli")?;
        let framewright = ours.program("framewright")?.to_owned();
        let manifest = workspace.root.join("benches/peers/Cargo.toml");
        // One by one: what else lies in their workspace must not switch features on, such as
        // another DEFLATE in flate2.
        let peer = |package: String| {
            let built = build(&manifest, &workspace.target.join("peers"), &package)?;
            Ok((package, built))
        };
        let peers = packages.into_iter().map(peer).collect::<anyhow::Result<_>>()?;
        let folder = workspace.target.join("bench");
        let script = |library: Library| Ok((library, library.install(&folder)?));
        let scripts = libraries.into_iter().map(script).collect::<anyhow::Result<_>>()?;
        let certificate = tls.then(Certificate::make).transpose()?;
        Ok(Self { framewright, peers, scripts, certificate })
    }

    /// The script of a library.
    ///
    /// # Errors
    /// If it was not installed.
    pub(crate) fn script(&self, library: Library) -> anyhow::Result<&Script> {
        self.scripts.get(&library).with_context(|| format!("{library:?} was not installed"))
    }

    /// The certificate of servers.
    ///
    /// # Errors
    /// If none was made.
    pub(crate) fn certificate(&self) -> anyhow::Result<&Certificate> {
        self.certificate.as_ref().context("no certificate was made")
    }

    /// The program of a package of the peers.
    ///
    /// # Errors
    /// If it was not built.
    pub(crate) fn peer(&self, package: &str) -> anyhow::Result<&Path> {
        let built = self.peers.get(package);
        built.with_context(|| format!("{package} was not built"))?.program(package)
    }
}

fn build(manifest: &Path, target: &Path, package: &str) -> anyhow::Result<Built> {
    Built::by(
        cargo()
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(target)
            .args(["--package", package]),
    )
}
