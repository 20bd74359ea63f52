//! Sending through handles from other threads, as fast as they can.

use crate::common::{TestServer, next, wait_until};
use crate::probe::{Gate, Probe, ws};
use framewright::frame::OpCode;
use framewright_server::{Config, Handle, HandleError, Message, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

/// What waits in a handle's queue is bounded too.
#[test]
fn a_handle_takes_no_more_than_the_high_water_mark_while_its_loop_is_busy() {
    let (gate, keeper) = Gate::new();
    let (sender, handles) = std::sync::mpsc::channel();
    let (probe, _watch) = Probe::new(move |_, _| gate.pass());
    let probe = probe.open(move |socket| sender.send(socket.handle()).expect("the test listens"));
    let connection = Config { high_water: 100_000, low_water: 10_000, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut client = server.open("/ws");
    let handle: Handle = next(&handles);
    client.send_text("gate");
    next(&keeper.reached);
    let mut taken: u32 = 0;
    while handle.send_binary(taken.to_le_bytes()).is_ok() {
        taken += 1;
        assert!(taken < 100_000, "empty messages are not free either");
    }
    assert_eq!(handle.send_text("one more"), Err(HandleError::Full));
    handle.close(None, "").expect("closing is never refused");
    keeper.open.send(()).expect("the handler waits");
    for index in 0..taken {
        assert_eq!(client.frame().payload, index.to_le_bytes());
    }
    client.expect_close(1005);
}

/// A thread that never lets the queue of one connection run empty does not keep the loop from the
/// others.
#[test]
fn a_busy_handle_does_not_starve_other_connections() {
    let (probe, _watch, handles) = Probe::handles();
    let (echo, _echoes) = Probe::echo();
    let server = TestServer::start(|builder| builder.route("/echo", echo).route("/ws", probe));
    let mut consumer = server.open("/ws");
    let handle = next(&handles);
    let mut other = server.open("/echo");
    let done = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..2)
        .map(|_| {
            let (handle, done) = (handle.clone(), Arc::clone(&done));
            thread::spawn(move || {
                while !done.load(SeqCst) {
                    if handle.send_binary(vec![5; 10_000]).is_err() {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut reader = consumer.try_clone();
    let reading = thread::spawn(move || reader.expect_gone());
    for index in 0..50 {
        other.send_text(&format!("message {index}"));
        other.expect_text(&format!("message {index}"));
    }
    done.store(true, SeqCst);
    for producer in producers {
        producer.join().unwrap();
    }
    handle.abort().expect("the connection is there");
    reading.join().unwrap();
    consumer.expect_gone();
}

#[test]
fn a_stale_handle_reaches_nobody_though_its_place_is_taken_again() {
    let (probe, watch, handles) = Probe::handles();
    let server = TestServer::start(ws(probe));
    for round in 0..20 {
        let first = server.open("/ws");
        let stale = next(&handles);
        drop(first);
        next(&watch.closures);
        wait_until("its place is free", || server.handle().connection_count() == 0);
        let mut second = server.open("/ws");
        let fresh = next(&handles);
        assert_eq!(stale.send_text("to the dead"), Err(HandleError::Closed));
        assert_eq!(stale.ping("to the dead"), Err(HandleError::Closed));
        assert_eq!(stale.close(None, ""), Err(HandleError::Closed));
        assert_eq!(stale.abort(), Err(HandleError::Closed));
        drop(stale.keep_open());
        fresh.send_text(format!("round {round}")).expect("the connection is there");
        second.expect_text(&format!("round {round}"));
        second.leave();
        next(&watch.closures);
        wait_until("its place is free", || server.handle().connection_count() == 0);
    }
}

/// A message of another thread does not fall between the fragments of one that the handler sends.
#[test]
fn what_a_handle_sends_waits_for_the_last_fragment_of_the_handlers_message() {
    let (sender, handles) = std::sync::mpsc::channel();
    let (probe, _watch) = Probe::new(|socket, message| match message {
        Message::Text("begin") => socket.send_fragment(Message::Text("one "), false).expect("room"),
        message => socket.send_fragment(message, true).expect("room"),
    });
    let probe = probe.open(move |socket| sender.send(socket.handle()).expect("the test listens"));
    let server = TestServer::start(ws(probe));
    let mut client = server.open("/ws");
    let handle: Handle = next(&handles);
    client.send_text("begin");
    assert_eq!(client.frame().payload, b"one ");
    handle.send_text("between").expect("the connection is there");
    handle.ping("").expect("the connection is there");
    client.send_text("message");
    let rest = client.frame();
    assert_eq!((rest.fin, rest.opcode, &rest.payload[..]), (true, OpCode::Continuation, &b"message"[..]));
    client.expect_text("between");
    assert_eq!(client.frame().opcode, OpCode::Ping);
    client.leave();
}

/// What many threads send arrives whole, and what one thread sends in order.
#[test]
fn what_several_threads_send_arrives_whole_and_in_the_order_of_each() {
    let (probe, _watch, handles) = Probe::handles();
    let server = TestServer::start(ws(probe));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    let senders: Vec<_> = (0..4usize)
        .map(|sender| {
            let handle = handle.clone();
            thread::spawn(move || {
                for index in 0..500usize {
                    let text = format!("{sender} {index} {}", "x".repeat(index % 7 * 500));
                    while let Err(error) = handle.send_text(text.clone()) {
                        assert_eq!(error, HandleError::Full);
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next_of = [0; 4];
    for _ in 0..4 * 500 {
        let (_, payload) = client.message();
        let text = String::from_utf8(payload).expect("text");
        let mut words = text.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).expect("a number");
        let (sender, index) = (number(), number());
        assert_eq!(index, next_of[sender]);
        assert_eq!(words.next().map(str::len), Some(index % 7 * 500));
        next_of[sender] += 1;
    }
    for sender in senders {
        sender.join().unwrap();
    }
    client.leave();
}
