//! TLS, with rustls' own client.

#[path = "../../common/tls.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod client;

mod bulk;
mod certificates;
mod endings;
mod reload;
mod sessions;
mod settings;
mod strangers;

use crate::common::{TestServer, wait_until};
use crate::scripted::Scripted;
use client::{Ca, Connector, Issued};
use framewright_server::{Endpoint, Handler, RefusedCounts, Server, ServerBuilder, ServerTls};

/// The settings with this certificate.
fn tls(issued: &Issued) -> ServerTls {
    ServerTls::builder().certificate_pem(&*issued.chain, &*issued.key).build().expect("settings")
}

/// A server with TLS at the first address, which serves every path with `handler`.
fn start(
    tls: ServerTls,
    handler: impl Handler,
    configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> TestServer {
    let builder = Server::builder().endpoint(Endpoint::tcp("127.0.0.1:0").with_tls(tls)).fallback(handler);
    TestServer::run(configure(builder).build().expect("a server"))
}

/// An echo with TLS, and how to connect to it.
fn start_echo(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> (TestServer, Connector) {
    let ca = Ca::new("the CA");
    let server = start(tls(&ca.issue(&["localhost"])), Scripted::echo().0, configure);
    (server, Connector::new(&ca))
}

/// Waits until this many connections are refused for the reason that `count` selects, and no other.
#[track_caller]
fn expect_refused(server: &TestServer, expected: u64, count: impl Fn(&RefusedCounts) -> u64) {
    let refused = || server.handle().stats().totals().refused;
    wait_until("a refusal is counted", || count(&refused()) >= expected);
    assert_eq!((count(&refused()), refused().total()), (expected, expected));
}
