//! Prints a feed, and connects again whenever it is lost.
//!
//! ```text
//! cargo run -p framewright-tokio --example tokio_feed -- [URI]
//! ```
//!
//! It ends when the server closes the connection with 1000: there is nothing more to come.

// A program for a terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use framewright_tokio::{Backoff, ClientRequest, CloseCode, Config, ConnectOptions, Message, connect_with};
use std::error::Error;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "ws://localhost:5000/feed".to_owned());
    follow(&uri, Backoff::new(), |line| println!("{line}")).await
}

/// Follows a feed over as many connections as it takes.
pub(crate) async fn follow(
    uri: &str,
    mut backoff: Backoff,
    mut show: impl FnMut(&str),
) -> Result<(), Box<dyn Error>> {
    let request = ClientRequest::try_from(uri)?;
    let connection = Config {
        // A feed may be silent for long. Pings tell a server that is gone from one that is quiet.
        keep_alive_interval: Some(Duration::from_secs(20)),
        keep_alive_timeout: Some(Duration::from_secs(20)),
        ..Config::default()
    };
    let options = ConnectOptions { connection: connection.into(), ..ConnectOptions::default() };
    loop {
        let lost = match connect_with(request.clone(), &options).await {
            Ok(connected) => {
                backoff.reset();
                let mut socket = connected.websocket;
                // An error is an end too, of which `closure` has the cause.
                while let Some(Ok(message)) = socket.recv().await {
                    if let Message::Text(line) = message {
                        show(line);
                    }
                }
                match socket.closure() {
                    Some(closure) if closure.code() == CloseCode::NORMAL => return Ok(()),
                    closure => format!("lost: {closure:?}"),
                }
            }
            // It would be the same the next time.
            Err(error) if error.is_permanent() => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        let delay = backoff.next_delay();
        eprintln!("{lost}; connecting again in {} ms", delay.as_millis());
        tokio::time::sleep(delay).await;
    }
}
