//! Messages that pass between two backplanes on one server.

use crate::support::{Delivery, Node, RedisServer, channel, durable, envelope, eventually, plain};
use framewright::{Message, OwnedMessage};
use framewright_driver::topics::{Backplane, BackplaneError};
use framewright_redis::RedisBackplane;
use std::time::{Duration, Instant};

#[test]
fn what_one_publishes_reaches_the_other_as_it_was() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    b.subscribe("prices/EUR");
    server.wait_for_subscribers(&channel("prices/EUR"), 1);
    let long = vec![0xff; 300_000];
    let sent = [
        (Message::Text("1,1 \u{20ac}"), Some("EUR")),
        (Message::Binary(&[0, 0xff, b'\r', b'\n']), None),
        (Message::Text(""), Some("")),
        (Message::Binary(&long), Some("k\u{e9}y")),
    ];
    for (message, key) in sent {
        a.try_publish("prices/EUR", message, key, &plain()).expect("room");
    }
    let received = b
        .inbox
        .wait("four messages", |received| (received.messages.len() == 4).then(|| received.messages.clone()));
    let expected = sent.map(|(message, key)| Delivery {
        topic: "prices/EUR".to_owned(),
        message: OwnedMessage::from(message),
        key: key.map(str::to_owned),
        id: None,
    });
    assert_eq!(received, expected);
    assert_eq!(b.inbox.gaps(), [""; 0]);
}

#[test]
fn what_is_published_here_does_not_come_back() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    for node in [&a, &b] {
        node.subscribe("t");
    }
    server.wait_for_subscribers(&channel("t"), 2);
    a.publish("t", "from a");
    b.inbox.wait_for("t", "from a");
    // Redis sends in one order to everybody: what comes after this one would have come before.
    b.publish("t", "from b");
    a.inbox.wait_for("t", "from b");
    assert_eq!(a.inbox.texts("t"), ["from b"]);
    assert_eq!(b.inbox.texts("t"), ["from a"]);
}

#[test]
fn redis_has_subscriptions_only_to_topics_that_have_subscribers_here() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    a.publish("one", "nobody yet");
    a.wait_until_published(1);
    b.subscribe("one");
    b.subscribe("two");
    server.wait_for_subscribers(&channel("one"), 1);
    server.wait_for_subscribers(&channel("two"), 1);
    let mut channels: Vec<String> = server.ask(&["PUBSUB", "CHANNELS"]);
    channels.sort();
    assert_eq!(channels, [channel("one"), channel("two")]);
    b.backplane.unsubscribe("one");
    server.wait_for_subscribers(&channel("one"), 0);
    a.publish("one", "nobody");
    a.publish("two", "somebody");
    b.inbox.wait_for("two", "somebody");
    assert_eq!(b.inbox.texts("one"), [""; 0]);
}

#[test]
fn a_channel_and_patterns_that_match_deliver_once_and_in_order() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    for filter in ["prices/EUR", "prices/#", "#"] {
        b.subscribe(filter);
    }
    server.wait_for_subscribers(&channel("prices/EUR"), 1);
    server.wait_for_patterns(3);
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        a.publish("prices/EUR", text);
    }
    a.publish("end", "end");
    b.inbox.wait_for("end", "end");
    assert_eq!(b.inbox.texts("prices/EUR"), texts);
    assert!(b.backplane.stats().duplicates >= 200, "{:?}", b.backplane.stats());
    assert_eq!(b.inbox.gaps(), [""; 0]);
}

#[test]
fn a_prefix_matches_as_in_mqtt_also_where_its_name_has_what_redis_interprets() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    b.subscribe("x[1]*/#");
    server.wait_for_patterns(2);
    for topic in ["x1*/y", "x[1]y/z", "x[1]*", "x[1]*/", "x[1]*/y", "x[1]*/y/z", "x[1]*y"] {
        a.publish(topic, "m");
    }
    a.publish("x[1]*/end", "end");
    b.inbox.wait_for("x[1]*/end", "end");
    let topics = b
        .inbox
        .look(|received| received.messages.iter().map(|delivery| delivery.topic.clone()).collect::<Vec<_>>());
    assert_eq!(topics, ["x[1]*", "x[1]*/", "x[1]*/y", "x[1]*/y/z", "x[1]*/end"]);
}

#[test]
fn databases_and_prefixes_are_apart() {
    let server = RedisServer::start();
    let url = |database: u8| format!("{}/{database}", server.url());
    let a = Node::of(RedisBackplane::builder(&url(0)));
    let others = [
        Node::of(RedisBackplane::builder(&url(3))),
        Node::of(RedisBackplane::builder(&url(0)).prefix("other:")),
    ];
    for node in &others {
        node.subscribe("#");
    }
    server.wait_for_patterns(2);
    a.publish("t", "from 0");
    a.wait_until_published(1);
    for (node, database) in others.iter().zip([3, 0]) {
        let prefix = if database == 0 { "other:" } else { "framewright:" };
        let second = Node::of(RedisBackplane::builder(&url(database)).prefix(prefix));
        second.publish("t", "end");
        node.inbox.wait_for("t", "end");
        assert_eq!(node.inbox.texts("t"), ["end"]);
    }
}

