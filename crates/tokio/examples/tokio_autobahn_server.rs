//! The server's side of the Autobahn testsuite: sends back every message that `wstest -m
//! fuzzingclient` sends.
//!
//! ```sh
//! cargo run --release -p framewright-tokio --example tokio_autobahn_server -- --compress shared
//! ```
//!
//! It prints `listening on ADDR:PORT`. `cargo xtask autobahn server --driver tokio` starts it, has
//! the suite play, and judges the reports.

#![forbid(unsafe_code)]
// A program for a terminal: printing is what it does.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use framewright_tokio::{AcceptOptions, Config, DeflatePolicy, Delivery, WebSocket, accept};
use tokio::net::{TcpListener, TcpStream};

/// Sends back what the Autobahn testsuite's fuzzing client sends.
#[derive(Debug, Parser)]
struct Arguments {
    /// How messages are compressed where the client offers it.
    #[arg(long, value_name = "MODE", default_value = "shared")]
    compress: Compress,
    /// Echo chunk by chunk, without ever holding a whole message.
    #[arg(long)]
    stream: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compress {
    /// Not at all.
    Off,
    /// Without context takeover by either side.
    Shared,
    /// With context takeover.
    Takeover,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let options = Arc::new(options(&arguments));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let options = Arc::clone(&options);
        tokio::spawn(async move {
            // Which cases pass is the suite's business.
            let _ = connection(stream, &options).await;
        });
    }
}

fn options(arguments: &Arguments) -> AcceptOptions {
    let delivery = if arguments.stream { Delivery::Chunks } else { Delivery::Whole };
    AcceptOptions {
        connection: Config { delivery, ..Config::default() }.into(),
        compression: match arguments.compress {
            Compress::Off => None,
            Compress::Shared => Some(DeflatePolicy::default()),
            Compress::Takeover => Some(DeflatePolicy::default().with_takeover()),
        },
        ..AcceptOptions::default()
    }
}

async fn connection(stream: TcpStream, options: &AcceptOptions) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let socket = accept(stream, options).await?;
    match options.connection.delivery {
        Delivery::Chunks => stream_back(socket).await,
        _ => send_back(socket).await,
    }
}

async fn send_back(mut socket: WebSocket<TcpStream>) -> Result<(), Box<dyn Error>> {
    let (receiver, sender) = socket.parts();
    while let Some(message) = receiver.recv().await {
        // Refused where the connection is closing: what the peer still sends is received.
        let _ = sender.feed(message?).await;
    }
    Ok(())
}

async fn stream_back(mut socket: WebSocket<TcpStream>) -> Result<(), Box<dyn Error>> {
    let (receiver, sender) = socket.parts();
    while let Some(chunk) = receiver.recv_chunk().await {
        let chunk = chunk?;
        let _ = sender.send_fragment(chunk.data, chunk.last).await;
    }
    Ok(())
}
