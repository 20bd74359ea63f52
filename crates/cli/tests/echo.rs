//! The program itself: what it prints, what it serves, how it ends.

#![cfg(unix)]

#[path = "../../server/tests/common/mod.rs"]
mod common;
#[cfg(feature = "aws-lc-rs")]
#[path = "../../server/tests/common/tls.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod tls;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Client, Deflating, next, wait_until};
use framewright::CloseCode;
use framewright::frame::{OpCode, encode_frame};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_framewright");

/// A running program. Dropping it kills it.
struct Program {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    /// What it said up to the settings, a line each.
    said: Vec<String>,
}

/// The lines of a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Program {
    /// `framewright echo` on a free port of 127.0.0.1, with these arguments.
    fn echo(args: &[&str]) -> Program {
        Program::start(Command::new(PROGRAM).args(["echo", "--listen", "127.0.0.1:0"]).args(args))
    }

    fn start(command: &mut Command) -> Program {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = lines(child.stdout.take().expect("a pipe"));
        let err = lines(child.stderr.take().expect("a pipe"));
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.starts_with("allowed origins")) {
            match out.recv_timeout(common::DEADLINE) {
                Ok(line) => said.push(line),
                Err(error) => panic!("{error} behind {said:?}: {:?}", err.try_iter().collect::<Vec<_>>()),
            }
        }
        Program { child, out, err, said }
    }

    /// Everywhere it says that it listens.
    fn listening(&self) -> Vec<&str> {
        self.said.iter().filter_map(|line| line.strip_prefix("listening on ")).collect()
    }

    fn addr(&self) -> SocketAddr {
        self.listening()[0].parse().expect("an address")
    }

    fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    fn open(&self, path: &str) -> Client {
        let mut client = self.connect();
        client.open(path);
        client
    }

    /// What it answers to an ordinary request.
    fn request(&self, method: &str, path: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = client.answer();
        client.expect_end();
        answer
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for its end.
    fn wait(&mut self) -> ExitStatus {
        wait_until("the end of the program", || self.child.try_wait().expect("a child").is_some());
        self.child.wait().expect("a child")
    }

    /// Its exit code after Ctrl-C.
    fn interrupt(&mut self) -> Option<i32> {
        self.signal("-INT");
        self.wait().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end, which comes by itself.
fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).stdin(Stdio::null()).output().expect("the program runs")
}

