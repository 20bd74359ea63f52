//! Running the cells: in each round every server in turn, the order another in each round, so that
//! what the machine does meanwhile meets all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};
use framewright_cli::Compress;
use framewright_testkit::programs::server::ServerProcess;
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::machine::Run;
use super::programs::Programs;
use super::report::{Report, Tls};
use super::results::{Outcome, Results, Round};
use super::servers::{FLOOR, Fleet, GENERATOR_CORE, OURS_TOKIO, OURS_TOPICS, Server, Setup, pinned};
use super::workload::{Cell, ECHO, LISTEN, Load, MAXIMUM, PUBLISH, Pace};

/// How to run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Rounds for each cell.
    pub(crate) rounds: usize,
    /// Whether each round has fresh processes, and not only each block.
    pub(crate) fresh_processes: bool,
    /// The commit, and the time at which the run began: also what decides the order of the servers.
    pub(crate) run: Run,
    /// Milliseconds to count, instead of what each cell says.
    pub(crate) counted_ms: Option<u32>,
    /// Milliseconds before them, instead of what each cell says.
    pub(crate) warm_up_ms: Option<u32>,
}

impl Settings {
    fn needs_fresh_process(&self, cell: &Cell) -> bool {
        self.fresh_processes || cell.needs_fresh_process()
    }

    fn counted_ms(&self, cell: &Cell) -> u32 {
        self.counted_ms.unwrap_or(cell.counted_ms)
    }

    fn warm_up_ms(&self, cell: &Cell) -> u32 {
        self.warm_up_ms.unwrap_or(cell.warm_up_ms)
    }

    /// About how long these blocks take, in seconds.
    pub(crate) fn estimate(&self, blocks: &[Vec<Cell>], servers: &[&'static Server]) -> f64 {
        let cell = |cell: &Cell| {
            let opening = match cell.load {
                Load::Messages { connections, .. } => connections,
                // A message takes as long as opening a connection.
                Load::Idle { connections, messages, .. } => connections * (1 + messages),
                Load::Connect { .. } => 0,
                Load::FanOut { listeners, deaf, .. } => listeners + deaf,
                Load::Listening { connections, .. } => connections,
            };
            // Connecting, starting and ending the generator, and a server where it is to be a fresh
            // one.
            let around =
                0.1 + opening as f64 * 0.0001 + f64::from(u8::from(self.needs_fresh_process(cell))) * 0.2;
            let counted = f64::from(self.counted_ms(cell) + self.warm_up_ms(cell)) / 1000.0;
            (counted + around) * participants(cell, servers).count() as f64 * self.rounds as f64
        };
        blocks.iter().flatten().map(cell).sum()
    }
}

/// The servers that a cell says something about.
pub(crate) fn participants<'a>(
    cell: &'a Cell,
    servers: &'a [&'static Server],
) -> impl Iterator<Item = &'static Server> + 'a {
    servers.iter().copied().filter(|server| takes_part(cell, server))
}

/// Whether a cell says something about a server.
pub(crate) fn takes_part(cell: &Cell, server: &Server) -> bool {
    if cell.setup().broadcast {
        let compresses = cell.compress.is_none_or(|mode| {
            mode == Compress::Off && server.name == FLOOR
                || !server.compresses.is_empty()
                    && (mode == Compress::Off || server.compresses.contains(&mode))
        });
        return match cell.load {
            // The others have no topics, or nothing that they could be told by a path.
            Load::Listening { .. } => server.name == OURS_TOPICS,
            // It takes ten seconds to accept ten thousand connections.
            Load::FanOut { listeners: 9_900, .. } => server.broadcast && server.name != "websockets",
            _ => server.broadcast && compresses,
        };
    }
    if server.library.is_some() || server.name == OURS_TOPICS {
        return false;
    }
    if cell.setup().tls {
        return server.tls;
    }
    if cell.setup().tokio {
        return server.tokio && cell.compress.is_none_or(|mode| server.compresses.contains(&mode));
    }
    if server.name == OURS_TOKIO {
        return false;
    }
    match cell.compress {
        None => cell.streams() || !server.streams,
        // The floor is there for what an echo costs at all.
        Some(Compress::Off) => !server.compresses.is_empty() || server.name == FLOOR,
        Some(compress) => server.compresses.contains(&compress),
    }
}

