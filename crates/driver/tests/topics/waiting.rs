//! What waits for a slow connection, by policy; and against a simple reference.

use framewright_driver::topics::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;

/// A message of `len` bytes.
fn message(topic: &str, key: Option<&str>, len: usize) -> Arc<Publication> {
    Arc::new(Publication::new(topic, "x".repeat(len).as_str(), key))
}

/// Room for this number of messages of 36 bytes: each counts 100.
fn room(count: usize) -> usize {
    count * 100
}

fn keys(waiting: &mut Waiting, counters: &Counters) -> Vec<String> {
    std::iter::from_fn(|| waiting.pop(counters)).map(|p| p.key().unwrap_or("-").to_owned()).collect()
}

#[test]
fn disconnect_lets_wait_what_fits_and_then_drops_everything() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let policy = SlowConsumer::Disconnect { limit: room(2) };
    assert_eq!(waiting.push(&message("t", None, 36), &policy, &counters), Pushed::Waits);
    assert_eq!(waiting.push(&message("t", None, 36), &policy, &counters), Pushed::Waits);
    assert_eq!((waiting.len(), waiting.bytes(), counters.stats().waiting_bytes), (2, 200, 200));
    assert_eq!(waiting.push(&message("t", None, 0), &policy, &counters), Pushed::Disconnect);
    assert!(waiting.is_empty() && waiting.front().is_none());
    assert_eq!((counters.stats().disconnected, counters.stats().waiting_bytes), (1, 0));
}

#[test]
fn drop_newest_keeps_what_waits() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let policy = SlowConsumer::DropNewest { limit: room(2) };
    let pushed = ["1", "2", "3"].map(|key| waiting.push(&message("t", Some(key), 36), &policy, &counters));
    assert_eq!(pushed, [Pushed::Waits, Pushed::Waits, Pushed::Dropped]);
    assert_eq!(keys(&mut waiting, &counters), ["1", "2"]);
    assert_eq!(counters.stats().dropped_newest, 1);
}

#[test]
fn drop_oldest_drops_its_own_and_no_message_of_another_policy() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let lossless = SlowConsumer::Disconnect { limit: room(9) };
    let lossy = SlowConsumer::DropOldest { limit: room(3) };
    waiting.push(&message("chat", Some("a"), 36), &lossless, &counters);
    for key in ["1", "2", "3", "4"] {
        assert_eq!(waiting.push(&message("t", Some(key), 36), &lossy, &counters), Pushed::Waits);
    }
    assert_eq!(waiting.front().and_then(|front| front.key()), Some("a"));
    assert_eq!(counters.stats().dropped_oldest, 2);
    // One that is too long alone drops nothing else.
    assert_eq!(waiting.push(&message("t", Some("5"), 300), &lossy, &counters), Pushed::Dropped);
    assert_eq!(keys(&mut waiting, &counters), ["a", "3", "4"]);
    assert_eq!(counters.stats().waiting_bytes, 0);
}

#[test]
fn latest_keeps_one_message_of_each_topic_and_key() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let policy = SlowConsumer::Latest { limit: room(3) };
    let mut push = |topic, key, len| waiting.push(&message(topic, key, len), &policy, &counters);
    assert_eq!(push("t", Some("a"), 36), Pushed::Waits);
    assert_eq!(push("t", Some("b"), 36), Pushed::Waits);
    assert_eq!(push("u", Some("a"), 36), Pushed::Waits);
    assert_eq!(push("t", Some("a"), 36), Pushed::Replaced);
    assert_eq!(waiting.bytes(), 300);
    assert_eq!(counters.stats().replaced, 1);
    let order: Vec<_> = std::iter::from_fn(|| waiting.pop(&counters))
        .map(|p| format!("{}{}", p.topic(), p.key().unwrap()))
        .collect();
    assert_eq!(order, ["tb", "ua", "ta"]);
    // What has left is not replaced.
    assert_eq!(waiting.push(&message("t", Some("a"), 36), &policy, &counters), Pushed::Waits);
    assert_eq!(waiting.push(&message("t", Some("a"), 400), &policy, &counters), Pushed::Disconnect);
}

#[test]
fn without_a_key_latest_keeps_one_message_of_a_topic() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let policy = SlowConsumer::Latest { limit: room(1) };
    for _ in 0..100_000 {
        waiting.push(&message("t", None, 36), &policy, &counters);
    }
    assert_eq!((waiting.len(), counters.stats().replaced), (1, 99_999));
    assert!(waiting.held() < 10_000, "{} bytes", waiting.held());
}

#[test]
fn what_is_retained_can_still_be_replaced() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let policy = SlowConsumer::Latest { limit: room(9) };
    for topic in ["t", "u", "v"] {
        waiting.push(&message(topic, Some("a"), 36), &policy, &counters);
    }
    waiting.retain(&counters, |publication| publication.topic() != "t");
    assert_eq!((waiting.len(), counters.stats().waiting_bytes), (2, 200));
    assert_eq!(waiting.push(&message("t", Some("a"), 36), &policy, &counters), Pushed::Waits);
    assert_eq!(waiting.push(&message("u", Some("a"), 36), &policy, &counters), Pushed::Replaced);
    assert_eq!(counters.stats().replaced, 1);
}

