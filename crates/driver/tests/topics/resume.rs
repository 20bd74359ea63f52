//! A subscriber that comes back to a durable topic.

use crate::support::*;
use framewright_driver::topics::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn durable(limits: TopicLimits) -> (Noting, Arc<Hub>, Arc<Inbox>, PortId) {
    let noting = Noting::default();
    let options = TopicOptions { durable: true, ..TopicOptions::default() };
    let builder = Topics::builder().options("log/#", options).limits(limits).backplane(noting.clone());
    let (hub, inbox, port) = hub(builder);
    (noting, hub, inbox, port)
}

fn resumed() -> (Noting, Arc<Hub>, Arc<Inbox>, PortId) {
    let (noting, hub, inbox, port) = durable(TopicLimits::default());
    hub.subscribe_after(port, 1, 1, &"log/a".into(), "5-0").unwrap();
    assert_eq!(noting.calls(), ["subscribe log/a", "read log/a 5-0"]);
    (noting, hub, inbox, port)
}

#[test]
fn what_was_missed_comes_first_and_nothing_twice() {
    let (noting, _hub, inbox, _) = resumed();
    noting.live("log/a", "7-0");
    noting.live("log/a", "8-0");
    assert_eq!(inbox.take(), ["7-0", "8-0"], "nobody is admitted, so the port drops these");
    noting.answer(&["6-0", "7-0"], false);
    assert_eq!(inbox.take(), ["part 6-0 7-0"]);
    assert_eq!(noting.calls(), ["read log/a 7-0"]);
    noting.live("log/a", "9-0");
    noting.answer(&[], false);
    noting.live("log/a", "10-0");
    assert_eq!(inbox.take(), ["9-0", "join 8-0 9-0", "10-0"]);
}

#[test]
fn live_messages_that_lag_behind_what_was_read_are_doubles() {
    let (noting, _hub, inbox, _) = resumed();
    noting.answer(&["6-0", "6-1", "10-0"], false);
    noting.answer(&[], false);
    assert_eq!(inbox.take(), ["part 6-0 6-1 10-0"]);
    noting.live("log/a", "6-1");
    noting.live("log/a", "10-0");
    assert_eq!(inbox.take(), ["6-1", "10-0"], "not admitted yet");
    noting.live("log/a", "10-1");
    assert_eq!(inbox.take(), ["join", "10-1"]);
}

#[test]
fn with_nothing_missed_the_next_message_admits() {
    let (noting, _hub, inbox, _) = resumed();
    noting.answer(&[], false);
    assert!(inbox.take().is_empty());
    noting.live("log/a", "5-0");
    noting.live("log/a", "5-1");
    assert_eq!(inbox.take(), ["5-0", "join", "5-1"]);
}

#[test]
fn a_failed_read_is_a_gap_but_the_subscription_goes_on() {
    let (noting, _hub, inbox, _) = resumed();
    noting.live("log/a", "9-0");
    noting.reply(Err(BackplaneError::Away));
    noting.live("log/a", "9-1");
    assert_eq!(inbox.take(), ["9-0", "join gap 9-0", "9-1"]);
    // Nor does a backplane that forgets to answer leave somebody waiting.
    let (noting, _hub, inbox, _) = resumed();
    noting.0.replies.lock().unwrap().clear();
    noting.live("log/a", "9-1");
    assert_eq!(inbox.take(), ["part gap", "join", "9-1"]);
}

#[test]
fn a_position_that_is_not_kept_any_more_is_a_gap() {
    let (noting, _hub, inbox, _) = resumed();
    noting.answer(&["9-0"], true);
    noting.answer(&[], false);
    assert_eq!(inbox.take(), ["part gap 9-0"]);
}

