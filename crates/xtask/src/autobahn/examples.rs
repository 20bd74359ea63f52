//! The examples that the suite plays with.

use std::path::PathBuf;

use framewright_testkit::programs::cargo::{Built, cargo};
use framewright_testkit::programs::workspace::Workspace;

/// Builds an example of a package for release, and says where it is.
///
/// # Errors
/// If it does not build.
pub(super) fn build(workspace: &Workspace, package: &str, example: &str) -> anyhow::Result<PathBuf> {
    build_with(workspace, package, "default", example)
}

/// Builds an example as [`build`] does, with these features of its package.
///
/// # Errors
/// If it does not build.
pub(super) fn build_with(
    workspace: &Workspace,
    package: &str,
    features: &str,
    example: &str,
) -> anyhow::Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["build", "--release", "--package", package, "--features", features, "--example", example])
        .current_dir(&workspace.root);
    Ok(Built::by(&mut build)?.program(example)?.to_owned())
}
