//! Laws that hold for any stream: the round trip, and that every way to decode and to split comes
//! to the same.

use crate::support::ROLES;
use framewright::frame::{Frame, Rules, encode_frame};
use framewright::{Config, Connection, Delivery, Event, Message, RecvBuffer, Role};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen, join_chunks};
use framewright_testkit::fuzz;
use framewright_testkit::naive::{self, connection::Verdict};
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::split::{before_character, random_pieces};
use proptest::prelude::*;

/// A message, and after how many octets of it each fragment ends.
#[derive(Clone, Debug)]
struct Sample {
    message: Seen,
    cuts: Vec<usize>,
    ping_between: bool,
}

fn sample() -> impl Strategy<Value = Sample> {
    let text =
        proptest::string::string_regex("(?s).{0,40}").expect("a regular expression").prop_map(Seen::Text);
    let binary = proptest::collection::vec(any::<u8>(), 0..400).prop_map(Seen::Binary);
    let large = (60_000usize..70_000, any::<u8>()).prop_map(|(len, octet)| Seen::Binary(vec![octet; len]));
    let message = prop_oneof![8 => text, 8 => binary, 1 => large];
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..4);
    (message, cuts, any::<bool>()).prop_map(|(message, cuts, ping_between)| {
        let len = match &message {
            Seen::Text(text) => text.len(),
            Seen::Binary(payload) => payload.len(),
            _ => unreachable!("a message"),
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
        if let Seen::Text(text) = &message {
            cuts.iter_mut().for_each(|cut| *cut = before_character(text, *cut));
        }
        cuts.sort_unstable();
        Sample { message, cuts, ping_between }
    })
}

fn part(message: &Seen, from: usize, to: usize) -> Message<'_> {
    match message {
        Seen::Text(text) => Message::Text(&text[from..to]),
        Seen::Binary(payload) => Message::Binary(&payload[from..to]),
        _ => unreachable!("a message"),
    }
}

