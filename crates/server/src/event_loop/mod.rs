//! One event loop: waits for events, and gives each connection with work to do its turn.
//!
//! | a connection | has its turn |
//! |---|---|
//! | with an event | at once |
//! | with an event, but not read from since it opened, once the turns of this round have taken a slice of time | from the list of long turns |
//! | with an event, whose last turn moved 64 KiB, or left bytes unsent or a large message incomplete | from the list of long turns |
//! | with work left, or accepted and with a TLS handshake to do | from the list of long turns |
//! | with items queued by a handle, a deadline that has passed, or a timer that is due | from the list of short turns; from the list of long turns if its last turn was long |
//! | that is sent a message for all connections | in the walk that sends it |
//! | that is sent a publication | none, if it has nothing else to do ([`publications`]) |
//!
//! A round handles commands of other threads for one [`SLICE`], publications for another, walks
//! through all connections ([`walk`]) for a third, and the lists for a fourth, short turns first. Then it polls again. A
//! connection that needs little waits for those slices and for the other short turns, however much
//! work the rest have. Each list gets at least one turn a round, in its order: a connection behind
//! `n` others in a list waits `n` rounds at most.

mod accepting;
mod deadlines;
pub(crate) mod limits;
pub(crate) mod listen_addr;
pub(crate) mod listener;
pub(crate) mod mailbox;
pub(crate) mod publications;
pub(crate) mod slab;
mod stopping;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod ticker;
pub(crate) mod timers;
pub(crate) mod walk;
pub(crate) mod wheel;

use crate::api::decision::ErasedDecision;
use crate::api::erased::Errands;
use crate::connection::slot::{Place, Slot, SlotNext};
use crate::context::{LoopContext, ServerShared};
use crate::event_loop::listener::Listener;
use crate::event_loop::mailbox::{Command, Here, Mailbox};
use crate::event_loop::publications::Publications;
use crate::event_loop::slab::{Key, Slab};
use crate::event_loop::ticker::Ticker;
use crate::event_loop::walk::{Walk, Walks};
use crate::event_loop::wheel::{Tick, Wheel};
use crate::guard::guarded;
use crate::memory::ledger::{Small, order_small};
use framewright_driver::KEEP_FOR;
use mio::event::Event;
use mio::{Events, Poll, Token};
use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const WAKER: Token = Token(usize::MAX);
/// Listener `n` has the token `FIRST_LISTENER - n`. No connection's token is that large, because
/// the last index is never used.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// The events that one wait takes from the kernel at most.
const EVENTS: usize = 1024;

/// Commands handled between two readings of the clock: many commands take no time.
const COMMANDS: usize = 16;

/// The time for turns of listed connections, and for commands, before the sockets are polled again.
/// In a round whose events took longer than this, lists and commands may take as long as the
/// events. A poll takes a thousandth of a slice.
const SLICE: Duration = Duration::from_millis(1);

/// The time for turns brought by events. Connections whose events are left after it have their
/// turns from a list, with polls in between. So a connection that needs little waits only for a
/// part of a crowd that arrives at once. A thousand echoes of short messages take less.
const TURNS_OF_EVENTS: Duration = Duration::from_millis(8);

/// Lists of connections or commands longer than this are worth shrinking afterwards.
const FEW: usize = 32;

