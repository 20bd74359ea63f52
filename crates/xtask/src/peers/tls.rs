//! TLS between ours and others: clients of other projects at a server of ours, our client at
//! servers of other projects, and what our client says of certificates that it does not accept.

mod by_hand;
mod refused;

use anyhow::{Context as _, ensure};
use framewright_client::CloseCode;
use framewright_client::blocking::Client;

use super::features::{self, Target};
use super::install::{Agrees, Peer};
use super::stage::Stage;
use super::tally::Tally;

/// Runs all of it.
///
/// # Errors
/// If a certificate cannot be made, or a server not be started.
pub(super) fn run(peers: &[Peer], tally: &mut Tally) -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let base = format!("wss://localhost:{}", stage.server.tls.port());
    println!("clients of a server of ours");
    stage.ours(&base, tally)?;
    for peer in peers {
        stage.peer(peer, &base, tally);
    }
    by_hand::run(&stage, tally)?;
    let refused = refused::all(&stage)?;
    for peer in peers {
        println!("our client, server {} {}", peer.name, peer.version);
        let server = peer.start_server(Agrees::Never, Some(&stage.certificate))?;
        let base = format!("wss://localhost:{}", server.addr().port());
        let target = Target { base, options: stage.options()? };
        stage.echoed(&target, "/echo", tally);
        features::run(peer.library, &target, tally);
        tally.note("a second connection resumes the session", resumed(&stage, &target));
        refused::run(&stage, peer, &refused, tally);
    }
    Ok(())
}

/// A second connection with the same settings has to resume the session of the first one. More
/// would not say more: Node sends two tickets with a session, and none with one that is resumed.
fn resumed(stage: &Stage, target: &Target) -> anyhow::Result<String> {
    let (request, options) = (target.request("/echo")?, stage.options()?);
    for resumes in [false, true] {
        let mut client = Client::connect_with(request.clone(), &options)?;
        let info = client.tls().context("a connection by TLS")?;
        ensure!(info.resumed == resumes, "resumed {} instead of {resumes}", info.resumed);
        // The server has sent its ticket before this comes back.
        client.send_text("hello")?;
        ensure!(client.receive()?.is_some_and(|message| message.as_bytes() == b"hello"), "no echo");
        client.close_and_wait(CloseCode::NORMAL, "")?;
    }
    Ok(String::new())
}
