//! The examples, run as a reader would, and talked to by the client.

use framewright_client::blocking::Client;
use framewright_client::{CloseCode, ConnectError, Message};
use framewright_testkit::programs::server::ServerProcess;
use framewright_testkit::programs::workspace::example;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

struct Example(ServerProcess);

impl Example {
    fn start(name: &str) -> Example {
        Example::start_with(name, &[])
    }

    /// Starts one with these arguments behind the address.
    fn start_with(name: &str, arguments: &[&str]) -> Example {
        let program = example(name).expect("an example that is built");
        let server = ServerProcess::start(name, Command::new(program).arg("127.0.0.1:0").args(arguments));
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

    /// What the server answers to a GET, the head included.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr()).expect("a connection");
        stream.set_read_timeout(Some(TIMEOUT)).expect("an option of the socket");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
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
    expect_texts(&mut after, &["Eve has joined", "Eve has left", "Flo has joined"]);
}

#[test]
fn dashboard_shows_the_newest_loads() {
    let example = Example::start_with("dashboard", &["20"]);
    let mut viewers = [example.open("/load"), example.open("/load")];
    let seen = viewers.each_mut().map(|viewer| {
        let mut next = || match viewer.receive_timeout(TIMEOUT).expect("a load") {
            Some(Message::Text(load)) => load.to_owned(),
            other => panic!("{other:?}"),
        };
        // As many machines as there are, one after the other, and then again.
        let loads: [String; 8] = std::array::from_fn(|_| next());
        let machine = |load: &String| {
            let (machine, percent) = load.split_once(",\"percent\":").expect("a machine and its load");
            assert!(percent.trim_end_matches('}').parse::<u32>().expect("a number") <= 100, "{load}");
            machine.to_owned()
        };
        let machines = loads.each_ref().map(machine);
        assert_eq!(machines[..4], machines[4..]);
        machines.into_iter().collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(seen[0].len(), 4);
    assert_eq!(seen[0], seen[1]);
    for name in ["chat", "dashboard"] {
        assert!(Example::start(name).get("/").starts_with("HTTP/1.1 200 "), "{name} has a page");
    }
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

#[test]
fn ticker_sends_the_same_ticks_to_everybody() {
    let example = Example::start_with("ticker", &["20"]);
    let mut clients = [example.open("/ticks"), example.open("/ticks")];
    let seen = clients.each_mut().map(|client| {
        let mut tick = || match client.receive_timeout(TIMEOUT).expect("a tick") {
            Some(Message::Text(tick)) => tick.parse::<u64>().expect("a number"),
            other => panic!("{other:?}"),
        };
        [tick(), tick(), tick()]
    });
    for [first, second, third] in seen {
        assert_eq!([second, third], [first + 1, first + 2]);
    }
}

#[test]
fn page_serves_itself_and_the_files_of_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("note.txt"), "a note").expect("a file");
    let example = Example::start_with("page", &[folder.path().to_str().expect("UTF-8")]);
    let page = example.get("/");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("new WebSocket("), "{page}");
    let note = example.get("/files/note.txt");
    assert!(note.starts_with("HTTP/1.1 200 ") && note.ends_with("\r\n\r\na note"), "{note}");
    let mut client = example.open("/ws");
    client.send_text("hello").expect("an open connection");
    expect_texts(&mut client, &["hello"]);
}
