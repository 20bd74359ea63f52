//! Clients over streams that only block, and that have no descriptor: channels in memory, sockets
//! that are not asked for theirs, TLS sessions.

use crate::common::{DEADLINE, LATER, Peer, SOON, Server, plain, request};
use crate::over::{accept, request as tunnel_request, returns};
use framewright::{Error, Role, SendError, Timeout};
use framewright_client::blocking::{Client, ReceiveError};
use framewright_client::{BlockingStream, CloseCode, Config, ConnectError, Message, Options, event_loop};
use framewright_testkit::script;
use mio::{Events, Poll, Token};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The end of a channel that is read.
struct Source {
    pieces: Receiver<Vec<u8>>,
    left: Vec<u8>,
    /// How long a read waits.
    patience: Duration,
    /// Disconnected when this is dropped.
    _lives: Option<Sender<()>>,
}

/// The end of a channel that is written to, which holds few pieces.
struct Sink {
    pieces: SyncSender<Vec<u8>>,
    _lives: Option<Sender<()>>,
}

impl Read for Source {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            match self.pieces.recv_timeout(self.patience) {
                Ok(piece) => self.left = piece,
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let length = self.left.len().min(target.len());
        target[..length].copy_from_slice(&self.left[..length]);
        self.left.drain(..length);
        Ok(length)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pieces.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both halves as one object.
struct Both(Source, Sink);

impl Read for Both {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.0.read(target)
    }
}

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

/// The ends of a stream in memory: the client's, whose reads wait for `patience`, and the server's.
fn in_memory(patience: Duration) -> ((Source, Sink), (Source, Sink)) {
    let (to_client, from_server) = mpsc::sync_channel(4);
    let (to_server, from_client) = mpsc::sync_channel(4);
    let source = |pieces, patience| Source { pieces, left: Vec::new(), patience, _lives: None };
    let sink = |pieces| Sink { pieces, _lives: None };
    let client = (source(from_server, patience), sink(to_server));
    (client, (source(from_client, DEADLINE), sink(to_client)))
}

/// Waits until what held the other end of this channel was dropped.
#[track_caller]
fn await_dropped(dropped: &Receiver<()>) {
    assert_eq!(dropped.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
}

/// A server that accepts, sends a message, reads a long one, and closes. It returns what the client
/// has sent after that.
fn serve((mut from_client, mut to_client): (Source, Sink)) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        accept(&mut from_client, &mut to_client);
        to_client.write_all(&script::bytes(Role::Server, "text \"hello\"")).expect("the client reads");
        from_client.read_exact(&mut vec![0; (1 << 20) + 14]).expect("a message");
        to_client.write_all(&script::bytes(Role::Server, "close 1000")).expect("the client reads");
        drop(to_client);
        let mut rest = Vec::new();
        from_client.read_to_end(&mut rest).expect("the end");
        rest
    })
}

/// The client's part of that conversation.
fn converse(stream: BlockingStream) {
    let mut client = Client::over_with(stream, tunnel_request(), &plain()).expect("it is open");
    assert_eq!((client.peer_addr(), client.local_addr()), (None, None));
    assert_eq!(client.receive(), Ok(Some(Message::Text("hello"))));
    client.send_binary(&vec![7; 1 << 20]).expect("it is open");
    assert_eq!(client.receive(), Ok(None));
    assert!(client.closure().is_some_and(|closure| closure.clean), "{:?}", client.closure());
}

#[test]
fn halves_without_a_descriptor_are_a_stream_and_are_dropped_with_the_client() {
    let ((mut reader, mut writer), server) = in_memory(DEADLINE);
    let (lives, reader_dropped) = mpsc::channel();
    reader._lives = Some(lives);
    let (lives, writer_dropped) = mpsc::channel();
    writer._lives = Some(lives);
    let server = serve(server);
    converse(BlockingStream::from_halves(reader, writer).expect("threads"));
    assert_eq!(server.join().expect("no panic").len(), 8, "a Close frame with a code");
    await_dropped(&reader_dropped);
    await_dropped(&writer_dropped);
}

