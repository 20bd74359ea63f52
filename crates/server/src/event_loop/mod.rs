//! One event loop: waits, and lets each connection that has something to do take its turn.
//!
//! | a connection | has its turn |
//! |---|---|
//! | of which an event tells | at once |
//! | the same, if it has had no turn since it is open, after a slice of time | from the list of long turns |
//! | the same, if its last turn moved 64 KiB, or left something unsent or a large message incomplete | from the list of long turns |
//! | with work left | from the list of long turns |
//! | with something queued by a handle, with a deadline that has passed, or with a timer that is due | from the list of short turns, or from the other as above |
//! | that a message for all connections comes to | in the walk that brings it |
//!
//! A round does a [`SLICE`] of the commands of other threads, one of walks through all connections
//! ([`walk`]), and one of the lists, short turns first, and then asks the poll: whoever needs
//! little waits for that, and for others that need little, however much the others need. Each list
//! has one turn a round at least, in its order: whoever is behind `n` others in it waits for `n`
//! rounds at the most.

pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod mailbox;
pub(crate) mod slab;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod ticker;
pub(crate) mod timers;
pub(crate) mod walk;
pub(crate) mod wheel;

use crate::api::decision::ErasedDecision;
use crate::api::erased::Errands;
use crate::api::socket::Parcel;
use crate::connection::opening::Opening;
use crate::connection::slot::{Place, Slot, SlotNext};
use crate::context::{LoopContext, ServerShared};
use crate::event_loop::limits::{Counted, Refused};
use crate::event_loop::listener::{ACCEPT_AT_ONCE, LONGEST_QUEUE, Listener};
use crate::event_loop::mailbox::{Command, Here, Mailbox};
use crate::event_loop::slab::{Key, Slab};
use crate::event_loop::stream::{Arrival, PeerAddr, Stream};
use crate::event_loop::ticker::Ticker;
use crate::event_loop::walk::{Job, Sending, Walk, Walks};
use crate::event_loop::wheel::{Tick, Wheel};
use crate::guard::guarded;
use crate::memory::ledger::{Small, order_small};
use crate::stats::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_IP, PROXY};
use framewright::handshake::Refusal;
use framewright_driver::KEEP_FOR;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const WAKER: Token = Token(usize::MAX);
/// Listener `n` has the token `FIRST_LISTENER - n`. No connection's token is that large: the last
/// index is never used.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// What a connection's socket is watched for: TCP's urgent mark too, where it can be
/// ([`Ready::more_behind`](framewright_driver::Ready::more_behind)).
#[cfg(any(target_os = "linux", target_os = "android"))]
const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// How many events one wait takes from the kernel.
const EVENTS: usize = 1024;

/// How many commands are handled between two looks at the clock: many take no time.
const COMMANDS: usize = 16;

/// How many entries of the wheel are looked at between two looks at the clock.
const DUE: usize = 256;

/// After this much time in turns of listed connections, or in commands, sockets are polled; or
/// after as much as the turns of this round took that events have brought. A poll takes a
/// thousandth of it.
const SLICE: Duration = Duration::from_millis(1);

/// After this much time in turns that events have brought, those that are left have theirs from a
/// list: sockets are polled in between, and whoever needs little waits for a part of a crowd that
/// has come at once. A thousand echoes of short messages take less.
const TURNS_OF_EVENTS: Duration = Duration::from_millis(8);

/// A loop keeps what it accepts unless another one has fewer connections by more than one in so
/// many: so few are spread evenly, and of many the most stay where they are accepted. Handing one
/// over costs a wake-up.
const UNEVEN: usize = 16;

/// How many connections over a limit the loop keeps for a moment after they were told so, for their
/// peers to read it. The oldest goes for one more.
const REFUSED_AT_ONCE: usize = 512;

/// Lists of more than so many connections or commands are worth to be made smaller.
const FEW: usize = 32;

/// How long what was asked for before the end may take then: only a server that stops without grace
/// has left much of it.
const LAST_WALKS: Duration = Duration::from_secs(1);

