//! The sending half, which can have a thread of its own.

use super::shared::Shared;
use super::stopper::Stopper;
use super::{SOCKET, WAKE, until};
use crate::commands::commands;
use crate::stream::{AnotherName, ClientStream};
use framewright::{Closure, Connection, SendError, State, Stats};
use mio::{Events, Poll, Waker};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The half of a blocking client that sends.
///
/// Each call returns when the kernel has taken the bytes sent and everything queued before them; it
/// never waits for the server's responses. While the kernel takes no more bytes, the call waits, so
/// no call fails with [`Full`](SendError::Full). It waits as long as the server takes some bytes
/// now and then ([`Config::write_timeout`](crate::Config::write_timeout)), unless there is a
/// [send timeout](Sender::set_send_timeout). The order of two calls is the order on the wire.
pub struct Sender {
    shared: Arc<Shared>,
    waiter: Option<Waiter>,
}

commands!(Sender);

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Sender {
        Sender { shared, waiter: None }
    }

    /// Sets the longest time that a call that sends may take, for both halves.
    /// [`Options::send_timeout`](crate::Options::send_timeout) is the initial value. `None` means:
    /// as long as the server takes some bytes now and then. The value holds for the calls that
    /// follow.
    ///
    /// When the time is over, the call returns [`SendError::Closed`], and the connection has failed
    /// ([`Timeout::Write`](crate::Timeout::Write)): a partly sent frame cannot be taken back.
    /// Messages that the server sent before can still be received. With zero, a call sends the
    /// bytes that the kernel takes at once, or fails.
    pub fn set_send_timeout(&mut self, timeout: Option<Duration>) {
        self.shared.set_send_timeout(timeout);
    }

    /// Drops the connection: no Close frame is sent, and the bytes queued are discarded. The
    /// receiving half reports the end.
    pub fn abort(&mut self) {
        self.shared.abort();
    }

    /// Returns a handle that ends the connection from another thread, even while this one waits.
    pub fn stopper(&self) -> Stopper {
        Stopper::new(&self.shared)
    }

    /// True while messages can be sent: the closing handshake has not begun.
    pub fn is_open(&self) -> bool {
        self.shared.lock().connection.turn.connection.state() == State::Open
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.shared.closure()
    }

    /// Statistics of the connection so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn transmit(
        &mut self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Sender { shared, waiter } = self;
        shared.transmit(command, None, &mut |deadline| wait(shared, waiter, deadline))
    }
}

/// Waits for room in the socket, beside the receiving half, which waits for bytes.
struct Waiter {
    poll: Poll,
    events: Events,
    /// Ends the wait when the other half has written the bytes queued.
    waker: Arc<Waker>,
    /// A duplicate of the socket's descriptor.
    _stream: AnotherName,
}

impl Waiter {
    fn new(stream: &ClientStream) -> io::Result<Waiter> {
        let poll = Poll::new()?;
        let stream = stream.watch_writing(poll.registry(), SOCKET)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Waiter { poll, events: Events::with_capacity(4), waker, _stream: stream })
    }
}

