//! What the client allocates: little whatever a server sends, and nothing for a message once it has
//! warmed up.
//!
//! All allocations of the process are counted: the server's script has its buffers before counting
//! begins.

#[path = "common/mod.rs"]
mod common;

use common::{AnyClient, DEADLINE, Kind, Listener, Loop, Peer, plain, request, upload};
use framewright::{Config, Error, Message, Role};
use framewright_client::{ConnectError, Options, blocking, event_loop};
use framewright_testkit::endpoint::Seen;
use framewright_testkit::wire::WireFrame;
use framewright_testkit::{script, wire};
use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What a client with its buffers, a test's thread, and the copy that it makes of a small event may
/// have together.
const BESIDES: usize = 512 << 10;

/// The most octets that were allocated at one time while a client of this kind was in `run`, and a
/// server behind its answer in `play`.
fn most_allocated(
    kind: Kind,
    connection: Config,
    play: impl FnOnce(&mut Peer) + Send + 'static,
    run: impl FnOnce(&mut dyn AnyClient),
) -> usize {
    let _profiler = dhat::Profiler::builder().testing().build();
    let server = Listener::with_receive_buffer(4 << 10).run(move |listener| {
        let mut peer = listener.accept();
        peer.read_request();
        peer.upgrade();
        play(&mut peer);
    });
    let options = Options { connection, ..plain() };
    let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
    run(&mut *client);
    drop(client);
    server.end();
    dhat::HeapStats::get().max_bytes
}

/// The most bytes held while a server only sends, and leaves when the client does; and why the
/// connection has ended.
fn most_for(kind: Kind, connection: Config, stream: Vec<u8>) -> (usize, Option<Error>) {
    let mut cause = None;
    let play = move |peer: &mut Peer| {
        // The client may leave before the end.
        let _ = peer.try_send(&stream);
        peer.shutdown_write();
        let _ = peer.stream().read(&mut [0; 1 << 10]);
    };
    let most = most_allocated(kind, connection, play, |client| {
        cause = loop {
            match client.next() {
                Some(Seen::Closed(closure)) => break closure.cause,
                Some(_) => {}
                None => panic!("no end"),
            }
        };
    });
    (most, cause)
}

fn server(source: &str) -> Vec<u8> {
    script::bytes(Role::Server, source)
}

fn a_declared_length_allocates_nothing(kind: Kind) {
    let unlimited = Config { max_message: u64::MAX, max_frame: u64::MAX, ..Config::default() };
    for len in ["65536", "0x1000000", "0x0080000000000001", "0x7fffffffffffffff"] {
        for mark in ["", "!fin"] {
            let stream = server(&format!("binary \"x\" * 1000 len={len} {mark}"));
            let (most, cause) = most_for(kind, unlimited.clone(), stream);
            assert_eq!(cause, Some(Error::TransportLost));
            assert!(most <= BESIDES, "{most} octets for {len} announced");
        }
    }
}

fn fragments_without_end_cost_no_more_than_what_is_in_them(kind: Kind) {
    let any = Config { small_frame_budget: u32::MAX, ..Config::default() };
    for (source, content) in [
        ("text !fin; repeat 50_000 { cont !fin }", 0),
        ("text !fin; repeat 50_000 { cont \"x\" !fin }", 50_000),
        ("text !fin; repeat 5_000 { repeat 9 { cont !fin }; ping \"x\" * 100 }", 0),
    ] {
        let (most, cause) = most_for(kind, any.clone(), server(source));
        assert_eq!(cause, Some(Error::TransportLost));
        assert!(most <= BESIDES + 3 * content, "{most} octets for {source}");
    }
}

fn octets_one_by_one_cost_no_more_than_what_they_make(kind: Kind) {
    let stream = server("binary \"x\" * 5000 len=60000");
    let play = move |peer: &mut Peer| {
        for octet in stream {
            peer.send([octet]);
        }
    };
    let most = most_allocated(kind, Config::default(), play, |client| {
        assert_eq!(client.expect_closed().cause, Some(Error::TransportLost));
    });
    assert!(most <= BESIDES, "{most} octets");
}

