//! Many messages, and long ones, octet by octet the same.

use super::client::{Ca, Connector};
use super::{start, start_echo, tls};
use crate::common::wait_until;
use crate::scripted::Scripted;
use framewright::frame::{OpCode, encode_frame};
use framewright_server::{Config, Options};
use std::io::{Read as _, Write as _};
use std::thread;

/// Octets that do not repeat within any record.
fn octets(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    };
    let mut octets: Vec<u8> = std::iter::repeat_with(&mut next).take(len.div_ceil(4)).flatten().collect();
    octets.truncate(len);
    octets
}

#[test]
fn a_million_small_messages_come_back_as_they_were() {
    const ALL: u32 = 1_000_000;
    let (server, connector) = start_echo(|builder| builder);
    let mut client = connector.open(server.addr(), "/");
    let (mut sent, mut received) = (0, 0);
    while received < ALL {
        // As many as both sides' buffers take, in one write.
        let mut frames = Vec::new();
        while sent < ALL && sent - received < 2000 {
            encode_frame(&mut frames, true, OpCode::Binary, &sent.to_be_bytes(), Some([1, 2, 3, 4]));
            sent += 1;
        }
        client.send(frames);
        let expected: Vec<u8> = (received..sent)
            .flat_map(|number| [[0x82, 4].as_slice(), &number.to_be_bytes()].concat())
            .collect();
        assert!(client.read_exact(expected.len()) == expected, "behind message {received}");
        received = sent;
    }
    client.leave();
}

#[test]
fn a_message_of_64_mib_comes_back_as_it_was() {
    const LEN: usize = 64 << 20;
    let ca = Ca::new("the CA");
    let options = Options {
        connection: Config {
            max_message: LEN as u64,
            max_frame: LEN as u64,
            high_water: 1 << 20,
            ..Config::default()
        },
        ..Options::default()
    };
    let server =
        start(tls(&ca.issue(&["localhost"])), Scripted::echo().0, |builder| builder.options(options));
    let connector = Connector::new(&ca);
    let mut client = connector.open(server.addr(), "/");
    let payload = octets(LEN, 1);
    client.send_binary(&payload);
    let (opcode, received) = client.message();
    assert!(opcode == OpCode::Binary && received == payload);
    client.leave();
}

/// Reads and writes of all sizes, whose records are cut wherever the kernel cuts them.
#[test]
fn messages_of_all_sizes_come_back_while_the_peer_reads_late() {
    let (server, connector) = start_echo(|builder| builder.workers(2));
    let addr = server.addr();
    thread::scope(|scope| {
        for seed in 0..4 {
            let connector = &connector;
            scope.spawn(move || {
                let mut client = connector.open(addr, "/");
                let messages: Vec<Vec<u8>> =
                    (0..60).map(|number| octets(number * number * number % 100_000, seed)).collect();
                for some in messages.chunks(6) {
                    for message in some {
                        client.send_binary(message);
                    }
                    for message in some {
                        assert!(client.message().1 == *message, "{} octets", message.len());
                    }
                }
                client.leave();
            });
        }
    });
}

/// A client that writes its records in single octets, and reads in them.
#[test]
fn records_that_come_octet_by_octet_are_put_together() {
    let (server, connector) = start_echo(|builder| builder);
    let mut client = connector.open(server.addr(), "/");
    let message = octets(300, 9);
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, OpCode::Binary, &message, Some([1, 2, 3, 4]));
    let stream = client.stream_mut();
    let mut ciphertext = Vec::new();
    for piece in frame.chunks(100) {
        stream.conn.writer().write_all(piece).expect("room");
        stream.conn.write_tls(&mut ciphertext).expect("room");
    }
    for octet in ciphertext.chunks(1) {
        stream.sock.write_all(octet).expect("room");
    }
    let mut received = Vec::new();
    while received.len() < 4 + message.len() {
        let mut octet = [0];
        assert_eq!(stream.sock.read(&mut octet).expect("an octet"), 1);
        stream.conn.read_tls(&mut &octet[..]).expect("an octet");
        stream.conn.process_new_packets().expect("records");
        // An error says that there is nothing yet.
        let _ = stream.conn.reader().read_to_end(&mut received);
    }
    assert!(received[4..] == message[..]);
    client.leave();
}

/// One of them is slow for a while: what its socket has not taken is encrypted already.
#[test]
fn what_is_published_to_many_arrives_over_tls_too() {
    let ca = Ca::new("the CA");
    let handler = Scripted::new().0.open(|socket| socket.subscribe("topic").expect("room"));
    let server = start(tls(&ca.issue(&["localhost"])), handler, |builder| builder.workers(2));
    let connector = Connector::new(&ca);
    let mut clients: Vec<_> = (0..4).map(|_| connector.open(server.addr(), "/")).collect();
    let sizes = [10, 200, 5000, 60_000, 10, 200_000, 300_000, 1, 100_000, 40_000];
    let texts: Vec<String> = sizes.iter().map(|size| "x".repeat(*size)).collect();
    // Retained by nobody: all are subscribed when the first one has arrived everywhere.
    wait_until("they are subscribed", || server.handle().subscribers("topic") == clients.len());
    for _ in 0..3 {
        texts.iter().for_each(|text| server.handle().publish("topic", &**text).expect("room"));
        for client in &mut clients {
            texts.iter().for_each(|text| client.expect_text(text));
        }
    }
    clients.into_iter().for_each(|client| client.leave());
}
