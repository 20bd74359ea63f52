//! Walks through all connections, round by round.

use super::still::{LONG, still_with_handle};
use crate::event_loop::{COMMANDS, EventLoop, SLICE};
use crate::{
    Connected, Decision, Delivered, Handle, Handler, Incoming, Message, Options, ServerBuilder, ServerBusy,
    ServerHandle, Socket,
};
use framewright::Config;
use framewright::frame::{OpCode, encode_frame};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// Accepts all requests, hands out handles, and follows the instructions in messages.
struct Told(Sender<Handle>);

impl Handler for Told {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        match message {
            Message::Text("handle") => self.0.send(socket.handle()).expect("the test listens"),
            Message::Text("fragment") => socket.send_fragment(Message::Text("half"), false).expect("room"),
            Message::Text("rest") => socket.send_fragment(Message::Text("rest"), true).expect("room"),
            Message::Text("fill") => fill(socket),
            Message::Text("close") => socket.close(None, "").expect("it is open"),
            Message::Text("panic") => panic!("of the application"),
            message => panic!("{message:?}"),
        }
    }

    /// Fills a full connection's buffer again.
    fn on_writable(&self, socket: &mut Socket<'_>, _: &mut ()) {
        fill(socket);
    }
}

fn fill(socket: &mut Socket<'_>) {
    while socket.send_binary(&[7; 1000]).is_ok() {}
}

fn still(
    configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> (EventLoop, ServerHandle, Receiver<Handle>) {
    let (sender, handles) = mpsc::channel();
    let (event_loop, handle) = still_with_handle(|builder| configure(builder.route("/ws", Told(sender))));
    (event_loop, handle, handles)
}

fn text(payload: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, OpCode::Text, payload.as_bytes(), Some([1, 2, 3, 4]));
    frame
}

#[test]
fn a_broadcast_comes_to_all_in_rounds_of_one_connection_each_and_holds_nobody_up() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let mut peers: Vec<_> = (0..10).map(|_| event_loop.open().1).collect();
    let (first, second) = (server.broadcast("one").expect("room"), server.broadcast("two").expect("room"));
    event_loop.handle_commands(LONG);
    assert_eq!(event_loop.wait(), Some(Duration::ZERO), "there is work left");
    for (round, peer) in peers.iter_mut().enumerate() {
        assert_eq!(peer.take(), b"", "before round {round}");
        event_loop.handle_walks(Duration::ZERO);
        assert_eq!(peer.take(), b"\x81\x03one\x81\x03two", "those that wait go together");
    }
    event_loop.handle_walks(Duration::ZERO);
    for broadcast in [first, second] {
        assert_eq!(broadcast.wait(), Delivered { sent: 10, ..Delivered::default() });
    }
    assert!(event_loop.wait() > Some(Duration::ZERO));
}

const GOODBYE: &[u8] = b"\x88\x16\x03\xe9server shutting down";

/// Regression test: the open connections were sent the close at once, and a broadcast reached none
/// of them.
#[test]
fn a_broadcast_before_a_stop_comes_before_the_goodbye_also_when_it_is_under_way() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let mut peers: Vec<_> = (0..4).map(|_| event_loop.open().1).collect();
    let first = server.broadcast("one").expect("room");
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(Duration::ZERO);
    let second = server.broadcast("two").expect("room");
    server.stop(LONG);
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    let expected = [b"\x81\x03one\x81\x03two", GOODBYE].concat();
    assert!(peers.iter_mut().all(|peer| peer.take() == expected));
    assert_eq!([first.wait().sent, second.wait().sent], [4, 4]);
}

#[test]
fn a_broadcast_before_a_stop_without_grace_comes_too() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let mut peers: Vec<_> = (0..4).map(|_| event_loop.open().1).collect();
    let broadcast = server.broadcast("all").expect("room");
    server.stop(Duration::ZERO);
    event_loop.end();
    let expected = [b"\x81\x03all", GOODBYE].concat();
    assert!(peers.iter_mut().all(|peer| peer.take() == expected));
    assert_eq!(broadcast.wait().sent, 4);
}

#[test]
fn a_stop_holds_nobody_up() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let mut peers: Vec<_> = (0..4).map(|_| event_loop.open().1).collect();
    server.stop(LONG);
    event_loop.handle_commands(LONG);
    for (round, peer) in peers.iter_mut().enumerate() {
        assert_eq!((peer.take(), event_loop.wait()), (vec![], Some(Duration::ZERO)), "before round {round}");
        event_loop.handle_walks(Duration::ZERO);
        assert_eq!(peer.take(), GOODBYE, "round {round}");
    }
}

