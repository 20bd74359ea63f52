#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! ```text
//!            +------------- a worker's thread -------------+
//!   peers    |  poll -> turn of a connection               |      other threads
//!   <----->  |          read once                          |
//!            |          Handler::on_message(socket, state) | <--- Handle::send, close
//!            |          write once                         | <--- ServerHandle::broadcast, stop
//!            +---------------------------------------------+
//! ```
//!
//! A [`Handler`] serves all connections of a route, on the thread of their event loop. Other
//! threads send through a [`Handle`]. Connections are spread over
//! [`workers`](ServerBuilder::workers), and none ever moves to another worker.
//!
//! A connection has timers ([`Socket::set_timer`]). A server has periodic callbacks
//! ([`ServerBuilder::every`]) and sends to all connections ([`ServerHandle::broadcast`]).
//!
#![cfg_attr(
    feature = "tls",
    doc = "# TLS

An [`Endpoint`] speaks TLS where [`with_tls`](Endpoint::with_tls) says so, with the certificates of a
[`ServerTls`]. [`Incoming::tls`] returns what was negotiated and the certificates of the client.
[`ServerHandle::set_tls`] changes certificates without dropping a connection."
)]
//!
//! # Stopping
//!
//! [`ServerHandle::stop`] accepts no new connections, sends a Close frame with 1001 to all open
//! ones, and drops those that are left after a grace period; then [`Server::run`] returns. With the
//! crate `ctrlc` and its feature `termination`, SIGTERM and Ctrl-C do that in three lines (the
//! example `graceful` is a whole program):
//!
//! ```no_run
//! # use framewright_server::Server;
//! # use std::time::Duration;
//! # let server = Server::builder().listen("localhost:5000").build()?;
//! let handle = server.handle();
//! ctrlc::set_handler(move || handle.stop(Duration::from_secs(10)))?;
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Several servers can run in a process: see [`Server`].
//!
//! # Counters and logs
//!
//! [`ServerHandle::stats`] returns what the server holds and has counted, for each route: refusals
//! by reason, how connections have ended, messages and bytes. The example `metrics` serves it to
//! Prometheus.
//!
//! ```
//! use framewright_server::{Response, Server, StatusCode};
//!
//! let page = Response::text(StatusCode::OK, "hello\n");
//! let server = Server::builder().page("/", page).listen("127.0.0.1:0").build()?;
//! let stats = server.handle().stats();
//! for route in &stats.routes {
//!     let path = route.path.as_deref().unwrap_or("other");
//!     println!("{path}: {} open, {} refused", route.counts.open(), route.counts.refused.total());
//! }
//! for (reason, count) in stats.totals().refused.iter() {
//!     println!("refused for {reason}: {count}");
//! }
//! # assert_eq!((stats.routes.len(), stats.accepted), (1, 0));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The server logs with `tracing`: conditions that an operator has to know as warnings and errors,
//! and at `DEBUG` each connection that opens, ends or is refused. Every callback runs inside a span
//! of its connection, so that the application's own log lines carry the span:
//!
//! | part | value |
//! |---|---|
//! | target, level, name | `framewright_server`, `INFO`, `connection` |
//! | `id` | the connection's number ([`Socket::id`]) |
//! | `route` | the route's path, as it was added; none for the fallback |
//! | `peer` | the peer's address; none if it has left |
//!
//! A filter that names targets has to name this one (`my_program=info,framewright_server=info`).
//!
//! The span is created for each turn of a connection, so that a connection at rest holds no memory
//! for it. As long as no subscriber wants `INFO` of any target, it costs a comparison. Otherwise
//! each turn, and so nearly each message of a connection that has one in flight, costs the
//! subscriber's work for a span, and a system call for the peer's address (`getpeername`). If that
//! is too much, a filter can disable the span (`info,framewright_server=warn`): then neither
//! happens.

#![forbid(unsafe_code)]
// Shows the required feature at each item where docs.rs builds the pages.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod builder;
mod compression;
mod connection;
mod context;
mod event_loop;
mod guard;
mod memory;
mod pages;
mod proxies;
mod server;
mod stats;
#[cfg(feature = "tls")]
mod tls;
pub mod topics;

pub use api::connections::{Broadcast, Connected, ConnectionInfo, Connections, Delivered, ServerBusy};
pub use api::decision::{Decision, Deferred};
pub use api::decision_threads::DecisionThreads;
pub use api::handle::{Handle, HandleError, KeepOpen};
pub use api::handler::{Closed, Handler, Incoming};
pub use api::options::{Options, ServerLimits};
pub use api::socket::Socket;
pub use builder::{Endpoint, ServerBuilder};
pub use event_loop::listen_addr::ListenAddr;
pub use event_loop::stream::PeerAddr;
pub use event_loop::timers::TooManyTimers;
#[cfg(feature = "deflate")]
pub use framewright::deflate::{
    DeflateConfig, DeflateMemoryStats, DeflateParams, DeflatePolicy, Level, WindowBits,
};
pub use framewright::handshake::{
    Accept, AllowedHosts, AllowedOrigins, Body, FieldError, FieldName, FieldValue, HeadLimits, HostError,
    OriginError, OwnedRequest, Refusal, Request, Response, StatusCode, choose_subprotocol, is_token,
};
pub use framewright::{
    Chunk, CloseCode, CloseFrame, Closure, CompressionStats, Config, Delivery, Error, LimitExceeded, Message,
    OwnedMessage, PeerMisbehaved, Prepared, SendError, Stats, Timeout,
};
pub use framewright_driver::topics::{
    NameError, Observer, Presence, PublishError, Retain, SlowConsumer, SubscribeError, TopicLimits,
    TopicOptions, TopicStats, Topics, TopicsBuilder,
};
pub use memory::ledger::MemoryStats;
pub use memory::limit::MemoryLimit;
pub use pages::files::Files;
pub use pages::page::Page;
pub use proxies::trusted::{ForwardedField, ProxyAddressError, TrustedProxies};
pub use server::{RunningServer, Server, ServerHandle};
pub use stats::{CloseCodeCounts, Counts, EndCounts, RefusedCounts, RouteStats, ServerStats};
#[cfg(feature = "tls")]
pub use tls::endpoints::SetTlsError;
#[cfg(feature = "tls")]
pub use tls::error::ServerTlsError;
#[cfg(feature = "tls")]
pub use tls::info::TlsInfo;
#[cfg(feature = "tls")]
pub use tls::settings::{ClientCertificates, ServerTls, ServerTlsBuilder};

/// The TLS library, for settings that [`ServerTlsBuilder`] does not have.
#[cfg(feature = "tls")]
pub use rustls;
