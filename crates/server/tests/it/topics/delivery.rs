//! Who receives what, and in which order.

use super::board::{BoardServer, Pin};
use framewright_server::{Message, Prepared, Retain, TopicOptions, Topics};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn retaining(count: usize) -> Topics {
    let options = TopicOptions { retain: Retain::Last(count), ..TopicOptions::default() };
    Topics::builder().options("#", options).build()
}

#[test]
fn a_message_reaches_all_subscribers_of_its_topic_and_nobody_else() {
    for workers in 1..=4 {
        let board = BoardServer::start(workers, Topics::default());
        let mut here: Vec<Pin> = (0..8).map(|_| board.subscribed(&["here"])).collect();
        let mut both = board.subscribed(&["here", "there"]);
        let mut there = board.subscribed(&["there"]);
        assert_eq!(board.server.handle().subscribers("here"), 9);
        board.publish("here", "one");
        board.publish("nowhere", "nobody");
        board.publish("there", "two");
        board.publish("here", "three");
        here.iter_mut().for_each(|pin| pin.expect(&["one", "three"]));
        there.expect(&["two"]);
        let mut got = [both.publication(), both.publication(), both.publication()];
        got.sort();
        assert_eq!(got, ["one", "three", "two"]);
    }
}

#[test]
fn a_callback_publishes_to_all_others_or_to_all() {
    let board = BoardServer::start(2, Topics::default());
    let mut pins: Vec<Pin> = (0..4).map(|_| board.subscribed(&["room"])).collect();
    pins[1].expect_ok("!room to the others");
    pins[1].expect_ok("*room to all");
    for (index, pin) in pins.iter_mut().enumerate() {
        if index != 1 {
            pin.expect(&["to the others"]);
        }
        pin.expect(&["to all"]);
    }
    // Who is not subscribed publishes too.
    let (mut stranger, _) = board.open();
    stranger.expect_ok("!room from outside");
    pins.iter_mut().for_each(|pin| pin.expect(&["from outside"]));
}

#[test]
fn messages_of_one_publisher_arrive_in_order_however_many_loops_there_are() {
    const EACH: u32 = 300;
    for workers in 1..=4 {
        let board = BoardServer::start(workers, Topics::default());
        let mut pins: Vec<Pin> = (0..6).map(|_| board.subscribed(&["a", "b"])).collect();
        let handle = board.server.handle();
        thread::scope(|scope| {
            for publisher in 0..3 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let topic = if number % 2 == 0 { "a" } else { "b" };
                        handle.publish(topic, &*format!("{topic} {publisher} {number}")).expect("room");
                    }
                });
            }
        });
        let mut order_of_a: Option<Vec<String>> = None;
        for pin in &mut pins {
            let got: Vec<String> = (0..3 * EACH).map(|_| pin.publication()).collect();
            for of in ["a 0 ", "a 1 ", "a 2 ", "b 0 ", "b 1 ", "b 2 "] {
                let numbers = got.iter().filter_map(|text| text.strip_prefix(of)?.parse::<u32>().ok());
                let first = u32::from(of.starts_with('b'));
                assert!(numbers.eq((first..EACH).step_by(2)), "{of} with {workers} workers");
            }
            // All see the messages of a topic in one order.
            let of_a: Vec<String> = got.into_iter().filter(|text| text.starts_with('a')).collect();
            assert_eq!(order_of_a.get_or_insert_with(|| of_a.clone()), &of_a);
        }
    }
}

#[test]
fn what_was_kept_comes_first() {
    let board = BoardServer::start(2, retaining(3));
    for number in 0..10 {
        board.publish("news", &number.to_string());
    }
    let mut pin = board.subscribed(&["news"]);
    board.publish("news", "10");
    pin.expect(&["7", "8", "9", "10"]);
    // Subscribed already: nothing comes again.
    pin.expect_ok("+news");
    board.publish("news", "11");
    pin.expect(&["11"]);
    assert_eq!(pin.say("-news"), "true");
    pin.expect_ok("+news");
    pin.expect(&["9", "10", "11"]);
}

/// The numbers are those of one publisher, so one that is missing or comes twice is seen.
#[test]
fn who_subscribes_during_a_stream_of_publications_misses_none_and_gets_none_twice() {
    for workers in 1..=4 {
        let board = BoardServer::start(workers, retaining(5));
        let (handle, done) = (board.server.handle(), AtomicBool::new(false));
        let last = thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    // If too much waits, this one comes again.
                    number += u32::from(handle.publish("stream", &*number.to_string()).is_ok());
                }
                number
            });
            let mut pins = Vec::new();
            for _ in 0..20 {
                let mut pin = board.subscribed(&["stream"]);
                let first: u32 = pin.publication().parse().expect("a number");
                (first + 1..first + 20).for_each(|number| pin.expect(&[&number.to_string()]));
                assert_eq!(pin.say("-stream"), "true");
                pin.up_to_here(first + 20);
                pins.push(pin);
            }
            done.store(true, Ordering::Relaxed);
            publishing.join().expect("no panic")
        });
        assert!(last > 20);
    }
}

