//! A token is looked up before the upgrade: a stranger gets a 401 and no connection.
//!
//! `cargo run -p framewright-axum --example axum_auth`, then connect to
//! `ws://localhost:5000/ws?token=swordfish`.

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use framewright_axum::{AllowedOrigins, Graceful, WebSocket, WebSocketUpgrade};
use http::{HeaderMap, StatusCode, header};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::RwLock;

/// Who has which token. In a real server this is a database.
type Tokens = Arc<RwLock<HashMap<String, String>>>;

/// The routes of this example.
pub fn app() -> Router {
    let tokens = HashMap::from([("swordfish".to_owned(), "Ada".to_owned())]);
    Router::new().route("/ws", any(handler)).with_state(Arc::new(RwLock::new(tokens)))
}

/// A program sends its token in Authorization. A page cannot, so it is in the query there.
fn token(headers: &HeaderMap, query: &HashMap<String, String>) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = authorization.and_then(|value| value.strip_prefix("Bearer "));
    bearer.map(String::from).or_else(|| query.get("token").cloned())
}

async fn handler(
    State(tokens): State<Tokens>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(token) = token(&headers, &query) else { return StatusCode::UNAUTHORIZED.into_response() };
    let Some(name) = tokens.read().await.get(&token).cloned() else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    // Pages of others must not use the token that is in a visitor's browser.
    let origins = AllowedOrigins::new(["http://localhost:5000"]).expect("it is an origin");
    upgrade.allowed_origins(origins).on_upgrade(|socket| greet(socket, name))
}

async fn greet(mut socket: WebSocket, name: String) {
    let _ = socket.send(format!("hello {name}").into()).await;
    while socket.recv().await.is_some() {}
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("localhost:5000").await?;
    framewright_axum::serve(listener, app(), Graceful::new()).await;
    Ok(())
}
