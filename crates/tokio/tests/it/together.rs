//! Messages that arrive together, and what is queued for one write.

use crate::support::{pair, quiet, soon};
use framewright_tokio::{CloseCode, Message};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn a_long_message_that_is_fed_leaves_at_once_and_a_short_one_with_the_next_flush() {
    let (mut client, mut server) = pair(1 << 20, quiet());
    server.feed(Message::Binary(&[1; 20_000])).await.unwrap();
    assert_eq!(soon(client.recv()).await.unwrap().unwrap().len(), 20_000);
    server.feed(Message::Text("short")).await.unwrap();
    assert!(timeout(Duration::from_secs(1), client.recv()).await.is_err(), "it waits for others");
    server.flush().await.unwrap();
    assert_eq!(soon(client.recv()).await.unwrap().unwrap(), Message::Text("short"));
}

#[tokio::test(start_paused = true)]
async fn messages_a_ping_and_a_close_that_arrive_together_are_answered_in_their_order() {
    let (mut client, mut server) = pair(1 << 20, quiet());
    client.feed(Message::Text("one")).await.unwrap();
    client.feed(Message::Binary(&[2; 30_000])).await.unwrap();
    client.ping(b"there?").await.unwrap();
    client.feed(Message::Text("three")).await.unwrap();
    client.start_close(CloseCode::NORMAL, "done").unwrap();
    client.flush().await.unwrap();
    let echo = tokio::spawn(async move {
        let (receiver, sender) = server.parts();
        let mut lengths = Vec::new();
        while let Some(message) = receiver.recv().await {
            let message = message.unwrap();
            lengths.push(message.len());
            sender.feed(message).await.unwrap();
        }
        (lengths, server.closure().expect("it has ended"))
    });
    for expected in [3, 30_000, 5] {
        assert_eq!(soon(client.recv()).await.unwrap().unwrap().len(), expected);
    }
    assert_eq!(soon(client.recv()).await, None);
    let (lengths, closure) = soon(echo).await.unwrap();
    assert_eq!(lengths, [3, 30_000, 5]);
    assert!(closure.clean && closure.reason() == "done", "{closure:?}");
}
