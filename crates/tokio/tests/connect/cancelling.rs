//! A future that is dropped leaves nothing behind, wherever it was: the servers see the end of every
//! connection, and the next one to the address need not wait.

use crate::server::Server;
use crate::support::{CutAfter, at, at_rest, request};
use framewright_tokio::{ConnectOptions, connect_with};

/// Opens connections that are dropped after one poll, after two polls and so on, until one is open.
/// Returns how many were dropped.
async fn cut_everywhere(uri: &str, options: &ConnectOptions, servers: &[&Server]) -> usize {
    for polls in 0.. {
        let opened = CutAfter::new(polls, connect_with(request(uri), options)).await;
        let is_open = match opened {
            Some(result) => result.map(drop).is_ok(),
            None => false,
        };
        for server in servers {
            server.deserted().await;
        }
        if is_open {
            return polls;
        }
        // No time passes: it is not the timeouts that let this one through.
        connect_with(request(uri), options).await.unwrap();
    }
    unreachable!("one of them opens")
}

#[tokio::test]
async fn at_every_point_of_a_connection_over_tcp() {
    at_rest(async {
        let server = Server::accepting().await;
        let cut = cut_everywhere("ws://server.example/", &at(&[server.address]), &[&server]).await;
        assert!(cut >= 2, "{cut}");
    })
    .await;
}

#[tokio::test]
async fn while_a_name_is_resolved() {
    at_rest(async {
        let server = Server::accepting().await;
        let uri = format!("ws://localhost:{}/", server.address.port());
        let cut = cut_everywhere(&uri, &ConnectOptions::default(), &[&server]).await;
        assert!(cut >= 3, "{cut}");
    })
    .await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn at_every_point_of_tls_through_an_https_proxy() {
    use crate::certificates::{Authority, secured};
    use crate::server::{accept_on, proxy_to, read_to_end};
    use framewright_tokio::Proxy;

    at_rest(async {
        let authority = Authority::new("The Authority");
        let config = authority.issue(&["localhost"]).server();
        let server = secured(config.clone(), |mut stream| async move {
            accept_on(&mut stream).await?;
            read_to_end(&mut stream).await
        })
        .await;
        let beyond = server.address;
        let proxy = secured(config, move |stream| proxy_to(beyond, stream)).await;
        let url = format!("https://localhost:{}", proxy.address.port());
        let options = ConnectOptions {
            proxy: Some(Proxy::new(&url).unwrap()),
            tls: authority.trusted(),
            ..at(&[proxy.address])
        };
        let cut = cut_everywhere("wss://localhost/", &options, &[&server, &proxy]).await;
        assert!(cut >= 5, "{cut}");
    })
    .await;
}

#[tokio::test]
async fn while_it_waits_for_its_turn() {
    at_rest(async {
        let server = Server::silent().await;
        let options = at(&[server.address]);
        let opening = options.clone();
        let first = tokio::spawn(async move { connect_with(request("ws://a.example/"), &opening).await });
        server.accepted(1).await;
        let waiting = CutAfter::new(1, connect_with(request("ws://b.example/"), &options)).await;
        assert!(waiting.is_none());
        assert_eq!(server.count(), 1);
        first.abort();
        server.deserted().await;
        let next = tokio::spawn(async move { connect_with(request("ws://c.example/"), &options).await });
        server.accepted(2).await;
        next.abort();
    })
    .await;
}
