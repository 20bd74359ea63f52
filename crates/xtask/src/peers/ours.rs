//! Our client, with either of its APIs: sends the messages one by one, and compares what comes
//! back.

use std::time::{Duration, Instant};
use std::{fmt, io};

use anyhow::{Context as _, bail, ensure};
use framewright::deflate::DeflateOffer;
use framewright_client::event_loop::{self, Buffers, Event, Turn};
use framewright_client::{ClientRequest, CloseCode, Closure, Delivery, Options, SendError, blocking};
use framewright_testkit::split::before_character;
use mio::{Events, Poll, Token, Waker};

use crate::wire::Message;

/// The APIs of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Blocking,
    Mio,
}

/// A API, and how it is handed messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) api: Api,
    pub(super) delivery: Delivery,
}

/// Each API and each delivery, in half of the pairs.
pub(super) const FORMS: [Form; 2] = [
    Form { api: Api::Blocking, delivery: Delivery::Whole },
    Form { api: Api::Mio, delivery: Delivery::Chunks },
];

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let api = match self.api {
            Api::Blocking => "blocking",
            Api::Mio => "mio",
        };
        let delivery = if self.delivery == Delivery::Whole { "whole" } else { "chunks" };
        write!(f, "{api}, {delivery}")
    }
}

/// How long all messages may take.
const DEADLINE: Duration = Duration::from_secs(60);

impl Form {
    /// Connects, has every message sent back, and closes with 1000.
    ///
    /// # Errors
    /// If the connection cannot be opened, a message comes back as another one, or the end is not a
    /// clean one.
    pub(super) fn exchange(
        self,
        request: ClientRequest,
        options: &Options,
        messages: &[Message],
    ) -> anyhow::Result<()> {
        let mut options = options.clone();
        options.connection.delivery = self.delivery;
        let mut echo = Echo { messages, at: 0, received: Vec::new(), text: None };
        let closure = match self.api {
            Api::Blocking => block(request, &options, &mut echo)?,
            Api::Mio => poll(request, &options, &mut echo)?,
        };
        ensure!(echo.is_done(), "the connection ended before message {} was back: {closure:?}", echo.at);
        ensure!(closure.clean && closure.code() == 1000, "not a clean end with 1000: {closure:?}");
        Ok(())
    }
}

/// What is set for every connection: no offer but those of the request.
pub(super) fn options() -> Options {
    Options { compression: Vec::new(), ..Options::default() }
}

pub(super) fn with_offers(request: ClientRequest, offers: &[DeflateOffer]) -> ClientRequest {
    offers.iter().fold(request, |request, &offer| request.with_deflate(offer))
}

/// Waits in calls.
fn block(request: ClientRequest, options: &Options, echo: &mut Echo<'_>) -> anyhow::Result<Closure> {
    use framewright_client::blocking::Event;

    let mut client = blocking::Client::connect_with(request, options)?;
    let deadline = Instant::now() + DEADLINE;
    while !echo.is_done() {
        echo.send(&mut |data, last| match last {
            None => client.send(data),
            Some(last) => client.send_fragment(data, last),
        })?;
        loop {
            let complete = match client.next_event_before(deadline)? {
                Some(Event::Message(message)) => echo.receive(message, true)?,
                Some(Event::Chunk(chunk)) => echo.receive(chunk.data, chunk.last)?,
                Some(Event::Ping(_) | Event::Pong(_) | Event::Writable) => false,
                other => bail!("{other:?} instead of message {}", echo.at),
            };
            if complete {
                break;
            }
        }
    }
    Ok(client.close_and_wait(CloseCode::NORMAL, "")?)
}

const CLIENT: Token = Token(0);
const WAKER: Token = Token(1);

