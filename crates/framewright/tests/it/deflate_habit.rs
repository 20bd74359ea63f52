//! RFC 7692, sections 7.1.1.1 and 7.1.1.2: a peer that has agreed to `no_context_takeover` and
//! refers to earlier messages all the same, as Tornado and Mojolicious do.

use crate::deflate_support::{NO_TAKEOVER, codec, deflating, deflating_with, eager, eager_chunks, frame};
use crate::support::{ROLES, binary, fails_by, from_peer, misbehaved, receive_by, text};
use framewright::deflate::{Codec, DeflateMemory, DeflateParams};
use framewright::{PeerMisbehaved, Role};
use framewright_testkit::deflate::{Deflater, compressible};
use framewright_testkit::endpoint::{Endpoint, Seen, join_chunks};
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::split::random_pieces;
use std::sync::Arc;

/// "Hello", and another one that refers to it.
const HELLO: &str = "text rsv1 hex \"f2 48 cd c9 c9 07 00\"";
const AGAIN: &str = "text rsv1 hex \"f2 00 11 00 00\"";

/// Two alike messages of 240 octets, and a thousand more of all lengths.
fn messages() -> Vec<Vec<u8>> {
    let mut rng = SplitMix64::new(16);
    let alike = |number: usize| format!("{{\"number\":{number},\"text\":\"{}\"}}", "as before. ".repeat(19));
    let mut messages: Vec<Vec<u8>> =
        (0..2).map(|number| alike(number).into_bytes()[..240.min(alike(number).len())].to_vec()).collect();
    for number in 0..1000 {
        messages.push(match number % 4 {
            0 => alike(number).into_bytes(),
            1 => number.to_string().into_bytes(),
            2 => {
                let len = rng.below(300);
                rng.octets(len)
            }
            _ => {
                let len = if number % 100 == 3 { 50_000 } else { rng.below(2000) };
                compressible(&mut rng, len)
            }
        });
    }
    messages
}

#[test]
fn all_messages_of_a_peer_that_keeps_its_context_arrive() {
    let messages = messages();
    let expected: Vec<Seen> = messages.iter().map(|message| binary(message)).collect();
    for role in ROLES {
        let mut deflater = Deflater::new(6);
        let frames: Vec<Vec<u8>> =
            messages.iter().map(|message| frame(role, "binary rsv1", &deflater.message(message))).collect();
        let all = frames.concat();
        for config in [eager(), eager_chunks()] {
            for lent in [false, true] {
                let make = || {
                    let endpoint = deflating_with(role, config.clone(), NO_TAKEOVER);
                    if lent { endpoint.with_codec(codec()) } else { endpoint }
                };
                let mut by_frame = make();
                frames.iter().for_each(|frame| by_frame.feed(frame));
                let mut by_chance = make();
                let mut rng = SplitMix64::new(5);
                random_pieces(&all, &mut rng, 500).into_iter().for_each(|piece| by_chance.feed(piece));
                for endpoint in [by_frame, by_chance] {
                    assert!(join_chunks(&endpoint.events).0 == expected, "{role:?}, {:?}", config.delivery);
                }
            }
        }
    }
}

#[test]
fn wherever_its_octets_are_cut_a_message_that_refers_back_is_inflated_once_more() {
    for role in ROLES {
        for params in [NO_TAKEOVER, DeflateParams { client_no_context_takeover: true, ..NO_TAKEOVER }] {
            for lent in [false, true] {
                let make = || {
                    let endpoint = deflating(role, params);
                    if lent { endpoint.with_codec(codec()) } else { endpoint }
                };
                // In two fragments, and then one that is new before it refers back.
                let source = format!(
                    "{HELLO}; {AGAIN}; text rsv1 !fin hex \"f2 00\"; ping; cont hex \"11 00 00\"; \
                     text rsv1 deflate \"Hello, Hello\"; {AGAIN}"
                );
                let endpoint = receive_by(make, &from_peer(role, &source));
                let expected = [
                    text("Hello"),
                    text("Hello"),
                    Seen::Ping(vec![]),
                    text("Hello"),
                    text("Hello, Hello"),
                    text("Hello"),
                ];
                assert_eq!(endpoint.events, expected);
            }
        }
    }
}

/// As long as each message is taken to stand by itself it may lack its octet of zero, or keep its
/// tail: so may the one that shows that it does not. What is kept of them is what they came to, and
/// nothing of how they ended.
#[test]
fn until_a_peer_refers_back_it_may_end_its_messages_as_if_it_did_not() {
    let tail_left_on = "text rsv1 hex \"f2 48 cd c9 c9 07 00 00 00 ff ff\"";
    let again_with_tail = "text rsv1 hex \"f2 00 11 00 00 00 00 ff ff\"";
    for role in ROLES {
        for lent in [false, true] {
            let make = || {
                let endpoint = deflating(role, NO_TAKEOVER);
                if lent { endpoint.with_codec(codec()) } else { endpoint }
            };
            for again in [AGAIN, again_with_tail] {
                let source = format!("{tail_left_on}; text rsv1; {again}; {AGAIN}");
                let endpoint = receive_by(make, &from_peer(role, &source));
                let expected = [text("Hello"), text(""), text("Hello"), text("Hello")];
                assert_eq!(endpoint.events, expected, "{role:?}, {again}");
            }
            for as_if_alone in [tail_left_on, "text rsv1"] {
                let source = format!("{HELLO}; {AGAIN}; {as_if_alone}");
                fails_by(make, &source, misbehaved(PeerMisbehaved::InvalidDeflate));
            }
        }
    }
}

