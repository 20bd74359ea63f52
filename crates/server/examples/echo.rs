//! Sends every message back.
//!
//! ```text
//! cargo run -p framewright-server --example echo -- [ADDR:PORT]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{Decision, Handler, Incoming, Message, Server, Socket};

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

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let server = Server::builder().route("/ws", Echo).listen(addr).build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("connect to ws://{addr}/ws");
    server.run()
}
