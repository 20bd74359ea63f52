//! The echo modes: a closed loop, where a reply lets the next message go, and an open loop, where a
//! schedule does.
//!
//! First messages go and nothing is counted (warm-up); then replies are counted and timed; then, in
//! an open loop, replies are awaited that belong to messages of the counted time.

use super::engine::{Engine, Lane, TICK, nanos};
use super::inflated;
use super::latency::Latency;
use super::peer::{Peer, Step};
use super::process::Process;
use super::progress::Progress;
use super::schedule::Schedule;
use super::usage::{Meter, Usage};
use super::volume::Volume;
use anyhow::Context;
use std::ops::Range;
use std::time::Duration;

/// The lane whose messages are counted; any other is there to disturb.
pub(super) const COUNTED: usize = 0;

/// How long, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    /// Messages a second on all connections of the counted lane; without it, a closed loop.
    pub(super) rate: Option<f64>,
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) duration: Duration,
    /// Its replies are the messages that count.
    pub(super) volume: Volume,
    pub(super) latency: Latency,
    pub(super) flood_messages: u64,
    pub(super) open_loop: Option<OpenLoop>,
    pub(super) fan_out: Option<FanOut>,
    pub(super) usage: Usage,
}

/// What is counted besides arrivals.
#[derive(Clone, Copy, Debug)]
pub(super) struct FanOut {
    /// Messages published in the counted time.
    pub(super) published: u64,
}

/// How an open loop went.
#[derive(Debug)]
pub(super) struct OpenLoop {
    /// How long after its time a message was given to its connection.
    pub(super) late: Latency,
    /// Messages of the counted time without a reply. They count in the latencies with the time that
    /// they have waited.
    pub(super) unanswered: u64,
}

/// Loads the connections of an engine, which are open.
pub(super) fn run(
    engine: &mut Engine,
    plan: Plan,
    server: Option<&Process>,
    progress: &Progress,
) -> anyhow::Result<Counted> {
    let clock = engine.clock();
    let mut tally = Tally::new();
    let mut pace = plan.rate.map(|rate| Pace::new(engine, rate, COUNTED));
    engine.fill()?;
    let begin = clock.now() + nanos(plan.warm_up);
    until(engine, begin, &mut pace, &mut tally, |_, left| progress.show("warm-up", left, None))?;

    let meter = Meter::start(server)?;
    let from = clock.now();
    let to = from + nanos(plan.duration);
    tally.begin(if pace.is_some() { from..to } else { 0..u64::MAX });
    if let Some(pace) = &mut pace {
        pace.begin();
    }
    until(engine, to, &mut pace, &mut tally, |tally, left| {
        let counted = plan.duration.saturating_sub(left).as_secs_f64();
        progress.show("counting", left, Some(tally.volume.replies as f64 / counted.max(1e-9)));
    })?;
    let duration = Duration::from_nanos(clock.now() - from);
    let spun = pace.as_ref().map_or(Duration::ZERO, |pace| Duration::from_nanos(pace.spun));
    let usage = meter.stop(duration, spun)?;

    tally.counting = false;
    let open_loop = pace.map(|pace| drain(engine, pace, to, &mut tally, progress)).transpose()?;
    let ever = Volume { compressed: tally.compressed, ..tally.volume };
    inflated::check(engine.lanes[COUNTED].script.compress, ever)?;
    let Tally { volume, latency, flood_messages, .. } = tally;
    Ok(Counted { duration, volume, latency, flood_messages, open_loop, fan_out: None, usage })
}

/// Turns the engine until this time.
fn until(
    engine: &mut Engine,
    end: u64,
    pace: &mut Option<Pace>,
    tally: &mut Tally,
    show: impl FnMut(&Tally, Duration),
) -> anyhow::Result<()> {
    let turn = |engine: &mut Engine, tally: &mut Tally, now, left: Duration| match pace {
        Some(pace) => pace.turn(engine, tally, now),
        None => {
            let on = |peer: &mut Peer, lane: &Lane, step: &Step, now| tally.on(peer, lane, step, now);
            engine.turn(left.min(TICK), on).map(drop)
        }
    };
    engine.until(end, tally, turn, show)
}

/// Sends what was due before `to`, awaits the replies that belong to the counted time, and counts
/// what does not come.
fn drain(
    engine: &mut Engine,
    mut pace: Pace,
    to: u64,
    tally: &mut Tally,
    progress: &Progress,
) -> anyhow::Result<OpenLoop> {
    let clock = engine.clock();
    while pace.send(engine, to - 1, |_| {})? > 0 {}
    let give_up = clock.now() + nanos(DRAIN);
    while tally.unanswered(engine).next().is_some() && clock.now() < give_up {
        progress.show("waiting for replies", Duration::from_nanos(give_up.saturating_sub(clock.now())), None);
        engine.turn(TICK, |peer, lane, step, now| tally.on(peer, lane, step, now))?;
    }
    let now = clock.now();
    let waiting: Vec<_> = tally.unanswered(engine).collect();
    for &(since, count) in &waiting {
        tally.latency.record(now.saturating_sub(since), u64::from(count));
    }
    Ok(OpenLoop { late: pace.late, unanswered: waiting.iter().map(|&(_, count)| u64::from(count)).sum() })
}

