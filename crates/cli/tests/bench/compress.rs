//! `--compress`: what is counted, and what a server has to agree on and to do.

use crate::support::{
    RSV1, answer_frames, answer_frames_with, bench, complaint, frame, number, report, serve, url,
};
use framewright::deflate::{Compressor, Decompressor, Level, WindowBits};
use framewright::frame::{OpCode, encode_frame};
use std::io;
use std::net::TcpStream;

#[test]
fn compressed_messages_and_replies_are_counted_as_what_they_say_and_as_they_are() {
    let shared = url(serve(|stream| compressing_echo(stream, false)));
    let takeover = url(serve(|stream| compressing_echo(stream, true)));
    let ratio = |url: &str, args: &str| {
        let report = report(url, &format!("--kind json --size 1000 --in-flight 2 {args}"));
        let (messages, seconds) = (number(&report["messages"]), number(&report["duration_s"]));
        assert!((number(&report["payload_bytes_per_s"]) * seconds - 1000.0 * messages).abs() < 1.0);
        let (sent, received) = (number(&report["wire_bytes_sent"]), number(&report["wire_bytes_received"]));
        assert!(messages > 0.0 && sent < 800.0 * messages && received < 800.0 * messages, "{report}");
        let ratio = number(&report["reply_ratio"]);
        // Two frames of each reply have headers of two or four octets.
        assert!(received - 1000.0 * ratio * messages <= 8.0 * messages + 1.0, "{report}");
        ratio
    };
    let apart = ratio(&shared, "--compress shared");
    let together = ratio(&takeover, "--compress takeover --verify");
    assert!(together < apart && apart < 0.8, "{together} {apart}");
    let text = String::from_utf8(bench(&shared, "--compress shared --kind json").stdout).expect("UTF-8");
    assert!(text.contains("of their payload") && text.contains("agreed      permessage-deflate; "), "{text}");
}

#[test]
fn a_server_that_does_not_compress_as_it_was_asked_to_ends_the_run() {
    let plain = serve(|stream| answer_frames(stream, |_, opcode, payload| frame(opcode, payload)));
    let shared = serve(|stream| compressing_echo(stream, false));
    let as_it_is =
        serve(|stream| answer_frames_with(stream, TAKEOVER, |_, _, _| frame(OpCode::Text, &[b'x'; 125])));
    let other = serve(|stream| {
        answer_frames_with(stream, TAKEOVER, |_, _, _| compressed_frames(OpCode::Text, &[0xf2, 0x48, 0]))
    });
    for (addr, args, part) in [
        (plain, "--compress shared", "did not agree on permessage-deflate"),
        (shared, "--compress takeover", "without context takeover"),
        (as_it_is, "--compress takeover --kind json", "wrong reply: byte 0"),
        (other, "--compress takeover --kind json", "wrong reply"),
        // A server that was asked for nothing.
        (shared, "", "not offered"),
    ] {
        let (code, said) = complaint(&url(addr), args);
        assert!(code == Some(1) && said.contains(part), "{args}: {code:?} {said}");
    }
}

/// An echo that inflates messages and compresses replies, with context takeover or without.
fn compressing_echo(stream: TcpStream, takeover: bool) -> io::Result<()> {
    let fields = if takeover { TAKEOVER } else { NO_TAKEOVER };
    let (mut compressor, mut decompressor) =
        (Compressor::new(Level::default(), WindowBits::MAX), Decompressor::new());
    answer_frames_with(stream, fields, |_, opcode, payload| {
        if opcode.is_control() {
            return frame(opcode, payload);
        }
        let (mut message, mut reply) = (Vec::new(), Vec::new());
        decompressor.decompress(payload, 1 << 20, &mut message).expect("a compressed message");
        compressor.compress(&message, &mut reply);
        if !takeover {
            compressor.reset();
            decompressor.reset();
        }
        compressed_frames(opcode, &reply)
    })
}

/// A compressed message in two fragments.
fn compressed_frames(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let (first, last) = payload.split_at(payload.len() / 2);
    let mut octets = Vec::new();
    encode_frame(&mut octets, false, opcode, first, None);
    octets[0] |= RSV1 << 4;
    encode_frame(&mut octets, true, OpCode::Continuation, last, None);
    octets
}

const TAKEOVER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const NO_TAKEOVER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
