//! The closing handshake (RFC 6455, sections 5.5.1 and 7), begun by either side or by none.

use crate::common::{DEADLINE, SOON, Server, plain, request, through_both_apis};
use framewright::{CloseCode, Config, Error, LimitExceeded, PeerMisbehaved, SendError, Timeout};
use framewright_client::Options;
use framewright_testkit::endpoint::Seen;
use std::sync::mpsc;
use std::time::Instant;

fn options(connection: Config) -> Options {
    Options { connection, ..plain() }
}

fn body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

// Conformance 73, 75, 86.
//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
//# If an endpoint receives a Close frame and did not previously send a
//# Close frame, the endpoint MUST send a Close frame in response.  (When
//# sending a Close frame in response, the endpoint typically echos the
//# status code it received.)
#[test]
fn the_servers_close_is_answered_once_and_its_end_of_the_transport_awaited() {
    through_both_apis(|kind| {
        for (script, code, reason) in [
            ("close", None, ""),
            ("close 1000", Some(1000), ""),
            ("close 1001 \"going \\u{2708}\"", Some(1001), "going \u{2708}"),
            ("close 3000", Some(3000), ""),
            ("close 4999 \"r\" * 123", Some(4999), &*"r".repeat(123)),
        ] {
            let expected = code.map_or(Vec::new(), |code| body(code, reason));
            let server = Server::open(move |peer| {
                peer.script(script);
                peer.expect(8, &expected);
                // The transport is the server's to close first.
                peer.expect_silence(SOON);
                peer.shutdown_write();
                peer.expect_end();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            client.expect_close_received(code, reason);
            let closure = client.expect_closed();
            assert!(closure.clean && closure.cause.is_none());
            assert_eq!((closure.code(), closure.reason()), (code.unwrap_or(1005), reason));
            server.end();
        }
    });
}

// The wait for the server's end of the transport has its own end.
#[test]
fn a_server_that_does_not_end_the_transport_is_left_after_the_close_timeout() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.script("close 1000");
            peer.expect(8, &body(1000, ""));
            peer.expect_end();
        });
        let options = options(Config { close_timeout: SOON, ..Config::default() });
        // The Close may come with the answer to the opening handshake.
        let before = Instant::now();
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        client.expect_close_received(Some(1000), "");
        let closure = client.expect_closed();
        assert!(before.elapsed() >= SOON, "after {:?}", before.elapsed());
        assert!(closure.clean, "both Close frames are there: {closure:?}");
        server.end();
    });
}

// Conformance 86, 88.
//= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.1
//# If at any point the underlying transport layer connection is
//# unexpectedly lost, the client MUST _Fail the WebSocket Connection_.
#[test]
fn a_transport_that_ends_without_a_close_frame_gives_1006_and_puts_none_on_the_wire() {
    through_both_apis(|kind| {
        for script in
            ["", "text \"whole\"", "text \"a\" !fin", "binary \"part\" len=1000", "hex 88", "hex 81 7e 00"]
        {
            let server = Server::open(move |peer| {
                peer.script(script);
                peer.shutdown_write();
                // Not 1006 above all.
                peer.expect_end();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            if script.contains("whole") {
                client.expect_text("whole");
            }
            let closure = client.expect_closed();
            assert_eq!(closure.cause, Some(Error::TransportLost), "{script}");
            assert_eq!((closure.clean, closure.code(), closure.sent), (false, 1006, None));
            server.end();
        }
    });
}

#[test]
fn a_reset_gives_1006_too() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_text("hello");
            peer.reset();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        client.send_text("hello").expect("an open connection");
        let closure = client.expect_closed();
        assert_eq!((closure.cause, closure.clean), (Some(Error::TransportLost), false));
        assert_eq!(client.send_text("late"), Err(SendError::Closed));
        server.end();
    });
}

