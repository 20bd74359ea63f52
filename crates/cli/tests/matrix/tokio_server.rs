//! The echo server on tokio, in this process.

use super::on_thread::OnThread;
use super::{Compress, messages};
use framewright_client::Delivery;
use framewright_tokio::{AcceptOptions, Config, DeflatePolicy, WebSocket, accept};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

pub(crate) fn start(compress: Compress, delivery: Delivery) -> OnThread {
    OnThread::start(move |listener| serve(listener, accept_options(compress, delivery).into()))
}

pub(crate) fn accept_options(compress: Compress, delivery: Delivery) -> AcceptOptions {
    let compression = match compress {
        Compress::Off => None,
        Compress::Shared => Some(DeflatePolicy::default()),
        Compress::Takeover => Some(DeflatePolicy::default().with_takeover()),
    };
    let connection = Config { delivery, ..messages::limits() };
    AcceptOptions { connection: connection.into(), compression, ..AcceptOptions::default() }
}

async fn serve(listener: TcpListener, options: Arc<AcceptOptions>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(echo(stream, Arc::clone(&options)));
    }
}

async fn echo(stream: TcpStream, options: Arc<AcceptOptions>) {
    let mut socket = accept(stream, &options).await.expect("a handshake");
    send_back(&mut socket, options.connection.delivery).await;
}

/// Sends back what comes, until the connection ends.
pub(crate) async fn send_back<S>(socket: &mut WebSocket<S>, delivery: Delivery)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (receiver, sender) = socket.parts();
    if delivery == Delivery::Chunks {
        while let Some(Ok(chunk)) = receiver.recv_chunk().await {
            let _ = sender.send_fragment(chunk.data, chunk.last).await;
        }
    } else {
        while let Some(Ok(message)) = receiver.recv().await {
            let _ = sender.feed(message).await;
        }
    }
}
