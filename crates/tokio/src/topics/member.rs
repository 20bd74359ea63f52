//! A connection as its hub sees it: a port, at which publications wait until its task is polled.
//!
//! ```text
//!   Hub ---- Post ----> Desk (kept, waiting) ---- deliver, while polled ----> send queue
//!                         |
//!                         +---- wakes the task
//! ```
//!
//! The hub posts under its own locks, and a post takes the lock of the desk. So nothing here calls
//! the hub while it holds that one.

use super::desk::{Desk, Standing};
use super::{Hub, PublishError, SlowConsumer, SubscribeError};
use framewright::{CloseCode, Connection, Prepared, State};
use framewright_driver::topics::{self, Port, PortId, Post};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

/// A delivery queues up to about this many bytes; then they are written.
const TOGETHER: usize = 64 << 10;

/// The number of the last connection that has joined a hub.
static LAST: AtomicU64 = AtomicU64::new(0);

/// A connection that has joined a hub.
#[derive(Debug)]
pub(crate) struct Member {
    hub: Arc<topics::Hub>,
    /// The number of the connection.
    id: u64,
    port: OnceLock<PortId>,
    desk: Mutex<Desk>,
}

impl Port for Member {
    fn post(&self, post: Post) {
        let mut desk = self.desk();
        let has_news = match post {
            Post::Deliver(publication) if publication.skips(self.id) => false,
            Post::Deliver(publication) => desk.receive(&publication, self.hub.counters()),
            Post::Join(join) => desk.join(join),
        };
        let waker = if has_news { desk.waker.take() } else { None };
        drop(desk);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next page is read when the last one was sent, however long that takes.
    fn reads_on(&self) -> bool {
        true
    }
}

impl Member {
    /// Makes the port of a connection. `waker` wakes its task, if that waits.
    pub(crate) fn join(hub: &Hub, waker: Option<Waker>) -> Arc<Member> {
        let member = Arc::new(Member {
            hub: Arc::clone(&hub.inner),
            id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            port: OnceLock::new(),
            desk: Mutex::new(Desk::new(waker)),
        });
        member.port.get_or_init(|| hub.inner.add_port(Arc::clone(&member) as Arc<dyn Port>));
        member
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port(&self) -> PortId {
        *self.port.get().expect("it has joined")
    }

    pub(crate) fn is_of(&self, hub: &Hub) -> bool {
        Arc::ptr_eq(&self.hub, &hub.inner)
    }

    /// Subscribes with a policy of its own, or behind the message at the position `after`.
    pub(crate) fn subscribe(
        &self,
        filter: &str,
        policy: Option<SlowConsumer>,
        after: Option<&str>,
    ) -> Result<(), SubscribeError> {
        self.hub.check_filter(filter)?;
        let filter: Arc<str> = Arc::from(filter);
        let limit = self.hub.limits().topics_per_connection;
        let Some(ticket) = self.desk().begin(&filter, policy, limit)? else { return Ok(()) };
        let asked = match after {
            None => self.hub.subscribe(self.port(), ticket, self.id, &filter),
            Some(after) => self.hub.subscribe_after(self.port(), ticket, self.id, &filter, after),
        };
        let mut desk = self.desk();
        let has_ended = desk.answered();
        if asked.is_err() {
            desk.remove(&filter, self.hub.counters());
        }
        drop(desk);
        if has_ended {
            if asked.is_ok() {
                self.hub.unsubscribe(self.port(), self.id, &filter);
            }
            self.hub.remove_port(self.port());
            return Err(SubscribeError::Closed);
        }
        asked.map(drop)
    }

    pub(crate) fn unsubscribe(&self, filter: &str) -> bool {
        let had = self.desk().remove(filter, self.hub.counters());
        if had {
            self.hub.unsubscribe(self.port(), self.id, filter);
        }
        had
    }

    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        self.desk().filters()
    }

    pub(crate) fn take_gaps(&self) -> Vec<Arc<str>> {
        self.desk().take_gaps()
    }

    /// Publishes a message, to this connection too if `to_all`.
    pub(crate) fn publish(
        &self,
        topic: &str,
        key: Option<&str>,
        message: Prepared,
        to_all: bool,
    ) -> Result<(), PublishError> {
        self.hub.publish(topic, message, key, (!to_all).then_some(self.id))
    }

    /// The connection has ended, and with it all subscriptions.
    pub(crate) fn end(&self) {
        let mut desk = self.desk();
        if desk.standing == Standing::Ended {
            return;
        }
        let (filters, is_asking) = desk.end(self.hub.counters());
        // Dropping a waker may drop its task.
        let waker = desk.waker.take();
        drop(desk);
        drop(waker);
        for filter in &filters {
            self.hub.unsubscribe(self.port(), self.id, filter);
        }
        // Otherwise who asks does so.
        if !is_asking {
            self.hub.remove_port(self.port());
        }
    }

    /// Has the next message wake the task of `waker`, which looks for messages after this.
    pub(crate) fn listen(&self, waker: &Waker) {
        let mut desk = self.desk();
        if !desk.waker.as_ref().is_some_and(|before| before.will_wake(waker)) {
            let before = desk.waker.replace(waker.clone());
            drop(desk);
            drop(before);
        }
    }

    /// Queues what waits, as far as there is room, or a Close frame if it was too much. A peer that
    /// has not taken what was queued before gets nothing until it has.
    pub(crate) fn deliver(&self, connection: &mut Connection) {
        let counters = self.hub.counters();
        let mut desk = self.desk();
        if connection.state() != State::Open {
            desk.drop_waiting(counters);
            return;
        }
        if desk.standing == Standing::TooSlow {
            desk.standing = Standing::Closing;
            drop(desk);
            connection.close(Some(CloseCode::TRY_AGAIN_LATER), "too slow for what it is subscribed to").ok(); // it is open
            return;
        }
        if connection.is_fragmenting() || (desk.is_blocked && connection.buffered() > 0) {
            return;
        }
        let mut sent = 0;
        while connection.buffered() < TOGETHER && connection.is_writable() {
            let Some(publication) = desk.take(counters) else { break };
            // Compressing takes its time, and a publisher may post meanwhile.
            drop(desk);
            sent += u64::from(connection.send_prepared(publication.message()).is_ok());
            desk = self.desk();
        }
        let reading = desk.take_reading();
        drop(desk);
        counters.delivered(sent);
        for (topic, serial) in &reading {
            self.hub.read_on(topic, *serial);
        }
    }

    /// Notes whether the peer has taken all that was queued. Returns whether more can be delivered now.
    pub(crate) fn flushed(&self, all: bool, connection: &Connection) -> bool {
        let mut desk = self.desk();
        desk.is_blocked = !all;
        let closes = desk.standing == Standing::TooSlow;
        all && (closes || (desk.has_more() && !connection.is_fragmenting()))
    }
}
