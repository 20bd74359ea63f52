//! The server's side of the Autobahn testsuite, on axum: sends back every message that `wstest -m
//! fuzzingclient` sends.
//!
//! ```sh
//! cargo run --release -p framewright-axum --example axum_autobahn_server -- --compress shared
//! ```
//!
//! It prints `listening on ADDR:PORT`. `cargo xtask autobahn server --driver axum` starts it, has
//! the suite play, and judges the reports. With `--driver axum-h2` a proxy stands between, and
//! `--only-http2` makes sure that each connection comes by HTTP/2.

#![forbid(unsafe_code)]
// A program for a terminal: printing is what it does.
#![allow(clippy::print_stdout)]

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use clap::{Parser, ValueEnum};
use framewright_axum::{DeflatePolicy, Graceful, WebSocket, WebSocketUpgrade};
use tokio::net::TcpListener;

/// Sends back what the Autobahn testsuite's fuzzing client sends.
#[derive(Clone, Copy, Debug, Parser)]
struct Arguments {
    /// How messages are compressed where the client offers it.
    #[arg(long, value_name = "MODE", default_value = "shared")]
    compress: Compress,
    /// Refuse, with 505, every handshake that is no extended CONNECT of HTTP/2 (RFC 8441).
    #[arg(long)]
    only_http2: bool,
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
async fn main() -> std::io::Result<()> {
    let app = Router::new().fallback(handler).with_state(Arguments::parse());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    framewright_axum::serve(listener, app, Graceful::new()).await;
    Ok(())
}

async fn handler(
    State(arguments): State<Arguments>,
    version: Version,
    method: Method,
    upgrade: WebSocketUpgrade,
) -> Response {
    if arguments.only_http2 && (version, &method) != (Version::HTTP_2, &Method::CONNECT) {
        return StatusCode::HTTP_VERSION_NOT_SUPPORTED.into_response();
    }
    let policy = match arguments.compress {
        Compress::Off => None,
        Compress::Shared => Some(DeflatePolicy::default()),
        Compress::Takeover => Some(DeflatePolicy::default().with_takeover()),
    };
    upgrade.compression(policy).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    let (receiver, sender) = socket.inner_mut().parts();
    while let Some(Ok(message)) = receiver.recv().await {
        // Refused where the connection is closing: what the peer still sends is received.
        let _ = sender.feed(message).await;
    }
}
