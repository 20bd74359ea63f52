//! Walks through all connections of a loop, which do a requested job for each of them.
//!
//! A walk follows the places of the connections, for a slice of time in each round, and stores only
//! its position. Walks run one after the other, in the order of the requests, so two messages of
//! one thread reach each connection in their order.

use crate::api::connections::{Connected, Delivered, ServerBusy};
use crate::api::erased::Errands;
use crate::api::socket::Parcel;
use crate::event_loop::slab::Key;
use crate::event_loop::{COMMANDS, EventLoop};
use crate::guard::{guarded, lock};
use framewright::Prepared;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The bound for the cost of all queued walks, in bytes: a walk is admitted while the cost is below
/// it. As large as the largest message is by default.
const MOST: usize = 16 << 20;

/// The cost of a walk besides its message, in bytes.
const WALK_COST: usize = 1 << 10;

/// A walk through the connections of one loop.
pub(crate) struct Walk {
    /// The first place that it has not reached.
    pub(crate) next: u32,
    pub(crate) job: Job,
}

/// The job that a walk does for each connection.
pub(crate) enum Job {
    /// Calls the closure; the walk ends if it returns false.
    Visit(Box<dyn FnMut(&Connected<'_>) -> bool + Send>),
    /// Sends the messages, in their order. Those queued when the walk began go together.
    Send(Vec<Sending>),
    /// Begins to end the connections because the server stops, including those whose opening
    /// handshake is not complete. The publications before this mark go first.
    Drain(u64),
}

/// The limits for combining messages into one walk: their number, and their bytes. The message that
/// exceeds the byte limit is still taken.
const TOGETHER: (usize, usize) = (64, 64 << 10);

/// A message for each connection of a loop that the filter accepts.
pub(crate) struct Sending {
    mail: Arc<Mail>,
    delivered: Delivered,
    tell: Sender<Delivered>,
}

/// A message for the connections of all loops.
pub(crate) struct Mail {
    message: Prepared,
    filter: Option<Filter>,
    _permit: Permit,
}

impl Mail {
    /// A message whose `permit` is held until the last loop has sent it.
    pub(crate) fn new(message: Prepared, filter: Option<Filter>, permit: Permit) -> Arc<Mail> {
        Arc::new(Mail { message, filter, _permit: permit })
    }
}

/// Selects the connections that receive a message.
pub(crate) type Filter = Box<dyn Fn(&Connected<'_>) -> bool + Send + Sync>;

impl Walk {
    pub(crate) fn new(job: Job) -> Walk {
        Walk { next: 0, job }
    }

    /// Takes over the messages of the next walks, if this one sends and has not begun: one turn of
    /// each connection, and one write, serves for all.
    pub(crate) fn take_along(&mut self, others: &mut VecDeque<Walk>) {
        let Job::Send(messages) = &mut self.job else { return };
        let mut octets: usize = messages.iter().map(|sending| sending.message().payload_len()).sum();
        while self.next == 0
            && messages.len() < TOGETHER.0
            && octets < TOGETHER.1
            && others.front().is_some_and(|next| matches!(next.job, Job::Send(_)))
            && let Some(Walk { job: Job::Send(more), .. }) = others.pop_front()
        {
            octets += more.iter().map(|sending| sending.message().payload_len()).sum::<usize>();
            messages.extend(more);
        }
    }
}

impl Sending {
    pub(crate) fn new(mail: &Arc<Mail>, tell: &Sender<Delivered>) -> Sending {
        Sending { mail: Arc::clone(mail), delivered: Delivered::default(), tell: tell.clone() }
    }

    pub(crate) fn message(&self) -> &Prepared {
        &self.mail.message
    }

    /// Whether this connection receives the message. False if the application's filter panics.
    pub(crate) fn is_for(&self, connected: &Connected<'_>) -> bool {
        let Some(filter) = &self.mail.filter else { return true };
        guarded(|| filter(connected)).unwrap_or_else(|| {
            tracing::error!(connection = connected.id(), "a filter panicked; the connection is left out");
            false
        })
    }

    pub(crate) fn delivered(&mut self) -> &mut Delivered {
        &mut self.delivered
    }
}

impl Drop for Sending {
    /// Reports the deliveries: the walk is complete, or the loop has ended.
    fn drop(&mut self) {
        // The receiver may be gone.
        let _ = self.tell.send(self.delivered);
    }
}

/// The walks requested of a loop that it has not taken. The server owns them, and its handles refer
/// to them only while the server exists. So a thread that waits for a walk never waits for one that
/// is gone.
#[derive(Default)]
pub(crate) struct Walks {
    /// The walks, and whether the loop has ended.
    queue: Mutex<(VecDeque<Walk>, bool)>,
}

impl Walks {
    /// Queues a walk; drops it if the loop has ended.
    pub(crate) fn push(&self, walk: Walk) {
        let mut queue = lock(&self.queue);
        if queue.1 {
            // The application's closures may be slow to drop: not under the lock.
            drop(queue);
            drop(walk);
        } else {
            queue.0.push_back(walk);
        }
    }

    pub(crate) fn take(&self) -> VecDeque<Walk> {
        std::mem::take(&mut lock(&self.queue).0)
    }

    /// Accepts nothing more, because the loop has ended, and drops the queued walks.
    pub(crate) fn close(&self) {
        let left = {
            let mut queue = lock(&self.queue);
            queue.1 = true;
            std::mem::take(&mut queue.0)
        };
        guarded(|| drop(left));
    }
}

/// The cost of a server's queued walks, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Arc<AtomicUsize>);

/// A share of that cost, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    waiting: Arc<AtomicUsize>,
    cost: usize,
}

impl Waiting {
    /// Counts a walk with a message of `octets` bytes.
    ///
    /// # Errors
    /// If the cost of the queued walks has reached the bound.
    pub(crate) fn permit(&self, octets: usize) -> Result<Permit, ServerBusy> {
        let cost = octets.saturating_add(WALK_COST);
        let more = |waiting: usize| (waiting < MOST).then(|| waiting.saturating_add(cost));
        let counted = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map_err(|_| ServerBusy)?;
        Ok(Permit { waiting: Arc::clone(&self.0), cost })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.cost, Ordering::Relaxed);
    }
}

impl EventLoop {
    /// Continues the walks through all connections for `slice`, and for at least one connection.
    pub(super) fn handle_walks(&mut self, slice: Duration) {
        let end = self.context.now + slice;
        while let Some(mut walk) = self.walks.pop_front() {
            if let Job::Drain(mark) = walk.job
                && !self.publications.has_passed(mark)
            {
                return self.walks.push_front(walk);
            }
            walk.take_along(&mut self.walks);
            if !self.walk_on(&mut walk, end) {
                return self.walks.push_front(walk);
            }
            // The walk's closures are the application's.
            guarded(|| drop(walk));
            self.context.now = Instant::now();
            if self.context.now >= end {
                return;
            }
        }
    }

