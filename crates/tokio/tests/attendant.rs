//! What a task that does not have the connection can do with it.

use framewright_tokio::{CloseCode, Config, Message, Negotiated, Role, SendError, WebSocket};
use std::time::Duration;
use tokio::io::DuplexStream;

type Socket = WebSocket<DuplexStream>;

fn pair() -> (Socket, Socket) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let open =
        |stream, role| WebSocket::from_negotiated(stream, role, Negotiated::new(), &[], Config::default());
    (open(near, Role::Server), open(far, Role::Client))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("the test's deadline")
}

#[tokio::test]
async fn a_close_from_outside_leaves_while_nobody_receives() {
    within(async {
        let (server, mut client) = pair();
        let mut attendant = server.attendant();
        attendant.start_close(CloseCode::GOING_AWAY, "bye").unwrap();
        assert_eq!(attendant.start_close(CloseCode::GOING_AWAY, ""), Err(SendError::Closed));
        let attending = tokio::spawn(attendant);
        // The server's side stays where it is, and receives nothing.
        assert_eq!(client.recv_event().await.map(|event| format!("{event:?}")).unwrap(), CLOSE_RECEIVED);
        drop(server);
        attending.await.unwrap();
    })
    .await;
}

const CLOSE_RECEIVED: &str = "CloseReceived { code: Some(1001), reason: \"bye\" }";

#[tokio::test]
async fn a_close_from_outside_reaches_a_task_that_receives() {
    within(async {
        let (mut server, mut client) = pair();
        let mut attendant = server.attendant();
        client.send_text("before").await.unwrap();
        let receiving = tokio::spawn(async move {
            assert_eq!(server.recv().await, Some(Ok(Message::Text("before"))));
            assert_eq!(server.recv().await, None);
            server.closure().unwrap()
        });
        // The other task waits for the second message.
        tokio::task::yield_now().await;
        attendant.start_close(CloseCode::GOING_AWAY, "").unwrap();
        let attending = tokio::spawn(attendant);
        assert_eq!(client.recv().await, None);
        assert_eq!(client.closure().unwrap().code(), 1001);
        let closure = receiving.await.unwrap();
        assert!(closure.clean, "{closure:?}");
        attending.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_gone_cannot_be_closed_from_outside() {
    let (server, _client) = pair();
    let mut attendant = server.attendant();
    assert_eq!(attendant.start_close(None, "a reason needs a code"), Err(SendError::CloseReason));
    drop(server);
    assert_eq!(attendant.start_close(CloseCode::GOING_AWAY, ""), Err(SendError::Closed));
    within(attendant).await;
}
