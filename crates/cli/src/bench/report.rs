//! What a run found, as text and as one JSON object.

use super::idle::Idle;
use super::latency::{Latency, time};
use super::load::Counted;
use super::tls::Sessions;
use super::usage::{ClientUsage, Usage, client_limited};
use super::{Args, Mode};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// What a run found.
#[derive(Debug)]
pub(super) enum Findings {
    Counted(Box<Counted>),
    Idle(Idle),
}

#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) args: &'a Args,
    pub(super) findings: Findings,
    /// The extensions that were agreed on, where some were offered.
    pub(super) agreed: Option<String>,
    /// The TLS sessions.
    pub(super) sessions: Sessions,
}

impl Report<'_> {
    pub(super) fn to_json(&self) -> Value {
        let mut report = match &self.findings {
            Findings::Counted(counted) => self.counted_to_json(counted),
            Findings::Idle(idle) => idle_to_json(idle),
        };
        report["url"] = json!(self.args.url.to_string());
        report["version"] = json!(env!("CARGO_PKG_VERSION"));
        report["workload"] = self.workload_to_json();
        report["tls"] = self.sessions.to_json();
        report
    }

    fn workload_to_json(&self) -> Value {
        let args = self.args;
        json!({
            "mode": args.mode().name(),
            "connections": args.connections.get(),
            "sizes": args.size.entries(),
            "in_flight": args.in_flight.get(),
            "kind": args.kind.name(),
            "rate": args.rate,
            "seed": args.seed,
            "compress": args.compress.name(),
            "agreed": self.agreed,
            "idle_messages": args.idle_messages,
            "verify": args.verify,
            "warm_up_s": args.warm_up.as_secs_f64(),
            "flooders": args.flooders,
            "flood_in_flight": args.flood_in_flight.get(),
            "flood_size": args.flood_size,
            "deaf": args.deaf,
            "servers": 1 + args.also.len(),
        })
    }

    fn counted_to_json(&self, counted: &Counted) -> Value {
        let seconds = counted.duration.as_secs_f64();
        let (Usage { server, client }, volume) = (&counted.usage, counted.volume);
        let flood = (self.args.flooders > 0).then(|| {
            let messages = counted.flood_messages;
            json!({ "messages": messages, "messages_per_s": messages as f64 / seconds })
        });
        let schedule = counted.open_loop.as_ref().map(
            |open_loop| json!({ "late_us": open_loop.late.to_json(), "unanswered": open_loop.unanswered }),
        );
        json!({
            "duration_s": seconds,
            "messages": volume.replies,
            "messages_per_s": volume.replies as f64 / seconds,
            "payload_bytes_per_s": volume.payload as f64 / seconds,
            "wire_bytes_sent": volume.sent,
            "wire_bytes_received": volume.received,
            "replies_compressed": volume.compressed,
            "reply_ratio": volume.reply_ratio(),
            "latency_us": counted.latency.to_json(),
            "schedule": schedule,
            "client": client.map(ClientUsage::to_json),
            "server": server.map(|server| server.to_json(volume.replies + counted.flood_messages)),
            "client_limited": limited(counted),
            "idle": null,
            "flood": flood,
            "fan_out": counted.fan_out.map(|fan_out| json!({
                "published": fan_out.published,
                "published_per_s": fan_out.published as f64 / seconds,
            })),
        })
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        // A string takes everything.
        let _ = match &self.findings {
            Findings::Counted(counted) => self.write_counted(&mut text, counted),
            Findings::Idle(idle) => self.write_idle(&mut text, idle),
        };
        text
    }

    fn write_counted(&self, text: &mut String, counted: &Counted) -> std::fmt::Result {
        let args = self.args;
        let seconds = counted.duration.as_secs_f64();
        let (what, load) = match (args.mode(), args.rate) {
            (Mode::ConnectRate, _) => ("cycles", String::new()),
            (_, Some(rate)) => {
                ("messages", format!(", {}, {}, {rate} a second", args.size, args.kind.name()))
            }
            _ => ("messages", format!(", {}, {}, {} in flight", args.size, args.kind.name(), args.in_flight)),
        };
        writeln!(text, "{}: {}, {} connections{load}", args.url, args.mode().name(), args.connections)?;
        let volume = counted.volume;
        let rate = volume.replies as f64 / seconds;
        let payload = volume.payload as f64 / seconds / 1e6;
        write!(text, "{:<12}{} in {seconds:.2} s: {rate:.0} a second", what, volume.replies)?;
        writeln!(
            text,
            "{}",
            if volume.payload > 0 { format!(", {payload:.1} MB/s of payload") } else { String::new() }
        )?;
        if let Some(agreed) = &self.agreed {
            writeln!(text, "{:<12}{agreed}", "agreed")?;
            writeln!(
                text,
                "{:<12}{} bytes of frames sent, {} received; {} replies compressed, all to {:.3} of their payload",
                "wire",
                volume.sent,
                volume.received,
                volume.compressed,
                volume.reply_ratio().unwrap_or(f64::NAN)
            )?;
        }
        self.write_sessions(text)?;
        if let Some(fan_out) = counted.fan_out {
            let rate = fan_out.published as f64 / seconds;
            writeln!(
                text,
                "{:<12}{}: {rate:.0} a second, each to {} connections",
                "published",
                fan_out.published,
                args.connections.get() * (1 + args.also.len())
            )?;
            if args.deaf > 0 {
                writeln!(text, "{:<12}{} connections more do not read", "deaf", args.deaf)?;
            }
        }
        if args.flooders > 0 {
            let rate = counted.flood_messages as f64 / seconds;
            writeln!(
                text,
                "{:<12}{} connections: {rate:.0} messages a second of {} B",
                "flood", args.flooders, args.flood_size
            )?;
        }
        write_usage(text, counted)?;
        if let Some(open_loop) = &counted.open_loop {
            writeln!(
                text,
                "{:<12}messages sent {} late (p99), at most {}; {} unanswered",
                "schedule",
                time(open_loop.late.quantile(0.99)),
                time(open_loop.late.max()),
                open_loop.unanswered
            )?;
        }
        write_latency(text, &counted.latency)
    }

    fn write_sessions(&self, text: &mut String) -> std::fmt::Result {
        match self.sessions.to_text() {
            Some(sessions) => writeln!(text, "{:<12}{sessions}", "tls"),
            None => Ok(()),
        }
    }

    fn write_idle(&self, text: &mut String, idle: &Idle) -> std::fmt::Result {
        writeln!(
            text,
            "{}: {} idle connections, opened in {:.2} s",
            self.args.url,
            idle.connections,
            idle.opening.as_secs_f64()
        )?;
        self.write_sessions(text)?;
        writeln!(
            text,
            "{:<12}{} bytes without connections, {} with them",
            "memory", idle.baseline, idle.with_connections
        )?;
        writeln!(text, "{:<12}{:.1} bytes", "each", idle.bytes_per_connection())
    }
}

