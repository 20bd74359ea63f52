//! RFC 7692, section 6: RSV1, and compressed messages in fragments.

use crate::deflate_support::{
    NO_TAKEOVER, TAKEOVER, deflating, deflating_with, eager, eager_chunks, every_kind, frame,
};
use crate::support::{ROLES, binary, fails, fails_by, from_peer, misbehaved, receive_by, text};
use framewright::frame::OpCode;
use framewright::{Config, Message, PeerMisbehaved, SendError};
use framewright_testkit::deflate::{Deflater, compressible};
use framewright_testkit::endpoint::{Seen, join_chunks};
use framewright_testkit::naive::inflate::Inflation;
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::split::every_split;

//= https://www.rfc-editor.org/rfc/rfc7692#section-6.1
//# An endpoint MUST NOT set the "Per-Message Compressed"
//# bit of control frames and non-first fragments of a data message.
#[test]
fn rsv1_on_a_control_frame_or_a_continuation_fails_the_connection() {
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            for (statement, opcode) in [
                ("ping", OpCode::Ping),
                ("pong", OpCode::Pong),
                ("close", OpCode::Close),
                ("cont", OpCode::Continuation),
            ] {
                for before in ["", "text \"a\" !fin;", "text rsv1 !fin hex \"f2 48 cd\";"] {
                    let source = format!("{before} {statement} rsv1 deflate \"Hello\"");
                    fails_by(&make, &source, misbehaved(PeerMisbehaved::MisplacedRsv1(opcode)));
                }
            }
        }
    }
}

#[test]
fn every_other_reserved_bit_fails_the_connection() {
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            for (marks, bits) in [
                ("rsv2", 2),
                ("rsv3", 1),
                ("rsv2 rsv3", 3),
                ("rsv1 rsv2", 6),
                ("rsv1 rsv3", 5),
                ("rsv1 rsv2 rsv3", 7),
            ] {
                for statement in ["text", "binary !fin", "text !fin; cont", "ping"] {
                    let source = format!("{statement} {marks}");
                    fails_by(&make, &source, misbehaved(PeerMisbehaved::ReservedBits(bits)));
                }
            }
        }
    }
}

#[test]
fn rsv1_without_the_extension_fails_the_connection() {
    for role in ROLES {
        for source in ["text rsv1 deflate \"Hello\"", "text \"a\"; binary rsv1 !fin", "text !fin; cont rsv1"]
        {
            fails(role, source, misbehaved(PeerMisbehaved::ReservedBits(4)));
        }
    }
}

#[test]
fn control_frames_between_compressed_fragments_leave_the_message_alone() {
    let source = r#"
        text rsv1 !fin hex "f2"; ping "a"
        cont !fin hex "48 cd"; pong "b"; ping
        cont !fin; ping "c"
        cont hex "c9 c9 07 00"
        text "plain"
        close 1000
    "#;
    let ping = |data: &[u8]| Seen::Ping(data.to_vec());
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            let endpoint = receive_by(make, &from_peer(role, source));
            let expected =
                [ping(b"a"), Seen::Pong(b"b".to_vec()), ping(b""), ping(b"c"), text("Hello"), text("plain")];
            assert_eq!(endpoint.events[..6], expected);
            let answers: Vec<_> = endpoint.frames().iter().map(|frame| frame.header.rsv).collect();
            assert_eq!(answers, [0; 4], "Pongs and the Close are not compressed");
        }
    }
}

