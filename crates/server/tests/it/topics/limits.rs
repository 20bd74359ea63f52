//! The limits of topics, each reached.

use super::board::BoardServer;
use crate::common::wait_until;
use framewright_server::{HandleError, SlowConsumer, SubscribeError, TopicLimits, TopicOptions, Topics};

fn limited(limits: TopicLimits) -> BoardServer {
    BoardServer::start(1, Topics::builder().limits(limits).build())
}

#[test]
fn a_connection_has_no_more_topics_than_the_limit() {
    let board = limited(TopicLimits { topics_per_connection: 10, ..TopicLimits::default() });
    let (mut pin, handle) = board.open();
    (0..10).for_each(|number| pin.expect_ok(&format!("+topic/{number}")));
    let refused = pin.say("+more");
    assert!(refused.contains("TopicsPerConnection") && refused.contains("10"), "{refused}");
    pin.expect_ok("+topic/3");
    assert_eq!(pin.say("-topic/3"), "true");
    pin.expect_ok("+more");
    // A handle is told nothing, and the subscription ends at once.
    handle.subscribe("by handle").expect("accepted for now");
    pin.expect_ok("*more fence");
    pin.expect(&["fence"]);
    assert_eq!(board.server.handle().subscribers("by handle"), 0);
    assert_eq!(board.server.handle().topic_stats().subscriptions, 10);
}

#[test]
fn ten_thousand_topics_from_one_peer_stop_at_the_limit() {
    let board = limited(TopicLimits::default());
    let (mut pin, _) = board.open();
    for number in 0..10_000 {
        pin.client.send_text(&format!("+topic/{number}"));
    }
    let accepted = (0..10_000).filter(|_| pin.answer() == "ok").count();
    assert_eq!(accepted, TopicLimits::default().topics_per_connection);
}

#[test]
fn names_have_a_length_and_a_form() {
    let board = limited(TopicLimits::default());
    let (mut pin, handle) = board.open();
    let longest = "x".repeat(256);
    pin.expect_ok(&format!("+{longest}"));
    for wrong in ["", &format!("{longest}x"), "a\nb", "a#", "#/a", "a/#/b", &"x".repeat(64 << 10)] {
        assert_ne!(pin.say(&format!("+{wrong}")), "ok", "{wrong:?}");
        assert!(handle.subscribe(wrong).is_err(), "{wrong:?}");
        assert!(board.server.handle().publish(wrong, "x").is_err(), "{wrong:?}");
    }
    assert!(board.server.handle().publish("a/#", "x").is_err(), "a prefix is no topic");
}

/// The callback does not return meanwhile, so its loop delivers nothing.
#[test]
fn what_waits_for_a_loop_is_bounded() {
    let slow_consumer = SlowConsumer::Disconnect { limit: 64 << 20 };
    let options = TopicOptions { slow_consumer, ..TopicOptions::default() };
    let board = BoardServer::start(1, Topics::builder().options("#", options).build());
    let mut pin = board.subscribed(&["topic"]);
    for _ in 0..2 {
        let answer = pin.say("fill topic");
        let accepted: usize =
            answer.strip_suffix(" Busy").and_then(|count| count.parse().ok()).expect("a number");
        let mebibytes = accepted.div_ceil(16);
        assert!((15..=16).contains(&mebibytes), "{accepted} of 64 KiB");
        (0..accepted).for_each(|_| assert_eq!(pin.publication().len(), 64 << 10));
    }
    board.publish("topic", "again");
    pin.expect(&["again"]);
}

/// The callback does not return meanwhile, so no join is handled.
#[test]
fn a_subscribe_flood_is_refused_and_served_again() {
    let board = limited(TopicLimits::default());
    let (mut pin, _) = board.open();
    let answer = pin.say("x topic");
    let accepted: usize =
        answer.strip_suffix(" Busy").and_then(|count| count.parse().ok()).expect("a number");
    assert!((250_000..=262_144).contains(&accepted), "{accepted} of 128 bytes in 32 MiB");
    pin.expect_ok("+topic");
    pin.expect_ok("*topic served");
    pin.expect(&["served"]);
    assert_eq!(pin.say("-topic"), "true");
    assert_eq!(board.server.handle().subscribers("topic"), 0);
}

#[test]
fn what_handles_ask_for_is_bounded_too() {
    let board = limited(TopicLimits::default());
    let (mut pin, handle) = board.open();
    for _ in 0..100_000 {
        match handle.subscribe("topic") {
            Ok(()) | Err(SubscribeError::Busy) => {}
            Err(error) => panic!("{error}"),
        }
        match handle.unsubscribe("topic") {
            Ok(()) | Err(HandleError::Full) => {}
            Err(error) => panic!("{error}"),
        }
    }
    wait_until("all has ended", || {
        let has_ended = board.server.handle().subscribers("topic") == 0;
        has_ended || handle.unsubscribe("topic") == Err(HandleError::Closed)
    });
    // Ends that were asked for in vain are behind.
    wait_until("there is room", || handle.subscribe("fence").is_ok());
    board.publish("fence", "passed");
    pin.expect(&["passed"]);
    pin.expect_ok("+topic");
    pin.expect_ok("*topic served");
    pin.expect(&["served"]);
}
