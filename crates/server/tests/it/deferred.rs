//! Decisions that come later, from other threads, or not at all.

use crate::common::{TestServer, next, upgrade_request, wait_until};
use crate::scripted::{Saw, Scripted, accept, expect_saw};
use framewright::frame::{OpCode, encode_frame};
use framewright_server::{
    Accept, Decision, Deferred, Handler, Incoming, Message, Response, ServerLimits, Socket, StatusCode,
};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

/// A handler that puts every decision off, what it sees, and what the decisions are to be made
/// with.
fn deferring() -> (Scripted, Receiver<Saw>, Receiver<Deferred<()>>) {
    let (sender, deferred) = mpsc::channel();
    let (scripted, seen) = Scripted::echo();
    let scripted = scripted.request(move |_| {
        let (decision, deferred) = Decision::defer();
        sender.send(deferred).expect("somebody decides");
        decision
    });
    (scripted, seen, deferred)
}

fn with_timeout(handshake_timeout: Duration) -> ServerLimits {
    ServerLimits { handshake_timeout, ..ServerLimits::default() }
}

/// Looks tokens up on a thread of its own: the query of the request goes out, the state of the
/// connection comes back.
struct Tokens(Sender<(Option<String>, Deferred<String>)>);

impl Handler for Tokens {
    type State = String;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<String> {
        let (decision, deferred) = Decision::defer();
        self.0.send((request.query().map(str::to_owned), deferred)).expect("somebody looks up");
        decision
    }

    fn on_message(&self, socket: &mut Socket<'_>, state: &mut String, _: Message<'_>) {
        socket.send_text(state).expect("room");
    }
}

#[test]
fn another_thread_accepts_with_a_state_or_answers_something_else() {
    let (sender, requests) = mpsc::channel();
    let server = TestServer::start(|builder| builder.workers(2).route("/ws", Tokens(sender)));
    thread::spawn(move || {
        for (query, deferred) in requests {
            assert!(deferred.is_waiting());
            deferred.decide(match query.as_deref() {
                Some("token=1") => {
                    Decision::accept_with(Accept::new().with_subprotocol("v1"), "Alice".to_owned())
                }
                Some("token=2") => Decision::accept("Bob".to_owned()),
                _ => Response::text(StatusCode::UNAUTHORIZED, "who?\n").into(),
            });
        }
    });
    for (path, name, subprotocol) in [
        ("/ws?token=1", "Alice", Some("v1")),
        ("/ws?token=2", "Bob", None),
        ("/ws?token=1", "Alice", Some("v1")),
    ] {
        let mut client = server.connect();
        let answer = client.open_with(path, "Sec-WebSocket-Protocol: v0, v1\r\n");
        assert_eq!(answer.field("Sec-WebSocket-Protocol"), subprotocol);
        client.send_text("who am I?");
        client.expect_text(name);
        client.leave();
    }
    for path in ["/ws", "/ws?token=3"] {
        let mut client = server.connect();
        let answer = client.upgrade(path, "");
        assert_eq!((answer.status, answer.text()), (401, "who?\n"));
        client.expect_end();
    }
}

