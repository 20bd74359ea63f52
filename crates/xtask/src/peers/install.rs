//! The peers: which version of each is used, where it is installed, and how it is told what to
//! offer, or to agree to.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use framewright::deflate::{ClientWindow, DeflateOffer, WindowBits};
use framewright_testkit::programs::packages::{WEBSOCKETS, WS, npm_package, python_command, python_package};
use framewright_testkit::programs::process::say;
use framewright_testkit::programs::server::ServerProcess;
use serde_json::{Value, json};

use crate::certificates::Certificate;

/// The version of Tornado, from the Python package index.
pub(super) const TORNADO: &str = "6.6.1";
/// The version of Hypercorn, from the Python package index.
pub(super) const HYPERCORN: &str = "0.18.0";

/// A library of another project, with a client and a server that are ready to be run.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) library: Library,
    program: PathBuf,
    client: PathBuf,
    server: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    Ws,
    Websockets,
}

/// Installs Node's `ws` into `folder`, if it is not there yet.
///
/// # Errors
/// If there is no Node or npm, or the installation fails.
pub(super) fn ws(folder: &Path) -> anyhow::Result<Peer> {
    npm_package(folder, "ws", WS)?;
    let client = written(folder.join("ws_client.cjs"), include_str!("ws_client.cjs"))?;
    let server = written(folder.join("ws_server.cjs"), include_str!("ws_server.cjs"))?;
    Ok(Peer { name: "ws", version: WS, library: Library::Ws, program: PathBuf::from("node"), client, server })
}

/// Installs Python's `websockets` into an environment in `folder`, if it is not there yet.
///
/// # Errors
/// If there is no Python 3 that makes environments, or the installation fails.
pub(super) fn websockets(folder: &Path) -> anyhow::Result<Peer> {
    let python = python_package(folder, "websockets", WEBSOCKETS)?;
    let client = written(folder.join("websockets_client.py"), include_str!("websockets_client.py"))?;
    let server = written(folder.join("websockets_server.py"), include_str!("websockets_server.py"))?;
    let (name, library) = ("websockets", Library::Websockets);
    Ok(Peer { name, version: WEBSOCKETS, library, program: python, client, server })
}

/// Installs Tornado into an environment under `folder`, if it is not there yet. Returns the
/// environment's Python.
///
/// # Errors
/// As [`websockets`].
pub(super) fn tornado(folder: &Path) -> anyhow::Result<PathBuf> {
    python_package(&folder.join("tornado"), "tornado", TORNADO)
}

/// Installs Hypercorn into an environment in `folder`, if it is not there yet. Returns the
/// environment's Python.
///
/// # Errors
/// As [`websockets`].
pub(super) fn hypercorn(folder: &Path) -> anyhow::Result<PathBuf> {
    python_package(folder, "hypercorn", HYPERCORN)
}

/// The version of the Mojolicious that the system's `perl` has.
///
/// # Errors
/// If it has none.
pub(super) fn mojolicious() -> anyhow::Result<String> {
    let version = say(Command::new("perl").args(["-MMojolicious", "-e", "print Mojolicious->VERSION"]))
        .context("this needs Mojolicious (Debian: the package libmojolicious-perl)")?;
    Ok(version.trim().to_owned())
}

/// Writes a script. Returns where.
///
/// # Errors
/// If it cannot be written.
pub(super) fn written(path: PathBuf, script: &str) -> anyhow::Result<PathBuf> {
    fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

impl Peer {
    /// Its client with these arguments: an URL, the file with the messages, and what to offer.
    pub(super) fn client(&self, arguments: [OsString; 3]) -> Command {
        let mut command = self.command(&self.client);
        command.args(arguments);
        command
    }

    /// A script of this name and text beside its own, ready to be run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn script(&self, name: &str, text: &str) -> anyhow::Result<Command> {
        Ok(self.command(&written(self.client.with_file_name(name), text)?))
    }

    /// Starts its server, with TLS if there is a certificate for it.
    ///
    /// # Errors
    /// If it cannot be started, or does not listen within the deadline.
    pub(super) fn start_server(
        &self,
        agrees: Agrees,
        certificate: Option<&Certificate>,
    ) -> anyhow::Result<ServerProcess> {
        let settings = match agrees {
            Agrees::Never => json!(false),
            Agrees::AsOffered => json!({}),
            Agrees::ToLess => self.library.settings(&LESS),
        };
        let mut command = self.command(&self.server);
        command.arg(settings.to_string());
        if let Some(Certificate { chain, key, .. }) = certificate {
            command.args([chain, key]);
        }
        ServerProcess::start(self.name, &mut command)
    }

    fn command(&self, script: &Path) -> Command {
        let mut command = match self.library {
            Library::Ws => Command::new(&self.program),
            Library::Websockets => python_command(&self.program),
        };
        command.arg(script);
        command
    }

    /// Whether it can make these offers in one handshake: `ws` makes one, and Python's zlib does
    /// not compress with 8.
    pub(super) fn can_offer(&self, offers: &[DeflateOffer]) -> bool {
        let smallest = Some(ClientWindow::AtMost(WindowBits::MIN));
        match self.library {
            Library::Ws => offers.len() == 1,
            Library::Websockets => offers.iter().all(|offer| offer.client_max_window_bits != smallest),
        }
    }

    /// The offers, as settings of the library's client.
    pub(super) fn settings(&self, offers: &[DeflateOffer]) -> Value {
        offers.iter().map(|offer| self.library.settings(offer)).collect()
    }
}

/// Which offers of permessage-deflate a server agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agrees {
    Never,
    /// To what it is offered.
    AsOffered,
    /// To what it is offered, with smaller windows and without context takeover.
    ToLess,
}

impl fmt::Display for Agrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "off",
            Self::AsOffered => "as offered",
            Self::ToLess => "with smaller windows, without context takeover",
        })
    }
}

const LESS: DeflateOffer = DeflateOffer {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: WindowBits::new(10),
    client_max_window_bits: match WindowBits::new(11) {
        Some(bits) => Some(ClientWindow::AtMost(bits)),
        None => panic!("8 to 15"),
    },
};

impl Library {
    /// The parameters, by the names that the library has for them: the client's that it offers, the
    /// server's that it wants.
    fn settings(self, offer: &DeflateOffer) -> Value {
        let server = offer.server_max_window_bits.map(WindowBits::get);
        let client = match offer.client_max_window_bits {
            Some(ClientWindow::AtMost(bits)) => json!(bits.get()),
            Some(ClientWindow::Any) => json!(true),
            None => match self {
                Self::Ws => json!(false),
                Self::Websockets => Value::Null,
            },
        };
        match self {
            Self::Ws => json!({
                "serverNoContextTakeover": offer.server_no_context_takeover,
                // `false` would refuse an answer that asks for it.
                "clientNoContextTakeover": offer.client_no_context_takeover.then_some(true),
                "serverMaxWindowBits": server,
                "clientMaxWindowBits": client,
            }),
            Self::Websockets => json!({
                "server_no_context_takeover": offer.server_no_context_takeover,
                "client_no_context_takeover": offer.client_no_context_takeover,
                "server_max_window_bits": server,
                "client_max_window_bits": client,
            }),
        }
    }
}
