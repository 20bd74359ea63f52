//! What is measured: groups of cells, each one setting of the load generator.

use std::fmt;

use anyhow::ensure;
use framewright_cli::Compress;

use super::servers::Setup;

/// One kind of workload; a section of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// One message in flight on each connection.
    Echo,
    /// Several messages in flight.
    Pipelined,
    /// Text beside binary.
    Text,
    /// Messages of megabytes.
    Large,
    /// Memory of connections on which nothing happens.
    Idle,
    /// Connecting, upgrading and closing.
    Connect,
    /// Open loop: messages come by a schedule.
    Latency,
    /// One connection floods, the others play ping-pong.
    Fairness,
    /// permessage-deflate beside none, and the memory that it takes.
    Compression,
    /// All of it over TLS.
    Tls,
    /// Servers on tokio.
    Tokio,
    /// Messages of one to many.
    Broadcast,
}

impl Group {
    /// All of them, in the order in which they are measured and written down.
    pub(crate) const ALL: [Group; 12] = [
        Group::Echo,
        Group::Pipelined,
        Group::Text,
        Group::Large,
        Group::Idle,
        Group::Connect,
        Group::Latency,
        Group::Fairness,
        Group::Compression,
        Group::Tls,
        Group::Tokio,
        Group::Broadcast,
    ];

    /// The first part of the names of its cells.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Group::Echo => "echo",
            Group::Pipelined => "pipelined",
            Group::Text => "text",
            Group::Large => "large",
            Group::Idle => "idle",
            Group::Connect => "connect",
            Group::Latency => "latency",
            Group::Fairness => "fairness",
            Group::Compression => "compression",
            Group::Tls => "tls",
            Group::Tokio => "tokio",
            Group::Broadcast => "broadcast",
        }
    }

    /// A sentence for `--list` and the document.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Group::Echo => "one message in flight on each of 10, 100 and 1,000 connections, nine sizes",
            Group::Pipelined => {
                "4, 16, 32 and 64 messages in flight on each of 100 connections, 20 and 512 bytes"
            }
            Group::Text => "4 KiB of ASCII, JSON and mixed UTF-8 beside binary, 100 connections",
            Group::Large => "messages of 1, 16 and 64 MiB on 10, 4 and 2 connections",
            Group::Idle => "memory of 10,000 connections on which nothing happens",
            Group::Connect => "connect, upgrade, close, 16 at a time",
            Group::Latency => "125 bytes on 100 connections by a schedule, at shares of the highest rate",
            Group::Fairness => {
                "99 connections with one message of 125 bytes in flight, with and without one that floods"
            }
            Group::Compression => {
                "JSON of 128 B, 1 KiB and 16 KiB, one message in flight on each of 32 connections, with permessage-deflate and \
                 without; memory of 10,000 connections with it"
            }
            Group::Tls => {
                "over TLS: 20 B, 1 KiB and 16 KiB with one message in flight and 20 B with 32 on each of 100 connections; 1 MiB on 10; \
                 memory of 2,000 connections; connect, TLS handshake, upgrade, close"
            }
            Group::Tokio => {
                "servers on tokio, one thread: 20 B, 1 KiB and 16 KiB with one message in flight and 20 B with 32 on each of 100 connections; \
                 1 MiB on 10; JSON of 1 KiB on 32, with permessage-deflate; memory of 10,000 connections"
            }
            Group::Broadcast => {
                "messages of one connection to 1,000 others: 128 B, singly and 16 at a time, and JSON of 1 KiB, with permessage-deflate and \
                 without; to 9,900, with 100 more that do not read and without; memory of subscriptions of 10,000 connections"
            }
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// At which rate messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The next when a reply has come.
    Closed,
    /// By a schedule, at this percentage of the highest rate that the server itself reached in
    /// [`MAXIMUM`].
    OfOwnMaximum(u32),
    /// By a schedule, at this percentage of the floor's highest rate: the same for all servers.
    OfFloorMaximum(u32),
}

