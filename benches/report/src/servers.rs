//! The servers that are measured, each in a process of its own on a processor of its own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};
use framewright_cli::Compress;
use framewright_testkit::programs::server::ServerProcess;

use super::programs::Programs;
use super::scripts::Library;

/// A server to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its name in tables and on the command line.
    pub(crate) name: &'static str,
    /// The crate that it is built on, if it is not ours.
    pub(crate) peer: Option<&'static str>,
    /// Whether it sends pieces of a message back before it has the whole.
    pub(crate) streams: bool,
    /// The ways in which it can compress.
    pub(crate) compresses: &'static [Compress],
    /// Whether it is measured over TLS.
    pub(crate) tls: bool,
    /// Whether it is measured among those on tokio.
    pub(crate) tokio: bool,
    /// Whether it is measured with messages that go to many.
    pub(crate) broadcast: bool,
    /// The library of another language that it is built on. It is measured with messages that go to
    /// many, and with nothing else.
    pub(crate) library: Option<Library>,
    /// The program, if it is another build of ours; else it is built here.
    pub(crate) program: Option<&'static Path>,
}

/// How a server is started, where there are several ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setup {
    /// Connections are opened and closed: the floor is told to close first, as servers do.
    pub(crate) cycles: bool,
    /// Compression is measured: how it is to compress. Else it is as its defaults are.
    pub(crate) compress: Option<Compress>,
    /// Over TLS, with the certificate that the programs have.
    pub(crate) tls: bool,
    /// Among servers on tokio: the floor is then one of them.
    pub(crate) tokio: bool,
    /// Messages go to many.
    pub(crate) broadcast: bool,
}

/// The raw loop that everything is compared with.
pub(crate) const FLOOR: &str = "floor";
/// The package of the raw loop that everything over TLS is compared with.
const FLOOR_TLS: &str = "floor-tls";
/// The package of the raw loop that everything on tokio is compared with.
const FLOOR_TOKIO: &str = "floor-tokio";
/// The package of the raw loop that messages to many are compared with.
const FLOOR_BROADCAST: &str = "floor-broadcast";
/// Our server.
pub(crate) const OURS: &str = "framewright";
/// Our server, with `--stream`.
pub(crate) const OURS_STREAMED: &str = "framewright-streamed";
/// Our crate for tokio, in a program among the peers. It is measured beside others on tokio only.
pub(crate) const OURS_TOKIO: &str = "framewright-tokio";
/// Our server with topics, in a program among the peers. It is measured with messages that go to
/// many only.
pub(crate) const OURS_TOPICS: &str = "framewright-topics";

/// All of them, in the order of the tables.
pub(crate) const SERVERS: [Server; 14] = [
    Server { tls: true, tokio: true, broadcast: true, ..server(FLOOR) },
    Server { compresses: &Compress::MODES, tls: true, ..server(OURS) },
    Server { streams: true, ..server(OURS_STREAMED) },
    Server { compresses: &Compress::MODES, tokio: true, ..server(OURS_TOKIO) },
    Server { compresses: &[Compress::Shared], broadcast: true, ..server(OURS_TOPICS) },
    Server { tls: true, tokio: true, broadcast: true, ..peer("tokio-tungstenite") },
    Server { tls: true, tokio: true, ..peer("fastwebsockets") },
    Server { tls: true, tokio: true, ..peer("tokio-websockets") },
    Server { compresses: &Compress::MODES, tokio: true, ..peer("yawc") },
    Server { compresses: &Compress::MODES, broadcast: true, ..peer("sockudo-ws") },
    Server { compresses: &[Compress::Shared], ..peer("soketto") },
    peer("web-socket"),
    library("ws", Library::Ws),
    library("websockets", Library::Websockets),
];

const fn server(name: &'static str) -> Server {
    Server {
        name,
        peer: None,
        streams: false,
        compresses: &[],
        tls: false,
        tokio: false,
        broadcast: false,
        library: None,
        program: None,
    }
}

const fn peer(name: &'static str) -> Server {
    Server { peer: Some(name), ..server(name) }
}

const fn library(name: &'static str, library: Library) -> Server {
    Server { compresses: &[Compress::Shared], broadcast: true, library: Some(library), ..server(name) }
}