#[test]
fn a_server_that_never_answers_a_close_is_left_after_the_close_timeout() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_close(1001);
            peer.expect_end();
        });
        let options = options(Config { close_timeout: SOON, ..Config::default() });
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        let before = Instant::now();
        client.start_close(1001, "").expect("an open connection");
        let closure = client.expect_closed();
        assert!(before.elapsed() >= SOON, "after {:?}", before.elapsed());
        assert_eq!((closure.clean, closure.code()), (false, 1006));
        assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Close)));
        server.end();
    });
}

// Neither are octets an answer.
#[test]
fn a_server_that_only_talks_after_our_close_is_left_after_the_close_timeout() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_close(1000);
            let until = Instant::now() + DEADLINE;
            // The client reads on, and takes no notice of its deadline being put off.
            while Instant::now() < until && peer.try_send([0x8A, 0]).is_ok() {
                std::thread::yield_now();
            }
            assert!(Instant::now() < until, "still there at the deadline");
        });
        let options = options(Config { close_timeout: SOON, ..Config::default() });
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        client.start_close(1000, "").expect("an open connection");
        let events = client.rest();
        let (last, pongs) = events.split_last().expect("an end");
        assert!(pongs.iter().all(|event| *event == Seen::Pong(Vec::new())));
        let Seen::Closed(closure) = last else { panic!("{last:?}") };
        assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Close)));
        server.end();
    });
}

