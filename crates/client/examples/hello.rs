//! Connects, sends a line, prints the answer, and closes.
//!
//! ```text
//! cargo run -p framewright-client --example hello -- [ws://HOST:PORT/ | wss://HOST/]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_client::blocking::Client;
use framewright_client::{ClientError, CloseCode};

fn main() -> Result<(), ClientError> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "ws://localhost:5000/ws".to_owned());
    let mut client = Client::connect(&uri)?;
    client.send_text("hello")?;
    if let Some(message) = client.receive()? {
        println!("{message:?}"); // borrowed from the receive buffer, not copied
    }
    let closure = client.close_and_wait(CloseCode::NORMAL, "done")?;
    println!("closed with {}, clean: {}", closure.code(), closure.clean);
    Ok(())
}
