//! Section 6.1: the commands, what they refuse, and that a refused one has queued nothing.

use crate::support::{ROLES, code, endpoint, sent};
use framewright::{Message, OwnedMessage, Prepared, Role, SendError, State, TransmitBuffer, Unsent};
use framewright_testkit::endpoint::Endpoint;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn other_messages_are_refused_while_one_is_sent_in_fragments() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let connection = &mut endpoint.connection;
        connection.send_fragment(Message::Text("a"), false).unwrap();
        let waiting = connection.buffered();
        assert_eq!(connection.send_text("x"), Err(SendError::FragmentInProgress));
        assert_eq!(connection.send_binary(b"x"), Err(SendError::FragmentInProgress));
        assert_eq!(
            connection.send_prepared(&Prepared::new(Message::Text("x"))),
            Err(SendError::FragmentInProgress)
        );
        let through = connection.driver().send_with_writer(Message::Text("x"), &mut |_| unreachable!());
        assert_eq!(through, Err(SendError::FragmentInProgress));
        assert_eq!(connection.send_fragment(Message::Binary(b"x"), true), Err(SendError::FragmentType));
        assert_eq!(connection.buffered(), waiting);
        connection.ping(b"p").unwrap();
        connection.send_fragment(Message::Text("b"), true).unwrap();
        connection.send_binary(b"next").unwrap();
        endpoint.drain();
        let expected = [(1, b"a".to_vec()), (9, b"p".to_vec()), (0, b"b".to_vec()), (2, b"next".to_vec())];
        assert_eq!(sent(&endpoint), expected);
    }
}

#[test]
fn a_close_may_come_between_the_fragments_that_are_sent() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.send_fragment(Message::Text("a"), false).unwrap();
        endpoint.connection.close(None, "").unwrap();
        assert_eq!(endpoint.connection.send_fragment(Message::Text("b"), true), Err(SendError::Closed));
        endpoint.drain();
        assert_eq!(sent(&endpoint), [(1, b"a".to_vec()), (8, Vec::new())]);
    }
}

#[test]
fn a_close_reason_that_does_not_fit_is_refused() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let connection = &mut endpoint.connection;
        assert_eq!(connection.close(Some(code(1000)), &"r".repeat(124)), Err(SendError::CloseReason));
        assert_eq!(connection.close(Some(code(1000)), &"\u{20ac}".repeat(42)), Err(SendError::CloseReason));
        assert_eq!(connection.close(None, "r"), Err(SendError::CloseReason));
        assert_eq!((connection.buffered(), connection.state()), (0, State::Open));
        connection.close(Some(code(1000)), &"\u{20ac}".repeat(41)).unwrap();
        endpoint.drain();
        let body = [&[3, 232][..], "\u{20ac}".repeat(41).as_bytes()].concat();
        assert_eq!(sent(&endpoint), [(8, body)]);
    }
}

