//! Connections through an HTTP proxy.

use crate::server::{Nobody, Server, field, proxy_to, read_head};
use crate::support::{request, soon};
use framewright_tokio::{ConnectError, ConnectOptions, Proxy, connect_with};
use std::sync::{Arc, Mutex};

fn through(url: &str) -> ConnectOptions {
    ConnectOptions { proxy: Some(Proxy::new(url).unwrap()), ..ConnectOptions::default() }
}

#[tokio::test]
async fn a_proxy_gets_its_credentials_and_the_name_and_the_server_neither() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&heads);
    let proxy = Server::playing(move |mut stream| {
        let heard = Arc::clone(&heard);
        async move {
            let asked = read_head(&mut stream).await?;
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await?;
            let head = crate::server::accept_on(&mut stream).await?;
            *heard.lock().unwrap() = vec![asked, head];
            crate::server::read_to_end(&mut stream).await
        }
    })
    .await;
    let options = through(&format!("http://user:pass%20word@{}", proxy.address));
    soon(connect_with(request("ws://no-such-host.invalid/"), &options)).await.unwrap();
    let heads = heads.lock().unwrap();
    let [asked, head] = &heads[..] else { panic!("{heads:?}") };
    assert!(asked.starts_with("CONNECT no-such-host.invalid:80 HTTP/1.1\r\n"), "{asked}");
    assert_eq!(field(asked, "Proxy-Authorization"), Some("Basic dXNlcjpwYXNzIHdvcmQ="));
    assert!(head.starts_with("GET / HTTP/1.1\r\nHost: no-such-host.invalid\r\n"), "{head}");
    assert_eq!(field(head, "Proxy-Authorization"), None);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_not_there_is_named() {
    let proxy = Server::answering("HTTP/1.1 407 Authenticate\r\nContent-Length: 2\r\n\r\nno").await;
    let options = through(&format!("http://{}", proxy.address));
    let result = soon(connect_with(request("ws://server.invalid/"), &options)).await;
    let Err(ConnectError::ProxyRefused(response)) = result else { panic!("{result:?}") };
    assert_eq!((response.status(), response.body()), (407, &b"no"[..]));
    let nobody = Nobody::new();
    let options = through(&format!("http://{}", nobody.address));
    let result = soon(connect_with(request("ws://server.invalid/"), &options)).await;
    let Err(ConnectError::Proxy(error)) = result else { panic!("{result:?}") };
    assert!(matches!(*error, ConnectError::Connect(_)), "{error}");
}

#[tokio::test]
async fn a_redirect_goes_through_the_proxy_again() {
    let target = Server::accepting().await;
    let server = Server::answering("HTTP/1.1 302 Found\r\nLocation: ws://other.invalid:8080/\r\n\r\n").await;
    let beyond = [server.address, target.address];
    let asked = Arc::new(Mutex::new(Vec::new()));
    let tunnels = Arc::clone(&asked);
    let proxy = Server::playing(move |mut stream| {
        let tunnels = Arc::clone(&tunnels);
        async move {
            let mut line = [0; 64];
            let count = stream.peek(&mut line).await?;
            let line = String::from_utf8_lossy(&line[..count]).into_owned();
            let host = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let target = {
                let mut tunnels = tunnels.lock().unwrap();
                tunnels.push(host);
                beyond[tunnels.len() - 1]
            };
            proxy_to(target, &mut stream).await
        }
    })
    .await;
    let options = ConnectOptions { redirects: 1, ..through(&format!("http://{}", proxy.address)) };
    let connected = soon(connect_with(request("ws://server.invalid/"), &options)).await.unwrap();
    assert_eq!(connected.uri.to_string(), "ws://other.invalid:8080/");
    assert_eq!(*asked.lock().unwrap(), ["server.invalid:80", "other.invalid:8080"]);
}