/// Measures. Each block is entered into the results when it is complete, and `save` is called.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    settings: &'a Settings,
    programs: &'a Programs,
    servers: &'a [&'static Server],
    fleet: Fleet,
    progress: ProgressBar,
    interrupted: Arc<AtomicBool>,
    /// What servers agree on over TLS, and the first that did.
    agreed: Option<(&'static str, Tls)>,
}

impl<'a> Runner<'a> {
    /// A runner for these servers.
    ///
    /// # Errors
    /// If Ctrl-C cannot be caught: the servers are ended by hand then.
    pub(crate) fn new(
        settings: &'a Settings,
        programs: &'a Programs,
        servers: &'a [&'static Server],
    ) -> anyhow::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
        Ok(Self {
            settings,
            programs,
            servers,
            fleet: Fleet::default(),
            progress: ProgressBar::hidden(),
            interrupted,
            agreed: None,
        })
    }

    /// Has each server echo a little in each way in which these blocks have it, and compares every
    /// octet: the speed of a wrong echo is worth nothing.
    ///
    /// # Errors
    /// If one does not echo what it got. The floor is left out: it is not asked for messages.
    pub(crate) fn check(&mut self, blocks: &[Vec<Cell>]) -> anyhow::Result<()> {
        for server in self.servers.iter().filter(|server| server.name != FLOOR) {
            let cells = blocks.iter().flatten().filter(|cell| takes_part(cell, server));
            let setups: BTreeSet<Setup> = cells
                .map(|cell| Setup { cycles: false, ..cell.setup() })
                .filter(|setup| setup.compress != Some(Compress::Off))
                .collect();
            for setup in setups {
                let kinds = if setup.compress.is_some() { &["json"][..] } else { &["utf8", "random"] };
                for kind in kinds {
                    self.check_echo(server, setup, kind)?;
                }
            }
        }
        Ok(())
    }

    fn check_echo(&mut self, server: &'static Server, setup: Setup, kind: &str) -> anyhow::Result<()> {
        self.go_on()?;
        let process = self.fleet.get(server, self.programs, setup)?;
        let arguments = format!(
            "--verify --kind {kind} --connections 4 --in-flight 8 --size 20,125,4K,70K --warm-up 0.1 --duration 0.5 --compress {}",
            setup.compress.unwrap_or(Compress::Off)
        );
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let paths = if setup.broadcast { (LISTEN, Some(PUBLISH)) } else { (ECHO, None) };
        let arguments = [addresses(server, setup, process, paths), arguments].concat();
        let report = generate(self.programs, setup, process, &arguments, 20.0);
        self.fleet.end(server, setup);
        let report = report.with_context(|| format!("{} does not echo {kind} messages", server.name))?;
        ensure!(report.messages_per_s > 0.0, "{} echoes no {kind} messages", server.name);
        Ok(())
    }

    /// Measures all blocks.
    ///
    /// # Errors
    /// If it is interrupted, or results cannot be saved. What fails in a cell is a result.
    pub(crate) fn run(
        &mut self,
        blocks: &[Vec<Cell>],
        results: &mut Results,
        file: &Path,
    ) -> anyhow::Result<()> {
        let runs: usize = blocks.iter().flatten().map(|cell| participants(cell, self.servers).count()).sum();
        self.progress = ProgressBar::new((runs * self.settings.rounds) as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left: {wide_msg}")?;
        self.progress.set_style(style);
        for block in blocks {
            self.block(block, results)?;
            results.save(file)?;
            if self.progress.is_hidden() {
                let names: Vec<&str> = block.iter().map(|cell| cell.name.as_str()).collect();
                println!("measured {}", names.join(", "));
            }
        }
        self.progress.finish_and_clear();
        Ok(())
    }

    fn block(&mut self, block: &[Cell], results: &mut Results) -> anyhow::Result<()> {
        let mut outcomes: Vec<BTreeMap<String, Outcome>> = vec![BTreeMap::new(); block.len()];
        // Who comes after whom must not be the same in each round.
        let mut chance = StdRng::seed_from_u64(self.settings.run.began);
        for _ in 0..self.settings.rounds {
            for (cell, outcomes) in block.iter().zip(&mut outcomes) {
                let mut order: Vec<&'static Server> = participants(cell, self.servers).collect();
                order.shuffle(&mut chance);
                for server in order {
                    self.progress.set_message(format!("{}, {}", cell.name, server.name));
                    let outcome = outcomes.entry(server.name.to_owned()).or_default();
                    if outcome.failure.is_none() {
                        match self.measure(cell, server, results)? {
                            Ok(report) => outcome.rounds.push(Round { report, floor_ns: None }),
                            Err(error) => outcome.failure = Some(format!("{error:#}")),
                        }
                    }
                    self.progress.inc(1);
                }
            }
        }
        // A process serves one block: none is measured with what another block has left in its
        // memory.
        self.fleet = Fleet::default();
        for (cell, outcomes) in block.iter().zip(outcomes) {
            results.enter(&cell.name, &self.settings.run, outcomes);
        }
        Ok(())
    }

    /// One round of one server. The outer error ends the run, the inner one is the server's; it
    /// gets a second chance, with a fresh process.
    fn measure(
        &mut self,
        cell: &Cell,
        server: &'static Server,
        results: &Results,
    ) -> anyhow::Result<anyhow::Result<Report>> {
        let mut tried = self.attempt(cell, server, results);
        if tried.is_err() && !self.is_interrupted() {
            self.fleet.end(server, cell.setup());
            tried = self.attempt(cell, server, results);
        }
        if self.settings.needs_fresh_process(cell) || tried.is_err() {
            self.fleet.end(server, cell.setup());
        }
        self.go_on()?;
        Ok(tried)
    }

    /// An error after Ctrl-C.
    fn go_on(&self) -> anyhow::Result<()> {
        ensure!(!self.is_interrupted(), "interrupted; the blocks that were complete are saved");
        Ok(())
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn attempt(&mut self, cell: &Cell, server: &'static Server, results: &Results) -> anyhow::Result<Report> {
        let mut arguments = cell.arguments(rate(cell, server, results)?);
        let (counted, warm_up) = (self.settings.counted_ms(cell), self.settings.warm_up_ms(cell));
        arguments.extend([
            "--duration".to_owned(),
            seconds(counted),
            "--warm-up".to_owned(),
            seconds(warm_up),
        ]);
        let process = self.fleet.get(server, self.programs, cell.setup())?;
        let deadline_s = 30.0 + f64::from(counted + warm_up) / 1000.0;
        arguments.extend(addresses(server, cell.setup(), process, (cell.path(), cell.publishes_to())));
        let report = generate(self.programs, cell.setup(), process, &arguments, deadline_s)?;
        if let Some(tls) = &report.tls {
            let (first, agreed) = self.agreed.get_or_insert_with(|| (server.name, tls.clone()));
            ensure!(tls == agreed, "it agrees on {tls}, where {first} agrees on {agreed}");
        }
        Ok(report)
    }
}

/// Milliseconds as seconds, with their point.
fn seconds(milliseconds: u32) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// The rate at which a server is to get messages; none where the next follows a reply.
fn rate(cell: &Cell, server: &Server, results: &Results) -> anyhow::Result<Option<f64>> {
    let Load::Messages { pace, .. } = cell.load else { return Ok(None) };
    let (share, of) = match pace {
        Pace::Closed => return Ok(None),
        Pace::OfOwnMaximum(share) => (share, server.name),
        Pace::OfFloorMaximum(share) => (share, FLOOR),
    };
    let maximum = results.stat(MAXIMUM, of, |round| Some(round.report.messages_per_s));
    let maximum =
        maximum.with_context(|| format!("the highest rate of {of} is not known: measure {MAXIMUM} first"))?;
    Ok(Some(maximum.median * f64::from(share) / 100.0))
}

/// The arguments that tell the generator where its connections go: to the first path; if there is a
/// second, one more goes there, and publishes.
fn addresses(
    server: &Server,
    setup: Setup,
    process: &ServerProcess,
    (path, publish): (&str, Option<&str>),
) -> Vec<String> {
    let url = |path| server.url(process.addr(), setup.tls, path);
    let mut arguments = vec!["--url".to_owned(), url(path)];
    arguments.extend(publish.into_iter().flat_map(|path| ["--fan-out".to_owned(), url(path)]));
    arguments
}

/// Runs the generator once.
fn generate(
    programs: &Programs,
    setup: Setup,
    process: &ServerProcess,
    arguments: &[String],
    deadline_s: f64,
) -> anyhow::Result<Report> {
    let mut generator = pinned(GENERATOR_CORE, &programs.framewright);
    generator.args(["bench", "--json", "--pid", &process.pid().to_string()]);
    generator.args(arguments);
    if setup.tls {
        generator.arg("--ca").arg(programs.certificate()?.chain()).args(["--cipher-suite", CIPHER_SUITE]);
    }
    // The generator gives up by itself when no answer comes; this is for what it does not foresee.
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--kill-after=5"]).arg(format!("{deadline_s}"));
    command.arg(generator.get_program()).args(generator.get_args());
    let output =
        command.stdin(Stdio::null()).output().context("cannot run timeout, which is in coreutils")?;
    if output.status.code() == Some(124) {
        bail!("the generator did not end within {deadline_s} s");
    }
    if !output.status.success() {
        bail!("{}", complaint(&String::from_utf8_lossy(&output.stderr)));
    }
    let report: Report = serde_json::from_slice(&output.stdout)
        .context("the generator did not say what it is documented to")?;
    ensure!(
        report.idle.is_some() || report.messages_per_s > 0.0,
        "no reply came in the time that is counted"
    );
    Ok(report)
}

/// What the generator offers over TLS, and nothing else, so that all servers have the same: what
/// browsers prefer on processors that have instructions for it.
const CIPHER_SUITE: &str = "TLS13_AES_128_GCM_SHA256";

/// The line in which the generator says what went wrong.
fn complaint(stderr: &str) -> &str {
    let mut lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find_map(|line| line.strip_prefix("error: "));
    error.or_else(|| lines.next_back()).unwrap_or("the generator ended without a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::enter;
    use crate::servers::SERVERS;
    use crate::workload::{blocks, choose};

    fn cells(name: &str) -> Vec<Cell> {
        choose(blocks(), &[name.to_owned()]).expect("a workload").into_iter().flatten().collect()
    }

    #[test]
    fn rates_are_shares_of_the_highest_rate() {
        let mut results = Results::default();
        enter(&mut results, MAXIMUM, &[(FLOOR, &[10_000.0]), ("framewright", &[20_000.0])]);
        let rate = |name: &str| rate(&cells(name)[0], &SERVERS[1], &results).expect("a rate");
        assert_eq!(rate("latency/50"), Some(25_000.0));
        assert_eq!(rate("latency/equal"), Some(25_000.0));
        assert_eq!(rate("echo/10/20"), None);
    }

    #[test]
    fn a_rate_needs_the_highest_rate() {
        assert!(rate(&cells("latency/50")[0], &SERVERS[1], &Results::default()).is_err());
    }

    #[test]
    fn only_large_messages_are_streamed() {
        let servers: Vec<&'static Server> = SERVERS.iter().collect();
        let count = |name| participants(&cells(name)[0], &servers).count();
        // Ours on tokio, ours with topics, and two libraries of other languages have no echo here.
        assert_eq!(count("large/1M"), SERVERS.len() - 4);
        assert_eq!(count("echo/10/20"), SERVERS.len() - 5);
    }

    #[test]
    fn compression_is_measured_of_those_that_have_it_in_the_way_that_is_measured() {
        let servers: Vec<&'static Server> = SERVERS.iter().collect();
        let names = |name| -> Vec<&str> {
            let block = cells(name);
            let cell = block.iter().find(|cell| cell.name == name).expect("a cell");
            participants(cell, &servers).map(|server| server.name).collect()
        };
        assert_eq!(names("compression/1024/off"), [FLOOR, "framewright", "yawc", "sockudo-ws", "soketto"]);
        assert_eq!(names("compression/1024/shared"), ["framewright", "yawc", "sockudo-ws", "soketto"]);
        assert_eq!(names("compression/idle/takeover"), ["framewright", "yawc", "sockudo-ws"]);
    }

    #[test]
    fn tls_is_measured_of_those_that_are_started_with_it() {
        let servers: Vec<&'static Server> = SERVERS.iter().collect();
        let names: Vec<&str> =
            participants(&cells("tls/echo/20")[0], &servers).map(|server| server.name).collect();
        let peers = ["tokio-tungstenite", "fastwebsockets", "tokio-websockets"];
        assert_eq!(names, [&[FLOOR, "framewright"][..], &peers].concat());
    }

    #[test]
    fn on_tokio_those_on_tokio_are_measured_beside_a_floor_of_their_own() {
        let servers: Vec<&'static Server> = SERVERS.iter().collect();
        let names = |name: &str| -> Vec<&str> {
            participants(&cells(name)[0], &servers).map(|server| server.name).collect()
        };
        let peers = ["tokio-tungstenite", "fastwebsockets", "tokio-websockets", "yawc"];
        assert_eq!(names("tokio/echo/20"), [&[FLOOR, OURS_TOKIO][..], &peers].concat());
        assert_eq!(names("tokio/compressed/shared"), [OURS_TOKIO, "yawc"]);
        let setup = cells("tokio/echo/20")[0].setup();
        assert_eq!(SERVERS[0].package(setup).as_deref(), Some("peer-floor-tokio"));
    }

    #[test]
    fn messages_to_many_are_measured_of_those_that_send_them_beside_a_floor_of_their_own() {
        let servers: Vec<&'static Server> = SERVERS.iter().collect();
        let names = |name: &str| -> Vec<&str> {
            let block = cells(name);
            let cell = block.iter().find(|cell| cell.name == name).expect("a cell");
            participants(cell, &servers).map(|server| server.name).collect()
        };
        let compress = [OURS_TOPICS, "sockudo-ws", "ws", "websockets"];
        assert_eq!(
            names("broadcast/128"),
            [FLOOR, OURS_TOPICS, "tokio-tungstenite", "sockudo-ws", "ws", "websockets"]
        );
        assert_eq!(names("broadcast/json/off"), [&[FLOOR][..], &compress].concat());
        assert_eq!(names("broadcast/json/shared"), compress);
        assert_eq!(names("broadcast/memory/one"), [OURS_TOPICS]);
        let setup = cells("broadcast/128")[0].setup();
        assert_eq!(SERVERS[0].package(setup).as_deref(), Some("peer-floor-broadcast"));
    }

    #[test]
    fn the_whole_of_it_takes_about_an_hour() {
        let settings = Settings {
            rounds: 5,
            fresh_processes: false,
            run: Run::default(),
            counted_ms: None,
            warm_up_ms: None,
        };
        let servers: Vec<&'static Server> = SERVERS.iter().collect();
        let estimate = settings.estimate(&blocks(), &servers);
        assert!((1200.0..4500.0).contains(&estimate), "{estimate} s");
    }

    #[test]
    fn the_reason_of_a_failure_is_what_follows_error() {
        let usage = "error: the argument '--rate' cannot be used\n\nUsage: framewright bench\n\nFor more information\n";
        assert_eq!(complaint(usage), "the argument '--rate' cannot be used");
        assert_eq!(
            complaint("warning\nthe server closed a connection\n\n"),
            "the server closed a connection"
        );
        assert_eq!(complaint(""), "the generator ended without a word");
    }

    #[test]
    fn seconds_have_three_digits_behind_the_point() {
        assert_eq!((seconds(600).as_str(), seconds(1050).as_str()), ("0.600", "1.050"));
    }
}
