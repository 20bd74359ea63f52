//! The connection on its stream, which the halves and the attendant share: behind a lock that is
//! never held while a task waits.

use crate::lent::{Borrowed, READ_SIZE};
use crate::tasks::{Parties, Party, Waiters};
use crate::transport::{Link, Polled};
use framewright::{Closure, Connection, Decoded, Message, RecvBuffer, Role, SendError, State};
use framewright_driver::{
    Flushed, Io, Leave, LingerNext, Lingering, Ready, SHORT_TAIL, Transport as _, Turn,
};
use std::future::Future as _;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;
use tokio::time::Sleep;

/// The time by tokio's clock, which a test may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How often one poll looks for an event before other tasks have their turns.
const ROUNDS: u8 = 32;
/// An application that returns within this time has not been away: the peer's silence counts.
const AWAY: Duration = Duration::from_secs(1);

/// The bytes that are read to see whether the peer has sent more than it should.
const PROBE: usize = 256;

/// From this length on a message is written before it is copied: what the stream takes at once is
/// not.
pub(crate) const WRITE_THROUGH: usize = 16 << 10;

/// What a sender does to a connection in its poll, and the length of its message in bytes; 0 if it
/// has none, or one that is always copied.
pub(crate) type Command<'a, S> = (usize, &'a mut dyn FnMut(&mut Work<'_, '_, S>) -> Result<(), SendError>);

pub(crate) struct Shared<S> {
    link: Mutex<Linked<S>>,
}

/// A connection on its stream.
pub(crate) struct Linked<S> {
    pub(crate) turn: Turn,
    /// `None` once the transport has ended.
    stream: Option<S>,
    link: Link,
    ready: Ready,
    ending: Ending,
    timer: Option<Alarm>,
    waiters: Waiters,
    /// When the application last asked for an event.
    looked: Instant,
    /// The application waits for an event.
    waiting: bool,
    /// The idle deadline was extended once since the last event.
    excused: bool,
}

/// The state of a connection, as far as somebody waits for its changes.
#[derive(Clone, Copy)]
struct Phase {
    end: (State, bool, bool),
    is_writable: bool,
    is_flushed: bool,
    wants_read: bool,
}

/// Wakes at a deadline, or before it. Made when a task first waits.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// Who is woken.
    waker: Waker,
}

/// How far the end of the transport has progressed.
#[derive(Debug)]
enum Ending {
    /// The connection is open, has bytes to send, or waits for the peer to end the transport.
    Before,
    Lingering(Lingering),
    /// Nothing is left but the last bytes of the stream itself, which it may send until then; for
    /// ever if `None`.
    Closing(Option<Instant>),
}

/// The receiving half's part of the connection: what nobody else may change while the application
/// holds an event.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// The bytes received and not decoded, and the payload of the last event. `None` while the
    /// connection waits and nothing is left.
    pub(crate) rx: Option<Box<RecvBuffer>>,
    /// Whether the last event was taken: the connection has ended, and perhaps not the transport.
    over: bool,
}

/// The result of [`Linked::poll_event`].
pub(crate) enum Pulled {
    Event(Decoded),
    /// The connection and its transport have ended.
    Ended,
}

impl<S> Shared<S> {
    pub(crate) fn new(connection: Connection, stream: S) -> Arc<Shared<S>> {
        Arc::new(Shared {
            link: Mutex::new(Linked {
                turn: Turn::new(connection, &[]),
                stream: Some(stream),
                link: Link::default(),
                ready: Ready::default(),
                ending: Ending::Before,
                timer: None,
                waiters: Waiters::default(),
                looked: now(),
                waiting: false,
                excused: false,
            }),
        })
    }

    /// A stream that panics under the lock leaves the connection in an unknown state: it is dropped,
    /// with what it was lent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Linked<S>> {
        self.link.lock().unwrap_or_else(|poisoned| {
            let mut linked = poisoned.into_inner();
            self.link.clear_poison();
            linked.abort();
            drop(linked.turn.connection.driver().reclaim_codec());
            linked
        })
    }
}

impl<S> Drop for Shared<S> {
    /// An attendant that waits finds nothing to attend to any more.
    fn drop(&mut self) {
        self.lock().waiters.wake(Parties::ALL);
    }
}

impl<S> Linked<S> {
    /// Drops the connection and its transport, and wakes everybody who waits.
    pub(crate) fn abort(&mut self) {
        self.turn.abort(now());
        self.stream = None;
        self.timer = None;
        self.waiters.wake(Parties::ALL);
    }

