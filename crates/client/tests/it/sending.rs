//! What the client puts on the wire, and what it refuses to (RFC 6455, sections 5.3, 5.5, 6.1 and
//! 10.3).

use crate::common::{
    AnyClient, Command, DEADLINE, Kind, Loop, SOON, Server, plain, request, through_both_apis,
};
use framewright::{CloseCode, Closure, Config, Error, Message, Prepared, SendError, Timeout};
use framewright_client::Options;
use framewright_testkit::endpoint::Seen;
use framewright_testkit::rng::SplitMix64;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the most frequent one of these comes.
fn most_frequent<T: Hash + Eq>(values: impl Iterator<Item = T>) -> usize {
    let mut counts = HashMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0) += 1);
    counts.into_values().max().unwrap_or(0)
}

// Conformance 53, 62, 95.
//= https://www.rfc-editor.org/rfc/rfc6455#section-5.3
//# The masking key needs to be
//# unpredictable; thus, the masking key MUST be derived from a strong
//# source of entropy, and the masking key for a given frame MUST NOT
//# make it simple for a server/proxy to predict the masking key for a
//# subsequent frame.
#[test]
fn every_frame_is_masked_with_a_key_that_those_before_do_not_tell() {
    const FRAMES: usize = 20_000;
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            let frames =
                (0..FRAMES).map(|_| u32::from_be_bytes(peer.frame().header.key.expect("a masked frame")));
            let keys: Vec<u32> = frames.collect();
            peer.answer_close();
            keys
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        for index in 0..FRAMES {
            client.insist(match index % 5 {
                0 => Command::Send(Message::Text("the same")),
                1 => Command::Send(Message::Binary(b"")),
                2 => Command::Ping(b""),
                3 => Command::Pong(b"data"),
                _ => Command::Send(Message::Binary(&[0; 130])),
            });
        }
        client.start_close(1000, "").expect("an open connection");
        client.rest();
        let keys = server.end();

        // By chance two of so many are the same once in 20 runs, and three of them never.
        assert!(most_frequent(keys.iter()) <= 2);
        let steps: Vec<u32> = keys.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(most_frequent(steps.iter()) <= 2, "a counter");
        assert!(most_frequent(keys.windows(2).map(|pair| pair[0] ^ pair[1])) <= 2, "a pattern");
        // With k' = a k + c the steps are a geometric sequence, whatever a and c are.
        let geometric = |pair: &&[u32]| steps[1].wrapping_mul(pair[0]) == steps[0].wrapping_mul(pair[1]);
        assert!(steps.windows(2).skip(1).filter(geometric).count() < FRAMES / 10, "a linear congruence");
        for bit in 0..32 {
            let ones = keys.iter().filter(|key| *key >> bit & 1 == 1).count();
            // Seven standard deviations.
            assert!(ones.abs_diff(FRAMES / 2) < 500, "bit {bit} is set in {ones} of {FRAMES}");
        }
    });
}

// Conformance 82; the caller's octets are never changed (5.3).
#[test]
fn messages_leave_as_they_were_given() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_text("");
            peer.expect_text("caf\u{e9}");
            peer.expect(2, &[0, 255, 0]);
            peer.expect(2, &[9; 70_000]);
            peer.expect_text("for many");
            for (fin, opcode, payload) in
                [(false, 1, &b"one "[..]), (true, 9, b"between"), (false, 0, b"two "), (true, 0, b"")]
            {
                let frame = peer.frame();
                assert_eq!((frame.header.fin, frame.header.opcode, &*frame.payload), (fin, opcode, payload));
            }
            peer.answer_close();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        client.send_text("").expect("an open connection");
        client.send_text("caf\u{e9}").expect("an open connection");
        let octets = [0, 255, 0];
        client.send_binary(&octets).expect("an open connection");
        assert_eq!(octets, [0, 255, 0]);
        client.insist(Command::Owned(Message::Binary(&[9; 70_000])));
        client.insist(Command::Prepared(&Prepared::new(Message::Text("for many"))));
        for command in [
            Command::Fragment(Message::Text("one "), false),
            Command::Ping(b"between"),
            Command::Fragment(Message::Text("two "), false),
            Command::Fragment(Message::Text(""), true),
        ] {
            client.command(command).expect("an open connection");
        }
        client.start_close(1000, "").expect("an open connection");
        client.expect_close_received(Some(1000), "");
        assert!(client.expect_closed().clean);
        server.end();
    });
}

