//! The command line of `framewright bench`.

use super::load::Plan;
use super::mix::{Mix, parse_size};
use super::payload::Kind;
use super::target::{Protocol, Target};
use super::tls;
use crate::seconds::parse_seconds;
use framewright_cli::Compress;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Load a WebSocket echo server, or one that sends a message to many, and measure it.
///
/// Opens connections, keeps messages on the way on each, and reports messages a second and how long
/// replies took. With --rate messages leave on a fixed schedule, and the time of each counts from
/// when it was due. With --fan-out one connection sends, and all others receive. One thread does all
/// of it: give it a processor of its own.
#[derive(Debug, clap::Args)]
#[command(after_long_help = CLIENT_LIMITED)]
pub(crate) struct Args {
    /// The server: ws://HOST:PORT/PATH, or tcp://HOST:PORT for an echo without a protocol, the
    /// floor: requests have the very same bytes, and each reply has as many as its request. Over
    /// TLS: wss:// and tls://.
    #[arg(long)]
    pub(super) url: Target,
    /// Connections; with --connect-rate, at a time.
    #[arg(long, value_name = "N", default_value = "100")]
    pub(super) connections: NonZeroUsize,
    /// Bytes of payload: a size, several (20,125,4K), or several with weights (20:9,16K:1); K is
    /// KiB and M is MiB.
    #[arg(long, value_name = "BYTES", default_value = "125")]
    pub(super) size: Mix,
    /// Messages that each connection keeps on the way: a reply lets the next one go.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) in_flight: NonZeroU32,
    /// What the messages say.
    #[arg(long, value_enum, default_value = "binary")]
    pub(super) kind: Kind,
    /// Compress messages and have replies compressed (permessage-deflate): each by itself, or with
    /// context takeover. The server has to agree on exactly that, and to compress replies; those
    /// that it does not count as they are. The compressed replies of every 64th connection are
    /// inflated and compared, with --verify those of all.
    #[arg(long, value_enum, value_name = "MODE", default_value = "off")]
    pub(super) compress: Compress,
    /// Decides content, masking keys and the order of sizes.
    #[arg(long, default_value = "1")]
    pub(super) seed: u64,
    /// Seconds to count.
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = parse_some_time)]
    pub(super) duration: Duration,
    /// Seconds of load before counting begins.
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = parse_short_time)]
    pub(super) warm_up: Duration,
    /// Send so many messages a second in all, whether replies come or not, instead of waiting for
    /// replies.
    #[arg(long, value_name = "MSGS_PER_S", value_parser = parse_rate, conflicts_with = "in_flight")]
    pub(super) rate: Option<f64>,
    /// Further connections that flood the server, and are not counted.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) flooders: usize,
    /// Messages that each flooder keeps on the way.
    #[arg(long, value_name = "N", default_value = "64")]
    pub(super) flood_in_flight: NonZeroU32,
    /// Bytes of payload in a flooder's message.
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = parse_size)]
    pub(super) flood_size: usize,
    /// Open the connections, send nothing, and report the server's memory for each: the growth of
    /// what it alone has and has written to (Private_Dirty and Swap in /proc/PID/smaps_rollup).
    /// Start the server anew for it: memory that it kept from earlier connections would be used
    /// again, and missing in the figure.
    #[arg(long, requires = "pid", conflicts_with_all = ["rate", "flooders", "connect_rate", "verify"])]
    pub(super) idle: bool,
    /// With --idle: so many messages go back and forth on each connection before the memory is
    /// read.
    #[arg(long, value_name = "N", default_value = "0", requires = "idle")]
    pub(super) idle_messages: u32,
    /// Connect, do the opening and the closing handshake, and close, again and again. Over tcp://
    /// and tls:// as many bytes are sent and awaited in their place.
    #[arg(long, conflicts_with_all = ["rate", "flooders", "verify"])]
    pub(super) connect_rate: bool,
    /// Another URL of the same server, with the same scheme: one more connection, to this URL, sends
    /// messages, and the server has to send each to all connections of --url, which only receive.
    /// Counts what they receive; times count from sending to each arrival. --in-flight messages
    /// leave in one write, and the next when all of them have reached all connections. Over tcp://
    /// the request of the opening handshake is sent and awaited back, and then each message.
    #[arg(long, value_name = "URL", conflicts_with_all = ["idle", "connect_rate", "flooders"])]
    pub(super) fan_out: Option<Target>,
    /// With --fan-out: so many connections more, which do not read what comes, and are not counted.
    /// Before counting, so much is sent that their kernels take no more.
    #[arg(long, value_name = "N", default_value = "0", requires = "fan_out")]
    pub(super) deaf: usize,
    /// With --fan-out: as many connections more as --connections says, to this URL of another server,
    /// which has to pass messages on. May be repeated. Nothing is sent for a second when all are
    /// open, so that the servers can tell each other who listens.
    #[arg(long, value_name = "URL", requires = "fan_out", conflicts_with = "deaf")]
    pub(super) also: Vec<Target>,
    /// Compare every reply with what was sent. Messages then differ from each other.
    #[arg(long)]
    pub(super) verify: bool,
    #[command(flatten)]
    pub(super) tls: tls::Args,
    /// The server's process: also report its processor time and memory (Linux). Of several, such as
    /// those of --also, the sum.
    #[arg(long)]
    pub(super) pid: Vec<u32>,
    /// Seconds that the server may take to answer.
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = parse_some_time)]
    pub(super) timeout: Duration,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// The kinds of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Echo,
    Rate,
    Idle,
    ConnectRate,
    FanOut,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Echo => "echo",
            Mode::Rate => "rate",
            Mode::Idle => "idle",
            Mode::ConnectRate => "connect-rate",
            Mode::FanOut => "fan-out",
        }
    }
}

