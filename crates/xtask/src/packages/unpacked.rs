//! The packages as whoever downloads them has them: without the repository, and without each
//! other's features.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use framewright_testkit::programs::cargo::cargo;
use framewright_testkit::programs::workspace::Workspace;

use super::manifest::Package;

/// Tries to publish all, and runs the tests of each. Returns how many passed and how many failed.
pub(super) fn check(workspace: &Workspace, packages: &[Package]) -> anyhow::Result<(usize, usize)> {
    let mut publish = cargo();
    publish.args(["publish", "--dry-run", "--workspace", "--allow-dirty", "--locked"]);
    ensure!(succeeds(publish.current_dir(&workspace.root))?, "the packages cannot be published");

    let folder = workspace.target.join("packages");
    unpack(workspace, packages, &folder)?;
    let (mut passed, mut failed) = (1, 0);
    for package in packages {
        println!("\n=== the tests of {}, unpacked", package.name);
        // One at a time: each is built with what it asks for itself.
        let mut test = cargo();
        test.args(["test", "-p", &package.name, "--target-dir"]).arg(&workspace.target);
        if succeeds(test.current_dir(&folder))? {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    Ok((passed, failed))
}

/// Puts the packages that cargo has just made and unpacked into a workspace of their own, in which
/// each takes the others from beside it.
fn unpack(workspace: &Workspace, packages: &[Package], folder: &Path) -> anyhow::Result<()> {
    for package in packages {
        let unpacked = workspace.target.join("package").join(format!("{}-{}", package.name, package.version));
        let place = folder.join(&package.name);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(folder)?;
        fs::rename(&unpacked, &place).with_context(|| format!("cannot take {}", unpacked.display()))?;
    }
    let root = fs::read_to_string(workspace.root.join("Cargo.toml"))?;
    fs::write(folder.join("Cargo.toml"), manifest(packages, &root))?;
    // The same versions of everything else.
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

/// The manifest of a workspace of the packages. What is optimised in the tests of the workspace
/// whose manifest `root` is, is here too, so that their dependencies need not be compiled twice.
fn manifest(packages: &[Package], root: &str) -> String {
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {names:?}\n\n[patch.crates-io]\n");
    for name in &names {
        writeln!(manifest, "{name} = {{ path = \"{name}\" }}").expect("a string takes all");
    }
    for section in root.split("\n[").filter(|section| section.starts_with("profile.dev")) {
        let package = section.strip_prefix("profile.dev.package.").and_then(|rest| rest.split(']').next());
        // Of the workspace's own packages only those that are here.
        if package.is_none_or(|name| names.contains(&name) || !name.starts_with("framewright")) {
            write!(manifest, "\n[{section}").expect("a string takes all");
        }
    }
    manifest
}

fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    Ok(command.stdin(Stdio::null()).status().context("cannot run cargo")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_a_member_and_taken_from_beside_the_others() {
        let root = "[workspace]\n[profile.dev]\ndebug = 1\n\n[profile.dev.package.x]\nopt-level = 3\n\n\
            [profile.dev.package.framewright-y]\nopt-level = 3\n\n[profile.release]\nlto = true\n";
        let manifest = manifest(&[Package::without_faults(Path::new("/x"))], root);
        let lines: Vec<&str> = manifest.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(
            lines,
            [
                "[workspace]",
                "resolver = \"3\"",
                "members = [\"x\"]",
                "[patch.crates-io]",
                "x = { path = \"x\" }",
                "[profile.dev]",
                "debug = 1",
                "[profile.dev.package.x]",
                "opt-level = 3",
            ]
        );
    }
}
