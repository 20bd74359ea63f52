//! An echo server on fastwebsockets: `FragmentCollector` on the bare socket, without hyper between
//! them, outside of tokio's cooperative budget, as its own echo server.
//!
//! It writes once for each reply: a reading that has begun cannot be given up to flush first, so
//! that nothing tells when several replies could go together.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError};
use peer_common::{MAX_MESSAGE, handshake, serve, serve_tls, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

fn main() -> anyhow::Result<()> {
    match tls()? {
        Some(config) => serve_tls(config, |stream| unconstrained(connection(stream))),
        None => serve(|stream| unconstrained(connection(stream))),
    }
}

async fn connection(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if handshake(&mut stream).await.is_ok() {
        // An error is the end of the connection, in whatever way.
        let _ = echo(stream).await;
    }
}

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), WebSocketError> {
    let mut socket = WebSocket::after_handshake(stream, Role::Server);
    socket.set_max_message_size(MAX_MESSAGE);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
