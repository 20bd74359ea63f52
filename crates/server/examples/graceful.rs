//! An echo server that stops gracefully on SIGTERM, SIGINT (Ctrl-C) or SIGHUP. It accepts no new
//! connections, sends a Close frame with 1001 to all peers, and waits for their answers, for at
//! most ten seconds.
//!
//! ```text
//! cargo run -p framewright-server --example graceful -- [ADDR:PORT]
//! kill -TERM PID
//! ```

#![allow(clippy::print_stdout, reason = "it talks to whoever has started it")]

use framewright_server::{Decision, Handler, Incoming, Message, Server, Socket};
use std::error::Error;
use std::time::Duration;

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let _ = socket.send(message); // refused only while closing: no message comes while it is full
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let server = Server::builder().route("/ws", Echo).listen(addr).build()?;

    // Before its address is known, so that no signal comes too early.
    let handle = server.handle();
    ctrlc::set_handler(move || handle.stop(Duration::from_secs(10)))?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("connect to ws://{addr}/ws, and end this program with Ctrl-C");

    server.run()?; // returns when all connections have ended
    println!("stopped");
    Ok(())
}
