//! The hot paths, each to be run alone under callgrind, which counts the instructions inside
//! [`counted`]: `cargo xtask instructions`.
//!
//! ```text
//! instructions --list         the names of the paths
//! instructions PATH           runs one
//! instructions                runs all: as `cargo bench` does, to see that they work
//! ```
//!
//! A path runs twice, and only the second time is counted: the first one finds out what the CPU can
//! do and lets buffers grow.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for a terminal, and for `cargo xtask`")]

use framewright::frame::{Header, MAX_HEADER_LEN, OpCode, Rules};
use framewright::handshake::{Accept, HeadLimits, ServerHandshake};
use framewright::{Config, Connection, Delivery, Event, Negotiated, Role, State, Transmit};
use framewright_simd::apply_mask;
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::traffic::{Echo, Script, masked_frames};
use std::env;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A name, and what runs it. The names are those of the baseline, `benches/instructions.json`.
const PATHS: [(&str, fn()); 18] = [
    ("header: parse, 6 forms x 100", header_parse),
    ("header: encode, 6 forms x 100", header_encode),
    ("mask: 20 B x 100", || mask(20)),
    ("mask: 125 B x 100", || mask(125)),
    ("mask: 4 KiB x 100", || mask(4 << 10)),
    ("decode: 20 B x 1000", || decode(OpCode::Binary, 20, 1000)),
    ("echo: 20 B x 1000", || echo(OpCode::Binary, 20, 1000, Delivery::Whole, usize::MAX)),
    ("echo: 20 B x 100, a read each", || echo(OpCode::Binary, 20, 100, Delivery::Whole, 26)),
    ("echo: 125 B x 100", || echo(OpCode::Binary, 125, 100, Delivery::Whole, usize::MAX)),
    ("echo: 4 KiB", || echo(OpCode::Binary, 4 << 10, 1, Delivery::Whole, usize::MAX)),
    ("echo: 64 KiB", || echo(OpCode::Binary, 64 << 10, 1, Delivery::Whole, usize::MAX)),
    ("echo: 64 KiB in 16 reads", || echo(OpCode::Binary, 64 << 10, 1, Delivery::Whole, 4 << 10)),
    ("echo: 64 KiB in 16 chunks", || echo(OpCode::Binary, 64 << 10, 1, Delivery::Chunks, 4 << 10)),
    ("echo: text of 4 KiB", || echo(OpCode::Text, 4 << 10, 1, Delivery::Whole, usize::MAX)),
    ("ping and pong x 100", || echo(OpCode::Ping, 8, 100, Delivery::Whole, 14)),
    ("client: 20 B sent x 1000", client),
    ("opening handshake", opening_handshake),
    ("closing handshake", closing_handshake),
];

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let asked = env::args().skip(1).find(|argument| argument != "--bench");
    match asked.as_deref() {
        Some("--list") => PATHS.iter().for_each(|(name, _)| println!("{name}")),
        Some(asked) => {
            let Some((_, run)) = PATHS.iter().find(|(name, _)| *name == asked) else {
                println!("there is no path {asked}");
                return ExitCode::FAILURE;
            };
            run();
        }
        None => PATHS.iter().for_each(|(_, run)| run()),
    }
    ExitCode::SUCCESS
}

/// Runs `work` on what `prepare` makes, once to warm up and once to be counted.
fn measure<S>(mut prepare: impl FnMut() -> S, work: impl Fn(&mut S)) {
    work(&mut prepare());
    let mut state = prepare();
    counted(|| work(&mut state));
}

/// Callgrind finds this function by its name.
#[inline(never)]
fn counted(work: impl FnOnce()) {
    work();
    black_box(());
}

/// Headers of every form, with the octets that each makes.
fn headers() -> Vec<(Header, Vec<u8>, Rules)> {
    let mut headers = Vec::new();
    for (payload, count) in [(20, 1), (1000, 1), (100_000, 1)] {
        let masked = masked_frames(OpCode::Binary, &vec![7; payload], count);
        let rules = Rules::for_receiver(Role::Server);
        let (mut header, _) = Header::parse(&masked, rules).ok().flatten().expect("a frame");
        headers.push((header, masked, rules));
        header.mask = None;
        let mut octets = [0; MAX_HEADER_LEN];
        let len = header.encode(&mut octets);
        headers.push((header, octets[..len].to_vec(), Rules::for_receiver(Role::Client)));
    }
    headers
}