/// How long those that had begun to connect when the server stops have to get in. More than a
/// network's round trip inside of a data centre; whoever begins meanwhile is not answered, and asks
/// again after a second.
const HANDSHAKE_OF_TCP: Duration = Duration::from_millis(10);

pub(crate) struct EventLoop {
    poll: Poll,
    events: Events,
    slots: Slab<Slot>,
    wheel: Wheel,
    context: LoopContext,
    /// This loop's own, and of the first loop also those from which it accepts for all.
    listeners: Vec<Listener>,
    /// All loops of the server, to spread connections over.
    loops: Vec<Arc<Mailbox>>,
    /// Which of them this is.
    index: usize,
    /// Connections to have a turn without an event, and to need little as far as anybody knows.
    short_turns: VecDeque<Key>,
    /// Connections to have a turn behind all of those.
    long_turns: VecDeque<Key>,
    /// Commands that were taken from the mailbox.
    commands: VecDeque<Command>,
    /// Walks through all connections; the first one is under way.
    walks: VecDeque<Walk>,
    /// Those that each loop was asked for.
    asked: Arc<[Walks]>,
    /// Of the first loop only.
    tickers: Vec<Ticker>,
    /// An emptied vector, for its next use.
    batch: Vec<Command>,
    /// Entries of the wheel that are due and not looked at, the last one first.
    due: Vec<(Tick, u32)>,
    /// When the poll of this round has ended.
    woken: Instant,
    /// When the server stops at the latest, once it does.
    stop_at: Option<Instant>,
    /// Listening sockets that let nobody new in, and when they are closed.
    closing: Option<(Instant, Vec<Listener>)>,
    /// The last connections that were refused over a limit. Some have gone.
    refused: VecDeque<Key>,
    /// When room is given back, if there may be some that a crowd has left.
    trim_at: Option<Instant>,
}

