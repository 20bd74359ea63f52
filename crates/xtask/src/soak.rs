//! `cargo xtask soak`: a server between bad peers, for minutes.
//!
//! The echo program runs twice. One server meets everything in [`attacks`] at random, and has fewer
//! descriptors than some attacks need. The other one is the control: no bad peers connect to it.
//! Both are paused now and then with SIGSTOP, as a suspended laptop pauses them. Each has a
//! [`neighbour`], a well-behaved client that sends messages and waits for the echoes. The run
//! passes if:
//!
//! - no neighbour is cut or waits longer than `--most-ms`, and every peer gets the answer that it
//!   has to get;
//! - all descriptors are free again when the peers have gone, and the memory is that of the end of
//!   the first quarter;
//! - a server that stops sends 1001 to each client that is left, and ends at once.
//!
//! The times of the neighbours' echoes are printed for both servers. They depend on the machine, so
//! only `--most-ms` judges them.

mod attacks;
mod neighbour;
pub(crate) mod peer;
pub(crate) mod process;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use framewright_testkit::programs::server::ServerProcess;
use framewright_testkit::programs::workspace::Workspace;
use framewright_testkit::rng::SplitMix64;

use crate::conclusion::conclude;
use crate::echo_server;
use attacks::{ATTACKS, MAX_MESSAGE};
use neighbour::Seen;
use peer::{PATIENCE, Peer};

/// The options of `cargo xtask soak`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long bad peers connect, in minutes.
    #[arg(long, default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// The seed of all random choices. Default: a new one for each run, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// The longest that an echo to a well-behaved client may take, in milliseconds.
    #[arg(long, default_value_t = 2000.0)]
    most_ms: f64,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if minutes > 0.0 && minutes <= 24.0 * 60.0 { Ok(minutes) } else { Err("0 to 1440 minutes".to_owned()) }
}

/// How many bad peers there are at a time.
const PEERS: u64 = 3;

/// The descriptors that the server may have.
const DESCRIPTORS: usize = 300;

/// How long the server may hold the resources of peers that have gone: longer than its deadlines.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// Memory may differ by this much, in KiB, and by a tenth.
const MEMORY_SLACK_KIB: u64 = 512;

/// The setting with which glibc gives memory back: see `docs/LIMITS.md`.
const MALLOC: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "8192");

/// Runs the servers between their peers.
///
/// # Errors
/// If a server cannot be run, or does not do what is right.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let mut attacked = start("soak.log")?;
    let mut control = start("soak-control.log")?;
    let mut verdict = Verdict::default();

    let shared = Shared::default();
    let whole = Duration::from_secs_f64(options.minutes * 60.0);
    let pids = [attacked.pid(), control.pid()];
    let (ours, theirs) = thread::scope(|scope| {
        let talk = |addr| {
            let shared = &shared;
            scope.spawn(move || neighbour::keep_talking(addr, &shared.over, &shared.pauses))
        };
        let (ours, theirs) = (talk(attacked.addr()), talk(control.addr()));
        let base = process::descriptors(pids[0]);
        attack_for(whole / 4, seed, &shared, attacked.addr(), pids);
        let early = base.and_then(|base| settled(pids[0], base));
        attack_for(whole - whole / 4, seed ^ 1, &shared, attacked.addr(), pids);
        let late = early.and_then(|early| settled(pids[0], early.descriptors).map(|late| (early, late)));
        shared.over.store(true, Ordering::Relaxed);
        verdict.judge_remains(late);
        let join = |talk: thread::ScopedJoinHandle<'_, Result<Seen, String>>| {
            talk.join().unwrap_or_else(|_| Err("the neighbour panicked".to_owned()))
        };
        (join(ours), join(theirs))
    });
    for (name, count) in &*lock(&shared.done) {
        println!("  {count:7} x {name}");
    }
    verdict.judge_neighbour("beside the attacks", ours, options.most_ms);
    verdict.judge_neighbour("control", theirs, options.most_ms);
    verdict.check("every peer got what it was owed", lock(&shared.wrong).as_slice());
    for (name, server) in [("the server", &mut attacked), ("the control", &mut control)] {
        let ended = (!server.is_running()).then(|| "it has ended".to_owned());
        verdict.check(&format!("{name} still runs"), ended.as_slice());
    }
    let ended = end(&mut attacked).err().map(|error| format!("{error:#}"));
    verdict.check("a server that is told to end tells its clients, and ends", ended.as_slice());
    conclude(verdict.passed, verdict.failed)
}

/// A server with small limits and short deadlines.
///
/// What it logs, above all that it has no descriptors left, is in the file `log` of the build
/// folder.
fn start(log: &str) -> anyhow::Result<ServerProcess> {
    let max_message = MAX_MESSAGE.to_string();
    let options = ["--workers", "2", "--max-message", &max_message, "--compress-memory", "4194304"];
    let deadlines = ["--keep-alive-interval", "1", "--keep-alive-timeout", "5"];
    let program = echo_server::program()?;
    let log = Workspace::locate()?.target.join(log);
    let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    // Fewer descriptors than a crowd takes. `exec`: the process is the server's own.
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {DESCRIPTORS}; exec \"$0\" echo --listen 127.0.0.1:0 \"$@\""));
    command.arg(&program).args(options).args(deadlines).env(MALLOC.0, MALLOC.1).stderr(log);
    ServerProcess::start(&program.to_string_lossy(), &mut command)
}

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    /// The neighbours are to end.
    over: AtomicBool,
    /// Odd while the servers are paused.
    pauses: AtomicU64,
    done: Mutex<BTreeMap<&'static str, u64>>,
    wrong: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets bad peers come for a while, and pauses both servers in between.
