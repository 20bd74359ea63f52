//! Frames that a server must not send, or not send that many of (RFC 6455, sections 5, 8.1 and
//! 10.4): the connection fails with the right code, the server is told, and nothing follows.

use crate::common::{Kind, Server, plain, request, through_both_apis};
use framewright::frame::OpCode;
use framewright::{Closure, Config, Delivery, Error, LimitExceeded, PeerMisbehaved};
use framewright_client::Options;
use framewright_testkit::endpoint::{Seen, join_chunks};
use std::thread;

/// The script fails the connection with this cause: events up to the end come first.
#[track_caller]
fn fails(kind: Kind, script: &'static str, cause: PeerMisbehaved) -> Vec<Seen> {
    fails_with(kind, &plain(), script, Error::Peer(cause))
}

/// With these settings, the script fails the connection with this error.
#[track_caller]
fn fails_with(kind: Kind, options: &Options, script: &'static str, cause: Error) -> Vec<Seen> {
    let code = cause.close_code().expect("a fault with a code");
    let server = Server::open(move |peer| {
        peer.script(script);
        peer.skip_pongs();
        let reason = peer.expect_close(code.get());
        // The client has ended its direction and waits for ours, for a while.
        peer.expect_end();
        reason
    });
    let mut client = kind.connect(request(server.addr()), options).expect("an open connection");
    let mut events = client.rest();
    let Some(Seen::Closed(closure)) = events.pop() else { panic!("{events:?} for {script}") };
    assert_eq!(closure.cause, Some(cause), "{script}");
    assert_eq!((closure.clean, closure.code(), closure.reason()), (false, 1006, ""), "{script}");
    assert_eq!(client.send_text("late"), Err(framewright::SendError::Closed));
    let reason = server.end();
    let sent = closure.sent.expect("a Close frame");
    assert_eq!((sent.code, &*sent.reason), (Some(code), &*reason));
    events
}

// Conformance 56.
//= https://www.rfc-editor.org/rfc/rfc6455#section-5.1
//# A client MUST close a connection if it detects a masked
//# frame.
#[test]
fn a_masked_frame_of_any_type_fails_the_connection() {
    through_both_apis(|kind| {
        for script in [
            "text \"a\" mask",
            "binary mask",
            "ping mask",
            "pong mask=00000000",
            "close 1000 mask",
            "text \"a\" !fin; cont mask",
            "binary \"x\" * 70000 mask",
        ] {
            fails(kind, script, PeerMisbehaved::MaskedFrame);
        }
    });
}

// Conformance 57.
#[test]
fn a_reserved_bit_that_nobody_agreed_on_fails_the_connection() {
    through_both_apis(|kind| {
        for (script, bits) in [
            ("text \"a\" rsv1", 4),
            ("binary rsv2", 2),
            ("text rsv3", 1),
            ("ping rsv1", 4),
            ("pong rsv2 rsv3", 3),
            ("close 1000 rsv1", 4),
            ("text !fin; cont rsv1 rsv2 rsv3", 7),
        ] {
            fails(kind, script, PeerMisbehaved::ReservedBits(bits));
        }
    });
}

// Conformance 58.
#[test]
fn a_reserved_opcode_fails_the_connection() {
    through_both_apis(|kind| {
        for (script, opcode) in [
            ("op 3", 3),
            ("op 4 \"data\"", 4),
            ("op 5 !fin", 5),
            ("op 6", 6),
            ("op 7", 7),
            ("op 11", 11),
            ("op 12 \"control\"", 12),
            ("op 13", 13),
            ("op 14", 14),
            ("text \"a\" !fin; op 15", 15),
        ] {
            fails(kind, script, PeerMisbehaved::UnknownOpcode(opcode));
        }
    });
}

// Conformance 64, 70.
#[test]
fn a_fragmented_or_oversized_control_frame_fails_the_connection() {
    through_both_apis(|kind| {
        fails(kind, "ping \"a\" !fin", PeerMisbehaved::FragmentedControl(OpCode::Ping));
        fails(kind, "pong !fin; cont", PeerMisbehaved::FragmentedControl(OpCode::Pong));
        fails(kind, "close 1000 !fin", PeerMisbehaved::FragmentedControl(OpCode::Close));
        fails(kind, "ping \"a\" * 126", PeerMisbehaved::ControlTooLong(OpCode::Ping));
        fails(kind, "pong len=65536", PeerMisbehaved::ControlTooLong(OpCode::Pong));
        fails(kind, "close 1000 \"r\" * 124", PeerMisbehaved::ControlTooLong(OpCode::Close));
    });
}

