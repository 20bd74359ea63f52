//! `--broadcast`: what comes on `/pub` goes to all connections of `/sub`, by the library's own
//! `PubSub`, with a channel for each listener as its documentation has it. The channels have no
//! limit: the library wants them so.

use std::sync::Arc;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use peer_common::serve_with_timers;
use sockudo_ws::{Compression, Error, Message, PubSub};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::mpsc;

/// The one topic that there is.
const TOPIC: &str = "all";

pub(crate) fn run(compression: Compression) -> anyhow::Result<()> {
    let topics = Arc::new(PubSub::new());
    serve_with_timers(move |stream| {
        let (topics, compression) = (Arc::clone(&topics), compression);
        async move {
            // An error is the end of the connection, in whatever way.
            let _ = connection(stream, compression, &topics).await;
        }
    })
}

async fn connection(stream: TcpStream, compression: Compression, topics: &PubSub) -> anyhow::Result<()> {
    let opened = super::open(stream, compression.to_deflate_config()).await?;
    let publishes = opened.path == "/pub";
    match opened.socket {
        super::Socket::Plain(socket) if publishes => publish(socket, topics).await,
        super::Socket::Plain(socket) => listen(socket, topics).await,
        super::Socket::Compressed(socket) if publishes => publish(socket, topics).await,
        super::Socket::Compressed(socket) => listen(socket, topics).await,
    }
}

async fn publish<S>(mut socket: S, topics: &PubSub) -> anyhow::Result<()>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => drop(topics.publish(TOPIC, message)),
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

async fn listen<S>(socket: S, topics: &PubSub) -> anyhow::Result<()>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let (sender, messages) = mpsc::unbounded_channel();
    let subscriber = topics.create_subscriber(sender);
    topics.subscribe(subscriber, TOPIC);
    let ended = deliver(socket, messages).await;
    topics.remove_subscriber(subscriber);
    ended
}

/// Messages that are there together leave together.
async fn deliver<S>(mut socket: S, mut messages: mpsc::UnboundedReceiver<Message>) -> anyhow::Result<()>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    loop {
        select! {
            message = messages.recv() => match message {
                Some(message) => socket.feed(message).await?,
                None => return Ok(()),
            },
            heard = socket.next() => match heard {
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(heard) => drop(heard?),
            },
        }
        while let Ok(message) = messages.try_recv() {
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
}
