//! Serves a page that connects to its own server, and a folder of files beside it.
//!
//! ```text
//! cargo run -p framewright-server --example page -- [ADDR:PORT] [FOLDER]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{Decision, Handler, Incoming, Message, Page, Server, Socket};
use std::env;

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

/// A real page lies in a file of its own and is included by `include_str`.
const INDEX: &str = r#"<!doctype html>
<title>Echo</title>
<input id="line" placeholder="say something"> <ul id="log"></ul>
<script>
  const socket = new WebSocket(`ws://${location.host}/ws`);
  const show = text => log.append(Object.assign(document.createElement("li"), { textContent: text }));
  socket.onmessage = event => show(event.data);
  socket.onclose = event => show(`closed with ${event.code}`);
  line.onchange = () => { socket.send(line.value); line.value = ""; };
</script>
"#;

fn main() -> std::io::Result<()> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let mut server = Server::builder().page("/", Page::html(INDEX)).route("/ws", Echo).listen(addr);
    if let Some(folder) = env::args().nth(2) {
        server = server.files("/files", folder);
    }
    let server = server.build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("open http://{addr}/ in a browser");
    server.run()
}
