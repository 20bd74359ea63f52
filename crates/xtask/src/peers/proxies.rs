//! Clients that send a message too large, at full speed: each has to be told 1009, directly and
//! through haproxy, Apache, Caddy and nginx.
//!
//! A proxy closes the connection of its client as soon as it has seen the end of the server's. What
//! the client still sends then resets it, and it may not get to read why. So this is about when our
//! server ends its connections.

use std::net::SocketAddr;

use anyhow::ensure;
use framewright_testkit::programs::process::say;

use super::install::{Library, Peer};
use super::proxy_programs::{
    Kind, Started, apache, apache_settings, caddy, caddy_settings, haproxy, haproxy_settings, nginx,
    nginx_settings,
};
use super::tally::Tally;
use crate::echo_server;

/// How many clients of each library there are for each way to the server.
const CLIENTS: usize = 28;

/// The octets in their messages: a mebibyte more than the server takes.
const OCTETS: usize = 17 << 20;

/// Those that forward whatever comes.
fn kinds() -> [Kind; 4] {
    [
        haproxy(|addr, server, _| haproxy_settings(addr, "http", "", &server.to_string())),
        apache(|addr, server, folder| apache_settings(addr, server, folder, "")),
        caddy(|addr, server, _| caddy_settings(addr, &format!("reverse_proxy {server}"))),
        nginx(|addr, server, folder| nginx_settings(addr, server, folder, "")),
    ]
}

/// Has the clients of each library send too much, directly and through each proxy.
///
/// # Errors
/// If a proxy or the echo program cannot be started.
pub(super) fn run(peers: &[Peer], tally: &mut Tally) -> anyhow::Result<()> {
    let server = echo_server::start(&[])?;
    for peer in peers {
        tally.note(&format!("{} {}, directly", peer.name, peer.version), told_why(peer, server.addr()));
    }
    for kind in kinds() {
        let proxy = Started::new(&kind, server.addr())?;
        for peer in peers {
            let what = format!("{} {}, through {}", peer.name, peer.version, proxy.version);
            tally.note(&what, told_why(peer, proxy.addr));
        }
    }
    Ok(())
}

/// Every client of this library has to be told 1009.
fn told_why(peer: &Peer, addr: SocketAddr) -> anyhow::Result<String> {
    let mut command = match peer.library {
        Library::Ws => peer.script("ws_too_large.cjs", include_str!("ws_too_large.cjs"))?,
        Library::Websockets => {
            peer.script("websockets_too_large.py", include_str!("websockets_too_large.py"))?
        }
    };
    let url = format!("ws://{addr}/ws");
    let told = say(command.args([&url, &CLIENTS.to_string(), &OCTETS.to_string()]))?;
    let codes: Vec<&str> = told.lines().collect();
    let right = codes.iter().filter(|&&code| code == "1009").count();
    ensure!(right == CLIENTS && codes.len() == CLIENTS, "{right} of {CLIENTS} were told 1009: {codes:?}");
    Ok(format!("{right} of {CLIENTS} were told 1009"))
}
