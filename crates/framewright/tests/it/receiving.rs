//! Where received octets lie: no copy of a whole message, no allocation at rest, parked tails.

use crate::support::{ROLES, binary, endpoint, from_peer, text};
use framewright::{Config, Connection, Event, Message, RecvBuffer, Role, TransmitBuffer};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen, join_chunks};
use framewright_testkit::split::every_split;
use std::ops::Range;
use std::time::Instant;

/// Reads `octets` into the buffer and tells where the whole of the buffer lies.
fn fill(rx: &mut RecvBuffer, octets: &[u8]) -> Range<usize> {
    let spare = rx.spare(octets.len());
    let end = spare.as_ptr_range().end.addr();
    spare[..octets.len()].copy_from_slice(octets);
    rx.filled(octets.len());
    end - rx.capacity()..end
}

fn lies_in(payload: &[u8], place: &Range<usize>) -> bool {
    let payload = payload.as_ptr_range();
    place.start <= payload.start.addr() && payload.end.addr() <= place.end
}

#[test]
fn the_payloads_of_all_events_lie_in_the_buffer_that_was_read_into() {
    let source = "text \"whole\"; binary \"two\" !fin; ping \"ping\"; cont \"parts\"; pong \"pong\"; close 1000 \"bye\"";
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let place = fill(&mut endpoint.rx, &from_peer(role, source));
        let mut events = 0;
        while let Some(event) = endpoint.connection.next_event(endpoint.now, &mut endpoint.rx) {
            events += 1;
            assert!(match event {
                Event::Message(message) => lies_in(message.as_bytes(), &place),
                Event::Ping(data) | Event::Pong(data) => lies_in(data, &place),
                Event::CloseReceived { reason, .. } => lies_in(reason.as_bytes(), &place),
                _ => true,
            });
        }
        assert_eq!(events, 6);
    }
}

#[test]
fn the_first_fragment_is_not_moved_nor_a_frame_that_comes_in_pieces() {
    for role in ROLES {
        let header = if role == Role::Server { 6 } else { 2 };
        for source in ["ping; binary \"first\" !fin; cont \"second\"", "pong; binary \"one frame in pieces\""]
        {
            let stream = from_peer(role, source);
            let mut endpoint = endpoint(role);
            endpoint.rx = RecvBuffer::with_capacity(100);
            let place = fill(&mut endpoint.rx, &stream[..header + header + 3]);
            let control = endpoint.connection.next_event(endpoint.now, &mut endpoint.rx);
            assert!(matches!(control, Some(Event::Ping(_) | Event::Pong(_))));
            assert_eq!(endpoint.connection.next_event(endpoint.now, &mut endpoint.rx), None);
            fill(&mut endpoint.rx, &stream[header + header + 3..]);
            let event = endpoint.connection.next_event(endpoint.now, &mut endpoint.rx);
            let Some(Event::Message(message)) = event else { panic!("{event:?}") };
            assert_eq!(message.as_bytes().as_ptr().addr(), place.start + header + header, "{source}");
        }
    }
}

#[test]
fn room_is_made_by_moving_what_is_kept_before_the_buffer_grows() {
    for role in ROLES {
        for source in [
            "repeat 100 { binary \"x\" * 20 }",
            "repeat 100 { binary \"x\" * 10 !fin; ping \"x\"; cont \"x\" * 10 }",
        ] {
            let mut endpoint = endpoint(role);
            endpoint.rx = RecvBuffer::with_capacity(80);
            for piece in from_peer(role, source).chunks(31) {
                endpoint.feed(piece);
                assert_eq!(endpoint.rx.capacity(), 80);
            }
            assert_eq!(endpoint.connection.stats().messages_received, 100);
        }
    }
}

