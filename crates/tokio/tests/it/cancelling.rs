//! Cancel safety: each future is dropped at its await points, and the call is made again. Nothing is
//! lost, and nothing is sent twice.

use crate::scripted::{MANNERS, Manner, Script, Stream, frame, frames, stream};
use crate::support::quiet;
use framewright_tokio::{
    AcceptError, AcceptOptions, CloseCode, Config, Delivery, Event, Incoming, Message, Negotiated,
    OwnedMessage, Prepared, Response, Role, SendError, StatusCode, WebSocket,
};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio::task::coop::unconstrained;

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const MOST: usize = 80_000;
/// Long enough to be written before it is queued.
const LONG: usize = 16 << 10;

fn once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Makes a call anew each time its future is not ready at once (`$drops`), or polls one future.
macro_rules! call {
    ($drops:expr, $call:expr) => {{
        let mut polls = 0;
        let result = if $drops {
            loop {
                polls += 1;
                assert!(polls < MOST, "it waits for ever");
                if let Some(result) = once(async { $call.await }) {
                    break result;
                }
            }
        } else {
            let mut future = pin!(async { $call.await });
            loop {
                polls += 1;
                assert!(polls < MOST, "it waits for ever");
                let context = &mut Context::from_waker(Waker::noop());
                if let Poll::Ready(result) = future.as_mut().poll(context) {
                    break result;
                }
            }
        };
        result
    }};
}

fn open(role: Role, manner: Manner, config: Config) -> (Script, WebSocket<Stream>) {
    let (script, stream) = stream(manner);
    (script, WebSocket::from_negotiated(stream, role, Negotiated::new(), &[], config))
}

/// What a peer of `role` receives: messages whole and in parts, Pings between them.
fn conversation(role: Role) -> Vec<u8> {
    let masked = role == Role::Server;
    let parts: [(u8, &[u8]); 8] = [
        (0x81, b"hello"),
        (0x02, b"one "),
        (0x89, b"ping within"),
        (0x00, b"two "),
        (0x80, b"three"),
        (0x82, &[7; 300]),
        (0x89, b"ping"),
        (0x81, b""),
    ];
    parts.iter().flat_map(|(first, payload)| frame(*first, masked, payload)).collect()
}

fn close_frame(role: Role) -> Vec<u8> {
    frame(0x88, role == Role::Server, &1000_u16.to_be_bytes())
}

/// Both directions at once. Returns what was received, and what was sent.
fn talk(role: Role, manner: Manner, drops: bool) -> (Vec<OwnedMessage>, Vec<u8>) {
    let (script, mut socket) = open(role, manner, quiet());
    script.deliver(&conversation(role));
    let mut received = Vec::new();
    for round in 0..4 {
        let message =
            call!(drops, async { socket.recv().await.map(|message| OwnedMessage::from(message.unwrap())) });
        received.push(message.unwrap());
        let text = format!("feed {round}");
        call!(drops, socket.feed(Message::Text(&text))).unwrap();
        if round % 2 == 1 {
            call!(drops, socket.feed(Message::Binary(&[round; 200]))).unwrap();
            call!(drops, socket.flush()).unwrap();
        }
    }
    script.deliver(&close_frame(role));
    script.end();
    let end = call!(drops, async { socket.recv().await.is_none() });
    assert!(end, "{role:?} {manner:?}");
    assert!(socket.closure().unwrap().clean, "{:?}", socket.closure());
    assert!(script.is_dropped(), "the end is the end of the stream");
    (received, script.sent())
}

