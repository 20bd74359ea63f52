//! Sending from other threads: handles that outlive their connection without harm.

use crate::event_loop::mailbox::{Command, Mailbox};
use crate::event_loop::slab::Key;
use crate::guard::lock;
use crate::memory::ledger::{Holder, LARGE, Ledger, kib};
use framewright::frame::{MAX_CLOSE_REASON, MAX_CONTROL_PAYLOAD};
use framewright::{CloseCode, Connection, Message, OwnedMessage, Prepared, SendError, State};
use std::collections::VecDeque;
use std::error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Instant;

/// Sends to one connection from any thread. Cloning is cheap; a clone reaches the same connection.
///
/// Messages go through a queue that the event loop empties, in order. Once the connection has
/// ended, every call returns [`HandleError::Closed`]. A handle never reaches another connection.
///
/// Messages that one thread sends to a connection arrive in the order of its calls, even through
/// several handles. In a callback this order includes the [`Socket`](crate::Socket), whose page
/// says what happens where there is no room. Between threads the only order is that in which their
/// calls return.
#[derive(Clone)]
pub struct Handle {
    remote: Arc<Remote>,
}

/// Why a handle refused a call. Nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// The connection has ended, or its closing handshake has begun or is queued.
    Closed,
    /// There is no room, in one of these cases:
    ///
    /// - The handle's queue holds [`Config::high_water`](crate::Config::high_water) bytes.
    /// - All connections together hold [`ServerLimits::memory`](crate::ServerLimits::memory), and
    ///   the queue would exceed 64 KiB, or only connections that hold less are left.
    Full,
    /// A Ping with more than 125 bytes (RFC 6455, section 5.5).
    ControlTooLong,
    /// A close reason with more than 123 bytes, or one without a code (section 5.5.1).
    CloseReason,
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HandleError::Closed => "the connection has ended",
            HandleError::Full => "too much waits to be sent (Config::high_water, ServerLimits::memory)",
            HandleError::ControlTooLong => "a control frame over 125 octets (RFC 6455 section 5.5)",
            HandleError::CloseReason => {
                "a close reason over 123 octets, or one without a code (RFC 6455 section 5.5.1)"
            }
        })
    }
}

impl error::Error for HandleError {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Handle {
    /// Queues a message: an [`OwnedMessage`], a `String` for text, or a `Vec<u8>` for binary.
    ///
    /// # Errors
    /// [`HandleError::Closed`] or [`HandleError::Full`].
    pub fn send(&self, message: impl Into<OwnedMessage>) -> Result<(), HandleError> {
        match message.into() {
            OwnedMessage::Text(text) => self.send_text(text),
            OwnedMessage::Binary(payload) => self.send_binary(payload),
        }
    }

    /// Queues a text message.
    ///
    /// # Errors
    /// [`HandleError::Closed`] or [`HandleError::Full`].
    pub fn send_text(&self, text: impl Into<String>) -> Result<(), HandleError> {
        self.queue(Outgoing::Text(text.into()))
    }

    /// Queues a binary message.
    ///
    /// # Errors
    /// [`HandleError::Closed`] or [`HandleError::Full`].
    pub fn send_binary(&self, payload: impl Into<Vec<u8>>) -> Result<(), HandleError> {
        self.queue(Outgoing::Binary(payload.into()))
    }

    /// Queues a message that was encoded once for many connections. Its bytes are shared, not
    /// copied. It also sends messages that must never be compressed: see
    /// [`Prepared::uncompressed`].
    ///
    /// # Errors
    /// [`HandleError::Closed`] or [`HandleError::Full`].
    pub fn send_prepared(&self, prepared: &Prepared) -> Result<(), HandleError> {
        let prepared = prepared.clone();
        let share = prepared.allocated_share();
        self.queue(Outgoing::Prepared(prepared, share))
    }

