//! What a turn writes, and writing that fails.

use crate::bench::{Bench, READ_SIZE, ROLES, Read, SECOND, Scripted, Write, config, shown, told_end};
use framewright::frame::{OpCode, encode_frame};
use framewright::{Config, Connection, Error, Event, Message, Role};
use framewright_driver::{Application, Current, Leave, Next};
use std::io::IoSlice;

#[test]
fn a_failed_write_loses_nothing_of_what_has_arrived() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Lose);
        let first = bench.frame(OpCode::Text, b"one");
        let more = [bench.frame(OpCode::Text, b"why"), bench.close_frame(1009)].concat();
        // Behind it lies what a reset leaves.
        bench.arrive([Read::Bytes(first), Read::Bytes(more), Read::Lost]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close), "{role:?}: {:?}", bench.seen);
        assert_eq!(bench.seen[..3], ["one", "why", "close 1009"]);
        bench.assert_ended(1009, false, Some(&Error::TransportLost));
        assert!(bench.transport.written.is_empty());
    }
}

#[test]
fn a_failed_write_without_a_word_of_the_peer_is_a_lost_transport() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Lose);
        bench.turn.connection.send_text("hello").expect("an open connection");
        assert_eq!(bench.turns(), Next::Leave(Leave::Close));
        bench.assert_ended(1006, false, Some(&Error::TransportLost));
    }
}

#[test]
fn a_peer_that_sends_without_end_after_a_failed_write_is_left() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Lose);
        let flood = bench.frame(OpCode::Binary, &[7; 16_000]);
        bench.arrive([Read::Endless(flood)]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close));
        bench.assert_ended(1006, false, Some(&Error::TransportLost));
        assert!((7 << 20..9 << 20).contains(&bench.transport.read), "{}", bench.transport.read);
    }
}

#[test]
fn a_long_message_that_is_written_through_fails_as_any_other() {
    let mut bench = Bench::new(Role::Server, config());
    bench.transport.writes.push_back(Write::Lose);
    let (first, last) = (bench.frame(OpCode::Text, b"one"), bench.close_frame(1000));
    bench.arrive([Read::Bytes(first)]);
    let Bench { turn, transport, ready, lent, now, seen, .. } = &mut bench;
    let mut answer = |current: &mut Current<'_, Scripted>, event: Event<'_>| {
        if let Event::Message(_) = event {
            let long = vec![7; 64 << 10];
            current
                .write_through(|connection, write| {
                    connection.driver().send_with_writer(Message::Binary(&long), write)
                })
                .expect("an open connection");
        }
        seen.push(shown(&event));
    };
    // The event that announces the end has come before.
    let next = turn.run(transport, ready, lent, *now, &mut answer);
    assert_eq!(next, Next::Again, "what has arrived is to be read, though nothing will announce it");
    bench.transport.reads.extend([Read::Bytes(last), Read::Lost]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Close));
    bench.assert_ended(1000, false, Some(&Error::TransportLost));
}

/// A server application in whose answers a long message is written through.
struct ThroughKnows(Vec<(String, usize)>);

impl Application<Scripted> for ThroughKnows {
    const KNOWS_THE_END_FIRST: bool = true;
    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        if let Event::Message(_) = event {
            let long = vec![7; 64 << 10];
            let _ = current.write_through(|connection, write| {
                connection.driver().send_with_writer(Message::Binary(&long), write)
            });
        }
        self.0.push((shown(&event), current.transport.written.len()));
    }
}

#[test]
fn a_server_is_not_told_of_a_clean_end_when_writing_has_failed_before() {
    let mut bench = Bench::new(Role::Server, config());
    bench.transport.writes.push_back(Write::Lose);
    let bytes = [bench.frame(OpCode::Text, b"one"), bench.close_frame(1000)].concat();
    bench.arrive([Read::Bytes(bytes), Read::Lost]);
    let mut application = ThroughKnows(Vec::new());
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let next = turn.run(transport, ready, lent, *now, &mut application);
    assert_eq!(next, Next::Leave(Leave::Close));
    let told = application.0.last().unwrap().0.clone();
    assert_eq!(told, told_end(&turn.closure().unwrap()), "{:?}", application.0);
}

