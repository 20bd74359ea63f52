//! Clients over streams that were there before: pairs of pipes, pairs of sockets.

use crate::common::{DEADLINE, SOON, plain};
use framewright::handshake::accept_key;
use framewright::{Error, Role, SendError, Timeout};
use framewright_client::blocking::{Client, ReceiveError};
use framewright_client::{ClientRequest, CloseCode, Config, ConnectError, Message, Options};
use framewright_testkit::script;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) fn request() -> ClientRequest {
    "ws://tunnel.example/ws".parse().expect("a URI")
}

/// Reads a request and accepts it.
pub(crate) fn accept(mut stream: impl Read, mut answer: impl Write) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).expect("the rest of a request");
        head.push(octet[0]);
    }
    let head = String::from_utf8(head).expect("a request in US-ASCII");
    assert!(head.contains("\r\nHost: tunnel.example\r\n"), "{head}");
    let key = head.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.get(..24)).expect("a key");
    let accept = accept_key(key.as_bytes());
    let accept = std::str::from_utf8(&accept).expect("base64");
    let answered = write!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    answered.expect("the client reads");
}

/// A thread that plays the server, and the client's end.
fn on_sockets(play: impl FnOnce(UnixStream) + Send + 'static) -> (UnixStream, JoinHandle<()>) {
    let (client, server) = UnixStream::pair().expect("two sockets");
    server.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
    server.set_write_timeout(Some(DEADLINE)).expect("an option of the socket");
    let thread = thread::spawn(move || {
        accept(&server, &server);
        play(server);
    });
    (client, thread)
}

#[test]
fn two_pipes_are_a_stream_and_their_ends_are_the_connections() {
    let (from_server, mut to_client): (PipeReader, PipeWriter) = io::pipe().expect("a pipe");
    let (mut from_client, to_server) = io::pipe().expect("a pipe");
    let server = thread::spawn(move || {
        accept(&from_client, &to_client);
        to_client.write_all(&script::bytes(Role::Server, "text \"hello\"")).expect("the client reads");
        // More than a pipe holds.
        from_client.read_exact(&mut vec![0; (1 << 20) + 14]).expect("a message");
        to_client.write_all(&script::bytes(Role::Server, "close 1000")).expect("the client reads");
        drop(to_client);
        // Its answer, and the end of its direction.
        let mut rest = Vec::new();
        from_client.read_to_end(&mut rest).expect("the end");
        rest.len()
    });
    let mut client = Client::over_pair(from_server, to_server, request(), &plain()).expect("it is open");
    assert_eq!((client.peer_addr(), client.local_addr()), (None, None));
    assert_eq!(client.receive(), Ok(Some(Message::Text("hello"))));
    client.send_binary(&vec![7; 1 << 20]).expect("it is open");
    assert_eq!(client.receive(), Ok(None));
    assert!(client.closure().is_some_and(|closure| closure.clean));
    drop(client);
    assert_eq!(server.join().expect("no panic"), 8, "a Close frame with a code");
}

#[test]
fn the_opening_handshake_has_its_deadline_over_any_stream() {
    let (client, _server) = UnixStream::pair().expect("two sockets");
    let options = Options { handshake_timeout: SOON, ..plain() };
    let error = Client::over_with(client, request(), &options).expect_err("nobody answers");
    assert!(matches!(error, ConnectError::HandshakeTimeout), "{error:?}");
}

#[test]
fn waiting_and_keep_alive_have_their_deadlines_over_any_stream() {
    let (stream, server) = on_sockets(|mut server| {
        // Nothing but to wait for the end.
        let _ = server.read_to_end(&mut Vec::new());
    });
    let connection =
        Config { keep_alive_interval: Some(SOON), keep_alive_timeout: Some(SOON), ..plain().connection };
    let options = Options { connection, ..plain() };
    let mut client = Client::over_with(stream, request(), &options).expect("it is open");
    assert_eq!(client.receive_timeout(Duration::ZERO).map(drop), Err(ReceiveError::TimedOut));
    let failed = ReceiveError::Failed(Error::Timeout(Timeout::KeepAlive));
    assert_eq!(client.receive().map(drop), Err(failed));
    drop(client);
    server.join().expect("no panic");
}

#[test]
fn sending_has_its_deadline_where_the_peer_takes_nothing() {
    let (done, until) = mpsc::channel::<()>();
    let (stream, server) = on_sockets(move |server| {
        let _ = until.recv();
        drop(server);
    });
    let options = Options { send_timeout: Some(SOON), ..plain() };
    let client = Client::over_with(stream, request(), &options).expect("it is open");
    let (mut sender, _receiver) = client.split();
    let began = Instant::now();
    assert_eq!(sender.send_binary(&vec![1; 64 << 20]), Err(SendError::Closed));
    assert!(began.elapsed() < DEADLINE);
    drop(done);
    server.join().expect("no panic");
}

