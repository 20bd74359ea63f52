//! The server's responses, and their absence.

#[cfg(feature = "deflate")]
use super::server::accept_on;
use super::server::{Server, accept, field, read_head, read_to_end};
use super::{Driver, at, has_asked, open, progress, request};
use crate::stream::ClientStream;
use crate::{ConnectError, Options};
use framewright::handshake::{FieldName, FieldValue, ResponseError};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::Duration;

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# Once the client's opening handshake has been sent, the client MUST
//# wait for a response from the server before sending any further data.
#[test]
fn request_is_sent_and_what_comes_behind_the_answer_is_kept() {
    let server = Server::once(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\nHost: server.example\r\n"), "{head}");
        let mut answer = accept(&head).into_bytes();
        answer.extend_from_slice(b"\x81\x05Hello");
        stream.write_all(&answer).unwrap();
        assert_eq!(read_to_end(&mut stream), b"", "nothing is sent before the application does");
    });
    let mut driver = Driver::new();
    let mut opening =
        driver.start(request("ws://server.example/chat?room=1"), at(&[server.address])).unwrap();
    let opened = driver.finish(&mut opening).unwrap();
    assert_eq!(opened.early, b"\x81\x05Hello");
    assert_eq!(opened.response.status(), 101);
    assert_eq!(opened.uri.resource_name(), "/chat?room=1");
    assert_eq!(opened.negotiated.subprotocol(), None);
    assert_eq!(opened.stream.peer_addr().unwrap(), server.address);
    assert!(matches!(&opened.stream, ClientStream::Tcp(stream) if stream.nodelay().unwrap()));
    assert_eq!(opening.deadline(), None);
    drop(opened);
    server.join();
}

#[test]
fn interim_responses_are_skipped_and_an_answer_may_come_octet_by_octet() {
    let server = Server::once(|mut stream| {
        let head = read_head(&mut stream);
        stream.set_nodelay(true).unwrap();
        let answer = format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n{}",
            accept(&head)
        );
        answer.bytes().for_each(|octet| stream.write_all(&[octet]).unwrap());
        read_to_end(&mut stream);
    });
    assert_eq!(open(server.address).unwrap().response.status(), 101);
    server.join();
}

