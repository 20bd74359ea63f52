//! How sessions end: close_notify, and streams that are cut.

use super::client::{Ca, Connector, TlsStream};
use super::{start, start_echo, tls};
use crate::common::Client;
use crate::scripted::{Saw, Scripted, expect_closed};
use framewright::frame::{OpCode, encode_frame};
use framewright_server::{CloseCode, Config, Error, Options, Response, StatusCode};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::mpsc::Receiver;

fn start_seen() -> (crate::common::TestServer, Connector, Receiver<Saw>) {
    let ca = Ca::new("the CA");
    let (echo, seen) = Scripted::echo();
    let options = Options {
        connection: Config { max_message: 1 << 20, max_frame: 1 << 20, ..Config::default() },
        ..Options::default()
    };
    let server = start(tls(&ca.issue(&["localhost"])), echo, |builder| builder.options(options));
    (server, Connector::new(&ca), seen)
}

/// Reads to the end, which has to be one of TLS. Anything else is an error of rustls' client.
#[track_caller]
fn expect_close_notify(client: &mut Client<TlsStream>) {
    client.expect_end();
    let mut rest = Vec::new();
    // And behind it TCP ends without a reset.
    assert_eq!(client.stream_mut().sock.read_to_end(&mut rest).expect("an end"), 0);
}

#[test]
fn a_closing_handshake_ends_with_close_notify() {
    let (server, connector, seen) = start_seen();
    let mut client = connector.open(server.addr(), "/");
    client.send_close(CloseCode::NORMAL, "");
    client.expect_close(1000);
    expect_close_notify(&mut client);
    assert!(
        seen.iter()
            .find_map(|saw| if let Saw::Close(closure) = saw { Some(closure) } else { None })
            .unwrap()
            .clean
    );
}

#[test]
fn an_answer_other_than_101_ends_with_close_notify() {
    let ca = Ca::new("the CA");
    let body = "x".repeat(3 << 20);
    let page = Response::text(StatusCode::OK, body.clone());
    let handler = Scripted::new().0;
    let server = start(tls(&ca.issue(&["localhost"])), handler, |builder| builder.page("/page", page));
    let mut client = Connector::new(&ca).connect(server.addr());
    client.send("GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, &*body));
    expect_close_notify(&mut client);
}

/// A peer that fails in the middle of what it sends reads the reason, and the end behind it.
#[test]
fn a_close_frame_for_a_fault_and_close_notify_reach_a_peer_that_is_still_writing() {
    let (server, connector, _seen) = start_seen();
    let mut client = connector.open(server.addr(), "/");
    let mut octets = Vec::new();
    encode_frame(&mut octets, true, OpCode::Binary, &vec![7; 1 << 21], Some([1, 2, 3, 4]));
    // Without reading meanwhile.
    client.send(&octets);
    client.expect_close(1009);
    client.stream_mut().conn.send_close_notify();
    let stream = client.stream_mut();
    stream.conn.complete_io(&mut stream.sock).expect("an end");
    expect_close_notify(&mut client);
}

#[test]
fn a_stream_that_is_cut_is_no_clean_end_and_ends_no_message() {
    let (server, connector, seen) = start_seen();
    for has_begun in [false, true] {
        let mut client = connector.open(server.addr(), "/");
        if has_begun {
            client.send_frame(false, OpCode::Text, b"half");
        }
        client.stream().sock.shutdown(Shutdown::Write).expect("an end");
        client.expect_gone();
        let closure = loop {
            match crate::common::next(&seen) {
                Saw::Request(..) | Saw::Open => {}
                Saw::Close(closure) => break closure,
                saw => panic!("{saw:?}"),
            }
        };
        assert_eq!((closure.clean, closure.code(), closure.cause), (false, 1006, Some(Error::TransportLost)));
    }
}

#[test]
fn close_notify_without_a_close_frame_is_1006_and_is_answered() {
    let (server, connector, seen) = start_seen();
    let mut client = connector.open(server.addr(), "/");
    client.stream_mut().conn.send_close_notify();
    let stream = client.stream_mut();
    stream.conn.complete_io(&mut stream.sock).expect("it is taken");
    expect_close_notify(&mut client);
    crate::scripted::expect_saw(&seen, &[Saw::Request("/".to_owned(), true), Saw::Open]);
    assert_eq!(expect_closed(&seen).code(), 1006);
}

/// A client that has its answer to come and ends its direction is told that the answer is whole.
#[test]
fn a_client_that_ends_behind_its_request_reads_close_notify() {
    let (server, connector, _seen) = start_seen();
    for has_request in [true, false] {
        let mut client = connector.connect(server.addr());
        let stream = client.stream_mut();
        if has_request {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("room");
        }
        stream.conn.send_close_notify();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock).expect("room");
        }
        stream.sock.shutdown(Shutdown::Write).expect("an end");
        let mut answer = Vec::new();
        // Without close_notify this is an error of rustls'.
        stream.read_to_end(&mut answer).expect("an end of TLS");
        assert_eq!(answer.starts_with(b"HTTP/1.1 "), has_request);
    }
}

/// After the Close frames nothing is missing: browsers never send close_notify.
#[test]
fn a_client_that_ends_tcp_behind_its_close_frame_ends_cleanly() {
    let (server, connector, seen) = start_seen();
    let mut client = connector.open(server.addr(), "/");
    client.send_close(CloseCode::NORMAL, "");
    client.stream().sock.shutdown(Shutdown::Write).expect("an end");
    client.expect_close(1000);
    crate::scripted::expect_saw(&seen, &[Saw::Request("/".to_owned(), true), Saw::Open]);
    assert!(expect_closed(&seen).clean);
}

/// Nothing that was sent is left in a buffer of TLS when the connection ends.
#[test]
fn the_last_bytes_of_a_large_message_arrive_before_the_end() {
    let ca = Ca::new("the CA");
    let handler = Scripted::new().0.open(|socket| {
        socket.send_binary(&vec![7; 5_000_000]).expect("room");
        socket.close(CloseCode::NORMAL, "enough").expect("open");
    });
    let server = start(tls(&ca.issue(&["localhost"])), handler, |builder| builder);
    let mut client = Connector::new(&ca).open(server.addr(), "/");
    assert_eq!(client.message().1, vec![7; 5_000_000]);
    assert_eq!(client.expect_close(1000), "enough");
    client.send_close(CloseCode::NORMAL, "");
    expect_close_notify(&mut client);
}

/// A record that was tampered with ends the connection, and the peer is told by an alert.
#[test]
fn a_record_that_does_not_decrypt_ends_the_connection() {
    let (server, connector) = start_echo(|builder| builder);
    let mut client = connector.open(server.addr(), "/");
    client
        .stream_mut()
        .sock
        .write_all(b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .expect("room");
    let mut octets = [0; 100];
    let error = client.read_some(&mut octets).expect_err("an alert");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    crate::common::wait_until("the end", || server.handle().stats().totals().ended.transport_lost == 1);
}
