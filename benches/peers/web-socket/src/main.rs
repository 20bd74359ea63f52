//! An echo server on web-socket, which has no handshake of its own. It reads two octets at a time,
//! hence the buffered reader; replies go into a buffered writer, which is flushed when the reader's
//! buffer holds nothing more.

use std::io;

use peer_common::{MAX_MESSAGE, handshake, serve};
use tokio::io::{BufReader, BufWriter};
use tokio::net::TcpStream;
use web_socket::{CloseCode, DataType, Event, MessageType, Stream, WebSocket};

type Socket = WebSocket<BufReader<BufWriter<TcpStream>>>;

fn main() -> anyhow::Result<()> {
    serve(connection)
}

async fn connection(mut stream: TcpStream) {
    if handshake(&mut stream).await.is_ok() {
        let mut socket = WebSocket::server(BufReader::new(BufWriter::new(stream)));
        socket.max_payload_len = MAX_MESSAGE;
        // An error is the end of the connection, in whatever way.
        let _ = echo(socket).await;
    }
}

async fn echo(mut socket: Socket) -> io::Result<()> {
    let mut fragments = Vec::new();
    loop {
        match socket.recv().await? {
            Event::Data { ty: DataType::Complete(kind), data } => reply(&mut socket, kind, &data).await?,
            Event::Data { ty: DataType::Stream(part), data } => {
                fragments.extend_from_slice(&data);
                if let Stream::End(kind) = part {
                    reply(&mut socket, kind, &fragments).await?;
                    fragments.clear();
                }
            }
            Event::Ping(data) => socket.send_pong(data).await?,
            Event::Pong(_) => {}
            Event::Error(_) => return socket.close(CloseCode::ProtocolError).await,
            Event::Close { .. } => return socket.close(()).await,
        }
        if socket.stream.buffer().is_empty() {
            socket.flash().await?;
        }
    }
}

async fn reply(socket: &mut Socket, kind: MessageType, data: &[u8]) -> io::Result<()> {
    match kind {
        MessageType::Text => socket.send(std::str::from_utf8(data).map_err(io::Error::other)?).await,
        MessageType::Binary => socket.send(data).await,
    }
}
