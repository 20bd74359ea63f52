//! Over a stream that leads to the server already.

use crate::server::{accept_on, read_to_end};
use crate::support::{CutAfter, request, soon};
use framewright_tokio::{ClientTls, ConnectError, ConnectOptions, Connected, Message, accept, client_over};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream, duplex};

#[tokio::test]
async fn both_ends_of_a_stream_in_memory_become_a_connection() {
    // One byte at a time: every step waits.
    let (ours, theirs) = duplex(1);
    let serving = tokio::spawn(async move {
        let mut socket = accept(theirs, &Default::default()).await.unwrap();
        socket.send_text("hello").await.unwrap();
        socket.recv().await.is_none()
    });
    let Connected { websocket: mut socket, response, uri, .. } =
        soon(client_over(ours, request("ws://localhost/x"), &ConnectOptions::default())).await.unwrap();
    assert_eq!((response.status(), &*uri.resource_name()), (101, "/x"));
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::Text("hello"));
    assert!(soon(socket.close(None, "")).await.unwrap().clean);
    assert!(soon(serving).await.unwrap());
}

#[tokio::test]
async fn a_stream_that_keeps_what_is_written_is_flushed() {
    let (ours, mut theirs) = duplex(4096);
    let serving = tokio::spawn(async move { accept_on(&mut theirs).await.map(|_| theirs) });
    soon(client_over(BufStream::new(ours), request("ws://localhost/"), &ConnectOptions::default()))
        .await
        .unwrap();
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_proxy_asked() {
    let (ours, mut theirs) = duplex(4096);
    theirs.write_all(b"HTTP/1.1 302 Found\r\nLocation: ws://other.example/\r\n\r\n").await.unwrap();
    theirs.shutdown().await.unwrap();
    let proxy = Some("http://proxy.invalid:1").map(|url| framewright_tokio::Proxy::new(url).unwrap());
    let options = ConnectOptions { redirects: 9, proxy, ..ConnectOptions::default() };
    let result = soon(client_over(ours, request("ws://localhost/"), &options)).await;
    let Err(ConnectError::Refused(response)) = result else { panic!("{result:?}") };
    assert_eq!(response.status(), 302);
    let mut asked = String::new();
    theirs.read_to_string(&mut asked).await.unwrap();
    assert!(asked.starts_with("GET / HTTP/1.1\r\nHost: localhost\r\n"), "{asked}");
}

#[tokio::test]
async fn a_stream_may_do_tls_itself() {
    let (ours, mut theirs) = duplex(4096);
    let serving = tokio::spawn(async move { accept_on(&mut theirs).await.map(|_| theirs) });
    let options = ConnectOptions { tls: ClientTls::of_the_stream(), ..ConnectOptions::default() };
    soon(client_over(ours, request("wss://localhost/"), &options)).await.unwrap();
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_future_that_is_dropped_at_any_point_drops_the_stream() {
    let options = ConnectOptions::default();
    for polls in 0.. {
        let (ours, mut theirs) = duplex(3);
        let serving = tokio::spawn(async move {
            accept_on(&mut theirs).await?;
            read_to_end(&mut theirs).await
        });
        let opening = CutAfter::new(polls, client_over(ours, request("ws://localhost/"), &options));
        let opened = soon(opening).await;
        let is_open = opened.is_some();
        drop(opened);
        // Before the request is whole, the server sees an early end.
        let _ = soon(serving).await.unwrap();
        if is_open {
            assert!(polls > 40, "some bytes at a time: {polls}");
            return;
        }
    }
}
