//! The proxies of `docs/DEPLOYMENT.md`, with the settings that stand there.
//!
//! Through each of them `ws` and `websockets` exchange messages of all sizes with a server of ours;
//! close codes of either side have to arrive at the other; the server has to be told the host and
//! the client's address; and with a time-out of two seconds the proxy has to end a connection on
//! which nothing is sent, and to leave one alone on which Pings are answered.

mod behind;
mod page;
mod setups;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use framewright_client::{ClientRequest, Options, Proxy};
use framewright_testkit::programs::process::say;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cases::BARE;
use super::certificates::{Authority, Certificate, Made};
use super::install::{Library, Peer};
use super::messages;
use super::ours::{FORMS, options};
use super::proxy_programs::{SQUID, Started};
use super::tally::Tally;
use crate::wire::Message;
use behind::{Behind, REASON};
use page::Settings;
use setups::{Places, SETUPS, Setup, Tls};

/// Tries every setting of the page.
///
/// # Errors
/// If a proxy or the server cannot be started, or the page has no such settings.
pub(super) fn run(peers: &[Peer], tally: &mut Tally) -> anyhow::Result<()> {
    let bench = Bench::new()?;
    for setup in &SETUPS {
        let proxy = bench.start(setup, false)?;
        println!("{}: {}", setup.what, proxy.version);
        for peer in peers {
            let what = format!("{} {}: ", peer.name, peer.version);
            let messages = bench.exchange(peer, setup, &proxy);
            tally.note(&format!("{what}messages of all sizes"), messages);
            tally.note(&format!("{what}close codes of both sides"), bench.close_codes(peer, setup, &proxy));
        }
        tally.note("the server is told the host and the client", bench.who(setup, &proxy));
        drop(proxy);
        if setup.hurry.is_some() {
            let hurried = bench.start(setup, true)?;
            for peer in peers {
                let what = format!("{} {}: silence ends it, answered Pings do not", peer.name, peer.version);
                tally.note(&what, bench.silence(peer, setup, &hurried));
            }
        }
    }
    bench.tunnels(tally)
}