#[test]
fn one_object_whose_calls_return_soon_is_a_stream_and_is_dropped_with_the_client() {
    for patience in [Duration::ZERO, Duration::from_millis(5)] {
        let ((mut reader, writer), server) = in_memory(patience);
        let (lives, dropped) = mpsc::channel();
        reader._lives = Some(lives);
        let server = serve(server);
        converse(BlockingStream::from_whole(Both(reader, writer)).expect("a thread"));
        assert_eq!(server.join().expect("no panic").len(), 8, "a Close frame with a code");
        await_dropped(&dropped);
    }
}

#[test]
fn the_opening_handshake_has_its_deadline_though_a_read_waits() {
    let ((reader, writer), _server) = in_memory(DEADLINE);
    let stream = BlockingStream::from_halves(reader, writer).expect("threads");
    let options = Options { handshake_timeout: SOON, ..plain() };
    let error = Client::over_with(stream, tunnel_request(), &options).expect_err("nobody answers");
    assert!(matches!(error, ConnectError::HandshakeTimeout), "{error:?}");
}

#[test]
fn receiving_and_keep_alive_have_their_deadlines_though_a_read_waits() {
    let ((reader, writer), (mut from_client, mut to_client)) = in_memory(DEADLINE);
    let server = thread::spawn(move || {
        accept(&mut from_client, &mut to_client);
        from_client.read_to_end(&mut Vec::new()).expect("the end");
        drop(to_client);
    });
    let connection =
        Config { keep_alive_interval: Some(SOON), keep_alive_timeout: Some(SOON), ..plain().connection };
    let options = Options { connection, ..plain() };
    let stream = BlockingStream::from_halves(reader, writer).expect("threads");
    let mut client = Client::over_with(stream, tunnel_request(), &options).expect("it is open");
    assert_eq!(client.receive_timeout(Duration::ZERO).map(drop), Err(ReceiveError::TimedOut));
    let failed = ReceiveError::Failed(Error::Timeout(Timeout::KeepAlive));
    assert_eq!(client.receive().map(drop), Err(failed));
    drop(client);
    server.join().expect("no panic");
}

#[test]
fn sending_has_its_deadlines_though_a_write_waits() {
    for (send_timeout, write_timeout) in [(Some(SOON), None), (None, Some(SOON))] {
        let ((reader, writer), (mut from_client, mut to_client)) = in_memory(DEADLINE);
        let server = thread::spawn(move || {
            accept(&mut from_client, &mut to_client);
            (from_client, to_client)
        });
        let connection = Config { write_timeout, ..plain().connection };
        let options = Options { send_timeout, connection, ..plain() };
        let stream = BlockingStream::from_halves(reader, writer).expect("threads");
        let client = Client::over_with(stream, tunnel_request(), &options).expect("it is open");
        let _server = server.join().expect("no panic");
        let sent = returns(move || {
            let (mut sender, _receiver) = client.split();
            sender.send_binary(&vec![1; 8 << 20])
        });
        assert_eq!(sent, Err(SendError::Closed));
    }
}

