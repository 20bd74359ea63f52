//! When a deadline is judged, and by what.

use crate::bench::{Bench, READ_SIZE, ROLES, Read, SECOND, Write, config};
use framewright::frame::OpCode;
use framewright::{Config, Error, Role, Timeout};
use framewright_driver::{Leave, Next};

#[test]
fn a_deadline_is_judged_after_what_has_arrived_was_read() {
    for role in ROLES {
        let idle = Config { idle_timeout: Some(SECOND), ..config() };
        let mut bench = Bench::new(role, idle);
        let hello = bench.frame(OpCode::Text, b"hello");
        bench.later(10 * SECOND);
        assert!(bench.ready.due);
        // More than one read takes: the last of it proves that the peer lives.
        let long = bench.frame(OpCode::Binary, &[1; 300_000]);
        bench.arrive([Read::Bytes(long), Read::Bytes(hello)]);
        assert_eq!(bench.turns(), Next::Wait, "{role:?}: {:?}", bench.seen);
        assert_eq!(bench.seen, ["300000 bytes", "hello"]);
        bench.later(2 * SECOND);
        assert!(matches!(bench.turns(), Next::Leave(_)));
        bench.assert_ended(1006, false, Some(&Error::Timeout(Timeout::Idle)));
    }
}

#[test]
fn a_peer_that_sends_without_end_does_not_put_a_deadline_off_for_ever() {
    for role in ROLES {
        // A Pong is awaited that never comes.
        let keep_alive = Config {
            keep_alive_interval: Some(SECOND),
            keep_alive_timeout: Some(SECOND),
            ..Config::default()
        };
        let mut bench = Bench::new(role, keep_alive);
        bench.later(SECOND);
        assert_eq!(bench.turns(), Next::Wait, "the Ping is sent");
        // Whatever arrives puts the Pong off, but for no longer than this.
        bench.later(20 * SECOND);
        // Full reads of whole frames: nothing says that the socket is empty, or that a frame goes
        // on.
        let header = if role == Role::Server { 6 } else { 2 };
        let flood = vec![bench.frame(OpCode::Pong, &[7; 64][header..]); READ_SIZE / 64].concat();
        bench.arrive([Read::Endless(flood)]);
        let next = bench.turns();
        assert!(matches!(next, Next::Leave(_)), "{role:?}: {next:?} after {} bytes", bench.transport.read);
        bench.assert_ended(1006, false, Some(&Error::Timeout(Timeout::KeepAlive)));
        assert!((8 << 20..9 << 20).contains(&bench.transport.read), "{}", bench.transport.read);
    }
}

#[test]
fn a_peer_that_takes_anything_at_the_last_moment_is_kept() {
    for role in ROLES {
        let impatient = Config { write_timeout: Some(SECOND), ..config() };
        let mut bench = Bench::new(role, impatient);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_text("hello").expect("an open connection");
        assert_eq!(bench.turns(), Next::Wait);
        bench.later(2 * SECOND);
        bench.transport.writes = [Write::Take(1), Write::Block].into();
        assert_eq!(bench.turns(), Next::Wait, "it reads");
        assert!(bench.turn.closure().is_none());

        bench.later(2 * SECOND);
        let why = [bench.frame(OpCode::Text, b"why"), bench.close_frame(1008)].concat();
        bench.transport.reads.push_back(Read::Bytes(why));
        bench.ready.read = true;
        // The peer's Close has its answer: that too has its time, and a last write.
        assert_eq!(bench.turns(), Next::Wait);
        assert_eq!(bench.seen, ["why", "close 1008"], "{role:?}");
        bench.later(2 * SECOND);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close));
        bench.assert_ended(1008, false, Some(&Error::Timeout(Timeout::Write)));
    }
}

#[test]
fn room_found_at_the_write_deadline_lets_what_has_arrived_be_read_before_other_deadlines() {
    for role in ROLES {
        let config = Config {
            high_water: 1000,
            low_water: 500,
            write_timeout: Some(SECOND),
            idle_timeout: Some(SECOND),
            ..config()
        };
        let mut bench = Bench::new(role, config);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_binary(&[1; 2000]).expect("an empty queue");
        assert_eq!(bench.turns(), Next::Wait);
        let hello = bench.frame(OpCode::Text, b"hello");
        bench.arrive([Read::Bytes(hello)]);
        // The loop is late. The peer has read meanwhile, which the kernel has not announced yet.
        bench.later(2 * SECOND);
        bench.transport.writes.clear();
        assert_eq!(bench.turns(), Next::Wait, "{role:?} {:?} {:?}", bench.seen, bench.turn.closure());
        assert!(bench.seen.contains(&"hello".to_owned()));
    }
}

#[test]
fn a_peer_that_takes_nothing_is_heard_though_it_was_idle_too() {
    for role in ROLES {
        let config = Config {
            high_water: 1000,
            low_water: 500,
            write_timeout: Some(SECOND),
            idle_timeout: Some(SECOND),
            ..config()
        };
        let mut bench = Bench::new(role, config);
        bench.transport.writes.push_back(Write::Block);
        bench.turn.connection.send_binary(&[1; 2000]).expect("an empty queue");
        assert_eq!(bench.turns(), Next::Wait);
        let why = [bench.frame(OpCode::Text, b"why"), bench.close_frame(1008)].concat();
        bench.arrive([Read::Bytes(why)]);
        bench.later(2 * SECOND);
        bench.turns();
        bench.later(2 * SECOND);
        bench.turns();
        assert!(
            bench.seen.contains(&"why".to_owned()),
            "{role:?} {:?} {:?}",
            bench.seen,
            bench.turn.closure()
        );
    }
}

#[test]
fn what_a_turn_leaves_unwritten_is_not_given_up_by_a_deadline() {
    // Between its shares a connection waits for its turn, and not for its peer.
    for role in ROLES {
        let impatient = Config { write_timeout: Some(SECOND), ..config() };
        let mut bench = Bench::new(role, impatient);
        bench.turn.connection.send_owned(vec![5; 9 << 20]).expect("room");
        while bench.turn() == Next::Again {
            bench.later(10 * SECOND);
        }
        assert!(bench.turn.closure().is_none(), "{role:?}: {:?}", bench.turn.closure());
        assert!(bench.transport.written.len() > 9 << 20);
    }
}

/// A kernel announces room late, and a peer that has failed may have begun to read.
#[test]
fn our_last_bytes_are_offered_once_more_before_their_time_is_up() {
    for role in ROLES {
        let mut bench = Bench::new(role, Config { close_timeout: SECOND, ..config() });
        bench.transport.writes.push_back(Write::Block);
        // RSV1 without an extension.
        let mut fault = bench.frame(OpCode::Text, b"x");
        fault[0] |= 0x40;
        bench.arrive([Read::Bytes(fault)]);
        assert_eq!(bench.turns(), Next::Wait, "the Close frame waits");
        bench.transport.writes.clear();
        bench.later(2 * SECOND);
        assert!(bench.ready.due && !bench.ready.write, "nothing has told of room");
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger), "{role:?}");
        let code = if role == Role::Client { 6..8 } else { 2..4 };
        assert_eq!(bench.transport.written[code], 1002_u16.to_be_bytes());
        let closure = bench.turn.closure().expect("it has ended");
        assert!(matches!(closure.cause, Some(Error::Peer(_))), "{:?}", closure.cause);
        assert!(!bench.turn.has_dropped());
    }
}
