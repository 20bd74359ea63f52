//! Pings of the server's own accord, and what becomes of peers that do not answer.

use crate::common::{Client, Frame, TestServer, next};
use crate::scripted::{Saw, Scripted, expect_closed, expect_saw};
use framewright::frame::OpCode;
use framewright::{Error, Timeout};
use framewright_server::{Config, Options};
use std::io::{self, Read};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(50);

fn serve(connection: Config) -> (TestServer, Receiver<Saw>) {
    let (scripted, seen) = Scripted::echo();
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, scripted));
    (server, seen)
}

/// The next frame is a Ping. Returns its application data.
#[track_caller]
fn ping(client: &mut Client) -> Vec<u8> {
    let frame = client.frame();
    assert_eq!(frame.opcode, OpCode::Ping, "{frame:?}");
    frame.payload
}

/// The next frame but Pings.
#[track_caller]
fn other(client: &mut Client) -> Frame {
    loop {
        let frame = client.frame();
        if frame.opcode != OpCode::Ping {
            return frame;
        }
    }
}

/// Nothing comes for so long.
#[track_caller]
fn expect_silence(client: &Client, time: Duration) {
    client.stream().set_read_timeout(Some(time)).expect("an option");
    let error = client.stream().read(&mut [0]).expect_err("silence");
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
    client.stream().set_read_timeout(Some(crate::common::DEADLINE)).expect("an option");
}

#[test]
fn pings_come_unasked_once_an_interval() {
    let (server, _seen) = serve(Config { keep_alive_interval: Some(INTERVAL), ..Config::default() });
    let start = Instant::now();
    let mut client = server.open("/ws");
    let pings: Vec<_> = (0..4).map(|_| ping(&mut client)).collect();
    assert!(start.elapsed() >= 4 * INTERVAL, "{:?}", start.elapsed());
    for (index, data) in pings.iter().enumerate() {
        assert!(!pings[..index].contains(data), "each has data of its own: {pings:?}");
    }
}

#[test]
fn without_a_timeout_pings_need_no_answer() {
    let (server, _seen) = serve(Config { keep_alive_interval: Some(INTERVAL), ..Config::default() });
    let mut client = server.open("/ws");
    for _ in 0..5 {
        ping(&mut client);
    }
    client.send_text("still here");
    while client.frame().opcode == OpCode::Ping {}
    client.send_text("really");
    loop {
        let frame = client.frame();
        if frame.opcode != OpCode::Ping {
            break assert_eq!(frame.payload, b"really");
        }
    }
}

#[test]
fn a_peer_that_does_not_answer_a_ping_is_timed_out() {
    // Long enough for what is said below to arrive in time, on a busy machine too.
    let timeout = 20 * INTERVAL;
    let (server, seen) = serve(Config {
        keep_alive_interval: Some(INTERVAL),
        keep_alive_timeout: Some(timeout),
        ..Config::default()
    });
    let start = Instant::now();
    let mut client = server.open("/ws");
    let data = ping(&mut client);
    // Neither a message nor a Pong to something else is the answer. Pings go on.
    client.send_frame(true, OpCode::Pong, b"something else");
    client.send_frame(true, OpCode::Pong, &data[..3]);
    client.send_text("busy");
    assert_eq!(other(&mut client).payload, b"busy");
    assert_eq!(other(&mut client).close(), (1011, "keep-alive timeout"));
    client.expect_end();
    assert!(start.elapsed() >= INTERVAL + timeout);
    expect_saw(&seen, &[Saw::Request("/ws".into(), true), Saw::Open]);
    expect_saw(&seen, &[Saw::Pong(b"something else".to_vec()), Saw::Pong(data[..3].to_vec())]);
    expect_saw(&seen, &[Saw::Text("busy".into())]);
    assert_eq!(expect_closed(&seen).cause, Some(Error::Timeout(Timeout::KeepAlive)));
    drop(server);
    assert_eq!(seen.try_iter().count(), 0);
}

#[test]
fn a_peer_that_answers_its_pings_stays() {
    let (server, seen) = serve(Config {
        keep_alive_interval: Some(INTERVAL),
        keep_alive_timeout: Some(crate::common::DEADLINE),
        ..Config::default()
    });
    let mut client = server.open("/ws");
    expect_saw(&seen, &[Saw::Request("/ws".into(), true), Saw::Open]);
    for _ in 0..10 {
        let data = ping(&mut client);
        client.send_frame(true, OpCode::Pong, &data);
        assert_eq!(next(&seen), Saw::Pong(data));
    }
}

#[test]
fn without_an_interval_there_are_no_pings() {
    let (server, _seen) = serve(Config { keep_alive_interval: None, ..Config::default() });
    let mut client = server.open("/ws");
    expect_silence(&client, 4 * INTERVAL);
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn the_default_interval_is_far_from_over() {
    let (server, _seen) = serve(Config::default());
    expect_silence(&server.open("/ws"), 4 * INTERVAL);
}

#[test]
fn a_peer_that_sends_nothing_is_gone_after_the_idle_timeout() {
    let (server, seen) = serve(Config { idle_timeout: Some(2 * INTERVAL), ..Config::default() });
    let start = Instant::now();
    let mut client = server.open("/ws");
    assert_eq!(client.expect_close(1001), "idle timeout");
    assert!(start.elapsed() >= 2 * INTERVAL, "{:?}", start.elapsed());
    client.expect_end();
    expect_saw(&seen, &[Saw::Request("/ws".into(), true), Saw::Open]);
    assert_eq!(expect_closed(&seen).cause, Some(Error::Timeout(Timeout::Idle)));
}

#[test]
fn who_promises_a_message_every_interval_is_gone_after_two() {
    let every = Duration::from_millis(600);
    let (server, seen) = serve(Config::default().expect_message_every(every));
    let mut client = server.open("/ws");
    let start = Instant::now();
    // Any frame counts, a Pong too.
    let mut last = start;
    while start.elapsed() < 3 * every {
        expect_silence(&client, every / 10);
        last = Instant::now();
        client.send_frame(true, OpCode::Pong, b"here");
    }
    assert_eq!(client.expect_close(1001), "idle timeout");
    assert!(last.elapsed() >= 2 * every - INTERVAL, "{:?} after the last frame", last.elapsed());
    let closure = seen.iter().find_map(|saw| match saw {
        Saw::Close(closure) => Some(closure),
        _ => None,
    });
    assert_eq!(closure.and_then(|closure| closure.cause), Some(Error::Timeout(Timeout::Idle)));
}

#[test]
fn an_answered_ping_counts_against_the_idle_timeout() {
    let (server, _seen) = serve(Config {
        keep_alive_interval: Some(INTERVAL),
        idle_timeout: Some(40 * INTERVAL),
        ..Config::default()
    });
    let mut client = server.open("/ws");
    let start = Instant::now();
    while start.elapsed() < 45 * INTERVAL {
        let data = ping(&mut client);
        client.send_frame(true, OpCode::Pong, &data);
    }
}
