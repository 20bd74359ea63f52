//! The project's client over a Unix socket, against the project's server on one.
#![cfg(unix)]

use framewright_client::blocking::{Client, ReceiveError};
use framewright_client::{ClientRequest, CloseCode, ConnectError, Message, Options, event_loop};
use framewright_server::{Decision, Handler, Incoming, RunningServer, Server, Socket};
use mio::{Events, Poll, Token};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        assert_eq!(request.field("Host"), Some(&b"chat.example"[..]));
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let _ = socket.send(message);
    }
}

fn serve(path: &Path) -> RunningServer {
    let server = Server::builder().route("/ws", Echo).listen_unix(path).build().expect("a server");
    server.spawn().expect("a thread")
}

fn request(path: &str) -> ClientRequest {
    format!("ws://chat.example{path}").parse().expect("a URI")
}

#[test]
fn messages_go_over_a_unix_socket_and_the_connection_ends_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let server = serve(&path);
    let stream = UnixStream::connect(&path).expect("the server accepts");
    let mut client = Client::over(stream, request("/ws")).expect("an open connection");
    assert_eq!((client.peer_addr(), client.local_addr()), (None, None));
    // Short ones, and one that no socket takes at once.
    for length in [0, 1, 1000, 8 << 20] {
        let text = "x".repeat(length);
        client.send_text(&text).expect("it is open");
        assert_eq!(client.receive(), Ok(Some(Message::Text(&text))));
    }
    let closure = client.close_and_wait(CloseCode::NORMAL, "done").expect("a code and a reason");
    assert!(closure.clean && closure.code() == 1000, "{closure:?}");
    server.stop(Duration::ZERO).expect("it ends well");
}

#[test]
fn each_half_has_its_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _server = serve(&path);
    let stream = UnixStream::connect(&path).expect("the server accepts");
    let client = Client::over(stream, request("/ws")).expect("an open connection");
    let (mut sender, mut receiver) = client.split();
    let sending = thread::spawn(move || {
        (0..300).for_each(|number| sender.send_binary(&vec![1; number * 100]).expect("it is open"));
        sender.close(CloseCode::NORMAL, "").expect("it is open");
    });
    for number in 0..300 {
        let message = receiver.receive().expect("it goes on").expect("a message");
        assert_eq!(message.len(), number * 100);
    }
    assert_eq!(receiver.receive(), Ok(None));
    sending.join().expect("no panic");
}

#[test]
fn an_event_loop_drives_a_client_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _server = serve(&path);
    let stream = UnixStream::connect(&path).expect("the server accepts");
    let mut poll = Poll::new().expect("a poll");
    let (mut events, mut buffers) = (Events::with_capacity(16), event_loop::Buffers::new());
    let options = Options::default();
    let client = event_loop::Client::over(stream, request("/ws"), &options, poll.registry(), Token(7));
    let mut client = client.expect("it is registered");
    let mut received = 0;
    let until = Instant::now() + DEADLINE;
    loop {
        let turn = client.turn(Instant::now(), poll.registry(), &mut buffers, |socket, event| match event {
            event_loop::Event::Open(_) => socket.send_text(&"x".repeat(1 << 20)).expect("room"),
            event_loop::Event::Message(message) => {
                received = message.len();
                socket.close(CloseCode::NORMAL, "").expect("it is open");
            }
            _ => {}
        });
        if turn.expect("the server accepts") == event_loop::Turn::Done {
            break;
        }
        assert!(Instant::now() < until, "not before the deadline");
        let wait = client.timeout(Instant::now()).map_or(DEADLINE, |timeout| timeout.min(DEADLINE));
        poll.poll(&mut events, Some(wait)).expect("a poll does not fail");
        events.iter().for_each(|event| client.note(event));
    }
    assert!(received == 1 << 20 && client.closure().is_some_and(|closure| closure.clean));
}

#[test]
fn a_refusal_is_told_and_a_wait_has_its_deadline() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _server = serve(&path);
    let stream = || UnixStream::connect(&path).expect("the server accepts");
    match Client::over(stream(), request("/elsewhere")) {
        Err(ConnectError::Refused(response)) => assert_eq!(response.status(), 404),
        other => panic!("{other:?}"),
    }
    let mut client = Client::over(stream(), request("/ws")).expect("an open connection");
    let waited = client.receive_timeout(Duration::from_millis(20)).map(drop);
    assert_eq!(waited, Err(ReceiveError::TimedOut));
    client.send_text("still there").expect("it is open");
    assert_eq!(client.receive(), Ok(Some(Message::Text("still there"))));
}
