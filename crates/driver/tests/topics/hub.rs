//! Subscribing and publishing in one process.

use crate::support::*;
use framewright_driver::topics::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

fn keeping(count: usize) -> TopicOptions {
    TopicOptions { retain: Retain::Last(count), ..TopicOptions::default() }
}

#[test]
fn a_port_gets_a_message_once_and_only_with_a_subscriber() {
    let (hub, inbox, port) = hub(Topics::builder());
    publish(&hub, "a/b", "0");
    for (subscriber, filter) in [(1, "a/b"), (2, "a/b"), (3, "a/#"), (4, "#")] {
        hub.subscribe(port, subscriber, subscriber, &filter.into()).unwrap();
    }
    assert_eq!(inbox.take(), ["join"; 4]);
    publish(&hub, "a/b", "1");
    publish(&hub, "a", "2");
    publish(&hub, "ab", "3");
    assert_eq!(inbox.take(), ["1", "2", "3"]);
    hub.unsubscribe(port, 4, "#");
    publish(&hub, "ab", "4");
    hub.unsubscribe(port, 3, "a/#");
    publish(&hub, "a", "5");
    hub.unsubscribe(port, 1, "a/b");
    publish(&hub, "a/b", "6");
    hub.unsubscribe(port, 2, "a/b");
    publish(&hub, "a/b", "7");
    assert_eq!(inbox.take(), ["6"]);
    assert_eq!((hub.stats().topics, hub.stats().subscriptions, hub.stats().published), (0, 0, 8));
}

#[test]
fn subscribers_are_counted_by_filter_over_all_ports() {
    let (hub, _, first) = hub(Topics::builder());
    let second = hub.add_port(Arc::new(Inbox::default()));
    for (port, subscriber) in [(first, 1), (first, 2), (second, 3)] {
        hub.subscribe(port, subscriber, subscriber, &"a".into()).unwrap();
        hub.subscribe(port, subscriber, subscriber, &"a/#".into()).unwrap();
    }
    assert_eq!((hub.subscribers("a"), hub.subscribers("a/#"), hub.subscribers("#")), (3, 3, 0));
    hub.unsubscribe(first, 1, "a");
    hub.unsubscribe(second, 9, "b");
    assert_eq!((hub.subscribers("a"), hub.subscribers("a/#"), hub.stats().topics), (2, 3, 2));
}

#[test]
fn a_number_of_a_removed_port_is_used_again() {
    let (hub, inbox, port) = hub(Topics::builder());
    hub.subscribe(port, 1, 1, &"a".into()).unwrap();
    hub.unsubscribe(port, 1, "a");
    hub.remove_port(port);
    let next = Arc::new(Inbox::default());
    assert_eq!(hub.add_port(Arc::clone(&next) as Arc<dyn Port>), port);
    hub.subscribe(port, 2, 2, &"a".into()).unwrap();
    assert_eq!((inbox.take().len(), next.take().len()), (1, 1));
}

#[test]
fn a_new_subscriber_gets_the_last_messages_in_order() {
    let (hub, inbox, port) = hub(Topics::builder().options("kept/#", keeping(2)));
    for (topic, key) in [("kept/a", "1"), ("kept/a", "2"), ("kept/a", "3"), ("kept/b", "4"), ("other", "5")] {
        publish(&hub, topic, key);
    }
    hub.publish("kept/c", "text".into(), Some("6"), Some(7)).unwrap();
    for filter in ["kept/a", "kept/#", "#", "other", "kept/c"] {
        hub.subscribe(port, 7, 7, &filter.into()).unwrap();
    }
    let mut joins = inbox.take_posts().into_iter();
    let kept = |post| {
        let Some(Post::Join(join)) = post else { panic!("no join") };
        assert!(join.retained.iter().all(|kept| !kept.skips(7)), "who has published may come later");
        let mut kept: Vec<String> = join.retained.iter().map(|p| p.key().unwrap().to_owned()).collect();
        if join.filter.ends_with('#') {
            // The order of topics is nobody's business.
            let of_a: Vec<_> = kept.iter().filter(|key| ["2", "3"].contains(&key.as_str())).collect();
            assert_eq!(of_a, ["2", "3"]);
            kept.sort_unstable();
        }
        kept
    };
    assert_eq!(kept(joins.next()), ["2", "3"]);
    assert_eq!(kept(joins.next()), ["2", "3", "4", "6"]);
    assert_eq!(kept(joins.next()), ["2", "3", "4", "6"]);
    assert!(kept(joins.next()).is_empty());
    assert_eq!(kept(joins.next()), ["6"]);
}

