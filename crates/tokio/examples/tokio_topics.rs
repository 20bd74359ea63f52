//! A chat: what one says, all others receive. The path is the room, and a room keeps its last ten
//! messages for those who come later.
//!
//! ```text
//! cargo run -p framewright-tokio --example tokio_topics -- [ADDRESS]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_tokio::topics::{Hub, Retain, SlowConsumer, TopicOptions, Topics};
use framewright_tokio::{AcceptOptions, Incoming};
use std::error::Error;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "localhost:5000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("ws://{}/ and any path below it", listener.local_addr()?);
    serve(listener, rooms()?).await
}

/// The topics: each is a room.
pub(crate) fn rooms() -> Result<Hub, Box<dyn Error>> {
    let options = TopicOptions { retain: Retain::Last(10), ..TopicOptions::default() };
    Ok(Hub::new(Topics::builder().options("rooms/#", options).build())?)
}

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, hub: Hub) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let hub = hub.clone();
        tokio::spawn(async move { chat(stream, &hub).await.ok() });
    }
}

/// Serves one connection, whose path is its room.
async fn chat(stream: TcpStream, hub: &Hub) -> Result<(), Box<dyn Error + Send + Sync>> {
    let incoming = Incoming::read(stream, &AcceptOptions::default()).await?;
    let room = format!("rooms{}", incoming.request().path());
    let accept = incoming.default_accept();
    let mut socket = incoming.accept(accept).await?;
    socket.join(hub);
    // Who does not keep up misses the oldest messages.
    socket.subscribe_with(&room, SlowConsumer::DropOldest { limit: 64 << 10 })?;
    let (receiver, sender) = socket.parts();
    // While it waits, `recv` writes what others say.
    while let Some(message) = receiver.recv().await {
        sender.publish(&room, message?)?;
    }
    Ok(())
}
