//! What a peer can get into the log.

use crate::common::{Client, upgrade_request};
use crate::probe::{Probe, ws};
use framewright::frame::OpCode;
use framewright_server::{AllowedOrigins, ListenAddr, Options, Server};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes every event down as a line with its fields, escaping nothing: what is escaped, the server
/// has escaped.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").expect("a string has room");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().expect("no panic in here").push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn nothing_that_a_peer_sends_reaches_the_log_as_a_control_character() {
    let lines = Lines::default();
    let (probe, _watch) = Probe::echo();
    let allowed_origins = AllowedOrigins::new(["https://good.example"]).expect("origins");
    let options = Options { allowed_origins, ..Options::default() };
    let builder = Server::builder().options(options).listen("127.0.0.1:0");
    let server = ws(probe)(builder).build().expect("a server");
    let &ListenAddr::Ip(addr) = &server.local_addrs()[0] else { panic!("listens on TCP") };
    let handle = server.handle();
    let subscriber = lines.clone();
    let running = thread::spawn(move || tracing::subscriber::with_default(subscriber, || server.run()));

    let evil = ["\x1b[2J", "\x07", "\u{9b}31m", "\r", "\n", "%0d%0aERROR forged", "\u{202e}", "\x7f", "\0"];
    for evil in evil {
        for request in [
            format!("GET /{evil} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            format!("G{evil}T / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: local{evil}host\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nName{evil}: value\r\n\r\n"),
            upgrade_request("/ws", &format!("Origin: https://{evil}.example\r\n")),
            upgrade_request("/ws", &format!("Sec-WebSocket-Protocol: {evil}\r\n")),
        ] {
            let mut client = Client::connect(addr);
            client.send(request);
            assert!(client.answer().status >= 400);
        }
        let mut client = Client::connect(addr);
        client.open_with("/ws", "Origin: https://good.example\r\n");
        let body = [&1000u16.to_be_bytes()[..], evil.as_bytes()].concat();
        client.send_frame(true, OpCode::Close, &body);
        client.expect_close(1000);
    }
    handle.stop(Duration::ZERO);
    running.join().unwrap().expect("the server ends well");
    let lines = lines.0.lock().unwrap();
    assert!(lines.len() > evil.len(), "something was logged: {lines:?}");
    for line in &*lines {
        assert!(line.chars().all(|char| matches!(char, ' '..='~')), "{line:?}");
    }
}