#[test]
fn one_half_sends_and_answers_ping_while_the_other_one_waits_for_a_message() {
    let ((reader, writer), (mut from_client, mut to_client)) = in_memory(DEADLINE);
    let (tell, told) = mpsc::channel();
    let server = thread::spawn(move || {
        accept(&mut from_client, &mut to_client);
        let mut message = [0; 2 + 4 + 3];
        from_client.read_exact(&mut message).expect("a message");
        to_client.write_all(&script::bytes(Role::Server, "ping \"?\"")).expect("the client reads");
        let mut pong = [0; 2 + 4 + 1];
        from_client.read_exact(&mut pong).expect("a Pong");
        tell.send((message[0], pong[0])).expect("the test listens");
        to_client.write_all(&script::bytes(Role::Server, "text \"now\"")).expect("the client reads");
        from_client.read_to_end(&mut Vec::new()).expect("the end");
    });
    let stream = BlockingStream::from_halves(reader, writer).expect("threads");
    let client = Client::over_with(stream, tunnel_request(), &plain()).expect("it is open");
    let (mut sender, mut receiver) = client.split();
    let receiving = thread::spawn(move || {
        assert_eq!(receiver.receive(), Ok(Some(Message::Text("now"))));
    });
    sender.send_binary(b"abc").expect("it is open");
    assert_eq!(told.recv_timeout(DEADLINE), Ok((0x82, 0x8a)));
    receiving.join().expect("the message");
    drop(sender);
    server.join().expect("no panic");
}

/// What a stream does once it is told to.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Panics,
    Fails,
    Ends,
}

/// A half of a stream that is broken once a flag is set.
struct Broken<S> {
    stream: S,
    fault: Fault,
    is_broken: Arc<AtomicBool>,
}

impl<S> Broken<S> {
    fn check(&self) -> Option<io::Result<usize>> {
        if !self.is_broken.load(Ordering::SeqCst) {
            return None;
        }
        match self.fault {
            Fault::Panics => panic!("of the application"),
            Fault::Fails => Some(Err(io::Error::other("the tunnel is gone"))),
            Fault::Ends => Some(Ok(0)),
        }
    }
}

impl<S: Read> Read for Broken<S> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self.check() {
            Some(broken) => broken,
            None => self.stream.read(target),
        }
    }
}

impl<S: Write> Write for Broken<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.check() {
            Some(broken) => broken,
            None => self.stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[test]
fn a_reader_that_is_broken_while_it_opens_is_why_there_is_no_connection() {
    for (fault, kind, text) in [
        (Fault::Panics, io::ErrorKind::Other, "the stream has panicked"),
        (Fault::Fails, io::ErrorKind::Other, "the tunnel is gone"),
    ] {
        for is_whole in [false, true] {
            let ((stream, writer), _server) = in_memory(SOON);
            let reader = Broken { stream, fault, is_broken: Arc::new(AtomicBool::new(true)) };
            let stream = if is_whole {
                BlockingStream::from_whole(ReadsAndWrites(reader, writer)).expect("a thread")
            } else {
                BlockingStream::from_halves(reader, writer).expect("threads")
            };
            let opened = returns(move || Client::over_with(stream, tunnel_request(), &plain()).map(drop));
            match opened {
                Err(ConnectError::Lost(error)) => {
                    assert_eq!(error.kind(), kind, "{error:?}");
                    assert!(error.to_string().contains(text), "{error}");
                }
                other => panic!("{fault:?}: {other:?}"),
            }
        }
    }
}

/// A reader and a writer as one object.
struct ReadsAndWrites<R, W>(R, W);

impl<R: Read, W> Read for ReadsAndWrites<R, W> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.0.read(target)
    }
}

impl<R, W: Write> Write for ReadsAndWrites<R, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

#[test]
fn a_reader_that_is_broken_ends_an_open_connection() {
    for fault in [Fault::Panics, Fault::Fails, Fault::Ends] {
        let ((stream, writer), (mut from_client, mut to_client)) = in_memory(SOON);
        let is_broken = Arc::new(AtomicBool::new(false));
        let reader = Broken { stream, fault, is_broken: Arc::clone(&is_broken) };
        let server = thread::spawn(move || {
            accept(&mut from_client, &mut to_client);
            (from_client, to_client)
        });
        let stream = BlockingStream::from_halves(reader, writer).expect("threads");
        let client = Client::over_with(stream, tunnel_request(), &plain()).expect("it is open");
        let _server = server.join().expect("no panic");
        let (mut sender, mut receiver) = client.split();
        is_broken.store(true, Ordering::SeqCst);
        let received = returns(move || receiver.receive().map(drop));
        assert_eq!(received, Err(ReceiveError::Failed(Error::TransportLost)), "{fault:?}");
        assert_eq!(sender.send_text("hello"), Err(SendError::Closed), "{fault:?}");
    }
}

