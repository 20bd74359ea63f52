//! Subscribers that do not keep up: what each policy makes of them, and that nobody else notices.

use super::board::{BoardServer, Pin};
use crate::common::{Client, next, wait_until};
use framewright_server::{Config, Handle, Options, Retain, SlowConsumer, TopicOptions, TopicStats, Topics};
use socket2::{Domain, Socket, Type};
use std::net::TcpStream;

/// So long that a few of them fill all buffers of the kernel.
const LONG: usize = 256 << 10;

fn with_policy(slow_consumer: SlowConsumer) -> BoardServer {
    let options = TopicOptions { slow_consumer, ..TopicOptions::default() };
    // With one loop, a fence that has passed says that everybody was served.
    BoardServer::start(1, Topics::builder().options("#", options).build())
}

/// A long message that begins with a number.
fn long(number: usize) -> String {
    format!("{number} {}", "x".repeat(LONG))
}

/// The number that a message begins with.
#[track_caller]
fn number(text: &str) -> usize {
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// A client that takes little when it does not read, subscribed to a topic.
pub(super) fn slow(board: &BoardServer, topic: &str) -> Pin {
    slow_with_handle(board, topic).0
}

fn slow_with_handle(board: &BoardServer, topic: &str) -> (Pin, Handle) {
    let addr = board.server.addr();
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("an option of the socket");
    socket.connect(&addr.into()).expect("the server accepts");
    let mut client = Client::from_tcp(TcpStream::from(socket));
    client.open("/ws");
    let (mut pin, handle) = (Pin::new(client), next(&board.handles));
    pin.expect_ok(&format!("+{topic}"));
    (pin, handle)
}

fn stats(board: &BoardServer) -> TopicStats {
    board.server.handle().topic_stats()
}

/// Publishes long messages, from this number on, until `holds`. Returns the next number.
fn publish_until(
    board: &BoardServer,
    mut number: usize,
    others: &mut Pin,
    holds: impl Fn(&TopicStats) -> bool,
) -> usize {
    while !holds(&stats(board)) {
        board.publish("topic", &long(number));
        assert_eq!(others.publication(), long(number));
        number += 1;
        assert!(number < 1000, "it never comes to this: {:?}", stats(board));
    }
    pass_fence(board, others);
    number
}

/// Waits until what was published is handled for the slow ones too: the others may get it before.
fn pass_fence(board: &BoardServer, others: &mut Pin) {
    others.expect_ok("+fence");
    board.publish("fence", "passed");
    others.expect(&["passed"]);
}

#[test]
fn who_does_not_keep_up_is_disconnected_after_a_limit_with_1013() {
    let board = with_policy(SlowConsumer::Disconnect { limit: 2 * LONG });
    let (mut other, mut lags) = (board.subscribed(&["topic"]), slow(&board, "topic"));
    let sent = publish_until(&board, 0, &mut other, |stats| stats.disconnected == 1);
    next(&board.closed);
    wait_until("nothing waits", || stats(&board).waiting_bytes == 0);
    // What was queued before leaves in order, and then the Close frame.
    let mut wanted = 0;
    loop {
        let frame = lags.client.frame();
        if frame.opcode.is_control() {
            assert_eq!(frame.close().0, 1013);
            break;
        }
        assert_eq!(number(std::str::from_utf8(&frame.payload).expect("UTF-8")), wanted);
        wanted += 1;
    }
    assert!(wanted + 2 <= sent, "{wanted} of {sent} messages");
    board.publish("topic", "after");
    other.expect(&["after"]);
    assert_eq!(board.server.handle().subscribers("topic"), 1);
}

#[test]
fn the_newest_are_dropped() {
    let board = with_policy(SlowConsumer::DropNewest { limit: 2 * LONG + 4096 });
    let (mut other, mut lags) = (board.subscribed(&["topic"]), slow(&board, "topic"));
    let sent = publish_until(&board, 0, &mut other, |stats| stats.dropped_newest >= 3);
    let dropped = usize::try_from(stats(&board).dropped_newest).expect("few");
    // The first ones arrive, and none of those at the end.
    for wanted in 0..sent - dropped {
        assert_eq!(number(&lags.publication()), wanted);
    }
    lags.expect_ok("*topic end");
    assert_eq!(lags.up_to("end"), [""; 0]);
}

#[test]
fn the_oldest_are_dropped() {
    let board = with_policy(SlowConsumer::DropOldest { limit: 2 * LONG + 4096 });
    let (mut other, mut lags) = (board.subscribed(&["topic"]), slow(&board, "topic"));
    let sent = publish_until(&board, 0, &mut other, |stats| stats.dropped_oldest >= 3);
    let dropped = usize::try_from(stats(&board).dropped_oldest).expect("few");
    let got: Vec<usize> = (0..sent - dropped).map(|_| number(&lags.publication())).collect();
    let gap = got.windows(2).position(|pair| pair[1] != pair[0] + 1).expect("a gap");
    assert_eq!(got[gap + 1] - got[gap], dropped + 1, "one gap of all that was dropped: {got:?}");
    assert_eq!(got.last(), Some(&(sent - 1)), "the newest has arrived");
    assert!(got.len() - gap - 1 <= 2, "{got:?}");
}

#[test]
fn of_each_key_only_the_newest_waits() {
    let board = with_policy(SlowConsumer::Latest { limit: 8 * LONG });
    let (mut other, mut lags) = (board.subscribed(&["topic"]), slow(&board, "topic"));
    let handle = board.server.handle();
    let mut sent = 0;
    while stats(&board).replaced < 20 {
        let key = ["EUR", "USD", "JPY"][sent % 3];
        handle.publish_keyed("topic", key, &*long(sent)).expect("room");
        assert_eq!(other.publication(), long(sent));
        sent += 1;
        assert!(sent < 1000, "{:?}", stats(&board));
    }
    pass_fence(&board, &mut other);
    let replaced = usize::try_from(stats(&board).replaced).expect("few");
    let got: Vec<usize> = (0..sent - replaced).map(|_| number(&lags.publication())).collect();
    assert!(got.is_sorted(), "{got:?}");
    for last in sent - 3..sent {
        assert!(got.contains(&last), "{last} of {got:?}");
    }
    assert_eq!(stats(&board).disconnected, 0);
}

#[test]
fn a_subscription_has_a_policy_of_its_own() {
    let options =
        TopicOptions { slow_consumer: SlowConsumer::Disconnect { limit: 1 }, ..TopicOptions::default() };
    let topics = Topics::builder().options("#", options).build();
    let board = BoardServer::start(1, topics);
    let (mut other, mut lags) = (board.subscribed(&["topic"]), slow(&board, "other"));
    lags.expect_ok("~topic");
    let sent = publish_until(&board, 0, &mut other, |stats| stats.dropped_newest >= 3);
    let dropped = usize::try_from(stats(&board).dropped_newest).expect("few");
    (0..sent - dropped).for_each(|wanted| assert_eq!(number(&lags.publication()), wanted));
    assert_eq!(stats(&board).disconnected, 0);
}

#[test]
fn what_waits_is_charged_to_the_connection() {
    let board = with_policy(SlowConsumer::DropNewest { limit: 20 * LONG });
    let before = board.server.handle().stats().memory.held;
    let (mut other, lags) = (board.subscribed(&["topic"]), slow(&board, "topic"));
    publish_until(&board, 0, &mut other, |stats| stats.waiting_bytes >= 10 * LONG as u64);
    wait_until("it is charged", || board.server.handle().stats().memory.held >= before + 9 * LONG);
    drop(lags);
    next(&board.closed);
    wait_until("it is given back", || board.server.handle().stats().memory.held <= before);
    assert_eq!(stats(&board).waiting_bytes, 0);
}

#[test]
fn what_waits_is_dropped_with_its_subscription_and_does_not_come_twice() {
    let options = TopicOptions {
        slow_consumer: SlowConsumer::DropNewest { limit: 100 * LONG },
        retain: Retain::Last(1),
        ..TopicOptions::default()
    };
    let board = BoardServer::start(1, Topics::builder().options("#", options).build());
    let mut other = board.subscribed(&["topic"]);
    let (mut lags, handle) = slow_with_handle(&board, "topic");
    let sent = publish_until(&board, 0, &mut other, |stats| stats.waiting_bytes >= 4 * LONG as u64);
    handle.unsubscribe("topic").expect("open");
    wait_until("nothing waits", || stats(&board).waiting_bytes == 0);
    handle.subscribe("topic").expect("open");
    board.publish("topic", "end");
    let got: Vec<usize> = lags.up_to("end").iter().map(|text| number(text)).collect();
    // The first ones were queued already, and the last one is kept for those who subscribe.
    let (last, first) = got.split_last().expect("some");
    assert_eq!(*last, sent - 1);
    assert!(first.iter().copied().eq(0..first.len()) && first.len() + 4 <= sent, "{got:?} of {sent}");
}

#[test]
fn those_who_read_do_not_wait_for_those_who_do_not() {
    let board = with_policy(SlowConsumer::DropOldest { limit: 2 * LONG });
    let lagging: Vec<Pin> = (0..5).map(|_| slow(&board, "topic")).collect();
    let mut others: Vec<Pin> = (0..10).map(|_| board.subscribed(&["topic"])).collect();
    for number in 0..60 {
        board.publish("topic", &long(number));
        others.iter_mut().for_each(|pin| assert_eq!(pin.publication(), long(number)));
    }
    assert!(stats(&board).dropped_oldest > 0);
    drop(lagging);
}

#[test]
fn messages_that_exceed_a_small_mark_together_arrive_though_the_peer_is_silent() {
    let connection = Config { high_water: 16, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let board = BoardServer::with(|builder| builder.workers(1).options(options));
    let mut silent = board.subscribed(&["topic"]);
    let (mut publisher, _) = board.open();
    publisher.expect_ok("16 topic");
    let texts: Vec<String> = (0..16).map(|number| number.to_string()).collect();
    silent.expect(&texts.iter().map(String::as_str).collect::<Vec<_>>());
}
