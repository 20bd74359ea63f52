//! `cargo xtask circles`: no source files of a crate depend on each other in a circle.
//!
//! A file depends on another one if its code names an item that the other one defines, in a `use`
//! or by a path:
//!
//! | what | counts |
//! |---|---|
//! | a name that comes through a re-export or an import | as naming the file that defines the item |
//! | a macro that is called | as naming the file that defines it; the names in its arguments are the caller's |
//! | `mod` lines, and `pub use`, `pub(crate) use` and `pub(super) use` in a file that declares modules | not: they are a table of contents |
//! | a module, without an item of it | not |
//! | methods, and whatever else hangs on a type or a trait | not: the type or the trait is what is named |
//! | doc comments, and code for tests only (`#[cfg(test)]`, `#[cfg(doctest)]`) | not |
//! | a file that `cfg_attr` puts in the place of another one | as well as the other one |
//! | a child that continues its direct parent | not, see below |
//!
//! A type can be defined in a module's own file and continued in the files below:
//! `connection/mod.rs` defines `Connection`, and each child adds an `impl Connection` and defines
//! the types of some of its fields. Parent and child name each other then, and can be read one
//! after the other all the same. So what a child with an `impl` block for a type of its direct
//! parent names of that parent does not count. What the parent names of the child does, and so does
//! all that anyone else names of either.
//!
//! `cargo modules dependencies --acyclic` cannot be used for this: it looks at items and not at
//! files, takes a type and its own constructor for a circle, and stops at the first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::conclusion::conclude;
use framewright_testkit::programs::workspace::Workspace;

mod graph;
mod names;
mod source;

use graph::Graph;

/// The folders below `crates` that are looked at. One that is missing is an error, and so is one
/// that is not listed: none is left out unnoticed.
const CRATES: [&str; 11] = [
    "simd",
    "framewright",
    "driver",
    "server",
    "client",
    "tokio",
    "axum",
    "redis",
    "testkit",
    "cli",
    "xtask",
];

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these crates, by their folders below `crates` (without this option: all).
    #[arg(long = "crate", value_name = "FOLDER", num_args = 1..)]
    only: Vec<String>,
}

/// Prints the circles of each crate, the shortest first.
///
/// # Errors
/// If a crate has a circle, and if the source of one cannot be read.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let crates = workspace.root.join("crates");
    check_names(&folders(&crates)?)?;
    let asked = options.only.iter().map(String::as_str);
    let asked: Vec<&str> = if options.only.is_empty() { CRATES.to_vec() } else { asked.collect() };
    let (mut passed, mut failed) = (0, 0);
    for name in asked {
        let sources = source::Sources::read(&crates.join(name).join("src"))
            .with_context(|| format!("in the crate {name}"))?;
        let mut is_free = true;
        for root in &sources {
            let graph = names::dependencies(root);
            let circles = graph.circles();
            println!("{name}: {} files, {} circles", root.files.len(), circles.len());
            for circle in &circles {
                println!("{}", drawn(&graph, circle, &root.files));
            }
            is_free &= circles.is_empty();
        }
        if is_free {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    conclude(passed, failed)
}

/// Whether the folders are those that this chore knows of.
fn check_names(there: &BTreeSet<String>) -> anyhow::Result<()> {
    let known: BTreeSet<String> = CRATES.into_iter().map(str::to_owned).collect();
    ensure!(*there == known, "the crates are {there:?}, but crates/xtask/src/circles.rs lists {known:?}");
    Ok(())
}

/// The names of the folders in a folder.
fn folders(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// A circle, a line for each of its files: what it names of the next one.
fn drawn(graph: &Graph, circle: &[usize], files: &[String]) -> String {
    let mut lines = format!("  a circle of {} files:", circle.len());
    for (place, &file) in circle.iter().enumerate() {
        let next = circle[(place + 1) % circle.len()];
        let items: Vec<&str> = graph.items(file, next).collect();
        lines += &format!("\n    {} names {} of {}", files[file], items.join(", "), files[next]);
    }
    lines
}

#[cfg(test)]
mod tests;
