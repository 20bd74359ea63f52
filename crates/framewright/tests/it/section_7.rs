//! Sections 5.5.1 and 7: the closing handshake, in both roles and from either end.

use crate::support::{ROLES, code, endpoint, fails, from_peer, misbehaved, receive, sent, text};
use framewright::{
    CloseCode, Config, Connection, Error, LimitExceeded, Negotiated, PeerMisbehaved, RecvBuffer, Role,
    SendError, State, Timeout,
};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen};
use framewright_testkit::net::{Net, Settings};
use framewright_testkit::wire;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

fn close_received(code: Option<u16>, reason: &str) -> Seen {
    Seen::CloseReceived { code, reason: reason.to_owned() }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
//# If an endpoint receives a Close frame and did not previously send a
//# Close frame, the endpoint MUST send a Close frame in response.  (When
//# sending a Close frame in response, the endpoint typically echos the
//# status code it received.)
#[test]
fn a_close_is_answered_once_with_its_code_and_reason() {
    for role in ROLES {
        for (source, code, reason) in [
            ("close", None, ""),
            ("close 1000", Some(1000), ""),
            ("close 1001 \"going \\u{2708}\"", Some(1001), "going \u{2708}"),
            ("close 4999 \"r\" * 123", Some(4999), &*"r".repeat(123)),
        ] {
            let endpoint = receive(role, source);
            let closure = endpoint.closure();
            assert_eq!(endpoint.events, [close_received(code, reason), Seen::Closed(closure.clone())]);
            assert_eq!(sent(&endpoint), [(8, code.map_or(Vec::new(), |code| body(code, reason)))]);
            assert!(closure.clean && closure.cause.is_none());
            assert_eq!(closure.code(), code.unwrap_or(1005));
            assert_eq!(closure.reason(), reason);
            assert_eq!(endpoint.connection.state(), State::Closed);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
//# If there is a body, the first two bytes of
//# the body MUST be a 2-byte unsigned integer (in network byte order)
//# representing a status code with value /code/ defined in Section 7.4.
#[test]
fn a_close_body_of_one_octet_fails_the_connection() {
    for role in ROLES {
        fails(role, "close hex \"03\"", misbehaved(PeerMisbehaved::CloseBodyOneOctet));
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
//# 1005 is a reserved value and MUST NOT be set as a status code in a
//# Close control frame by an endpoint.
//= https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
//# 1006 is a reserved value and MUST NOT be set as a status code in a
//# Close control frame by an endpoint.
//= https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
//# 1015 is a reserved value and MUST NOT be set as a status code in a
//# Close control frame by an endpoint.
#[test]
fn exactly_the_codes_of_section_7_4_are_accepted_and_can_be_sent() {
    for role in ROLES {
        for number in 0..=u16::MAX {
            let mut receiver = endpoint(role);
            let body = number.to_be_bytes();
            receiver.feed(&from_peer(role, &format!("close hex \"{:02x}{:02x}\"", body[0], body[1])));
            let cause = receiver.closure().cause;
            let legal = wire::may_travel(number);
            let expected = (!legal).then_some(misbehaved(PeerMisbehaved::InvalidCloseCode(number)));
            assert_eq!(cause, expected);
            assert_eq!(receiver.frames()[0].close_code(), Some(if legal { number } else { 1002 }));
            assert_eq!(CloseCode::new(number).is_some(), legal, "no value of the type is illegal");
        }
    }
    for number in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        assert_eq!(CloseCode::new(number), None);
        for role in ROLES {
            let source = format!("close {number} \"reason\"");
            fails(role, &source, misbehaved(PeerMisbehaved::InvalidCloseCode(number)));
        }
    }
}

#[test]
fn a_reason_that_is_not_utf_8_fails_the_connection_with_1007() {
    for role in ROLES {
        for reason in ["\"\\xff\"", "\"ok\" hex \"c3\"", "hex \"ed a0 80\""] {
            fails(role, &format!("close 1000 {reason}"), misbehaved(PeerMisbehaved::CloseReasonNotUtf8));
        }
    }
}

#[test]
fn what_follows_the_peers_close_is_ignored() {
    for role in ROLES {
        for late in ["text \"late\"", "close 1001", "hex ff ff ff", "ping", "text \"\\xff\""] {
            let endpoint = receive(role, &format!("close 1000; {late}"));
            assert_eq!(endpoint.events.len(), 2);
            assert!(endpoint.closure().clean);
            assert_eq!(sent(&endpoint), [(8, body(1000, ""))]);
            assert!(endpoint.rx.is_empty(), "nothing of it is kept");
        }
    }
}

#[test]
fn messages_are_received_until_the_peers_close_answers_ours() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.close(Some(code(3000)), "done").unwrap();
        assert_eq!(endpoint.connection.state(), State::Closing);
        endpoint.feed(&from_peer(role, "text \"still\" !fin; cont \" here\"; pong"));
        assert_eq!(endpoint.connection.state(), State::Closing);
        endpoint.feed(&from_peer(role, "close 3001 \"too\"; text \"late\""));
        let expected = [text("still here"), Seen::Pong(Vec::new()), close_received(Some(3001), "too")];
        assert_eq!(endpoint.events[..3], expected);
        let closure = endpoint.closure();
        assert!(closure.clean);
        assert_eq!((closure.code(), closure.reason()), (3001, "too"));
        let our_frame = closure.sent.unwrap();
        assert_eq!((our_frame.code, &*our_frame.reason), (Some(code(3000)), "done"));
        assert_eq!(sent(&endpoint), [(8, body(3000, "done"))], "one Close at most");
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
//# The application MUST NOT send any more data frames after sending a
//# Close frame.
#[test]
fn nothing_is_sent_after_a_close() {
    type Command = fn(&mut Connection) -> Result<(), SendError>;
    let commands: [Command; 8] = [
        |connection| connection.send_text("x"),
        |connection| connection.send_binary(b"x"),
        |connection| connection.send_fragment(framewright::Message::Text("x"), true),
        |connection| connection.send_prepared(&framewright::Prepared::new(framewright::Message::Text("x"))),
        |connection| {
            connection.driver().send_with_writer(framewright::Message::Text("x"), &mut |_| unreachable!())
        },
        |connection| connection.ping(b""),
        |connection| connection.pong(b""),
        |connection| connection.close(None, ""),
    ];
    for role in ROLES {
        let ways: [fn(&mut Endpoint); 4] = [
            |endpoint| endpoint.connection.close(Some(CloseCode::NORMAL), "").unwrap(),
            |endpoint| endpoint.feed(&from_peer(endpoint.connection.role(), "close 1000")),
            |endpoint| endpoint.feed(&[0xff]),
            |endpoint| endpoint.connection.fail(endpoint.now, CloseCode::POLICY_VIOLATION, "no"),
        ];
        for way in ways {
            let mut endpoint = endpoint(role);
            way(&mut endpoint);
            for command in commands {
                assert_eq!(command(&mut endpoint.connection), Err(SendError::Closed));
            }
            assert!(!endpoint.connection.is_writable());
            let now = endpoint.now;
            endpoint.connection.fail(now, CloseCode::INTERNAL_ERROR, "a second Close");
            endpoint.drain();
            assert_eq!(endpoint.frames().len(), 1);
        }
    }
}

#[test]
fn two_closes_that_cross_end_cleanly_at_both_ends() {
    for seed in 0..50 {
        let mut net = Net::new(Settings { seed, ..Settings::default() });
        net.command(Role::Client, |client| client.close(Some(CloseCode::NORMAL), "client")).unwrap();
        net.command(Role::Server, |server| server.close(Some(CloseCode::GOING_AWAY), "server")).unwrap();
        net.run_until_closed(Duration::from_secs(1));
        for (end, code, reason) in [(&net.client, 1001, "server"), (&net.server, 1000, "client")] {
            let closure = end.closure();
            assert!(closure.clean, "with seed {seed}");
            assert_eq!((closure.code(), closure.reason()), (code, reason));
            assert_eq!(end.frames().len(), 1);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.1
//# The underlying TCP connection, in most normal cases, SHOULD be closed
//# first by the server, so that it holds the TIME_WAIT state and not the
//# client
#[test]
fn the_server_ends_the_transport_at_once_and_the_client_waits_for_it() {
    for we_begin in [true, false] {
        let [mut client, mut server] = ROLES.map(endpoint);
        for endpoint in [&mut client, &mut server] {
            if we_begin {
                endpoint.connection.close(None, "").unwrap();
                endpoint.drain();
                assert!(!endpoint.shutdown, "the peer's Close has yet to come");
            }
            endpoint.feed(&from_peer(endpoint.connection.role(), "close"));
            assert!(endpoint.closure().clean);
        }
        assert!(server.shutdown);
        assert!(!client.shutdown);
        client.eof();
        assert!(client.shutdown);
        assert!(client.closure().clean, "the end of the transport is what was waited for");
    }
}

#[test]
fn a_client_waits_no_longer_than_the_close_timeout_for_the_end_of_the_transport() {
    let mut client = endpoint(Role::Client);
    client.feed(&from_peer(Role::Client, "close 1000"));
    assert_eq!(client.deadline(), Some(Duration::from_secs(5)));
    client.advance(Duration::from_nanos(4_999_999_999));
    assert!(!client.shutdown);
    client.advance(Duration::from_nanos(1));
    assert!(client.shutdown);
    assert!(client.closure().clean, "its closing handshake was complete");
    assert_eq!(client.deadline(), None);
}

#[test]
fn the_transport_is_ended_behind_what_waits_and_not_before() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.room = 0;
        endpoint.connection.send_binary(&[1; 1000]).unwrap();
        endpoint.feed(&[0xff]);
        assert_eq!(endpoint.closure().cause, Some(Error::Peer(PeerMisbehaved::ReservedBits(7))));
        assert!(!endpoint.shutdown);
        endpoint.make_room(1005);
        assert!(!endpoint.shutdown, "the Close has yet to be taken");
        endpoint.make_room(usize::MAX);
        assert!(endpoint.shutdown);
        assert_eq!(endpoint.frames().iter().map(|frame| frame.header.opcode).collect::<Vec<_>>(), [2, 8]);
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.1
//# If at any point the underlying transport layer connection is
//# unexpectedly lost, the client MUST _Fail the WebSocket Connection_.
#[test]
fn the_end_of_the_transport_without_a_close_fails_the_connection() {
    for role in ROLES {
        for before in ["", "text \"hello\"", "text \"hel\" !fin", "hex 81"] {
            let mut endpoint = receive(role, before);
            endpoint.eof();
            let closure = endpoint.closure();
            assert_eq!(closure.cause, Some(Error::TransportLost));
            assert_eq!((closure.code(), closure.reason(), closure.clean), (1006, "", false));
            assert_eq!(closure.sent, None, "1006 is never on the wire");
            assert!(endpoint.sent.is_empty() && endpoint.shutdown);
        }
        let mut closing = endpoint(role);
        closing.connection.close(None, "").unwrap();
        closing.eof();
        assert_eq!(closing.closure().cause, Some(Error::TransportLost));
        assert_eq!(sent(&closing), [(8, Vec::new())]);
    }
}

#[test]
fn what_waits_is_still_sent_after_the_peers_half_close() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.room = 0;
        endpoint.connection.send_text("answer").unwrap();
        endpoint.eof();
        endpoint.make_room(usize::MAX);
        assert_eq!(sent(&endpoint), [(1, b"answer".to_vec())]);
        assert!(endpoint.shutdown);
    }
}

#[test]
fn a_transport_that_breaks_drops_what_waits() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.room = 3;
        endpoint.connection.send_text("lost").unwrap();
        endpoint.drain();
        endpoint.connection.handle_transport_error(endpoint.now);
        endpoint.drain();
        assert_eq!(endpoint.closure().cause, Some(Error::TransportLost));
        assert_eq!((endpoint.connection.buffered(), endpoint.sent.len()), (0, 3));
        assert!(endpoint.shutdown);
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.7
//# If _The WebSocket Connection is Established_ prior to the point where
//# the endpoint is required to _Fail the WebSocket Connection_, the
//# endpoint SHOULD send a Close frame with an appropriate status code
//# (Section 7.4) before proceeding to _Close the WebSocket Connection_.
#[test]
fn a_connection_that_is_failed_sends_its_close_behind_what_waits_and_reads_no_more() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.send_text("first").unwrap();
        let now = endpoint.now;
        endpoint.connection.fail(now, CloseCode::POLICY_VIOLATION, "not allowed");
        endpoint.feed(&from_peer(role, "text \"unread\"; close 1000"));
        let closure = endpoint.closure();
        assert_eq!(closure.cause, Some(Error::Failed(CloseCode::POLICY_VIOLATION)));
        assert_eq!(closure.received, None);
        assert_eq!(endpoint.events.len(), 1);
        assert_eq!(sent(&endpoint), [(1, b"first".to_vec()), (8, body(1008, "not allowed"))]);
        assert!(endpoint.shutdown, "a failed connection waits for nothing, in either role");
    }
}

#[test]
fn a_connection_that_others_need_the_memory_of_says_1013() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.feed(&from_peer(role, "text \"half\" !fin"));
        endpoint.connection.send_text("first").unwrap();
        assert!(endpoint.connection.driver_view().allocated() >= 5);
        let now = endpoint.now;
        endpoint.connection.driver().fail_for_memory(now);
        endpoint.drain();
        assert_eq!(endpoint.closure().cause, Some(Error::Limit(LimitExceeded::Memory)));
        assert_eq!(sent(&endpoint), [(1, b"first".to_vec()), (8, body(1013, "no memory"))]);
    }
}

#[test]
fn a_long_reason_of_a_failure_is_cut_between_characters() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let now = endpoint.now;
        endpoint.connection.fail(now, CloseCode::INTERNAL_ERROR, &"\u{20ac}".repeat(42)); // 126 octets
        endpoint.drain();
        assert_eq!(sent(&endpoint), [(8, body(1011, &"\u{20ac}".repeat(41)))]);
        assert_eq!(&*endpoint.closure().sent.unwrap().reason, "\u{20ac}".repeat(41));
    }
}

