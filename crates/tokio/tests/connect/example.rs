//! The example, against a server that is not always there.

#[allow(dead_code, reason = "its main function belongs to the program")]
#[path = "../../examples/tokio_feed.rs"]
mod feed;

use crate::server::{Server, accept_on, end_after_close, read_head};
use crate::support::soon;
use framewright_tokio::Backoff;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn the_feed_goes_on_after_it_was_lost_and_ends_with_1000() {
    let at = Arc::new(AtomicUsize::new(0));
    let server = Server::playing(move |mut stream| {
        let turn = at.fetch_add(1, Ordering::SeqCst);
        async move {
            match turn {
                0 => {
                    accept_on(&mut stream).await?;
                    stream.write_all(b"\x81\x03one").await
                }
                1 => {
                    read_head(&mut stream).await?;
                    stream.write_all(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n").await
                }
                _ => {
                    accept_on(&mut stream).await?;
                    stream.write_all(b"\x81\x03two\x88\x02\x03\xe8").await?;
                    end_after_close(&mut stream).await
                }
            }
        }
    })
    .await;
    let uri = format!("ws://{}/feed", server.address);
    let mut lines = Vec::new();
    let at_once = Backoff::new().with_cap(Duration::ZERO);
    soon(feed::follow(&uri, at_once, |line| lines.push(line.to_owned()))).await.unwrap();
    assert_eq!((lines, server.count()), (vec!["one".to_owned(), "two".to_owned()], 3));
}

#[tokio::test]
async fn the_feed_ends_where_another_attempt_is_of_no_use() {
    let server = Server::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let uri = format!("ws://{}/feed", server.address);
    let error = soon(feed::follow(&uri, Backoff::new(), |_| {})).await.unwrap_err();
    assert_eq!(error.to_string(), "the server answered with 404 (HTTP/1.1)");
    assert_eq!(server.count(), 1);
}
