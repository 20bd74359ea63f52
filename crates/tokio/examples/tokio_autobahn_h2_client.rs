//! The client's side of the Autobahn testsuite over HTTP/2 (RFC 8441): every case is a stream of one
//! connection to a proxy, behind which `wstest -m fuzzingserver` plays its cases.
//!
//! ```sh
//! cargo run --release -p framewright-tokio --features h2 --example tokio_autobahn_h2_client -- \
//!     ws://127.0.0.1:9001 --through 127.0.0.1:3000 --agent Framewright
//! ```
//!
//! `cargo xtask autobahn client --api tokio-h2` starts the suite and the proxy, runs this, and judges
//! the reports. Which cases pass is the suite's business: a WebSocket that ends in any other way than
//! a clean one is no error here.

#![forbid(unsafe_code)]
// A program for a terminal: printing is what it does.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;

use clap::{Parser, ValueEnum};
use framewright_tokio::h2::{ClientRequest, Connection, HandshakeError};
use framewright_tokio::{ClientWindow, Config, DeflateOffer, Message};
use tokio::net::TcpStream;

/// Sends back what the Autobahn testsuite's fuzzing server sends, case by case.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the suite listens, `ws://HOST:PORT`: it refuses requests that name another port.
    url: String,
    /// Where the proxy listens, for HTTP/2 without TLS.
    #[arg(long, value_name = "HOST:PORT")]
    through: String,
    /// The name of the client in the reports.
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// Which compression to offer.
    #[arg(long, value_name = "MODE", default_value = "shared")]
    compress: Compress,
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
    let Arguments { url, through, agent, compress } = Arguments::parse();
    let tcp = TcpStream::connect(&through).await?;
    tcp.set_nodelay(true)?;
    let (connection, driver) = Connection::open(tcp).await?;
    let driver = tokio::spawn(driver);
    let client = Client { connection, url, compress };
    let count = client.visit("getCaseCount", false).await?;
    let count: usize = count.ok_or("the suite did not say how many cases it has")?.parse()?;
    for case in 1..=count {
        if let Err(error) = client.visit(&format!("runCase?case={case}&agent={agent}"), true).await {
            eprintln!("case {case}: {error}");
        }
        if case % 50 == 0 {
            println!("{case} of {count}");
        }
    }
    client.visit(&format!("updateReports?agent={agent}"), false).await?;
    println!("all {count} cases played, on one connection");
    driver.abort();
    Ok(())
}

struct Client {
    connection: Connection,
    url: String,
    compress: Compress,
}

impl Client {
    /// Opens a WebSocket, and receives until it ends. With `echo` every message is sent back; without
    /// it the last text is returned.
    async fn visit(&self, what: &str, echo: bool) -> Result<Option<String>, HandshakeError> {
        let request: ClientRequest =
            format!("{}/{what}", self.url.trim_end_matches('/')).parse().expect("a URI");
        let request = match offer(self.compress) {
            Some(offer) => request.with_deflate(offer),
            None => request,
        };
        // The longest messages of the suite have 16 MiB.
        let config = Config { max_message: LONGEST, max_frame: LONGEST, ..Config::default() };
        let mut socket = self.connection.connect(&request, config).await?;
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
}

fn offer(compress: Compress) -> Option<DeflateOffer> {
    let takeover =
        DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..DeflateOffer::default() };
    match compress {
        Compress::Off => None,
        Compress::Shared => Some(DeflateOffer {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            ..takeover
        }),
        Compress::Takeover => Some(takeover),
    }
}

const LONGEST: u64 = 64 << 20;
