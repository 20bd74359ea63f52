//! `cargo xtask peers`: WebSocket clients of other projects exchange compressed messages with the echo program.
//!
//! Node's `ws` and Python's `websockets` are installed under the build folder ([`install`]). Each makes every offer of
//! permessage-deflate that it can ([`CASES`]), sends the same messages ([`messages`]) and compares what comes back with what it
//! has sent. The octets go through a recording proxy; what was agreed on, which messages were compressed and what they inflate
//! to is read from them.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;

use crate::commands::say;
use crate::compress::Compress;
use crate::echo_server;
use crate::wire::{self, Exchange, Expected, Proxy};
use crate::workspace::Workspace;

mod cases;
mod install;
mod messages;

use cases::CASES;
use install::Peer;

/// What `cargo xtask peers` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only with this way to compress.
    #[arg(long, value_name = "MODE")]
    compress: Option<Compress>,
}

/// Has every peer make every offer to a server of either kind.
///
/// # Errors
/// If a peer cannot be installed, the echo program cannot be started, or an exchange was not as it has to be.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let folder = workspace.target.join("peers");
    let peers = [install::ws(&folder.join("node"))?, install::websockets(&folder.join("python"))?];
    let messages = messages::all();
    let file = folder.join("messages");
    fs::write(&file, messages::encode(&messages))
        .with_context(|| format!("cannot write {}", file.display()))?;

    let modes = options.compress.as_ref().map_or(&Compress::MODES[..], std::slice::from_ref);
    let (mut passed, mut failed) = (0, 0);
    for &mode in modes {
        let server = echo_server::start(&["--compress", &mode.to_string()])?;
        for peer in &peers {
            println!("{} {}, --compress {mode}", peer.name, peer.version);
            for case in CASES.iter().filter(|case| peer.can_offer(case.offers)) {
                let expected =
                    Expected { offers: case.offers, answer: case.answer(mode), messages: &messages };
                let proxy = Proxy::start(server.addr())?;
                match exchange(peer, &file, &proxy, &expected) {
                    Ok(seen) => {
                        passed += 1;
                        println!("  ok {seen}");
                    }
                    Err(error) => {
                        failed += 1;
                        println!("  FAILED {}: {error:#}", expected.offered());
                    }
                }
            }
        }
    }
    crate::conclude(passed, failed)
}

/// One connection of a peer. What was agreed on and how much was saved, in a line.
fn exchange(peer: &Peer, file: &Path, proxy: &Proxy, expected: &Expected<'_>) -> anyhow::Result<String> {
    let url = format!("ws://{}/ws", proxy.addr());
    let settings = peer.settings(expected.offers).to_string();
    say(&mut peer.command([url.into(), file.into(), settings.into()]))?;
    let exchange = Exchange::read(proxy.next_websocket()?, expected.offers)?;
    expected.check(&exchange)?;
    let offered = expected.offered();
    let Some(answer) = expected.answer else { return Ok(format!("{offered}\n     -> declined")) };
    let ((sent, as_sent), (back, as_back)) = (wire::ratio(&exchange.client), wire::ratio(&exchange.server));
    Ok(format!("{offered}\n     -> {answer}\n     {sent} octets in {as_sent}, back {back} in {as_back}"))
}
