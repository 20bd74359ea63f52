//! Each deadline, by tokio's clock, which stands still meanwhile.

#[cfg(target_os = "linux")]
use crate::server::BlackHole;
use crate::server::Server;
use crate::support::{at, at_rest, request, settle};
use framewright_tokio::{
    ConnectError, ConnectOptions, Connected, MaybeTls, Proxy, client_over, connect_with,
};
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::task::JoinHandle;
use tokio::time::advance;

type Opening = JoinHandle<Result<Connected<MaybeTls>, ConnectError>>;

fn open(options: ConnectOptions) -> Opening {
    tokio::spawn(async move { connect_with(request("ws://server.example/"), &options).await })
}

/// Asserts that the opening ends when `deadline` has passed and not a millisecond before. tokio's
/// timers are a millisecond late at the most.
async fn ends_after(opening: Opening, deadline: Duration) -> ConnectError {
    settle().await;
    advance(deadline - Duration::from_millis(1)).await;
    settle().await;
    assert!(!opening.is_finished());
    advance(Duration::from_millis(2)).await;
    opening.await.expect("no panic").expect_err("an error")
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_at_the_handshake_timeout() {
    at_rest(async {
        let server = Server::silent().await;
        let opening =
            open(ConnectOptions { handshake_timeout: Duration::from_secs(5), ..at(&[server.address]) });
        server.accepted(1).await;
        let error = ends_after(opening, Duration::from_secs(5)).await;
        assert!(matches!(error, ConnectError::HandshakeTimeout), "{error}");
        assert_eq!(error.to_string(), "the opening handshake took too long (the option handshake_timeout)");
        server.deserted().await;
    })
    .await;
}

/// The clock goes on by itself while everybody waits.
#[tokio::test(start_paused = true)]
async fn neither_silence_nor_a_byte_now_and_then_extends_the_handshake_timeout() {
    let (ours, mut theirs) = duplex(4096);
    let slow = tokio::spawn(async move {
        theirs.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await.unwrap();
        while theirs.write_all(b"X-Padding: 1\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let start = tokio::time::Instant::now();
    let error = client_over(ours, request("ws://localhost/"), &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::HandshakeTimeout), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    slow.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_part_of_a_refusal_that_has_arrived_is_returned_at_the_handshake_timeout() {
    let (ours, mut theirs) = duplex(4096);
    theirs.write_all(b"HTTP/1.1 503 Later\r\nContent-Length: 9\r\n\r\nlat").await.unwrap();
    let result = client_over(ours, request("ws://localhost/"), &ConnectOptions::default()).await;
    let Err(ConnectError::Refused(response)) = result else { panic!("{result:?}") };
    assert_eq!((response.body(), response.is_truncated()), (&b"lat"[..], true));
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_is_left_at_the_handshake_timeout() {
    at_rest(async {
        let proxy = Server::silent().await;
        let proxy_url = format!("http://{}", proxy.address);
        let opening = open(ConnectOptions {
            proxy: Some(Proxy::new(&proxy_url).unwrap()),
            ..ConnectOptions::default()
        });
        proxy.accepted(1).await;
        let error = ends_after(opening, Duration::from_secs(10)).await;
        assert!(matches!(error, ConnectError::HandshakeTimeout), "{error}");
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_where_nobody_is_is_left_at_the_connect_timeout() {
    at_rest(async {
        let hole = BlackHole::new();
        let opening = open(ConnectOptions { connect_timeout: Duration::from_secs(2), ..at(&[hole.address]) });
        let error = ends_after(opening, Duration::from_secs(2)).await;
        assert!(matches!(error, ConnectError::ConnectTimeout), "{error}");
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn behind_a_black_hole_the_next_address_is_tried_after_a_quarter_of_a_second() {
    at_rest(async {
        let hole = BlackHole::new();
        let server = Server::accepting().await;
        let opening = open(at(&[hole.address, server.address]));
        settle().await;
        advance(Duration::from_millis(249)).await;
        settle().await;
        assert_eq!(server.count(), 0);
        advance(Duration::from_millis(2)).await;
        opening.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn waiting_for_others_has_a_timeout_of_its_own_and_does_not_count_as_connecting() {
    at_rest(async {
        let server = Server::silent().await;
        let long = Duration::from_secs(3600);
        let first = open(ConnectOptions { handshake_timeout: long, ..at(&[server.address]) });
        server.accepted(1).await;
        let second = open(at(&[server.address]));
        let third = open(ConnectOptions { turn_timeout: long, ..at(&[server.address]) });
        let error = ends_after(second, Duration::from_secs(120)).await;
        assert!(matches!(error, ConnectError::TurnTimeout), "{error}");
        assert_eq!(server.count(), 1);
        first.abort();
        // Two minutes have passed, and it has its 30 s to connect.
        server.accepted(2).await;
        third.abort();
        server.deserted().await;
    })
    .await;
}
