//! Handles: what other threads send to a connection, in order, within bounds, and never to another
//! one.

use crate::common::{DEADLINE, TestServer, next, wait_until};
use crate::scripted::{Saw, Scripted};
use framewright::Error;
use framewright::frame::OpCode;
use framewright_server::{CloseCode, Config, Handle, HandleError, Message, Options, Prepared};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Instant;

/// A handler that gives a handle for each connection, what it sees, and the handles.
fn handing() -> (Scripted, Receiver<Saw>, Receiver<Handle>) {
    let (sender, handles) = mpsc::channel();
    let (scripted, seen) = Scripted::new();
    // A test that is over does not take any.
    let scripted = scripted.open(move |socket| drop(sender.send(socket.handle())));
    (scripted, seen, handles)
}

/// How the connection ended.
#[track_caller]
fn cause(seen: &Receiver<Saw>) -> Option<Error> {
    loop {
        if let Saw::Close(closure) = next(seen) {
            return closure.cause;
        }
    }
}

#[test]
fn another_thread_sends_to_an_idle_connection_in_order() {
    let (scripted, seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    let sender = handle.clone();
    thread::spawn(move || {
        sender.send_text("text")?;
        sender.send_binary(vec![1, 2, 3])?;
        sender.send_prepared(&Prepared::new(Message::Text("prepared")))?;
        sender.ping(*b"ping")?;
        sender.send_text("")?;
        sender.close(CloseCode::new(3000), "done")
    });
    let expected = [
        (OpCode::Text, &b"text"[..]),
        (OpCode::Binary, &[1, 2, 3]),
        (OpCode::Text, b"prepared"),
        (OpCode::Ping, b"ping"),
        (OpCode::Text, b""),
        (OpCode::Close, b"\x0b\xb8done"),
    ];
    for (opcode, payload) in expected {
        let frame = client.frame();
        assert_eq!((frame.fin, frame.opcode, &frame.payload[..]), (true, opcode, payload));
    }
    client.send_close(CloseCode::new(3000).expect("a code"), "");
    client.expect_end();
    assert_eq!(cause(&seen), None);
    assert!(!handle.is_open());
}

#[test]
fn each_send_wakes_a_loop_that_sleeps() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    for number in 0..100 {
        // The loop has nothing else to do, and the next one is sent when this one has come.
        handle.send_text(number.to_string()).expect("open");
        client.expect_text(&number.to_string());
    }
}

#[test]
fn what_each_of_several_threads_sends_keeps_its_order() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let handle = handle.clone();
            scope.spawn(move || {
                for number in 0..250_u8 {
                    handle.send_binary(vec![thread, number]).expect("room");
                }
            });
        }
    });
    let mut expected = [0; 4];
    for _ in 0..1000 {
        let payload = client.frame().payload;
        assert_eq!(payload[1], expected[usize::from(payload[0])]);
        expected[usize::from(payload[0])] += 1;
    }
}

fn small_marks() -> Options {
    let connection = Config { high_water: 100_000, low_water: 20_000, ..Config::default() };
    Options { connection, ..Options::default() }
}

const LARGE: usize = 10_000;

/// Sends messages with the numbers from `first` on until the queue is full. Returns the first
/// number that was not sent.
#[track_caller]
fn fill(handle: &Handle, first: u32) -> u32 {
    for number in first..first + 100_000 {
        let mut payload = vec![0; LARGE];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        if let Err(error) = handle.send_binary(payload) {
            assert_eq!(error, HandleError::Full);
            assert!(handle.is_open());
            return number;
        }
    }
    panic!("1 GB and no end");
}

#[test]
fn nothing_is_taken_behind_a_close_even_while_it_waits() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route_with("/ws", small_marks(), scripted));
    let client = server.open("/ws");
    let handle = next(&handles);
    fill(&handle, 0);
    let queued = handle.queued();
    handle.close(Some(CloseCode::NORMAL), "").expect("a Close is never refused for want of room");
    assert!(!handle.is_open());
    assert_eq!(handle.send_text("x"), Err(HandleError::Closed));
    assert_eq!(handle.ping([]), Err(HandleError::Closed));
    assert_eq!(handle.close(None, ""), Err(HandleError::Closed));
    assert!(handle.queued() <= queued);
    handle.abort().expect("still there");
    wait_until("gone", || server.handle().connection_count() == 0);
    assert_eq!(handle.abort(), Err(HandleError::Closed));
    drop(client);
}