#[cfg(feature = "deflate")]
#[test]
fn options_offer_compression_where_the_request_offers_none() {
    use framewright::deflate::DeflateOffer;

    let offered = |request, options: Options| {
        let server = Server::once(|mut stream| {
            let head = accept_on(&mut stream);
            let answer = field(&head, "Sec-WebSocket-Extensions").unwrap_or("none");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let mut driver = Driver::new();
        let options = Options { addresses: Some(vec![server.address]), ..options };
        let mut opening = driver.start(request, options).unwrap();
        let mut opened = driver.finish(&mut opening).unwrap();
        server.join();
        let mut rest = [0; 512];
        while let Ok(count @ 1..) = opened.stream.read_once(&mut rest) {
            opened.early.extend_from_slice(&rest[..count]);
        }
        String::from_utf8(opened.early).unwrap()
    };
    let uri = "ws://server.example/";
    assert_eq!(
        offered(request(uri), Options::default()),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits, \
         permessage-deflate; client_no_context_takeover; client_max_window_bits"
    );
    assert_eq!(offered(request(uri), Options { compression: Vec::new(), ..Options::default() }), "none");
    let own = request(uri).with_deflate(DeflateOffer::default());
    assert_eq!(offered(own, Options::default()), "permessage-deflate; client_max_window_bits");
}

#[test]
fn an_answer_that_is_no_101_is_returned_with_its_body() {
    for (answer, status, minor, body) in [
        ("HTTP/1.0 503 Service Unavailable\r\n\r\nlater", 503, 0, "later"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more", 200, 1, "hi"),
        (
            "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n1\r\n?\r\n0\r\n\r\n",
            401,
            1,
            "who?",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, 1, ""),
        ("HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 301, 1, ""),
    ] {
        let server = Server::answering(answer);
        let Err(ConnectError::Refused(response)) = open(server.address) else { panic!("{answer}") };
        assert_eq!((response.status(), response.http_minor()), (status, minor), "{answer}");
        assert_eq!(response.body(), body.as_bytes(), "{answer}");
        assert!(!response.is_truncated(), "{answer}");
        server.join();
    }
}

/// A server that keeps the connection open does not hold up the client: the length says where the
/// body ends.
#[test]
fn a_refusal_is_returned_as_soon_as_its_body_is_complete() {
    let server = Server::once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
    });
    let Err(ConnectError::Refused(response)) = open(server.address) else { panic!() };
    assert_eq!(response.body(), b"no");
    server.join();
}

#[test]
fn no_more_than_64_kib_of_a_body_are_read() {
    let server = Server::once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").unwrap();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let Err(ConnectError::Refused(response)) = open(server.address) else { panic!() };
    assert_eq!(response.body().len(), 64 << 10);
    assert!(response.is_truncated());
    server.join();
}

#[test]
fn what_came_of_a_body_is_returned_at_the_deadline_and_after_a_broken_end() {
    let server = Server::once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
        read_to_end(&mut stream);
    });
    let mut driver = Driver::new();
    let mut opening = driver.open(&[server.address]);
    driver.until(&mut opening, |opening| progress(opening).1);
    assert_eq!(driver.due(&opening), Some(Duration::from_secs(10)));
    let Err(ConnectError::Refused(response)) = driver.turn(&mut opening, Duration::from_secs(10)) else {
        panic!()
    };
    assert_eq!((response.body(), response.is_truncated()), (&b"half"[..], true));
    server.join();

    let server = Server::answering("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf");
    let Err(ConnectError::Refused(response)) = open(server.address) else { panic!() };
    assert_eq!((response.body(), response.is_truncated()), (&b"half"[..], true));
    server.join();
}

#[test]
fn a_server_that_closes_before_or_inside_its_answer_is_found_out_at_once() {
    let server = Server::answering("");
    assert!(matches!(open(server.address), Err(ConnectError::Handshake(ResponseError::Closed))));
    server.join();
    let server = Server::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso");
    assert!(matches!(open(server.address), Err(ConnectError::Handshake(ResponseError::Truncated))));
    server.join();
}

#[test]
fn a_server_that_resets_the_connection_is_found_out_at_once() {
    let reset = |stream: TcpStream| {
        let stream = socket2::Socket::from(stream);
        stream.set_linger(Some(Duration::ZERO)).unwrap();
    };
    let server = Server::once(move |mut stream| {
        read_head(&mut stream);
        reset(stream);
    });
    assert!(matches!(open(server.address), Err(ConnectError::Lost(_))));
    server.join();
    let server = Server::once(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 101").unwrap();
        reset(stream);
    });
    assert!(matches!(
        open(server.address),
        Err(ConnectError::Lost(_)) | Err(ConnectError::Handshake(ResponseError::Truncated))
    ));
    server.join();
}

#[test]
fn silence_ends_at_the_handshake_timeout_and_octets_now_and_then_do_not_extend_it() {
    let server = Server::once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 1").unwrap();
        read_to_end(&mut stream);
    });
    let mut driver = Driver::new();
    let options = Options { handshake_timeout: Duration::from_secs(3), ..at(&[server.address]) };
    let mut opening = driver.start(request("ws://server.example/"), options).unwrap();
    driver.until(&mut opening, |opening| progress(opening).0 == 10);
    assert_eq!(driver.due(&opening), Some(Duration::from_secs(3)));
    assert!(driver.turn(&mut opening, Duration::from_millis(2999)).unwrap().is_none());
    let result = driver.turn(&mut opening, Duration::from_secs(3));
    assert!(matches!(result, Err(ConnectError::HandshakeTimeout)));
    server.join();
}

