//! A handler that counts what it sees and checks the promises that its callbacks make.

use crate::common::{Client, DEADLINE};
use framewright::frame::{OpCode, encode_frame};
use framewright_server::{
    Closed, Closure, Decision, Deferred, Handle, Handler, Incoming, Message, ServerBuilder, Socket,
};
use socket2::{Domain, SockRef, Type};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the handler of a server saw, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) opened: AtomicUsize,
    pub(crate) closed: AtomicUsize,
    pub(crate) messages: AtomicUsize,
    /// Octets of payload in those messages.
    pub(crate) octets: AtomicUsize,
    pub(crate) writable: AtomicUsize,
    /// The most octets that ever waited to be sent.
    pub(crate) most_buffered: AtomicUsize,
    /// Callbacks that came when they should not.
    pub(crate) misplaced: AtomicUsize,
}

impl Tally {
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(SeqCst)
    }

    pub(crate) fn closed(&self) -> usize {
        self.closed.load(SeqCst)
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages.load(SeqCst)
    }

    pub(crate) fn most_buffered(&self) -> usize {
        self.most_buffered.load(SeqCst)
    }
}

type OnOpen = Box<dyn Fn(&mut Socket<'_>) + Send + Sync>;
type OnMessage = Box<dyn Fn(&mut Socket<'_>, Message<'_>) + Send + Sync>;

/// Accepts every opening handshake; what it does with messages is up to the test.
pub(crate) struct Probe {
    tally: Arc<Tally>,
    closures: Sender<Closure>,
    open: OnOpen,
    message: OnMessage,
}

/// What a test watches.
pub(crate) struct Watch {
    pub(crate) tally: Arc<Tally>,
    /// How connections ended.
    pub(crate) closures: Receiver<Closure>,
}

impl Probe {
    /// Does this with each message.
    pub(crate) fn new(
        message: impl Fn(&mut Socket<'_>, Message<'_>) + Send + Sync + 'static,
    ) -> (Probe, Watch) {
        let tally = Arc::new(Tally::default());
        let (sender, closures) = mpsc::channel();
        let probe = Probe {
            tally: Arc::clone(&tally),
            closures: sender,
            open: Box::new(|_| {}),
            message: Box::new(message),
        };
        (probe, Watch { tally, closures })
    }

    /// Sends every message back. There is always room: nothing is delivered while there is none.
    pub(crate) fn echo() -> (Probe, Watch) {
        Probe::new(|socket, message| socket.send(message).expect("room"))
    }

    /// Drops every message.
    pub(crate) fn silent() -> (Probe, Watch) {
        Probe::new(|_, _| {})
    }

    /// Drops every message, and hands out a handle for each connection.
    pub(crate) fn handles() -> (Probe, Watch, Receiver<Handle>) {
        let (probe, watch) = Probe::silent();
        let (sender, handles) = mpsc::channel();
        let probe = probe.open(move |socket| {
            let _ = sender.send(socket.handle()); // the test may be over
        });
        (probe, watch, handles)
    }

    pub(crate) fn open(mut self, run: impl Fn(&mut Socket<'_>) + Send + Sync + 'static) -> Probe {
        self.open = Box::new(run);
        self
    }
}

/// Whether a connection lives, as its callbacks tell.
#[derive(Debug, Default)]
pub(crate) struct Life {
    opened: bool,
    closed: bool,
}

impl Handler for Probe {
    type State = Life;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Life> {
        if request.is_websocket() {
            Decision::accept(Life::default())
        } else {
            request.not_a_websocket_request().into()
        }
    }

    fn on_open(&self, socket: &mut Socket<'_>, state: &mut Life) {
        self.tally.opened.fetch_add(1, SeqCst);
        if std::mem::replace(&mut state.opened, true) {
            self.tally.misplaced.fetch_add(1, SeqCst);
        }
        (self.open)(socket);
    }

    fn on_message(&self, socket: &mut Socket<'_>, state: &mut Life, message: Message<'_>) {
        self.tally.messages.fetch_add(1, SeqCst);
        self.tally.octets.fetch_add(message.len(), SeqCst);
        let Life { opened, closed } = *state;
        self.tally.misplaced.fetch_add(usize::from(!opened || closed), SeqCst);
        (self.message)(socket, message);
        self.tally.most_buffered.fetch_max(socket.buffered(), SeqCst);
    }

    fn on_writable(&self, _: &mut Socket<'_>, _: &mut Life) {
        self.tally.writable.fetch_add(1, SeqCst);
    }

    fn on_close(&self, closed: &Closed<'_>, state: &mut Life) {
        self.tally.closed.fetch_add(1, SeqCst);
        if !state.opened || std::mem::replace(&mut state.closed, true) {
            self.tally.misplaced.fetch_add(1, SeqCst);
        }
        let _ = self.closures.send(closed.closure().clone()); // the test may be over
    }
}

/// Serves `/ws` with this.
pub(crate) fn ws(probe: Probe) -> impl FnOnce(ServerBuilder) -> ServerBuilder {
    |builder| builder.route("/ws", probe)
}

/// A place where a handler holds its event loop up until the test lets it go on, so that everything
/// that arrives in between is there at once.
pub(crate) struct Gate {
    reached: Sender<()>,
    opened: Mutex<Receiver<()>>,
}

/// The test's side of a [`Gate`].
pub(crate) struct GateKeeper {
    pub(crate) reached: Receiver<()>,
    pub(crate) open: Sender<()>,
}

impl Gate {
    pub(crate) fn new() -> (Gate, GateKeeper) {
        let (reached, was_reached) = mpsc::channel();
        let (open, opened) = mpsc::channel();
        (Gate { reached, opened: Mutex::new(opened) }, GateKeeper { reached: was_reached, open })
    }

    /// Waits for the test.
    pub(crate) fn pass(&self) {
        let _ = self.reached.send(());
        let _ = self.opened.lock().expect("no panic in here").recv_timeout(DEADLINE);
    }

    /// Waits as long as that.
    pub(crate) fn pause(&self, time: Duration) {
        let _ = self.opened.lock().expect("no panic in here").recv_timeout(time);
    }
}

/// A masked frame.
pub(crate) fn frame(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode_frame(&mut octets, fin, opcode, payload, Some([9, 8, 7, 6]));
    octets
}

/// A client with a small receive buffer in the kernel, so that little is on its way to it.
pub(crate) fn narrow_client(addr: SocketAddr) -> Client {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("an option of the socket");
    socket.connect(&addr.into()).expect("the server accepts");
    Client::from_tcp(TcpStream::from(socket))
}

/// Ends the connection with a reset.
pub(crate) fn reset(client: Client) {
    SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("an option of the socket");
    drop(client);
}

/// Defers every request, and hands out what to decide with.
pub(crate) struct Deferring(Mutex<Sender<Deferred<()>>>);

impl Deferring {
    pub(crate) fn new() -> (Deferring, Receiver<Deferred<()>>) {
        let (sender, deferred) = mpsc::channel();
        (Deferring(Mutex::new(sender)), deferred)
    }
}

impl Handler for Deferring {
    type State = ();

    fn on_request(&self, _: &Incoming<'_>) -> Decision<()> {
        let (decision, deferred) = Decision::defer();
        let _ = self.0.lock().expect("no panic in here").send(deferred); // the test may be over
        decision
    }
}
