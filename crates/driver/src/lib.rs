//! What every driver of a [`Connection`](framewright::Connection) does the same, once: the turn of
//! an open connection, the buffers that it is lent, and the end of its transport.
//!
//! A driver owns sockets, the clock and a way to wait. It has one [`Lent`] for each event loop, one
//! [`Turn`] for each open connection, and calls [`Turn::run`] when something is ready:
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
//! application is a closure, so that a turn is compiled for each driver as if it stood there.
//!
//! Drivers are the users of this crate; applications use a driver. Its interface follows the
//! drivers' needs and changes with them.

#![forbid(unsafe_code)]
// Says at each item which feature it needs, where docs.rs builds the pages.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod lent;
mod linger;
mod parking;
mod pool;
mod transport;
mod turn;

pub use lent::{KEPT_TRANSMIT_BUFFER, Lent};
pub use linger::{LingerNext, Lingering, Rest};
pub use parking::SHORT_TAIL;
pub use pool::KEEP_FOR;
pub use transport::{Io, Ready, Transport, moved, short_read_empties_a_socket, uninterrupted};
pub use turn::{Application, Current, Flushed, Leave, Next, Turn};

/// The program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
