//! Deadlines: none beyond reason does harm, and none that passes is missed.

use crate::common::{TestServer, next};
use crate::probe::{Gate, Probe, frame};
use framewright::frame::OpCode;
use framewright::{Error, Timeout};
use framewright_server::{Config, Message, Options, ServerLimits};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn deadlines_of_any_length_overflow_nothing() {
    for time in [Duration::MAX, Duration::from_secs(u64::MAX / 4), Duration::from_nanos(u64::MAX)] {
        let (probe, watch) = Probe::echo();
        let connection = Config {
            write_timeout: Some(time),
            close_timeout: time,
            keep_alive_interval: Some(time),
            keep_alive_timeout: Some(time),
            idle_timeout: Some(time),
            message_timeout: Some(time),
            ..Config::default()
        };
        let limits = ServerLimits { handshake_timeout: time, retry_after: time, ..ServerLimits::default() };
        let options = Options { connection, ..Options::default() };
        let server = TestServer::start(|builder| builder.limits(limits).route_with("/ws", options, probe));
        let mut client = server.open("/ws");
        client.send_frame(false, OpCode::Text, b"in two ");
        client.send_frame(true, OpCode::Continuation, b"pieces");
        client.expect_text("in two pieces");
        server.handle().stop(time);
        client.expect_close(1001);
        client.send(frame(true, OpCode::Close, &1001u16.to_be_bytes()));
        client.expect_end();
        assert!(next(&watch.closures).clean);
        server.stop(time).expect("the server ends well");
    }
}

/// The other end.
#[test]
fn deadlines_of_no_length_keep_no_loop_busy() {
    let (probe, watch) = Probe::echo();
    let connection = Config {
        write_timeout: Some(Duration::ZERO),
        close_timeout: Duration::ZERO,
        keep_alive_interval: Some(Duration::ZERO),
        ..Config::default()
    };
    let options = Options { connection, ..Options::default() };
    let (echo, _echoes) = Probe::echo();
    let server = TestServer::start(|builder| builder.route("/echo", echo).route_with("/ws", options, probe));
    let mut client = server.open("/ws");
    for _ in 0..3 {
        assert_eq!(client.frame().opcode, OpCode::Ping);
    }
    let mut other = server.open("/echo");
    other.send_text("not affected");
    other.expect_text("not affected");
    drop(client);
    next(&watch.closures);
    other.leave();
}

#[test]
fn a_peer_that_is_silent_is_noticed_after_interval_and_timeout() {
    let (probe, watch) = Probe::echo();
    let connection = Config {
        keep_alive_interval: Some(Duration::from_millis(50)),
        keep_alive_timeout: Some(Duration::from_millis(50)),
        ..Config::default()
    };
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let began = Instant::now();
    let mut client = server.open("/ws");
    assert_eq!(client.frame().opcode, OpCode::Ping);
    client.expect_close(1011);
    assert!(began.elapsed() >= Duration::from_millis(100), "not before the time is up");
    assert_eq!(next(&watch.closures).cause, Some(Error::Timeout(Timeout::KeepAlive)));
}

#[test]
fn a_pause_of_the_loop_is_followed_by_one_ping_and_not_by_all_that_were_missed() {
    const INTERVAL: Duration = Duration::from_millis(40);
    let (gate, keeper) = Gate::new();
    let (probe, _watch) = Probe::new(move |socket, message| match message {
        Message::Text("pause") => gate.pause(INTERVAL * 10),
        message => socket.send(message).expect("room"),
    });
    let connection = Config { keep_alive_interval: Some(INTERVAL), ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let began = Instant::now();
    let mut client = server.open("/ws");
    client.send_text("pause");
    client.send_text("over");
    let mut pings = 0;
    while client.frame().opcode == OpCode::Ping {
        pings += 1;
    }
    // Those before the pause, and those after it: one each, and what a slow machine adds while this
    // test waits.
    let most = began.elapsed().as_millis() / INTERVAL.as_millis();
    assert!(pings <= 2 || pings <= most.saturating_sub(8), "{pings} pings around a pause of ten intervals");
    drop(keeper);
}

#[test]
fn an_octet_now_and_then_does_not_keep_a_message_open_beyond_its_timeout() {
    let (probe, watch) = Probe::echo();
    let connection = Config { message_timeout: Some(Duration::from_millis(150)), ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut in_frame = server.open("/ws");
    let mut in_fragments = server.open("/ws");
    in_frame.send(&frame(true, OpCode::Text, &[b'a'; 100_000])[..20]);
    in_fragments.send_frame(false, OpCode::Text, b"a");
    let piece = frame(false, OpCode::Continuation, b"a");
    let until = Instant::now() + crate::common::DEADLINE;
    let closures: Vec<_> = std::iter::from_fn(|| {
        assert!(Instant::now() < until, "both are ended before the deadline");
        // Both are fed on until the server has ended them.
        let _ = in_frame.try_send([b'a' ^ 9]);
        let _ = in_fragments.try_send(&piece);
        thread::yield_now();
        Some(watch.closures.recv_timeout(Duration::from_millis(5)).ok())
    })
    .flatten()
    .take(2)
    .collect();
    for closure in closures {
        assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Message)));
    }
    in_frame.expect_close(1008);
    in_fragments.expect_close(1008);
}