// Conformance 67, 69.
#[test]
fn a_continuation_outside_a_message_or_a_message_inside_another_one_fails_the_connection() {
    through_both_apis(|kind| {
        for script in ["cont \"a\"", "cont !fin", "text \"a\" !fin; cont \"b\"; cont \"c\""] {
            fails(kind, script, PeerMisbehaved::UnexpectedContinuation);
        }
        for script in
            ["text \"a\" !fin; text \"b\"", "binary !fin; ping; binary", "text !fin; cont !fin; binary \"x\""]
        {
            fails(kind, script, PeerMisbehaved::InterleavedMessage);
        }
    });
}

// Conformance 59, 60.
#[test]
fn a_length_that_is_not_minimal_or_has_its_top_bit_set_fails_the_connection() {
    through_both_apis(|kind| {
        for (script, len) in [
            ("binary form=16", 0),
            ("text \"x\" * 125 form=16", 125),
            ("binary len=125 form=64", 125),
            ("binary len=126 form=64", 126),
            ("binary len=65535 form=64", 65535),
        ] {
            fails(kind, script, PeerMisbehaved::NonMinimalLength(len));
        }
        // Each waits a while for payload data that never comes.
        thread::scope(|scope| {
            for script in [
                "binary len=0x8000000000000000",
                "text len=0xffffffffffffffff",
                "text !fin; cont len=0x8000000000000001",
            ] {
                scope.spawn(move || fails(kind, script, PeerMisbehaved::LengthTopBit));
            }
        });
    });
}

// Conformance 96.
#[test]
fn a_declared_length_over_the_limit_fails_the_connection_before_its_payload_comes() {
    through_both_apis(|kind| {
        let limit = 16 << 20;
        let frame = |announced| Error::Limit(LimitExceeded::FrameTooLarge { announced, limit });
        let sum = Error::Limit(LimitExceeded::MessageTooLarge { announced: (16 << 20) + 5, limit });
        // Each waits a while for payload data that never comes.
        thread::scope(|scope| {
            for (script, cause) in [
                ("binary len=0x0080000000000001", frame(0x0080_0000_0000_0001)),
                ("text len=0x7fffffffffffffff", frame(u64::MAX >> 1)),
                ("binary !fin; cont len=0xffffffff", frame(0xFFFF_FFFF)),
                ("binary len=0x1000001", frame((16 << 20) + 1)),
                ("binary \"12345\" !fin; cont len=0x1000000", sum),
            ] {
                scope.spawn(move || fails_with(kind, &plain(), script, cause));
            }
        });
    });
}

// Conformance 79, 93.
//= https://www.rfc-editor.org/rfc/rfc6455#section-8.1
//# When an endpoint is to interpret a byte stream as UTF-8 but finds
//# that the byte stream is not, in fact, a valid UTF-8 stream, that
//# endpoint MUST _Fail the WebSocket Connection_.
#[test]
fn text_that_is_not_utf_8_fails_the_connection_with_1007() {
    through_both_apis(|kind| {
        for script in [
            "text \"\\xff\"",
            "text \"ok\" hex \"c3 28\"",
            "text hex \"ed a0 80\"",
            "text hex \"c0 80\"",
            "text hex \"f4 90 80 80\"",
            "text hex \"ce ba\" !fin; cont hex \"ed\" !fin; cont hex \"a0 80\"",
            "text hex \"e2 82\"",
            "text hex \"e2\" !fin; ping; cont hex \"82\"",
            "text \"a\" * 200000 hex \"80\"",
            // The octet that proves it comes long before the end that was declared.
            "text \"\\xff\" len=100000",
        ] {
            fails(kind, script, PeerMisbehaved::InvalidUtf8);
        }
    });
}