    /// The stream, until it has ended.
    pub(crate) fn stream(&self) -> Option<&S> {
        self.stream.as_ref()
    }

    pub(crate) fn closure(&self) -> Option<Closure> {
        self.turn.closure()
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.turn.connection.state() == State::Open && !self.turn.is_broken()
    }

    /// What those who wait act on, if it changes. `None` if nobody waits but `party`, who is at work.
    fn phase(&self, party: Option<Party>) -> Option<Phase> {
        let connection = &self.turn.connection;
        self.waiters.has_others(party).then(|| Phase {
            end: (connection.state(), self.turn.is_broken(), self.stream.is_none()),
            is_writable: connection.is_writable(),
            is_flushed: connection.buffered() == 0 && self.link.is_flushed(),
            wants_read: connection.wants_read(),
        })
    }

    /// Wakes those who wait for what has changed since `before`. A stream that has been ready for one
    /// of them owes the others no wake-up.
    fn tell(&mut self, before: Option<Phase>) {
        let (Some(before), Some(after)) = (before, self.phase(None)) else { return };
        let sends = (after.is_writable && !before.is_writable) || (after.is_flushed && !before.is_flushed);
        let reads = after.wants_read && !before.wants_read;
        if after.end != before.end {
            self.waiters.wake(Parties::ALL);
        } else if sends || reads {
            self.waiters.wake(Parties::NONE.with(Party::Sender, sends).with(Party::Receiver, reads));
        }
    }

    /// Whether a deadline has passed at which a task that waits would have woken up.
    fn has_slept(&self, now: Instant) -> bool {
        self.turn.deadline().is_some_and(|deadline| deadline + AWAY < now)
    }

    /// Notes that the application asks for an event. If it was away for long, the idle deadline is
    /// extended by that time, once: without Pings from here the peer had no reason to send anything.
    ///
    /// An application that has dropped its call cannot be told from one that waits, but by a deadline
    /// at which it did not wake up.
    fn look(&mut self, now: Instant) {
        let waits = std::mem::take(&mut self.waiting);
        if now > self.looked + AWAY && !self.excused && (!waits || self.has_slept(now)) {
            let away = now.saturating_duration_since(self.looked);
            self.turn.connection.driver().extend_idle_deadline(away);
            self.excused = true;
        }
        self.looked = now;
    }

    /// Does a command, without a stream: for commands that only queue.
    pub(crate) fn command(
        &mut self,
        command: impl FnOnce(&mut Connection) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        if self.stream.is_none() || self.turn.is_broken() {
            return Err(SendError::Closed);
        }
        let before = self.phase(None);
        let done = lending(&mut self.turn.connection, now(), command);
        self.tell(before);
        done
    }
}

/// Does a command with the buffers of this thread.
fn lending(
    connection: &mut Connection,
    now: Instant,
    command: impl FnOnce(&mut Connection) -> Result<(), SendError>,
) -> Result<(), SendError> {
    let mut borrowed = Borrowed::of_this_thread(now);
    borrowed.lend(connection, 0, now);
    let done = command(connection);
    borrowed.reclaim(connection, now);
    borrowed.give_back(now);
    done
}