#[test]
fn what_is_held_back_and_what_is_read_have_limits() {
    // Each message counts 68 bytes.
    let limits = TopicLimits { resume_bytes: 2 * 68, ..TopicLimits::default() };
    let (noting, hub, inbox, port) = durable(limits);
    hub.subscribe_after(port, 1, 1, &"log/a".into(), "5-0").unwrap();
    for id in ["6-0", "7-0", "8-0", "9-0"] {
        noting.live("log/a", id);
    }
    assert_eq!(inbox.take(), ["6-0", "7-0", "8-0", "9-0"], "two of them are forgotten");
    noting.answer(&["6-0"], false);
    noting.answer(&[], false);
    noting.answer(&["7-0"], false);
    noting.answer(&[], false);
    assert_eq!(inbox.take(), ["part 6-0", "part 7-0", "join 8-0 9-0"]);
    assert!(noting.0.replies.lock().unwrap().is_empty());
    hub.subscribe_after(port, 2, 2, &"log/a".into(), "5-0").unwrap();
    noting.answer(&["6-0", "7-0"], false);
    noting.answer(&["8-0"], false);
    assert_eq!(inbox.take(), ["part 6-0 7-0", "join gap 8-0"]);
}

#[test]
fn what_was_forgotten_and_is_not_stored_is_a_gap() {
    let limits = TopicLimits { resume_bytes: 68, ..TopicLimits::default() };
    let (noting, hub, inbox, port) = durable(limits);
    hub.subscribe_after(port, 1, 1, &"log/a".into(), "5-0").unwrap();
    noting.live("log/a", "6-0");
    noting.live("log/a", "7-0");
    noting.answer(&[], false);
    noting.answer(&[], false);
    assert_eq!(inbox.take(), ["6-0", "7-0", "join gap 7-0"]);
}

#[test]
fn a_port_may_ask_for_each_page() {
    let limits = TopicLimits { resume_bytes: 68, ..TopicLimits::default() };
    let (noting, hub, inbox, port) = durable(limits);
    inbox.reads_on.store(true, Ordering::Relaxed);
    let topic = "log/a".into();
    let serial = hub.subscribe_after(port, 1, 1, &topic, "5-0").unwrap();
    noting.answer(&["6-0", "7-0"], false);
    assert!(noting.0.replies.lock().unwrap().is_empty(), "the first page is not taken yet");
    hub.read_on(&topic, serial + 1);
    assert!(noting.0.replies.lock().unwrap().is_empty());
    hub.read_on(&topic, serial);
    hub.read_on(&topic, serial);
    assert_eq!(noting.0.replies.lock().unwrap().len(), 1);
    noting.answer(&["8-0", "9-0"], false);
    hub.read_on(&topic, serial);
    noting.live("log/a", "9-0");
    noting.answer(&[], false);
    assert_eq!(inbox.take(), ["part 6-0 7-0", "part 8-0 9-0", "9-0", "join"]);
    hub.read_on(&topic, serial);
    assert!(noting.0.replies.lock().unwrap().is_empty());
}

#[test]
fn a_backplane_that_answers_the_same_again_is_not_asked_for_ever() {
    let (noting, _hub, inbox, _) = resumed();
    noting.answer(&["6-0"], false);
    noting.answer(&["6-0"], false);
    assert!(noting.0.replies.lock().unwrap().is_empty());
    assert_eq!(inbox.take(), ["part 6-0", "part gap"]);
}

#[test]
fn who_leaves_while_it_resumes_gets_an_empty_join() {
    let (noting, hub, inbox, port) = resumed();
    noting.live("log/a", "9-0");
    hub.unsubscribe(port, 1, "log/a");
    noting.answer(&["6-0"], false);
    assert_eq!(inbox.take(), ["9-0", "join"]);
    assert_eq!(noting.calls(), ["unsubscribe log/a"]);
    // One that comes again is another subscription.
    hub.subscribe_after(port, 1, 1, &"log/a".into(), "9-0").unwrap();
    assert_eq!(hub.subscribers("log/a"), 1);
}

#[test]
fn only_durable_topics_resume() {
    let (_noting, hub, _, port) = durable(TopicLimits::default());
    let after = |topic: &str, id| hub.subscribe_after(port, 1, 1, &topic.into(), id).map(drop);
    assert_eq!(after("a", "1-0"), Err(SubscribeError::NotDurable));
    assert_eq!(after("log/a", "x"), Err(SubscribeError::Position));
    assert_eq!(after("log/#", "1-0"), Err(SubscribeError::Name(NameError::Prefix)));
    assert_eq!(hub.stats().subscriptions, 0);
}