    /// Queues a Ping with at most 125 bytes of application data.
    ///
    /// # Errors
    /// [`HandleError::Closed`], [`HandleError::Full`], or [`HandleError::ControlTooLong`].
    pub fn ping(&self, data: impl Into<Vec<u8>>) -> Result<(), HandleError> {
        let data = data.into();
        if data.len() > MAX_CONTROL_PAYLOAD {
            return Err(HandleError::ControlTooLong);
        }
        self.queue(Outgoing::Ping(data))
    }

    /// Starts the closing handshake behind the queued messages. `code` is `None` for a Close frame
    /// without a body. A peer that does not read never gets it, and stays until
    /// [`Config::write_timeout`](crate::Config::write_timeout): [`fail`](Handle::fail) and
    /// [`abort`](Handle::abort) do not wait for it. A message that the handler is sending in
    /// fragments is left incomplete if only this Close and Pings are queued.
    ///
    /// # Errors
    /// [`HandleError::Closed`], or [`HandleError::CloseReason`] if `reason` has more than 123
    /// bytes, or is not empty without a `code`. Never `Full`.
    pub fn close(
        &self,
        code: impl Into<Option<CloseCode>>,
        reason: impl Into<String>,
    ) -> Result<(), HandleError> {
        self.remote.push_close(code.into(), reason.into())
    }

    /// Ends the connection with `code`, without waiting for the peer: *fails the connection* (RFC
    /// 6455, section 7.1.7), as [`Socket::fail`](crate::Socket::fail) does. Use it if the peer broke
    /// the application's rules (1008) or if the application cannot go on (1011).
    ///
    /// Queued messages go before the Close frame as far as the connection has room; the others are
    /// dropped. No Close frame is sent if one was sent before. The peer has
    /// [`Config::close_timeout`](crate::Config::close_timeout) to take the bytes. A reason over
    /// 123 bytes is cut between characters.
    ///
    /// # Errors
    /// [`HandleError::Closed`].
    pub fn fail(&self, code: CloseCode, reason: impl Into<String>) -> Result<(), HandleError> {
        self.remote.fail(code, reason.into())
    }

    /// Drops the connection at once, without a Close frame and without sending queued bytes.
    ///
    /// # Errors
    /// [`HandleError::Closed`].
    pub fn abort(&self) -> Result<(), HandleError> {
        self.remote.abort()
    }

    /// Whether the connection was open a moment ago and no Close was queued.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let queue = lock(&self.remote.queue);
        queue.open && !queue.closing
    }

    /// Bytes of messages and Pings in this queue that the event loop has not taken yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        lock(&self.remote.queue).octets
    }

    /// Returns a guard that keeps the connection open. When the last guard of this connection is
    /// dropped, from any of its handles, the connection is closed with 1000. Use it if background
    /// work decides how long a connection lives.
    #[must_use = "dropping the last guard ends the connection"]
    pub fn keep_open(&self) -> KeepOpen {
        lock(&self.remote.queue).guards += 1;
        KeepOpen { handle: self.clone() }
    }

    /// The number of the connection: see [`Socket::id`](crate::Socket::id).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.remote.id
    }

    /// The mailbox of its event loop, and its key there.
    pub(crate) fn place(&self) -> (&Arc<Mailbox>, Key) {
        (&self.remote.mailbox, self.remote.key)
    }

    fn queue(&self, outgoing: Outgoing) -> Result<(), HandleError> {
        self.remote.push(outgoing)
    }
}

/// Keeps its connection open: dropping the last guard closes the connection with 1000. From
/// [`Handle::keep_open`]; each clone counts as a guard.
#[derive(Debug)]
pub struct KeepOpen {
    handle: Handle,
}

impl Clone for KeepOpen {
    fn clone(&self) -> KeepOpen {
        self.handle.keep_open()
    }
}

impl Drop for KeepOpen {
    fn drop(&mut self) {
        let last = {
            let mut queue = lock(&self.handle.remote.queue);
            queue.guards -= 1;
            queue.guards == 0
        };
        if last {
            // An error means that the connection has ended already.
            let _ = self.handle.close(Some(CloseCode::NORMAL), "");
        }
    }
}

