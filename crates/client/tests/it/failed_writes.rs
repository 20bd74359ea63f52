//! A write that fails ends one direction: what the server has said before is still received, and
//! what was not sent is not told as sent.

use crate::common::{
    AnyClient, DEADLINE, Kind, LATER, Loop, Server, owned, plain, request, through_both_apis, upload,
};
use framewright::{Closure, Config, Error, SendError, Timeout};
use framewright_client::blocking::{Client, ReceiveError};
use framewright_client::{Options, event_loop};
use framewright_testkit::endpoint::Seen;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A server for which an upload is too long: it says so before it has read much, and is gone.
fn refusing() -> Server {
    Server::taking_little(|peer| {
        peer.wait_for(10_000);
        peer.script("text \"too long\"; close 1009");
        peer.reset();
        peer.forget();
    })
}

/// Whoever waits for a server that is gone fails.
fn without_close_timeout() -> Options {
    Options { connection: Config { close_timeout: 100 * DEADLINE, ..Config::default() }, ..plain() }
}

/// A server that has said everything when it is greeted, and is gone: what is written then fails.
fn leaving(script: &'static str) -> Server {
    Server::open(move |peer| {
        peer.expect_text("hello");
        peer.script(script);
        peer.reset();
    })
}

/// All events but those that tell of room: there is some when what waits is dropped.
fn but_room(mut seen: Vec<Seen>) -> Vec<Seen> {
    seen.retain(|seen| *seen != Seen::Writable);
    seen
}

/// The server's Close has come, and ours could not be sent.
#[track_caller]
fn assert_unanswered(closure: &Closure, code: u16) {
    let found = (closure.code(), closure.clean, &closure.cause);
    assert_eq!(found, (code, false, &Some(Error::TransportLost)));
}

#[track_caller]
fn assert_refused(seen: &[Seen]) {
    let [text, close, Seen::Closed(closure)] = seen else { panic!("{seen:?}") };
    assert_eq!(text, &Seen::Text("too long".to_owned()));
    assert_eq!(close, &Seen::CloseReceived { code: Some(1009), reason: String::new() });
    assert_unanswered(closure, 1009);
}

// What had been received was dropped with the connection: the reason why an upload failed was lost.
#[test]
fn an_upload_that_the_server_refuses_and_resets_ends_with_what_the_server_has_said() {
    through_both_apis(|kind| {
        let server = refusing();
        let mut client = kind.connect(request(server.addr()), &without_close_timeout()).expect("it accepts");
        let outcome = client.send_binary(&vec![7; upload()]);
        // In an event loop it is queued.
        assert_eq!(outcome, if kind == Kind::Blocking { Err(SendError::Closed) } else { Ok(()) });
        assert_refused(&but_room(client.rest()));
        server.end();
    });
}

// The end of the stream was read while the upload went on, before the Close was decoded, and waited
// for once more behind it.
#[test]
fn an_end_of_the_stream_that_was_read_ahead_is_not_waited_for_again() {
    through_both_apis(|kind| {
        let server = Server::taking_little(|peer| {
            peer.wait_for(10_000);
            peer.script("text \"too long\"; close 1009");
            peer.shutdown_write();
            // It is polite.
            assert_eq!(peer.frame().payload.len(), upload());
            peer.expect_close(1009);
            peer.expect_end();
            peer.forget();
        });
        let mut client = kind.connect(request(server.addr()), &without_close_timeout()).expect("it accepts");
        client.send_binary(&vec![7; upload()]).expect("the server reads it");
        let seen = but_room(client.rest());
        let [Seen::Text(_), Seen::CloseReceived { .. }, Seen::Closed(closure)] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert!(closure.clean, "{closure:?}");
        server.end();
    });
}

#[test]
fn a_receiving_half_is_told_why_the_upload_of_the_other_half_was_refused() {
    let server = refusing();
    let client =
        Client::connect_with(request(server.addr()), &without_close_timeout()).expect("an open connection");
    let (mut sender, mut receiver) = client.split();
    let sending = thread::spawn(move || {
        let outcome = sender.send_binary(&vec![7; upload()]);
        (outcome, sender)
    });
    let mut seen = Vec::new();
    while let Some(event) = receiver.next_event_before(Instant::now() + DEADLINE).expect("an event") {
        seen.push(Seen::from(event));
    }
    assert_refused(&but_room(seen));
    let (outcome, sender) = sending.join().expect("no panic");
    assert_eq!(outcome, Err(SendError::Closed));
    assert_eq!(sender.closure(), receiver.closure());
    server.end();
}

#[test]
fn what_came_before_a_small_write_failed_is_received() {
    through_both_apis(|kind| {
        let server = leaving("text \"bye\"; close 1008 \"policy\"");
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        client.send_text("hello").expect("an open connection");
        server.end();
        let until = Instant::now() + DEADLINE;
        // The reset may be on its way.
        while client.send_text("more").is_ok() {
            assert!(Instant::now() < until, "sending to a server that has gone does not fail");
        }
        client.expect_text("bye");
        client.expect_close_received(Some(1008), "policy");
        assert_unanswered(&client.expect_closed(), 1008);
    });
}

const NOTES: &str = "text \"one\"; text \"two\"; text \"three\"; close 1001";

#[track_caller]
fn assert_notes(seen: &[Seen]) {
    let [notes @ .., Seen::CloseReceived { code: Some(1001), .. }, Seen::Closed(closure)] = seen else {
        panic!("{seen:?}")
    };
    assert_eq!(notes, ["one", "two", "three"].map(|note| Seen::Text(note.to_owned())));
    assert_unanswered(closure, 1001);
}

