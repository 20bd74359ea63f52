//! The proxies of `docs/DEPLOYMENT.md`, with the settings that stand there.
//!
//! Through each of them our client, `ws` and `websockets` exchange messages of all sizes with a
//! server of ours; close codes of either side have to arrive at the other; the server has to be
//! told the host and the client's address; and with a time-out of two seconds the proxy has to end
//! a connection on which nothing is sent, and to leave one alone on which Pings are answered.

mod page;
mod setups;

use std::path::Path;

use anyhow::{Context as _, ensure};
use framewright_client::{ClientRequest, Options, Proxy};
use framewright_testkit::programs::process::say;

use super::install::Peer;
use super::ours::FORMS;
use super::proxy_programs::{SQUID, Started};
use super::stage::Stage;
use super::tally::Tally;
use page::Settings;
use setups::{Places, SETUPS, Setup, Tls};

/// Tries every setting of the page, or those of the proxies that have this in their names.
///
/// # Errors
/// If a proxy or the server cannot be started, or the page has no such settings.
pub(super) fn run(peers: &[Peer], proxy: Option<&str>, tally: &mut Tally) -> anyhow::Result<()> {
    let is_wanted = |name: &str| proxy.is_none_or(|wanted| name.contains(wanted));
    let stage = Stage::new()?;
    for setup in SETUPS.iter().filter(|setup| is_wanted(setup.what)) {
        let proxy = start(setup, &stage, false)?;
        let base = base(setup, &proxy);
        println!("{}: {}", setup.what, proxy.version);
        stage.ours(&base, tally)?;
        for peer in peers {
            stage.peer(peer, &base, tally);
        }
        tally.note("the server is told the host and the client", who(&stage, &base));
        if setup.tls == Tls::AtTheServer {
            tally.note("another name is not passed on", other_name(&stage, &proxy));
        }
        drop(proxy);
        if setup.hurry.is_some() {
            let hurried = start(setup, &stage, true)?;
            let base = self::base(setup, &hurried);
            for peer in peers {
                let what = format!("{} {}: silence ends it, answered Pings do not", peer.name, peer.version);
                tally.note(&what, stage.silence(peer, &base));
            }
        }
    }
    if is_wanted("Squid") {
        tunnels(&stage, tally)?;
    }
    Ok(())
}

/// Starts a proxy in front of the server.
fn start(setup: &Setup, stage: &Stage, hurried: bool) -> anyhow::Result<Started> {
    let server = match setup.tls {
        Tls::AtTheServer => stage.server.tls_of_proxies,
        Tls::AtTheProxy | Tls::Nowhere => stage.server.plain,
    };
    Started::with(setup.program, setup.arguments(hurried), |proxy, folder| {
        let certificate = &stage.certificate;
        setup.settings(&Places { proxy, server, certificate, folder, hurried })
    })
}

/// What URLs of the server behind the proxy begin with.
fn base(setup: &Setup, proxy: &Started) -> String {
    let scheme = if setup.tls == Tls::Nowhere { "ws" } else { "wss" };
    format!("{scheme}://localhost:{}", proxy.addr.port())
}

/// The server has to be told the host that the client asked for, with its port, and the client's
/// address.
fn who(stage: &Stage, base: &str) -> anyhow::Result<String> {
    let url = format!("{base}/who").replacen("ws", "http", 1);
    let mut curl = stage.curl();
    curl.args(["--interface", CLIENT, "--header", "X-Forwarded-For: 203.0.113.9", &url]);
    let told = say(&mut curl).context("this needs curl (Debian: the package curl)")?;
    let (_, host) = base.split_once("//").context("a URL")?;
    let expected = format!("{host} {CLIENT}");
    ensure!(told == expected, "{told:?} instead of {expected:?}");
    Ok(String::new())
}

/// Where a client connects from that is not the proxy.
const CLIENT: &str = "127.0.0.2";

/// A connection for another name has to be ended by a proxy that goes by names.
fn other_name(stage: &Stage, proxy: &Started) -> anyhow::Result<String> {
    let port = proxy.addr.port();
    let (name, addr) = (format!("other.test:{port}:127.0.0.1"), format!("https://other.test:{port}/who"));
    let output = stage.curl().args(["--resolve", &name, &addr]).output()?;
    // 35: the handshake of TLS has failed.
    ensure!(output.status.code() == Some(35), "{output:?}");
    Ok(String::new())
}

/// Our client, through Squid without TLS and with it.
fn tunnels(stage: &Stage, tally: &mut Tally) -> anyhow::Result<()> {
    let (plain, tls) = (stage.server.plain.port(), stage.server.tls.port());
    for (block, scheme) in ["http", "https"].into_iter().enumerate() {
        let squid = Started::with(&SQUID, &[], |addr, folder| {
            let settings =
                Settings::of("squid", block)?.with("port 443 5000", &format!("port {tls} {plain}"))?;
            let settings = if scheme == "http" {
                settings.with("http_port 3128", &format!("http_port {addr}"))?
            } else {
                settings
                    .with("https_port 3129", &format!("https_port {addr}"))?
                    .with("/etc/ssl/example.org.pem", &stage.certificate.chain.to_string_lossy())?
                    .with("/etc/ssl/example.org.key", &stage.certificate.key.to_string_lossy())?
            };
            Ok(squid_around(folder, &settings.into_text()))
        })?;
        println!("a client of Squid, by {scheme}: {}", squid.version);
        let through = |url: &str| -> anyhow::Result<(ClientRequest, Options)> {
            let proxy = Some(Proxy::new(&format!("{scheme}://localhost:{}", squid.addr.port()))?);
            Ok((ClientRequest::try_from(url)?, Options { proxy, ..stage.options()? }))
        };
        for url in [format!("ws://localhost:{plain}/ws"), format!("wss://localhost:{tls}/ws")] {
            for form in FORMS {
                let exchanged = through(&url)
                    .and_then(|(request, options)| form.exchange(request, &options, &stage.messages));
                tally.note(&format!("our client, {form}, {url}"), exchanged.map(|()| String::new()));
            }
        }
    }
    Ok(())
}

/// What Debian's Squid has in files and folders of its own.
fn squid_around(folder: &Path, settings: &str) -> String {
    let folder = folder.display();
    format!(
        "{settings}\npid_filename {folder}/pid\ncache_log {folder}/errors\naccess_log none\ncache deny all\n\
         coredump_dir {folder}\npinger_enable off\nshutdown_lifetime 0 seconds\n"
    )
}