#[test]
fn what_follows_the_servers_close_is_ignored() {
    through_both_apis(|kind| {
        for late in [
            "text \"late\"",
            "close 1001 \"again\"",
            "ping \"late\"",
            "hex ff ff ff",
            "text \"\\xff\"",
            "binary len=0x7fffffffffffffff",
        ] {
            let server = Server::open(move |peer| {
                peer.script(&format!("close 1000; {late}"));
                peer.expect(8, &body(1000, ""));
                let _ = peer.try_send([0x81, 4, b'm', b'o', b'r', b'e']);
                peer.shutdown_write();
                peer.expect_gone();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            client.expect_close_received(Some(1000), "");
            assert!(client.expect_closed().clean, "{late}");
            server.end();
        }
    });
}

#[test]
fn two_closes_that_cross_end_cleanly() {
    through_both_apis(|kind| {
        let (open, is_open) = mpsc::channel::<()>();
        let (sent, is_sent) = mpsc::channel::<()>();
        let server = Server::open(move |peer| {
            is_open.recv_timeout(DEADLINE).expect("a client");
            peer.script("close 1001 \"server\"");
            sent.send(()).expect("the client waits for that");
            peer.expect(8, &body(3000, "client"));
            peer.shutdown_write();
            peer.expect_end();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        // The server's is under way, and not looked at before ours is queued.
        open.send(()).expect("the server waits for that");
        is_sent.recv_timeout(DEADLINE).expect("the server's Close");
        client.start_close(3000, "client").expect("an open connection");
        client.expect_close_received(Some(1001), "server");
        let closure = client.expect_closed();
        assert!(closure.clean);
        assert_eq!((closure.code(), closure.reason()), (1001, "server"));
        let sent = closure.sent.expect("ours");
        assert_eq!((sent.code.map(CloseCode::get), &*sent.reason), (Some(3000), "client"));
        server.end();
    });
}

// Conformance 72.
#[test]
fn messages_still_arrive_between_our_close_and_the_servers() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_close(1000);
            // A Ping after our Close gets no Pong: nothing may follow a Close.
            peer.script("text \"still\" !fin; ping \"p\"; cont \" here\"; close 1000 \"bye\"");
            peer.shutdown_write();
            peer.expect_end();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        client.start_close(1000, "").expect("an open connection");
        assert_eq!(client.send_text("late"), Err(SendError::Closed));
        assert_eq!(client.next(), Some(Seen::Ping(b"p".to_vec())));
        client.expect_text("still here");
        client.expect_close_received(Some(1000), "bye");
        assert!(client.expect_closed().clean);
        server.end();
    });
}

// Conformance 71, 90, 91.
#[test]
fn a_close_that_is_not_one_fails_the_connection() {
    through_both_apis(|kind| {
        let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
        let codes = codes.map(|code| (format!("close {code}"), PeerMisbehaved::InvalidCloseCode(code)));
        let others = [
            ("close hex \"03\"", PeerMisbehaved::CloseBodyOneOctet),
            ("close 1000 \"\\xff\"", PeerMisbehaved::CloseReasonNotUtf8),
            ("close 1000 \"cut\" hex \"e2 82\"", PeerMisbehaved::CloseReasonNotUtf8),
        ];
        let others = others.map(|(script, cause)| (script.to_owned(), cause));
        for (script, cause) in codes.into_iter().chain(others) {
            let code = cause.close_code().get();
            let server = Server::open(move |peer| {
                peer.script(&script);
                peer.expect_close(code);
                peer.expect_end();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            let closure = client.expect_closed();
            assert_eq!((closure.cause, closure.clean), (Some(Error::Peer(cause)), false));
            assert!(closure.received.is_none());
            server.end();
        }
    });
}

// A fault after our own Close: no second one is sent.
#[test]
fn a_fault_in_the_closing_handshake_puts_no_second_close_on_the_wire() {
    through_both_apis(|kind| {
        for script in ["op 3", "text \"\\xff\"", "close 1005", "text \"a\" mask"] {
            let server = Server::open(move |peer| {
                peer.expect_close(1000);
                peer.script(script);
                peer.expect_end();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            client.start_close(1000, "").expect("an open connection");
            let closure = client.expect_closed();
            assert!(!closure.clean && matches!(closure.cause, Some(Error::Peer(_))), "{closure:?}");
            server.end();
        }
    });
}

#[test]
fn every_code_that_may_travel_is_sent_and_received() {
    through_both_apis(|kind| {
        for code in
            [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
        {
            let server = Server::open(move |peer| {
                assert_eq!(peer.expect_close(code), "why");
                peer.script(&format!("close {code} \"why\""));
                peer.shutdown_write();
                peer.expect_end();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            client.start_close(code, "why").expect("an open connection");
            client.expect_close_received(Some(code), "why");
            assert!(client.expect_closed().clean);
            server.end();
        }
    });
}

#[test]
fn the_blocking_client_closes_in_one_call() {
    let server = Server::open(|peer| {
        peer.script("text \"unread\"; binary \"x\" * 100000");
        peer.expect_close(4000);
        peer.script("close 4000; text \"late\"");
        peer.shutdown_write();
        peer.expect_end();
    });
    let mut client =
        framewright_client::blocking::Client::connect_with(request(server.addr()), &plain()).expect("open");
    let code = CloseCode::new(4000).expect("a code");
    let closure = client.close_and_wait(code, "").expect("a reason that fits");
    assert!(closure.clean && closure.code() == 4000, "{closure:?}");
    assert_eq!(client.close_and_wait(code, "").expect("the same again"), closure);
    assert_eq!(client.receive(), Ok(None));
    assert_eq!(client.closure(), Some(closure));
    server.end();
}

// Reset by a client that had read the header only, it never got to read why.
#[test]
fn a_server_that_writes_a_message_too_large_at_full_speed_reads_that_it_is() {
    through_both_apis(|kind| {
        for len in [17_000_000_usize, 32 << 20] {
            let server = Server::open(move |peer| {
                peer.send([0x82, 127]);
                peer.send((len as u64).to_be_bytes());
                peer.send(vec![7; len]);
                peer.expect_close(1009);
                peer.shutdown_write();
                peer.expect_end();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            let closure = client.expect_closed();
            let cause = closure.cause.expect("a fault");
            assert!(matches!(cause, Error::Limit(LimitExceeded::FrameTooLarge { .. })), "{cause:?}");
            server.end();
        }
    });
}
