//! A client whose calls wait: for programs with a thread to spare for each connection.
//!
//! ```no_run
//! use framewright_client::blocking::Client;
//!
//! let mut client = Client::connect("ws://localhost:5000/ws")?;
//! client.send_text("hello")?;
//! println!("{:?}", client.receive()?); // borrows what was received
//! client.close(framewright_client::CloseCode::NORMAL, "")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Between two calls nothing happens: no Ping is answered, no deadline passes. The time in which an application does something
//! else is not held against the server: it does not count for [`Config::idle_timeout`](framewright::Config::idle_timeout) and
//! [`Config::keep_alive_timeout`](framewright::Config::keep_alive_timeout).
//!
//! [`Client::split`] gives two halves for two threads. The receiving one answers Pings and keeps the connection alive while it
//! waits for messages, whether or not the other one sends.
//!
//! A client that is dropped drops its connection; [`Client::close`] ends it well.

mod client;
mod error;
mod messages;
mod receiver;
mod sender;
mod shared;

pub use client::Client;
pub use error::ReceiveError;
pub use messages::Messages;
pub use receiver::Receiver;
pub use sender::Sender;

use mio::Token;
use std::time::{Duration, Instant};

/// The socket, in either half's poll.
const SOCKET: Token = Token(0);
/// The waker, in the receiving half's.
const WAKE: Token = Token(1);

/// How long to wait for this deadline.
fn until(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}
