//! Connections that end badly, and peers that can still read why.

use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::probe::{Deferring, Probe, frame, narrow_client, reset, ws};
use framewright::frame::OpCode;
use framewright::{Error, PeerMisbehaved, Timeout};
use framewright_server::{
    Accept, CloseCode, Closed, Closure, Config, Decision, Handler, Incoming, Message, Options, Response,
    Socket, StatusCode,
};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// Brings a connection to some point.
type Stage = (&'static str, fn(&mut Client));

/// Points at which a peer that has asked for nothing yet can vanish.
const BEFORE_OPENING: [Stage; 3] = [
    ("before a word", |_| {}),
    ("in the request line", |client| client.send("GET /w")),
    ("in the head", |client| client.send("GET /ws HTTP/1.1\r\nHost: local")),
];

/// Points at which a peer can vanish from an open connection.
const OPEN: [Stage; 7] = [
    ("at rest", |_| {}),
    ("in a frame's header", |client| client.send([0x82])),
    ("in a small frame", |client| client.send(&frame(true, OpCode::Binary, &[1; 100])[..50])),
    ("in a large frame", |client| client.send(&frame(true, OpCode::Binary, &[1; 1 << 20])[..300_000])),
    ("in a message", |client| client.send_frame(false, OpCode::Text, b"half of i")),
    ("in the server's closing handshake", |client| {
        client.send_text("close");
        client.expect_close(1000);
    }),
    ("with answers under way", |client| client.send(frame(true, OpCode::Binary, &[1; 100]).repeat(1000))),
];

/// Echoes; at the word, closes.
fn echo_or_close() -> (Probe, crate::probe::Watch) {
    Probe::new(|socket, message| match message {
        Message::Text("close") => socket.close(Some(CloseCode::NORMAL), "").expect("it is open"),
        message => {
            let _ = socket.send(message); // refused while closing
        }
    })
}

#[test]
fn a_reset_ends_its_connection_and_no_other_wherever_it_comes() {
    let (probe, watch) = echo_or_close();
    let server = TestServer::start(ws(probe));
    let mut other = server.open("/ws");
    for (what, bring_to) in BEFORE_OPENING {
        let mut client = server.connect();
        bring_to(&mut client);
        reset(client);
        wait_until(what, || server.handle().connection_count() == 1);
    }
    wait_until("the other one is the only one", || watch.tally.opened() == 1);
    for (what, bring_to) in OPEN {
        let mut client = server.open("/ws");
        bring_to(&mut client);
        reset(client);
        assert_eq!(next(&watch.closures).cause, Some(Error::TransportLost), "{what}");
        wait_until(what, || server.handle().connection_count() == 1);
        other.send_text(what);
        other.expect_text(what);
    }
    assert_eq!(watch.tally.misplaced.load(std::sync::atomic::Ordering::SeqCst), 0);
}

/// The end of the stream instead of a reset.
#[test]
fn a_peer_that_leaves_without_a_close_frame_is_reported_as_lost_wherever_it_leaves() {
    let (probe, watch) = echo_or_close();
    let server = TestServer::start(ws(probe));
    for (what, bring_to) in BEFORE_OPENING {
        let mut client = server.connect();
        bring_to(&mut client);
        client.shutdown_write();
        client.expect_end();
        wait_until(what, || server.handle().connection_count() == 0);
    }
    for (what, bring_to) in OPEN {
        let mut client = server.open("/ws");
        bring_to(&mut client);
        client.shutdown_write();
        client.expect_gone();
        assert_eq!(next(&watch.closures).cause, Some(Error::TransportLost), "{what}");
        wait_until(what, || server.handle().connection_count() == 0);
    }
}

/// Half-open. What was asked before the end is answered, however much waits when the end is seen.
#[test]
fn a_peer_that_ends_its_direction_gets_the_answers_to_all_it_sent_before() {
    const COUNT: usize = 300;
    for (high_water, len) in [(1 << 20, 100), (10_000, 100), (100_000, 30_000)] {
        let (probe, watch) = Probe::echo();
        let connection = Config { high_water, low_water: high_water / 4, ..Config::default() };
        let options = Options { connection, ..Options::default() };
        let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
        let mut client = narrow_client(server.addr());
        client.open("/ws");
        let mut writer = client.try_clone();
        let writing = thread::spawn(move || {
            for index in 0..COUNT {
                writer.send_binary(&vec![index.to_le_bytes()[0]; len]);
            }
            writer.shutdown_write();
        });
        for index in 0..COUNT {
            assert!(client.frame().payload == vec![index.to_le_bytes()[0]; len], "message {index}");
        }
        client.expect_end();
        writing.join().unwrap();
        assert_eq!(next(&watch.closures).cause, Some(Error::TransportLost));
        wait_until("it is forgotten", || server.handle().connection_count() == 0);
    }
}

/// The client sends its request, its messages and its end in one segment.
#[test]
fn a_request_with_messages_and_the_end_behind_it_is_answered_in_full() {
    let (probe, watch) = Probe::echo();
    let server = TestServer::start(ws(probe));
    let mut client = server.connect();
    let messages = frame(true, OpCode::Text, b"early").repeat(100);
    client.send([upgrade_request("/ws", "").as_bytes(), &messages].concat());
    client.shutdown_write();
    assert_eq!(client.answer_head().status, 101);
    for _ in 0..100 {
        client.expect_text("early");
    }
    client.expect_end();
    assert_eq!(next(&watch.closures).cause, Some(Error::TransportLost));
}

/// Whether a peer that has read the end can go on sending for a while without a reset: slowly, so
/// that it is not just faster than the server, and if this machine was too busy for a second, once
/// more.
fn goes_on_reading(mut at_the_end: impl FnMut() -> Client) -> bool {
    (0..3).any(|_| {
        let mut client = at_the_end();
        (0..20).all(|_| {
            thread::sleep(Duration::from_millis(2));
            client.try_send([0x55; 10_000]).is_ok()
        })
    })
}

#[test]
fn a_peer_that_is_still_sending_can_read_the_close_frame_for_its_fault() {
    let (probe, watch) = Probe::echo();
    let server = TestServer::start(ws(probe));
    let fail = |sent_behind| {
        let mut client = server.open("/ws");
        client.send([0x81, 0x01, b'x']); // not masked
        client.send(vec![0x55; sent_behind]);
        client.expect_close(1002);
        client.expect_end();
        let cause = next(&watch.closures).cause;
        assert_eq!(cause, Some(Error::Peer(PeerMisbehaved::UnmaskedFrame)));
        client
    };
    for sent_behind in [1, 1000, 70_000, 200_000] {
        fail(sent_behind);
    }
    assert!(goes_on_reading(|| fail(0)), "the peer is met with a reset");
}

/// How long and how much is bounded.
#[test]
fn a_peer_that_never_stops_sending_or_never_leaves_is_cut_after_a_refusal_and_after_a_fault() {
    let (probe, _watch) = Probe::echo();
    let server = TestServer::start(ws(probe));
    let refused = |server: &TestServer| {
        let mut client = server.connect();
        client.send("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client
    };
    let failed = |server: &TestServer| {
        let mut client = server.open("/ws");
        client.send([0x81, 0x01, b'x']);
        client
    };
    let endless: Vec<Client> = vec![refused(&server), failed(&server)];
    for mut client in endless {
        let piece = vec![0x55; 64 << 10];
        while client.try_send(&piece).is_ok() {}
        wait_until("it is cut", || server.handle().connection_count() == 0);
    }
    let staying = [refused(&server), failed(&server)];
    wait_until("they are cut", || server.handle().connection_count() == 0);
    drop(staying);
}

#[test]
fn a_peer_that_is_still_sending_its_body_can_read_the_refusal() {
    let (probe, _watch) = Probe::echo();
    let server = TestServer::start(ws(probe));
    let refuse = |body_sent| {
        let mut client = server.connect();
        client.send("POST /elsewhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n");
        client.send(vec![b'x'; body_sent]);
        assert_eq!(client.answer().status, 404);
        client.expect_end();
        client
    };
    for body_sent in [1, 1000, 200_000] {
        refuse(body_sent);
    }
    assert!(goes_on_reading(|| refuse(0)), "the peer is met with a reset");
}

#[test]
fn a_peer_that_does_not_answer_a_close_frame_is_dropped_after_the_close_timeout() {
    let (probe, watch) = echo_or_close();
    let connection = Config { close_timeout: Duration::from_millis(100), ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut silent = server.open("/ws");
    silent.send_text("close");
    silent.expect_close(1000);
    silent.expect_end();
    let closure = next(&watch.closures);
    assert_eq!((closure.clean, closure.cause), (false, Some(Error::Timeout(Timeout::Close))));
    // Neither do messages put it off.
    let mut talkative = server.open("/ws");
    talkative.send_text("close");
    let message = frame(true, OpCode::Text, b"but");
    while talkative.try_send(&message).is_ok() {
        thread::yield_now();
    }
    assert_eq!(next(&watch.closures).cause, Some(Error::Timeout(Timeout::Close)));
}

/// Panics where it is told to.
struct Panicking(Sender<Closure>);

impl Handler for Panicking {
    type State = String;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<String> {
        let place = request.path().trim_start_matches('/').to_owned();
        assert_ne!(place, "request", "as told");
        Decision::accept(place)
    }

    fn on_open(&self, socket: &mut Socket<'_>, state: &mut String) {
        socket.send_text("open").expect("room");
        assert_ne!(state, "open", "as told");
    }

    fn on_message(&self, socket: &mut Socket<'_>, state: &mut String, message: Message<'_>) {
        socket.send(message).expect("room");
        assert_ne!(state, "message", "as told");
    }

    fn on_ping(&self, _: &mut Socket<'_>, state: &mut String, _: &[u8]) {
        assert_ne!(state, "ping", "as told");
    }

    fn on_close(&self, closed: &Closed<'_>, state: &mut String) {
        let _ = self.0.send(closed.closure().clone()); // the test may be over
        assert_ne!(state, "close", "as told");
    }
}

#[test]
fn a_handler_that_panics_costs_its_own_connection_wherever_it_does() {
    let (sender, closures) = mpsc::channel();
    let server = TestServer::start(|builder| builder.fallback(Panicking(sender)));
    let mut other = server.open("/well");
    other.expect_text("open");
    assert_eq!(server.connect().upgrade("/request", "").status, 500);
    for place in ["open", "message", "ping"] {
        let mut client = server.open(&format!("/{place}"));
        client.expect_text("open");
        if place != "open" {
            // Each in one segment, with more behind it that must not be looked at.
            let cause = frame(true, if place == "ping" { OpCode::Ping } else { OpCode::Text }, b"now");
            client.send([&cause[..], &frame(true, OpCode::Text, b"and more")].concat());
        }
        match place {
            "message" => client.expect_text("now"),
            "ping" => assert_eq!(client.frame().opcode, OpCode::Pong),
            _ => {}
        }
        client.expect_close(1011);
        assert_eq!(next(&closures).cause, Some(Error::Failed(CloseCode::INTERNAL_ERROR)), "{place}");
        client.expect_gone();
        other.send_text(place);
        other.expect_text(place);
    }
    let mut client = server.open("/close");
    client.expect_text("open");
    client.leave();
    assert!(next(&closures).clean);
    drop(server.open("/close"));
    assert_eq!(next(&closures).cause, Some(Error::TransportLost));
    wait_until("only one is left", || server.handle().connection_count() == 1);
    other.leave();
    assert!(next(&closures).clean);
    let last = server.open("/close");
    server.stop(Duration::ZERO).expect("the loop lives, and ends well");
    next(&closures);
    assert!(closures.try_recv().is_err(), "once for each");
    drop(last);
}

/// Carries a state that panics when it is dropped, on its path.
struct Explosive;

struct Charge(bool);

impl Drop for Charge {
    fn drop(&mut self) {
        assert!(!self.0, "the state's own panic");
    }
}

impl Handler for Explosive {
    type State = Charge;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Charge> {
        let state = Charge(request.path() != "/well");
        if request.path() == "/impossible" {
            return Decision::accept_with(Accept::new().with_subprotocol("never offered"), state);
        }
        Decision::accept(state)
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut Charge, message: Message<'_>) {
        let _ = socket.send(message);
    }
}

#[test]
fn a_state_that_panics_when_it_is_dropped_costs_its_own_connection() {
    let server = TestServer::start(|builder| builder.fallback(Explosive));
    let mut other = server.open("/well");
    for round in ["first", "second"] {
        server.open("/leaves").leave();
        drop(server.open("/vanishes"));
        let mut wrong = server.open("/lingers");
        wrong.send([0x81, 0x00]); // not masked
        wrong.expect_close(1002);
        wrong.expect_gone();
        let mut refused = server.connect();
        refused.send(upgrade_request("/impossible", ""));
        refused.expect_gone();
        other.send_text(round);
        other.expect_text(round);
    }
    wait_until("only one is left", || server.handle().connection_count() == 1);
    other.leave();
    server.stop(Duration::ZERO).expect("the loop lives, and ends well");
}

/// A decision for a peer that has left does not reach the next one in its place.
#[test]
fn a_decision_for_a_peer_that_has_left_reaches_nobody() {
    let (handler, deferred) = Deferring::new();
    let server = TestServer::start(|builder| builder.route("/ws", handler));
    for by_reset in [true, false] {
        let mut client = server.connect();
        client.send(upgrade_request("/ws", ""));
        let late = next(&deferred);
        if by_reset {
            reset(client);
        } else {
            drop(client);
        }
        wait_until("it is forgotten", || server.handle().connection_count() == 0);
        assert!(!late.is_waiting());
        let mut in_its_place = server.connect();
        in_its_place.send(upgrade_request("/ws", ""));
        let decision = next(&deferred);
        late.decide(Decision::respond(Response::text(StatusCode::NOT_FOUND, "not for you".to_owned())));
        decision.decide(Decision::accept(()));
        assert_eq!(in_its_place.answer_head().status, 101);
        in_its_place.leave();
        wait_until("it is forgotten", || server.handle().connection_count() == 0);
    }
}
