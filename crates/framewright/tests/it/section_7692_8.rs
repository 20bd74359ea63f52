//! RFC 7692, section 8, and RFC 6455, section 10.4: what a compressed message may cost its
//! receiver. Limits, turns, memory.

use crate::deflate_support::{
    NO_TAKEOVER, TAKEOVER, codec, deflating, deflating_with, eager, eager_chunks, every_kind, frame,
};
use crate::support::{ROLES, binary, fails_by, from_peer, limit, misbehaved, receive_by, text};
use framewright::deflate::{Codec, DeflateMemory, DeflateParams};
use framewright::{Config, Delivery, Error, LimitExceeded, PeerMisbehaved, Role, State};
use framewright_testkit::deflate::{Deflater, compressible, stored_block};
use framewright_testkit::endpoint::{Endpoint, Seen, join_chunks};
use framewright_testkit::rng::SplitMix64;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A large message, and what it is compressed to: about 2 KiB.
fn zeros() -> (Vec<u8>, Vec<u8>) {
    let message = vec![0; 2 << 20];
    let payload = Deflater::new(1).message(&message);
    (message, payload)
}

fn too_large(announced: u64, most: u64) -> Error {
    limit(LimitExceeded::MessageTooLarge { announced, limit: most })
}

#[test]
fn a_message_may_inflate_to_the_limit_and_no_further() {
    for role in ROLES {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let config = Config { max_message: 1000, delivery, ..eager() };
            for make in every_kind(role, &config) {
                let source = "binary rsv1 deflate \"x\" * 1000; text rsv1 deflate \"Hello\"";
                let (events, _) = join_chunks(&receive_fed(&make, &from_peer(role, source)).events);
                assert_eq!(events, [binary(&[b'x'; 1000]), text("Hello")]);
            }
        }
        for make in every_kind(role, &Config { max_message: 1000, ..eager() }) {
            for source in ["binary rsv1 deflate \"x\" * 1001", "text rsv1 deflate \"x\" * 2000; ping"] {
                fails_by(&make, source, too_large(1001, 1000));
            }
            // Over fragments, and in the empty block that follows the last of them.
            fails_by(
                &make,
                "binary rsv1 !fin hex \"00 e9 03 16 fc\" \"x\" * 990; cont \"x\" * 11",
                too_large(1001, 1000),
            );
        }
        // A limit of nothing lets nothing through.
        for make in every_kind(role, &Config { max_message: 0, ..eager() }) {
            assert_eq!(receive_fed(&make, &from_peer(role, "text rsv1 deflate \"\"")).events, [text("")]);
            fails_by(&make, "text rsv1 deflate \"x\"", too_large(1, 0));
        }
    }
}

/// In one piece, and octet by octet.
fn receive_fed(make: impl Fn() -> Endpoint, octets: &[u8]) -> Endpoint {
    let (mut whole, mut by_octet) = (make(), make());
    whole.feed(octets);
    octets.chunks(1).for_each(|octet| by_octet.feed(octet));
    assert_eq!(join_chunks(&whole.events).0, join_chunks(&by_octet.events).0);
    assert_eq!(whole.sent, by_octet.sent);
    whole
}

#[test]
fn in_chunks_what_is_over_the_limit_is_not_delivered() {
    for role in ROLES {
        for make in every_kind(role, &Config { max_message: 1000, ..eager_chunks() }) {
            let octets = from_peer(role, "binary rsv1 deflate \"x\" * 100_000");
            for piece in [1, 7, octets.len()] {
                let mut endpoint = make();
                octets.chunks(piece).for_each(|piece| endpoint.feed(piece));
                let closure = endpoint.closure();
                let Some(Error::Limit(LimitExceeded::MessageTooLarge { limit: 1000, .. })) = closure.cause
                else {
                    panic!("{closure:?}")
                };
                assert_eq!(closure.sent.and_then(|frame| frame.code).map(u16::from), Some(1009));
                let (_, partial) = join_chunks(&endpoint.events);
                assert!(partial.is_none_or(|(_, payload)| payload.len() <= 1000));
            }
        }
    }
}