// The first answer that failed dropped the messages behind the one that it answered.
#[test]
fn messages_behind_one_whose_answer_fails_are_received() {
    let server = leaving(NOTES);
    let mut client = Client::connect_with(request(server.addr()), &plain()).expect("an open connection");
    client.send_text("hello").expect("an open connection");
    server.end();
    let mut seen = Vec::new();
    while let Some(event) = client.next() {
        if matches!(event, Seen::Text(_)) {
            let _ = client.send_text("thanks");
        }
        seen.push(event);
    }
    assert_notes(&seen);
}

#[test]
fn messages_behind_one_whose_answer_fails_are_received_in_an_event_loop() {
    // So little that one answer fills it: the answer is written before the next message is decoded.
    let connection = Config { high_water: 1, low_water: 0, ..Config::default() };
    let server = leaving(NOTES);
    let options = Options { connection, ..plain() };
    let mut client = Loop::connect(request(server.addr()), &options).expect("an open connection");
    client.send_text("hello").expect("an open connection");
    server.end();
    let (mut seen, until) = (Vec::new(), Instant::now() + DEADLINE);
    while !client.client.is_done() {
        assert!(Instant::now() < until, "the end does not come");
        let turn = client.turn_with(until, |socket, event| {
            if matches!(event, event_loop::Event::Message(_)) {
                let _ = socket.send_text("thanks");
            }
            seen.push(owned(event));
        });
        turn.expect("an open connection");
    }
    assert_notes(&but_room(seen));
}

// What was dropped had been told as sent, since the closing handshake seemed to be complete.
#[test]
fn a_send_to_a_server_that_closes_and_reads_nothing_fails_and_the_end_is_not_clean() {
    let (gone, is_gone) = mpsc::channel::<()>();
    let server = Server::taking_little(move |peer| {
        peer.wait_for(10_000);
        peer.script("close 1000");
        let _ = is_gone.recv_timeout(DEADLINE);
        peer.wait_gone();
        peer.forget();
    });
    let connection = Config { write_timeout: Some(LATER), ..Config::default() };
    let options = Options { connection, ..plain() };
    let client = Client::connect_with(request(server.addr()), &options).expect("an open connection");
    let (mut sender, mut receiver) = client.split();
    let sending = thread::spawn(move || sender.send_binary(&vec![7; upload()]));
    let until = Instant::now() + DEADLINE;
    let late = Error::Timeout(Timeout::Write);
    assert_eq!(receiver.receive_before(until), Err(ReceiveError::Failed(late.clone())));
    assert_eq!(sending.join().expect("no panic"), Err(SendError::Closed));
    let closure = receiver.closure().expect("an end");
    assert_eq!((closure.code(), closure.clean, closure.cause), (1000, false, Some(late)));
    drop(receiver);
    gone.send(()).expect("the server waits");
    server.end();
}

// What the server had said before it took nothing more was dropped with the connection, though the
// transport stood.
#[test]
fn a_server_that_takes_nothing_any_more_is_heard_all_the_same() {
    through_both_apis(|kind| {
        let (gone, is_gone) = mpsc::channel::<()>();
        let server = Server::taking_little(move |peer| {
            peer.wait_for(10_000);
            peer.script("text \"too long\"; close 1009");
            let _ = is_gone.recv_timeout(DEADLINE);
            peer.wait_gone();
            peer.forget();
        });
        let connection = Config { write_timeout: Some(LATER), ..Config::default() };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        let _ = client.send_binary(&vec![7; upload()]);
        let seen = but_room(client.rest());
        let [text, Seen::CloseReceived { code: Some(1009), .. }, Seen::Closed(closure)] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(text, &Seen::Text("too long".to_owned()));
        let late = Some(Error::Timeout(Timeout::Write));
        assert_eq!((closure.code(), closure.clean, &closure.cause), (1009, false, &late));
        drop(client);
        gone.send(()).expect("the server waits");
        server.end();
    });
}

// The kernel announces room when a third of its send buffer is free, which takes such a server
// longer.
#[test]
fn a_server_that_reads_a_little_all_the_time_outlives_the_write_timeout() {
    const PATIENCE: Duration = Duration::from_secs(1);
    // False if this machine is too busy to read a little twenty times a second.
    let lives = |kind: Kind| {
        let server = Server::taking_little(|peer| {
            peer.wait_for(10_000);
            let (began, mut last) = (Instant::now(), Instant::now());
            let mut in_time = true;
            while in_time && began.elapsed() < 4 * PATIENCE {
                thread::sleep(PATIENCE / 20);
                peer.read_some(4096);
                in_time = last.elapsed() < PATIENCE / 2;
                last = Instant::now();
            }
            if in_time {
                assert_eq!(peer.frame().payload.len(), upload());
                peer.answer_close();
            }
            peer.forget();
            in_time
        });
        let connection = Config { write_timeout: Some(PATIENCE), ..Config::default() };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        let outcome = client.send_binary(&vec![7; upload()]);
        let closing = client.start_close(1000, "");
        let seen = but_room(client.rest());
        let in_time = server.end();
        if in_time {
            assert_eq!((outcome, closing), (Ok(()), Ok(())));
            assert!(matches!(seen.last(), Some(Seen::Closed(closure)) if closure.clean), "{seen:?}");
        }
        in_time
    };
    through_both_apis(|kind| assert!((0..5).any(|_| lives(kind)), "this machine is too busy"));
}