/// An item in a handle's queue.
pub(crate) enum Outgoing {
    Text(String),
    Binary(Vec<u8>),
    /// With its share of the allocated bytes when it was queued.
    Prepared(Prepared, usize),
    Ping(Vec<u8>),
    Close(Option<CloseCode>, String),
}

impl Outgoing {
    fn is_message(&self) -> bool {
        matches!(self, Outgoing::Text(_) | Outgoing::Binary(_) | Outgoing::Prepared(..))
    }

    fn octets(&self) -> usize {
        match self {
            Outgoing::Text(text) => text.len(),
            Outgoing::Binary(payload) | Outgoing::Ping(payload) => payload.len(),
            Outgoing::Prepared(prepared, _) => prepared.payload_len(),
            Outgoing::Close(..) => 0,
        }
    }

    /// The item's cost: its bytes plus [`ITEM_COST`], so that an empty message is not free. No
    /// frame is longer.
    fn cost(&self) -> usize {
        self.octets() + ITEM_COST
    }

    /// Bytes of memory that the item holds.
    fn held(&self) -> usize {
        let elsewhere = match self {
            Outgoing::Text(text) | Outgoing::Close(_, text) => text.capacity(),
            Outgoing::Binary(payload) | Outgoing::Ping(payload) => payload.capacity(),
            Outgoing::Prepared(_, share) => *share,
        };
        elsewhere + ITEM_COST
    }

    fn send(self, connection: &mut Connection) -> Result<(), SendError> {
        match self {
            Outgoing::Text(text) => connection.send(Message::Text(&text)),
            Outgoing::Binary(payload) => connection.send(Message::Binary(&payload)),
            Outgoing::Prepared(prepared, _) => connection.send_prepared(&prepared),
            Outgoing::Ping(data) => connection.ping(&data),
            Outgoing::Close(code, reason) => connection.close(code, &reason),
        }
    }
}

/// The view of one connection that its loop and its handles share. Created with the first handle.
pub(crate) struct Remote {
    key: Key,
    id: u64,
    mailbox: Arc<Mailbox>,
    ledger: Arc<Ledger>,
    most: usize,
    /// Items from the front of the queue up to and including the last one that the loop's own
    /// thread queued; at least 1 while that thread has asked for an abort or a failure. Only that
    /// thread uses this count: what it sends past the queue must not overtake those items.
    own: AtomicUsize,
    /// The connection is to be dropped. Outside the queue, for whose lock the loop does not wait.
    abort: AtomicBool,
    /// The connection is to fail with this code and reason, behind the queued items. Also outside.
    failure: OnceLock<Box<(CloseCode, String)>>,
    queue: Mutex<Queue>,
}

/// The most items taken from a queue under one lock.
const BATCH: usize = 16;

/// What is left in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// An item that waits for room or for the end of a fragmented message.
    Waiting,
    /// Items that are left until other connections have had their turns.
    More,
}

/// Items taken from a queue.
struct Taken {
    items: [Option<Outgoing>; BATCH],
    cost: usize,
    /// Nothing is left.
    emptied: bool,
}

struct Queue {
    /// The connection takes messages.
    open: bool,
    /// A Close is queued, or a failure: only a failure or an abort may follow.
    closing: bool,
    /// Guards that keep the connection open.
    guards: usize,
    /// The loop has been notified that the queue holds something.
    announced: bool,
    /// Bytes of the messages and Pings in `items`.
    octets: usize,
    items: VecDeque<Outgoing>,
    /// Bytes of memory that `items` hold, and the KiB charged for them.
    held: usize,
    charged: u32,
    /// Present while the queue is a large holder.
    holder: Option<Holder>,
}

impl Queue {
    /// The cost of all items: see [`Outgoing::cost`].
    fn cost(&self) -> usize {
        self.octets + self.items.len() * ITEM_COST
    }
}

/// Bytes that an item costs besides its payload.
const ITEM_COST: usize = size_of::<Outgoing>();

