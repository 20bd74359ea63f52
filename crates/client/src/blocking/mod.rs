//! A client whose calls wait: for programs with a thread to spare for each connection.
//!
//! ```no_run
//! use framewright_client::blocking::Client;
//!
//! let mut client = Client::connect("ws://localhost:5000/ws")?;
//! client.send_text("hello")?;
//! println!("{:?}", client.receive()?); // borrows what was received
//! client.close_and_wait(framewright_client::CloseCode::NORMAL, "")?;
//! # Ok::<(), framewright_client::ClientError>(())
//! ```
//!
//! A received message borrows the client, so that it has to be copied, or done with, before the
//! client sends. The two halves do without:
//!
//! ```no_run
//! # use framewright_client::blocking::Client;
//! # let mut client = Client::connect("ws://localhost:5000/ws")?;
//! let (sender, receiver) = client.halves();
//! while let Some(message) = receiver.receive()? {
//!     sender.send(message)?;
//! }
//! # Ok::<(), framewright_client::ClientError>(())
//! ```
//!
//! Nothing happens between two calls. A call that sends looks at what has arrived, if nothing has
//! for a tenth of a second: it answers the Pings and the Close that it finds, and keeps the
//! messages for the calls that receive, up to
//! [`Config::max_message`](framewright::Config::max_message) octets of them and at most 64 MiB. So
//! a client that only sends is not taken for dead by a server that waits for its Pongs, as long as
//! it sends often enough, and the server does not send more than that. [`Client::halves`] leave it
//! to the application to receive. The time in which an application does something else, if it is
//! more than a second, is not held against a server that sends nothing: it does not count for
//! [`Config::idle_timeout`](framewright::Config::idle_timeout).
//!
//! [`Client::split`] gives two halves for two threads. The receiving one answers Pings and keeps
//! the connection alive while it waits for messages, whether or not the other one sends.
//!
//! A client has three descriptors: its socket, a poll and a waker. A sending half that has found
//! the socket full has two more.
//!
//! [`Client::over`] speaks over a stream that was there before: a Unix socket, a tunnel.
//!
//! A client that is dropped drops its connection; [`Client::close_and_wait`] ends it well.

mod client;
mod kept;
mod receiver;
mod sender;
mod shared;
mod stopper;

pub use client::Client;
pub use framewright::Event;
pub use receiver::{Messages, ReceiveError, Receiver};
pub use sender::Sender;
pub use stopper::Stopper;

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
