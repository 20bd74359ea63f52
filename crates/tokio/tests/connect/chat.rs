//! The chat of the examples.

#[allow(dead_code, reason = "its main function belongs to the program")]
#[path = "../../examples/tokio_topics.rs"]
mod rooms;

use crate::support::soon;
use framewright_tokio::{MaybeTls, Message, WebSocket, connect};
use tokio::net::TcpListener;

async fn text(socket: &mut WebSocket<MaybeTls>) -> String {
    match soon(socket.recv()).await {
        Some(Ok(Message::Text(text))) => text.to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_one_says_all_others_of_its_room_receive_and_those_who_come_later() {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hub = rooms::rooms().unwrap();
    let serving = tokio::task::LocalSet::new();
    let told = hub.clone();
    serving.spawn_local(async move { rooms::serve(listener, hub).await.ok() });
    serving
        .run_until(async move {
            let mut anna = soon(connect(&format!("ws://{address}/one"))).await.unwrap();
            let mut ben = soon(connect(&format!("ws://{address}/one"))).await.unwrap();
            let mut carl = soon(connect(&format!("ws://{address}/two"))).await.unwrap();
            soon(async {
                while told.subscribers("rooms/one") < 2 || told.subscribers("rooms/two") < 1 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            anna.send_text("hello").await.unwrap();
            assert_eq!(text(&mut ben).await, "hello");
            ben.send_text("hello, Anna").await.unwrap();
            // Her own does not come back.
            assert_eq!(text(&mut anna).await, "hello, Anna");
            told.publish("rooms/two", "to the other room").unwrap();
            assert_eq!(text(&mut carl).await, "to the other room");
            let mut dora = soon(connect(&format!("ws://{address}/one"))).await.unwrap();
            assert_eq!(
                (text(&mut dora).await, text(&mut dora).await),
                ("hello".into(), "hello, Anna".into())
            );
        })
        .await;
}