/// A response that has arrived is not discarded because the loop was late.
#[test]
fn an_answer_that_has_come_counts_even_after_the_deadline() {
    let (asked, answered) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let server = Server::once({
        let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
        move |mut stream| {
            let head = read_head(&mut stream);
            asked.wait();
            stream.write_all(accept(&head).as_bytes()).unwrap();
            answered.wait();
            read_to_end(&mut stream);
        }
    });
    let mut driver = Driver::new();
    let mut opening = driver.open(&[server.address]);
    driver.until(&mut opening, has_asked);
    asked.wait();
    answered.wait();
    assert!(driver.turn(&mut opening, Duration::from_secs(60)).unwrap().is_some());
    drop(opening);
    server.join();
}

#[test]
fn an_answer_that_breaks_a_rule_fails_and_the_client_sends_nothing_but_closes() {
    let server = Server::once(|mut stream| {
        let head = read_head(&mut stream);
        stream.write_all(accept(&head).replace("Upgrade: websocket", "Upgrade: h2c").as_bytes()).unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
    });
    assert!(matches!(open(server.address), Err(ConnectError::Handshake(ResponseError::InvalidUpgrade))));
    server.join();
}

#[test]
fn an_endless_head_is_not_read_on() {
    let too_many = ResponseError::TooManyFields { limit: 100 };
    let too_long = ResponseError::HeadTooLong { limit: 16 << 10 };
    for (start, more, expected) in [
        ("HTTP/1.1 101 Switching Protocols\r\n", "X: y\r\n", too_many),
        ("HTTP/1.1 101 Switching Protocols\r\nX: ", "x", too_long),
        ("HTTP/1.1 101 ", "x", too_long),
    ] {
        let server = Server::once(move |mut stream| {
            read_head(&mut stream);
            stream.write_all(start.as_bytes()).unwrap();
            while stream.write_all(more.repeat(1000).as_bytes()).is_ok() {}
        });
        let Err(ConnectError::Handshake(error)) = open(server.address) else { panic!("{start}") };
        assert_eq!(error, expected, "{start}");
        server.join();
    }
}

#[test]
fn a_request_that_the_connection_does_not_take_at_once_is_written_on() {
    const LARGE: usize = 8 << 20;
    let server = Server::once(|mut stream| {
        let mut head = vec![0; LARGE];
        stream.read_exact(&mut head).unwrap();
        let head = String::from_utf8(head).unwrap() + &read_head(&mut stream);
        assert_eq!(field(&head, "X-Large").unwrap().len(), LARGE);
        stream.write_all(accept(&head).as_bytes()).unwrap();
    });
    let large = FieldValue::new("x".repeat(LARGE)).unwrap();
    let request = request("ws://server.example/").with_field(FieldName::from_static("X-Large"), large);
    let mut driver = Driver::new();
    let mut opening = driver.start(request, at(&[server.address])).unwrap();
    assert_eq!(driver.finish(&mut opening).unwrap().response.status(), 101);
    server.join();
}

/// A server that has read enough of a request answers, and reads no more.
#[test]
fn an_answer_to_half_a_request_is_heard_once_nothing_can_be_written() {
    let server = Server::once(|mut stream| {
        stream.read_exact(&mut [0; 100]).unwrap();
        stream.write_all(b"HTTP/1.1 431 Too Much\r\nContent-Length: 0\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut room = vec![0; 1 << 20];
        while stream.read(&mut room).is_ok_and(|count| count > 0) {}
    });
    let large = FieldValue::new("x".repeat(8 << 20)).unwrap();
    let request = request("ws://server.example/").with_field(FieldName::from_static("X-Large"), large);
    let mut driver = Driver::new();
    let mut opening = driver.start(request, at(&[server.address])).unwrap();
    let Err(ConnectError::Refused(response)) = driver.finish(&mut opening) else { panic!() };
    assert_eq!(response.status(), 431);
    server.join();
}
