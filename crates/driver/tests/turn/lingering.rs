//! Behind the end: what a peer still sends is dropped, for a while.

use crate::bench::{Bench, READ_SIZE, ROLES, Read, SECOND, Scripted, Write, config};
use framewright::frame::{CloseCode, OpCode};
use framewright::{Config, Error, Role};
use framewright_driver::{Leave, LingerNext, Lingering, Next, Ready, Rest};
use std::net::Shutdown;
use std::time::{Duration, Instant};

#[test]
fn a_transport_lingers_only_for_a_peer_that_may_still_read() {
    let violation = |bench: &Bench| {
        let mut bytes = bench.frame(OpCode::Text, b"x");
        bytes[0] |= 0x40;
        Read::Bytes(bytes)
    };
    for role in ROLES {
        let mut bench = Bench::new(role, config());
        let fault = violation(&bench);
        bench.arrive([fault]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger), "it is to read why: {role:?}");

        let mut bench = Bench::new(role, config());
        bench.turn.connection.abort(bench.now);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close), "nothing was said");

        let mut bench = Bench::new(role, config());
        bench.arrive([Read::End]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Close), "nothing more can come");
        bench.assert_ended(1006, false, Some(&Error::TransportLost));
    }
    let mut bench = Bench::new(Role::Server, config());
    let close = bench.close_frame(1000);
    bench.arrive([Read::Bytes(close.clone())]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Close), "a server ends the transport at once");

    let mut bench = Bench::new(Role::Server, config());
    let more = [close, vec![0; READ_SIZE + 9000]].concat();
    bench.arrive([Read::Bytes(more)]);
    assert_eq!(bench.turns(), Next::Leave(Leave::Linger), "closing on unread bytes is a reset");
}

/// An alert of TLS is read by a peer that is still writing, unless the transport is closed at once.
#[test]
fn a_transport_that_has_failed_and_tells_why_lingers_briefly() {
    for (role, owes_reason) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        let mut bench = Bench::new(role, config());
        bench.transport.owes_reason = owes_reason;
        bench.arrive([Read::Lost]);
        let expected = if owes_reason { Leave::Linger } else { Leave::Close };
        assert_eq!(bench.turns(), Next::Leave(expected), "{role:?}");
        bench.assert_ended(1006, false, Some(&Error::TransportLost));
        if owes_reason {
            let lingering = bench.turn.linger(&mut bench.transport, &bench.ready, bench.now);
            assert_eq!(bench.transport.shutdowns, [Shutdown::Write], "more is not to be waited for");
            assert!(lingering.deadline() <= bench.now + SECOND);
        }
    }
}

/// A transport that lingers.
struct Lingers {
    transport: Scripted,
    lingering: Lingering,
    ready: Ready,
    now: Instant,
    /// Whether it may last, and how often that was asked.
    may_stay: bool,
    asked: usize,
}

impl Lingers {
    /// With so much announced, and so much to be dropped at the most; these have arrived.
    fn new(announced: u64, most: u64, reads: impl IntoIterator<Item = Read>) -> Self {
        let mut transport = Scripted { reads: reads.into_iter().collect(), ..Scripted::default() };
        let (ready, now) = (Ready { read: !transport.reads.is_empty(), ..Ready::default() }, Instant::now());
        let rest = Rest { announced, most, time: Rest::TIME };
        let lingering = Lingering::begin(&mut transport, &ready, rest, now);
        Lingers { transport, lingering, ready, now, may_stay: true, asked: 0 }
    }

    fn of(bench: Bench) -> Self {
        let Bench { turn, mut transport, ready, now, .. } = bench;
        let lingering = turn.linger(&mut transport, &ready, now);
        Lingers { transport, lingering, ready, now, may_stay: true, asked: 0 }
    }

    fn turn(&mut self) -> LingerNext {
        let mut scratch = [0; 16 << 10];
        let Lingers { transport, lingering, ready, now, may_stay, asked } = self;
        lingering.turn(transport, ready, &mut scratch, *now, || {
            *asked += 1;
            *may_stay
        })
    }

