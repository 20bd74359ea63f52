//! Several relays on one Redis.

use crate::common::{Client, DEADLINE, wait_until};
use crate::program::Program;
use crate::{ask, expect_error, message, publish, relay, subscribe};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A `redis-server` on a free port, with a folder of its own. Dropping it ends it.
struct Redis {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Redis {
    fn start() -> Redis {
        let folder = tempfile::tempdir().expect("a folder");
        // Another process may take the port between the two steps.
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("an address").port();
            drop(listener);
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.arg("--dir").arg(folder.path());
            let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut child =
                spawned.unwrap_or_else(|error| panic!("these tests need `redis-server`: {error}"));
            let mut has_ended = false;
            wait_until("Redis", || {
                has_ended = child.try_wait().expect("a child").is_some();
                has_ended || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
            if !has_ended {
                return Redis { port, child, _folder: folder };
            }
        }
        panic!("redis-server does not start");
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on(redis: &Redis) -> Program {
    relay(&["--redis", &redis.url(), "--durable", "orders/#", "--retain", "kept=1"])
}

/// The text of the next message.
#[track_caller]
fn text(client: &mut Client) -> String {
    String::from_utf8(client.message().1).expect("UTF-8")
}

/// The `id` of a message with this data.
#[track_caller]
fn id_of(text: &str, topic: &str, data: &str) -> String {
    let fields = message(topic, data);
    let rest = text.strip_prefix(fields.trim_end_matches('}')).unwrap_or_else(|| panic!("{text}"));
    let id = rest.strip_prefix(r#","id":""#).and_then(|rest| rest.strip_suffix("\"}"));
    id.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Publishes on `topic` at one relay until a client of another gets something: the subscription
/// travels to Redis behind the answer. Returns how many were published, and the first that arrived.
#[track_caller]
fn publish_until_heard(publisher: &mut Client, subscriber: Client, topic: &str) -> (Client, usize, String) {
    let (heard, first) = std::sync::mpsc::channel();
    let mut subscriber = subscriber;
    let waiting = std::thread::spawn(move || {
        let first = text(&mut subscriber);
        let _ = heard.send(()); // the test may be over
        (subscriber, first)
    });
    let mut count = 0;
    let begun = std::time::Instant::now();
    while first.recv_timeout(std::time::Duration::from_millis(20)).is_err() {
        assert!(begun.elapsed() < DEADLINE, "nothing arrives");
        publish(publisher, topic, &count.to_string());
        count += 1;
    }
    let (subscriber, first) = waiting.join().expect("a message");
    (subscriber, count, first)
}

#[test]
fn a_message_reaches_the_clients_of_both_relays_once() {
    let redis = Redis::start();
    let (here, there) = (on(&redis), on(&redis));
    let (mut ann, mut bob) = (here.open("/ws"), there.open("/ws"));
    subscribe(&mut bob, "chat/#");
    let (mut bob, count, first) = publish_until_heard(&mut ann, bob, "chat/a");
    // Those before the first were published before Redis knew of the subscription.
    let mut expected = (0..count).map(|data| message("chat/a", &data.to_string()));
    assert!(expected.any(|message| message == first), "{first}");
    expected.for_each(|message| bob.expect_text(&message));
    publish(&mut ann, "chat/b", "\"last\"");
    bob.expect_text(&message("chat/b", "\"last\""));
    publish(&mut bob, "chat/b", "\"own\"");
    bob.expect_text(&message("chat/b", "\"own\""));
    // What came twice would have come before this.
    ask(
        &mut bob,
        r##"{"type":"unsubscribe","topic":"chat/#"}"##,
        r##"{"type":"unsubscribed","topic":"chat/#"}"##,
    );
}

#[test]
fn a_durable_topic_resumes_behind_the_last_message_at_a_new_relay() {
    let redis = Redis::start();
    let (here, there) = (on(&redis), on(&redis));
    let (mut ann, mut bob) = (here.open("/ws"), there.open("/ws"));
    bob.send_text(r##"{"type":"subscribe","topic":"orders/#"}"##);
    expect_error(&mut bob, "bad_topic");
    subscribe(&mut bob, "orders/1");
    let (mut bob, count, mut last) = publish_until_heard(&mut ann, bob, "orders/1");
    publish(&mut ann, "orders/1", "\"seen\"");
    let mut received = 1;
    while !last.contains("seen") {
        last = text(&mut bob);
        received += 1;
    }
    assert!(received <= count + 1, "{received} of {count}");
    let id = id_of(&last, "orders/1", "\"seen\"");
    drop((bob, there));
    // Once it has come back, Redis has it.
    let mut other = here.open("/ws");
    subscribe(&mut other, "orders/1");
    publish(&mut ann, "orders/1", "\"missed\"");
    id_of(&text(&mut other), "orders/1", "\"missed\"");
    // Killed: nothing is said to anybody.
    drop((ann, here));

    let again = on(&redis);
    let mut bob = again.open("/ws");
    let request =
        format!(r#"{{"type":"subscribe","topic":"orders/1","after":"{id}","policy":"drop-oldest"}}"#);
    ask(&mut bob, &request, r#"{"type":"subscribed","topic":"orders/1"}"#);
    let missed = text(&mut bob);
    assert_ne!(id_of(&missed, "orders/1", "\"missed\""), id);
    bob.send_text(r#"{"type":"publish","topic":"orders/1","data":"new"}"#);
    id_of(&text(&mut bob), "orders/1", "\"new\"");
}

#[test]
fn a_redis_that_is_not_there_ends_the_program() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let url = format!("redis://:secret@127.0.0.1:{port}");
    let output = crate::program::run(&["relay", "--listen", "127.0.0.1:0", "--redis", &url]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("--redis"), "{err}");
    assert!(!err.contains("secret"), "{err}");
}

#[test]
fn when_redis_goes_away_a_gap_is_told_and_the_clients_of_one_relay_go_on() {
    let mut redis = Redis::start();
    let (here, there) = (on(&redis), on(&redis));
    let (mut ann, mut bob, mut eve) = (here.open("/ws"), there.open("/ws"), there.open("/ws"));
    subscribe(&mut bob, "chat/a");
    // From here on Redis knows of the subscription.
    let (mut bob, ..) = publish_until_heard(&mut ann, bob, "chat/a");
    redis.child.kill().expect("it runs");
    redis.child.wait().expect("a child that was killed ends");
    while text(&mut bob) != r#"{"type":"gap","topic":"chat/a"}"# {}
    publish(&mut eve, "chat/a", "\"here\"");
    while text(&mut bob) != message("chat/a", "\"here\"") {}
}
