//! Deadlines and what has come: an application that looks rarely, or never waits, gets what has
//! arrived, and is told of a server that is gone.

use crate::common::{DEADLINE, LATER, SOON, Server, plain, request, through_both_apis};
use framewright::{CloseCode, Config, Error, Message, Timeout};
use framewright_client::Options;
use framewright_client::blocking::{Client, ReceiveError};
use framewright_testkit::endpoint::Seen;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn options(connection: Config) -> Options {
    Options { connection, ..plain() }
}

fn connect(addr: SocketAddr, connection: Config) -> Client {
    Client::connect_with(request(addr), &options(connection)).expect("an open connection")
}

/// Asks until there is something. Nothing here waits, but whoever else has work.
#[track_caller]
fn poll<T>(mut ask: impl FnMut(Instant) -> Result<T, ReceiveError>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        let now = Instant::now();
        match ask(now) {
            Err(ReceiveError::TimedOut) => assert!(now < until, "what has come is not found"),
            outcome => return outcome.unwrap_or_else(|error| panic!("{error}")),
        }
        thread::yield_now();
    }
}

// A deadline that had passed did not ask the poll: what came after the first call was never found.
#[test]
fn a_client_that_never_waits_receives_what_comes_one_by_one() {
    const MESSAGES: u32 = 5;
    let server = Server::open(|peer| {
        for index in 0..MESSAGES {
            peer.script(&format!("text \"{index}\""));
            peer.expect_text("next");
        }
        peer.script("close 1000");
        peer.expect_close(1000);
    });
    let mut client = connect(server.addr(), Config::default());
    for index in 0..MESSAGES {
        let wanted = index.to_string();
        if index % 2 == 0 {
            poll(|now| {
                client.receive_before(now).map(|message| assert_eq!(message, Some(Message::Text(&wanted))))
            });
        } else {
            let seen = poll(|now| client.next_event_before(now).map(|event| event.map(Seen::from)));
            assert_eq!(seen, Some(Seen::Text(wanted)));
        }
        client.send_text("next").expect("an open connection");
    }
    poll(|now| client.receive_before(now).map(|message| assert_eq!(message, None)));
    assert!(client.closure().is_some_and(|closure| closure.clean));
    server.end();
}

// The deadline was looked at before what had come.
#[test]
fn a_closing_handshake_that_the_server_has_completed_in_time_is_clean_however_late_the_application_looks() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_close(1000);
            peer.script("text \"last words\"; close 1000");
            peer.shutdown_write();
        });
        let connection = Config { close_timeout: SOON, ..Config::default() };
        let mut client = kind.connect(request(server.addr()), &options(connection)).expect("it accepts");
        client.start_close(1000, "").expect("an open connection");
        server.end();
        // The application does something else.
        thread::sleep(SOON);
        client.expect_text("last words");
        client.expect_close_received(Some(1000), "");
        let closure = client.expect_closed();
        assert!(closure.clean, "{closure:?}");
    });
}

/// Looks for a message now and then, with other work in between that takes [`BUSY`], until the
/// connection has ended. Returns why, and how often it has looked.
fn look_now_and_then(client: &mut Client) -> (Error, u32) {
    for looks in 1.. {
        match client.receive_before(Instant::now() + Duration::from_millis(1)) {
            Err(ReceiveError::TimedOut) => {}
            Err(ReceiveError::Failed(error)) => return (error, looks),
            other => panic!("{other:?}"),
        }
        assert!(looks < 1000, "a silent server is not found out");
        thread::sleep(BUSY);
    }
    unreachable!("it ends in the loop")
}

/// Much longer than the millisecond for which the application waits.
const BUSY: Duration = Duration::from_millis(20);

// The time between two calls was not counted, as if the server could not have sent anything
// meanwhile.
#[test]
fn a_silent_server_is_found_out_by_an_application_that_looks_now_and_then() {
    let idle = Config { idle_timeout: Some(SOON), ..Config::default() };
    let alive =
        Config { keep_alive_interval: Some(SOON), keep_alive_timeout: Some(SOON), ..Config::default() };
    for (connection, timeout) in [(idle, Timeout::Idle), (alive, Timeout::KeepAlive)] {
        let server = Server::open(|peer| peer.wait_gone());
        let mut client = connect(server.addr(), connection);
        let (error, looks) = look_now_and_then(&mut client);
        assert_eq!(error, Error::Timeout(timeout));
        // It passes when 2 * SOON have, which is 6 * BUSY; if only the waits counted, this would be
        // 60 looks or more.
        assert!(looks <= 12, "{looks}");
        drop(client);
        server.end();
    }
}

