//! A server for a router.

use crate::graceful::Graceful;
use crate::http2;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use tokio_util::task::TaskTracker;

/// Serves a router over HTTP/1.1 and HTTP/2, with WebSockets on both, until `graceful` starts.
///
/// It is `axum::serve` with the windows of [`http2`], and with an end: once `graceful` has started,
/// it drops the listener, lets the requests end that are running, and returns when all connections
/// are gone: at the latest when the time of [`Graceful::shutdown`] is up. [`Graceful::start`] and a
/// cancelled token alone set no such time: a request that does not end then keeps this waiting.
/// Handlers find the peer's address as [`ConnectInfo`].
///
/// # Peers that are gone
/// - HTTP/1.1: a request's head has hyper's 30 seconds.
/// - HTTP/2: the connection ends if a PING is not answered ([`http2::KEEP_ALIVE_INTERVAL`]).
/// - A connection that sends nothing at all has no time limit: which version it speaks is not known
///   yet. A proxy in front of the server, or a `listener` that gives up on such streams, limits it.
///
/// ```no_run
/// use axum::{Extension, Router};
/// use framewright_axum::Graceful;
/// use std::time::Duration;
/// use tokio::net::TcpListener;
///
/// # async fn example(app: Router) -> std::io::Result<()> {
/// let graceful = Graceful::new();
/// let app = app.layer(Extension(graceful.clone()));
/// let listener = TcpListener::bind("localhost:5000").await?;
/// let server = tokio::spawn(framewright_axum::serve(listener, app, graceful.clone()));
/// tokio::signal::ctrl_c().await?;
/// graceful.shutdown(Duration::from_secs(10)).await;
/// server.await?;
/// # Ok(())
/// # }
/// ```
pub async fn serve<L>(mut listener: L, router: Router, graceful: Graceful)
where
    L: Listener,
    L::Addr: Clone + Send + Sync + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    http2::configure(&mut builder);
    // With a clock, hyper limits the time for a request's head in HTTP/1.1.
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(http2::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(http2::KEEP_ALIVE_TIMEOUT);
    let connections = TaskTracker::new();
    loop {
        let (stream, address) = tokio::select! {
            biased;
            () = graceful.started() => break,
            accepted = listener.accept() => accepted,
        };
        let service = router.clone().layer(axum::Extension(ConnectInfo(address)));
        let service = TowerToHyperService::new(service);
        let (builder, graceful) = (builder.clone(), graceful.clone());
        let counted = graceful.count_connection();
        connections.spawn(async move {
            let _counted = counted;
            let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
            tokio::select! {
                // Its errors are the peer's.
                _ = connection.as_mut() => return,
                () = graceful.started() => {}
            }
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                _ = connection => {}
                () = graceful.time_is_up() => {}
            }
        });
    }
    // Who connects from now on is refused by the system at once.
    drop(listener);
    connections.close();
    connections.wait().await;
}
