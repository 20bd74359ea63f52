//! What a TLS session costs.

#[path = "../common/tls.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod client;

use crate::process::ServerProcess;
use client::{Ca, Connector, TlsStream, trust_anybody};
use framewright_server::ServerTls;

/// What the project promises for a connection with TLS at rest, in octets: 2.6 KB that rustls keeps, 1.1
/// KB of the session's own, and what a connection without TLS costs.
const AT_REST: usize = 4000;

/// The settings of the server, with a certificate of its own.
pub(crate) fn settings() -> ServerTls {
    let issued = Ca::new("the CA of the server").issue(&["localhost"]);
    ServerTls::builder().certificate_pem(issued.chain, issued.key).build().expect("settings")
}

/// No buffer of a record is kept: neither that of the handshake nor that of the largest one.
#[test]
fn a_session_at_rest_costs_at_most_4000_octets_after_a_message_of_16_000_octets() {
    const COUNT: usize = 1000;
    let mut server = ServerProcess::start_with("tls");
    let mut connector = Connector::new(&Ca::new("nobody"));
    let _seen = trust_anybody(&mut connector);
    let message = vec![7; 16_000];
    let open = |server: &ServerProcess| {
        let mut client = connector.open(server.addr(), "/echo");
        client.send_binary(&message);
        assert!(client.message().1 == message);
        client
    };
    open(&server).leave();
    server.wait_for_connections(0);
    let before = server.memory();
    let clients: Vec<crate::common::Client<TlsStream>> = (0..COUNT).map(|_| open(&server)).collect();
    let each = server.memory().saturating_sub(before) / COUNT;
    println!("{each} octets for each of {COUNT} connections with TLS at rest");
    assert!(each <= AT_REST, "{each}");
    drop(clients);
    server.wait_for_connections(0);
}