#[test]
fn ten_thousand_echoes_grow_no_buffer() {
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, Config::default(), 1, Behaviour::Echo);
        endpoint.rx = RecvBuffer::with_capacity(4096);
        let lent = Box::new(TransmitBuffer::with_capacity(4096));
        assert!(endpoint.connection.driver().lend_transmit_buffer(lent).is_none());
        let place = fill(&mut endpoint.rx, b"");
        let stream =
            from_peer(role, "text \"Hello\" * 20; binary \"x\" * 200 !fin; cont \"y\" * 200; ping \"z\"");
        for _ in 0..10_000 / 2 {
            assert_eq!(fill(&mut endpoint.rx, &stream), place, "the buffer is the same");
            endpoint.drain();
            endpoint.events.clear();
            endpoint.sent.clear();
        }
        assert!(endpoint.rx.is_empty());
        assert_eq!(endpoint.rx.capacity(), 4096);
        let reclaimed = endpoint.connection.driver().reclaim_transmit_buffer().expect("nothing waits");
        assert_eq!(reclaimed.capacity(), 4096);
        assert_eq!(endpoint.connection.stats().messages_sent, 10_000);
    }
}

#[test]
fn parking_at_every_split_changes_nothing() {
    let source = r#"text "Hel" !fin; ping "x"; cont "l\u{f6}"; binary "whole"; text "\u{1f600}" !fin; cont; close 1000 "bye""#;
    for role in ROLES {
        for delivery in [framewright::Delivery::Whole, framewright::Delivery::Chunks] {
            let config = Config { delivery, ..Config::default() };
            let mut whole = Endpoint::new(role, config.clone(), 1, Behaviour::Silent);
            whole.feed(&from_peer(role, source));
            every_split(&from_peer(role, source), |_, pieces| {
                let mut endpoint = Endpoint::new(role, config.clone(), 1, Behaviour::Silent);
                let mut shared = RecvBuffer::with_capacity(64);
                let mut parked = RecvBuffer::new();
                for piece in pieces {
                    shared.absorb(&mut parked);
                    assert!(parked.is_empty());
                    std::mem::swap(&mut endpoint.rx, &mut shared);
                    endpoint.feed(piece);
                    std::mem::swap(&mut endpoint.rx, &mut shared);
                    let kept = shared.len();
                    parked = shared.park();
                    assert!(shared.is_empty(), "the buffer is free for another connection");
                    assert_eq!((parked.len(), parked.capacity()), (kept, kept), "no octet more than is kept");
                }
                assert_eq!(join_chunks(&endpoint.events), join_chunks(&whole.events));
                assert_eq!(endpoint.sent, whole.sent);
                assert!(parked.is_empty());
            });
        }
    }
}

#[test]
fn one_buffer_serves_many_connections() {
    let mut rx = RecvBuffer::with_capacity(1024);
    let now = Instant::now();
    let mut parked: Vec<(Connection, RecvBuffer)> =
        (0..10).map(|_| (endpoint(Role::Server).connection, RecvBuffer::new())).collect();
    let streams: Vec<_> =
        (0..10).map(|n| from_peer(Role::Server, &format!("text \"n{n}\" !fin; cont \"!\""))).collect();
    let mut seen = vec![Vec::new(); 10];
    for at in 0..streams[0].len() {
        for (n, (connection, tail)) in parked.iter_mut().enumerate() {
            rx.absorb(tail);
            rx.extend_from_slice(&streams[n][at..=at]);
            while let Some(event) = connection.next_event(now, &mut rx) {
                seen[n].push(Seen::from(event));
            }
            *tail = rx.park();
        }
    }
    for (n, seen) in seen.into_iter().enumerate() {
        assert_eq!(seen, [text(&format!("n{n}!"))]);
    }
    assert_eq!(rx.capacity(), 1024);
}

#[test]
fn a_large_message_grows_the_buffer_with_what_arrives_only() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let stream = from_peer(role, "binary \"0123456789\" * 100_000");
        let mut fed = 0;
        for piece in stream.chunks(10_000) {
            endpoint.feed(piece);
            fed += piece.len();
            assert!(endpoint.rx.capacity() <= fed + 14);
        }
        assert_eq!(endpoint.events, [binary(&b"0123456789".repeat(100_000))]);
        assert!(endpoint.rx.is_empty());
        assert_eq!(endpoint.rx.park().capacity(), 0);
    }
}