#[test]
fn a_handle_is_full_when_the_peer_does_not_read_and_goes_on_when_it_does() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route_with("/ws", small_marks(), scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    // The loop takes from the queue while the kernel takes from the loop: it can be full several
    // times.
    let sent = (0..5).fold(0, |sent, _| fill(&handle, sent));
    assert!(handle.queued() <= 100_000 + LARGE + 1000, "{}", handle.queued());
    for number in 0..sent {
        assert_eq!(client.frame().payload[..4], number.to_be_bytes());
    }
    handle.send_text("room again").expect("room again");
    client.expect_text("room again");
    // A close is taken even when it is full, behind what waits.
    let more = fill(&handle, sent);
    handle.close(Some(CloseCode::NORMAL), "").expect("never full");
    for number in sent..more {
        assert_eq!(client.frame().payload[..4], number.to_be_bytes());
    }
    client.expect_close(1000);
    assert!(!handle.is_open());
    assert_eq!(handle.queued(), 0);
}

#[test]
fn an_abort_does_not_wait_behind_what_the_peer_does_not_read() {
    let (scripted, seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route_with("/ws", small_marks(), scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    (0..5).fold(0, |sent, _| fill(&handle, sent));
    handle.abort().expect("open");
    assert_eq!(cause(&seen), Some(Error::Aborted));
    assert_eq!(handle.send_text("late"), Err(HandleError::Closed));
    client.expect_gone();
}

#[test]
fn a_failure_goes_behind_what_is_queued_and_takes_nothing_after_it() {
    let (scripted, seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    let sender = handle.clone();
    thread::spawn(move || {
        sender.send_text("first")?;
        sender.fail(CloseCode::POLICY_VIOLATION, format!("{}é", "x".repeat(122)))
    });
    client.expect_text("first");
    assert_eq!(client.expect_close(1008), "x".repeat(122), "cut between characters");
    assert_eq!(cause(&seen), Some(Error::Failed(CloseCode::POLICY_VIOLATION)), "without an answer");
    assert!(!handle.is_open());
    assert_eq!(handle.fail(CloseCode::POLICY_VIOLATION, ""), Err(HandleError::Closed));
    client.expect_end();
}

#[test]
fn a_failure_does_not_wait_behind_what_the_peer_does_not_read() {
    for closes in [false, true] {
        let (scripted, seen, handles) = handing();
        let server = TestServer::start(|builder| builder.route_with("/ws", small_marks(), scripted));
        let client = server.open("/ws");
        let handle = next(&handles);
        (0..5).fold(0, |sent, _| fill(&handle, sent));
        if closes {
            handle.close(CloseCode::NORMAL, "").expect("open");
        }
        handle.fail(CloseCode::POLICY_VIOLATION, "").expect("open");
        assert_eq!(handle.send_text("late"), Err(HandleError::Closed));
        assert_eq!(cause(&seen), Some(Error::Failed(CloseCode::POLICY_VIOLATION)));
        drop(client);
    }
}

#[test]
fn after_the_end_every_call_returns_closed() {
    let (scripted, seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let client = server.open("/ws");
    let handle = next(&handles);
    assert!(handle.is_open());
    client.leave();
    assert_eq!(cause(&seen), None);
    let prepared = Prepared::new(Message::Text("x"));
    for result in [
        handle.send_text("x"),
        handle.send_binary([1]),
        handle.send_prepared(&prepared),
        handle.ping([]),
        handle.close(None, ""),
        handle.fail(CloseCode::POLICY_VIOLATION, ""),
        handle.abort(),
    ] {
        assert_eq!(result, Err(HandleError::Closed));
    }
    assert!(!handle.is_open());
    assert_eq!(handle.queued(), 0);
    drop(server);
    assert_eq!(handle.send_text("x"), Err(HandleError::Closed), "the server is gone too");
}

#[test]
fn a_handle_is_closed_as_soon_as_the_handler_has_begun_to_close() {
    let (scripted, _seen, handles) = handing();
    let scripted =
        scripted.message(|socket, _| socket.close(Some(CloseCode::NORMAL), "enough").expect("open"));
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    client.send_text("go");
    client.expect_close(1000);
    // The client has not answered: the connection is there, but nothing can be sent.
    assert!(!handle.is_open());
    assert_eq!(handle.send_text("late"), Err(HandleError::Closed));
    client.send_close(CloseCode::NORMAL, "");
    client.expect_end();
}

#[test]
fn what_control_frames_cannot_carry_is_refused_and_harms_nothing() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    assert_eq!(handle.ping([0; 126]), Err(HandleError::ControlTooLong));
    assert_eq!(handle.close(Some(CloseCode::NORMAL), "x".repeat(124)), Err(HandleError::CloseReason));
    assert_eq!(handle.close(None, "x"), Err(HandleError::CloseReason));
    handle.ping([7; 125]).expect("the most there is");
    assert_eq!(client.frame().payload, [7; 125]);
    handle.close(Some(CloseCode::NORMAL), "x".repeat(123)).expect("the most there is");
    assert_eq!(client.expect_close(1000).len(), 123);
}

#[test]
fn a_stale_handle_never_reaches_the_connection_in_its_place() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let stale = Arc::new(Mutex::new(Vec::<(u32, Handle)>::new()));
    let over = Arc::new(AtomicBool::new(false));
    let (pestering, until) = (Arc::clone(&stale), Arc::clone(&over));
    // Sends through every handle there ever was, whether its connection is coming, there, going or
    // gone.
    let pest = thread::spawn(move || {
        let mut closed = 0;
        while !until.load(Ordering::Relaxed) {
            for (number, handle) in pestering.lock().expect("no panic").iter() {
                closed += u32::from(handle.send_text(format!("for {number}")) == Err(HandleError::Closed));
            }
        }
        closed
    });
    for number in 0..200 {
        let mut client = server.open("/ws");
        let handle = next(&handles);
        stale.lock().expect("no panic").push((number, handle));
        for _ in 0..2 {
            client.expect_text(&format!("for {number}"));
        }
        // Left in a hurry: what is under way to it must not come to the next one.
    }
    over.store(true, Ordering::Relaxed);
    assert!(pest.join().expect("no panic") > 0);
    for (_, handle) in stale.lock().expect("no panic").iter() {
        wait_until("closed", || !handle.is_open());
    }
}

#[test]
fn the_last_guard_that_is_dropped_ends_the_connection_with_1000() {
    let (scripted, seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    let first = handle.keep_open();
    let second = first.clone();
    let third = handle.keep_open(); // as a task would that knows nothing of the others
    drop(first);
    drop(third);
    handle.send_text("still open").expect("open");
    client.expect_text("still open");
    thread::spawn(move || drop(second));
    client.expect_close(1000);
    client.send_close(CloseCode::NORMAL, "");
    client.expect_end();
    assert_eq!(cause(&seen), None);
    drop(handle.keep_open()); // harmless
}

#[test]
fn a_dropped_guard_sends_what_was_queued_before_it() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    let guard = handle.keep_open();
    for number in 0..10 {
        handle.send_text(number.to_string()).expect("open");
    }
    drop(guard);
    for number in 0..10 {
        client.expect_text(&number.to_string());
    }
    client.expect_close(1000);
}

#[test]
fn a_message_is_encoded_once_for_a_hundred_connections() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.workers(2).route("/ws", scripted));
    let mut clients: Vec<_> = (0..100).map(|_| server.open("/ws")).collect();
    let handles: Vec<_> = (0..100).map(|_| next(&handles)).collect();
    let gone = clients.pop().expect("a hundred");
    gone.leave();
    for len in [0, 5, 125, 126, 70_000] {
        let payload: Vec<u8> = (0..=255).cycle().take(len).collect();
        let prepared = Prepared::new(Message::Binary(&payload));
        let sent = handles.iter().filter(|handle| handle.send_prepared(&prepared).is_ok()).count();
        assert!((99..=100).contains(&sent), "{sent}: one may not be known to have left");
        for client in &mut clients {
            let frame = client.frame();
            assert!(frame.opcode == OpCode::Binary && frame.payload == payload);
        }
    }
}

