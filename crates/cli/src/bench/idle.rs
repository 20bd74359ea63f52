//! `--idle`: what a connection costs the server that does nothing.
//!
//! First some connections are opened and closed, so that what a server sets up once is not charged
//! to the connections that are counted; then its memory is read, all connections are opened, and
//! its memory is read again. Both are read when they no longer change. What a connection holds may
//! depend on whether it has done anything: messages can go back and forth first.

use super::engine::{Engine, TICK, nanos};
use super::inflated;
use super::load::COUNTED;
use super::process::Process;
use super::progress::Progress;
use super::volume::Volume;
use std::time::Duration;

/// A server's memory without connections and with them, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) connections: usize,
    pub(super) baseline: u64,
    pub(super) with_connections: u64,
    /// How long it took to open them.
    pub(super) opening: Duration,
}

impl Idle {
    pub(super) fn bytes_per_connection(&self) -> f64 {
        (self.with_connections as f64 - self.baseline as f64) / self.connections as f64
    }
}

/// Opens so many connections, exchanges so many messages on each, and reads the memory of the
/// server.
pub(super) fn run(
    engine: &mut Engine,
    connections: usize,
    messages: u32,
    server: &Process,
    progress: &Progress,
) -> anyhow::Result<Idle> {
    progress.say("first connections");
    engine.open(COUNTED, first_connections(connections))?;
    exchange(engine, messages)?;
    engine.close_all();
    let baseline = settled(engine, server)?;

    progress.say("opening connections");
    let from = engine.clock().now();
    engine.open(COUNTED, connections)?;
    let opening = Duration::from_nanos(engine.clock().now() - from);
    exchange(engine, messages)?;
    progress.say("waiting until the server's memory no longer changes");
    let with_connections = settled(engine, server)?;
    Ok(Idle { connections, baseline, with_connections, opening })
}

/// Sends so many messages on each connection, and awaits their replies.
fn exchange(engine: &mut Engine, messages: u32) -> anyhow::Result<()> {
    let mut volume = Volume::default();
    for _ in 0..messages {
        engine.fill()?;
        while engine.peers.iter().any(|peer| peer.unanswered().next().is_some()) {
            engine.turn(TICK, |peer, _, step, _| {
                volume += step.volume;
                peer.answered(step.volume.replies, |_, _| {});
            })?;
        }
    }
    inflated::check(engine.lanes[COUNTED].script.compress, volume)
}

/// A hundredth of those that are counted: what their ends leave for the next ones to use is lost in
/// the figure.
fn first_connections(connections: usize) -> usize {
    (connections / 100).clamp(1, 64)
}

/// The server's memory when several readings in a row are the same, or when that has taken too
/// long.
fn settled(engine: &mut Engine, server: &Process) -> anyhow::Result<u64> {
    let clock = engine.clock();
    let give_up = clock.now() + nanos(SETTLING);
    let (mut memory, mut same) = (server.private()?, 0);
    while same < SAME && clock.now() < give_up {
        let next = clock.now() + nanos(READING);
        // The server may have Pings to be answered.
        while clock.now() < next {
            engine.turn(Duration::from_nanos(next.saturating_sub(clock.now())), |_, _, _, _| {})?;
        }
        let now = server.private()?;
        same = if now == memory { same + 1 } else { 0 };
        memory = now;
    }
    Ok(memory)
}

/// Between two readings.
const READING: Duration = Duration::from_millis(100);
/// So many readings after the first have to be the same.
const SAME: u32 = 4;
/// A server with a timer or a collector may never be still.
const SETTLING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_growth_is_shared_by_the_connections() {
        let idle = Idle { connections: 10, baseline: 1000, with_connections: 3500, opening: Duration::ZERO };
        assert!((idle.bytes_per_connection() - 250.0).abs() < 1e-9);
        let shrunk = Idle { with_connections: 500, ..idle };
        assert!((shrunk.bytes_per_connection() + 50.0).abs() < 1e-9);
    }

    #[test]
    fn the_first_connections_are_few() {
        for (connections, first) in [(1, 1), (99, 1), (1000, 10), (100_000, 64)] {
            assert_eq!(first_connections(connections), first);
        }
    }
}
