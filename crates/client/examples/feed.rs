//! Prints a feed, and connects again whenever it is lost.
//!
//! ```text
//! cargo run -p framewright-client --example feed -- [URI]
//! ```
//!
//! It ends when the server closes the connection with 1000: there is nothing more to come.

// A program for a terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use framewright_client::blocking::Client;
use framewright_client::{Backoff, ClientError, ClientRequest, CloseCode, Config, Message, Options};
use std::thread;
use std::time::Duration;

fn main() -> Result<(), ClientError> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "ws://localhost:5000/feed".to_owned());
    let request = ClientRequest::try_from(uri.as_str())?;
    let options = Options {
        connection: Config {
            // A feed may be silent for long. Pings tell a server that is gone from one that is
            // quiet.
            keep_alive_interval: Some(Duration::from_secs(20)),
            keep_alive_timeout: Some(Duration::from_secs(20)),
            ..Config::default()
        },
        ..Options::default()
    };
    let mut backoff = Backoff::new();
    loop {
        match follow(&request, &options, &mut backoff) {
            Ok(()) => return Ok(()),
            // It would be the same the next time.
            Err(error) if error.is_permanent() => return Err(error),
            Err(error) => {
                let delay = backoff.next_delay();
                eprintln!("{error}; connecting again in {} ms", delay.as_millis());
                thread::sleep(delay);
            }
        }
    }
}

/// One connection, until it ends. `Ok` if the server has closed it with 1000.
fn follow(request: &ClientRequest, options: &Options, backoff: &mut Backoff) -> Result<(), ClientError> {
    let mut client = Client::connect_with(request.clone(), options)?;
    backoff.reset();
    while let Some(message) = client.receive()? {
        if let Message::Text(line) = message {
            println!("{line}");
        }
    }
    match client.closure() {
        Some(closure) if closure.code() == CloseCode::NORMAL => Ok(()),
        // Closed for another reason: the server restarts, for instance.
        _ => Err(ClientError::Io(std::io::ErrorKind::ConnectionReset.into())),
    }
}