/// The pause between two attempts where there are no descriptors to wait with.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for room. The waiter is created when the socket is full for the first time.
fn wait(shared: &Shared, waiter: &mut Option<Waiter>, deadline: Option<Instant>) {
    if waiter.is_none() {
        *waiter = Waiter::new(shared.lock().connection.stream()).ok();
    }
    let waker = waiter.as_ref().map(|waiter| Arc::clone(&waiter.waker));
    if shared.lock().wait_for_room(waker) {
        // After an interruption, or any other error, the caller tries again.
        let waited = waiter.as_mut().map(|Waiter { poll, events, .. }| poll.poll(events, until(deadline)));
        if !matches!(waited, Some(Ok(()))) {
            thread::sleep(PAUSE);
        }
    }
    if shared.lock().end_wait() {
        *waiter = None;
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("uri", &self.shared.uri.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::blocking::{Client, ReceiveError};
    use framewright::Config;
    use framewright::handshake::accept_key;
    use socket2::{Domain, Socket, Type};
    use std::io::{Read, Write};
    use std::net::SocketAddr;
    use std::sync::mpsc;

    const TIMEOUT: Duration = Duration::from_secs(60);
    /// More than a kernel takes if the peer does not read.
    const MESSAGE: usize = 48 << 20;

    /// Listens with the smallest possible receive buffer.
    fn listen() -> std::net::TcpListener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("an option of the socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(1).expect("a listening socket");
        socket.into()
    }

    /// Answers the opening handshake.
    fn accept(listener: &std::net::TcpListener) -> std::net::TcpStream {
        let (stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(TIMEOUT)).expect("an option of the socket");
        answer(&stream, &stream);
        stream
    }

    fn answer(mut stream: impl Read, mut to: impl Write) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            head.extend(byte);
        }
        let head = String::from_utf8(head).expect("ASCII");
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let accept = accept_key(key.trim().as_bytes());
        let accept = std::str::from_utf8(&accept).expect("ASCII");
        write!(
            to,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .expect("the client reads");
    }

    fn await_waiting(shared: &Shared) {
        let begun = Instant::now();
        while !shared.lock().is_awaited() {
            assert!(begun.elapsed() < TIMEOUT, "it does not wait");
            thread::yield_now();
        }
    }

    /// A pipe cannot be shut down: no event announced the abort, and the duplicate descriptor with
    /// which the sending half waited kept the pipe open.
    #[cfg(unix)]
    #[test]
    fn an_abort_ends_the_wait_for_room_in_a_pipe_and_the_pipe() {
        let (from_server, to_client) = io::pipe().expect("a pipe");
        let (from_client, to_server) = io::pipe().expect("a pipe");
        let server = thread::spawn(move || {
            answer(&from_client, &to_client);
            (from_client, to_client)
        });
        let request = "ws://localhost/".parse().expect("a URI");
        let endless = Config { write_timeout: None, ..Config::default() };
        let options = Options { connection: endless, ..Options::default() };
        let client = Client::over_pair(from_server, to_server, request, &options).expect("a connection");
        let (mut sender, _receiver) = client.split();
        let (mut from_client, _to_client) = server.join().expect("no panic");
        let (shared, stopper) = (Arc::clone(&sender.shared), sender.stopper());
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let sent = sender.send_binary(&vec![7; MESSAGE]);
            done.send((sent, sender)).map_err(drop)
        });
        await_waiting(&shared);
        stopper.abort();
        let (sent, _sender) = is_done.recv_timeout(TIMEOUT).expect("it waits no longer");
        assert_eq!(sent, Err(SendError::Closed));
        // The end arrives although both halves still exist.
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || done.send(from_client.read_to_end(&mut Vec::new()).map(drop)));
        is_done.recv_timeout(TIMEOUT).expect("the pipe is closed").expect("no fault");
    }

    /// A socket that never has room, and the peer that keeps it full.
    fn full() -> (ClientStream, std::net::TcpStream) {
        let listener = listen();
        let addr = listener.local_addr().expect("an address");
        let mut ours = std::net::TcpStream::connect(addr).expect("it listens");
        ours.set_nonblocking(true).expect("an option of the socket");
        let (theirs, _) = listener.accept().expect("a client");
        while ours.write(&[0; 64 << 10]).is_ok() {}
        (ClientStream::Tcp(mio::net::TcpStream::from_std(ours)), theirs)
    }

    /// The kernel announces room once. If the other half has used it, nothing is left to announce:
    /// the sending half waited until its deadline, if there was one.
    #[test]
    fn the_sending_half_does_not_wait_on_when_the_other_half_has_written_the_rest() {
        let listener = listen();
        let addr = listener.local_addr().expect("an address");
        let server = thread::spawn(move || accept(&listener));
        let request = format!("ws://{addr}/").parse().expect("a URI");
        let endless = Config { write_timeout: None, ..Config::default() };
        let options = Options { connection: endless, ..Options::default() };
        let client = Client::connect_with(request, &options).expect("a connection");
        let (mut sender, mut receiver) = client.split();
        let mut server = server.join().expect("no panic");

        let (full, _reader) = full();
        sender.waiter = Some(Waiter::new(&full).expect("a poll"));
        let shared = Arc::clone(&sender.shared);
        let (done, is_done) = mpsc::channel();
        let sending = thread::spawn(move || done.send(sender.send_binary(&vec![7; MESSAGE])));
        let begun = Instant::now();
        await_waiting(&shared);
        let reading = thread::spawn(move || {
            let mut target = vec![0; 1 << 20];
            let mut left = MESSAGE;
            while left > 0 {
                left = left.saturating_sub(server.read(&mut target).expect("octets of the client"));
            }
            server
        });
        let sent = loop {
            assert_eq!(
                receiver.receive_timeout(Duration::from_millis(20)).err(),
                Some(ReceiveError::TimedOut)
            );
            match is_done.try_recv() {
                Ok(sent) => break sent,
                Err(_) => assert!(begun.elapsed() < TIMEOUT, "it waits on"),
            }
        };
        assert_eq!(sent, Ok(()));
        sending.join().expect("no panic").expect("the test listens");
        reading.join().expect("no panic");
    }
}
