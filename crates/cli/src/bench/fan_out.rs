//! `--fan-out`: one connection publishes, many listen.
//!
//! A message that is published has to reach every listener, in the order of publishing. Its time
//! counts from the moment when it is sent (in an open loop: from when it was due) to each arrival,
//! so a message has as many times as there are listeners. What counts as a message of the run is an
//! arrival.
//!
//! Those that do not read are there before the listeners are, and messages fill their buffers
//! first. One listener is there with them: what has reached it has left the server.

use super::engine::{Engine, TICK, nanos};
use super::inflated;
use super::latency::Latency;
use super::load::{COUNTED, Counted, DRAIN, FanOut, OpenLoop, Pace, Plan};
use super::peer::{Peer, Step};
use super::process::Process;
use super::progress::Progress;
use super::usage::Meter;
use super::volume::Volume;
use anyhow::{Context, ensure};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// Who is there to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// Those that listen at each server.
    pub(super) listeners: usize,
    /// Servers besides the first.
    pub(super) others: usize,
    /// Those that do not read, and are not counted.
    pub(super) deaf: usize,
}

/// The lane of the connection that publishes.
const PUBLISHER: usize = 1;
/// The lane of those that do not read.
const DEAF: usize = 2;
/// The first of the lanes of those that listen at other servers.
const OTHERS: usize = 3;
/// The publisher's place: it is opened first.
const PUBLISHER_PLACE: usize = 0;

/// Opens the connections of an engine that has none, and loads them. Without a rate `in_flight`
/// messages are published in one write, and the next when all have arrived.
pub(super) fn run(
    engine: &mut Engine,
    crowd: Crowd,
    in_flight: u32,
    plan: Plan,
    server: Option<&Process>,
    progress: &Progress,
) -> anyhow::Result<Counted> {
    engine.open(PUBLISHER, 1)?;
    let mut load = Load { tally: Tally::new(1, engine.clock().now()), pace: None, in_flight };
    let mut open = 0;
    if crowd.deaf > 0 {
        progress.say("filling the buffers of those that do not read");
        engine.open(DEAF, crowd.deaf)?;
        engine.open(COUNTED, 1)?;
        load.fill(engine)?;
        open = 1;
    }
    engine.open(COUNTED, crowd.listeners - open)?;
    for other in 0..crowd.others {
        engine.open(OTHERS + other, crowd.listeners)?;
    }
    let clock = engine.clock();
    let settled = clock.now() + if crowd.others > 0 { nanos(SETTLING) } else { 0 };
    while clock.now() < settled {
        load.hear(engine, TICK)?;
    }
    let listeners = crowd.listeners * (1 + crowd.others);
    load.tally = Tally::new(listeners, clock.now());
    load.pace = plan.rate.map(|rate| Pace::new(engine, rate, PUBLISHER));
    let turn = |engine: &mut Engine, load: &mut Load, now, left| load.turn(engine, now, left);
    let begin = clock.now() + nanos(plan.warm_up);
    engine.until(begin, &mut load, turn, |_, left| progress.show("warm-up", left, None))?;

    let meter = Meter::start(server)?;
    let from = clock.now();
    let to = from + nanos(plan.duration);
    load.begin(from..to);
    engine.until(to, &mut load, turn, |load, left| {
        let counted = plan.duration.saturating_sub(left).as_secs_f64();
        progress.show("counting", left, Some(load.tally.volume.replies as f64 / counted.max(1e-9)));
    })?;
    let duration = Duration::from_nanos(clock.now() - from);
    let spun = load.pace.as_ref().map_or(Duration::ZERO, |pace| Duration::from_nanos(pace.spun));
    let usage = meter.stop(duration, spun)?;

    load.tally.counting = false;
    let open_loop = load.drain(engine, to, progress)?;
    let Load { tally, .. } = load;
    let ever = Volume { compressed: tally.compressed, ..tally.volume };
    inflated::check(engine.lanes[COUNTED].script.compress, ever)?;
    // A message is sent once, and not to each listener.
    let volume = Volume { sent: tally.volume.sent / listeners as u64, ..tally.volume };
    Ok(Counted {
        duration,
        volume,
        latency: tally.latency,
        flood_messages: 0,
        open_loop,
        fan_out: Some(FanOut { published: tally.published }),
        usage,
    })
}

