//! Redis that goes away, comes back, is slow, or is the wrong one.

use crate::support::{Node, RedisServer, channel, durable, eventually, plain};
use framewright::Message;
use framewright_driver::topics::{Backplane as _, BackplaneError};
use framewright_redis::RedisBackplane;
use std::time::{Duration, Instant};

#[test]
fn a_restart_under_load_is_told_as_a_gap_and_then_messages_flow_again() {
    let mut server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    a.subscribe("t");
    b.subscribe("t");
    b.subscribe("x/#");
    server.wait_for_subscribers(&channel("t"), 2);
    server.wait_for_patterns(2);
    let mut number = 0;
    let mut publish = |count: usize| {
        for _ in 0..count {
            a.publish("t", &format!("{number:06}"));
            number += 1;
        }
    };
    publish(1_000);
    server.kill();
    publish(1_000);
    // The gap is told while Redis is still away.
    b.inbox.wait_for_gaps("t", 1);
    b.inbox.wait_for_gaps("x/#", 1);
    server.restart();
    b.inbox.wait_for_gaps("t", 2);
    b.inbox.wait_for_gaps("x/#", 2);
    publish(1_000);
    b.inbox.wait_for("t", "002999");
    let texts = b.inbox.texts("t");
    assert!(texts.windows(2).all(|pair| pair[0] < pair[1]), "none twice, and in order");
    eventually("nothing waits", || a.backplane.stats().waiting == 0);
}

#[test]
fn who_was_there_before_redis_hears_of_the_time_before_as_of_a_gap() {
    let mut server = RedisServer::start();
    server.kill();
    let node = Node::on(&server);
    node.subscribe("t");
    eventually("a failure", || node.backplane.stats().failures >= 2);
    assert!(node.backplane.last_failure().is_some());
    server.restart();
    node.inbox.wait_for_gaps("t", 1);
    server.wait_for_subscribers(&channel("t"), 1);
    node.wait_until_connected(true);
    eventually("no failure any more", || node.backplane.last_failure().is_none());
    assert_eq!(node.inbox.gaps(), ["t"]);
}

#[test]
fn a_connection_that_redis_kills_comes_back_with_its_subscriptions() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    b.subscribe("t");
    server.wait_for_subscribers(&channel("t"), 1);
    let killed: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(killed, 1);
    b.inbox.wait_for_gaps("t", 2);
    let killed: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(killed >= 2, "{killed}");
    a.publish("t", "after both");
    b.inbox.wait_for("t", "after both");
}

#[test]
fn while_redis_is_away_publishing_waits_up_to_its_bounds_and_then_says_so() {
    let mut server = RedisServer::start();
    let a = Node::of(RedisBackplane::builder(&server.url()).waiting(100, 1 << 20));
    let b = Node::on(&server);
    a.wait_until_connected(true);
    server.kill();
    a.wait_until_connected(false);
    for number in 0..100 {
        a.publish("t", &number.to_string());
    }
    let more = a.try_publish("t", Message::Text("more"), None, &plain());
    assert_eq!(more, Err(BackplaneError::Away));
    let stats = a.backplane.stats();
    assert_eq!((stats.waiting, stats.refused), (100, 1));
    b.subscribe("t");
    server.restart();
    // What waited is passed on, or others are told that it is missing.
    a.wait_until_published(100);
    server.wait_for_subscribers(&channel("t"), 1);
    a.publish("t", "end");
    b.inbox.wait_for("t", "end");
}

