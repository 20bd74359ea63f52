//! What a reader remembers of each publisher: the last sequence number on each topic.
//!
//! It tells a message that has come before, and one that is missing before this one. The memory has an
//! end: two halves, of which the older one is forgotten when the younger one is full. What is forgotten
//! costs one chance to notice, never a message.

use crate::wire::envelope::{Envelope, Publisher};
use std::collections::HashMap;

/// The last sequence numbers of publishers.
#[derive(Debug)]
pub(crate) struct Seen {
    young: Half,
    old: Half,
    /// How many numbers each half has at most.
    limit: usize,
    /// Counts the connections. What came over an earlier one tells nothing about a gap, because the
    /// whole time between was told as one.
    connection: u32,
}

#[derive(Debug, Default)]
struct Half {
    publishers: HashMap<Publisher, HashMap<Box<str>, Last>>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    connection: u32,
}

/// What a message is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It is the next one, or nothing is known about its publisher.
    New,
    /// Something of its publisher is missing before it.
    Gap,
    /// It has been here before.
    Again,
}

impl Seen {
    pub(crate) fn new(limit: usize) -> Self {
        Self { young: Half::default(), old: Half::default(), limit: limit.max(1), connection: 0 }
    }

    /// Notes that there is a new connection.
    pub(crate) fn reconnected(&mut self) {
        self.connection = self.connection.wrapping_add(1);
    }

    pub(crate) fn look(&mut self, envelope: &Envelope<'_>) -> Sight {
        let now = Last { sequence: envelope.sequence, connection: self.connection };
        let last = match self.young.get_mut(envelope) {
            Some(last) if envelope.sequence <= last.sequence => return Sight::Again,
            Some(last) => Some(std::mem::replace(last, now)),
            None => {
                let last = self.old.get_mut(envelope).copied();
                if last.is_some_and(|last| envelope.sequence <= last.sequence) {
                    return Sight::Again;
                }
                if self.young.len >= self.limit {
                    self.old = std::mem::take(&mut self.young);
                }
                self.young.insert(envelope, now);
                last
            }
        };
        match last {
            Some(last) if last.connection == self.connection && envelope.previous > last.sequence => {
                Sight::Gap
            }
            _ => Sight::New,
        }
    }

    /// Forgets the topics for which `forget` is true: what comes of them next follows nothing.
    pub(crate) fn forget(&mut self, forget: impl Fn(&str) -> bool) {
        for half in [&mut self.young, &mut self.old] {
            half.publishers.retain(|_, topics| {
                topics.retain(|topic, _| !forget(topic));
                !topics.is_empty()
            });
            half.len = half.publishers.values().map(HashMap::len).sum();
        }
    }
}

impl Half {
    fn get_mut(&mut self, envelope: &Envelope<'_>) -> Option<&mut Last> {
        self.publishers.get_mut(&envelope.publisher)?.get_mut(envelope.topic)
    }

    fn insert(&mut self, envelope: &Envelope<'_>, last: Last) {
        let topics = self.publishers.entry(envelope.publisher).or_default();
        if topics.insert(envelope.topic.into(), last).is_none() {
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(publisher: u8, topic: &str, sequence: u64, previous: u64) -> Envelope<'_> {
        Envelope {
            publisher: [publisher; 16],
            sequence,
            previous,
            again: false,
            topic,
            key: None,
            text: true,
            payload: b"",
        }
    }

    #[test]
    fn a_message_that_came_before_is_known_and_a_missing_one_is_noticed() {
        let mut seen = Seen::new(8);
        assert_eq!(seen.look(&envelope(1, "a", 5, 3)), Sight::New);
        assert_eq!(seen.look(&envelope(1, "a", 5, 3)), Sight::Again);
        assert_eq!(seen.look(&envelope(1, "a", 4, 3)), Sight::Again);
        assert_eq!(seen.look(&envelope(2, "a", 1, 0)), Sight::New);
        assert_eq!(seen.look(&envelope(1, "b", 6, 2)), Sight::New);
        assert_eq!(seen.look(&envelope(1, "a", 7, 5)), Sight::New);
        assert_eq!(seen.look(&envelope(1, "a", 9, 8)), Sight::Gap);
        // The publisher has forgotten what it sent before.
        assert_eq!(seen.look(&envelope(1, "a", 20, 0)), Sight::New);
    }

    #[test]
    fn a_new_connection_is_a_gap_already_and_still_knows_what_came_before() {
        let mut seen = Seen::new(8);
        seen.look(&envelope(1, "a", 5, 3));
        seen.reconnected();
        assert_eq!(seen.look(&envelope(1, "a", 5, 3)), Sight::Again);
        assert_eq!(seen.look(&envelope(1, "a", 9, 8)), Sight::New);
        assert_eq!(seen.look(&envelope(1, "a", 12, 11)), Sight::Gap);
    }

    #[test]
    fn memory_has_an_end_and_what_is_used_is_kept() {
        let mut seen = Seen::new(4);
        for sequence in 1..10_000 {
            seen.look(&envelope(1, "busy", 2 * sequence, 2 * sequence - 2));
            let topic = format!("topic {sequence}");
            seen.look(&envelope(1, &topic, 2 * sequence + 1, 0));
            assert!(seen.young.len <= 4 && seen.old.len <= 4);
            assert_eq!(seen.look(&envelope(1, "busy", 2 * sequence, 2 * sequence - 2)), Sight::Again);
        }
    }

    #[test]
    fn a_topic_that_was_left_has_no_gap_when_it_is_subscribed_to_again() {
        let mut seen = Seen::new(2);
        for (topic, sequence) in [("a", 1), ("b", 2), ("c", 3)] {
            seen.look(&envelope(1, topic, sequence, 0));
        }
        seen.forget(|topic| topic != "b");
        assert_eq!(seen.look(&envelope(1, "a", 9, 8)), Sight::New);
        assert_eq!(seen.look(&envelope(1, "b", 11, 10)), Sight::Gap);
    }
}