#[test]
fn compressed_and_plain_messages_mix() {
    let source = r#"
        text rsv1 deflate "one"; text "two"; binary rsv1 deflate "three" * 100
        binary "four" !fin; cont "five"; text rsv1 deflate ""; text; binary rsv1 deflate "six"
    "#;
    let three = b"three".repeat(100);
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            let endpoint = receive_by(make, &from_peer(role, source));
            let expected = [
                text("one"),
                text("two"),
                binary(&three),
                binary(b"fourfive"),
                text(""),
                text(""),
                binary(b"six"),
            ];
            assert_eq!(endpoint.events, expected);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.2
//# Decompress the resulting data using DEFLATE.
#[test]
fn text_is_validated_after_inflating_and_a_fragment_may_cut_a_character() {
    let word = "κόσμε \u{1f642}";
    let payload = Deflater::new(6).message(word.as_bytes());
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            for cut in 0..=payload.len() {
                let first = frame(role, "text rsv1 !fin", &payload[..cut]);
                let octets = [first, frame(role, "cont", &payload[cut..])].concat();
                let mut endpoint = make();
                octets.chunks(3).for_each(|piece| endpoint.feed(piece));
                assert_eq!(endpoint.events, [text(word)]);
            }
        }
    }
}

#[test]
fn invalid_text_fails_the_connection_as_soon_as_it_is_inflated() {
    // The inflated octets come one by one, in a block without compression, and all at once, in a
    // compressed one.
    let stored = |octets: &str| format!("text rsv1 !fin hex \"00 40 00 bf ff {octets}\"; cont \"rest\"");
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            for octets in ["ff", "61 c3 28", "e2 82", "ed a0 80", "f4 90"] {
                let source = match octets {
                    // Cut off at the end of the message.
                    "e2 82" => "text rsv1 hex \"00 02 00 fd ff e2 82 00\"".to_owned(),
                    _ => stored(octets),
                };
                fails_by(&make, &source, misbehaved(PeerMisbehaved::InvalidUtf8));
            }
            let source = "text rsv1 !fin deflate hex \"61 62 c0 80\"; ping; cont";
            fails_by(&make, source, misbehaved(PeerMisbehaved::InvalidUtf8));
            // The same octets are a fine binary message.
            let octets = from_peer(role, "binary rsv1 deflate hex \"ff c3 28 e2 82\"");
            assert_eq!(receive_by(&make, &octets).events, [binary(b"\xff\xc3\x28\xe2\x82")]);
        }
    }
}

#[test]
fn chunks_are_the_message_in_pieces_and_text_is_cut_between_characters() {
    let mut rng = SplitMix64::new(5);
    let word: String =
        (0..300).map(|_| char::from_u32(0x3b0 + u32::from(rng.octets(1)[0])).unwrap()).collect();
    let data = compressible(&mut rng, 600);
    for role in ROLES {
        for make in every_kind(role, &eager_chunks()) {
            for (statement, message) in
                [("text", Seen::Text(word.clone())), ("binary", Seen::Binary(data.clone()))]
            {
                let octets = if statement == "text" { word.as_bytes() } else { &data };
                let payload = Deflater::new(6).message(octets);
                let (head, tail) = payload.split_at(payload.len() / 3);
                let stream = [
                    frame(role, &format!("{statement} rsv1 !fin"), head),
                    frame(role, "cont", tail),
                    from_peer(role, "text \"end\""),
                ]
                .concat();
                every_split(&stream, |_, pieces| {
                    let mut endpoint = make();
                    pieces.iter().for_each(|piece| endpoint.feed(piece));
                    let (events, partial) = join_chunks(&endpoint.events);
                    assert_eq!((events, partial), (vec![message.clone(), text("end")], None));
                    for event in &endpoint.events {
                        let Seen::Chunk { text, data, .. } = event else { panic!("{event:?}") };
                        assert!(!text || std::str::from_utf8(data).is_ok());
                    }
                });
            }
        }
    }
}

