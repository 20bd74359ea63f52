//! A server in a process of its own, so that its processor time can be told from the generator's.

use anyhow::{Context, bail};
use framewright_server::{Config, Decision, Handler, Incoming, ListenAddr, Message, Options, Server, Socket};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

/// The variable that tells a process of a benchmark which server it is to be.
const SERVE: &str = "FRAMEWRIGHT_BENCH_SERVE";

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the servers that the benchmarks know")]
pub enum Kind {
    /// The raw loop of [`crate::floor`].
    Floor,
    /// Our server, with this receive buffer size.
    Framewright(usize),
}

impl Kind {
    /// A name for tables.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Kind::Floor => "floor".to_owned(),
            Kind::Framewright(size) => format!("framewright:{size}"),
        }
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Kind> {
        match text.split_once(':') {
            None if text == "floor" => Ok(Kind::Floor),
            Some(("framewright", size)) => Ok(Kind::Framewright(size.parse()?)),
            _ => bail!("no server is called {text}"),
        }
    }
}

/// In a process that was started to be a server: serves, and does not return. Else does nothing. To be called first.
///
/// # Errors
/// If the server cannot be started.
pub fn serve_if_asked() -> anyhow::Result<()> {
    let Ok(kind) = std::env::var(SERVE) else { return Ok(()) };
    pin(0);
    let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    match kind.parse()? {
        Kind::Floor => {
            let listener = mio::net::TcpListener::bind(any)?;
            announce(listener.local_addr()?)?;
            crate::floor::run(listener)?;
        }
        Kind::Framewright(receive_buffer_size) => {
            let connection = Config { max_message: 64 << 20, max_frame: 64 << 20, ..Config::default() };
            let options = Options { connection, receive_buffer_size, ..Options::default() };
            let server = Server::builder().options(options).route("/", Echo).listen(any)?.build()?;
            if let Some(ListenAddr::Ip(addr)) = server.local_addrs().first() {
                announce(*addr)?;
            }
            server.run()?;
        }
    }
    std::process::exit(0);
}

fn announce(addr: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{addr}")?;
    out.flush()
}

/// Keeps this thread on one processor; a machine with fewer is left to itself.
pub fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    let _ = sched_setaffinity(None, &set);
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_, ()>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_, '_, ()>, message: Message<'_>) {
        let _ = socket.send(message);
    }
}

/// A running server. Ended when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Process {
    /// Starts this program again as a server, on the first processor.
    ///
    /// # Errors
    /// If it cannot be started, or does not say where it listens.
    pub fn start(kind: Kind) -> anyhow::Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(SERVE, kind.name())
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("the output was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse().with_context(|| format!("the server said {line:?}"))?;
        Ok(Process { child, addr })
    }

    /// Processor time used so far, in clock ticks: in user mode and in the kernel.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn ticks(&self) -> anyhow::Result<(u64, u64)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("a stat line")?;
        let mut fields = fields.split_whitespace().skip(11).map(str::parse);
        let user = fields.next().context("utime")??;
        let kernel = fields.next().context("stime")??;
        Ok((user, kernel))
    }

    /// Octets of memory that are this process's own and in use.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("RssAnon")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
