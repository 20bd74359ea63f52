//! Who gives way, and who stays.

use super::charge::{SEEN, charge, kib_of};
use super::holders::{Holders, Small, order_small};
use super::*;
use crate::event_loop::mailbox::Command;
use mio::{Poll, Token};
use proptest::prelude::*;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A loop whose connections are numbers, with the charge of each.
struct Loop {
    holders: Holders,
    charged: Vec<u32>,
    ended: Vec<usize>,
    /// How often it was asked to look for small holders.
    looks: usize,
    /// The mailbox's waker needs it.
    _poll: Poll,
}

/// Creates `count` loops with `connections` connections each.
fn loops(limit: Option<usize>, count: usize, connections: usize) -> (Arc<Ledger>, Vec<Loop>) {
    let made: Vec<(Poll, Arc<Mailbox>)> = (0..count)
        .map(|_| {
            let poll = Poll::new().expect("a poll");
            let waker = mio::Waker::new(poll.registry(), Token(0)).expect("a waker");
            (poll, Arc::new(Mailbox::new(waker)))
        })
        .collect();
    let mut ledger = Ledger::new(limit, made.iter().map(|(_, mailbox)| Arc::clone(mailbox)).collect());
    // As long ago as the clock allows.
    ledger.began = ledger.began.checked_sub(Duration::from_secs(60)).unwrap_or(ledger.began);
    let ledger = Arc::new(ledger);
    let make = |(poll, mailbox)| Loop {
        holders: Holders::new(Arc::clone(&ledger), mailbox),
        charged: vec![0; connections],
        ended: Vec::new(),
        looks: 0,
        _poll: poll,
    };
    let loops = made.into_iter().map(make).collect();
    (ledger, loops)
}

fn key(index: usize) -> Key {
    Key::of(Token(index))
}

impl Loop {
    fn settle(&mut self, index: usize, held: usize, moved: usize) {
        if self.holders.settle(key(index), &mut self.charged[index], held, moved) {
            self.end(index);
        }
    }

    /// Acts as if the holder had moved nothing for `millis`.
    fn idle_for(&self, index: usize, millis: u64) {
        let holder = &self.holders.large[&key(index)];
        holder.entry.since.store(holder.ledger.millis().saturating_sub(millis), Ordering::Relaxed);
    }

    /// Handles the commands in the mailbox.
    fn obey(&mut self) {
        let mut commands = Vec::new();
        self.holders.mailbox.take(&mut commands);
        for command in commands {
            let indices = 0..self.charged.len();
            match command {
                Command::GiveWay(told) => {
                    let index = indices.into_iter().find(|index| key(*index) == told).expect("a connection");
                    if self.holders.is_told(told) {
                        self.end(index);
                    }
                }
                Command::MakeRoom => {
                    self.looks += 1;
                    let ledger = Arc::clone(&self.holders.ledger);
                    if ledger.wants_room() {
                        let small = indices.map(key).zip(&mut self.charged);
                        let small = small.map(|(key, charged)| Small { key, charged, queued: 0 });
                        for small in order_small(small) {
                            if ledger.wants_room() {
                                let index = (0..self.charged.len()).find(|index| key(*index) == small);
                                self.end(index.expect("a connection"));
                            }
                        }
                    }
                    ledger.note_looked();
                }
                _ => panic!("another command"),
            }
        }
    }

    fn end(&mut self, index: usize) {
        self.settle(index, 0, 0);
        self.ended.push(index);
    }
}

#[test]
fn little_is_nothing_and_much_is_counted_in_kib() {
    assert_eq!([0, 511, 512, 1024, 1535, 1536].map(kib), [0, 0, 1, 1, 1, 2]);
    assert_eq!(kib(usize::MAX), SEEN - 1);
}

#[test]
fn who_holds_most_for_the_longest_goes_and_others_stay() {
    let (ledger, mut loops) = loops(Some(4 * MIB), 2, 10);
    let [first, second] = &mut loops[..] else { panic!("two loops") };
    first.settle(0, MIB, 0);
    first.settle(1, 30 << 10, 0);
    second.settle(0, 2 * MIB, 0);
    second.settle(1, MIB / 2, 0);
    second.idle_for(1, 50_000);
    second.settle(1, MIB / 2, PROGRESS); // it has moved something just now
    second.idle_for(0, 10_000);
    first.idle_for(0, 30_000);
    assert_eq!(ledger.stats().held, (3 * MIB + MIB / 2) + (30 << 10));
    second.settle(2, MIB, 0);
    let told = |one: &Loop, index| one.holders.is_told(key(index));
    assert!(told(first, 0), "a MiB for half a minute is more than two for ten seconds");
    assert!(!told(second, 0) && !told(second, 1) && !told(second, 2));
    first.obey();
    second.obey();
    assert_eq!((&first.ended[..], &second.ended[..]), (&[0][..], &[][..]), "nobody who holds little");
    assert!(ledger.stats().held <= 4 * MIB);
}

