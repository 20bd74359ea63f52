//! What a turn reads, and what it hands over.

use crate::bench::{Bench, ROLES, Read, Scripted, Write, config, shown};
use framewright::frame::OpCode;
use framewright::{Config, Event, Role, SendError};
use framewright_driver::{Application, Current, Next};

#[test]
fn a_turn_reads_hands_over_and_writes_once() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        let (one, two) = (bench.frame(OpCode::Text, b"one"), bench.frame(OpCode::Text, b"two"));
        bench.arrive([Read::Bytes([one, two].concat())]);
        bench.transport.writes = [Write::Take(usize::MAX)].into();
        bench.transport.writes.push_back(Write::Lose);
        assert_eq!(bench.turn(), Next::Wait);
        assert_eq!(bench.seen, ["one", "two"]);
        let header = if role == Role::Client { 6 } else { 2 };
        assert_eq!(bench.transport.written.len(), 2 * (header + 3), "both answers, in one write");
        assert!(!bench.ready.read, "a short read has emptied it");
    }
}

#[test]
fn only_a_client_reads_ahead_while_its_send_queue_is_full() {
    for role in ROLES {
        let narrow = Config { high_water: 1000, low_water: 500, ..config() };
        let mut bench = Bench::new(role, narrow);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_binary(&[1; 2000]).expect("an empty queue");
        assert_eq!(bench.turn.connection.send_text("more"), Err(SendError::Full));
        let message = bench.frame(OpCode::Text, b"hello");
        bench.arrive([Read::Bytes(message)]);
        assert_eq!(bench.turns(), Next::Wait);
        assert!(bench.seen.is_empty(), "every message finds room for an answer");
        assert_eq!(bench.transport.read > 0, role == Role::Client);
        bench.transport.writes.clear();
        bench.ready.write = true;
        assert_eq!(bench.turns(), Next::Wait);
        assert!(bench.seen.contains(&"hello".to_owned()), "{:?}", bench.seen);
    }
}

#[test]
fn every_split_of_the_input_gives_the_same() {
    for role in ROLES {
        let bench = Bench::new(role, config());
        let input = [
            bench.frame(OpCode::Text, b"hello"),
            bench.frame(OpCode::Binary, &[7; 300]),
            bench.frame(OpCode::Ping, b"?"),
            bench.close_frame(1000),
        ]
        .concat();
        let whole = run_in_pieces(role, &[&input]);
        for cut in 1..input.len() {
            let (head, tail) = input.split_at(cut);
            assert_eq!(run_in_pieces(role, &[head, tail]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(run_in_pieces(role, &bytes), whole);
    }
}

/// What is seen and written when these arrive one after the other.
fn run_in_pieces(role: Role, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut bench = Bench::new(role, config());
    for piece in pieces {
        bench.arrive([Read::Bytes(piece.to_vec())]);
        bench.turns();
    }
    (bench.seen, bench.transport.written)
}

/// Sends whenever there is room.
struct Pump(Vec<String>);

impl Application<Scripted> for Pump {
    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        if let Event::Writable = event {
            while current.connection.send_binary(&[1; 40]).is_ok() {}
        } else {
            self.0.push(shown(&event));
        }
    }
}

#[test]
fn an_application_that_sends_whenever_there_is_room_still_hears_the_peer() {
    for role in ROLES {
        for blocks in [true, false] {
            let mut bench = Bench::new(role, Config { high_water: 100, low_water: 50, ..config() });
            while bench.turn.connection.send_binary(&[1; 40]).is_ok() {}
            let bytes = [bench.frame(OpCode::Ping, b"?"), bench.close_frame(1000)].concat();
            let mut pump = Pump(Vec::new());
            for turn in 0..1000 {
                if turn == 10 {
                    bench.arrive([Read::Bytes(bytes.clone())]);
                }
                if blocks {
                    // The kernel takes all that waits, and no more in this turn.
                    bench.ready.write = true;
                    bench.transport.writes = [Write::Take(1000), Write::Block].into();
                }
                let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
                if matches!(turn.run(transport, ready, lent, *now, &mut pump), Next::Leave(_)) {
                    break;
                }
            }
            assert!(
                pump.0.contains(&"close 1000".to_owned()),
                "{role:?} {blocks}: {:?}, written {}",
                pump.0,
                bench.transport.written.len()
            );
        }
    }
}
