//! Topics: publications reach the connections that are subscribed, while these are polled.

use crate::scripted::{self, Manner, Script, Stream};
use crate::support::{pair, quiet, soon};
use framewright_tokio::topics::{
    self, Backplane, BackplaneError, Hub, Observer, OwnedMessage, Page, Passed, Position, Presence,
    Publication, PublishError, Remote, Reply, Retain, SlowConsumer, SubscribeError, TopicLimits,
    TopicOptions, Topics,
};
use framewright_tokio::{Message, Negotiated, Role, WebSocket};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::task::{JoinHandle, yield_now};

type Socket = WebSocket<DuplexStream>;

fn hub() -> Hub {
    Hub::new(Topics::default()).unwrap()
}

/// A hub whose topics keep the last `count` messages.
fn keeping(count: usize) -> Hub {
    let options = TopicOptions { retain: Retain::Last(count), ..TopicOptions::default() };
    Hub::new(Topics::builder().options("#", options).build()).unwrap()
}

/// A client, and a server's side that has joined the hub and is subscribed.
fn subscriber(hub: &Hub, filters: &[&str]) -> (Socket, Socket) {
    let (client, mut server) = pair(1 << 16, quiet());
    server.join(hub);
    filters.iter().for_each(|filter| server.subscribe(filter).unwrap());
    (client, server)
}

/// Has a task receive until the connection ends.
fn receiving(mut socket: Socket) -> JoinHandle<()> {
    tokio::spawn(async move { while socket.recv().await.is_some() {} })
}

async fn text(client: &mut Socket) -> String {
    match soon(client.recv()).await.expect("it is open").expect("it has not failed") {
        Message::Text(text) => text.to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Whether nothing arrives; the clock is paused.
async fn is_silent(client: &mut Socket) -> bool {
    tokio::time::timeout(Duration::from_secs(1), client.recv()).await.is_err()
}

/// A connection whose every step the test decides.
fn scripted_subscriber(hub: &Hub, policy: SlowConsumer) -> (Script, WebSocket<Stream>) {
    let (script, stream) = scripted::stream(Manner::default());
    let mut socket = WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], quiet());
    socket.join(hub);
    socket.subscribe_with("t", policy).unwrap();
    (script, socket)
}

fn texts(script: &Script) -> Vec<String> {
    let frames = scripted::frames(&script.sent()).expect("whole frames");
    frames.into_iter().map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
}

/// Polls `recv` once, which finds nothing, and drops the future.
fn poll_once(socket: &mut WebSocket<Stream>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(socket.recv()).poll(&mut context).is_pending());
}