/// Sends a message in its fragments; whole if it has no cuts.
fn send(sender: &mut Endpoint, sample: &Sample) {
    let len = match &sample.message {
        Seen::Text(text) => text.len(),
        Seen::Binary(payload) => payload.len(),
        _ => unreachable!("a message"),
    };
    if sample.cuts.is_empty() {
        sender.connection.send(part(&sample.message, 0, len)).unwrap();
    } else {
        let mut from = 0;
        for &cut in &sample.cuts {
            sender.connection.send_fragment(part(&sample.message, from, cut), false).unwrap();
            if sample.ping_between {
                sender.connection.ping(b"between").unwrap();
            }
            from = cut;
        }
        sender.connection.send_fragment(part(&sample.message, from, len), true).unwrap();
    }
    sender.drain();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_messages_in_any_fragments_and_pieces_arrive_as_they_were(
        samples in proptest::collection::vec(sample(), 0..6),
        seed in any::<u64>(),
        most in 1usize..3000,
        chunks in any::<bool>(),
    ) {
        let delivery = if chunks { Delivery::Chunks } else { Delivery::Whole };
        let config = Config { delivery, ..Config::default() };
        // A large message that comes octet by octet goes back in as many fragments.
        let patient = Config { small_frame_budget: u32::MAX, ..Config::default() };
        for role in ROLES {
            let mut sender = Endpoint::new(role.peer(), patient.clone(), seed, Behaviour::Silent);
            samples.iter().for_each(|sample| send(&mut sender, sample));
            let _ = sender.frames();
            let mut receiver = Endpoint::new(role, config.clone(), seed, Behaviour::Echo);
            for piece in random_pieces(&sender.sent, &mut SplitMix64::new(seed), most) {
                receiver.feed(piece);
            }
            let (events, partial) = join_chunks(&receiver.events);
            prop_assert!(partial.is_none());
            let messages = events.iter().filter(|event| matches!(event, Seen::Text(_) | Seen::Binary(_)));
            prop_assert!(messages.eq(samples.iter().map(|sample| &sample.message)));
            // And back again.
            sender.feed(&receiver.sent);
            let echoes = sender.events.iter().filter(|event| matches!(event, Seen::Text(_) | Seen::Binary(_)));
            prop_assert!(echoes.eq(samples.iter().map(|sample| &sample.message)));
        }
    }

    #[test]
    fn decode_and_resolve_is_next_event(
        stream in stream(),
        seed in any::<u64>(),
        chunks in any::<bool>(),
    ) {
        let delivery = if chunks { Delivery::Chunks } else { Delivery::Whole };
        for role in ROLES {
            let mut one = Endpoint::new(role, Config { delivery, ..Config::default() }, 1, Behaviour::Silent);
            let mut two = Endpoint::new(role, Config { delivery, ..Config::default() }, 1, Behaviour::Silent);
            for piece in random_pieces(&stream, &mut SplitMix64::new(seed), 50) {
                one.rx.extend_from_slice(piece);
                two.rx.extend_from_slice(piece);
                while let Some(event) = one.connection.next_event(one.now, &mut one.rx) {
                    one.events.push(event.into());
                }
                while let Some(decoded) = two.connection.decode(two.now, &mut two.rx) {
                    two.events.push(decoded.resolve(&two.rx).into());
                }
            }
            prop_assert_eq!(&one.events, &two.events);
            prop_assert_eq!(one.connection.stats(), two.connection.stats());
            prop_assert_eq!(one.connection.buffered(), two.connection.buffered());
        }
    }

    #[test]
    fn any_stream_under_any_settings_keeps_the_law(picks in any::<[u8; 4]>(), stream in stream()) {
        fuzz::connection::check(&[&picks[..], &stream].concat());
    }

    #[test]
    fn any_octets_end_where_the_naive_decoder_says(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        for role in ROLES {
            let reading = naive::connection::read(role, &Config::default(), &octets);
            let mut connection = Endpoint::new(role, Config::default(), 1, Behaviour::Silent).connection;
            let mut rx = RecvBuffer::new();
            rx.extend_from_slice(&octets);
            let mut closed = false;
            while let Some(event) = connection.next_event(std::time::Instant::now(), &mut rx) {
                closed |= matches!(event, Event::Closed(_));
            }
            prop_assert_eq!(closed, reading.verdict != Verdict::Open);
        }
    }

    #[test]
    fn a_frame_is_encoded_and_decoded_in_both_mask_states(
        payload in proptest::collection::vec(any::<u8>(), 0..70_000),
        key in any::<[u8; 4]>(),
    ) {
        for (role, mask) in [(Role::Server, Some(key)), (Role::Client, None)] {
            let mut octets = Vec::new();
            encode_frame(&mut octets, true, framewright::frame::OpCode::Binary, &payload, mask);
            let (frame, rest) = Frame::decode(&mut octets, Rules::for_receiver(role)).unwrap().unwrap();
            prop_assert!(rest.is_empty() && *frame.payload == payload);
        }
    }
}

/// Mostly legal frames of either role, with an octet changed now and then.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let frame = (
        prop_oneof![Just(0u8), Just(1), Just(2), Just(8), Just(9), Just(10), any::<u8>()],
        prop_oneof![9 => Just(true), 5 => Just(false)],
        proptest::collection::vec(prop_oneof![any::<u8>(), b'a'..=b'z'], 0..140),
    );
    let noise = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (any::<bool>(), proptest::collection::vec(frame, 0..8), any::<u64>(), noise).prop_map(
        |(masked, frames, seed, noise)| {
            let mut rng = SplitMix64::new(seed);
            let mut stream = Vec::new();
            for (opcode, fin, payload) in frames {
                let Some(opcode) = framewright::frame::OpCode::from_bits(opcode % 16) else { continue };
                encode_frame(&mut stream, fin, opcode, &payload, masked.then(|| rng.key()));
            }
            if let (Some((at, octet)), false) = (noise, stream.is_empty()) {
                let at = at.index(stream.len());
                stream[at] ^= octet;
            }
            stream
        },
    )
}

/// The connection is `Send`, so that a driver can move it to another thread.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Connection>();
    is_send::<RecvBuffer>();
};