#[test]
fn who_let_go_before_it_was_heard_stays() {
    let (ledger, mut loops) = loops(Some(MIB), 1, 3);
    let one = &mut loops[0];
    one.settle(0, MIB, 0);
    one.settle(1, 100 << 10, 0);
    one.idle_for(0, 1);
    assert!(one.holders.alarm);
    one.settle(0, 100, 0);
    one.obey();
    assert_eq!(one.ended, [0_usize; 0]);
    assert_eq!((ledger.stats().held, ledger.lasting()), (100 << 10, 100));
}

#[test]
fn small_ones_go_only_where_there_are_no_others() {
    let (ledger, mut loops) = loops(Some(MIB), 1, 40);
    let one = &mut loops[0];
    for index in 0..20 {
        one.settle(index, 40 << 10, 0);
    }
    one.settle(20, 300 << 10, 0);
    one.obey();
    assert_eq!(one.ended, [20]);
    for index in 21..40 {
        // The new ones have made progress meanwhile.
        for new in (21..index).filter(|new| one.charged[*new] > 0).collect::<Vec<_>>() {
            one.settle(new, (41 + new % 20) << 10, 16 << 10);
        }
        one.settle(index, (41 + index % 20) << 10, 0);
        one.obey();
        assert!(ledger.stats().held <= MIB);
    }
    let (old, new): (Vec<usize>, Vec<usize>) = one.ended[1..].iter().partition(|index| **index < 20);
    assert!(!old.is_empty() && !new.is_empty(), "{:?}: the largest, and who has made no progress", one.ended);
}

/// Many strangers that hold little have filled almost the whole limit. A connection that needs
/// much for a moment is not ended for them.
#[test]
fn a_crowd_of_small_ones_does_not_end_who_holds_much() {
    for count in 16..=18 {
        let (ledger, mut loops) = loops(Some(MIB), 2, 20);
        for index in 0..count {
            loops[index % 2].settle(index / 2, 59_000, 0);
        }
        for held in [66 << 10, 100 << 10, 150 << 10, 200_000] {
            loops[0].settle(19, held, 16 << 10);
            loops.iter_mut().for_each(Loop::obey);
            assert!(ledger.stats().held <= MIB, "{held}: {:?}", ledger.stats());
        }
        assert!(loops.iter().all(|one| !one.ended.contains(&19)), "a message of 200 KB gets through");
        let ended: usize = loops.iter().map(|one| one.ended.len()).sum();
        assert!((1..=5).contains(&ended), "{ended} of {count}");
    }
}

/// Large holders beyond their share are ended first, and no more of them than needed.
#[test]
fn of_large_ones_none_goes_that_is_within_their_share() {
    let (ledger, mut loops) = loops(Some(MIB), 1, 20);
    let one = &mut loops[0];
    (0..12).for_each(|index| one.settle(index, 60 << 10, 0));
    for index in 12..16 {
        one.settle(index, 75 << 10, 0);
        one.idle_for(index, 1000 * (20 - index as u64));
    }
    one.settle(16, 60 << 10, 0);
    one.obey();
    assert_eq!(one.ended, [12], "the rest of them is a quarter");
    (17..20).for_each(|index| one.settle(index, 60 << 10, 0));
    one.obey();
    assert!(one.ended.len() >= 3 && one.ended[1..].iter().all(|index| *index < 12), "{:?}", one.ended);
    assert!(ledger.stats().held <= MIB);
}

/// A byte, a Ping or a turn now and then: none of these is progress.
#[test]
fn of_small_ones_who_seems_busy_does_not_outlive_who_holds_less_or_goes_on() {
    let (ledger, mut loops) = loops(Some(MIB), 1, 300);
    let one = &mut loops[0];
    one.settle(0, 2 << 10, 2 << 10); // honest, and pauses from now on
    for index in 2..300 {
        one.settle(index, 60 << 10, 16 << 10);
        for busy in (2..index).filter(|busy| one.charged[*busy] > 0).collect::<Vec<_>>() {
            one.settle(busy, 60 << 10, 100);
        }
        if index > 30 {
            one.settle(1, 62 << 10, 16 << 10); // honest, and goes on; it came after others were seen
        }
        one.obey();
        assert!(ledger.stats().held <= MIB);
    }
    assert!(one.ended.len() > 200 && one.ended.iter().all(|index| *index > 1), "{:?}", one.ended);
}

#[test]
fn what_handles_have_queued_counts_where_it_is_little() {
    let mut charged = [10, 20, 0, 0, 100, SEEN | 20];
    let queued = [15, 0, 60, 200, 3, 0];
    let all = charged.iter_mut().zip(queued).enumerate();
    let all = all.map(|(index, (charged, queued))| Small { key: key(index), charged, queued });
    assert_eq!(order_small(all), [2, 5, 0, 1, 4].map(key), "what is large is in the table");
    assert_eq!(charged, [SEEN | 10, SEEN | 20, 0, 0, 100, SEEN | 20]);
}

