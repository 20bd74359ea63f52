//! An echo server on tokio-websockets: its own handshake, frames of any size, outside of tokio's
//! cooperative budget, as its own echo server; replies are fed while more messages are ready.

use peer_common::{MAX_MESSAGE, echo, serve, serve_tls, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;
use tokio_websockets::{Config, Limits, Message, ServerBuilder};

fn main() -> anyhow::Result<()> {
    match tls()? {
        Some(config) => serve_tls(config, |stream| unconstrained(connection(stream))),
        None => serve(|stream| unconstrained(connection(stream))),
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let builder = ServerBuilder::new()
        .config(Config::default().frame_size(usize::MAX))
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)));
    if let Ok((_, socket)) = builder.accept(stream).await {
        echo(socket, |message: &Message| message.is_text() || message.is_binary()).await;
    }
}
