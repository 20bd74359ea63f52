//! Decisions that the server's threads make.

use crate::common::{TestServer, next, upgrade_request, wait_until};
use crate::scripted::Scripted;
use framewright_server::{
    Decision, DecisionThreads, Handler, Incoming, Message, Response, Socket, StatusCode,
};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

/// Looks up the query of each request on threads.
struct Members {
    threads: DecisionThreads,
    asked: Sender<String>,
    directory: Arc<Directory>,
}

/// What the threads ask.
struct Directory {
    looked_up: Mutex<Sender<String>>,
    /// A lookup of "slow" takes until the test sends something.
    go_on: Mutex<Receiver<()>>,
}

/// The test's side of a [`Members`].
struct Seen {
    asked: Receiver<String>,
    looked_up: Receiver<String>,
    go_on: Sender<()>,
}

fn members(threads: DecisionThreads) -> (Members, Seen) {
    let (asked, seen_asked) = mpsc::channel();
    let (looked_up, seen_looked_up) = mpsc::channel();
    let (sender, go_on) = mpsc::channel();
    let directory = Arc::new(Directory { looked_up: Mutex::new(looked_up), go_on: Mutex::new(go_on) });
    let members = Members { threads, asked, directory };
    (members, Seen { asked: seen_asked, looked_up: seen_looked_up, go_on: sender })
}

impl Directory {
    fn name_of(&self, query: String) -> Result<String, Response> {
        self.looked_up.lock().expect("no panic").send(query.clone()).expect("a test");
        match &*query {
            "nobody" => return Err(Response::text(StatusCode::FORBIDDEN, "who?\n")),
            "panic" => panic!("as the test wants it"),
            "slow" => next(&self.go_on.lock().expect("no panic")),
            _ => {}
        }
        Ok(query)
    }
}

impl Handler for Members {
    type State = String;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<String> {
        let query = request.query().unwrap_or_default().to_owned();
        self.asked.send(query.clone()).expect("a test");
        let directory = Arc::clone(&self.directory);
        request.decide_later(&self.threads, move || directory.name_of(query))
    }

    fn on_message(&self, socket: &mut Socket<'_>, name: &mut String, _: Message<'_>) {
        socket.send_text(name).expect("room");
    }
}

#[test]
fn a_thread_accepts_or_answers_and_outlives_a_panic() {
    let (members, seen) = members(DecisionThreads::new(1).expect("a thread"));
    let server = TestServer::start(|builder| builder.route("/ws", members));
    for (query, status) in [("Ann", 101), ("nobody", 403), ("panic", 500), ("Bob", 101)] {
        let mut client = server.connect();
        let answer = client.upgrade(&format!("/ws?{query}"), "");
        assert_eq!(answer.status, status, "{query}");
        if status == 101 {
            client.send_text("who am I?");
            client.expect_text(query);
            client.leave();
        } else {
            client.expect_end();
        }
    }
    let mut client = server.connect();
    client.send("GET /ws?Ann HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    drop(server);
    let looked_up: Vec<_> = seen.looked_up.try_iter().collect();
    assert_eq!(looked_up, ["Ann", "nobody", "panic", "Bob"], "an ordinary request needs no lookup");
}

#[test]
fn a_request_too_many_gets_503_and_one_whose_peer_has_left_is_not_looked_up() {
    let (members, seen) = members(DecisionThreads::with_capacity(1, 1).expect("a thread"));
    let server = TestServer::start(|builder| builder.workers(1).route("/ws", members));
    let mut slow = server.connect();
    slow.send(upgrade_request("/ws?slow", ""));
    assert_eq!(next(&seen.looked_up), "slow");
    let mut leaves = server.connect();
    leaves.send(upgrade_request("/ws?leaves", ""));
    assert_eq!([next(&seen.asked), next(&seen.asked)], ["slow", "leaves"]);
    let mut refused = server.connect();
    let answer = refused.upgrade("/ws?refused", "");
    assert_eq!((answer.status, answer.text()), (503, "too many requests wait\n"));
    refused.expect_end();
    drop((leaves, refused));
    wait_until("gone", || server.handle().connection_count() == 1);
    seen.go_on.send(()).expect("a lookup that waits");
    assert_eq!(slow.answer().status, 101);
    // The thread has taken the one that has left by now, or takes it before this one.
    wait_until("room again", || {
        let mut next = server.connect();
        next.upgrade("/ws?next", "").status == 101
    });
    assert_eq!(next(&seen.looked_up), "next");
}

#[test]
fn what_waits_is_decided_though_the_threads_are_dropped() {
    let (go_on, waits) = mpsc::channel();
    let (dropped, are_dropped) = mpsc::channel();
    let once = Mutex::new(Some((DecisionThreads::new(1).expect("a thread"), waits)));
    let (scripted, _seen) = Scripted::echo();
    let scripted = scripted.request(move |request| {
        let (threads, waits) = once.lock().expect("no panic").take().expect("one request");
        let decision = request.decide_later(&threads, move || {
            next(&waits);
            Ok(())
        });
        drop(threads);
        dropped.send(()).expect("a test");
        decision
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.connect();
    client.send(upgrade_request("/ws", ""));
    next(&are_dropped);
    go_on.send(()).expect("a decision that waits");
    assert_eq!(client.answer().status, 101);
}