#[test]
fn what_is_kept_has_bounds_in_bytes() {
    // "text" counts 68 bytes.
    let limits = TopicLimits { history_bytes: 3 * 68, all_history_bytes: 4 * 68, ..TopicLimits::default() };
    let (hub, inbox, port) = hub(Topics::builder().options("#", keeping(1_000)).limits(limits));
    (0..9).for_each(|key| publish(&hub, "a", &key.to_string()));
    (0..9).for_each(|key| publish(&hub, "b", &key.to_string()));
    hub.publish("c", "x".repeat(3 * 68).as_str().into(), None, None).unwrap();
    assert_eq!(hub.stats().history_bytes, 4 * 68);
    assert_eq!(hub.stats().topics, 2, "a topic whose only message is too long is not kept");
    hub.subscribe(port, 1, 1, &"a".into()).unwrap();
    hub.subscribe(port, 1, 1, &"b".into()).unwrap();
    assert_eq!(inbox.take(), ["join 6 7 8", "join 8"]);
}

#[test]
fn each_limit_is_reached() {
    let limits = TopicLimits { topics: 2, prefixes: 1, name_len: 8, ..TopicLimits::default() };
    let (hub, inbox, port) = hub(Topics::builder().options("k/#", keeping(1)).limits(limits));
    let subscribe = |filter: &str| hub.subscribe(port, 1, 1, &filter.into()).map(drop);
    assert_eq!(subscribe("123456789"), Err(SubscribeError::Name(NameError::TooLong { limit: 8 })));
    assert_eq!(subscribe(&"x".repeat(64 << 10)), Err(SubscribeError::Name(NameError::TooLong { limit: 8 })));
    assert_eq!(subscribe("a"), Ok(()));
    publish(&hub, "k/1", "1");
    assert_eq!(subscribe("b"), Err(SubscribeError::Topics { limit: 2 }));
    let kept = hub.publish("k/2", "text".into(), None, None);
    assert_eq!(kept, Err(PublishError::Topics { limit: 2 }));
    assert_eq!(subscribe("k/1"), Ok(()), "it is there already");
    assert_eq!(subscribe("x/#"), Ok(()));
    assert_eq!(subscribe("#"), Err(SubscribeError::Prefixes { limit: 1 }));
    assert_eq!(subscribe("x/#"), Ok(()), "it is there already");
    assert_eq!(inbox.take().len(), 4);
    hub.unsubscribe(port, 1, "x/#");
    hub.unsubscribe(port, 1, "x/#");
    assert_eq!(subscribe("#"), Ok(()));
    hub.unsubscribe(port, 1, "a");
    assert_eq!(subscribe("b"), Ok(()));
    assert_eq!(subscribe("c"), Err(SubscribeError::Topics { limit: 2 }));
}

#[test]
fn a_port_without_room_refuses_for_all() {
    let (hub, first, port) = hub(Topics::builder().options("#", keeping(9)));
    let second = Arc::new(Inbox::default());
    let other = hub.add_port(Arc::clone(&second) as Arc<dyn Port>);
    hub.subscribe(port, 1, 1, &"a".into()).unwrap();
    hub.subscribe(other, 2, 2, &"#".into()).unwrap();
    second.is_full.store(true, Ordering::Relaxed);
    assert_eq!(hub.publish("a", "text".into(), None, None), Err(PublishError::Busy));
    assert_eq!(hub.publish_local("#", "text".into()), Err(PublishError::Busy));
    assert_eq!(hub.publish_local("a", "text".into()), Ok(()));
    assert_eq!((first.take().len(), second.take().len(), hub.stats().refused), (2, 1, 2));
    second.is_full.store(false, Ordering::Relaxed);
    publish(&hub, "a", "1");
    hub.subscribe(port, 3, 3, &"a/#".into()).unwrap();
    assert_eq!(first.take(), ["1", "join 1"], "what was refused is not kept");
}

#[test]
fn a_local_message_is_for_exactly_its_filter() {
    let (hub, inbox, port) = hub(Topics::builder());
    let other = Arc::new(Inbox::default());
    let all = hub.add_port(Arc::clone(&other) as Arc<dyn Port>);
    hub.subscribe(port, 1, 1, &"a/#".into()).unwrap();
    hub.subscribe(all, 2, 2, &"#".into()).unwrap();
    hub.publish_local("a/#", "text".into()).unwrap();
    hub.publish_local("a/b", "text".into()).unwrap();
    let posts = inbox.take_posts();
    let Some(Post::Deliver(publication)) = posts.last() else { panic!("nothing came") };
    assert_eq!((posts.len(), publication.topic(), publication.is_for_filter()), (2, "a/#", true));
    assert_eq!(other.take(), ["join"]);
}

