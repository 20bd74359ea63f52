//! Sends back what it receives, over HTTP/1.1 and HTTP/2, until Ctrl-C.
//!
//! `cargo run -p framewright-axum --example axum_echo`, then connect to `ws://localhost:5000/ws`.

use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use framewright_axum::{Graceful, WebSocket, WebSocketUpgrade};
use std::time::Duration;
use tokio::net::TcpListener;

/// The routes of this example.
pub fn app() -> Router {
    Router::new().route("/ws", any(handler))
}

async fn handler(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    // The payload is lent by one half and queued by the other, which writes it before it waits.
    let (receiver, sender) = socket.inner_mut().parts();
    while let Some(Ok(message)) = receiver.recv().await {
        if sender.feed(message).await.is_err() {
            break;
        }
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let graceful = Graceful::new();
    let app = app().layer(Extension(graceful.clone()));
    let listener = TcpListener::bind("localhost:5000").await?;
    let server = tokio::spawn(framewright_axum::serve(listener, app, graceful.clone()));
    tokio::signal::ctrl_c().await?;
    // 1001 to each socket.
    graceful.shutdown(Duration::from_secs(10)).await;
    server.await?;
    Ok(())
}
