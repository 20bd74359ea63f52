//! A dashboard: a number for each of a few machines, ten times a second, and a page that shows them.
//!
//! A browser that is slow, or a tab in the background, does not need the numbers that it has missed:
//! of each machine only the newest waits for it.
//!
//! ```text
//! cargo run -p framewright-server --example dashboard -- [ADDR:PORT] [MILLISECONDS]
//! ```

// A program for a terminal.
#![allow(clippy::print_stdout)]

use framewright_server::{
    CloseCode, Decision, Handler, Incoming, Page, Retain, Server, SlowConsumer, Socket, TopicOptions, Topics,
};
use std::env;
use std::error::Error;
use std::time::Duration;

/// The machines whose load is shown.
const MACHINES: [&str; 4] = ["ash", "birch", "cedar", "douglas"];

/// A connection gets the loads of all machines.
struct Viewer;

impl Handler for Viewer {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        if socket.subscribe("load").is_err() {
            socket.fail(CloseCode::TRY_AGAIN_LATER, "too many viewers");
        }
    }
}

/// Random steps between 0 and 100: a real program would measure.
struct Loads {
    random: u32,
    percent: [u32; MACHINES.len()],
}

impl Loads {
    fn new() -> Loads {
        Loads { random: 1, percent: [50; MACHINES.len()] }
    }

    fn step(&mut self) {
        for percent in &mut self.percent {
            // A linear congruential generator, whose upper bits are good enough to look at.
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *percent = (*percent + (self.random >> 16) % 11).saturating_sub(5).min(100);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let interval = env::args().nth(2).map_or(Ok(100), |argument| argument.parse())?;

    let newest = TopicOptions {
        slow_consumer: SlowConsumer::Latest { limit: 64 << 10 },
        retain: Retain::Last(MACHINES.len()),
        ..TopicOptions::default()
    };
    let mut loads = Loads::new();
    let server = Server::builder()
        .topics(Topics::builder().options("load", newest).build())
        .page("/", Page::html(include_str!("dashboard.html")))
        .route("/load", Viewer)
        .every(Duration::from_millis(interval), move |server| {
            loads.step();
            for (machine, percent) in MACHINES.iter().zip(loads.percent) {
                let json = format!(r#"{{"machine":"{machine}","percent":{percent}}}"#);
                let _ = server.publish_keyed("load", machine, &*json); // refused only while 16 MiB wait
            }
        })
        .listen(addr)
        .build()?;
    let addr = &server.local_addrs()[0];
    println!("listening on {addr}");
    println!("open http://{addr}/ in a browser");
    server.run()?;
    Ok(())
}