#[test]
fn what_a_handle_has_queued_before_a_stop_comes_before_the_goodbye() {
    let (mut event_loop, server, handles) = still(|builder| builder);
    let (key, mut peer) = event_loop.open();
    peer.write(&text("handle"));
    event_loop.announce(key);
    handles.recv().expect("a handle").send_text("zero").expect("room");
    server.stop(LONG);
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    assert_eq!(peer.take(), [b"\x81\x04zero", GOODBYE].concat());
}

/// A message queued behind a walk that has begun, and messages that are too many or too long to be
/// combined: each one arrives, in order.
#[test]
fn what_does_not_go_together_comes_one_after_the_other() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let mut peers: Vec<_> = (0..2).map(|_| event_loop.open().1).collect();
    let long = "x".repeat(60 << 10);
    let first = server.broadcast("first").expect("room");
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(Duration::ZERO);
    let mut later: Vec<_> = (0..70).map(|number| server.broadcast(&*number.to_string())).collect();
    later.extend([&*long, &*long, "last"].map(|text| server.broadcast(text)));
    server.for_each(|_| {}).expect("room");
    later.push(server.broadcast("behind"));
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(Duration::ZERO);
    assert_eq!(first.wait().sent, 2);
    let mut expected = Vec::new();
    let numbers: Vec<String> = (0..70).map(|number| number.to_string()).collect();
    let texts = ["first"].into_iter().chain(numbers.iter().map(|number| &**number));
    for text in texts.chain([&*long, &*long, "last", "behind"]) {
        encode_frame(&mut expected, true, OpCode::Text, text.as_bytes(), None);
    }
    let mut received = [Vec::new(), Vec::new()];
    let until = Instant::now() + DEADLINE;
    while received.iter().any(|received| received.len() < expected.len()) {
        event_loop.handle_walks(Duration::ZERO);
        event_loop.handle_listed(LONG);
        for key in event_loop.slots.keys() {
            // The system decides how much a socket takes at once.
            event_loop.slots.get_mut(key).expect("it is open").with_ready(|ready| ready.write = true);
            event_loop.announce(key);
        }
        peers.iter_mut().zip(&mut received).for_each(|(peer, received)| received.extend(peer.take()));
        assert!(Instant::now() < until, "not before the deadline");
    }
    assert!(received.iter().all(|received| *received == expected));
    event_loop.handle_walks(LONG);
    assert!(later.into_iter().all(|broadcast| broadcast.expect("room").wait().sent == 2));
}

#[test]
fn two_broadcasts_come_in_their_order_behind_what_handles_have_queued() {
    let (mut event_loop, server, handles) = still(|builder| builder);
    let (key, mut peer) = event_loop.open();
    peer.write(&text("handle"));
    event_loop.announce(key);
    handles.recv().expect("a handle").send_text("zero").expect("room");
    let broadcasts = [server.broadcast("one").expect("room"), server.broadcast("two").expect("room")];
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    event_loop.handle_commands(LONG);
    event_loop.handle_listed(LONG);
    assert_eq!(peer.take(), b"\x81\x04zero\x81\x03one\x81\x03two");
    assert!(broadcasts.into_iter().all(|broadcast| broadcast.wait().sent == 1));
}

#[test]
fn a_broadcast_waits_for_the_end_of_a_message_in_fragments() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let (key, mut peer) = event_loop.open();
    peer.write(&text("fragment"));
    event_loop.announce(key);
    assert_eq!(peer.take(), b"\x01\x04half");
    let broadcast = server.broadcast("all").expect("room");
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    assert_eq!(broadcast.wait().sent, 1);
    assert_eq!(peer.take(), b"");
    peer.write(&text("rest"));
    event_loop.handle_commands(LONG);
    event_loop.announce(key);
    event_loop.handle_listed(LONG);
    assert_eq!(peer.take(), b"\x80\x04rest\x81\x03all");
}

