//! What a handler and its peer see of each other.

use crate::support::{Server, quiet, request, within};
use axum::Router;
use axum::body::Bytes;
use axum::routing::any;
use framewright_axum::{CloseFrame, Closure, Config, Message, WebSocket, WebSocketUpgrade, close_code};
use framewright_tokio::{self as core, CloseCode, Error, OwnedEvent, RecvError, SendError};
use futures_util::{SinkExt as _, StreamExt as _};
use std::future::{pending, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Routes with one handler at `/ws`.
fn app<F>(handler: impl Fn(WebSocket) -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = ()> + Send + 'static,
{
    Router::new().route("/ws", any(async move |upgrade: WebSocketUpgrade| upgrade.on_upgrade(handler)))
}

/// The loop of axum's documentation.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Exchanges messages with an echo.
async fn converse<S>(socket: &mut core::WebSocket<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let long = "long".repeat(100_000);
    for text in ["a", "", &long] {
        socket.send_text(text).await.unwrap();
        assert_eq!(socket.recv().await, Some(Ok(core::Message::Text(text))));
        socket.send_binary(text.as_bytes()).await.unwrap();
        assert_eq!(socket.recv().await, Some(Ok(core::Message::Binary(text.as_bytes()))));
    }
}

#[tokio::test]
async fn the_echo_of_axums_documentation_runs_unchanged_over_both_versions() {
    within(async {
        let server = Server::start(app(echo));
        let mut socket = server.open(&request()).await;
        converse(&mut socket).await;
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
        let mut socket = server.http_2().await.connect(&request(), quiet()).await.unwrap();
        converse(&mut socket).await;
        let closure = socket.close(CloseCode::NORMAL, "bye").await.unwrap();
        assert!(closure.clean, "{closure:?}");
        assert_eq!((closure.code(), closure.reason()), (1000, "bye"));
    })
    .await;
}

#[tokio::test]
async fn a_handler_sees_control_frames_and_the_close_last() {
    within(async {
        let (seen, mut look) = mpsc::unbounded_channel();
        let server = Server::start(app(move |mut socket: WebSocket| {
            let seen = seen.clone();
            async move {
                while let Some(message) = socket.recv().await {
                    seen.send(message.unwrap()).unwrap();
                }
                assert!(socket.recv().await.is_none());
            }
        }));
        let mut socket = server.open(&request()).await;
        socket.ping(b"ping").await.unwrap();
        let pong = poll_fn(|context| socket.poll_recv_owned_event(context)).await;
        assert_eq!(pong, Some(OwnedEvent::Pong("ping".into())));
        socket.start_pong(b"pong").unwrap();
        socket.send_text("text").await.unwrap();
        assert!(socket.close(CloseCode::new(4000), "bye").await.unwrap().clean);
        let mut all = Vec::new();
        while let Some(message) = look.recv().await {
            all.push(message);
            if all.len() == 4 {
                break;
            }
        }
        let close = CloseFrame { code: 4000, reason: "bye".into() };
        let pong = Message::Pong(Bytes::from_static(b"pong"));
        let ping = Message::Ping(Bytes::from_static(b"ping"));
        assert_eq!(all, [ping, pong, Message::text("text"), Message::Close(Some(close))]);
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_leaves_when_it_sees_the_close_has_answered_it() {
    within(async {
        let server = Server::start(app(async |mut socket: WebSocket| {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Close(_)) {
                    return;
                }
            }
        }));
        for halves in [false, true] {
            let split = Server::start(app(async |socket: WebSocket| {
                let (_sender, mut receiver) = socket.split();
                while let Some(Ok(message)) = receiver.recv().await {
                    if matches!(message, Message::Close(_)) {
                        return;
                    }
                }
            }));
            let server = if halves { &split } else { &server };
            let mut socket = server.open(&request()).await;
            let closure = socket.close(CloseCode::NORMAL, "").await.unwrap();
            assert!(closure.clean, "{closure:?}");
            let mut socket = server.http_2().await.connect(&request(), quiet()).await.unwrap();
            let closure = socket.close(CloseCode::NORMAL, "").await.unwrap();
            assert!(closure.clean, "{closure:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_sink_takes_a_close_after_the_peers_close_and_nothing_else() {
    within(async {
        let (told, mut tell) = mpsc::unbounded_channel();
        let server = Server::start(app(move |mut socket: WebSocket| {
            let told = told.clone();
            async move {
                while let Some(Ok(message)) = socket.recv().await {
                    assert!(matches!(message, Message::Close(_)), "{message:?}");
                    let close = socket.feed(message).await;
                    let text = socket.feed("too late".into()).await;
                    told.send((close.is_ok(), text.is_ok())).unwrap();
                }
            }
        }));
        let mut socket = server.open(&request()).await;
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
        assert_eq!(tell.recv().await.unwrap(), (true, false));
    })
    .await;
}

#[tokio::test]
async fn a_handler_closes_with_a_code() {
    within(async {
        let (told, mut tell) = mpsc::unbounded_channel::<Closure>();
        let server = Server::start(app(move |mut socket: WebSocket| {
            let told = told.clone();
            async move {
                let wrong = CloseFrame { code: close_code::ABNORMAL, reason: "".into() };
                assert!(socket.send(Message::Close(Some(wrong))).await.is_err());
                let frame = CloseFrame { code: close_code::AGAIN, reason: "later".into() };
                told.send(socket.close(Some(frame)).await.unwrap()).unwrap();
            }
        }));
        let mut socket = server.open(&request()).await;
        assert_eq!(socket.recv().await, None);
        let closure = socket.closure().unwrap();
        assert_eq!((closure.code(), closure.reason(), closure.clean), (1013, "later", true));
        assert!(tell.recv().await.unwrap().clean);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_breaks_a_rule_is_one_error_and_then_the_end() {
    within(async {
        let (told, mut tell) = mpsc::unbounded_channel();
        let server = Server::start(app(move |mut socket: WebSocket| {
            let told = told.clone();
            async move {
                let error = socket.recv().await.unwrap().unwrap_err().into_inner();
                assert!(socket.recv().await.is_none());
                let sent = socket.send("too late".into()).await.unwrap_err().into_inner();
                assert_eq!(sent.downcast_ref(), Some(&SendError::Closed));
                told.send((error, socket.closure().unwrap())).unwrap();
            }
        }));
        let mut stream = server.connect().await;
        stream.write_all(HANDSHAKE).await.unwrap();
        stream.write_all(&[0x81, 0x00]).await.unwrap(); // not masked
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let (error, closure) = tell.recv().await.unwrap();
        assert!(matches!(error.downcast_ref(), Some(RecvError::Failed(Error::Peer(_)))), "{error:?}");
        assert_eq!(closure.sent.unwrap().code, Some(CloseCode::PROTOCOL_ERROR));
        assert_eq!(closure.received, None);
    })
    .await;
}

const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn halves_work_in_two_tasks_and_with_combinators() {
    within(async {
        let server = Server::start(app(async |socket: WebSocket| {
            let (mut sender, receiver) = socket.split();
            let (forward, mut forwarded) = mpsc::channel(4);
            let sending = tokio::spawn(async move {
                while let Some(message) = forwarded.recv().await {
                    sender.feed(message).await.unwrap();
                    sender.flush().await.unwrap();
                }
                sender.close().await.unwrap();
            });
            receiver
                .filter_map(async |message| message.ok().filter(|it| matches!(it, Message::Text(_))))
                .take(3)
                .for_each(async |message| forward.send(message).await.unwrap())
                .await;
            drop(forward);
            sending.await.unwrap();
        }));
        let mut socket = server.open(&request()).await;
        for number in 0..3 {
            let text = format!("{number}");
            socket.send_binary(b"dropped").await.unwrap();
            socket.send_text(&text).await.unwrap();
            assert_eq!(socket.recv().await, Some(Ok(core::Message::Text(&text))));
        }
        // The receiving half is gone, so nobody waits for the answer to the Close.
        let _ = socket.recv().await;
        assert_eq!(socket.closure().unwrap().code(), 1000);
    })
    .await;
}

#[tokio::test]
async fn the_connection_below_lends_messages() {
    within(async {
        let server = Server::start(app(async |mut socket: WebSocket| {
            let (receiver, sender) = socket.inner_mut().parts();
            while let Some(Ok(message)) = receiver.recv().await {
                sender.feed(message).await.unwrap();
            }
            assert!(socket.into_inner().closure().unwrap().clean);
        }));
        let mut socket = server.open(&request()).await;
        converse(&mut socket).await;
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    })
    .await;
}

/// Polls for the next event of a socket.
type Next = dyn FnMut(&mut Context<'_>) -> Poll<Option<OwnedEvent>>;

#[tokio::test(start_paused = true)]
async fn pings_are_sent_while_the_handler_waits_for_something_else() {
    within(async {
        let server = Server::start(Router::new().route(
            "/ws",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade.keep_alive(Duration::from_secs(45), Duration::from_secs(90)).on_upgrade(
                    async |mut socket| {
                        tokio::time::sleep(Duration::from_secs(600)).await;
                        socket.send("awake".into()).await.unwrap();
                    },
                )
            }),
        ));
        for is_h2 in [false, true] {
            let start = tokio::time::Instant::now();
            let mut pings = 0;
            let http_2 = server.http_2().await;
            let mut one;
            let mut other;
            let mut next: Box<Next> = if is_h2 {
                one = http_2.connect(&request(), quiet()).await.unwrap();
                Box::new(move |context| one.poll_recv_owned_event(context))
            } else {
                other = server.open(&request()).await;
                Box::new(move |context| other.poll_recv_owned_event(context))
            };
            loop {
                match poll_fn(&mut next).await.unwrap() {
                    OwnedEvent::Ping(_) => pings += 1,
                    OwnedEvent::Message(message) => {
                        break assert_eq!(message.as_message(), core::Message::Text("awake"));
                    }
                    event => panic!("{event:?}"),
                }
            }
            assert_eq!(start.elapsed().as_secs(), 600);
            assert_eq!(pings, 600 / 45, "HTTP/2: {is_h2}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pings_are_sent_after_the_handler_has_given_its_socket_to_another_task() {
    within(async {
        let server = Server::start(Router::new().route(
            "/ws",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade.keep_alive(Duration::from_secs(45), Duration::from_secs(90)).on_upgrade(
                    async |socket| {
                        tokio::spawn(async move {
                            let _socket = socket;
                            pending::<()>().await;
                        });
                    },
                )
            }),
        ));
        let mut socket = server.open(&request()).await;
        let event = poll_fn(|context| socket.poll_recv_owned_event(context)).await;
        assert!(matches!(event, Some(OwnedEvent::Ping(_))), "{event:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_loses_its_connection_while_the_handler_waits() {
    within(async {
        let server = Server::start(Router::new().route(
            "/ws",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade
                    .keep_alive(Duration::from_secs(10), Duration::from_secs(20))
                    .on_upgrade(async |_socket| pending().await)
            }),
        ));
        let mut stream = server.connect().await;
        let start = tokio::time::Instant::now();
        stream.write_all(HANDSHAKE).await.unwrap();
        let mut received = Vec::new();
        // It takes the Pings, and answers none.
        stream.read_to_end(&mut received).await.unwrap();
        assert!((30..60).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        let close = b"\x03\xf3keep-alive timeout";
        let found = received.windows(close.len()).any(|bytes| bytes == close);
        assert!(found, "1011 in {:?}", received.escape_ascii().to_string());
    })
    .await;
}

#[tokio::test]
async fn limits_are_those_that_the_handler_has_set() {
    within(async {
        let config = Config { max_message: 10, ..Config::default() };
        let server = Server::start(
            Router::new()
                .route(
                    "/ws",
                    any(async |upgrade: WebSocketUpgrade| {
                        upgrade.max_message_size(100).max_frame_size(50).on_upgrade(echo)
                    }),
                )
                .route(
                    "/small",
                    any(async |upgrade: WebSocketUpgrade| upgrade.config(config).on_upgrade(echo)),
                ),
        );
        let small = "ws://a/small".parse().unwrap();
        for (request, allowed) in [(request(), 50), (small, 10)] {
            let mut socket = server.open(&request).await;
            socket.send_binary(&vec![0; allowed]).await.unwrap();
            assert!(socket.recv().await.unwrap().is_ok());
            socket.send_binary(&vec![0; allowed + 1]).await.unwrap();
            let _ = socket.recv().await;
            assert_eq!(socket.closure().unwrap().code(), 1009);
        }
    })
    .await;
}
