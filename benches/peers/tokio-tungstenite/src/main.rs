//! An echo server on tokio-tungstenite: its own handshake, replies written together while more
//! messages are ready.

mod broadcast;

use peer_common::{MAX_MESSAGE, broadcasts, echo, serve, serve_tls, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The library writes zeros into all of its read buffer before each reading. With its default of
/// 128 KiB that is most of the time of a short message, which is three times what it is with 16
/// KiB; one of 1 MiB takes a tenth longer with these.
const READ_BUFFER: usize = 16 << 10;

fn main() -> anyhow::Result<()> {
    if broadcasts() {
        return broadcast::run();
    }
    match tls()? {
        Some(config) => serve_tls(config, connection),
        None => serve(connection),
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin) {
    if let Ok(socket) = accept_async_with_config(stream, Some(config())).await {
        echo(socket, |message: &Message| message.is_text() || message.is_binary()).await;
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}
