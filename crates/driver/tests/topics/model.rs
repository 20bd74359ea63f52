//! The hub against a reference that looks at every subscription for every message.

use crate::support::*;
use framewright_driver::topics::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "ab", "x", "/a"];
const FILTERS: [&str; 10] = ["a", "a/b", "a/b/c", "x", "a/#", "a/b/#", "ab/#", "/#", "x/#", "#"];

#[derive(Clone, Debug)]
enum Act {
    Subscribe {
        connection: u64,
        filter: usize,
    },
    Unsubscribe {
        connection: u64,
        filter: usize,
    },
    Leave {
        connection: u64,
    },
    Publish {
        topic: usize,
        publisher: Option<u64>,
    },
    /// A port handles what was posted.
    Handle {
        port: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let connection = 0..6_u64;
    prop_oneof![
        4 => (connection.clone(), 0..FILTERS.len())
            .prop_map(|(connection, filter)| Act::Subscribe { connection, filter }),
        2 => (connection.clone(), 0..FILTERS.len())
            .prop_map(|(connection, filter)| Act::Unsubscribe { connection, filter }),
        1 => connection.clone().prop_map(|connection| Act::Leave { connection }),
        8 => (0..TOPICS.len(), proptest::option::of(connection))
            .prop_map(|(topic, publisher)| Act::Publish { topic, publisher }),
        3 => (0..3_usize).prop_map(|port| Act::Handle { port }),
    ]
}

/// What each connection is to receive: subscriptions take effect at once.
#[derive(Default)]
struct Reference {
    subscriptions: Vec<(u64, usize)>,
    kept: BTreeMap<usize, Vec<String>>,
    received: HashMap<u64, Vec<String>>,
}

impl Reference {
    fn publish(&mut self, topic: usize, publisher: Option<u64>, key: &str, retain: usize) {
        for connection in 0..6 {
            let is_wanted = self.subscriptions.iter().any(|(id, filter)| {
                *id == connection && Filter::parse(FILTERS[*filter], 99).unwrap().matches(TOPICS[topic])
            });
            if is_wanted && publisher != Some(connection) {
                self.received.entry(connection).or_default().push(key.to_owned());
            }
        }
        let kept = self.kept.entry(topic).or_default();
        kept.push(key.to_owned());
        kept.drain(..kept.len().saturating_sub(retain));
    }

    fn retained(&self, filter: usize) -> Vec<String> {
        let filter = Filter::parse(FILTERS[filter], 99).unwrap();
        let of = self.kept.iter().filter(|(topic, _)| filter.matches(TOPICS[**topic]));
        of.flat_map(|(_, kept)| kept.iter().cloned()).collect()
    }
}

struct Real {
    hub: Arc<Hub>,
    ports: Vec<(PortId, Arc<Inbox>, Members)>,
}

impl Real {
    fn handle(&mut self, port: usize) {
        let (_, inbox, members) = &mut self.ports[port];
        members.handle(inbox.take_posts());
    }

    /// Connections are spread over the ports.
    fn port_of(&self, connection: u64) -> usize {
        usize::try_from(connection).unwrap() % self.ports.len()
    }

    fn of(&mut self, connection: u64) -> &mut (PortId, Arc<Inbox>, Members) {
        let port = self.port_of(connection);
        &mut self.ports[port]
    }

    fn unsubscribe(&mut self, connection: u64, filter: usize) {
        // What was published before is the connection's still: a socket is left the same way.
        self.handle(self.port_of(connection));
        let hub = Arc::clone(&self.hub);
        let (port, _, members) = self.of(connection);
        members.all.retain(|(id, name, _)| (*id, name.as_str()) != (connection, FILTERS[filter]));
        hub.unsubscribe(*port, connection, FILTERS[filter]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hub_delivers_what_the_reference_does(
        acts in proptest::collection::vec(act(), 0..120),
        ports in 1..4_usize,
        retain in 0..4_usize,
    ) {
        let options = TopicOptions { retain: Retain::Last(retain), ..TopicOptions::default() };
        let hub = Hub::new(Topics::builder().options("#", options).build()).unwrap();
        let ports = (0..ports).map(|_| {
            let inbox = Arc::new(Inbox::default());
            (hub.add_port(Arc::clone(&inbox) as Arc<dyn Port>), inbox, Members::default())
        });
        let mut real = Real { ports: ports.collect(), hub };
        let mut reference = Reference::default();
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Subscribe { connection, filter } => {
                    if reference.subscriptions.contains(&(connection, filter)) {
                        continue;
                    }
                    let retained = reference.retained(filter);
                    reference.received.entry(connection).or_default().extend(retained);
                    reference.subscriptions.push((connection, filter));
                    let hub = Arc::clone(&real.hub);
                    let (port, _, members) = real.of(connection);
                    members.all.push((connection, FILTERS[filter].to_owned(), false));
                    hub.subscribe(*port, connection, connection, &FILTERS[filter].into()).unwrap();
                }
                Act::Unsubscribe { connection, filter } => {
                    let Some(at) = reference.subscriptions.iter().position(|s| *s == (connection, filter)) else {
                        continue;
                    };
                    reference.subscriptions.remove(at);
                    real.unsubscribe(connection, filter);
                }
                Act::Leave { connection } => {
                    let all: Vec<_> =
                        reference.subscriptions.extract_if(.., |(id, _)| *id == connection).collect();
                    all.into_iter().for_each(|(_, filter)| real.unsubscribe(connection, filter));
                }
                Act::Publish { topic, publisher } => {
                    let key = number.to_string();
                    reference.publish(topic, publisher, &key, retain);
                    real.hub.publish(TOPICS[topic], "text".into(), Some(&key), publisher).unwrap();
                }
                Act::Handle { port } if port < real.ports.len() => real.handle(port),
                Act::Handle { .. } => {}
            }
            for filter in FILTERS {
                let count = reference.subscriptions.iter().filter(|(_, f)| FILTERS[*f] == filter).count();
                prop_assert_eq!(real.hub.subscribers(filter), count, "{}", filter);
            }
            prop_assert_eq!(real.hub.stats().subscriptions, reference.subscriptions.len());
        }
        for port in 0..real.ports.len() {
            real.handle(port);
        }
        for connection in 0..6 {
            let received = real.of(connection).2.received.remove(&connection).unwrap_or_default();
            // Kept messages of several topics come in no stated order, so each topic is compared.
            for topic in TOPICS {
                let of_topic: Vec<&str> =
                    received.iter().filter(|p| p.topic() == topic).map(|p| p.key().unwrap()).collect();
                let published: Vec<&Arc<Publication>> =
                    received.iter().filter(|p| p.topic() == topic).collect();
                prop_assert!(published.iter().all(|p| p.id().is_none()));
                let keys: std::collections::HashSet<&str> = of_topic.iter().copied().collect();
                let expected: Vec<&str> = reference
                    .received
                    .get(&connection)
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .filter(|key| keys.contains(key))
                    .collect();
                prop_assert_eq!(of_topic, expected);
            }
            let expected = reference.received.get(&connection).map_or(0, Vec::len);
            prop_assert_eq!(received.len(), expected);
        }
    }
}
