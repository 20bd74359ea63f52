//! TLS with servers and with proxies.

use crate::certificates::{Authority, secured};
use crate::server::{accept_on, proxy_to, read_head, read_to_end};
use crate::support::{at, request, soon};
use framewright_tokio::rustls::AlertDescription;
use framewright_tokio::{
    AcceptOptions, ConnectError, ConnectOptions, Connected, Message, Proxy, TlsError, accept, client_over,
    connect_with,
};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};
use tokio_rustls::TlsAcceptor;

#[tokio::test]
async fn messages_go_through_tls_and_both_ends_know_what_was_agreed_on() {
    let authority = Authority::new("The Authority");
    let server = secured(authority.issue(&["localhost"]).server(), |stream| async move {
        let mut socket = accept(stream, &AcceptOptions::default()).await.expect("a handshake");
        let (receiver, sender) = socket.parts();
        while let Some(Ok(message)) = receiver.recv().await {
            sender.feed(message).await.expect("an open connection");
        }
        assert!(socket.closure().expect("its end").clean);
        Ok(())
    })
    .await;
    let options = ConnectOptions { tls: authority.trusted(), ..at(&[server.address]) };
    let mut resumed = Vec::new();
    for _ in 0..2 {
        let connected = soon(connect_with(request("wss://localhost/"), &options)).await.unwrap();
        let info = connected.tls().unwrap();
        assert_eq!(info.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(info.peer_certificates.len(), 1);
        resumed.push(info.resumed);
        let mut socket = connected.websocket;
        // More than a socket takes at once.
        let long = vec![7; 4 << 20];
        soon(socket.send(Message::Binary(&long))).await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::Binary(&long));
        assert!(soon(socket.close(None, "")).await.unwrap().clean);
    }
    assert_eq!(resumed, [false, true]);
    soon(server.deserted()).await;
}

#[tokio::test]
async fn tls_through_an_https_proxy_is_tls_in_tls() {
    let [inner, outer] = ["The Authority", "The Proxy's"].map(Authority::new);
    let server = secured(inner.issue(&["server.invalid"]).server(), |mut stream| async move {
        accept_on(&mut stream).await?;
        read_to_end(&mut stream).await
    })
    .await;
    let beyond = server.address;
    let proxy = secured(outer.issue(&["localhost"]).server(), move |stream| proxy_to(beyond, stream)).await;
    let url = format!("https://localhost:{}", proxy.address.port());
    let through = Proxy::new(&url).unwrap().with_tls(outer.trusted());
    let options = ConnectOptions { proxy: Some(through), tls: inner.trusted(), ..at(&[proxy.address]) };
    let connected = soon(connect_with(request("wss://server.invalid/"), &options)).await.unwrap();
    assert!(connected.tls().is_some());
    drop(connected);
    soon(server.deserted()).await;
    soon(proxy.deserted()).await;
}

#[tokio::test]
async fn tls_runs_over_a_stream_in_memory() {
    let authority = Authority::new("The Authority");
    let config = authority.issue(&["localhost"]).server();
    // Less than a record at a time.
    let (ours, theirs) = duplex(100);
    let serving = tokio::spawn(async move {
        let stream = TlsAcceptor::from(config).accept(theirs).await.unwrap();
        let mut socket = accept(stream, &AcceptOptions::default()).await.unwrap();
        socket.send_text("hello").await.unwrap();
        socket.recv().await.is_none()
    });
    let options = ConnectOptions { tls: authority.trusted(), ..ConnectOptions::default() };
    let Connected { websocket: mut socket, .. } =
        soon(client_over(ours, request("wss://localhost/"), &options)).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::Text("hello"));
    assert!(soon(socket.close(None, "")).await.unwrap().clean);
    assert!(soon(serving).await.unwrap());
}

/// A stream that takes nothing, and has said something before.
struct Deaf(&'static [u8]);

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        target.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_the_server_has_said_before_a_write_fails_is_the_reason() {
    let tls = Authority::new("The Authority").trusted();
    let options = ConnectOptions { tls, ..ConnectOptions::default() };
    let open = async |said| {
        soon(client_over(Deaf(said), request("wss://localhost/"), &options)).await.expect_err("an error")
    };
    // handshake_failure, in plain text as before any key.
    let error = open(&[21, 3, 3, 0, 2, 2, 40]).await;
    assert!(
        matches!(error, ConnectError::Tls(TlsError::Alert(AlertDescription::HandshakeFailure))),
        "{error:?}"
    );
    let error = open(&[]).await;
    assert!(matches!(error, ConnectError::Tls(TlsError::NotBegun)), "{error:?}");
}

#[tokio::test]
async fn an_opening_that_is_given_up_ends_its_tls() {
    let authority = Authority::new("The Authority");
    let (asked, heard) = tokio::sync::mpsc::unbounded_channel();
    let server = secured(authority.issue(&["localhost"]).server(), move |mut stream| {
        let asked = asked.clone();
        async move {
            read_head(&mut stream).await?;
            asked.send(None).expect("the test runs");
            asked.send(Some(read_to_end(&mut stream).await)).expect("the test runs");
            Ok(())
        }
    })
    .await;
    let mut heard = heard;
    let options = ConnectOptions { tls: authority.trusted(), ..at(&[server.address]) };
    let opening = tokio::spawn(async move { connect_with(request("wss://localhost/"), &options).await });
    assert!(soon(heard.recv()).await.unwrap().is_none());
    opening.abort();
    // Without close_notify it would be an error.
    soon(heard.recv()).await.unwrap().unwrap().unwrap();
}
