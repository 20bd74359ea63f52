//! `--broadcast`: what comes on `/pub` goes to all connections of `/sub`, by a channel of
//! `tokio::sync::broadcast`. A listener that has missed more than the channel holds goes on with
//! the oldest message that is left.

use futures_util::{SinkExt as _, StreamExt as _};
use peer_common::serve;
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// Messages that the channel holds.
const CAPACITY: usize = 1024;

pub(crate) fn run() -> anyhow::Result<()> {
    let (sender, _) = broadcast::channel(CAPACITY);
    serve(move |stream| connection(stream, sender.clone()))
}

async fn connection(stream: TcpStream, sender: Sender<Message>) {
    let mut publishes = false;
    #[allow(clippy::result_large_err, reason = "the library's callback has it so")]
    let look = |request: &Request, response: Response| {
        publishes = request.uri().path() == "/pub";
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async_with_config(stream, look, Some(super::config())).await else { return };
    if publishes {
        publish(socket, &sender).await;
    } else {
        // An error is the end of the connection, in whatever way.
        let _ = listen(socket, sender.subscribe()).await;
    }
}

async fn publish(mut socket: WebSocketStream<TcpStream>, sender: &Sender<Message>) {
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            // An error: nobody listens.
            let _ = sender.send(message);
        }
    }
}

/// Messages that are there together leave together.
async fn listen(
    mut socket: WebSocketStream<TcpStream>,
    mut messages: Receiver<Message>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    loop {
        select! {
            message = messages.recv() => match message {
                Ok(message) => socket.feed(message).await?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
            heard = socket.next() => match heard {
                Some(heard) => drop(heard?),
                None => return Ok(()),
            },
        }
        while let Ok(message) = messages.try_recv() {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
}
