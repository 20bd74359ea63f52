//! A blocking client that only sends: what comes meanwhile is answered, and kept for when it
//! receives.

use crate::common::{DEADLINE, Peer, SOON, Server, plain, request, upload};
use framewright::{Closure, Config, Delivery, Error, Message, SendError, Timeout};
use framewright_client::Options;
use framewright_client::blocking::{Client, ReceiveError};
use framewright_testkit::endpoint::Seen;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn connect(addr: SocketAddr, connection: Config) -> Client {
    Client::connect_with(request(addr), &Options { connection, ..plain() }).expect("an open connection")
}

/// Sends texts until there is something. Returns what.
#[track_caller]
fn send_until<T>(client: &mut Client, mut look: impl FnMut(Result<(), SendError>) -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < until, "nothing happens");
        if let Some(found) = look(client.send_text("only sends")) {
            return found;
        }
        thread::sleep(SOON / 20);
    }
}

/// The first frame that is no text.
#[track_caller]
fn behind_texts(peer: &mut Peer) -> (u8, Vec<u8>) {
    loop {
        let frame = peer.frame();
        if frame.header.opcode != 1 {
            return (frame.header.opcode, frame.payload);
        }
    }
}

#[track_caller]
fn next(client: &mut Client) -> Option<Seen> {
    client.next_event_before(Instant::now() + DEADLINE).expect("an event").map(Seen::from)
}

#[test]
fn pings_among_messages_are_answered_and_everything_is_received_later_in_its_order() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let (answered, is_answered) = mpsc::channel();
        let server = Server::open(move |peer| {
            for number in 0..3 {
                peer.script(&format!(
                    "text \"before {number}\"; ping \"{number}\"; binary \"behind {number}\""
                ));
                assert_eq!(behind_texts(peer), (10, number.to_string().into_bytes()));
            }
            answered.send(()).expect("the client waits");
            assert_eq!(behind_texts(peer).0, 8);
            peer.script("close 1000");
            peer.shutdown_write();
            peer.expect_end();
        });
        let mut client = connect(server.addr(), Config { delivery, ..Config::default() });
        send_until(&mut client, |sent| {
            sent.expect("an open connection");
            is_answered.try_recv().ok()
        });
        let piece = |data: &str, text| match (delivery, text) {
            (Delivery::Whole, true) => Seen::Text(data.to_owned()),
            (Delivery::Whole, false) => Seen::Binary(data.as_bytes().to_vec()),
            _ => Seen::Chunk { text, data: data.as_bytes().to_vec(), first: true, last: true },
        };
        for number in 0..3 {
            assert_eq!(next(&mut client), Some(piece(&format!("before {number}"), true)));
            assert_eq!(next(&mut client), Some(Seen::Ping(number.to_string().into_bytes())));
            assert_eq!(next(&mut client), Some(piece(&format!("behind {number}"), false)));
        }
        assert!(client.close_and_wait(None, "").expect("no reason").clean);
        server.end();
    }
}

#[test]
fn the_servers_close_is_found_and_answered_and_what_came_before_it_received() {
    let server = Server::open(|peer| {
        peer.script("text \"last\"; close 1001 \"restart\"");
        assert_eq!(behind_texts(peer), (8, [&1001_u16.to_be_bytes()[..], b"restart"].concat()));
        peer.shutdown_write();
        peer.expect_end();
    });
    let mut client = connect(server.addr(), Config::default());
    assert_eq!(send_until(&mut client, Result::err), SendError::Closed);
    assert_eq!(client.receive(), Ok(Some(Message::Text("last"))));
    assert_eq!(client.receive(), Ok(None));
    let closure = client.closure().expect("an end");
    assert!(closure.clean && closure.code() == 1001, "{closure:?}");
    server.end();
}