#[test]
fn a_fault_before_the_limit_counts_before_it() {
    for role in ROLES {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            for make in every_kind(role, &Config { max_message: 1000, delivery, ..eager() }) {
                for (source, code) in [
                    ("text rsv1 deflate hex \"ff\" * 2000", 1007),
                    // The limit, and behind it invalid text, and what is no DEFLATE.
                    ("text rsv1 hex \"00 ea 03 15 fc\" \"x\" * 1001 hex \"ff\"; ping", 1009),
                    ("text rsv1 hex \"00 ea 03 15 fc\" \"x\" * 1002 hex \"07\"; ping", 1009),
                ] {
                    let endpoint = receive_fed(&make, &from_peer(role, source));
                    let sent = endpoint.closure().sent.and_then(|frame| frame.code);
                    assert_eq!(sent.map(u16::from), Some(code), "{source}, {delivery:?}");
                }
            }
        }
    }
}

#[test]
fn a_compressed_message_may_announce_what_does_not_compress() {
    let octets = SplitMix64::new(1).octets(1000);
    let payload = Deflater::new(0).message(&octets);
    assert!(payload.len() > 1000);
    for role in ROLES {
        for make in every_kind(role, &Config { max_message: 1000, ..eager() }) {
            assert_eq!(receive_fed(&make, &frame(role, "binary rsv1", &payload)).events, [binary(&octets)]);
            // Beyond that it is refused before any of it has come.
            fails_by(&make, "binary rsv1 len=2150", too_large(2150, 1000));
            // An eighth, 1 KiB, and 16 for each frame before.
            for source in [
                "binary rsv1 len=2149",
                "binary rsv1 !fin; cont !fin; cont len=2181",
                "binary rsv1 !fin hex \"00\"; cont len=2164",
            ] {
                let mut endpoint = make();
                endpoint.feed(&from_peer(role, source));
                assert_eq!(endpoint.connection.state(), State::Open, "{source}");
            }
            for (source, announced) in [
                ("binary rsv1 !fin; cont !fin; cont len=2182", 2182),
                ("binary rsv1 !fin hex \"00\"; cont len=2165", 2166),
            ] {
                let mut endpoint = make();
                endpoint.feed(&from_peer(role, source));
                assert_eq!(endpoint.closure().cause, Some(too_large(announced, 1000)), "{source}");
            }
            fails_by(&make, "binary rsv1 !fin hex \"00\"; cont len=70_000", too_large(70_001, 1000));
        }
        for make in every_kind(role, &Config { max_frame: 100, ..eager() }) {
            let announced = LimitExceeded::FrameTooLarge { announced: 101, limit: 100 };
            fails_by(&make, "binary rsv1 len=101", limit(announced));
            let source = "text rsv1 deflate \"x\" * 10_000";
            let expected = [text(&"x".repeat(10_000))];
            assert_eq!(receive_fed(&make, &from_peer(role, source)).events, expected);
        }
    }
}

#[test]
fn a_ratio_above_the_limit_fails_the_connection() {
    let mut config = eager();
    config.deflate.max_ratio = NonZeroU32::new(200);
    for role in ROLES {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            for make in every_kind(role, &Config { delivery, ..config.clone() }) {
                let mut endpoint = make();
                endpoint.feed(&from_peer(role, "binary rsv1 deflate \"\\x00\" * 300_000"));
                let closure = endpoint.closure();
                assert_eq!(closure.cause, Some(limit(LimitExceeded::InflationRatio { limit: 200 })));
                assert_eq!(closure.sent.and_then(|frame| frame.code).map(u16::from), Some(1009));
                // The first 64 KiB do not count, nor does what compresses less.
                let mut endpoint = make();
                endpoint.feed(&from_peer(role, "binary rsv1 deflate \"\\x00\" * 65_536"));
                let data = compressible(&mut SplitMix64::new(2), 150_000);
                endpoint.feed(&frame(role, "binary rsv1", &Deflater::new(9).message(&data)));
                let (events, _) = join_chunks(&endpoint.events);
                assert!(events == [binary(&[0; 65_536]), binary(&data)]);
            }
        }
    }
}

