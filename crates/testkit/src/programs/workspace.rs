//! Where the workspace and its build folder are.

use super::cargo::cargo;
use super::process::say;
use anyhow::Context as _;
use std::path::PathBuf;

/// The folders that the chores read from and write to.
#[derive(Debug)]
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's build folder, which is never committed.
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo, which alone knows every way to move the build folder.
    ///
    /// # Errors
    /// If cargo cannot be run, or says something else than it is documented to.
    pub fn locate() -> anyhow::Result<Self> {
        let mut metadata = cargo();
        metadata
            .args(["metadata", "--no-deps", "--format-version=1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let metadata: serde_json::Value = serde_json::from_str(&say(&mut metadata)?)?;
        let folder = |name: &str| metadata[name].as_str().map(PathBuf::from);
        Ok(Self {
            root: folder("workspace_root").context("cargo metadata names no workspace root")?,
            target: folder("target_directory").context("cargo metadata names no build folder")?,
        })
    }
}
