//! A chat with rooms: `/room/NAME?as=NICKNAME`, and a page for it at `/`. A room is a topic. A new
//! member of a room gets its last fifty lines.
//!
//! ```text
//! cargo run -p framewright-server --example chat -- [ADDR:PORT]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{
    CloseCode, Closed, Decision, Handler, Incoming, Message, Page, Response, Retain, Server, Socket,
    StatusCode, TopicOptions, Topics,
};

/// The lines that a room remembers.
const HISTORY: usize = 50;

struct Chat;

/// The state of one connection.
struct Member {
    /// The topic of the room.
    room: String,
    nickname: String,
}

impl Handler for Chat {
    type State = Member;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Member> {
        let room = format!("room/{}", request.param("room").unwrap_or_default());
        match request.query_value("as") {
            Some(nickname) if !nickname.is_empty() => {
                request.accept(Member { room, nickname: nickname.into_owned() })
            }
            _ => Decision::respond(Response::text(StatusCode::BAD_REQUEST, "say who you are: ?as=NICKNAME")),
        }
    }

    fn on_open(&self, socket: &mut Socket<'_>, member: &mut Member) {
        if socket.subscribe(&member.room).is_err() {
            return socket.fail(CloseCode::POLICY_VIOLATION, "no such room"); // a name that no topic can have
        }
        let _ = socket.publish_to_all(&member.room, &*format!("{} has joined", member.nickname));
    }

    fn on_message(&self, socket: &mut Socket<'_>, member: &mut Member, message: Message<'_>) {
        let Message::Text(text) = message else {
            return socket.fail(CloseCode::UNSUPPORTED_DATA, "text only");
        };
        if socket.publish_to_all(&member.room, &*format!("{}: {text}", member.nickname)).is_err() {
            let _ = socket.send_text("(your line was lost: too many wait to be sent)");
        }
    }

    fn on_close(&self, closed: &Closed<'_>, member: &mut Member) {
        let _ = closed.server().publish(&member.room, &*format!("{} has left", member.nickname));
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let with_history = TopicOptions { retain: Retain::Last(HISTORY), ..TopicOptions::default() };
    let server = Server::builder()
        .topics(Topics::builder().options("room/#", with_history).build())
        .page("/", Page::html(include_str!("chat.html")))
        .route("/room/{room}", Chat)
        .listen(addr)
        .build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("open http://{addr}/ in a browser, or connect to ws://{addr}/room/garden?as=Ann");
    server.run()
}