impl Remote {
    pub(crate) fn new(key: Key, id: u64, mailbox: Arc<Mailbox>, ledger: Arc<Ledger>, most: usize) -> Remote {
        let queue = Queue {
            open: true,
            closing: false,
            guards: 0,
            announced: false,
            octets: 0,
            items: VecDeque::new(),
            held: 0,
            charged: 0,
            holder: None,
        };
        Remote {
            key,
            id,
            mailbox,
            ledger,
            most,
            own: AtomicUsize::new(0),
            abort: AtomicBool::new(false),
            failure: OnceLock::new(),
            queue: Mutex::new(queue),
        }
    }

    pub(crate) fn handle(self: &Arc<Self>) -> Handle {
        Handle { remote: Arc::clone(self) }
    }

    /// Queues a Close frame behind the queued items.
    pub(crate) fn push_close(&self, code: Option<CloseCode>, reason: String) -> Result<(), HandleError> {
        if reason.len() > MAX_CLOSE_REASON || (code.is_none() && !reason.is_empty()) {
            return Err(HandleError::CloseReason);
        }
        self.push(Outgoing::Close(code, reason))
    }

    fn push(&self, outgoing: Outgoing) -> Result<(), HandleError> {
        let announce = {
            let mut queue = lock(&self.queue);
            if !queue.open || queue.closing {
                return Err(HandleError::Closed);
            }
            let close = matches!(outgoing, Outgoing::Close(..));
            if !close && queue.cost() >= self.most {
                return Err(HandleError::Full);
            }
            let held = queue.held + outgoing.held();
            if !close && !self.may_hold(held, queue.charged) {
                return Err(HandleError::Full);
            }
            queue.closing = close;
            queue.octets += outgoing.octets();
            queue.items.push_back(outgoing);
            self.settle(&mut queue, held, 0);
            if self.mailbox.is_here() {
                self.own.store(queue.items.len(), Ordering::Relaxed);
            }
            !std::mem::replace(&mut queue.announced, true)
        };
        if announce {
            // A loop that has ended has no connection to attend to.
            let _ = self.mailbox.post(Command::Attend(self.key));
        }
        Ok(())
    }

    /// Whether the queue may grow to `held` bytes. A small queue may grow as soon as other holders
    /// were notified to end; if only small holders are left, it waits.
    fn may_hold(&self, held: usize, charged: u32) -> bool {
        let more = kib(held).saturating_sub(charged);
        if more == 0 {
            return true;
        }
        if kib(held) > LARGE { self.ledger.has_room_now(more) } else { self.ledger.has_room(more) }
    }

    /// Charges `held` bytes for the queue. `sent`: bytes of the taken items that were passed on.
    fn settle(&self, queue: &mut Queue, held: usize, sent: usize) {
        queue.held = held;
        if kib(held) != queue.charged || queue.holder.is_some() {
            let who = (&self.mailbox, self.key);
            self.ledger.settle_queue(&mut queue.charged, &mut queue.holder, who, kib(held), sent);
        }
    }

    /// KiB charged for the queued items.
    pub(crate) fn charged(&self) -> u32 {
        lock(&self.queue).charged
    }

    /// Whether the connection was notified to end because of its queued items.
    pub(crate) fn is_told(&self) -> bool {
        lock(&self.queue).holder.as_ref().is_some_and(Holder::is_told)
    }

    /// Asks the loop to drop the connection.
    fn abort(&self) -> Result<(), HandleError> {
        self.ask(|_| Ok(!self.abort.swap(true, Ordering::Relaxed)))
    }

    /// Asks the loop to fail the connection behind the queued items.
    fn fail(&self, code: CloseCode, reason: String) -> Result<(), HandleError> {
        self.ask(|queue| {
            queue.closing = true;
            self.failure.set(Box::new((code, reason))).map(|()| true).map_err(|_| HandleError::Closed)
        })
    }

