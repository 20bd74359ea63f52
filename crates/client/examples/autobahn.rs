//! The client's side of the Autobahn testsuite: `wstest -m fuzzingserver` plays its cases with this
//! program, which sends back every message, and then asks the suite for its reports.
//!
//! ```sh
//! cargo run --release -p framewright-client --example autobahn -- ws://127.0.0.1:9001 --agent Framewright
//! ```
//!
//! `cargo xtask autobahn client` starts the suite, runs this in all its forms, and judges the
//! reports. Which cases pass is the suite's business: a connection that fails, or ends in any other
//! way than a clean one, is no error here.

#![forbid(unsafe_code)]
// A program for a terminal: printing is what it does.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use framewright_client::event_loop::{self, Buffers, Event, Turn};
use framewright_client::{
    ClientRequest, ClientTls, ClientWindow, ConnectError, DeflateOffer, Message, Options, blocking,
};
use mio::{Events, Poll, Token, Waker};

/// Sends back what the Autobahn testsuite's fuzzing server sends, case by case.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the suite listens: `ws://HOST:PORT` or `wss://HOST:PORT`.
    url: String,
    /// The name of the client in the reports.
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// Which compression to offer.
    #[arg(long, value_name = "MODE", default_value = "shared")]
    compress: Compress,
    /// Use the client that lives in its caller's event loop, instead of the blocking one.
    #[arg(long)]
    mio: bool,
    /// Whose certificates to trust, for `wss:`, instead of the platform's authorities.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// The offers of permessage-deflate. The cases in which the suite wants a certain window are for
/// clients that offer `client_max_window_bits`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compress {
    /// None.
    Off,
    /// Without context takeover by either side.
    Shared,
    /// With context takeover.
    Takeover,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { url, agent, compress, mio, ca } = arguments;
    let url = url.trim_end_matches('/');
    let event_loop = if *mio { Some(EventLoop::new()?) } else { None };
    let mut options = options(*compress);
    if let Some(ca) = ca {
        options.tls = ClientTls::builder().only_ca_file(ca).build()?;
    }
    let mut client = Client { options, event_loop };

    let count = client.visit(&format!("{url}/getCaseCount"), false)?;
    let count: usize = count.ok_or("the suite did not say how many cases it has")?.parse()?;
    for case in 1..=count {
        if let Err(error) = client.visit(&format!("{url}/runCase?case={case}&agent={agent}"), true) {
            eprintln!("case {case}: {error}");
        }
        if case % 50 == 0 {
            println!("{case} of {count}");
        }
    }
    client.visit(&format!("{url}/updateReports?agent={agent}"), false)?;
    println!("all {count} cases played");
    Ok(())
}

fn options(compress: Compress) -> Options {
    let takeover =
        DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..DeflateOffer::default() };
    let shared =
        DeflateOffer { server_no_context_takeover: true, client_no_context_takeover: true, ..takeover };
    let mut options = Options {
        compression: match compress {
            Compress::Off => Vec::new(),
            Compress::Shared => vec![shared],
            Compress::Takeover => vec![takeover],
        },
        ..Options::default()
    };
    // The longest messages of the suite have 16 MiB.
    options.connection.max_message = LONGEST;
    options.connection.max_frame = LONGEST;
    options
}

const LONGEST: u64 = 64 << 20;

/// Our client, with either of its APIs.
struct Client {
    options: Options,
    /// `None`: the blocking one.
    event_loop: Option<EventLoop>,
}

impl Client {
    /// Connects, and receives until the connection ends. With `echo` every message is sent back;
    /// without it the last text is returned.
    fn visit(&mut self, url: &str, echo: bool) -> Result<Option<String>, ConnectError> {
        let request = ClientRequest::try_from(url).map_err(ConnectError::Uri)?;
        match &mut self.event_loop {
            None => visit(request, &self.options, echo),
            Some(event_loop) => event_loop.visit(request, &self.options, echo),
        }
    }
}

/// [`Client::visit`] with calls that wait.
fn visit(request: ClientRequest, options: &Options, echo: bool) -> Result<Option<String>, ConnectError> {
    let mut client = blocking::Client::connect_with(request, options)?;
    let (sender, receiver) = client.halves();
    let mut last = None;
    while let Ok(Some(message)) = receiver.receive() {
        if echo {
            // Refused only where the connection is closing.
            let _ = sender.send(message);
        } else if let Message::Text(text) = message {
            last = Some(text.to_owned());
        }
    }
    Ok(last)
}

/// An event loop, with one client at a time.
struct EventLoop {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    buffers: Buffers,
}

const CLIENT: Token = Token(0);
const WAKER: Token = Token(1);

impl EventLoop {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self { poll, events: Events::with_capacity(16), waker, buffers: Buffers::new() })
    }

    /// [`Client::visit`] in this loop.
    fn visit(
        &mut self,
        request: ClientRequest,
        options: &Options,
        echo: bool,
    ) -> Result<Option<String>, ConnectError> {
        let registry = self.poll.registry().try_clone().map_err(ConnectError::Io)?;
        let mut client = event_loop::Client::connect(request, options, &registry, CLIENT, &self.waker)?;
        let mut last = None;
        loop {
            match self.poll.poll(&mut self.events, client.timeout(Instant::now())) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ConnectError::Io(error)),
            }
            for event in self.events.iter().filter(|event| event.token() == CLIENT) {
                client.note(event);
            }
            let turn =
                client.turn(Instant::now(), &registry, &mut self.buffers, |socket, event| match event {
                    // Refused only where the connection is closing: nothing is received while too
                    // much waits to be sent.
                    Event::Message(message) if echo => drop(socket.send(message)),
                    Event::Message(Message::Text(text)) => last = Some(text.to_owned()),
                    _ => {}
                })?;
            if turn == Turn::Done {
                return Ok(last);
            }
        }
    }
}
