//! What the counted time cost, here and at the server, and whose limit it was.

use super::process::{Cpu, Memory, Process, Sample};
use serde_json::{Value, json};
use std::time::Duration;

/// Samples taken when counting begins.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    server: Option<(&'a Process, Sample)>,
    client: Option<(Process, Sample)>,
}

/// What was used while messages were counted.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) server: Option<ServerUsage>,
    pub(super) client: Option<ClientUsage>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUsage {
    pub(super) cpu: Cpu,
    pub(super) memory: Memory,
    /// Processors it may run on.
    processors: u32,
    /// How long was counted, in seconds.
    wall: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ClientUsage {
    /// Seconds of processor time.
    pub(super) cpu: f64,
    /// Seconds in which it was ready to run and had no processor.
    pub(super) waited: f64,
    /// The share of the time in which it ran, or was ready to.
    ready: f64,
    /// The share of the time in which it used its processor for something.
    pub(super) busy: f64,
}

impl<'a> Meter<'a> {
    pub(super) fn start(server: Option<&'a Process>) -> anyhow::Result<Meter<'a>> {
        let client =
            Process::this().map(|client| client.sample().map(|sample| (client, sample))).transpose()?;
        let server = server.map(|server| server.sample().map(|sample| (server, sample))).transpose()?;
        Ok(Meter { server, client })
    }

    /// What was used since the start, `wall` ago. `spun` is the time of it that the generator spent
    /// waiting without sleeping.
    pub(super) fn stop(self, wall: Duration, spun: Duration) -> anyhow::Result<Usage> {
        let wall = wall.as_secs_f64();
        let server = match self.server {
            Some((process, before)) => {
                let cpu = process.sample()?.since(&before);
                Some(ServerUsage { cpu, memory: process.memory()?, processors: process.processors()?, wall })
            }
            None => None,
        };
        let client = match self.client {
            Some((process, before)) => {
                let Cpu { all: cpu, waited, .. } = process.sample()?.since(&before);
                let share = |seconds: f64| (seconds / wall).clamp(0.0, 1.0);
                Some(ClientUsage {
                    cpu,
                    waited,
                    ready: share(cpu + waited),
                    busy: share(cpu - spun.as_secs_f64()),
                })
            }
            None => None,
        };
        Ok(Usage { server, client })
    }
}

impl ServerUsage {
    /// Processors used, on average.
    pub(super) fn busy(&self) -> f64 {
        self.cpu.all / self.wall
    }

    /// Whether it could have done clearly more: no thread of it had something to do nearly all the
    /// time, and neither had all its processors.
    fn had_time_to_spare(&self) -> bool {
        let busiest = self.cpu.busiest / self.wall;
        busiest < SERVER_BUSY && self.busy() < SERVER_BUSY * f64::from(self.processors)
    }

    pub(super) fn to_json(self, messages: u64) -> Value {
        let each =
            |seconds: f64| if messages == 0 { Value::Null } else { json!(seconds * 1e9 / messages as f64) };
        let per_second = if self.cpu.all > 0.0 { json!(messages as f64 / self.cpu.all) } else { Value::Null };
        json!({
            "cpu_s": self.cpu.all,
            "user_s": self.cpu.user,
            "system_s": self.cpu.system,
            "busy": self.busy(),
            "waited_s": self.cpu.waited,
            "messages_per_cpu_s": per_second,
            "cpu_ns_per_message": each(self.cpu.all),
            "user_ns_per_message": each(self.cpu.user),
            "rss_bytes": self.memory.resident,
            "peak_rss_bytes": self.memory.peak,
        })
    }
}

impl ClientUsage {
    pub(super) fn to_json(self) -> Value {
        json!({ "cpu_s": self.cpu, "busy": self.busy, "waited_s": self.waited })
    }
}

/// Whether the generator was the limit: it had something to do nearly all the time, or `late`
/// behind its schedule if it has one, while the server had time to spare as far as that is known.
/// `None` if nothing is known of the generator.
pub(super) fn client_limited(usage: &Usage, late: Option<Duration>) -> Option<bool> {
    let strained = match late {
        Some(late) => late > LATE,
        None => usage.client?.ready >= CLIENT_BUSY,
    };
    Some(strained && usage.server.is_none_or(|server| server.had_time_to_spare()))
}

/// A generator that is busy for this share of the time has nothing left to give.
const CLIENT_BUSY: f64 = 0.95;
/// A server that is busy for less than this share of the time could do more.
const SERVER_BUSY: f64 = 0.9;
/// One message in a hundred may be sent so late.
const LATE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(client: f64, server: Option<(f64, f64, u32)>) -> Usage {
        let memory = Memory { resident: 1, peak: 1 };
        let server = server.map(|(all, busiest, processors)| ServerUsage {
            cpu: Cpu { all, busiest, ..Cpu::default() },
            memory,
            processors,
            wall: 1.0,
        });
        Usage { server, client: Some(ClientUsage { cpu: client, waited: 0.0, ready: client, busy: client }) }
    }

    #[test]
    fn the_generator_is_the_limit_when_it_was_busy_and_the_server_was_not() {
        for (client, server, limited) in [
            (0.99, None, true),
            (0.90, None, false),
            (0.99, Some((0.80, 0.80, 2)), true),
            (0.99, Some((0.97, 0.97, 2)), false),
            (0.90, Some((0.80, 0.80, 2)), false),
            // Two threads that share the one processor that they may use.
            (0.99, Some((0.98, 0.49, 1)), false),
            // Two threads with a processor each.
            (0.99, Some((1.20, 0.60, 2)), true),
            (0.99, Some((1.95, 0.98, 2)), false),
        ] {
            assert_eq!(client_limited(&usage(client, server), None), Some(limited), "{client} {server:?}");
        }
        assert_eq!(client_limited(&Usage::default(), None), None);
    }

    #[test]
    fn with_a_schedule_being_late_counts_instead_of_being_busy() {
        let (late, in_time) = (Some(Duration::from_millis(2)), Some(Duration::from_micros(50)));
        assert_eq!(client_limited(&usage(0.99, None), in_time), Some(false));
        assert_eq!(client_limited(&usage(0.5, None), late), Some(true));
        assert_eq!(client_limited(&usage(0.5, Some((1.0, 1.0, 1))), late), Some(false));
        assert_eq!(client_limited(&usage(0.5, Some((0.5, 0.5, 1))), late), Some(true));
    }
}
