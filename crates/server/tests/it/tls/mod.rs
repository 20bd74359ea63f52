//! TLS, with rustls' own client.

#[path = "../../common/tls.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod client;

mod sessions;

use crate::common::TestServer;
use client::Issued;
use framewright_server::{Endpoint, Handler, Server, ServerBuilder, ServerTls};

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