#[test]
fn progress_of_small_ones_adds_up() {
    let mut charged = SEEN | 60;
    for _ in 0..2 {
        charged = charge(charged, 60, 7000);
        assert_eq!((charged & SEEN, kib_of(charged)), (SEEN, 60));
    }
    assert_eq!(charge(charged, 61, 7000), 61);
    assert_eq!(charge(charged, 61, usize::MAX), 61);
    assert_eq!([charge(charged, 0, 0), charge(charged, 65, 0), charge(7, 9, 0)], [0, 65, 9]);
}

/// A callback takes long, so that its loop does not receive the notifications.
#[test]
fn while_a_loop_is_busy_others_do_not_go_far_beyond_the_limit() {
    let (ledger, mut loops) = loops(Some(20 * MIB), 2, 300);
    let [busy, other] = &mut loops[..] else { panic!("two loops") };
    (0..19).for_each(|index| busy.settle(index, MIB, 0));
    for index in 0..300 {
        other.settle(index, (1 + index % 5) * (50 << 10), 16 << 10);
        other.obey();
        assert!(ledger.stats().held <= 22 * MIB + MIB / 2 + (250 << 10), "{:?}", ledger.stats());
    }
    assert!(ledger.stats().held > 22 * MIB && other.ended.len() > 200, "{:?}", other.ended);
    assert!(!ledger.has_room(2 * 1024), "it is promised, and not there");
    busy.obey();
    assert!(ledger.stats().held <= 20 * MIB);
    assert!(ledger.has_room(512));
}

/// Each charge that does not fit makes the loops look, but not twice for one shortage.
#[test]
fn loops_look_for_small_ones_once_at_a_time_and_not_for_nothing() {
    let (ledger, mut loops) = loops(Some(MIB), 2, 100);
    (0..100).for_each(|index| loops[0].settle(index, 11 << 10, 0));
    loops[0].obey();
    loops[0].settle(99, 60 << 10, 0);
    loops[0].obey();
    assert_eq!((loops[0].looks, loops[1].looks), (1, 0), "the other one has still to look");
    loops[1].obey();
    loops.iter_mut().for_each(Loop::obey);
    assert_eq!((loops[0].looks, loops[1].looks), (2, 2), "and both once more");
    assert!(!ledger.wants_room());
    let unseen = |one: &Loop| one.charged.iter().filter(|charged| **charged & SEEN == 0).count();
    let before = unseen(&loops[0]);
    ledger.look_for_small();
    loops.iter_mut().for_each(Loop::obey);
    assert_eq!((loops[0].looks, unseen(&loops[0])), (3, before), "nobody is seen where nobody has to go");
    assert_eq!(ledger.looking.load(Ordering::Relaxed), 0);
}

#[test]
fn what_fits_only_without_others_has_room_when_they_are_told() {
    let (ledger, mut loops) = loops(Some(MIB), 1, 2);
    let one = &mut loops[0];
    assert!(ledger.has_room(1024));
    assert!(!ledger.has_room(1025), "it never fits");
    one.settle(0, 800 << 10, 0);
    one.settle(1, 60 << 10, 0);
    assert!(ledger.has_room(500));
    assert!(one.holders.is_told(key(0)));
    assert!(!ledger.has_room(1000), "a small one is not asked");
    assert_eq!(ledger.stats().refused, 2);
    assert!(!ledger.has_room_now(500), "who was told has not gone yet");
    one.obey();
    assert!(ledger.has_room(900) && ledger.has_room_now(900) && !ledger.has_room(1000));
    assert_eq!((&one.ended[..], ledger.stats().held), (&[0][..], 60 << 10));
}

#[test]
fn without_a_bound_everything_fits() {
    let (ledger, mut loops) = loops(None, 1, 2);
    loops[0].settle(0, usize::MAX, 0);
    loops[0].settle(1, usize::MAX, 0);
    assert!(ledger.has_room(u32::MAX));
    let stats = ledger.stats();
    assert_eq!((stats.limit, stats.ended, stats.refused), (None, 0, 0));
    assert!(stats.held > 1 << 40);
}

proptest! {
    #[test]
    fn no_more_is_held_than_may_be_and_all_of_it_comes_back(
        steps in proptest::collection::vec((0..2_usize, 0..30_usize, 0..400_usize, 0..40_000_usize), 1..300),
    ) {
        let (ledger, mut loops) = loops(Some(2 * MIB), 2, 30);
        for (number, index, held, moved) in steps {
            loops[number].settle(index, held << 10, moved);
            prop_assert!(ledger.stats().held <= 2 * MIB + (400 << 10), "beyond by one turn");
            loops.iter_mut().for_each(Loop::obey);
            prop_assert!(ledger.stats().held <= 2 * MIB);
            let charged: u64 = loops.iter().flat_map(|one| &one.charged).map(|kib| u64::from(kib_of(*kib))).sum();
            prop_assert_eq!(ledger.stats().held as u64, charged << 10);
        }
        for one in &mut loops {
            (0..30).for_each(|index| one.settle(index, 0, 0));
            prop_assert!(one.holders.large.is_empty());
        }
        prop_assert_eq!((ledger.stats().held, ledger.lasting()), (0, 0));
        prop_assert!(lock(&ledger.large).entries.is_empty());
    }
}