// Conformance 70, 72, 81, 90.
#[test]
fn what_must_not_be_sent_is_refused_and_nothing_is_written() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        assert_eq!(CloseCode::new(code), None, "{code} cannot be said at all");
    }
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            peer.expect_text("first");
            let begun = peer.frame();
            assert_eq!((begun.header.fin, begun.header.opcode, &*begun.payload), (false, 1, &b"begun"[..]));
            peer.expect_close(1000);
            peer.script("close 1000");
            peer.shutdown_write();
            peer.expect_end();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        let long = "x".repeat(126);
        assert_eq!(client.command(Command::Ping(long.as_bytes())), Err(SendError::ControlTooLong));
        assert_eq!(client.command(Command::Pong(long.as_bytes())), Err(SendError::ControlTooLong));
        assert_eq!(client.start_close(1000, &long[..124]), Err(SendError::CloseReason));
        assert_eq!(
            client.command(Command::Close(None, "a reason without a code")),
            Err(SendError::CloseReason)
        );
        client.send_text("first").expect("an open connection");
        client.command(Command::Fragment(Message::Text("begun"), false)).expect("an open connection");
        assert_eq!(client.send_text("inside"), Err(SendError::FragmentInProgress));
        let other = Command::Fragment(Message::Binary(b"other"), true);
        assert_eq!(client.command(other), Err(SendError::FragmentType));
        client.start_close(1000, "").expect("an open connection");
        for late in [
            Command::Send(Message::Text("late")),
            Command::Owned(Message::Text("late")),
            Command::Prepared(&Prepared::new(Message::Text("late"))),
            Command::Fragment(Message::Text("late"), true),
            Command::Ping(b""),
            Command::Pong(b""),
            Command::Close(None, ""),
        ] {
            assert_eq!(client.command(late), Err(SendError::Closed));
        }
        client.rest();
        assert_eq!(client.send_text("later"), Err(SendError::Closed));
        server.end();
    });
}

#[test]
fn a_reason_of_multi_octet_characters_is_refused_over_123_octets_and_never_cut_inside_one() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            assert_eq!(peer.expect_close(4000), "\u{2708}".repeat(41));
            peer.script("close");
            peer.shutdown_write();
            peer.expect_end();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        for long in ["\u{2708}".repeat(42), "\u{e9}".repeat(62), "x".to_owned() + &"\u{2708}".repeat(41)] {
            assert_eq!(client.start_close(4000, &long), Err(SendError::CloseReason));
        }
        client.start_close(4000, &"\u{2708}".repeat(41)).expect("123 octets");
        client.rest();
        server.end();
    });
    // One that ends a failed connection is cut: there is nobody to tell.
    let server = Server::open(|peer| {
        assert_eq!(peer.expect_close(1011), "\u{e9}".repeat(61));
        peer.expect_end();
    });
    let mut client = Loop::connect(request(server.addr()), &plain()).expect("an open connection");
    let mut socket = client.client.socket(Instant::now(), &mut client.buffers).expect("an open connection");
    socket.fail(CloseCode::INTERNAL_ERROR, &"\u{e9}".repeat(100));
    drop(socket);
    assert_eq!(client.expect_closed().cause, Some(Error::Failed(CloseCode::INTERNAL_ERROR)));
    server.end();
}

/// Sends until the connection ends. Returns the end, and the most bytes that waited to be sent.
///
/// A refusal is not yet the end: a kernel may find room after it had none, and then more is sent.
fn send_until_the_end(client: &mut dyn AnyClient, message: &[u8]) -> (Closure, usize) {
    let mut most = 0;
    loop {
        match client.send_binary(message) {
            Ok(()) => most = client.buffered().max(most),
            Err(SendError::Full) => match client.next() {
                Some(Seen::Writable) => {}
                Some(Seen::Closed(closure)) => return (closure, most),
                other => panic!("{other:?}"),
            },
            Err(SendError::Closed) => return (client.expect_closed(), most),
            Err(error) => panic!("{error}"),
        }
    }
}

// Blocking, the send ends with the connection; in an event loop, what waits is bounded.
#[test]
fn a_server_that_stops_reading_is_left_after_the_write_timeout_and_little_waits_for_it() {
    const HIGH_WATER: usize = 256 << 10;
    const MESSAGE: usize = 64 << 10;
    const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
    through_both_apis(|kind| {
        let (gone, is_gone) = std::sync::mpsc::channel::<()>();
        let server = Server::taking_little(move |peer| {
            // Reads when the client is gone.
            let _ = is_gone.recv_timeout(DEADLINE);
            peer.wait_gone();
            let frames = framewright_testkit::wire::frames(&peer.wire);
            assert!(frames.iter().all(|frame| frame.header.opcode == 2), "no Close could be sent");
            peer.forget();
        });
        let connection = Config {
            write_timeout: Some(WRITE_TIMEOUT),
            high_water: HIGH_WATER,
            low_water: HIGH_WATER / 2,
            ..Config::default()
        };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        let before = Instant::now();
        let (closure, most) = send_until_the_end(&mut *client, &[7; MESSAGE]);
        assert!(before.elapsed() >= WRITE_TIMEOUT);
        assert_eq!((closure.cause, closure.clean), (Some(Error::Timeout(Timeout::Write)), false));
        assert!(most < HIGH_WATER + MESSAGE + 14, "{most}");
        assert_eq!(most >= HIGH_WATER, kind == Kind::EventLoop, "{most}");
        assert_eq!(client.send_text("late"), Err(SendError::Closed));
        drop(client);
        gone.send(()).expect("the server waits");
        server.end();
    });
}