/// What the load generator is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Messages.
    Messages {
        connections: usize,
        size: usize,
        in_flight: usize,
        kind: &'static str,
        pace: Pace,
        flooders: usize,
    },
    /// Connections without any, or behind so many of this size on each.
    Idle { connections: usize, messages: usize, size: usize, kind: &'static str },
    /// Connections that begin and end, so many at a time; over TLS with full handshakes, or with
    /// resumed sessions.
    Connect { parallel: usize, resume: bool },
    /// Messages of one connection, so many in one write, to those that listen, beside so many that
    /// do not read.
    FanOut { listeners: usize, deaf: usize, size: usize, in_flight: usize, kind: &'static str },
    /// Connections that do nothing but listen, to what this path stands for.
    Listening { connections: usize, path: &'static str },
}

/// One cell of a table: what each server is measured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Its group.
    pub(crate) group: Group,
    /// Its name, which begins with that of the group: `echo/100/20`.
    pub(crate) name: String,
    /// What the generator does.
    pub(crate) load: Load,
    /// Where compression is measured: how messages and replies are compressed.
    pub(crate) compress: Option<Compress>,
    /// Milliseconds that are counted in a round.
    pub(crate) counted_ms: u32,
    /// Milliseconds before them.
    pub(crate) warm_up_ms: u32,
}

impl Cell {
    /// Whether a server that streams messages does something else here than one that does not.
    pub(crate) fn streams(&self) -> bool {
        self.group == Group::Large
    }

    /// Whether each round needs a process that has not served before: freed memory is kept by
    /// allocators, so that a second ten thousand connections cost less than the first.
    pub(crate) fn needs_fresh_process(&self) -> bool {
        matches!(self.load, Load::Idle { .. } | Load::Listening { .. })
    }

    /// How servers are started for it.
    pub(crate) fn setup(&self) -> Setup {
        let cycles = matches!(self.load, Load::Connect { .. });
        let (tls, tokio) = (self.group == Group::Tls, self.group == Group::Tokio);
        Setup { cycles, compress: self.compress, tls, tokio, broadcast: self.group == Group::Broadcast }
    }

    /// The path that its connections go to; the one that publishes has another.
    pub(crate) fn path(&self) -> &'static str {
        match self.load {
            Load::FanOut { .. } => LISTEN,
            Load::Listening { path, .. } => path,
            Load::Messages { .. } | Load::Idle { .. } | Load::Connect { .. } => ECHO,
        }
    }

    /// The path of the connection that publishes.
    pub(crate) fn publishes_to(&self) -> Option<&'static str> {
        matches!(self.load, Load::FanOut { .. }).then_some(PUBLISH)
    }

    /// The arguments that tell `framewright bench` the load; `rate` is messages a second where the
    /// pace is open.
    pub(crate) fn arguments(&self, rate: Option<f64>) -> Vec<String> {
        let mut arguments = match self.load {
            Load::Messages { connections, size, in_flight, kind, flooders, .. } => {
                let mut arguments = words(&["--kind", kind]);
                arguments.extend(number("--connections", connections));
                arguments.extend(number("--size", size));
                // A schedule does not wait for replies.
                if rate.is_none() {
                    arguments.extend(number("--in-flight", in_flight));
                }
                if flooders > 0 {
                    arguments.extend(number("--flooders", flooders));
                }
                arguments
            }
            Load::Idle { connections, messages, size, kind } => {
                let mut arguments = words(&["--idle"]);
                arguments.extend(number("--connections", connections));
                if messages > 0 {
                    arguments.extend(words(&["--kind", kind]));
                    arguments.extend(number("--size", size));
                    arguments.extend(number("--idle-messages", messages));
                }
                arguments
            }
            Load::FanOut { listeners, deaf, size, in_flight, kind } => {
                let mut arguments = words(&["--kind", kind]);
                arguments.extend(number("--connections", listeners));
                arguments.extend(number("--size", size));
                arguments.extend(number("--in-flight", in_flight));
                if deaf > 0 {
                    arguments.extend(number("--deaf", deaf));
                }
                arguments
            }
            Load::Listening { connections, .. } => {
                let mut arguments = words(&["--idle"]);
                arguments.extend(number("--connections", connections));
                arguments
            }
            Load::Connect { parallel, resume } => {
                let mut arguments = words(&["--connect-rate"]);
                arguments.extend(number("--connections", parallel));
                if resume {
                    arguments.extend(words(&["--resume"]));
                }
                arguments
            }
        };
        if let Some(compress) = self.compress {
            arguments.extend(["--compress".to_owned(), compress.to_string()]);
        }
        if let Some(rate) = rate {
            arguments.extend(["--rate".to_owned(), format!("{rate:.0}")]);
        }
        arguments
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn number(option: &str, value: usize) -> [String; 2] {
    [option.to_owned(), value.to_string()]
}

/// The path of an echo.
pub(crate) const ECHO: &str = "/ws";
/// The path of those that listen.
pub(crate) const LISTEN: &str = "/sub";
/// The path of the one that publishes.
pub(crate) const PUBLISH: &str = "/pub";

/// The cell that measures each server's highest rate with the messages of the latency group.
pub(crate) const MAXIMUM: &str = "latency/maximum";

/// Payload sizes of the echo group, in octets.
pub(crate) const ECHO_SIZES: [usize; 9] = [0, 20, 125, 126, 1 << 10, 4 << 10, 16_000, 16 << 10, 64 << 10];
/// Connections of the echo group.
pub(crate) const ECHO_CONNECTIONS: [usize; 3] = [10, 100, 1000];
/// Messages in flight of the pipelined group.
pub(crate) const DEPTHS: [usize; 4] = [4, 16, 32, 64];
/// Payload sizes of the pipelined group, in octets.
pub(crate) const PIPELINED_SIZES: [usize; 2] = [20, 512];
/// Kinds of the text group: the first is what the others are compared with.
pub(crate) const KINDS: [&str; 4] = ["binary", "ascii", "json", "utf8"];
/// Mebibytes, connections and counted milliseconds of the large group: the slowest peer needs half
/// a second for the largest message, and a message counts in the round in which it ends.
pub(crate) const LARGE: [(usize, usize, u32); 3] = [(1, 10, 1000), (16, 4, 1500), (64, 2, 3000)];
/// Shares of the own highest rate in the latency group, in percent.
pub(crate) const LATENCY_SHARES: [u32; 3] = [50, 70, 90];
/// The share of the floor's highest rate that is the same rate for all, in percent.
pub(crate) const EQUAL_SHARE: u32 = 25;

/// Payload sizes of the compression group, in octets.
pub(crate) const COMPRESSION_SIZES: [usize; 3] = [128, 1 << 10, 16 << 10];
/// The compression group: messages that go back and forth on each connection before its memory is
/// read: none, and as many as fill the window that ours keeps of each direction. The peers hold all
/// that they will hold after the first.
pub(crate) const COMPRESSION_MESSAGES: [usize; 2] = [0, 4];

/// Payload sizes of the TLS group's echo with one message in flight, in octets.
pub(crate) const TLS_SIZES: [usize; 3] = [20, 1 << 10, 16 << 10];

/// Payload sizes of the group on tokio with one message in flight, in octets.
pub(crate) const TOKIO_SIZES: [usize; 3] = [20, 1 << 10, 16 << 10];

/// The name of the cell with messages of this size.
pub(crate) fn compressed_cell(size: usize, compress: Compress) -> String {
    format!("{}/{size}/{compress}", Group::Compression)
}

/// The name of the cell with the memory of connections behind so many messages.
pub(crate) fn compressed_idle_cell(messages: usize, compress: Compress) -> String {
    let state = if messages == 0 { "idle" } else { "used" };
    format!("{}/{state}/{compress}", Group::Compression)
}

/// Everything that is measured: blocks of cells. The cells of a block are measured in turn in each
/// round, so that they can be compared with each other; a block follows the one before it.
pub(crate) fn blocks() -> Vec<Vec<Cell>> {
    let mut blocks = Vec::new();
    for connections in ECHO_CONNECTIONS {
        for size in ECHO_SIZES {
            // More connections take longer to reach their pace.
            let (counted_ms, warm_up_ms) = if connections < 1000 { (600, 150) } else { (700, 250) };
            let load = messages(connections, size, 1, "binary");
            let name = format!("{connections}/{size}");
            blocks.push(vec![cell(Group::Echo, &name, load, counted_ms, warm_up_ms)]);
        }
    }
    for size in PIPELINED_SIZES {
        for depth in DEPTHS {
            let load = messages(100, size, depth, "binary");
            // The share of user mode is sampled a hundred times a second.
            blocks.push(vec![cell(Group::Pipelined, &format!("{depth}/{size}"), load, 800, 150)]);
        }
    }
    let text = |kind| cell(Group::Text, kind, messages(100, 4 << 10, 1, kind), 600, 150);
    blocks.push(KINDS.map(text).to_vec());
    for (mebibytes, connections, counted_ms) in LARGE {
        let load = messages(connections, mebibytes << 20, 1, "binary");
        blocks.push(vec![cell(Group::Large, &format!("{mebibytes}M"), load, counted_ms, 500)]);
    }
    let idle = |messages| Load::Idle { connections: 10_000, messages, size: 1 << 10, kind: "json" };
    blocks.push(vec![cell(Group::Idle, "10000", idle(0), 500, 0)]);
    let connect = |resume| Load::Connect { parallel: 16, resume };
    blocks.push(vec![cell(Group::Connect, "16", connect(false), 1000, 200)]);
    blocks.push(vec![cell(Group::Latency, "maximum", messages(100, 125, 1, "binary"), 600, 150)]);
    let mut paced: Vec<Cell> =
        LATENCY_SHARES.iter().map(|&share| latency(&share.to_string(), Pace::OfOwnMaximum(share))).collect();
    paced.push(latency("equal", Pace::OfFloorMaximum(EQUAL_SHARE)));
    blocks.push(paced);
    blocks.push(vec![fairness("alone", 0), fairness("flooded", 1)]);
    for size in COMPRESSION_SIZES {
        let load = messages(32, size, 1, "json");
        blocks.push(compressed(&load, |mode| compressed_cell(size, mode)));
    }
    for messages in COMPRESSION_MESSAGES {
        blocks.push(compressed(&idle(messages), |mode| compressed_idle_cell(messages, mode)));
    }
    for size in TLS_SIZES {
        let load = messages(100, size, 1, "binary");
        blocks.push(vec![cell(Group::Tls, &format!("echo/{size}"), load, 600, 150)]);
    }
    blocks.push(vec![cell(Group::Tls, "pipelined/20", messages(100, 20, 32, "binary"), 800, 150)]);
    blocks.push(vec![cell(Group::Tls, "large/1M", messages(10, 1 << 20, 1, "binary"), 1000, 500)]);
    let used = Load::Idle { connections: 2000, messages: 1, size: 16_000, kind: "binary" };
    blocks.push(vec![cell(Group::Tls, "idle/2000", used, 500, 0)]);
    for (name, resume) in [("full", false), ("resumed", true)] {
        blocks.push(vec![cell(Group::Tls, &format!("connect/{name}"), connect(resume), 1000, 300)]);
    }
    for size in TOKIO_SIZES {
        let load = messages(100, size, 1, "binary");
        blocks.push(vec![cell(Group::Tokio, &format!("echo/{size}"), load, 600, 150)]);
    }
    blocks.push(vec![cell(Group::Tokio, "pipelined/20", messages(100, 20, 32, "binary"), 800, 150)]);
    blocks.push(vec![cell(Group::Tokio, "large/1M", messages(10, 1 << 20, 1, "binary"), 1000, 500)]);
    let compressed = |mode: Compress| {
        let load = messages(32, 1 << 10, 1, "json");
        let plain = cell(Group::Tokio, &format!("compressed/{mode}"), load, 800, 300);
        Cell { compress: Some(mode), ..plain }
    };
    blocks.push(Compress::MODES.map(compressed).to_vec());
    blocks.push(vec![cell(Group::Tokio, "idle/10000", idle(0), 500, 0)]);
    blocks.extend(broadcast());
    blocks
}

/// Messages of one to many.
fn broadcast() -> Vec<Vec<Cell>> {
    let fan_out = |name: &str, load: Load, counted_ms| cell(Group::Broadcast, name, load, counted_ms, 300);
    let short = |in_flight| Load::FanOut { listeners: 1000, deaf: 0, size: 128, in_flight, kind: "binary" };
    let json = |mode: Compress| {
        let load = Load::FanOut { listeners: 1000, deaf: 0, size: 1 << 10, in_flight: 1, kind: "json" };
        Cell { compress: Some(mode), ..fan_out(&format!("json/{mode}"), load, 800) }
    };
    let crowd = |name: &str, deaf| {
        let load = Load::FanOut { listeners: 9_900, deaf, size: 128, in_flight: 1, kind: "binary" };
        fan_out(name, load, 2500)
    };
    let listening = |(name, path): (&str, &'static str)| {
        let load = Load::Listening { connections: 10_000, path };
        cell(Group::Broadcast, &format!("memory/{name}"), load, 500, 0)
    };
    vec![
        vec![fan_out("128", short(1), 800)],
        vec![fan_out("128/16", short(16), 800)],
        [Compress::Off, Compress::Shared].map(json).to_vec(),
        vec![crowd("crowd/alone", 0), crowd("crowd/deaf", 100)],
        SUBSCRIPTIONS.map(listening).to_vec(),
    ]
}

/// What the connections listen to whose memory is measured: nothing, one topic that all share, one
/// of a thousand topics with ten connections each, and ten topics that all share.
pub(crate) const SUBSCRIPTIONS: [(&str, &str); 4] =
    [("none", "/none"), ("one", LISTEN), ("of-1000", "/sub?of=1000"), ("ten", "/sub?topics=10")];

/// A load without compression and with each way of it.
fn compressed(load: &Load, name: impl Fn(Compress) -> String) -> Vec<Cell> {
    let cell = |compress| Cell {
        group: Group::Compression,
        name: name(compress),
        load: *load,
        compress: Some(compress),
        counted_ms: 800,
        warm_up_ms: 300,
    };
    Compress::ALL.map(cell).to_vec()
}

fn cell(group: Group, name: &str, load: Load, counted_ms: u32, warm_up_ms: u32) -> Cell {
    Cell { group, name: format!("{group}/{name}"), load, compress: None, counted_ms, warm_up_ms }
}

fn messages(connections: usize, size: usize, in_flight: usize, kind: &'static str) -> Load {
    Load::Messages { connections, size, in_flight, kind, pace: Pace::Closed, flooders: 0 }
}

fn latency(name: &str, pace: Pace) -> Cell {
    let load =
        Load::Messages { connections: 100, size: 125, in_flight: 1, kind: "binary", pace, flooders: 0 };
    cell(Group::Latency, name, load, 1000, 250)
}

fn fairness(name: &str, flooders: usize) -> Cell {
    let pace = Pace::Closed;
    let load = Load::Messages { connections: 99, size: 125, in_flight: 1, kind: "binary", pace, flooders };
    cell(Group::Fairness, name, load, 1000, 250)
}

/// The blocks that `only` names: groups, cells, or what a cell's name begins with (`echo/100`).
/// All, if it is empty. A block is taken whole: its cells are compared with each other, so that
/// they must be of one run.
///
/// # Errors
/// If something is named that is not there.
pub(crate) fn choose(mut blocks: Vec<Vec<Cell>>, only: &[String]) -> anyhow::Result<Vec<Vec<Cell>>> {
    let names = |block: &Vec<Cell>, asked: &String| {
        let rests = block.iter().filter_map(|cell| cell.name.strip_prefix(asked.as_str()));
        rests.into_iter().any(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for asked in only {
        ensure!(
            blocks.iter().any(|block| names(block, asked)),
            "there is no workload {asked}; `cargo bench-report --list` names them"
        );
    }
    blocks.retain(|block| only.is_empty() || only.iter().any(|asked| names(block, asked)));
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn chosen(only: &[&str]) -> Vec<String> {
        let only: Vec<String> = words(only);
        let blocks = choose(blocks(), &only).expect("there are such workloads");
        blocks.into_iter().flatten().map(|cell| cell.name).collect()
    }

    #[test]
    fn every_cell_has_a_name_of_its_own_and_every_group_a_cell() {
        let blocks = blocks();
        let names: BTreeSet<&str> = blocks.iter().flatten().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names.len(), blocks.iter().flatten().count());
        for group in Group::ALL {
            assert!(names.iter().any(|name| name.starts_with(group.name())), "{group}");
        }
    }

    #[test]
    fn the_maximum_is_measured_before_the_shares_of_it() {
        let names = chosen(&["latency"]);
        assert_eq!(names, [MAXIMUM, "latency/50", "latency/70", "latency/90", "latency/equal"]);
    }

    #[test]
    fn workloads_are_chosen_by_group_by_name_and_by_the_beginning_of_a_name() {
        assert_eq!(chosen(&["fairness"]), ["fairness/alone", "fairness/flooded"]);
        assert_eq!(chosen(&["echo/10/20", "echo/10/0"]), ["echo/10/0", "echo/10/20"]);
        assert_eq!(chosen(&["echo/10"]).len(), ECHO_SIZES.len());
        assert_eq!(chosen(&[]).len(), blocks().iter().flatten().count());
    }

    #[test]
    fn cells_that_are_compared_with_each_other_are_measured_together() {
        assert_eq!(chosen(&["text/utf8"]), ["text/binary", "text/ascii", "text/json", "text/utf8"]);
    }

    #[test]
    fn a_workload_that_is_not_there_is_an_error() {
        for wrong in ["ech", "echo/1", "echo/", ""] {
            assert!(choose(blocks(), &[wrong.to_owned()]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_generator_is_told_the_load() {
        let blocks = blocks();
        let arguments = |name: &str, rate| {
            let cell = blocks.iter().flatten().find(|cell| cell.name == name).expect("a cell");
            cell.arguments(rate).join(" ")
        };
        assert_eq!(
            arguments("pipelined/32/20", None),
            "--kind binary --connections 100 --size 20 --in-flight 32"
        );
        assert_eq!(arguments("idle/10000", None), "--idle --connections 10000");
        assert_eq!(arguments("connect/16", None), "--connect-rate --connections 16");
        assert!(arguments("fairness/flooded", None).ends_with("--flooders 1"));
        assert_eq!(
            arguments("compression/1024/takeover", None),
            "--kind json --connections 32 --size 1024 --in-flight 1 --compress takeover"
        );
        assert_eq!(
            arguments("compression/used/shared", None),
            "--idle --connections 10000 --kind json --size 1024 --idle-messages 4 --compress shared"
        );
        assert_eq!(
            arguments("tls/idle/2000", None),
            "--idle --connections 2000 --kind binary --size 16000 --idle-messages 1"
        );
        assert_eq!(arguments("tls/connect/full", None), "--connect-rate --connections 16");
        assert_eq!(arguments("tls/connect/resumed", None), "--connect-rate --connections 16 --resume");
        assert_eq!(
            arguments("broadcast/128/16", None),
            "--kind binary --connections 1000 --size 128 --in-flight 16"
        );
        assert!(
            arguments("broadcast/crowd/deaf", None)
                .ends_with("--connections 9900 --size 128 --in-flight 1 --deaf 100")
        );
        assert_eq!(arguments("broadcast/memory/one", None), "--idle --connections 10000");
        let paced = "--kind binary --connections 100 --size 125 --rate 1234";
        assert_eq!(arguments("latency/70", Some(1234.4)), paced);
    }
}