fn write_usage(text: &mut String, counted: &Counted) -> std::fmt::Result {
    if let Some(server) = &counted.usage.server {
        let cpu = server.cpu;
        // The server works for those who flood too.
        let messages = (counted.volume.replies + counted.flood_messages) as f64;
        writeln!(
            text,
            "{:<12}{:.2} s of processor time ({:.2} user, {:.2} system), {:.0} % busy",
            "server",
            cpu.all,
            cpu.user,
            cpu.system,
            100.0 * server.busy()
        )?;
        writeln!(
            text,
            "{:<12}{:.0} a CPU-second: {:.0} ns each, {:.0} of them user",
            "",
            messages / cpu.all,
            cpu.all * 1e9 / messages,
            cpu.user * 1e9 / messages
        )?;
        let mib = |octets: u64| octets as f64 / f64::from(1 << 20);
        let memory = server.memory;
        writeln!(
            text,
            "{:<12}{:.1} MiB resident, {:.1} at its peak",
            "",
            mib(memory.resident),
            mib(memory.peak)
        )?;
    }
    if let Some(client) = counted.usage.client {
        write!(
            text,
            "{:<12}{:.2} s of processor time, {:.0} % busy",
            "generator",
            client.cpu,
            100.0 * client.busy
        )?;
        let limited = limited(counted) == Some(true);
        writeln!(text, "{}", if limited { ": client-limited, the server could do more" } else { "" })?;
    }
    let waited = counted.usage.client.map_or(0.0, |client| client.waited);
    if waited > 0.05 * counted.duration.as_secs_f64() {
        let why = "others ran on the generator's processor, and all but processor time is worse for it";
        writeln!(text, "{:<12}for {waited:.2} s {why}", "disturbed")?;
    }
    Ok(())
}

fn write_latency(text: &mut String, latency: &Latency) -> std::fmt::Result {
    if latency.count() == 0 {
        return Ok(());
    }
    write!(text, "{:<12}min {}, mean {}", "latency", time(latency.min()), time(latency.mean()))?;
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)] {
        write!(text, ", {name} {}", time(latency.quantile(share)))?;
    }
    writeln!(text, ", max {}\n", time(latency.max()))?;
    for line in latency.draw() {
        writeln!(text, "{line}")?;
    }
    Ok(())
}

fn limited(counted: &Counted) -> Option<bool> {
    let late = |quantile: f64| Duration::try_from_secs_f64(quantile / 1e6).unwrap_or(Duration::MAX);
    client_limited(
        &counted.usage,
        counted.open_loop.as_ref().map(|open_loop| late(open_loop.late.quantile(0.99))),
    )
}

fn idle_to_json(idle: &Idle) -> Value {
    json!({
        "duration_s": idle.opening.as_secs_f64(),
        "messages": 0,
        "messages_per_s": 0,
        "payload_bytes_per_s": 0,
        "wire_bytes_sent": 0,
        "wire_bytes_received": 0,
        "replies_compressed": 0,
        "reply_ratio": null,
        "latency_us": null,
        "schedule": null,
        "client": null,
        "server": null,
        "client_limited": null,
        "idle": {
            "connections": idle.connections,
            "bytes_per_connection": idle.bytes_per_connection(),
            "baseline_bytes": idle.baseline,
            "bytes": idle.with_connections,
        },
        "flood": null,
        "fan_out": null,
    })
}
