//! Other tasks have their turns, whatever a peer sends.

use crate::scripted::{Manner, Script, Stream, frame, stream};
use crate::support::quiet;
use framewright_tokio::{Event, Negotiated, Role, WebSocket};
use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use tokio::task::{LocalSet, spawn_local};

/// A server whose peer has sent so many frames that one task could go on for long.
fn flooded(first: u8) -> (Script, WebSocket<Stream>) {
    let (script, stream) = stream(Manner::default());
    script.deliver(&frame(first, true, b"").repeat(100_000));
    (script, WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], quiet()))
}

/// How often another task runs while `flood` receives everything.
async fn turns_beside(mut socket: WebSocket<Stream>) -> (usize, usize) {
    let turns = Rc::new(Cell::new(0));
    LocalSet::new()
        .run_until(async {
            let other = Rc::clone(&turns);
            spawn_local(async move {
                loop {
                    other.set(other.get() + 1);
                    tokio::task::yield_now().await;
                }
            });
            let receiving = spawn_local(async move {
                let mut messages = 0;
                while messages + 1 < 100_000 {
                    match socket.recv_event().await.unwrap() {
                        Event::Message(_) | Event::Ping(_) => messages += 1,
                        event => panic!("{event:?}"),
                    }
                }
                messages
            });
            let messages = receiving.await.unwrap();
            (turns.get(), messages)
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_messages_or_pings_leaves_turns_to_other_tasks() {
    for first in [0x81, 0x89] {
        let (turns, messages) = turns_beside(flooded(first).1).await;
        assert_eq!(messages, 99_999);
        assert!(turns > 500, "{turns}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_poll_for_a_message_ends_though_only_pings_arrive() {
    let (script, mut socket) = flooded(0x89);
    // A task's budget counts: this test is one.
    let polled = std::future::poll_fn(|context| Poll::Ready(socket.poll_recv(context).is_pending())).await;
    assert!(polled);
    assert!(script.has_more(), "the rest is left for later polls");
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_is_received_by_recv_leaves_turns_too() {
    let (_script, mut socket) = flooded(0x81);
    LocalSet::new()
        .run_until(async {
            let turns = Rc::new(Cell::new(0));
            let other = Rc::clone(&turns);
            spawn_local(async move {
                loop {
                    other.set(other.get() + 1);
                    tokio::task::yield_now().await;
                }
            });
            let receiving = spawn_local(async move {
                for _ in 0..100_000 {
                    socket.recv().await.unwrap().unwrap();
                }
            });
            receiving.await.unwrap();
            assert!(turns.get() > 40, "{}", turns.get());
        })
        .await;
}
