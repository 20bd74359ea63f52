//! The blocking client in two halves, for two threads.

use crate::common::{DEADLINE, SOON, Server, plain, request, upload};
use framewright::{CloseCode, Config, Error, Message, OwnedMessage, SendError, Timeout};
use framewright_client::Options;
use framewright_client::blocking::{Client, ReceiveError, Receiver, Sender};
use framewright_testkit::wire::Fields;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

fn connect(addr: SocketAddr, connection: Config) -> Client {
    Client::connect_with(request(addr), &Options { connection, ..plain() }).expect("an open connection")
}

fn halves(addr: SocketAddr) -> (Sender, Receiver) {
    connect(addr, Config::default()).split()
}

/// Receives text until the end, which has to be clean.
fn receive_all(mut receiver: Receiver) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        match receiver.receive_before(Instant::now() + DEADLINE) {
            Ok(Some(Message::Text(text))) => texts.push(text.to_owned()),
            Ok(None) => return texts,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pings_are_answered_while_nobody_sends() {
    let server = Server::open(|peer| {
        for payload in ["one", "two"] {
            peer.script(&format!("ping \"{payload}\""));
            peer.expect(10, payload.as_bytes());
        }
        peer.script("text \"done\"; close 1000");
        peer.expect_close(1000);
    });
    let (sender, receiver) = halves(server.addr());
    assert_eq!(receive_all(receiver), ["done"]);
    assert!(!sender.is_open() && sender.closure().is_some_and(|closure| closure.clean));
    server.end();
}

#[test]
fn the_receiving_half_begins_the_closing_handshake_too() {
    let server = Server::open(|peer| {
        peer.expect_close(1000);
        peer.script("text \"last\"; close 1000");
    });
    let (mut sender, mut receiver) = halves(server.addr());
    receiver.close(CloseCode::NORMAL, "").expect("an open connection");
    assert_eq!(receiver.close(CloseCode::NORMAL, ""), Err(SendError::Closed));
    assert_eq!(sender.send_text("late"), Err(SendError::Closed));
    assert_eq!(receive_all(receiver), ["last"]);
    assert!(sender.closure().is_some_and(|closure| closure.clean));
    server.end();
}

// It waited for its own deadline, which was far away when it began to wait.
#[test]
fn a_receiving_half_that_waits_is_told_that_the_server_takes_nothing() {
    let (gone, is_gone) = mpsc::channel::<()>();
    let server = Server::taking_little(move |peer| {
        let _ = is_gone.recv_timeout(DEADLINE);
        peer.wait_gone();
        peer.forget();
    });
    let config = Config { write_timeout: Some(5 * SOON), keep_alive_interval: None, ..Config::default() };
    let (mut sender, mut receiver) = connect(server.addr(), config).split();
    let begun = Instant::now();
    let receiving = thread::spawn(move || {
        let outcome = receiver.receive_before(begun + DEADLINE).map(|_| ());
        (outcome, receiver)
    });
    // It waits by then, or the wait is not what is tested: either way it has to end.
    thread::sleep(SOON);
    assert_eq!(sender.send_binary(&vec![7; upload()]), Err(SendError::Closed));
    let (outcome, receiver) = receiving.join().expect("no panic");
    assert_eq!(outcome, Err(ReceiveError::Failed(Error::Timeout(Timeout::Write))));
    assert!(begun.elapsed() < DEADLINE, "it was not woken");
    drop((sender, receiver));
    gone.send(()).expect("the server waits");
    server.end();
}

// Conformance 73, 75.
#[test]
fn the_sending_half_begins_the_closing_handshake_and_the_receiving_half_completes_it() {
    let server = Server::open(|peer| {
        peer.expect_text("last");
        assert_eq!(peer.expect_close(1001), "leaving");
        peer.script("text \"still\"; close 1001");
        peer.shutdown_write();
        peer.expect_end();
    });
    let (mut sender, receiver) = halves(server.addr());
    let receiving = thread::spawn(move || receive_all(receiver));
    sender.send_text("last").expect("an open connection");
    sender.close(CloseCode::GOING_AWAY, "leaving").expect("an open connection");
    assert_eq!(sender.send_text("late"), Err(SendError::Closed));
    assert_eq!(receiving.join().expect("no panic"), ["still"]);
    let closure = sender.closure().expect("an end");
    assert!(closure.clean && closure.code() == 1001, "{closure:?}");
    server.end();
}

#[test]
fn the_receiving_half_answers_the_servers_close_and_the_sending_half_is_told() {
    let server = Server::open(|peer| {
        peer.expect_text("hello");
        peer.script("close 3000 \"bye\"");
        peer.expect_close(3000);
        peer.shutdown_write();
        peer.expect_end();
    });
    let (mut sender, receiver) = halves(server.addr());
    sender.send_text("hello").expect("an open connection");
    assert!(receive_all(receiver).is_empty());
    assert_eq!(sender.send_text("late"), Err(SendError::Closed));
    assert_eq!(sender.closure().map(|closure| closure.code()), Some(3000));
    server.end();
}

// The receiving half waits without a deadline when the Close is sent.
#[test]
fn the_close_timeout_holds_for_a_receiving_half_that_waits_already() {
    let server = Server::open(|peer| {
        peer.script("text \"go\"");
        peer.expect_close(1000);
        peer.expect_end();
    });
    let endless = Config {
        close_timeout: SOON,
        keep_alive_interval: None,
        keep_alive_timeout: None,
        idle_timeout: None,
        ..Config::default()
    };
    let (mut sender, mut receiver) = connect(server.addr(), endless).split();
    let (ended, end) = mpsc::channel();
    let receiving = thread::spawn(move || {
        assert_eq!(receiver.receive(), Ok(Some(Message::Text("go"))));
        ended.send(None).expect("somebody listens");
        let outcome = receiver.receive().map(|message| message.is_some());
        ended.send(Some(outcome)).expect("somebody listens");
    });
    assert_eq!(end.recv_timeout(DEADLINE), Ok(None));
    sender.close(CloseCode::NORMAL, "").expect("an open connection");
    let expected = Err(ReceiveError::Failed(Error::Timeout(Timeout::Close)));
    assert_eq!(end.recv_timeout(DEADLINE), Ok(Some(expected)));
    receiving.join().expect("no panic");
    server.end();
}

#[test]
fn keep_alive_pings_are_sent_while_the_receiving_half_waits() {
    let server = Server::open(|peer| {
        for _ in 0..3 {
            let ping = peer.frame();
            assert_eq!(ping.header.opcode, 9);
            peer.send(
                [&[0x8A, u8::try_from(ping.payload.len()).expect("at most 125")][..], &ping.payload].concat(),
            );
        }
        peer.script("close 1000");
        peer.shutdown_write();
        peer.wait_gone();
    });
    let config =
        Config { keep_alive_interval: Some(SOON), keep_alive_timeout: Some(DEADLINE), ..Config::default() };
    let (_sender, receiver) = connect(server.addr(), config).split();
    assert!(receive_all(receiver).is_empty());
    server.end();
}

#[test]
fn the_receiving_half_reads_on_while_the_sending_half_waits_for_room() {
    let large_len = upload();
    let (received, all_received) = mpsc::channel::<()>();
    let server = Server::taking_little(move |peer| {
        peer.wait_for(10);
        peer.script("repeat 200 { text \"from the server\" }");
        peer.script("ping \"p\"; text \"last\"");
        // Only now it reads.
        all_received.recv_timeout(DEADLINE).expect("the receiving half is not kept waiting");
        let large = peer.frame();
        assert!(large.payload.len() == large_len && large.payload.iter().all(|&octet| octet == 9));
        peer.expect(10, b"p");
        peer.answer_close();
        peer.forget();
    });
    let (mut sender, mut receiver) = halves(server.addr());
    let sending = thread::spawn(move || {
        sender.send_binary(&vec![9; large_len]).expect("an open connection");
        sender.close(CloseCode::NORMAL, "").expect("an open connection");
    });
    for _ in 0..200 {
        assert_eq!(receiver.receive(), Ok(Some(Message::Text("from the server"))));
    }
    assert_eq!(receiver.receive(), Ok(Some(Message::Text("last"))));
    received.send(()).expect("the server waits");
    assert_eq!(receiver.receive(), Ok(None));
    sending.join().expect("no panic");
    server.end();
}

#[test]
fn a_sending_half_that_waits_for_room_learns_of_the_end() {
    for reset in [true, false] {
        let (sent, is_sent) = mpsc::channel::<()>();
        let server = Server::taking_little(move |peer| {
            // The first octets of what will never be whole.
            peer.wait_for(10);
            let _ = is_sent.recv_timeout(SOON);
            if reset {
                peer.reset();
            } else {
                // Octets that fail the connection; our Close finds no room.
                peer.script("op 3");
                peer.pause(SOON);
            }
            peer.forget();
        });
        let config = Config { write_timeout: None, close_timeout: SOON, ..Config::default() };
        let (mut sender, mut receiver) = connect(server.addr(), config).split();
        let receiving = thread::spawn(move || {
            let outcome = receiver.receive_before(Instant::now() + DEADLINE).map(|message| message.is_some());
            assert!(matches!(outcome, Err(ReceiveError::Failed(_))), "{outcome:?}");
        });
        assert_eq!(sender.send_binary(&vec![9; upload()]), Err(SendError::Closed), "reset: {reset}");
        receiving.join().expect("no panic");
        drop(sent);
        server.end();
    }
}

#[test]
fn either_half_goes_on_without_the_other() {
    let server = Server::open(|peer| {
        peer.expect_text("alone");
        peer.expect_gone();
    });
    let (mut sender, receiver) = halves(server.addr());
    drop(receiver);
    sender.send_text("alone").expect("an open connection");
    drop(sender);
    server.end();

    let server = Server::open(|peer| {
        peer.script("text \"alone\"; close 1000");
        peer.expect_close(1000);
        peer.shutdown_write();
        peer.expect_end();
    });
    let (sender, receiver) = halves(server.addr());
    drop(sender);
    assert_eq!(receive_all(receiver), ["alone"]);
    server.end();
}

/// What one message of the large exchanges has.
const MESSAGE: usize = 1 << 20;
const MESSAGES: usize = 20;

#[test]
fn twenty_mib_pass_both_ways_at_once() {
    let server = Server::open(|peer| {
        let writer = peer.stream().try_clone().expect("another descriptor");
        let writing = thread::spawn(move || {
            let header = [&[0x82, 127][..], &(MESSAGE as u64).to_be_bytes()].concat();
            for index in 0..MESSAGES {
                (&writer).write_all(&header).expect("the client reads");
                let octet = u8::try_from(index).expect("few");
                (&writer).write_all(&vec![octet; MESSAGE]).expect("the client reads");
            }
        });
        for index in 0..MESSAGES {
            let frame = peer.frame();
            assert!(frame.payload.len() == MESSAGE && usize::from(frame.payload[7]) == 100 + index);
            peer.forget_read();
        }
        writing.join().expect("no panic");
        peer.answer_close();
        peer.forget();
    });
    let (mut sender, mut receiver) = halves(server.addr());
    let sending = thread::spawn(move || {
        for index in 0..MESSAGES {
            let octet = u8::try_from(100 + index).expect("few");
            sender.send_binary(&vec![octet; MESSAGE]).expect("an open connection");
        }
        sender
    });
    for index in 0..MESSAGES {
        match receiver.receive_before(Instant::now() + DEADLINE) {
            Ok(Some(Message::Binary(payload))) => {
                assert!(payload.len() == MESSAGE && payload.iter().all(|&octet| usize::from(octet) == index));
            }
            other => panic!("{:?}", other.map(|message| message.is_some())),
        }
    }
    let mut sender = sending.join().expect("no panic");
    sender.close(CloseCode::NORMAL, "").expect("an open connection");
    assert_eq!(receiver.receive(), Ok(None));
    server.end();
}

/// Sends the payload of one masked frame back while it comes, and reads nothing while that is not
/// taken.
fn echo_while_reading(mut stream: &std::net::TcpStream) {
    let mut octets = [0; 14];
    stream.read_exact(&mut octets).expect("a header of a large frame");
    let header = Fields::read(&octets).expect("a whole header");
    let key = header.key.expect("a masked frame");
    stream.write_all(&[&[0x82, 127][..], &header.len.to_be_bytes()].concat()).expect("the client reads");
    let mut left = usize::try_from(header.len).expect("a length");
    let mut piece = vec![0; 64 << 10];
    while left > 0 {
        // All but the last are whole keys, so that each piece begins with the key's first octet.
        let count = piece.len().min(left);
        stream.read_exact(&mut piece[..count]).expect("the rest of a frame");
        piece[..count].iter_mut().zip(key.iter().cycle()).for_each(|(octet, key)| *octet ^= key);
        stream.write_all(&piece[..count]).expect("the client reads");
        left -= count;
    }
}

#[test]
fn an_undivided_client_reads_while_it_sends_so_that_an_echo_of_20_mib_does_not_lock_up() {
    const LARGE: usize = 20 << 20;
    let server = Server::open(|peer| {
        echo_while_reading(peer.stream());
        peer.answer_close();
    });
    let config = Config { max_message: 32 << 20, max_frame: 32 << 20, ..Config::default() };
    let mut client = connect(server.addr(), config);
    let mut message = vec![0x5A; LARGE];
    message[LARGE - 1] = 1;
    client.send_binary(&message).expect("it is taken");
    match client.receive_before(Instant::now() + DEADLINE) {
        Ok(Some(Message::Binary(payload))) => assert!(payload == message),
        other => panic!("{:?}", other.map(|message| message.is_some())),
    }
    assert!(client.close_and_wait(CloseCode::NORMAL, "").expect("no reason").clean);
    server.end();
}

#[test]
fn a_message_is_looked_at_while_the_other_half_sends_its_answer() {
    let server = Server::open(|peer| {
        peer.script("text \"borrowed\"");
        peer.expect_text("borrowed");
        peer.expect_text("again: borrowed");
        peer.answer_close();
    });
    let mut client = connect(server.addr(), Config::default());
    {
        let (sender, receiver) = client.halves();
        let Ok(Some(Message::Text(text))) = receiver.receive() else { panic!("no message") };
        sender.send_text(text).expect("an open connection");
        sender.send_text(&format!("again: {text}")).expect("an open connection");
    }
    assert!(client.close_and_wait(CloseCode::NORMAL, "").expect("no reason").clean);
    assert!(client.next_event().is_none());
    server.end();
}

#[test]
fn the_time_in_which_nobody_looks_is_not_held_against_the_server() {
    let (sent, is_sent) = mpsc::channel::<()>();
    let server = Server::open(move |peer| {
        // The client looks away for longer than it lets its server be silent.
        peer.expect_silence(4 * SOON);
        peer.script("text \"here\"");
        sent.send(()).expect("the client waits for that");
        peer.expect_close(1001);
        peer.expect_end();
    });
    let config = Config { idle_timeout: Some(SOON), keep_alive_interval: None, ..Config::default() };
    let mut client = connect(server.addr(), config);
    is_sent.recv_timeout(DEADLINE).expect("a message under way");
    assert_eq!(client.receive(), Ok(Some(Message::Text("here"))));
    // Now it looks.
    assert_eq!(client.receive(), Err(ReceiveError::Failed(Error::Timeout(Timeout::Idle))));
    assert_eq!(client.receive(), Ok(None));
    server.end();
}

#[test]
fn a_deadline_that_passes_ends_the_call_and_not_the_connection() {
    let server = Server::open(|peer| {
        peer.script("text \"Hel\" !fin");
        peer.expect_text("go on");
        peer.script("cont \"lo\"");
        peer.answer_close();
    });
    let mut client = connect(server.addr(), Config::default());
    assert_eq!(client.receive_before(Instant::now()), Err(ReceiveError::TimedOut));
    assert_eq!(client.receive_before(Instant::now() + SOON), Err(ReceiveError::TimedOut));
    client.send_text("go on").expect("an open connection");
    assert_eq!(client.receive_before(Instant::now() + DEADLINE), Ok(Some(Message::Text("Hello"))));
    assert!(client.close_and_wait(CloseCode::NORMAL, "").expect("no reason").clean);
    server.end();
}

#[test]
fn the_messages_can_be_iterated_over() {
    let server = Server::open(|peer| {
        peer.script("text \"one\"; ping; binary \"two\"; close 1000");
        peer.expect(10, b"");
        peer.expect_close(1000);
    });
    let mut client = connect(server.addr(), Config::default());
    let expected = [OwnedMessage::Text("one".to_owned()), OwnedMessage::Binary(b"two".to_vec())];
    assert!(client.messages().map(Result::unwrap).eq(expected));
    server.end();
}

#[test]
fn another_thread_ends_a_connection_whose_own_waits() {
    for abort in [false, true] {
        let server = Server::open(move |peer| {
            if abort {
                peer.expect_end();
            } else {
                assert_eq!(peer.expect_close(1001), "bye");
                peer.script("text \"last\"; close 1001");
            }
        });
        let (mut sender, receiver) = halves(server.addr());
        let stopper = sender.stopper();
        let receiving = thread::spawn(move || {
            let mut receiver = receiver;
            let outcome = receiver.receive().map(|message| message.map(OwnedMessage::from));
            (outcome, receiver)
        });
        if abort {
            stopper.abort();
        } else {
            stopper.close(CloseCode::GOING_AWAY, "bye").expect("an open connection");
        }
        let (outcome, receiver) = receiving.join().expect("no panic");
        if abort {
            assert_eq!(outcome, Err(ReceiveError::Failed(Error::Aborted)));
        } else {
            assert_eq!(outcome, Ok(Some(OwnedMessage::Text("last".to_owned()))));
            assert_eq!(receive_all(receiver), [""; 0]);
            assert!(sender.closure().is_some_and(|closure| closure.clean));
        }
        assert_eq!(sender.send_text("late"), Err(SendError::Closed));
        assert_eq!(stopper.close(None, ""), Err(SendError::Closed));
        server.end();
    }
}

// A server that takes nothing holds the thread that sends, in a poll of its own.
#[test]
fn another_thread_ends_a_connection_that_waits_for_the_server_to_read() {
    let octets = upload();
    let (begun, has_begun) = mpsc::channel();
    let (gone, is_gone) = mpsc::channel::<()>();
    let server = Server::taking_little(move |peer| {
        peer.wait_for(1);
        begun.send(()).expect("the test waits");
        let _ = is_gone.recv_timeout(DEADLINE);
        peer.forget();
    });
    let config = Config { write_timeout: None, ..Config::default() };
    let (mut sender, mut receiver) = connect(server.addr(), config).split();
    let stopper = receiver.stopper();
    let sending = thread::spawn(move || sender.send_binary(&vec![0; octets]));
    has_begun.recv_timeout(DEADLINE).expect("some of the message arrives");
    stopper.abort();
    assert_eq!(sending.join().expect("no panic"), Err(SendError::Closed));
    assert_eq!(receiver.receive(), Err(ReceiveError::Failed(Error::Aborted)));
    drop(gone);
    server.end();
}

// It held the connection, which stayed open.
#[test]
fn a_stopper_does_not_keep_the_connection_of_a_client_that_is_dropped() {
    let server = Server::open(|peer| peer.expect_end());
    let client = connect(server.addr(), Config::default());
    let stopper = client.stopper();
    drop(client);
    server.end();
    assert_eq!(stopper.close(CloseCode::NORMAL, ""), Err(SendError::Closed));
    stopper.abort();
}
