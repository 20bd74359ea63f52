//! Peers that write everything before they read: they can read why they were refused.

use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::probe::{Probe, frame, ws};
use framewright::frame::{Header, MAX_HEADER_LEN, OpCode};
use framewright_server::{Config, Options};
use std::time::Duration;

/// More than the kernel takes for a server that does not read, and more than a message may have.
const TOO_MUCH: usize = 17_000_000;

/// What a header announces, and no more of it.
fn header_of(opcode: OpCode, payload_len: u64) -> Vec<u8> {
    let header = Header { fin: true, rsv: 0, opcode, mask: Some([1, 2, 3, 4]), payload_len };
    let mut octets = [0; MAX_HEADER_LEN];
    let len = header.encode(&mut octets);
    octets[..len].to_vec()
}

/// Writes at full speed, and reads only then.
#[track_caller]
fn expect_close_behind(mut client: Client, octets: &[u8], code: u16) {
    client.send(octets);
    client.expect_close(code);
    client.send(frame(true, OpCode::Close, &code.to_be_bytes()));
    client.expect_end();
}

#[test]
fn a_writer_at_full_speed_reads_that_its_message_is_too_large() {
    let (probe, _watch) = Probe::echo();
    let server = TestServer::start(ws(probe));
    let max_message = usize::try_from(Config::default().max_message).expect("an address space");
    for len in [TOO_MUCH, TOO_MUCH, 2 * max_message] {
        let octets = frame(true, OpCode::Binary, &vec![7; len]);
        expect_close_behind(server.open("/ws"), &octets, 1009);
    }
    // In fragments of which the last is over the limit, and some follow.
    let fragment = frame(false, OpCode::Continuation, &[7; 1 << 20]);
    let octets = [frame(false, OpCode::Binary, &[7; 1 << 20]), fragment.repeat(20)].concat();
    expect_close_behind(server.open("/ws"), &octets, 1009);
    wait_until("they are forgotten", || server.handle().connection_count() == 0);
}

#[test]
fn a_writer_at_full_speed_reads_what_else_was_wrong() {
    let (probe, _watch) = Probe::silent();
    let connection = Config { small_frame_budget: 1, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let with_first = |first| {
        let mut octets = frame(true, OpCode::Binary, &vec![0xff; 16 << 20]);
        octets[0] = first;
        octets
    };
    expect_close_behind(server.open("/ws"), &with_first(0xc2), 1002);
    expect_close_behind(server.open("/ws"), &with_first(0x81), 1007);
    // A small fault with much behind it.
    let small = frame(false, OpCode::Binary, b"small");
    let more = frame(false, OpCode::Continuation, b"small").repeat(2);
    let octets = [small, more, with_first(0x80)].concat();
    expect_close_behind(server.open("/ws"), &octets, 1008);
    let octets =
        [vec![0xc2, 0x80, 1, 2, 3, 4], frame(true, OpCode::Text, b"and more").repeat(1 << 20)].concat();
    expect_close_behind(server.open("/ws"), &octets, 1002);
    wait_until("they are forgotten", || server.handle().connection_count() == 0);
}

#[test]
fn a_writer_at_full_speed_reads_that_its_message_took_too_long() {
    let (probe, watch) = Probe::silent();
    let connection = Config { message_timeout: Some(Duration::from_millis(100)), ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut client = server.open("/ws");
    client.send(header_of(OpCode::Binary, 16 << 20));
    next(&watch.closures);
    expect_close_behind(client, &vec![7; 16 << 20], 1008);
}

#[test]
fn a_writer_at_full_speed_reads_the_refusal_of_its_upload() {
    let (probe, _watch) = Probe::silent();
    let server = TestServer::start(ws(probe));
    for (path, status) in [("/elsewhere", 404), ("/ws", 405)] {
        let mut client = server.connect();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {TOO_MUCH}\r\n\r\n"));
        client.send(vec![b'x'; TOO_MUCH]);
        assert_eq!(client.answer().status, status);
        client.expect_end();
    }
    // Nobody knows how much it is.
    let mut client = server.connect();
    client.send("POST /elsewhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(
        b"10000\r\n".iter().copied().chain([b'x'; 1 << 16]).chain(*b"\r\n").collect::<Vec<u8>>().repeat(300),
    );
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    client.expect_end();
    // A handshake that is refused, with messages behind it.
    let mut client = server.connect();
    client.send(upgrade_request("/elsewhere", ""));
    client.send(vec![7; TOO_MUCH]);
    assert_eq!(client.answer().status, 404);
    client.expect_end();
    wait_until("they are forgotten", || server.handle().connection_count() == 0);
}
