//! TLS with servers and with proxies.

use crate::certificates::{Authority, secured};
use crate::server::{accept_on, proxy_to, read_to_end};
use crate::support::{at, request, soon};
use framewright_tokio::{
    AcceptOptions, ConnectOptions, Connected, Message, Proxy, accept, client_over, connect_with,
};
use tokio::io::duplex;
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
