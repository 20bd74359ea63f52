//! Which messages are compressed, by whom, and how often: thresholds, runs that do not pay,
//! prepared messages.

use crate::deflate_support::{NO_TAKEOVER, TAKEOVER, codec, deflating, deflating_with, eager, every_kind};
use crate::support::ROLES;
use framewright::deflate::{Codec, Compressor, DeflateMemory, DeflateParams, Level, WindowBits};
use framewright::{CompressionStats, Config, Message, Prepared, Role};
use framewright_testkit::app::Behaviour;
use framewright_testkit::deflate::compressible;
use framewright_testkit::endpoint::Endpoint;
use framewright_testkit::rng::SplitMix64;
use std::sync::Arc;

/// Whether each message that was sent was compressed.
fn compressed(endpoint: &Endpoint) -> Vec<bool> {
    endpoint.messages().0.iter().map(|message| message.compressed).collect()
}

#[test]
fn messages_below_the_threshold_and_above_the_largest_are_sent_as_they_are() {
    let mut config = Config::default();
    config.deflate.largest = 1000;
    for role in ROLES {
        for make in every_kind(role, &config) {
            let mut endpoint = make();
            for len in [0, 127, 128, 1000, 1001] {
                endpoint.connection.send_binary(&vec![b'x'; len]).unwrap();
                endpoint.connection.send_prepared(&Prepared::new(Message::Binary(&vec![b'x'; len]))).unwrap();
                endpoint.connection.send_owned(vec![b'x'; len]).unwrap();
                endpoint.drain();
            }
            let expected = [false, false, true, true, false].map(|it| [it; 3]);
            assert_eq!(compressed(&endpoint), expected.concat());
        }
    }
}

#[test]
fn a_mebibyte_is_the_largest_message_that_is_compressed_by_default() {
    for role in ROLES {
        for make in every_kind(role, &Config::default()) {
            let mut endpoint = make();
            for len in [1 << 20, (1 << 20) + 1] {
                endpoint.connection.send_binary(&vec![b'x'; len]).unwrap();
                endpoint.drain();
            }
            assert_eq!(compressed(&endpoint), [true, false]);
        }
    }
}

#[test]
fn what_gets_no_shorter_is_sent_as_it_is_and_referred_to_by_nothing() {
    let noise = SplitMix64::new(1).octets(500);
    for role in ROLES {
        for make in every_kind(role, &eager()) {
            let mut endpoint = make();
            let text = "some text, some text, some text";
            endpoint.connection.send_text(text).unwrap();
            endpoint.connection.send_binary(&noise).unwrap();
            // Were the noise in the window, this would be short.
            endpoint.connection.send_binary(&noise).unwrap();
            endpoint.connection.send_text(text).unwrap();
            endpoint.drain();
            assert_eq!(compressed(&endpoint), [true, false, false, true]);
            assert_eq!(endpoint.messages().0[3].payload, text.as_bytes());
        }
    }
}

#[test]
fn a_message_in_many_fragments_that_do_not_pay_counts_once() {
    let noise = SplitMix64::new(3).octets(500);
    for role in ROLES {
        for make in every_kind(role, &Config::default()) {
            let mut endpoint = make();
            for number in 1..=100 {
                endpoint.connection.send_fragment(Message::Binary(&noise), number == 100).unwrap();
                endpoint.drain();
            }
            endpoint.connection.send_binary(&[b'x'; 500]).unwrap();
            endpoint.drain();
            assert_eq!(compressed(&endpoint), [true, true]);
        }
    }
}

#[test]
fn after_a_run_of_messages_that_do_not_pay_fewer_are_tried() {
    let mut rng = SplitMix64::new(2);
    for role in ROLES {
        for make in every_kind(role, &Config::default()) {
            let mut endpoint = make();
            for _ in 0..8 {
                endpoint.connection.send_binary(&rng.octets(200)).unwrap();
            }
            for _ in 0..34 {
                endpoint.connection.send_binary(&[7; 200]).unwrap();
            }
            endpoint.drain();
            let expected = [vec![false; 8 + 16], vec![true; 18]].concat();
            assert_eq!(compressed(&endpoint), expected, "once one pays, the next ones are compressed");
        }
    }
}

#[test]
fn an_application_can_say_that_a_message_is_not_to_be_compressed() {
    let secret = "a secret, a secret, a secret, a secret".repeat(10);
    for role in ROLES {
        for make in every_kind(role, &Config::default()) {
            let mut endpoint = make();
            endpoint.connection.send_text(&secret).unwrap();
            endpoint.connection.send_uncompressed(Message::Text(&secret)).unwrap();
            let prepared = Prepared::uncompressed(Message::Text(&secret));
            endpoint.connection.send_prepared(&prepared).unwrap();
            endpoint.connection.send_prepared(&Prepared::new(Message::Text(&secret))).unwrap();
            endpoint.connection.send_text(&secret).unwrap();
            endpoint.drain();
            assert_eq!(compressed(&endpoint), [true, false, false, true, true]);
            assert!(endpoint.messages().0.iter().all(|message| message.payload == secret.as_bytes()));
        }
    }
}

