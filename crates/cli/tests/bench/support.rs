//! The program's own echo, servers that do what no echo should, and the generator that is run
//! against them.

use framewright::Role;
use framewright::frame::{Frame, OpCode, Rules, encode_frame};
use framewright::handshake::accept_key;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;

/// The bit that permessage-deflate uses.
pub(crate) const RSV1: u8 = 0b100;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_framewright");

/// `framewright echo` on a free port. Dropping it kills it.
pub(crate) struct Echo {
    child: Child,
    pub(crate) url: String,
    /// It may have more to say.
    _out: BufReader<ChildStdout>,
}

impl Echo {
    pub(crate) fn start() -> Echo {
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

    pub(crate) fn pid(&self) -> String {
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
pub(crate) fn bench(url: &str, args: &str) -> Output {
    Command::new(PROGRAM)
        .args(["bench", "--url", url, "--warm-up", "0.05"])
        .args(if args.contains("--duration") { &[][..] } else { &["--duration", "0.2"] })
        .args(if args.contains("--connections") { &[][..] } else { &["--connections", "3"] })
        .args(args.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// What it reports as JSON, and nothing else.
pub(crate) fn report(url: &str, args: &str) -> Value {
    let output = bench(url, &format!("--json {args}"));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// What it complains about, and its exit code.
pub(crate) fn complaint(url: &str, args: &str) -> (Option<i32>, String) {
    let output = bench(url, args);
    assert!(output.stdout.is_empty(), "{args}");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A server on a thread for each connection, which does this with it.
pub(crate) fn serve(each: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let each = each.clone();
            // It ends with the generator's connection.
            thread::spawn(move || each(stream));
        }
    });
    addr
}

/// Sends octets back.
pub(crate) fn raw_echo(mut stream: impl Read + Write) -> io::Result<()> {
    let mut octets = [0; 4096];
    loop {
        let count = stream.read(&mut octets)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&octets[..count])?;
    }
}

/// Does the opening handshake, and then answers each frame with what `answer` says: its number, its
/// opcode, its payload.
pub(crate) fn answer_frames(
    stream: impl Read + Write,
    answer: impl FnMut(usize, OpCode, &mut [u8]) -> Vec<u8>,
) -> io::Result<()> {
    answer_frames_with(stream, "", answer)
}

/// As [`answer_frames`], with fields for the 101. Frames may have the bit that permessage-deflate
/// uses.
pub(crate) fn answer_frames_with(
    mut stream: impl Read + Write,
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

pub(crate) fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode_frame(&mut octets, true, opcode, payload, None);
    octets
}

pub(crate) fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/")
}
