//! Connecting over TCP: answers, redirects, addresses, the gate.

use crate::server::{Nobody, Server, accept, end_after_close, read_head, read_to_end};
use crate::support::{at, request, settle, soon};
use framewright_tokio::{ConnectError, ConnectOptions, Connected, Message, connect, connect_with};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn a_uri_is_all_that_is_needed_and_what_comes_behind_the_answer_is_received() {
    let server = Server::playing(|mut stream| async move {
        let head = read_head(&mut stream).await?;
        assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\nHost: localhost:"), "{head}");
        let mut answer = accept(&head).into_bytes();
        answer.extend_from_slice(b"\x81\x05Hello\x88\x02\x03\xe8");
        stream.write_all(&answer).await?;
        end_after_close(&mut stream).await
    })
    .await;
    let uri = format!("ws://localhost:{}/chat?room=1", server.address.port());
    let mut socket = soon(connect(&uri)).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::Text("Hello"));
    assert!(soon(socket.recv()).await.is_none());
    assert!(socket.closure().unwrap().clean);
    soon(server.deserted()).await;
}

#[tokio::test]
async fn what_is_no_websocket_uri_is_refused_before_anything_is_done() {
    let error = connect("http://localhost/").await.unwrap_err();
    assert!(matches!(error, ConnectError::Uri(_)) && error.is_permanent(), "{error}");
}

#[tokio::test]
async fn the_answer_and_the_last_uri_are_returned_after_redirects() {
    let target = Server::accepting().await;
    let uri = format!("ws://localhost:{}/there", target.address.port());
    let location: &'static str = format!("HTTP/1.1 302 Found\r\nLocation: {uri}\r\n\r\n").leak();
    let server = Server::answering(location).await;
    let from = format!("ws://{}/here", server.address);
    let options = ConnectOptions { redirects: 1, ..ConnectOptions::default() };
    let Connected { websocket, response, uri: to, .. } =
        soon(connect_with(request(&from), &options)).await.unwrap();
    assert_eq!((response.status(), to.to_string()), (101, uri));
    assert!(websocket.is_open());
    let options = ConnectOptions { redirects: 0, ..options };
    let Err(ConnectError::Refused(response)) = soon(connect_with(request(&from), &options)).await else {
        panic!("it is not followed")
    };
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn a_refusal_comes_with_its_fields_and_its_body() {
    let server = Server::answering(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nwho\r\n1\r\n?\r\n0\r\n\r\n",
    )
    .await;
    let result = soon(connect(&format!("ws://{}/", server.address))).await;
    let Err(ConnectError::Refused(response)) = result else { panic!("{result:?}") };
    assert_eq!((response.status(), response.body()), (401, &b"who?"[..]));
    assert_eq!(response.field("WWW-Authenticate"), Some(&b"Basic"[..]));
    assert!(!response.is_truncated());
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn options_offer_compression_where_the_request_offers_none() {
    let server = Server::playing(|mut stream| async move {
        let head = crate::server::accept_on(&mut stream).await?;
        let offers = crate::server::field(&head, "Sec-WebSocket-Extensions").unwrap_or("none").to_owned();
        let mut frame = vec![0x81, 126];
        frame.extend_from_slice(&u16::try_from(offers.len()).expect("short").to_be_bytes());
        stream.write_all(&[&frame, offers.as_bytes()].concat()).await?;
        read_to_end(&mut stream).await
    })
    .await;
    let connected = soon(connect_with(request("ws://server.example/"), &at(&[server.address]))).await;
    let mut socket = connected.unwrap().websocket;
    assert_eq!(
        soon(socket.recv()).await.unwrap().unwrap(),
        Message::Text(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits, \
             permessage-deflate; client_no_context_takeover; client_max_window_bits"
        )
    );
}

#[tokio::test]
async fn every_address_that_refuses_is_told() {
    let nobody = [Nobody::new(), Nobody::new()];
    let addresses = nobody.each_ref().map(|it| it.address);
    let result = soon(connect_with(request("ws://server.example/"), &at(&addresses))).await;
    let Err(ConnectError::Connect(failures)) = result else { panic!("{result:?}") };
    assert_eq!(failures.iter().map(|(address, _)| *address).collect::<Vec<_>>(), addresses);
    assert!(failures.iter().all(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused));
    let result = soon(connect_with(request("ws://server.example/"), &at(&[]))).await;
    assert!(matches!(result, Err(ConnectError::NoAddress)), "{result:?}");
}

/// No time passes: the next attempt does not wait for the delay of RFC 8305.
#[tokio::test]
async fn where_ipv6_is_dead_ipv4_is_tried_at_once() {
    let server = Server::accepting().await;
    let dead = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), server.address.port());
    // On a machine without IPv6 nobody can have it.
    let _nobody = Nobody::at(dead);
    crate::support::at_rest(async {
        let options = at(&[dead, server.address]);
        connect_with(request("ws://server.example/"), &options).await.unwrap();
    })
    .await;
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# There MUST be no more than one connection in a
//# CONNECTING state.  If multiple connections to the same IP address
//# are attempted simultaneously, the client MUST serialize them so
//# that there is no more than one connection at a time running
//# through the following steps.
#[tokio::test]
async fn connections_to_one_address_are_opened_one_after_the_other_by_all_clients_of_the_process() {
    let (go_on, told) = tokio::sync::watch::channel(false);
    let server = Server::playing(move |mut stream| {
        let mut told = told.clone();
        async move {
            let head = read_head(&mut stream).await?;
            told.wait_for(|told| *told).await.expect("the test runs");
            stream.write_all(accept(&head).as_bytes()).await?;
            read_to_end(&mut stream).await
        }
    })
    .await;
    let address = server.address;
    let blocking = tokio::task::spawn_blocking(move || {
        let options = framewright_client::Options { addresses: Some(vec![address]), ..Default::default() };
        let request = request("ws://server.example/");
        framewright_client::blocking::Client::connect_with(request, &options).map(drop)
    });
    soon(server.accepted(1)).await;
    let options = at(&[address]);
    let open = |one_at_a_time| {
        let options = ConnectOptions { one_at_a_time, ..options.clone() };
        tokio::spawn(async move { connect_with(request("ws://alias.example/"), &options).await })
    };
    let (second, third, past) = (open(true), open(true), open(false));
    soon(server.accepted(2)).await;
    settle().await;
    assert_eq!(server.count(), 2, "the first, and the one that does not queue");
    go_on.send(true).expect("the server runs");
    soon(blocking).await.unwrap().unwrap();
    for opened in [second, third, past] {
        soon(opened).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_future_may_go_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let options = ConnectOptions::default();
    is_send(&connect_with(request("wss://localhost/"), &options));
    is_send(&connect("wss://localhost/"));
}

/// What is the same has the same defaults.
#[cfg(feature = "deflate")]
#[test]
fn the_defaults_are_those_of_the_other_clients() {
    use framewright_driver::opening::Settings;

    let (ours, theirs) = (ConnectOptions::default(), framewright_client::Options::default());
    let shown = |settings: Settings| format!("{settings:?}");
    assert_eq!(shown((&ours).into()), shown((&theirs).into()));
    assert_eq!(format!("{:?}", ours.connection), format!("{:?}", theirs.connection));
}
