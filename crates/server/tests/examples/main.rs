//! The examples, run as a reader would, and talked to by the client.

use framewright_client::blocking::Client;
use framewright_client::{CloseCode, ConnectError, Message};
use framewright_testkit::programs::server::ServerProcess;
use framewright_testkit::programs::workspace::example;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

struct Example(ServerProcess);

impl Example {
    fn start(name: &str) -> Example {
        let program = example(name).expect("an example that is built");
        let server = ServerProcess::start(name, Command::new(program).arg("127.0.0.1:0"));
        Example(server.expect("a server"))
    }

    fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    fn connect(&self, target: &str) -> Result<Client, ConnectError> {
        Client::connect(&format!("ws://{}{target}", self.addr()))
    }

    fn open(&self, target: &str) -> Client {
        self.connect(target).expect("a connection")
    }

    /// The status and the body of the answer of a server that does not open a connection.
    fn refusal(&self, target: &str) -> (u16, String) {
        match self.connect(target) {
            Err(ConnectError::Refused(response)) => {
                let body = String::from_utf8_lossy(response.body()).into_owned();
                (response.status(), body)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn expect_texts(client: &mut Client, texts: &[&str]) {
    for text in texts {
        let message = client.receive_timeout(TIMEOUT).expect("a message");
        assert_eq!(message, Some(Message::Text(text)));
    }
}

fn leave(client: &mut Client) {
    let closure = client.close_and_wait(CloseCode::NORMAL, "").expect("a closing handshake");
    assert!(closure.clean);
}

#[test]
fn echo_sends_back_what_it_gets() {
    let example = Example::start("echo");
    let mut client = example.open("/ws");
    client.send_text("hello").expect("an open connection");
    client.send_binary(&[0, 255]).expect("an open connection");
    expect_texts(&mut client, &["hello"]);
    let message = client.receive_timeout(TIMEOUT).expect("a message");
    assert_eq!(message, Some(Message::Binary(&[0, 255])));
    leave(&mut client);
}

#[test]
fn chat_has_rooms_with_histories() {
    let example = Example::start("chat");
    let mut ann = example.open("/room/garden?as=Ann");
    expect_texts(&mut ann, &["Ann has joined"]);
    ann.send_text("anybody here?").expect("an open connection");
    expect_texts(&mut ann, &["Ann: anybody here?"]);

    let mut elsewhere = example.open("/room/attic?as=Eve");
    expect_texts(&mut elsewhere, &["Eve has joined"]);

    let mut bob = example.open("/room/garden?as=Bob");
    expect_texts(&mut bob, &["Ann has joined", "Ann: anybody here?", "Bob has joined"]);
    bob.send_text("I am").expect("an open connection");
    expect_texts(&mut bob, &["Bob: I am"]);
    leave(&mut bob);
    expect_texts(&mut ann, &["Bob has joined", "Bob: I am", "Bob has left"]);

    for number in 0..60 {
        ann.send_text(&number.to_string()).expect("an open connection");
        expect_texts(&mut ann, &[&format!("Ann: {number}")]);
    }
    let mut late = example.open("/room/garden?as=Cy");
    let lines: Vec<String> = (10..60).map(|number| format!("Ann: {number}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect_texts(&mut late, &lines);
    expect_texts(&mut late, &["Cy has joined"]);

    // Nothing of this was for the other room.
    leave(&mut elsewhere);
    let mut after = example.open("/room/attic?as=Flo");
    expect_texts(&mut after, &["Flo has joined"]);
}

#[test]
fn chat_wants_a_nickname_and_ends_whoever_sends_binary() {
    let example = Example::start("chat");
    for target in ["/room/garden", "/room/garden?as=", "/room/garden?name=Ann"] {
        assert_eq!(example.refusal(target).0, 400, "{target}");
    }
    assert_eq!(example.refusal("/rooms/garden?as=Ann").0, 404);
    let mut client = example.open("/room/garden?as=Ann");
    client.send_binary(&[1]).expect("an open connection");
    while let Ok(Some(_)) = client.receive_timeout(TIMEOUT) {}
    assert_eq!(client.closure().expect("an end").code(), CloseCode::UNSUPPORTED_DATA);
}

#[test]
fn gate_lets_in_who_has_a_token() {
    let example = Example::start("gate");
    let mut client = example.open("/ws?token=secret-of-ann");
    client.send_text("hello").expect("an open connection");
    expect_texts(&mut client, &["welcome, ann", "ann: hello"]);
    leave(&mut client);
    assert_eq!(example.refusal("/ws?token=wrong"), (403, "the token is not valid".to_owned()));
    assert_eq!(example.refusal("/ws"), (401, "a token is needed".to_owned()));
}
