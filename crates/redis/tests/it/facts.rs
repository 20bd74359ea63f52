//! What Redis 7 and the `redis` crate do, where the backplane depends on it: if one of these changes,
//! the code that goes around it can go, or has to change.

use crate::support::{DEADLINE, RedisServer, ask, eventually};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value};
use std::future::Future;
use std::sync::mpsc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await.expect("in vain") })
}

async fn resp3(server: &RedisServer) -> (MultiplexedConnection, UnboundedReceiver<PushInfo>) {
    let (sender, pushes) = unbounded_channel();
    let client = Client::open(format!("{}/?protocol=resp3", server.url())).expect("a URL");
    let config = AsyncConnectionConfig::new().set_push_sender(sender).set_response_timeout(Some(DEADLINE));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    (connection.expect("a connection"), pushes)
}

async fn next(pushes: &mut UnboundedReceiver<PushInfo>, kind: &PushKind) -> PushInfo {
    loop {
        let push = pushes.recv().await.expect("a push");
        if push.kind == *kind {
            return push;
        }
    }
}

/// Why publishing and subscribing have two connections: the push of a message that a transaction
/// publishes to its own connection stands before the answer to EXEC ends, and the crate loses an answer.
#[test]
fn a_transaction_that_publishes_to_its_own_connection_loses_an_answer() {
    let server = RedisServer::start();
    block_on(async {
        let (mut connection, mut pushes) = resp3(&server).await;
        redis::cmd("SUBSCRIBE").arg("c").exec_async(&mut connection).await.expect("a subscription");
        next(&mut pushes, &PushKind::Subscribe).await;
        let mut transaction = redis::pipe();
        transaction.atomic().cmd("PUBLISH").arg("c").arg("m").cmd("ECHO").arg("second");
        let answer: Result<(i64, String), _> = transaction.query_async(&mut connection).await;
        assert!(answer.is_err(), "the two answers came: {answer:?}");
    });
}

/// Why a connection that comes back subscribes anew.
#[test]
fn a_connection_that_ends_does_not_come_back_by_itself() {
    let server = RedisServer::start();
    block_on(async {
        let (mut connection, mut pushes) = resp3(&server).await;
        redis::cmd("SUBSCRIBE").arg("c").exec_async(&mut connection).await.expect("a subscription");
        let killed: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed, 1);
        next(&mut pushes, &PushKind::Disconnection).await;
        let answer: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
        assert!(answer.expect_err("it has ended").is_connection_dropped());
    });
}

/// Why the manager of connections is not used: it comes back, and its subscriptions do not.
#[test]
fn a_connection_manager_comes_back_without_its_subscriptions() {
    let server = RedisServer::start();
    block_on(async {
        let client = Client::open(format!("{}/?protocol=resp3", server.url())).expect("a URL");
        let (sender, mut pushes) = unbounded_channel();
        let config = ConnectionManagerConfig::new().set_push_sender(sender);
        let manager = ConnectionManager::new_with_config(client, config).await;
        let mut manager = manager.expect("a connection");
        manager.subscribe("c").await.expect("a subscription");
        next(&mut pushes, &PushKind::Subscribe).await;
        let killed: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed, 1);
        next(&mut pushes, &PushKind::Disconnection).await;
        // The first command after the end may fail; a later one finds the new connection.
        while redis::cmd("PING").query_async::<String>(&mut manager).await.is_err() {
            tokio::task::yield_now().await;
        }
        let reached: i64 = server.ask(&["PUBLISH", "c", "m"]);
        assert_eq!(reached, 0);
    });
}

/// Why a prefix subscription needs sequence numbers.
#[test]
fn a_channel_and_a_pattern_that_both_match_deliver_twice() {
    let server = RedisServer::start();
    block_on(async {
        let (mut connection, mut pushes) = resp3(&server).await;
        redis::cmd("SUBSCRIBE").arg("prices").exec_async(&mut connection).await.expect("a subscription");
        redis::cmd("PSUBSCRIBE").arg("p*").exec_async(&mut connection).await.expect("a subscription");
        let reached: i64 = server.ask(&["PUBLISH", "prices", "m"]);
        assert_eq!(reached, 2);
        next(&mut pushes, &PushKind::Message).await;
        next(&mut pushes, &PushKind::PMessage).await;
    });
}

/// Why a reader never begins at `$`.
#[test]
fn reading_from_the_end_after_a_pause_loses_what_came_between() {
    let server = RedisServer::start();
    let mut client = server.client();
    let first: String = ask(&mut client, &["XADD", "s", "*", "m", "1"]);
    let _: String = ask(&mut client, &["XADD", "s", "*", "m", "2"]);
    let from_end: Value = ask(&mut client, &["XREAD", "BLOCK", "1", "STREAMS", "s", "$"]);
    assert_eq!(from_end, Value::Nil);
    let from_last: Value = ask(&mut client, &["XREAD", "BLOCK", "1", "STREAMS", "s", &first]);
    assert!(matches!(from_last, Value::Array(_)), "{from_last:?}");
}

/// Why the reader of a subscription never waits: Redis ends a subscriber that does not read.
#[test]
fn a_subscriber_that_does_not_read_is_ended() {
    // A hundredth of what Redis allows by default.
    let server = RedisServer::with(&["--client-output-buffer-limit", "pubsub", "320kb", "0", "0"]);
    let mut subscriber = server.client();
    let mut subscriber = subscriber.as_pubsub();
    subscriber.subscribe("c").expect("a subscription");
    let payload = "x".repeat(100_000);
    let mut client = server.client();
    let mut published = 0;
    eventually("it is ended", || {
        published += 1;
        ask::<i64>(&mut client, &["PUBLISH", "c", &payload]) == 0
    });
    assert!(published > 3);
}

/// Why the number of the database is part of a channel's name.
#[test]
fn channels_know_no_databases() {
    let server = RedisServer::start();
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = Client::open(format!("{}/1", server.url())).expect("a URL");
            let mut connection = client.get_connection().expect("a connection");
            let mut subscriber = connection.as_pubsub();
            subscriber.subscribe("c").expect("a subscription");
            sender.send(()).expect("somebody waits");
            subscriber.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let message = subscriber.get_message().expect("a message of another database");
            assert_eq!(message.get_payload::<String>().expect("a text"), "m");
        });
        receiver.recv_timeout(DEADLINE).expect("a subscription");
        let reached: i64 = server.ask(&["PUBLISH", "c", "m"]);
        assert_eq!(reached, 1);
    });
}
