//! Laws that hold for any compressed message: the round trip, and that another library and a naive
//! inflater agree.

use crate::deflate_support::{codec, frame};
use crate::support::ROLES;
use framewright::deflate::{Decompressor, DeflateParams, InflateError, Level, WindowBits};
use framewright::{Config, Delivery, Message, Role};
use framewright_testkit::app::Behaviour;
use framewright_testkit::deflate::{Deflater, compressible, payload_in_blocks};
use framewright_testkit::endpoint::{Endpoint, Seen, join_chunks};
use framewright_testkit::naive::inflate::{End, Inflation};
use framewright_testkit::naive::{self, connection::Verdict};
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::split::{before_character, random_pieces};
use proptest::prelude::*;

/// What was agreed on; a server has no window of 8.
fn params() -> impl Strategy<Value = DeflateParams> {
    (any::<bool>(), any::<bool>(), 9..=15u8, 8..=15u8).prop_map(|(server, client, own, peer)| DeflateParams {
        server_no_context_takeover: server,
        client_no_context_takeover: client,
        server_max_window_bits: WindowBits::new(own).unwrap(),
        client_max_window_bits: WindowBits::new(peer).unwrap(),
    })
}

/// Messages of all lengths, most of them short, that compress or do not.
fn message(rng: &mut SplitMix64) -> Seen {
    let most = [10, 300, 300, 300, 3000, 3000, 100_000][rng.below(7)];
    let len = rng.below(most);
    match rng.below(3) {
        0 => Seen::Binary(rng.octets(len)),
        1 => Seen::Binary(compressible(rng, len)),
        _ => {
            let letters = compressible(rng, len);
            let wide = |&octet: &u8| if octet < b'h' { '\u{20ac}' } else { char::from(octet) };
            Seen::Text(letters.iter().map(wide).collect())
        }
    }
}

/// Sends it whole or in fragments, as chance has it.
fn send(sender: &mut Endpoint, message: &Seen, rng: &mut SplitMix64) {
    let (text, octets) = match message {
        Seen::Text(text) => (Some(text), text.as_bytes()),
        Seen::Binary(octets) => (None, &octets[..]),
        other => unreachable!("{other:?} is no message"),
    };
    let part = |from: usize, to: usize| match text {
        Some(text) => Message::Text(&text[from..to]),
        None => Message::Binary(&octets[from..to]),
    };
    let mut from = 0;
    while rng.one_in(2) {
        let mut to = from + rng.below(octets.len() - from + 1);
        to = text.map_or(to, |text| before_character(text, to));
        sender.connection.send_fragment(part(from, to), false).unwrap();
        sender.drain();
        from = to;
    }
    if sender.connection.is_fragmenting() {
        sender.connection.send_fragment(part(from, octets.len()), true).unwrap();
    } else {
        sender.connection.send(part(0, octets.len())).unwrap();
    }
    sender.drain();
}

