//! Sends a number to all connections, again and again, by one timer of the server.
//!
//! ```text
//! cargo run -p framewright-server --example ticker -- [ADDR:PORT] [MILLISECONDS]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{Decision, Handler, Incoming, Server};
use std::env;
use std::error::Error;
use std::time::Duration;

struct Ticks;

impl Handler for Ticks {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let interval = env::args().nth(2).map_or(Ok(1000), |argument| argument.parse())?;

    let mut ticks = 0_u64;
    let server = Server::builder().route("/ticks", Ticks).listen(addr);
    let server = server.every(Duration::from_millis(interval), move |server| {
        ticks += 1;
        let message = ticks.to_string();
        let _ = server.broadcast(message.as_str()); // refused only while 16 MiB wait to be sent
    });

    let server = server.build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("connect to ws://{addr}/ticks, for instance with the example `feed` of the client");
    server.run()?;
    Ok(())
}