// What the server sends is the client's to receive: it does not pile up.
#[test]
fn no_more_is_kept_than_a_message_may_have() {
    const MESSAGE: usize = 16 << 10;
    const MESSAGES: u64 = 40;
    let server = Server::open(|peer| {
        peer.script(&format!("repeat {MESSAGES} {{ binary \"x\" * {MESSAGE} }}"));
        assert_eq!(behind_texts(peer).0, 8);
        peer.script("close 1000");
        peer.shutdown_write();
        peer.expect_end();
    });
    let most = 4 * MESSAGE as u64;
    let mut client = connect(server.addr(), Config { max_message: most, ..Config::default() });
    let mut since = None;
    loop {
        client.send_text("only sends").expect("an open connection");
        // The last one goes beyond.
        let kept = client.stats().messages_received;
        assert!(kept <= 5, "{kept} messages");
        // It looks ten times a second: twice more, in vain.
        let still = since.get_or_insert_with(Instant::now).elapsed();
        if kept < 4 {
            since = None;
            assert!(still < DEADLINE);
        } else if still > Duration::from_millis(250) {
            break;
        }
        thread::sleep(SOON / 4);
    }
    for _ in 0..MESSAGES {
        match client.receive_before(Instant::now() + DEADLINE) {
            Ok(Some(Message::Binary(payload))) => assert!(payload == [b'x'; MESSAGE]),
            other => panic!("{:?}", other.map(|message| message.is_some())),
        }
    }
    assert!(client.close_and_wait(None, "").expect("no reason").clean);
    server.end();
}

#[test]
fn a_ping_that_comes_while_a_message_waits_for_room_is_answered_behind_it() {
    let len = upload();
    let server = Server::taking_little(move |peer| {
        peer.wait_for(10);
        peer.script("text \"meanwhile\"; ping \"p\"");
        let large = peer.frame();
        assert!(large.header.opcode == 2 && large.payload.len() == len);
        peer.expect(10, b"p");
        peer.answer_close();
        peer.forget();
    });
    let mut client = connect(server.addr(), Config::default());
    client.send_binary(&vec![7; len]).expect("an open connection");
    assert_eq!(next(&mut client), Some(Seen::Text("meanwhile".to_owned())));
    assert_eq!(next(&mut client), Some(Seen::Ping(b"p".to_vec())));
    assert!(client.close_and_wait(None, "").expect("no reason").clean);
    server.end();
}

// Our Close finds no room behind the message, and there is no deadline for writing.
#[test]
fn a_send_that_waits_for_room_ends_when_the_server_breaks_a_rule() {
    let (gone, is_gone) = mpsc::channel::<()>();
    let server = Server::taking_little(move |peer| {
        peer.wait_for(10);
        peer.script("text \"before\"; op 3");
        let _ = is_gone.recv_timeout(DEADLINE);
        peer.forget();
    });
    let config = Config { write_timeout: None, close_timeout: SOON, ..Config::default() };
    let mut client = connect(server.addr(), config);
    assert_eq!(client.send_binary(&vec![7; upload()]), Err(SendError::Closed));
    assert_eq!(client.receive(), Ok(Some(Message::Text("before"))));
    assert!(matches!(client.receive(), Err(ReceiveError::Failed(Error::Peer(_)))));
    drop(client);
    gone.send(()).expect("the server waits");
    server.end();
}

#[test]
fn pings_without_end_do_not_hold_a_call_that_sends() {
    let server = Server::open(|peer| {
        let mut reader = peer.stream().try_clone().expect("another descriptor");
        let reading =
            thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {});
        while peer.try_send([0x89, 0].repeat(1000)).is_ok() {}
        reading.join().expect("no panic");
    });
    let mut client = connect(server.addr(), Config::default());
    let (done, is_done) = mpsc::channel();
    let sending = thread::spawn(move || {
        let begun = Instant::now();
        // Several looks.
        while begun.elapsed() < Duration::from_millis(350) {
            client.send_text("only sends").expect("an open connection");
            thread::sleep(SOON / 20);
        }
        drop(client);
        done.send(()).expect("the test waits");
    });
    is_done.recv_timeout(DEADLINE).expect("a call that sends does not return");
    sending.join().expect("no panic");
    server.end();
}

