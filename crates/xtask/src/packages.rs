//! `cargo xtask packages`: each crate that is published is ready for it.
//!
//! | question | how it is answered |
//! |---|---|
//! | which crates are published? | those without `publish = false`; they depend on no other of the workspace |
//! | does a manifest say what a registry and docs.rs show? | `manifest` |
//! | does a package hold its README and both licences? | `cargo package --list` |
//! | can it be compiled without the rest of the repository? | none of its files names the testkit, or includes a file or has a module that is not in it |
//! | can it be published, and does it pass its own tests (`--build`)? | `cargo publish --dry-run`, then the tests of each package where it was unpacked, beside the others |
//!
//! Without `--build` nothing is compiled, and it takes about a second.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use framewright_testkit::programs::cargo::cargo;
use framewright_testkit::programs::process::say;
use framewright_testkit::programs::workspace::Workspace;

use crate::conclusion::conclude;

mod manifest;
mod unpacked;

use manifest::Package;

/// How far to go.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also try to publish, and run the tests of each package where it is unpacked.
    #[arg(long)]
    build: bool,
}

/// What each package holds beside its sources.
const HELD: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// The crate that is published nowhere, as a source file names it.
const UNPUBLISHED: &str = "framewright_testkit";

/// Prints what is wrong with each package.
///
/// # Errors
/// If something is, or cargo cannot be run.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let packages = manifest::published(&workspace.root)?;
    ensure!(!packages.is_empty(), "no package is published");
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let (mut passed, mut failed) = (0, 0);
    for package in &packages {
        let listed = listed(&workspace.root, &package.name)?;
        let mut faults = package.faults(&names);
        faults.extend(faults_of_files(package, &listed)?);
        println!("{}: {} files, {} faults", package.name, listed.len(), faults.len());
        for fault in &faults {
            println!("  {fault}");
        }
        if faults.is_empty() {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    if options.build && failed == 0 {
        let (more_passed, more_failed) = unpacked::check(&workspace, &packages)?;
        (passed, failed) = (passed + more_passed, failed + more_failed);
    }
    conclude(passed, failed)
}

/// The files that a package would hold.
fn listed(root: &Path, name: &str) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut list = cargo();
    list.args(["package", "--list", "--allow-dirty", "--quiet", "-p", name]).current_dir(root);
    Ok(say(&mut list)?.lines().map(PathBuf::from).collect())
}

fn faults_of_files(package: &Package, listed: &BTreeSet<PathBuf>) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for held in HELD.iter().filter(|held| !listed.contains(Path::new(held))) {
        faults.push(format!("holds no {held}"));
    }
    let read = |path: &Path| {
        let path = package.folder.join(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let readme = read(Path::new(HELD[0])).unwrap_or_default();
    let minimum = format!("Minimum Rust: {}.", package.rust_version);
    if !readme.contains(&minimum) {
        faults.push(format!("README.md does not say \"{minimum}\""));
    }
    for path in listed.iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs")) {
        let text = read(path)?;
        if text.contains(UNPUBLISHED) {
            faults.push(format!("{} names {UNPUBLISHED}, which is not published", path.display()));
        }
        for included in included(&text) {
            let wanted = from(path, included);
            if wanted.as_ref().is_none_or(|wanted| !listed.contains(wanted)) {
                faults.push(format!("{} includes {included}, which is not in the package", path.display()));
            }
        }
    }
    Ok(faults)
}

/// The paths that a source file includes, or has a module at, as they are written.
fn included(text: &str) -> impl Iterator<Item = &str> {
    let marks = ["include_str!(\"", "include_bytes!(\"", "include!(\"", "#[path = \""];
    let behind = marks.map(|mark| text.split(mark).skip(1));
    behind.into_iter().flatten().filter_map(|rest| rest.split('"').next())
}

/// What `relative` is, written in `file`: `None` if it is outside of the package.
fn from(file: &Path, relative: &str) -> Option<PathBuf> {
    let mut path = file.parent()?.to_owned();
    for component in Path::new(relative).components() {
        match component {
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            component => path.push(component),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_found_and_resolved() {
        let text = r#"#[doc = include_str!("../README.md")]
            const A: &[u8] = include_bytes!("a/b");
            #[path = "../../c.rs"]
            mod c;"#;
        assert_eq!(included(text).collect::<Vec<_>>(), ["../README.md", "a/b", "../../c.rs"]);
        let file = Path::new("src/page.rs");
        assert_eq!(from(file, "../README.md"), Some(PathBuf::from("README.md")));
        assert_eq!(from(file, "a/b"), Some(PathBuf::from("src/a/b")));
        assert_eq!(from(file, "../../docs/page.md"), None);
    }

    #[test]
    fn a_package_that_lacks_something_or_reaches_outside_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let package = Package::without_faults(scratch.path());
        fs::create_dir(scratch.path().join("src")).unwrap();
        let source = r#"use framewright_testkit::rng; #[doc = include_str!("../../x.md")]"#;
        fs::write(scratch.path().join("src/lib.rs"), source).unwrap();
        fs::write(scratch.path().join("README.md"), "Minimum Rust: 1.2.").unwrap();
        let listed = ["README.md", "LICENSE-MIT", "src/lib.rs"].map(PathBuf::from).into();
        let faults = faults_of_files(&package, &listed).unwrap();
        assert_eq!(
            faults,
            [
                "holds no LICENSE-APACHE".to_owned(),
                "README.md does not say \"Minimum Rust: 1.89.\"".to_owned(),
                format!("src/lib.rs names {UNPUBLISHED}, which is not published"),
                "src/lib.rs includes ../../x.md, which is not in the package".to_owned(),
            ]
        );
    }
}