    /// Continues one walk until `end`. Returns whether it is complete.
    fn walk_on(&mut self, walk: &mut Walk, end: Instant) -> bool {
        let mut visited = 0;
        while let Some(key) = self.slots.next_at(walk.next) {
            walk.next = key.place() + 1;
            if !self.visit(key, &mut walk.job) {
                return true;
            }
            visited += 1;
            if visited % COMMANDS == 0 {
                self.context.now = Instant::now();
            }
            if self.context.now >= end {
                return self.slots.next_at(walk.next).is_none();
            }
        }
        true
    }

    /// Does the job of a walk for one connection. Returns whether the walk continues.
    fn visit(&mut self, key: Key, job: &mut Job) -> bool {
        let slot = self.slots.get_mut(key).expect("it was found just now");
        let connected = slot.connected(key, &self.context);
        match (job, connected) {
            (Job::Drain(_), _) => {
                self.drain(key);
                true
            }
            (_, None) => true,
            (Job::Visit(visit), Some(connected)) => guarded(|| visit(&connected)).unwrap_or_else(|| {
                tracing::error!(connection = connected.id(), "a walk through all connections panicked");
                true
            }),
            (Job::Send(messages), Some(connected)) => {
                let wanted = messages.iter().enumerate().filter(|(_, sending)| sending.is_for(&connected));
                let parcel = |(number, sending): (usize, &Sending)| Parcel {
                    message: sending.message().clone(),
                    number,
                    outcome: None,
                    waits_for_room: false,
                };
                let parcels = wanted.map(parcel).collect();
                self.deliver(key, parcels, messages);
                true
            }
        }
    }

    /// Begins to close a connection because the server stops, after the messages that its handles
    /// have queued.
    fn drain(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.drain(&mut self.context);
        slot.note(Errands::QUEUED);
        self.take_turn(key);
        self.heed_alarm();
    }

    /// Sends messages to a connection in a turn of its own, which returns the loop's lent buffers
    /// and writes what the peer accepts. Messages that do not fit beside the first ones get another
    /// turn, after that write.
    fn deliver(&mut self, key: Key, parcels: Vec<Parcel>, messages: &mut [Sending]) {
        *self.context.parts.parcels.get_mut() = parcels;
        while !self.context.parts.parcels.get_mut().is_empty() {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.note(Errands::PARCELS | Errands::QUEUED);
            }
            self.take_turn(key);
            if let Some(slot) = self.slots.get_mut(key) {
                // A callback that panicked earlier in the turn may have kept it from being cleared.
                slot.errands.clear(Errands::PARCELS);
            }
            let parcels = self.context.parts.parcels.get_mut();
            let done = parcels.iter().position(|parcel| parcel.waits_for_room).unwrap_or(parcels.len());
            for Parcel { number, outcome, .. } in parcels.drain(..done) {
                messages[number].delivered().count(outcome);
            }
            if let Some(first) = parcels.first_mut() {
                first.waits_for_room = false;
            }
        }
        self.heed_alarm();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_one_message_more() {
        let waiting = Waiting::default();
        let first = waiting.permit(MOST - 2 * WALK_COST).expect("room");
        let last = waiting.permit(10 * MOST).expect("one more");
        assert_eq!(waiting.permit(0).map(drop), Err(ServerBusy));
        drop(last);
        waiting.permit(0).expect("room again");
        drop(first);
        assert_eq!(waiting.0.load(Ordering::Relaxed), 0);
    }
}
