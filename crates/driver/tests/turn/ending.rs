//! How a connection ends, and who is told when.

use crate::bench::{Bench, ROLES, Read, Scripted, Write, config, shown};
use framewright::frame::{CloseCode, OpCode};
use framewright::{Config, Error, Event, Role};
use framewright_driver::{Application, Current, Flushed, Leave, Next};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_close_frame_that_never_left_is_no_clean_end() {
    let mut bench = Bench::new(Role::Client, config());
    bench.transport.writes.push_back(Write::Block);
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    assert_eq!(bench.turns(), Next::Wait);
    assert_eq!(bench.seen, ["close 1000"], "the end is not known yet");
    bench.transport.writes = [Write::Lose].into();
    bench.ready.write = true;
    assert_eq!(bench.turns(), Next::Leave(Leave::Close));
    bench.assert_ended(1000, false, Some(&Error::TransportLost));
}

/// As a server's: told of the end before the last write.
struct KnowsFirst(Vec<(String, usize)>, fn(&Scripted) -> usize);

impl Application<Scripted> for KnowsFirst {
    const KNOWS_THE_END_FIRST: bool = true;

    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        self.0.push((shown(&event), (self.1)(current.transport)));
    }
}

#[test]
fn whoever_sees_the_close_frame_finds_that_the_application_knows() {
    let mut bench = Bench::new(Role::Server, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    let mut application = KnowsFirst(Vec::new(), |transport| transport.written.len());
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let next = turn.run(transport, ready, lent, *now, &mut application);
    assert_eq!(next, Next::Leave(Leave::Close));
    assert_eq!(application.0, [("close 1000".to_owned(), 0), ("closed 1000 true".to_owned(), 0)]);
    assert_eq!(bench.transport.written, [0x88, 2, 0x03, 0xe8]);
}

#[test]
fn a_panic_costs_its_own_connection_only() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        let bytes = [bench.frame(OpCode::Text, b"one"), bench.frame(OpCode::Text, b"two")].concat();
        bench.arrive([Read::Bytes(bytes)]);
        let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut explode = |_: &mut Current<'_, Scripted>, _: Event<'_>| std::panic::panic_any(5);
            turn.run(transport, ready, lent, *now, &mut explode)
        }));
        assert!(panicked.is_err());
        // Another connection of the loop has its turn in between.
        let mut other = Bench::new(role, config());
        std::mem::swap(&mut other.lent, &mut bench.lent);
        let hello = other.frame(OpCode::Text, b"hello");
        other.arrive([Read::Bytes(hello)]);
        assert_eq!(other.turns(), Next::Wait);
        assert_eq!(other.seen, ["hello"], "nothing of the first connection is left");
        std::mem::swap(&mut other.lent, &mut bench.lent);

        bench.turn.after_panic(&mut bench.lent, bench.now);
        let next = bench.turns();
        assert!(matches!(next, Next::Leave(Leave::Linger)), "{role:?}: {next:?}");
        bench.assert_ended(1006, false, Some(&Error::Failed(CloseCode::INTERNAL_ERROR)));
        let code = if role == Role::Client { 6..8 } else { 2..4 };
        assert_eq!(bench.transport.written[code], 1011_u16.to_be_bytes());
    }
}

#[test]
fn a_client_waits_for_the_servers_end_and_drops_what_still_comes() {
    let mut bench = Bench::new(Role::Client, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    assert_eq!(bench.turns(), Next::Wait);
    bench.assert_ended(1000, true, None);
    bench.arrive([Read::Bytes(vec![0xff; 100_000])]);
    assert_eq!(bench.turns(), Next::Wait);
    assert!(bench.transport.reads.is_empty(), "it is read");
    bench.arrive([Read::End]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Close));

    let mut patient = Bench::new(Role::Client, config());
    let close = patient.close_frame(1000);
    patient.arrive([Read::Bytes(close)]);
    assert_eq!(patient.turns(), Next::Wait);
    patient.later(Config::default().close_timeout);
    assert_eq!(patient.turns(), Next::Leave(Leave::Close), "the server has had its time");
    patient.assert_ended(1000, true, None);
}

struct FailsOnWritable(Vec<(String, usize)>);

impl Application<Scripted> for FailsOnWritable {
    const KNOWS_THE_END_FIRST: bool = true;
    fn on_event(&mut self, current: &mut Current<'_, Scripted>, event: Event<'_>) {
        if let Event::Writable = event {
            current.connection.fail(current.now, CloseCode::POLICY_VIOLATION, "");
        }
        self.0.push((shown(&event), current.transport.written.len()));
    }
}

#[test]
fn the_end_made_in_on_writable_is_told_before_the_close_frame_leaves() {
    let mut bench = Bench::new(Role::Server, Config { high_water: 100, low_water: 50, ..config() });
    bench.turn.connection.send_binary(&[1; 100]).unwrap();
    let mut application = FailsOnWritable(Vec::new());
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let mut next = Next::Again;
    while next == Next::Again {
        next = turn.run(transport, ready, lent, *now, &mut application);
    }
    let before = 102;
    assert_eq!(application.0, [("writable".to_owned(), before), ("closed 1006 false".to_owned(), before)]);
}

#[test]
fn an_abort_that_drops_our_close_frame_is_no_clean_end() {
    let mut bench = Bench::new(Role::Client, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close)]);
    let Bench { turn, transport, ready, lent, now, .. } = &mut bench;
    let mut seen = Vec::new();
    let mut app = |current: &mut Current<'_, Scripted>, event: Event<'_>| {
        if matches!(event, Event::CloseReceived { .. }) {
            current.connection.abort(current.now);
        }
        seen.push(shown(&event));
    };
    let next = turn.run(transport, ready, lent, *now, &mut app);
    assert_eq!(next, Next::Leave(Leave::Close));
    assert!(transport.written.is_empty());
    assert_eq!(seen, ["close 1000", "closed 1000 false"]);
}

// Nothing would announce what has come already.
#[test]
fn after_a_panic_what_the_peer_still_writes_is_read_while_our_close_frame_waits() {
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        bench.transport.writes.push_back(Write::Block);
        bench.arrive([Read::Endless(vec![7; 1000])]);
        let Bench { turn, transport, ready, lent, now, seen, .. } = &mut bench;
        turn.after_panic(lent, *now);
        let mut note = |_: &mut Current<'_, Scripted>, event: Event<'_>| seen.push(shown(&event));
        turn.finish(transport, ready, *now, &mut note);
        let flushed = turn.flush(transport, ready, *now);
        assert_eq!(flushed, Flushed::Blocked);
        assert_eq!(turn.after(transport, flushed, ready), Next::Again, "{role:?}");
        assert_eq!(bench.turn(), Next::Again);
        assert!(bench.transport.read >= 1000, "{}", bench.transport.read);
    }
}
