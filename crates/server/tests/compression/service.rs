//! The server's side: a process that serves until its input ends, and tells what it holds.

use framewright_server::{
    Chunk, Config, Decision, DeflatePolicy, Delivery, Handler, Incoming, Message, Options, Server,
    ServerHandle, ServerLimits, Socket,
};
use std::io::{self, BufRead, Write};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// Set for the process that is a server, to its settings: `key=value` each, with a blank between
/// two.
pub(crate) const IS_SERVER: &str = "FRAMEWRIGHT_TEST_COMPRESSION";

/// No test of its own: started by the tests as a process.
#[test]
#[ignore = "the server that the other tests start"]
fn server_process() {
    if let Ok(settings) = std::env::var(IS_SERVER) {
        serve(&settings).expect("the server runs");
    }
}

/// Serves `/off`, `/shared` and `/takeover`, which send back what comes, and `/sink`, which sends
/// back how much came.
fn serve(settings: &str) -> io::Result<()> {
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    let value = |name: &str| {
        let values = settings.split(' ').filter_map(|setting| setting.split_once('='));
        let value = values.filter(|(key, _)| *key == name).map(|(_, value)| value).next();
        value.map(|value| value.parse::<usize>().expect("a number"))
    };
    let limits = ServerLimits {
        handshake_timeout: Duration::from_secs(3600),
        compression_memory: value("memory").unwrap_or(64 << 20),
        ..ServerLimits::default()
    };
    let connection = Config {
        max_message: value("max_message").unwrap_or(16 << 20) as u64,
        delivery: if value("chunks").is_some() { Delivery::Chunks } else { Delivery::Whole },
        ..Config::default()
    };
    let shared = DeflatePolicy::default();
    let with = |compression| Options { connection: connection.clone(), compression, ..Options::default() };
    let watch = Arc::new(Watch::default());
    let echo = || Echo { sink: false, watch: Arc::clone(&watch) };
    let server = Server::builder()
        .limits(limits)
        .workers(value("workers").unwrap_or(1))
        .route_with("/off", with(None), echo())
        .route_with("/shared", with(Some(shared)), echo())
        .route_with("/takeover", with(Some(shared.with_takeover())), echo())
        .route_with("/sink", with(Some(shared)), Echo { sink: true, ..echo() })
        .listen("127.0.0.1:0")
        .build()?;
    let (addr, handle) = (server.local_addrs()[0].clone(), server.handle());
    let _ = watch.server.set(handle.clone());
    let serving = thread::spawn(move || server.run());
    say(&addr.to_string())?;
    for line in io::stdin().lock().lines() {
        let stats = handle.stats();
        let number = match &*line? {
            "connections" => stats.connections,
            "held" => stats.compression.held,
            "most held" => watch.most.load(Relaxed).max(stats.compression.held),
            "live" => dhat::HeapStats::get().curr_bytes,
            "peak" => dhat::HeapStats::get().max_bytes,
            command => return Err(io::Error::other(format!("what is {command}?"))),
        };
        say(&number.to_string())?;
    }
    handle.stop(Duration::ZERO);
    let ended = serving.join().unwrap_or_else(|_| Err(io::Error::other("the event loop panicked")));
    ended.map(|()| process::exit(0))
}

/// A line for whoever started this process, told apart from those of the test harness.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "\n@ {line}")?;
    out.flush()
}

/// The most that the server held for compression, looked at in each callback.
#[derive(Default)]
struct Watch {
    server: OnceLock<ServerHandle>,
    most: AtomicUsize,
}

impl Watch {
    fn look(&self) {
        let held = self.server.get().map_or(0, |server| server.stats().compression.held);
        self.most.fetch_max(held, Relaxed);
    }
}

struct Echo {
    /// Says only how much it got.
    sink: bool,
    watch: Arc<Watch>,
}

impl Handler for Echo {
    type State = usize;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<usize> {
        self.watch.look();
        request.accept(0)
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut usize, message: Message<'_>) {
        self.watch.look();
        // Refused while closing.
        let _ = if self.sink { socket.send_text(&message.len().to_string()) } else { socket.send(message) };
        self.watch.look();
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, state: &mut usize, chunk: Chunk<'_>) {
        self.watch.look();
        *state += chunk.data.len();
        if !self.sink {
            let _ = socket.send_fragment(chunk.data, chunk.last); // refused while closing
        } else if chunk.last {
            let len = std::mem::take(state);
            let _ = socket.send_text(&len.to_string()); // refused while closing
        }
    }
}
