//! The test's side of a server process: started, asked, measured from outside, ended.

use crate::common::{Client, wait_until};
use crate::service::IS_SERVER;
use framewright_testkit::programs::process::{Running, found_in};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One server at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// How long the server may take to start, or to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A server in a process of its own. It ends when this is dropped, since its input ends then.
pub(crate) struct ServerProcess {
    process: Running,
    input: Option<ChildStdin>,
    said: Receiver<String>,
    addr: SocketAddr,
    _alone: MutexGuard<'static, ()>,
}

impl ServerProcess {
    /// Starts one. Both processes may have as many descriptors as the system lets them.
    pub(crate) fn start() -> ServerProcess {
        ServerProcess::start_with("")
    }

    /// Starts one with these settings, which the service understands.
    pub(crate) fn start_with(settings: &str) -> ServerProcess {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["service::server_process", "--exact", "--ignored", "--nocapture"])
            .env(IS_SERVER, settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Running::start("the server", &mut command).expect("this program starts again");
        let input = process.0.stdin.take();
        let output = process.0.stdout.take().expect("a pipe");
        let said = found_in(output, |line| Some(line.strip_prefix("@ ")?.trim_end().to_owned()));
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = ServerProcess { process, input, said, addr, _alone: alone };
        server.addr = server.hear().parse().expect("an address");
        server
    }

    /// The next line that the server says.
    fn hear(&mut self) -> String {
        self.said.recv_timeout(ANSWER_DEADLINE).expect("the server answers")
    }

    /// Tells the server to do this, and returns what it says.
    pub(crate) fn tell(&mut self, command: &str) -> String {
        writeln!(self.input.as_mut().expect("not ended"), "{command}").expect("the server listens");
        self.hear()
    }

    /// How many connections the server has, in all phases.
    pub(crate) fn connections(&mut self) -> usize {
        self.tell("connections").parse().expect("a number")
    }

    pub(crate) fn wait_for_connections(&mut self, count: usize) {
        wait_until("so many connections", || self.connections() == count);
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn open(&self, path: &str) -> Client {
        let mut client = self.connect();
        client.open(path);
        client
    }

    /// Octets of the process's own memory: not of its program, and nothing of the kernel's.
    pub(crate) fn memory(&self) -> usize {
        self.status("RssAnon")
    }

    /// The most octets of memory that the process has had, its program included.
    pub(crate) fn peak(&self) -> usize {
        self.status("VmHWM")
    }

    /// What `/proc` says about the process, in octets.
    fn status(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kibibytes.expect("a field in kB") * 1024
    }

    /// How many descriptors the process has.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.0.id())).expect("/proc").count()
    }

    /// How much of the processor's time the process has used, in hundredths of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).expect("/proc");
        // The second field is a name in parentheses; user and system time are the 14th and 15th.
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        let ended = self.process.0.wait().expect("a child");
        if !std::thread::panicking() {
            assert!(ended.success(), "the server has ended with {ended}");
        }
    }
}