#[tokio::test(start_paused = true)]
async fn receiving_feeding_and_flushing_lose_nothing_and_send_nothing_twice() {
    unconstrained(async {
        for role in ROLES {
            for manner in MANNERS {
                let (received, sent) = talk(role, manner, false);
                assert_eq!(received[1], OwnedMessage::binary(&b"one two three"[..]));
                let (received_again, sent_again) = talk(role, manner, true);
                assert_eq!(received_again, received);
                let (mut before, mut after) = (frames(&sent).unwrap(), frames(&sent_again).unwrap());
                // A Pong leaves earlier or later among the messages, and stands for those before.
                let mut pongs = [&mut before, &mut after].map(|frames| {
                    let pongs: Vec<_> = frames.iter().filter(|(first, _)| *first == 0x8a).cloned().collect();
                    frames.retain(|(first, _)| *first != 0x8a);
                    pongs
                });
                assert_eq!(after, before, "{role:?} {manner:?}");
                assert_eq!(before.len(), 4 + 2 + 1, "{before:?}");
                assert_eq!(pongs[0].pop(), Some((0x8a, b"ping".to_vec())));
                assert_eq!(pongs[1].pop(), Some((0x8a, b"ping".to_vec())));
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn events_and_chunks_are_complete_though_each_future_is_dropped() {
    unconstrained(async {
        for role in ROLES {
            for manner in MANNERS {
                let config = Config { delivery: Delivery::Chunks, ..quiet() };
                let (script, mut socket) = open(role, manner, config);
                script.deliver(&conversation(role));
                let mut messages = vec![Vec::new()];
                while messages.len() < 5 {
                    call!(true, async {
                        let chunk = socket.recv_chunk().await.unwrap().unwrap();
                        messages.last_mut().unwrap().extend_from_slice(chunk.data.as_bytes());
                        if chunk.last {
                            messages.push(Vec::new());
                        }
                    });
                }
                assert_eq!(messages, [&b"hello"[..], b"one two three", &[7; 300], b"", b""]);

                let (script, mut socket) = open(role, manner, quiet());
                script.deliver(&[conversation(role), close_frame(role)].concat());
                script.end();
                let mut events = Vec::new();
                while let Some(event) = call!(true, async {
                    socket.recv_event().await.map(|event| match event {
                        Event::Message(message) => message.len().to_string(),
                        Event::Ping(_) => "ping".into(),
                        Event::CloseReceived { .. } => "close".into(),
                        Event::Closed(closure) => format!("closed {}", closure.clean),
                        event => format!("{event:?}"),
                    })
                }) {
                    events.push(event);
                }
                let expected = ["5", "ping", "13", "300", "ping", "0", "close", "closed true"];
                assert_eq!(events, expected, "{role:?} {manner:?}");
            }
        }
    })
    .await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Command {
    Text,
    Binary,
    Long,
    Fragment,
    Prepared,
    Ping,
}

impl Command {
    async fn run(self, socket: &mut WebSocket<Stream>) -> Result<(), SendError> {
        match self {
            Command::Text => socket.send_text("text").await,
            Command::Binary => socket.send_binary(&[2; 70]).await,
            Command::Long => socket.send_binary(&[3; LONG]).await,
            Command::Fragment => socket.send_fragment(Message::Text("part"), false).await,
            Command::Prepared => socket.send_prepared(&Prepared::new(Message::Text("prepared"))).await,
            Command::Ping => socket.ping(b"ping").await,
        }
    }

    fn frame(self) -> (u8, Vec<u8>) {
        match self {
            Command::Text => (0x81, b"text".to_vec()),
            Command::Binary => (0x82, vec![2; 70]),
            Command::Long => (0x82, vec![3; LONG]),
            Command::Fragment => (0x01, b"part".to_vec()),
            Command::Prepared => (0x81, b"prepared".to_vec()),
            Command::Ping => (0x89, b"ping".to_vec()),
        }
    }
}

/// Drops a sending future after `polls` polls, and completes what it has left with other calls.
/// Returns whether it was ready before.
fn dropped_after(polls: usize, command: Command, role: Role, manner: Manner) -> bool {
    let (script, mut socket) = open(role, manner, quiet());
    script.set_room(0);
    assert!(once(socket.send_text("before")).is_none());
    let mut is_ready = false;
    {
        let mut future = pin!(command.run(&mut socket));
        for poll in 0..polls {
            if poll == 1 {
                script.set_room(usize::MAX);
            }
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(result) = future.as_mut().poll(context) {
                result.unwrap();
                is_ready = true;
                break;
            }
        }
    }
    script.set_room(usize::MAX);
    call!(true, socket.flush()).unwrap();
    let sent = frames(&script.sent()).expect("whole frames");
    assert_eq!(sent, [(0x81, b"before".to_vec()), command.frame()], "{polls} {role:?} {manner:?}");
    is_ready
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_future_is_dropped_leaves_once_and_whole() {
    unconstrained(async {
        let commands = [
            Command::Text,
            Command::Binary,
            Command::Long,
            Command::Fragment,
            Command::Prepared,
            Command::Ping,
        ];
        for role in ROLES {
            for manner in MANNERS {
                for command in commands {
                    let mut manner = manner;
                    if command == Command::Long {
                        manner.halts = manner.halts.map(|_| 1001);
                    }
                    let mut polls = 1;
                    while !dropped_after(polls, command, role, manner) {
                        polls += 1;
                    }
                    assert!(polls > 1);
                }
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_for_which_there_is_no_room_is_not_queued_before_its_future_is_ready() {
    unconstrained(async {
        for role in ROLES {
            let config = Config { high_water: 100, low_water: 10, ..quiet() };
            let (script, mut socket) = open(role, MANNERS[0], config);
            script.set_room(0);
            assert_eq!(once(socket.feed(Message::Binary(&[1; 110]))), Some(Ok(())));
            for _ in 0..3 {
                assert_eq!(once(socket.feed(Message::Text("dropped"))), None);
                assert_eq!(once(socket.send(Message::Text("dropped"))), None);
                assert_eq!(once(socket.ping(b"dropped")), None);
            }
            script.set_room(usize::MAX);
            assert_eq!(once(socket.send_text("kept")), Some(Ok(())));
            let sent = frames(&script.sent()).unwrap();
            assert_eq!(sent, [(0x82, vec![1; 110]), (0x81, b"kept".to_vec())]);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_goes_on_with_the_next_call() {
    unconstrained(async {
        for role in ROLES {
            for manner in MANNERS {
                let (script, mut socket) = open(role, manner, quiet());
                script.deliver(&[conversation(role), close_frame(role)].concat());
                if role == Role::Client {
                    script.end();
                }
                call!(true, socket.feed(Message::Text("last"))).unwrap();
                let closure = call!(true, socket.close(CloseCode::NORMAL, "bye")).unwrap();
                assert!(closure.clean, "{closure:?} {role:?} {manner:?}");
                let mut sent = frames(&script.sent()).unwrap();
                sent.retain(|(first, _)| *first != 0x8a);
                assert_eq!(sent, [(0x81, b"last".to_vec()), (0x88, b"\x03\xe8bye".to_vec())]);
                assert!(script.is_dropped() && (script.is_shut() || role == Role::Client));
            }
        }
    })
    .await;
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

async fn answer(stream: Stream, accepts: bool) -> Result<WebSocket<Stream>, AcceptError> {
    let incoming = Incoming::read(stream, &AcceptOptions::default()).await?;
    if accepts {
        let accept = incoming.default_accept();
        incoming.accept(accept).await
    } else {
        Err(incoming.refuse(&Response::new(StatusCode::FORBIDDEN)).await)
    }
}

#[tokio::test(start_paused = true)]
async fn an_opening_handshake_that_is_dropped_anywhere_ends_its_stream() {
    unconstrained(async {
        for mut manner in MANNERS {
            manner.halts = manner.halts.map(|_| 7);
            for accepts in [true, false] {
                let mut whole = Vec::new();
                // The first one is not dropped.
                for polls in std::iter::once(MOST).chain(1..120) {
                    let (script, stream) = stream(manner);
                    script.deliver(REQUEST);
                    script.end();
                    let mut ready = None;
                    {
                        let mut future = pin!(answer(stream, accepts));
                        for _ in 0..polls {
                            let context = &mut Context::from_waker(Waker::noop());
                            if let Poll::Ready(result) = future.as_mut().poll(context) {
                                ready = Some(result);
                                break;
                            }
                        }
                    }
                    let is_ready = ready.is_some();
                    drop(ready);
                    assert!(script.is_dropped());
                    if whole.is_empty() {
                        assert!(is_ready);
                        whole = script.sent();
                    }
                    // Behind the status line there may be a date.
                    let sent = script.sent();
                    assert!(is_ready || whole.starts_with(&sent[..sent.len().min(20)]));
                }
            }
        }
    })
    .await;
}