pub(crate) struct EventLoop {
    poll: Poll,
    events: Events,
    slots: Slab<Slot>,
    wheel: Wheel,
    context: LoopContext,
    /// This loop's own listeners. The first loop also has those from which it accepts for all
    /// loops.
    listeners: Vec<Listener>,
    /// The mailboxes of all loops of the server, to spread connections over.
    loops: Vec<Arc<Mailbox>>,
    /// The index of this loop in `loops`.
    index: usize,
    /// Connections that get a turn without an event, and need little as far as is known.
    short_turns: VecDeque<Key>,
    /// Connections that get a turn after all of `short_turns`.
    long_turns: VecDeque<Key>,
    /// Commands taken from the mailbox and not handled yet.
    commands: VecDeque<Command>,
    /// Publications to deliver, in order.
    publications: Publications,
    /// Walks through all connections; the first one is under way.
    walks: VecDeque<Walk>,
    /// The walks requested of each loop, by loop index.
    asked: Arc<[Walks]>,
    /// Periodic calls; only the first loop has any.
    tickers: Vec<Ticker>,
    /// An emptied vector, kept to be reused.
    batch: Vec<Command>,
    /// Entries of the wheel that are due and not examined yet, in reverse order.
    due: Vec<(Tick, u32)>,
    /// When the poll of this round returned.
    woken: Instant,
    /// The deadline for stopping; `None` until the server begins to stop.
    stop_at: Option<Instant>,
    /// Listening sockets that admit no new peers, and the time at which they are closed.
    closing: Option<(Instant, Vec<Listener>)>,
    /// The last connections refused over a limit. Some may have been removed already.
    refused: VecDeque<Key>,
    /// When to release unused memory; `None` if there is nothing to release.
    trim_at: Option<Instant>,
}

/// Makes a loop's poll and mailbox. The loop itself follows later, because all mailboxes have to
/// exist before any loop does.
pub(crate) fn prepare() -> io::Result<(Poll, Arc<Mailbox>)> {
    let poll = Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), WAKER)?;
    Ok((poll, Arc::new(Mailbox::new(waker))))
}