/// Makes the poll of a loop and its mailbox, before the loop itself: the mailboxes have to know
/// each other first.
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
        let context = LoopContext::new(server, Arc::clone(&loops[index]));
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

    /// What this loop calls besides its connections.
    pub(crate) fn set_tickers(&mut self, tickers: Vec<Ticker>) {
        self.tickers = tickers;
    }

    /// This thread runs the loop, as long as what is returned lives.
    pub(crate) fn enter(&self) -> Here {
        self.context.mailbox.enter()
    }

    /// Runs until the server has stopped.
    ///
    /// # Errors
    /// If the system's event queue fails. Then the connections are told of the end all the same, as
    /// far as they take it at once, and so is the application.
    pub(crate) fn run(self) -> io::Result<()> {
        self.run_by(Poll::poll)
    }

    /// Runs with a poll that a test may have fail.
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

    /// What follows a wait.
    fn round(&mut self) {
        let woken = self.context.now;
        self.handle_events();
        self.go_on(self.slice(woken));
    }

    /// The round behind its events. Walks have no more than a [`SLICE`], whatever the others have:
    /// each of their turns is a message for somebody who has not asked.
    fn go_on(&mut self, slice: Duration) {
        self.accept();
        self.handle_commands(slice);
        self.handle_walks(SLICE);
        self.handle_listed(slice);
        self.handle_deadlines(SLICE);
        self.call_tickers();
        self.close_listeners();
    }

    /// A wait has ended: what is waited for next counts from now. Returns false if a signal has
    /// ended it.
    fn note_woken(&mut self, polled: io::Result<()>, now: Instant) -> io::Result<bool> {
        self.context.now = now;
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            polled => polled.map(|()| true),
        }
    }

    /// How long the lists and commands may take, now that the events of this round are handled.
    fn slice(&self, woken: Instant) -> Duration {
        SLICE.max(self.context.now - woken)
    }

    fn is_over(&self, stop_at: Instant) -> bool {
        self.closing.is_none() && (self.context.now >= stop_at || self.is_done())
    }

    /// Whether a loop that stops has nothing left, and will get nothing more: its mailbox is closed
    /// then.
    fn is_done(&self) -> bool {
        let is_idle = self.slots.len() == 0 && self.listeners.is_empty() && self.commands.is_empty();
        is_idle && self.context.mailbox.close_if_empty()
    }

    fn wait(&mut self) -> Option<Duration> {
        let now = self.context.now;
        let listed = self.short_turns.len() + self.long_turns.len();
        let has_work = !self.commands.is_empty() || !self.walks.is_empty() || !self.due.is_empty();
        if listed > 0 || has_work {
            self.context.lent.trim(now);
            self.trim();
            return Some(Duration::ZERO);
        }
        let trim = self.trim();
        // It does not end before they are closed, whatever its time.
        let closing = self.closing.as_ref().map(|(at, _)| *at);
        let stop = closing.or(self.stop_at).map(|at| at.saturating_duration_since(now));
        let accept = self.listeners.iter().filter_map(|listener| listener.wait(now)).min();
        let ticker = self.tickers.iter().filter_map(|ticker| ticker.wait(now)).min();
        let waits = [accept, self.wheel.wait(now), self.context.lent.trim(now), trim, stop, ticker];
        waits.into_iter().flatten().min()
    }

    /// Notes that there may be room soon that nobody needs any more.
    fn trim_later(&mut self) {
        self.trim_at.get_or_insert(self.context.now + KEEP_FOR);
    }

    /// Gives back, now and then, what only a crowd has needed. Returns how long until it has
    /// something to do.
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
        // Made anew, and not shrunk where they lie: see `Slab::trim`.
        self.refused = self.refused.drain(..).collect();
        self.short_turns = self.short_turns.drain(..).collect();
        self.long_turns = self.long_turns.drain(..).collect();
        self.commands = self.commands.drain(..).collect();
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
        slot.ready.read |= event.is_readable() || read_closed;
        slot.ready.more_behind |= read_closed || event.is_priority();
        slot.ready.write |= event.is_writable();
        if let Some(opening) = slot.opening() {
            opening.lost |= event.is_error() || event.is_write_closed();
            opening.ended |= read_closed;
        }
        self.give_turn(key);
    }

    /// Now, for what an event has told, or from a list.
    fn give_turn(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        match slot.place {
            // How much it needs nobody knows yet.
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

    /// Has the connection take its turn from a list, though no event tells of it.
    fn list(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        match std::mem::replace(&mut slot.place, Place::Listed) {
            Place::New | Place::First => self.short_turns.push_back(key),
            Place::Last => self.long_turns.push_back(key),
            Place::Listed => {}
        }
    }

    /// Turns of listed connections, for a slice of time and of each list one at least. Who is
    /// listed again comes last.
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

    /// One turn of a connection, and what follows from it. The time is read behind it: it is that
    /// of the next turn.
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
            // The first event of a socket says only that it is there.
            (Place::New, SlotNext::Wait) if !was_open || !self.context.lent.has_read() => {}
            (_, SlotNext::Wait) => slot.place = Place::First,
        }
        let held = slot.held();
        if held > 0 || *charged > 0 {
            let LoopContext { holders, lent, .. } = &mut self.context;
            if holders.settle(key, charged, held, slot.progress(lent)) {
                return self.give_way(key);
            }
        }
        if let Some(deadline) = slot.deadline() {
            slot.armed = Some(self.wheel.arm(key, slot.armed, deadline));
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
        // What the connection carries is the application's, and may panic when it is dropped.
        guarded(|| slot.finish(key, &self.context));
        self.context.parts.timers.get_mut().forget(key);
        self.context.now = Instant::now();
        self.trim_later();
    }

    fn accept(&mut self) {
        let mut listeners = std::mem::take(&mut self.listeners);
        listeners.iter_mut().for_each(|listener| self.accept_from(listener));
        if self.stop_at.is_some() {
            // Whose queue is empty now is closed.
            listeners.retain(|listener| listener.ready);
        }
        self.listeners = listeners;
    }

    /// Accepts what there is, up to a number.
    fn accept_from(&mut self, listener: &mut Listener) {
        let mut accepted = Vec::new();
        listener.accept(self.context.now, |stream, peer| accepted.push((stream, peer)));
        for (stream, peer) in accepted {
            let (by_proxy, has_proxy_header) =
                (self.context.server.proxies.trusts(peer), listener.proxy_protocol);
            if has_proxy_header && !by_proxy {
                // Whatever it would say of itself, nobody could believe it.
                tracing::debug!(?peer, listener = %listener.addr(), "refused: only trusted proxies connect here");
                self.context.counted.accepted.add(1);
                PROXY(self.context.counted.of(None)).add(1);
                continue;
            }
            self.admit(stream, Arrival { peer, by_proxy, has_proxy_header });
        }
    }

    /// Takes a new connection in, or hands it to the loop with the fewest. Which socket gets it is
    /// chance.
    fn admit(&mut self, stream: Stream, arrival: Arrival) {
        self.context.counted.accepted.add(1);
        // Whom a proxy forwards is known when the request is.
        let ip = arrival.peer.filter(|_| !arrival.by_proxy).and_then(PeerAddr::ip);
        let counted = match self.context.server.totals.counters.count(ip) {
            Ok(counted) => counted,
            Err(refused) => return self.refuse(stream, arrival.peer, refused),
        };
        match self.next_loop() {
            Some(mailbox) => self.hand_over(&mailbox, stream, arrival, counted),
            None => {
                self.context.mailbox.load.fetch_add(1, Ordering::Relaxed);
                self.adopt(stream, arrival, counted);
            }
        }
    }

    /// The loop that should have the next connection, unless it is this one.
    fn next_loop(&self) -> Option<Arc<Mailbox>> {
        // The others stop as well, if not already: who is refused is refused here.
        let least =
            self.loops.iter().min_by_key(|mailbox| mailbox.load()).filter(|_| !self.context.draining)?;
        let is_fewer = self.context.mailbox.load() > least.load() + least.load() / UNEVEN;
        is_fewer.then(|| Arc::clone(least))
    }

    fn hand_over(&mut self, to: &Mailbox, stream: Stream, arrival: Arrival, counted: Counted) {
        to.load.fetch_add(1, Ordering::Relaxed);
        if let Err(Command::Adopt(stream, arrival, counted)) =
            to.post(Command::Adopt(stream, arrival, counted))
        {
            // The server stops: that loop has ended already, and this one has not heard of it yet.
            to.load.fetch_sub(1, Ordering::Relaxed);
            self.context.mailbox.load.fetch_add(1, Ordering::Relaxed);
            self.adopt(stream, arrival, counted);
        }
    }

    fn adopt(&mut self, stream: Stream, arrival: Arrival, counted: Counted) {
        let limits = &self.context.server.limits;
        let mut opening = Opening::new(&limits.head, limits.handshake_timeout, arrival, self.context.now);
        if self.context.draining {
            opening.drain(limits.retry_after);
        }
        self.insert(stream, opening, Some(counted));
    }

    /// Answers with 503. The answer fits into the empty buffer of a new socket, so it is on its way
    /// at once.
    fn refuse(&mut self, stream: Stream, peer: Option<PeerAddr>, refused: Refused) {
        tracing::debug!(
            ?peer,
            ?refused,
            open = self.context.server.totals.counters.open(),
            "a connection over a limit"
        );
        let limits = &self.context.server.limits;
        let refusal = Refusal::TooManyConnections { retry_after: limits.retry_after };
        let outcome = match refused {
            Refused::Connections => MAX_CONNECTIONS,
            Refused::ConnectionsFromAddress => MAX_CONNECTIONS_PER_IP,
        };
        let opening = Opening::refused(refusal, outcome, limits.handshake_timeout, self.context.now);
        if self.refused.len() >= REFUSED_AT_ONCE
            && let Some(oldest) = self.refused.pop_front()
        {
            self.remove(oldest);
        }
        let inserted = self.insert(stream, opening, None);
        self.refused.extend(inserted);
    }

    /// Gives a connection its place and its first turn. Returns its key, if there was a place; the
    /// turn may have been its last.
    fn insert(&mut self, stream: Stream, opening: Opening, counted: Option<Counted>) -> Option<Key> {
        let slot = Slot::new(stream, opening, counted);
        let is_counted = slot.is_counted();
        let Some(key) = self.slots.insert(slot) else {
            tracing::error!("no place for another connection");
            self.context.counted.of(None).abandoned.add(1);
            if is_counted {
                self.context.mailbox.load.fetch_sub(1, Ordering::Relaxed);
            }
            return None;
        };
        let registry = self.poll.registry();
        let slot = self.slots.get_mut(key).expect("just inserted");
        if let Err(error) = registry.register(&mut slot.stream, key.token(), INTERESTS) {
            tracing::warn!(%error, "a connection could not be watched");
            self.remove(key);
            return None;
        }
        // The request is often there already; looking now saves a turn of the loop.
        slot.ready.read = true;
        self.take_turn(key);
        Some(key)
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
            Command::Walk => self.walks.extend(self.asked[self.index].take()),
            Command::Stop(at) => self.stop(at),
        }
    }

    /// Goes on with walks through all connections, for a slice of time and for one connection at
    /// least.
    fn handle_walks(&mut self, slice: Duration) {
        let end = self.context.now + slice;
        while let Some(mut walk) = self.walks.pop_front() {
            walk.take_along(&mut self.walks);
            if !self.walk_on(&mut walk, end) {
                return self.walks.push_front(walk);
            }
            // What it carries is the application's.
            guarded(|| drop(walk));
            self.context.now = Instant::now();
            if self.context.now >= end {
                return;
            }
        }
    }

    /// Returns whether the walk has come to its end.
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

    /// Does with a connection what a walk is for. Returns whether the walk goes on.
    fn visit(&mut self, key: Key, job: &mut Job) -> bool {
        let slot = self.slots.get_mut(key).expect("it was found just now");
        let connected = slot.connected(key, &self.context);
        match (job, connected) {
            (Job::Drain, _) => {
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

    /// The server stops: begins to end a connection, behind what its handles have queued.
    fn drain(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.drain(&mut self.context);
        slot.note(Errands::QUEUED);
        self.take_turn(key);
        self.heed_alarm();
    }

    /// Sends messages to a connection, in a turn of its own: what it lends for that is the loop's
    /// again behind it, and what the peer takes is on its way. Those for which there was no room
    /// beside the first ones have another turn behind that write.
    fn deliver(&mut self, key: Key, parcels: Vec<Parcel>, messages: &mut [Sending]) {
        *self.context.parts.parcels.get_mut() = parcels;
        while !self.context.parts.parcels.get_mut().is_empty() {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.note(Errands::PARCELS | Errands::QUEUED);
            }
            self.take_turn(key);
            if let Some(slot) = self.slots.get_mut(key) {
                // A callback that has panicked comes before it.
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

    /// Calls what is called now and then, until the server stops.
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

    /// Where all connections hold too much since a turn, those that were told to go have gone
    /// before the next one.
    #[inline]
    fn heed_alarm(&mut self) {
        if std::mem::take(&mut self.context.holders.alarm) {
            self.handle_commands(SLICE);
        }
    }

    /// Ends a connection that was told to go, unless it has let go meanwhile of what it held.
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

    /// All connections hold too much together, and none of them much: ends some that hold little.
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

    /// Looks at what the wheel has come to, for a slice of time and at so many entries at least; the
    /// rest is first in the next round.
    fn handle_deadlines(&mut self, slice: Duration) {
        if self.due.is_empty() {
            self.wheel.take_due(self.context.now, &mut self.due);
            if self.due.is_empty() {
                return;
            }
            // They are taken from the end.
            self.due.reverse();
        }
        if self.due.len() > FEW {
            self.trim_later();
        }
        let begun = Instant::now();
        loop {
            for _ in 0..DUE {
                let Some((tick, place)) = self.due.pop() else { return };
                self.reach(tick, place);
            }
            if begun.elapsed() >= slice {
                return;
            }
        }
    }

    /// The wheel has come to an entry.
    fn reach(&mut self, tick: Tick, place: u32) {
        let Some(key) = self.slots.at(place) else { return };
        let slot = self.slots.get_mut(key).expect("it is there");
        let timers = self.context.parts.timers.get_mut();
        if timers.reach(key, tick, &mut self.wheel, self.context.now) && slot.note(Errands::TIMERS) {
            // As for a deadline, below.
            slot.ready.read = true;
            self.list(key);
        }
        let slot = self.slots.get_mut(key).expect("it is there");
        if slot.armed != Some(tick) {
            return; // an earlier deadline has taken this entry's place
        }
        slot.armed = None;
        if slot.deadline().is_some_and(|deadline| deadline <= self.context.now) {
            // One poll tells of a bounded number of sockets: what lies in this one counts before
            // its deadline.
            (slot.ready.due, slot.ready.read) = (true, true);
            self.list(key);
        } else if let Some(deadline) = slot.deadline() {
            slot.armed = Some(self.wheel.arm(key, None, deadline));
        }
    }

    /// Begins to stop: no new connections, 1001 to the open ones behind the walks that wait, and an
    /// end at `at`.
    fn stop(&mut self, at: Instant) {
        if let Some(stop_at) = &mut self.stop_at {
            *stop_at = at.min(*stop_at);
            return;
        }
        self.stop_at = Some(at);
        self.context.draining = true;
        self.refuse_new();
        // What was asked for before comes before.
        self.walks.push_back(Walk::new(Job::Drain));
    }

    /// Closes the listening sockets. That resets who is in their queues, so they are emptied
    /// before, and once more when those that had begun to connect are in. One whose queue cannot be
    /// emptied, for want of descriptors, stays until it can.
    fn refuse_new(&mut self) {
        let mut closing = Vec::new();
        for mut listener in std::mem::take(&mut self.listeners) {
            let _ = self.poll.registry().deregister(listener.source());
            if !listener.is_ours() {
                continue;
            }
            let is_empty = self.accept_queue(&mut listener);
            if listener.refuse_new() {
                closing.push(listener);
            } else if !is_empty {
                self.listeners.push(listener);
            }
        }
        self.closing = (!closing.is_empty()).then(|| (Instant::now() + HANDSHAKE_OF_TCP, closing));
    }

    /// Closes the listening sockets that let nobody new in, when it is time.
    fn close_listeners(&mut self) {
        let Some((_, listeners)) = self.closing.take_if(|(at, _)| *at <= self.context.now) else { return };
        for mut listener in listeners {
            if !self.accept_queue(&mut listener) {
                self.listeners.push(listener);
            }
        }
    }

    /// Accepts all that the system's queue holds, and no more than it can hold, should it be filled
    /// at the same time. Returns whether it is empty: not where there are no descriptors.
    fn accept_queue(&mut self, listener: &mut Listener) -> bool {
        listener.try_now();
        for _ in 0..LONGEST_QUEUE {
            self.accept_from(listener);
            if listener.wait(self.context.now) != Some(Duration::ZERO) {
                break;
            }
        }
        !listener.ready
    }

    /// Cuts what is left.
    fn end(&mut self) {
        // Connections may have been handed over that nobody else will tell of the stop.
        let taken = std::mem::take(&mut self.commands);
        for command in taken.into_iter().chain(self.context.mailbox.close()) {
            self.handle_command(command);
        }
        self.handle_walks(LAST_WALKS);
        self.remove_all();
        // Their descriptors are for those who could not be let in, as many at a time as there are.
        for mut listener in std::mem::take(&mut self.listeners) {
            for _ in 0..LONGEST_QUEUE * ACCEPT_AT_ONCE {
                let is_empty = self.accept_queue(&mut listener);
                self.remove_all();
                if is_empty {
                    break;
                }
            }
        }
    }

    fn remove_all(&mut self) {
        for key in self.slots.keys() {
            self.remove(key);
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // Others may still know the mailbox: loops that accept, handles, decisions that were put
        // off.
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