fn header_parse() {
    measure(headers, |headers| {
        for (header, octets, rules) in headers {
            for _ in 0..100 {
                let parsed = Header::parse(black_box(octets), *rules);
                assert!(matches!(parsed, Ok(Some((parsed, _))) if parsed.payload_len == header.payload_len));
            }
        }
    });
}

fn header_encode() {
    measure(headers, |headers| {
        let mut target = [0; MAX_HEADER_LEN];
        for (header, ..) in headers {
            for _ in 0..100 {
                assert_eq!(black_box(&*header).encode(black_box(&mut target)), header.encoded_len());
            }
        }
    });
}

fn mask(len: usize) {
    measure(
        || {
            let octets = vec![7; len + 128];
            // As after a header of 6 octets. Where the heap places them would change the count.
            let at = octets.as_ptr().align_offset(64) + 6;
            (octets, at)
        },
        |(octets, at)| {
            let payload = &mut octets[*at..*at + len];
            for _ in 0..100 {
                apply_mask(black_box(payload), black_box([1, 2, 3, 4]), 0);
            }
        },
    );
}

fn decode(opcode: OpCode, len: usize, count: usize) {
    let stream = masked_frames(opcode, Script::Mixed.text(len).as_bytes(), count);
    measure(
        || Echo::new(Config::default(), Instant::now()),
        |echo| echo.decode(&stream, |event| assert!(matches!(black_box(event), Event::Message(_)))),
    );
}

/// Counts an echo on a connection that has done the same before.
fn echo(opcode: OpCode, len: usize, count: usize, delivery: Delivery, read: usize) {
    let stream = masked_frames(opcode, Script::Mixed.text(len).as_bytes(), count);
    let turns = |echo: &mut Echo| stream.chunks(read).for_each(|read| echo.turn(read, &mut io::sink()));
    measure(
        || {
            let mut echo = Echo::new(Config { delivery, ..Config::default() }, Instant::now());
            turns(&mut echo);
            echo
        },
        turns,
    );
}

fn client() {
    let now = Instant::now();
    measure(
        || {
            let entropy = Box::new(SplitMix64::new(1));
            Connection::client(Arc::new(Config::default()), Negotiated::new(), entropy, now)
        },
        |connection| {
            for _ in 0..1000 {
                connection.send_binary(black_box(&[7; 20])).expect("there is room");
            }
            let mut slices = [IoSlice::new(&[]); 2];
            let Transmit::Bytes { octets, .. } = connection.poll_transmit(&mut slices) else {
                panic!("messages wait")
            };
            connection.transmitted(now, octets);
        },
    );
}

/// As a browser sends it.
const REQUEST: &[u8] = b"GET /ws?room=42 HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Upgrade: websocket\r\nOrigin: https://example.com\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=6f1ed002ab5595859014ebf0951522d9; theme=dark\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

fn opening_handshake() {
    let accept = Accept::new().with_subprotocol("chat");
    let now = Instant::now();
    measure(Vec::new, |response| {
        let mut handshake = ServerHandshake::new(HeadLimits::default(), now, Duration::from_secs(10));
        let head = handshake.parse(black_box(REQUEST)).expect("a correct head");
        assert_eq!(head, Some(REQUEST.len()));
        let request = handshake.request(REQUEST);
        let upgrade = request.upgrade().expect("a correct handshake").expect("an opening handshake");
        let negotiated = upgrade.accept(&request, &accept, response).expect("the protocol was offered");
        assert_eq!(negotiated.subprotocol(), Some("chat"));
    });
}

fn closing_handshake() {
    let close = masked_frames(OpCode::Close, b"\x03\xe8bye", 1);
    measure(
        || Echo::new(Config::default(), Instant::now()),
        |echo| {
            echo.turn(&close, &mut io::sink());
            assert_eq!(echo.connection.state(), State::Closed);
        },
    );
}
