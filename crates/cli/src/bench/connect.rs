//! `--connect-rate`: connections that are opened and closed as fast as the server takes them.
//!
//! A cycle is: connect, TLS handshake where there is one, opening handshake, closing handshake, close. Its time counts from the call
//! to connect to the server's Close frame. A new cycle begins when one ends, so that the same
//! number is always on the way.

use super::engine::{Engine, TICK, nanos};
use super::latency::Latency;
use super::load::{COUNTED, Counted, Plan};
use super::process::Process;
use super::progress::Progress;
use super::usage::Meter;
use super::volume::Volume;
use std::time::Duration;

/// Cycles on so many connections at a time. With `resumes`, the first session of each is a full one,
/// and all that are counted have to be resumed.
pub(super) fn run(
    engine: &mut Engine,
    connections: usize,
    plan: Plan,
    resumes: bool,
    server: Option<&Process>,
    progress: &Progress,
) -> anyhow::Result<Counted> {
    let clock = engine.clock();
    for place in 0..connections {
        engine.connect(place, COUNTED)?;
    }
    while resumes && engine.sessions.full() < connections as u64 {
        cycle(engine, &mut Latency::new())?;
    }
    let begin = clock.now() + nanos(plan.warm_up);
    cycles(engine, begin, &mut Latency::new(), |_, left| progress.show("warm-up", left, None))?;

    engine.sessions.count_anew();
    let meter = Meter::start(server)?;
    let from = clock.now();
    let mut latency = Latency::new();
    cycles(engine, from + nanos(plan.duration), &mut latency, |cycles, left| {
        let counted = plan.duration.saturating_sub(left).as_secs_f64();
        progress.show("counting cycles", left, Some(cycles as f64 / counted.max(1e-9)));
    })?;
    let duration = Duration::from_nanos(clock.now() - from);
    let usage = meter.stop(duration, Duration::ZERO)?;
    if resumes {
        engine.sessions.check_resumed()?;
    }
    Ok(Counted {
        duration,
        volume: Volume { replies: latency.count(), ..Volume::default() },
        latency,
        flood_messages: 0,
        open_loop: None,
        fan_out: None,
        usage,
    })
}

fn cycles(
    engine: &mut Engine,
    end: u64,
    latency: &mut Latency,
    mut show: impl FnMut(u64, Duration),
) -> anyhow::Result<()> {
    let turn = |engine: &mut Engine, latency: &mut Latency, _, _| cycle(engine, latency);
    engine.until(end, latency, turn, |latency, left| show(latency.count(), left))
}

/// A turn of all connections.
fn cycle(engine: &mut Engine, latency: &mut Latency) -> anyhow::Result<()> {
    engine.turn(TICK, |peer, lane, step, now| {
        if step.opened {
            peer.close(&lane.script);
        } else if step.closed {
            latency.record(now.saturating_sub(peer.since), 1);
        }
    })?;
    for place in std::mem::take(&mut engine.ended) {
        engine.connect(place, COUNTED)?;
    }
    Ok(())
}
