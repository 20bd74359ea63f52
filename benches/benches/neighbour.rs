//! How long a neighbour waits for an echo while others flood its server, beside an idle server in
//! the same moments.
//!
//! ```text
//! cargo bench -p framewright-benches --bench neighbour -- [SECONDS] [WORKERS] [SCENARIO...]
//! ```
//!
//! Each scenario has a server of its own in a process of its own, with one worker unless told
//! otherwise. Two clients send 32 octets and wait for them, again and again with a millisecond in
//! between: one to the flooded server, one to the idle one.
//!
//! | scenario | flood |
//! |---|---|
//! | `handles` | two threads of the server post 100 octets to each of 1,000 connections through handles, as fast as they can |
//! | `eight` | the same with eight threads |
//! | `broadcast` | a thread of the server sends 100 octets to all of 1,000 connections, as fast as they are taken |
//! | `silent` | 200 peers send a message of 1 MiB and never read its echo; when all are stuck, 200 others do |
//! | `bombs` | 1,000 peers send 8 KiB that inflate to 8 MiB of zeros, over and over, echoed in chunks and compressed |
//! | `large` | eight peers have messages of 16 MiB echoed, over and over |

// A program for a terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use framewright::frame::{Header, MAX_HEADER_LEN, OpCode, RSV1, encode_frame};
use framewright_server::{
    Chunk, Config, Decision, Delivery, Handle, Handler, Incoming, ListenAddr, Message, Options, Prepared,
    Server, ServerHandle, Socket,
};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SCENARIOS: [&str; 6] = ["handles", "eight", "broadcast", "silent", "bombs", "large"];
const PACE: Duration = Duration::from_millis(1);

fn main() -> std::io::Result<()> {
    // `cargo bench` adds an argument of its own.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|first| first == "serve") {
        return serve(&args[1], args[2].parse().expect("a number of workers"));
    }
    let mut number = |default| match args.first().and_then(|arg| arg.parse().ok()) {
        Some(number) => {
            args.remove(0);
            number
        }
        None => default,
    };
    let (seconds, workers) = (number(10_u32), number(1));
    let chosen = if args.is_empty() { SCENARIOS.map(str::to_owned).to_vec() } else { args };
    println!("{:<10} {:>40}   {:>40}", "", "flooded (p50, p99, max, echoes)", "idle (p50, p99, max, echoes)");
    for scenario in chosen {
        let (flooded, idle) = (Running::start(&scenario, workers)?, Running::start("idle", workers)?);
        measure(&scenario, flooded.addr, idle.addr, Duration::from_secs(seconds.into()))?;
    }
    Ok(())
}

/// A server in a process of its own.
struct Running {
    child: Child,
    addr: SocketAddr,
}

impl Running {
    fn start(scenario: &str, workers: u32) -> std::io::Result<Running> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", scenario, &workers.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line)?;
        Ok(Running { child, addr: line.trim().parse().expect("an address") })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends everything back; and for `handles`, posts to all connections of `/flood` once there are a
/// thousand.
struct Echo {
    threads: usize,
    handles: Arc<Mutex<Vec<Handle>>>,
}

const POSTED_TO: usize = 1000;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        if self.threads == 0 {
            return;
        }
        let mut handles = self.handles.lock().expect("no panic");
        handles.push(socket.handle());
        if handles.len() == POSTED_TO {
            for _ in 0..self.threads {
                let handles = handles.clone();
                thread::spawn(move || {
                    let message = Prepared::new(Message::Binary(&[7; 100]));
                    loop {
                        for handle in &handles {
                            let _ = handle.send_prepared(&message); // full now and then
                        }
                    }
                });
            }
        }
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let _ = socket.send(message);
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        let _ = socket.send_fragment(chunk.data, chunk.last);
    }
}

