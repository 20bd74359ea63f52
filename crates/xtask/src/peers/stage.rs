//! What clients meet over TLS, directly and behind proxies: a server of ours, certificates, and
//! messages of all sizes. And what clients of other projects do with them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use framewright_client::{ClientTls, Options};
use framewright_testkit::programs::process::say;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cases::BARE;
use super::features::{Target, closed_by_server, closed_by_us};
use super::install::{Library, Peer};
use super::messages;
use super::our_server::{OurServer, REASON};
use super::ours::{FORMS, options};
use super::tally::Tally;
use crate::certificates::{Authority, Certificate, Made};
use crate::wire::Message;

/// All of it.
pub(super) struct Stage {
    pub(super) server: OurServer,
    pub(super) authority: Authority,
    pub(super) certificate: Certificate,
    pub(super) messages: Vec<Message>,
    /// The file with the messages.
    file: PathBuf,
    _folder: TempDir,
}

impl Stage {
    /// Makes the certificates and starts the server.
    ///
    /// # Errors
    /// If a file cannot be written, or the server not be started.
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("framewright-tls-").tempdir()?;
        let authority = Authority::new(folder.path(), "Test")?;
        let certificate = authority.certificate("good", Made::Well)?;
        let messages = messages::of_all_sizes();
        let file = folder.path().join("messages");
        fs::write(&file, messages::encode(&messages))?;
        let server = OurServer::start(&certificate, &authority.file())?;
        Ok(Self { server, authority, certificate, messages, file, _folder: folder })
    }

    /// Settings of our client that trusts the authority, and no other.
    ///
    /// # Errors
    /// If its certificate cannot be read.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        let tls = ClientTls::builder().only_ca_file(self.authority.file()).build()?;
        Ok(Options { tls, ..options() })
    }

    /// The messages and the close codes of a peer, with a server whose URLs begin with `base`.
    pub(super) fn peer(&self, peer: &Peer, base: &str, tally: &mut Tally) {
        let what = format!("{} {}: ", peer.name, peer.version);
        tally.note(&format!("{what}messages of all sizes"), self.exchange(peer, base));
        tally.note(&format!("{what}close codes of both sides"), self.close_codes(peer, base));
    }

    /// The messages and the close codes of our client, with a server whose URLs begin with `base`.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub(super) fn ours(&self, base: &str, tally: &mut Tally) -> anyhow::Result<()> {
        let target = Target { base: base.to_owned(), options: self.options()? };
        self.echoed(&target, "/ws", tally);
        let codes = CODES.iter().try_for_each(|&(code, reason)| {
            closed_by_us(&target, "/told", Some(code), reason)?;
            self.was_told(code, reason)?;
            closed_by_server(&target, &format!("/close/{code}"), code, REASON)
        });
        tally.note("our client: close codes of both sides", codes.map(|()| String::new()));
        Ok(())
    }

    /// Our client, in each form, has to get every message back as it was sent.
    pub(super) fn echoed(&self, target: &Target, path: &str, tally: &mut Tally) {
        for form in FORMS {
            let exchanged = target
                .request(path)
                .and_then(|request| form.exchange(request, &target.options, &self.messages));
            let what = format!("our client, {form}: messages of all sizes");
            tally.note(&what, exchanged.map(|()| String::new()));
        }
    }

    /// Every message has to come back as it was sent.
    fn exchange(&self, peer: &Peer, base: &str) -> anyhow::Result<String> {
        let url = format!("{base}/ws");
        let settings = peer.settings(&[BARE]).to_string();
        say(&mut self.trusting(peer.client([url.into(), self.file.as_path().into(), settings.into()])))?;
        Ok(String::new())
    }

    /// The code and the reason of each side have to arrive at the other.
    fn close_codes(&self, peer: &Peer, base: &str) -> anyhow::Result<String> {
        for (code, reason) in CODES {
            let connections = json!([
                { "url": format!("{base}/told"), "close": [code, reason] },
                { "url": format!("{base}/close/{code}"), "wait": PATIENCE },
            ]);
            self.has_ends(peer, &connections, &json!([[code, reason, true], [code, REASON, true]]))?;
            self.was_told(code, reason)?;
        }
        Ok(String::new())
    }

    /// The server has to have seen this Close frame.
    fn was_told(&self, code: u16, reason: &str) -> anyhow::Result<()> {
        let seen = self.server.next_end()?;
        ensure!(seen == (code, reason.to_owned()), "the server saw {seen:?} instead of {code} {reason:?}");
        Ok(())
    }

    /// A connection on which nothing is sent has to be ended, and to stay open with Pings.
    ///
    /// # Errors
    /// If that is not so.
    pub(super) fn silence(&self, peer: &Peer, base: &str) -> anyhow::Result<String> {
        let connections = json!([
            { "url": format!("{base}/quiet"), "wait": PATIENCE },
            { "url": format!("{base}/pinged"), "wait": PATIENCE },
        ]);
        self.has_ends(peer, &connections, &json!([[1006, "", true], [1000, "", false]]))?;
        Ok(String::new())
    }

    /// Connections of a peer have to end as expected: see its script.
    fn has_ends(&self, peer: &Peer, connections: &Value, expected: &Value) -> anyhow::Result<()> {
        let mut command = match peer.library {
            Library::Ws => peer.script("ws_ends.cjs", include_str!("ws_ends.cjs"))?,
            Library::Websockets => peer.script("websockets_ends.py", include_str!("websockets_ends.py"))?,
        };
        command.arg(connections.to_string());
        let said = say(&mut self.trusting(command))?;
        let ends: Value = serde_json::from_str(&said).with_context(|| format!("not an answer: {said}"))?;
        ensure!(ends == *expected, "the client saw {ends} instead of {expected}");
        Ok(())
    }

    /// A client that trusts the authority.
    fn trusting(&self, mut command: Command) -> Command {
        let file = self.authority.file();
        // Of Python and of Node.
        command.env("SSL_CERT_FILE", &file).env("NODE_EXTRA_CA_CERTS", &file);
        command
    }

    /// curl, over HTTP/1.1 and IPv4, past every proxy that the environment names.
    pub(super) fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--http1.1", "--ipv4", "--noproxy", "*", "--max-time", "20"]);
        curl.arg("--cacert").arg(self.authority.file());
        curl
    }
}

/// The codes that have to arrive, and the reason that the client gives.
const CODES: [(u16, &str); 4] = [(1000, ""), (1001, "going away"), (3000, "Grüße"), (4999, "🎉")];

/// For how many seconds a client waits for an end: more than twice the time-out of two seconds,
/// which lighttpd looks at once a second.
const PATIENCE: u32 = 5;
