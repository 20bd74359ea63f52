//! What the hub tells a backplane, and what it takes from it.

use crate::support::*;
use framewright::OwnedMessage;
use framewright_driver::topics::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

fn with_backplane() -> (Noting, TopicsBuilder) {
    let noting = Noting::default();
    let here = TopicOptions { backplane: false, ..TopicOptions::default() };
    let durable = TopicOptions { durable: true, ..TopicOptions::default() };
    let builder = Topics::builder().options("here/#", here).options("log/#", durable);
    (noting.clone(), builder.backplane(noting))
}

#[test]
fn only_the_first_and_the_last_subscriber_are_told() {
    let (noting, builder) = with_backplane();
    let (hub, _, port) = hub(builder);
    let other = hub.add_port(Arc::new(Inbox::default()));
    for filter in ["a", "a/#", "here/a"] {
        hub.subscribe(port, 1, 1, &filter.into()).unwrap();
        hub.subscribe(other, 2, 2, &filter.into()).unwrap();
    }
    assert_eq!(noting.calls(), ["subscribe a", "subscribe a/#"]);
    for filter in ["a", "a/#", "here/a"] {
        hub.unsubscribe(port, 1, filter);
        assert!(noting.calls().is_empty());
        hub.unsubscribe(other, 2, filter);
        assert_eq!(noting.calls().len(), usize::from(filter != "here/a"));
    }
    hub.stop(Instant::now());
    assert_eq!(noting.calls(), ["stop"]);
}

#[test]
fn what_is_published_here_is_passed_on_and_delivered_once() {
    let (noting, builder) = with_backplane();
    let (hub, inbox, port) = hub(builder);
    for topic in ["a", "here/a", "log/a"] {
        hub.subscribe(port, 1, 1, &topic.into()).unwrap();
    }
    noting.calls();
    inbox.take();
    publish(&hub, "a", "1");
    publish(&hub, "here/a", "2");
    publish(&hub, "log/a", "3");
    assert_eq!(noting.calls(), ["publish a", "publish log/a"]);
    assert_eq!(inbox.take(), ["1", "2"], "the durable one comes back");
    noting.live("log/a", "7-0");
    let posts = inbox.take_posts();
    let [Post::Deliver(publication)] = &posts[..] else { panic!("{posts:?}") };
    assert_eq!((publication.id(), publication.has_publisher()), (Some("7-0"), false));
    assert_eq!((hub.stats().published, hub.stats().received), (3, 1));
}

#[test]
fn while_the_backplane_is_away_local_delivery_goes_on_and_the_publisher_is_told() {
    let (noting, builder) = with_backplane();
    let (hub, inbox, port) = hub(builder);
    hub.subscribe(port, 1, 1, &"a".into()).unwrap();
    hub.subscribe(port, 1, 1, &"log/a".into()).unwrap();
    inbox.take();
    noting.0.is_away.store(true, Ordering::Relaxed);
    let away = Err(PublishError::NotPassedOn(BackplaneError::Away));
    assert_eq!(hub.publish("a", "text".into(), Some("1"), None), away);
    assert_eq!(hub.publish("log/a", "text".into(), Some("2"), None), away);
    assert_eq!(inbox.take(), ["1"]);
    assert_eq!(hub.stats().not_passed_on, 2);
}

#[test]
fn a_message_of_others_without_room_is_not_delivered() {
    let (noting, builder) = with_backplane();
    let (hub, inbox, port) = hub(builder);
    hub.subscribe(port, 1, 1, &"a".into()).unwrap();
    inbox.is_full.store(true, Ordering::Relaxed);
    let deliver = || noting.remote().deliver("a", OwnedMessage::Text("text".into()), Some("1"), None);
    assert!(!deliver());
    inbox.is_full.store(false, Ordering::Relaxed);
    assert!(deliver());
    assert_eq!(inbox.take(), ["join", "1"]);
    drop(hub);
    assert!(deliver(), "a hub that has gone takes nothing, and nothing waits for it");
}

#[derive(Clone, Default)]
struct Gaps(Arc<Mutex<Vec<String>>>);

impl Observer for Gaps {
    fn on_gap(&self, filter: &str) {
        self.0.lock().unwrap().push(filter.to_owned());
    }
}

#[test]
fn a_gap_is_told_for_each_filter_with_subscribers() {
    let (noting, builder) = with_backplane();
    let gaps = Gaps::default();
    let (hub, _, port) = hub(builder.observe(gaps.clone()));
    for filter in ["a", "b", "a/#", "here/a"] {
        hub.subscribe(port, 1, 1, &filter.into()).unwrap();
    }
    let take = || {
        let mut gaps = std::mem::take(&mut *gaps.0.lock().unwrap());
        gaps.sort_unstable();
        gaps
    };
    noting.remote().gap(Some("a"));
    noting.remote().gap(Some("c"));
    noting.remote().gap(Some("a/#"));
    assert_eq!(take(), ["a", "a/#"]);
    noting.remote().gap(None);
    assert_eq!(take(), ["a", "a/#", "b"]);
    // A subscription that the backplane refuses.
    hub.subscribe(port, 1, 1, &"log/#".into()).unwrap();
    assert_eq!(take(), ["log/#"]);
}