impl Pin {
    /// What came before the last answer goes on from `next`.
    #[track_caller]
    fn up_to_here(&mut self, mut next: u32) {
        for text in self.take_publications() {
            assert_eq!(text, next.to_string());
            next += 1;
        }
    }
}

#[test]
fn a_prefix_gets_everything_below_its_name_and_nothing_twice() {
    let board = BoardServer::start(2, Topics::default());
    let mut prefix = board.subscribed(&["prices/#"]);
    let mut both = board.subscribed(&["prices/EUR", "prices/#"]);
    let mut all = board.subscribed(&["#"]);
    let mut exact = board.subscribed(&["prices/EUR"]);
    for (topic, text) in
        [("prices", "1"), ("prices/EUR", "2"), ("prices/EUR/1", "3"), ("pricesX", "4"), ("other", "5")]
    {
        board.publish(topic, text);
    }
    board.publish("prices/EUR", "end");
    assert_eq!(prefix.up_to("end"), ["1", "2", "3"]);
    assert_eq!(both.up_to("end"), ["1", "2", "3"]);
    assert_eq!(all.up_to("end"), ["1", "2", "3", "4", "5"]);
    assert_eq!(exact.up_to("end"), ["2"]);
}

#[test]
fn nothing_arrives_after_a_subscription_has_ended() {
    let board = BoardServer::start(2, Topics::default());
    let mut pin = board.subscribed(&["a", "b"]);
    assert_eq!(pin.say("?"), "a b");
    board.publish("a", "1");
    pin.expect(&["1"]);
    assert_eq!(pin.say("-a"), "true");
    assert_eq!(pin.say("-a"), "false");
    assert_eq!(pin.say("?"), "b");
    assert_eq!(board.server.handle().subscribers("a"), 0);
    board.publish("a", "2");
    board.publish("b", "3");
    pin.expect(&["3"]);
}

#[test]
fn a_handle_subscribes_from_another_thread() {
    let board = BoardServer::start(2, retaining(1));
    let (mut pin, handle) = board.open();
    board.publish("kept", "0");
    let server = board.server.handle().clone();
    thread::spawn(move || {
        for number in 1..100 {
            handle.subscribe("kept").expect("open");
            server.publish("kept", &*number.to_string()).expect("room");
        }
        handle.unsubscribe("kept").expect("open");
        handle.subscribe("end").expect("open");
        server.publish("kept", "100").expect("room");
        server.publish("end", "end").expect("room");
    });
    let wanted: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(pin.up_to("end"), wanted);
    assert_eq!(board.server.handle().subscribers("kept"), 0);
    assert_eq!(board.server.handle().subscribers("end"), 1);
}

/// Each goes in one write, as the tests within the crate count.
#[test]
fn sixteen_messages_of_a_turn_arrive_together_and_in_order() {
    let board = BoardServer::start(2, Topics::default());
    let mut pins: Vec<Pin> = (0..5).map(|_| board.subscribed(&["burst"])).collect();
    pins[0].expect_ok("16 burst");
    let wanted: Vec<String> = (0..16).map(|number| number.to_string()).collect();
    for pin in &mut pins {
        let got: Vec<String> = (0..16).map(|_| pin.publication()).collect();
        assert_eq!(got, wanted);
    }
}

#[test]
fn messages_of_any_size_arrive_whole() {
    let board = BoardServer::start(2, Topics::default());
    let mut pins: Vec<Pin> = (0..3).map(|_| board.subscribed(&["any"])).collect();
    let sizes = [0, 1, 125, 126, 4096, 65_535, 65_536, 1 << 20, 3, 6 << 20, 17];
    let message = |size: usize| "x".repeat(size);
    let handle = board.server.handle().clone();
    let reading: Vec<_> = pins
        .drain(..)
        .map(|mut pin| thread::spawn(move || sizes.map(|size| assert_eq!(pin.publication().len(), size))))
        .collect();
    for size in sizes {
        let message = message(size);
        while handle.publish("any", Prepared::from(Message::Text(&message))).is_err() {
            thread::yield_now();
        }
    }
    for reader in reading {
        reader.join().expect("whole messages in order");
    }
}
