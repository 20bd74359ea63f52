//! Lending and limits of permessage-deflate: what the documentation promises.

use framewright::deflate::{Codec, DeflateMemory, DeflateParams};
use framewright::{Config, Connection, Event, Message, Negotiated, RecvBuffer};
use framewright_testkit::deflate::{Deflater, compressible};
use framewright_testkit::rng::SplitMix64;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn server(config: Config) -> Connection {
    let negotiated = Negotiated::new().with_deflate(DeflateParams::default());
    Connection::server(Arc::new(config), negotiated, Instant::now())
}

/// A masked frame with a key of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    match payload.len() {
        len @ ..126 => octets.push(0x80 | u8::try_from(len).expect("short")),
        len => {
            octets.push(0x80 | 126);
            octets.extend_from_slice(&u16::try_from(len).expect("not long").to_be_bytes());
        }
    }
    octets.extend_from_slice(&[0; 4]);
    octets.extend_from_slice(payload);
    octets
}

#[test]
fn a_connection_that_was_lent_a_codec_goes_on_with_its_own_when_it_is_lent_no_more() {
    let now = Instant::now();
    let mut connection = server(Config::default());
    let mut rx = RecvBuffer::new();
    let octets = frame(0xc2, &Deflater::new(6).message(&[b'a'; 1000]));
    assert!(connection.driver().lend_codec(Box::new(Codec::new(DeflateMemory::new(usize::MAX)))).is_none());
    rx.extend_from_slice(&octets[..octets.len() - 1]);
    assert_eq!(connection.next_event(now, &mut rx), None);
    assert!(connection.driver().reclaim_codec().is_some());
    rx.extend_from_slice(&octets[octets.len() - 1..]);
    assert_eq!(connection.next_event(now, &mut rx), Some(Event::Message(Message::Binary(&[b'a'; 1000]))));
}

#[test]
fn the_codec_that_a_connection_has_made_never_comes_back_as_the_one_of_the_driver() {
    let memory = DeflateMemory::new(usize::MAX);
    let mut connection = server(Config::default());
    connection.send_binary(&[0; 1000]).unwrap();
    assert!(connection.driver().reclaim_codec().is_none(), "what was not lent is not given back");
    assert!(connection.driver().lend_codec(Box::new(Codec::new(Arc::clone(&memory)))).is_none());
    connection.send_binary(&[0; 1000]).unwrap();
    assert!(memory.stats().held > 0, "what was lent is used");
    assert!(
        connection.driver().lend_codec(Box::new(Codec::new(Arc::clone(&memory)))).is_some(),
        "one is enough"
    );
    drop(connection.driver().reclaim_codec().expect("the one that was lent"));
    assert_eq!(memory.stats().held, 0);
}

#[test]
fn whether_the_ratio_is_kept_does_not_depend_on_how_the_octets_arrive() {
    let now = Instant::now();
    let mut message = vec![0; 200_000];
    message.extend(compressible(&mut SplitMix64::new(1), 20_000));
    message.extend((0..20_000).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8));
    let octets = frame(0xc2, &Deflater::new(6).message(&message));
    let mut outcomes = Vec::new();
    for piece in [octets.len(), 100] {
        let mut config = Config::default();
        config.deflate.max_ratio = NonZeroU32::new(100);
        let mut connection = server(config);
        let mut rx = RecvBuffer::new();
        let mut seen = 0;
        for piece in octets.chunks(piece) {
            rx.extend_from_slice(piece);
            while let Some(event) = connection.next_event(now, &mut rx) {
                seen += usize::from(matches!(event, Event::Message(_)));
            }
        }
        outcomes.push(seen);
    }
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_message_that_has_arrived_is_in_time_however_long_it_waits_to_be_inflated() {
    let now = Instant::now();
    let config = Config {
        message_timeout: Some(Duration::from_secs(1)),
        idle_timeout: Some(Duration::from_secs(1)),
        ..Config::default()
    };
    let mut connection = server(config);
    let mut codec = Some(Box::new(Codec::new(DeflateMemory::new(usize::MAX))));
    let mut rx = RecvBuffer::new();
    rx.extend_from_slice(&frame(0xc2, &Deflater::new(6).message(&vec![0; 15 << 20])));
    let mut arrived = None;
    for turn in 0..10 {
        assert!(connection.driver().lend_codec(codec.take().expect("between turns")).is_none());
        let now = now + turn * Duration::from_millis(400);
        connection.handle_timeout(now);
        while let Some(event) = connection.next_event(now, &mut rx) {
            arrived.get_or_insert(matches!(event, Event::Message(_)));
        }
        codec = connection.driver().reclaim_codec();
    }
    assert_eq!(arrived, Some(true));
}

#[test]
fn a_message_within_the_limit_may_come_compressed_in_any_fragments() {
    let now = Instant::now();
    let mut connection = server(Config { max_message: 1000, ..Config::default() });
    let mut rx = RecvBuffer::new();
    let message: Vec<u8> =
        (0..900_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut deflater = Deflater::new(6);
    for (index, part) in message.chunks(3).enumerate() {
        let last = index == 299;
        let payload = if last { deflater.message(part) } else { deflater.part(part) };
        let first = u8::from(last) << 7 | if index == 0 { 0x42 } else { 0 };
        rx.extend_from_slice(&frame(first, &payload));
    }
    assert_eq!(connection.next_event(now, &mut rx), Some(Event::Message(Message::Binary(&message))));
}

#[test]
fn final_blocks_that_come_to_nothing_are_work_as_messages_are() {
    let now = Instant::now();
    let mut connection = server(Config::default());
    let mut payload = Deflater::new(6).part(&compressible(&mut SplitMix64::new(1), 40_000));
    // Each ends a stream of blocks: what follows begins anew, with 32 KiB to refer to.
    payload.extend([0x03, 0x00].repeat(10_000));
    let mut rx = RecvBuffer::new();
    rx.extend_from_slice(&frame(0xc2, &payload));
    assert!(connection.driver().lend_codec(Box::new(Codec::new(DeflateMemory::new(usize::MAX)))).is_none());
    assert_eq!(connection.next_event(now, &mut rx), None);
    assert!(
        connection.driver_view().has_inflate_work(),
        "10,000 messages of an octet would not have been inflated in one turn"
    );
}
