//! The connection on its stream, which the halves and the attendant share: behind a lock that is
//! never held while a task waits.

use crate::lent::{Borrowed, READ_SIZE};
use crate::tasks::{Parties, Party, Waiters};
use crate::topics::Member;
use crate::transport::{Link, Polled};
use crate::work::{Alarm, Ending, Pulled, Work, now};
use framewright::{Closure, Connection, Decoded, Message, RecvBuffer, Role, SendError, State};
use framewright_driver::{Flushed, Ready, Turn};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// An application that returns within this time has not been away: the peer's silence counts.
const AWAY: Duration = Duration::from_secs(1);

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
    /// Set once the connection has joined a hub.
    pub(crate) member: Option<Arc<Member>>,
    /// When the application last asked for an event.
    looked: Instant,
    /// The application waits for an event.
    waiting: bool,
    /// The idle deadline was extended once since the last event.
    excused: bool,
    /// A caller was promised room for one message.
    promised: bool,
}

/// The state of a connection, as far as somebody waits for its changes.
#[derive(Clone, Copy)]
struct Phase {
    end: (State, bool, bool),
    is_writable: bool,
    is_flushed: bool,
    wants_read: bool,
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
                member: None,
                looked: now(),
                waiting: false,
                excused: false,
                promised: false,
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
        self.end_topics();
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

    /// What wakes those who wait; `None` before the first poll.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.waiters.waker().cloned()
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

    /// Queues a message without a stream, where there is room or was promised.
    pub(crate) fn send_now(&mut self, message: Message<'_>) -> Result<(), SendError> {
        let promised = std::mem::take(&mut self.promised);
        self.command(|connection| {
            if promised { connection.driver().send_past_mark(message) } else { connection.send(message) }
        })
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
        let Linked { turn, stream, link, ready, ending, timer, waiters, member, promised, .. } = self;
        let stream = stream.as_mut()?;
        let has_others = waiters.has_others(Some(party));
        let waker = waiters.enter(party, context.waker());
        let on_panic = WakeOnPanic(waker);
        let context = &mut Context::from_waker(waker);
        let mut borrowed = Borrowed::of_this_thread(now);
        let member = member.as_deref();
        if let Some(member) = member {
            member.listen(waker);
        }
        if member.is_some() || turn.connection.driver_view().compresses() {
            borrowed.lend(&mut turn.connection, 0, now);
        }
        let judges = turn.is_broken();
        let transport = Polled { stream, link, context, judges };
        let mut polled = Work { turn, transport, ready, ending, timer, member, promised, now };
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