impl EventLoop {
    pub(crate) fn new(
        poll: Poll,
        server: Arc<ServerShared>,
        (loops, index): (Vec<Arc<Mailbox>>, usize),
        asked: Arc<[Walks]>,
        mut listeners: Vec<Listener>,
    ) -> io::Result<EventLoop> {
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(FIRST_LISTENER - index))?;
        }
        let context = LoopContext::new(server, Arc::clone(&loops[index]), index);
        Ok(EventLoop {
            poll,
            events: Events::with_capacity(EVENTS),
            slots: Slab::new(),
            wheel: Wheel::new(context.now),
            woken: context.now,
            context,
            listeners,
            loops,
            index,
            short_turns: VecDeque::new(),
            long_turns: VecDeque::new(),
            commands: VecDeque::new(),
            publications: Publications::default(),
            walks: VecDeque::new(),
            asked,
            tickers: Vec::new(),
            batch: Vec::new(),
            due: Vec::new(),
            stop_at: None,
            closing: None,
            refused: VecDeque::new(),
            trim_at: None,
        })
    }

    /// Sets the handle of the server that this loop belongs to, for its callbacks.
    pub(crate) fn set_server(&mut self, handle: Box<dyn Any + Send>) {
        self.context.parts.server = Some(handle);
    }

    /// Sets the periodic calls that this loop makes.
    pub(crate) fn set_tickers(&mut self, tickers: Vec<Ticker>) {
        self.tickers = tickers;
    }

    /// Marks the calling thread as the one that runs this loop, until the returned guard is
    /// dropped.
    pub(crate) fn enter(&self) -> Here {
        self.context.mailbox.enter()
    }

    /// Runs until the server has stopped.
    ///
    /// # Errors
    /// If the system's event queue fails. Even then the close is sent to the connections, as far as
    /// their sockets take it at once, and the application is notified.
    pub(crate) fn run(self) -> io::Result<()> {
        self.run_by(Poll::poll)
    }

    /// Runs with the given `poll`, which a test can make fail.
    fn run_by(
        mut self,
        mut poll: impl FnMut(&mut Poll, &mut Events, Option<Duration>) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            let wait = self.wait();
            let polled = poll(&mut self.poll, &mut self.events, wait);
            match self.note_woken(polled, Instant::now()) {
                Ok(true) => self.round(),
                Ok(false) => continue,
                Err(error) => {
                    self.stop(self.context.now);
                    self.end();
                    return Err(error);
                }
            }
            if self.stop_at.is_some_and(|stop_at| self.is_over(stop_at)) {
                self.end();
                return Ok(());
            }
        }
    }

    /// Does the work of one round, after a wait.
    fn round(&mut self) {
        let woken = self.context.now;
        self.handle_events();
        self.go_on(self.slice(woken));
    }

    /// The part of a round after its events. Walks get one [`SLICE`], even if `slice` is longer:
    /// the messages that they send are not answers that a peer waits for.
    fn go_on(&mut self, slice: Duration) {
        self.accept();
        self.handle_commands(slice);
        self.handle_publications(slice);
        self.handle_walks(SLICE);
        self.handle_listed(slice);
        self.handle_deadlines(SLICE);
        self.call_tickers();
        self.close_listeners();
    }

    /// Notes the time at which a wait ended, from which the next waits count. Returns false if a
    /// signal interrupted the wait.
    fn note_woken(&mut self, polled: io::Result<()>, now: Instant) -> io::Result<bool> {
        self.context.now = now;
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            polled => polled.map(|()| true),
        }
    }

    /// The time for the lists and for the commands, given that the events of this round are
    /// handled.
    fn slice(&self, woken: Instant) -> Duration {
        SLICE.max(self.context.now - woken)
    }

    fn wait(&mut self) -> Option<Duration> {
        let now = self.context.now;
        let listed = self.short_turns.len() + self.long_turns.len();
        let has_work = !self.commands.is_empty() || !self.walks.is_empty() || !self.due.is_empty();
        let has_work = has_work || !self.publications.is_empty() || self.context.mailbox.has_own();
        if listed > 0 || has_work {
            self.context.lent.trim(now);
            self.trim();
            return Some(Duration::ZERO);
        }
        let trim = self.trim();
        // The loop does not end before its listeners are closed, even if `stop_at` is earlier.
        let closing = self.closing.as_ref().map(|(at, _)| *at);
        let stop = closing.or(self.stop_at).map(|at| at.saturating_duration_since(now));
        let accept = self.listeners.iter().filter_map(|listener| listener.wait(now)).min();
        let ticker = self.tickers.iter().filter_map(|ticker| ticker.wait(now)).min();
        let waits = [accept, self.wheel.wait(now), self.context.lent.trim(now), trim, stop, ticker];
        waits.into_iter().flatten().min()
    }

    /// Schedules a release of unused memory.
    fn trim_later(&mut self) {
        self.trim_at.get_or_insert(self.context.now + KEEP_FOR);
    }

    /// Releases, when it is due, the memory that only a crowd of connections needed. Returns the
    /// time until the next release.
    fn trim(&mut self) -> Option<Duration> {
        let wait = self.trim_at?.saturating_duration_since(self.context.now);
        if !wait.is_zero() {
            return Some(wait);
        }
        self.trim_at = None;
        self.slots.trim();
        self.wheel.trim(self.slots.len(), |place| self.slots.at(place).is_some());
        self.refused.retain(|&key| self.slots.get_mut(key).is_some());
        self.context.mailbox.trim();
        self.context.parts.timers.get_mut().trim();
        // New allocations instead of shrinking in place: see `Slab::trim`.
        self.refused = self.refused.drain(..).collect();
        self.short_turns = self.short_turns.drain(..).collect();
        self.long_turns = self.long_turns.drain(..).collect();
        self.commands = self.commands.drain(..).collect();
        self.publications.trim();
        self.walks = self.walks.drain(..).collect();
        self.due = self.due.drain(..).collect();
        self.batch = Vec::new();
        None
    }

    fn handle_events(&mut self) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        self.woken = self.context.now;
        for event in &events {
            match event.token() {
                WAKER => {}
                Token(token) if token > FIRST_LISTENER - self.listeners.len() => {
                    self.listeners[FIRST_LISTENER - token].ready = true;
                }
                token => {
                    self.handle_event(Key::of(token), event);
                    self.heed_alarm();
                }
            }
        }
        self.events = events;
    }

    fn handle_event(&mut self, key: Key, event: &Event) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let read_closed = event.is_read_closed() || event.is_error();
        slot.with_ready(|ready| {
            ready.read |= event.is_readable() || read_closed;
            ready.more_behind |= read_closed || event.is_priority();
            ready.write |= event.is_writable();
        });
        if let Some(opening) = slot.opening() {
            opening.lost |= event.is_error() || event.is_write_closed();
            opening.ended |= read_closed;
        }
        self.give_turn(key);
    }

    /// Gives a connection with an event its turn, at once or from a list.
    fn give_turn(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        match slot.place {
            // How much work it has is not known yet.
            Place::New if self.context.now >= self.woken + SLICE => {
                slot.place = Place::Listed;
                self.long_turns.push_back(key);
            }
            Place::First if self.context.now >= self.woken + TURNS_OF_EVENTS => self.list(key),
            Place::New | Place::First => self.take_turn(key),
            Place::Last => self.list(key),
            Place::Listed => {}
        }
    }

    /// Lists a connection for a turn, though no event announces it.
    fn list(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        match std::mem::replace(&mut slot.place, Place::Listed) {
            Place::New | Place::First => self.short_turns.push_back(key),
            Place::Last => self.long_turns.push_back(key),
            Place::Listed => {}
        }
    }

    /// Takes turns of listed connections during `slice`, and at least one from each list. A
    /// connection that is listed again goes to the end.
    fn handle_listed(&mut self, slice: Duration) {
        let end = self.context.now + slice;
        if self.short_turns.len() + self.long_turns.len() > FEW {
            self.trim_later();
        }
        self.take_listed(end, |event_loop| &mut event_loop.short_turns);
        self.context.lent.allow_long_turns(true);
        self.take_listed(end, |event_loop| &mut event_loop.long_turns);
        self.context.lent.allow_long_turns(false);
    }

    fn take_listed(&mut self, end: Instant, list: fn(&mut EventLoop) -> &mut VecDeque<Key>) {
        for _ in 0..list(self).len() {
            let Some(key) = list(self).pop_front() else { break };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            slot.place = Place::Last;
            self.take_turn(key);
            self.heed_alarm();
            if self.context.now >= end {
                break;
            }
        }
    }

    /// Takes one turn of a connection and acts on its result. The clock is read after the turn, for
    /// the next one.
    #[inline]
    fn take_turn(&mut self, key: Key) {
        let Some((slot, charged)) = self.slots.get_charged(key) else { return };
        let was_open = slot.is_open();
        let next = slot.turn(key, &mut self.context);
        self.context.now = Instant::now();
        match (slot.place, next) {
            (_, SlotNext::Remove) => return self.remove(key),
            (Place::Listed, _) => {}
            (_, SlotNext::Again) => {
                slot.place = Place::Listed;
                self.long_turns.push_back(key);
            }
            (_, SlotNext::Wait) if slot.is_in_bulk() => slot.place = Place::Last,
            // Nothing was read but a part of a TLS handshake: its work is still to come.
            (_, SlotNext::Wait) if !was_open && slot.stream.is_handshaking() => slot.place = Place::New,
            // The first event of a socket reports only that the socket exists.
            (Place::New, SlotNext::Wait) if !was_open || !self.context.lent.has_read() => {}
            (_, SlotNext::Wait) => slot.place = Place::First,
        }
        let held = slot.held() + self.context.parts.waiting(key, slot.errands);
        if held > 0 || *charged > 0 {
            let LoopContext { holders, lent, .. } = &mut self.context;
            if holders.settle(key, charged, held, slot.progress(lent)) {
                return self.give_way(key);
            }
        }
        if let Some(deadline) = slot.deadline() {
            slot.armed = self.wheel.arm_own(key, slot.armed, deadline);
        }
        let timers = self.context.parts.timers.get_mut();
        if timers.have_changed() {
            timers.arm(key, &mut self.wheel);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some((_, charged)) = self.slots.get_charged(key) {
            let _ = self.context.holders.settle(key, charged, 0, 0);
        }
        let Some(slot) = self.slots.remove(key) else { return };
        if slot.is_counted() {
            self.context.mailbox.load.fetch_sub(1, Ordering::Relaxed);
        }
        // The connection's state is the application's, and may panic when it is dropped.
        let id = slot.id();
        guarded(|| slot.finish(key, &self.context));
        self.context.parts.timers.get_mut().forget(key);
        if let Some(id) = id {
            // Whoever has this place next must not get its messages.
            guarded(|| self.context.parts.forget_topics(key, id));
        }
        self.context.now = Instant::now();
        self.trim_later();
    }

    fn handle_commands(&mut self, slice: Duration) {
        self.context.mailbox.take(&mut self.batch);
        self.commands.extend(self.batch.drain(..));
        if self.commands.len() > FEW {
            self.trim_later();
        }
        let end = self.context.now + slice;
        while self.context.now < end && !self.commands.is_empty() {
            for _ in 0..COMMANDS {
                let Some(command) = self.commands.pop_front() else { break };
                let is_long = matches!(command, Command::MakeRoom);
                self.handle_command(command);
                if is_long {
                    break;
                }
            }
            self.context.now = Instant::now();
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Adopt(stream, arrival, counted) => self.adopt(stream, arrival, counted),
            Command::Attend(key) => self.attend(key),
            Command::Decide(key, decision) => self.decide(key, decision),
            Command::GiveWay(key) => self.give_way_if_told(key),
            Command::MakeRoom => self.make_room(),
            Command::Work(work) => self.publications.push(work),
            Command::Walk => self.walks.extend(self.asked[self.index].take()),
            Command::Stop(at) => self.stop(at),
        }
    }

    /// Makes the periodic calls that are due, until the server stops.
    fn call_tickers(&mut self) {
        if self.context.draining {
            guarded(|| self.tickers.clear());
        }
        for ticker in &mut self.tickers {
            if ticker.call_if_due(self.context.now) {
                self.context.now = Instant::now();
            }
        }
    }

    fn attend(&mut self, key: Key) {
        if self.slots.get_mut(key).is_some_and(|slot| slot.note(Errands::QUEUED)) {
            self.list(key);
        }
    }

    fn decide(&mut self, key: Key, decision: ErasedDecision) {
        if let Some(opening) = self.slots.get_mut(key).and_then(Slot::opening) {
            guarded(|| opening.decide(decision));
            self.take_turn(key);
        } else {
            guarded(|| drop(decision));
        }
    }

    /// Handles commands at once if a turn raised the alarm that all connections together hold too
    /// much memory. So the connections selected to end have ended before the next turn.
    #[inline]
    fn heed_alarm(&mut self) {
        if std::mem::take(&mut self.context.holders.alarm) {
            self.handle_commands(SLICE);
        }
    }

    /// Ends a connection selected to give way, unless it has released its memory meanwhile.
    fn give_way_if_told(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if self.context.holders.is_told(key) || slot.is_told() {
            self.give_way(key);
        }
    }

    #[cold]
    fn give_way(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        self.context.server.totals.ledger.note_ended();
        if guarded(|| slot.give_way(&self.context)).unwrap_or(false) {
            self.take_turn(key);
        } else {
            self.remove(key);
        }
    }

    /// Ends some connections that hold little, when all together hold too much and none of them
    /// holds much.
    #[cold]
    fn make_room(&mut self) {
        let ledger = Arc::clone(&self.context.server.totals.ledger);
        if ledger.wants_room() {
            let all = self.slots.charged();
            let all = all.map(|(key, slot, charged)| Small { key, charged, queued: slot.queued() });
            for key in order_small(all) {
                if !ledger.wants_room() {
                    break;
                }
                self.give_way(key);
            }
        }
        ledger.note_looked();
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // The mailbox may still be referenced by accepting loops, handles and deferred decisions.
        let left = self.context.mailbox.close();
        self.asked[self.index].close();
        let walks = std::mem::take(&mut self.walks);
        guarded(|| drop(walks));
        for command in self.commands.drain(..).chain(left) {
            if matches!(command, Command::MakeRoom) {
                self.context.server.totals.ledger.note_looked();
            }
        }
    }
}
