//! The spans that callbacks run in: what an application logs there belongs to its connection.

use crate::common::{Client, TestServer};
use framewright_server::{Closed, Decision, Handler, Incoming, ListenAddr, Message, Server, Socket};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, subscriber};

thread_local! {
    /// The spans that this thread is in.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The fields of a span or an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").expect("a string has room");
        self.0.insert(field.name(), text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// An event, and the spans around it.
type Line = (Fields, Vec<Fields>);

/// Writes down every event of these tests with the spans around it.
#[derive(Clone)]
struct Lines {
    level: Level,
    spans: Arc<Mutex<Vec<Fields>>>,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Lines {
    fn new(level: Level) -> Lines {
        Lines { level, spans: Arc::default(), lines: Arc::default() }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        fields.0.insert("name", attributes.metadata().name().to_owned());
        fields.0.insert("target", attributes.metadata().target().to_owned());
        let mut spans = self.spans.lock().expect("no panic in here");
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != "application" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = self.spans.lock().expect("no panic in here");
        let around = INSIDE.with_borrow(|inside| {
            inside.iter().map(|id| spans[usize::try_from(*id).expect("few") - 1].clone()).collect()
        });
        self.lines.lock().expect("no panic in here").push((fields, around));
    }

    fn enter(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        let left = INSIDE.with_borrow_mut(Vec::pop);
        assert_eq!(left, Some(id.into_u64()), "spans are left in order");
    }
}

/// Logs in every callback whose connection it is.
struct Logging;

macro_rules! say {
    ($what:literal, $id:expr) => {
        tracing::event!(target: "application", Level::INFO, what = $what, of = $id)
    };
}

impl Handler for Logging {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        say!("request", request.id());
        request.accept(())
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        say!("open", socket.id());
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        say!("message", socket.id());
        socket.send(message).expect("room");
        if message.as_bytes() == b"panic" {
            panic!("on purpose");
        }
    }

    fn on_ping(&self, socket: &mut Socket<'_>, _: &mut (), _: &[u8]) {
        say!("ping", socket.id());
    }

    fn on_close(&self, closed: &Closed<'_>, _: &mut ()) {
        say!("close", closed.id());
    }
}

/// Serves `clients` connections on one loop, whose turns are interleaved, with a subscriber.
fn serve(lines: &Lines, talk: impl FnOnce(&mut [Client])) {
    let builder = Server::builder().route("/room/{name}", Logging).fallback(Logging);
    let server = builder.listen("127.0.0.1:0").build().expect("a server");
    let &ListenAddr::Ip(addr) = &server.local_addrs()[0] else { panic!("listens on TCP") };
    let (handle, subscriber) = (server.handle(), lines.clone());
    let running = thread::spawn(move || subscriber::with_default(subscriber, || server.run()));
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(addr)).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.open(if index == 3 { "/elsewhere" } else { "/room/a" });
    }
    talk(&mut clients);
    // Two of them are cut with the server.
    for client in clients.drain(2..) {
        client.leave();
    }
    handle.stop(Duration::ZERO);
    running.join().expect("no panic").expect("the server ends well");
}

#[test]
fn what_is_logged_in_a_callback_has_the_span_of_its_own_connection() {
    let lines = Lines::new(Level::INFO);
    let mut addrs = Vec::new();
    serve(&lines, |clients| {
        addrs.extend(
            clients.iter().map(|client| client.stream().local_addr().expect("connected").to_string()),
        );
        for round in 0..10 {
            // All of them at once, so that one round of the loop has a turn of each.
            for client in clients.iter_mut() {
                client.send_text(&round.to_string());
                client.send_frame(true, framewright::frame::OpCode::Ping, b"?");
            }
            for client in clients.iter_mut() {
                client.expect_text(&round.to_string());
                client.frame();
            }
        }
        clients[0].send_text("panic");
        clients[0].expect_text("panic");
        clients[0].expect_close(1011);
    });
    let lines = lines.lines.lock().expect("no panic");
    let mut counted: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (event, around) in &*lines {
        let [span] = &around[..] else { panic!("one span around {event:?}: {around:?}") };
        let of = &event.0["of"];
        assert_eq!((&*span.0["name"], &*span.0["target"]), ("connection", "framewright_server"));
        assert_eq!(&span.0["id"], of, "{event:?} in {span:?}");
        let number: usize = of.parse().expect("a number");
        assert_eq!(span.0.get("route").map(String::as_str), (number < 4).then_some("/room/{name}"));
        assert_eq!(span.0["peer"], addrs[number - 1]);
        *counted.entry((of.clone(), event.0["what"].clone())).or_default() += 1;
    }
    for number in 1..=4 {
        let count = |what: &str| counted.get(&(number.to_string(), what.to_owned())).copied().unwrap_or(0);
        let messages = if number == 1 { 11 } else { 10 };
        let expected = [("request", 1), ("open", 1), ("message", messages), ("ping", 10), ("close", 1)];
        assert_eq!(expected.map(|(what, _)| (what, count(what))), expected);
    }
}

/// Where only warnings are listened to, no span is made.
#[test]
fn no_span_is_made_for_whoever_does_not_listen() {
    let lines = Lines::new(Level::WARN);
    serve(&lines, |clients| {
        for client in clients {
            client.send_text("hello");
            client.expect_text("hello");
        }
    });
    assert!(lines.spans.lock().expect("no panic").is_empty());
    // Nor without any subscriber.
    let server = TestServer::start(|builder| builder.fallback(Logging));
    server.open("/").leave();
}
