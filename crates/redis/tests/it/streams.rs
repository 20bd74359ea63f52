//! Durable topics: each message once and in order, whatever goes away meanwhile.

use crate::support::{Inbox, Node, RedisServer, envelope, eventually, stream};
use framewright_driver::topics::Backplane;
use framewright_driver::topics::BackplaneError;
use framewright_redis::RedisBackplane;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_durable_message_comes_back_to_its_publisher_and_to_others_in_one_order() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    // What is published after a subscription is for it, also if Redis does not know of it yet.
    for node in [&a, &b] {
        node.begin_durable("orders");
    }
    thread::scope(|scope| {
        for (node, name) in [(&a, "a"), (&b, "b")] {
            scope.spawn(move || {
                for number in 0..500 {
                    node.publish_durable("orders", &format!("{name} {number:03}"));
                }
            });
        }
    });
    let all = |inbox: &Inbox| {
        inbox.wait("all of it", |received| {
            let others = received.messages.iter().filter(|delivery| delivery.text() != "begin");
            let others: Vec<_> = others.cloned().collect();
            (others.len() >= 1_000).then_some(others)
        })
    };
    let (at_a, at_b) = (all(&a.inbox), all(&b.inbox));
    assert_eq!(at_a, at_b, "one order for all");
    assert!(at_a.iter().all(|delivery| delivery.id.is_some()));
    for name in ["a ", "b "] {
        let texts = a.inbox.texts("orders");
        let own: Vec<_> = texts.iter().filter(|text| text.starts_with(name)).collect();
        assert_eq!(own.len(), 500);
        assert!(own.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn what_comes_while_a_reader_is_away_is_read_when_it_is_back() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe_durable("t");
    node.publish_durable("t", "first");
    node.inbox.wait_for("t", "first");
    let mut client = server.client();
    for number in 2..50_u64 {
        // The connection that waits ends, and an entry comes at once: `$` would be behind it.
        if number % 10 == 0 {
            let _: i64 = crate::support::ask(&mut client, &["CLIENT", "KILL", "TYPE", "normal"]);
        }
        let bytes = envelope(1, number, number - 1, "t", &number.to_string());
        redis::cmd("XADD").arg(stream("t")).arg("*").arg("m").arg(bytes).exec(&mut client).expect("an entry");
    }
    node.inbox.wait_for("t", "49");
    let expected: Vec<String> = (2..50).map(|number| number.to_string()).collect();
    assert_eq!(node.inbox.texts("t")[1..], expected);
    assert_eq!(node.inbox.gaps(), [""; 0]);
}

#[test]
fn an_entry_that_is_in_a_stream_twice_is_delivered_once() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe_durable("t");
    node.publish_durable("t", "begin");
    let begin = node.inbox.wait_for("t", "begin").id.expect("a place");
    let mut client = server.client();
    let mut ids = Vec::new();
    // The flag 4 says that it was sent again.
    for (sequence, flags) in [(1, 1), (2, 1), (3, 1), (2, 5), (3, 5), (4, 5), (5, 1)] {
        let mut bytes = envelope(1, sequence, sequence - 1, "t", &sequence.to_string());
        bytes[3] = flags;
        let mut command = redis::cmd("XADD");
        let id: String =
            command.arg(stream("t")).arg("*").arg("m").arg(bytes).query(&mut client).expect("an entry");
        ids.push(id);
    }
    node.inbox.wait_for("t", "5");
    assert_eq!(node.inbox.texts("t"), ["begin", "1", "2", "3", "4", "5"]);
    assert_eq!(node.backplane.stats().duplicates, 2);

    let texts = |after: &str| {
        let page = node.read("t", after).expect("a page");
        assert!(!page.gap);
        let texts = page.stored.iter().map(|stored| match stored.message.as_message() {
            framewright::Message::Text(text) => text.to_owned(),
            other => panic!("{other:?}"),
        });
        texts.collect::<Vec<_>>()
    };
    assert_eq!(texts(&begin), ["1", "2", "3", "4", "5"]);
    // The first copies of 2 and 3 are before the place, so who comes back has had them.
    assert_eq!(texts(&ids[2]), ["4", "5"]);
    assert_eq!(texts(&ids[3]), ["4", "5"]);
    assert_eq!(texts(&ids[6]), [""; 0]);
}