#[test]
fn who_is_full_or_closing_or_not_open_yet_or_panics_is_left_out_and_counted() {
    let connection = Config { high_water: 100_000, low_water: 99_999, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let (mut event_loop, server, _) = still(|builder| builder.options(options));
    let mut open: Vec<_> = (0..5).map(|_| event_loop.open()).collect();
    let (_, _opening) = event_loop.connect(b"GET /ws");
    for (index, what) in [(0, "fill"), (1, "close")] {
        open[index].1.write(&text(what));
        event_loop.announce(open[index].0);
    }
    // The system decides how much a socket takes: repeat until it takes nothing.
    while !event_loop.long_turns.is_empty() {
        event_loop.handle_listed(LONG);
    }
    // Its message is read in the turn that was to send it the broadcast.
    open[2].1.write(&text("panic"));
    event_loop.slots.get_mut(open[2].0).expect("it is open").with_ready(|ready| ready.read = true);
    let broadcast = server.broadcast("all").expect("room");
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    assert_eq!(broadcast.wait(), Delivered { sent: 2, full: 1, closed: 2 });
    assert_eq!([open[3].1.take(), open[4].1.take()], [b"\x81\x03all", b"\x81\x03all"]);
}

/// Combined messages count together towards a connection's bound, though its socket is empty.
#[test]
fn broadcasts_that_go_together_are_not_too_much_for_a_connection_that_takes_each_of_them() {
    let connection = Config { high_water: 1000, low_water: 500, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let (mut event_loop, server, _) = still(|builder| builder.options(options));
    let (_, mut peer) = event_loop.open();
    let broadcasts: Vec<_> = (0..10).map(|_| server.broadcast(&*"x".repeat(300)).expect("room")).collect();
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    let one = Delivered { sent: 1, ..Delivered::default() };
    assert!(broadcasts.into_iter().all(|broadcast| broadcast.wait() == one));
    let heads = peer.take().windows(4).filter(|bytes| *bytes == [0x81, 126, 1, 44]).count();
    assert_eq!(heads, 10, "beside what the handler sends where there is room");
}

#[test]
fn a_filter_says_who_gets_it_and_one_that_panics_leaves_that_one_out() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let mut peers: Vec<_> = (0..4).map(|_| event_loop.open().1).collect();
    let broadcast = server.broadcast_where("some", |to| match to.id() {
        2 => panic!("of the application"),
        id => to.route() == Some("/ws") && to.is_open() && id != 3,
    });
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    assert_eq!(broadcast.expect("room").wait().sent, 2);
    let got: Vec<_> = peers.iter_mut().map(|peer| !peer.take().is_empty()).collect();
    assert_eq!(got, [true, false, false, true]);
}

#[test]
fn a_visitor_gets_handles_and_goes_on_behind_a_panic() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let mut peers: Vec<_> = (0..3).map(|_| event_loop.open().1).collect();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    server
        .for_each(move |connection| {
            seeing.lock().expect("no panic holds it").push(connection.id());
            match connection.id() {
                1 => panic!("of the application"),
                2 => connection.handle().send_text("you").expect("room"),
                _ => {}
            }
        })
        .expect("room");
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    event_loop.handle_commands(LONG);
    event_loop.handle_listed(LONG);
    assert_eq!(*seen.lock().expect("no panic holds it"), [1, 2, 3]);
    let got: Vec<_> = peers.iter_mut().map(|peer| peer.take().len()).collect();
    assert_eq!(got, [0, 5, 0]);
}

/// Regression test: walks had as much of a round as its events had, up to eight milliseconds.
#[test]
fn a_walk_has_a_slice_of_a_round_however_long_its_events_were() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let _peers: Vec<_> = (0..3 * COMMANDS).map(|_| event_loop.open()).collect();
    let visited = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&visited);
    // The visits between two readings of the clock take more than a slice.
    let visit = move |_: &Connected<'_>| {
        let until = Instant::now() + SLICE / 10;
        while Instant::now() < until {}
        counting.fetch_add(1, Ordering::Relaxed);
    };
    server.for_each(visit).expect("room");
    for round in 1..=3 {
        event_loop.go_on(100 * SLICE);
        assert_eq!(visited.load(Ordering::Relaxed), round * COMMANDS);
    }
}

#[test]
fn whoever_looks_no_longer_ends_the_walk() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let _peers: Vec<_> = (0..3).map(|_| event_loop.open().1).collect();
    let mut connections = server.connections().expect("room");
    drop(server.connections().expect("room"));
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    let ids: Vec<_> = connections.by_ref().map(|connection| connection.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(connections.next(), None);
}

#[test]
fn there_is_an_end_to_how_many_walks_wait() {
    let (mut event_loop, server, _) = still(|builder| builder);
    let waiting: Vec<_> = std::iter::from_fn(|| server.connections().ok()).take(20_000).collect();
    assert_eq!(waiting.len(), 16 << 10, "16 MiB of 1 KiB each");
    event_loop.handle_commands(LONG);
    event_loop.handle_walks(LONG);
    drop(server.connections().expect("room again"));
}

#[test]
fn broadcasts_that_come_faster_than_they_are_sent_are_refused_and_nobody_waits_for_a_loop_that_has_gone() {
    let (event_loop, server, _) = still(|builder| builder);
    let long = "x".repeat(1 << 20);
    let sent: Vec<_> = std::iter::from_fn(|| server.broadcast(&*long).ok()).take(100).collect();
    assert_eq!(sent.len(), 16, "of 16 MiB");
    assert_eq!(server.broadcast("short").map(drop), Err(ServerBusy));
    assert_eq!(server.for_each(|_| {}), Err(ServerBusy));
    assert_eq!(server.connections().map(drop), Err(ServerBusy));
    drop(event_loop);
    for broadcast in sent {
        assert_eq!(broadcast.wait(), Delivered::default());
    }
    assert_eq!(server.broadcast("nobody").expect("room again").wait(), Delivered::default());
    assert_eq!(server.connections().expect("room").count(), 0);
}