#[test]
fn a_writer_that_is_broken_ends_what_is_sent_even_while_a_sender_waits_for_room() {
    for fault in [Fault::Panics, Fault::Fails, Fault::Ends] {
        for is_whole in [false, true] {
            let ((reader, stream), (mut from_client, mut to_client)) = in_memory(SOON / 10);
            let is_broken = Arc::new(AtomicBool::new(false));
            let writer = Broken { stream, fault, is_broken: Arc::clone(&is_broken) };
            let server = thread::spawn(move || {
                accept(&mut from_client, &mut to_client);
                // The beginning of a message: then nothing is taken until the writer is broken.
                from_client.read_exact(&mut [0; 100]).expect("a message");
                is_broken.store(true, Ordering::SeqCst);
                from_client.read_to_end(&mut Vec::new()).expect("the end");
            });
            let endless = Config { write_timeout: None, ..plain().connection };
            let options = Options { connection: endless, ..plain() };
            let stream = if is_whole {
                BlockingStream::from_whole(ReadsAndWrites(reader, writer)).expect("a thread")
            } else {
                BlockingStream::from_halves(reader, writer).expect("threads")
            };
            let client = Client::over_with(stream, tunnel_request(), &options).expect("it is open");
            let (mut sender, receiver) = client.split();
            let sent = returns(move || sender.send_binary(&vec![1; 8 << 20]));
            assert_eq!(sent, Err(SendError::Closed), "{fault:?}");
            drop(receiver);
            server.join().expect("no panic");
        }
    }
}

/// Clones of one socket: no drop of a half ends anything while the other half exists.
#[test]
fn what_ends_a_socket_is_called_behind_the_last_byte_and_ends_a_read_that_waits() {
    let (done, until) = mpsc::channel::<()>();
    let server = Server::open(move |peer: &mut Peer| {
        assert_eq!(peer.expect_close(1000), "bye");
        peer.expect_end();
        // The server's direction stays open: a read of the client waits until it is made to end.
        let _ = until.recv_timeout(DEADLINE);
    });
    let socket = TcpStream::connect(server.addr()).expect("it listens");
    let (lives, dropped) = mpsc::channel();
    let reader = ReadsAndWrites(socket.try_clone().expect("a descriptor"), lives);
    let writer = socket.try_clone().expect("a descriptor");
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let stream = BlockingStream::from_halves(reader, writer).expect("threads").with_shutdown(move |how| {
        log.lock().expect("no panic").push(how);
        let _ = socket.shutdown(how);
    });
    let request = request(server.addr());
    let mut client = Client::over_with(stream, request, &plain()).expect("it is open");
    client.close(CloseCode::NORMAL, "bye").expect("it is open");
    drop(client);
    await_dropped(&dropped);
    assert_eq!(*calls.lock().expect("no panic"), [Shutdown::Write, Shutdown::Both]);
    drop(done);
    server.end();
}

/// A writer that waits in each call, until it was told of an end or some time is over.
struct Awaiting {
    sink: Sink,
    ends: Receiver<Shutdown>,
    early: Sender<Shutdown>,
}

