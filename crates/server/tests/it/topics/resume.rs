//! Subscribers of a durable topic that come back: what is stored reaches them, then what follows.

use super::board::{BoardServer, Pin};
use super::slow::slow;
use framewright_server::topics::{
    Backplane, BackplaneError, Page, Passed, Position, Publication, Remote, Reply, Stored,
};
use framewright_server::{OwnedMessage, TopicOptions, Topics};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// About so many bytes are read at once.
const PAGE: usize = 256 << 10;

/// Keeps all messages, numbered from 1 on, but those before `first`.
#[derive(Clone, Default)]
struct Memory {
    first: u64,
    stored: Arc<Mutex<Vec<Stored>>>,
    remote: Arc<OnceLock<Remote>>,
    bytes_read: Arc<AtomicUsize>,
}

impl Backplane for Memory {
    fn start(&self, remote: Remote) -> Result<(), BackplaneError> {
        assert!(self.remote.set(remote).is_ok(), "started once");
        Ok(())
    }

    fn publish(&self, publication: &Arc<Publication>, _: &TopicOptions) -> Result<Passed, BackplaneError> {
        let mut stored = self.stored.lock().expect("no panic");
        let text = std::str::from_utf8(publication.message().payload()).expect("text");
        let message = OwnedMessage::Text(text.to_owned());
        let id = format!("{}-0", stored.len() + 1);
        stored.push(Stored { id: id.clone(), message: message.clone(), key: None });
        let remote = self.remote.get().expect("started");
        // Under the lock, so that they arrive in their order.
        assert!(remote.deliver(publication.topic(), message, None, Some(&id)), "room");
        Ok(Passed::ComesBack)
    }

    fn subscribe(&self, _: &str, _: &TopicOptions) -> Result<(), BackplaneError> {
        Ok(())
    }

    fn unsubscribe(&self, _: &str) {}

    fn read(&self, _: &str, after: &str, reply: Reply) {
        let after = Position::parse(after).expect("a position").major;
        let begin = after.max(self.first.saturating_sub(1));
        let mut bytes = 0;
        let stored = self.stored.lock().expect("no panic");
        let page: Vec<Stored> = stored[usize::try_from(begin).expect("few")..]
            .iter()
            .take_while(|stored| {
                let fits = bytes < PAGE;
                bytes += len(stored);
                fits
            })
            .cloned()
            .collect();
        drop(stored);
        self.bytes_read.fetch_add(page.iter().map(len).sum(), Ordering::SeqCst);
        reply(Ok(Page { stored: page, gap: begin > after }));
    }

    fn stop(&self, _: Instant) {}
}

fn len(stored: &Stored) -> usize {
    match &stored.message {
        OwnedMessage::Text(text) => text.len(),
        OwnedMessage::Binary(bytes) => bytes.len(),
    }
}

fn start(memory: &Memory) -> BoardServer {
    let options = TopicOptions { durable: true, ..TopicOptions::default() };
    let topics = Topics::builder().options("topic", options).backplane(memory.clone()).build();
    BoardServer::start(2, topics)
}

/// The next publications are these numbers, each with `tail`.
#[track_caller]
fn expect_numbers(pin: &mut Pin, numbers: std::ops::Range<usize>, tail: &str) {
    for number in numbers {
        let text = pin.publication();
        assert!(text == format!("{number}{tail}"), "{number} is wanted, not {text:.20}");
    }
}

#[test]
fn it_resumes_without_loss_or_doubles_while_others_publish() {
    let board = start(&Memory::default());
    (1..=500).for_each(|number| board.publish("topic", &number.to_string()));
    let (mut pin, _) = board.open();
    let handle = board.server.handle().clone();
    std::thread::scope(|scope| {
        let publish = move |number: usize| handle.publish("topic", &*number.to_string()).expect("room");
        scope.spawn(move || (501..=3000).for_each(publish));
        pin.expect_ok("@topic 100-0");
        expect_numbers(&mut pin, 101..3001, "");
    });
    board.publish("topic", "end");
    assert_eq!(pin.up_to("end"), [""; 0]);
}

#[test]
fn a_long_replay_arrives_whole_and_is_read_as_it_is_taken() {
    let memory = Memory::default();
    let board = start(&memory);
    let tail = format!(" {}", "x".repeat(32 << 10));
    let count = 512;
    (1..=count).for_each(|number| board.publish("topic", &format!("{number}{tail}")));
    let mut pin = slow(&board, "other");
    pin.client.send_text("@topic 0-0");
    assert_eq!(pin.answer(), "ok");
    // Whatever the kernel takes: most is not read before the peer has read.
    let (mut other, _) = board.open();
    (0..100).for_each(|_| assert_eq!(other.say("?"), ""));
    let read = memory.bytes_read.load(Ordering::SeqCst);
    assert!(read < count * tail.len() / 2, "{read} bytes were read ahead");
    // What is published meanwhile comes behind.
    board.publish("topic", "end");
    expect_numbers(&mut pin, 1..count + 1, &tail);
    pin.expect(&["end"]);
    assert_eq!(board.server.handle().topic_stats().disconnected, 0);
}

#[test]
fn the_handler_learns_that_a_message_is_not_kept_any_more() {
    let board = start(&Memory { first: 6, ..Memory::default() });
    (1..=9).for_each(|number| board.publish("topic", &number.to_string()));
    let (mut pin, _) = board.open();
    pin.expect_ok("@topic 2-0");
    pin.expect(&["^topic", "6", "7", "8", "9"]);
    let (mut pin, _) = board.open();
    pin.expect_ok("@topic 5-0");
    pin.expect(&["6", "7", "8", "9"]);
    board.publish("topic", "end");
    pin.expect(&["end"]);
}
