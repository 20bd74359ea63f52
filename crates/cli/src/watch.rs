//! Files that are read again when they change.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Files, and how they looked when they were last read.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    files: Vec<PathBuf>,
    read: Vec<Look>,
}

/// When a file was last written, and how long it is; `None` if that is not known.
type Look = Option<(SystemTime, u64)>;

impl Watch {
    /// Notes how the files look. To be made before they are read for the first time: what changes
    /// from here on is read again.
    pub(crate) fn new(files: Vec<PathBuf>) -> Watch {
        let mut watch = Watch { files, read: Vec::new() };
        watch.read = watch.looks();
        watch
    }

    /// How each file looks now.
    fn looks(&self) -> Vec<Look> {
        let look = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.files.iter().map(look).collect()
    }

    /// Whether a file has changed since the last call, or since the beginning.
    pub(crate) fn has_changed(&mut self) -> bool {
        let looks = self.looks();
        let has_changed = looks != self.read;
        self.read = looks;
        has_changed
    }

    /// Calls `read_again` whenever the files have changed, until the other end of `over` is dropped.
    pub(crate) fn run(mut self, over: &Receiver<()>, read_again: impl Fn()) {
        // Nothing is ever sent.
        while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if self.has_changed() {
                read_again();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut watch = Watch::new(vec![path.clone()]);
        assert!(!watch.has_changed(), "it is not there");
        fs::write(&path, "one").expect("a file");
        assert!(watch.has_changed() && !watch.has_changed());
        fs::write(&path, "four").expect("a file");
        assert!(watch.has_changed() && !watch.has_changed());
    }
}
