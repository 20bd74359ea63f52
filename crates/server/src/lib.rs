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
//! [`workers`](ServerBuilder::workers); one never moves.
//!
//! A connection has timers ([`Socket::set_timer`]), and a server does something now and then
//! ([`ServerBuilder::every`]) and sends to everybody ([`ServerHandle::broadcast`]).
//!
//! # Stopping
//!
//! [`ServerHandle::stop`] lets nobody new in, says goodbye to everybody (1001), and cuts what is
//! left after a while; [`Server::run`] returns then. With the crate `ctrlc` and its feature
//! `termination`, SIGTERM and Ctrl-C do that in three lines (the example `graceful` is a whole
//! program):
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
//! # What is counted, and what is logged
//!
//! [`ServerHandle::stats`] tells what the server holds and has counted, for each route: who was
//! refused and why, how connections have ended, messages and bytes. The example `metrics` serves it
//! to Prometheus.
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
//! The server logs with `tracing`: what an operator has to know as warnings and errors, and at
//! `DEBUG` each connection that opens, ends or is refused. Every callback runs inside a span of its
//! connection, so that what an application logs there has it too:
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
//! The span is made anew for each turn of a connection, so that one at rest holds nothing for it.
//! Where nobody listens to it, which is so as long as no subscriber wants `INFO` of anything, it
//! costs a comparison. Where somebody does, each turn, and so nearly each message of a connection
//! that has one in flight, costs what the subscriber does for a span, and a system call that asks
//! for the peer's address (`getpeername`). Where that is too much, a filter leaves the span out
//! (`info,framewright_server=warn`): then neither happens.

#![forbid(unsafe_code)]
// Says at each item which feature it needs, where docs.rs builds the pages.
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

pub use api::connections::{Broadcast, Connected, ConnectionInfo, Connections, Delivered, ServerBusy};
pub use api::decision::{Decision, Deferred};
pub use api::handle::{Handle, HandleError, KeepOpen};
pub use api::handler::{Closed, Handler, Incoming};
pub use api::options::{Options, ServerLimits};
pub use api::socket::Socket;
pub use builder::{Endpoint, ServerBuilder};
pub use event_loop::listener::ListenAddr;
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
pub use memory::ledger::MemoryStats;
pub use memory::limit::MemoryLimit;
pub use pages::files::Files;
pub use pages::page::Page;
pub use proxies::trusted::{ForwardedField, ProxyAddressError, TrustedProxies};
pub use server::{RunningServer, Server, ServerHandle};
pub use stats::{CloseCodeCounts, Counts, EndCounts, RefusedCounts, RouteStats, ServerStats};
