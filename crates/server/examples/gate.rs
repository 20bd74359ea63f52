//! Admits clients with a token, which another thread looks up: `/ws?token=TOKEN`, or the cookie
//! `token`.
//!
//! ```text
//! cargo run -p framewright-server --example gate -- [ADDR:PORT]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{
    Decision, Deferred, Handler, Incoming, Message, Response, Server, Socket, StatusCode,
};
use std::borrow::Cow;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// The most requests that wait for the lookup. Further ones are answered with 503.
const WAITING: usize = 1000;

struct Lookup {
    token: String,
    deferred: Deferred<User>,
}

struct User {
    name: String,
}

struct Gate {
    lookups: SyncSender<Lookup>,
}

impl Handler for Gate {
    type State = User;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<User> {
        if !request.is_websocket() {
            return request.not_a_websocket_request().into();
        }
        let token = request.query_value("token").map(Cow::into_owned);
        let Some(token) = token.or_else(|| request.cookie("token")) else {
            return Response::text(StatusCode::UNAUTHORIZED, "a token is needed").into();
        };
        let (decision, deferred) = Decision::defer();
        match self.lookups.try_send(Lookup { token, deferred }) {
            Ok(()) => decision,
            Err(_) => Response::text(StatusCode::SERVICE_UNAVAILABLE, "try again later").into(),
        }
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

/// Stands in for a database.
fn find_user(token: &str) -> Option<User> {
    let name = token.strip_prefix("secret-of-")?;
    Some(User { name: name.to_owned() })
}

fn main() -> std::io::Result<()> {
    let (lookups, queue) = sync_channel::<Lookup>(WAITING);
    thread::spawn(move || {
        for Lookup { token, deferred } in queue {
            if !deferred.is_waiting() {
                continue; // the client has left, or its time is up
            }
            deferred.decide(match find_user(&token) {
                Some(user) => Decision::accept(user),
                None => Response::text(StatusCode::FORBIDDEN, "the token is not valid").into(),
            });
        }
    });

    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let server = Server::builder().route("/ws", Gate { lookups }).listen(addr).build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("connect to ws://{addr}/ws?token=secret-of-ann");
    server.run()
}