impl<S: AsyncRead + AsyncWrite + Unpin> Linked<S> {
    /// Waits for the next event. Writes what is queued before it reads or waits.
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>, inbox: &mut Inbox) -> Poll<Pulled> {
        if let Some(decoded) = self.next_received(inbox) {
            return Poll::Ready(Pulled::Event(decoded));
        }
        let now = now();
        self.look(now);
        let before = self.phase(Some(Party::Receiver));
        let pulled = self.work(Party::Receiver, context, now, |work, lent| {
            let mut rx = lent.receive_buffer(inbox.rx.take(), now);
            rx.shrink();
            let pulled = work.pull(&mut rx, &mut inbox.over, lent);
            // The application may not ask for more, and other connections need the decompressor.
            if work.turn.connection.driver().release_inflater(work.now, &mut rx) {
                work.transport.context.waker().wake_by_ref();
            }
            inbox.rx = match pulled {
                Poll::Ready(Pulled::Event(_)) => Some(rx),
                Poll::Ready(Pulled::Ended) => None,
                Poll::Pending => lent.rest(rx, now),
            };
            pulled
        });
        let pulled = pulled.unwrap_or(Poll::Ready(Pulled::Ended));
        match pulled {
            Poll::Ready(Pulled::Event(_)) => self.excused = false,
            Poll::Ready(Pulled::Ended) => {
                (self.stream, self.timer, inbox.rx) = (None, None, None);
            }
            Poll::Pending => self.waiting = true,
        }
        self.leave(Party::Receiver, pulled.is_pending(), before);
        pulled
    }

    /// The next event of what the last read has left, as of the time of that read. It needs neither
    /// the clock nor what a thread lends: of many short messages that arrived together, each costs
    /// little more than its decoding.
    #[inline]
    pub(crate) fn next_received(&mut self, inbox: &mut Inbox) -> Option<Decoded> {
        let rx = inbox.rx.as_deref_mut().filter(|rx| rx.unread() > 0)?;
        let connection = &mut self.turn.connection;
        let stops = inbox.over || self.stream.is_none() || !connection.wants_read();
        if stops || connection.driver_view().compresses() || self.waiters.has_others(Some(Party::Receiver)) {
            return None;
        }
        let decoded = connection.decode(self.looked, rx)?;
        (self.excused, self.waiting) = (false, false);
        if connection.state() == State::Closed {
            connection.driver().note_rest(rx);
            inbox.over = self.turn.is_over();
        }
        (!inbox.over).then_some(decoded)
    }

    /// Queues a short message. `None` if it has to be sent in a poll, because it is long or there is
    /// no room for it.
    #[inline]
    pub(crate) fn feed(&mut self, message: Message<'_>) -> Option<Result<(), SendError>> {
        if message.len() >= WRITE_THROUGH {
            return None;
        }
        if self.stream.is_none() || self.turn.is_broken() {
            return Some(Err(SendError::Closed));
        }
        let connection = &mut self.turn.connection;
        let done = if connection.buffered() > 0 && !connection.driver_view().compresses() {
            connection.send(message)
        } else {
            // The pools do not depend on the exact time.
            lending(connection, self.looked, |connection| connection.send(message))
        };
        if done == Err(SendError::Full) { None } else { Some(done) }
    }

    /// Does a command as soon as there is room for its message. It has not been done before this is
    /// ready.
    pub(crate) fn poll_command(
        &mut self,
        context: &mut Context<'_>,
        (len, command): Command<'_, S>,
    ) -> Poll<Result<(), SendError>> {
        let before = self.phase(Some(Party::Sender));
        let done = self.work(Party::Sender, context, now(), |work, lent| {
            lent.lend(&mut work.turn.connection, len, work.now);
            loop {
                if work.turn.is_broken() {
                    return Poll::Ready(Err(SendError::Closed));
                }
                match command(work) {
                    Err(SendError::Full) => {}
                    done => return Poll::Ready(done),
                }
                work.flush();
                if !work.turn.connection.is_writable()
                    && work.turn.connection.state() == State::Open
                    && work.wait_to_write().is_pending()
                {
                    return Poll::Pending;
                }
            }
        });
        let done = done.unwrap_or(Poll::Ready(Err(SendError::Closed)));
        self.leave(Party::Sender, done.is_pending(), before);
        done
    }

    /// Waits until the stream has taken everything that is queued.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_flush_as(Party::Sender, context)
    }

    /// Waits as `party` until the stream has taken everything that is queued.
    pub(crate) fn poll_flush_as(
        &mut self,
        party: Party,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let before = self.phase(Some(party));
        let flushed = self.work(party, context, now(), |work, _| {
            loop {
                let flushed = work.flush();
                if work.turn.is_broken() || work.turn.has_dropped() {
                    return Poll::Ready(Err(SendError::Closed));
                }
                if matches!(flushed, Flushed::All | Flushed::Shutdown) {
                    return Poll::Ready(Ok(()));
                }
                if work.wait_to_write().is_pending() {
                    return Poll::Pending;
                }
            }
        });
        let flushed = flushed.unwrap_or_else(|| {
            let sent = self.closure().is_none_or(|closure| closure.clean);
            Poll::Ready(if sent { Ok(()) } else { Err(SendError::Closed) })
        });
        self.leave(party, flushed.is_pending(), before);
        flushed
    }

    /// Reads ahead for a sender that waits for the peer, and is the receiver too. A peer that waits
    /// for us to read, before it reads on, would otherwise wait for ever.
    pub(crate) fn read_ahead(&mut self, context: &mut Context<'_>, inbox: &mut Inbox) {
        let now = now();
        if inbox.over || self.turn.connection.role() != Role::Client {
            return;
        }
        self.work(Party::Receiver, context, now, |work, lent| {
            let mut rx = lent.receive_buffer(inbox.rx.take(), now);
            work.ready.read = true;
            let more = work.turn.read_on(&mut work.transport, work.ready, &mut rx, READ_SIZE);
            // A sender that waits for room looks again, and finds that there will be none.
            if more || work.turn.is_broken() {
                work.transport.context.waker().wake_by_ref();
            }
            inbox.rx = lent.rest(rx, now);
        });
    }

    /// Acts on the deadlines while nobody receives, and ends the transport of a connection that has
    /// ended. Ready when that is done, or when nothing can be sent any more.
    pub(crate) fn poll_deadlines(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let before = self.phase(Some(Party::Attendant));
        let attended = self.work(Party::Attendant, context, now(), |work, _| work.attend());
        let attended = attended.unwrap_or(Poll::Ready(()));
        if attended.is_ready() && self.turn.connection.state() == State::Closed {
            (self.stream, self.timer) = (None, None);
        }
        self.leave(Party::Attendant, attended.is_pending(), before);
        attended
    }

    /// Works on the connection with the buffers of this thread. `None` if the transport has ended.
    ///
    /// The connection is lent what compresses, and no buffer to send from: for the rare answer that
    /// is not the application's, such as a Pong, it makes one.
    fn work<R>(
        &mut self,
        party: Party,
        context: &mut Context<'_>,
        now: Instant,
        work: impl FnOnce(&mut Work<'_, '_, S>, &mut Borrowed) -> R,
    ) -> Option<R> {
        let Linked { turn, stream, link, ready, ending, timer, waiters, .. } = self;
        let stream = stream.as_mut()?;
        let has_others = waiters.has_others(Some(party));
        let waker = waiters.enter(party, context.waker());
        let on_panic = WakeOnPanic(waker);
        let context = &mut Context::from_waker(waker);
        let mut borrowed = Borrowed::of_this_thread(now);
        if turn.connection.driver_view().compresses() {
            borrowed.lend(&mut turn.connection, 0, now);
        }
        let judges = turn.is_broken();
        let transport = Polled { stream, link, context, judges };
        let mut polled = Work { turn, transport, ready, ending, timer, now };
        let result = work(&mut polled, &mut borrowed);
        let due = if has_others { polled.keep_deadline() } else { Parties::NONE };
        std::mem::forget(on_panic);
        waiters.wake(due.with(party, false));
        borrowed.reclaim(&mut self.turn.connection, now);
        borrowed.give_back(now);
        Some(result)
    }

    /// Notes whether `party` waits after its poll, and wakes those who wait for what it has done.
    fn leave(&mut self, party: Party, waits: bool, before: Option<Phase>) {
        self.waiters.leave(party, false);
        self.tell(before);
        self.waiters.leave(party, waits);
    }
}

