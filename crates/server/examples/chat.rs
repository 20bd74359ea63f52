//! A chat with rooms: `/room/NAME?as=NICKNAME`. A new member of a room gets its last fifty lines. A
//! room that all members have left is forgotten.
//!
//! ```text
//! cargo run -p framewright-server --example chat -- [ADDR:PORT]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{
    CloseCode, Closed, Decision, Handle, Handler, Incoming, Message, Prepared, Response, Server, Socket,
    StatusCode,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// The lines that a room remembers.
const HISTORY: usize = 50;

#[derive(Default)]
struct Chat {
    rooms: Mutex<HashMap<String, Room>>,
}

#[derive(Default)]
struct Room {
    members: Vec<Handle>,
    history: VecDeque<Prepared>,
}

/// The state of one connection.
struct Member {
    room: String,
    nickname: String,
}

impl Chat {
    /// Calls `act` with a room while no other thread uses the rooms.
    fn with_room<T>(&self, name: &str, act: impl FnOnce(&mut Room) -> T) -> T {
        // A panic in a callback ends one connection; the rooms stay usable.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rooms.entry(name.to_owned()).or_default();
        let result = act(room);
        if room.members.is_empty() {
            rooms.remove(name);
        }
        result
    }
}

impl Room {
    /// Sends a line to all members. It is encoded once, and the members share it.
    fn post(&mut self, line: &str) {
        let line = Prepared::new(Message::Text(line));
        for member in &self.members {
            if member.send_prepared(&line).is_err() {
                // Its queue is full because it does not read: a Close frame would not reach it. Or
                // it has just left.
                let _ = member.abort();
            }
        }
        self.history.push_back(line);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }
}

impl Handler for Chat {
    type State = Member;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Member> {
        let room = request.param("room").unwrap_or_default().into_owned();
        match request.query_value("as") {
            Some(nickname) if !nickname.is_empty() => {
                request.accept(Member { room, nickname: nickname.into_owned() })
            }
            _ => Decision::respond(Response::text(StatusCode::BAD_REQUEST, "say who you are: ?as=NICKNAME")),
        }
    }

    fn on_open(&self, socket: &mut Socket<'_>, member: &mut Member) {
        self.with_room(&member.room, |room| {
            for line in &room.history {
                let _ = socket.send_prepared(line);
            }
            room.members.push(socket.handle());
            room.post(&format!("{} has joined", member.nickname));
        });
    }

    fn on_message(&self, socket: &mut Socket<'_>, member: &mut Member, message: Message<'_>) {
        match message {
            Message::Text(text) => {
                self.with_room(&member.room, |room| room.post(&format!("{}: {text}", member.nickname)));
            }
            Message::Binary(_) => socket.fail(CloseCode::UNSUPPORTED_DATA, "text only"),
        }
    }

    fn on_close(&self, closed: &Closed<'_>, member: &mut Member) {
        self.with_room(&member.room, |room| {
            room.members.retain(|other| other.id() != closed.id());
            room.post(&format!("{} has left", member.nickname));
        });
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let server = Server::builder().route("/room/{room}", Chat::default()).listen(addr).build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("connect to ws://{addr}/room/garden?as=Ann");
    server.run()
}