    fn turns(&mut self) -> LingerNext {
        loop {
            let next = self.turn();
            if next != LingerNext::Again {
                return next;
            }
        }
    }

    fn arrive(&mut self, read: Read) -> LingerNext {
        self.transport.reads.push_back(read);
        self.ready.read = true;
        self.turns()
    }

    /// To its deadline, which has to be so far away.
    #[track_caller]
    fn wait(&mut self, expected: Duration) -> LingerNext {
        assert_eq!(self.lingering.deadline() - self.now, expected);
        self.now += expected;
        self.turns()
    }

    fn has_ended_our_direction(&self) -> bool {
        !self.transport.shutdowns.is_empty()
    }
}

const MOMENT: Duration = Duration::from_millis(100);

#[test]
fn where_nothing_is_under_way_our_direction_is_ended_at_once() {
    for mut lingers in [Lingers::new(0, 1 << 20, []), Lingers::new(0, 1 << 20, [Read::Bytes(Vec::new())])] {
        if lingers.ready.read {
            // It was ready, and there is nothing.
            lingers.transport.reads.clear();
        }
        assert_eq!(lingers.turns(), LingerNext::Wait);
        assert_eq!(lingers.transport.shutdowns, [Shutdown::Write]);
        assert_eq!(lingers.arrive(Read::Bytes(vec![1; 10_000])), LingerNext::Wait, "it is dropped");
        assert_eq!(lingers.wait(SECOND), LingerNext::Close, "it is silent");
        assert_eq!(lingers.asked, 0);
    }
    for end in [Read::End, Read::Lost] {
        let mut lingers = Lingers::new(0, 1 << 20, [Read::Bytes(vec![1; 10]), end]);
        lingers.ready.more_behind = true;
        assert_eq!(lingers.turns(), LingerNext::Close);
    }
}

#[test]
fn our_direction_stays_open_until_the_announced_bytes_have_come() {
    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Bytes(vec![1; 100_000])]);
    for piece in [400_000, 500_000] {
        assert_eq!(lingers.turns(), LingerNext::Wait);
        lingers.now += SECOND / 2;
        assert_eq!(lingers.arrive(Read::Bytes(vec![1; piece])), LingerNext::Wait);
    }
    assert!(!lingers.has_ended_our_direction(), "the peer is in the middle of a frame");
    assert_eq!(lingers.arrive(Read::Bytes(vec![1; (1 << 20) - 1_000_000])), LingerNext::Wait);
    assert!(!lingers.has_ended_our_direction(), "it may answer");
    lingers.now += MOMENT / 2;
    assert_eq!(lingers.arrive(Read::Bytes(vec![1; 8])), LingerNext::Wait);
    assert_eq!(lingers.wait(MOMENT), LingerNext::Wait);
    assert!(lingers.has_ended_our_direction());
    assert_eq!(lingers.arrive(Read::End), LingerNext::Close);
    assert_eq!((lingers.transport.shutdowns.len(), lingers.asked), (1, 1));
}

#[test]
fn a_peer_that_falls_silent_in_the_middle_has_a_second_and_another_behind_our_end() {
    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Bytes(vec![1; 1000])]);
    assert_eq!(lingers.turns(), LingerNext::Wait);
    assert_eq!(lingers.wait(SECOND), LingerNext::Wait);
    assert!(lingers.has_ended_our_direction());
    assert_eq!(lingers.wait(SECOND), LingerNext::Close);
}

