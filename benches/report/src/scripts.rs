//! Servers on libraries of other languages: installed in the version that is pinned, with a script
//! that uses them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use framewright_testkit::programs::packages::{WEBSOCKETS, WS, npm_package, python_package};

/// A library of another language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Library {
    /// `ws`, for Node.
    Ws,
    /// `websockets`, for Python.
    Websockets,
}

/// What runs a script, and the script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) program: PathBuf,
    pub(crate) file: PathBuf,
}

impl Library {
    /// The version that is measured.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Library::Ws => WS,
            Library::Websockets => WEBSOCKETS,
        }
    }

    /// Installs it into a folder of its own under `folder`, if it is not there yet, and writes its
    /// script.
    ///
    /// # Errors
    /// If it cannot be installed, or the script cannot be written.
    pub(crate) fn install(self, folder: &Path) -> anyhow::Result<Script> {
        let (name, file, text) = match self {
            Library::Ws => ("ws", "broadcast.cjs", include_str!("scripts/ws_broadcast.cjs")),
            // It is not to have the name of the library: it would be imported in its place.
            Library::Websockets => {
                ("websockets", "server.py", include_str!("scripts/websockets_broadcast.py"))
            }
        };
        let folder = folder.join(name);
        let program = match self {
            Library::Ws => npm_package(&folder, name, self.version()).map(|()| PathBuf::from("node"))?,
            Library::Websockets => python_package(&folder, name, self.version())?,
        };
        let file = folder.join(file);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Script { program, file })
    }
}
