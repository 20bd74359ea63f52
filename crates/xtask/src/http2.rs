//! A server on axum that tells how its WebSockets were opened: by which version of HTTP, and on which
//! connection.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{ConnectInfo, State};
use axum::http::{Method, Uri, Version};
#[cfg(feature = "browser")]
use axum::response::Html;
use axum::response::Response;
use axum::routing::any;
#[cfg(feature = "browser")]
use axum::routing::get;
use axum::{Extension, Router};
use framewright_axum::{CloseFrame, Graceful, WebSocket, WebSocketUpgrade};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

#[cfg(feature = "browser")]
use crate::certificates::Certificate;

#[cfg(feature = "browser")]
mod over_tls;

/// A running server for HTTP/1.1 and HTTP/2.
///
/// | path | what it does |
/// |---|---|
/// | `/` | with TLS: a page |
/// | `/echo` | sends every message back, and its end is told |
/// | `/close/CODE` | closes at once with this code, and [`REASON`] |
/// | `/unread` | reads nothing |
#[derive(Debug)]
pub(crate) struct Http2Server {
    pub(crate) addr: SocketAddr,
    told: Receiver<Told>,
    /// Dropping it ends all.
    _runtime: Runtime,
}

/// What the server has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A client with this address was sent the page, by this version of HTTP.
    #[cfg(feature = "browser")]
    Page(SocketAddr, Version),
    /// A WebSocket was opened.
    Opened(Opened),
    /// One on `/echo` has ended, with this code and this reason.
    Ended(u16, String),
}

/// How a WebSocket was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) method: Method,
    /// The address of the client, which tells its connections apart.
    pub(crate) client: SocketAddr,
}

impl Opened {
    /// Whether it is a stream of an HTTP/2 connection (RFC 8441, section 4).
    pub(crate) fn is_a_stream(&self) -> bool {
        self.version == Version::HTTP_2 && self.method == Method::CONNECT
    }
}

/// The reason in a Close frame of the server.
pub(crate) const REASON: &str = "Grüße";

/// How long the server may take to tell what it has seen.
const DEADLINE: Duration = Duration::from_secs(10);

impl Http2Server {
    /// Starts one without TLS, whose clients know that it speaks HTTP/2.
    ///
    /// # Errors
    /// If it cannot listen.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = listener.local_addr()?;
        let (sender, told) = channel();
        runtime.spawn(framewright_axum::serve(listener, app().with_state(sender), Graceful::new()));
        Ok(Self { addr, told, _runtime: runtime })
    }

    /// Starts one with TLS, which prefers HTTP/2, and has a page.
    ///
    /// # Errors
    /// If it cannot listen, or read the certificate.
    #[cfg(feature = "browser")]
    pub(crate) fn start_tls(certificate: &Certificate) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(over_tls::Listener::bind(certificate))?;
        let addr = listener.addr();
        let (sender, told) = channel();
        let app = app().route("/", get(page)).with_state(sender);
        runtime.spawn(framewright_axum::serve(listener, app, Graceful::new()));
        Ok(Self { addr, told, _runtime: runtime })
    }

    /// All that it has seen until it sees this many WebSockets on `/echo` end.
    ///
    /// # Errors
    /// If it sees nothing for longer than the deadline.
    pub(crate) fn told(&self, mut ends: usize) -> anyhow::Result<Vec<Told>> {
        let mut all = Vec::new();
        while ends > 0 {
            let told = self.told.recv_timeout(DEADLINE).context("the server has seen too few ends")?;
            if matches!(told, Told::Ended(..)) {
                ends -= 1;
            }
            all.push(told);
        }
        Ok(all)
    }
}

fn app() -> Router<Sender<Told>> {
    Router::new().route("/echo", any(open)).route("/close/{code}", any(open)).route("/unread", any(open))
}

#[cfg(feature = "browser")]
async fn page(
    State(told): State<Sender<Told>>,
    Extension(ConnectInfo(client)): Extension<ConnectInfo<SocketAddr>>,
    version: Version,
) -> Html<&'static str> {
    let _ = told.send(Told::Page(client, version));
    Html("<!doctype html><title>HTTP/2</title>")
}

async fn open(
    State(told): State<Sender<Told>>,
    Extension(ConnectInfo(client)): Extension<ConnectInfo<SocketAddr>>,
    version: Version,
    method: Method,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    let path = uri.path().to_owned();
    // Nobody listens once the test is over.
    let _ = told.send(Told::Opened(Opened { path: path.clone(), version, method, client }));
    upgrade.on_upgrade(async move |socket| match path.strip_prefix("/close/") {
        Some(code) => {
            let code = code.parse().unwrap_or(1000);
            let frame = CloseFrame { code, reason: REASON.into() };
            // How it ends the client tells.
            let _ = socket.close(Some(frame)).await;
        }
        None if path == "/unread" => pending().await,
        None => echo(socket, told).await,
    })
}

async fn echo(mut socket: WebSocket, told: Sender<Told>) {
    let (receiver, sender) = socket.inner_mut().parts();
    while let Some(Ok(message)) = receiver.recv().await {
        // Refused where the connection is closing.
        let _ = sender.feed(message).await;
    }
    if let Some(closure) = socket.closure() {
        let _ = told.send(Told::Ended(closure.code(), closure.reason().to_owned()));
    }
}