/// `send_through` to a transport that takes `taken` octets at once, behind a message that waits.
fn send_through(role: Role, payload: &[u8], waiting: &[u8], taken: usize) -> Endpoint {
    let mut endpoint = endpoint(role);
    endpoint.connection.send_binary(waiting).unwrap();
    let mut wire = Vec::new();
    let mut calls = 0;
    let through = endpoint.connection.driver().send_with_writer(Message::Binary(payload), &mut |slices| {
        calls += 1;
        let before = wire.len();
        for slice in slices {
            let room = taken - (wire.len() - before);
            wire.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        wire.len() - before
    });
    through.unwrap();
    assert_eq!(calls, usize::from(role == Role::Server), "a client masks, so it copies");
    endpoint.connection.transmitted(endpoint.now, 0);
    endpoint.sent = wire;
    endpoint.connection.send_text("behind").unwrap();
    endpoint.drain();
    endpoint
}

#[test]
fn send_through_gives_the_same_octets_however_few_are_taken() {
    for role in ROLES {
        for (payload, waiting) in [(300, 20), (0, 0), (1, 200), (70_000, 10)] {
            let (payload, waiting) = (vec![1; payload], vec![2; waiting]);
            let mut plain = endpoint(role);
            plain.connection.send_binary(&waiting).unwrap();
            plain.connection.send_binary(&payload).unwrap();
            plain.connection.send_text("behind").unwrap();
            plain.drain();
            let all = payload.len() + waiting.len() + 20;
            for taken in (0..all.min(600)).chain([all, all / 2]) {
                let through = send_through(role, &payload, &waiting, taken);
                assert!(through.sent == plain.sent, "{} octets, {taken} taken at once", payload.len());
                assert_eq!(through.connection.buffered(), 0);
                assert_eq!(through.connection.stats(), plain.connection.stats());
            }
        }
    }
}

#[test]
fn a_message_that_is_handed_over_gives_the_same_octets_as_a_copy() {
    for role in ROLES {
        for len in [0, 1, 125, 126, 4095, 4096, 70_000] {
            let message = |number: usize| match number % 2 {
                0 => OwnedMessage::Text("x".repeat(len)),
                _ => OwnedMessage::Binary(vec![1; len]),
            };
            let (mut copied, mut handed_over) = (endpoint(role), endpoint(role));
            for number in 0..3 {
                copied.connection.send(message(number).as_message()).unwrap();
                handed_over.connection.send_owned(message(number)).unwrap();
                assert_eq!(copied.connection.buffered(), handed_over.connection.buffered());
            }
            copied.drain();
            handed_over.drain();
            assert_eq!(copied.sent, handed_over.sent, "{role:?}, {len} octets");
            assert_eq!(copied.connection.stats(), handed_over.connection.stats());
        }
    }
}

#[test]
fn a_message_that_is_handed_over_and_refused_comes_back_unchanged() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let message = OwnedMessage::Text("mine".repeat(2000));
        let refused = |endpoint: &mut Endpoint, error| {
            let waiting = endpoint.connection.buffered();
            let expected = Unsent { error, message: message.clone() };
            assert_eq!(
                endpoint.connection.send_owned(message.clone()).map_err(|unsent| *unsent),
                Err(expected)
            );
            assert_eq!(endpoint.connection.buffered(), waiting);
        };
        endpoint.connection.send_fragment(Message::Text("a"), false).unwrap();
        refused(&mut endpoint, SendError::FragmentInProgress);
        endpoint.connection.send_fragment(Message::Text("b"), true).unwrap();
        endpoint.connection.send_owned(vec![0; 2 << 20]).unwrap();
        refused(&mut endpoint, SendError::Full);
        endpoint.connection.close(None, "").unwrap();
        refused(&mut endpoint, SendError::Closed);
    }
}

#[test]
fn fragments_sent_through_give_the_same_octets_however_few_are_taken() {
    for role in ROLES {
        for taken in [0, 1, 3, 500, usize::MAX] {
            let (mut plain, mut through) = (endpoint(role), endpoint(role));
            let mut wire = Vec::new();
            for (size, last) in [(300, false), (0, false), (70_000, false), (5, true)] {
                let payload = vec![7; size];
                let data = Message::Binary(&payload);
                plain.connection.send_fragment(data, last).unwrap();
                let mut write = |slices: &[IoSlice<'_>]| {
                    let shown = slices.iter().flat_map(|slice| slice.iter().copied());
                    let before = wire.len();
                    wire.extend(shown.take(taken));
                    wire.len() - before
                };
                through.connection.driver().send_fragment_with_writer(data, last, &mut write).unwrap();
                through.connection.transmitted(through.now, 0);
            }
            assert_eq!(through.connection.is_fragmenting(), plain.connection.is_fragmenting());
            plain.drain();
            through.sent = wire;
            through.drain();
            if role == Role::Server {
                assert!(through.sent == plain.sent, "{taken} taken at once");
            } else {
                assert_eq!(sent(&through), sent(&plain), "masked anew, and not shown");
            }
            assert_eq!(through.connection.stats(), plain.connection.stats());
            through
                .connection
                .driver()
                .send_fragment_with_writer(Message::Text("x"), false, &mut |_| 0)
                .unwrap();
            let wrong = through.connection.driver().send_fragment_with_writer(
                Message::Binary(b"x"),
                false,
                &mut |_| 0,
            );
            assert_eq!(wrong, Err(SendError::FragmentType));
        }
    }
}