impl Args {
    pub(super) fn mode(&self) -> Mode {
        match (self.idle, self.connect_rate, self.rate) {
            _ if self.fan_out.is_some() => Mode::FanOut,
            (true, _, _) => Mode::Idle,
            (_, true, _) => Mode::ConnectRate,
            (_, _, Some(_)) => Mode::Rate,
            _ => Mode::Echo,
        }
    }

    pub(super) fn plan(&self) -> Plan {
        Plan { warm_up: self.warm_up, duration: self.duration, rate: self.rate }
    }

    /// What one option alone cannot say of itself.
    pub(super) fn check(&self) -> Result<(), String> {
        self.tls.check(&self.url)?;
        for other in self.fan_out.iter().chain(&self.also) {
            self.tls.check(other)?;
            if (other.protocol, other.tls) != (self.url.protocol, self.url.tls) {
                return Err("--fan-out and --also need URLs with the scheme of --url".to_owned());
            }
        }
        if self.deaf > 0 && self.compress == Compress::Takeover {
            return Err("--deaf goes with messages that do not refer to those before them".to_owned());
        }
        let least = self.kind.least_size();
        let flood = (self.flooders > 0).then_some(self.flood_size);
        let smallest = self.size.entries().iter().map(|entry| entry.0).chain(flood).min();
        if smallest < Some(least) {
            return Err(format!("a message of kind {} has at least {least} byte", self.kind.name()));
        }
        if self.compress != Compress::Off {
            if smallest == Some(0) {
                return Err("a message without content is not compressed".to_owned());
            }
            if self.url.protocol == Protocol::Raw {
                return Err("an echo without a protocol does not compress".to_owned());
            }
        }
        Ok(())
    }
}

fn parse_short_time(text: &str) -> Result<Duration, String> {
    let duration = parse_seconds(text)?;
    if duration > LONGEST { Err("more than a day".to_owned()) } else { Ok(duration) }
}