#[test]
fn what_is_no_envelope_is_counted_and_dropped() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe("t");
    server.wait_for_subscribers(&channel("t"), 1);
    let good = envelope(1, 9, 0, "t", "good");
    let mut newer = good.clone();
    newer[2] = 2;
    let mut not_text = envelope(1, 2, 0, "t", "");
    not_text.push(0xff);
    let mut client = server.client();
    let cases = [
        b"hello".to_vec(),
        Vec::new(),
        good[..20].to_vec(),
        newer,
        not_text,
        envelope(1, 3, 0, "other", "in the wrong channel"),
        good,
    ];
    for bytes in cases {
        redis::cmd("PUBLISH").arg(channel("t")).arg(bytes).exec(&mut client).expect("a publication");
    }
    node.inbox.wait_for("t", "good");
    assert_eq!(node.inbox.texts("t"), ["good"]);
    assert_eq!(node.backplane.stats().broken, 6);
}

#[test]
fn a_message_that_is_missing_among_those_of_another_is_told() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe("t");
    server.wait_for_subscribers(&channel("t"), 1);
    let mut client = server.client();
    for (sequence, previous) in [(5, 4), (6, 5), (9, 8), (10, 9)] {
        let bytes = envelope(1, sequence, previous, "t", &sequence.to_string());
        redis::cmd("PUBLISH").arg(channel("t")).arg(bytes).exec(&mut client).expect("a publication");
    }
    node.inbox.wait_for("t", "10");
    assert_eq!(node.inbox.texts("t"), ["5", "6", "9", "10"]);
    assert_eq!(node.inbox.gaps(), ["t"]);
}

#[test]
fn no_room_at_the_subscribers_is_a_gap_and_stops_nobody() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    b.subscribe("t");
    server.wait_for_subscribers(&channel("t"), 1);
    b.inbox.look(|received| received.full = true);
    a.publish("t", "lost");
    b.inbox.wait_for_gaps("t", 1);
    b.inbox.look(|received| received.full = false);
    a.publish("t", "next");
    b.inbox.wait_for("t", "next");
    assert_eq!(b.inbox.texts("t"), ["next"]);
}

#[test]
fn subscribing_and_leaving_in_any_order_ends_as_it_was_meant() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    let topics: Vec<String> = (0..500).map(|number| format!("topic {number}")).collect();
    for _ in 0..3 {
        for topic in &topics {
            b.subscribe(topic);
        }
        for topic in &topics {
            b.backplane.unsubscribe(topic);
        }
    }
    for topic in topics.iter().step_by(2) {
        b.subscribe(topic);
    }
    server.wait_for_subscribers(&channel("topic 498"), 1);
    server.wait_for_subscribers(&channel("topic 499"), 0);
    for topic in &topics {
        a.publish(topic, "m");
    }
    b.inbox.wait("all that are subscribed to", |received| (received.messages.len() >= 250).then_some(()));
    a.publish("topic 0", "end");
    b.inbox.wait_for("topic 0", "end");
    assert_eq!(b.inbox.look(|received| received.messages.len()), 251);
    assert_eq!(b.inbox.gaps(), [""; 0]);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    let refused = |result: Result<(), BackplaneError>, part: &str| match result {
        Err(BackplaneError::Refused(reason)) => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other:?}"),
    };
    refused(node.backplane.subscribe("orders/#", &durable()), "by its name");
    let long = "x".repeat(70_000);
    let published = node.try_publish("t", Message::Text("m"), Some(&long), &plain());
    refused(published.map(drop), "65,535 bytes");
    refused(node.read("t", "$").map(drop), "place of a message");
    let few = Node::of(RedisBackplane::builder(&server.url()).durable_topics(1));
    few.subscribe_durable("one");
    few.subscribe_durable("one");
    refused(few.backplane.subscribe("two", &durable()), "1 durable topics");
    few.backplane.unsubscribe("one");
    few.subscribe_durable("two");
}

#[test]
fn stopping_passes_on_what_was_accepted() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    b.subscribe("t");
    server.wait_for_subscribers(&channel("t"), 1);
    for number in 0..2_000 {
        a.publish("t", &number.to_string());
    }
    a.backplane.stop(Instant::now() + Duration::from_secs(30));
    assert_eq!(a.backplane.stats().waiting, 0);
    let late = a.try_publish("t", Message::Text("late"), None, &plain());
    assert_eq!(late, Err(BackplaneError::Away));
    b.inbox.wait_for("t", "1999");
    let expected: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    assert_eq!(b.inbox.texts("t"), expected);
}

#[test]
fn a_panic_of_the_receiver_ends_no_task_of_the_backplane() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    b.subscribe("t");
    b.begin_durable("d");
    server.wait_for_subscribers(&channel("t"), 1);
    b.inbox.look(|received| received.panics = true);
    a.publish("t", "lost");
    eventually("it has panicked", || b.inbox.look(|received| !received.panics));
    a.publish("t", "next");
    b.inbox.wait_for("t", "next");
    b.inbox.look(|received| received.panics = true);
    a.publish_durable("d", "lost");
    a.publish_durable("d", "next");
    b.inbox.wait_for("d", "next");
    assert_eq!((b.inbox.texts("t"), b.inbox.texts("d").len()), (vec!["next".to_owned()], 2));
}

#[test]
fn a_topic_that_ends_as_its_channel_does_is_in_the_wrong_channel() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe("prices/EUR");
    server.wait_for_subscribers(&channel("prices/EUR"), 1);
    let mut client = server.client();
    for (sequence, topic) in [(1, "EUR"), (2, "prices/EUR")] {
        let bytes = envelope(1, sequence, 0, topic, topic);
        redis::cmd("PUBLISH").arg(channel("prices/EUR")).arg(bytes).exec(&mut client).expect("a publication");
    }
    node.inbox.wait_for("prices/EUR", "prices/EUR");
    assert_eq!((node.inbox.texts("EUR").len(), node.backplane.stats().broken), (0, 1));
}