#[test]
fn a_message_that_is_written_through_is_compressed_where_that_pays() {
    let message = b"text, ".repeat(100);
    for params in [TAKEOVER, NO_TAKEOVER] {
        let mut endpoint = deflating(Role::Server, params);
        let mut calls = 0;
        let mut write = |_: &[std::io::IoSlice<'_>]| {
            calls += 1;
            0
        };
        endpoint.connection.driver().send_with_writer(Message::Binary(&message), &mut write).unwrap();
        endpoint
            .connection
            .driver()
            .send_fragment_with_writer(Message::Binary(&message), false, &mut write)
            .unwrap();
        endpoint
            .connection
            .driver()
            .send_fragment_with_writer(Message::Binary(b""), true, &mut write)
            .unwrap();
        assert_eq!(calls, 0, "there is less to write than was given");
        endpoint.drain();
        assert_eq!(compressed(&endpoint), [true, true]);
        assert!(endpoint.messages().0.iter().all(|sent| sent.payload == message));
    }
}

/// The octets of one direction, sent and received again, come to the same messages.
fn arrives(sender: &Endpoint, params: DeflateParams, expected: &[Vec<u8>]) {
    let role = sender.connection.role().peer();
    let mut receiver = Endpoint::deflating(role, Config::default(), params, 1, Behaviour::Silent);
    receiver.feed(&sender.sent);
    let expected: Vec<_> = expected.iter().map(|message| crate::support::binary(message)).collect();
    assert!(receiver.events == expected);
}

#[test]
fn a_prepared_message_is_compressed_once_for_all_connections() {
    let mut rng = SplitMix64::new(3);
    let message = compressible(&mut rng, 2000);
    let prepared = Prepared::new(Message::Binary(&message));
    let memory = DeflateMemory::new(usize::MAX);
    let send = |params| {
        let codec = Codec::new(Arc::clone(&memory));
        let mut endpoint = deflating_with(Role::Server, Config::default(), params).with_codec(codec);
        let lent = endpoint.connection.driver().lend_codec(endpoint.codec.take().unwrap());
        assert!(lent.is_none());
        endpoint.connection.send_prepared(&prepared.clone()).unwrap();
        endpoint.codec = endpoint.connection.driver().reclaim_codec();
        endpoint.drain();
        assert_eq!(compressed(&endpoint), [true]);
        (endpoint.sent, memory.stats().held)
    };
    let (first, held) = send(NO_TAKEOVER);
    assert_eq!(held, Compressor::size(WindowBits::MAX), "the first one needs a compressor");
    for params in [NO_TAKEOVER, TAKEOVER] {
        assert_eq!(send(params), (first.clone(), 0), "the others send its octets, and compress nothing");
    }
    // A window that is smaller than the message needs a form of its own, once; one that is not does
    // not.
    let limited = |bits| DeflateParams { server_max_window_bits: WindowBits::new(bits).unwrap(), ..TAKEOVER };
    assert_eq!(send(limited(11)), (first.clone(), 0));
    let (small, held) = send(limited(10));
    assert!(small != first && held > 0);
    assert_eq!(send(limited(10)), (small, 0));
}

#[test]
fn prepared_messages_mix_with_others_with_and_without_takeover() {
    let mut rng = SplitMix64::new(4);
    let messages: Vec<_> = [300, 2000, 200].map(|len| compressible(&mut rng, len)).into();
    let prepared: Vec<_> = messages.iter().map(|it| Prepared::new(Message::Binary(it))).collect();
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let mut endpoint = deflating_with(role, Config::default(), params).with_codec(codec());
            let mut expected = Vec::new();
            for _ in 0..40 {
                let index = rng.below(3);
                match rng.below(4) {
                    0 => endpoint.connection.send_prepared(&prepared[index]).unwrap(),
                    1 => endpoint.connection.send_uncompressed(Message::Binary(&messages[index])).unwrap(),
                    2 => {
                        let (head, tail) = messages[index].split_at(150);
                        endpoint.connection.send_fragment(Message::Binary(head), false).unwrap();
                        endpoint.drain();
                        endpoint.connection.send_fragment(Message::Binary(tail), true).unwrap();
                    }
                    _ => endpoint.connection.send_binary(&messages[index]).unwrap(),
                }
                expected.push(messages[index].clone());
                endpoint.drain();
            }
            assert!(endpoint.messages().0.iter().map(|sent| &sent.payload).eq(&expected));
            arrives(&endpoint, params, &expected);
        }
    }
}

