//! `cargo xtask peers`: WebSocket clients and servers of other projects exchange messages with
//! ours.
//!
//! Node's `ws` and Python's `websockets` are installed under the build folder ([`install`]). Each
//! makes every offer of permessage-deflate that it can ([`cases`]), sends the same messages
//! ([`messages`]) and compares what comes back with what it has sent ([`clients`]). Our client does
//! the same with their servers and with the echo program ([`servers`]), through a proxy
//! ([`tunnels`]), and with servers that compress as they like ([`stubborn`]). Over HTTP/2 our client
//! speaks with Hypercorn, and Node with a server of ours ([`http2`]). Clients that do so
//! break a rule of RFC 7692, and are served all the same ([`keepers`]). Behind proxies their
//! clients are told that a message is too large ([`proxies`]), and our server is told whom requests
//! are from ([`addresses`]). With the settings of `docs/DEPLOYMENT.md` proxies do what the page says
//! of them ([`deployment`]). The octets go through another one
//! that records; what was agreed on, which messages were compressed and what they inflate to is
//! read from them.

use std::fs;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use framewright_cli::Compress;
use framewright_testkit::programs::workspace::Workspace;

mod addresses;
mod cases;
mod clients;
mod deployment;
mod features;
mod http2;
mod install;
mod keepers;
mod messages;
mod our_server;
mod ours;
mod proxies;
pub(crate) mod proxy_programs;
mod servers;
mod stage;
mod stubborn;
mod tally;
mod tls;
mod tunnels;

use tally::Tally;

/// What `cargo xtask peers` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this part (without this option: all of them but `proxies`, `addresses` and
    /// `deployment`, which need more programs).
    #[arg(long)]
    part: Option<Part>,
    /// Only with this way in which the echo program compresses.
    #[arg(long, value_name = "MODE")]
    compress: Option<Compress>,
    /// With `--part deployment`: only the settings whose proxy has this in its name.
    #[arg(long, value_name = "NAME")]
    proxy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Clients of other projects and the echo program.
    Clients,
    /// Our client and the servers of other projects.
    Servers,
    /// Our client and the echo program.
    Ours,
    /// Our client, through a proxy.
    Tunnels,
    /// What haproxy, Apache, Caddy and nginx tell a server of whom a request is from, and clients
    /// of other projects that send the echo program too much through them.
    Proxies,
    /// The first half of `proxies`.
    Addresses,
    /// Every proxy of `docs/DEPLOYMENT.md`, with the settings that stand there.
    Deployment,
    /// Our client and servers that compress with context takeover whatever they are asked for.
    Stubborn,
    /// TLS: clients of other projects and a server of ours, our client and their servers, and what it
    /// says of certificates that it does not accept.
    Tls,
    /// HTTP/2: our client and Hypercorn, Node and a server of ours on axum.
    Http2,
    /// Clients that refer to earlier messages though they have agreed not to, and the echo program.
    Keepers,
}

/// The parts that need no more than CI has.
const USUAL: [Part; 8] = [
    Part::Clients,
    Part::Servers,
    Part::Ours,
    Part::Tunnels,
    Part::Stubborn,
    Part::Keepers,
    Part::Tls,
    Part::Http2,
];

/// Runs every part.
///
/// # Errors
/// If a peer cannot be installed or started, or an exchange was not as it has to be.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let folder = workspace.target.join("peers");
    let peers = [install::ws(&folder.join("node"))?, install::websockets(&folder.join("python"))?];
    let messages = messages::all();
    let file = folder.join("messages");
    fs::write(&file, messages::encode(&messages))
        .with_context(|| format!("cannot write {}", file.display()))?;

    let modes = |usual| options.compress.as_ref().map_or(usual, std::slice::from_ref);
    let parts = options.part.as_ref().map_or(&USUAL[..], std::slice::from_ref);
    let mut tally = Tally::default();
    for part in parts {
        match part {
            Part::Clients => clients::run(&peers, modes(&Compress::MODES), &file, &messages, &mut tally)?,
            Part::Servers => servers::others(&peers, &messages, &mut tally)?,
            Part::Ours => servers::ours(modes(&Compress::ALL), &messages, &mut tally)?,
            Part::Tunnels => tunnels::run(&peers[0], &messages, &mut tally)?,
            Part::Proxies => {
                addresses::run(&mut tally)?;
                proxies::run(&peers, &mut tally)?;
            }
            Part::Addresses => addresses::run(&mut tally)?,
            Part::Deployment => deployment::run(&peers, options.proxy.as_deref(), &mut tally)?,
            Part::Stubborn => stubborn::run(&folder, &mut tally)?,
            Part::Tls => tls::run(&peers, &mut tally)?,
            Part::Http2 => http2::run(&folder.join("hypercorn"), &peers[0], &mut tally)?,
            Part::Keepers => keepers::run(&folder, modes(&Compress::MODES), &mut tally)?,
        }
    }
    crate::conclusion::conclude(tally.passed, tally.failed)
}