#[test]
fn a_large_message_takes_several_turns_and_the_others_have_theirs_meanwhile() {
    let (message, payload) = zeros();
    for role in ROLES {
        for config in [eager(), eager_chunks()] {
            for params in [TAKEOVER, NO_TAKEOVER] {
                let mut slow = deflating_with(role, config.clone(), params);
                let mut quick = deflating_with(role, config.clone(), params);
                let mut shared = Some(Box::new(codec()));
                let mut turn = |endpoint: &mut Endpoint| {
                    endpoint.codec = shared.take();
                    endpoint.turn();
                    shared = endpoint.codec.take();
                    assert!(shared.is_some(), "what was lent comes back");
                };
                slow.rx.extend_from_slice(&frame(role, "binary rsv1", &payload));
                slow.rx.extend_from_slice(&from_peer(role, "ping \"behind\""));
                let (mut turns, mut inflated) = (0, 0);
                loop {
                    turn(&mut slow);
                    turns += 1;
                    let now = slow.connection.stats().bytes_received;
                    assert!(now - inflated <= 2 << 20, "no more than 2 MiB in a turn");
                    inflated = now;
                    quick.rx.extend_from_slice(&from_peer(role, "text rsv1 deflate \"Hello, Hello\""));
                    turn(&mut quick);
                    assert!(!quick.connection.driver_view().has_inflate_work());
                    if !slow.connection.driver_view().has_inflate_work() {
                        break;
                    }
                    assert!(!slow.events.contains(&Seen::Ping(b"behind".to_vec())));
                }
                assert_eq!(turns, 2);
                let (events, _) = join_chunks(&slow.events);
                assert!(events == [binary(&message), Seen::Ping(b"behind".to_vec())]);
                let (events, _) = join_chunks(&quick.events);
                assert_eq!(events, vec![text("Hello, Hello"); turns]);
            }
        }
    }
}

/// Peers that send 16 KiB each could have 16 MiB held for each of them otherwise.
#[test]
fn what_has_not_come_as_a_whole_is_inflated_to_64_kibibytes_and_32_octets_for_each() {
    let (message, payload) = zeros();
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let mut endpoint = deflating(role, params);
            let octets = frame(role, "binary rsv1", &payload);
            for (came, octet) in octets.iter().enumerate().take(octets.len() - 1) {
                endpoint.feed(&[*octet]);
                let inflated = endpoint.connection.stats().bytes_received;
                assert!(inflated <= (64 << 10) + 32 * (came as u64 + 1), "{inflated} of {came}");
            }
            endpoint.feed(&octets[octets.len() - 1..]);
            assert!(endpoint.events == [binary(&message)]);
        }
    }
}

#[test]
fn of_messages_that_inflate_to_much_one_of_a_codec_goes_on_at_a_time() {
    let (message, _) = zeros();
    let message = message.repeat(4);
    let payload = Deflater::new(9).message(&message);
    let few = (64 << 10) + 32 * payload.len() as u64;
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let mut shared = Some(Box::new(codec()));
            let mut turn = |endpoint: &mut Endpoint| {
                endpoint.codec = shared.take();
                endpoint.turn();
                shared = endpoint.codec.take();
                endpoint.connection.stats().bytes_received
            };
            let mut endpoints = [0; 3].map(|_| deflating(role, params));
            for endpoint in &mut endpoints {
                endpoint.rx.extend_from_slice(&frame(role, "binary rsv1", &payload));
            }
            for first in 0..3 {
                while endpoints[first].events.is_empty() {
                    let inflated = endpoints.each_mut().map(&mut turn);
                    assert!(inflated[first] > few, "{inflated:?}");
                    // When it is done, the next one goes on at once.
                    let waiting = first + 1 + usize::from(!endpoints[first].events.is_empty());
                    let others = inflated.get(waiting..).unwrap_or_default();
                    assert!(others.iter().all(|inflated| *inflated <= few), "{inflated:?}");
                }
                assert!(endpoints[first].events == [binary(&message)]);
            }
        }
    }
}