#[test]
fn a_fault_after_our_close_sends_no_second_one() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.close(None, "").unwrap();
        endpoint.feed(&from_peer(role, "text \"\\xff\""));
        assert_eq!(endpoint.closure().cause, Some(Error::Peer(PeerMisbehaved::InvalidUtf8)));
        assert_eq!(sent(&endpoint), [(8, Vec::new())]);
        assert!(endpoint.shutdown);
    }
}

#[test]
fn an_aborted_connection_sends_nothing() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.send_text("dropped").unwrap();
        endpoint.connection.abort(endpoint.now);
        endpoint.drain();
        assert_eq!(endpoint.closure().cause, Some(Error::Aborted));
        assert!(endpoint.sent.is_empty() && endpoint.shutdown);
    }
}

#[test]
fn a_peer_that_never_answers_our_close_is_left_after_the_close_timeout() {
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, Config::default(), 1, Behaviour::Silent);
        endpoint.connection.close(None, "").unwrap();
        endpoint.drain();
        assert_eq!(endpoint.deadline(), Some(Duration::from_secs(5)));
        endpoint.advance(Duration::from_secs(5));
        assert_eq!(endpoint.closure().cause, Some(Error::Timeout(Timeout::Close)));
        assert!(endpoint.shutdown);
    }
}

