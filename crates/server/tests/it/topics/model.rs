//! Random subscribers and publishers beside a simple model.
//!
//! What is done is said by one thread and answered before the next step, so the model knows exactly
//! what each subscriber has to receive: everything that was published between the answers to its
//! subscribing and its unsubscribing. What was published before it has unsubscribed may be on its
//! way then, and need not arrive; but if it does, then in order.

use super::board::{BoardServer, Pin};
use framewright_server::{Retain, SlowConsumer, TopicOptions, Topics};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::hash::{BuildHasher, RandomState};

/// A small generator of random numbers (SplitMix64), so that a seed replays.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "d"];
const FILTERS: [&str; 7] = ["a", "a/b", "a/c", "d", "a/#", "a/b/#", "#"];
/// The messages that are kept of each topic.
const KEPT: usize = 2;

fn matches(filter: &str, topic: &str) -> bool {
    match filter.strip_suffix('#') {
        None => filter == topic,
        Some("") => true,
        Some(below) => topic.starts_with(below) || Some(topic) == below.strip_suffix('/'),
    }
}

/// A client, and what it has to receive.
struct Subscriber {
    pin: Pin,
    filters: BTreeSet<&'static str>,
    /// For each topic: the messages to be received, and whether they may be missing.
    wanted: BTreeMap<&'static str, Vec<(u32, bool)>>,
    /// It does not read publications until the end.
    is_lazy: bool,
}

impl Subscriber {
    fn wants(&self, topic: &str) -> bool {
        self.filters.iter().any(|filter| matches(filter, topic))
    }

