//! The opening handshake of a server.

use crate::support::soon;
use framewright_tokio::{
    Accept, AcceptError, AcceptOptions, AllowedOrigins, FieldName, FieldValue, Incoming, Message, Refusal,
    Response, StatusCode, accept, accept_with,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: chat, news\r\nOrigin: https://example.com\r\n\r\n";

async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_handshake_is_accepted_however_it_is_cut_and_frames_behind_it_are_kept() {
    let frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let octets = [REQUEST.as_bytes(), &frame].concat();
    for cut in 0..octets.len() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let options =
            AcceptOptions { subprotocols: vec!["news".into(), "chat".into()], ..AcceptOptions::default() };
        let accepting = tokio::spawn(async move { accept(server, &options).await });
        client.write_all(&octets[..cut]).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(&octets[cut..]).await.unwrap();
        let mut socket = soon(accepting).await.unwrap().unwrap();
        let answer = head(&mut client).await;
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert_eq!(socket.subprotocol().as_deref(), Some("news"), "the server's order counts");
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::Text("Hello"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_answered_and_says_why() {
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let origin = AllowedOrigins::new(["https://other.example"]).unwrap();
    let cases = [
        (REQUEST.replace("13", "8"), "HTTP/1.1 426 ", AcceptError::Refused(Refusal::UnsupportedVersion)),
        (REQUEST.into(), "HTTP/1.1 403 ", AcceptError::Refused(Refusal::OriginNotAllowed)),
        (plain.into(), "HTTP/1.1 426 ", AcceptError::NotWebSocket),
        ("GET /\r\n\r\n".into(), "HTTP/1.1 400 ", AcceptError::Refused(Refusal::InvalidTarget)),
    ];
    for (request, status, error) in cases {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(request.as_bytes()).await.unwrap();
        let options = AcceptOptions { allowed_origins: origin.clone(), ..AcceptOptions::default() };
        let accepting = tokio::spawn(async move { accept(server, &options).await });
        let mut answer = String::new();
        soon(client.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(status), "{answer}");
        drop(client);
        assert_eq!(soon(accepting).await.unwrap().unwrap_err().to_string(), error.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_gets_408_after_the_timeout() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    client.write_all(b"GET / HT").await.unwrap();
    let accepting = tokio::spawn(async move { accept(server, &AcceptOptions::default()).await });
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let error = soon(accepting).await.unwrap().unwrap_err();
    assert!(matches!(error, AcceptError::Refused(Refusal::HandshakeTimeout)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_application_adds_fields_or_refuses() {
    for refuse in [false, true] {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        let accepting = tokio::spawn(async move {
            accept_with(server, &AcceptOptions::default(), |request, accept: Accept| {
                assert_eq!(request.path(), "/chat");
                if refuse {
                    return Err(Response::new(StatusCode::UNAUTHORIZED));
                }
                Ok(accept.with_field(FieldName::from_static("Set-Cookie"), FieldValue::from_static("id=7")))
            })
            .await
        });
        let answer = head(&mut client).await;
        drop(client);
        let accepted = soon(accepting).await.unwrap();
        if refuse {
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            assert!(matches!(accepted, Err(AcceptError::Declined(StatusCode::UNAUTHORIZED))), "{accepted:?}");
        } else {
            assert!(answer.contains("Set-Cookie: id=7\r\n"), "{answer}");
            assert!(accepted.is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_that_was_not_offered_is_the_applications_fault() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    client.write_all(REQUEST.as_bytes()).await.unwrap();
    let incoming = soon(Incoming::read(server, &AcceptOptions::default())).await.unwrap();
    let accepting =
        tokio::spawn(async move { incoming.accept(Accept::new().with_subprotocol("mail")).await });
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    drop(client);
    assert!(matches!(soon(accepting).await.unwrap(), Err(AcceptError::Accept(_))));
}

#[test]
fn a_task_that_accepts_keeps_no_room_for_the_handshake() {
    let (stream, _peer) = tokio::io::duplex(64);
    let options = AcceptOptions::default();
    let own = size_of_val(&stream);
    let size = size_of_val(&accept(stream, &options));
    assert!(size <= 2 * own + 128, "{size} bytes, {own} of them the stream's");
}

#[tokio::test(start_paused = true)]
async fn the_longest_timeout_for_a_handshake_is_none() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let options = AcceptOptions { handshake_timeout: std::time::Duration::MAX, ..AcceptOptions::default() };
    let accepting = tokio::spawn(async move { accept(server, &options).await.is_ok() });
    tokio::time::sleep(std::time::Duration::from_secs(1000)).await;
    client.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(soon(accepting).await.unwrap());
}
