//! RFC 7692, section 7.2: the payload of compressed messages, octet for octet.

use crate::deflate_support::{
    NO_TAKEOVER, TAKEOVER, bare, codec, deflating, deflating_with, eager, eager_chunks, every_kind, frame,
};
use crate::support::{ROLES, binary, fails_by, from_peer, misbehaved, receive_by, text};
use framewright::deflate::{Decompressor, DeflateParams, InflateError, Level, WindowBits};
use framewright::{Config, Message, PeerMisbehaved, Role};
use framewright_testkit::deflate::{Deflater, compressible, stored_block};
use framewright_testkit::endpoint::{Endpoint, Seen, join_chunks};
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::split::every_split;

/// Each kind of endpoint receives the script in every split, and sees these texts.
fn receives(source: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|it| text(it)).collect();
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            assert_eq!(receive_by(make, &from_peer(role, source)).events, expected, "{source}");
        }
    }
}

const HELLO: &str = r#"text rsv1 hex "f2 48 cd c9 c9 07 00""#;

#[test]
fn section_7_2_3_1_a_message_in_one_compressed_block() {
    receives(HELLO, &["Hello"]);
    receives(r#"text rsv1 !fin hex "f2 48 cd"; cont hex "c9 c9 07 00""#, &["Hello"]);
    for role in ROLES {
        // It is no shorter than "Hello", so that it is sent only where the length is not known
        // beforehand.
        let mut endpoint = deflating(role, TAKEOVER);
        endpoint.connection.send_fragment(Message::Text("Hello"), true).unwrap();
        endpoint.drain();
        assert_eq!(bare(&endpoint), [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    }
}

#[test]
fn section_7_2_3_2_a_message_that_refers_to_the_one_before() {
    let again = r#"text rsv1 hex "f2 00 11 00 00""#;
    for role in ROLES {
        let bytes = from_peer(role, &format!("{HELLO}\n{again}"));
        let endpoint = receive_by(|| deflating(role, TAKEOVER), &bytes);
        assert_eq!(endpoint.events, [text("Hello"), text("Hello")]);
        // A message that is not compressed is no part of the window.
        let between = from_peer(role, &format!("{HELLO}\ntext \"other\"; ping \"x\"\n{again}"));
        let endpoint = receive_by(|| deflating(role, TAKEOVER), &between);
        assert_eq!((&endpoint.events[0], &endpoint.events[3]), (&text("Hello"), &text("Hello")));

        for params in [TAKEOVER, NO_TAKEOVER] {
            let mut endpoint = deflating(role, params);
            for _ in 0..2 {
                endpoint.connection.send_fragment(Message::Text("Hello"), true).unwrap();
            }
            endpoint.drain();
            let frames = endpoint.frames();
            if params == NO_TAKEOVER {
                assert_eq!(frames[0].payload, frames[1].payload);
            } else {
                // The reference is to all five letters; in the RFC it is to four of them.
                assert_eq!(frames[1].payload, [0x02, 0x13, 0x00, 0x00]);
            }
            let (messages, _) = endpoint.messages();
            assert!(messages.iter().all(|message| message.text && message.payload == b"Hello"));
        }
    }
}

#[test]
fn section_7_2_3_3_a_block_without_compression() {
    receives(r#"text rsv1 hex "00 05 00 fa ff 48 65 6c 6c 6f 00""#, &["Hello"]);
    // Of the largest size, twice.
    for role in ROLES {
        let octets = SplitMix64::new(1).octets(65_535);
        let payload = [stored_block(&octets, false), stored_block(&octets, true), vec![0x00]].concat();
        let mut endpoint = deflating(role, NO_TAKEOVER);
        endpoint.feed(&frame(role, "binary rsv1", &payload));
        assert!(endpoint.events == [binary(&[&octets[..], &octets].concat())]);
    }
}

//= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.1
//# The next DEFLATE block follows the padded data if any.
#[test]
fn section_7_2_3_4_a_final_block_and_more_behind_it() {
    receives(r#"text rsv1 hex "f3 48 cd c9 c9 07 00 00""#, &["Hello"]);
    // The message ends with the padding of a final block, or with an empty one that is final.
    receives(r#"text rsv1 hex "f3 48 cd c9 c9 07 00""#, &["Hello"]);
    receives(r#"text rsv1 hex "f2 48 05 00 00 00 ff ff ca c9 c9 07 00 00 00 ff ff 01""#, &["Hello"]);
    // What follows a final block refers to what came before it.
    receives(r#"text rsv1 hex "f3 48 cd c9 c9 07 00 f2 00 11 00 00""#, &["HelloHello"]);
    for role in ROLES {
        let source = r#"text rsv1 hex "f3 48 cd c9 c9 07 00 00"; text rsv1 hex "f2 00 11 00 00""#;
        let endpoint = receive_by(|| deflating(role, TAKEOVER), &from_peer(role, source));
        assert_eq!(endpoint.events, [text("Hello"), text("Hello")], "so does the next message");
    }
}

#[test]
fn section_7_2_3_5_two_blocks() {
    receives(r#"text rsv1 hex "f2 48 05 00 00 00 ff ff ca c9 c9 07 00""#, &["Hello"]);
}

//= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.3.6
//# The single octet 0x00 contains the header bits with "BFINAL" set to 0 and "BTYPE" set to 00, and 5 padding bits of 0.
#[test]
fn section_7_2_3_6_an_empty_message() {
    receives(
        r#"text rsv1 hex "00"; text rsv1 hex "02 00"; text rsv1 hex "01"; text rsv1 hex "03 00""#,
        &[""; 4],
    );
    receives(r#"text rsv1 !fin; cont !fin; cont hex "00" !fin; cont"#, &[""]);
    for role in ROLES {
        // An empty message is sent as it is: that is shorter. The last fragment of one that is
        // compressed cannot be.
        let mut endpoint = deflating(role, TAKEOVER);
        endpoint.connection.send(Message::Text("")).unwrap();
        endpoint.connection.send_fragment(Message::Text("Hello"), false).unwrap();
        endpoint.connection.send_fragment(Message::Text(""), true).unwrap();
        endpoint.drain();
        let first = [0x41, 0x0b, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff];
        assert_eq!(bare(&endpoint), [&[0x81, 0x00][..], &first, &[0x80, 0x01, 0x00]].concat());
    }
}

/// Endpoints for which each message of the peer stands by itself, and endpoints for which it does
/// not.
fn by_takeover(role: Role, config: &Config) -> [Vec<impl Fn() -> Endpoint + use<>>; 2] {
    let own = |no_takeover| match role {
        Role::Server => DeflateParams { client_no_context_takeover: no_takeover, ..TAKEOVER },
        Role::Client => DeflateParams { server_no_context_takeover: no_takeover, ..TAKEOVER },
    };
    [true, false].map(|no_takeover| {
        let make = |lent| {
            let (config, params) = (config.clone(), own(no_takeover));
            move || {
                let endpoint = deflating_with(role, config.clone(), params);
                if lent { endpoint.with_codec(codec()) } else { endpoint }
            }
        };
        vec![make(false), make(true)]
    })
}

const NOTHING: [&str; 4] = [
    "text rsv1",
    "text rsv1 !fin; cont",
    "text rsv1 !fin; ping; cont !fin; cont",
    "text rsv1 !fin; cont !fin; cont",
];

/// "Hello" with the octets that its sender should have removed, behind blocks of each kind.
const TAIL_LEFT_ON: [&str; 5] = [
    r#"text rsv1 hex "f2 48 cd c9 c9 07 00 00 00 ff ff""#,
    r#"text rsv1 !fin hex "f2 48 05 00 00 00 ff ff"; cont hex "ca c9 c9 07 00 00" !fin; cont hex "00 ff ff" !fin; cont"#,
    r#"text rsv1 hex "00 05 00 fa ff 48 65 6c 6c 6f 00 00 00 ff ff""#,
    r#"text rsv1 hex "f3 48 cd c9 c9 07 00 00 00 00 ff ff""#,
    r#"text rsv1 !fin hex "00 05 00 fa ff 48 65 6c 6c 6f 00 00"; ping; cont !fin; cont hex "00 ff ff""#,
];

#[test]
fn where_each_message_stands_by_itself_one_of_no_octets_is_empty() {
    for role in ROLES {
        let [alone, after_others] = by_takeover(role, &eager());
        for source in NOTHING {
            for make in &alone {
                let source = format!("{source}; {source}; {HELLO}; {source}");
                let endpoint = receive_by(make, &from_peer(role, &source));
                let texts = endpoint.events.iter().filter(|event| matches!(event, Seen::Text(_)));
                assert!(texts.eq(&[text(""), text(""), text("Hello"), text("")]), "{source}");
            }
            for make in &after_others {
                fails_by(make, source, misbehaved(PeerMisbehaved::InvalidDeflate));
            }
        }
    }
}

#[test]
fn where_each_message_stands_by_itself_its_tail_may_be_left_on() {
    for role in ROLES {
        let [alone, after_others] = by_takeover(role, &eager());
        for source in TAIL_LEFT_ON {
            for make in &alone {
                let source = format!("{source}; {HELLO}; {source}");
                let endpoint = receive_by(make, &from_peer(role, &source));
                let texts = endpoint.events.iter().filter(|event| matches!(event, Seen::Text(_)));
                assert!(texts.eq(&[text("Hello"), text("Hello"), text("Hello")]), "{source}");
            }
            for make in &after_others {
                fails_by(make, source, misbehaved(PeerMisbehaved::InvalidDeflate));
            }
        }
    }
}

#[test]
fn in_chunks_they_are_taken_too() {
    for role in ROLES {
        let [alone, _] = by_takeover(role, &eager_chunks());
        for (sources, expected) in [(&NOTHING[..], ""), (&TAIL_LEFT_ON, "Hello")] {
            for source in sources {
                for make in &alone {
                    let octets = from_peer(role, &format!("{source}; {HELLO}"));
                    every_split(&octets, |_, pieces| {
                        let mut endpoint = make();
                        pieces.iter().for_each(|piece| endpoint.feed(piece));
                        let (events, rest) = join_chunks(&endpoint.events);
                        let texts = events.iter().filter(|event| matches!(event, Seen::Text(_)));
                        assert!(texts.eq(&[text(expected), text("Hello")]) && rest.is_none(), "{source}");
                    });
                }
            }
        }
    }
}

/// A message may end so that the four octets are part of its last block, though it ends with four
/// like them already.
#[test]
fn what_a_block_has_for_its_own_is_no_tail_that_was_left_on() {
    let data = b"\x00\x00\xff\xff\x00\x00\xff\xff";
    let payload = &stored_block(data, false)[..5 + 4];
    for role in ROLES {
        for make in by_takeover(role, &eager()).into_iter().flatten() {
            for whole in [true, false] {
                let mut endpoint = make();
                let octets = frame(role, "binary rsv1", payload);
                if whole {
                    endpoint.feed(&octets);
                } else {
                    octets.chunks(1).for_each(|octet| endpoint.feed(octet));
                }
                assert_eq!(endpoint.events, [binary(data)]);
            }
        }
    }
}

#[test]
fn a_tail_that_was_left_on_is_seen_however_much_waits_to_be_written() {
    let mut rng = SplitMix64::new(8);
    for len in [1000, 4095, 4096, 4097, 65_535, 65_536, 65_537, 300_000] {
        let message = compressible(&mut rng, len);
        let mut payload = Deflater::new(6).message(&message);
        payload.extend([0, 0, 0xff, 0xff]);
        for role in ROLES {
            for config in [eager(), eager_chunks()] {
                let [alone, _] = by_takeover(role, &config);
                for make in alone {
                    let mut endpoint = make();
                    endpoint.feed(&frame(role, "binary rsv1", &payload));
                    let (events, _) = join_chunks(&endpoint.events);
                    assert!(
                        events == [binary(&message)],
                        "{len} octets: {:?}",
                        endpoint.connection.closure()
                    );
                }
            }
        }
    }
}

#[test]
fn what_ends_like_a_tail_within_a_block_is_cut_off() {
    let payload = &stored_block(b"\x00\x00\xff\xff and more", false)[..5 + 4];
    let hex: String = payload.iter().map(|octet| format!("{octet:02x}")).collect();
    for role in ROLES {
        for make in by_takeover(role, &eager()).into_iter().flatten() {
            // With only these octets there is no header of a block; and the block lacks nine.
            for payload in ["0000ffff", &hex, "0000ff", "f248cdc9c90000ffff"] {
                let source = format!("binary rsv1 hex \"{payload}\"");
                fails_by(&make, &source, misbehaved(PeerMisbehaved::InvalidDeflate));
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.2
//# Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the
//# payload of the message.
#[test]
fn a_message_that_is_cut_off_after_any_octet_fails_the_connection() {
    let mut rng = SplitMix64::new(2);
    let message = compressible(&mut rng, 300);
    // Its last octet alone may be missing where only the header of the empty block behind it is in
    // there.
    let payload = Deflater::new(9).message(&message);
    for role in ROLES {
        for cut in 1..payload.len() - 1 {
            let mut endpoint = deflating(role, NO_TAKEOVER);
            endpoint.feed(&frame(role, "binary rsv1", &payload[..cut]));
            let cause = misbehaved(PeerMisbehaved::InvalidDeflate);
            assert_eq!(endpoint.closure().cause, Some(cause), "cut after {cut} octets");
        }
    }
}

#[test]
fn what_the_receiver_appends_is_no_part_of_a_message() {
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            // Blocks that lack 5, 9 and 100 octets, the last of them or not.
            for payload in ["01 05 00 fa ff", "01 09 00 f6 ff", "00 09 00 f6 ff", "01 64 00 9b ff 61"] {
                let source = format!("binary rsv1 hex \"{payload}\"");
                fails_by(|| deflating(role, params), &source, misbehaved(PeerMisbehaved::InvalidDeflate));
            }
        }
    }
}

/// Numbers and how many bits each has, the least significant bit first, in octets.
fn packed(fields: &[(usize, usize)]) -> Vec<u8> {
    let bits: Vec<usize> =
        fields.iter().flat_map(|&(number, count)| (0..count).map(move |bit| number >> bit & 1)).collect();
    let octet = |bits: &[usize]| bits.iter().rev().fold(0, |octet, bit| 2 * octet + bit);
    bits.chunks(8).map(|bits| u8::try_from(octet(bits)).expect("eight bits")).collect()
}

/// A block with its own codes, of so many literals, distances and lengths less the least.
fn dynamic(literals: usize, distances: usize, lengths: usize, rest: &[(usize, usize)]) -> Vec<u8> {
    packed(&[&[(0, 1), (2, 2), (literals, 5), (distances, 5), (lengths, 4)], rest].concat())
}

#[test]
fn each_fault_of_deflate_fails_the_connection_at_the_octet_that_proves_it() {
    // Lengths of the codes 16 and 18: one bit each. 18 and 127 are 138 zeros.
    let repeat: &[(usize, usize)] = &[(1, 3), (0, 3), (1, 3), (0, 3)];
    let zeros = |count: usize| [(1, 1), (count - 11, 7)];
    // The same for 0, 1 and 18, with 10, 0 and 11.
    let mut ones = vec![(0, 3); 18];
    (ones[2], ones[3], ones[17]) = ((2, 3), (2, 3), (1, 3));
    let two_zeros = [&[(3, 2), (127, 7)], &[(3, 2), (115 - 11, 7)][..]].concat();
    for (fault, payload) in [
        ("block type 3", vec![0x06]),
        ("block type 3 after a good block", vec![0xf2, 0x48, 5, 0, 0, 0, 0xff, 0xff, 0x07]),
        ("a length and its complement differ", b"\x00\x05\x00\xfb\xffHello\x00".to_vec()),
        ("a distance with nothing before it", packed(&[(0, 1), (1, 2), (0b100_0000, 7), (0, 5)])),
        ("a distance too far", vec![0xf2, 0x00, 0x13, 0x00, 0x00]),
        ("length symbol 286", packed(&[(0, 1), (1, 2), (0b0110_0011, 8)])),
        ("distance symbol 30", packed(&[(0, 1), (1, 2), (0b100_0000, 7), (0b01111, 5)])),
        ("too many symbols for lengths", dynamic(30, 0, 0, &[])),
        ("too many symbols for distances", dynamic(0, 30, 0, &[])),
        ("too many codes of lengths", dynamic(0, 0, 0, &[(1, 3); 4])),
        ("too few codes of lengths", dynamic(0, 0, 0, &[(0, 3), (0, 3), (0, 3), (2, 3)])),
        ("repetition of nothing", dynamic(0, 0, 0, &[repeat, &[(0, 3)]].concat())),
        ("repetition beyond the end", dynamic(0, 0, 0, &[repeat, &zeros(138), &zeros(138)].concat())),
        ("no end of block", dynamic(0, 0, 0, &[repeat, &zeros(138), &zeros(120)].concat())),
        (
            "too many codes of literals",
            dynamic(0, 0, 14, &[&ones[..], &[(0, 1); 3], &two_zeros, &[(0, 1), (1, 2)]].concat()),
        ),
    ] {
        for role in ROLES {
            for params in [TAKEOVER, NO_TAKEOVER] {
                let hex: String = payload.iter().map(|octet| format!("{octet:02x}")).collect();
                let source = format!("binary rsv1 !fin hex \"{hex}\"; ping; cont hex \"00\"");
                let cause = misbehaved(PeerMisbehaved::InvalidDeflate);
                let endpoint = fails_by(|| deflating(role, params), &source, cause);
                assert_eq!(endpoint.events.len(), 1, "{fault}: the Ping behind it is not seen");
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.1
//# Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end.
#[test]
fn what_is_sent_at_any_level_is_what_another_library_inflates() {
    let mut rng = SplitMix64::new(3);
    for role in ROLES {
        for level in 1..=9 {
            let mut config = eager();
            config.deflate.level = Level::new(level).unwrap();
            for params in [TAKEOVER, NO_TAKEOVER] {
                let mut endpoint = deflating_with(role, config.clone(), params);
                let messages: Vec<_> = [20, 500, 3000].map(|len| compressible(&mut rng, len)).into();
                for message in &messages {
                    endpoint.connection.send_binary(message).unwrap();
                    endpoint.drain();
                }
                let (sent, _) = endpoint.messages();
                assert!(sent.iter().map(|message| &message.payload).eq(&messages));
                assert!(sent[1].compressed && sent[2].compressed);
                assert!(endpoint.frames().iter().all(|frame| !frame.payload.ends_with(&[0, 0, 0xff, 0xff])));
            }
        }
    }
}

/// A client may agree on windows of 8 too.
#[test]
fn no_distance_beyond_the_agreed_window_is_sent() {
    let mut rng = SplitMix64::new(4);
    let message = compressible(&mut rng, 3000);
    for role in ROLES {
        for bits in if role == Role::Client { 8..=15 } else { 9..=15 } {
            for takeover in [false, true] {
                let window = WindowBits::new(bits).unwrap();
                let params = DeflateParams {
                    server_max_window_bits: window,
                    client_max_window_bits: window,
                    ..if takeover { TAKEOVER } else { NO_TAKEOVER }
                };
                let mut config = eager();
                config.deflate.history = WindowBits::MAX.size();
                let mut endpoint = deflating_with(role, config, params);
                for _ in 0..3 {
                    endpoint.connection.send_binary(&message).unwrap();
                }
                endpoint.connection.send_fragment(Message::Binary(&message), false).unwrap();
                endpoint.connection.send_fragment(Message::Binary(&message), true).unwrap();
                endpoint.drain();
                // `frames` refuses distances beyond the window; and that of 3,000 octets is used
                // where the window has room for two such messages.
                let frames = endpoint.frames();
                let (sent, _) = endpoint.messages();
                assert!(sent.iter().all(|sent| sent.compressed && sent.payload.starts_with(&message)));
                let again = frames[1].payload.len() < frames[0].payload.len() / 4;
                assert_eq!(again, takeover && bits >= 13, "{role:?}, {bits} bits");
            }
        }
    }
}

#[test]
fn a_message_may_refer_to_those_before_as_far_as_the_agreed_window() {
    let before = SplitMix64::new(5).octets(300);
    // Three octets from 256 and from 257 octets before: symbols 15 with 63 and 16 with 0, the codes
    // bit by bit.
    let copy = |symbol: [(usize, usize); 5], extra| {
        packed(&[&[(0, 1), (1, 2), (0b100_0000, 7)][..], &symbol, &[extra, (0, 7), (0, 3)]].concat())
    };
    let last = copy([(0, 1), (1, 1), (1, 1), (1, 1), (1, 1)], (63, 6));
    let beyond = copy([(1, 1), (0, 1), (0, 1), (0, 1), (0, 1)], (0, 7));
    for role in ROLES {
        for bits in [8, 9] {
            let window = WindowBits::new(bits).unwrap();
            let params =
                DeflateParams { server_max_window_bits: window, client_max_window_bits: window, ..TAKEOVER };
            for (payload, from, allowed) in [(&last, 44, true), (&beyond, 43, bits > 8)] {
                let mut endpoint = deflating(role, params);
                endpoint.feed(&frame(role, "binary rsv1", &Deflater::new(6).message(&before)));
                endpoint.feed(&frame(role, "binary rsv1", payload));
                if allowed {
                    assert_eq!(endpoint.events, [binary(&before), binary(&before[from..from + 3])]);
                } else {
                    let cause = misbehaved(PeerMisbehaved::InvalidDeflate);
                    assert_eq!(endpoint.closure().cause, Some(cause));
                }
            }
        }
    }
}

#[test]
fn a_decompressor_has_nothing_of_a_message_before_it_was_reset() {
    let mut decompressor = Decompressor::new();
    let mut out = Vec::new();
    decompressor.decompress(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 5, &mut out).unwrap();
    decompressor.reset();
    let again = decompressor.decompress(&[0xf2, 0x00, 0x11, 0x00, 0x00], 5, &mut out);
    assert_eq!((again, out.starts_with(b"Hello")), (Err(InflateError::Corrupt), true));
}

#[test]
fn another_connections_message_is_never_referred_to() {
    for role in ROLES {
        let mut codec = Some(codec());
        let mut run = |params, source: &str| {
            let mut endpoint = deflating(role, params).with_codec(codec.take().unwrap());
            endpoint.feed(&from_peer(role, source));
            codec = endpoint.codec.take().map(|codec| *codec);
            endpoint
        };
        for first in [TAKEOVER, NO_TAKEOVER] {
            for second in [TAKEOVER, NO_TAKEOVER] {
                assert_eq!(run(first, HELLO).events, [text("Hello")]);
                // One that ended in the middle of its message, too.
                assert_eq!(run(first, "text rsv1 !fin hex \"f2 48 cd c9 c9 07 00 00\"").events.len(), 0);
                let endpoint: Endpoint = run(second, "text rsv1 hex \"f2 00 11 00 00\"");
                let cause = misbehaved(PeerMisbehaved::InvalidDeflate);
                assert_eq!(endpoint.closure().cause, Some(cause), "{first:?}, {second:?}");
            }
        }
    }
}