#[test]
fn a_redis_that_is_slow_blocks_no_caller_and_what_was_refused_is_a_gap_of_others() {
    let server = RedisServer::start();
    let a = Node::of(RedisBackplane::builder(&server.url()).waiting(1_000, 300_000));
    let b = Node::on(&server);
    b.subscribe("t");
    server.wait_for_subscribers(&channel("t"), 1);
    a.wait_until_connected(true);
    let payload = "x".repeat(1_000);
    let (mut accepted, mut longest) = (0, Duration::ZERO);
    {
        let _paused = server.pause();
        let error = loop {
            let begun = Instant::now();
            let result = a.try_publish("t", Message::Text(&payload), None, &plain());
            longest = longest.max(begun.elapsed());
            match result {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, BackplaneError::Full { limit: 300_000 });
        // 1,000 bytes, the topic's name and 128 bytes each.
        assert_eq!(accepted, 300_000 / 1_129);
        b.subscribe("another");
        assert!(longest < Duration::from_secs(5), "a caller was blocked for {longest:?}");
    }
    b.inbox.wait("all that was accepted", |received| (received.messages.len() == accepted).then_some(()));
    server.wait_for_subscribers(&channel("another"), 1);
    assert_eq!(b.inbox.gaps(), [""; 0]);
    // One was refused, which others learn from the next.
    a.try_publish("t", Message::Text("after it"), None, &plain()).expect("there is room again");
    b.inbox.wait_for("t", "after it");
    assert_eq!(b.inbox.gaps(), ["t"]);
}

#[test]
fn a_redis_that_does_not_answer_is_given_up_and_its_late_answers_double_nothing() {
    let server = RedisServer::with(&["--appendonly", "no"]);
    let a = Node::of(RedisBackplane::builder(&server.url()).timeout(Duration::from_millis(200)));
    let b = Node::on(&server);
    b.begin_durable("t");
    {
        let _paused = server.pause();
        for number in 0..500 {
            a.publish_durable("t", &format!("{number:03}"));
        }
        let failures = a.backplane.stats().failures;
        eventually("the connection is given up", || a.backplane.stats().failures > failures + 1);
    }
    a.publish_durable("t", "last");
    b.inbox.wait_for("t", "last");
    let texts = b.inbox.texts("t");
    let expected: Vec<String> = (0..500).map(|number| format!("{number:03}")).collect();
    assert_eq!(texts[1..501], expected);
    assert_eq!(texts.len(), 502);
    assert_eq!(b.inbox.gaps(), [""; 0]);
}

#[test]
fn a_replica_is_not_published_to() {
    let master = RedisServer::start();
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    // The fact behind it: a replica accepts PUBLISH, for its own subscribers only, and refuses XADD.
    let reached: i64 = replica.ask(&["PUBLISH", "c", "m"]);
    assert_eq!(reached, 0);
    let written = redis::cmd("XADD").arg(&["s", "*", "m", "x"]).exec(&mut replica.client());
    assert!(written.expect_err("a replica").to_string().contains("ReadOnly"));

    let node = Node::on(&replica);
    assert!(node.backplane.check().expect_err("a replica").to_string().contains("is a replica"));
    node.subscribe("t");
    node.publish("t", "waits");
    eventually("a failure", || {
        node.backplane.last_failure().is_some_and(|failure| failure.contains("replica"))
    });
    assert!(!node.backplane.is_connected());
    assert_eq!(node.backplane.stats().published, 0);
    // It is promoted: then all of it goes on.
    let _: String = replica.ask(&["REPLICAOF", "NO", "ONE"]);
    node.wait_until_published(1);
    replica.wait_for_subscribers(&channel("t"), 1);
}

#[test]
fn a_master_that_becomes_a_replica_is_left() {
    let (first, second) = (RedisServer::start(), RedisServer::start());
    let node = Node::on(&first);
    node.subscribe("t");
    first.wait_for_subscribers(&channel("t"), 1);
    node.wait_until_connected(true);
    let _: String = first.ask(&["REPLICAOF", "127.0.0.1", &second.port.to_string()]);
    node.wait_until_connected(false);
    node.inbox.wait_for_gaps("t", 1);
    node.publish("t", "waits");
    let _: String = first.ask(&["REPLICAOF", "NO", "ONE"]);
    node.wait_until_published(1);
    node.inbox.wait_for_gaps("t", 2);
}

#[test]
fn a_topic_that_redis_refuses_stops_no_other() {
    let server = RedisServer::start();
    let _: i64 = server.ask(&["RPUSH", "framewright:0:s:list", "not a stream"]);
    let node = Node::on(&server);
    node.subscribe_durable("good");
    {
        // So all of them are one transaction.
        let _paused = server.pause();
        for topic in ["good", "list", "good"] {
            node.publish_durable(topic, "m");
        }
    }
    node.publish_durable("good", "end");
    node.inbox.wait_for("good", "end");
    assert_eq!(node.inbox.texts("good"), ["m", "m", "end"]);
    let commands: String = server.ask(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_multi:"), "{commands}");
    assert_eq!(node.backplane.stats().dropped, 1);
    assert_eq!(node.inbox.gaps(), ["list"]);
}

#[test]
fn what_redis_has_no_memory_for_waits() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe_durable("t");
    node.publish_durable("t", "first");
    node.inbox.wait_for("t", "first");
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    for text in ["second", "third"] {
        let passed = node.try_publish("t", Message::Text(text), None, &durable());
        passed.expect("room");
    }
    eventually("a failure", || node.backplane.last_failure().is_some_and(|failure| failure.contains("OOM")));
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    node.inbox.wait_for("t", "third");
    assert_eq!(node.inbox.texts("t"), ["first", "second", "third"]);
}

#[test]
fn a_topic_and_its_prefix_have_gaps_of_their_own() {
    let mut server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe("prices/#");
    node.subscribe("prices");
    server.wait_for_subscribers(&channel("prices"), 1);
    node.inbox.look(|received| assert!(received.gaps.is_empty()));
    server.kill();
    node.inbox.wait_for_gaps("prices", 1);
    node.inbox.wait_for_gaps("prices/#", 1);
    server.restart();
    node.inbox.wait_for_gaps("prices", 2);
    node.inbox.wait_for_gaps("prices/#", 2);
    // One goes and the other comes: the connection stays, and with it everything else.
    let connections = node.backplane.stats().connections;
    node.subscribe("other");
    server.wait_for_subscribers(&channel("other"), 1);
    for _ in 0..10 {
        node.backplane.unsubscribe("prices");
        node.backplane.unsubscribe("prices/#");
        node.subscribe("prices");
        node.subscribe("prices/#");
    }
    node.subscribe("last");
    server.wait_for_subscribers(&channel("last"), 1);
    assert_eq!(node.backplane.stats().connections, connections);
    assert!(!node.inbox.gaps().contains(&"other".to_owned()));
}