#[test]
fn a_redirect_is_a_refusal_since_the_stream_leads_nowhere_else() {
    let (client, mut server) = UnixStream::pair().expect("two sockets");
    let answer = b"HTTP/1.1 302 Found\r\nLocation: ws://localhost/there\r\nContent-Length: 0\r\n\r\n";
    server.write_all(answer).expect("room");
    let options = Options { redirects: 5, ..plain() };
    match Client::over_with(client, request(), &options) {
        Err(ConnectError::Refused(response)) => assert_eq!(response.status(), 302),
        other => panic!("{other:?}"),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_cannot_wait_for_is_refused_at_once() {
    let file = tempfile();
    let error = Client::over(file, request()).expect_err("a file is always ready");
    assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
}

/// A file without a name.
#[cfg(target_os = "linux")]
fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("framewright-over-{}", std::process::id()));
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path);
    std::fs::remove_file(path).expect("it is there");
    file.expect("a file")
}

/// A stream of the application's, which gives and takes little at a time.
struct Reluctant(UnixStream);

impl Read for Reluctant {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let length = target.len().min(7);
        self.0.read(&mut target[..length])
    }
}

impl Write for Reluctant {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(11)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl AsFd for Reluctant {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[test]
fn a_short_read_of_a_stream_that_is_the_applications_does_not_mean_that_there_is_nothing_more() {
    let (tell, told) = mpsc::channel();
    let (stream, server) = on_sockets(move |mut server| {
        server
            .write_all(&script::bytes(Role::Server, "text \"one\"; text \"two\"; ping \"?\""))
            .expect("room");
        let mut answers = [0; 2 + 4 + 1 + 2 + 4 + 500];
        // The Pong, then a message of 500 octets with a longer header.
        server.read_exact(&mut answers).expect("it answers");
        tell.send(answers[0]).expect("the test listens");
        let _ = server.read_to_end(&mut Vec::new());
    });
    let mut client = Client::over_with(Reluctant(stream), request(), &plain()).expect("it is open");
    assert_eq!(client.receive(), Ok(Some(Message::Text("one"))));
    assert_eq!(client.receive(), Ok(Some(Message::Text("two"))));
    assert_eq!(client.receive_timeout(SOON).map(drop), Err(ReceiveError::TimedOut));
    client.send_binary(&[5; 500]).expect("it is open");
    assert_eq!(told.recv_timeout(DEADLINE), Ok(0x8a));
    client.close(CloseCode::NORMAL, "").expect("it is open");
    drop(client);
    server.join().expect("no panic");
}

/// A stream of the application's that takes so many bytes, and then none.
struct Sated {
    stream: UnixStream,
    room: usize,
}

impl Read for Sated {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.stream.read(target)
    }
}

impl Write for Sated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Ok(0);
        }
        let written = self.stream.write(&bytes[..bytes.len().min(self.room)])?;
        self.room -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl AsFd for Sated {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Runs this elsewhere: what never returns fails the test at its deadline.
pub(crate) fn returns<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || done.send(call()));
    is_done.recv_timeout(DEADLINE).expect("it returns")
}

