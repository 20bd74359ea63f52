//! An echo server on sockudo-ws: its own parts of a handshake, its unified stream, replies fed: the stream writes them by
//! itself before it reads again, as its documentation says of an echo.

use anyhow::ensure;
use bytes::{Buf as _, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use peer_common::{MAX_MESSAGE, serve_with_timers};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{Config, Message, Role, WebSocketStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn main() -> anyhow::Result<()> {
    // Its clock takes up to 200 ms to set itself: not in the first connection.
    sockudo_ws::stream::init_clock();
    serve_with_timers(|stream| async {
        // An error is the end of the connection, in whatever way.
        let _ = connection(stream).await;
    })
}

async fn connection(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut head = BytesMut::with_capacity(1 << 10);
    loop {
        ensure!(stream.read_buf(&mut head).await? > 0, "the connection ended before its request did");
        if let Some((request, end)) = parse_request(&head)? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            stream.write_all(&response).await?;
            head.advance(end);
            break;
        }
    }
    // No Pings and no timeouts: the other libraries have none.
    let config = Config::builder().max_payload_length(MAX_MESSAGE).auto_ping(false).idle_timeout(0).build();
    let mut socket =
        WebSocketStream::from_raw_with_leftover(stream, Role::Server, config, Some(head.freeze()));
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.feed(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}
