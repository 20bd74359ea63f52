//! Several clients in one event loop: each sends a line and prints what comes back.
//!
//! ```text
//! cargo run -p framewright-client --example several -- [URI...]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use framewright_client::event_loop::{Buffers, Client, Event, Socket, Turn};
use framewright_client::{ClientError, ClientRequest, CloseCode, Options};
use mio::{Events, Poll, Token, Waker};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

/// The tokens of the clients are their indices.
const WAKER: Token = Token(usize::MAX);

fn main() -> Result<(), ClientError> {
    let mut uris: Vec<String> = std::env::args().skip(1).collect();
    if uris.is_empty() {
        uris = vec!["ws://localhost:5000/ws".to_owned(); 3];
    }
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?); // host names are resolved on a thread
    let mut events = Events::with_capacity(64);
    let mut buffers = Buffers::new(); // for all clients of the loop

    let mut clients = Vec::new();
    for (index, uri) in uris.iter().enumerate() {
        let request = ClientRequest::try_from(uri.as_str())?;
        let client = Client::connect(request, &Options::default(), poll.registry(), Token(index), &waker)?;
        clients.push(Some(client));
    }

    while clients.iter().any(Option::is_some) {
        let now = Instant::now();
        let timeout = clients.iter().flatten().filter_map(|client| client.timeout(now)).min();
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            if let Some(Some(client)) = clients.get_mut(event.token().0) {
                client.note(event);
            }
        }
        // A turn too many does no harm. With thousands of clients give one only to those that an
        // event names, whose timeout has passed, or that are opening.
        let now = Instant::now();
        for (index, place) in clients.iter_mut().enumerate() {
            let Some(client) = place else { continue };
            let registry = poll.registry();
            let turn =
                client.turn(now, registry, &mut buffers, |socket, event| handle(index, socket, &event));
            match turn {
                Ok(Turn::Done) => *place = None,
                Ok(_) => {}
                Err(error) => {
                    eprintln!("{index}: {error}");
                    *place = None;
                }
            }
        }
    }
    Ok(())
}

fn handle(index: usize, socket: &mut Socket<'_>, event: &Event<'_>) {
    match event {
        Event::Open(_) => {
            let _ = socket.send_text(&format!("hello from {index}"));
        }
        Event::Message(message) => {
            println!("{index}: {message:?}"); // borrowed from the receive buffer
            let _ = socket.close(CloseCode::NORMAL, "done");
        }
        _ => {}
    }
}