#[test]
fn what_has_left_is_not_held() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let policy = SlowConsumer::Latest { limit: room(9) };
    let [popped, forgotten, kept] = ["a", "b", "c"].map(|key| message(key, None, 36));
    for publication in [&popped, &forgotten, &kept] {
        waiting.push(publication, &policy, &counters);
    }
    drop(waiting.pop(&counters));
    waiting.retain(&counters, |publication| publication.topic() != "b");
    assert_eq!([&popped, &forgotten].map(Arc::strong_count), [1, 1]);
    assert_eq!(waiting.pop(&counters).as_ref().map(|front| front.topic()), Some("c"));
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[test]
fn drop_oldest_finds_its_messages_after_the_queue_was_packed() {
    let (mut waiting, counters) = (Waiting::default(), Counters::default());
    let latest = SlowConsumer::Latest { limit: room(99) };
    let lossy = SlowConsumer::DropOldest { limit: room(3) };
    waiting.push(&message("chat", Some("a"), 36), &SlowConsumer::default(), &counters);
    let replace = |waiting: &mut Waiting, count| {
        for _ in 0..count {
            waiting.push(&message("p", Some("p"), 36), &latest, &counters);
        }
    };
    replace(&mut waiting, 20);
    waiting.push(&message("t", Some("1"), 36), &lossy, &counters);
    replace(&mut waiting, 100);
    waiting.push(&message("t", Some("2"), 36), &lossy, &counters);
    replace(&mut waiting, 1);
    assert_eq!(counters.stats().dropped_oldest, 1);
    assert_eq!(keys(&mut waiting, &counters), ["a", "2", "p"]);
}

#[derive(Clone, Debug)]
enum Act {
    Push { topic: usize, key: usize, len: usize, policy: usize },
    Pop,
    Forget { topic: usize },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..3_usize, 0..4_usize, 0..200_usize, 0..4_usize)
            .prop_map(|(topic, key, len, policy)| Act::Push { topic, key, len, policy }),
        3 => Just(Act::Pop),
        1 => (0..3_usize).prop_map(|topic| Act::Forget { topic }),
    ]
}

/// The policies, word for word, on a list.
#[derive(Default)]
struct Reference(VecDeque<(Arc<Publication>, usize)>);

impl Reference {
    fn bytes(&self) -> usize {
        self.0.iter().map(|(p, _)| p.message().payload_len() + MESSAGE_COST).sum()
    }

    fn push(&mut self, publication: &Arc<Publication>, policy: usize, limit: usize) -> Pushed {
        let cost = publication.message().payload_len() + MESSAGE_COST;
        let mut pushed = Pushed::Waits;
        if policy == 2 && cost <= limit {
            while self.bytes() + cost > limit
                && let Some(at) = self.0.iter().position(|(_, policy)| *policy == 2)
            {
                self.0.remove(at);
            }
        }
        if policy == 3 {
            let same = |(p, of): &(Arc<Publication>, usize)| {
                *of == 3 && (p.topic(), p.key()) == (publication.topic(), publication.key())
            };
            if let Some(at) = self.0.iter().position(same) {
                self.0.remove(at);
                pushed = Pushed::Replaced;
            }
        }
        if self.bytes() + cost > limit {
            if policy == 1 || policy == 2 {
                return Pushed::Dropped;
            }
            self.0.clear();
            return Pushed::Disconnect;
        }
        self.0.push_back((Arc::clone(publication), policy));
        pushed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn waiting_does_what_a_list_does(acts in proptest::collection::vec(act(), 0..200), limit in 100..3_000_usize) {
        let (mut waiting, counters, mut reference) = (Waiting::default(), Counters::default(), Reference::default());
        let policies = [
            SlowConsumer::Disconnect { limit },
            SlowConsumer::DropNewest { limit },
            SlowConsumer::DropOldest { limit },
            SlowConsumer::Latest { limit },
        ];
        for act in acts {
            match act {
                Act::Push { topic, key, len, policy } => {
                    let publication = message(["t", "u", "v"][topic], [None, Some("a"), Some("b"), Some("c")][key], len);
                    let pushed = waiting.push(&publication, &policies[policy], &counters);
                    prop_assert_eq!(pushed, reference.push(&publication, policy, limit));
                }
                Act::Pop => {
                    let expected = reference.0.pop_front();
                    let popped = waiting.pop(&counters);
                    prop_assert_eq!(popped.is_some(), expected.is_some());
                    if let (Some(popped), Some((expected, _))) = (popped, expected) {
                        prop_assert!(Arc::ptr_eq(&popped, &expected));
                    }
                }
                Act::Forget { topic } => {
                    let topic = ["t", "u", "v"][topic];
                    waiting.retain(&counters, |publication| publication.topic() != topic);
                    reference.0.retain(|(publication, _)| publication.topic() != topic);
                }
            }
            prop_assert_eq!(waiting.len(), reference.0.len());
            prop_assert_eq!(waiting.bytes(), reference.bytes());
            prop_assert_eq!(counters.stats().waiting_bytes, reference.bytes() as u64);
        }
    }
}
