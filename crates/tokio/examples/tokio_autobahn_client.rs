//! The client's side of the Autobahn testsuite: `wstest -m fuzzingserver` plays its cases with this
//! program, which sends back every message, and then asks the suite for its reports.
//!
//! ```sh
//! cargo run --release -p framewright-tokio --example tokio_autobahn_client -- ws://127.0.0.1:9001 --agent Framewright
//! ```
//!
//! `cargo xtask autobahn client --api tokio` starts the suite, runs this in all its forms, and
//! judges the reports. Which cases pass is the suite's business: a connection that fails, or ends in
//! any other way than a clean one, is no error here.

#![forbid(unsafe_code)]
// A program for a terminal: printing is what it does.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use framewright_tokio::{
    ClientRequest, ClientTls, ClientWindow, Config, ConnectError, ConnectOptions, DeflateOffer, Message,
    connect_with,
};

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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { url, agent, compress, ca } = Arguments::parse();
    let mut options = options(compress);
    if let Some(ca) = ca {
        options.tls = ClientTls::builder().only_ca_file(ca).build()?;
    }
    let url = url.trim_end_matches('/');
    let count = visit(&format!("{url}/getCaseCount"), &options, false).await?;
    let count: usize = count.ok_or("the suite did not say how many cases it has")?.parse()?;
    for case in 1..=count {
        if let Err(error) = visit(&format!("{url}/runCase?case={case}&agent={agent}"), &options, true).await {
            eprintln!("case {case}: {error}");
        }
        if case % 50 == 0 {
            println!("{case} of {count}");
        }
    }
    visit(&format!("{url}/updateReports?agent={agent}"), &options, false).await?;
    println!("all {count} cases played");
    Ok(())
}

fn options(compress: Compress) -> ConnectOptions {
    let takeover =
        DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..DeflateOffer::default() };
    let shared =
        DeflateOffer { server_no_context_takeover: true, client_no_context_takeover: true, ..takeover };
    // The longest messages of the suite have 16 MiB.
    let connection = Config { max_message: LONGEST, max_frame: LONGEST, ..Config::default() };
    ConnectOptions {
        connection: connection.into(),
        compression: match compress {
            Compress::Off => Vec::new(),
            Compress::Shared => vec![shared],
            Compress::Takeover => vec![takeover],
        },
        ..ConnectOptions::default()
    }
}

const LONGEST: u64 = 64 << 20;

/// Connects, and receives until the connection ends. With `echo` every message is sent back; without
/// it the last text is returned.
async fn visit(url: &str, options: &ConnectOptions, echo: bool) -> Result<Option<String>, ConnectError> {
    let request = ClientRequest::try_from(url).map_err(ConnectError::Uri)?;
    let mut socket = connect_with(request, options).await?.websocket;
    let (receiver, sender) = socket.parts();
    let mut last = None;
    while let Some(Ok(message)) = receiver.recv().await {
        if echo {
            // Refused only where the connection is closing.
            let _ = sender.feed(message).await;
        } else if let Message::Text(text) = message {
            last = Some(text.to_owned());
        }
    }
    Ok(last)
}
