//! Sharded pub/sub and streams on a cluster of three servers.

use crate::support::{DEADLINE, Node, RedisServer, ask, durable, eventually, plain};
use framewright_driver::topics::{Backplane, BackplaneError};
use framewright_redis::RedisBackplane;
use std::process::{Command, Stdio};
use std::time::Instant;

/// From, to, and the host, port, name and further addresses of the owner.
type SlotRange = (u16, u16, (String, u16, String, Vec<String>));

/// Three masters without replicas.
struct Cluster {
    servers: Vec<RedisServer>,
}

impl Cluster {
    fn start() -> Self {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let servers: Vec<_> = (0..3).map(|_| RedisServer::with(&arguments)).collect();
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]).args(servers.iter().map(RedisServer::address));
        command.args(["--cluster-replicas", "0", "--cluster-yes"]).stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|error| {
            panic!("these tests need `redis-cli` (on Debian: apt-get install redis-tools): {error}")
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let cluster = Self { servers };
        for server in &cluster.servers {
            let mut client = server.client();
            eventually("the cluster is ready", || {
                ask::<String>(&mut client, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && ask::<Vec<redis::Value>>(&mut client, &["CLUSTER", "SLOTS"]).len() == 3
            });
        }
        cluster
    }

    fn node(&self) -> Node {
        let others: Vec<String> = self.servers[1..].iter().map(RedisServer::address).collect();
        let builder = RedisBackplane::builder(&self.servers[0].url());
        Node::of(builder.cluster(others.iter().map(String::as_str)))
    }

    /// The server that has a slot.
    fn owner(&self, slot: u16) -> usize {
        let port = self.owner_port(slot);
        self.servers.iter().position(|server| server.port == port).expect("a server of the cluster")
    }

    fn owner_port(&self, slot: u16) -> u16 {
        let ranges: Vec<SlotRange> = self.servers[0].ask(&["CLUSTER", "SLOTS"]);
        let range = ranges.iter().find(|range| (range.0..=range.1).contains(&slot));
        range.expect("each slot has an owner").2.1
    }

    fn subscribers(&self, channel: &str) -> i64 {
        let count = |server: &RedisServer| server.ask::<(String, i64)>(&["PUBSUB", "SHARDNUMSUB", channel]).1;
        self.servers.iter().map(count).sum()
    }

    fn wait_for_subscribers(&self, channel: &str, subscribers: i64) {
        eventually(&format!("{subscribers} subscribers of {channel}"), || {
            self.subscribers(channel) == subscribers
        });
    }

    /// Moves a slot, keys and all.
    fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        let id = |server: usize| self.servers[server].ask::<String>(&["CLUSTER", "MYID"]);
        let (from_id, to_id, slot) = (id(from), id(to), slot.to_string());
        let set = |server: usize, arguments: &[&str]| {
            let command = [&["CLUSTER", "SETSLOT", slot.as_str()], arguments].concat();
            let _: String = self.servers[server].ask(&command);
        };
        set(to, &["IMPORTING", &from_id]);
        set(from, &["MIGRATING", &to_id]);
        let port = self.servers[to].port.to_string();
        loop {
            let keys: Vec<String> = self.servers[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            if keys.is_empty() {
                break;
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys.iter().map(String::as_str));
            let _: String = self.servers[from].ask(&command);
        }
        for server in [to, from, 3 - to - from] {
            set(server, &["NODE", &to_id]);
        }
    }
}

/// The channel of a topic, and its slot as Redis computes it.
fn channel(cluster: &Cluster, topic: &str, kind: char) -> (String, u16) {
    for part in 0..16 {
        let name = format!("framewright:0:{kind}:{{{part}}}:{topic}");
        if cluster.subscribers(&name) > 0 || cluster.servers.iter().any(|server| exists(server, &name)) {
            let slot = cluster.servers[0].ask(&["CLUSTER", "KEYSLOT", &name]);
            return (name, slot);
        }
    }
    (String::new(), 0)
}

fn exists(server: &RedisServer, key: &str) -> bool {
    // Another server than the owner says MOVED.
    redis::cmd("EXISTS").arg(key).query::<i64>(&mut server.client()) == Ok(1)
}

#[test]
fn topics_of_all_parts_pass_by_sharded_pubsub_each_once() {
    let cluster = Cluster::start();
    let (a, b) = (cluster.node(), cluster.node());
    let topics: Vec<String> = (0..60).map(|number| format!("topic/{number}")).collect();
    for topic in &topics {
        b.subscribe(topic);
    }
    let subscribed = || {
        let channels = |server: &RedisServer| server.ask::<Vec<String>>(&["PUBSUB", "SHARDCHANNELS"]).len();
        cluster.servers.iter().map(channels).collect::<Vec<_>>()
    };
    eventually("all topics", || subscribed().iter().sum::<usize>() == 60);
    assert!(subscribed().iter().all(|&channels| channels > 0), "each server has some: {:?}", subscribed());
    for round in 0..20 {
        for topic in &topics {
            a.publish(topic, &format!("{round:02}"));
        }
    }
    b.inbox.wait("all messages", |received| (received.messages.len() >= 1_200).then_some(()));
    let expected: Vec<String> = (0..20).map(|round| format!("{round:02}")).collect();
    for topic in &topics {
        assert_eq!(b.inbox.texts(topic), expected);
    }
    assert_eq!(b.inbox.gaps(), [""; 0]);
    // Nothing went over the bus of the cluster, as PUBLISH would have.
    let classic: Vec<String> = cluster.servers[0].ask(&["PUBSUB", "CHANNELS"]);
    assert_eq!(classic, [""; 0]);
}

