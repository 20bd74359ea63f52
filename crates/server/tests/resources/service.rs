//! The server's side: a process that serves until its input ends, and does what it is told line by
//! line.

use framewright_server::{
    Decision, Endpoint, Handle, Handler, Incoming, MemoryLimit, Message, Prepared, Server, ServerHandle,
    ServerLimits, Socket,
};
use std::io::{self, BufRead, Write};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Set for the process that is a server, to its settings: how many bytes all connections may hold,
/// if not the default, or `tls` to serve with TLS.
pub(crate) const IS_SERVER: &str = "FRAMEWRIGHT_TEST_SERVER";

/// No test of its own: started by the tests as a process.
#[test]
#[ignore = "the server that the other tests start"]
fn server_process() {
    if std::env::var_os(IS_SERVER).is_some() {
        serve().expect("the server runs");
    }
}

/// Serves `/echo`, `/sink`, which answers nothing, and `/push`, whose peers get what `push` is told
/// to send.
fn serve() -> io::Result<()> {
    let pushed = Arc::new(Mutex::new(Vec::new()));
    let settings = std::env::var(IS_SERVER).unwrap_or_default();
    let memory = settings.parse().map_or(MemoryLimit::Auto, MemoryLimit::Bytes);
    let limits =
        ServerLimits { handshake_timeout: Duration::from_secs(3600), memory, ..ServerLimits::default() };
    let server = Server::builder()
        .limits(limits)
        .route("/echo", Echo)
        .route("/sink", Sink)
        .route("/push", Push(Arc::clone(&pushed)))
        .endpoint(endpoint(settings == "tls"))
        .build()?;
    let (addr, handle) = (server.local_addrs()[0].clone(), server.handle());
    let serving = thread::spawn(move || server.run());
    say(&addr.to_string())?;
    for line in io::stdin().lock().lines() {
        say(&obey(&line?, &handle, &pushed)?)?;
    }
    handle.stop(Duration::ZERO);
    let ended = serving.join().unwrap_or_else(|_| Err(io::Error::other("the event loop panicked")));
    ended.map(|()| process::exit(0))
}

fn endpoint(with_tls: bool) -> Endpoint {
    let endpoint = Endpoint::tcp("127.0.0.1:0");
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    if with_tls {
        return endpoint.with_tls(crate::tls::settings());
    }
    assert!(!with_tls, "TLS needs a provider");
    endpoint
}

/// A line for whoever started this process, told apart from those of the test harness.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "\n@ {line}")?;
    out.flush()
}

fn obey(command: &str, handle: &ServerHandle, pushed: &Mutex<Vec<Handle>>) -> io::Result<String> {
    let (word, number) = command.split_once(' ').unwrap_or((command, "0"));
    let number: usize = number.parse().map_err(io::Error::other)?;
    match word {
        "connections" => Ok(handle.connection_count().to_string()),
        // So many descriptors more than there are now.
        "limit" => {
            let open = std::fs::read_dir("/proc/self/fd")?.count();
            let (_, hard) = rlimit::Resource::NOFILE.get()?;
            rlimit::Resource::NOFILE.set((open + number) as u64, hard)?;
            Ok(String::new())
        }
        // Those who have not gone by then are cut.
        "stop" => {
            handle.stop(Duration::from_secs(number as u64));
            Ok(String::new())
        }
        // Sends one message of so many octets to all of `/push`.
        "push" => {
            let message = Prepared::new(Message::Binary(&vec![0x5a; number]));
            let handles = pushed.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = handles.iter().filter(|handle| handle.send_prepared(&message).is_ok()).count();
            Ok(sent.to_string())
        }
        _ => Err(io::Error::other(format!("what is {command}?"))),
    }
}

fn accept(request: &Incoming<'_>) -> Decision<()> {
    if request.is_websocket() { Decision::accept(()) } else { request.not_a_websocket_request().into() }
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        accept(request)
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let _ = socket.send(message); // refused while closing
    }
}

/// Says only how much it got.
struct Sink;

impl Handler for Sink {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        accept(request)
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let _ = socket.send_text(&message.len().to_string()); // refused while closing
    }
}

struct Push(Arc<Mutex<Vec<Handle>>>);

impl Handler for Push {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        accept(request)
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(socket.handle());
    }
}
