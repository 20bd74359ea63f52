//! The delivery of publications: to a connection with nothing else to send in one write, outside a
//! turn; to one that is slow, when it has taken what is queued.
//!
//! Publications and the joins of new subscribers are handled in the order in which they have come.
//! Publications that follow each other are delivered in one [`Round`]. A round goes on for a slice
//! of time, as walks do, so a topic with many subscribers delays no other work.

use crate::api::erased::Errands;
use crate::connection::open::{Sent, Unsent};
use crate::event_loop::slab::Key;
use crate::event_loop::{COMMANDS, EventLoop};
use crate::guard::guarded;
use crate::topics::round::{Parcel, Round};
use crate::topics::subscriptions::Joined;
use crate::topics::work::Work;
use framewright::CloseCode;
use framewright::connection::Batch;
use framewright_driver::topics::{Join, Publication, Pushed};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Publications, and changes of subscriptions, that a loop has not handled yet.
#[derive(Default)]
pub(super) struct Publications {
    queue: VecDeque<Work>,
    round: Round,
    /// The round is not at its end.
    is_under_way: bool,
    /// What was queued, and what is done of it.
    queued: u64,
    done: u64,
    /// The part of `done` that the round under way will add.
    taken: u64,
    /// Deliveries that are not counted yet.
    delivered: u64,
}

impl Publications {
    pub(super) fn push(&mut self, work: Work) {
        self.queued += 1;
        self.queue.push_back(work);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.is_under_way
    }

    /// A mark behind what is queued now.
    pub(super) fn mark(&self) -> u64 {
        self.queued
    }

    /// Whether everything before the mark is done.
    pub(super) fn has_passed(&self, mark: u64) -> bool {
        self.done >= mark
    }

    pub(super) fn trim(&mut self) {
        // A new allocation instead of shrinking in place: see `Slab::trim`.
        self.queue = self.queue.drain(..).collect();
    }
}

impl EventLoop {
    /// Delivers publications for `slice`, and to some connections at least.
    pub(super) fn handle_publications(&mut self, slice: Duration) {
        if self.publications.is_empty() {
            return;
        }
        let end = self.context.now + slice;
        let mut round = std::mem::take(&mut self.publications.round);
        let mut steps = 0;
        while self.publications.is_under_way || self.begin(&mut round) {
            if self.publications.is_under_way {
                self.deliver_next(&mut round);
            }
            steps += 1;
            if steps % COMMANDS == 0 {
                self.context.now = Instant::now();
                if self.context.now >= end {
                    break;
                }
            }
        }
        self.publications.round = round;
        self.context.now = Instant::now();
        let delivered = std::mem::take(&mut self.publications.delivered);
        self.context.parts.topics.get_mut().count_delivered(delivered);
    }

    /// Begins the next round, or handles another entry of the queue. Returns false if there is none.
    fn begin(&mut self, round: &mut Round) -> bool {
        let topics = self.context.parts.topics.get_mut();
        topics.members.tidy();
        let Publications { queue, is_under_way, taken, .. } = &mut self.publications;
        if matches!(queue.front(), Some(Work::Publish(_))) {
            *taken = round.begin(queue, &topics.members, topics.backlog()) as u64;
            *is_under_way = true;
            return true;
        }
        let Some(work) = queue.pop_front() else { return false };
        topics.backlog().less(&work);
        match work {
            Work::Join(join) => self.join(&join),
            Work::Leave(key, name) => self.leave(key, &name),
            Work::Publish(_) => {}
        }
        self.publications.done += 1;
        true
    }

    /// Delivers to the next connection of the round, or ends it.
    #[inline]
    fn deliver_next(&mut self, round: &mut Round) {
        let topics = self.context.parts.topics.get_mut();
        let Some((place, entries)) = round.step(&topics.members) else {
            round.end();
            self.publications.is_under_way = false;
            self.publications.done += std::mem::take(&mut self.publications.taken);
            return;
        };
        let Some((key, slot)) = self.slots.at_mut(place) else { return };
        let Some(parcel) = slot.id().and_then(|id| round.parcel(entries, id)) else { return };
        let count = parcel.batch.messages().len() as u64;
        let sent = slot.send_batch(key, parcel.batch, &mut self.context);
        if sent == Ok(Sent::All) && slot.stream.held() == 0 {
            self.publications.delivered += count;
            return;
        }
        self.after_batch(key, parcel, sent);
    }

