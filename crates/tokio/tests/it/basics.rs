//! Messages, Pings and ends.

use crate::scripted::{Manner, frame, stream};
use crate::support::{pair, quiet, soon};
use framewright_tokio::{
    CloseCode, Error, Event, Message, Negotiated, OwnedMessage, RecvError, Role, SendError, WebSocket,
};
use std::future::poll_fn;
use std::task::Poll;

#[tokio::test(start_paused = true)]
async fn messages_arrive_in_their_order_both_ways() {
    let (mut client, mut server) = pair(1 << 16, quiet());
    client.send_text("one").await.unwrap();
    client.send_binary(&[2; 70_000].map(|byte| byte)[..60_000]).await.unwrap();
    assert_eq!(soon(server.recv()).await.unwrap().unwrap(), Message::Text("one"));
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().len(), 60_000);
    server.send_text("three").await.unwrap();
    assert_eq!(soon(client.recv()).await.unwrap().unwrap(), Message::Text("three"));
}

#[tokio::test(start_paused = true)]
async fn a_lent_message_is_sent_back_by_the_other_half_and_leaves_before_the_receiver_waits() {
    let (mut client, mut server) = pair(1 << 16, quiet());
    let echo = tokio::spawn(async move {
        let (receiver, sender) = server.parts();
        while let Some(message) = receiver.recv().await {
            sender.feed(message.unwrap()).await.unwrap();
        }
        server.closure().expect("it has ended")
    });
    for number in 0..100_u32 {
        client.send_binary(&number.to_be_bytes()).await.unwrap();
    }
    for number in 0..100_u32 {
        let message = soon(client.recv()).await.unwrap().unwrap();
        assert_eq!(message, Message::Binary(&number.to_be_bytes()));
    }
    let closure = soon(client.close(CloseCode::NORMAL, "done")).await.unwrap();
    assert!(closure.clean, "{closure:?}");
    let closure = soon(echo).await.unwrap();
    assert!(closure.clean && closure.reason() == "done", "{closure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_message_passes_a_narrow_stream_while_both_ends_send_first() {
    let (mut client, mut server) = pair(100, quiet());
    let payload = vec![7; 3 << 20];
    let expected = payload.clone();
    let peer = tokio::spawn(async move {
        server.send_binary(&payload).await.unwrap();
        let message = server.recv().await.unwrap().unwrap();
        assert_eq!(message.as_bytes(), payload);
    });
    client.send_binary(&expected).await.unwrap();
    assert_eq!(soon(client.recv()).await.unwrap().unwrap().as_bytes(), expected);
    soon(peer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_by_whoever_receives() {
    let (mut client, mut server) = pair(1 << 16, quiet());
    tokio::spawn(async move { while server.recv().await.is_some() {} });
    client.ping(b"there?").await.unwrap();
    assert_eq!(soon(client.recv_event()).await, Some(Event::Pong(b"there?")));
}

#[tokio::test(start_paused = true)]
async fn halves_work_in_two_tasks() {
    let (client, server) = pair(64, quiet());
    let (mut from_server, mut to_server) = client.split();
    let (mut from_client, mut to_client) = server.split();
    let echo = tokio::spawn(async move {
        while let Some(message) = from_client.recv().await {
            to_client.send(message.unwrap()).await.unwrap();
        }
    });
    let sending = tokio::spawn(async move {
        for number in 0..200_u8 {
            to_server.send_binary(&[number; 300]).await.unwrap();
        }
        to_server.start_close(CloseCode::NORMAL, "").unwrap();
        to_server.flush().await.unwrap();
    });
    for number in 0..200_u8 {
        let message = soon(from_server.recv()).await.unwrap().unwrap();
        assert_eq!(message.as_bytes(), [number; 300]);
    }
    assert!(soon(from_server.recv()).await.is_none());
    assert!(from_server.closure().unwrap().clean);
    soon(sending).await.unwrap();
    soon(echo).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_close_frame_is_told_once_and_nothing_can_be_sent() {
    let (mut client, server) = pair(1 << 16, quiet());
    drop(server);
    let told = soon(client.recv()).await.unwrap().unwrap_err();
    assert_eq!(told, RecvError::Failed(Error::TransportLost));
    assert!(soon(client.recv()).await.is_none());
    assert_eq!(client.send_text("late").await, Err(SendError::Closed));
    assert_eq!(client.closure().unwrap().code(), 1006);
}

#[tokio::test(start_paused = true)]
async fn aborting_drops_the_stream_at_once() {
    let (mut client, mut server) = pair(1 << 16, quiet());
    client.abort();
    assert_eq!(soon(server.recv()).await, Some(Err(RecvError::Failed(Error::TransportLost))));
    assert_eq!(soon(client.recv()).await, Some(Err(RecvError::Failed(Error::Aborted))));
}

#[tokio::test(start_paused = true)]
async fn streams_and_sinks_carry_owned_messages() {
    use std::pin::pin;
    let (client, server) = pair(1 << 16, quiet());
    let mut server = pin!(server);
    let mut client = pin!(client);
    let message = OwnedMessage::text("owned");
    poll_fn(|context| futures_sink::Sink::poll_ready(client.as_mut(), context)).await.unwrap();
    futures_sink::Sink::start_send(client.as_mut(), message.clone()).unwrap();
    poll_fn(|context| futures_sink::Sink::poll_flush(client.as_mut(), context)).await.unwrap();
    let next = poll_fn(|context| futures_core::Stream::poll_next(server.as_mut(), context));
    assert_eq!(soon(next).await, Some(Ok(message)));
    let long = OwnedMessage::binary(vec![9; 40_000]);
    server.send(long.as_message()).await.unwrap();
    let next = poll_fn(|context| futures_core::Stream::poll_next(client.as_mut(), context));
    assert_eq!(soon(next).await, Some(Ok(long)), "long enough to keep its memory");
    poll_fn(|context| futures_sink::Sink::poll_close(client.as_mut(), context)).await.unwrap();
    let next = poll_fn(|context| futures_core::Stream::poll_next(server.as_mut(), context));
    assert_eq!(soon(next).await, None);
    assert_eq!(server.closure().unwrap().code(), 1000);
}

#[tokio::test(start_paused = true)]
async fn the_stream_can_be_looked_at_until_it_has_ended() {
    let (mut client, mut server) = pair(1 << 16, quiet());
    assert!(client.with_stream(|stream| format!("{stream:?}")).is_some_and(|text| text.contains("Duplex")));
    let closing = tokio::spawn(async move { server.close(None, "").await });
    while soon(client.recv()).await.is_some() {}
    assert_eq!(client.with_stream(|_| ()), None, "it was dropped with the connection");
    assert!(soon(closing).await.unwrap().unwrap().clean);
}

#[test]
fn owned_messages_are_made_of_what_applications_have() {
    assert_eq!(OwnedMessage::from("text"), OwnedMessage::from(String::from("text")));
    assert_eq!(OwnedMessage::from(vec![1, 2]).as_message(), Message::Binary(&[1, 2]));
}

#[tokio::test(start_paused = true)]
async fn room_that_was_promised_is_there_though_pongs_have_taken_it() {
    let (script, stream) = stream(Manner::default());
    let config = framewright_tokio::Config { high_water: 100, ..quiet() };
    let mut socket = WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], config);
    script.set_room(0);
    soon(poll_fn(|context| socket.poll_ready(context))).await.unwrap();
    script.deliver(&frame(0x89, true, &[7; 125]));
    assert!(poll_fn(|context| Poll::Ready(socket.poll_recv(context).is_pending())).await);
    socket.start_send(Message::Text("promised")).unwrap();
    assert_eq!(socket.start_send(Message::Text("not promised")), Err(SendError::Full));
    script.set_room(usize::MAX);
    soon(socket.flush()).await.unwrap();
    assert_eq!(script.sent(), [frame(0x8a, false, &[7; 125]), frame(0x81, false, b"promised")].concat());
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_fails_is_told_and_what_has_arrived_is_received() {
    let (script, stream) = stream(Manner { holds_back: true, ..Manner::default() });
    let mut socket = WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], quiet());
    script.deliver(&frame(0x81, true, b"last words"));
    socket.feed(Message::Text("lost")).await.unwrap();
    script.fail_flush();
    assert_eq!(soon(socket.flush()).await, Err(SendError::Closed));
    assert_eq!(soon(socket.send_text("never")).await, Err(SendError::Closed));
    assert_eq!(soon(socket.recv()).await, Some(Ok(Message::Text("last words"))));
    assert_eq!(soon(socket.recv()).await, Some(Err(RecvError::Failed(Error::TransportLost))));
}