#[cfg(feature = "deflate")]
fn a_bomb_costs_no_more_than_the_limit(kind: Kind) {
    use framewright::LimitExceeded;
    use framewright::deflate::Decompressor;
    use framewright_testkit::deflate::Deflater;
    let payload = Deflater::new(6).part(&vec![0; 4 << 20]);
    let mut stream = server("binary rsv1 !fin");
    for _ in 0..16 {
        stream.extend([server(&format!("cont !fin len={}", payload.len())), payload.clone()].concat());
    }
    stream.extend(server("cont hex \"00\""));

    let limit = 1 << 20;
    let _profiler = dhat::Profiler::builder().testing().build();
    let server = Listener::bind().run(move |listener| {
        let mut peer = listener.accept();
        peer.read_request();
        peer.upgrade_with("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n");
        let _ = peer.try_send(&stream);
        peer.shutdown_write();
        let _ = peer.stream().read(&mut [0; 1 << 10]);
    });
    let connection = Config { max_message: limit as u64, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    // The default asks for it; and the client's part is not in question.
    let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
    let cause = client.expect_closed().cause;
    let announced = limit as u64 + 1;
    let expected = LimitExceeded::MessageTooLarge { announced, limit: limit as u64 };
    assert_eq!(cause, Some(Error::Limit(expected)));
    drop(client);
    server.end();
    let most = dhat::HeapStats::get().max_bytes;
    // The message doubles in size as it is inflated, so that one and a half of it is there when it
    // is moved; the stream is the server's.
    let allowed = limit + limit / 2 + Decompressor::MAX_SIZE + BESIDES;
    assert!(most <= allowed, "{most} octets of {allowed}");
}

/// The number in a Ping or Pong of the flood.
fn number(frame: &WireFrame) -> u32 {
    u32::from_be_bytes(frame.payload[..4].try_into().expect("four octets"))
}

/// The number in the last whole Pong: each has a header of 6 octets and a payload of 125.
fn newest(pongs: &[u8]) -> Option<u32> {
    let whole = pongs.len() / 131;
    WireFrame::read(&pongs[whole.checked_sub(1)? * 131..]).as_ref().map(number)
}

fn a_flood_of_pings_is_answered_in_constant_memory_while_nothing_can_be_sent(kind: Kind) {
    // So many that the sockets do not hold the Pongs.
    let pings = u32::try_from(upload() / 131).expect("some millions");
    let mut flood = Vec::new();
    for index in 0..pings {
        let mut payload = [b'p'; 125];
        payload[..4].copy_from_slice(&index.to_be_bytes());
        flood.extend([0x89, 125]);
        flood.extend(payload);
    }
    flood.extend(server("text \"end\""));
    let mut pongs = Vec::with_capacity(upload() + (1 << 20));
    let (seen_all, is_seen) = mpsc::channel::<()>();
    let (sender, answers) = mpsc::channel();
    let play = move |peer: &mut Peer| {
        // Reads nothing meanwhile.
        peer.send(&flood);
        is_seen.recv_timeout(DEADLINE).expect("the client reads on");
        let mut piece = [0; 16 << 10];
        while newest(&pongs) != Some(pings - 1) {
            let count = peer.stream().read(&mut piece).expect("a Pong before the deadline");
            pongs.extend_from_slice(&piece[..count]);
        }
        sender.send(pongs).expect("somebody listens");
    };
    let most = most_allocated(kind, Config::default(), play, |client| {
        for index in 0..pings {
            match client.next() {
                Some(Seen::Ping(payload)) => assert_eq!(payload[..4], index.to_be_bytes()),
                other => panic!("{other:?}"),
            }
        }
        client.expect_text("end");
        seen_all.send(()).expect("the server waits");
        assert_eq!(client.expect_closed().cause, Some(Error::TransportLost));
    });
    assert!(most <= BESIDES, "{most} octets");
    let octets = answers.recv().expect("the answers");
    let frames = wire::check_output(Role::Client, &octets).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(frames.iter().all(|frame| frame.header.opcode == 10 && frame.payload.len() == 125));
    let numbers: Vec<u32> = frames.iter().map(number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in their order, each at most once");
    assert!(numbers.len() < pings as usize, "there was no room for all");
}

fn an_answer_without_end_costs_no_more_than_the_limits(kind: Kind) {
    for (start, piece) in [
        ("HTTP/1.1 503 Busy\r\n\r\n", "not today "),
        ("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n", "a\r\nnot today \r\n"),
        ("HTTP/1.1 101 ", "endless "),
        ("HTTP/1.1 101 X\r\nX: ", "endless "),
        ("HTTP/1.1 101 X\r\n", "X: y\r\n"),
    ] {
        let pieces = piece.repeat(1000);
        let _profiler = dhat::Profiler::builder().testing().build();
        let server = Listener::bind().run(move |listener| {
            let mut peer = listener.accept();
            peer.read_request();
            peer.send(start);
            while peer.try_send(&pieces).is_ok() {}
        });
        let outcome = kind.connect(request(server.addr()), &plain());
        assert!(matches!(outcome, Err(ConnectError::Refused(_) | ConnectError::Handshake(_))));
        server.end();
        let most = dhat::HeapStats::get().max_bytes;
        assert!(most <= BESIDES, "{most} octets for {start}");
    }
}

fn little_waits_for_a_server_that_does_not_read() {
    let high_water = 256 << 10;
    let message = vec![0; 64 << 10];
    let (full, is_full) = mpsc::channel::<()>();
    let play = move |_: &mut Peer| is_full.recv_timeout(DEADLINE).expect("the client does not wait");
    let config = Config { high_water, ..Config::default() };
    let most = most_allocated(Kind::EventLoop, config, play, |client| {
        // A kernel may find room after it had none.
        let mut refusals = 0;
        while refusals < 100 {
            match client.send_binary(&message) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, framewright::SendError::Full);
                    refusals += 1;
                }
            }
        }
        full.send(()).expect("the server waits");
    });
    // The buffer doubles in size.
    assert!(most <= 2 * (high_water + message.len()) + BESIDES, "{most} octets");
}

