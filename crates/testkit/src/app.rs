//! A few applications: what they do when an event comes, and how they wait when there is no room.

use framewright::{CloseCode, Connection, Event, Message, SendError};
use std::collections::VecDeque;

/// What an application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Nothing.
    Silent,
    /// Sends each message, or each piece of one, back.
    Echo,
    /// Sends each message back in fragments of at most so many octets.
    EchoInFragments(usize),
    /// Echoes, and closes with 1000 after so many messages.
    CloseAfter(usize),
    /// Answers each message with a Ping that carries its number, from 1.
    Ping,
}

/// Something to be sent.
#[derive(Clone, Debug)]
enum Command {
    Message { text: bool, payload: Vec<u8> },
    Fragment { text: bool, payload: Vec<u8>, last: bool },
    Ping(Vec<u8>),
    Close(CloseCode, &'static str),
}

/// An application with a queue for what found no room.
#[derive(Clone, Debug)]
pub struct App {
    behaviour: Behaviour,
    waiting: VecDeque<Command>,
    messages: usize,
}

impl App {
    /// An application that behaves so.
    #[must_use]
    pub fn new(behaviour: Behaviour) -> App {
        App { behaviour, waiting: VecDeque::new(), messages: 0 }
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reacts to an event.
    pub fn handle(&mut self, connection: &mut Connection, event: &Event<'_>) {
        match event {
            Event::Message(message) => self.message(*message, true, true),
            Event::Chunk(chunk) => self.message(chunk.data, chunk.first, chunk.last),
            _ => {}
        }
        self.send(connection);
    }

    fn message(&mut self, data: Message<'_>, first: bool, last: bool) {
        self.messages += usize::from(last);
        match self.behaviour {
            Behaviour::Silent => {}
            Behaviour::Echo | Behaviour::CloseAfter(_) => self.echo(data, first, last),
            Behaviour::EchoInFragments(size) => self.echo_in_fragments(data, size.max(1), last),
            Behaviour::Ping if last => {
                self.waiting.push_back(Command::Ping(self.messages.to_string().into_bytes()));
            }
            Behaviour::Ping => {}
        }
        if last && self.behaviour == Behaviour::CloseAfter(self.messages) {
            self.waiting.push_back(Command::Close(CloseCode::NORMAL, "enough"));
        }
    }

    fn echo(&mut self, data: Message<'_>, first: bool, last: bool) {
        let (text, payload) = (data.is_text(), data.as_bytes().to_vec());
        self.waiting.push_back(match first && last {
            true => Command::Message { text, payload },
            false => Command::Fragment { text, payload, last },
        });
    }

    fn echo_in_fragments(&mut self, data: Message<'_>, size: usize, last: bool) {
        let text = data.is_text();
        let mut rest = data.as_bytes();
        while rest.len() > size {
            let mut cut = size;
            if let Message::Text(_) = data {
                let is_inside = |at: usize| rest.get(at).is_some_and(|octet| octet & 0xC0 == 0x80);
                cut = (size..).find(|&at| !is_inside(at)).expect("the end at the latest");
            }
            self.waiting.push_back(Command::Fragment { text, payload: rest[..cut].to_vec(), last: false });
            rest = &rest[cut..];
        }
        self.waiting.push_back(Command::Fragment { text, payload: rest.to_vec(), last });
    }

    /// Sends what waits, as far as there is room.
    ///
    /// # Panics
    /// If the connection refuses a command for another reason than that it is full or closed.
    pub fn send(&mut self, connection: &mut Connection) {
        while let Some(command) = self.waiting.front() {
            let sent = match command {
                Command::Message { text, payload } => connection.send(data(*text, payload)),
                Command::Fragment { text, payload, last } => {
                    connection.send_fragment(data(*text, payload), *last)
                }
                Command::Ping(payload) => connection.ping(payload),
                Command::Close(code, reason) => connection.close(Some(*code), reason),
            };
            match sent {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(SendError::Full) => return,
                Err(SendError::Closed) => self.waiting.clear(),
                Err(error) => panic!("{command:?} was refused: {error}"),
            }
        }
    }
}

fn data(text: bool, payload: &[u8]) -> Message<'_> {
    match text {
        true => Message::Text(std::str::from_utf8(payload).expect("cut between characters")),
        false => Message::Binary(payload),
    }
}
