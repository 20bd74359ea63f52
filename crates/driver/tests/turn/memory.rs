//! What a connection holds between its turns, and giving it up for others.

use crate::bench::{Bench, Read, Write, config};
use framewright::frame::OpCode;
use framewright::{Error, LimitExceeded, Role};
use framewright_driver::{Leave, Next};

/// Whoever gives way holds nothing afterwards, and says why if that can be said.
#[test]
fn who_gives_way_drops_what_it_holds_and_tells_1013_where_the_transport_takes_it() {
    let cause = Error::Limit(LimitExceeded::Memory);
    for blocked in [false, true] {
        let mut bench = Bench::new(Role::Server, config());
        let half = bench.frame(OpCode::Binary, &[7; 100_000])[..60_000].to_vec();
        bench.arrive([Read::Bytes(half)]);
        assert_eq!(bench.turn(), Next::Wait);
        assert!((60_000..130_000).contains(&bench.turn.held()), "{} bytes", bench.turn.held());
        assert_eq!(bench.turn.progress(&bench.lent), 60_000 - 14, "without the header");
        bench.transport.writes.extend(blocked.then_some(Write::Block));
        let Bench { turn, transport, ready, now, .. } = &mut bench;
        turn.give_way(transport, ready, *now);
        assert!(bench.turn.held() < 100, "{} bytes", bench.turn.held());
        assert_eq!(bench.turn(), Next::Leave(Leave::Linger));
        assert_eq!(bench.turn.closure().and_then(|closure| closure.cause), Some(cause.clone()));
        assert_eq!(bench.seen.len(), 1, "the application hears of it: {:?}", bench.seen);
        let told: &[u8] = if blocked { b"" } else { b"\x88\x0b\x03\xf5no memory" };
        assert_eq!(bench.transport.written, told);
        assert_eq!(bench.turn.held(), 0);
    }
}

/// Pongs that nobody has asked for, and Pings, do not bring a message nearer to its end.
#[test]
fn of_what_is_read_only_the_messages_payload_is_progress() {
    let mut bench = Bench::new(Role::Server, config());
    let mut first = bench.frame(OpCode::Binary, &[7; 60_000]);
    first[0] &= 0x7F;
    bench.arrive([Read::Bytes(first)]);
    bench.turn();
    assert_eq!(bench.turn.progress(&bench.lent), 60_000);
    let pongs = (0..200).flat_map(|_| bench.frame(OpCode::Pong, &[1; 100])).collect();
    bench.arrive([Read::Bytes(pongs)]);
    bench.turn();
    assert_eq!(bench.turn.progress(&bench.lent), 0);
    let last = [bench.frame(OpCode::Ping, &[1; 100]), bench.frame(OpCode::Continuation, &[7; 5000])].concat();
    let (most, rest) = last.split_at(3000);
    bench.arrive([Read::Bytes(most.to_vec())]);
    bench.turn();
    let come = bench.turn.progress(&bench.lent);
    assert!((2800..3000).contains(&come), "{come}");
    // The end of it, and the start of another.
    let half = bench.frame(OpCode::Binary, &[7; 100_000])[..20_000].to_vec();
    bench.arrive([Read::Bytes([rest, &half].concat())]);
    bench.turn();
    let come = bench.turn.progress(&bench.lent);
    assert!((15_000..=22_200).contains(&come), "{come}");
}

#[test]
fn what_waits_to_be_sent_is_held_and_its_progress_is_what_leaves() {
    let mut bench = Bench::new(Role::Server, config());
    bench.transport.writes.extend([Write::Take(30_000), Write::Block]);
    bench.turn.connection.send_binary(&[5; 200_000]).expect("room");
    let short = bench.frame(OpCode::Text, b"short");
    bench.arrive([Read::Bytes(short)]);
    assert_eq!(bench.turn(), Next::Wait);
    assert!(bench.turn.held() >= 170_000, "{} bytes", bench.turn.held());
    assert_eq!(bench.turn.progress(&bench.lent), 30_000, "written, not read");
    bench.transport.writes.clear();
    bench.ready.write = true;
    assert_eq!(bench.turn(), Next::Wait);
    assert_eq!(bench.turn.held(), 0, "at rest again");
}
