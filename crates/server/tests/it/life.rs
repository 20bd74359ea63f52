//! Timers, calls now and then, messages to everybody, and several servers in a process.

use crate::common::{Client, DEADLINE, TestServer, next, wait_until};
use crate::scripted::Scripted;
use framewright::frame::OpCode;
use framewright_server::{
    CloseCode, Closed, Decision, Delivered, Handler, Incoming, Message, PeerAddr, Prepared, Server,
    ServerHandle, ServerLimits, Socket,
};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Sends the tokens of its timers, and how late they come to a channel.
struct Timing(Sender<Duration>);

const AFTER: Duration = Duration::from_millis(50);

impl Handler for Timing {
    type State = Option<Instant>;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Option<Instant>> {
        request.accept(None)
    }

    fn on_message(&self, socket: &mut Socket<'_>, due: &mut Option<Instant>, message: Message<'_>) {
        let Message::Text(token) = message else { panic!("a text") };
        *due = Some(Instant::now() + AFTER);
        socket.set_timer(token.parse().expect("a number"), AFTER).expect("room");
    }

    fn on_timer(&self, socket: &mut Socket<'_>, due: &mut Option<Instant>, token: u64) {
        // One that is early is no duration.
        let late = Instant::now().checked_duration_since(due.expect("it was set"));
        self.0.send(late.expect("no timer is early")).expect("the test listens");
        socket.send_text(&token.to_string()).expect("room");
    }
}

#[test]
fn a_timer_comes_on_an_idle_connection_and_is_not_early() {
    let (sender, lateness) = mpsc::channel();
    let server = TestServer::start(|builder| builder.workers(2).route("/ws", Timing(sender)));
    let mut clients: Vec<_> = (0..4).map(|_| server.open("/ws")).collect();
    for token in ["1", "18446744073709551615", "1"] {
        for client in &mut clients {
            client.send_text(token);
        }
        for client in &mut clients {
            client.expect_text(token);
            next(&lateness);
        }
    }
}

#[test]
fn a_ticker_that_broadcasts_is_a_few_lines() {
    let (scripted, _seen) = Scripted::new();
    let mut ticks = 0;
    let server = TestServer::start(|builder| {
        builder.workers(2).route("/ws", scripted).every(Duration::from_millis(20), move |server| {
            ticks += 1;
            let _ = server.broadcast(Message::Text(&format!("tick {ticks}")));
        })
    });
    let mut clients: Vec<_> = (0..4).map(|_| server.open("/ws")).collect();
    for client in &mut clients {
        let number = |payload: Vec<u8>| -> u64 {
            String::from_utf8(payload).unwrap().strip_prefix("tick ").unwrap().parse().unwrap()
        };
        let first = number(client.frame().payload);
        client.expect_text(&format!("tick {}", first + 1));
        client.expect_text(&format!("tick {}", first + 2));
    }
    server.stop(Duration::ZERO).expect("it ends well");
}

#[test]
fn a_broadcast_comes_to_everybody_of_every_loop_once_and_in_order() {
    let (chat, _seen) = Scripted::new();
    let (other, _seen_other) = Scripted::new();
    let (fallback, _seen_fallback) = Scripted::new();
    let server = TestServer::start(|builder| {
        builder.workers(3).route("/chat/{room}", chat).route("/other", other).fallback(fallback)
    });
    let mut chatting: Vec<_> = (0..40).map(|room| server.open(&format!("/chat/{room}"))).collect();
    let mut others = [server.open("/other"), server.open("/elsewhere")];
    let handle = server.handle();
    let prepared = Prepared::new(Message::Binary(&[1, 2, 3]));
    let all = handle.broadcast(&prepared).expect("room");
    let some = handle.broadcast_where("chat", |to| to.route() == Some("/chat/{room}")).expect("room");
    let last = handle.broadcast_where("rest", |to| to.route().is_none()).expect("room");
    assert_eq!(all.wait(), sent(42));
    assert_eq!(some.wait(), sent(40));
    assert_eq!(last.wait(), sent(1));
    for client in chatting.iter_mut().chain(&mut others) {
        let frame = client.frame();
        assert_eq!((frame.opcode, &frame.payload[..]), (OpCode::Binary, &[1, 2, 3][..]));
    }
    chatting.iter_mut().for_each(|client| client.expect_text("chat"));
    others[1].expect_text("rest");

    let mut found: Vec<_> = handle.connections().expect("room").collect();
    found.sort_by_key(|connection| connection.id);
    assert_eq!(found.len(), 42);
    assert!(found.iter().all(|connection| matches!(connection.peer_addr, PeerAddr::Ip(_))));
    assert!(found.windows(2).all(|two| two[0].id != two[1].id));
    let of_route = |route| found.iter().filter(|connection| connection.route.as_deref() == route).count();
    assert_eq!((of_route(Some("/chat/{room}")), of_route(Some("/other")), of_route(None)), (40, 1, 1));

    // One that has gone is not among them, nor one that is only about to open.
    chatting.pop().expect("a client").leave();
    let _connecting = server.connect();
    wait_until("it is gone", || handle.connections().expect("room").count() == 41);
    wait_until("it is there", || handle.connection_count() == 42);
    assert_eq!(handle.broadcast("bye").expect("room").wait(), sent(41));
}

fn sent(count: usize) -> Delivered {
    let mut delivered = Delivered::default();
    delivered.sent = count;
    delivered
}