/// What is going on.
#[derive(Debug)]
struct Load {
    tally: Tally,
    /// When messages are published, in an open loop.
    pace: Option<Pace>,
    in_flight: u32,
}

impl Load {
    /// Counts from now on; times are those of messages that were published meanwhile.
    fn begin(&mut self, timed: Range<u64>) {
        self.tally.counting = true;
        self.tally.timed = timed;
        if let Some(pace) = &mut self.pace {
            pace.begin();
        }
    }

    /// Publishes what may be published, and hears what has come.
    fn turn(&mut self, engine: &mut Engine, now: u64, left: Duration) -> anyhow::Result<()> {
        let Some(pace) = &mut self.pace else {
            if self.tally.on_the_way.is_empty() {
                self.tally.publish(engine, self.in_flight)?;
            }
            return self.hear(engine, left.min(TICK)).map(drop);
        };
        let sent = pace.send(engine, now, |due| self.tally.published(due, 1))?;
        let sleep = pace.sleep(now).min(left);
        let heard = self.hear(engine, sleep)?;
        if let Some(pace) = &mut self.pace
            && sent == 0
            && !heard
            && sleep.is_zero()
        {
            pace.spun += engine.clock().now() - now;
        }
        Ok(())
    }

    fn hear(&mut self, engine: &mut Engine, timeout: Duration) -> anyhow::Result<bool> {
        let heard = engine.turn(timeout, |peer, _, step, now| self.tally.on(peer, step, now))?;
        self.tally.check(engine.clock().now(), engine.patience)?;
        Ok(heard)
    }

    /// Publishes until the kernels take no more for those that do not read.
    fn fill(&mut self, engine: &mut Engine) -> anyhow::Result<()> {
        let script = &engine.lanes[PUBLISHER].script;
        let period = script.period();
        let octets = script.advance(&mut script.place(0), period);
        // Whole periods: the listeners that come later begin with the message that comes then.
        let mut left = period * FILL.div_ceil(octets);
        while left > 0 {
            let count = left.min(FILL_PIECE);
            self.tally.publish(engine, u32::try_from(count)?)?;
            while !self.tally.on_the_way.is_empty() {
                self.hear(engine, TICK)?;
            }
            left -= count;
        }
        engine.peers.iter_mut().for_each(|peer| peer.heard = 0);
        Ok(())
    }

    /// In an open loop: publishes what was due before `to`, awaits what belongs to the counted
    /// time, and counts what does not come.
    fn drain(
        &mut self,
        engine: &mut Engine,
        to: u64,
        progress: &Progress,
    ) -> anyhow::Result<Option<OpenLoop>> {
        let Some(mut pace) = self.pace.take() else { return Ok(None) };
        let clock = engine.clock();
        while pace.send(engine, to - 1, |due| self.tally.published(due, 1))? > 0 {}
        let give_up = clock.now() + nanos(DRAIN);
        while !self.tally.on_the_way.is_empty() && clock.now() < give_up {
            progress.show(
                "waiting for messages",
                Duration::from_nanos(give_up.saturating_sub(clock.now())),
                None,
            );
            self.hear(engine, TICK)?;
        }
        let now = clock.now();
        let tally = &mut self.tally;
        let mut unanswered = 0;
        for message in tally.on_the_way.iter().filter(|message| tally.timed.contains(&message.since)) {
            tally.latency.record(now.saturating_sub(message.since), message.left as u64);
            unanswered += message.left as u64;
        }
        Ok(Some(OpenLoop { late: pace.late, unanswered }))
    }
}

/// Counts arrivals.
#[derive(Debug)]
struct Tally {
    listeners: usize,
    /// Messages that have not reached all listeners, in the order of publishing.
    on_the_way: VecDeque<Published>,
    /// The number of the first of these, counted from the first that was published.
    first: u64,
    /// When something last arrived, or was published while nothing was on the way.
    moved: u64,
    /// Whether more has arrived than was published.
    surplus: bool,
    counting: bool,
    /// When a message has to have been published for its time to be recorded.
    timed: Range<u64>,
    /// Messages published while counting.
    published: u64,
    volume: Volume,
    /// Compressed messages, before counting began too.
    compressed: u64,
    latency: Latency,
}

/// A message that has not reached all listeners.
#[derive(Clone, Copy, Debug)]
struct Published {
    since: u64,
    /// Listeners that it has not reached.
    left: usize,
}

