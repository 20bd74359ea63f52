//! Who is let in, and what each may do.

use crate::common::{DEADLINE, wait_until};
use crate::program::Program;
use crate::{ask, expect_error, publish, relay, subscribe};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

const FEED: &str = r#"{"token":"feed","publish":["prices/#"]}"#;

/// What a client with this token is answered.
fn status(relay: &Program, token: &str) -> u16 {
    relay.connect().upgrade("/ws", &format!("Authorization: Bearer {token}\r\n")).status
}

#[test]
fn a_token_gives_its_rights_and_the_file_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens");
    std::fs::write(&path, format!("{FEED}\n{{\"token\":\"see\",\"subscribe\":[\"prices/#\"]}}\n"))
        .expect("a file");
    let relay = relay(&["--token-file", path.to_str().expect("UTF-8")]);
    let answer = relay.connect().upgrade("/ws", "");
    assert_eq!((answer.status, answer.field("WWW-Authenticate")), (401, Some("Bearer")));
    assert_eq!(status(&relay, "unknown"), 401);

    let (mut feed, mut see) = (relay.connect(), relay.open("/ws?access_token=see"));
    feed.open_with("/ws", "Authorization: Bearer feed\r\n");
    subscribe(&mut see, "prices/EUR");
    see.send_text(r##"{"type":"subscribe","topic":"#"}"##);
    expect_error(&mut see, "forbidden");
    see.send_text(r#"{"type":"publish","topic":"prices/EUR","data":1}"#);
    expect_error(&mut see, "forbidden");
    ask(
        &mut feed,
        r#"{"type":"subscribe","topic":"prices/EUR","request":7}"#,
        r#"{"type":"error","code":"forbidden","text":"you may not subscribe to this topic","topic":"prices/EUR","request":7}"#,
    );
    publish(&mut feed, "prices/EUR", "1");
    see.expect_text(&crate::message("prices/EUR", "1"));

    std::fs::write(&path, "{\"token\":\"new\"}\n").expect("a file");
    wait_until("the new token", || status(&relay, "new") == 101);
    assert_eq!(status(&relay, "see"), 401);
}

/// A service that answers each request according to its token.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/rights", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let (mut request, mut piece) = (String::new(), [0; 4096]);
            while !request.ends_with('}') {
                let count = stream.read(&mut piece).expect("a request");
                if count == 0 {
                    break;
                }
                request.push_str(std::str::from_utf8(&piece[..count]).expect("UTF-8"));
            }
            let (status, body) = if request.contains(r#""token":"good""#) {
                ("200 OK", r#"{"subscribe":["a"]}"#)
            } else if request.contains(r#""token":"bad""#) {
                ("403 Forbidden", "")
            } else {
                ("200 OK", "no rights at all")
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("it reads");
        }
    });
    url
}

#[test]
fn a_service_is_asked_about_each_client() {
    let relay = relay(&["--auth-url", &service()]);
    let mut client = relay.connect();
    client.open_with("/ws", "Authorization: Bearer good\r\nSec-WebSocket-Protocol: framewright.relay.v1\r\n");
    subscribe(&mut client, "a");
    client.send_text(r#"{"type":"subscribe","topic":"b"}"#);
    expect_error(&mut client, "forbidden");
    assert_eq!(relay.connect().upgrade("/ws", "").status, 401);
    assert_eq!(status(&relay, "bad"), 403);
    assert_eq!(status(&relay, "broken"), 503);
}