    /// Handles what is not the usual result of sending a batch.
    #[cold]
    fn after_batch(&mut self, key: Key, mut parcel: Parcel<'_>, sent: Result<Sent, Unsent>) {
        if sent.is_ok() {
            self.publications.delivered += parcel.batch.messages().len() as u64;
        }
        match sent {
            Ok(Sent::All) => self.settle(key),
            Ok(Sent::Turn) => {
                self.take_turn(key);
                self.heed_alarm();
            }
            Err(Unsent::Ended) => {}
            Err(Unsent::Waits) => self.let_wait(key, &mut parcel),
        }
    }

    /// Keeps publications for a slow connection, as their policies say.
    fn let_wait(&mut self, key: Key, parcel: &mut Parcel<'_>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let topics = self.context.parts.topics.get_mut();
        let pushed = topics.let_wait(key, parcel.iter());
        match pushed {
            Pushed::Disconnect => {
                slot.errands.clear(Errands::WAITING);
                let reason = "too slow for what it is subscribed to";
                slot.fail(CloseCode::TRY_AGAIN_LATER, reason, self.context.now);
                self.take_turn(key);
                self.heed_alarm();
            }
            _ => {
                let has_drained = slot.has_drained();
                if topics.waits(key) {
                    slot.note(Errands::WAITING);
                    // Several that exceed the high-water mark together go one by one, in a turn that
                    // nothing else may bring.
                    if has_drained {
                        self.list(key);
                    }
                }
                self.settle(key);
            }
        }
    }

    /// Charges a connection for what it holds, outside a turn.
    pub(super) fn settle(&mut self, key: Key) {
        let Some((slot, charged)) = self.slots.get_charged(key) else { return };
        let held = slot.held() + self.context.parts.waiting(key, slot.errands);
        if self.context.holders.settle(key, charged, held, 0) {
            self.give_way(key);
        }
        self.heed_alarm();
    }

    /// Lets a connection that has subscribed have the messages that were kept, and all that follow.
    fn join(&mut self, join: &Join) {
        let key = Key::of_bits(join.subscriber);
        // A connection that has ended has left its topics, though its last bytes may still be queued.
        let id = self.slots.get_mut(key).and_then(|slot| slot.receiving_id());
        let joined = self.context.parts.join(key, id, join);
        if joined != Joined::Now && joined != Joined::Replays {
            return;
        }
        if join.gap
            && let Some(slot) = self.slots.get_mut(key)
        {
            slot.note(Errands::GAPS);
            self.list(key);
        }
        if joined == Joined::Replays {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.note(Errands::WAITING);
                self.list(key);
            }
            return;
        }
        let mut rest = &join.retained[..];
        while !rest.is_empty() {
            let count = Round::together(rest);
            self.deliver_apart(key, &rest[..count]);
            rest = &rest[count..];
        }
    }

    /// Sends a connection publications that are for it alone.
    pub(super) fn deliver_apart(&mut self, key: Key, publications: &[Arc<Publication>]) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let which: Vec<usize> = (0..publications.len()).collect();
        let mut batch = Batch::new();
        publications.iter().for_each(|publication| batch.push(publication.message().clone()));
        let sent = slot.send_batch(key, &mut batch, &mut self.context);
        self.after_batch(key, Parcel { batch: &mut batch, publications, which: &which }, sent);
    }

    fn leave(&mut self, key: Key, name: &str) {
        let Some(id) = self.slots.get_mut(key).and_then(|slot| slot.id()) else { return };
        // The application's observer may panic.
        guarded(|| self.context.parts.unsubscribe(key, id, name));
    }
}
