//! The event loop under every mode: connections in one poll, opened in parallel, turned as their
//! events come.

use super::peer::{Buffers, Endpoint, Part, Peer, Step};
use super::script::Script;
use super::tls::Sessions;
use anyhow::{Context, bail};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// Connections that do the same.
#[derive(Debug)]
pub(super) struct Lane {
    /// Where they go.
    pub(super) endpoint: Endpoint,
    pub(super) part: Part,
    pub(super) script: Script,
    /// Messages that each connection keeps on the way: a reply lets the next message go. `None`
    /// leaves that to a schedule.
    pub(super) in_flight: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Engine {
    poll: Poll,
    events: Events,
    buffers: Buffers,
    pub(super) lanes: Vec<Lane>,
    pub(super) peers: Vec<Peer>,
    /// Places of connections that have closed in the last turn.
    pub(super) ended: Vec<usize>,
    /// The TLS sessions that have begun.
    pub(super) sessions: Sessions,
    /// Whether all connections are being closed, so that the failure of one is no more than its
    /// end.
    leaving: bool,
    clock: Clock,
    /// How long the server may let a connection wait.
    pub(super) patience: Duration,
    /// When connections that wait too long were last looked for.
    looked: u64,
}

/// Nanoseconds since the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    #[inline]
    pub(super) fn now(self) -> u64 {
        nanos(self.0.elapsed())
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Engine {
    pub(super) fn new(lanes: Vec<Lane>, patience: Duration) -> anyhow::Result<Engine> {
        Ok(Engine {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffers: Buffers::new(),
            lanes,
            peers: Vec::new(),
            ended: Vec::new(),
            sessions: Sessions::default(),
            leaving: false,
            clock: Clock(Instant::now()),
            patience,
            looked: 0,
        })
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Opens `count` more connections of this lane, a bounded number at a time.
    pub(super) fn open(&mut self, lane: usize, count: usize) -> anyhow::Result<()> {
        let until = self.peers.len() + count;
        let mut opening = 0;
        while self.peers.len() < until || opening > 0 {
            while self.peers.len() < until && opening < OPENING {
                self.connect(self.peers.len(), lane)?;
                opening += 1;
            }
            self.turn(TICK, |_, _, step, _| opening -= usize::from(step.opened))?;
        }
        Ok(())
    }

    /// Starts a connection at this place, instead of the one that was there.
    pub(super) fn connect(&mut self, place: usize, lane: usize) -> anyhow::Result<()> {
        let Lane { endpoint, part, script, .. } = &self.lanes[lane];
        let failed = || format!("cannot connect to {}", endpoint.addr);
        let now = self.clock.now();
        let mut peer = Peer::connect(endpoint, *part, script, place, now).with_context(failed)?;
        peer.lane = lane;
        // On one machine it is often connected already.
        peer.write(script, now).with_context(failed)?;
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(peer.socket(), Token(place), interests)?;
        match self.peers.get_mut(place) {
            Some(old) => *old = peer,
            None => self.peers.push(peer),
        }
        Ok(())
    }

    /// Waits for events, at most for so long, and does what they ask for. `on` is called for each
    /// connection that brought something, before it sends. Says whether there were events.
    ///
    /// # Errors
    /// If a connection fails, or waited for the server for too long.
    pub(super) fn turn(
        &mut self,
        timeout: Duration,
        mut on: impl FnMut(&mut Peer, &Lane, &Step, u64),
    ) -> anyhow::Result<bool> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        self.ended.clear();
        for event in &self.events {
            let place = event.token().0;
            let Some(peer) = self.peers.get_mut(place) else { continue };
            let lane = &self.lanes[peer.lane];
            let ended = event.is_read_closed() || event.is_error();
            // Its end would not come through: what waits for it is in the way.
            if lane.part == Part::Deaf && peer.is_open() {
                continue;
            }
            let readable = ended || event.is_readable() || peer.is_connecting();
            let read = if readable {
                peer.read(ended, &lane.script, &mut self.buffers)
            } else {
                Ok(Step::default())
            };
            let step = match read {
                Ok(step) => step,
                Err(_) if self.leaving => peer.closed(),
                Err(error) => return Err(error.context(format!("connection {place}"))),
            };
            let now = self.clock.now();
            if readable {
                peer.touch(now);
            }
            if step.opened
                && let Some(session) = peer.tls()
            {
                self.sessions.note(session).with_context(|| format!("connection {place}"))?;
            }
            if step.opened || step.closed || step.volume.replies > 0 {
                on(peer, lane, &step, now);
            }
            match peer.write(&lane.script, now) {
                Err(_) if self.leaving => drop(peer.closed()),
                written => written.with_context(|| format!("connection {place} failed"))?,
            }
            if peer.is_closed() {
                self.ended.push(place);
            }
        }
        self.look_for_stalls()?;
        Ok(!self.events.is_empty())
    }

    /// Takes turns until this time: `turn` gets the time and how long is left, and `show` is told
    /// now and then. Both get what is counted.
    pub(super) fn until<C>(
        &mut self,
        end: u64,
        counted: &mut C,
        mut turn: impl FnMut(&mut Engine, &mut C, u64, Duration) -> anyhow::Result<()>,
        mut show: impl FnMut(&C, Duration),
    ) -> anyhow::Result<()> {
        let mut shown = 0;
        loop {
            let now = self.clock.now();
            if now >= end {
                return Ok(());
            }
            let left = Duration::from_nanos(end - now);
            if now >= shown + nanos(SHOW) {
                shown = now;
                show(counted, left);
            }
            turn(self, counted, now, left)?;
        }
    }

    /// Lets the connection at this place send `count` messages that were due at `due`. Returns when
    /// it was tried.
    pub(super) fn send(&mut self, place: usize, count: u32, due: u64) -> io::Result<u64> {
        let peer = &mut self.peers[place];
        let script = &self.lanes[peer.lane].script;
        let full = peer.has_more_to_send();
        peer.grant(script, count, due);
        let now = self.clock.now();
        // Where the socket is full already, its event comes.
        if !full {
            peer.write(script, now)?;
        }
        Ok(now)
    }

    /// Gives the connections of all lanes that have a number of messages on the way their first
    /// ones.
    pub(super) fn fill(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        for peer in &mut self.peers {
            let lane = &self.lanes[peer.lane];
            if let Some(in_flight) = lane.in_flight {
                peer.grant(&lane.script, in_flight, now);
                peer.write(&lane.script, now)?;
            }
        }
        Ok(())
    }

    /// Closes all connections with a closing handshake, as far as the server answers it in time,
    /// and forgets them.
    pub(super) fn close_all(&mut self) {
        self.leaving = true;
        let now = self.clock.now();
        for peer in self.peers.iter_mut().filter(|peer| !peer.is_closed()) {
            let Lane { part, script, .. } = &self.lanes[peer.lane];
            // What waits for it is in the way of an answer.
            if *part == Part::Deaf {
                peer.closed();
                continue;
            }
            peer.close(script);
            if peer.write(script, now).is_err() {
                peer.closed();
            }
        }
        while self.peers.iter().any(|peer| !peer.is_closed()) && self.clock.now() < now + nanos(CLOSING) {
            if self.turn(TICK, |_, _, _, _| {}).is_err() {
                break;
            }
        }
        self.peers.clear();
        self.leaving = false;
    }

    /// Not in every turn: it looks at all connections.
    fn look_for_stalls(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        if now < self.looked + nanos(self.patience) / 8 {
            return Ok(());
        }
        self.looked = now;
        let patience = self.patience;
        let since = |peer: &Peer| peer.waits_since().is_some_and(|since| since + nanos(patience) < now);
        if let Some(place) = self.peers.iter().position(since) {
            bail!("connection {place}: the server did not answer for {} seconds", patience.as_secs_f64());
        }
        Ok(())
    }
}

/// Connections that are being opened at a time: fewer than the backlog of any common server.
const OPENING: usize = 100;
/// How often a loop that waits looks at the time.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// How often the progress is shown.
const SHOW: Duration = Duration::from_millis(200);
/// How long closing handshakes may take at the end.
const CLOSING: Duration = Duration::from_secs(1);
