//! `cargo xtask memory`: what a server holds before, during and after crowds, as the system counts
//! it.
//!
//! What the server itself gives back is a test (`crates/server/tests/given_back`). How much of that
//! reaches the system is the allocator's to decide, and this measures it: the echo program runs
//! with each of [`ALLOCATORS`], meets each of the [`CROWDS`], and is looked at ten seconds after
//! the last of them has gone. A thousand connections do nothing all the while, and one exchanges
//! small messages.
//!
//! Allocators other than the system's are loaded in front of it (`LD_PRELOAD`); one that is not
//! installed is left out, and said so. Nothing passes or fails here: the figures are for
//! `docs/LIMITS.md`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use framewright_testkit::programs::server::ServerProcess;

use crate::echo_server;
use crate::soak::peer::{BINARY, FIN, Peer};
use crate::soak::process;

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each server meets each crowd, started anew each time.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only allocators whose names contain this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// How long after the crowd has gone the server is looked at, in seconds.
    #[arg(long, default_value_t = 10)]
    after: u64,
}

/// An allocator: its name, the library to load, and how it is set by the environment.
struct Allocator {
    name: &'static str,
    library: Option<&'static str>,
    settings: &'static [(&'static str, &'static str)],
}

const fn glibc(name: &'static str, settings: &'static [(&'static str, &'static str)]) -> Allocator {
    Allocator { name, library: None, settings }
}

const TUNABLES: &str = "GLIBC_TUNABLES";
const TRIM: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "131072");
const NO_CACHE: (&str, &str) = (TUNABLES, "glibc.malloc.tcache_count=0");
const MMAP_NO_CACHE: &str = "glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=8192";

const ALLOCATORS: [Allocator; 10] = [
    glibc("glibc", &[]),
    glibc("glibc, trim", &[TRIM]),
    glibc("glibc, no thread cache", &[NO_CACHE]),
    glibc("glibc, no thread cache, trim", &[NO_CACHE, TRIM]),
    glibc("glibc, the same, one arena", &[NO_CACHE, TRIM, ("MALLOC_ARENA_MAX", "1")]),
    glibc("glibc, mmap from 8 KiB", &[("MALLOC_MMAP_THRESHOLD_", "8192")]),
    glibc("glibc, mmap from 8 KiB, no thread cache", &[(TUNABLES, MMAP_NO_CACHE)]),
    Allocator { name: "jemalloc", library: Some("libjemalloc.so.2"), settings: &[] },
    Allocator {
        name: "jemalloc, decay in 1 s",
        library: Some("libjemalloc.so.2"),
        settings: &[("MALLOC_CONF", "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0")],
    },
    Allocator { name: "mimalloc", library: Some("libmimalloc.so.2"), settings: &[] },
];

/// Peers that make a server hold much: their name, and what makes them.
type Crowd = (&'static str, fn(SocketAddr) -> anyhow::Result<Vec<Peer>>);

const CROWDS: [Crowd; 3] = [
    ("half frames", |addr| {
        crowd(addr, 5000, |peer| {
            let frame = peer.frame(FIN | BINARY, &[7; 60_000]);
            peer.write(&frame[..14_000])
        })
    }),
    ("unread echoes", |addr| {
        crowd(addr, 20, |peer| {
            let frame = peer.frame(FIN | BINARY, &vec![7; 16 << 20]);
            peer.write(&frame)
        })
    }),
    ("large messages", |addr| {
        let mut peers = crowd(addr, 50, |_| Ok(()))?;
        let message = vec![7; 2 << 20];
        for _ in 0..5 {
            peers.iter_mut().try_for_each(|peer| peer.send(FIN | BINARY, &message))?;
            peers.iter_mut().try_for_each(|peer| peer.read().map(drop))?;
        }
        Ok(peers)
    }),
];

/// How many connections do nothing.
const IDLE: usize = 1000;

/// How long the server has until it is looked at before the crowd comes.
const SETTLED: Duration = Duration::from_secs(3);

/// Measures, and prints a line for each run.
///
/// # Errors
/// If the server cannot be run, or leaves its peers.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of descriptors")?;
    let program = echo_server::program()?;
    let chosen = |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.contains(only));
    println!("{:<40} {:<15} {:>9} {:>9} {:>9} {:>8}", "MiB", "", "before", "peak", "after", "more");
    for allocator in ALLOCATORS.iter().filter(|allocator| chosen(allocator.name)) {
        let library = match allocator.library.map(|name| (name, find_library(name))) {
            Some((name, None)) => {
                println!("{:<40} not measured: there is no {name}", allocator.name);
                continue;
            }
            Some((_, library)) => library,
            None => None,
        };
        for (crowd_name, crowd) in CROWDS {
            for _ in 0..options.runs {
                let server = start(&program, allocator, library.as_deref())?;
                let held = measure(&server, crowd, Duration::from_secs(options.after))?;
                println!("{:<40} {crowd_name:<15} {held}", allocator.name);
            }
        }
    }
    Ok(())
}

