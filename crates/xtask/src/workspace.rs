//! Where the workspace and its build folder are.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The folders that the chores read from and write to.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's build folder, which is never committed.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, which alone knows every way to move the build folder.
    ///
    /// # Errors
    /// If cargo cannot be run, or says something else than it is documented to.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version=1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .context("cannot run cargo")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata failed: {}", complaint.trim());
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let folder = |name: &str| metadata[name].as_str().map(PathBuf::from);
        Ok(Self {
            root: folder("workspace_root").context("cargo metadata names no workspace root")?,
            target: folder("target_directory").context("cargo metadata names no build folder")?,
        })
    }
}