// There is room again.
#[test]
fn a_server_that_reads_on_gets_everything() {
    const MESSAGES_BEHIND: u64 = 20;
    through_both_apis(|kind| {
        let (full, is_full) = std::sync::mpsc::channel::<()>();
        let sent = Arc::new(AtomicU64::new(0));
        let reads = Arc::new(AtomicBool::new(false));
        let (its_sent, its_reads) = (Arc::clone(&sent), Arc::clone(&reads));
        let server = Server::taking_little(move |peer| {
            // Reads when the client has no more room: in an event loop it says so, and blocking it
            // gets no further.
            match kind {
                Kind::EventLoop => is_full.recv_timeout(DEADLINE).expect("a refusal"),
                Kind::Blocking => wait_until_still(&its_sent),
            }
            its_reads.store(true, Ordering::Relaxed);
            let mut received: u64 = 0;
            loop {
                let frame = peer.frame();
                peer.forget_read();
                if frame.header.opcode == 8 {
                    break;
                }
                assert!(frame.payload.len() == 64 << 10 && frame.payload[..8] == received.to_be_bytes());
                received += 1;
            }
            peer.script("close 1000");
            peer.shutdown_write();
            peer.expect_end();
            received
        });
        let connection = Config { high_water: 256 << 10, ..Config::default() };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        let (mut full, mut behind, mut message) = (Some(full), 0, vec![0; 64 << 10]);
        while behind < MESSAGES_BEHIND {
            behind += u64::from(reads.load(Ordering::Relaxed));
            // Counted when it is begun: on some machines the sockets do not hold a whole one.
            message[..8].copy_from_slice(&sent.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            while let Err(error) = client.send_binary(&message) {
                assert_eq!((error, kind), (SendError::Full, Kind::EventLoop));
                full.take().map_or(Ok(()), |full| full.send(())).expect("the server waits");
                client.wait();
            }
        }
        client.start_close(1000, "").expect("an open connection");
        let writable = client.rest().iter().filter(|event| **event == Seen::Writable).count();
        assert_eq!(writable > 0, kind == Kind::EventLoop);
        assert_eq!(server.end(), sent.load(Ordering::Relaxed));
    });
}

/// Waits until this number is above 0 and has stood still for a while.
fn wait_until_still(number: &AtomicU64) {
    let mut before = 0;
    loop {
        std::thread::sleep(SOON);
        let now = number.load(Ordering::Relaxed);
        if now > 0 && now == before {
            return;
        }
        before = now;
    }
}

// Every payload is compared, so that an octet of another message would show.
#[test]
fn no_octet_of_an_earlier_message_leaves_with_a_later_one() {
    const SEED: u64 = 62;
    let lengths = || {
        let mut rng = SplitMix64::new(SEED);
        let mut lengths = vec![100_000];
        lengths.extend((0..150).map(|_| match rng.below(4) {
            0 => rng.below(20),
            1 => rng.below(200),
            2 => rng.below(5_000),
            _ => rng.below(70_000),
        }));
        lengths.into_iter().enumerate().map(|(index, len)| {
            let octet = u8::try_from(index % 251).expect("below 251");
            // The first one is the poison.
            vec![if index == 0 { 0xAA } else { octet }; len]
        })
    };
    through_both_apis(|kind| {
        let server = Server::taking_little(move |peer| {
            for (index, message) in lengths().enumerate() {
                if index % 7 == 3 {
                    peer.expect(9, &message[..message.len().min(125)]);
                }
                let frame = peer.frame();
                assert!(frame.payload == message, "message {index} with seed {SEED}");
            }
            peer.answer_close();
        });
        let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
        for (index, message) in lengths().enumerate() {
            if index % 7 == 3 {
                client.insist(Command::Ping(&message[..message.len().min(125)]));
            }
            let message = Message::Binary(&message);
            client.insist(if index % 3 == 1 { Command::Owned(message) } else { Command::Send(message) });
        }
        client.insist(Command::Close(Some(CloseCode::NORMAL), ""));
        client.rest();
        server.end();
    });
}