fn attack_for(time: Duration, seed: u64, shared: &Shared, addr: SocketAddr, pids: [u32; 2]) {
    let until = Instant::now() + time;
    thread::scope(|scope| {
        for peer in 0..PEERS {
            let mut rng = SplitMix64::new(seed.wrapping_mul(PEERS).wrapping_add(peer));
            scope.spawn(move || {
                while Instant::now() < until {
                    let (name, attack) = ATTACKS[rng.below(ATTACKS.len())];
                    if let Err(error) = attack(&mut rng, addr) {
                        lock(&shared.wrong).push(format!("{name}: {error}"));
                    }
                    *lock(&shared.done).entry(name).or_default() += 1;
                }
            });
        }
        let mut rng = SplitMix64::new(!seed);
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(rng.between(1000, 6000) as u64).min(until - Instant::now()));
            if let Err(error) = pause(pids, Duration::from_millis(rng.between(50, 1500) as u64), shared) {
                lock(&shared.wrong).push(format!("pausing: {error:#}"));
            }
        }
    });
}

/// Stops both servers where they are, and lets them go on.
fn pause(pids: [u32; 2], time: Duration, shared: &Shared) -> anyhow::Result<()> {
    let each = |signal| pids.iter().try_for_each(|&pid| process::signal(pid, signal));
    shared.pauses.fetch_add(1, Ordering::SeqCst);
    let stopped = each("STOP");
    thread::sleep(time);
    let went_on = each("CONT");
    // What was sent meanwhile is answered now.
    thread::sleep(Duration::from_millis(200));
    shared.pauses.fetch_add(1, Ordering::SeqCst);
    stopped.and(went_on)
}

/// What a server holds when its peers have gone.
#[derive(Clone, Copy, Debug)]
struct Remains {
    descriptors: usize,
    memory_kib: u64,
}

/// Waits until the server has given back what belonged to peers that have gone, or until the time
/// for that is over.
fn settled(pid: u32, base: usize) -> anyhow::Result<Remains> {
    let until = Instant::now() + BACK_WITHIN;
    loop {
        let remains =
            Remains { descriptors: process::descriptors(pid)?, memory_kib: process::private_kib(pid)? };
        if Instant::now() >= until {
            return Ok(remains);
        }
        if remains.descriptors <= base {
            // Buffers that were lent are kept for a moment.
            thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_secs(10)));
            return Ok(Remains {
                descriptors: process::descriptors(pid)?,
                memory_kib: process::private_kib(pid)?,
            });
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Ends a server while clients are connected: one that talks, and one that has never read.
fn end(server: &mut ServerProcess) -> anyhow::Result<()> {
    let open = || Peer::open(server.addr(), false, 2).context("connecting before the end");
    let mut clients = (0..20).map(|_| open()).collect::<anyhow::Result<Vec<_>>>()?;
    process::signal(server.pid(), "TERM")?;
    for client in &mut clients {
        let code = client.read_to_end().context("a client at the end")?;
        (code == Some(1001))
            .then_some(())
            .ok_or_else(|| anyhow!("a client was told {code:?}, and not 1001"))?;
    }
    drop(clients);
    let until = Instant::now() + PATIENCE;
    while server.is_running() {
        (Instant::now() < until).then_some(()).context("its clients have gone, and it does not end")?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// What was checked.
#[derive(Debug, Default)]
struct Verdict {
    passed: usize,
    failed: usize,
}

impl Verdict {
    /// Notes a check, which has passed if nothing is wrong.
    fn check(&mut self, what: &str, wrong: &[String]) {
        let outcome = if wrong.is_empty() { "ok    " } else { "FAILED" };
        println!("{outcome} {what}");
        for wrong in wrong.iter().take(20) {
            println!("       {wrong}");
        }
        *(if wrong.is_empty() { &mut self.passed } else { &mut self.failed }) += 1;
    }

    fn judge_neighbour(&mut self, which: &str, seen: Result<Seen, String>, most_ms: f64) {
        let what = format!("neighbour {which}");
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => return self.check(&what, &[error]),
        };
        let [median, p99, most] = [0.5, 0.99, 1.0].map(|share| seen.millis(share));
        let what = format!(
            "{what}: {} echoes, median {median:.2} ms, p99 {p99:.2} ms, max {most:.2} ms",
            seen.messages()
        );
        let late = (most > most_ms).then(|| format!("it waited longer than {most_ms} ms"));
        self.check(&what, late.as_slice());
    }

    fn judge_remains(&mut self, remains: anyhow::Result<(Remains, Remains)>) {
        let what = "descriptors and memory are given back";
        let (early, late) = match remains {
            Ok(remains) => remains,
            Err(error) => return self.check(what, &[format!("{error:#}")]),
        };
        let most = early.memory_kib + early.memory_kib / 10 + MEMORY_SLACK_KIB;
        let mut wrong = Vec::new();
        if late.descriptors > early.descriptors {
            wrong.push(format!("{} descriptors more than before", late.descriptors - early.descriptors));
        }
        if late.memory_kib > most {
            wrong.push(format!("more memory than {most} KiB"));
        }
        self.check(&format!("{what}: {early:?}, then {late:?}"), &wrong);
    }
}
