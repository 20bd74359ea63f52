//! Servers in memory, and clients of theirs.

use axum::Router;
use framewright_axum::{Config, Graceful};
use framewright_tokio::hyper::ClientRequest;
use framewright_tokio::{WebSocket, h2, hyper};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// A listener whose connections are in memory, so that tests can pause the clock.
#[derive(Debug)]
struct Memory {
    incoming: mpsc::Receiver<DuplexStream>,
}

impl axum::serve::Listener for Memory {
    type Io = DuplexStream;
    type Addr = u8;

    async fn accept(&mut self) -> (DuplexStream, u8) {
        match self.incoming.recv().await {
            Some(stream) => (stream, 0),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<u8> {
        Ok(0)
    }
}

/// A running server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    outgoing: mpsc::Sender<DuplexStream>,
    pub(crate) graceful: Graceful,
}

impl Server {
    /// Serves the routes by [`framewright_axum::serve`].
    pub(crate) fn start(app: Router) -> Server {
        let (outgoing, incoming) = mpsc::channel(16);
        let graceful = Graceful::new();
        let app = app.layer(axum::Extension(graceful.clone()));
        tokio::spawn(framewright_axum::serve(Memory { incoming }, app, graceful.clone()));
        Server { outgoing, graceful }
    }

    /// Waits until the server has dropped its listener.
    pub(crate) async fn stops_listening(&self) {
        self.outgoing.closed().await;
    }

    pub(crate) async fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(1 << 16);
        self.outgoing.send(far).await.unwrap();
        near
    }

    pub(crate) async fn http_1(&self) -> Http1 {
        let io = TokioIo::new(self.connect().await);
        let (send, connection) = ::hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        send
    }

    pub(crate) async fn http_2(&self) -> h2::Connection {
        let (connection, driver) = h2::Connection::open(self.connect().await).await.unwrap();
        tokio::spawn(driver);
        connection
    }

    /// A WebSocket over HTTP/1.1.
    pub(crate) async fn open(&self, request: &ClientRequest) -> WebSocket<hyper::Upgraded> {
        hyper::handshake(&mut self.http_1().await, request, quiet()).await.unwrap()
    }

    /// The answer to an opening handshake that is refused over HTTP/1.1: its status and its text.
    pub(crate) async fn refused(&self, request: &ClientRequest) -> (u16, String) {
        let refused = hyper::handshake(&mut self.http_1().await, request, quiet()).await;
        let Err(hyper::HandshakeError::Refused(response)) = refused else { panic!("{refused:?}") };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

pub(crate) type Http1 = ::hyper::client::conn::http1::SendRequest<Empty<axum::body::Bytes>>;

/// A client that sends no Pings of its own.
pub(crate) fn quiet() -> Config {
    Config { keep_alive_interval: None, keep_alive_timeout: None, ..Config::default() }
}

pub(crate) fn request() -> ClientRequest {
    "ws://example.com/ws".parse().unwrap()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    // Longer than any deadline of a connection: the clock may be paused.
    tokio::time::timeout(Duration::from_secs(3600), future).await.expect("the test's deadline")
}
