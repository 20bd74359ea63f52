//! What the turns of a client in an event loop keep to.

use crate::common::{AnyClient, DEADLINE, Loop, Server, owned, plain, request, through_both_apis};
use framewright::{CloseCode, Config, Error};
use framewright_client::Options;
use framewright_client::event_loop::{Event, Turn};
use framewright_testkit::endpoint::Seen;
use socket2::SockRef;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

// What was received with the message on which the handler panicked was lost, so that the payload
// that followed was taken for frames.
#[test]
fn a_handler_that_panics_costs_its_connection_and_what_follows_is_not_taken_for_something_else() {
    let (panicked, has_panicked) = mpsc::channel();
    let (sent, is_sent) = mpsc::channel();
    let server = Server::open(move |peer| {
        peer.expect_text("go");
        // Messages, and one of which a part is under way, whose payload looks like frames.
        peer.script("repeat 5 { text \"real\" }; binary len=40 \"begin\"");
        has_panicked.recv_timeout(DEADLINE).expect("the handler panics");
        peer.script("repeat 10 { text \"fake\" }");
        sent.send(()).expect("somebody listens");
        assert_eq!(peer.expect_close(1011), "internal error");
        peer.expect_end();
    });
    let mut client = Loop::connect(request(server.addr()), &plain()).expect("an open connection");
    let mut socket = client.client.socket(Instant::now(), &mut client.buffers).expect("an open connection");
    socket.send_text("go").expect("room");
    drop(socket);
    let until = Instant::now() + DEADLINE;
    let panicking = |client: &mut Loop| {
        client.turn_with(until, |_, event| {
            if matches!(event, Event::Message(_)) {
                // As a panic, without its message.
                resume_unwind(Box::new("a fault of the application"));
            }
        })
    };
    while catch_unwind(AssertUnwindSafe(|| panicking(&mut client))).is_ok() {
        assert!(Instant::now() < until, "no message");
    }
    panicked.send(()).expect("the server waits");
    is_sent.recv_timeout(DEADLINE).expect("the server sends");

    let mut seen = Vec::new();
    client.turn_with(until, |_, event| seen.push(owned(event))).expect("an open connection");
    let [Seen::Closed(closure)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(closure.cause, Some(Error::Failed(CloseCode::INTERNAL_ERROR)));
    assert!(client.rest().is_empty());
    server.end();
}

// Whoever looked at its connections in every round of its loop never slept.
#[test]
fn only_what_leaves_work_for_the_next_turn_makes_a_loop_hurry() {
    let server = Server::open(|peer| {
        peer.expect_text("work");
        peer.answer_close();
    });
    let mut client = Loop::connect(request(server.addr()), &plain()).expect("an open connection");
    while client.turn(Instant::now()).expect("an open connection") != Turn::Wait {}
    let timeout = |client: &Loop| client.client.timeout(Instant::now()).expect("deadlines of keep-alive");
    let socket = client.client.socket(Instant::now(), &mut client.buffers).expect("an open connection");
    let _ = (socket.is_writable(), socket.is_open(), socket.buffered(), socket.subprotocol(), socket.stats());
    drop(socket);
    assert!(timeout(&client) > Duration::ZERO);
    let mut socket = client.client.socket(Instant::now(), &mut client.buffers).expect("an open connection");
    socket.send_text("work").expect("room");
    drop(socket);
    assert_eq!(timeout(&client), Duration::ZERO);
    client.start_close(1000, "").expect("an open connection");
    client.rest();
    server.end();
}

// A read stops at the mark; what lay behind it was read when more came.
#[test]
fn what_lies_behind_an_urgent_mark_is_read() {
    through_both_apis(|kind| {
        let (sent, is_sent) = mpsc::channel();
        let server = Server::open(move |peer| {
            peer.expect_text("go");
            peer.script("text \"one\"");
            peer.expect_text("on");
            peer.script("text \"two\"");
            SockRef::from(peer.stream()).send_out_of_band(b"!").expect("an urgent octet");
            peer.script("text \"three\"");
            sent.send(()).expect("somebody listens");
            peer.answer_close();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        client.send_text("go").expect("an open connection");
        client.expect_text("one");
        client.send_text("on").expect("an open connection");
        is_sent.recv_timeout(DEADLINE).expect("the server sends");
        client.expect_text("two");
        client.expect_text("three");
        client.start_close(1000, "").expect("an open connection");
        client.rest();
        server.end();
    });
}

#[test]
fn lingering_reads_what_lies_there_already() {
    let (sent, is_sent) = mpsc::channel();
    let (over, is_over) = mpsc::channel::<()>();
    let server = Server::open(move |peer| {
        peer.expect_text("go");
        peer.send([0xc1, 1, b'x']);
        peer.stream().shutdown(std::net::Shutdown::Write).unwrap();
        sent.send(()).unwrap();
        let _ = is_over.recv_timeout(DEADLINE);
    });
    let mut client = Loop::connect(request(server.addr()), &plain()).expect("an open connection");
    let mut socket = client.client.socket(Instant::now(), &mut client.buffers).expect("an open connection");
    socket.send_text("go").expect("room");
    drop(socket);
    assert_ne!(client.turn(Instant::now()).unwrap(), Turn::Done);
    is_sent.recv_timeout(DEADLINE).unwrap();
    let mut turns = Vec::new();
    while turns.last() != Some(&Turn::Done) {
        turns.push(client.turn(Instant::now() + DEADLINE).expect("an open connection"));
    }
    over.send(()).unwrap();
    server.end();
    assert!(turns.len() == 1 || turns[0] == Turn::Again, "something was left to read: {turns:?}");
}

// Of 200 clients of a loop that was held up 136 were cut, though what their servers had sent lay in
// their sockets.
#[test]
fn a_deadline_is_judged_after_what_has_come_was_read_though_the_poll_has_not_told_yet() {
    let (go, may_send) = mpsc::channel();
    let server = Server::open(move |peer| {
        may_send.recv_timeout(DEADLINE).expect("the client is at rest");
        peer.script("text \"hello\"");
        peer.answer_close();
    });
    let connection = Config { idle_timeout: Some(DEADLINE), keep_alive_interval: None, ..Config::default() };
    let options = Options { connection, ..plain() };
    let mut client = Loop::connect(request(server.addr()), &options).expect("an open connection");
    // Nothing is left to read, and the events so far are forgotten.
    let at_rest = |client: &mut Loop| client.turn(Instant::now()).expect("an open connection") == Turn::Wait;
    while !(at_rest(&mut client) && at_rest(&mut client)) {}
    go.send(()).expect("the server waits");
    let mut seen = Vec::new();
    let late = Instant::now() + 2 * DEADLINE;
    client.turn_untold(late, |_, event| seen.push(owned(event))).expect("an open connection");
    assert_eq!(seen, [Seen::Text("hello".to_owned())]);
    assert_eq!(client.client.closure(), None);
    client.start_close(1000, "").expect("an open connection");
    client.rest();
    server.end();
}