/// What is the same for every proxy.
struct Bench {
    server: Behind,
    authority: Authority,
    certificate: Certificate,
    messages: Vec<Message>,
    /// The file with the messages.
    file: PathBuf,
    _folder: TempDir,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("framewright-deployment-").tempdir()?;
        let authority = Authority::new(folder.path())?;
        let certificate = authority.certificate("good", Made::Well)?;
        let messages = messages::of_all_sizes();
        let file = folder.path().join("messages");
        fs::write(&file, messages::encode(&messages))?;
        Ok(Self { server: Behind::start()?, authority, certificate, messages, file, _folder: folder })
    }

    /// Starts a proxy in front of the server.
    fn start(&self, setup: &Setup, hurried: bool) -> anyhow::Result<Started> {
        Started::with(setup.program, setup.arguments(hurried), |proxy, folder| {
            let (server, certificate) = (self.server.addr, &self.certificate);
            setup.settings(&Places { proxy, server, certificate, folder, hurried })
        })
    }

    /// A client that trusts the authority of this test.
    fn trusting(&self, mut command: Command) -> Command {
        // Of Python and of Node.
        command.env("SSL_CERT_FILE", self.authority.file()).env("NODE_EXTRA_CA_CERTS", self.authority.file());
        command
    }

    /// Every message has to come back as it was sent.
    fn exchange(&self, peer: &Peer, setup: &Setup, proxy: &Started) -> anyhow::Result<String> {
        let url = url(setup, proxy, "/ws");
        let settings = peer.settings(&[BARE]).to_string();
        say(&mut self.trusting(peer.client([url.into(), self.file.as_path().into(), settings.into()])))?;
        Ok(format!("{} messages", self.messages.len()))
    }

    /// The code and the reason of each side have to arrive at the other.
    fn close_codes(&self, peer: &Peer, setup: &Setup, proxy: &Started) -> anyhow::Result<String> {
        for (code, reason) in CODES {
            let ends = self.ends(
                peer,
                &json!([
                    { "url": url(setup, proxy, "/told"), "close": [code, reason] },
                    { "url": url(setup, proxy, &format!("/close/{code}")), "wait": PATIENCE },
                ]),
            )?;
            let expected = json!([[code, reason, true], [code, REASON, true]]);
            ensure!(ends == expected, "the client saw {ends} instead of {expected}");
            let seen = self.server.next_end()?;
            ensure!(
                seen == (code, reason.to_owned()),
                "the server saw {seen:?} instead of {code} {reason:?}"
            );
        }
        Ok(String::new())
    }

    /// A connection on which nothing is sent has to be ended, and to stay open with Pings.
    fn silence(&self, peer: &Peer, setup: &Setup, proxy: &Started) -> anyhow::Result<String> {
        let ends = self.ends(
            peer,
            &json!([
                { "url": url(setup, proxy, "/quiet"), "wait": PATIENCE },
                { "url": url(setup, proxy, "/pinged"), "wait": PATIENCE },
            ]),
        )?;
        let expected = json!([[1006, "", true], [1000, "", false]]);
        ensure!(ends == expected, "the client saw {ends} instead of {expected}");
        Ok(String::new())
    }

    /// How connections of a peer end: see its script.
    fn ends(&self, peer: &Peer, connections: &Value) -> anyhow::Result<Value> {
        let mut command = match peer.library {
            Library::Ws => peer.script("ws_ends.cjs", include_str!("ws_ends.cjs"))?,
            Library::Websockets => peer.script("websockets_ends.py", include_str!("websockets_ends.py"))?,
        };
        command.arg(connections.to_string());
        let said = say(&mut self.trusting(command))?;
        serde_json::from_str(&said).with_context(|| format!("not an answer: {said}"))
    }

    /// The server has to be told the host that the client asked for, with its port, and the
    /// client's address.
    fn who(&self, setup: &Setup, proxy: &Started) -> anyhow::Result<String> {
        let url = url(setup, proxy, "/who").replacen("ws", "http", 1);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--http1.1", "--ipv4", "--noproxy", "*"]);
        curl.args(["--max-time", "20", "--interface", CLIENT, "--header", "X-Forwarded-For: 203.0.113.9"]);
        let told = say(curl.arg("--cacert").arg(self.authority.file()).arg(url))
            .context("this needs curl (Debian: the package curl)")?;
        let expected = format!("localhost:{} {CLIENT}", proxy.addr.port());
        ensure!(told == expected, "{told:?} instead of {expected:?}");
        Ok(String::new())
    }

    /// Our client, through Squid.
    fn tunnels(&self, tally: &mut Tally) -> anyhow::Result<()> {
        let port = self.server.addr.port();
        let squid = Started::with(&SQUID, &[], |addr, folder| {
            let settings = Settings::of("squid", 0)?
                .with("http_port 3128", &format!("http_port {addr}"))?
                .with(" 5000", &format!(" {port}"))?;
            Ok(squid_around(folder, &settings.into_text()))
        })?;
        println!("a client of Squid: {}", squid.version);
        let through = |url: &str| -> anyhow::Result<(ClientRequest, Options)> {
            let proxy = Some(Proxy::new(&format!("http://{}", squid.addr))?);
            Ok((ClientRequest::try_from(url)?, Options { proxy, ..options() }))
        };
        for form in FORMS {
            let exchanged = through(&format!("ws://{}/ws", self.server.addr))
                .and_then(|(request, options)| form.exchange(request, &options, &self.messages));
            tally.note(&format!("{form}: messages of all sizes"), exchanged.map(|()| String::new()));
        }
        Ok(())
    }
}

/// The codes that have to arrive, and the reason that the client gives.
const CODES: [(u16, &str); 4] = [(1000, ""), (1001, "going away"), (3000, "Grüße"), (4999, "🎉")];

/// For how many seconds a client waits for an end: more than twice the time-out of two seconds,
/// which lighttpd looks at once a second.
const PATIENCE: u32 = 5;

/// Where a client connects from that is not the proxy.
const CLIENT: &str = "127.0.0.2";

fn url(setup: &Setup, proxy: &Started, path: &str) -> String {
    let scheme = match setup.tls {
        Tls::AtTheProxy => "wss",
        Tls::Nowhere => "ws",
    };
    format!("{scheme}://localhost:{}{path}", proxy.addr.port())
}

/// What Debian's Squid has in files and folders of its own.
fn squid_around(folder: &Path, settings: &str) -> String {
    let folder = folder.display();
    format!(
        "{settings}\npid_filename {folder}/pid\ncache_log {folder}/errors\naccess_log none\ncache deny all\n\
         coredump_dir {folder}\npinger_enable off\nshutdown_lifetime 0 seconds\n"
    )
}
