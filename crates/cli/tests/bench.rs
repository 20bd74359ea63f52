//! `framewright bench` against the program's own echo, and against servers that do what no echo should.

#![cfg(unix)]

use framewright::Role;
use framewright::deflate::{Compressor, Decompressor, Level, WindowBits};
use framewright::frame::{Frame, OpCode, Rules, encode_frame};
use framewright::handshake::accept_key;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_framewright");

/// `framewright echo` on a free port. Dropping it kills it.
struct Echo {
    child: Child,
    url: String,
    /// It may have more to say.
    _out: BufReader<ChildStdout>,
}

impl Echo {
    fn start() -> Echo {
        let mut child = Command::new(PROGRAM)
            .args(["echo", "--listen", "127.0.0.1:0", "--workers", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        out.read_line(&mut line).expect("a line");
        let addr = line.trim().strip_prefix("listening on ").expect("where it listens");
        Echo { url: format!("ws://{addr}/ws"), child, _out: out }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the generator for a moment, on three connections unless the arguments say more.
fn bench(url: &str, args: &str) -> Output {
    Command::new(PROGRAM)
        .args(["bench", "--url", url, "--duration", "0.2", "--warm-up", "0.05"])
        .args(if args.contains("--connections") { &[][..] } else { &["--connections", "3"] })
        .args(args.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// What it reports as JSON, and nothing else.
fn report(url: &str, args: &str) -> Value {
    let output = bench(url, &format!("--json {args}"));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// What it complains about, and its exit code.
fn complaint(url: &str, args: &str) -> (Option<i32>, String) {
    let output = bench(url, args);
    assert!(output.stdout.is_empty(), "{args}");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A server on a thread for each connection, which does this with it.
fn serve(each: fn(TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // It ends with the generator's connection.
            thread::spawn(move || each(stream));
        }
    });
    addr
}

/// Sends octets back.
fn raw_echo(mut stream: TcpStream) -> io::Result<()> {
    let mut octets = [0; 4096];
    loop {
        let count = stream.read(&mut octets)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&octets[..count])?;
    }
}

/// Does the opening handshake, and then answers each frame with what `answer` says: its number, its opcode, its payload.
fn answer_frames(
    stream: TcpStream,
    answer: impl FnMut(usize, OpCode, &mut [u8]) -> Vec<u8>,
) -> io::Result<()> {
    answer_frames_with(stream, "", answer)
}

/// As [`answer_frames`], with fields for the 101. Frames may have the bit that permessage-deflate uses.
fn answer_frames_with(
    mut stream: TcpStream,
    fields: &str,
    mut answer: impl FnMut(usize, OpCode, &mut [u8]) -> Vec<u8>,
) -> io::Result<()> {
    let rules = Rules { rsv: RSV1, ..Rules::for_receiver(Role::Server) };
    let mut received = Vec::new();
    let mut octets = [0; 4096];
    let end = loop {
        let count = stream.read(&mut octets)?;
        received.extend_from_slice(&octets[..count]);
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(received.drain(..end).collect()).expect("a request is text");
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).expect("base64");
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )?;
    for number in 0.. {
        let rest = loop {
            match Frame::decode(&mut received, rules).expect("frames as a client's") {
                Some((frame, rest)) => {
                    stream.write_all(&answer(number, frame.header.opcode, frame.payload))?;
                    break rest.to_vec();
                }
                None => match stream.read(&mut octets)? {
                    0 => return Ok(()),
                    count => received.extend_from_slice(&octets[..count]),
                },
            }
        };
        received = rest;
    }
    Ok(())
}

fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode_frame(&mut octets, true, opcode, payload, None);
    octets
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

const RSV1: u8 = 0b100;
const TAKEOVER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const NO_TAKEOVER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/")
}

#[test]
fn a_closed_loop_is_counted_and_timed() {
    let echo = Echo::start();
    let report = report(&echo.url, "--in-flight 4 --size 20 --seed 7");
    assert_eq!(report["url"], echo.url.as_str());
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let workload = &report["workload"];
    assert_eq!((&workload["mode"], &workload["kind"]), (&"echo".into(), &"binary".into()));
    assert_eq!((&workload["connections"], &workload["in_flight"]), (&3.into(), &4.into()));
    assert_eq!(workload["sizes"], serde_json::json!([[20, 1]]));
    assert!(workload["rate"].is_null() && workload["flooders"] == 0);
    let (messages, seconds) = (number(&report["messages"]), number(&report["duration_s"]));
    assert!(messages > 0.0 && seconds >= 0.2);
    assert!((number(&report["messages_per_s"]) * seconds / messages - 1.0).abs() < 1e-6);
    assert!((number(&report["payload_bytes_per_s"]) - 20.0 * messages / seconds).abs() < 1.0);
    let latency = &report["latency_us"];
    assert_eq!(latency["count"], report["messages"]);
    let order = ["min", "p50", "p90", "p99", "p99_9", "p99_99", "max"].map(|name| number(&latency[name]));
    assert!(order[0] > 0.0 && order.is_sorted(), "{order:?}");
    assert!((order[0]..=order[6]).contains(&number(&latency["mean"])));
    for absent in ["server", "idle", "flood", "schedule"] {
        assert!(report[absent].is_null(), "{absent}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_time_and_memory_of_the_server_are_told() {
    let echo = Echo::start();
    let report = report(&echo.url, &format!("--pid {}", echo.pid()));
    let (server, client) = (&report["server"], &report["client"]);
    let cpu = number(&server["cpu_s"]);
    assert!(cpu > 0.0);
    assert!((number(&server["user_s"]) + number(&server["system_s"]) - cpu).abs() < 1e-6);
    assert!((number(&server["busy"]) - cpu / number(&report["duration_s"])).abs() < 1e-6);
    let messages = number(&report["messages"]);
    assert!((number(&server["messages_per_cpu_s"]) * cpu / messages - 1.0).abs() < 1e-6);
    assert!((number(&server["cpu_ns_per_message"]) * messages / cpu / 1e9 - 1.0).abs() < 1e-6);
    assert!(number(&server["user_ns_per_message"]) <= number(&server["cpu_ns_per_message"]));
    assert!(number(&server["rss_bytes"]) > 0.0);
    assert!(number(&server["peak_rss_bytes"]) >= number(&server["rss_bytes"]));
    assert!(number(&client["cpu_s"]) > 0.0 && (0.0..=1.0).contains(&number(&client["busy"])));
    assert!(report["client_limited"].is_boolean());
}

#[test]
fn content_of_every_kind_comes_back_as_it_was_sent() {
    let echo = Echo::start();
    for kind in ["binary", "ascii", "json", "utf8", "random"] {
        let report = report(&echo.url, &format!("--verify --kind {kind} --size 20:3,1000,70K --in-flight 5"));
        assert!(number(&report["messages"]) > 0.0, "{kind}");
        assert_eq!(report["workload"]["verify"], true);
    }
    assert!(number(&report(&echo.url, "--verify --size 0 --in-flight 3")["messages"]) > 0.0);
}

#[test]
fn large_messages_are_skipped_and_counted() {
    let echo = Echo::start();
    let report = report(&echo.url, "--size 2M --in-flight 2");
    let messages = number(&report["messages"]);
    let octets = number(&report["payload_bytes_per_s"]) * number(&report["duration_s"]);
    assert!(messages > 0.0 && (octets / messages / f64::from(2 << 20) - 1.0).abs() < 1e-6);
}

#[test]
fn an_open_loop_times_every_message_that_was_due() {
    let echo = Echo::start();
    let report = report(&echo.url, "--rate 1000");
    assert_eq!((&report["workload"]["mode"], &report["workload"]["rate"]), (&"rate".into(), &1000.0.into()));
    let count = number(&report["latency_us"]["count"]);
    assert!((199.0..=201.0).contains(&count), "{count} of 200 in 0.2 seconds");
    let schedule = &report["schedule"];
    assert!(number(&schedule["late_us"]["count"]) >= 199.0);
    assert_eq!(schedule["unanswered"], 0);
}

#[test]
fn flooders_are_counted_apart() {
    let echo = Echo::start();
    let report = report(&echo.url, "--flooders 1 --flood-in-flight 8 --flood-size 1K --size 10");
    assert!(number(&report["flood"]["messages"]) > 0.0 && number(&report["flood"]["messages_per_s"]) > 0.0);
    let payload = number(&report["payload_bytes_per_s"]) / number(&report["messages_per_s"]);
    assert!((payload - 10.0).abs() < 1e-6, "the flood is not in it");
    assert_eq!(report["latency_us"]["count"], report["messages"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_processor_time_of_a_flood_is_not_laid_on_the_others() {
    let echo = Echo::start();
    let load = "--flooders 1 --flood-in-flight 8 --flood-size 1K --size 10";
    let report = report(&echo.url, &format!("{load} --pid {}", echo.pid()));
    let messages = number(&report["messages"]) + number(&report["flood"]["messages"]);
    let all = number(&report["server"]["cpu_ns_per_message"]) * messages / 1e9;
    assert!((all - number(&report["server"]["cpu_s"])).abs() < 1e-6, "{report}");
}

#[test]
fn connections_are_opened_and_closed_again_and_again() {
    let echo = Echo::start();
    let report = report(&echo.url, "--connect-rate");
    assert_eq!(report["workload"]["mode"], "connect-rate");
    assert!(number(&report["messages"]) > 3.0);
    assert_eq!(report["latency_us"]["count"], report["messages"]);
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_are_weighed() {
    let echo = Echo::start();
    let report = report(&echo.url, &format!("--idle --connections 200 --pid {}", echo.pid()));
    let idle = &report["idle"];
    assert_eq!(idle["connections"], 200);
    let (baseline, with) = (number(&idle["baseline_bytes"]), number(&idle["bytes"]));
    assert!(baseline > 0.0 && with > baseline);
    assert!((number(&idle["bytes_per_connection"]) - (with - baseline) / 200.0).abs() < 1e-6);
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_can_be_weighed_after_messages() {
    let echo = Echo::start();
    let options = "--idle --idle-messages 2 --connections 50 --in-flight 3 --pid";
    let report = report(&echo.url, &format!("{options} {}", echo.pid()));
    assert_eq!(report["workload"]["idle_messages"], 2);
    assert!(number(&report["idle"]["bytes"]) > 0.0);
}

#[test]
fn an_echo_without_a_protocol_is_the_floor() {
    let url = format!("tcp://{}", serve(raw_echo));
    for args in ["--verify --size 20,3000 --in-flight 3", "--size 1M", "--connect-rate", "--rate 500"] {
        assert!(number(&report(&url, args)["messages"]) > 0.0, "{args}");
    }
}

#[test]
fn text_has_the_figures_and_a_drawing() {
    let echo = Echo::start();
    let output = bench(&echo.url, "");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    for part in [&echo.url, "3 connections", "125 B", "messages", "a second", "p99.9", "█"] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn fragments_and_control_frames_between_replies_are_taken() {
    let addr = serve(|stream| {
        answer_frames(stream, |_, opcode, payload| {
            let mut octets = frame(OpCode::Ping, b"still there?");
            match opcode {
                OpCode::Binary => {
                    encode_frame(&mut octets, false, opcode, &payload[..payload.len() / 2], None);
                    octets.extend(frame(OpCode::Pong, b""));
                    octets.extend(frame(OpCode::Continuation, &payload[payload.len() / 2..]));
                }
                OpCode::Close => octets.extend(frame(opcode, payload)),
                // A Pong must say what the Ping said; other octets would be answered in a way that no echo has.
                OpCode::Pong if payload == b"still there?" => octets.clear(),
                _ => octets = frame(OpCode::Close, b""),
            }
            octets
        })
    });
    let report = report(&url(addr), "--verify --in-flight 3");
    assert!(number(&report["messages"]) > 0.0);
}

#[test]
fn a_wrong_reply_ends_the_run() {
    let changed = serve(|stream| {
        answer_frames(stream, |number, opcode, payload| {
            payload[17] ^= u8::from(number == 5);
            frame(opcode, payload)
        })
    });
    let old = serve(|stream| {
        let mut last = Vec::new();
        answer_frames(stream, move |number, opcode, payload| {
            if number != 5 {
                last = frame(opcode, payload);
            }
            last.clone()
        })
    });
    for (addr, part) in [(changed, "wrong reply: byte 17"), (old, "wrong reply: byte")] {
        let (code, said) = complaint(&url(addr), "--verify");
        assert!(code == Some(1) && said.contains(part) && said.lines().count() == 1, "{code:?} {said}");
    }
    let longer = serve(|stream| {
        answer_frames(stream, |_, opcode, payload| frame(opcode, &[&*payload, b"!"].concat()))
    });
    let typed = serve(|stream| answer_frames(stream, |_, _, payload| frame(OpCode::Text, payload)));
    for (addr, part) in [(longer, "a message of 126 bytes, where 125 were sent"), (typed, "Text")] {
        let (code, said) = complaint(&url(addr), "");
        assert!(code == Some(1) && said.contains(part), "{code:?} {said}");
    }
}

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

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# If the status code received from the server is not 101, the
//# client handles the response per HTTP [RFC2616] procedures.
#[test]
fn what_ends_a_run_is_told_in_words() {
    let echo = Echo::start();
    let nowhere = echo.url.replace("/ws", "/nowhere");
    let closing = serve(|stream| answer_frames(stream, |_, _, _| frame(OpCode::Close, b"\x03\xe9busy")));
    let ending = serve(|stream| {
        let both = stream.try_clone()?;
        answer_frames(stream, |_, _, _| {
            let _ = both.shutdown(std::net::Shutdown::Both);
            Vec::new()
        })
    });
    let silent = serve(|stream| answer_frames(stream, |_, _, _| Vec::new()));
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for (url, args, part) in [
        (nowhere.clone(), "", "404"),
        (nowhere, "--connect-rate", "404"),
        (url(closing), "", "closed the connection with code 1001 (\"busy\")"),
        (url(ending), "", "ended the connection without a Close frame"),
        (url(silent), "--timeout 0.1", "did not answer for 0.1 seconds"),
        (url(silent), "--timeout 0.1 --connect-rate", "did not answer for 0.1 seconds"),
        (url(gone), "", "cannot connect"),
        ("ws://name.invalid/".to_owned(), "", "name.invalid"),
        (echo.url.clone(), "--pid 999999999", "999999999"),
    ] {
        let (code, said) = complaint(&url, args);
        assert!(code == Some(1) && said.contains(part), "{url} {args}: {code:?} {said}");
        assert!(said.starts_with("framewright: ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for (url, args, part) in [
        ("wss://localhost/", "", "not supported yet"),
        ("http://localhost/", "", "scheme"),
        ("ws://localhost/", "--idle", "--pid"),
        ("ws://localhost/", "--size 0 --kind json", "json"),
        ("ws://localhost/", "--size big", "--size"),
        ("tcp://localhost:7", "--compress shared", "without a protocol"),
    ] {
        let (code, said) = complaint(url, args);
        assert!(code == Some(2) && said.contains(part), "{url} {args}: {code:?} {said}");
    }
}
