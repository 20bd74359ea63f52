//! Connections without an opening handshake, in memory.

use framewright_tokio::{Config, Negotiated, Role, WebSocket};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;

/// A client and a server whose stream holds `room` bytes.
pub(crate) fn pair(
    room: usize,
    config: impl Into<Arc<Config>>,
) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(room);
    let config = config.into();
    let open =
        |stream, role| WebSocket::from_negotiated(stream, role, Negotiated::new(), &[], Arc::clone(&config));
    (open(client, Role::Client), open(server, Role::Server))
}

/// Settings without a deadline that a test does not ask for.
pub(crate) fn quiet() -> Config {
    Config { keep_alive_interval: None, ..Config::default() }
}

/// Fails a test that waits for ever. With a paused clock, the time passes only while all tasks wait.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it does not wait for ever")
}