impl Write for Awaiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(how) = self.ends.recv_timeout(SOON) {
            self.early.send(how).expect("the test listens");
        }
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_ends_a_stream_before_its_last_bytes_are_written() {
    let ((reader, sink), (mut from_client, mut to_client)) = in_memory(SOON);
    let server = thread::spawn(move || {
        accept(&mut from_client, &mut to_client);
        let mut rest = Vec::new();
        from_client.read_to_end(&mut rest).expect("the end");
        rest
    });
    let ((end, ends), (early, was_early)) = (mpsc::channel(), mpsc::channel());
    let writer = Awaiting { sink, ends, early };
    let stream = BlockingStream::from_halves(reader, writer).expect("threads").with_shutdown(move |how| {
        let _ = end.send(how);
    });
    let mut client = Client::over_with(stream, tunnel_request(), &plain()).expect("it is open");
    client.close(CloseCode::NORMAL, "bye").expect("it is open");
    drop(client);
    assert_eq!(server.join().expect("no panic").len(), 6 + 2 + 3, "a Close frame");
    assert_eq!(was_early.try_recv().ok(), None);
}

/// The thread took the end of one direction for the end of both.
#[test]
fn an_abort_ends_one_object_while_the_client_still_exists() {
    let ((mut reader, writer), (mut from_client, mut to_client)) = in_memory(SOON / 10);
    let (lives, dropped) = mpsc::channel();
    reader._lives = Some(lives);
    let server = thread::spawn(move || {
        accept(&mut from_client, &mut to_client);
        from_client.read_to_end(&mut Vec::new()).expect("the end");
    });
    let stream = BlockingStream::from_whole(Both(reader, writer)).expect("a thread");
    let mut client = Client::over_with(stream, tunnel_request(), &plain()).expect("it is open");
    client.abort();
    await_dropped(&dropped);
    server.join().expect("no panic");
    assert!(client.closure().is_some_and(|closure| !closure.clean));
}

/// A server that sends 8 MiB before it reads anything.
fn send_first(peer: &mut Peer) {
    peer.send(script::bytes(Role::Server, "binary \"x\" * 8388608"));
    let frame = peer.frame();
    assert_eq!(frame.payload.len(), 8 << 20);
    peer.script("close 1000");
    peer.shutdown_write();
    peer.expect_close(1000);
}

#[test]
fn both_ends_may_send_much_before_they_read_over_halves_and_over_one_object() {
    for is_whole in [false, true] {
        let server = Server::open(send_first);
        let socket = TcpStream::connect(server.addr()).expect("it listens");
        let stream = if is_whole {
            socket.set_read_timeout(Some(Duration::from_millis(5))).expect("an option of the socket");
            socket.set_write_timeout(Some(Duration::from_millis(1))).expect("an option of the socket");
            BlockingStream::from_whole(socket).expect("a thread")
        } else {
            let (reader, writer) = (socket.try_clone().expect("a descriptor"), socket);
            BlockingStream::from_halves(reader, writer).expect("threads")
        };
        let mut client = Client::over_with(stream, request(server.addr()), &plain()).expect("it is open");
        client.send_binary(&vec![7; 8 << 20]).expect("the server reads when its message is read");
        let message = client.receive().expect("a message").expect("a message").to_owned();
        assert_eq!(message.as_bytes().len(), 8 << 20);
        assert_eq!(client.receive(), Ok(None));
        drop(client);
        server.end();
    }
}

#[test]
fn a_client_in_an_event_loop_takes_such_a_stream() {
    let ((reader, writer), (mut from_client, mut to_client)) = in_memory(DEADLINE);
    let server = thread::spawn(move || {
        accept(&mut from_client, &mut to_client);
        to_client.write_all(&script::bytes(Role::Server, "text \"hello\"")).expect("the client reads");
        from_client.read_exact(&mut [0; 2 + 4 + 5]).expect("an answer");
        from_client.read_to_end(&mut Vec::new()).expect("the end");
    });
    let stream = BlockingStream::from_halves(reader, writer).expect("threads");
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(8);
    let mut buffers = event_loop::Buffers::default();
    let options = plain();
    let client = event_loop::Client::over(stream, tunnel_request(), &options, poll.registry(), Token(7));
    let mut client = client.expect("the system waits for it");
    let mut has_echoed = false;
    let until = Instant::now() + DEADLINE;
    while !has_echoed {
        let now = Instant::now();
        assert!(now < until, "no message");
        let turn = client.turn(now, poll.registry(), &mut buffers, |socket, event| {
            if let event_loop::Event::Message(message) = event {
                socket.send(message).expect("room");
                has_echoed = true;
            }
        });
        turn.expect("it opens");
        poll.poll(&mut events, client.timeout(Instant::now()).or(Some(LATER))).expect("events");
        events.iter().for_each(|event| client.note(event));
    }
    drop(client);
    server.join().expect("no panic");
}

