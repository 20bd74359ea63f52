//! Ends: of connections, of callbacks by a panic, of the server.

use super::board::{BoardServer, Pin};
use crate::common::{next, wait_until};
use framewright_server::{CloseCode, Observer, Presence, PublishError, Topics};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

#[test]
fn subscriptions_end_with_their_connection() {
    let board = BoardServer::start(2, Topics::default());
    let (handle, mut stays) = (board.server.handle(), board.subscribed(&["topic"]));
    for _ in 0..20 {
        let mut leaves = board.subscribed(&["topic", "other/#"]);
        let cut = board.subscribed(&["topic"]);
        assert_eq!((handle.subscribers("topic"), handle.subscribers("other/#")), (3, 1));
        leaves.client.send_close(CloseCode::NORMAL, "");
        leaves.client.expect_close(1000);
        drop(cut);
        next(&board.closed);
        next(&board.closed);
        // They have ended before `on_close`.
        assert_eq!((handle.subscribers("topic"), handle.subscribers("other/#")), (1, 0));
        board.publish("topic", "still");
        stays.expect(&["still"]);
    }
    assert_eq!(handle.topic_stats().subscriptions, 1);
}

#[test]
fn a_connection_that_has_ended_joins_nothing_though_its_last_bytes_wait() {
    let board = BoardServer::start(1, Topics::default());
    let mut other = board.subscribed(&["fence"]);
    let (mut stuck, _) = board.open();
    stuck.client.send_text("stuck secret");
    next(&board.closed);
    // The join of the handle comes before this.
    board.publish("fence", "passed");
    other.expect(&["passed"]);
    assert_eq!(board.server.handle().subscribers("secret"), 0);
}

#[test]
fn a_panic_ends_its_own_connection_and_nobody_misses_anything() {
    let board = BoardServer::start(1, Topics::default());
    let mut pins: Vec<Pin> = (0..5).map(|_| board.subscribed(&["topic"])).collect();
    board.publish("topic", "before");
    let (mut panics, _) = board.open();
    panics.expect_ok("+topic");
    panics.client.send_text("panic");
    board.publish("topic", "after");
    next(&board.closed);
    assert_eq!(board.server.handle().subscribers("topic"), 5);
    board.publish("topic", "later");
    pins.iter_mut().for_each(|pin| pin.expect(&["before", "after", "later"]));
}

#[test]
fn connections_that_end_during_a_delivery_cost_the_others_nothing() {
    let board = BoardServer::start(2, Topics::default());
    let mut stay: Vec<Pin> = (0..10).map(|_| board.subscribed(&["topic"])).collect();
    let leave: Vec<Pin> = (0..40).map(|_| board.subscribed(&["topic"])).collect();
    let handle = board.server.handle().clone();
    let publishing = thread::spawn(move || {
        for number in 0..500 {
            while handle.publish("topic", &*number.to_string()).is_err() {
                thread::yield_now();
            }
        }
    });
    leave.into_iter().for_each(drop);
    publishing.join().expect("no panic");
    for pin in &mut stay {
        (0..500).for_each(|number| pin.expect(&[&number.to_string()]));
    }
    for _ in 0..40 {
        next(&board.closed);
    }
    assert_eq!(board.server.handle().subscribers("topic"), 10);
}

#[test]
fn what_was_published_before_a_stop_arrives_before_the_close() {
    for workers in 1..=3 {
        let board = BoardServer::start(workers, Topics::default());
        let mut pins: Vec<Pin> = (0..20).map(|_| board.subscribed(&["topic"])).collect();
        let handle = board.server.handle().clone();
        (0..100).for_each(|number| board.publish("topic", &number.to_string()));
        handle.stop(Duration::from_secs(60));
        for pin in &mut pins {
            (0..100).for_each(|number| pin.expect(&[&number.to_string()]));
            assert_eq!(pin.client.expect_close(1001), "server shutting down");
            pin.client.send_close(CloseCode::GOING_AWAY, "");
            pin.client.expect_end();
        }
        wait_until("it has ended", || handle.publish("topic", "nobody") == Err(PublishError::Ended));
        assert_eq!((handle.subscribers("topic"), handle.topic_stats().subscriptions), (0, 0));
    }
}

#[test]
fn a_stop_without_grace_hangs_on_no_publication() {
    let board = BoardServer::start(2, Topics::default());
    let pins: Vec<Pin> = (0..50).map(|_| board.subscribed(&["topic"])).collect();
    let long = "x".repeat(100_000);
    while board.server.handle().publish("topic", &*long).is_ok() {}
    board.server.stop(Duration::ZERO).expect("an end");
    drop(pins);
}

/// Notes who comes and goes, and panics for one topic.
struct Noting(Mutex<Sender<(bool, String, u64, usize)>>);

impl Noting {
    fn note(&self, comes: bool, presence: &Presence<'_>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = (comes, presence.topic().to_owned(), presence.connection(), presence.subscribers());
        let _ = sender.send(noted);
        drop(sender);
        assert!(presence.topic() != "panics");
    }
}

impl Observer for Noting {
    fn on_subscribed(&self, presence: &Presence<'_>) {
        self.note(true, presence);
    }

    fn on_unsubscribed(&self, presence: &Presence<'_>) {
        self.note(false, presence);
    }
}

#[test]
fn who_comes_and_who_goes_is_told() {
    let (sender, noted) = mpsc::channel();
    let board = BoardServer::start(1, Topics::builder().observe(Noting(Mutex::new(sender))).build());
    let (mut ann, of_ann) = board.open();
    let (mut bob, of_bob) = board.open();
    let (ann_id, bob_id) = (of_ann.id(), of_bob.id());
    let told = |comes, id, count| (comes, "room".to_owned(), id, count);
    ann.expect_ok("+room");
    assert_eq!(next(&noted), told(true, ann_id, 1));
    bob.expect_ok("+room");
    assert_eq!(next(&noted), told(true, bob_id, 2));
    ann.expect_ok("+room");
    assert_eq!(ann.say("-room"), "true");
    assert_eq!(next(&noted), told(false, ann_id, 1));
    of_ann.subscribe("room").expect("open");
    assert_eq!(next(&noted), told(true, ann_id, 2));
    drop(bob);
    assert_eq!(next(&noted), told(false, bob_id, 1));
    assert_eq!(next(&board.closed), bob_id, "and then its end");
    // An observer that panics costs a connection, and no more.
    let (mut eve, _) = board.open();
    eve.client.send_text("+panics");
    next(&board.closed);
    ann.expect_ok("*room still here");
    ann.expect(&["still here"]);
}