impl Server {
    /// Its package among the peers; none for the program `framewright`, and for libraries of other
    /// languages. The floors under TLS, on tokio and of messages to many are programs of their own.
    pub(crate) fn package(&self, setup: Setup) -> Option<String> {
        let package = match self.name {
            FLOOR if setup.tls => Some(FLOOR_TLS),
            FLOOR if setup.tokio => Some(FLOOR_TOKIO),
            FLOOR if setup.broadcast => Some(FLOOR_BROADCAST),
            FLOOR | OURS_TOKIO | OURS_TOPICS => Some(self.name),
            _ => self.peer,
        };
        package.map(|package| format!("peer-{package}"))
    }

    /// The URL of a path of it.
    pub(crate) fn url(&self, addr: SocketAddr, tls: bool, path: &str) -> String {
        let scheme = match (self.name == FLOOR, tls) {
            (true, false) => "tcp",
            (true, true) => "tls",
            (false, false) => "ws",
            (false, true) => "wss",
        };
        format!("{scheme}://{addr}{path}")
    }

    /// Starts it on the processor of servers: taskset becomes the program that it runs.
    fn start(&self, programs: &Programs, setup: Setup) -> anyhow::Result<ServerProcess> {
        let mut command = self.command(programs, setup)?;
        if setup.cycles && self.name == FLOOR {
            command.arg("--cycles");
        }
        if setup.broadcast && self.peer.is_some() {
            command.arg("--broadcast");
        }
        command.args(self.compression(setup));
        if setup.tls {
            let certificate = programs.certificate()?;
            command.arg("--tls-cert").arg(certificate.chain()).arg("--tls-key").arg(certificate.key());
        }
        ServerProcess::start(self.name, command.stderr(Stdio::null()))
    }

    /// The arguments that say how to compress. Peers do not without any. Ours is told to compress
    /// short messages too, as the peers do, and to hold as much for it as many connections with
    /// takeover come to.
    fn compression(&self, setup: Setup) -> Vec<String> {
        let Some(compress) = setup.compress else { return Vec::new() };
        let mode = format!("--compress {compress}");
        let is_program = self.package(setup).is_none() && self.library.is_none();
        let arguments = match (is_program, compress) {
            (false, Compress::Off) => String::new(),
            (false, _) | (true, Compress::Off) => mode,
            (true, _) => format!("{mode} --compress-threshold 0 --compress-memory {}", 1 << 30),
        };
        arguments.split_whitespace().map(str::to_owned).collect()
    }

    fn command(&self, programs: &Programs, setup: Setup) -> anyhow::Result<Command> {
        if let Some(library) = self.library {
            let script = programs.script(library)?;
            let mut command = pinned(SERVER_CORE, &script.program);
            command.arg(&script.file);
            return Ok(command);
        }
        let package = self.package(setup);
        let program = match &package {
            Some(package) => programs.peer(package)?,
            None => self.program.unwrap_or(&programs.framewright),
        };
        let mut command = pinned(SERVER_CORE, program);
        if package.is_none() {
            let listen = if setup.tls { "--tls-listen" } else { "--listen" };
            command.args(["echo", listen, "127.0.0.1:0", "--workers", "1", "--max-message", "134217728"]);
            if self.streams {
                command.arg("--stream");
            }
        }
        Ok(command)
    }
}

/// The servers that are asked for, always with the floor; all, if none is named.
///
/// # Errors
/// If one is named that is not there.
pub(crate) fn choose(asked: &[String]) -> anyhow::Result<Vec<&'static Server>> {
    for name in asked {
        let known = || SERVERS.map(|server| server.name).join(", ");
        ensure!(
            SERVERS.iter().any(|server| server.name == name),
            "there is no server {name}; there are: {}",
            known()
        );
    }
    let wanted = |name: &str| name == FLOOR || asked.is_empty() || asked.iter().any(|asked| asked == name);
    // Both ways of ours go by one name: the second only matters where messages are large.
    let ours = |server: &Server| server.streams && wanted(OURS);
    Ok(SERVERS.iter().filter(|server| wanted(server.name) || ours(server)).collect())
}

/// The processor that servers run on.
const SERVER_CORE: usize = 0;
/// The processor that the load generator runs on.
pub(crate) const GENERATOR_CORE: usize = 1;

/// A command that runs a program on one processor.
pub(crate) fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.to_string()).arg(program);
    command
}

/// Whether servers and generator can have a processor each.
///
/// # Errors
/// If they cannot.
pub(crate) fn check_pinning() -> anyhow::Result<()> {
    let cores = thread::available_parallelism()?.get();
    ensure!(cores > GENERATOR_CORE, "server and generator need a processor each; this machine has {cores}");
    for core in [SERVER_CORE, GENERATOR_CORE] {
        let status = pinned(core, Path::new("true")).stderr(Stdio::null()).status();
        let status =
            status.context("cannot run taskset, which gives each a processor; it is in util-linux")?;
        ensure!(status.success(), "taskset cannot give a process processor {core}");
    }
    Ok(())
}