/// It was asked again and again.
#[test]
fn a_stream_that_takes_nothing_more_has_failed_while_it_opens() {
    let (stream, mut server) = UnixStream::pair().expect("two sockets");
    let sated = Sated { stream, room: 40 };
    let client = thread::spawn(move || Client::over_with(sated, request(), &plain()).map(drop));
    let mut begun = [0; 40];
    server.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
    server.read_exact(&mut begun).expect("the beginning of a request");
    drop(server);
    let error = returns(|| client.join().expect("no panic")).expect_err("no request was sent");
    match error {
        ConnectError::Lost(error) => assert_eq!(error.kind(), io::ErrorKind::WriteZero),
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_stream_that_takes_nothing_more_has_failed_once_it_is_open() {
    let (stream, server) = on_sockets(|mut server| {
        // Nothing but to wait for the end.
        let _ = server.read_to_end(&mut Vec::new());
    });
    // More than a request, and less than a message.
    let sated = Sated { stream, room: 10_000 };
    let sent = returns(move || {
        let mut client = Client::over_with(sated, request(), &plain()).expect("it is open");
        client.send_binary(&[5; 20_000])
    });
    assert_eq!(sent, Err(SendError::Closed));
    server.join().expect("no panic");
}

/// A stream of the application's that panics in one direction, once it is told to.
struct Panicking {
    stream: UnixStream,
    reads: Arc<AtomicBool>,
    writes: Arc<AtomicBool>,
}

impl Read for Panicking {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        assert!(!self.reads.load(Ordering::SeqCst), "of the application");
        self.stream.read(target)
    }
}

impl Write for Panicking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.writes.load(Ordering::SeqCst), "of the application");
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl AsFd for Panicking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// It made the other half panic too.
#[test]
fn a_stream_that_panics_in_one_half_ends_the_connection_of_the_other_which_waits() {
    let (stream, server) = on_sockets(|mut server| {
        let _ = server.read_to_end(&mut Vec::new());
    });
    let writes = Arc::new(AtomicBool::new(false));
    let stream = Panicking { stream, reads: Arc::default(), writes: Arc::clone(&writes) };
    let client = Client::over_with(stream, request(), &plain()).expect("it is open");
    let (mut sender, mut receiver) = client.split();
    let receiving = thread::spawn(move || receiver.receive().map(drop));
    writes.store(true, Ordering::SeqCst);
    let (sender, sent) = thread::spawn(move || {
        let sent = catch_unwind(AssertUnwindSafe(|| sender.send_text("hello")));
        (sender, sent)
    })
    .join()
    .expect("the panic is caught");
    assert!(sent.is_err(), "{sent:?}");
    let received = returns(|| receiving.join().expect("no panic"));
    assert!(matches!(received, Err(ReceiveError::Failed(_))), "{received:?}");
    assert!(sender.closure().is_some_and(|closure| !closure.clean));
    server.join().expect("no panic");
}

#[test]
fn a_stream_that_panics_while_it_is_read_ends_what_the_other_half_sends() {
    let (tell, told) = mpsc::channel::<()>();
    let (stream, server) = on_sockets(move |mut server| {
        told.recv().expect("the test tells");
        // The client may have left already: it reads when it begins to receive.
        let _ = server.write_all(&script::bytes(Role::Server, "text \"hello\""));
        // It takes nothing before the end.
        let _ = server.read_to_end(&mut Vec::new());
    });
    let reads = Arc::new(AtomicBool::new(false));
    let stream = Panicking { stream, reads: Arc::clone(&reads), writes: Arc::default() };
    let client = Client::over_with(stream, request(), &plain()).expect("it is open");
    let (mut sender, mut receiver) = client.split();
    reads.store(true, Ordering::SeqCst);
    let receiving = thread::spawn(move || receiver.receive().map(drop));
    tell.send(()).expect("the server listens");
    receiving.join().expect_err("a panic of the stream's");
    assert_eq!(sender.send_text("hello"), Err(SendError::Closed));
    server.join().expect("no panic");
}

/// The end of TLS was written while the thread unwound, which ended the process.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn a_stream_that_panics_under_tls_ends_the_connection_and_not_the_process() {
    use crate::common::certificates::Authority;
    use crate::common::relay::pass_between;
    use crate::common::{Peer, Server};
    use std::net::TcpStream;

    let authority = Authority::new("The Authority");
    let server = Server::open_tls(authority.issue(&["tunnel.example"]).server(), Peer::wait_gone);
    let addr = server.addr();
    let (stream, theirs) = UnixStream::pair().expect("two sockets");
    let tunnel = thread::spawn(move || pass_between(theirs, TcpStream::connect(addr).expect("a server")));
    let writes = Arc::new(AtomicBool::new(false));
    let stream = Panicking { stream, reads: Arc::default(), writes: Arc::clone(&writes) };
    let request = "wss://tunnel.example/".parse().expect("a URI");
    let options = Options { tls: authority.trusted(), ..plain() };
    let client = Client::over_with(stream, request, &options).expect("it is open");
    let (mut sender, mut receiver) = client.split();
    let receiving = thread::spawn(move || receiver.receive().map(drop));
    writes.store(true, Ordering::SeqCst);
    let (sender, sent) = thread::spawn(move || {
        let sent = catch_unwind(AssertUnwindSafe(|| sender.send_text("hello")));
        (sender, sent)
    })
    .join()
    .expect("the panic is caught");
    assert!(sent.is_err(), "{sent:?}");
    let received = returns(|| receiving.join().expect("no panic"));
    assert!(matches!(received, Err(ReceiveError::Failed(_))), "{received:?}");
    assert!(sender.closure().is_some_and(|closure| !closure.clean));
    drop(sender);
    server.end();
    tunnel.join().expect("no panic");
}
