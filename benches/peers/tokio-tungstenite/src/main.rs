//! An echo server on tokio-tungstenite: its own handshake, its default buffers (128 KiB each, which its documentation
//! recommends for high load), replies fed while more messages are ready.

use peer_common::{MAX_MESSAGE, echo, serve};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

fn main() -> anyhow::Result<()> {
    serve(connection)
}

async fn connection(stream: TcpStream) {
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    if let Ok(socket) = accept_async_with_config(stream, Some(config)).await {
        echo(socket, |message: &Message| message.is_text() || message.is_binary()).await;
    }
}
