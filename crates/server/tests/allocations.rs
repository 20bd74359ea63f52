//! A server that has warmed up allocates nothing for a message.
//!
//! All allocations of the process are counted, those of the client too, which reads and writes
//! buffers that it has.

#[path = "common/mod.rs"]
mod common;

use common::{DEADLINE, TestServer, upgrade_request};
use framewright::frame::{Header, OpCode, Rules, encode_frame};
use framewright::handshake::Accept;
use framewright::{Chunk, Config, Delivery, Message, Role};
use framewright_server::{Decision, Handler, Incoming, Options, Socket};
use std::io::{Read, Write};
use std::net::TcpStream;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Rounds before counting, and rounds that are counted.
const ROUNDS: (usize, usize) = (100, 100);

/// What is allocated in so many rounds of messages that come in pieces whose sizes are the kernel's
/// choice: a buffer now and then for a piece of a size that none had before.
const NOW_AND_THEN: u64 = 10;

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, _: &Incoming<'_>) -> Decision<()> {
        Decision::accept_with(Accept::new(), ())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        socket.send(message).expect("there is room");
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        socket.send_fragment(chunk.data, chunk.last).expect("there is room");
    }
}

/// A client that allocates nothing once it is made.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    fn connect(server: &TestServer, path: &str) -> Client {
        let mut stream = TcpStream::connect(server.addr()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        stream.set_nodelay(true).expect("no delay");
        stream.write_all(upgrade_request(path, "").as_bytes()).expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            stream.read_exact(&mut octet).expect("an answer");
            head.push(octet[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Client { stream, received: vec![0; 4 << 20] }
    }

    /// Sends `pieces` one after the other, each when the one before is answered: by as many last
    /// frames of messages, Pongs included, as it says.
    fn round(&mut self, pieces: &[(Vec<u8>, usize)]) {
        for (piece, answers) in pieces {
            self.stream.write_all(piece).expect("a server that reads");
            let mut filled = 0;
            while last_frames(&self.received[..filled]) != Some(*answers) {
                let count = self.stream.read(&mut self.received[filled..]).expect("an answer in time");
                assert!(count > 0, "the server has left");
                filled += count;
            }
        }
    }
}

/// How many last frames of messages are in `octets`; `None` if they end within a frame.
fn last_frames(mut octets: &[u8]) -> Option<usize> {
    let mut last = 0;
    while !octets.is_empty() {
        let rules = Rules::for_receiver(Role::Client);
        let (header, header_len) = Header::parse(octets, rules).expect("a server's frame")?;
        octets = octets.get(header_len + usize::try_from(header.payload_len).expect("a length")..)?;
        last += usize::from(header.fin);
    }
    Some(last)
}

fn frames(opcode: OpCode, len: usize, count: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    for _ in 0..count {
        encode_frame(&mut octets, true, opcode, &vec![b'x'; len], Some([1, 2, 3, 4]));
    }
    octets
}

#[test]
fn a_message_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let chunks = Options {
        connection: Config { delivery: Delivery::Chunks, ..Config::default() },
        ..Options::default()
    };
    let server =
        TestServer::start(|builder| builder.route("/whole", Echo).route_with("/chunks", chunks, Echo));

    let one = |opcode, len| vec![(frames(opcode, len, 1), 1)];
    // The Ping is answered when all that came with it has been decoded: the rest comes in another
    // read.
    let mut first = frames(OpCode::Ping, 4, 1);
    let message = frames(OpCode::Text, 1000, 1);
    first.extend_from_slice(&message[..300]);
    let in_two_reads = vec![(first, 1), (message[300..].to_vec(), 1)];
    let cases = [
        ("/whole", "0 octets", one(OpCode::Binary, 0), 0),
        ("/whole", "20 octets", one(OpCode::Binary, 20), 0),
        ("/whole", "126 octets", one(OpCode::Binary, 126), 0),
        ("/whole", "4 KiB of text", one(OpCode::Text, 4 << 10), 0),
        ("/whole", "32 messages at once", vec![(frames(OpCode::Binary, 20, 32), 32)], 0),
        ("/whole", "a Ping", one(OpCode::Ping, 20), 0),
        ("/whole", "a message in two reads", in_two_reads.clone(), 0),
        ("/chunks", "a message in two reads", in_two_reads, 0),
        ("/chunks", "4 KiB", one(OpCode::Binary, 4 << 10), 0),
        ("/whole", "16 KiB", one(OpCode::Binary, 16 << 10), NOW_AND_THEN),
        ("/whole", "64 KiB", one(OpCode::Binary, 64 << 10), NOW_AND_THEN),
        ("/whole", "1 MiB", one(OpCode::Binary, 1 << 20), NOW_AND_THEN),
        ("/chunks", "1 MiB", one(OpCode::Binary, 1 << 20), NOW_AND_THEN),
    ];
    for (path, what, pieces, most) in cases {
        let mut client = Client::connect(&server, path);
        (0..ROUNDS.0).for_each(|_| client.round(&pieces));
        let before = dhat::HeapStats::get().total_blocks;
        (0..ROUNDS.1).for_each(|_| client.round(&pieces));
        let allocated = dhat::HeapStats::get().total_blocks - before;
        assert!(allocated <= most, "{path}, {what}: {allocated} allocations in {} rounds", ROUNDS.1);
    }
}
