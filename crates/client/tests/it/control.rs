//! Pings, Pongs and silence (RFC 6455, sections 5.5.2 and 5.5.3).

use crate::common::{Command, LATER, SOON, Server, plain, request, through_both_apis};
use framewright::{Config, Error, Timeout};
use framewright_client::Options;
use framewright_testkit::endpoint::Seen;
use std::time::Duration;

// Conformance 76.
//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.2
//# Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
//# response, unless it already received a Close frame.
#[test]
fn a_ping_is_answered_with_its_own_payload() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            for payload in ["", "p", &"x".repeat(125)] {
                peer.script(&format!("ping \"{payload}\""));
                peer.expect(10, payload.as_bytes());
            }
            peer.answer_close();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        for payload in ["", "p", &"x".repeat(125)] {
            assert_eq!(client.next(), Some(Seen::Ping(payload.into())));
        }
        client.start_close(1000, "").expect("an open connection");
        client.expect_close_received(Some(1000), "");
        assert!(client.expect_closed().clean);
        server.end();
    });
}

// Conformance 78.
#[test]
fn pongs_that_nobody_asked_for_do_no_harm() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.script("pong; pong \"never asked\"");
            peer.expect(9, b"one");
            peer.script("pong \"stale\"; pong \"one\"; pong \"one\"; pong \"one\"; text \"end\"");
            peer.answer_close();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        client.command(Command::Ping(b"one")).expect("an open connection");
        for payload in ["", "never asked", "stale", "one", "one", "one"] {
            assert_eq!(client.next(), Some(Seen::Pong(payload.into())));
        }
        client.expect_text("end");
        client.start_close(1000, "").expect("an open connection");
        client.expect_close_received(Some(1000), "");
        assert!(client.expect_closed().clean);
        server.end();
    });
}

/// Pings soon, and gives a server that answers the time to do so.
fn keep_alive() -> Options {
    let connection =
        Config { keep_alive_interval: Some(SOON), keep_alive_timeout: Some(LATER), ..Config::default() };
    Options { connection, ..plain() }
}

// A stale Pong is no answer to a keep-alive Ping.
#[test]
fn only_the_matching_pong_keeps_the_connection_alive() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            let ping = peer.frame();
            assert_eq!(ping.header.opcode, 9);
            peer.script("pong \"stale\"; pong");
            peer.skip_pings();
            peer.expect_close(1011);
            peer.expect_end();
        });
        let mut client = kind.connect(request(server.addr()), &keep_alive()).expect("an open connection");
        assert_eq!(client.next(), Some(Seen::Pong(b"stale".to_vec())));
        assert_eq!(client.next(), Some(Seen::Pong(Vec::new())));
        assert_eq!(client.expect_closed().cause, Some(Error::Timeout(Timeout::KeepAlive)));
        server.end();
    });
}

#[test]
fn a_server_that_stops_answering_pings_is_left_with_an_error_of_its_own() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            for _ in 0..3 {
                let ping = peer.frame();
                assert_eq!(ping.header.opcode, 9);
                peer.send(
                    [&[0x8A, u8::try_from(ping.payload.len()).expect("at most 125")][..], &ping.payload]
                        .concat(),
                );
            }
            assert_eq!(peer.frame().header.opcode, 9);
            peer.skip_pings();
            peer.expect_close(1011);
            peer.expect_end();
        });
        let mut client = kind.connect(request(server.addr()), &keep_alive()).expect("an open connection");
        for _ in 0..3 {
            assert!(matches!(client.next(), Some(Seen::Pong(_))));
        }
        let closure = client.expect_closed();
        assert_eq!((closure.cause, closure.clean), (Some(Error::Timeout(Timeout::KeepAlive)), false));
        server.end();
    });
}

#[test]
fn a_server_from_which_nothing_comes_is_left_after_the_idle_timeout() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_text("hello");
            peer.expect_close(1001);
            peer.expect_end();
        });
        let connection = Config { idle_timeout: Some(LATER), ..Config::default() };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        client.send_text("hello").expect("an open connection");
        assert_eq!(client.expect_closed().cause, Some(Error::Timeout(Timeout::Idle)));
        server.end();
    });
}

#[test]
fn a_message_that_trickles_in_is_cut_off_by_its_own_timeout() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.script("binary len=1000");
            while peer.wire.is_empty() {
                peer.send([0]);
                peer.pause(Duration::from_millis(5));
            }
            peer.expect_close(1008);
        });
        let connection = Config { message_timeout: Some(SOON), ..Config::default() };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        let closure = client.expect_closed();
        assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Message)));
        drop(client);
        server.end();
    });
}
