//! Deadlines by tokio's clock: while a task receives, and while an attendant does it instead.

use crate::support::{pair, quiet, soon};
use framewright_tokio::{Config, Error, Event, RecvError, Timeout};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn keep_alive_pings_leave_while_a_task_receives() {
    let config = Config { keep_alive_interval: Some(seconds(10)), ..Config::default() };
    let (mut client, mut server) = pair(1 << 16, config);
    let begun = Instant::now();
    tokio::spawn(async move { server.recv().await.is_none() });
    // The client sends Pings too.
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(matches!(soon(client.recv_event()).await, Some(Event::Ping(_))));
    }
    assert_eq!(events.iter().filter(|is_ping| **is_ping).count(), 2, "{events:?}");
    assert_eq!(begun.elapsed(), seconds(20));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_dropped_after_the_keep_alive_timeout() {
    let config = Config {
        keep_alive_interval: Some(seconds(10)),
        keep_alive_timeout: Some(seconds(5)),
        ..Config::default()
    };
    let (_client, mut server) = pair(1 << 16, config);
    let begun = Instant::now();
    let told = soon(server.recv()).await.unwrap().unwrap_err();
    assert_eq!(told, RecvError::Failed(Error::Timeout(Timeout::KeepAlive)));
    // The stream takes the Close frame, and the peer is given a second to end it.
    assert!((seconds(15)..=seconds(17)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attendant_sends_pings_while_nobody_receives() {
    let config = Config { keep_alive_interval: Some(seconds(10)), ..Config::default() };
    let (mut client, server) = pair(1 << 16, config);
    let attending = tokio::spawn(server.attendant());
    let begun = Instant::now();
    assert!(matches!(soon(client.recv_event()).await, Some(Event::Ping(_))));
    assert_eq!(begun.elapsed(), seconds(10));
    drop(server);
    soon(attending).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attendant_spares_a_peer_that_has_sent_something_and_drops_a_silent_one() {
    let config =
        Config { keep_alive_interval: Some(seconds(10)), keep_alive_timeout: Some(seconds(5)), ..quiet() };
    let (mut client, mut server) = pair(1 << 16, config.clone());
    client.send_text("early").await.unwrap();
    let attending = tokio::spawn(server.attendant());
    sleep(seconds(60)).await;
    assert!(server.is_open(), "bytes of the peer wait for the application");
    assert!(!attending.is_finished());
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_bytes(), b"early");

    let (_silent, server) = pair(1 << 16, config);
    let attending = tokio::spawn(server.attendant());
    sleep(seconds(16)).await;
    assert_eq!(server.closure().unwrap().cause, Some(Error::Timeout(Timeout::KeepAlive)));
    assert!(attending.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up_after_the_write_timeout() {
    let config = Config { write_timeout: Some(seconds(30)), ..quiet() };
    let (_client, mut server) = pair(100, config);
    let begun = Instant::now();
    assert!(soon(server.send_binary(&[0; 5000])).await.is_err());
    assert_eq!(begun.elapsed(), seconds(30));
    assert!(soon(server.recv()).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_a_close_has_the_close_timeout() {
    let config = Config { close_timeout: seconds(5), ..quiet() };
    let (_client, mut server) = pair(1 << 16, config);
    let begun = Instant::now();
    let closure = soon(server.close(None, "")).await.unwrap();
    assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Close)));
    assert_eq!(begun.elapsed(), seconds(5));
}

#[tokio::test(start_paused = true)]
async fn an_idle_peer_is_dropped_but_not_for_the_time_in_which_the_application_was_away() {
    let config = Config { idle_timeout: Some(seconds(20)), ..quiet() };
    let (_client, mut server) = pair(1 << 16, config);
    sleep(seconds(100)).await;
    let begun = Instant::now();
    let told = soon(server.recv()).await.unwrap().unwrap_err();
    assert_eq!(told, RecvError::Failed(Error::Timeout(Timeout::Idle)));
    assert!(begun.elapsed() >= seconds(20), "{:?}", begun.elapsed());
}
