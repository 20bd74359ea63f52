//! The end of a server.

use crate::support::{Server, quiet, request, within};
use axum::Router;
use axum::routing::{any, get};
use framewright_axum::{Graceful, WebSocket, WebSocketUpgrade};
use framewright_tokio::{h2, hyper};
use std::future::pending;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn app<F>(handler: impl Fn(WebSocket) -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = ()> + Send + 'static,
{
    Router::new().route("/ws", any(async move |upgrade: WebSocketUpgrade| upgrade.on_upgrade(handler)))
}

async fn receive(mut socket: WebSocket) {
    while socket.recv().await.is_some() {}
}

#[tokio::test]
async fn each_socket_gets_1001_and_the_server_ends() {
    within(async {
        let server = Server::start(app(receive));
        let connection = server.http_2().await;
        let mut one = server.open(&request()).await;
        let mut two = connection.connect(&request(), quiet()).await.unwrap();
        let three = connection.connect(&request(), quiet()).await.unwrap();
        // It does not wait for a socket that has ended.
        drop(three);
        assert!(server.graceful.sockets() >= 2);
        let graceful = server.graceful.clone();
        let stopping = tokio::spawn(async move { graceful.shutdown(Duration::from_secs(60)).await });
        assert_eq!(one.recv().await, None);
        assert_eq!(two.recv().await, None);
        for closure in [one.closure().unwrap(), two.closure().unwrap()] {
            assert!(closure.clean, "{closure:?}");
            assert_eq!(closure.code(), 1001);
        }
        assert!(stopping.await.unwrap());
        assert_eq!(server.graceful.sockets(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_is_dropped_when_its_time_is_up() {
    within(async {
        let server = Server::start(app(async |_socket: WebSocket| pending().await));
        let mut socket = server.open(&request()).await;
        let start = tokio::time::Instant::now();
        let graceful = server.graceful.clone();
        let stopping = tokio::spawn(async move { graceful.shutdown(Duration::from_secs(10)).await });
        // The Close comes though the handler does nothing.
        let _ = socket.recv().await;
        assert_eq!(socket.closure().unwrap().code(), 1001);
        assert!(!stopping.await.unwrap());
        assert_eq!((start.elapsed().as_secs(), server.graceful.sockets()), (10, 0));
    })
    .await;
}

#[tokio::test]
async fn a_stopping_server_takes_no_further_sockets() {
    within(async {
        let server = Server::start(app(receive));
        let connection = server.http_2().await;
        let mut http_1 = server.http_1().await;
        // Both connections are served before the server stops.
        let held = connection.connect(&request(), quiet()).await.unwrap();
        let first = http::Request::get("/").body(http_body_util::Empty::new()).unwrap();
        assert_eq!(http_1.send_request(first).await.unwrap().status(), 404);
        let token = CancellationToken::new();
        let graceful = Graceful::with_token(token.clone());
        assert!(!graceful.has_started());
        token.cancel();
        assert!(graceful.has_started());
        let app = app(receive).layer(axum::Extension(graceful));
        let stopped = Server::start(app);
        let (status, text) = stopped.refused(&request()).await;
        assert_eq!((status, &*text), (503, "the server is shutting down, try again later\n"));
        let refused = stopped.http_2().await.connect(&request(), quiet()).await;
        let Err(h2::HandshakeError::Refused(response)) = refused else { panic!("{refused:?}") };
        assert_eq!(response.headers()["retry-after"], "5");
        drop(held);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_run_may_end_and_those_that_do_not_are_cut() {
    within(async {
        let app = Router::new()
            .route("/slow", get(async || tokio::time::sleep(Duration::from_secs(5)).await))
            .route("/never", get(async || pending::<()>().await));
        let server = Server::start(app);
        let request = |path| http::Request::get(path).header("host", "a").body(http_body_util::Empty::new());
        let mut slow = server.http_1().await;
        let mut never = server.http_1().await;
        let slow = tokio::spawn(async move { slow.send_request(request("/slow").unwrap()).await });
        let never = tokio::spawn(async move { never.send_request(request("/never").unwrap()).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let start = tokio::time::Instant::now();
        assert!(!server.graceful.shutdown(Duration::from_secs(60)).await);
        assert_eq!(start.elapsed().as_secs(), 60);
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
        assert!(never.await.unwrap().is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_a_handler_has_given_away_is_counted_and_gets_1001() {
    within(async {
        // In one piece, and in halves.
        let whole = Server::start(app(async |socket: WebSocket| drop(tokio::spawn(receive(socket)))));
        let halves = Server::start(app(async |socket: WebSocket| {
            let (sender, mut receiver) = socket.split();
            tokio::spawn(async move {
                while receiver.recv().await.is_some() {}
                drop(sender);
            });
        }));
        for server in [whole, halves] {
            let mut socket = server.open(&request()).await;
            socket.send_text("the handler has returned").await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(server.graceful.sockets(), 1);
            let graceful = server.graceful.clone();
            let stopping = tokio::spawn(async move { graceful.shutdown(Duration::from_secs(60)).await });
            assert_eq!(socket.recv().await, None);
            let closure = socket.closure().unwrap();
            assert_eq!((closure.code(), closure.clean), (1001, true));
            assert!(stopping.await.unwrap());
            assert_eq!(server.graceful.sockets(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_runs_while_the_server_begins_to_stop_is_answered_with_503() {
    within(async {
        let graceful = Graceful::new();
        let begun = graceful.clone();
        let app = Router::new().route(
            "/ws",
            any(async move |upgrade: WebSocketUpgrade| {
                begun.start();
                upgrade.graceful(&begun).on_upgrade(receive)
            }),
        );
        let server = Server::start(app);
        let (status, text) = server.refused(&request()).await;
        assert_eq!((status, &*text), (503, "the server is shutting down, try again later\n"));
        assert_eq!(graceful.sockets(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_for_a_response_that_has_not_left() {
    within(async {
        let graceful = Graceful::new();
        let handler = graceful.clone();
        let app = Router::new().route(
            "/ws",
            any(async move |upgrade: WebSocketUpgrade| {
                let response = upgrade.graceful(&handler).on_upgrade(receive);
                // As a layer that waits for something before it passes the response on.
                pending::<()>().await;
                response
            }),
        );
        let server = Server::start(app);
        let mut http = server.http_1().await;
        let opening = tokio::spawn(async move { hyper::handshake(&mut http, &request(), quiet()).await });
        while graceful.sockets() == 0 {
            tokio::task::yield_now().await;
        }
        let start = tokio::time::Instant::now();
        assert!(!graceful.shutdown(Duration::from_secs(10)).await);
        assert_eq!((start.elapsed().as_secs(), graceful.sockets()), (10, 0));
        opening.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_listener_is_dropped_before_the_connections_end() {
    within(async {
        let server = Server::start(app(async |_socket: WebSocket| pending().await));
        // A connection of HTTP/2 stays as long as its streams.
        let _socket = server.http_2().await.connect(&request(), quiet()).await.unwrap();
        let start = tokio::time::Instant::now();
        server.graceful.start();
        server.stops_listening().await;
        // It has not waited for the stream, which has the time of a closing handshake.
        assert_eq!(start.elapsed(), Duration::ZERO);
    })
    .await;
}