#[test]
fn it_prints_where_it_listens_and_how_it_is_set() {
    let program = Program::echo(&["--workers", "2", "--listen", "[::1]:0"]);
    let listening = program.listening();
    let addrs: Vec<SocketAddr> = listening.iter().map(|addr| addr.parse().expect("an address")).collect();
    assert!(addrs[0].is_ipv4() && addrs[1].is_ipv6() && addrs.iter().all(|addr| addr.port() != 0));
    let said = program.said.join("\n");
    let port = addrs[0].port();
    for part in [
        &format!("open http://localhost:{port}/ in a browser"),
        "echo on /ws, messages whole, up to 16777216 bytes",
        "keep-alive interval 120s, keep-alive timeout 240s, idle timeout off",
        "message timeout 60s, progress 1024 bytes",
        "workers 2, receive buffer ",
        "connections no limit",
        "compression shared, level 1, from 128 bytes, memory 67108864 bytes",
        "allowed origins: any",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    for addr in addrs {
        let mut client = Client::connect(addr);
        client.open("/ws");
        client.send_text("hello");
        client.expect_text("hello");
    }
}

#[test]
fn the_printed_settings_are_the_ones_that_were_given() {
    let program = Program::echo(&[
        "--any-path",
        "--stream",
        "--max-message=1000",
        "--max-connections=7",
        "--memory=104857600",
        "--receive-buffer-size=4096",
        "--keep-alive-interval=0",
        "--keep-alive-timeout=2.5",
        "--idle-timeout=60",
        "--message-timeout=0",
        "--message-progress=1",
        "--allowed-origin=https://a.example",
        "--allowed-origin=http://localhost:8080",
        "--subprotocol=v2",
        "--subprotocol=v1",
        "--compress=takeover",
        "--compress-level=9",
        "--compress-threshold=1000",
        "--compress-memory=1048576",
    ]);
    let mut said = program.said.clone();
    said.push(next(&program.out));
    let said = said.join("\n");
    for part in [
        "echo on every path, messages in pieces, up to 1000 bytes",
        "keep-alive interval off, keep-alive timeout 2.5s, idle timeout 60s",
        "message timeout off, progress 1 bytes",
        "receive buffer 4096 bytes, connections 7, ",
        "memory of all connections 104857600 bytes",
        "compression takeover, level 9, from 1000 bytes, memory 1048576 bytes",
        "allowed origins: https://a.example, http://localhost:8080",
        "subprotocols: v2, v1",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn ctrl_c_tells_the_open_connections_and_says_so_and_ends_with_0() {
    for signal in ["-INT", "-TERM"] {
        let mut program = Program::echo(&[]);
        let mut clients = [program.open("/ws"), program.open("/ws")];
        for client in &mut clients {
            client.send_text("hello");
            client.expect_text("hello");
        }
        program.signal(signal);
        for client in &mut clients {
            assert_eq!(client.expect_close(1001), "server shutting down");
            client.send_close(CloseCode::GOING_AWAY, "");
            client.expect_end();
        }
        assert_eq!(program.wait().code(), Some(0), "{signal}");
        assert_eq!(program.err.iter().collect::<Vec<_>>(), [""; 0], "nothing to complain about");
        let said: Vec<_> = program.out.iter().collect();
        assert_eq!(said, ["stopping; told to leave within 5 s: 2 open connections", "ended"]);
    }
}

#[test]
fn without_connections_ctrl_c_ends_it_at_once() {
    assert_eq!(Program::echo(&["--workers", "3"]).interrupt(), Some(0));
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_drain() {
    let mut program = Program::echo(&[]);
    let mut client = program.open("/ws");
    program.signal("-INT");
    client.expect_close(1001);
    // The client does not answer.
    assert_eq!(program.interrupt(), Some(1));
    client.expect_gone();
}

#[test]
fn a_port_in_use_is_one_clear_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address").to_string();
    let output = run(&["echo", "--listen", &addr]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with(&format!("framewright: cannot listen on {addr}: ")), "{said}");
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    for (args, part) in [
        (&[][..], "Usage"),
        (&["eco"], "eco"),
        (&["echo", "--no-such-option"], "--no-such-option"),
        (&["echo", "extra"], "extra"),
        (&["echo", "--listen", "5000"], "ADDR:PORT"),
        (&["echo", "--listen", "127.0.0.1:65536"], "ADDR:PORT"),
        (&["echo", "--listen", "unix:"], "unix"),
        (&["echo", "--workers", "0"], "--workers"),
        (&["echo", "--path", "ws"], "--path"),
        (&["echo", "--path", "/a b"], "--path"),
        (&["echo", "--allowed-origin", "example.com"], "--allowed-origin"),
        (&["echo", "--allowed-origin", "https://a/path"], "--allowed-origin"),
        (&["echo", "--subprotocol", "a, b"], "--subprotocol"),
        (&["echo", "--subprotocol", ""], "--subprotocol"),
        (&["echo", "--keep-alive-interval", "-1"], "-1"),
        (&["echo", "--keep-alive-timeout", "soon"], "--keep-alive-timeout"),
        (&["echo", "--idle-timeout", "inf"], "--idle-timeout"),
        (&["echo", "--message-timeout", "x"], "--message-timeout"),
        (&["echo", "--message-progress", "-1"], "-1"),
        (&["echo", "--receive-buffer-size", "0"], "--receive-buffer-size"),
        (&["echo", "--receive-buffer-size", "1048577"], "1048577"),
        (&["echo", "--max-message", "1e6"], "--max-message"),
        (&["echo", "--max-connections", "many"], "--max-connections"),
        (&["echo", "--memory", "1G"], "--memory"),
        (&["echo", "--compress", "on"], "off, shared, takeover"),
        (&["echo", "--compress-level", "0"], "0 is not in 1..=9"),
        (&["echo", "--compress-level", "10"], "10 is not in 1..=9"),
        (&["echo", "--compress-threshold", "-1"], "-1"),
        (&["echo", "--compress-threshold", "1k"], "--compress-threshold"),
        (&["echo", "--compress-memory", "64M"], "--compress-memory"),
    ] {
        let output = run(args);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_end_with_0() {
    for (args, part) in [(["--help"], "echo"), (["--version"], env!("CARGO_PKG_VERSION"))] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(part));
    }
    let help = run(&["echo", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout);
    for option in [
        "--listen",
        #[cfg(feature = "tls")]
        "--tls-listen",
        #[cfg(feature = "tls")]
        "--tls-cert",
        #[cfg(feature = "tls")]
        "--tls-key",
        #[cfg(feature = "tls")]
        "--tls-client-ca",
        #[cfg(feature = "aws-lc-rs")]
        "--tls-self-signed",
        "--workers",
        "--path",
        "--any-path",
        "--allowed-origin",
        "--trusted-proxy",
        "--forwarded-field",
        "--proxy-protocol",
        "--keep-alive-interval",
        "--keep-alive-timeout",
        "--idle-timeout",
        "--message-timeout",
        "--message-progress",
        "--receive-buffer-size",
        "--max-message",
        "--max-connections",
        "--memory",
        "--stream",
        "--subprotocol",
        "--compress",
        "--compress-level",
        "--compress-threshold",
        "--compress-memory",
        "--verbose",
    ] {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn verbose_prints_one_line_a_connection_and_otherwise_nothing_is_printed() {
    for (args, expected) in [(&["-v"][..], 3), (&[], 0)] {
        let mut program = Program::echo(args);
        for number in 0..3 {
            program.open(&format!("/ws?{number}")).leave();
        }
        assert_eq!(program.request("GET", "/").status, 200);
        assert_eq!(program.interrupt(), Some(0));
        let lines: Vec<String> = program.err.iter().collect();
        assert_eq!(lines.len(), expected, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("127.0.0.1:") && line.contains("/ws")), "{lines:?}");
    }
}

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
fn a_path_of_ones_own_replaces_ws_on_the_page_too() {
    let program = Program::echo(&["--path", "/chat"]);
    let mut client = program.open("/chat");
    client.send_text("hello");
    client.expect_text("hello");
    assert_eq!(program.connect().upgrade("/ws", "").status, 404);
    assert!(program.request("GET", "/").text().contains("data-path=\"/chat\""));
}

#[test]
fn any_path_echoes_everywhere_and_still_serves_the_page() {
    let program = Program::echo(&["--any-path"]);
    for path in ["/", "/ws", "/runCase?case=1&agent=x", "/a/b/c"] {
        let mut client = program.open(path);
        client.send_text(path);
        client.expect_text(path);
    }
    assert_eq!(program.request("GET", "/").status, 200);
    assert_eq!(program.request("GET", "/elsewhere").status, 400);
}

#[test]
fn the_root_can_be_the_path() {
    let program = Program::echo(&["--path", "/"]);
    let mut client = program.open("/");
    client.send_text("hello");
    client.expect_text("hello");
    assert_eq!(program.request("GET", "/").status, 200);
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
    client.send(common::frame_with_rsv1(true, OpCode::Text, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]));
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
        client.client.send(common::frame_with_rsv1(true, OpCode::Binary, &common::zeros(1)));
        assert_eq!(client.receive().message.len(), 1 << 20);
        client.client.send(common::frame_with_rsv1(true, OpCode::Binary, &common::zeros(2)));
        loop {
            let frame = client.client.frame();
            if frame.opcode == OpCode::Close {
                assert_eq!(frame.close(), (1009, "message too large"), "{args:?}");
                break;
            }
        }
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

#[test]
fn the_page_comes_with_a_policy_that_allows_what_is_in_it_and_no_more() {
    let program = Program::echo(&[]);
    let answer = program.request("GET", "/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(answer.field("Content-Length"), Some(answer.body.len().to_string().as_str()));
    let page = answer.text();
    assert!(page.contains("<h1>WebSocket Sample Application</h1>"));
    let inside = |tag: &str| {
        let (_, rest) = page.split_once(&format!("<{tag}>")).expect("the element");
        rest.split_once(&format!("</{tag}>")).expect("its end").0
    };
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = answer.field("Content-Security-Policy").expect("a policy");
    for directive in [
        "default-src 'none'".to_owned(),
        format!("style-src 'sha256-{}'", hash(inside("style"))),
        format!("script-src 'sha256-{}'", hash(inside("script"))),
        "base-uri 'none'".to_owned(),
        "form-action 'none'".to_owned(),
        "frame-ancestors 'none'".to_owned(),
    ] {
        assert!(policy.split("; ").any(|found| found == directive), "{directive:?} is not in {policy:?}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'));
    assert!(!page.contains(" style=\"") && !page.contains(" onclick="), "the policy would block it");
}

#[test]
fn who_has_the_page_is_not_sent_it_again() {
    for args in [&[][..], &["--any-path"], &["--path", "/"]] {
        let program = Program::echo(args);
        let tag = program.request("GET", "/").field("ETag").expect("a tag").to_owned();
        let mut client = program.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n"));
        let answer = client.answer_head();
        assert_eq!((answer.status, answer.field("ETag")), (304, Some(&tag[..])), "{args:?}");
        client.expect_end();
    }
}

#[test]
fn a_page_beside_the_echo_allows_what_it_answers() {
    for args in [&["--any-path"][..], &["--path", "/"]] {
        let answer = Program::echo(args).request("POST", "/");
        assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD")), "{args:?}");
    }
}

#[test]
fn other_requests_are_answered_with_what_is_wrong() {
    let program = Program::echo(&[]);
    for (method, path, status, allow) in [
        ("GET", "/ws", 400, None),
        ("POST", "/ws", 405, Some("GET")),
        ("POST", "/", 405, Some("GET, HEAD")),
        ("GET", "/favicon.ico", 404, None),
        ("GET", "/ws/", 404, None),
        ("GET", "/index.html", 404, None),
    ] {
        let answer = program.request(method, path);
        assert_eq!((answer.status, answer.field("Allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
    }
    let mut client = program.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.answer_head();
    assert_eq!(answer.status, 200);
    assert!(answer.field("Content-Length").expect("a length").len() >= 4);
    client.expect_end();
}

/// Stops the program's process, or lets it go on.
fn signal(program: &Program, name: &str) {
    let status = Command::new("kill").args([name, &program.child.id().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

/// Whoever has closed the lid of a laptop, or runs in a container that was throttled, does not lose
/// healthy peers.
#[test]
fn a_pong_behind_much_else_counts_though_the_process_was_stopped_beyond_its_deadline() {
    // Until the machine is fast enough to be stopped in time.
    let seconds = [0.3, 3.0, 20.0];
    let tried = seconds.into_iter().any(|seconds: f64| {
        let timeout = Duration::from_secs_f64(seconds);
        let text = seconds.to_string();
        let program = Program::echo(&[
            "--keep-alive-interval",
            &text,
            "--keep-alive-timeout",
            &text,
            "--receive-buffer-size",
            "16384",
            "--workers",
            "1",
        ]);
        let mut client = program.connect();
        client.open("/ws");
        let ping = client.frame();
        let begun = Instant::now();
        assert_eq!(ping.opcode, OpCode::Ping);
        signal(&program, "-STOP");
        if begun.elapsed() > timeout / 2 {
            signal(&program, "-CONT");
            return false;
        }
        let mut bytes = Vec::new();
        for _ in 0..480 {
            encode_frame(&mut bytes, true, OpCode::Pong, &[7; 100], Some([1, 2, 3, 4]));
        }
        encode_frame(&mut bytes, true, OpCode::Pong, &ping.payload, Some([1, 2, 3, 4]));
        encode_frame(&mut bytes, true, OpCode::Text, b"still here", Some([1, 2, 3, 4]));
        let mut writer = client.try_clone();
        let (sent, all_sent) = mpsc::channel();
        thread::spawn(move || {
            writer.send(bytes);
            let _ = sent.send(()); // the test may be over
        });
        thread::sleep(timeout);
        // Where the kernel's buffers are too small for all of it there is nothing to see.
        let arrived = all_sent.try_recv().is_ok();
        signal(&program, "-CONT");
        if arrived {
            client.expect_text("still here");
        }
        true
    });
    assert!(tried, "a machine that needs ten seconds to stop a process");
}

#[cfg(feature = "aws-lc-rs")]
mod with_tls {
    use super::common::{Client, DEADLINE, next};
    use super::tls::{Ca, Connector, Issued, trust_anybody};
    use super::{PROGRAM, Program, run};
    use sha2::{Digest as _, Sha256};
    use std::fs;
    use std::net::SocketAddr;
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Files with a certificate, its key and its CA.
    struct Files {
        folder: tempfile::TempDir,
        ca: Ca,
    }

    impl Files {
        fn new() -> Files {
            let files = Files { folder: tempfile::tempdir().expect("a folder"), ca: Ca::new("the CA") };
            files.write(&files.ca.issue(&["localhost"]));
            fs::write(files.path("ca.pem"), &files.ca.pem).expect("a file");
            files
        }

        fn write(&self, issued: &Issued) {
            fs::write(self.path("key.pem"), &issued.key).expect("a file");
            fs::write(self.path("chain.pem"), &issued.chain).expect("a file");
        }

        fn path(&self, name: &str) -> String {
            self.folder.path().join(name).to_str().expect("a path in UTF-8").to_owned()
        }

        /// Starts the program with options that name the certificate, and more.
        fn start(&self, more: &[&str]) -> Program {
            let own = ["--tls-cert", &self.path("chain.pem"), "--tls-key", &self.path("key.pem")];
            start(&[&own, more].concat())
        }
    }

    fn start(args: &[&str]) -> Program {
        Program::start(Command::new(PROGRAM).arg("echo").args(args))
    }

    /// Where it says that it listens with TLS.
    fn addr(program: &Program) -> SocketAddr {
        let addrs = program.listening();
        let mut addrs = addrs.iter().filter_map(|line| line.strip_suffix(" with TLS"));
        addrs.next().expect("an address with TLS").parse().expect("an address")
    }

    #[test]
    fn both_kinds_are_served_at_once_and_the_page_over_https() {
        let files = Files::new();
        let program = files.start(&["--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"]);
        let (plain, with_tls) = (program.addr(), addr(&program));
        assert_eq!(program.listening().len(), 2);
        for line in [
            format!("open http://localhost:{}/ in a browser", plain.port()),
            format!("open https://localhost:{}/ in a browser", with_tls.port()),
        ] {
            assert!(program.said.contains(&line), "{line} is not in {:?}", program.said);
        }
        program.open("/ws").leave();
        let connector = Connector::new(&files.ca);
        let mut client = connector.open(with_tls, "/ws");
        client.send_text("hello");
        client.expect_text("hello");
        client.leave();
        let mut client = connector.connect(with_tls);
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        // The page connects with the scheme that goes with its own.
        assert!(answer.text().contains("location.protocol === \"https:\" ? \"wss:\" : \"ws:\""));
        client.expect_end();
        // What watches the files ends with the server.
        let mut program = program;
        assert_eq!(program.interrupt(), Some(0));
    }

    #[test]
    fn without_listen_there_is_tls_alone() {
        let files = Files::new();
        let program = files.start(&["--tls-listen", "127.0.0.1:0"]);
        assert_eq!(program.listening(), [format!("{} with TLS", addr(&program))]);
        Connector::new(&files.ca).open(addr(&program), "/ws").leave();
        let mut client = Client::connect(addr(&program));
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.answer().status, 400);
    }

    #[test]
    fn a_certificate_that_is_made_has_the_fingerprint_that_is_printed_and_names_the_host() {
        let program = start(&["--tls-self-signed", "--tls-listen", "127.0.0.1:0"]);
        let mut said = program.said.iter();
        let printed = said.find_map(|line| line.strip_prefix("certificate SHA-256 fingerprint "));
        let mut connector = Connector::new(&Ca::new("another"));
        let error = connector.try_connect(addr(&program)).expect_err("not trusted");
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        let seen = trust_anybody(&mut connector);
        connector.open(addr(&program), "/ws").leave();
        let shown = next(&seen);
        let digest: Vec<String> = Sha256::digest(&shown).iter().map(|octet| format!("{octet:02X}")).collect();
        assert_eq!(printed, Some(&*digest.join(":")));
        // Whoever trusts it by its fingerprint needs no other exception.
        for name in ["localhost", "127.0.0.1"] {
            Connector::trusting(&shown).named(name).open(addr(&program), "/ws").leave();
        }
    }

    #[test]
    fn clients_need_a_certificate_of_the_ca_that_is_named() {
        let files = Files::new();
        let program = files.start(&["--tls-listen", "127.0.0.1:0", "--tls-client-ca", &files.path("ca.pem")]);
        let own = files.ca.issue(&["somebody"]);
        let version = [&rustls::version::TLS12];
        Connector::with(&files.ca, &version, Some(&own)).open(addr(&program), "/ws").leave();
        Connector::with(&files.ca, &version, None).try_connect(addr(&program)).expect_err("no certificate");
    }

    #[test]
    fn files_that_have_changed_are_read_again_and_connections_stay() {
        let files = Files::new();
        let program = files.start(&["--tls-listen", "127.0.0.1:0", "-v"]);
        let (addr, connector) = (addr(&program), Connector::new(&files.ca));
        let mut client = connector.open(addr, "/ws");
        let before = client.server_certificate();
        let issued = files.ca.issue(&["localhost", "another-name-for-another-length.example"]);
        files.write(&issued);
        let until = Instant::now() + DEADLINE;
        loop {
            let now = connector.open(addr, "/ws").server_certificate();
            if now == issued.der() {
                break;
            }
            assert!(now == before && Instant::now() < until, "not before the deadline");
            thread::sleep(Duration::from_millis(50));
        }
        client.send_text("still here");
        client.expect_text("still here");
        // What cannot be used changes nothing, and is said.
        fs::write(files.path("key.pem"), "no key at all").expect("a file");
        while !next(&program.err).contains("cannot be used") {}
        assert_eq!(connector.open(addr, "/ws").server_certificate(), issued.der());
        client.leave();
    }

    #[test]
    fn options_that_do_not_fit_together_are_told() {
        let files = Files::new();
        let missing = files.path("missing.pem");
        let (chain, key, ca) = (files.path("chain.pem"), files.path("key.pem"), files.path("ca.pem"));
        for (args, code, part) in [
            (&["--tls-listen", "127.0.0.1:0"][..], 2, "--tls-cert"),
            (&["--tls-client-ca", &ca], 2, "--tls-cert"),
            (&["--tls-cert", &chain], 2, "--tls-key"),
            (&["--tls-key", &key], 2, "--tls-cert"),
            (&["--tls-self-signed", "--tls-cert", &chain, "--tls-key", &key], 2, "cannot be used with"),
            (&["--tls-self-signed", "--listen", "127.0.0.1:0"], 1, "--tls-listen"),
            (&["--tls-cert", &chain, "--tls-key", &key, "--tls-key", &key], 1, "1 times --tls-cert, and 2"),
            (&["--tls-cert", &missing, "--tls-key", &key], 1, &missing),
            (&["--tls-cert", &chain, "--tls-key", &chain], 1, "no section with a PRIVATE KEY"),
        ] {
            let output = run(&[&["echo"], args].concat());
            let said = String::from_utf8(output.stderr).expect("UTF-8");
            assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
            assert!(said.contains(part), "{args:?}: {said}");
            assert!(output.stdout.is_empty(), "{args:?}");
        }
    }
}