#[cfg(feature = "deflate")]
#[test]
fn a_broadcast_is_compressed_for_those_who_have_agreed_on_it() {
    use crate::common::Deflating;
    use framewright_server::{DeflatePolicy, Options};

    let (scripted, _seen) = Scripted::new();
    let options = Options { compression: Some(DeflatePolicy::default()), ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, scripted));
    let mut plain = server.open("/ws");
    let mut deflating = Deflating::open(server.addr(), "/ws", "permessage-deflate");
    let text = "so long and so ".repeat(100);
    assert_eq!(server.handle().broadcast(&*text).expect("room").wait(), sent(2));
    plain.expect_text(&text);
    let received = deflating.receive();
    assert!(received.compressed && received.message == text.as_bytes());
}

/// Finds the others from its callbacks, and gets rid of them.
struct Alone;

impl Handler for Alone {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let (server, own) = (socket.server(), socket.id());
        match message {
            Message::Text("shout") => drop(server.broadcast_where("hey", move |to| to.id() != own)),
            Message::Text("alone") => {
                let close = move |connection: &framewright_server::Connected<'_>| {
                    if connection.id() != own {
                        connection.handle().close(CloseCode::POLICY_VIOLATION, "").expect("it is open");
                    }
                };
                server.for_each(close).expect("room");
            }
            // It would wait for itself.
            Message::Text("wait") => drop(server.connections().expect("room").next()),
            Message::Text("stop") => server.stop(Duration::from_secs(5)),
            message => panic!("{message:?}"),
        }
    }

    fn on_close(&self, closed: &Closed<'_>, _: &mut ()) {
        let goodbye = format!("{} has left", closed.id());
        closed.server().broadcast(&*goodbye).expect("room");
    }
}

#[test]
fn a_callback_reaches_everybody_through_the_handle_of_its_server() {
    for workers in [1, 2] {
        let server = TestServer::start(|builder| builder.workers(workers).route("/ws", Alone));
        let (mut first, mut second) = (server.open("/ws"), server.open("/ws"));
        let mut third = server.open("/ws");
        first.send_text("shout");
        second.expect_text("hey");
        third.expect_text("hey");
        third.leave();
        first.expect_text("3 has left");
        second.expect_text("3 has left");
        second.send_text("alone");
        first.expect_close(1008);
        second.send_text("wait");
        second.expect_close(1011);
    }
}

#[test]
fn a_callback_may_stop_its_server() {
    let mut server = TestServer::start(|builder| builder.workers(2).route("/ws", Alone));
    let (mut first, mut second) = (server.open("/ws"), server.open("/ws"));
    first.send_text("stop");
    for client in [&mut first, &mut second] {
        client.expect_close(1001);
        client.send_close(CloseCode::GOING_AWAY, "");
    }
    server.wait().expect("it ends well");
}

/// The two kept each other.
#[test]
fn a_handler_that_has_a_handle_of_its_own_server_goes_with_it() {
    struct Having(Arc<OnceLock<ServerHandle>>);

    impl Handler for Having {
        type State = ();

        fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
            let server = self.0.get().expect("it is set before anybody connects");
            assert_eq!(server.connection_count(), 1);
            request.accept(())
        }
    }

    let own = Arc::new(OnceLock::new());
    let handler = Having(Arc::clone(&own));
    let server = TestServer::start(|builder| builder.route("/ws", handler));
    own.set(server.handle().clone()).expect("it was empty");
    let weak = Arc::downgrade(&own);
    drop(own);
    drop(server.open("/ws"));
    assert!(weak.upgrade().is_some());
    drop(server);
    assert!(weak.upgrade().is_none(), "the handler is still there");
}

#[test]
fn nobody_waits_for_a_server_that_does_not_run_any_more() {
    let server = Server::builder().listen("127.0.0.1:0").build().expect("a server");
    let handle = server.handle();
    let broadcast = handle.broadcast("to nobody").expect("room");
    drop(server);
    assert_eq!((broadcast.wait(), handle.connections().expect("room").count()), (Delivered::default(), 0));
}

#[test]
fn two_servers_run_in_a_process_each_with_its_own_limits() {
    let start = |most, route| {
        let limits = ServerLimits { max_connections: Some(most), ..ServerLimits::default() };
        let (echo, seen) = Scripted::echo();
        (TestServer::start(|builder| builder.workers(2).limits(limits).route(route, echo)), seen)
    };
    let ((one, _seen), (two, _seen_two)) = (start(1, "/one"), start(2, "/two"));
    assert_ne!(one.addr(), two.addr());
    let mut first = one.open("/one");
    let mut others = [two.open("/two"), two.open("/two")];
    for server in [&one, &two] {
        let mut refused = server.connect();
        refused.send("GET /one HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(refused.answer().status, 503);
    }
    assert_eq!((one.handle().connection_count(), two.handle().connection_count()), (1, 2));
    assert_eq!(one.handle().broadcast("first").expect("room").wait(), sent(1));
    first.expect_text("first");
    // One stops, and the other goes on.
    let began = Instant::now();
    one.stop(Duration::ZERO).expect("it ends well");
    assert!(began.elapsed() < DEADLINE);
    first.expect_gone();
    for client in &mut others {
        client.send_text("still there");
        client.expect_text("still there");
    }
    others.into_iter().for_each(Client::leave);
    wait_until("they have left", || two.handle().connection_count() == 0);
    assert_eq!(two.connect().upgrade("/one", "").status, 404, "a route of the other one");
}