#[test]
fn payload_that_inflates_to_nothing_takes_its_turns_too() {
    let window = stored_block(&SplitMix64::new(3).octets(32 << 10), false);
    for (what, payload, least) in [
        // Each of them sets up the window again, for two octets.
        ("final blocks", [&window[..], &[0x03, 0x00].repeat(2000), &[0x00]].concat(), 3),
        ("empty blocks", [stored_block(b"", false).repeat(100_000), vec![0x00]].concat(), 4),
    ] {
        for role in ROLES {
            for params in [TAKEOVER, NO_TAKEOVER] {
                let mut endpoint = deflating(role, params).with_codec(codec());
                endpoint.rx.extend_from_slice(&frame(role, "binary rsv1", &payload));
                let mut turns = 0;
                while endpoint.events.is_empty() {
                    endpoint.turn();
                    turns += 1;
                    assert_eq!(
                        endpoint.connection.driver_view().has_inflate_work(),
                        endpoint.events.is_empty(),
                        "{what}"
                    );
                }
                assert!((least..=least + 2).contains(&turns), "{turns} turns for {what}");
                assert!(matches!(&endpoint.events[..], [Seen::Binary(_)]), "{what}");
            }
        }
    }
}

#[test]
fn without_a_lent_codec_a_message_takes_one_turn() {
    let (message, payload) = zeros();
    for role in ROLES {
        for config in [eager(), eager_chunks()] {
            let mut endpoint = deflating_with(role, config, TAKEOVER);
            endpoint.rx.extend_from_slice(&frame(role, "binary rsv1", &payload));
            endpoint.turn();
            assert!(!endpoint.connection.driver_view().has_inflate_work());
            assert!(join_chunks(&endpoint.events).0 == [binary(&message)]);
        }
    }
}

#[test]
fn a_paused_connection_that_ends_is_paused_no_longer() {
    let (_, payload) = zeros();
    for role in ROLES {
        for end in [
            |endpoint: &mut Endpoint| endpoint.connection.abort(endpoint.now),
            |endpoint: &mut Endpoint| endpoint.connection.handle_transport_error(endpoint.now),
            |endpoint: &mut Endpoint| endpoint.connection.handle_eof(endpoint.now),
        ] {
            let mut endpoint = deflating(role, TAKEOVER).with_codec(codec());
            endpoint.rx.extend_from_slice(&frame(role, "binary rsv1", &payload));
            endpoint.turn();
            assert!(endpoint.connection.driver_view().has_inflate_work());
            end(&mut endpoint);
            endpoint.turn();
            assert!(
                !endpoint.connection.driver_view().has_inflate_work()
                    && endpoint.connection.state() == State::Closed
            );
            assert!(endpoint.rx.is_empty());
        }
    }
}

#[test]
fn a_paused_message_moves_to_another_buffer_with_all_that_belongs_to_it() {
    let (message, payload) = zeros();
    for role in ROLES {
        for config in [eager(), eager_chunks()] {
            let mut endpoint = deflating_with(role, config, TAKEOVER).with_codec(codec());
            endpoint.rx.extend_from_slice(&frame(role, "binary rsv1", &payload));
            endpoint.turn();
            while endpoint.connection.driver_view().has_inflate_work() {
                endpoint.rx = endpoint.rx.park();
                endpoint.turn();
            }
            assert!(join_chunks(&endpoint.events).0 == [binary(&message)]);
            assert!(endpoint.rx.is_empty());
        }
    }
}

/// Endpoints with a codec that has this much memory.
fn with_memory(role: Role, config: &Config, params: DeflateParams, memory: &Arc<DeflateMemory>) -> Endpoint {
    deflating_with(role, config.clone(), params).with_codec(Codec::new(Arc::clone(memory)))
}