/// A server that takes a little now and then, for ever.
fn slow_reader() -> (Server, mpsc::Sender<()>) {
    let (gone, is_gone) = mpsc::channel();
    let server = Server::taking_little(move |peer| {
        peer.script("text \"hello\"");
        while is_gone.try_recv() == Err(mpsc::TryRecvError::Empty) {
            thread::sleep(SOON / 6);
            peer.pause(SOON / 60);
            peer.forget();
        }
        peer.forget();
    });
    (server, gone)
}

const SEND_TIMEOUT: Duration = Duration::from_millis(400);

// Each time that it takes something the time of writing began anew.
#[test]
fn a_server_that_reads_slowly_does_not_hold_a_call_beyond_the_send_timeout() {
    for (halves, set_later) in [(false, false), (true, false), (false, true)] {
        let (server, gone) = slow_reader();
        let send_timeout = (!set_later).then_some(SEND_TIMEOUT);
        let options = Options { send_timeout, ..plain() };
        let mut client = Client::connect_with(request(server.addr()), &options).expect("an open connection");
        if set_later {
            client.set_send_timeout(Some(SEND_TIMEOUT));
        }
        client.send_text("which it takes").expect("an open connection");
        // More than it takes in the time, whatever the sockets hold.
        let message = vec![7; upload() + (16 << 20)];
        let begun = Instant::now();
        let sent =
            if halves { client.halves().0.send_binary(&message) } else { client.send_binary(&message) };
        assert_eq!(sent, Err(SendError::Closed));
        assert!(begun.elapsed() >= SEND_TIMEOUT);
        assert_eq!(client.send_text("late"), Err(SendError::Closed));
        // What has come is received.
        assert_eq!(client.receive(), Ok(Some(Message::Text("hello"))));
        assert_eq!(client.receive(), Err(ReceiveError::Failed(Error::Timeout(Timeout::Write))));
        drop(client);
        gone.send(()).expect("the server waits");
        server.end();
    }
}

fn patient() -> Config {
    Config { close_timeout: DEADLINE, ..Config::default() }
}

/// Closes in a little time, which ends long before the close timeout.
fn close_before(client: &mut Client, time: Duration) -> Closure {
    let begun = Instant::now();
    let closure = client.close_and_wait_before(None, "", begun + time).expect("no reason");
    let took = begun.elapsed();
    assert!(took < DEADLINE, "it took {took:?}");
    assert!(client.next_event().is_none());
    closure
}

#[test]
fn closing_ends_at_the_deadline_if_the_server_does_not_answer() {
    for time in [Duration::ZERO, SOON] {
        let server = Server::open(|peer| {
            peer.expect_close(1005);
            peer.expect_gone();
        });
        let mut client = connect(server.addr(), patient());
        let closure = close_before(&mut client, time);
        assert_eq!((closure.clean, closure.cause), (false, Some(Error::Aborted)));
        server.end();
    }
}

#[test]
fn closing_is_clean_if_the_server_has_answered_by_the_deadline_though_its_transport_has_no_end() {
    let server = Server::open(|peer| {
        peer.expect_close(1005);
        peer.script("close");
        peer.expect_gone();
    });
    let mut client = connect(server.addr(), patient());
    client.close(None, "").expect("an open connection");
    assert!(matches!(next(&mut client), Some(Seen::CloseReceived { .. })));
    assert!(close_before(&mut client, SOON).clean);
    server.end();
}

#[test]
fn closing_ends_at_the_deadline_though_the_server_goes_on_sending() {
    let server = Server::open(|peer| {
        while peer.try_send([0x81, 1, b'x'].repeat(1000)).is_ok() {}
        peer.forget();
    });
    let mut client = connect(server.addr(), patient());
    assert!(!close_before(&mut client, 4 * SOON).clean);
    drop(client);
    server.end();
}

#[test]
fn closing_before_a_deadline_is_as_clean_as_without() {
    let server = Server::open(Peer::answer_close);
    let mut client = connect(server.addr(), patient());
    assert_eq!(client.close_and_wait_before(None, "a reason", Instant::now()), Err(SendError::CloseReason));
    assert!(client.close_and_wait_before(None, "", Instant::now() + DEADLINE).expect("no reason").clean);
    server.end();
}
