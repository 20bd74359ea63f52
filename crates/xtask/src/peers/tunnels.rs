//! Our client through `tinyproxy`: tunnels by CONNECT, with credentials, without, with wrong ones,
//! and to where it does not let anybody go.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use framewright_client::{BasicCredentials, ClientRequest, ConnectError, Options, Proxy, ServerResponse};
use framewright_testkit::programs::process::{Running, say};
use tempfile::TempDir;

use super::cases::BROWSER;
use super::install::{Agrees, Peer};
use super::ours::{FORMS, Form, options, with_offers};
use super::tally::Tally;
use crate::free_port;
use crate::wire::Message;

const USER: &str = "user";
const PASSWORD: &str = "open-sesame";

/// Exchanges the messages with the peer's server through proxies of each kind.
///
/// # Errors
/// If the server or a proxy cannot be started.
pub(super) fn run(peer: &Peer, messages: &[Message], tally: &mut Tally) -> anyhow::Result<()> {
    let version = say(Command::new("tinyproxy").arg("-v"))
        .context("this needs tinyproxy (Debian: the package of that name)")?;
    println!("{version}, server {} {}", peer.name, peer.version);
    let server = peer.start_server(Agrees::AsOffered, None)?;
    // The proxy resolves the name: the client hands it on as it is.
    let target = format!("localhost:{}", server.addr().port());

    let open = Tinyproxy::start(server.addr().port(), false)?;
    let guarded = Tinyproxy::start(server.addr().port(), true)?;
    let elsewhere = Tinyproxy::start(1, false)?;
    for form in FORMS {
        let through = |proxy: &Tinyproxy, given| tunnel(form, &target, messages, proxy, given);
        tally.note(&format!("{form}, nobody is asked"), through(&open, None));
        tally.note(
            &format!("{form}, nobody is asked, credentials all the same"),
            through(&open, Some(PASSWORD)),
        );
        tally.note(&format!("{form}, the right credentials"), through(&guarded, Some(PASSWORD)));
        let refused =
            |proxy: &Tinyproxy, given, status| refused(form, &target, messages, proxy, given, status);
        tally.note(&format!("{form}, no credentials"), refused(&guarded, None, 407));
        // It should be a 407, too; this proxy has it so.
        tally.note(&format!("{form}, the wrong password"), refused(&guarded, Some("wrong"), 401));
        tally.note(&format!("{form}, a port that is not allowed"), refused(&elsewhere, None, 403));
    }
    Ok(())
}

/// An exchange through the proxy, which has to have made a tunnel for it.
fn tunnel(
    form: Form,
    target: &str,
    messages: &[Message],
    proxy: &Tinyproxy,
    password: Option<&str>,
) -> anyhow::Result<String> {
    let before = proxy.asked_for(target)?;
    exchange(form, target, messages, proxy, password)?;
    let tunnels = proxy.asked_for(target)? - before;
    ensure!(tunnels == 1, "the proxy was asked for {tunnels} tunnels");
    Ok(String::new())
}

/// An exchange that does not take place, since the proxy answers with this status.
fn refused(
    form: Form,
    target: &str,
    messages: &[Message],
    proxy: &Tinyproxy,
    password: Option<&str>,
    status: u16,
) -> anyhow::Result<String> {
    let Err(error) = exchange(form, target, messages, proxy, password) else {
        bail!("the proxy let it pass")
    };
    match error.downcast::<ConnectError>()? {
        ConnectError::ProxyRefused(response) => {
            ensure!(response.status() == status, "{} instead of {status}", response.status());
            Ok(told(&response))
        }
        error => Err(error).context("not a refusal of the proxy"),
    }
}

fn told(response: &ServerResponse) -> String {
    let reason = String::from_utf8_lossy(response.reason());
    format!(
        "HTTP/1.{} {} {reason}, and {} octets",
        response.http_minor(),
        response.status(),
        response.body().len()
    )
}

fn exchange(
    form: Form,
    target: &str,
    messages: &[Message],
    proxy: &Tinyproxy,
    password: Option<&str>,
) -> anyhow::Result<()> {
    let mut through = Proxy::new(&format!("http://{}", proxy.addr))?;
    if let Some(password) = password {
        through = through.with_credentials(BasicCredentials::new(USER, password)?);
    }
    let request = ClientRequest::try_from(format!("ws://{target}/echo").as_str())?;
    let options = Options { proxy: Some(through), ..options() };
    form.exchange(with_offers(request, &[BROWSER]), &options, messages)
}

/// A running tinyproxy.
struct Tinyproxy {
    addr: SocketAddr,
    /// Where it tells what it was asked for.
    log: PathBuf,
    _process: Running,
    _folder: TempDir,
}

impl Tinyproxy {
    /// Starts one that makes tunnels to this port only, and for whoever knows the password if it is
    /// guarded.
    fn start(port: u16, guarded: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("framewright-tinyproxy-").tempdir()?;
        let (file, log) = (folder.path().join("tinyproxy.conf"), folder.path().join("log"));
        let (process, addr) = free_port::start("tinyproxy", |addr| {
            let mut settings = format!(
                "Listen {}\nPort {}\nConnectPort {port}\nTimeout 60\nMaxClients 20\nLogLevel Connect\n",
                addr.ip(),
                addr.port()
            );
            if guarded {
                settings += &format!("BasicAuth {USER} {PASSWORD}\n");
            }
            fs::write(&file, settings)?;
            let mut command = Command::new("tinyproxy");
            command.args(["-d", "-c"]).arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
            command.stdout(fs::File::create(&log)?);
            Ok(command)
        })?;
        Ok(Self { addr, log, _process: process, _folder: folder })
    }

    /// How often it was asked for a tunnel to there. It writes its log before it connects.
    fn asked_for(&self, target: &str) -> anyhow::Result<usize> {
        let log =
            fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(log.matches(&format!("CONNECT {target} HTTP/1.1")).count())
    }
}
