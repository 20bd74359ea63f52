//! An echo server on yawc, on the bare socket, without hyper between them, with the buffers of its own benchmark (128 KiB
//! to read into, 64 KiB until it writes by itself), UTF-8 checked; replies are fed while more messages are ready.

use futures_util::StreamExt as _;
use peer_common::{MAX_MESSAGE, echo, handshake, serve};
use tokio::net::TcpStream;
use yawc::{Frame, OpCode, Options, Role, WebSocket, WebSocketError};

fn main() -> anyhow::Result<()> {
    serve(connection)
}

async fn connection(mut stream: TcpStream) {
    let options = Options::default()
        .with_limits(MAX_MESSAGE, MAX_MESSAGE)
        .with_read_buffer_capacity(128 << 10)
        .with_backpressure_boundary(64 << 10)
        .with_utf8()
        .without_compression();
    if handshake(&mut stream).await.is_ok()
        && let Ok(socket) = WebSocket::from_stream(stream, Role::Server, options)
    {
        // Its stream ends where others yield an error.
        let socket = socket.map(Ok::<_, WebSocketError>);
        echo(socket, |frame: &Frame| matches!(frame.opcode(), OpCode::Text | OpCode::Binary)).await;
    }
}
