//! `framewright relay` as a process: its protocol, who is let in, and several on one Redis.

#![cfg(unix)]

#[path = "../../../server/tests/common/mod.rs"]
mod common;
#[path = "../echo/program.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod program;

mod access;
mod protocol;
#[cfg(feature = "redis")]
mod redis;

use common::Client;
use program::{PROGRAM, Program};
use std::process::Command;

/// `framewright relay` on a free port of 127.0.0.1, with these arguments.
fn relay(args: &[&str]) -> Program {
    Program::start(Command::new(PROGRAM).args(["relay", "--listen", "127.0.0.1:0"]).args(args))
}

/// Sends a request, whose answer has to be this.
#[track_caller]
fn ask(client: &mut Client, request: &str, answer: &str) {
    client.send_text(request);
    client.expect_text(answer);
}

#[track_caller]
fn subscribe(client: &mut Client, filter: &str) {
    let request = format!(r#"{{"type":"subscribe","topic":"{filter}"}}"#);
    ask(client, &request, &format!(r#"{{"type":"subscribed","topic":"{filter}"}}"#));
}

/// Publishes, and waits until the relay has taken it.
#[track_caller]
fn publish(client: &mut Client, topic: &str, data: &str) {
    let request = format!(r#"{{"type":"publish","topic":"{topic}","data":{data},"request":1}}"#);
    ask(client, &request, &format!(r#"{{"type":"published","topic":"{topic}","request":1}}"#));
}

/// What subscribers of a topic get.
fn message(topic: &str, data: &str) -> String {
    format!(r#"{{"type":"message","topic":"{topic}","data":{data}}}"#)
}

/// The next message is an error with this code.
#[track_caller]
fn expect_error(client: &mut Client, code: &str) {
    let (_, text) = client.message();
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.starts_with(&format!(r#"{{"type":"error","code":"{code}","text":"#)), "{text}");
}