/// Wakes everybody who waits if a stream panics: they find that the connection has ended.
struct WakeOnPanic<'a>(&'a Waker);

impl Drop for WakeOnPanic<'_> {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

/// The connection during one poll.
pub(crate) struct Work<'a, 'c, S> {
    pub(crate) turn: &'a mut Turn,
    pub(crate) transport: Polled<'a, 'c, S>,
    ready: &'a mut Ready,
    ending: &'a mut Ending,
    timer: &'a mut Option<Alarm>,
    pub(crate) now: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Work<'_, '_, S> {
    fn pull(&mut self, rx: &mut RecvBuffer, over: &mut bool, lent: &mut Borrowed) -> Poll<Pulled> {
        for _ in 0..ROUNDS {
            if self.may_be_due() {
                let is_overdue = self.turn.note_time(self.ready, self.now);
                self.transport.judges |= self.ready.due;
                if is_overdue {
                    self.turn.handle_timeout(&mut self.transport, self.ready, self.now);
                }
            }
            if !*over && let Some(decoded) = self.next_event(rx, lent) {
                if !self.turn.is_over() {
                    return Poll::Ready(Pulled::Event(decoded));
                }
                *over = true;
            }
            // What had arrived is read.
            let reads_on = !*over && self.ready.read && self.turn.connection.wants_read();
            if self.ready.due && !reads_on {
                self.turn.handle_timeout(&mut self.transport, self.ready, self.now);
            }
            let goes_on = if *over {
                let drops = self.finish(rx);
                if self.is_done() {
                    return Poll::Ready(Pulled::Ended);
                }
                drops
            } else {
                self.flush();
                if self.turn.connection.driver_view().has_inflate_work() && self.turn.connection.wants_read()
                {
                    break;
                }
                // After a failed write, what has arrived is read.
                let breaks = self.turn.is_broken() && !self.turn.has_eof();
                reads_on || breaks || self.turn.connection.has_event()
            };
            if !goes_on && self.poll_timer(self.deadline()).is_pending() {
                return Poll::Pending;
            }
        }
        self.transport.context.waker().wake_by_ref();
        Poll::Pending
    }

    fn attend(&mut self) -> Poll<()> {
        let mut scratch = RecvBuffer::new();
        for _ in 0..ROUNDS {
            let goes_on = if self.turn.connection.state() == State::Closed {
                self.turn.note_time(self.ready, self.now);
                if self.ready.due {
                    self.turn.handle_timeout(&mut self.transport, self.ready, self.now);
                }
                let drops = self.finish(&mut scratch);
                if self.is_done() {
                    return Poll::Ready(());
                }
                drops
            } else if self.turn.is_broken() {
                // What the peer has sent before waits for the application.
                return Poll::Ready(());
            } else {
                self.handle_timeout_unread()
            };
            if !goes_on && self.poll_timer(self.deadline()).is_pending() {
                return Poll::Pending;
            }
        }
        self.transport.context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Acts on the deadlines that have passed while nobody receives. Returns whether there were any.
    fn handle_timeout_unread(&mut self) -> bool {
        self.ready.read = false;
        self.turn.note_time(self.ready, self.now);
        if !self.ready.due {
            return false;
        }
        self.transport.judges = true;
        if self.transport.look_ahead() {
            self.turn.handle_timeout_unread(&mut self.transport, self.ready, self.now);
        } else {
            self.turn.handle_timeout(&mut self.transport, self.ready, self.now);
        }
        self.flush();
        true
    }

    /// The next event of what has arrived. What is queued is written before more is read: the
    /// answers to one read leave in one write.
    fn next_event(&mut self, rx: &mut RecvBuffer, lent: &mut Borrowed) -> Option<Decoded> {
        self.ready.read = false;
        let may_have = rx.has_undecoded() || self.turn.connection.has_event() || self.turn.has_eof();
        if may_have
            && (self.turn.connection.wants_read() || self.turn.connection.has_event())
            && let Some(decoded) =
                self.turn.next_event(&mut self.transport, self.ready, rx, READ_SIZE, self.now)
        {
            return Some(decoded);
        }
        self.ready.read = !self.turn.has_eof();
        self.flush();
        if self.turn.connection.wants_read() || self.turn.connection.has_event() {
            let Work { turn, transport, ready, .. } = self;
            return turn.next_event_pooled(transport, ready, rx, lent.lent(), self.now);
        }
        if self.turn.connection.state() != State::Closed {
            self.turn.read_on(&mut self.transport, self.ready, rx, READ_SIZE);
        }
        None
    }

    /// Writes what is queued, until the stream takes no more.
    #[inline]
    pub(crate) fn flush(&mut self) -> Flushed {
        if !self.turn.connection.driver_view().has_output() && self.transport.link.is_flushed() {
            return Flushed::All;
        }
        self.flush_queued()
    }

    fn flush_queued(&mut self) -> Flushed {
        let flushed = self.turn.flush(&mut self.transport, self.ready, self.now);
        self.leave_after(flushed);
        flushed
    }

    /// After the end of the connection: reads and drops what still arrives, until the peer has ended
    /// the transport or its time is over. Returns whether there may be more to drop.
    fn finish(&mut self, rx: &mut RecvBuffer) -> bool {
        self.ready.read = true;
        if matches!(self.ending, Ending::Before) {
            let flushed = self.turn.await_end(&mut self.transport, self.ready, rx, self.now);
            self.leave_after(flushed);
        }
        rx.clear();
        if matches!(self.ending, Ending::Before) {
            return self.ready.read && self.turn.drops_what_arrives();
        }
        if let Ending::Lingering(lingering) = &mut *self.ending {
            let scratch = rx.spare(SHORT_TAIL);
            match lingering.turn(&mut self.transport, self.ready, scratch, self.now, || true) {
                LingerNext::Again => return true,
                LingerNext::Wait => {}
                LingerNext::Close => self.close(),
            }
        }
        false
    }

    fn leave_after(&mut self, flushed: Flushed) {
        if flushed != Flushed::Shutdown || !matches!(self.ending, Ending::Before) {
            return;
        }
        // Closing a transport with unread bytes would reset it.
        if self.ready.read && !self.turn.has_eof() {
            self.transport.judges = true;
            self.ready.read = match self.transport.discard(&mut [0; PROBE]) {
                Io::Moved(count) => count > 0,
                Io::Blocked | Io::Lost => false,
            };
        }
        match self.turn.leave(&mut self.transport, self.ready) {
            Leave::Close => self.close(),
            Leave::Linger => {
                let lingering = self.turn.linger(&mut self.transport, self.ready, self.now);
                *self.ending = Ending::Lingering(lingering);
            }
        }
    }

    fn close(&mut self) {
        self.transport.shutdown(std::net::Shutdown::Both);
        *self.ending = Ending::Closing(self.now.checked_add(self.turn.connection.config().close_timeout));
    }

    /// Whether the stream has nothing left to do.
    fn is_done(&mut self) -> bool {
        match &*self.ending {
            Ending::Closing(until) => {
                until.is_some_and(|until| until <= self.now) || self.transport.flush_own()
            }
            _ => false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &*self.ending {
            Ending::Before => self.turn.deadline(),
            Ending::Lingering(lingering) => Some(lingering.deadline()),
            Ending::Closing(until) => *until,
        }
    }

    /// Whether a deadline may have passed: not as long as the alarm is set, which wakes before each.
    #[inline]
    fn may_be_due(&self) -> bool {
        let is_set = |alarm: &Alarm| self.now < alarm.sleep.deadline().into_std();
        self.ready.due || !self.timer.as_ref().is_some_and(is_set)
    }

    /// Waits for room in the stream, or for the deadline of a sender. Ready when that has passed and
    /// was acted on.
    fn wait_to_write(&mut self) -> Poll<()> {
        if self.poll_timer(self.turn.connection.driver_view().poll_send_timeout()).is_pending() {
            return Poll::Pending;
        }
        self.transport.judges = true;
        self.turn.handle_send_timeout(&mut self.transport, self.ready, self.now);
        Poll::Ready(())
    }

    /// Makes sure that those who wait are woken at the next deadline, which may have become an earlier
    /// one. If it has passed, returns those who act on it: each is to be woken once. They may be gone.
    fn keep_deadline(&mut self) -> Parties {
        let Some(deadline) = self.deadline() else { return Parties::NONE };
        let at = tokio::time::Instant::from_std(deadline);
        let is_kept = |alarm: &Alarm| !alarm.sleep.is_elapsed() && alarm.sleep.deadline() <= at;
        if self.timer.as_ref().is_some_and(is_kept) {
            return Parties::NONE;
        }
        let now = now();
        if deadline <= now {
            // The timer stays as it is: it may be set for a later deadline, of one who waits.
            let sending = self.turn.connection.driver_view().poll_send_timeout();
            let sends = sending.is_some_and(|deadline| deadline <= now);
            return Parties::ALL.with(Party::Sender, sends);
        }
        if self.poll_timer(Some(deadline)).is_ready() {
            self.transport.context.waker().wake_by_ref(); // it has passed meanwhile
        }
        Parties::NONE
    }

    /// Waits for `deadline`. Ready when it has passed; the time is then the present.
    fn poll_timer(&mut self, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else { return Poll::Pending };
        let waker = self.transport.context.waker();
        let is_new = self.timer.is_none();
        let Alarm { sleep, waker: woken } = self.timer.get_or_insert_with(|| Alarm {
            sleep: Box::pin(tokio::time::sleep_until(deadline)),
            waker: waker.clone(),
        });
        // One that wakes too early is set anew then: deadlines are put off often.
        if sleep.is_elapsed() || sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        } else if !is_new && woken.will_wake(waker) {
            return Poll::Pending;
        }
        woken.clone_from(waker);
        // A timer that is polled without a budget would not be set.
        while pin!(coop::unconstrained(sleep.as_mut())).poll(self.transport.context).is_ready() {
            let now = tokio::time::Instant::now();
            if deadline <= now {
                self.now = now.into_std();
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