#[test]
fn what_a_handle_sends_waits_for_the_end_of_the_handlers_fragmented_message() {
    let (scripted, _seen, handles) = handing();
    let scripted = scripted.message(|socket, message| {
        let last = message == Message::Text("last");
        socket.send_fragment(message, last).expect("room");
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    client.send_text("first");
    assert!(!client.frame().fin);
    handle.send_text("behind").expect("open");
    handle.ping([]).expect("open");
    client.send_text("middle");
    client.send_text("last");
    for (fin, payload) in [(false, "middle"), (true, "last")] {
        let frame = client.frame();
        assert_eq!(
            (frame.fin, frame.opcode, &frame.payload[..]),
            (fin, OpCode::Continuation, payload.as_bytes())
        );
    }
    client.expect_text("behind");
    assert_eq!(client.frame().opcode, OpCode::Ping);
    // An abort waits for nothing.
    client.send_text("never ended");
    assert!(!client.frame().fin);
    handle.abort().expect("open");
    client.expect_end();
}

#[test]
fn pings_and_a_close_of_a_handle_go_between_the_handlers_fragments() {
    let (scripted, _seen, handles) = handing();
    let scripted = scripted.message(|socket, message| {
        socket.send_fragment(message, false).expect("room");
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    client.send_text("never ended");
    assert!(!client.frame().fin);
    handle.ping([]).expect("open");
    assert_eq!(client.frame().opcode, OpCode::Ping);
    // More of them than are sent in a turn.
    for index in 0..5000_u32 {
        handle.ping(index.to_be_bytes()).expect("room");
    }
    for index in 0..5000_u32 {
        assert_eq!(client.frame().payload, index.to_be_bytes());
    }
    handle.close(Some(CloseCode::NORMAL), "").expect("open");
    client.expect_close(1000);
}

#[test]
fn a_handle_that_is_used_inside_a_callback_does_not_block_it() {
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.message(|socket, _| {
        let handle = socket.handle();
        handle.send_text("through the handle").expect("open");
        socket.send_text("directly").expect("room");
        handle.close(Some(CloseCode::NORMAL), "").expect("open");
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    client.send_text("go");
    client.expect_text("through the handle");
    client.expect_text("directly");
    client.expect_close(1000);
    client.send_close(CloseCode::NORMAL, "");
    client.expect_end();
    assert_eq!(cause(&seen), None);
}

#[test]
fn handles_of_connections_that_end_while_they_send_are_harmless() {
    let (scripted, _seen, handles) = handing();
    let server = TestServer::start(|builder| builder.workers(2).route("/ws", scripted));
    for _ in 0..50 {
        let client = server.open("/ws");
        let handle = next(&handles);
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                while handle.send_text("x") != Err(HandleError::Closed) {}
            });
            start.wait();
            drop(client);
        });
    }
    wait_until("no connections", || server.handle().connection_count() == 0);
}

#[test]
fn handles_are_closed_before_a_close_frame_of_on_open_leaves() {
    let kept = Arc::new(Mutex::new(None::<Handle>));
    let (told, hears) = mpsc::channel();
    let (scripted, _seen) = Scripted::new();
    let slot = Arc::clone(&kept);
    let scripted = scripted.open(move |socket| {
        *slot.lock().unwrap() = Some(socket.handle());
        socket.close(CloseCode::new(3000), "").unwrap();
    });
    let scripted = scripted.message(move |socket, _| {
        told.send((socket.buffered(), kept.lock().unwrap().as_ref().unwrap().is_open())).unwrap();
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.connect();
    let mut bytes = crate::common::upgrade_request("/ws", "").into_bytes();
    framewright::frame::encode_frame(&mut bytes, true, OpCode::Text, b"early", Some([1, 2, 3, 4]));
    wait_until("the socket is in the loop", || server.handle().connection_count() == 1);
    client.send(bytes);
    let (buffered, open) = next(&hears);
    // Either the Close frame is still queued, or the handles are closed.
    assert!(buffered > 0 || !open, "the Close frame has left, and the handle says open");
}

#[test]
fn a_handler_that_sends_whenever_there_is_room_still_hears_a_close() {
    fn pump(socket: &mut framewright_server::Socket<'_>) {
        while socket.send_binary(&[7; 1000]).is_ok() {}
    }
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.open(pump).writable(pump);
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let mut reader = client.try_clone();
    client.send_close(CloseCode::NORMAL, "");
    // Until the server has answered the Close frame, and ended the transport.
    let begun = Instant::now();
    let mut target = vec![0; 1 << 20];
    while begun.elapsed() < DEADLINE && matches!(reader.read_some(&mut target), Ok(1..)) {}
    let mut events = std::iter::from_fn(|| seen.recv_timeout(DEADLINE).ok());
    assert!(events.any(|saw| matches!(saw, Saw::Close(_))), "its end is told");
    assert!(begun.elapsed() < DEADLINE, "the Close frame is heard while the handler sends");
}

/// What one thread sends to a connection arrives in the order of its calls, whichever way it takes.
#[test]
fn in_a_callback_a_handle_and_the_socket_send_in_the_order_of_the_calls() {
    fn calls(socket: &mut framewright_server::Socket<'_>, long: &str) {
        let handle = socket.handle();
        handle.send_text("1").expect("open");
        socket.send_text("2").expect("room");
        handle.send_text("3").expect("open");
        socket.ping(b"4").expect("room");
        handle.ping(*b"5").expect("open");
        socket.send_text(long).expect("room");
        handle.send_text("7").expect("open");
        socket.send_prepared(&Prepared::new(Message::Text("8"))).expect("room");
        handle.send_text("9").expect("open");
        socket.send_fragment(Message::Text("1"), false).expect("room");
        handle.send_text("11").expect("open");
        socket.send_fragment(Message::Text("0"), true).expect("room");
        socket.send_uncompressed(Message::Text("12")).expect("room");
    }
    let (scripted, _seen) = Scripted::new();
    let long = "6".repeat(20_000);
    let sent = long.clone();
    let scripted = scripted.open(|socket| calls(socket, "6")).message(move |socket, _| calls(socket, &sent));
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    for sixth in ["6", &long] {
        for expected in ["1", "2", "3", "4", "5", sixth, "7", "8", "9"] {
            let frame = client.frame();
            assert_eq!(String::from_utf8_lossy(&frame.payload), expected);
            assert_eq!(frame.opcode == OpCode::Ping, ["4", "5"].contains(&expected));
        }
        // The handle's message waits for the end of the fragmented one.
        assert_eq!(client.message(), (OpCode::Text, b"10".to_vec()));
        client.expect_text("11");
        client.expect_text("12");
        if sixth == "6" {
            client.send_text("again");
        }
    }
}

#[test]
fn in_a_callback_a_close_of_either_kind_has_its_place_among_what_is_sent() {
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.message(|socket, message| {
        let handle = socket.handle();
        handle.send_text("first").expect("open");
        match message {
            Message::Text("socket") => socket.close(Some(CloseCode::NORMAL), "").expect("open"),
            Message::Text("handle") => handle.close(Some(CloseCode::NORMAL), "").expect("open"),
            Message::Text("fail") => socket.fail(CloseCode::POLICY_VIOLATION, "enough"),
            Message::Text("handle fails") => handle.fail(CloseCode::POLICY_VIOLATION, "").expect("open"),
            _ => handle.abort().expect("open"),
        }
        assert!(socket.send_text("late").is_err(), "after {message:?}");
        assert_eq!(handle.send_text("late"), Err(HandleError::Closed), "after {message:?}");
    });
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    for (how, code) in [("socket", 1000), ("handle", 1000), ("fail", 1008), ("handle fails", 1008)] {
        let mut client = server.open("/ws");
        client.send_text(how);
        client.expect_text("first");
        client.expect_close(code);
        client.send_close(CloseCode::new(code).expect("a code"), "");
        client.expect_end();
    }
    let mut client = server.open("/ws");
    client.send_text("abort");
    client.expect_gone();
    let causes: Vec<_> = (0..5).map(|_| cause(&seen)).collect();
    assert_eq!(causes[4], Some(Error::Aborted));
}

/// With a mark of a hundred octets.
fn tiny_marks() -> Options {
    let connection = Config { high_water: 100, low_water: 20, ..Config::default() };
    Options { connection, ..Options::default() }
}

#[test]
fn what_finds_no_room_behind_a_handles_messages_is_refused_and_a_close_waits_for_them() {
    let (scripted, seen) = Scripted::new();
    let (told, results) = mpsc::channel();
    let scripted = scripted.message(move |socket, message| {
        let handle = socket.handle();
        socket.send_text(&"1".repeat(70)).expect("room");
        handle.send_text("2".repeat(40)).expect("open");
        handle.send_text("3".repeat(40)).expect("open");
        let refused = socket.send_text("4");
        if message == Message::Text("close") {
            socket.close(Some(CloseCode::NORMAL), "").expect("open");
            assert_eq!(handle.send_text("5"), Err(HandleError::Closed));
        }
        told.send(refused).expect("the test listens");
    });
    let server = TestServer::start(|builder| builder.route_with("/ws", tiny_marks(), scripted));
    let mut client = server.open("/ws");
    for message in ["go", "close"] {
        client.send_text(message);
        for (digit, len) in [("1", 70), ("2", 40), ("3", 40)] {
            client.expect_text(&digit.repeat(len));
        }
        assert_eq!(next(&results), Err(framewright::SendError::Full));
    }
    client.expect_close(1000);
    client.send_close(CloseCode::NORMAL, "");
    client.expect_end();
    assert_eq!(cause(&seen), None);
}

/// In a room everybody's messages go to everybody, through handles; whoever speaks gets an answer
/// too, for which there is room.
#[test]
fn a_message_is_answered_though_its_loop_has_filled_the_queue_of_its_handle() {
    let room = Arc::new(Mutex::new(Vec::<Handle>::new()));
    let (scripted, _seen) = Scripted::new();
    let members = Arc::clone(&room);
    let scripted = scripted.open(move |socket| members.lock().expect("no panic").push(socket.handle()));
    let scripted = scripted.message(move |socket, message| match message {
        Message::Text("flood") => {
            for handle in room.lock().expect("no panic").iter() {
                while handle.send_binary(vec![7; LARGE]).is_ok() {}
            }
        }
        message => socket.send(message).expect("room"),
    });
    let server = TestServer::start(|builder| builder.workers(1).route_with("/ws", small_marks(), scripted));
    let (mut speaker, mut other) = (server.open("/ws"), server.open("/ws"));
    speaker.send_text("flood");
    for index in 0..100 {
        other.send_text(&index.to_string());
        speaker.send_text(&index.to_string());
    }
    for client in [&mut speaker, &mut other] {
        let mut expected = 0;
        while expected < 100 {
            let frame = client.frame();
            if frame.opcode == OpCode::Text {
                assert_eq!(String::from_utf8_lossy(&frame.payload), expected.to_string());
                expected += 1;
            }
        }
    }
    speaker.leave();
    other.leave();
}

/// A queue is emptied a share at a time, so that one connection does not keep the loop from the
/// others.
#[test]
fn handles_that_are_fed_without_end_leave_others_their_turns() {
    let (scripted, _seen, handles) = handing();
    let server =
        TestServer::start(|builder| builder.workers(1).route("/ws", scripted).route("/echo", echo()));
    let mut flooded: Vec<_> = (0..20).map(|_| server.open("/ws")).collect();
    let handles: Vec<_> = (0..20).map(|_| next(&handles)).collect();
    let over = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let message = Prepared::new(Message::Binary(&[7; 1000]));
            while !over.load(Ordering::Relaxed) {
                for handle in &handles {
                    let _ = handle.send_prepared(&message); // full now and then
                }
            }
        });
        for client in &mut flooded {
            let over = &over;
            scope.spawn(move || {
                let mut target = vec![0; 64 << 10];
                while !over.load(Ordering::Relaxed) && matches!(client.read_some(&mut target), Ok(1..)) {}
            });
        }
        let mut neighbour = server.open("/echo");
        for index in 0..100 {
            neighbour.send_text(&index.to_string());
            neighbour.expect_text(&index.to_string());
        }
        over.store(true, Ordering::Relaxed);
        for handle in &handles {
            handle.abort().expect("open");
        }
    });
}

fn echo() -> Scripted {
    Scripted::echo().0
}
