//! The connection during one poll: what it has to do with its stream before its task waits.

use crate::lent::{Borrowed, READ_SIZE};
use crate::tasks::{Parties, Party};
use crate::topics::Member;
use crate::transport::Polled;
use framewright::{Decoded, RecvBuffer, State};
use framewright_driver::{
    Flushed, Io, Leave, LingerNext, Lingering, Ready, SHORT_TAIL, Transport as _, Turn,
};
use std::future::Future as _;
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop;
use tokio::time::Sleep;

/// The time by tokio's clock, which a test may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How often one poll looks for an event before other tasks have their turns.
const ROUNDS: u8 = 32;

/// The bytes that are read to see whether the peer has sent more than it should.
const PROBE: usize = 256;

/// How far the end of the transport has progressed.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The connection is open, has bytes to send, or waits for the peer to end the transport.
    Before,
    Lingering(Lingering),
    /// Nothing is left but the last bytes of the stream itself, which it may send until then; for
    /// ever if `None`.
    Closing(Option<Instant>),
}

/// What waiting for an event came to.
pub(crate) enum Pulled {
    Event(Decoded),
    /// The connection and its transport have ended.
    Ended,
}

/// Wakes at a deadline, or before it. Made when a task first waits.
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// Who is woken.
    waker: Waker,
}

/// The connection during one poll.
pub(crate) struct Work<'a, 'c, S> {
    pub(crate) turn: &'a mut Turn,
    pub(crate) transport: Polled<'a, 'c, S>,
    pub(crate) ready: &'a mut Ready,
    pub(crate) ending: &'a mut Ending,
    pub(crate) timer: &'a mut Option<Alarm>,
    /// Set once the connection has joined a hub.
    pub(crate) member: Option<&'a Member>,
    /// A caller was promised room for one message.
    pub(crate) promised: &'a mut bool,
    pub(crate) now: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Work<'_, '_, S> {
    pub(crate) fn pull(&mut self, rx: &mut RecvBuffer, over: &mut bool, lent: &mut Borrowed) -> Poll<Pulled> {
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

    pub(crate) fn attend(&mut self) -> Poll<()> {
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
                let acts = self.handle_timeout_unread();
                // Publications leave while nobody receives.
                if self.member.is_some() {
                    self.flush();
                }
                acts || self.turn.is_broken()
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

    /// Writes what is queued and what was published for this connection, until the stream takes no
    /// more.
    #[inline]
    pub(crate) fn flush(&mut self) -> Flushed {
        match self.member {
            None => self.flush_own(),
            Some(member) => self.flush_with_topics(member),
        }
    }

    fn flush_with_topics(&mut self, member: &Member) -> Flushed {
        for _ in 0..ROUNDS {
            member.deliver(&mut self.turn.connection);
            let flushed = self.flush_own();
            if !member.flushed(flushed == Flushed::All, &self.turn.connection) {
                return flushed;
            }
        }
        self.transport.context.waker().wake_by_ref();
        Flushed::All
    }

    #[inline]
    fn flush_own(&mut self) -> Flushed {
        if !self.turn.connection.driver_view().has_output() && self.transport.link.is_flushed() {
            return Flushed::All;
        }
        self.flush_queued()
    }

    fn flush_queued(&mut self) -> Flushed {
        let flushed = self.turn.flush(&mut self.transport, self.ready, self.now);
        if self.transport.link.has_failed() && !self.turn.is_broken() {
            // Bytes that were counted as written are lost.
            self.turn.give_up_writing(self.ready);
        }
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
    pub(crate) fn wait_to_write(&mut self) -> Poll<()> {
        if self.poll_timer(self.turn.connection.driver_view().poll_send_timeout()).is_pending() {
            return Poll::Pending;
        }
        self.transport.judges = true;
        self.turn.handle_send_timeout(&mut self.transport, self.ready, self.now);
        Poll::Ready(())
    }

    /// Makes sure that those who wait are woken at the next deadline, which may have become an earlier
    /// one. If it has passed, returns those who act on it: each is to be woken once. They may be gone.
    pub(crate) fn keep_deadline(&mut self) -> Parties {
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
