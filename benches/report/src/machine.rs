//! On what, and of which versions, the results are.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::SystemTime;

use anyhow::Context as _;
use framewright_testkit::programs::process::say;
use serde::{Deserialize, Serialize};

use super::servers::SERVERS;

/// The machine and the versions. Kept with the results, so that the document can be written
/// elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// How many of them this process may use.
    pub(crate) cores: usize,
    /// In GiB.
    pub(crate) memory_gib: f64,
    /// Name and release.
    pub(crate) kernel: String,
    /// What `rustc --version` says.
    pub(crate) compiler: String,
    /// Crates and their versions.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    /// Looks.
    ///
    /// # Errors
    /// If something is not where Linux has it, or a lock file is not there.
    pub(crate) fn look(root: &Path) -> anyhow::Result<Self> {
        let read = |file: &str| fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
        let cores = thread::available_parallelism()?.get();
        let mut versions = locked(&root.join("Cargo.lock"), &["framewright"])?;
        let crates: Vec<&str> = SERVERS.iter().filter_map(|server| server.peer).collect();
        versions.extend(locked(&root.join("benches/peers/Cargo.lock"), &crates)?);
        let libraries = SERVERS.iter().filter_map(|server| Some((server.name, server.library?)));
        versions.extend(libraries.map(|(name, library)| (name.to_owned(), library.version().to_owned())));
        versions.extend(locked(&root.join("Cargo.lock"), &UNDER_TLS)?);
        Ok(Self {
            processor: field(&read("/proc/cpuinfo")?, "model name").unwrap_or("unknown").to_owned(),
            cores,
            memory_gib: field(&read("/proc/meminfo")?, "MemTotal").map(gibibytes).unwrap_or_default(),
            kernel: format!(
                "{} {}",
                read("/proc/sys/kernel/ostype")?.trim(),
                read("/proc/sys/kernel/osrelease")?.trim()
            ),
            compiler: say(Command::new("rustc").arg("--version").current_dir(root))?,
            versions,
        })
    }
}

/// What TLS is made of, in ours and in the peers.
const UNDER_TLS: [&str; 2] = ["rustls", "aws-lc-rs"];

/// A run of `cargo bench-report`. What servers of different runs have to say of each other is not
/// compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The commit that was measured, and whether files had changed since.
    pub(crate) commit: String,
    /// When it began, in seconds since 1970.
    pub(crate) began: u64,
}

impl Run {
    /// A run that begins now.
    ///
    /// # Errors
    /// If git cannot tell the commit.
    pub(crate) fn begin(root: &Path) -> anyhow::Result<Run> {
        let git = |arguments: &[&str]| say(Command::new("git").args(arguments).current_dir(root));
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        if !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
            commit.push_str(" and changes");
        }
        let began =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("a clock before 1970")?;
        Ok(Run { commit, began: began.as_secs() })
    }
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim())
}

/// Of a number of kB.
fn gibibytes(kilobytes: &str) -> f64 {
    let number: f64 = kilobytes.trim_end_matches("kB").trim().parse().unwrap_or_default();
    number / f64::from(1 << 20)
}

/// The versions of these crates in a lock file, the newest if there are several.
fn locked(file: &Path, crates: &[&str]) -> anyhow::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    crates
        .iter()
        .map(|&name| {
            let version = version(&text, name);
            let version = version.with_context(|| format!("{} does not lock {name}", file.display()))?;
            Ok((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// The version that stands below the name of a package. Cargo sorts packages by version.
fn version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        if value(line, "name") == Some(name) {
            found = lines.next().and_then(|line| value(line, "version")).or(found);
        }
    }
    found
}

/// The value of a line `key = "value"`.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found() {
        let text = "processor\t: 0\nmodel name\t: A processor @ 2 GHz: fast\nmodel name\t: another\n";
        assert_eq!(field(text, "model name"), Some("A processor @ 2 GHz: fast"));
        assert_eq!(field(text, "bogomips"), None);
        assert!((gibibytes("16777216 kB") - 16.0).abs() < 1e-9);
    }

    #[test]
    fn versions_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"tokio\"\nversion = \"1.54.1\"\n\n[[package]]\nname = \"mio\"\n\
            version = \"0.8.11\"\n\n[[package]]\nname = \"mio\"\nversion = \"1.2.4\"\n";
        assert_eq!(version(lock, "tokio"), Some("1.54.1"));
        assert_eq!(version(lock, "mio"), Some("1.2.4"));
        assert_eq!(version(lock, "toki"), None);
    }

    #[test]
    fn every_server_has_a_version_in_the_lock_files_of_this_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let machine = Machine::look(&root).expect("a Linux machine with a compiler");
        let peers = SERVERS.iter().filter(|server| server.peer.is_some() || server.library.is_some()).count();
        assert_eq!(machine.versions.len(), 1 + peers + UNDER_TLS.len());
    }

    #[test]
    fn ours_and_the_peers_have_the_same_tls() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let [ours, peers] = ["Cargo.lock", "benches/peers/Cargo.lock"]
            .map(|file| locked(&root.join(file), &UNDER_TLS).expect("both are locked"));
        assert_eq!(ours, peers);
    }
}