#[test]
fn a_peer_without_a_place_to_linger_has_a_second_or_256_kib() {
    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Bytes(vec![1; 1000])]);
    lingers.may_stay = false;
    assert_eq!(lingers.turns(), LingerNext::Wait);
    assert_eq!(lingers.wait(SECOND), LingerNext::Close);

    let mut lingers = Lingers::new(1 << 20, 2 << 20, [Read::Endless(vec![1; 16 << 10])]);
    lingers.may_stay = false;
    assert_eq!(lingers.turns(), LingerNext::Close);
    assert_eq!((lingers.transport.read, lingers.asked), (256 << 10, 1));

    let mut transport = Scripted { reads: [Read::Endless(vec![1; 4096])].into(), ..Scripted::default() };
    let mut lingering = Lingering::briefly(&mut transport, Instant::now());
    assert_eq!(transport.shutdowns, [Shutdown::Write]);
    let mut ready = Ready { read: true, ..Ready::default() };
    let next = lingering.turn(&mut transport, &mut ready, &mut [0; 4096], Instant::now(), || true);
    assert_eq!((next, transport.read), (LingerNext::Close, 256 << 10));
}

#[test]
fn a_turn_drops_256_kib_and_no_peer_more_than_its_bytes_or_its_time() {
    let mut lingers = Lingers::new(1 << 40, 1 << 20, [Read::Endless(vec![1; 16 << 10])]);
    for quarter in 1..4 {
        assert_eq!(lingers.turn(), LingerNext::Again);
        assert_eq!(lingers.transport.read, quarter << 18);
    }
    assert_eq!(lingers.turn(), LingerNext::Close);
    assert_eq!(lingers.transport.read, 1 << 20);

    let mut lingers = Lingers::new(1 << 40, 1 << 40, [Read::Bytes(vec![1; 1000])]);
    let until = lingers.now + Rest::TIME;
    while lingers.turns() == LingerNext::Wait {
        assert!(lingers.now < until, "it lasts");
        lingers.now += SECOND / 2;
        lingers.transport.reads.push_back(Read::Bytes(vec![1; 1000]));
        lingers.ready.read = true;
    }
    assert_eq!(lingers.now, until);
}

#[test]
fn what_lies_there_at_the_deadline_is_dropped_before_it_is_judged() {
    let mut lingers = Lingers::new(2000, 1 << 20, [Read::Bytes(vec![1; 1000])]);
    assert_eq!(lingers.turns(), LingerNext::Wait);
    lingers.now += 10 * SECOND;
    // The poll has not told yet.
    lingers.transport.reads.push_back(Read::Bytes(vec![1; 1000]));
    assert_eq!(lingers.turns(), LingerNext::Wait);
    assert_eq!(lingers.transport.read, 2000);
    assert!(!lingers.has_ended_our_direction());
}

#[test]
fn a_server_that_stops_lingers_for_a_second_more() {
    let mut lingers = Lingers::new(1 << 30, 1 << 30, [Read::Bytes(vec![1; 1000])]);
    assert_eq!(lingers.turns(), LingerNext::Wait);
    lingers.lingering.hurry(&mut lingers.transport, lingers.now);
    assert!(lingers.has_ended_our_direction());
    lingers.now += SECOND / 2;
    assert_eq!(lingers.arrive(Read::Bytes(vec![1; 1000])), LingerNext::Wait);
    assert_eq!(lingers.wait(SECOND / 2), LingerNext::Close);
}

// It could not finish writing before it had read, nor read before it had finished writing.
#[test]
fn what_a_failed_peer_writes_is_read_while_our_close_frame_waits() {
    for role in ROLES {
        let mut bench = Bench::new(role, Config { max_message: 1 << 20, ..config() });
        bench.transport.writes.push_back(Write::Block);
        let mut frame = bench.frame(OpCode::Binary, &vec![7; 2 << 20]);
        let rest = frame.split_off(100_000);
        bench.arrive([Read::Bytes(frame)]);
        assert_eq!(bench.turns(), Next::Wait, "the Close frame waits");
        let (most, last) = rest.split_at(rest.len() - 1);
        for piece in most.chunks(100_000) {
            bench.arrive([Read::Bytes(piece.to_vec())]);
            assert_eq!(bench.turns(), Next::Wait);
        }
        assert!(bench.transport.reads.is_empty() && bench.transport.written.is_empty(), "{role:?}");

        bench.transport.writes.clear();
        bench.ready.write = true;
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger));
        let mut lingers = Lingers::of(bench);
        assert_eq!(lingers.turns(), LingerNext::Wait);
        assert!(!lingers.has_ended_our_direction(), "a byte is missing");
        assert_eq!(lingers.arrive(Read::Bytes(last.to_vec())), LingerNext::Wait);
        assert_eq!(lingers.wait(MOMENT), LingerNext::Wait);
        assert!(lingers.has_ended_our_direction());
    }
}