#[tokio::test(start_paused = true)]
async fn all_subscribers_receive_all_messages_in_order_and_others_none() {
    let hub = hub();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, server) = subscriber(&hub, &["a"]);
        receiving(server);
        clients.push(client);
    }
    let (mut other, server) = subscriber(&hub, &["b"]);
    receiving(server);
    yield_now().await;
    assert_eq!((hub.subscribers("a"), hub.subscribers("b"), hub.subscribers("c")), (3, 1, 0));
    for number in 0..100 {
        hub.publish("a", &*format!("{number}")).unwrap();
    }
    for client in &mut clients {
        for number in 0..100 {
            assert_eq!(text(client).await, number.to_string());
        }
        assert!(is_silent(client).await);
    }
    assert!(is_silent(&mut other).await);
    assert_eq!((hub.stats().published, hub.stats().delivered, hub.stats().waiting_bytes), (100, 300, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_once_for_a_topic_and_its_prefixes() {
    let hub = hub();
    let (mut client, server) = subscriber(&hub, &["p/#", "p/EUR", "#"]);
    receiving(server);
    for topic in ["p/EUR", "p", "q"] {
        hub.publish(topic, topic).unwrap();
    }
    for topic in ["p/EUR", "p", "q"] {
        assert_eq!(text(&mut client).await, topic);
    }
    hub.publish_local("p/#", "to the prefix alone").unwrap();
    assert_eq!(text(&mut client).await, "to the prefix alone");
    assert!(is_silent(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn kept_messages_come_first_and_none_twice() {
    let hub = keeping(2);
    ["1", "2", "3"].iter().for_each(|text| hub.publish("a", *text).unwrap());
    let (mut client, mut server) = subscriber(&hub, &["a"]);
    hub.publish("a", "4").unwrap();
    server.subscribe("a").unwrap(); // changes nothing
    receiving(server);
    hub.publish("a", "5").unwrap();
    for expected in ["2", "3", "4", "5"] {
        assert_eq!(text(&mut client).await, expected);
    }
    assert!(is_silent(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn what_was_unsubscribed_does_not_arrive_not_even_what_waits() {
    let hub = keeping(1);
    hub.publish("a", "kept").unwrap();
    let (mut client, mut server) = subscriber(&hub, &["a", "b", "b/#"]);
    hub.publish("a", "waits").unwrap();
    hub.publish("b", "other").unwrap();
    assert!(server.unsubscribe("a") && server.unsubscribe("b/#") && !server.unsubscribe("a"));
    assert_eq!(server.topics(), ["b".into()]);
    assert_eq!(hub.subscribers("a"), 0);
    hub.publish("a", "later").unwrap();
    receiving(server);
    assert_eq!(text(&mut client).await, "other");
    assert!(is_silent(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_is_left_out_unless_it_wants_its_own() {
    let hub = hub();
    let (mut near, server) = subscriber(&hub, &["a"]);
    let (mut far, other) = subscriber(&hub, &["a"]);
    receiving(other);
    server.publish("a", "to others").unwrap();
    server.publish_to_all("a", Message::Binary(b"to all")).unwrap();
    receiving(server);
    assert_eq!(soon(near.recv()).await, Some(Ok(Message::Binary(b"to all"))));
    assert_eq!(text(&mut far).await, "to others");
    assert_eq!(soon(far.recv()).await, Some(Ok(Message::Binary(b"to all"))));
    assert!(is_silent(&mut near).await);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_closed_with_1013_by_default() {
    let hub = hub();
    let (script, mut socket) =
        scripted_subscriber(&hub, SlowConsumer::Disconnect { limit: 10 * (64 + 1000) });
    script.set_room(0);
    let payload = vec![7; 1000];
    hub.publish("t", Message::Binary(&payload)).unwrap();
    poll_once(&mut socket); // it is queued, and the stream takes nothing
    for _ in 0..10 {
        hub.publish("t", Message::Binary(&payload)).unwrap();
    }
    poll_once(&mut socket);
    assert_eq!((hub.stats().disconnected, hub.stats().waiting_bytes), (0, 10 * 1064));
    hub.publish("t", Message::Binary(&payload)).unwrap();
    hub.publish("t", Message::Binary(&payload)).unwrap(); // to nobody
    poll_once(&mut socket);
    assert!(!socket.is_open());
    assert_eq!(socket.subscribe("u"), Err(SubscribeError::Closed));
    script.set_room(usize::MAX);
    poll_once(&mut socket);
    let frames = scripted::frames(&script.sent()).unwrap();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1], (0x88, b"\x03\xf5too slow for what it is subscribed to".to_vec()));
    assert_eq!((hub.stats().disconnected, hub.stats().waiting_bytes), (1, 0));
}

/// What reaches a slow peer of `0` to `9` by a policy, of which `0` is in its queue.
fn slow_with(policy: SlowConsumer, keys: usize) -> Vec<String> {
    let hub = hub();
    let (script, mut socket) = scripted_subscriber(&hub, policy);
    script.set_room(0);
    hub.publish("t", "0").unwrap();
    poll_once(&mut socket);
    for number in 1..10 {
        hub.publish_keyed("t", &format!("{}", number % keys), &*format!("{number}")).unwrap();
        poll_once(&mut socket);
    }
    script.set_room(usize::MAX);
    poll_once(&mut socket);
    assert!(socket.is_open());
    assert_eq!(hub.stats().waiting_bytes, 0);
    texts(&script)
}

#[tokio::test(start_paused = true)]
async fn the_newest_are_dropped_for_a_slow_peer() {
    assert_eq!(slow_with(SlowConsumer::DropNewest { limit: 3 * 65 }, 1), ["0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_dropped_for_a_slow_peer() {
    assert_eq!(slow_with(SlowConsumer::DropOldest { limit: 3 * 65 }, 1), ["0", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_of_each_key_waits_for_a_slow_peer() {
    assert_eq!(slow_with(SlowConsumer::Latest { limit: 3 * 65 }, 3), ["0", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_polls_is_slow_and_holds_no_other_up() {
    let options =
        TopicOptions { slow_consumer: SlowConsumer::DropOldest { limit: 2 * 65 }, ..TopicOptions::default() };
    let hub = Hub::new(Topics::builder().options("t", options).build()).unwrap();
    let (mut away, absent) = subscriber(&hub, &["t"]);
    let (mut near, server) = subscriber(&hub, &["t"]);
    receiving(server);
    for number in 0..5 {
        hub.publish("t", &*format!("{number}")).unwrap();
        assert_eq!(text(&mut near).await, number.to_string());
    }
    receiving(absent);
    assert_eq!((text(&mut away).await, text(&mut away).await), ("3".into(), "4".into()));
    assert!(is_silent(&mut away).await);
}

/// Notes who has left.
struct Leaving(Arc<Mutex<Vec<String>>>);

impl Observer for Leaving {
    fn on_unsubscribed(&self, presence: &Presence<'_>) {
        self.0.lock().unwrap().push(format!("{} {}", presence.topic(), presence.subscribers()));
    }
}

#[tokio::test(start_paused = true)]
async fn subscriptions_end_with_the_connection_however_it_ends() {
    let left = Arc::<Mutex<Vec<String>>>::default();
    let hub = Hub::new(Topics::builder().observe(Leaving(Arc::clone(&left))).build()).unwrap();
    let ended = || std::mem::take(&mut *left.lock().unwrap());

    let (_client, dropped) = subscriber(&hub, &["a"]);
    hub.publish("a", "waits").unwrap();
    drop(dropped);
    assert_eq!(ended(), ["a 0"]);

    let (_client, mut aborted) = subscriber(&hub, &["a"]);
    aborted.abort();
    assert_eq!(ended(), ["a 0"]);
    assert_eq!(aborted.subscribe("a"), Err(SubscribeError::Closed));

    let (mut client, mut closed) = subscriber(&hub, &["a", "b/#"]);
    let closing = tokio::spawn(async move { client.close(None, "").await });
    assert_eq!(soon(closed.recv()).await, None);
    let mut both = ended();
    both.sort();
    assert_eq!(both, ["a 0", "b/# 0"]);
    assert!(closed.topics().is_empty());
    soon(closing).await.unwrap().unwrap();

    // Nobody receives: the attendant notices.
    let (client, server) = subscriber(&hub, &["a"]);
    drop(client);
    let mut attendant = server.attendant();
    attendant.start_close(None, "").unwrap();
    soon(attendant).await;
    assert_eq!(ended(), ["a 0"]);
    drop(server);
    assert_eq!((hub.stats().subscriptions, hub.stats().topics, hub.stats().waiting_bytes), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_lost_is_subscribed_no_more() {
    let hub = hub();
    let (script, mut socket) = scripted_subscriber(&hub, SlowConsumer::default());
    script.fail();
    assert!(matches!(soon(socket.recv()).await, Some(Err(_))));
    assert_eq!(hub.subscribers("t"), 0);
    hub.publish("t", "text").unwrap();
    assert_eq!(hub.stats().waiting_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn another_hub_ends_the_subscriptions_at_the_first_one() {
    let (first, second) = (hub(), hub());
    let (_client, mut server) = subscriber(&first, &["a"]);
    server.join(&first);
    assert_eq!(first.subscribers("a"), 1);
    server.join(&second);
    assert_eq!(first.subscribers("a"), 0);
    assert!(server.topics().is_empty());
    server.subscribe("a").unwrap();
    assert_eq!(second.subscribers("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_hub_there_is_nothing_to_subscribe_to() {
    let (_client, mut server) = pair(1 << 16, quiet());
    assert_eq!(server.subscribe("a"), Err(SubscribeError::NotJoined));
    assert_eq!(server.publish("a", "text"), Err(PublishError::NotJoined));
    assert!(!server.unsubscribe("a") && server.topics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn limits_and_names_are_checked_and_nothing_is_left_behind() {
    let limits = TopicLimits { topics_per_connection: 2, topics: 3, ..TopicLimits::default() };
    let hub = Hub::new(Topics::builder().limits(limits).build()).unwrap();
    let (_client, mut server) = subscriber(&hub, &["a", "b"]);
    assert_eq!(server.subscribe("c"), Err(SubscribeError::TopicsPerConnection { limit: 2 }));
    assert!(matches!(server.subscribe("a/#/b"), Err(SubscribeError::Name(_))));
    let (_other, mut other) = subscriber(&hub, &["c"]);
    assert_eq!(other.subscribe("d"), Err(SubscribeError::Topics { limit: 3 }));
    assert_eq!(other.topics(), ["c".into()]);
    assert!(server.unsubscribe("a"));
    other.subscribe("d").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_loses_no_publication() {
    let hub = hub();
    let (script, mut socket) = scripted_subscriber(&hub, SlowConsumer::default());
    // The stream takes one byte for each poll.
    script.set_room(0);
    let mut expected = Vec::new();
    for number in 0..200 {
        let text = format!("message {number}");
        hub.publish("t", &*text).unwrap();
        expected.push(text);
        script.set_room(1);
        poll_once(&mut socket);
    }
    script.set_room(usize::MAX);
    poll_once(&mut socket);
    assert_eq!(texts(&script), expected);
}

#[tokio::test(start_paused = true)]
async fn a_publication_waits_for_the_end_of_a_fragmented_message() {
    let hub = hub();
    let (mut client, mut server) = subscriber(&hub, &["a"]);
    server.send_fragment(Message::Text("one, "), false).await.unwrap();
    hub.publish("a", "published").unwrap();
    server.flush().await.unwrap();
    server.send_fragment(Message::Text("two"), true).await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(text(&mut client).await, "one, two");
    assert_eq!(text(&mut client).await, "published");
}

#[tokio::test(start_paused = true)]
async fn what_is_fed_and_what_is_published_leave_with_one_flush() {
    let hub = hub();
    let (script, mut socket) = scripted_subscriber(&hub, SlowConsumer::default());
    socket.feed(Message::Text("fed")).await.unwrap();
    // Queued by itself: nobody is slow.
    hub.publish("t", "published").unwrap();
    assert!(script.sent().is_empty());
    socket.flush().await.unwrap();
    assert_eq!(texts(&script), ["fed", "published"]);
}

#[tokio::test(start_paused = true)]
async fn the_halves_deliver_in_two_tasks() {
    let hub = hub();
    let (mut client, server) = pair(1 << 16, quiet());
    let (mut receiver, mut sender) = server.split();
    let receiving = tokio::spawn(async move { while receiver.recv().await.is_some() {} });
    // The receiver waits already when the sender joins.
    yield_now().await;
    sender.join(&hub);
    sender.subscribe("a").unwrap();
    hub.publish("a", "one").unwrap();
    assert_eq!(text(&mut client).await, "one");
    sender.send_text("two").await.unwrap();
    hub.publish("a", "three").unwrap();
    assert_eq!(text(&mut client).await, "two");
    assert_eq!(text(&mut client).await, "three");
    client.start_close(None, "").unwrap();
    client.flush().await.unwrap();
    soon(receiving).await.unwrap();
    assert_eq!(hub.subscribers("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attendant_delivers_while_nobody_receives() {
    let hub = hub();
    let (mut client, server) = subscriber(&hub, &["a"]);
    tokio::spawn(server.attendant());
    yield_now().await;
    for number in 0..3 {
        hub.publish("a", &*format!("{number}")).unwrap();
        assert_eq!(text(&mut client).await, number.to_string());
    }
    // More than the stream holds.
    for _ in 0..20 {
        hub.publish("a", Message::Binary(&[1; 20_000])).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(soon(client.recv()).await.unwrap().unwrap().len(), 20_000);
    }
    drop(server);
    assert_eq!(hub.subscribers("a"), 0);
}

#[test]
fn a_publication_of_another_thread_wakes_the_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let hub = hub();
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (client, server) = subscriber(&hub, &["a"]);
            receiving(server);
            clients.push(client);
        }
        let (asking, asked) = std::sync::mpsc::channel::<usize>();
        let publisher = hub.clone();
        let publishing = std::thread::spawn(move || {
            for number in asked {
                publisher.publish("a", &*format!("{number}")).unwrap();
            }
        });
        // One after the other, so each one has to wake all tasks.
        for number in 0..500 {
            asking.send(number).unwrap();
            for client in &mut clients {
                assert_eq!(text(client).await, number.to_string());
            }
        }
        drop(asking);
        publishing.join().unwrap();
    });
}

#[test]
fn messages_of_each_publisher_arrive_in_order_while_subscribers_come_and_go() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let hub = hub();
        let (mut client, server) = subscriber(&hub, &["a"]);
        receiving(server);
        let mut publishing = Vec::new();
        for publisher in 0..3 {
            let hub = hub.clone();
            publishing.push(tokio::spawn(async move {
                for number in 0..500 {
                    hub.publish("a", &*format!("{publisher} {number}")).unwrap();
                    yield_now().await;
                }
            }));
        }
        let coming = hub.clone();
        publishing.push(tokio::spawn(async move {
            for _ in 0..200 {
                let (_client, server) = subscriber(&coming, &["a", "#"]);
                receiving(server).abort();
                yield_now().await;
            }
        }));
        let mut next = [0; 3];
        while next != [500; 3] {
            let message = text(&mut client).await;
            let (publisher, number) = message.split_once(' ').unwrap();
            let next = &mut next[publisher.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *next);
            *next += 1;
        }
        for task in publishing {
            task.await.unwrap();
        }
        drop(client);
        soon(async {
            while hub.stats().subscriptions > 0 {
                yield_now().await;
            }
        })
        .await;
        assert_eq!((hub.stats().topics, hub.stats().waiting_bytes), (0, 0));
    });
}

/// A poll that finds nothing has not woken itself.
#[tokio::test(start_paused = true)]
async fn a_subscriber_without_messages_rests() {
    let hub = hub();
    let (_script, mut socket) = scripted_subscriber(&hub, SlowConsumer::default());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    assert!(matches!(socket.poll_recv(&mut context), Poll::Pending));
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    hub.publish("t", "one").unwrap();
    hub.publish("t", "two").unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "once for both");
    assert!(matches!(socket.poll_recv(&mut context), Poll::Pending));
    hub.publish("u", "three").unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attendant_ends_when_a_publication_cannot_be_written() {
    let hub = hub();
    let (script, socket) = scripted_subscriber(&hub, SlowConsumer::default());
    let mut attendant = pin!(socket.attendant());
    let mut context = Context::from_waker(Waker::noop());
    assert!(attendant.as_mut().poll(&mut context).is_pending());
    script.fail();
    hub.publish("t", "text").unwrap();
    assert!(attendant.as_mut().poll(&mut context).is_ready());
}

/// Stores the messages of a durable topic, and answers reads with pages of two.
#[derive(Clone, Default)]
struct Storing(Arc<Stored>);

#[derive(Default)]
struct Stored {
    messages: Mutex<Vec<(String, String)>>,
    remote: Mutex<Option<Remote>>,
    reads: AtomicUsize,
    /// The length of each message, or a little more.
    len: AtomicUsize,
    has_gap: AtomicBool,
}

impl Storing {
    fn publish(&self, number: usize) {
        let (id, text) =
            (format!("{number}-0"), format!("m{number}{}", " ".repeat(self.0.len.load(Ordering::SeqCst))));
        self.0.messages.lock().unwrap().push((id.clone(), text.clone()));
        let remote = self.0.remote.lock().unwrap().clone().unwrap();
        assert!(remote.deliver("t", OwnedMessage::Text(text), None, Some(&id)));
    }
}

impl Backplane for Storing {
    fn start(&self, remote: Remote) -> Result<(), BackplaneError> {
        *self.0.remote.lock().unwrap() = Some(remote);
        Ok(())
    }

    fn publish(&self, _: &Arc<Publication>, _: &TopicOptions) -> Result<Passed, BackplaneError> {
        Err(BackplaneError::Unsupported)
    }

    fn subscribe(&self, _: &str, _: &TopicOptions) -> Result<(), BackplaneError> {
        Ok(())
    }

    fn unsubscribe(&self, _: &str) {}

    fn read(&self, _: &str, after: &str, reply: Reply) {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        let messages = self.0.messages.lock().unwrap();
        let after = Position::parse(after);
        let behind = messages.iter().filter(|(id, _)| Position::parse(id) > after).take(2);
        let stored = behind.map(|(id, text)| topics::Stored {
            id: id.clone(),
            message: OwnedMessage::Text(text.clone()),
            key: None,
        });
        let gap = self.0.has_gap.swap(false, Ordering::SeqCst);
        let page = Page { stored: stored.collect(), gap };
        drop(messages);
        reply(Ok(page));
    }

    fn stop(&self, _: Instant) {}
}

fn storing() -> (Storing, Hub) {
    let backplane = Storing::default();
    let options = TopicOptions { durable: true, ..TopicOptions::default() };
    let hub = Hub::new(Topics::builder().options("t", options).backplane(backplane.clone()).build()).unwrap();
    (backplane, hub)
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_receives_what_was_stored_meanwhile_once_and_in_order() {
    let (backplane, hub) = storing();
    let (mut client, mut server) = subscriber(&hub, &[]);
    (1..8).for_each(|number| backplane.publish(number));
    server.subscribe_after("t", "2-0").unwrap();
    backplane.publish(8);
    receiving(server);
    for number in 3..9 {
        assert_eq!(text(&mut client).await, format!("m{number}"));
    }
    backplane.publish(9);
    assert_eq!(text(&mut client).await, "m9");
    assert!(is_silent(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn pages_are_read_only_as_fast_as_the_peer_takes_them() {
    let (backplane, hub) = storing();
    let (script, stream) = scripted::stream(Manner::default());
    let mut socket = WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], quiet());
    socket.join(&hub);
    // A delivery takes one of them.
    backplane.0.len.store(70_000, Ordering::SeqCst);
    (1..20).for_each(|number| backplane.publish(number));
    script.set_room(0);
    socket.subscribe_after("t", "0-0").unwrap();
    (0..30).for_each(|_| poll_once(&mut socket));
    assert_eq!(backplane.0.reads.load(Ordering::SeqCst), 1, "half of the page waits");
    script.set_room(usize::MAX);
    poll_once(&mut socket);
    let received = texts(&script).into_iter().map(|text| text.trim_end().to_owned());
    assert_eq!(received.collect::<Vec<_>>(), (1..20).map(|number| format!("m{number}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_any_more_is_a_gap() {
    let (backplane, hub) = storing();
    let (mut client, mut server) = subscriber(&hub, &[]);
    backplane.0.has_gap.store(true, Ordering::SeqCst);
    backplane.publish(5);
    assert_eq!(server.subscribe_after("u", "1-0"), Err(SubscribeError::NotDurable));
    assert_eq!(server.subscribe_after("t", "now"), Err(SubscribeError::Position));
    server.subscribe_after("t", "1-0").unwrap();
    server.flush().await.unwrap();
    assert_eq!(server.take_gaps(), ["t".into()]);
    assert!(server.take_gaps().is_empty());
    receiving(server);
    assert_eq!(text(&mut client).await, "m5");
}