fn serve(scenario: &str, workers: usize) -> std::io::Result<()> {
    let delivery = if scenario == "bombs" { Delivery::Chunks } else { Delivery::Whole };
    let connection = Config { delivery, max_message: 64 << 20, max_frame: 64 << 20, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let threads = match scenario {
        "handles" => 2,
        "eight" => 8,
        _ => 0,
    };
    let echo = |threads| Echo { threads, handles: Arc::default() };
    let server = Server::builder()
        .listen("127.0.0.1:0")
        .workers(workers)
        .route_with("/flood", options, echo(threads))
        .route("/echo", echo(0))
        .build()?;
    let ListenAddr::Ip(addr) = &server.local_addrs()[0] else { unreachable!("a TCP socket") };
    println!("{addr}");
    if scenario == "broadcast" {
        let server = server.handle();
        thread::spawn(move || broadcast(&server));
    }
    server.run()
}

/// Sends to everybody of `/flood`, again and again.
fn broadcast(server: &ServerHandle) -> ! {
    let message = Prepared::new(Message::Binary(&[7; 100]));
    loop {
        // Where too many wait.
        if server.broadcast_where(&message, |to| to.route() == Some("/flood")).is_err() {
            thread::sleep(PACE);
        }
    }
}

fn measure(scenario: &str, flooded: SocketAddr, idle: SocketAddr, time: Duration) -> std::io::Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let read = Arc::new(AtomicU64::new(0));
    let flood = {
        let (scenario, over, read) = (scenario.to_owned(), Arc::clone(&over), Arc::clone(&read));
        thread::spawn(move || flood(&scenario, flooded, &over, &read))
    };
    let began = Instant::now();
    let neighbours = [flooded, idle].map(|addr| {
        let over = Arc::clone(&over);
        thread::spawn(move || neighbour(addr, &over))
    });
    thread::sleep(time);
    over.store(true, Relaxed);
    let [flooded, idle] = neighbours.map(|neighbour| neighbour.join().expect("no panic"));
    flood.join().expect("no panic")?;
    let rate = read.load(Relaxed) as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!(
        "{scenario:<10} {:>40}   {:>40}   {rate:.0} MB/s to the flooders",
        summary(flooded),
        summary(idle)
    );
    Ok(())
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    format!("{:.2} {:.1} {:.1} ms {:>8}", at(50), at(99), at(100), times.len())
}

/// How long each echo took.
fn neighbour(addr: SocketAddr, over: &AtomicBool) -> Vec<Duration> {
    let mut stream = open(addr, "/echo", "");
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, OpCode::Binary, &[7; 32], Some([1, 2, 3, 4]));
    let mut times = Vec::new();
    while !over.load(Relaxed) {
        let began = Instant::now();
        stream.write_all(&frame).expect("the server reads");
        stream.read_exact(&mut [0; 34]).expect("an echo");
        times.push(began.elapsed());
        thread::sleep(PACE);
    }
    times
}

fn open(addr: SocketAddr, path: &str, fields: &str) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(addr).expect("the server accepts");
    stream.set_nodelay(true).expect("an option of the socket");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A peer that sends `octets` over and over.
struct Peer {
    stream: TcpStream,
    offset: usize,
}

fn flood(scenario: &str, addr: SocketAddr, over: &AtomicBool, read: &AtomicU64) -> std::io::Result<()> {
    let (peers, octets, reads) = match scenario {
        "handles" | "eight" | "broadcast" => (POSTED_TO, Vec::new(), true),
        "silent" => (200, binary(1 << 20), false),
        "bombs" => (1000, bomb(), true),
        "large" => (8, binary(16 << 20), true),
        other => panic!("{other} is none of {SCENARIOS:?}"),
    };
    let fields = if scenario == "bombs" { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    while !over.load(Relaxed) {
        let peers = (0..peers).map(|_| open(addr, "/flood", fields)).collect();
        wave(peers, &octets, reads, over, read)?;
    }
    Ok(())
}

/// Sends and reads until it is over; or, of peers that do not read, until nothing more is taken
/// from them.
fn wave(
    streams: Vec<std::net::TcpStream>,
    octets: &[u8],
    reads: bool,
    over: &AtomicBool,
    read: &AtomicU64,
) -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut peers = Vec::new();
    for (index, stream) in streams.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interests = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), interests)?;
        peers.push(Peer { stream, offset: 0 });
    }
    let mut target = vec![0; 256 << 10];
    let mut moved = Instant::now();
    while !over.load(Relaxed) && (reads || moved.elapsed() < Duration::from_millis(100)) {
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        for event in &events {
            let peer = &mut peers[event.token().0];
            while reads && let Some(count @ 1..) = done(peer.stream.read(&mut target)) {
                read.fetch_add(count as u64, Relaxed);
            }
            while !octets.is_empty()
                && let Some(count) = done(peer.stream.write(&octets[peer.offset..]))
            {
                peer.offset = (peer.offset + count) % octets.len();
                moved = Instant::now();
                if peer.offset == 0 {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// What was moved; `None` if nothing can be now.
fn done(result: std::io::Result<usize>) -> Option<usize> {
    match result {
        Ok(count) => Some(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("the server has left: {error}"),
    }
}

fn binary(len: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    encode_frame(&mut octets, true, OpCode::Binary, &vec![7; len], Some([1, 2, 3, 4]));
    octets
}

/// 8 MiB of zeros, compressed.
fn bomb() -> Vec<u8> {
    let mut payload = framewright_testkit::deflate::Deflater::new(6).message(&vec![0; 8 << 20]);
    let key = [1, 2, 3, 4];
    let header = Header {
        fin: true,
        rsv: RSV1,
        opcode: OpCode::Binary,
        mask: Some(key),
        payload_len: payload.len() as u64,
    };
    let mut head = [0; MAX_HEADER_LEN];
    let head_len = header.encode(&mut head);
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(octet, key)| *octet ^= key);
    [&head[..head_len], &payload].concat()
}