#[test]
fn pages_give_all_of_a_stream_and_say_when_something_before_is_not_kept() {
    let server = RedisServer::start();
    let node = Node::of(RedisBackplane::builder(&server.url()).keep(200));
    for number in 0..1_000 {
        node.publish_durable("t", &format!("{number:04}"));
    }
    node.wait_until_published(1_000);
    let length: usize = server.ask(&["XLEN", &stream("t")]);
    assert!((200..=300).contains(&length), "`MAXLEN ~` keeps up to a node more: {length}");
    let mut after = "0-0".to_owned();
    let mut read = Vec::new();
    loop {
        let page = node.read("t", &after).expect("a page");
        assert!(!page.gap, "from the beginning nothing was missed");
        let Some(last) = page.stored.last() else { break };
        after = last.id.clone();
        read.extend(page.stored);
    }
    assert_eq!(read.len(), length);
    assert!(read.windows(2).all(|pair| pair[0].id != pair[1].id));
    // A place that was trimmed away.
    let page = node.read("t", "1-1").expect("a page");
    assert!(page.gap);
    assert_eq!(page.stored[0], read[0]);
    assert_eq!(node.read("unknown", "0-0").expect("a page").stored, []);
}

#[test]
fn a_reader_that_fell_behind_what_is_kept_is_told() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    node.subscribe_durable("t");
    node.publish_durable("t", "begin");
    node.inbox.wait_for("t", "begin");
    node.inbox.look(|received| received.full = true);
    let mut client = server.client();
    let mut add = |sequence: u64| {
        let bytes = envelope(1, sequence, sequence - 1, "t", &sequence.to_string());
        redis::cmd("XADD").arg(stream("t")).arg("*").arg("m").arg(bytes).exec(&mut client).expect("an entry");
    };
    for sequence in 1..=600 {
        add(sequence);
    }
    // The reader holds some of them already, and waits for room. Those behind are trimmed away.
    let _: i64 = server.ask(&["XTRIM", &stream("t"), "MAXLEN", "1"]);
    node.inbox.look(|received| received.full = false);
    node.inbox.wait_for("t", "600");
    node.inbox.wait_for_gaps("t", 1);
    let texts = node.inbox.texts("t");
    assert!(texts.len() < 600, "{} texts", texts.len());
}

#[test]
fn no_room_at_the_subscribers_makes_a_durable_message_wait() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    b.begin_durable("t");
    b.inbox.look(|received| received.full = true);
    for number in 0..100 {
        a.publish_durable("t", &number.to_string());
    }
    a.wait_until_published(100);
    b.inbox.look(|received| received.full = false);
    b.inbox.wait_for("t", "99");
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(b.inbox.texts("t")[1..], expected);
    assert_eq!(b.inbox.gaps(), [""; 0]);
}

#[test]
fn a_topic_that_is_left_and_subscribed_to_again_begins_anew() {
    let server = RedisServer::start();
    let (a, b) = (Node::on(&server), Node::on(&server));
    for round in 0..5 {
        b.subscribe_durable("t");
        b.publish_durable("t", &format!("b {round}"));
        b.inbox.wait_for("t", &format!("b {round}"));
        b.backplane.unsubscribe("t");
        a.publish_durable("t", &format!("a {round}"));
        a.wait_until_published(round + 1);
    }
    let texts = b.inbox.texts("t");
    assert_eq!(texts.iter().filter(|text| text.starts_with('b')).count(), 5);
    assert_eq!(texts.iter().filter(|text| text.starts_with('a')).count(), 0, "{texts:?}");
    assert_eq!(b.inbox.gaps(), [""; 0]);
}

#[test]
fn each_of_20_000_messages_comes_once_and_in_order_through_restarts() {
    through_restarts(20_000);
}

/// A million of them, as the project's promise has it. It takes some minutes.
#[test]
#[ignore = "takes minutes: `cargo test -p framewright-redis --release --test it -- --ignored`"]
fn each_of_a_million_messages_comes_once_and_in_order_through_restarts() {
    through_restarts(1_000_000);
}

