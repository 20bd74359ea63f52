//! The errors of TLS are those of the other clients, word for word.

use crate::certificates::{Authority, secured};
use crate::server::{Server, accept_on, proxy_to, read_to_end};
use crate::support::{at, request, soon};
use framewright_tokio::{ClientTls, ConnectError, ConnectOptions, Proxy, TlsError, connect_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The error of this client, after it was compared with the one of the blocking client.
async fn error_of_both(uri: &'static str, options: ConnectOptions) -> ConnectError {
    let ours = soon(connect_with(request(uri), &options)).await.expect_err("an error");
    let theirs = tokio::task::spawn_blocking(move || {
        let ConnectOptions { proxy, tls, addresses, .. } = options;
        let options = framewright_client::Options { proxy, tls, addresses, ..Default::default() };
        framewright_client::blocking::Client::connect_with(request(uri), &options).expect_err("an error")
    });
    let theirs = soon(theirs).await.expect("no panic");
    // The clock goes on.
    let timeless = |said: String| said.split_once("; it is 20").map_or(said.clone(), |it| it.0.to_owned());
    assert_eq!(timeless(ours.to_string()), timeless(theirs.to_string()));
    assert_eq!(ours.is_permanent(), theirs.is_permanent(), "{ours}");
    let kind = |error: &ConnectError| {
        let said = format!("{error:?}");
        said.split(|character: char| !character.is_alphanumeric()).take(3).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kind(&ours), kind(&theirs));
    ours
}

fn trusting(tls: ClientTls, server: &Server) -> ConnectOptions {
    ConnectOptions { tls, ..at(&[server.address]) }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# If this fails (e.g., the server's
//# certificate could not be verified), then the client MUST _Fail
//# the WebSocket Connection_ and abort the connection.
#[tokio::test]
async fn certificates_that_are_not_accepted() {
    let [authority, other] = ["The Authority", "Another One"].map(Authority::new);
    let expired = authority.issue_with(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2024, 2, 29);
    });
    let tls = authority.trusted();
    for (identity, said) in [
        (expired, "TLS: the server's certificate (localhost) expired on 2024-02-29 00:00:00 UTC; it is 20"),
        (
            other.issue(&["localhost"]),
            "TLS: the server's certificate (localhost) is issued by Another One, which this client does not trust",
        ),
        (
            authority.issue(&["other.example"]),
            "TLS: the server's certificate (other.example) is not for localhost, but for other.example",
        ),
    ] {
        let server = secured(identity.server(), |_| async { Ok(()) }).await;
        let error = error_of_both("wss://localhost/", trusting(tls.clone(), &server)).await;
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(matches!(error, ConnectError::Tls(TlsError::Certificate(_))), "{error:?}");
    }
}

#[tokio::test]
async fn servers_that_want_something_else() {
    let authority = Authority::new("The Authority");
    let identity = authority.issue(&["localhost"]);
    let tls = authority.trusted();
    for old in [false, true] {
        let config = identity.server_with(Some(&authority), old, b"http/1.1");
        let server = secured(config, |_| async { Ok(()) }).await;
        let error = error_of_both("wss://localhost/", trusting(tls.clone(), &server)).await;
        assert!(matches!(error, ConnectError::Tls(TlsError::Alert(_))), "{error:?}");
    }
    let server = secured(identity.server_with(None, false, b"h2"), |_| async { Ok(()) }).await;
    let error = error_of_both("wss://localhost/", trusting(tls.clone(), &server)).await;
    assert!(matches!(error, ConnectError::Tls(TlsError::Alert(_))), "{error:?}");
    let error = error_of_both("wss://localhost/", trusting(ClientTls::of_the_stream(), &server)).await;
    assert!(matches!(error, ConnectError::TlsNotSupported), "{error:?}");
}

#[tokio::test]
async fn servers_that_do_not_speak_tls() {
    let tls = Authority::new("The Authority").trusted();
    for (answer, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", Some(true)),
        ("220 mail.example ready\r\n", Some(false)),
        ("", None),
        // The beginning of a record.
        ("\x16\x03\x03\x01", None),
    ] {
        let server = Server::playing(move |mut stream| async move {
            let mut hello = [0; 16];
            stream.read_exact(&mut hello).await?;
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            read_to_end(&mut stream).await
        })
        .await;
        match (error_of_both("wss://localhost/", trusting(tls.clone(), &server)).await, expected) {
            (ConnectError::Tls(TlsError::NotTls { is_http }), Some(expected)) if is_http == expected => {}
            (ConnectError::Tls(TlsError::NotBegun), None) => {}
            (error, _) => panic!("{answer:?}: {error:?}"),
        }
    }
}

/// A proxy is named, whichever of the two sessions it is that fails.
#[tokio::test]
async fn proxies_and_servers_behind_them() {
    let [inner, outer] = ["The Authority", "The Proxy's"].map(Authority::new);
    let server = secured(inner.issue(&["server.invalid"]).server(), |mut stream| async move {
        accept_on(&mut stream).await?;
        read_to_end(&mut stream).await
    })
    .await;
    let beyond = server.address;
    let proxy = secured(outer.issue(&["localhost"]).server(), move |stream| proxy_to(beyond, stream)).await;
    let url = format!("https://localhost:{}", proxy.address.port());
    let with = |trusted_proxy: &Authority, trusted_server: &Authority| ConnectOptions {
        proxy: Some(Proxy::new(&url).unwrap().with_tls(trusted_proxy.trusted())),
        ..trusting(trusted_server.trusted(), &proxy)
    };
    let error = error_of_both("wss://server.invalid/", with(&inner, &inner)).await;
    assert!(
        error.to_string().starts_with("TLS: the proxy's certificate (localhost) is issued by"),
        "{error}"
    );
    let error = error_of_both("wss://server.invalid/", with(&outer, &outer)).await;
    assert!(
        error.to_string().starts_with("TLS: the server's certificate (server.invalid) is issued by"),
        "{error}"
    );
}

/// The session with the proxy fails within the handshake with the server.
#[tokio::test]
async fn proxies_that_cut_the_tunnel() {
    let authority = Authority::new("The Authority");
    let proxy = secured(authority.issue(&["localhost"]).server(), |mut stream| async move {
        crate::server::read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        stream.flush().await?;
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).await?;
        let (mut below, _) = stream.into_inner();
        below.shutdown().await?;
        read_to_end(&mut below).await
    })
    .await;
    let url = format!("https://localhost:{}", proxy.address.port());
    let options =
        ConnectOptions { proxy: Some(Proxy::new(&url).unwrap()), ..trusting(authority.trusted(), &proxy) };
    let ConnectError::Proxy(error) = error_of_both("wss://server.invalid/", options).await else {
        panic!("it is the proxy's fault")
    };
    assert!(matches!(*error, ConnectError::Tls(TlsError::Truncated)), "{error:?}");
}

/// A record that is cut is told as that, and so is a refusal without an end.
#[tokio::test]
async fn sessions_that_are_cut() {
    let authority = Authority::new("The Authority");
    let server = secured(authority.issue(&["localhost"]).server(), |mut stream| async move {
        crate::server::read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 101 Swit").await?;
        stream.flush().await?;
        // The end of TCP, and not of TLS.
        stream.get_mut().0.shutdown().await?;
        read_to_end(&mut stream.into_inner().0).await
    })
    .await;
    let error = error_of_both("wss://localhost/", trusting(authority.trusted(), &server)).await;
    assert!(matches!(error, ConnectError::Tls(TlsError::Truncated)), "{error:?}");
}
