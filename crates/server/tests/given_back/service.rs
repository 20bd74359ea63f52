//! The server's side: a process that serves until its input ends, and tells what it holds.

use framewright_server::{
    Chunk, Closed, Config, Decision, DeflatePolicy, Delivery, Handle, Handler, Incoming, Message, Options,
    Server, ServerHandle, ServerLimits, Socket,
};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Set for the process that is a server, to its settings: there are none.
pub(crate) const IS_SERVER: &str = "FRAMEWRIGHT_TEST_GIVEN_BACK";

/// How many event loops the server has.
const WORKERS: usize = 2;

/// No test of its own: started by the tests as a process.
#[test]
#[ignore = "the server that the other tests start"]
fn server_process() {
    if std::env::var_os(IS_SERVER).is_some() {
        serve().expect("the server runs");
    }
}

/// Serves `/whole`, `/chunks` and `/takeover`, which send back what comes, and to whose connections
/// `push` sends; and `/talk`, which only sends back what comes.
fn serve() -> io::Result<()> {
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    let handles = Handles::default();
    // The addresses are counted: that costs memory too.
    let limits = ServerLimits { max_connections_per_ip: Some(100_000), ..ServerLimits::default() };
    let with = |delivery, compression| Options {
        connection: Config { delivery, ..Config::default() },
        compression: Some(compression),
        ..Options::default()
    };
    let echo = || Echo { handles: Some(handles.clone()) };
    let shared = DeflatePolicy::default();
    let server = Server::builder()
        .limits(limits)
        .workers(WORKERS)
        .route_with("/whole", with(Delivery::Whole, shared), echo())
        .route_with("/chunks", with(Delivery::Chunks, shared), echo())
        .route_with("/takeover", with(Delivery::Whole, shared.with_takeover()), echo())
        .route_with("/talk", with(Delivery::Whole, shared.with_takeover()), Echo { handles: None })
        .listen("127.0.0.1:0")
        .build()?;
    let (addr, handle) = (server.local_addrs()[0].clone(), server.handle());
    let serving = thread::spawn(move || server.run());
    say(&addr.to_string())?;
    for line in io::stdin().lock().lines() {
        let number = obey(&line?, &handle, &handles)?;
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

fn obey(command: &str, server: &ServerHandle, handles: &Handles) -> io::Result<usize> {
    match command.split_once(' ') {
        None if command == "connections" => Ok(server.stats().connections),
        None if command == "live" => Ok(dhat::HeapStats::get().curr_bytes),
        None if command == "peak" => Ok(dhat::HeapStats::get().max_bytes),
        // Sends so many messages of 1,000 bytes to each connection. Returns how many were taken.
        Some(("push", count)) => {
            let (count, message) = (count.parse().map_err(io::Error::other)?, vec![0x5a; 1000]);
            let handles = handles.0.lock().unwrap_or_else(PoisonError::into_inner);
            let sends = handles.values().flat_map(|handle| (0..count).map(move |_: usize| handle));
            Ok(sends.filter(|handle| handle.send_binary(message.clone()).is_ok()).count())
        }
        _ => Err(io::Error::other(format!("what is {command}?"))),
    }
}

/// Those of all connections, by their numbers.
#[derive(Clone, Default)]
struct Handles(Arc<Mutex<HashMap<u64, Handle>>>);

/// Sends everything back.
struct Echo {
    handles: Option<Handles>,
}

impl Handler for Echo {
    /// The connection's number, once it is open.
    type State = u64;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<u64> {
        request.accept(0)
    }

    fn on_open(&self, socket: &mut Socket<'_>, state: &mut u64) {
        *state = socket.id();
        if let Some(Handles(handles)) = &self.handles {
            handles.lock().unwrap_or_else(PoisonError::into_inner).insert(socket.id(), socket.handle());
        }
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut u64, message: Message<'_>) {
        let _ = socket.send(message); // refused while closing
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut u64, chunk: Chunk<'_>) {
        let _ = socket.send_fragment(chunk.data, chunk.last); // refused while closing
    }

    fn on_close(&self, _: &Closed<'_>, id: &mut u64) {
        let Some(Handles(handles)) = &self.handles else { return };
        let mut handles = handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.remove(id);
        // What this application keeps is not what is measured.
        handles.shrink_to_fit();
    }
}
