//! A server on framewright-server that sends what comes on `/pub` to all connections of `/sub`.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use framewright_server::{
    Config, Decision, DeflateConfig, DeflatePolicy, Handler, Incoming, ListenAddr, Message, Options, Server,
    ServerHandle, Socket,
};
use peer_common::Compress;

/// What connections of `/sub` get is not theirs to answer.
struct Listeners;

impl Handler for Listeners {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }
}

struct Publishers {
    server: Arc<OnceLock<ServerHandle>>,
}

impl Handler for Publishers {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, _: &mut Socket<'_>, (): &mut (), message: Message<'_>) {
        if let Some(server) = self.server.get() {
            // Refused only while 16 MiB wait to be sent: nothing that is measured comes to that.
            let _ = server.broadcast_where(message, |to| to.route() == Some("/sub"));
        }
    }
}

fn main() -> anyhow::Result<()> {
    let handle = Arc::new(OnceLock::new());
    let server = Server::builder()
        .options(options(Compress::from_args()?))
        .workers(1)
        .route("/sub", Listeners)
        .route("/none", Listeners)
        .route("/pub", Publishers { server: Arc::clone(&handle) })
        .listen(peer_common::any_port())
        .build()?;
    handle.get_or_init(|| server.handle());
    let addr = server.local_addrs().iter().find_map(|addr| match addr {
        ListenAddr::Ip(addr) => Some(*addr),
        _ => None,
    });
    peer_common::announce(addr.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))))?;
    server.run()?;
    Ok(())
}

/// The peers compress short messages too, and keep no connection alive.
fn options(compress: Option<Compress>) -> Options {
    let connection = Config {
        deflate: DeflateConfig { threshold: 0, ..DeflateConfig::default() },
        keep_alive_interval: None,
        ..Config::default()
    };
    Options {
        connection,
        compression: compress.map(|compress| match compress {
            Compress::Shared => DeflatePolicy::default(),
            Compress::Takeover => DeflatePolicy::default().with_takeover(),
        }),
        ..Options::default()
    }
}
