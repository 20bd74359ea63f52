//! An echo server that stops gracefully on SIGTERM, SIGINT (Ctrl-C) or SIGHUP. It accepts no new
//! connections, sends a Close frame with 1001 to all peers, and waits for their answers, for at
//! most ten seconds.
//!
//! ```text
//! cargo run -p framewright-server --example graceful
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
        let _ = socket.send(message); // refused only when the connection is closing
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder().route("/ws", Echo).listen("127.0.0.1:0").build()?;

    // Before its address is known, so that no signal comes too early.
    let handle = server.handle();
    ctrlc::set_handler(move || handle.stop(Duration::from_secs(10)))?;
    println!("listening on {}", server.local_addrs()[0]);

    server.run()?; // returns when all connections have ended
    println!("stopped");
    Ok(())
}