#[test]
fn what_is_inflated_of_a_chunked_message_is_delivered_without_waiting_for_more() {
    for role in ROLES {
        for make in every_kind(role, &eager_chunks()) {
            let mut endpoint = make();
            // "Hello" with a block behind it that ends at an octet: all of it is there, though the
            // message goes on.
            endpoint.feed(&from_peer(role, "text rsv1 !fin hex \"f2 48 cd c9 c9 07 00 00 00 ff ff\""));
            let hello = |last| Seen::Chunk { text: true, data: b"Hello".to_vec(), first: true, last };
            assert_eq!(endpoint.events, [hello(false)]);
            endpoint.feed(&from_peer(role, "ping; cont hex \"00\""));
            let end = Seen::Chunk { text: true, data: vec![], first: false, last: true };
            assert_eq!(endpoint.events, [hello(false), Seen::Ping(vec![]), end]);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc7692#section-6.1
//# Set the "Per-Message Compressed" bit of the first frame to 1.
#[test]
fn a_message_that_is_sent_in_fragments_is_compressed_as_a_whole() {
    let mut rng = SplitMix64::new(6);
    let parts = [200, 0, 500, 1, 0].map(|len| compressible(&mut rng, len));
    for role in ROLES {
        for make in every_kind(role, &Config::default()) {
            let mut endpoint = make();
            for _ in 0..2 {
                for (index, part) in parts.iter().enumerate() {
                    let last = index + 1 == parts.len();
                    endpoint.connection.send_fragment(Message::Binary(part), last).unwrap();
                    endpoint.connection.ping(b"between").unwrap();
                    endpoint.drain();
                    assert_eq!(endpoint.connection.is_fragmenting(), !last);
                }
            }
            let (messages, _) = endpoint.messages();
            assert!(messages.iter().all(|it| it.compressed && !it.text && it.payload == parts.concat()));
            let frames = endpoint.frames();
            let kinds: Vec<_> =
                frames[..10].iter().map(|frame| (frame.header.opcode, frame.header.rsv)).collect();
            assert_eq!(kinds[..4], [(2, 4), (9, 0), (0, 0), (9, 0)]);
            assert!(kinds[4..].iter().all(|&(opcode, rsv)| matches!(opcode, 0 | 9) && rsv == 0));
            // What is sent so far can be inflated so far.
            let mut payload = Vec::new();
            for (count, frame) in frames[..10].iter().step_by(2).enumerate() {
                payload.extend_from_slice(&frame.payload);
                let begun = Inflation::new(false, 1 << 15).begun(&payload, usize::MAX);
                assert_eq!(begun.octets, parts[..=count].concat());
            }
        }
    }
}

#[test]
fn a_message_whose_first_fragment_is_short_is_sent_as_it_is() {
    let long = compressible(&mut SplitMix64::new(7), 1000);
    for role in ROLES {
        let mut endpoint = deflating_with(role, Config::default(), TAKEOVER);
        for (data, last) in [(&long[..10], false), (&long[10..], false), (&[], true)] {
            endpoint.connection.send_fragment(Message::Binary(data), last).unwrap();
        }
        endpoint.drain();
        let (messages, _) = endpoint.messages();
        assert_eq!((messages[0].compressed, &messages[0].payload), (false, &long));
    }
}

#[test]
fn the_rules_of_fragments_hold_for_compressed_ones() {
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let make = || deflating(role, params);
            let begun = "text rsv1 !fin hex \"f2 48\"";
            let interleaved = || misbehaved(PeerMisbehaved::InterleavedMessage);
            fails_by(make, &format!("{begun}; text \"new\""), interleaved());
            fails_by(make, &format!("{begun}; text rsv1 deflate \"new\""), interleaved());
            let orphan = "text rsv1 deflate \"Hello\"; cont hex \"00\"";
            fails_by(make, orphan, misbehaved(PeerMisbehaved::UnexpectedContinuation));

            let mut endpoint = make();
            endpoint.connection.send_fragment(Message::Text("Hello, Hello, Hello"), false).unwrap();
            let other = endpoint.connection.send_fragment(Message::Binary(b"x"), true);
            assert_eq!(other, Err(SendError::FragmentType));
            assert_eq!(endpoint.connection.send_text("x"), Err(SendError::FragmentInProgress));
            endpoint.connection.send_fragment(Message::Text("!"), true).unwrap();
            endpoint.drain();
            assert_eq!(endpoint.messages().0[0].payload, b"Hello, Hello, Hello!");
        }
    }
}
