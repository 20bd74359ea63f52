//! Messages that inflate a thousandfold: what they cost until they are found out.

use crate::common::{Client, frame_with_rsv1, wait_until, zeros};
use crate::process::ServerProcess;
use framewright::deflate::Decompressor;
use framewright::frame::{OpCode, encode_frame};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// How much is inflated, and checked, at a time.
const STEP: usize = 64 * KIB;

/// What is received and not inflated yet: a read of the loop's, and one of a large frame.
const RECEIVED: usize = (136 + 256) * KIB;

fn number(server: &mut ServerProcess, what: &str) -> usize {
    server.tell(what).parse().expect("a number")
}

fn open(server: &ServerProcess, path: &str) -> Client {
    let mut client = server.connect();
    client.open_with(path, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    client
}

/// In one frame, and in frames of so many octets.
fn in_fragments(payload: &[u8], len: usize) -> Vec<u8> {
    let pieces: Vec<&[u8]> = payload.chunks(len).collect();
    let mut octets = frame_with_rsv1(pieces.len() == 1, OpCode::Binary, pieces[0]);
    for (index, piece) in pieces.iter().enumerate().skip(1) {
        encode_frame(&mut octets, index + 1 == pieces.len(), OpCode::Continuation, piece, Some([3; 4]));
    }
    octets
}

/// Sends 1 MiB that inflates to 1 GiB, which has to be refused. Returns how much the heap has grown
/// for it at the most.
fn cost_of_a_bomb(settings: &str, fragment: usize) -> usize {
    let bomb = zeros(KIB);
    assert!(bomb.len() < MIB + MIB / 16, "{} octets", bomb.len());
    let mut server = ServerProcess::start_with(settings);
    open(&server, "/sink").leave();
    let before = number(&mut server, "live");
    let mut client = open(&server, "/sink");
    // It may be refused before it has come.
    let _ = client.try_send(in_fragments(&bomb, fragment));
    assert_eq!(client.expect_close(1009), "message too large");
    let cost = number(&mut server, "peak").saturating_sub(before);
    println!("{cost} octets at most for a bomb of {} in fragments of {fragment}, {settings}", bomb.len());
    drop(client);
    // The server goes on.
    let mut client = open(&server, "/shared");
    client.send_text("well");
    client.expect_text("well");
    cost
}

#[test]
fn a_bomb_costs_the_limit_of_a_message_and_a_step() {
    const LIMIT: usize = 4 * MIB;
    for (settings, fragment) in [("max_message=4194304", 2 * MIB), ("max_message=4194304", 1000)] {
        let cost = cost_of_a_bomb(settings, fragment);
        assert!(cost <= LIMIT + STEP + Decompressor::MAX_SIZE + RECEIVED, "{cost} octets");
    }
    // Without memory to inflate it while it comes, what has come is held until its end, in a vector
    // that doubles.
    let cost = cost_of_a_bomb("max_message=4194304 memory=0", 2 * MIB);
    assert!(cost <= LIMIT + STEP + Decompressor::MAX_SIZE + RECEIVED + 2 * MIB, "{cost} octets");
}

#[test]
fn a_bomb_in_chunks_costs_a_step_however_much_it_may_come_to() {
    for fragment in [2 * MIB, 1000] {
        let cost = cost_of_a_bomb("chunks=1 max_message=67108864", fragment);
        assert!(cost <= STEP + Decompressor::MAX_SIZE + RECEIVED, "{cost} octets");
    }
}

#[test]
fn what_a_large_message_took_is_given_back() {
    let mut server = ServerProcess::start();
    let mut client = open(&server, "/shared");
    let before = number(&mut server, "live");
    for mebibytes in [15, 1, 15] {
        client.send(frame_with_rsv1(true, OpCode::Binary, &zeros(mebibytes)));
        client.frame();
    }
    wait_until("what it took is given back", || number(&mut server, "live") <= before + MIB / 2);
    client.send(frame_with_rsv1(true, OpCode::Binary, &zeros(1)));
    client.frame();
}