/// What was delivered of a message before it referred to another is delivered once.
#[test]
fn a_reference_may_come_as_late_as_a_window_reaches() {
    let mut rng = SplitMix64::new(6);
    let first = rng.octets(2000);
    for fresh in [1, 100, 5000, 29_000] {
        let second =
            [&rng.octets(fresh)[..], &first[500..1500], &rng.octets(60_000), b"and its end"].concat();
        for role in ROLES {
            let mut deflater = Deflater::new(6);
            let mut octets = frame(role, "binary rsv1", &deflater.message(&first));
            octets.extend(frame(role, "binary rsv1", &deflater.message(&second)));
            for config in [eager(), eager_chunks()] {
                for piece in [1, 1000, octets.len()] {
                    let mut endpoint = deflating_with(role, config.clone(), NO_TAKEOVER).with_codec(codec());
                    octets.chunks(piece).for_each(|piece| endpoint.feed(piece));
                    let (events, _) = join_chunks(&endpoint.events);
                    let closure = endpoint.connection.closure();
                    assert!(
                        events == [binary(&first), binary(&second)],
                        "{fresh} octets before it, {piece} at a time, {role:?}, {:?}: {closure:?}",
                        config.delivery
                    );
                }
            }
        }
    }
}

#[test]
fn what_lies_beyond_what_was_sent_is_no_message_that_was_forgotten() {
    for role in ROLES {
        fails_by(|| deflating(role, NO_TAKEOVER), AGAIN, misbehaved(PeerMisbehaved::InvalidDeflate));
        // Farther back than all that was sent.
        let source = format!("text rsv1 deflate \"x\"; {AGAIN}");
        let endpoint = receive_by(|| deflating(role, NO_TAKEOVER), &from_peer(role, &source));
        assert_eq!(endpoint.closure().cause, Some(misbehaved(PeerMisbehaved::InvalidDeflate)));
    }
}

#[test]
fn a_peer_that_has_kept_its_word_is_held_to_it() {
    for role in ROLES {
        let source = format!("{HELLO}; {HELLO}; {HELLO}; {AGAIN}");
        let endpoint =
            fails_by(|| deflating(role, NO_TAKEOVER), &source, misbehaved(PeerMisbehaved::ForgottenContext));
        let sent = endpoint.closure().sent.expect("a Close frame");
        assert_eq!(sent.code.map(u16::from), Some(1007));
        assert_eq!(&*sent.reason, "reference to an earlier message, against no_context_takeover");
    }
}

/// An endpoint with a codec that has this much memory.
fn with_memory(role: Role, memory: &Arc<DeflateMemory>) -> Endpoint {
    deflating(role, NO_TAKEOVER).with_codec(Codec::new(Arc::clone(memory)))
}

#[test]
fn what_is_kept_is_counted_and_given_back_when_it_is_of_no_use() {
    let memory = DeflateMemory::new(1 << 20);
    for role in ROLES {
        // What stays with the codec.
        let least = {
            let mut endpoint = with_memory(role, &memory);
            endpoint.feed(&from_peer(role, "binary rsv1 deflate \"\""));
            memory.stats().held
        };
        let mut honest = with_memory(role, &memory);
        honest.feed(&from_peer(role, HELLO));
        let kept = memory.stats().held - least;
        assert!((5..=10).contains(&kept), "{kept} octets");
        honest.feed(&from_peer(role, &format!("{HELLO}; {HELLO}")));
        assert_eq!(memory.stats().held, least, "it forgets");
        drop(honest);
        let mut other = with_memory(role, &memory);
        other.feed(&from_peer(role, &format!("{HELLO}; {AGAIN}")));
        assert_eq!(
            memory.stats().held,
            least + 2 * 10,
            "as much as it may refer to, and twice that for its growth"
        );
        drop(other);
        assert_eq!(memory.stats().held, 0);
    }
}

#[test]
fn where_there_is_no_memory_the_error_says_what_was_agreed() {
    // Of the last one three quarters are less than a window. What inflates is besides.
    for (size, sent) in [(0, 5), (10, 5), (10, 40_000), (40_000, 40_000)] {
        let memory = DeflateMemory::new(size);
        for role in ROLES {
            let mut deflater = Deflater::new(6);
            let message = SplitMix64::new(1).octets(sent);
            let mut endpoint = with_memory(role, &memory);
            endpoint.feed(&frame(role, "binary rsv1", &deflater.message(&message)));
            endpoint.feed(&frame(role, "binary rsv1", &deflater.message(&message[sent - 5..])));
            let closure = endpoint.closure();
            assert_eq!(closure.cause, Some(misbehaved(PeerMisbehaved::ForgottenContext)), "{size}, {sent}");
            drop(endpoint);
            assert_eq!(memory.stats().held, 0);
        }
    }
}
