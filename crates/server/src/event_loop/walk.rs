//! Walks through all connections of a loop: what each loop was asked to do with every one of them.
//!
//! A walk goes by the places of the connections, a slice of time in each round, and keeps nothing
//! of them but how far it is. Walks are done one after the other, in the order in which they were
//! asked for: so two messages of one thread reach each connection in their order.

use crate::api::connections::{Connected, Delivered, ServerBusy};
use crate::guard::{guarded, lock};
use framewright::Prepared;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

/// What all walks that wait may come to in octets, and one more: as large as the largest message is
/// by default.
const MOST: usize = 16 << 20;

/// What a walk counts besides its message.
const WALK_COST: usize = 1 << 10;

/// A walk through the connections of one loop.
pub(crate) struct Walk {
    /// The first place that it has not come to.
    pub(crate) next: u32,
    pub(crate) job: Job,
}

/// What is done with each connection.
pub(crate) enum Job {
    /// Calls this; if it returns false that is the end.
    Visit(Box<dyn FnMut(&Connected<'_>) -> bool + Send>),
    /// Sends these, in their order: those that waited when the walk began go in one.
    Send(Vec<Sending>),
    /// Begins to end them, since the server stops: those whose opening handshake is not done too.
    Drain,
}

/// How many messages one walk takes to each connection at the most, and once they come to how many
/// octets no more. The one that goes beyond is taken.
const TOGETHER: (usize, usize) = (64, 64 << 10);

/// A message that is sent to each connection that the filter lets through.
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
    /// Counts until the last loop has sent it.
    pub(crate) fn new(message: Prepared, filter: Option<Filter>, permit: Permit) -> Arc<Mail> {
        Arc::new(Mail { message, filter, _permit: permit })
    }
}

/// Who is to have a message.
pub(crate) type Filter = Box<dyn Fn(&Connected<'_>) -> bool + Send + Sync>;

impl Walk {
    pub(crate) fn new(job: Job) -> Walk {
        Walk { next: 0, job }
    }

    /// Takes along what the next walks send, if this one sends and has not begun: a turn of each
    /// connection, and a write, serves for all.
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

    /// Whether this connection is to have the message: not if the application panics when asked.
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
    /// It is over, or the loop is: what was done is told.
    fn drop(&mut self) {
        // Nobody has to listen.
        let _ = self.tell.send(self.delivered);
    }
}

/// The walks that a loop was asked for and has not taken. The server has them, and its handles know
/// of them as long as it is there: whoever waits for a walk does not wait for one that is gone.
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
            // What the application has in it may be slow to drop: not under the lock.
            drop(queue);
            drop(walk);
        } else {
            queue.0.push_back(walk);
        }
    }

    pub(crate) fn take(&self) -> VecDeque<Walk> {
        std::mem::take(&mut lock(&self.queue).0)
    }

    /// The loop has ended: takes nothing more, and drops what was queued.
    pub(crate) fn close(&self) {
        let left = {
            let mut queue = lock(&self.queue);
            queue.1 = true;
            std::mem::take(&mut queue.0)
        };
        guarded(|| drop(left));
    }
}

/// What the walks of a server that wait come to.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Arc<AtomicUsize>);

/// A part of that; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    waiting: Arc<AtomicUsize>,
    cost: usize,
}

impl Waiting {
    /// Counts a walk with a message of so many octets, unless those that wait have come to the
    /// bound.
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
