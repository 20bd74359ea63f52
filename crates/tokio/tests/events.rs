//! Events that own their payload, and the answers to what was received.

use framewright_tokio::{CloseCode, Config, Message, Negotiated, OwnedEvent, OwnedMessage, Role, WebSocket};
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::DuplexStream;

type Socket = WebSocket<DuplexStream>;

fn pair() -> (Socket, Socket) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let open =
        |stream, role| WebSocket::from_negotiated(stream, role, Negotiated::new(), &[], Config::default());
    (open(near, Role::Server), open(far, Role::Client))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("the test's deadline")
}

#[tokio::test]
async fn each_event_comes_with_its_payload_and_in_order() {
    within(async {
        let (mut server, mut client) = pair();
        let long = vec![7; 100_000];
        client.start_ping(b"ping").unwrap();
        client.start_pong(b"pong").unwrap();
        client.start_send(Message::Text("short")).unwrap();
        client.send(Message::Binary(&long)).await.unwrap();
        client.start_close(CloseCode::NORMAL, "bye").unwrap();
        client.flush().await.unwrap();
        let mut next = async || poll_fn(|context| server.poll_recv_owned_event(context)).await;
        assert_eq!(next().await, Some(OwnedEvent::Ping("ping".into())));
        assert_eq!(next().await, Some(OwnedEvent::Pong("pong".into())));
        assert_eq!(next().await, Some(OwnedEvent::Message(OwnedMessage::text("short"))));
        assert_eq!(next().await, Some(OwnedEvent::Message(OwnedMessage::binary(long))));
        let close = OwnedEvent::CloseReceived { code: Some(CloseCode::NORMAL), reason: "bye".into() };
        assert_eq!(next().await, Some(close));
        // The peer reads the Pong and the Close, and ends the transport.
        tokio::spawn(async move { client.close(None, "").await });
        let Some(OwnedEvent::Closed(closure)) = next().await else { panic!() };
        assert!(closure.clean, "{closure:?}");
        assert_eq!(next().await, None);
    })
    .await;
}

#[tokio::test]
async fn the_receiving_half_can_write_its_answers_without_receiving_on() {
    within(async {
        let (server, mut client) = pair();
        let (mut receiver, _sender) = server.split();
        client.ping(b"are you there").await.unwrap();
        let ping = poll_fn(|context| receiver.poll_recv_owned_event(context)).await;
        assert_eq!(ping, Some(OwnedEvent::Ping("are you there".into())));
        poll_fn(|context| receiver.poll_flush(context)).await.unwrap();
        let pong = poll_fn(|context| client.poll_recv_owned_event(context)).await;
        assert_eq!(pong, Some(OwnedEvent::Pong("are you there".into())));
    })
    .await;
}