/// Waits in an event loop of its own.
fn poll(request: ClientRequest, options: &Options, echo: &mut Echo<'_>) -> anyhow::Result<Closure> {
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let waker = Waker::new(&registry, WAKER)?.into();
    let mut events = Events::with_capacity(16);
    let mut buffers = Buffers::new();
    let mut client = event_loop::Client::connect(request, options, &registry, CLIENT, &waker)?;
    let deadline = Instant::now() + DEADLINE;
    let mut wrong = None;
    loop {
        let now = Instant::now();
        let left = deadline.checked_duration_since(now).context("the messages were not back in time")?;
        match poll.poll(&mut events, Some(client.timeout(now).map_or(left, |wait| wait.min(left)))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        events.iter().filter(|event| event.token() == CLIENT).for_each(|event| client.note(event));
        let turn = client.turn(Instant::now(), &registry, &mut buffers, |socket, event| {
            let complete = match event {
                Event::Open(_) => Ok(true),
                Event::Message(message) => echo.receive(message, true),
                Event::Chunk(chunk) => echo.receive(chunk.data, chunk.last),
                _ => Ok(false),
            };
            let next = complete.and_then(|complete| match complete {
                false => Ok(()),
                true if echo.is_done() => Ok(socket.close(CloseCode::NORMAL, "")?),
                true => echo.send(&mut |data, last| match last {
                    None => socket.send(data),
                    Some(last) => socket.send_fragment(data, last),
                }),
            });
            wrong = wrong.take().or(next.err());
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        if turn == Turn::Done {
            return client.closure().context("it has ended");
        }
    }
}

/// What is sent, and has to come back.
struct Echo<'a> {
    messages: &'a [Message],
    /// The message whose turn it is.
    at: usize,
    /// What has come back of it.
    received: Vec<u8>,
    /// The type of what has come back.
    text: Option<bool>,
}

/// Sends a message, or a fragment of one: `Some(true)` for the last.
type Send<'s> = &'s mut dyn FnMut(framewright_client::Message<'_>, Option<bool>) -> Result<(), SendError>;

impl Echo<'_> {
    fn is_done(&self) -> bool {
        self.at == self.messages.len()
    }

    /// Sends the message whose turn it is, in as many fragments as it wants.
    fn send(&self, send: Send<'_>) -> anyhow::Result<()> {
        let message = &self.messages[self.at];
        if message.fragments == 1 {
            return send(sent(message, &message.data)?, None)
                .with_context(|| format!("sending message {}", self.at));
        }
        let count = usize::from(message.fragments);
        let mut rest = message.data.as_slice();
        for left in (1..=count).rev() {
            let len = cut(message, rest, rest.len() / left)?;
            let (fragment, more) = rest.split_at(len);
            rest = more;
            send(sent(message, fragment)?, Some(left == 1))
                .with_context(|| format!("sending a fragment of message {}", self.at))?;
        }
        Ok(())
    }

    /// Takes a piece of what comes back; true if it was the last of its message.
    fn receive(&mut self, piece: framewright_client::Message<'_>, last: bool) -> anyhow::Result<bool> {
        let expected = self.messages.get(self.at).context("more messages came than were sent")?;
        ensure!(*self.text.get_or_insert(piece.is_text()) == piece.is_text(), "a piece of another type");
        self.received.extend_from_slice(piece.as_bytes());
        if last {
            let same = self.received == expected.data && self.text.take() == Some(expected.text);
            ensure!(same, "message {} did not come back as it was sent", self.at);
            self.received.clear();
            self.at += 1;
        }
        Ok(last)
    }
}

/// Some octets of a message, as what is sent.
fn sent<'a>(message: &Message, octets: &'a [u8]) -> anyhow::Result<framewright_client::Message<'a>> {
    Ok(if message.text {
        framewright_client::Message::Text(std::str::from_utf8(octets)?)
    } else {
        framewright_client::Message::Binary(octets)
    })
}

/// Where a fragment of about this length ends: in a text between two characters.
fn cut(message: &Message, octets: &[u8], len: usize) -> anyhow::Result<usize> {
    Ok(if message.text { before_character(std::str::from_utf8(octets)?, len) } else { len })
}

#[cfg(test)]
mod tests {
    use framewright_client::Message::{Binary, Text};

    use super::*;

    fn messages() -> [Message; 2] {
        let message = |text, fragments, data: &str| Message {
            text,
            fragments,
            compressible: true,
            data: data.as_bytes().to_vec(),
        };
        [message(true, 3, "äöü"), message(false, 1, "12")]
    }

    fn echo(messages: &[Message]) -> Echo<'_> {
        Echo { messages, at: 0, received: Vec::new(), text: None }
    }

    #[test]
    fn a_text_is_cut_between_characters_into_as_many_fragments_as_it_wants() {
        let messages = messages();
        let mut echo = echo(&messages);
        let mut seen = Vec::new();
        for _ in 0..2 {
            echo.send(&mut |data, last| {
                seen.push((data.as_bytes().to_vec(), data.is_text(), last));
                Ok(())
            })
            .expect("nothing is refused");
            echo.at += 1;
        }
        let fragment = |text: &str, last| (text.as_bytes().to_vec(), true, Some(last));
        assert_eq!(
            seen,
            [fragment("ä", false), fragment("ö", false), fragment("ü", true), (b"12".to_vec(), false, None)]
        );
    }

    #[test]
    fn messages_that_come_back_in_pieces_are_counted() {
        let messages = messages();
        let mut echo = echo(&messages);
        assert!(!echo.receive(Text("äö"), false).expect("the beginning"));
        assert!(echo.receive(Text("ü"), true).expect("the end"));
        assert!(!echo.is_done());
        assert!(echo.receive(Binary(b"12"), true).expect("all of it"));
        assert!(echo.is_done());
        assert!(echo.receive(Binary(b""), true).is_err());
    }

    #[test]
    fn whatever_does_not_come_back_as_it_was_sent_is_an_error() {
        let messages = messages();
        for wrong in [Text("äöu"), Text("äö"), Text("äöü!"), Binary("äöü".as_bytes())] {
            assert!(echo(&messages).receive(wrong, true).is_err(), "{wrong:?}");
        }
        let mut echo = echo(&messages);
        echo.receive(Text("äö"), false).expect("the beginning");
        assert!(echo.receive(Binary("ü".as_bytes()), true).is_err());
    }
}