#[test]
fn a_server_that_had_nothing_to_answer_while_the_application_was_away_is_not_idle() {
    let server = Server::open(|peer| {
        peer.expect_text("still there?");
        peer.script("text \"yes\"");
        peer.answer_close();
    });
    let idle_timeout = Some(2 * LATER);
    let mut client = connect(server.addr(), Config { idle_timeout, ..Config::default() });
    // For more than the second from which on an application is away, and for more than the timeout.
    thread::sleep(2 * LATER + SOON);
    assert_eq!(client.receive_before(Instant::now()), Err(ReceiveError::TimedOut));
    client.send_text("still there?").expect("an open connection");
    let until = Instant::now() + DEADLINE;
    assert_eq!(client.receive_before(until), Ok(Some(Message::Text("yes"))));
    assert!(client.close_and_wait(CloseCode::NORMAL, "").is_ok_and(|closure| closure.clean));
    server.end();
}

// The half that sent acted on the missing Pong, which lay unread before the half that receives.
#[test]
fn a_sending_half_does_not_act_on_a_silence_of_which_only_the_receiving_half_can_know() {
    let (answered, is_answered) = mpsc::channel();
    let server = Server::open(move |peer| {
        let ping = loop {
            let frame = peer.frame();
            if frame.header.opcode == 9 {
                break frame.payload;
            }
        };
        peer.send([&[0x8A, u8::try_from(ping.len()).expect("at most 125")][..], &ping].concat());
        answered.send(()).expect("somebody listens");
        while peer.frame().header.opcode != 8 {}
        peer.script("close 1000");
        peer.shutdown_write();
    });
    let connection =
        Config { keep_alive_interval: Some(SOON), keep_alive_timeout: Some(SOON), ..Config::default() };
    let (mut sender, mut receiver) = connect(server.addr(), connection).split();
    let until = Instant::now() + DEADLINE;
    let mut pong_due = None;
    while pong_due.is_none_or(|due| Instant::now() <= due) {
        assert!(Instant::now() < until, "no keep-alive Ping");
        sender.send_text("x").expect("an open connection");
        // The Ping was sent before its Pong came.
        pong_due = pong_due.or_else(|| is_answered.try_recv().ok().map(|()| Instant::now() + 2 * SOON));
        thread::sleep(Duration::from_millis(1));
    }
    sender.send_text("last").expect("the Pong has come");
    sender.close(CloseCode::NORMAL, "").expect("the Pong has come");
    let pong = receiver.next_event_before(until).expect("it has come").map(Seen::from);
    assert!(matches!(pong, Some(Seen::Pong(_))), "{pong:?}");
    assert_eq!(receiver.receive_before(until), Ok(None));
    assert!(receiver.closure().is_some_and(|closure| closure.clean));
    server.end();
}

// Closing for good acted on the deadline of the closing handshake, though the server's answer had
// come in time.
#[test]
fn a_closing_handshake_that_was_answered_while_the_application_was_away_is_clean() {
    let (answered, is_answered) = mpsc::channel();
    let server = Server::open(move |peer| {
        peer.expect_close(1000);
        peer.script("text \"last\"; close 1000");
        peer.shutdown_write();
        answered.send(()).expect("somebody listens");
        peer.expect_end();
    });
    let mut client = connect(server.addr(), Config { close_timeout: SOON, ..Config::default() });
    client.close(CloseCode::NORMAL, "").expect("an open connection");
    is_answered.recv_timeout(DEADLINE).expect("the server answers");
    thread::sleep(SOON);
    assert_eq!(client.send_text("too late"), Err(framewright::SendError::Closed));
    let closure = client.close_and_wait(CloseCode::NORMAL, "").expect("a code");
    assert_eq!((closure.code(), closure.clean, closure.cause), (1000, true, None));
    server.end();
}
