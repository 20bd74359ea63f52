//! The clients of other projects at the echo program.

use std::path::Path;

use framewright_cli::Compress;
use framewright_testkit::programs::process::say;

use crate::echo_server;
use crate::wire::{Compresses, Exchange, Expected, Message, Proxy};

use super::cases::CASES;
use super::install::Peer;
use super::tally::{Tally, saved};

/// Has every peer make every offer that it can to a server of each of these kinds. `file` has the
/// messages.
///
/// # Errors
/// If the echo program cannot be started.
pub(super) fn run(
    peers: &[Peer],
    modes: &[Compress],
    file: &Path,
    messages: &[Message],
    tally: &mut Tally,
) -> anyhow::Result<()> {
    for &mode in modes {
        let server = echo_server::start(&["--compress", &mode.to_string()])?;
        for peer in peers {
            println!("client {} {}, server --compress {mode}", peer.name, peer.version);
            for case in CASES.iter().filter(|case| peer.can_offer(case.offers)) {
                let expected = Expected {
                    offers: case.offers,
                    answer: case.answer(mode),
                    client: Compresses::All,
                    server: Compresses::WherePays,
                    messages,
                };
                let proxy = Proxy::start(server.addr())?;
                tally.note(&expected.offered(), exchange(peer, file, &proxy, &expected));
            }
        }
    }
    Ok(())
}

/// One connection of a peer. What was agreed on and how much was saved, in a line.
fn exchange(peer: &Peer, file: &Path, proxy: &Proxy, expected: &Expected<'_>) -> anyhow::Result<String> {
    let url = format!("ws://{}/ws", proxy.addr());
    let settings = peer.settings(expected.offers).to_string();
    say(&mut peer.client([url.into(), file.into(), settings.into()]))?;
    let exchange = Exchange::read(proxy.next_websocket()?, expected.offers)?;
    expected.check(&exchange)?;
    Ok(saved(&exchange))
}
