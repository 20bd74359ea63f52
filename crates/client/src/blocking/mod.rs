//! A client whose calls block: for programs that can spare a thread for each connection.
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
//! A received message borrows the client. The application copies it, or finishes with it, before
//! the client sends. The two halves lift this restriction:
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
//! Nothing happens between two calls. If a tenth of a second has passed since the last look, a call
//! that sends also looks at the bytes received. It answers the Pings and the Close among them, and
//! keeps the messages for the calls that receive: up to
//! [`Config::max_message`](framewright::Config::max_message) bytes of them, and at most 64 MiB. So
//! a server that waits for Pongs does not take a client that only sends for dead, as long as the
//! client sends often enough and the server does not send more than that. With [`Client::halves`],
//! receiving is left to the application.
//!
//! If the application does something else for more than a second, that time does not count against
//! a silent server: it does not count for
//! [`Config::idle_timeout`](framewright::Config::idle_timeout).
//!
//! [`Client::split`] gives two halves for two threads. While the receiving half waits for messages,
//! it answers Pings and keeps the connection alive, whether or not the sending half sends.
//!
//! A client has three descriptors: its socket, a poll and a waker. A sending half that has found
//! the socket full has two more.
//!
//! [`Client::over`] uses a stream that exists already: a Unix socket, a tunnel.
//!
//! Dropping a client drops its connection; [`Client::close_and_wait`] closes it cleanly.

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

/// The socket, in the poll of either half.
const SOCKET: Token = Token(0);
/// The waker, in the poll of the receiving half.
const WAKE: Token = Token(1);

/// The time left until `deadline`.
fn until(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}
