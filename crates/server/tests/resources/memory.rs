//! What connections cost in memory. The kernel's share is not measured.

use crate::common::{Client, wait_until};
use crate::process::ServerProcess;
use framewright::frame::{OpCode, encode_frame};
use socket2::{Domain, Socket, Type};
use std::net::TcpStream;

const MIB: usize = 1 << 20;

/// What the project promises for a connection at rest, in octets. In builds with debug assertions
/// mio keeps 16 octets more of each socket.
const AT_REST: usize = if cfg!(debug_assertions) { 216 } else { 200 };

/// What the allocator may keep of a large message, for each connection, when the server has freed
/// it.
const ALLOCATORS: usize = 24;

#[test]
fn a_connection_at_rest_costs_at_most_200_octets_also_after_it_has_worked() {
    let mut server = ServerProcess::start();
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let count = usize::try_from(descriptors.saturating_sub(200)).unwrap_or(usize::MAX).min(10_000);
    server.open("/echo").leave();
    server.wait_for_connections(0);

    let empty = server.memory();
    let mut clients: Vec<Client> = (0..count).map(|_| server.open("/echo")).collect();
    let cost = |server: &ServerProcess, what: &str| {
        let each = server.memory().saturating_sub(empty) / count;
        println!("{each} octets for each of {count} connections {what}");
        each
    };
    assert!(cost(&server, "at rest") <= AT_REST);

    for client in &mut clients[..count / 2] {
        client.send_binary(&[1; 1000]);
        assert_eq!(client.frame().payload.len(), 1000);
    }
    assert!(cost(&server, "when half of them have sent a message") <= AT_REST);

    for client in &mut clients {
        let mut octets = Vec::new();
        encode_frame(&mut octets, true, OpCode::Ping, b"?", Some([1, 2, 3, 4]));
        client.send(octets);
        assert_eq!(client.frame().opcode, OpCode::Pong);
    }
    assert!(cost(&server, "when all of them have sent a Ping") <= AT_REST);

    let before = server.memory();
    for client in &mut clients[..50] {
        client.send_binary(&vec![2; MIB]);
    }
    for client in &mut clients[..50] {
        assert_eq!(client.frame().payload.len(), MIB);
    }
    cost(&server, "right after fifty messages of a mebibyte");
    // What is kept for the next message is given up when none comes.
    wait_until("the memory is given back", || server.memory() <= before + before / 10);
    assert!(cost(&server, "a while later") <= AT_REST + ALLOCATORS);
    assert_eq!(server.connections(), count);

    drop(clients);
    server.wait_for_connections(0);
    cost(&server, "when they are gone");
}

/// A length costs nothing to declare, so it must cost nothing to hear.
#[test]
fn a_declared_length_allocates_nothing() {
    let mut server = ServerProcess::start();
    server.open("/echo").leave();
    server.wait_for_connections(0);
    let before = server.memory();
    let mut octets = Vec::new();
    encode_frame(&mut octets, true, OpCode::Binary, &vec![0; 16 * MIB], Some([0; 4]));
    let clients: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = server.open("/echo");
            client.send(&octets[..100]);
            client
        })
        .collect();
    // In order: when this is answered, all that came before was read.
    server.open("/echo").leave();
    let each = server.memory().saturating_sub(before) / clients.len();
    println!("{each} octets for each of 200 connections with 100 octets of a frame of 16 MiB");
    assert!(each <= 4096, "{each} octets");
}

/// Nor does a head that never ends cost more than what has come of it.
#[test]
fn half_a_head_costs_little_more_than_its_length() {
    let mut server = ServerProcess::start();
    server.open("/echo").leave();
    server.wait_for_connections(0);
    let before = server.memory();
    let head = format!("GET /echo HTTP/1.1\r\nHost: localhost\r\nCookie: {}", "x".repeat(10_000));
    let clients: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = server.connect();
            for piece in head.as_bytes().chunks(3000) {
                client.send(piece);
            }
            client
        })
        .collect();
    server.wait_for_connections(clients.len());
    server.open("/echo").leave();
    let each = server.memory().saturating_sub(before) / clients.len();
    println!("{each} octets for each of 200 connections with {} octets of a head", head.len());
    assert!(each <= head.len() + 4096, "{each} octets");
}

#[test]
fn the_largest_message_costs_little_more_than_its_length_however_it_is_cut() {
    for fragments in [1, 16, 1000] {
        let server = ServerProcess::start();
        let mut client = server.open("/sink");
        let (before, payload) = (server.peak(), vec![7; 16 * MIB]);
        let mut octets = Vec::new();
        let pieces: Vec<&[u8]> = payload.chunks(payload.len().div_ceil(fragments)).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { OpCode::Binary } else { OpCode::Continuation };
            encode_frame(&mut octets, index + 1 == pieces.len(), opcode, piece, Some([1, 2, 3, 4]));
        }
        client.send(&octets);
        client.expect_text(&payload.len().to_string());
        let cost = server.peak().saturating_sub(before);
        println!("{cost} octets at most for 16 MiB in {fragments} fragments");
        assert!(cost <= 2 * payload.len() + MIB, "{cost} octets");
    }
}

/// What the account says is what the process takes: here of 300 MiB that strangers have sent and
/// left.
#[test]
fn what_all_connections_hold_together_is_bounded() {
    const LIMIT: usize = 32 * MIB;
    let mut server = ServerProcess::start_with(&LIMIT.to_string());
    let mut neighbour = server.open("/echo");
    let before = server.peak();
    let mut octets = Vec::new();
    encode_frame(&mut octets, false, OpCode::Binary, &vec![7; MIB], Some([1, 2, 3, 4]));
    encode_frame(&mut octets, true, OpCode::Ping, b"read?", Some([1, 2, 3, 4]));
    let clients: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = server.open("/sink");
            client.send(&octets);
            assert_eq!(client.frame().opcode, OpCode::Pong);
            neighbour.send_text("not affected");
            neighbour.expect_text("not affected");
            client
        })
        .collect();
    let cost = server.peak().saturating_sub(before);
    println!("{cost} octets at most for 300 MiB of messages that never end");
    assert!(cost <= 2 * LIMIT, "{cost} octets");
    drop(clients);
    server.wait_for_connections(1);
}

/// The payload of a broadcast is shared, however many do not read it.
#[test]
fn a_broadcast_is_held_once_for_all_who_have_not_taken_it() {
    const COUNT: usize = 40;
    let mut server = ServerProcess::start();
    let clients: Vec<Client> = (0..COUNT)
        .map(|_| {
            // Little room, so that little of it is the kernel's.
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_recv_buffer_size(4096).expect("an option of the socket");
            socket.connect(&server.addr().into()).expect("the server accepts");
            let mut client = Client::from_tcp(TcpStream::from(socket));
            client.open("/push");
            client
        })
        .collect();
    server.wait_for_connections(COUNT);
    let before = server.memory();
    assert_eq!(server.tell(&format!("push {}", 8 * MIB)), COUNT.to_string());
    // In order: when this is answered, the loop has begun to write to all of them.
    server.open("/echo").leave();
    let cost = server.memory().saturating_sub(before);
    println!("{cost} octets for a message of 8 MiB to {COUNT} peers that do not read");
    assert!(cost <= 12 * MIB, "{cost} octets");
    drop(clients);
}
