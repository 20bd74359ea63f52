//! An echo server on soketto: its own handshake, buffered on both sides, as its examples are; it
//! writes a header and its payload separately, so that the buffer makes one write of them.
//!
//! It flushes after each reply: a reading that has begun cannot be given up to flush first, so that
//! nothing tells when several replies could go together.

use anyhow::ensure;
use futures_util::io::{BufReader, BufWriter};
use peer_common::{Compress, MAX_MESSAGE, serve};
use soketto::extension::deflate::Deflate;
use soketto::handshake::{Server, server::Response};
use soketto::{BoxedError, Data, Mode};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

fn main() -> anyhow::Result<()> {
    let compress = Compress::from_args()?;
    ensure!(compress != Some(Compress::Takeover), "soketto keeps nothing between messages");
    serve(move |stream| async move {
        // An error is the end of the connection, in whatever way.
        let _ = connection(stream, compress.is_some()).await;
    })
}

async fn connection(stream: TcpStream, compress: bool) -> Result<(), BoxedError> {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    if compress {
        server.add_extension(Box::new(Deflate::new(Mode::Server)));
    }
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