/// Publishes and subscribes from within its calls.
struct Nosy {
    hub: OnceLock<Weak<Hub>>,
    events: Mutex<Vec<String>>,
}

impl Observer for &'static Nosy {
    fn on_subscribed(&self, presence: &Presence<'_>) {
        self.note("+", presence);
    }

    fn on_unsubscribed(&self, presence: &Presence<'_>) {
        self.note("-", presence);
    }
}

impl Nosy {
    fn note(&self, sign: &str, presence: &Presence<'_>) {
        let hub = self.hub.get().unwrap().upgrade().unwrap();
        publish(&hub, presence.topic(), sign);
        assert_eq!(hub.subscribers(presence.topic()), presence.subscribers());
        let event =
            format!("{sign}{} {} {}", presence.topic(), presence.connection(), presence.subscribers());
        self.events.lock().unwrap().push(event);
    }
}

#[test]
fn an_observer_may_call_the_hub() {
    let nosy: &'static Nosy = Box::leak(Box::new(Nosy { hub: OnceLock::new(), events: Mutex::default() }));
    let (hub, inbox, port) = hub(Topics::builder().observe(nosy));
    nosy.hub.set(Arc::downgrade(&hub)).unwrap();
    hub.subscribe(port, 1, 11, &"a".into()).unwrap();
    hub.subscribe(port, 2, 12, &"a".into()).unwrap();
    hub.unsubscribe(port, 11, "a");
    hub.unsubscribe(port, 12, "a");
    assert_eq!(*nosy.events.lock().unwrap(), ["+a 11 1", "+a 12 2", "-a 11 1", "-a 12 0"]);
    assert_eq!(inbox.take(), ["join", "+", "join", "+", "-"]);
}

/// Four threads publish while subscribers come and go: each one gets, of each publisher, an unbroken
/// run of numbers, whose first ones were kept, and all see the same order.
#[test]
fn none_is_missed_and_none_comes_twice_while_four_threads_publish() {
    const EACH: usize = 1_000;
    let deadline = Instant::now() + Duration::from_secs(60);
    for filter in ["t/x", "t/#"] {
        let (hub, inbox, port) = hub(Topics::builder().options("t/#", keeping(50)));
        let mut members = Members::default();
        members.all.push((0, filter.to_owned(), false));
        hub.subscribe(port, 0, 0, &filter.into()).unwrap();
        let publishers: Vec<_> = (0..4)
            .map(|publisher| {
                let hub = Arc::clone(&hub);
                std::thread::spawn(move || {
                    (0..EACH).for_each(|number| publish(&hub, "t/x", &format!("{publisher} {number}")));
                })
            })
            .collect();
        let mut subscriber = 0;
        while !publishers.iter().all(std::thread::JoinHandle::is_finished) || subscriber < 20 {
            assert!(Instant::now() < deadline, "publishing does not end");
            subscriber += 1;
            members.all.push((subscriber, filter.to_owned(), false));
            hub.subscribe(port, subscriber, subscriber, &filter.into()).unwrap();
            members.handle(inbox.take_posts());
            if subscriber > 10 {
                let left = subscriber - 10;
                hub.unsubscribe(port, left, filter);
                members.handle(inbox.take_posts());
                members.all.retain(|(id, ..)| *id != left);
            }
        }
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        members.handle(inbox.take_posts());
        let all = members.received[&0].clone();
        for (id, received) in &members.received {
            let start = all.iter().position(|p| Some(Arc::as_ptr(p)) == received.first().map(Arc::as_ptr));
            let same = received.is_empty()
                || start.is_some_and(|start| {
                    all[start..].iter().zip(received).all(|(one, other)| Arc::ptr_eq(one, other))
                });
            assert!(same, "{id} has another order");
            let is_left = !members.all.iter().any(|(member, ..)| member == id);
            let last = all.last().zip(received.last());
            assert!(
                is_left || last.is_some_and(|(one, other)| Arc::ptr_eq(one, other)),
                "{id} missed the end"
            );
        }
        let mut next = [0; 4];
        for publication in &all {
            let (publisher, number) = publication.key().unwrap().split_once(' ').unwrap();
            let (publisher, number): (usize, usize) = (publisher.parse().unwrap(), number.parse().unwrap());
            assert_eq!(number, next[publisher], "of publisher {publisher}");
            next[publisher] += 1;
        }
        assert_eq!(next, [EACH; 4], "{filter}");
    }
}
