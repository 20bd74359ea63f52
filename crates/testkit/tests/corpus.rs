//! Replays the committed corpora of the fuzz targets, so that what fuzzing found once is tested by
//! every compiler.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

/// A target's name and body.
type Target = (&'static str, fn(&[u8]));

/// Every fuzz target.
const TARGETS: &[Target] = &[
    ("client_handshake", framewright_testkit::fuzz::response::check),
    ("frame_decoder", framewright_testkit::fuzz::frame::check),
    ("head", framewright_testkit::fuzz::head::check),
    #[cfg(feature = "deflate")]
    ("inflate", framewright_testkit::fuzz::inflate::check),
    #[cfg(feature = "deflate")]
    ("negotiation", framewright_testkit::fuzz::negotiation::check),
    ("server_connection", framewright_testkit::fuzz::connection::check),
];

#[test]
fn client_handshake_passes_its_corpus() {
    replay("client_handshake");
}

#[test]
fn frame_decoder_passes_its_corpus() {
    replay("frame_decoder");
}

#[test]
fn head_passes_its_corpus() {
    replay("head");
}

#[cfg(feature = "deflate")]
#[test]
fn inflate_passes_its_corpus() {
    replay("inflate");
}

#[cfg(feature = "deflate")]
#[test]
fn negotiation_passes_its_corpus() {
    replay("negotiation");
}

#[test]
fn server_connection_passes_its_corpus() {
    replay("server_connection");
}

#[cfg(feature = "deflate")]
#[test]
fn every_fuzz_target_is_replayed_here() {
    use std::collections::BTreeSet;

    let here: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let targets: BTreeSet<String> = entries("fuzz_targets")
        .iter()
        .map(|path| path.file_stem().expect("a file has a name").to_string_lossy().into_owned())
        // That one is replayed by the driver, whose tests have its cryptography.
        .filter(|target| target != "tls")
        .collect();
    assert_eq!(targets, here);
}

/// Gives every file of the target's corpus to its body, and names all that fail.
fn replay(target: &str) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of the table");
    let mut failed = Vec::new();
    for path in entries(&format!("corpus/{target}")) {
        let data = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        if panic::catch_unwind(|| check(&data)).is_err() {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "these inputs fail {target}: {failed:#?}");
}

/// What lies in a folder of `fuzz/`, in alphabetical order; never nothing.
fn entries(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
}