#[test]
fn a_decision_may_be_made_before_the_callback_returns_and_put_off_once_more() {
    let (sender, deferred) = mpsc::channel();
    let (scripted, _seen) = Scripted::echo();
    let scripted = scripted.request(move |request| {
        let (decision, first) = Decision::defer();
        match request.query() {
            Some("at-once") => first.decide(Decision::accept(())),
            _ => {
                let (again, second) = Decision::defer();
                first.decide(again);
                sender.send(second).expect("somebody decides");
            }
        }
        decision
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws?at-once");
    client.send_text("hello");
    client.expect_text("hello");
    let mut client = server.connect();
    client.send(upgrade_request("/ws", ""));
    let second = next(&deferred);
    assert!(second.is_waiting());
    let (again, third) = Decision::defer();
    second.decide(again);
    third.decide(Decision::accept(()));
    assert_eq!(client.answer().status, 101);
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn the_loop_serves_others_while_a_decision_is_pending() {
    let (scripted, _seen, deferred) = deferring();
    let (other, _seen_other) = Scripted::echo();
    let server = TestServer::start(|builder| builder.route("/ws", scripted).route("/other", other));
    let mut client = server.connect();
    client.send(upgrade_request("/ws", ""));
    let decision = next(&deferred);
    let mut other = server.open("/other");
    other.send_text("hello");
    other.expect_text("hello");
    assert!(decision.is_waiting());
    decision.decide(Decision::accept(()));
    assert_eq!(client.answer().status, 101);
}

#[test]
fn a_decision_that_is_dropped_or_impossible_is_answered_with_500() {
    let (scripted, seen, deferred) = deferring();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let endings: [fn(Deferred<()>); 3] = [
        drop,
        |deferred| deferred.decide(Decision::defer().0),
        |deferred| deferred.decide(Decision::accept_with(Accept::new().with_subprotocol("not-offered"), ())),
    ];
    for end in endings {
        let mut client = server.connect();
        client.send(upgrade_request("/ws", ""));
        end(next(&deferred));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (500, "internal error\n"));
        client.expect_end();
    }
    let mut client = server.connect();
    client.send("HEAD /ws HTTP/1.1\r\nHost: h\r\n\r\n");
    drop(next(&deferred));
    assert_eq!(client.answer_head().status, 500);
    client.expect_end();
    drop(server);
    assert!(seen.try_iter().all(|saw| matches!(saw, Saw::Request(..))));
}

#[test]
fn a_handler_that_drops_the_decision_or_panics_with_it_answers_500() {
    let (scripted, _seen) = Scripted::echo();
    let scripted = scripted.request(|request| match request.query() {
        Some("panic") => {
            let _both = Decision::<()>::defer();
            panic!("as the test wants it");
        }
        _ => Decision::defer().0,
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    for path in ["/ws", "/ws?panic", "/ws"] {
        let mut client = server.connect();
        assert_eq!(client.upgrade(path, "").status, 500, "{path}");
        client.expect_end();
    }
}

#[test]
fn a_decision_that_was_taken_and_then_not_needed_changes_nothing() {
    let (sender, taken) = mpsc::channel();
    let (scripted, _seen) = Scripted::echo();
    let scripted = scripted.request(move |request| {
        let (decision, deferred) = Decision::defer();
        drop(decision);
        sender.send(deferred).expect("somebody has it");
        accept(request)
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let decision: Deferred<()> = next(&taken);
    assert!(!decision.is_waiting());
    drop(decision);
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn a_peer_that_leaves_is_not_waited_for() {
    let (scripted, seen, deferred) = deferring();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    for early in [&b""[..], b"\x81\x80\0\0\0\0"] {
        let mut client = server.connect();
        client.send(upgrade_request("/ws", ""));
        client.send(early);
        let decision = next(&deferred);
        assert!(decision.is_waiting());
        drop(client);
        wait_until("not waited for", || !decision.is_waiting());
        wait_until("gone", || server.handle().connection_count() == 0);
        decision.decide(Decision::accept(()));
    }
    drop(server);
    assert!(seen.try_iter().all(|saw| matches!(saw, Saw::Request(..))), "nothing was opened");
}

#[test]
fn a_peer_that_has_only_ended_its_direction_still_gets_its_page() {
    let (scripted, _seen, deferred) = deferring();
    let server = TestServer::start(|builder| builder.route("/page", scripted));
    let mut client = server.connect();
    client.send("GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.shutdown_write();
    let decision = next(&deferred);
    decision.decide(Response::text(StatusCode::OK, "late\n").into());
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "late\n"));
}

#[test]
fn a_decision_does_not_reach_the_request_that_has_taken_its_place() {
    let (scripted, _seen, deferred) = deferring();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut stale = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect();
        client.send(upgrade_request("/ws", ""));
        stale.push(next(&deferred));
        drop(client);
        wait_until("gone", || server.handle().connection_count() == 0);
    }
    let mut client = server.connect();
    client.send(upgrade_request("/ws", ""));
    let decision = next(&deferred);
    for stale in stale {
        stale.decide(Decision::accept(()));
    }
    decision.decide(Response::text(StatusCode::FORBIDDEN, "no\n").into());
    assert_eq!(client.answer().status, 403);
}

#[test]
fn a_decision_that_does_not_come_in_time_is_answered_with_503_and_harmless_later() {
    let (scripted, seen, deferred) = deferring();
    let limits = with_timeout(Duration::from_millis(150));
    let server = TestServer::start(|builder| builder.limits(limits).route("/ws", scripted));
    let mut client = server.connect();
    client.send(upgrade_request("/ws", ""));
    let decision = next(&deferred);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (503, "the application did not answer in time\n"));
    assert!(!decision.is_waiting());
    decision.decide(Decision::accept(()));
    client.expect_end();
    // One that comes when the connection is gone altogether, and one for a request without a body
    // in its answer.
    let mut client = server.connect();
    client.send("HEAD /ws HTTP/1.1\r\nHost: h\r\n\r\n");
    let decision = next(&deferred);
    assert_eq!(client.answer_head().status, 503);
    client.expect_end();
    drop(client);
    wait_until("gone", || server.handle().connection_count() == 0);
    decision.decide(Decision::accept(()));
    // The loop is well.
    let mut client = server.connect();
    client.send(upgrade_request("/ws", ""));
    next(&deferred).decide(Decision::accept(()));
    assert_eq!(client.answer().status, 101);
    drop(server);
    let opened = seen.try_iter().filter(|saw| *saw == Saw::Open).count();
    assert_eq!(opened, 1);
}

#[test]
fn frames_that_come_before_the_decision_are_delivered_after_the_opening() {
    let (scripted, seen, deferred) = deferring();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let large = "x".repeat(60_000);
    // Both in one segment, and the frames behind a request that is pending already.
    for apart in [false, true] {
        let mut frames = Vec::new();
        for text in ["one", "two", &large] {
            encode_frame(&mut frames, true, OpCode::Text, text.as_bytes(), Some([1, 2, 3, 4]));
        }
        let mut client = server.connect();
        let request = upgrade_request("/ws", "");
        let decision = if apart {
            client.send(request);
            let decision = next(&deferred);
            client.send(frames);
            decision
        } else {
            client.send([request.as_bytes(), &frames].concat());
            next(&deferred)
        };
        assert_eq!(next(&seen), Saw::Request("/ws".into(), true));
        assert!(decision.is_waiting() && seen.try_recv().is_err());
        decision.decide(Decision::accept(()));
        assert_eq!(client.answer().status, 101);
        for text in ["one", "two", &large] {
            client.expect_text(text);
        }
        expect_saw(
            &seen,
            &[Saw::Open, Saw::Text("one".into()), Saw::Text("two".into()), Saw::Text(large.clone())],
        );
        client.leave();
        assert!(matches!(next(&seen), Saw::Close(closure) if closure.clean));
    }
}

#[test]
fn a_request_that_waits_when_the_server_stops_gets_503() {
    let (scripted, _seen, deferred) = deferring();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.connect();
    client.send(upgrade_request("/ws", ""));
    let decision = next(&deferred);
    server.handle().stop(Duration::from_secs(5));
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("5")));
    client.expect_end();
    assert!(!decision.is_waiting());
    drop(client);
    drop(server);
    decision.decide(Decision::accept(())); // the loop is gone
}

#[test]
fn many_decisions_made_out_of_order_come_to_their_requests() {
    let (sender, requests) = mpsc::channel();
    let server = TestServer::start(|builder| builder.workers(2).route("/ws", Tokens(sender)));
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let mut client = server.connect();
            client.send(upgrade_request(&format!("/ws?{number}"), ""));
            Mutex::new(client)
        })
        .collect();
    let mut pending: Vec<_> = (0..20).map(|_| next(&requests)).collect();
    pending.sort_by_key(|(query, _)| query.as_ref().map(|query| query.chars().rev().collect::<String>()));
    for (query, deferred) in pending {
        deferred.decide(Decision::accept(query.expect("a number")));
    }
    for (number, client) in clients.iter().enumerate() {
        let mut client = client.lock().expect("no panic");
        assert_eq!(client.answer().status, 101);
        client.send_text("");
        client.expect_text(&number.to_string());
    }
}