/// A session that does its own reads and writes, as other libraries' sessions do.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn a_tls_session_that_blocks_is_one_object() {
    use crate::common::certificates::{Authority, VERSIONS, provider};
    use framewright_client::ClientTls;
    use framewright_client::rustls::pki_types::ServerName;
    use framewright_client::rustls::{ClientConfig, ClientConnection, StreamOwned};

    let authority = Authority::new("The Authority");
    let server = Server::open_tls(authority.issue(&["localhost"]).server(), send_first);
    let config = ClientConfig::builder_with_provider(provider());
    let config = config.with_protocol_versions(&VERSIONS).expect("versions that the provider has");
    let config = config.with_root_certificates(authority.roots()).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let socket = TcpStream::connect(server.addr()).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_millis(5))).expect("an option of the socket");
    socket.set_write_timeout(Some(Duration::from_millis(1))).expect("an option of the socket");
    let stream = BlockingStream::from_whole(StreamOwned::new(session, socket)).expect("a thread");
    let options = Options { tls: ClientTls::of_the_stream(), ..plain() };
    let request = "wss://localhost/".parse().expect("a URI");
    let mut client = Client::over_with(stream, request, &options).expect("it is open");
    let sent = client.send_binary(&vec![7; 8 << 20]);
    assert_eq!(sent, Ok(()), "{:?}", client.closure());
    let message = client.receive().expect("a message").expect("a message").to_owned();
    assert_eq!(message.as_bytes().len(), 8 << 20);
    assert_eq!(client.receive(), Ok(None));
    drop(client);
    server.end();
}

/// It read after each piece, and waited there.
#[test]
fn one_object_sends_many_pieces_before_a_read_that_waits() {
    let ((reader, writer), server) = in_memory(2 * SOON);
    let reads = Arc::new(AtomicUsize::new(0));
    let reader = Counted { stream: reader, reads: Arc::clone(&reads) };
    let server = serve(server);
    converse(BlockingStream::from_whole(ReadsAndWrites(reader, writer)).expect("a thread"));
    server.join().expect("no panic");
    // 64 pieces, and the reads of a client that was not scheduled in time.
    let reads = reads.load(Ordering::SeqCst);
    assert!(reads < 40, "{reads} reads");
}

/// Counts the reads.
struct Counted {
    stream: Source,
    reads: Arc<AtomicUsize>,
}

impl Read for Counted {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.stream.read(target)
    }
}

/// Over a stream that returns at once, with or without something, nothing is lost either.
#[test]
fn halves_that_never_block_are_asked_again() {
    let (client, server) = UnixStream::pair().expect("two sockets");
    client.set_nonblocking(true).expect("an option of the socket");
    server.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
    let server = thread::spawn(move || {
        accept(&server, &server);
        (&server).write_all(&script::bytes(Role::Server, "text \"hello\"")).expect("the client reads");
        (&server).read_exact(&mut vec![0; (1 << 20) + 14]).expect("a message");
        (&server).write_all(&script::bytes(Role::Server, "close 1000")).expect("the client reads");
        server.shutdown(Shutdown::Write).expect("it is open");
        (&server).read_to_end(&mut Vec::new()).expect("the end");
    });
    let (reader, writer) = (client.try_clone().expect("a descriptor"), client);
    converse(BlockingStream::from_halves(reader, writer).expect("threads"));
    server.join().expect("no panic");
}