#[test]
fn the_closure_tells_nothing_before_the_end() {
    let mut endpoint = endpoint(Role::Server);
    assert_eq!(endpoint.connection.closure(), None);
    endpoint.connection.close(None, "").unwrap();
    assert_eq!(endpoint.connection.closure(), None);
}

#[test]
fn a_failed_connection_tells_how_much_of_its_frame_has_not_arrived() {
    // A message of 1,000 octets where 500 are allowed, a reserved bit, a fragment that is not
    // UTF-8, and a whole one.
    let cases: [(&[u8], usize, u64, u16); 4] = [
        (&[0x82, 0xfe, 0x03, 0xe8, 0, 0, 0, 0], 100, 900, 1009),
        (&[0xc2, 0x85, 0, 0, 0, 0], 1, 4, 1002),
        (&[0x01, 0xfe, 0x01, 0xf4, 0, 0, 0, 0], 20, 480, 1007),
        (&[0x81, 0x82, 0, 0, 0, 0], 2, 0, 1007),
    ];
    for (header, come, expected, code) in cases {
        let now = Instant::now();
        let config = Arc::new(Config { max_message: 500, ..Config::default() });
        let mut connection = Connection::server(config, Negotiated::default(), now);
        let mut rx = RecvBuffer::new();
        rx.extend_from_slice(header);
        rx.extend_from_slice(&vec![0xff; come]);
        while connection.next_event(now, &mut rx).is_some() {}
        let sent = connection.closure().expect("it has failed").sent;
        assert_eq!(sent.and_then(|close| close.code).map(CloseCode::get), Some(code));
        assert_eq!(connection.driver_view().unreceived(), expected, "{header:x?}");
    }
}

#[test]
fn a_deadline_in_the_middle_of_a_frame_leaves_the_rest_of_it() {
    let now = Instant::now();
    let config = Arc::new(Config { message_timeout: Some(Duration::from_secs(1)), ..Config::default() });
    let mut connection = Connection::server(config, Negotiated::default(), now);
    let mut rx = RecvBuffer::new();
    rx.extend_from_slice(&[0x82, 0xfe, 0x03, 0xe8, 0, 0, 0, 0, b'x']);
    assert!(connection.next_event(now, &mut rx).is_none());
    connection.driver().note_rest(&rx);
    assert_eq!(connection.driver_view().unreceived(), 0, "it goes on");
    connection.handle_timeout(now + Duration::from_secs(1));
    connection.driver().note_rest(&rx);
    rx.clear();
    connection.driver().note_rest(&rx);
    assert_eq!(connection.driver_view().unreceived(), 999);
}
