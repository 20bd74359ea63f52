//! Clients of other projects that keep their compressor, though they have agreed to
//! `client_no_context_takeover`: Tornado's and Mojolicious's (RFC 7692, section 7.1.1.2).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use framewright::deflate::DeflateOffer;
use framewright_cli::Compress;
use framewright_testkit::programs::packages::python_command;
use framewright_testkit::programs::process::say;

use crate::echo_server;
use crate::wire::{Exchange, Message, Proxy};

use super::cases::{BARE, BROWSER};
use super::install::{self, TORNADO};
use super::messages;
use super::tally::{Tally, saved};

/// A client.
struct Keeper {
    name: &'static str,
    version: String,
    program: PathBuf,
    script: PathBuf,
    offers: &'static [DeflateOffer],
}

/// Lets each exchange messages with the echo program in each of these ways of compressing. `folder`
/// is for what is installed.
///
/// # Errors
/// If a client cannot be installed, or the echo program not started.
pub(super) fn run(folder: &Path, modes: &[Compress], tally: &mut Tally) -> anyhow::Result<()> {
    let keepers = [tornado(folder)?, mojolicious(folder)?];
    let messages = messages::alike();
    let file = folder.join("alike");
    fs::write(&file, messages::encode(&messages))
        .with_context(|| format!("cannot write {}", file.display()))?;
    for &mode in modes {
        let server = echo_server::start(&["--compress", &mode.to_string()])?;
        for keeper in &keepers {
            println!("client {} {}, server --compress {mode}", keeper.name, keeper.version);
            let proxy = Proxy::start(server.addr())?;
            let result = exchange(keeper, mode, &file, &proxy, &messages);
            tally.note(&format!("{} messages that are alike", messages.len()), result);
        }
    }
    Ok(())
}

/// One connection. What was agreed on and how much was saved, in a line.
fn exchange(
    keeper: &Keeper,
    mode: Compress,
    file: &Path,
    proxy: &Proxy,
    messages: &[Message],
) -> anyhow::Result<String> {
    let url = format!("ws://{}/ws", proxy.addr());
    say(python_command(&keeper.program).arg(&keeper.script).arg(&url).arg(file))?;
    let exchange = Exchange::read(proxy.next_websocket()?, keeper.offers)?;
    let agreed = exchange.params.is_some_and(|params| params.client_no_context_takeover);
    ensure!(agreed == (mode == Compress::Shared), "{:?} was answered", exchange.answered);
    for sent in [&exchange.client, &exchange.server] {
        let same = sent.iter().map(|sent| &sent.data).eq(messages.iter().map(|message| &message.data));
        ensure!(same, "other messages went over the wire");
    }
    let refers = exchange.client[1..].iter().filter(|sent| sent.refers_back).count();
    ensure!(mode == Compress::Off || refers > 0, "the client refers to no earlier message any more");
    Ok(format!("{}; {refers} refer to earlier ones", saved(&exchange)))
}

fn tornado(folder: &Path) -> anyhow::Result<Keeper> {
    let program = install::tornado(folder)?;
    let script = install::written(folder.join("tornado_client.py"), include_str!("tornado_client.py"))?;
    Ok(Keeper { name: "Tornado", version: TORNADO.to_owned(), program, script, offers: &[BROWSER] })
}

fn mojolicious(folder: &Path) -> anyhow::Result<Keeper> {
    let (program, version) = (PathBuf::from("perl"), install::mojolicious()?);
    let script =
        install::written(folder.join("mojolicious_client.pl"), include_str!("mojolicious_client.pl"))?;
    Ok(Keeper { name: "Mojolicious", version, program, script, offers: &[BARE] })
}
