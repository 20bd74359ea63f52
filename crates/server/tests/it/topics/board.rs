//! A server whose clients say what to do with topics, and the client that says it.

use crate::common::{Client, TestServer, next};
use framewright::frame::OpCode;
use framewright_server::{
    CloseCode, Closed, Decision, Handle, Handler, Incoming, Message, ServerBuilder, SlowConsumer, Socket,
    Topics,
};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};

/// Does what its clients say, and answers each line with `=` and the result.
///
/// | line | |
/// |---|---|
/// | `+TOPIC`, `-TOPIC` | subscribe, unsubscribe |
/// | `~TOPIC` | subscribe, and drop the newest above a mebibyte |
/// | `@TOPIC POSITION` | subscribe behind a stored message |
/// | `!TOPIC TEXT`, `*TOPIC TEXT` | publish to all others, to all |
/// | `16 TOPIC` | publish 16 messages to all |
/// | `fill TOPIC` | publish 64 KiB to all until it is refused, and count |
/// | `x TOPIC` | subscribe and unsubscribe until it is refused, and count |
/// | `?` | list the topics, sorted |
/// | `stuck TOPIC` | send until there is no room, subscribe by a handle, and fail |
/// | `panic` | panic |
///
/// A gap is told as `^` and the topic.
struct Board {
    handles: Mutex<Sender<Handle>>,
    closed: Mutex<Sender<u64>>,
}

impl Handler for Board {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        // A test that is over does not take any.
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = handles.send(socket.handle());
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let Message::Text(line) = message else { return };
        let (what, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        let (topic, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let answer = match what {
            "+" => told(socket.subscribe(rest)),
            "~" => told(socket.subscribe_with(rest, SlowConsumer::DropNewest { limit: 1 << 20 })),
            "@" => told(socket.subscribe_after(topic, text)),
            "-" => socket.unsubscribe(rest).to_string(),
            "!" => told(socket.publish(topic, text)),
            "*" => told(socket.publish_to_all(topic, text)),
            "1" => {
                for number in 0..16 {
                    socket.publish_to_all(text, &*number.to_string()).expect("room");
                }
                "ok".to_owned()
            }
            "f" => {
                let long = "x".repeat(64 << 10);
                let mut accepted = 0;
                loop {
                    match socket.publish_to_all(text, &*long) {
                        Ok(()) => accepted += 1,
                        Err(error) => break format!("{accepted} {error:?}"),
                    }
                }
            }
            "x" => {
                let mut accepted = 0;
                loop {
                    match socket.subscribe(text) {
                        Ok(()) => accepted += 1,
                        Err(error) => break format!("{accepted} {error:?}"),
                    }
                    assert!(socket.unsubscribe(text));
                }
            }
            "s" => {
                let long = vec![0; 64 << 10];
                while socket.send_binary(&long).is_ok() {}
                socket.handle().subscribe(text).expect("it is open");
                return socket.fail(CloseCode::POLICY_VIOLATION, "as it was told");
            }
            "?" => {
                let mut topics = socket.topics();
                topics.sort();
                topics.join(" ")
            }
            _ => panic!("as it was told"),
        };
        socket.send_text(&format!("={answer}")).expect("room");
    }

    fn on_gap(&self, socket: &mut Socket<'_>, _: &mut (), topic: &str) {
        socket.send_text(&format!("^{topic}")).expect("room");
    }

    fn on_close(&self, closed: &Closed<'_>, _: &mut ()) {
        let _ = self.closed.lock().unwrap_or_else(PoisonError::into_inner).send(closed.id());
    }
}

fn told<E: std::fmt::Debug>(result: Result<(), E>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}

/// A server with a board, the handles of its connections in their order, and the ids of those that
/// have ended.
pub(super) struct BoardServer {
    pub(super) server: TestServer,
    pub(super) handles: Receiver<Handle>,
    pub(super) closed: Receiver<u64>,
}

impl BoardServer {
    pub(super) fn start(workers: usize, topics: Topics) -> BoardServer {
        BoardServer::with(|builder| builder.workers(workers).topics(topics))
    }

    pub(super) fn with(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> BoardServer {
        let (handles, closed) = (mpsc::channel(), mpsc::channel());
        let board = Board { handles: Mutex::new(handles.0), closed: Mutex::new(closed.0) };
        let server = TestServer::start(|builder| configure(builder).route("/ws", board));
        BoardServer { server, handles: handles.1, closed: closed.1 }
    }

    /// A client, and the handle of its connection.
    pub(super) fn open(&self) -> (Pin, Handle) {
        let pin = Pin::new(self.server.open("/ws"));
        (pin, next(&self.handles))
    }

    /// A client that is subscribed to these topics.
    pub(super) fn subscribed(&self, topics: &[&str]) -> Pin {
        let (mut pin, _) = self.open();
        topics.iter().for_each(|topic| pin.expect_ok(&format!("+{topic}")));
        pin
    }

    pub(super) fn publish(&self, topic: &str, text: &str) {
        self.server.handle().publish(topic, text).expect("room");
    }
}

/// A client of the board. Answers are told from publications by their first character.
pub(super) struct Pin {
    pub(super) client: Client<TcpStream>,
    /// Publications that came before an answer.
    publications: VecDeque<String>,
}

impl Pin {
    pub(super) fn new(client: Client) -> Pin {
        Pin { client, publications: VecDeque::new() }
    }

    /// Says a line, and returns the answer.
    #[track_caller]
    pub(super) fn say(&mut self, line: &str) -> String {
        self.client.send_text(line);
        self.answer()
    }

    #[track_caller]
    pub(super) fn answer(&mut self) -> String {
        loop {
            let text = self.text();
            match text.strip_prefix('=') {
                Some(answer) => return answer.to_owned(),
                None => self.publications.push_back(text),
            }
        }
    }

    #[track_caller]
    pub(super) fn expect_ok(&mut self, line: &str) {
        assert_eq!(self.say(line), "ok", "{line}");
    }

    #[track_caller]
    fn text(&mut self) -> String {
        let frame = self.client.frame();
        assert_eq!(frame.opcode, OpCode::Text, "{frame:?}");
        String::from_utf8(frame.payload).expect("UTF-8")
    }

    /// The publications that came before the last answer.
    pub(super) fn take_publications(&mut self) -> Vec<String> {
        self.publications.drain(..).collect()
    }

    /// The next publication.
    #[track_caller]
    pub(super) fn publication(&mut self) -> String {
        self.publications.pop_front().unwrap_or_else(|| self.text())
    }

    /// The next publications are these.
    #[track_caller]
    pub(super) fn expect(&mut self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.publication(), *text);
        }
    }

    /// The publications that have come. Nothing that was published before is still on its way
    /// afterwards, if the connection is not slow: `fence` is published to all its subscribers.
    #[track_caller]
    pub(super) fn up_to(&mut self, fence: &str) -> Vec<String> {
        let mut publications = Vec::new();
        loop {
            let text = self.publication();
            if text == fence {
                return publications;
            }
            publications.push(text);
        }
    }
}
