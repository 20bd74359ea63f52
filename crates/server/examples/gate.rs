//! Admits clients with a token, which another thread looks up: `/ws?token=TOKEN`, or the cookie
//! `token`.
//!
//! ```text
//! cargo run -p framewright-server --example gate -- [ADDR:PORT]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{
    Decision, DecisionThreads, Handler, Incoming, Message, Response, Server, Socket, StatusCode,
};

struct Gate {
    lookups: DecisionThreads,
}

struct User {
    name: String,
}

impl Handler for Gate {
    type State = User;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<User> {
        let token = request.query_value("token").map(Into::into);
        let Some(token) = token.or_else(|| request.cookie("token")) else {
            return Response::text(StatusCode::UNAUTHORIZED, "a token is needed").into();
        };
        request.decide_later(&self.lookups, move || find_user(&token))
    }

    fn on_open(&self, socket: &mut Socket<'_>, user: &mut User) {
        let _ = socket.send_text(&format!("welcome, {}", user.name));
    }

    fn on_message(&self, socket: &mut Socket<'_>, user: &mut User, message: Message<'_>) {
        if let Message::Text(text) = message {
            let _ = socket.send_text(&format!("{}: {text}", user.name));
        }
    }
}

/// Stands in for a database. It may take its time: the event loops do not wait for it.
fn find_user(token: &str) -> Result<User, Response> {
    match token.strip_prefix("secret-of-") {
        Some(name) => Ok(User { name: name.to_owned() }),
        None => Err(Response::text(StatusCode::FORBIDDEN, "the token is not valid")),
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let gate = Gate { lookups: DecisionThreads::new(4)? };
    let server = Server::builder().route("/ws", gate).listen(addr).build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("connect to ws://{addr}/ws?token=secret-of-ann");
    server.run()
}