/// An endpoint that echoes, with a codec of its own or a lent one.
fn endpoint(role: Role, config: &Config, params: DeflateParams, lent: bool) -> Endpoint {
    let endpoint = Endpoint::deflating(role, config.clone(), params, 1, Behaviour::Silent);
    if lent { endpoint.with_codec(codec()) } else { endpoint }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_messages_under_any_parameters_arrive_as_they_were(
        params in params(),
        count in 0..6usize,
        level in 1..=9u8,
        threshold in prop_oneof![Just(0), Just(128)],
        (chunks, lent, peer_lent) in any::<(bool, bool, bool)>(),
        seed in any::<u64>(),
        most in prop_oneof![1..50usize, 50..20_000usize],
    ) {
        let delivery = if chunks { Delivery::Chunks } else { Delivery::Whole };
        let mut config = Config { delivery, ..Config::default() };
        config.deflate.level = Level::new(level).unwrap();
        config.deflate.threshold = threshold;
        for role in ROLES {
            let mut rng = SplitMix64::new(seed);
            let messages: Vec<_> = (0..count).map(|_| message(&mut rng)).collect();
            let mut sender = endpoint(role.peer(), &config, params, peer_lent);
            messages.iter().for_each(|message| send(&mut sender, message, &mut rng));
            let _ = sender.frames();

            let mut receiver = endpoint(role, &config, params, lent);
            for piece in random_pieces(&sender.sent, &mut rng, most) {
                receiver.feed(piece);
            }
            let (events, partial) = join_chunks(&receiver.events);
            prop_assert!(partial.is_none() && events == messages);

            let inflation = receiver.inflation_of(role.peer());
            let reading = naive::connection::read_compressed(role, &config, inflation, &sender.sent);
            prop_assert!(reading.verdict == Verdict::Open && reading.events == messages);
        }
    }

    #[test]
    fn any_messages_of_another_library_arrive_as_they_were(
        takeover in any::<bool>(),
        level in 0..=10i32,
        (chunks, lent) in any::<(bool, bool)>(),
        seed in any::<u64>(),
        most in prop_oneof![1..50usize, 50..20_000usize],
    ) {
        let delivery = if chunks { Delivery::Chunks } else { Delivery::Whole };
        let config = Config { delivery, ..Config::default() };
        let params = DeflateParams {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            ..DeflateParams::default()
        };
        for role in ROLES {
            let mut rng = SplitMix64::new(seed);
            let mut deflater = Deflater::new(level);
            let (mut sent, mut messages) = (Vec::new(), Vec::new());
            for _ in 0..rng.below(4) {
                let most = [300, 3000, 40_000][rng.below(3)];
                let len = rng.below(most);
                let message = compressible(&mut rng, len);
                let payload = if rng.one_in(2) {
                    // One that takes over knows all messages, whoever has compressed them.
                    deflater = Deflater::new(level);
                    payload_in_blocks(&mut rng, &message)
                } else if takeover {
                    deflater.message(&message)
                } else {
                    Deflater::new(level).message(&message)
                };
                let cut = rng.below(payload.len() + 1);
                sent.extend(frame(role, "binary rsv1 !fin", &payload[..cut]));
                sent.extend(frame(role, "cont", &payload[cut..]));
                messages.push(Seen::Binary(message));
            }
            let mut receiver = endpoint(role, &config, params, lent);
            for piece in random_pieces(&sent, &mut rng, most) {
                receiver.feed(piece);
            }
            let (events, partial) = join_chunks(&receiver.events);
            prop_assert!(partial.is_none() && events == messages);
        }
    }
}

/// What the decompressor and the naive inflater make of a payload: the same.
fn agree(history: &[u8], payload: &[u8], limit: usize) -> Result<(), TestCaseError> {
    let mut decompressor = Decompressor::new();
    let mut inflation = Inflation::new(true, 1 << 15);
    let mut out = Vec::new();
    if !history.is_empty() {
        let before = Deflater::new(1).message(history);
        decompressor.decompress(&before, history.len(), &mut out).unwrap();
        inflation.remember(history);
        out.clear();
    }
    let result = decompressor.decompress(payload, limit, &mut out);
    let naive = inflation.complete(payload, limit);
    let expected = match naive.end {
        End::Between | End::Final => Ok(()),
        End::TooLong => Err(InflateError::TooLong { limit }),
        End::Within | End::Corrupt => Err(InflateError::Corrupt),
    };
    prop_assert_eq!(result, expected, "{:x?}", payload);
    // What is taken for the message at its end is none of it where it turns out not to end.
    prop_assert!(out == naive.octets || (result.is_err() && naive.octets.starts_with(&out)), "{payload:x?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_octets_are_inflated_or_refused_as_by_the_naive_inflater(
        history in proptest::collection::vec(any::<u8>(), 0..20),
        payload in proptest::collection::vec(any::<u8>(), 0..60),
        limit in 0..2000usize,
    ) {
        agree(&history, &payload, limit)?;
    }

    #[test]
    fn any_payload_that_was_changed_is_inflated_or_refused_as_by_the_naive_inflater(
        seed in any::<u64>(),
        changes in 0..4usize,
        limit in prop_oneof![Just(100_000), 0..300usize],
    ) {
        let mut rng = SplitMix64::new(seed);
        let len = rng.below(400);
        let message = compressible(&mut rng, len);
        let mut payload = match rng.below(3) {
            0 => payload_in_blocks(&mut rng, &message),
            level => Deflater::new([1, 9][level - 1]).message(&message),
        };
        for _ in 0..changes {
            let at = rng.below(payload.len());
            match rng.below(4) {
                0 => payload.truncate(at.max(1)),
                1 => payload.insert(at, rng.octets(1)[0]),
                _ => payload[at] ^= 1 << rng.below(8),
            }
        }
        agree(b"", &payload, limit)?;
    }
}
