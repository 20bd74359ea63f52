//! Options for connections and messages.

use crate::common::Client;
use crate::program::{PROGRAM, Program};
use framewright::frame::OpCode;
use std::process::Command;

#[test]
fn whom_a_connection_is_from_is_what_trusted_proxies_say() {
    let with = |args: &[&str], before: &str, fields: &str| {
        let mut program = Program::echo(&[&["-v", "--trusted-proxy", "127.0.0.1"], args].concat());
        let mut client = program.connect();
        client.send(before);
        client.open_with("/ws", fields);
        client.leave();
        assert_eq!(program.interrupt(), Some(0));
        program.err.iter().collect::<Vec<_>>().join("\n")
    };
    let fields = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n";
    let line = with(&[], "", fields);
    assert!(line.contains("192.0.2.1") && line.contains("127.0.0.1:"), "{line}");
    let line = with(&["--forwarded-field", "forwarded"], "", fields);
    assert!(line.contains("192.0.2.2") && !line.contains("192.0.2.1"), "{line}");
    let header = "PROXY TCP4 192.0.2.3 127.0.0.1 1 2\r\n";
    let line = with(&["--proxy-protocol", "--forwarded-field", "none"], header, fields);
    assert!(line.contains("192.0.2.3") && !line.contains("192.0.2.1"), "{line}");
}

#[test]
fn messages_come_back_whole_by_default_and_piece_by_piece_when_streamed() {
    let whole = Program::echo(&[]);
    let mut client = whole.open("/ws");
    client.send_frame(false, OpCode::Text, b"one ");
    client.send_frame(true, OpCode::Continuation, b"two");
    client.expect_text("one two");

    let stream = Program::echo(&["--stream"]);
    let mut client = stream.open("/ws");
    client.send_frame(false, OpCode::Text, b"one ");
    let frame = client.frame();
    assert_eq!((frame.fin, frame.opcode, &frame.payload[..]), (false, OpCode::Text, &b"one "[..]));
    client.send_frame(true, OpCode::Continuation, b"two");
    let (mut fin, mut rest) = (false, Vec::new());
    while !fin {
        let frame = client.frame();
        assert_eq!(frame.opcode, OpCode::Continuation);
        (fin, rest) = (frame.fin, [rest, frame.payload].concat());
    }
    assert_eq!(rest, b"two");
}

#[test]
fn the_most_wanted_subprotocol_is_chosen() {
    let program = Program::echo(&["--subprotocol", "v2", "--subprotocol", "v1"]);
    for (offered, chosen) in [("v1, v2", Some("v2")), ("v1", Some("v1")), ("other", None), ("V2", None)] {
        let fields = format!("Sec-WebSocket-Protocol: {offered}\r\n");
        let answer = program.connect().upgrade("/ws", &fields);
        assert_eq!((answer.status, answer.field("Sec-WebSocket-Protocol")), (101, chosen), "{offered}");
    }
}

#[test]
fn only_allowed_origins_connect() {
    let program =
        Program::echo(&["--allowed-origin", "https://a.example", "--allowed-origin", "http://localhost:1"]);
    for (fields, status) in [
        ("Origin: https://a.example\r\n", 101),
        ("Origin: http://LOCALHOST:1\r\n", 101),
        ("", 101),
        ("Origin: https://a.example.evil\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        assert_eq!(program.connect().upgrade("/ws", fields).status, status, "{fields}");
    }
}

#[test]
fn a_message_over_the_maximum_is_refused_with_1009() {
    for delivery in [&["--max-message", "100"][..], &["--max-message", "100", "--stream"]] {
        let program = Program::echo(delivery);
        let mut client = program.open("/ws");
        client.send_binary(&[1; 100]);
        assert_eq!(client.message().1, [1; 100]);
        client.send_binary(&[1; 101]);
        client.expect_close(1009);
        client.expect_end();
    }
}

#[test]
fn a_connection_over_the_maximum_is_refused_with_503() {
    let program = Program::echo(&["--max-connections", "1"]);
    let mut client = program.open("/ws");
    let mut refused = program.connect();
    let answer = refused.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.field("Retry-After").is_some());
    refused.expect_end();
    client.send_text("still here");
    client.expect_text("still here");
}

#[test]
fn timers_are_set_in_seconds_and_fractions_of_them() {
    let idle = Program::echo(&["--idle-timeout", "0.2"]);
    let mut client = idle.open("/ws");
    assert_eq!(client.expect_close(1001), "idle timeout");

    let pinging = Program::echo(&["--keep-alive-interval", "0.05"]);
    let mut client = pinging.open("/ws");
    for _ in 0..3 {
        assert_eq!(client.frame().opcode, OpCode::Ping);
    }

    let demanding = Program::echo(&["--keep-alive-interval", "0.05", "--keep-alive-timeout", "0.05"]);
    let mut client = demanding.open("/ws");
    assert_eq!(client.frame().opcode, OpCode::Ping);
    assert_eq!(client.expect_close(1011), "keep-alive timeout");

    let half = Program::echo(&["--message-timeout", "0.05"]);
    let mut client = half.open("/ws");
    client.send_frame(false, OpCode::Text, b"half");
    assert_eq!(client.expect_close(1008), "message timeout");
}

#[test]
fn reads_of_one_octet_are_enough() {
    let program = Program::echo(&["--receive-buffer-size", "1"]);
    let mut client = program.open("/ws");
    let text = "x".repeat(1000);
    client.send_text(&text);
    client.expect_text(&text);
}

#[test]
fn a_unix_socket_is_served_and_its_file_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("echo");
    let listen = format!("unix:{}", path.display());
    let mut program = Program::start(Command::new(PROGRAM).args(["echo", "--listen", &listen]));
    assert_eq!(program.listening(), [listen]);
    let mut client = Client::connect_unix(&path);
    client.open("/ws");
    client.send_text("hello");
    client.expect_text("hello");
    client.leave();
    let mut client = Client::connect_unix(&path);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.expect_end();
    assert_eq!(program.interrupt(), Some(0));
    assert!(!path.exists());
}

#[test]
fn the_soft_limit_on_descriptors_is_raised_to_the_hard_one() {
    let output = Command::new("sh").args(["-c", "ulimit -Hn"]).output().expect("a shell");
    let hard = String::from_utf8(output.stdout).expect("UTF-8");
    let script = "ulimit -Sn 256; exec \"$0\" echo --listen 127.0.0.1:0";
    let program = Program::start(Command::new("sh").args(["-c", script, PROGRAM]));
    let said = program.said.join("\n");
    let (_, descriptors) = said.split_once("descriptors ").expect("the number is printed");
    let descriptors: u64 = descriptors.lines().next().unwrap_or_default().parse().expect("a number");
    match hard.trim().parse::<u64>() {
        Ok(hard) => assert_eq!(descriptors, hard),
        Err(_) => assert!(descriptors > 256, "unlimited, as far as the system allows"),
    }
}