// Conformance 96.
#[test]
fn endless_fragments_end_at_the_limits() {
    through_both_apis(|kind| {
        let options = |connection| Options { connection, ..plain() };
        let few = options(Config { small_frame_budget: 100, ..Config::default() });
        let budget = || Error::Limit(LimitExceeded::SmallFrames { limit: 100 });
        fails_with(kind, &few, "text !fin; repeat 101 { cont !fin }", budget());
        fails_with(kind, &few, "binary \"x\" !fin; repeat 101 { cont \"y\" !fin; ping }", budget());
        let small = options(Config { max_message: 10_000, ..Config::default() });
        let limit = LimitExceeded::MessageTooLarge { announced: 10_100, limit: 10_000 };
        fails_with(
            kind,
            &small,
            "repeat 1 { binary \"x\" * 100 !fin }; repeat 100 { cont \"x\" * 100 !fin }",
            Error::Limit(limit),
        );
    });
}

#[test]
fn what_came_before_a_fault_is_delivered_and_nothing_behind_it() {
    through_both_apis(|kind| {
        let script = "text \"one\"; ping \"p\"; binary \"two\"; op 3; text \"never\"; ping";
        let server = Server::open(move |peer| {
            peer.script(script);
            peer.expect(10, b"p");
            peer.expect_close(1002);
            peer.expect_end();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        let events = client.rest();
        let expected =
            [Seen::Text("one".to_owned()), Seen::Ping(b"p".to_vec()), Seen::Binary(b"two".to_vec())];
        assert_eq!(events[..3], expected);
        assert!(
            matches!(&events[3..], [Seen::Closed(Closure { cause: Some(Error::Peer(_)), .. })]),
            "{events:?}"
        );
        server.end();
    });
}

// Conformance 65, 66, 68.
#[test]
fn messages_in_any_number_of_fragments_and_reads_arrive_whole() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            let script = "text \"Hel\" !fin; ping \"between\"; cont !fin; cont \"lo \\u{2708}\"; binary \"x\" * 200; text";
            for octet in framewright_testkit::script::bytes(framewright::Role::Server, script) {
                peer.send([octet]);
            }
            peer.expect(10, b"between");
            peer.answer_close();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        assert_eq!(client.next(), Some(Seen::Ping(b"between".to_vec())));
        client.expect_text("Hello \u{2708}");
        assert_eq!(client.next(), Some(Seen::Binary(vec![b'x'; 200])));
        client.expect_text("");
        client.start_close(1000, "").expect("an open connection");
        client.expect_close_received(Some(1000), "");
        assert!(client.expect_closed().clean);
        server.end();
    });
}

#[test]
fn messages_of_every_length_form_arrive() {
    through_both_apis(|kind| {
        const LENGTHS: [usize; 9] = [0, 1, 125, 126, 127, 65535, 65536, 300_000, 4 << 20];
        let server = Server::open(|peer| {
            for len in LENGTHS {
                peer.script(&format!("binary \"x\" * {len}"));
            }
            peer.answer_close();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        for len in LENGTHS {
            let Some(Seen::Binary(payload)) = client.next() else { panic!("no message of {len} octets") };
            assert!(payload.len() == len && payload.iter().all(|&octet| octet == b'x'), "{len} octets");
        }
        client.start_close(1000, "").expect("an open connection");
        client.expect_close_received(Some(1000), "");
        assert!(client.expect_closed().clean);
        server.end();
    });
}

// Conformance 66: constant memory however large the message.
#[test]
fn a_message_can_be_delivered_in_chunks() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.script("text \"caf\" hex \"c3\" !fin; ping; cont hex \"a9\"; binary \"x\" * 300000; text");
            peer.expect(10, b"");
            peer.answer_close();
        });
        let connection = Config { delivery: Delivery::Chunks, ..Config::default() };
        let mut client = kind
            .connect(request(server.addr()), &Options { connection, ..plain() })
            .expect("an open connection");
        let mut events = Vec::new();
        while join_chunks(&events).0.len() < 4 {
            events.push(client.next().expect("an open connection"));
        }
        let (messages, partial) = join_chunks(&events);
        let expected = [
            Seen::Ping(Vec::new()),
            Seen::Text("caf\u{e9}".to_owned()),
            Seen::Binary(vec![b'x'; 300_000]),
            Seen::Text(String::new()),
        ];
        assert!(messages == expected && partial.is_none(), "{events:?}");
        client.start_close(1000, "").expect("an open connection");
        client.rest();
        server.end();
    });
}
