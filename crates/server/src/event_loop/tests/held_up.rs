//! A loop that was held up: deadlines of more connections than one poll reports, and of those
//! behind a callback that took long.

use crate::event_loop::{EVENTS, EventLoop, Events};
use crate::{
    Config, Decision, Handler, Incoming, ListenAddr, Message, Options, Server, ServerBuilder, ServerHandle,
    ServerLimits, Socket,
};
use framewright::frame::{OpCode, encode_frame};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest wait for an expected event.
const DEADLINE: Duration = Duration::from_secs(60);

/// Echoes every message, and on "hold" blocks the loop until the test releases it.
struct Holding {
    reached: Sender<()>,
    release: Mutex<Receiver<()>>,
}

impl Handler for Holding {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        if message == Message::Text("hold") {
            self.reached.send(()).expect("the test listens");
            let _ = self.release.lock().expect("no panic").recv_timeout(DEADLINE);
        }
        socket.send(message).expect("room");
    }
}

/// A running loop that takes `events` events from the kernel at a time.
struct Running {
    addr: SocketAddr,
    handle: ServerHandle,
    reached: Receiver<()>,
    release: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(
        events: usize,
        configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
        options: Options,
    ) -> Running {
        let (reached_sender, reached) = mpsc::channel();
        let (release, release_receiver) = mpsc::channel();
        let handler = Holding { reached: reached_sender, release: Mutex::new(release_receiver) };
        let builder = Server::builder().listen("127.0.0.1:0").workers(1);
        let server = configure(builder).route_with("/ws", options, handler).build().expect("a server");
        let handle = server.handle();
        let ListenAddr::Ip(addr) = server.addrs[0] else { panic!("a TCP socket") };
        let Server { shared, mut polls, mailboxes, walks, mut listeners, .. } = server;
        let (poll, listeners) = (polls.remove(0), listeners.remove(0));
        let thread = thread::spawn(move || {
            let loops = (mailboxes, 0);
            let mut event_loop = EventLoop::new(poll, shared, loops, walks, listeners).expect("a loop");
            event_loop.events = Events::with_capacity(events);
            let _here = event_loop.enter();
            event_loop.run().expect("the loop ends well");
        });
        Running { addr, handle, reached, release, thread: Some(thread) }
    }

    fn connect(&self) -> Peer {
        let stream = TcpStream::connect_timeout(&self.addr, DEADLINE).expect("the loop accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        Peer(stream)
    }

    fn open(&self) -> Peer {
        let mut peer = self.connect();
        peer.ask();
        assert_eq!(peer.status(), "101");
        peer
    }

    /// Waits until the loop is held up.
    fn expect_held(&self) {
        self.reached.recv_timeout(DEADLINE).expect("the message arrives");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.release.send(());
        self.handle.stop(Duration::ZERO);
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            thread.join().expect("no panic");
        }
    }
}

struct Peer(TcpStream);

impl Peer {
    fn ask(&mut self) {
        let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        self.0.write_all(request.as_bytes()).expect("the loop reads");
    }

    /// Reads the head of an answer, and returns its status.
    fn status(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read::<1>());
        }
        String::from_utf8(head[9..12].to_vec()).expect("a status line")
    }

    fn send(&mut self, text: &str) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, true, OpCode::Text, text.as_bytes(), Some([1, 2, 3, 4]));
        self.0.write_all(&bytes).expect("the loop reads");
    }

    /// Reads a short frame: its first byte, and its payload.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let [first, len] = self.read();
        let mut payload = vec![0; usize::from(len)];
        self.0.read_exact(&mut payload).expect("a whole frame");
        (first, payload)
    }

    fn expect_text(&mut self, text: &str) {
        let (first, payload) = self.frame();
        assert_eq!((first, &*String::from_utf8_lossy(&payload)), (0x81, text));
    }

    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("bytes before the deadline");
        bytes
    }
}

/// Runs the test with longer and longer deadlines, until the machine is fast enough to be held up
/// within one.
fn on_any_machine(test: impl Fn(Duration) -> bool) {
    let timeouts = [300, 3_000, 20_000].map(Duration::from_millis);
    assert!(timeouts.into_iter().any(test), "a machine that needs ten seconds for some connections");
}

fn idle(timeout: Duration) -> Options {
    let connection = Config { idle_timeout: Some(timeout), ..Config::default() };
    Options { connection, ..Options::default() }
}

/// One event at a time stands for more ready connections than one poll reports.
#[test]
fn a_peer_whose_bytes_lie_in_its_socket_is_not_idle_however_many_are_ready() {
    on_any_machine(|timeout| {
        let running = Running::start(1, |builder| builder, idle(timeout));
        let began = Instant::now();
        let mut holder = running.open();
        let mut peers: Vec<_> = (0..20).map(|_| running.open()).collect();
        holder.send("hold");
        running.expect_held();
        if began.elapsed() > timeout / 2 {
            return false;
        }
        for peer in &mut peers {
            peer.send("hello");
        }
        thread::sleep(timeout);
        running.release.send(()).expect("it waits");
        for peer in &mut peers {
            peer.expect_text("hello");
        }
        true
    });
}

/// RFC 6455 has no such deadline; the answer to one that has passed is 408 (RFC 9110, section
/// 15.5.9).
#[test]
fn a_request_that_lies_in_its_socket_is_in_time_however_many_are_ready() {
    on_any_machine(|timeout| {
        let limits = ServerLimits { handshake_timeout: timeout, ..ServerLimits::default() };
        let running = Running::start(1, |builder| builder.limits(limits), Options::default());
        let mut holder = running.open();
        let began = Instant::now();
        let mut peers: Vec<_> = (0..20).map(|_| running.connect()).collect();
        while running.handle.connection_count() <= peers.len() {
            thread::yield_now();
        }
        let mut silent = running.connect();
        while running.handle.connection_count() <= peers.len() + 1 {
            thread::yield_now();
        }
        holder.send("hold");
        running.expect_held();
        if began.elapsed() > timeout / 2 {
            return false;
        }
        peers.iter_mut().for_each(Peer::ask);
        thread::sleep(timeout);
        running.release.send(()).expect("it waits");
        for peer in &mut peers {
            assert_eq!(peer.status(), "101");
        }
        assert_eq!(silent.status(), "408", "whoever has said nothing");
        true
    });
}

#[test]
fn a_deadline_counts_from_the_turn_and_not_from_the_round_that_a_slow_callback_has_made_long() {
    on_any_machine(|timeout| {
        let running = Running::start(EVENTS, |builder| builder, idle(timeout));
        let began = Instant::now();
        let (mut first, mut second, mut third) = (running.open(), running.open(), running.open());
        first.send("hold");
        running.expect_held();
        // Both are handled in one round, in this order.
        second.send("hold");
        third.send("hello");
        running.release.send(()).expect("it waits");
        running.expect_held();
        if began.elapsed() > timeout / 2 {
            return false;
        }
        thread::sleep(timeout * 9 / 10);
        let released = Instant::now();
        running.release.send(()).expect("it waits");
        third.expect_text("hello");
        let (opcode, payload) = third.frame();
        assert_eq!((opcode, &payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]), "it is idle now");
        assert!(released.elapsed() >= timeout, "after {:?}", released.elapsed());
        true
    });
}