/// Where the system has a shared library.
fn find_library(name: &str) -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    ["/usr/lib".into(), "/usr/local/lib".into()]
        .into_iter()
        .chain(folders)
        .map(|folder: PathBuf| folder.join(name))
        .find(|file| file.is_file())
}

fn start(program: &Path, allocator: &Allocator, library: Option<&Path>) -> anyhow::Result<ServerProcess> {
    let mut command = Command::new(program);
    command.args(["echo", "--listen", "127.0.0.1:0", "--workers", "2"]);
    command.envs(allocator.settings.iter().copied());
    if let Some(library) = library {
        command.env("LD_PRELOAD", library);
    }
    ServerProcess::start(&program.to_string_lossy(), &mut command)
}

/// What a server held, in KiB.
struct Held {
    before: u64,
    peak: u64,
    after: u64,
}

impl std::fmt::Display for Held {
    #[allow(clippy::cast_precision_loss, reason = "figures for people to read")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let more = (self.after as f64 / self.before as f64 - 1.0) * 100.0;
        let (before, peak, after) = (mib(self.before), mib(self.peak), mib(self.after));
        write!(f, "{before:>9.1} {peak:>9.1} {after:>9.1} {more:>6.0} %")
    }
}

/// Looks at a server before, while and after a crowd is there.
fn measure(
    server: &ServerProcess,
    crowd: fn(SocketAddr) -> anyhow::Result<Vec<Peer>>,
    after: Duration,
) -> anyhow::Result<Held> {
    let held = || process::private_kib(server.pid());
    let _idle = self::crowd(server.addr(), IDLE, |_| Ok(()))?;
    let mut talker = Peer::open(server.addr(), false, 1)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let talking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                talker.send(FIN | BINARY, &[7; 100])?;
                talker.read()?;
                thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok(())
        });
        let measured = (|| {
            thread::sleep(SETTLED);
            let before = held()?;
            let peers = crowd(server.addr())?;
            // What was sent last is on its way.
            thread::sleep(Duration::from_millis(500));
            let peak = held()?;
            peers.into_iter().try_for_each(Peer::reset)?;
            thread::sleep(after);
            anyhow::Ok(Held { before, peak, after: held()? })
        })();
        over.store(true, Ordering::Relaxed);
        talking.join().map_err(|_| anyhow!("the one who talks panicked"))?.context("the one who talks")?;
        measured
    })
}

/// So many peers, each of which does this once it is open.
fn crowd(
    addr: SocketAddr,
    count: usize,
    mut act: impl FnMut(&mut Peer) -> std::io::Result<()>,
) -> anyhow::Result<Vec<Peer>> {
    let peers = (0..count).map(|number| {
        let mut peer = Peer::open(addr, false, number as u64)?;
        act(&mut peer)?;
        Ok(peer)
    });
    peers.collect::<std::io::Result<_>>().context("a peer of the crowd")
}
