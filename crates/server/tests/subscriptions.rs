//! What a subscription costs in memory.
//!
//! All memory of the process is counted. The clients hold none that changes.

#[path = "common/mod.rs"]
mod common;

use common::{Client, TestServer, wait_until};
use framewright_server::{Decision, Handler, Incoming, Message, Socket};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What the project promises for a subscription, in bytes, once its topic and its connection have a
/// hundred.
const EACH: usize = 24;

/// The topics that one message subscribes to: what the loop needs for a moment is not counted.
const AT_ONCE: usize = 10;

/// Subscribes to the topics from the number in a message on.
struct Subscribes;

impl Handler for Subscribes {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let Message::Text(first) = message else { return };
        let first: usize = first.parse().expect("a number");
        for number in first..first + AT_ONCE {
            socket.subscribe(&format!("topic/{number}")).expect("far from the limits");
        }
        socket.send_text("done").expect("room");
    }
}

/// The bytes of memory for each subscription of so many connections to so many topics.
#[expect(clippy::print_stdout, reason = "what it costs is of interest also where it is little")]
fn cost(server: &TestServer, connections: usize, topics: usize) -> usize {
    let mut clients: Vec<Client> = (0..connections).map(|_| server.open("/ws")).collect();
    let before = dhat::HeapStats::get().curr_bytes;
    for first in (0..topics).step_by(AT_ONCE) {
        for client in &mut clients {
            client.send_text(&first.to_string());
            client.expect_text("done");
        }
    }
    // Who receives has joined.
    server.handle().publish(&format!("topic/{}", topics - 1), "joined").expect("room");
    clients.iter_mut().for_each(|client| client.expect_text("joined"));
    let subscriptions = server.handle().topic_stats().subscriptions;
    assert_eq!(subscriptions, connections * topics);
    let cost = dhat::HeapStats::get().curr_bytes.saturating_sub(before) / subscriptions;
    println!("{cost} bytes for each subscription of {connections} connections to {topics} topics");
    drop(clients);
    wait_until("they are gone", || server.handle().connection_count() == 0);
    assert_eq!(server.handle().topic_stats().subscriptions, 0);
    cost
}

#[test]
fn a_subscription_costs_at_most_24_bytes() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let server = TestServer::start(|builder| builder.route("/ws", Subscribes));
    // Warms up.
    cost(&server, 10, AT_ONCE);
    for (connections, topics) in [(100, 100), (200, 200)] {
        assert!(cost(&server, connections, topics) <= EACH, "{connections} to {topics}");
    }
    // Each topic has a name, and entries in two tables.
    cost(&server, 10, 1000);
}
