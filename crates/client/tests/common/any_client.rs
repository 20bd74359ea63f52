//! One way to drive both APIs of the client, so that each test goes through both.

use super::{DEADLINE, Listener, Peer, SOON, plain, request};
use framewright::{CloseCode, Closure, Message, OwnedMessage, Prepared, SendError, Stats};
use framewright_client::{ClientRequest, ConnectError, Options, ServerResponse, blocking, event_loop};
use framewright_testkit::endpoint::Seen;
use mio::{Events, Poll, Token, Waker};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Which API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Blocking,
    EventLoop,
}

/// Runs a test with each API, in a thread that bears its name, which a panic tells.
pub(crate) fn through_both_apis(test: impl Fn(Kind) + Sync) {
    thread::scope(|scope| {
        let threads = [Kind::Blocking, Kind::EventLoop].map(|kind| {
            let test = &test;
            let builder = thread::Builder::new().name(format!("{kind:?}"));
            builder.spawn_scoped(scope, move || test(kind)).expect("a thread")
        });
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// What an application sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    Send(Message<'a>),
    Uncompressed(Message<'a>),
    Owned(Message<'a>),
    Prepared(&'a Prepared),
    Fragment(Message<'a>, bool),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Close(Option<CloseCode>, &'a str),
}

/// Both APIs have the same methods for it.
macro_rules! perform {
    ($target:expr, $command:expr) => {
        match $command {
            Command::Send(message) => $target.send(message),
            Command::Uncompressed(message) => $target.send_uncompressed(message),
            Command::Owned(message) => {
                $target.send_owned(OwnedMessage::from(message)).map_err(|unsent| unsent.error)
            }
            Command::Prepared(prepared) => $target.send_prepared(prepared),
            Command::Fragment(data, last) => $target.send_fragment(data, last),
            Command::Ping(data) => $target.ping(data),
            Command::Pong(data) => $target.pong(data),
            Command::Close(code, reason) => $target.close(code, reason),
        }
    };
}

/// A connected client.
pub(crate) trait AnyClient: Send {
    /// Waits for the next event; `None` behind the last.
    fn next(&mut self) -> Option<Seen>;

    /// Sends; the blocking API returns when the kernel has taken it, the other one after one turn.
    fn command(&mut self, command: Command<'_>) -> Result<(), SendError>;

    fn closure(&self) -> Option<Closure>;
    fn response(&self) -> ServerResponse;
    fn subprotocol(&mut self) -> Option<String>;
    fn stats(&mut self) -> Stats;

    /// Waits for something to happen, after a command that was refused as [`SendError::Full`].
    fn wait(&mut self);

    /// Sends, however long there is no room.
    #[track_caller]
    fn insist(&mut self, command: Command<'_>) {
        loop {
            match self.command(command) {
                Ok(()) => return,
                Err(SendError::Full) => self.wait(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Octets that wait to be sent.
    fn buffered(&mut self) -> usize;

    fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.command(Command::Send(Message::Text(text)))
    }

    fn send_binary(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.command(Command::Send(Message::Binary(payload)))
    }

    fn start_close(&mut self, code: u16, reason: &str) -> Result<(), SendError> {
        self.command(Command::Close(Some(CloseCode::new(code).expect("a code that may travel")), reason))
    }

    /// The events up to the end, that included.
    fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The end, which has to be the next event.
    #[track_caller]
    fn expect_closed(&mut self) -> Closure {
        match self.next() {
            Some(Seen::Closed(closure)) => {
                assert_eq!(self.next(), None, "the end comes last");
                assert_eq!(self.closure().as_ref(), Some(&closure));
                closure
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn expect_text(&mut self, text: &str) {
        assert_eq!(self.next(), Some(Seen::Text(text.to_owned())));
    }

    #[track_caller]
    fn expect_close_received(&mut self, code: Option<u16>, reason: &str) {
        assert_eq!(self.next(), Some(Seen::CloseReceived { code, reason: reason.to_owned() }));
    }
}

impl Kind {
    pub(crate) fn connect(
        self,
        request: ClientRequest,
        options: &Options,
    ) -> Result<Box<dyn AnyClient>, ConnectError> {
        Ok(match self {
            Kind::Blocking => Box::new(blocking::Client::connect_with(request, options)?),
            Kind::EventLoop => Box::new(Loop::connect(request, options)?),
        })
    }
}

impl AnyClient for blocking::Client {
    fn next(&mut self) -> Option<Seen> {
        self.next_event_before(Instant::now() + DEADLINE)
            .expect("an event before the deadline")
            .map(Seen::from)
    }

    fn command(&mut self, command: Command<'_>) -> Result<(), SendError> {
        perform!(self, command)
    }

    fn closure(&self) -> Option<Closure> {
        self.closure()
    }

    fn response(&self) -> ServerResponse {
        self.response().clone()
    }

    fn subprotocol(&mut self) -> Option<String> {
        blocking::Client::subprotocol(self).map(str::to_owned)
    }

    fn stats(&mut self) -> Stats {
        blocking::Client::stats(self)
    }

    fn wait(&mut self) {
        unreachable!("it waits by itself");
    }

    fn buffered(&mut self) -> usize {
        0 // It returns when nothing waits.
    }
}

const CLIENT: Token = Token(7);
const WAKER: Token = Token(8);

/// A client with an event loop of its own.
pub(crate) struct Loop {
    poll: Poll,
    events: Events,
    _waker: Arc<Waker>,
    pub(crate) buffers: event_loop::Buffers,
    pub(crate) client: event_loop::Client,
    seen: VecDeque<Seen>,
    response: Option<ServerResponse>,
    /// Turns that no event of the poll has asked for.
    pub(crate) unasked: usize,
}

impl Loop {
    /// Connects, and waits until the connection is open.
    pub(crate) fn connect(request: ClientRequest, options: &Options) -> Result<Loop, ConnectError> {
        let mut this = Loop::start(request, options)?;
        let until = Instant::now() + DEADLINE;
        while this.response.is_none() {
            assert!(Instant::now() < until, "neither open nor failed before the deadline");
            this.turn(until)?;
        }
        Ok(this)
    }

    /// One that has sent its request, and the server that has read it.
    pub(crate) fn asking(listener: &Listener) -> (Loop, Peer) {
        let mut this = Loop::start(request(listener.addr()), &plain()).expect("a request");
        let mut peer = loop {
            this.turn(Instant::now() + SOON / 4).expect("a connection");
            if let Some(peer) = listener.try_accept() {
                break peer;
            }
        };
        // Its request is under way.
        this.turn(Instant::now() + SOON / 4).expect("a connection");
        peer.read_request();
        (this, peer)
    }

    /// Begins to connect, and does not wait.
    pub(crate) fn start(request: ClientRequest, options: &Options) -> Result<Loop, ConnectError> {
        let poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).expect("a waker"));
        let client = event_loop::Client::connect(request, options, poll.registry(), CLIENT, &waker)?;
        Ok(Loop {
            poll,
            events: Events::with_capacity(16),
            _waker: waker,
            buffers: event_loop::Buffers::new(),
            client,
            seen: VecDeque::new(),
            response: None,
            unasked: 0,
        })
    }

    /// Waits for events, until this time at the latest, and gives the client its turn.
    pub(crate) fn turn(&mut self, until: Instant) -> Result<event_loop::Turn, ConnectError> {
        let (mut opened, mut seen) = (None, std::mem::take(&mut self.seen));
        let outcome = self.turn_with(until, |_, event| match event {
            event_loop::Event::Open(answer) => opened = Some(answer.clone()),
            event => seen.push_back(owned(event)),
        });
        self.seen = seen;
        self.response = self.response.take().or(opened);
        outcome
    }

    /// Takes a turn, and shows the events where they lie.
    pub(crate) fn turn_with(
        &mut self,
        until: Instant,
        handler: impl FnMut(&mut event_loop::Socket<'_>, event_loop::Event<'_>),
    ) -> Result<event_loop::Turn, ConnectError> {
        let now = Instant::now();
        let left = until.saturating_duration_since(now);
        let timeout = self.client.timeout(now).map_or(left, |timeout| timeout.min(left));
        self.poll.poll(&mut self.events, Some(timeout)).expect("a poll that is not interrupted");
        let mut asked = false;
        for event in self.events.iter().filter(|event| event.token() == CLIENT) {
            self.client.note(event);
            asked = true;
        }
        self.unasked += usize::from(!asked);
        let Loop { poll, buffers, client, .. } = self;
        client.turn(Instant::now(), poll.registry(), buffers, handler)
    }

    /// Waits until something has come, and gives the client its turn at `now` as if the poll had
    /// not told: as one does not that tells of others first.
    pub(crate) fn turn_untold(
        &mut self,
        now: Instant,
        handler: impl FnMut(&mut event_loop::Socket<'_>, event_loop::Event<'_>),
    ) -> Result<event_loop::Turn, ConnectError> {
        let until = Instant::now() + DEADLINE;
        while !self.events.iter().any(|event| event.token() == CLIENT && event.is_readable()) {
            assert!(Instant::now() < until, "nothing has come before the deadline");
            self.poll.poll(&mut self.events, Some(DEADLINE)).expect("a poll that is not interrupted");
        }
        let Loop { poll, buffers, client, .. } = self;
        client.turn(now, poll.registry(), buffers, handler)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.response.is_some()
    }
}

/// The event of the protocol crate has a conversion of its own.
pub(crate) fn owned(event: event_loop::Event<'_>) -> Seen {
    Seen::from(match event {
        event_loop::Event::Message(message) => framewright::Event::Message(message),
        event_loop::Event::Chunk(chunk) => framewright::Event::Chunk(chunk),
        event_loop::Event::Ping(data) => framewright::Event::Ping(data),
        event_loop::Event::Pong(data) => framewright::Event::Pong(data),
        event_loop::Event::CloseReceived { code, reason } => {
            framewright::Event::CloseReceived { code, reason }
        }
        event_loop::Event::Writable => framewright::Event::Writable,
        event_loop::Event::Closed(closure) => framewright::Event::Closed(closure),
        other => panic!("an event that the tests do not know: {other:?}"),
    })
}

impl AnyClient for Loop {
    fn next(&mut self) -> Option<Seen> {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(seen) = self.seen.pop_front() {
                // As from the blocking API, the end comes when the transport has ended.
                while matches!(seen, Seen::Closed(_)) && !self.client.is_done() {
                    assert!(Instant::now() < until, "the transport is still there at the deadline");
                    self.turn(until).expect("an open connection");
                }
                return Some(seen);
            }
            if self.client.is_done() {
                return None;
            }
            assert!(Instant::now() < until, "no event before the deadline");
            self.turn(until).expect("an open connection");
        }
    }

    fn command(&mut self, command: Command<'_>) -> Result<(), SendError> {
        let now = Instant::now();
        let outcome = match self.client.socket(now, &mut self.buffers) {
            Some(mut socket) => perform!(socket, command),
            None => Err(SendError::Closed),
        };
        self.turn(now).expect("an open connection");
        outcome
    }

    fn closure(&self) -> Option<Closure> {
        self.client.closure()
    }

    fn response(&self) -> ServerResponse {
        self.response.clone().expect("it is open")
    }

    fn subprotocol(&mut self) -> Option<String> {
        self.client.socket(Instant::now(), &mut self.buffers)?.subprotocol().map(str::to_owned)
    }

    fn stats(&mut self) -> Stats {
        self.client.socket(Instant::now(), &mut self.buffers).expect("it is open").stats()
    }

    fn wait(&mut self) {
        self.turn(Instant::now() + DEADLINE).expect("an open connection");
    }

    fn buffered(&mut self) -> usize {
        self.client.socket(Instant::now(), &mut self.buffers).map_or(0, |socket| socket.buffered())
    }
}
