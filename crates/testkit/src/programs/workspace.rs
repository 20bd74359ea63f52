//! Where the workspace and its build folder are.

use super::cargo::cargo;
use super::process::say;
use anyhow::{Context as _, ensure};
use std::env;
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

/// The program of an example of the package whose test this is. `cargo test` builds it, unless told
/// to build one test alone.
///
/// # Errors
/// If it is not there.
pub fn example(name: &str) -> anyhow::Result<PathBuf> {
    let test = env::current_exe().context("cannot tell which program this is")?;
    let folder = test.ancestors().nth(2).context("the test lies in no build folder")?;
    let program = folder.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    ensure!(program.exists(), "{} is not there: `cargo build --examples` makes it", program.display());
    Ok(program)
}