#[test]
fn the_application_can_send_while_it_holds_a_payload() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.rx.extend_from_slice(&from_peer(role, "text \"held\""));
        let event = endpoint.connection.next_event(endpoint.now, &mut endpoint.rx);
        let Some(Event::Message(message @ Message::Text(held))) = event else { panic!("{event:?}") };
        endpoint.connection.send(message).unwrap();
        endpoint.connection.close(None, "").unwrap();
        assert_eq!(held, "held");
    }
}

#[test]
fn a_decoded_event_is_resolved_later_and_borrows_nothing_before() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.rx.extend_from_slice(&from_peer(role, "text \"first\"; text \"second\""));
        let decoded = endpoint.connection.decode(endpoint.now, &mut endpoint.rx).unwrap();
        assert_eq!(endpoint.rx.unread(), if role == Role::Server { 12 } else { 8 });
        assert_eq!(decoded.resolve(&endpoint.rx), Event::Message(Message::Text("first")));
    }
}

#[test]
fn a_long_payload_is_taken_with_its_memory_a_short_one_is_copied_and_what_follows_stays() {
    for role in ROLES {
        for len in [100, 15_000, 20_000] {
            let text = "long ".repeat(len / 5);
            let stream = from_peer(role, &format!("text \"{text}\"; text \"second\"; ping \"third\""));
            let mut endpoint = endpoint(role);
            endpoint.rx = RecvBuffer::with_capacity(35_000);
            let place = fill(&mut endpoint.rx, &stream);
            let decoded = endpoint.connection.decode(endpoint.now, &mut endpoint.rx).unwrap();
            let taken = decoded.take_payload(&mut endpoint.rx).expect("a message");
            let payload = &taken.octets[taken.range.clone()];
            assert!(taken.text);
            assert_eq!(payload, text.as_bytes());
            assert_eq!(lies_in(payload, &place), len == 20_000, "{len}: half of the buffer, and long");
            let second = endpoint.connection.decode(endpoint.now, &mut endpoint.rx).unwrap();
            let second = second.take_payload(&mut endpoint.rx).expect("a message");
            assert_eq!(second.octets[second.range], *b"second");
            let third = endpoint.connection.decode(endpoint.now, &mut endpoint.rx).unwrap();
            assert_eq!(third.clone().resolve(&endpoint.rx), Event::Ping(b"third"));
            assert_eq!(third.take_payload(&mut endpoint.rx), None);
        }
    }
}

#[test]
#[should_panic(expected = "has changed since")]
fn a_decoded_event_is_not_resolved_against_a_buffer_that_has_changed() {
    let mut endpoint = endpoint(Role::Server);
    endpoint.rx.extend_from_slice(&from_peer(Role::Server, "text \"first\""));
    let decoded = endpoint.connection.decode(endpoint.now, &mut endpoint.rx).unwrap();
    endpoint.rx.extend_from_slice(b"more");
    let _ = decoded.resolve(&endpoint.rx);
}

#[test]
#[should_panic(expected = "the buffer is another one")]
fn a_decoded_event_is_not_resolved_against_another_buffer() {
    let [mut endpoint, mut other] = [endpoint(Role::Server), endpoint(Role::Server)];
    for endpoint in [&mut endpoint, &mut other] {
        endpoint.rx.extend_from_slice(&from_peer(Role::Server, "text \"first\""));
    }
    let decoded = endpoint.connection.decode(endpoint.now, &mut endpoint.rx).unwrap();
    let _ = other.connection.decode(other.now, &mut other.rx).unwrap();
    let _ = decoded.resolve(&other.rx);
}

#[test]
#[should_panic(expected = "only an empty buffer")]
fn a_buffer_that_keeps_something_takes_over_nothing() {
    let mut rx = RecvBuffer::new();
    rx.extend_from_slice(b"kept");
    rx.absorb(&mut RecvBuffer::with_capacity(10));
}

/// Bytes for each idle connection count when there are 100,000 of them: less than two cache lines,
/// of which the deadlines are the largest part. What few connections have (masking keys, a
/// subprotocol, a close) is boxed, what waits to be sent lies in the buffer that is lent, and how
/// far decoding has come stands in the other one.
#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 96, "{} bytes", size_of::<Connection>());
    assert!(size_of::<RecvBuffer>() <= 176, "{} bytes", size_of::<RecvBuffer>());
}
