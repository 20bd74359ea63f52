//! Setting up a server for WebSockets over HTTP/2 (RFC 8441).
//!
//! A browser that has a connection of HTTP/2 opens its WebSockets as streams of it, if the server's
//! SETTINGS allow that. `axum::serve` sends the setting; [`serve`](crate::serve()) and
//! [`configure`] do, and they set the windows.
//!
//! # Windows
//!
//! HTTP/2 has a window for each stream and one for the whole connection. A handler that does not
//! read stops its own peer once the stream's window is full. The unread bytes fill the window of the
//! connection too, and when that is full nobody on the connection can send anything. With hyper's
//! defaults both windows have the same size: **one handler that does not read stops all sockets and
//! requests of that browser**. Here the connection's window has room for [`STREAMS`] full streams,
//! and no more streams are allowed at a time.
//!
//! Unread bytes of a stream that its peer has reset no longer count as a stream, but keep their part
//! of the connection's window until the handler drops its socket. A peer that opens and resets
//! streams whose handlers do not return can fill the window in this way, and stops itself.
//!
//! The price is what a peer can make one connection hold: [`CONNECTION_WINDOW`] bytes.
//!
//! | HTTP/2 | WebSocket |
//! |---|---|
//! | END_STREAM after Close frames | a clean end |
//! | END_STREAM without a Close frame | 1006 |
//! | RST_STREAM, GOAWAY with an error, the connection is lost | 1006 |
//! | GOAWAY without an error | nothing: open sockets go on |

use hyper_util::server::conn::auto::Builder;
use std::time::Duration;

/// The window of each stream in bytes: what a peer may send ahead of the handler. 256 KiB carry
/// 2.5 MiB a second to a client that is 100 ms away.
pub const STREAM_WINDOW: u32 = 256 << 10;
/// The most streams that are open at a time in one connection: 100, the least that RFC 9113, section
/// 6.5.2, recommends.
pub const STREAMS: u32 = 100;
/// The window of a connection in bytes.
pub const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// How often [`serve`](crate::serve()) sends a PING on a connection of HTTP/2. It finds peers that
/// are gone; the keep-alive of each WebSocket goes on beside it.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long the peer may take to answer that PING, before the connection ends with its sockets.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Sets a server of hyper-util's up for WebSockets over HTTP/2: allows extended CONNECT, and sets
/// [`STREAM_WINDOW`], [`STREAMS`] and [`CONNECTION_WINDOW`].
///
/// Serve its connections with `serve_connection_with_upgrades`.
///
/// It sets no keep-alive, for which hyper needs a timer: without one, a connection whose peer is
/// gone stays. [`serve`](crate::serve()) sets both; for a server of your own:
///
/// ```
/// use framewright_axum::http2::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};
/// # use hyper_util::rt::{TokioExecutor, TokioTimer};
/// # use hyper_util::server::conn::auto::Builder;
/// # let mut server = Builder::new(TokioExecutor::new());
/// server
///     .http2()
///     .timer(TokioTimer::new())
///     .keep_alive_interval(KEEP_ALIVE_INTERVAL)
///     .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
/// ```
///
/// ```
/// use hyper_util::rt::TokioExecutor;
/// use hyper_util::server::conn::auto::Builder;
///
/// let mut server = Builder::new(TokioExecutor::new());
/// framewright_axum::http2::configure(&mut server);
/// ```
pub fn configure<E>(server: &mut Builder<E>) {
    server
        .http2()
        .enable_connect_protocol()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS);
}
