//! A client in an event loop of its caller, beside the other sources polled there.
//!
//! ```no_run
//! use framewright_client::event_loop::{Buffers, Client, Event, Turn};
//! use framewright_client::{ClientRequest, CloseCode, Options};
//! use mio::{Events, Poll, Token, Waker};
//! use std::{sync::Arc, time::Instant};
//!
//! const CLIENT: Token = Token(0);
//! const WAKER: Token = Token(1);
//!
//! let mut poll = Poll::new()?;
//! let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
//! let mut events = Events::with_capacity(64);
//! let mut buffers = Buffers::new(); // for all clients of this loop
//!
//! let request = ClientRequest::try_from("ws://localhost:5000/ws")?;
//! let mut client = Client::connect(request, &Options::default(), poll.registry(), CLIENT, &waker)?;
//! loop {
//!     match poll.poll(&mut events, client.timeout(Instant::now())) {
//!         Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
//!         _ => {}
//!     }
//!     events.iter().filter(|event| event.token() == CLIENT).for_each(|event| client.note(event));
//!     let turn = client.turn(Instant::now(), poll.registry(), &mut buffers, |socket, event| match event {
//!         Event::Open(_) => drop(socket.send_text("hello")),
//!         Event::Message(message) => {
//!             println!("{message:?}"); // borrowed from the receive buffer
//!             let _ = socket.close(CloseCode::NORMAL, "");
//!         }
//!         _ => {}
//!     })?;
//!     if turn == Turn::Done {
//!         break;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rules:
//!
//! - Pass each event of the client's token to [`Client::note`].
//! - Give the client a turn after that, after the waker's event while it is opening, and when its
//!   [`timeout`](Client::timeout) has passed. A turn too many does no harm.
//! - Give a client that is opening its turns, or drop it. It keeps other connections of the process
//!   from the same address (RFC 6455, section 4.1).
//! - A handler that panics costs its connection, if the panic is caught and the client gets another
//!   turn.

mod buffers;
mod client;
mod event;
mod socket;

pub use buffers::Buffers;
pub use client::{Client, Turn};
pub use event::Event;
pub use socket::Socket;
