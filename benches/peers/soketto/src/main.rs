//! An echo server on soketto: its own handshake, buffered on both sides, as its examples are; it writes a header and its
//! payload separately, so that the buffer makes one write of them.
//!
//! It flushes after each reply: a reading that has begun cannot be given up to flush first, so that nothing tells when
//! several replies could go together.

use futures_util::io::{BufReader, BufWriter};
use peer_common::{MAX_MESSAGE, serve};
use soketto::handshake::{Server, server::Response};
use soketto::{BoxedError, Data};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

fn main() -> anyhow::Result<()> {
    serve(|stream| async {
        // An error is the end of the connection, in whatever way.
        let _ = connection(stream).await;
    })
}

async fn connection(stream: TcpStream) -> Result<(), BoxedError> {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let mut builder = server.into_builder();
    builder.set_max_message_size(MAX_MESSAGE);
    builder.set_max_frame_size(MAX_MESSAGE);
    let (mut sender, mut receiver) = builder.finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await? {
            Data::Text(_) => sender.send_text(std::str::from_utf8(&message)?).await?,
            Data::Binary(_) => sender.send_binary_mut(&mut message).await?,
        }
        sender.flush().await?;
    }
}