#[test]
fn each_level_has_a_prepared_form_of_its_own() {
    let message = compressible(&mut SplitMix64::new(5), 5000);
    let prepared = Prepared::new(Message::Binary(&message));
    let [fastest, smallest, again] = [Level::FASTEST, Level::SMALLEST, Level::FASTEST].map(|level| {
        let mut config = Config::default();
        config.deflate.level = level;
        let mut endpoint = deflating_with(Role::Server, config, NO_TAKEOVER);
        endpoint.connection.send_prepared(&prepared).unwrap();
        endpoint.drain();
        arrives(&endpoint, NO_TAKEOVER, std::slice::from_ref(&message));
        endpoint.sent
    });
    assert!(smallest.len() < fastest.len() && fastest == again);
}

#[test]
fn a_prepared_message_that_does_not_pay_is_sent_as_it_is() {
    let noise = SplitMix64::new(6).octets(300);
    let prepared = Prepared::new(Message::Binary(&noise));
    for role in ROLES {
        for make in every_kind(role, &Config::default()) {
            let mut endpoint = make();
            endpoint.connection.send_prepared(&prepared).unwrap();
            endpoint.drain();
            assert_eq!(compressed(&endpoint), [false]);
            assert_eq!(endpoint.messages().0[0].payload, noise);
        }
    }
}

#[test]
fn what_is_compressed_in_a_turn_is_bounded_where_the_codec_is_lent() {
    let message = vec![b'x'; 1 << 20];
    let config = Config { high_water: usize::MAX, ..Config::default() };
    for role in ROLES {
        let mut endpoint = deflating_with(role, config.clone(), NO_TAKEOVER);
        assert!(endpoint.connection.driver().lend_codec(Box::new(codec())).is_none());
        for _ in 0..6 {
            endpoint.connection.send_binary(&message).unwrap();
        }
        endpoint.drain();
        let firsts: Vec<_> = endpoint.frames().iter().map(|frame| frame.header.rsv).collect();
        assert_eq!(firsts, [4, 4, 0, 0, 0, 0], "what is beyond goes as it is");
    }
}

#[test]
fn stats_count_the_octets_of_messages_and_not_those_on_the_wire() {
    let message = vec![b'x'; 10_000];
    for role in ROLES {
        let mut sender = deflating_with(role.peer(), Config::default(), TAKEOVER);
        sender.connection.send_binary(&message).unwrap();
        sender.connection.send_prepared(&Prepared::new(Message::Binary(&message))).unwrap();
        sender.drain();
        let stats = sender.connection.stats();
        assert_eq!((stats.messages_sent, stats.bytes_sent), (2, 20_000));
        assert!(sender.sent.len() < 1000);
        let mut receiver = deflating_with(role, Config::default(), TAKEOVER);
        receiver.feed(&sender.sent);
        let stats = receiver.connection.stats();
        assert_eq!((stats.messages_received, stats.bytes_received), (2, 20_000));
    }
}

#[test]
fn a_codec_tells_what_was_compressed_and_inflated_and_of_nothing_else() {
    let mut rng = SplitMix64::new(8);
    let (message, noise) = (compressible(&mut rng, 2000), rng.octets(300));
    for role in ROLES {
        let mut sender = deflating_with(role.peer(), Config::default(), NO_TAKEOVER);
        assert!(sender.connection.driver().lend_codec(Box::new(codec())).is_none());
        let connection = &mut sender.connection;
        connection.send_binary(&message).unwrap();
        connection.send_fragment(Message::Binary(&message[..150]), false).unwrap();
        connection.send_fragment(Message::Binary(&message[150..]), true).unwrap();
        connection.send_prepared(&Prepared::new(Message::Binary(&message))).unwrap();
        connection.send_uncompressed(Message::Binary(&message)).unwrap();
        connection.send_binary(&noise).unwrap();
        let mut lent = connection.driver().reclaim_codec().expect("it was lent");
        sender.drain();
        assert_eq!(compressed(&sender), [true, true, true, false, false]);
        let wire = sender.frames()[..4].iter().map(|frame| frame.payload.len() as u64).sum();
        let sent = lent.take_stats();
        assert_eq!((sent.messages_sent, sent.bytes_sent, sent.compressed_bytes_sent), (3, 6000, wire));
        assert_eq!((sent.messages_received, sent.bytes_received, sent.compressed_bytes_received), (0, 0, 0));
        assert_eq!(lent.take_stats(), CompressionStats::default(), "it was told");

        // In pieces too: what has come of a message counts before its end does.
        for size in [usize::MAX, 7] {
            let mut receiver = deflating_with(role, Config::default(), NO_TAKEOVER).with_codec(codec());
            sender.sent.chunks(size).for_each(|piece| receiver.feed(piece));
            let received = receiver.codec.as_mut().expect("it came back").take_stats();
            let counted =
                (received.messages_received, received.bytes_received, received.compressed_bytes_received);
            assert_eq!(counted, (3, 6000, wire));
            assert_eq!(receiver.connection.stats().messages_received, 5);
            assert_eq!((received.messages_sent, received.bytes_sent), (0, 0));
        }
    }
}
