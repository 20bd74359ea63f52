//! Compression, by the options of the program.

use crate::common::Deflating;
use crate::program::Program;
use framewright::frame::OpCode;

/// What Chromium offers.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// Digits that compress, the better the more is searched for.
fn compressible() -> Vec<u8> {
    (0..3000_u32).flat_map(|number| (number * number % 977).to_string().into_bytes()).collect()
}

#[test]
fn compress_says_what_is_agreed_on() {
    for (args, expected) in [
        (&[][..], Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")),
        (
            &["--compress", "shared"],
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        (&["--compress", "takeover"], Some("permessage-deflate; client_max_window_bits=12")),
        (&["--compress", "off"], None),
    ] {
        for streamed in [&[][..], &["--stream"]] {
            let program = Program::echo(&[args, streamed].concat());
            let mut client = program.connect();
            let answer = client.open_with("/ws", &format!("Sec-WebSocket-Extensions: {OFFER}\r\n"));
            assert_eq!(answer.field("Sec-WebSocket-Extensions"), expected, "{args:?}");
            let message = "hello, ".repeat(100);
            if expected.is_some() {
                let mut client = Deflating::begin(client, &answer);
                let wires = [(); 2].map(|()| {
                    let received = client.echo(OpCode::Text, message.as_bytes());
                    assert!(received.compressed && received.wire < message.len() / 4);
                    received.wire
                });
                // A second time it is shorter where the first one is remembered.
                assert_eq!(wires[1] < wires[0], args.contains(&"takeover"), "{args:?}");
            } else {
                client.send_text(&message);
                client.expect_text(&message);
            }
        }
    }
}

#[test]
fn compress_off_refuses_compressed_messages() {
    let program = Program::echo(&["--compress", "off"]);
    let mut client = program.open("/ws");
    client.send(crate::common::frame_with_rsv1(
        true,
        OpCode::Text,
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
    ));
    client.expect_close(1002);
}

#[test]
fn a_higher_level_compresses_to_less() {
    let [fast, small] = ["1", "9"].map(|level| {
        let program = Program::echo(&["--compress-level", level]);
        Deflating::open(program.addr(), "/ws", OFFER).echo(OpCode::Text, &compressible()).wire
    });
    assert!(small < fast, "{small} octets with level 9, {fast} with level 1");
}

#[test]
fn messages_below_the_threshold_are_sent_as_they_are() {
    for (args, threshold) in
        [(&[][..], 128), (&["--compress-threshold", "1000"], 1000), (&["--compress-threshold", "20"], 20)]
    {
        let program = Program::echo(args);
        let mut client = Deflating::open(program.addr(), "/ws", OFFER);
        for (len, compressed) in [(threshold - 1, false), (threshold, true)] {
            let received = client.echo(OpCode::Text, &vec![b'x'; len]);
            assert_eq!(received.compressed, compressed, "{args:?}, {len} octets");
        }
    }
}

#[test]
fn takeover_is_agreed_on_as_long_as_there_is_memory() {
    // Some of what is sent and 4 KiB of what is received each, in three quarters of the memory.
    let each = framewright::deflate::DeflateConfig::default().history + (4 << 10);
    let for_them = |count: usize| (4 * count * each).div_ceil(3);
    for (memory, expected) in [(0, 0), (each, 0), (for_them(1), 1), (for_them(2), 2)] {
        let program = Program::echo(&["--compress", "takeover", "--compress-memory", &memory.to_string()]);
        let mut clients: Vec<_> = (0..4).map(|_| Deflating::open(program.addr(), "/ws", OFFER)).collect();
        let with = clients.iter().filter(|client| client.terms.server_takeover).count();
        assert_eq!(with, expected, "{memory}");
        for client in &mut clients {
            client.echo(OpCode::Text, &compressible());
        }
    }
}

#[test]
fn the_maximum_counts_the_inflated_message() {
    for args in [&["--max-message", "2000000"][..], &["--max-message", "2000000", "--stream"]] {
        let program = Program::echo(args);
        let mut client = Deflating::open(program.addr(), "/ws", OFFER);
        client.client.send(crate::common::frame_with_rsv1(true, OpCode::Binary, &crate::common::zeros(1)));
        assert_eq!(client.receive().message.len(), 1 << 20);
        client.client.send(crate::common::frame_with_rsv1(true, OpCode::Binary, &crate::common::zeros(2)));
        loop {
            let frame = client.client.frame();
            if frame.opcode == OpCode::Close {
                assert_eq!(frame.close(), (1009, "message too large"), "{args:?}");
                break;
            }
        }
    }
}