#[test]
fn writing_that_fails_through_has_its_own_last_look() {
    // A deadline has passed, almost 8 MiB were read since; then a long message is written through
    // and fails.
    let mut bench = Bench::new(
        Role::Server,
        Config { keep_alive_interval: Some(SECOND), keep_alive_timeout: Some(SECOND), ..Config::default() },
    );
    bench.later(SECOND);
    assert_eq!(bench.turns(), Next::Wait);
    bench.later(SECOND);
    let flood = vec![bench.frame(OpCode::Pong, &[7; 58]); READ_SIZE / 64].concat();
    let flood_len = flood.len();
    assert_eq!(flood_len, READ_SIZE);
    let mut app = ThroughKnows(Vec::new());
    let mut reads: Vec<Read> = (0..62).map(|_| Read::Bytes(flood.clone())).collect();
    let mut text = bench.frame(OpCode::Text, b"go");
    text.extend(&flood[..READ_SIZE - 64]);
    while text.len() < READ_SIZE {
        let more = bench.frame(OpCode::Pong, b"");
        if text.len() + more.len() > READ_SIZE {
            break;
        }
        text.extend(more);
    }
    reads.push(Read::Bytes(text));
    reads.extend((0..10).map(|_| Read::Bytes(flood.clone())));
    reads.push(Read::Bytes([bench.frame(OpCode::Text, b"why"), bench.close_frame(1008)].concat()));
    reads.push(Read::Lost);
    bench.arrive(reads);
    bench.transport.writes.push_back(Write::Lose);
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    for _ in 0..2000 {
        if matches!(turn.run(transport, ready, lent, *now, &mut app), Next::Leave(_)) {
            break;
        }
    }
    let seen: Vec<_> = app.0.iter().map(|s| s.0.clone()).filter(|s| !s.starts_with("Pong")).collect();
    assert!(seen.contains(&"why".to_owned()), "{seen:?} {:?} read {}", turn.closure(), transport.read);
}

/// What one turn writes at most, a message that is written through aside.
const TURN_WRITES: usize = 4 << 20;

#[test]
fn a_turn_writes_its_share_and_asks_for_another() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        // Several slices: one that is handed over, between small ones.
        let (small, large) = (vec![3; 1000], vec![5; 18 << 20]);
        bench.turn.connection.send_binary(&small).expect("room");
        bench.turn.connection.send_owned(large.clone()).expect("room");
        let mut turns = 0;
        loop {
            let before = bench.transport.written.len();
            let next = bench.turn();
            let written = bench.transport.written.len() - before;
            assert!((1..=TURN_WRITES).contains(&written), "{role:?}: {written} bytes in turn {turns}");
            turns += 1;
            if next != Next::Again {
                assert_eq!(next, Next::Wait, "the last byte is written");
                break;
            }
        }
        assert!(turns > 3, "{turns}");
        let mask = (role == Role::Client).then_some([0; 4]);
        let mut expected = Vec::new();
        for payload in [&small, &large] {
            encode_frame(&mut expected, true, OpCode::Binary, payload, mask);
        }
        assert!(bench.transport.written == expected, "all of it, in order");
    }
}

#[test]
fn a_connection_that_has_ended_is_left_when_its_last_share_is_written() {
    let mut bench = Bench::new(Role::Server, config());
    bench.turn.connection.send_owned(vec![5; 9 << 20]).expect("room");
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    let mut turns = 1;
    while bench.turn() == Next::Again {
        turns += 1;
    }
    assert!(turns > 1, "{turns}");
    assert_eq!(bench.turn(), Next::Leave(Leave::Close));
    bench.assert_ended(1000, true, None);
    assert!(bench.transport.written.ends_with(&[0x88, 2, 0x03, 0xe8]), "the Close frame is last");
    assert_eq!(bench.transport.written.len(), (9 << 20) + 10 + 4);
}

#[test]
fn many_small_requests_for_much_are_answered_a_share_at_a_time() {
    // The transport takes all it is offered: nothing else would stop the turn.
    let mut bench = Bench::new(Role::Server, config());
    let request = bench.frame(OpCode::Text, b"more");
    bench.arrive([Read::Bytes(request.repeat(200))]);
    let long = vec![7; 64 << 10];
    let (mut answered, mut most) = (0, 0);
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    loop {
        let before = transport.written.len();
        let mut answer = |current: &mut Current<'_, Scripted>, event: Event<'_>| {
            if event == Event::Writable {
                return; // behind a share much is queued
            }
            assert_eq!(event, Event::Message(Message::Text("more")));
            let send = |connection: &mut Connection, write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize| {
                connection.driver().send_with_writer(Message::Binary(&long), write)
            };
            current.write_through(send).expect("what is handed over finds room for an answer");
            answered += 1;
        };
        let next = turn.run(transport, ready, lent, *now, &mut answer);
        most = most.max(transport.written.len() - before);
        if next != Next::Again {
            break;
        }
    }
    assert_eq!(answered, 200);
    assert_eq!(transport.written.len(), 200 * (long.len() + 10));
    assert!(most <= TURN_WRITES + long.len() + 10, "{most} bytes in a turn");
}