/// Rounds before counting, and rounds that are counted.
const ROUNDS: (usize, usize) = (100, 100);

/// What is allocated in so many rounds of messages that come in pieces whose sizes are the kernel's
/// choice.
const NOW_AND_THEN: u64 = 10;
/// What is allocated in as many rounds if a buffer in each of them doubles up to 1 MiB.
const GROWING: u64 = 12 * ROUNDS.1 as u64;

/// Counts the allocations of rounds in each of which a message of `len` octets goes out and another
/// one comes back.
fn allocations(len: usize, round: impl FnOnce(std::net::SocketAddr) -> Box<dyn FnMut(&[u8])>) -> u64 {
    let message = vec![b'x'; len];
    let answer = server(&format!("binary \"x\" * {len}"));
    let frame_len = answer.len() + 4;
    let server = Listener::bind().run(move |listener| {
        let mut peer = listener.accept();
        peer.read_request();
        peer.upgrade();
        let mut frame = vec![0; frame_len];
        while peer.stream().read_exact(&mut frame).is_ok() {
            // The last one finds nobody.
            let _ = peer.stream().write_all(&answer);
        }
    });
    let mut round = round(server.addr());
    (0..ROUNDS.0).for_each(|_| round(&message));
    let before = dhat::HeapStats::get().total_blocks;
    (0..ROUNDS.1).for_each(|_| round(&message));
    let allocated = dhat::HeapStats::get().total_blocks - before;
    drop(round);
    server.end();
    allocated
}

/// The size of the receive buffer that a socket of this machine begins with.
fn receive_buffer() -> usize {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.recv_buffer_size().expect("an option of the socket")
}

fn a_message_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    // A large message grows a receive buffer, which the blocking client keeps for the next one and
    // the clients of a loop do not.
    let cases = [
        (0, 0, 0),
        (20, 0, 0),
        (4 << 10, 0, 0),
        (64 << 10, NOW_AND_THEN, NOW_AND_THEN),
        (1 << 20, NOW_AND_THEN, GROWING),
    ];
    let room = receive_buffer();
    for (len, most_blocking, most_in_loop) in cases {
        // Where it comes in pieces for want of room, it is a large one.
        let (most_blocking, most_in_loop) =
            if len < room { (most_blocking, most_in_loop) } else { (NOW_AND_THEN, GROWING) };
        let blocking = allocations(len, |addr| {
            let mut client = blocking::Client::connect_with(request(addr), &plain()).expect("open");
            Box::new(move |message| {
                client.send_binary(message).expect("an open connection");
                let Ok(Some(Message::Binary(answer))) = client.receive() else { panic!("no answer") };
                assert_eq!(answer.len(), message.len());
            })
        });
        assert!(
            blocking <= most_blocking,
            "blocking, {len} octets: {blocking} allocations in {} rounds",
            ROUNDS.1
        );
        // Sent from the callback: between two turns a client has no buffers of its loop.
        let in_loop = allocations(len, |addr| {
            let mut client = Loop::connect(request(addr), &plain()).expect("open");
            let mut socket =
                client.client.socket(Instant::now(), &mut client.buffers).expect("an open connection");
            socket.send_binary(&vec![b'x'; len]).expect("room");
            drop(socket);
            Box::new(move |message| {
                let until = Instant::now() + DEADLINE;
                let mut answered = false;
                while !answered {
                    assert!(Instant::now() < until, "no answer before the deadline");
                    let turn = client.turn_with(until, |socket, event| match event {
                        event_loop::Event::Message(answer) => {
                            answered = answer.len() == message.len();
                            socket.send_binary(message).expect("room");
                        }
                        event_loop::Event::Writable => {}
                        other => panic!("{other:?}"),
                    });
                    turn.expect("an open connection");
                }
            })
        });
        assert!(
            in_loop <= most_in_loop,
            "event loop, {len} octets: {in_loop} allocations in {} rounds",
            ROUNDS.1
        );
    }
}

/// One function: the counts are of the whole process.
#[test]
fn the_client_allocates_little_whatever_a_server_sends_and_nothing_for_a_message() {
    for kind in [Kind::Blocking, Kind::EventLoop] {
        a_declared_length_allocates_nothing(kind);
        fragments_without_end_cost_no_more_than_what_is_in_them(kind);
        octets_one_by_one_cost_no_more_than_what_they_make(kind);
        #[cfg(feature = "deflate")]
        a_bomb_costs_no_more_than_the_limit(kind);
        a_flood_of_pings_is_answered_in_constant_memory_while_nothing_can_be_sent(kind);
        an_answer_without_end_costs_no_more_than_the_limits(kind);
    }
    little_waits_for_a_server_that_does_not_read();
    a_message_allocates_nothing();
}