/// Two restarts of Redis, and one of a server that publishes and subscribes. Redis writes each entry to
/// its disk before it answers (`appendfsync always`): with `everysec` it may lose what it has accepted in
/// the last second.
fn through_restarts(count: usize) {
    let mut server = RedisServer::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let url = server.url();
    let node = || Node::of(RedisBackplane::builder(&url).keep(usize::MAX).waiting(5_000, 64 << 20));
    let (publisher, reader, mut both) = (node(), node(), node());
    for node in [&publisher, &reader, &both] {
        node.subscribe_durable("t");
        // So that each subscription is known to Redis before the first of those that are counted.
        node.publish_durable("t", "begin");
        node.inbox.wait_for("t", "begin");
    }
    let (sent, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut restarted = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            for number in 0..count {
                let text = format!("p {number:07}");
                // A full queue is the publisher's to wait for.
                while let Err(error) = publisher.try_publish(
                    "t",
                    framewright::Message::Text(&text),
                    None,
                    &crate::support::durable(),
                ) {
                    if begun.elapsed() > Duration::from_secs(3_000) {
                        failed.store(true, Relaxed);
                        panic!("{error}");
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                sent.store(number + 1, Relaxed);
            }
        });
        let wait = |part: usize| {
            while sent.load(Relaxed) < part && !failed.load(Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
        };
        wait(count / 4);
        server.restart();
        wait(count / 2);
        // A server ends in order and begins anew: it goes on behind what its clients have seen.
        for number in 0..100 {
            both.publish_durable("t", &format!("q {number:07}"));
        }
        both.backplane.stop(Instant::now() + Duration::from_secs(60));
        assert_eq!(both.backplane.stats().waiting, 0);
        restarted = both.inbox.look(|received| std::mem::take(&mut received.messages));
        both = node();
        both.subscribe_durable("t");
        for number in 100..200 {
            both.publish_durable("t", &format!("q {number:07}"));
        }
        wait(3 * count / 4);
        server.restart();
    });
    let begun = Instant::now();
    let is_complete =
        |texts: &[String]| texts.iter().filter(|text| !text.starts_with("begin")).count() >= count + 200;
    for node in [&publisher, &reader] {
        while !is_complete(&node.inbox.texts("t")) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", node.backplane.stats());
            thread::sleep(Duration::from_millis(50));
        }
        check(&node.inbox.texts("t"), count);
        assert_eq!(node.inbox.gaps(), [""; 0]);
    }
    // The server that was restarted fills what is between by pages, as for a client that comes back.
    let last = format!("p {:07}", count - 1);
    both.inbox.wait_for("t", &last);
    let mut texts: Vec<String> = restarted.iter().map(|delivery| delivery.text().to_owned()).collect();
    let mut after = restarted.last().and_then(|delivery| delivery.id.clone()).expect("a place");
    let live = both.inbox.look(|received| received.messages.clone());
    let first_live = live[0].id.clone().expect("a place");
    'pages: loop {
        let page = match both.read("t", &after) {
            // Redis was restarted a moment ago.
            Err(BackplaneError::Away) => {
                assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", both.backplane.stats());
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            page => page.expect("a page"),
        };
        assert!(!page.gap && !page.stored.is_empty());
        for stored in page.stored {
            if stored.id == first_live {
                break 'pages;
            }
            let framewright::OwnedMessage::Text(text) = stored.message else { panic!("a text") };
            texts.push(text);
            after = stored.id;
        }
    }
    texts.extend(live.iter().map(|delivery| delivery.text().to_owned()));
    check(&texts, count);
}

/// Each once, and those of each publisher in order.
fn check(texts: &[String], count: usize) {
    for (name, expected) in [("p ", count), ("q ", 200)] {
        let own = texts.iter().filter_map(|text| text.strip_prefix(name));
        let numbers: Vec<usize> = own.map(|number| number.parse().expect("a number")).collect();
        assert!(numbers.iter().copied().eq(0..expected), "{name}: {} of {expected}", numbers.len());
    }
    assert!(texts.len() <= count + 203);
}

#[test]
fn subscriptions_without_the_permission_to_wake_the_reader_lose_nothing() {
    let server = RedisServer::start();
    // What the README says is needed, and no more: neither `client|unblock` nor `client|kill`.
    let user = "ACL SETUSER app on >pw ~framewright:* &* +@pubsub +@stream +role +hello +multi +exec \
                +client|id +client|info";
    let user: Vec<&str> = user.split_ascii_whitespace().collect();
    let _: String = server.ask(&user);
    let url = format!("redis://app:pw@{}", server.address());
    let node = Node::of(RedisBackplane::builder(&url));
    for topic in ["one", "two", "three"] {
        node.subscribe_durable(topic);
        node.publish_durable(topic, "m");
        node.inbox.wait_for(topic, "m");
    }
    let page = node.read("one", "0-0").expect("a page");
    assert_eq!(page.stored.len(), 1);
    node.subscribe("#");
    node.subscribe("plain");
    server.wait_for_patterns(1);
    server.wait_for_subscribers(&crate::support::channel("plain"), 1);
    assert!(node.backplane.is_connected());
    eventually("published", || node.backplane.stats().published == 3);
    assert_eq!(node.inbox.gaps(), [""; 0]);
}
