//! An application with state and routes: rooms with counters, shown by a page and counted by
//! WebSockets.
//!
//! `cargo run -p framewright-axum --example axum_routes`, then connect to
//! `ws://localhost:5000/rooms/blue`, and `curl localhost:5000`.

use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Extension, Router};
use framewright_axum::{AcceptOptions, Config, Graceful, Message, WebSocket, WebSocketUpgrade};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// The counter of each room.
#[derive(Clone, Debug, Default)]
struct Rooms(Arc<Mutex<BTreeMap<String, u64>>>);

impl Rooms {
    /// Adds to the counter of a room, and returns it.
    fn add(&self, room: &str, number: u64) -> u64 {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = rooms.entry(room.to_owned()).or_default();
        *counter = counter.wrapping_add(number);
        *counter
    }

    fn page(&self) -> String {
        let rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.iter().fold(String::new(), |mut page, (room, counter)| {
            let _ = writeln!(page, "{room}: {counter}");
            page
        })
    }
}

/// The routes of this example.
pub fn app() -> Router {
    // The settings of all WebSockets below: Pings for a proxy that ends silent connections after a
    // minute, and short messages.
    let config = Config {
        keep_alive_interval: Some(Duration::from_secs(45)),
        max_message: 1 << 10,
        ..Config::default()
    };
    let options = AcceptOptions { connection: config.into(), ..AcceptOptions::default() };
    Router::new()
        .route("/", get(async |State(rooms): State<Rooms>| rooms.page()))
        .route("/rooms/{room}", any(handler))
        .with_state(Rooms::default())
        .layer(Extension(options))
}

async fn handler(
    State(rooms): State<Rooms>,
    Path(room): Path<String>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let peer = peer.map_or("somebody".to_owned(), |Extension(ConnectInfo(address))| address.to_string());
    upgrade.on_upgrade(|socket| count(socket, rooms, room, peer))
}

async fn count(mut socket: WebSocket, rooms: Rooms, room: String, peer: String) {
    let mut answer = format!("{peer} is in {room}");
    loop {
        if socket.send(answer.into()).await.is_err() {
            return;
        }
        let text = loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => break text,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        };
        answer = match text.trim().parse() {
            Ok(number) => rooms.add(&room, number).to_string(),
            Err(_) => "a number, please".to_owned(),
        };
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("localhost:5000").await?;
    framewright_axum::serve(listener, app(), Graceful::new()).await;
    Ok(())
}
