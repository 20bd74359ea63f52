//! A handler that writes down what it sees, and does what a test tells it to.

use crate::common::next;
use framewright_server::{Chunk, Closed, Closure, Decision, Handler, Incoming, Message, Socket};
use std::sync::mpsc::{self, Receiver, Sender};

/// A callback, and what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    /// The path, and whether it was an opening handshake.
    Request(String, bool),
    Open,
    Text(String),
    Binary(Vec<u8>),
    Chunk,
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Writable,
    Close(Closure),
}

type OnRequest = Box<dyn Fn(&Incoming<'_>) -> Decision<()> + Send + Sync>;
type OnSocket = Box<dyn Fn(&mut Socket<'_>) + Send + Sync>;
type OnMessage = Box<dyn Fn(&mut Socket<'_>, Message<'_>) + Send + Sync>;
type OnChunk = Box<dyn Fn(&mut Socket<'_>, Chunk<'_>) + Send + Sync>;
type OnClose = Box<dyn Fn(&Closure) + Send + Sync>;

/// The next things seen are these.
#[track_caller]
pub(crate) fn expect_saw(seen: &Receiver<Saw>, expected: &[Saw]) {
    for expected in expected {
        assert_eq!(&next(seen), expected);
    }
}

/// The next thing seen is the end of a connection.
#[track_caller]
pub(crate) fn expect_closed(seen: &Receiver<Saw>) -> Closure {
    match next(seen) {
        Saw::Close(closure) => closure,
        saw => panic!("{saw:?}"),
    }
}

/// Accepts every opening handshake and does nothing, unless told otherwise.
pub(crate) struct Scripted {
    saw: Sender<Saw>,
    request: OnRequest,
    open: OnSocket,
    message: OnMessage,
    chunk: OnChunk,
    ping: OnSocket,
    pong: OnSocket,
    writable: OnSocket,
    close: OnClose,
}

impl Scripted {
    /// The handler, and what it sees.
    pub(crate) fn new() -> (Scripted, Receiver<Saw>) {
        let (saw, seen) = mpsc::channel();
        let scripted = Scripted {
            saw,
            request: Box::new(accept),
            open: Box::new(|_| {}),
            message: Box::new(|_, _| {}),
            chunk: Box::new(|_, _| {}),
            ping: Box::new(|_| {}),
            pong: Box::new(|_| {}),
            writable: Box::new(|_| {}),
            close: Box::new(|_| {}),
        };
        (scripted, seen)
    }

    /// One that sends every message back.
    pub(crate) fn echo() -> (Scripted, Receiver<Saw>) {
        let (scripted, seen) = Scripted::new();
        let scripted = scripted.message(|socket, message| socket.send(message).expect("room"));
        (scripted.chunk(|socket, chunk| socket.send_fragment(chunk.data, chunk.last).expect("room")), seen)
    }

    pub(crate) fn request(
        mut self,
        run: impl Fn(&Incoming<'_>) -> Decision<()> + Send + Sync + 'static,
    ) -> Scripted {
        self.request = Box::new(run);
        self
    }

    pub(crate) fn open(mut self, run: impl Fn(&mut Socket<'_>) + Send + Sync + 'static) -> Scripted {
        self.open = Box::new(run);
        self
    }

    pub(crate) fn message(
        mut self,
        run: impl Fn(&mut Socket<'_>, Message<'_>) + Send + Sync + 'static,
    ) -> Scripted {
        self.message = Box::new(run);
        self
    }

    pub(crate) fn chunk(
        mut self,
        run: impl Fn(&mut Socket<'_>, Chunk<'_>) + Send + Sync + 'static,
    ) -> Scripted {
        self.chunk = Box::new(run);
        self
    }

    pub(crate) fn ping(mut self, run: impl Fn(&mut Socket<'_>) + Send + Sync + 'static) -> Scripted {
        self.ping = Box::new(run);
        self
    }

    pub(crate) fn pong(mut self, run: impl Fn(&mut Socket<'_>) + Send + Sync + 'static) -> Scripted {
        self.pong = Box::new(run);
        self
    }

    pub(crate) fn writable(mut self, run: impl Fn(&mut Socket<'_>) + Send + Sync + 'static) -> Scripted {
        self.writable = Box::new(run);
        self
    }

    pub(crate) fn close(mut self, run: impl Fn(&Closure) + Send + Sync + 'static) -> Scripted {
        self.close = Box::new(run);
        self
    }

    fn note(&self, saw: Saw) {
        // A test that is over does not listen.
        let _ = self.saw.send(saw);
    }
}

/// What every handler here does with a request, if not told otherwise.
pub(crate) fn accept(request: &Incoming<'_>) -> Decision<()> {
    if request.is_websocket() { Decision::accept(()) } else { request.not_a_websocket_request().into() }
}

impl Handler for Scripted {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        self.note(Saw::Request(request.path().to_owned(), request.is_websocket()));
        (self.request)(request)
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        self.note(Saw::Open);
        (self.open)(socket);
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        self.note(match message {
            Message::Text(text) => Saw::Text(text.to_owned()),
            Message::Binary(payload) => Saw::Binary(payload.to_owned()),
        });
        (self.message)(socket, message);
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        self.note(Saw::Chunk);
        (self.chunk)(socket, chunk);
    }

    fn on_ping(&self, socket: &mut Socket<'_>, _: &mut (), data: &[u8]) {
        self.note(Saw::Ping(data.to_owned()));
        (self.ping)(socket);
    }

    fn on_pong(&self, socket: &mut Socket<'_>, _: &mut (), data: &[u8]) {
        self.note(Saw::Pong(data.to_owned()));
        (self.pong)(socket);
    }

    fn on_writable(&self, socket: &mut Socket<'_>, _: &mut ()) {
        self.note(Saw::Writable);
        (self.writable)(socket);
    }

    fn on_close(&self, closed: &Closed<'_>, _: &mut ()) {
        self.note(Saw::Close(closed.closure().clone()));
        (self.close)(closed.closure());
    }
}
