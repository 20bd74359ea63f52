//! An echo server on yawc, on the bare socket, without hyper between them, with the buffers of its
//! own benchmark (128 KiB to read into, 64 KiB until it writes by itself), UTF-8 checked; replies
//! are fed while more messages are ready.
//!
//! With `--compress` level 1, which its documentation calls fast; without context takeover from its
//! pool, as there for many idle connections.

use futures_util::StreamExt as _;
use peer_common::{Compress, MAX_MESSAGE, echo, handshake_with, serve};
use tokio::net::TcpStream;
use yawc::{DeflatePool, Frame, OpCode, Options, Role, WebSocket, WebSocketError};

fn main() -> anyhow::Result<()> {
    let compress = Compress::from_args()?;
    let options = options(compress);
    serve(move |stream| connection(stream, compress, options.clone()))
}

fn options(compress: Option<Compress>) -> Options {
    let options = Options::default()
        .with_limits(MAX_MESSAGE, MAX_MESSAGE)
        .with_read_buffer_capacity(128 << 10)
        .with_backpressure_boundary(64 << 10)
        .with_utf8();
    match compress {
        None => options.without_compression(),
        Some(Compress::Takeover) => options.with_low_latency_compression(),
        Some(Compress::Shared) => options
            .with_low_latency_compression()
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(DeflatePool::new(POOL)),
    }
}

/// How many compressors wait between messages, as its documentation has it.
const POOL: usize = 64;

async fn connection(mut stream: TcpStream, compress: Option<Compress>, options: Options) {
    if let Ok(extension) = handshake_with(&mut stream, compress).await
        && let Ok(socket) =
            WebSocket::from_stream_with_extensions(stream, Role::Server, extension.as_deref(), options)
    {
        // Its stream ends where others yield an error.
        let socket = socket.map(Ok::<_, WebSocketError>);
        echo(socket, |frame: &Frame| matches!(frame.opcode(), OpCode::Text | OpCode::Binary)).await;
    }
}
