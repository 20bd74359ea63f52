//! Section 5.4: fragmentation.

use crate::support::{ROLES, binary, endpoint, fails, from_peer, misbehaved, receive, sent, text};
use framewright::{Config, Delivery, Message, PeerMisbehaved, State};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen, join_chunks};
use framewright_testkit::split::every_split;

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.4
//# The fragments of one message MUST NOT be interleaved between the
//# fragments of another message unless an extension has been
//# negotiated that can interpret the interleaving.
#[test]
fn a_new_message_inside_a_fragmented_one_fails_the_connection() {
    for role in ROLES {
        for first in ["text \"a\" !fin", "binary !fin", "text \"a\" !fin; cont \"b\" !fin"] {
            for second in ["text \"b\"", "binary", "text !fin", "binary \"b\" !fin"] {
                fails(role, &format!("{first}; {second}"), misbehaved(PeerMisbehaved::InterleavedMessage));
            }
        }
    }
}

#[test]
fn a_continuation_outside_a_message_fails_the_connection() {
    for role in ROLES {
        for before in ["", "text \"whole\";", "binary \"a\" !fin; cont;", "ping;"] {
            for orphan in ["cont", "cont \"x\"", "cont !fin"] {
                let source = format!("{before} {orphan}");
                fails(role, &source, misbehaved(PeerMisbehaved::UnexpectedContinuation));
            }
        }
    }
}

#[test]
fn fragments_are_joined_in_order_whatever_their_sizes() {
    for role in ROLES {
        let source = r#"
            text "Hel" !fin; cont "lo"
            text !fin; cont !fin; cont
            binary "a" !fin; cont !fin; cont "b" !fin; cont
            text "whole"
            text !fin; cont "all in the last"
            text "all in the first" !fin; cont
        "#;
        let endpoint = receive(role, source);
        let expected = [
            text("Hello"),
            text(""),
            binary(b"ab"),
            text("whole"),
            text("all in the last"),
            text("all in the first"),
        ];
        assert_eq!(endpoint.events, expected);
        assert_eq!((endpoint.connection.state(), endpoint.sent.len()), (State::Open, 0));
        assert!(endpoint.rx.is_empty());
    }
}

#[test]
fn control_frames_between_fragments_are_handled_at_once() {
    for role in ROLES {
        let source =
            r#"text "a" !fin; ping "1"; cont "b" !fin; pong "2"; ping "3" * 125; cont !fin; ping; cont "c""#;
        let endpoint = receive(role, source);
        let three = b"3".repeat(125);
        let expected = [
            Seen::Ping(b"1".to_vec()),
            Seen::Pong(b"2".to_vec()),
            Seen::Ping(three.clone()),
            Seen::Ping(Vec::new()),
            text("abc"),
        ];
        assert_eq!(endpoint.events, expected);
        assert_eq!(sent(&endpoint), [(10, b"1".to_vec()), (10, three), (10, Vec::new())]);
    }
}

#[test]
fn a_close_between_fragments_ends_the_message_unfinished() {
    for role in ROLES {
        let endpoint = receive(role, "text \"a\" !fin; close 1001; cont \"b\"");
        let closure = endpoint.closure();
        assert!(closure.clean);
        assert_eq!(endpoint.events.len(), 2, "no message: {:?}", endpoint.events);
    }
}

#[test]
fn chunks_joined_are_the_messages_of_whole_delivery() {
    let source = r#"
        text "Hel" !fin; ping "x"; cont "l\u{f6}" !fin; cont !fin; cont "!"
        binary "abc" * 3; text; text !fin; cont; text "\u{1f600}\u{1f600}"
        text "\xf0\x9f" !fin; cont "\x98" !fin; ping; cont "\x80"
        close 1000 "bye"
    "#;
    let config = Config { delivery: Delivery::Chunks, ..Config::default() };
    for role in ROLES {
        let whole = receive(role, source);
        every_split(&from_peer(role, source), |_, pieces| {
            let mut endpoint = Endpoint::new(role, config.clone(), 6455, Behaviour::Silent);
            pieces.iter().for_each(|piece| endpoint.feed(piece));
            let (joined, rest) = join_chunks(&endpoint.events);
            assert_eq!((joined, rest), (whole.events.clone(), None));
            assert_eq!(endpoint.sent, whole.sent);
            for event in &endpoint.events {
                if let Seen::Chunk { text: true, data, .. } = event {
                    assert!(std::str::from_utf8(data).is_ok(), "a piece of text ends between characters");
                }
            }
        });
    }
}

#[test]
fn chunks_come_with_the_octets_and_hold_nothing() {
    let config = Config { delivery: Delivery::Chunks, max_frame: 10, ..Config::default() };
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, config.clone(), 6455, Behaviour::Silent);
        let bytes = from_peer(role, "binary \"x\" * 100_000");
        for (index, piece) in bytes.chunks(1000).enumerate() {
            endpoint.feed(piece);
            assert_eq!(endpoint.events.len(), index + 1, "each read is delivered at once");
            assert_eq!(endpoint.rx.len(), 0);
            assert_eq!(endpoint.rx.is_empty(), piece.len() < 1000, "a message is in progress until its end");
            assert!(endpoint.rx.capacity() <= 1000);
        }
        let Some(Seen::Chunk { first: false, last: true, .. }) = endpoint.events.last() else { panic!() };
        assert_eq!(endpoint.connection.state(), State::Open, "the frame limit is for whole delivery");
    }
}

#[test]
fn an_empty_message_is_one_empty_chunk() {
    let config = Config { delivery: Delivery::Chunks, ..Config::default() };
    for role in ROLES {
        for source in ["text", "text !fin; cont", "text !fin; cont !fin; ping; cont"] {
            let endpoint = crate::support::receive_with(role, &config, Behaviour::Silent, source);
            let chunk = Seen::Chunk { text: true, data: Vec::new(), first: true, last: true };
            assert!(endpoint.events.contains(&chunk), "{:?}", endpoint.events);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.4
//# A fragmented message consists of a single frame with the FIN bit
//# clear and an opcode other than 0, followed by zero or more frames
//# with the FIN bit clear and the opcode set to 0, and terminated by
//# a single frame with the FIN bit set and an opcode of 0.
#[test]
fn fragments_are_sent_with_the_right_opcodes_and_fin() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let connection = &mut endpoint.connection;
        connection.send_fragment(Message::Text("a"), false).unwrap();
        connection.send_fragment(Message::Text(""), false).unwrap();
        connection.ping(b"between").unwrap();
        connection.send_fragment(Message::Text("b"), true).unwrap();
        connection.send_fragment(Message::Binary(b"alone"), true).unwrap();
        connection.send_text("next").unwrap();
        endpoint.drain();
        let heads: Vec<_> =
            endpoint.frames().iter().map(|frame| (frame.header.opcode, frame.header.fin)).collect();
        assert_eq!(heads, [(1, false), (0, false), (9, true), (0, true), (2, true), (1, true)]);
        let stats = endpoint.connection.stats();
        assert_eq!((stats.messages_sent, stats.bytes_sent), (3, 11));
    }
}