    /// Compares what has come with what was to come.
    fn check(&mut self, seed: u64, fence: &mut u32) {
        *fence += 1;
        let end = format!("end {fence}");
        self.pin.expect_ok("+fence");
        self.pin.expect_ok(&format!("*fence {end}"));
        let mut got: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut texts = self.pin.up_to(&end);
        // Those of others, for who is subscribed to everything.
        texts.retain(|text| !text.starts_with("end "));
        for text in &texts {
            let (topic, number) = text.split_once('=').expect("a topic and a number");
            got.entry(topic).or_default().push(number.parse().expect("a number"));
        }
        assert_eq!(self.pin.say("-fence"), "true");
        for topic in TOPICS {
            let wanted = self.wanted.remove(topic).unwrap_or_default();
            let got = got.remove(topic).unwrap_or_default();
            let case = || format!("seed {seed}, {topic}: wanted {wanted:?}, got {got:?}");
            // Those that may be missing come before all others.
            let mut left = got.iter().rev().peekable();
            for (number, may_be_missing) in wanted.iter().rev() {
                let has_come = left.next_if_eq(&number).is_some();
                assert!(has_come || *may_be_missing, "{number} is missing: {}", case());
            }
            assert_eq!(left.next(), None, "{}", case());
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let retains = random.below(2) == 1;
    let retain = if retains { Retain::Last(KEPT) } else { Retain::Nothing };
    // Nobody is disconnected for what the test does not read yet.
    let slow_consumer = SlowConsumer::Disconnect { limit: 64 << 20 };
    let options = TopicOptions { slow_consumer, retain, ..TopicOptions::default() };
    // The fence is kept for nobody.
    let topics = Topics::builder().options("#", options).options("fence", TopicOptions::default()).build();
    let board = BoardServer::start(1 + random.below(4), topics);
    let mut subscribers: Vec<Subscriber> = Vec::new();
    let mut published: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let (mut number, mut fence) = (0, 0);
    for _ in 0..200 {
        match random.below(20) {
            0 | 1 if subscribers.len() < 8 => {
                let pin = board.subscribed(&[]);
                let (filters, wanted) = (BTreeSet::new(), BTreeMap::new());
                subscribers.push(Subscriber { pin, filters, wanted, is_lazy: random.below(3) == 0 });
            }
            2 if subscribers.len() > 3 => {
                let mut leaves = subscribers.swap_remove(random.below(subscribers.len()));
                if random.below(2) == 0 {
                    leaves.check(seed, &mut fence);
                }
            }
            _ if subscribers.is_empty() => {}
            3..=6 => {
                let index = random.below(subscribers.len());
                let (filter, subscriber) = (*random.pick(&FILTERS), &mut subscribers[index]);
                // What was kept comes once more if another filter of the connection matches: the
                // model leaves that out.
                let overlaps = TOPICS.iter().any(|topic| matches(filter, topic) && subscriber.wants(topic));
                if retains && overlaps && !subscriber.filters.contains(filter) {
                    continue;
                }
                subscriber.pin.expect_ok(&format!("+{filter}"));
                if subscriber.filters.insert(filter) && retains {
                    for topic in TOPICS.into_iter().filter(|topic| matches(filter, topic)) {
                        let of_topic = published.get(topic).map_or(&[][..], Vec::as_slice);
                        let kept = &of_topic[of_topic.len().saturating_sub(KEPT)..];
                        let wanted = subscriber.wanted.entry(topic).or_default();
                        wanted.extend(kept.iter().map(|&number| (number, false)));
                    }
                }
            }
            7 | 8 => {
                let index = random.below(subscribers.len());
                let (filter, subscriber) = (*random.pick(&FILTERS), &mut subscribers[index]);
                let had = subscriber.filters.remove(filter);
                assert_eq!(subscriber.pin.say(&format!("-{filter}")), had.to_string(), "seed {seed}");
                let topics = TOPICS.into_iter().filter(|topic| had && matches(filter, topic));
                for topic in topics.filter(|topic| !subscriber.wants(topic)).collect::<Vec<_>>() {
                    let wanted = subscriber.wanted.entry(topic).or_default();
                    wanted.iter_mut().for_each(|(_, may_be_missing)| *may_be_missing = true);
                }
            }
            9 => {
                let index = random.below(subscribers.len());
                if !subscribers[index].is_lazy {
                    subscribers[index].check(seed, &mut fence);
                }
            }
            _ => {
                let (topic, publisher) = (*random.pick(&TOPICS), random.below(subscribers.len()));
                let by_callback = random.below(2) == 0;
                // Some are long, so that lazy ones become slow.
                let len = *random.pick(&[1, 10, 200, 30_000]);
                let text = format!("{topic}={}{number}", "0".repeat(len));
                if by_callback {
                    subscribers[publisher].pin.expect_ok(&format!("!{topic} {text}"));
                } else {
                    board.publish(topic, &text);
                }
                for (index, subscriber) in subscribers.iter_mut().enumerate() {
                    if subscriber.wants(topic) && !(by_callback && index == publisher) {
                        subscriber.wanted.entry(topic).or_default().push((number, false));
                    }
                }
                published.entry(topic).or_default().push(number);
                number += 1;
            }
        }
        let subscriptions: usize = subscribers.iter().map(|subscriber| subscriber.filters.len()).sum();
        let handle = board.server.handle();
        let counted: usize = FILTERS.iter().map(|filter| handle.subscribers(filter)).sum();
        assert!(counted >= subscriptions, "seed {seed}: {counted} and not {subscriptions}");
    }
    subscribers.iter_mut().for_each(|subscriber| subscriber.check(seed, &mut fence));
}

/// `TOPICS_SEED` replays one run.
#[test]
#[expect(clippy::print_stdout, reason = "the seed of a run that fails")]
fn every_subscriber_receives_what_the_model_says() {
    if let Ok(seed) = env::var("TOPICS_SEED") {
        return run(seed.parse().expect("a seed"));
    }
    let first = RandomState::new().hash_one(0);
    println!("TOPICS_SEED is {first} and the {RUNS} behind it");
    (0..RUNS).for_each(|index| run(first.wrapping_add(index)));
}

/// The runs of the test: a second in all.
const RUNS: u64 = 30;
