//! An echo server on tokio-websockets: its own handshake, frames of any size, outside of tokio's
//! cooperative budget, as its own echo server; replies are fed while more messages are ready.

use peer_common::{MAX_MESSAGE, echo, serve};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_websockets::{Config, Limits, Message, ServerBuilder};

fn main() -> anyhow::Result<()> {
    serve(|stream| unconstrained(connection(stream)))
}

async fn connection(stream: TcpStream) {
    let builder = ServerBuilder::new()
        .config(Config::default().frame_size(usize::MAX))
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)));
    if let Ok((_, socket)) = builder.accept(stream).await {
        echo(socket, |message: &Message| message.is_text() || message.is_binary()).await;
    }
}