fn parse_some_time(text: &str) -> Result<Duration, String> {
    parse_short_time(text).and_then(|duration| {
        if duration.is_zero() { Err("nothing is counted in no time".to_owned()) } else { Ok(duration) }
    })
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (0.001..=1e8).contains(rate))
        .ok_or_else(|| "a rate is a number from 0.001 to 1e8".to_owned())
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The rule of [`client_limited`](super::usage::client_limited), and the exit codes, for the help.
const CLIENT_LIMITED: &str = "\
A run is client-limited when the generator had something to do for at least 95 % of the time (with --rate: sent one message \
in a hundred more than a millisecond late) although the server had time to spare: no thread of it had something to do for \
90 % of the time, and it did not use 90 % of its processors. Without --pid the generator's side alone decides. Of a \
client-limited run, messages per CPU-second is the figure that still says something of the server.

The exit code is 0 after a run, 1 after a failure (connection refused or closed, a wrong reply, no answer in time), 2 for a \
wrong command line.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn parse(args: &str) -> Result<Args, String> {
        let words = ["bench", "--url", "ws://localhost/"].into_iter().chain(args.split_whitespace());
        let args = Program::try_parse_from(words).map_err(|error| error.to_string())?.args;
        args.check().map(|()| args)
    }

    #[test]
    fn the_mode_follows_from_the_options() {
        for (args, mode) in [
            ("", Mode::Echo),
            ("--flooders 1 --verify", Mode::Echo),
            ("--rate 1000", Mode::Rate),
            ("--connect-rate", Mode::ConnectRate),
            ("--idle --pid 1", Mode::Idle),
            ("--fan-out ws://localhost/publish --rate 10 --deaf 3", Mode::FanOut),
        ] {
            assert_eq!(parse(args).unwrap().mode(), mode, "{args}");
        }
    }

    #[test]
    fn the_defaults_are_those_that_the_help_tells() {
        let args = parse("").unwrap();
        assert_eq!((args.connections.get(), args.in_flight.get(), args.flood_in_flight.get()), (100, 1, 64));
        assert_eq!((args.size.entries(), args.flood_size), (&[(125, 1)][..], 16 << 10));
        assert_eq!((args.duration, args.warm_up), (Duration::from_secs(5), Duration::from_secs(1)));
        assert_eq!((args.kind, args.flooders, args.rate), (Kind::Binary, 0, None));
        assert_eq!((args.compress, args.idle_messages), (Compress::Off, 0));
    }

    #[test]
    fn wrong_usage_is_refused_in_words() {
        for (args, part) in [
            ("--idle", "--pid"),
            ("--idle --pid 1 --rate 5", "--rate"),
            ("--connect-rate --idle --pid 1", "--idle"),
            ("--connect-rate --flooders 1", "--flooders"),
            ("--rate 5 --in-flight 2", "--in-flight"),
            ("--rate 0", "rate"),
            ("--rate inf", "rate"),
            ("--connections 0", "--connections"),
            ("--in-flight 0", "--in-flight"),
            ("--duration 0", "no time"),
            ("--duration -1", "-1"),
            ("--warm-up soon", "--warm-up"),
            ("--size 20:0", "weight"),
            ("--kind xml", "--kind"),
            ("--kind json --size 0", "json"),
            ("--kind json --flooders 1 --flood-size 0", "json"),
            ("--compress fast", "--compress"),
            ("--compress shared --size 20,0", "without content"),
            ("--idle-messages 1", "--idle"),
            ("--deaf 1", "--fan-out"),
            ("--fan-out ws://localhost/ --deaf 1 --compress takeover", "refer to"),
            ("--fan-out ws://localhost/ --connect-rate", "--connect-rate"),
            ("--fan-out tcp://localhost:1", "scheme"),
            ("--also ws://localhost/", "--fan-out"),
            ("--fan-out ws://localhost/ --also wss://localhost/", "TLS"),
            ("--fan-out ws://localhost/ --also ws://localhost/ --deaf 1", "--deaf"),
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains(part), "{args}: {error}");
        }
        assert!(parse("--kind json --flood-size 0").is_ok(), "nobody floods");
        let floor = Program::try_parse_from(["bench", "--url", "tcp://localhost:1", "--compress", "shared"]);
        assert!(floor.expect("options").args.check().unwrap_err().contains("without a protocol"));
    }
}
