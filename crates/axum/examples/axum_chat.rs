//! A chat room: each text goes to all members, and a member that falls behind has to leave.
//!
//! `cargo run -p framewright-axum --example axum_chat`, then connect to `ws://localhost:5000/chat`
//! several times.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use framewright_axum::{CloseFrame, Graceful, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many texts a member may be behind the newest one. Each text is in memory once, for all
/// members together.
pub const MOST_BEHIND: usize = 64;

/// The routes of this example.
pub fn app() -> Router {
    let (room, _) = broadcast::channel(MOST_BEHIND);
    Router::new().route("/chat", any(handler)).with_state(room)
}

type Room = broadcast::Sender<Utf8Bytes>;

async fn handler(State(room): State<Room>, upgrade: WebSocketUpgrade) -> Response {
    // A member joins before it can send: it gets its own texts, too.
    let texts = room.subscribe();
    upgrade.max_message_size(4 << 10).on_upgrade(|socket| member(socket, room, texts))
}

async fn member(mut socket: WebSocket, room: Room, mut texts: broadcast::Receiver<Utf8Bytes>) {
    loop {
        tokio::select! {
            said = socket.recv() => match said {
                // Nobody is left to hear it if this fails, not even this member.
                Some(Ok(Message::Text(text))) => drop(room.send(text)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            text = texts.recv() => {
                let sent = match text {
                    // While this waits for a slow member, texts pile up in the channel.
                    Ok(text) => socket.send(Message::Text(text)).await,
                    Err(RecvError::Lagged(_)) => return leave(socket, "too slow").await,
                    Err(RecvError::Closed) => return,
                };
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

async fn leave(socket: WebSocket, reason: &'static str) {
    let frame = CloseFrame { code: close_code::POLICY, reason: reason.into() };
    let _ = socket.close(Some(frame)).await;
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("localhost:5000").await?;
    framewright_axum::serve(listener, app(), Graceful::new()).await;
    Ok(())
}
