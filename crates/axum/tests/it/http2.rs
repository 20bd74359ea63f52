//! What is special to HTTP/2: windows, streams, and their ends.

use crate::support::{Server, quiet, request, within};
use axum::Router;
use axum::routing::any;
use framewright_axum::http2::{
    CONNECTION_WINDOW, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW, STREAMS,
};
use framewright_axum::{Message, WebSocket, WebSocketUpgrade};
use framewright_tokio::hyper::ClientRequest;
use framewright_tokio::{self as core, Error, RecvError};
use std::future::pending;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

fn app() -> Router {
    Router::new().route("/ws", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo))).route(
        "/unread",
        any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_socket| pending().await)),
    )
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        socket.send(message).await.unwrap();
    }
}

#[test]
fn the_window_of_a_connection_has_room_for_all_streams() {
    assert_eq!(u64::from(CONNECTION_WINDOW), u64::from(STREAM_WINDOW) * u64::from(STREAMS));
}

#[tokio::test(start_paused = true)]
async fn sockets_that_nobody_reads_stop_no_other_socket() {
    within(async {
        let server = Server::start(app());
        let connection = server.http_2().await;
        let unread: ClientRequest = "ws://a/unread".parse().unwrap();
        let mut full = Vec::new();
        let piece = vec![1; 64 << 10];
        // Together many times hyper's default window of a connection.
        for _ in 0..STREAMS - 1 {
            let mut socket = connection.connect(&unread, quiet()).await.unwrap();
            let mut sent = 0;
            while tokio::time::timeout(Duration::from_secs(1), socket.send_binary(&piece)).await.is_ok() {
                sent += piece.len();
                assert!(sent <= 2 << 20, "the handler's peer is not stopped");
            }
            full.push(socket);
        }
        let mut socket = connection.connect(&request(), quiet()).await.unwrap();
        let long = vec![2; 1 << 20];
        socket.send_binary(&long).await.unwrap();
        assert_eq!(socket.recv().await, Some(Ok(core::Message::Binary(&long))));
        // Nor an ordinary request, when there is a stream for it.
        socket.close(None, "").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_reset_stream_is_1006_for_its_handler_and_nothing_for_others() {
    within(async {
        let (told, mut tell) = mpsc::unbounded_channel();
        let app = app().route(
            "/told",
            any(async move |upgrade: WebSocketUpgrade| {
                upgrade.on_upgrade(async move |mut socket| {
                    while let Some(Ok(_)) = socket.recv().await {}
                    told.send(socket.closure().unwrap()).unwrap();
                })
            }),
        );
        let server = Server::start(app);
        let connection = server.http_2().await;
        let mut other = connection.connect(&request(), quiet()).await.unwrap();
        let told: ClientRequest = "ws://a/told".parse().unwrap();
        let mut socket = connection.connect(&told, quiet()).await.unwrap();
        socket.send_text("before").await.unwrap();
        drop(socket);
        let closure = tell.recv().await.unwrap();
        assert_eq!((closure.code(), closure.cause), (1006, Some(Error::TransportLost)));
        other.send_text("still here").await.unwrap();
        assert_eq!(other.recv().await, Some(Ok(core::Message::Text("still here"))));
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_own_stream_only() {
    within(async {
        let app = app().route(
            "/panic",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade.on_upgrade(async |mut socket| {
                    let message = socket.recv().await;
                    assert_eq!(message.unwrap().unwrap(), Message::text("expected"), "as this test wants");
                })
            }),
        );
        let server = Server::start(app);
        let connection = server.http_2().await;
        let mut other = connection.connect(&request(), quiet()).await.unwrap();
        let mut socket = connection.connect(&"ws://a/panic".parse().unwrap(), quiet()).await.unwrap();
        socket.send_text("something else").await.unwrap();
        assert_eq!(socket.recv().await, Some(Err(RecvError::Failed(Error::TransportLost))));
        other.send_text("still here").await.unwrap();
        assert_eq!(other.recv().await, Some(Ok(core::Message::Text("still here"))));
    })
    .await;
}

#[tokio::test]
async fn axums_own_server_takes_sockets_over_both_versions() {
    within(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app()).await });
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let (connection, driver) = core::h2::Connection::open(tcp).await.unwrap();
        tokio::spawn(driver);
        let mut socket = connection.connect(&request(), quiet()).await.unwrap();
        socket.send_text("over axum::serve").await.unwrap();
        assert_eq!(socket.recv().await, Some(Ok(core::Message::Text("over axum::serve"))));
        assert!(socket.close(None, "").await.unwrap().clean);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_ping_ends() {
    within(async {
        let server = Server::start(app());
        let mut stream = server.connect().await;
        let start = tokio::time::Instant::now();
        // An empty SETTINGS frame, and then nothing.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), (KEEP_ALIVE_INTERVAL + KEEP_ALIVE_TIMEOUT).as_secs());
    })
    .await;
}
