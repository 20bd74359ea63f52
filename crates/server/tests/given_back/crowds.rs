//! Crowds that make a server hold as much as they can, and go.

use crate::common::{Client, frame_with_rsv1, wait_until, zeros};
use crate::process::ServerProcess;
use framewright::frame::{OpCode, encode_frame};
use framewright_testkit::deflate::Deflater;
use socket2::SockRef;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What every connection here offers.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// How many connections stay and do nothing.
const STAY: usize = 200;

fn open(server: &ServerProcess, path: &str) -> Client {
    let mut client = server.connect();
    client.open_with(path, OFFER);
    client
}

/// So many clients, each of which is opened on one of the paths in turn, and sends this.
fn crowd(server: &ServerProcess, count: usize, paths: &[&str], octets: &[u8]) -> Vec<Client> {
    let clients = paths.iter().cycle().take(count).map(|path| {
        let mut client = open(server, path);
        client.send(octets);
        client
    });
    clients.collect()
}

/// A kind of peers, and what makes some of them.
type Kind = (&'static str, fn(&ServerProcess) -> Vec<Client>);

const KINDS: [Kind; 8] = [
    ("half a head", |server| {
        let half = |_| {
            let mut client = server.connect();
            client.send(format!("GET /whole HTTP/1.1\r\nHost: localhost\r\nCookie: {}", "x".repeat(8000)));
            client
        };
        (0..300).map(half).collect()
    }),
    ("half a frame", |server| {
        let mut octets = Vec::new();
        encode_frame(&mut octets, true, OpCode::Binary, &[7; 60_000], Some([1, 2, 3, 4]));
        crowd(server, 1000, &["/whole", "/chunks"], &octets[..14_000])
    }),
    ("half a message", |server| {
        let mut octets = Vec::new();
        encode_frame(&mut octets, false, OpCode::Binary, &[7; 3000], Some([1, 2, 3, 4]));
        encode_frame(&mut octets, false, OpCode::Continuation, &[7; 20_000], Some([1, 2, 3, 4]));
        crowd(server, 500, &["/whole", "/takeover", "/chunks"], &octets)
    }),
    ("large messages whose echoes nobody reads", |server| {
        let mut octets = Vec::new();
        encode_frame(&mut octets, true, OpCode::Binary, &vec![7; 2 * MIB], Some([1, 2, 3, 4]));
        crowd(server, 30, &["/whole", "/chunks"], &octets)
    }),
    ("half a bomb", |server| {
        let bomb = frame_with_rsv1(true, OpCode::Binary, &zeros(8));
        crowd(server, 300, &["/whole", "/chunks", "/takeover"], &bomb[..bomb.len() / 2])
    }),
    ("compressed messages with takeover", |server| {
        // So often that compressors follow them.
        let text = "something that is said again and again, and differs a little each time ".repeat(10);
        let mut clients: Vec<_> = (0..40).map(|_| open(server, "/takeover")).collect();
        for round in 0..10 {
            let payload = Deflater::new(6).message(format!("{round} {text}").as_bytes());
            for client in &mut clients {
                client.send(frame_with_rsv1(true, OpCode::Text, &payload));
                client.frame();
            }
        }
        clients
    }),
    ("many messages at once", |server| {
        let mut octets = Vec::new();
        for _ in 0..2000 {
            encode_frame(&mut octets, true, OpCode::Binary, &[7; 20], Some([1, 2, 3, 4]));
        }
        crowd(server, 50, &["/whole"], &octets)
    }),
    ("nothing", |server| crowd(server, 1500, &["/whole"], b"")),
];

fn live(server: &mut ServerProcess) -> usize {
    server.tell("live").parse().expect("a number")
}

/// Exchanges a message that is compressed, and one that is not.
fn talk([compressed, plain]: &mut [Client; 2]) {
    let text = "a word or two, which come back ".repeat(20);
    compressed.send(frame_with_rsv1(true, OpCode::Text, &Deflater::new(6).message(text.as_bytes())));
    assert!(compressed.frame().rsv1);
    plain.send_binary(&[1; 4 * KIB]);
    assert_eq!(plain.frame().payload.len(), 4 * KIB);
}

/// All kinds at once, all of whom are sent messages that they do not read, and then leave, the most
/// by a reset.
fn be_attacked(server: &mut ServerProcess) {
    let peers: Vec<_> = KINDS.iter().map(|(_, kind)| kind(server)).collect();
    let taken: usize = server.tell("push 20").parse().expect("a number");
    let count: usize = peers.iter().map(Vec::len).sum();
    println!("{count} peers, {taken} messages sent by handles, {} bytes held", live(server));
    for (index, peer) in peers.into_iter().flatten().enumerate() {
        if index % 4 > 0 {
            SockRef::from(peer.stream()).set_linger(Some(Duration::ZERO)).expect("an option of the socket");
        }
    }
}

/// Ends those who talk, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn what_crowds_have_needed_is_given_back_also_while_others_talk() {
    let mut server = ServerProcess::start();
    let mut stay: Vec<Client> =
        ["/whole", "/chunks"].iter().cycle().take(STAY).map(|path| open(&server, path)).collect();
    let mut talkers = [open(&server, "/talk"), server.open("/talk")];
    talk(&mut talkers);
    server.wait_for_connections(STAY + 2);
    let before = live(&mut server);
    for round in ["first", "second"] {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = Over(&over);
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    talk(&mut talkers);
                    thread::sleep(Duration::from_millis(20));
                }
            });
            be_attacked(&mut server);
            for client in &mut stay {
                (0..20).for_each(|_| assert_eq!(client.frame().opcode, OpCode::Binary));
            }
            server.wait_for_connections(STAY + 2);
            let gone = Instant::now();
            wait_until("the memory is given back", || live(&mut server) <= before + before / 10);
            println!(
                "{round}: {before} bytes before, {} after, {:?} later",
                live(&mut server),
                gone.elapsed()
            );
        });
    }
}