/// Counts replies.
#[derive(Debug)]
struct Tally {
    counting: bool,
    /// When a message has to have been granted for its time to be recorded.
    timed: Range<u64>,
    volume: Volume,
    /// Compressed replies, before counting began too.
    compressed: u64,
    latency: Latency,
    flood_messages: u64,
}

impl Tally {
    fn new() -> Tally {
        Tally {
            counting: false,
            timed: 0..0,
            volume: Volume::default(),
            compressed: 0,
            latency: Latency::new(),
            flood_messages: 0,
        }
    }

    fn begin(&mut self, timed: Range<u64>) {
        self.counting = true;
        self.timed = timed;
    }

    /// Takes note of what a connection brought, and lets it send the next messages in a closed
    /// loop.
    #[inline]
    fn on(&mut self, peer: &mut Peer, lane: &Lane, step: &Step, now: u64) {
        if peer.lane == COUNTED {
            self.compressed += step.volume.compressed;
            if self.counting {
                self.volume += step.volume;
            }
            peer.answered(step.volume.replies, |since, count| {
                if self.timed.contains(&since) {
                    self.latency.record(now.saturating_sub(since), count);
                }
            });
        } else {
            self.flood_messages += if self.counting { step.volume.replies } else { 0 };
            peer.answered(step.volume.replies, |_, _| {});
        }
        if lane.in_flight.is_some() {
            let replies = u32::try_from(step.volume.replies).expect("no more than are in flight");
            peer.grant(&lane.script, replies, now);
        }
    }

    /// Messages of the counted time that are not answered: since when, and how many.
    fn unanswered<'a>(&'a self, engine: &'a Engine) -> impl Iterator<Item = (u64, u32)> + 'a {
        let counted = engine.peers.iter().filter(|peer| peer.lane == COUNTED);
        counted.flat_map(Peer::unanswered).filter(|(since, _)| self.timed.contains(since))
    }
}

/// What an open loop sends.
#[derive(Debug)]
pub(super) struct Pace {
    schedule: Schedule,
    /// The messages go to the connections in turn.
    places: Vec<usize>,
    pub(super) late: Latency,
    /// Nanoseconds of waiting without sleeping.
    pub(super) spun: u64,
}

impl Pace {
    /// For the connections of this lane.
    pub(super) fn new(engine: &Engine, rate: f64, lane: usize) -> Pace {
        let sends = |&place: &usize| engine.peers[place].lane == lane;
        let places = (0..engine.peers.len()).filter(sends).collect();
        let schedule = Schedule::new(engine.clock().now(), rate);
        Pace { schedule, places, late: Latency::new(), spun: 0 }
    }

    /// Forgets the warm-up.
    pub(super) fn begin(&mut self) {
        (self.late, self.spun) = (Latency::new(), 0);
    }

    /// Sends what is due, and hears what has come.
    fn turn(&mut self, engine: &mut Engine, tally: &mut Tally, now: u64) -> anyhow::Result<()> {
        let sent = self.send(engine, now, |_| {})?;
        let sleep = self.sleep(now);
        let heard = engine.turn(sleep, |peer, lane, step, now| tally.on(peer, lane, step, now))?;
        if sent == 0 && !heard && sleep.is_zero() {
            self.spun += engine.clock().now() - now;
        }
        Ok(())
    }

    /// How long a loop may sleep.
    pub(super) fn sleep(&self, now: u64) -> Duration {
        self.schedule.sleep(now)
    }

    /// Sends messages that are due, up to a number after which replies should be looked at. Returns
    /// how many. `each` gets the time when each was due, before it is sent.
    pub(super) fn send(
        &mut self,
        engine: &mut Engine,
        now: u64,
        mut each: impl FnMut(u64),
    ) -> anyhow::Result<usize> {
        for sent in 0..BURST {
            let Some((number, due)) = self.schedule.take(now) else { return Ok(sent) };
            let turn = usize::try_from(number % self.places.len() as u64)?;
            each(due);
            let tried = engine.send(self.places[turn], 1, due).context("a message cannot be sent")?;
            self.late.record(tried.saturating_sub(due), 1);
        }
        Ok(BURST)
    }
}

/// How long replies are awaited after the counted time of an open loop.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// Messages of a schedule that are sent before replies are looked at.
const BURST: usize = 64;