/// Running servers by name. A server that has ended, or is to be a fresh one, is started when it is
/// asked for.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    running: BTreeMap<(&'static str, Setup), ServerProcess>,
}

impl Fleet {
    /// The process of a server that was started so.
    ///
    /// # Errors
    /// If it has to be started and does not.
    pub(crate) fn get(
        &mut self,
        server: &Server,
        programs: &Programs,
        setup: Setup,
    ) -> anyhow::Result<&ServerProcess> {
        let key = (server.name, setup);
        if self.running.get_mut(&key).is_some_and(|process| !process.is_running()) {
            self.end(server, setup);
        }
        match self.running.entry(key) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(server.start(programs, setup)?)),
        }
    }

    /// Ends a server that was started so, if it runs.
    pub(crate) fn end(&mut self, server: &Server, setup: Setup) {
        self.running.remove(&(server.name, setup));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> anyhow::Result<Vec<&'static str>> {
        let asked: Vec<String> = asked.iter().map(|&name| name.to_owned()).collect();
        Ok(choose(&asked)?.iter().map(|server| server.name).collect())
    }

    #[test]
    fn the_floor_is_always_measured() {
        assert_eq!(names(&["yawc"]).expect("servers"), [FLOOR, "yawc"]);
        assert_eq!(names(&[]).expect("servers").len(), SERVERS.len());
    }

    #[test]
    fn asking_for_ours_asks_for_both_ways_of_it() {
        assert_eq!(names(&[OURS]).expect("servers"), [FLOOR, OURS, OURS_STREAMED]);
        assert!(names(&["uws"]).is_err());
    }

    #[test]
    fn the_floor_has_no_protocol() {
        let addr: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
        assert_eq!(SERVERS[0].url(addr, false, "/ws"), "tcp://127.0.0.1:4000/ws");
        assert_eq!(SERVERS[0].url(addr, true, "/ws"), "tls://127.0.0.1:4000/ws");
        assert_eq!(SERVERS[1].url(addr, false, "/sub"), "ws://127.0.0.1:4000/sub");
        assert_eq!(SERVERS[1].url(addr, true, "/ws"), "wss://127.0.0.1:4000/ws");
    }

    #[test]
    fn a_server_is_told_how_to_compress_where_that_is_measured() {
        let arguments = |name: &str, compress| {
            let server = SERVERS.iter().find(|server| server.name == name).expect("a server");
            server.compression(Setup { compress, ..Setup::default() }).join(" ")
        };
        let ours = "--compress-threshold 0 --compress-memory 1073741824";
        for (name, compress, expected) in [
            ("yawc", None, String::new()),
            ("yawc", Some(Compress::Off), String::new()),
            ("yawc", Some(Compress::Takeover), "--compress takeover".to_owned()),
            (OURS_TOKIO, Some(Compress::Takeover), "--compress takeover".to_owned()),
            (OURS_TOPICS, Some(Compress::Shared), "--compress shared".to_owned()),
            ("ws", Some(Compress::Off), String::new()),
            ("websockets", Some(Compress::Shared), "--compress shared".to_owned()),
            (FLOOR, Some(Compress::Off), String::new()),
            (OURS, None, String::new()),
            (OURS, Some(Compress::Off), "--compress off".to_owned()),
            (OURS, Some(Compress::Shared), format!("--compress shared {ours}")),
        ] {
            assert_eq!(arguments(name, compress), expected, "{name} {compress:?}");
        }
    }

    #[test]
    fn every_server_but_the_program_framewright_has_a_package_among_the_peers() {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers");
        let setups = |server: &Server| {
            let plain = Setup::default();
            let broadcast = Setup { broadcast: server.broadcast, ..plain };
            [plain, Setup { tls: server.tls, ..plain }, Setup { tokio: server.tokio, ..plain }, broadcast]
        };
        for (server, setup) in SERVERS.iter().flat_map(|server| setups(server).map(|setup| (server, setup))) {
            let Some(package) = server.package(setup) else { continue };
            let folder = package.strip_prefix("peer-").expect("a name of a peer");
            assert!(peers.join(folder).join("Cargo.toml").is_file(), "{package}");
        }
    }
}
