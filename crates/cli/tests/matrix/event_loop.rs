//! The exchange with the client in an event loop.

use super::Compress;
use super::messages::Messages;
use framewright_client::event_loop::{Buffers, Client, Event, Socket, Turn};
use framewright_client::{ClientRequest, CloseCode, Options};
use mio::{Events, Poll, Token, Waker};
use std::sync::Arc;
use std::time::Instant;

const CLIENT: Token = Token(7);
const WAKER: Token = Token(8);

pub(crate) fn exchange(url: &str, options: &Options, compress: Compress, mut messages: Messages) {
    let mut poll = Poll::new().expect("a poll");
    let waker = Arc::new(Waker::new(poll.registry(), WAKER).expect("a waker"));
    let mut events = Events::with_capacity(16);
    let mut buffers = Buffers::new();
    let request = ClientRequest::try_from(url).expect("a URL");
    let mut client = Client::connect(request, options, poll.registry(), CLIENT, &waker).expect("a socket");
    loop {
        poll.poll(&mut events, client.timeout(Instant::now())).expect("a poll does not fail");
        events.iter().filter(|event| event.token() == CLIENT).for_each(|event| client.note(event));
        let turn = client.turn(Instant::now(), poll.registry(), &mut buffers, |socket, event| match event {
            Event::Open(_) => {
                assert_eq!(socket.deflate().is_some(), compress != Compress::Off);
                send(socket, &messages);
            }
            Event::Message(message) => {
                messages.take(message);
                send(socket, &messages);
            }
            Event::Chunk(chunk) => {
                messages.take_chunk(chunk);
                if chunk.last {
                    send(socket, &messages);
                }
            }
            Event::Closed(closure) => {
                assert!(closure.clean, "{closure:?}");
                assert_eq!((closure.code(), closure.reason()), (1000, "done"));
            }
            _ => {}
        });
        if turn.expect("the server accepts") == Turn::Done {
            break;
        }
    }
    assert!(client.closure().is_some_and(|closure| closure.clean));
    assert!(messages.current().is_none(), "closed too early");
}

fn send(socket: &mut Socket<'_>, messages: &Messages) {
    match messages.current() {
        Some(message) => socket.send(message),
        None => socket.close(CloseCode::NORMAL, "done"),
    }
    .expect("the connection is open");
}