#[test]
fn a_fragment_whose_writing_panics_was_never_sent() {
    for last in [false, true] {
        let mut endpoint = endpoint(Role::Server);
        let connection = &mut endpoint.connection;
        let mut send = |last| {
            let data = Message::Binary(b"lost");
            let mut write = |_: &[IoSlice<'_>]| panic!("the writer's own");
            let through = || connection.driver().send_fragment_with_writer(data, last, &mut write);
            assert!(catch_unwind(AssertUnwindSafe(through)).is_err());
        };
        send(last);
        assert!(!endpoint.connection.is_fragmenting());
        endpoint.connection.send_fragment(Message::Text("first"), false).unwrap();
        endpoint.connection.send_fragment(Message::Text("last"), true).unwrap();
        endpoint.drain();
        assert_eq!(sent(&endpoint), [(1, b"first".to_vec()), (0, b"last".to_vec())]);
    }
}

#[test]
fn send_through_behind_many_shared_messages_keeps_the_order() {
    let prepared = Prepared::new(Message::Binary(&[3; 5000]));
    let mut endpoint = endpoint(Role::Server);
    for _ in 0..10 {
        endpoint.connection.send_prepared(&prepared).unwrap();
    }
    let mut shown = 0;
    let through = endpoint.connection.driver().send_with_writer(Message::Text("last"), &mut |slices| {
        shown = slices.iter().map(|slice| slice.len()).sum();
        0
    });
    through.unwrap();
    assert!(shown < 10 * 5000, "more waits than there are slices for");
    endpoint.drain();
    let frames = sent(&endpoint);
    assert!(frames[..10].iter().all(|frame| *frame == (2, vec![3; 5000])));
    assert_eq!(frames[10], (1, b"last".to_vec()));
}

#[test]
fn a_prepared_message_is_shared_by_many_connections() {
    for message in
        [Message::Text("small"), Message::Binary(&[9; 10]), Message::Binary(&[9; 70_000]), Message::Text("")]
    {
        let prepared = Prepared::new(message);
        assert_eq!(prepared.payload_len(), message.len());
        for role in ROLES {
            let (mut one, mut other) = (endpoint(role), endpoint(role));
            for endpoint in [&mut one, &mut other] {
                endpoint.connection.send_prepared(&prepared.clone()).unwrap();
                endpoint.connection.send_text("behind").unwrap();
                endpoint.drain();
                let opcode = if message.is_text() { 1 } else { 2 };
                assert_eq!(sent(endpoint), [(opcode, message.as_bytes().to_vec()), (1, b"behind".to_vec())]);
                assert_eq!(endpoint.connection.stats().bytes_sent, message.len() as u64 + 6);
            }
        }
    }
}

#[test]
fn counters_count_messages_and_their_payload() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.send_text("12345").unwrap();
        endpoint.connection.send_fragment(Message::Binary(b"12"), false).unwrap();
        endpoint.connection.ping(b"not counted").unwrap();
        endpoint.feed(&crate::support::from_peer(
            role,
            "text \"123\"; binary \"12\" !fin; ping \"x\"; cont \"3456\"; text \"1\" !fin",
        ));
        let stats = endpoint.connection.stats();
        assert_eq!((stats.messages_sent, stats.bytes_sent), (1, 7));
        assert_eq!((stats.messages_received, stats.bytes_received), (2, 10));
    }
}

#[test]
fn a_lent_buffer_is_used_and_given_back_when_nothing_waits() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        assert!(
            endpoint.connection.driver().reclaim_transmit_buffer().is_none(),
            "a connection at rest holds none"
        );
        let lent = Box::new(TransmitBuffer::with_capacity(4096));
        assert!(endpoint.connection.driver().lend_transmit_buffer(lent).is_none());
        let second =
            endpoint.connection.driver().lend_transmit_buffer(Box::new(TransmitBuffer::with_capacity(100)));
        assert_eq!(second.map(|back| back.capacity()), Some(100), "it has one");
        endpoint.room = 1;
        endpoint.connection.send_text("Hello").unwrap();
        endpoint.drain();
        assert!(endpoint.connection.driver().reclaim_transmit_buffer().is_none(), "something waits in it");
        endpoint.make_room(usize::MAX);
        let reclaimed = endpoint.connection.driver().reclaim_transmit_buffer().unwrap();
        assert_eq!((reclaimed.is_empty(), reclaimed.capacity()), (true, 4096));
        assert_eq!(sent(&endpoint), [(1, b"Hello".to_vec())]);
    }
}

#[test]
fn nothing_of_another_connection_is_in_a_buffer_that_goes_round() {
    for role in ROLES {
        let mut lent = Box::new(TransmitBuffer::new());
        for text in ["a longer text", "short"] {
            let mut endpoint = endpoint(role);
            assert!(lent.is_empty());
            assert!(endpoint.connection.driver().lend_transmit_buffer(lent).is_none());
            endpoint.room = 5;
            endpoint.connection.send_text(text).unwrap();
            endpoint.drain();
            endpoint.make_room(usize::MAX);
            assert_eq!(sent(&endpoint), [(1, text.as_bytes().to_vec())]);
            lent = endpoint.connection.driver().reclaim_transmit_buffer().unwrap();
        }
    }
}

#[test]
fn a_connection_that_was_lent_nothing_makes_its_own_buffer() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        assert!(endpoint.connection.driver().reclaim_transmit_buffer().is_none());
        endpoint.connection.send_text("Hello").unwrap();
        endpoint.drain();
        assert_eq!(sent(&endpoint), [(1, b"Hello".to_vec())]);
        assert!(endpoint.connection.driver().reclaim_transmit_buffer().is_some());
    }
}