#[test]
fn without_memory_a_whole_message_is_held_compressed_until_it_has_come() {
    let memory = DeflateMemory::new(0);
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let source =
                "text rsv1 !fin hex \"f2 48 cd\"; ping; cont hex \"c9 c9 07 00\"; text rsv1 deflate \"x\"";
            let make = || with_memory(role, &eager(), params, &memory);
            let endpoint = receive_by(make, &from_peer(role, source));
            assert_eq!(endpoint.events, [Seen::Ping(vec![]), text("Hello"), text("x")]);
            let memory = memory.stats();
            assert!(memory.declined == 0 && memory.held > 0, "one decompressor is counted and never refused");
        }
    }
    assert_eq!(memory.stats().held, 0, "it went with its codec");
}

#[test]
fn without_memory_a_message_in_chunks_is_held_compressed_up_to_64_kibibytes_and_then_fails_with_1013() {
    let memory = DeflateMemory::new(0);
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let mut endpoint = with_memory(role, &eager_chunks(), params, &memory);
            endpoint.feed(&from_peer(role, "text rsv1 deflate \"Hello\""));
            assert_eq!(join_chunks(&endpoint.events).0, [text("Hello")]);
            endpoint.feed(&from_peer(role, "text rsv1 !fin hex \"f2 48\""));
            assert_eq!(endpoint.events.len(), 1, "there is nothing to inflate it with");
            endpoint.feed(&from_peer(role, "cont hex \"cd c9 c9 07 00\""));
            assert_eq!(join_chunks(&endpoint.events).0, [text("Hello"), text("Hello")]);
            let noise = Deflater::new(0).message(&[0; 70_000]);
            let whole = frame(role, "binary rsv1", &noise);
            let (most, rest) = whole.split_at(64 << 10);
            endpoint.feed(most);
            endpoint.feed(rest.split_last().expect("more than that").1);
            let closure = endpoint.closure();
            assert_eq!(closure.cause, Some(limit(LimitExceeded::DeflateMemory)));
            assert_eq!(closure.sent.and_then(|frame| frame.code).map(u16::from), Some(1013));
        }
    }
}

#[test]
fn what_a_codec_holds_is_counted_and_given_back() {
    let memory = DeflateMemory::new(usize::MAX);
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let mut shared = Some(Box::new(Codec::new(Arc::clone(&memory))));
            let begun = from_peer(role, "binary rsv1 !fin hex \"f2 48\"");
            let mut endpoints = Vec::new();
            for _ in 0..20 {
                let mut endpoint = deflating(role, params);
                endpoint.codec = shared.take();
                endpoint.feed(&begun);
                shared = endpoint.codec.take();
                endpoints.push(endpoint);
            }
            let in_the_middle = memory.stats().held;
            for endpoint in &mut endpoints {
                endpoint.codec = shared.take();
                endpoint.feed(&from_peer(role, "cont hex \"cd c9 c9 07 00\""));
                shared = endpoint.codec.take();
                assert_eq!(endpoint.events, [binary(b"Hello")]);
            }
            // A few stay for the next messages, whatever so many connections were in the middle of.
            assert!(memory.stats().held * 4 <= in_the_middle, "{} of {in_the_middle}", memory.stats().held);
            drop((shared, endpoints));
            assert_eq!(memory.stats().held, 0);
        }
    }
}

#[test]
fn corrupt_and_mutated_messages_end_in_a_close_and_never_in_a_panic() {
    let mut rng = SplitMix64::new(8);
    for round in 0..400 {
        let message = compressible(&mut rng, 200);
        let mut payload = Deflater::new(9).message(&message);
        let at = rng.below(payload.len());
        payload[at] ^= 1 << rng.below(8);
        for role in ROLES {
            let params = if round % 2 == 0 { TAKEOVER } else { NO_TAKEOVER };
            let mut endpoint = deflating(role, params);
            endpoint.feed(&frame(role, "binary rsv1", &payload));
            match &endpoint.events[..] {
                [Seen::Binary(_)] => assert_eq!(endpoint.connection.state(), State::Open),
                _ => assert_eq!(endpoint.closure().cause, Some(misbehaved(PeerMisbehaved::InvalidDeflate))),
            }
        }
    }
}