/// A fault: its settings, the frame that has it as far as that comes at first, what the peer does
/// then, the code.
type Fault = (&'static str, Config, fn(&mut Vec<u8>), fn(&mut Bench), u16);

#[test]
fn the_rest_of_the_frame_in_which_the_connection_failed_is_dropped_before_our_direction_ends() {
    const LEN: usize = 2 << 20;
    let small = || Config { max_message: 1 << 20, ..config() };
    let large = || Config { max_message: 4 << 20, ..config() };
    let timed = || Config { message_timeout: Some(SECOND), ..large() };
    let faults: [Fault; 5] = [
        ("too large", small(), |_| {}, |_| {}, 1009),
        ("reserved bit", large(), |frame| frame[0] |= 0x40, |_| {}, 1002),
        ("not UTF-8", large(), |frame| frame[0] = 0x81, |_| {}, 1007),
        ("too slow", timed(), |_| {}, |bench| bench.later(SECOND), 1008),
        (
            "the application's",
            large(),
            |_| {},
            |bench| bench.turn.connection.fail(bench.now, CloseCode::POLICY_VIOLATION, ""),
            1008,
        ),
    ];
    for role in ROLES {
        for (what, config, spoil, then, code) in faults.clone() {
            // What goes back to the loop's buffer, and what does not.
            for come in [20, 1000, 300_000] {
                let mut bench = Bench::new(role, config.clone());
                let mut frame = bench.frame(OpCode::Binary, &[0xff; LEN]);
                spoil(&mut frame);
                let rest = frame.split_off(come);
                bench.arrive([Read::Bytes(frame)]);
                let mut next = bench.turns();
                if next == Next::Wait && code == 1008 {
                    then(&mut bench);
                    next = bench.turns();
                }
                assert_eq!(next, Next::Leave(Leave::Linger), "{role:?}: {what} after {come} bytes");
                let sent = bench.turn.closure().expect("an end").sent.and_then(|close| close.code);
                assert_eq!(sent.map(CloseCode::get), Some(code), "{what}");

                let mut lingers = Lingers::of(bench);
                assert_eq!(lingers.turns(), LingerNext::Wait);
                let (first, last) = rest.split_at(rest.len() - 1);
                assert_eq!(lingers.arrive(Read::Bytes(first.to_vec())), LingerNext::Wait, "{what}");
                let silence = lingers.lingering.deadline() - lingers.now;
                assert_eq!(silence, SECOND, "{what}: a byte is missing");
                assert_eq!(lingers.arrive(Read::Bytes(last.to_vec())), LingerNext::Wait);
                assert!(!lingers.has_ended_our_direction());
                let silence = lingers.lingering.deadline() - lingers.now;
                assert_eq!(silence, MOMENT, "{role:?}: {what} after {come} bytes: nothing is missing");
                assert_eq!(lingers.wait(MOMENT), LingerNext::Wait);
                assert!(lingers.has_ended_our_direction());
                assert_eq!(lingers.arrive(Read::End), LingerNext::Close);
            }
        }
    }
}

#[test]
fn a_connection_lingers_whatever_its_close_timeout_is() {
    for role in ROLES {
        let mut bench = Bench::new(role, Config { close_timeout: Duration::MAX, ..config() });
        let mut fault = bench.frame(OpCode::Text, b"x");
        fault[0] |= 0x40;
        bench.arrive([Read::Bytes(fault)]);
        assert_eq!(bench.turns(), Next::Leave(Leave::Linger));
        let Bench { turn, transport, ready, now, .. } = &mut bench;
        let lingering = turn.linger(transport, ready, *now);
        assert!(lingering.deadline() > *now, "{role:?}");
    }
}