/// Why pub/sub is sharded in a cluster.
#[test]
fn classic_pubsub_sends_each_message_to_every_server_of_a_cluster() {
    let cluster = Cluster::start();
    for server in &cluster.servers {
        let mut client = server.client();
        let mut subscriber = client.as_pubsub();
        subscriber.subscribe("c").expect("a subscription");
        subscriber.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let _: i64 = cluster.servers[0].ask(&["PUBLISH", "c", "m"]);
        assert_eq!(subscriber.get_message().expect("a message").get_channel_name(), "c");
    }
    // SPUBLISH at a server that does not have the slot reaches nobody: it says where to go.
    let slot = cluster.servers[0].ask(&["CLUSTER", "KEYSLOT", "c"]);
    let other = &cluster.servers[(cluster.owner(slot) + 1) % 3];
    let refused = redis::cmd("SPUBLISH").arg("c").arg("m").exec(&mut other.client());
    assert!(refused.expect_err("another server's slot").redirect_node().is_some());
}

#[test]
fn prefixes_are_refused_in_a_cluster() {
    let cluster = Cluster::start();
    let node = cluster.node();
    match node.backplane.subscribe("prices/#", &plain()) {
        Err(BackplaneError::Refused(reason)) => assert!(reason.contains("no prefixes"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_slot_that_moves_takes_its_subscriptions_along_and_the_gap_is_told() {
    let cluster = Cluster::start();
    let (a, b) = (cluster.node(), cluster.node());
    b.subscribe("moving");
    let mut found = (String::new(), 0);
    eventually("a subscription", || {
        found = channel(&cluster, "moving", 't');
        !found.0.is_empty()
    });
    let (name, slot) = found;
    a.publish("moving", "before");
    b.inbox.wait_for("moving", "before");
    let (from, to) = (cluster.owner(slot), (cluster.owner(slot) + 1) % 3);
    cluster.move_slot(slot, to);
    b.inbox.wait_for_gaps("moving", 2);
    cluster.wait_for_subscribers(&name, 1);
    let at_new: (String, i64) = cluster.servers[to].ask(&["PUBSUB", "SHARDNUMSUB", &name]);
    assert_eq!(at_new.1, 1, "from {from} to {to}");
    // The publisher hears MOVED, and goes there too.
    a.publish("moving", "after");
    b.inbox.wait_for("moving", "after");
}

#[test]
fn a_durable_topic_survives_the_move_of_its_slot() {
    let cluster = Cluster::start();
    let (a, b) = (cluster.node(), cluster.node());
    b.subscribe_durable("orders");
    a.publish_durable("orders", "begin");
    b.publish_durable("orders", "begin b");
    b.inbox.wait_for("orders", "begin b");
    let (_, slot) = channel(&cluster, "orders", 's');
    for round in 0..3 {
        let to = (cluster.owner(slot) + 1) % 3;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..300 {
                    let text = format!("{round}{number:03}");
                    while a
                        .try_publish("orders", framewright::Message::Text(&text), None, &durable())
                        .is_err()
                    {
                        std::thread::yield_now();
                    }
                }
            });
            cluster.move_slot(slot, to);
        });
        b.inbox.wait_for("orders", &format!("{round}299"));
    }
    let expected: Vec<String> =
        (0..3).flat_map(|round| (0..300).map(move |number| format!("{round}{number:03}"))).collect();
    let texts: Vec<String> =
        b.inbox.texts("orders").into_iter().filter(|text| !text.starts_with("begin")).collect();
    assert_eq!(texts, expected);
    assert_eq!(b.inbox.gaps(), [""; 0]);
}

#[test]
fn a_server_of_the_cluster_that_is_away_stops_only_its_own_topics() {
    let mut cluster = Cluster::start();
    for server in &cluster.servers {
        let _: String = server.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let (a, b) = (cluster.node(), cluster.node());
    let topics: Vec<String> = (0..60).map(|number| format!("topic/{number}")).collect();
    for topic in &topics {
        b.subscribe(topic);
    }
    let all = || {
        let channels = |server: &RedisServer| server.ask::<Vec<String>>(&["PUBSUB", "SHARDCHANNELS"]);
        cluster.servers.iter().map(channels).collect::<Vec<_>>()
    };
    eventually("all topics", || all().iter().map(Vec::len).sum::<usize>() == 60);
    let lost: Vec<String> = all()[0].iter().map(|channel| topic_of(channel)).collect();
    // The server of the URL: the others are asked instead.
    cluster.servers[0].kill();
    for topic in &lost {
        b.inbox.wait_for_gaps(topic, 1);
    }
    let begun = Instant::now();
    for topic in topics.iter().filter(|topic| !lost.contains(topic)) {
        a.publish(topic, "m");
        b.inbox.wait_for(topic, "m");
    }
    assert!(begun.elapsed() < DEADLINE);
    a.publish(&lost[0], "waits");
    cluster.servers[0].restart();
    for topic in &lost {
        b.inbox.wait_for_gaps(topic, 2);
    }
    a.publish(&lost[0], "after");
    b.inbox.wait_for(&lost[0], "after");
}

fn topic_of(channel: &str) -> String {
    channel.split_once("}:").expect("a part in braces").1.to_owned()
}