impl Tally {
    fn new(listeners: usize, now: u64) -> Tally {
        Tally {
            listeners,
            on_the_way: VecDeque::new(),
            first: 0,
            moved: now,
            surplus: false,
            counting: false,
            timed: 0..0,
            published: 0,
            volume: Volume::default(),
            compressed: 0,
            latency: Latency::new(),
        }
    }

    /// Publishes so many messages now.
    fn publish(&mut self, engine: &mut Engine, count: u32) -> anyhow::Result<()> {
        self.published(engine.clock().now(), count);
        engine.send(PUBLISHER_PLACE, count, 0).context("a message cannot be published")?;
        Ok(())
    }

    /// Takes note of messages that are published, since then.
    fn published(&mut self, since: u64, count: u32) {
        if self.on_the_way.is_empty() {
            self.moved = since;
        }
        self.published += if self.counting { u64::from(count) } else { 0 };
        let message = Published { since, left: self.listeners };
        self.on_the_way.extend(std::iter::repeat_n(message, count as usize));
    }

    /// Takes note of what a connection has heard.
    #[inline]
    fn on(&mut self, peer: &mut Peer, step: &Step, now: u64) {
        let listens = peer.lane == COUNTED || peer.lane >= OTHERS;
        if !listens || step.volume.replies == 0 {
            return;
        }
        self.moved = now;
        self.compressed += step.volume.compressed;
        if self.counting {
            self.volume += step.volume;
        }
        // A listener has heard all messages before the first that has not reached everybody.
        let heard = usize::try_from(peer.heard - self.first).unwrap_or(usize::MAX);
        let count = usize::try_from(step.volume.replies).unwrap_or(usize::MAX);
        peer.heard += step.volume.replies;
        let mut messages = self.on_the_way.iter_mut().skip(heard);
        for _ in 0..count {
            let Some(message) = messages.next() else {
                self.surplus = true;
                return;
            };
            message.left -= 1;
            if self.timed.contains(&message.since) {
                self.latency.record(now.saturating_sub(message.since), 1);
            }
        }
        while self.on_the_way.front().is_some_and(|message| message.left == 0) {
            self.on_the_way.pop_front();
            self.first += 1;
        }
    }

    /// # Errors
    /// If a message does not arrive for too long, or one arrives that was not published.
    fn check(&self, now: u64, patience: Duration) -> anyhow::Result<()> {
        ensure!(!self.surplus, "more messages arrive at a connection than are published");
        let Some(message) = self.on_the_way.front() else { return Ok(()) };
        ensure!(
            now.saturating_sub(self.moved) < nanos(patience),
            "a message has not reached {} of {} connections, and none has come for {} seconds",
            message.left,
            self.listeners,
            patience.as_secs_f64()
        );
        Ok(())
    }
}

/// Octets that are sent to those that do not read before counting begins: several times what the
/// kernels of both ends take for their connections.
const FILL: usize = 256 << 10;
/// How long several servers have to tell each other who listens.
const SETTLING: Duration = Duration::from_secs(1);
/// The most of these messages that are on the way at a time.
const FILL_PIECE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(listeners: usize) -> Tally {
        let mut tally = Tally::new(listeners, 0);
        tally.counting = true;
        tally.timed = 0..u64::MAX;
        tally
    }

    #[test]
    fn a_message_that_does_not_come_is_told_and_so_is_one_that_should_not_come() {
        let mut tally = tally(3);
        let second = Duration::from_secs(1);
        assert!(tally.check(u64::MAX, second).is_ok(), "nothing is on the way");
        tally.published(5_000, 2);
        assert!(tally.check(nanos(second), second).is_ok());
        let error = tally.check(5_000 + nanos(second), second).unwrap_err().to_string();
        assert!(error.contains("has not reached 3 of 3 connections"), "{error}");
        tally.surplus = true;
        assert!(tally.check(0, second).unwrap_err().to_string().contains("than are published"));
    }

    #[test]
    fn time_without_messages_on_the_way_is_nobodys_fault() {
        let mut tally = tally(1);
        let hour = 3_600_000_000_000;
        tally.published(hour, 1);
        assert!(tally.check(hour + 1, Duration::from_secs(1)).is_ok());
        assert_eq!((tally.published, tally.on_the_way.len()), (1, 1));
    }
}
