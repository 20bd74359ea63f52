//! An echo server on sockudo-ws: its own parts of a handshake, its unified stream, replies fed: the
//! stream writes them by itself before it reads again, as its documentation says of an echo.
//!
//! With `--compress` in two of its modes: `Shared` and `Dedicated`, level 6 both. The first
//! promises a pool of compressors, but the stream has its own for each connection in every mode.

mod broadcast;

use anyhow::ensure;
use bytes::{Buf as _, BytesMut};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use peer_common::{Compress, MAX_MESSAGE, broadcasts, serve_with_timers};
use sockudo_ws::deflate::negotiate_server_deflate;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{
    CompressedWebSocketStream, Compression, Config, DeflateConfig, Error, Message, Role, WebSocketStream,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn main() -> anyhow::Result<()> {
    let compression = match Compress::from_args()? {
        None => Compression::Disabled,
        Some(Compress::Shared) => Compression::Shared,
        Some(Compress::Takeover) => Compression::Dedicated,
    };
    // Its clock takes up to 200 ms to set itself: not in the first connection.
    sockudo_ws::stream::init_clock();
    if broadcasts() {
        return broadcast::run(compression);
    }
    serve_with_timers(move |stream| {
        let deflate = compression.to_deflate_config();
        async move {
            // An error is the end of the connection, in whatever way.
            let _ = connection(stream, deflate).await;
        }
    })
}

async fn connection(stream: TcpStream, deflate: Option<DeflateConfig>) -> anyhow::Result<()> {
    match open(stream, deflate).await?.socket {
        Socket::Plain(socket) => echo(socket).await,
        Socket::Compressed(socket) => echo(socket).await,
    }
}

/// A connection behind its opening handshake.
struct Opened {
    path: String,
    socket: Socket,
}

enum Socket {
    Plain(WebSocketStream<TcpStream>),
    Compressed(CompressedWebSocketStream<TcpStream>),
}

async fn open(mut stream: TcpStream, deflate: Option<DeflateConfig>) -> anyhow::Result<Opened> {
    let mut head = BytesMut::with_capacity(1 << 10);
    let (path, agreed) = loop {
        ensure!(stream.read_buf(&mut head).await? > 0, "the connection ended before its request did");
        if let Some((request, end)) = parse_request(&head)? {
            let agreed = request
                .extensions
                .zip(deflate.as_ref())
                .and_then(|(offers, policy)| negotiate_server_deflate(offers, policy));
            let extension = agreed.as_ref().map(|agreed| agreed.to_response_header());
            let response = build_response(&generate_accept_key(request.key), None, extension.as_deref());
            let path = request.path.to_string();
            stream.write_all(&response).await?;
            head.advance(end);
            break (path, agreed);
        }
    };
    // No Pings and no timeouts: the other libraries have none.
    let config = Config::builder().max_payload_length(MAX_MESSAGE).auto_ping(false).idle_timeout(0).build();
    let leftover = Some(head.freeze());
    let socket = match agreed {
        Some(agreed) => {
            let agreed = agreed.config;
            Socket::Compressed(CompressedWebSocketStream::server_with_leftover(
                stream, config, agreed, leftover,
            ))
        }
        None => {
            Socket::Plain(WebSocketStream::from_raw_with_leftover(stream, Role::Server, config, leftover))
        }
    };
    Ok(Opened { path, socket })
}

async fn echo<S>(mut socket: S) -> anyhow::Result<()>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.feed(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}