    /// Asks the loop for something that ends the connection; `note` writes it down, and returns
    /// whether it is new. The loop may know of this queue already and wait for the peer to take
    /// something: this does not wait for that.
    fn ask(&self, note: impl FnOnce(&mut Queue) -> Result<bool, HandleError>) -> Result<(), HandleError> {
        let is_new = {
            let mut queue = lock(&self.queue);
            if !queue.open {
                return Err(HandleError::Closed);
            }
            if self.mailbox.is_here() {
                self.own.fetch_max(1, Ordering::Relaxed);
            }
            note(&mut queue)?
        };
        if is_new {
            // A loop that has ended has no connection to attend to.
            let _ = self.mailbox.post(Command::Attend(self.key));
        }
        Ok(())
    }

    /// Ends the connection if a handle has asked for it, even if nothing can be sent.
    pub(crate) fn end_as_asked(&self, connection: &mut Connection, now: Instant) {
        if self.abort.load(Ordering::Relaxed) {
            connection.abort(now);
        } else if let Some(failure) = self.failure.get() {
            // Nobody queues any more, so nobody holds the lock for long.
            while connection.is_writable() {
                let taken = self.take(lock(&self.queue), connection, usize::MAX, BATCH);
                if taken.cost == 0 {
                    break;
                }
                taken.send(connection);
            }
            let (code, reason) = &**failure;
            connection.fail(now, *code, reason);
        }
    }

    /// Sends queued items as long as the connection takes them, until their cost reaches `most`.
    pub(crate) fn send(&self, connection: &mut Connection, most: usize) -> Left {
        let mut left = most;
        while left > 0 && connection.is_writable() {
            // A thread that holds the lock may have lost its processor: other connections need not
            // wait for it.
            let queue = match self.queue.try_lock() {
                Ok(queue) => queue,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Left::More,
            };
            let taken = self.take(queue, connection, left, BATCH);
            let (cost, emptied) = (taken.cost, taken.emptied);
            taken.send(connection);
            if emptied {
                return Left::Nothing;
            }
            if cost == 0 {
                return Left::Waiting;
            }
            left = left.saturating_sub(cost);
        }
        if left == 0 { Left::More } else { Left::Waiting }
    }

    /// Whether an item is queued and not sent yet.
    pub(crate) fn has_queued(&self) -> bool {
        !lock(&self.queue).items.is_empty()
    }

    /// Whether this thread, the loop's, has queued an item that is not sent yet.
    #[inline]
    pub(crate) fn has_own(&self) -> bool {
        self.own.load(Ordering::Relaxed) > 0
    }

    /// Sends the items that this thread, the loop's, has queued, and those queued before them, as
    /// long as the connection takes them.
    pub(crate) fn send_own(&self, connection: &mut Connection, now: Instant) {
        self.end_as_asked(connection, now);
        while self.has_own() && connection.is_writable() {
            let count = self.own.load(Ordering::Relaxed);
            let taken = self.take(lock(&self.queue), connection, usize::MAX, count);
            if taken.cost == 0 {
                break;
            }
            taken.send(connection);
        }
        self.close_with(connection);
    }

    /// Stops taking items if the connection is no longer open.
    pub(crate) fn close_with(&self, connection: &Connection) {
        if connection.state() != State::Open {
            self.close();
        }
    }

    /// Takes at most `count` items with a cost of `most`, not counting the last item. The
    /// connection has room for each of them once those before it are sent. A message has to wait
    /// while the connection is sending another one in fragments. When the queue is empty the next
    /// push announces itself.
    fn take(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        connection: &Connection,
        most: usize,
        count: usize,
    ) -> Taken {
        let most = most.min(connection.config().high_water.max(1).saturating_sub(connection.buffered()));
        // Control frames may come between fragments (RFC 6455, section 5.4), messages may not.
        let messages = !connection.is_fragmenting();
        let mut taken = Taken { items: [const { None }; BATCH], cost: 0, emptied: false };
        let (mut used, mut held) = (0, queue.held);
        for slot in taken.items.iter_mut().take(count) {
            let may_go = |item: &Outgoing| taken.cost < most && (messages || !item.is_message());
            if !queue.items.front().is_some_and(may_go) {
                break;
            }
            let Some(item) = queue.items.pop_front() else { break };
            queue.octets -= item.octets();
            held -= item.held();
            taken.cost += item.cost();
            *slot = Some(item);
            used += 1;
        }
        self.settle(&mut queue, held, taken.cost);
        taken.emptied = queue.items.is_empty();
        if taken.emptied {
            queue.announced = false;
            // A connection at rest holds no queue. At most one more allocation for the next message
            // is little beside the message's own.
            queue.items = VecDeque::new();
        }
        let own = if taken.emptied { 0 } else { self.own.load(Ordering::Relaxed).saturating_sub(used) };
        self.own.store(own, Ordering::Relaxed);
        taken
    }

