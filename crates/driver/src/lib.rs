//! The code that all drivers of a [`Connection`](framewright::Connection) share: the turn of an
//! open connection, the buffers lent to it, and the end of its transport.
//!
//! A driver owns sockets, the clock and a way to wait. It has one [`Lent`] for each event loop and
//! one [`Turn`] for each open connection. It calls [`Turn::run`] when something is ready:
//!
//! ```text
//!             +--------------------- Turn::run ----------------------+
//!   poll ---> | write, if there is room again                        |
//!   (mio,     | read once -> decode -> Application::on_event ...      | ---> Next::Wait
//!    tokio,   | deadlines that have passed                           |      Next::Again
//!    a call)  | Application::queue                                   |      Next::Leave
//!             | write once                                           |
//!             +------------------------------------------------------+
//! ```
//!
//! Nothing here waits, reads a clock or opens a socket. A [`Transport`] moves bytes, and the
//! [`Application`] is a closure or a type, so a turn is compiled for each driver as if it were
//! written there.
//!
//! [`topics`] is the other part that drivers share: one message to many connections.
//!
//! This crate is for drivers; applications use a driver. Its interface follows the drivers' needs
//! and changes with them.

#![forbid(unsafe_code)]
// On docs.rs, each item shows the feature that it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod lent;
mod linger;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod opening;
mod parking;
mod pool;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod tls;
pub mod topics;
mod transport;
mod turn;

pub use lent::{KEPT_TRANSMIT_BUFFER, Lent};
pub use linger::{LingerNext, Lingering, Rest};
pub use parking::SHORT_TAIL;
pub use pool::KEEP_FOR;
pub use transport::{Io, Ready, Transport, moved, short_read_empties_a_socket, uninterrupted};
pub use turn::{Application, Current, Flushed, Leave, Next, SentBatch, Turn};

/// The program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
