//! An echo server on framewright-tokio, as its documentation has it: messages are lent by the
//! receiving half and fed to the sending one, which writes before the other waits.

use std::sync::Arc;

use framewright_tokio::{AcceptOptions, Config, DeflateConfig, DeflatePolicy, accept};
use peer_common::{Compress, MAX_MESSAGE, serve_with_timers};
use tokio::net::TcpStream;

fn main() -> anyhow::Result<()> {
    let options = Arc::new(options(Compress::from_args()?));
    serve_with_timers(move |stream| connection(stream, Arc::clone(&options)))
}

/// The peers compress short messages too.
fn options(compress: Option<Compress>) -> AcceptOptions {
    let connection = Config {
        max_message: MAX_MESSAGE as u64,
        max_frame: MAX_MESSAGE as u64,
        deflate: DeflateConfig { threshold: 0, ..DeflateConfig::default() },
        ..Config::default()
    };
    AcceptOptions {
        connection: connection.into(),
        compression: compress.map(|compress| match compress {
            Compress::Shared => DeflatePolicy::default(),
            Compress::Takeover => DeflatePolicy::default().with_takeover(),
        }),
        ..AcceptOptions::default()
    }
}

async fn connection(stream: TcpStream, options: Arc<AcceptOptions>) {
    let Ok(mut socket) = accept(stream, &options).await else { return };
    let (receiver, sender) = socket.parts();
    // An error is the end of the connection, in whatever way.
    while let Some(Ok(message)) = receiver.recv().await {
        if sender.feed(message).await.is_err() {
            return;
        }
    }
}