    /// Stops taking items.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.open = false;
        queue.octets = 0;
        queue.items = VecDeque::new();
        self.settle(&mut queue, 0, 0);
        self.own.store(0, Ordering::Relaxed);
    }
}

impl Taken {
    fn send(self, connection: &mut Connection) {
        for item in self.items.into_iter().flatten() {
            if let Err(error) = item.send(connection) {
                // Checked before: open, room, and no fragments. Kept as a message in case a check
                // is forgotten.
                tracing::error!(%error, "a queued message could not be sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::prepare;
    use crate::event_loop::slab::Slab;
    use framewright::{Config, Negotiated};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// Many small queues together use up the limit. A caller that queues then gets `Full`, and no
    /// connection is ended without being notified.
    #[test]
    fn small_queues_are_full_where_there_is_no_room_for_all() {
        let (_poll, mailbox) = prepare().expect("a poll");
        let ledger = Arc::new(Ledger::new(Some(1 << 20), vec![Arc::clone(&mailbox)]));
        let mut places = Slab::new();
        let remotes: Vec<Arc<Remote>> = (0..40)
            .map(|id| {
                let key = places.insert(()).expect("a place");
                Arc::new(Remote::new(key, id, Arc::clone(&mailbox), Arc::clone(&ledger), 1 << 20))
            })
            .collect();
        let full = remotes.iter().filter(|remote| remote.handle().send_binary(vec![0; 50_000]).is_err());
        let full = full.count();
        assert_eq!(full, 40 - (1 << 20) / 50_100);
        let stats = ledger.stats();
        assert!(stats.held <= 1 << 20 && stats.refused == full as u64, "{stats:?}");
        let mut commands = Vec::new();
        mailbox.take(&mut commands);
        let looks = commands.iter().filter(|command| matches!(command, Command::MakeRoom)).count();
        assert_eq!(looks, 1, "so that there is room soon");
        remotes[39].handle().send_text("a line").expect("next to nothing");
        assert_eq!(remotes[39].handle().send_binary(vec![0; 50_000]), Err(HandleError::Full));
        remotes[0].close();
        remotes[39].handle().send_binary(vec![0; 40_000]).expect("there is room again");
        remotes.iter().for_each(|remote| remote.close());
        assert_eq!(ledger.stats().held, 0);
    }

    /// The thread that holds the lock may have lost its processor.
    #[test]
    fn a_loop_does_not_wait_for_a_thread_that_holds_the_queue() {
        let (_poll, mailbox) = prepare().expect("a poll");
        let key = Slab::new().insert(()).expect("a place");
        let ledger = Arc::new(Ledger::new(None, vec![Arc::clone(&mailbox)]));
        let remote = Arc::new(Remote::new(key, 1, mailbox, ledger, 1 << 20));
        remote.handle().send_text("queued").expect("room");
        let held = lock(&remote.queue);
        let (sender, found) = mpsc::channel();
        let looking = Arc::clone(&remote);
        let turn = thread::spawn(move || {
            let mut connection =
                Connection::server(Arc::new(Config::default()), Negotiated::new(), Instant::now());
            looking.end_as_asked(&mut connection, Instant::now());
            sender
                .send((connection.state(), looking.send(&mut connection, 1 << 16)))
                .expect("the test listens");
        });
        let in_time = found.recv_timeout(Duration::from_secs(20));
        drop(held);
        turn.join().expect("no panic");
        assert_eq!(in_time, Ok((State::Open, Left::More)), "it comes back for what is queued");
    }
}
