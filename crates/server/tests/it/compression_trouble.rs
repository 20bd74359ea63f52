//! Compressed conversations that are cut, mixed, stopped or broken in the middle: none harms
//! another.

use crate::common::{
    Client, DEADLINE, Deflating, TestServer, frame_with_rsv1, next, upgrade_request, wait_until, zeros,
};
use crate::scripted::{Saw, Scripted};
use framewright::frame::{OpCode, encode_frame};
use framewright::{Error, LimitExceeded, PeerMisbehaved};
use framewright_server::{CloseCode, Config, DeflateConfig, DeflatePolicy, Delivery, Options, ServerLimits};
use framewright_testkit::deflate::{Deflater, compressible, stored_block};
use framewright_testkit::rng::SplitMix64;
use std::num::NonZeroU32;
use std::sync::mpsc::Receiver;
use std::time::Duration;

const BROWSER: &str = "permessage-deflate; client_max_window_bits";

fn text(len: usize) -> Vec<u8> {
    compressible(&mut SplitMix64::new(len as u64), len)
}

/// Settings for both kinds of connections, and both deliveries.
fn all_options(connection: &Config) -> [Options; 4] {
    let shared = DeflatePolicy::default();
    [
        (Delivery::Whole, shared),
        (Delivery::Chunks, shared),
        (Delivery::Whole, shared.with_takeover()),
        (Delivery::Chunks, shared.with_takeover()),
    ]
    .map(|(delivery, policy)| Options {
        connection: Config { delivery, ..connection.clone() },
        compression: Some(policy),
        ..Options::default()
    })
}

/// Sends everything back, as long as the connection takes it.
fn patient_echo() -> (Scripted, Receiver<Saw>) {
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.message(|socket, message| {
        let _ = socket.send(message); // refused while closing
    });
    let scripted = scripted.chunk(|socket, chunk| {
        let _ = socket.send_fragment(chunk.data, chunk.last); // refused while closing
    });
    (scripted, seen)
}

#[test]
fn messages_right_behind_the_request_are_inflated() {
    for options in all_options(&Config::default()) {
        let server = TestServer::start(|builder| builder.route_with("/ws", options, Scripted::echo().0));
        let mut deflater = Deflater::new(6);
        let mut early = frame_with_rsv1(true, OpCode::Text, &deflater.message(&text(1000)));
        encode_frame(&mut early, true, OpCode::Ping, b"?", Some([5; 4]));
        let second = frame_with_rsv1(true, OpCode::Text, &Deflater::new(6).message(&text(2000)));
        // Cut within a frame, and behind all.
        for cut in [early.len() + 20, early.len() + second.len()] {
            let octets = [&early[..], &second].concat();
            let mut client = Deflating::open_with_early(server.addr(), "/ws", BROWSER, &octets[..cut]);
            client.client.send(&octets[cut..]);
            // The Pong may pass the echoes.
            let (mut frames, mut echoes) = (Vec::new(), Vec::new());
            let mut pongs = 0;
            while echoes.len() + pongs < 3 {
                let frame = client.client.frame();
                if frame.opcode == OpCode::Pong {
                    pongs += 1;
                    continue;
                }
                frames.push(frame);
                if frames[frames.len() - 1].fin {
                    echoes.push(client.join(&frames).message);
                    frames.clear();
                }
            }
            assert_eq!((pongs, echoes), (1, vec![text(1000), text(2000)]));
        }
    }
}

#[test]
fn pings_between_the_fragments_of_a_compressed_message_are_answered_before_its_echo() {
    for options in all_options(&Config::default()) {
        let whole = options.connection.delivery == Delivery::Whole;
        let server = TestServer::start(|builder| builder.route_with("/ws", options, Scripted::echo().0));
        let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
        for round in 0..3 {
            let message = text(3000 + round);
            let payload = client.deflate(&message, true, true);
            let pieces: Vec<&[u8]> = payload.chunks(100).collect();
            let mut begun = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                let fin = index + 1 == pieces.len();
                if index == 0 {
                    client.client.send(frame_with_rsv1(fin, OpCode::Text, piece));
                } else {
                    client.client.send_frame(fin, OpCode::Continuation, piece);
                }
                if fin {
                    break;
                }
                client.client.send_frame(true, OpCode::Ping, &[u8::try_from(index).expect("few")]);
                let pong = loop {
                    let frame = client.client.frame();
                    if frame.opcode == OpCode::Pong {
                        break frame;
                    }
                    assert!(!whole, "nothing of the message before its end");
                    begun.push(frame);
                };
                assert_eq!(pong.payload, [u8::try_from(index).expect("few")]);
            }
            while !begun.last().is_some_and(|frame| frame.fin) {
                begun.push(client.client.frame());
            }
            assert_eq!(client.join(&begun).message, message);
        }
    }
}

/// A conversation after the opening handshake: whole and fragmented, compressed and not, empty too.
fn conversation(client: &mut Deflating) -> Vec<u8> {
    let mut octets = client.frame_of(OpCode::Text, &text(300));
    let mut ping = Vec::new();
    encode_frame(&mut ping, true, OpCode::Ping, b"?", Some([5; 4]));
    octets.extend(client.fragments_of(OpCode::Binary, &text(250), &[0, 1, 40, 41], &ping));
    octets.extend(client.frame_of(OpCode::Text, b""));
    encode_frame(&mut octets, true, OpCode::Text, b"plain", Some([5; 4]));
    octets.extend(client.frame_of(OpCode::Text, &text(301)));
    octets
}

#[test]
fn peers_that_vanish_after_any_octet_leave_nothing_behind() {
    for options in all_options(&Config::default()) {
        let (scripted, seen) = patient_echo();
        let server = TestServer::start(|builder| builder.route_with("/ws", options, scripted));
        let mut other = Deflating::open(server.addr(), "/ws", BROWSER);
        other.echo(OpCode::Text, &text(1000));
        let len = {
            let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
            conversation(&mut client).len()
        };
        for cut in 0..=len {
            let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
            let octets = conversation(&mut client);
            client.client.send(&octets[..cut]);
            if cut % 2 == 0 {
                client.client.shutdown_write();
                client.client.expect_gone();
            }
            drop(client);
            if cut % 50 == 0 {
                other.echo(OpCode::Text, &text(1000 + cut));
            }
        }
        wait_until("all of them are gone", || server.handle().connection_count() == 1);
        let ends = || seen.try_iter().filter(|saw| matches!(saw, Saw::Close(_))).count();
        assert_eq!(ends(), len + 2, "the end of each, once");
        other.echo(OpCode::Text, &text(1000));
        // A worker's compressor, its decompressor and those that wait, and what the other one may
        // hold.
        let held = server.handle().stats().compression.held;
        assert!(held <= 1 << 20, "{held} octets");
    }
}

#[test]
fn a_handler_that_panics_in_the_middle_of_compressed_traffic_costs_its_connection_only() {
    for options in all_options(&Config::default()) {
        let whole = options.connection.delivery == Delivery::Whole;
        let panicking = Scripted::new().0;
        let panicking = panicking.message(|socket, message| {
            // With a reply compressed already.
            socket.send(message).expect("room");
            panic!("as the test wants it");
        });
        let panicking = panicking.chunk(|socket, chunk| {
            socket.send_fragment(chunk.data, chunk.last).expect("room");
            assert!(!chunk.last, "as the test wants it");
        });
        let server = TestServer::start(|builder| {
            builder
                .route_with("/echo", options.clone(), Scripted::echo().0)
                .route_with("/panic", options, panicking)
        });
        let mut others: Vec<_> = (0..4).map(|_| Deflating::open(server.addr(), "/echo", BROWSER)).collect();
        for round in 0..3 {
            let message = text(4000 + round);
            // One in the middle of a message each, one between two of them.
            let octets: Vec<_> =
                others.iter_mut().map(|other| other.frame_of(OpCode::Text, &message)).collect();
            for (other, octets) in others.iter_mut().zip(&octets).skip(1) {
                other.client.send(&octets[..octets.len() / 2]);
            }
            let mut client = Deflating::open(server.addr(), "/panic", BROWSER);
            client.send(OpCode::Text, &text(5000));
            let close = loop {
                let frame = client.client.frame();
                if frame.opcode == OpCode::Close {
                    break frame;
                }
            };
            assert_eq!(close.close(), (1011, "internal error"));
            others[0].client.send(&octets[0]);
            for (other, octets) in others.iter_mut().zip(&octets).skip(1) {
                other.client.send(&octets[octets.len() / 2..]);
            }
            for other in &mut others {
                assert_eq!(other.receive().message, message, "round {round}, whole {whole}");
            }
        }
    }
}

#[test]
fn a_server_that_stops_lets_compressed_messages_end_that_are_on_their_way() {
    for options in all_options(&Config::default()) {
        let (scripted, seen) = patient_echo();
        let server = TestServer::start(|builder| builder.route_with("/ws", options, scripted));
        let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
        client.echo(OpCode::Text, &text(1000));
        let octets = client.frame_of(OpCode::Text, &text(9000));
        let mut idle = Deflating::open(server.addr(), "/ws", BROWSER);
        client.client.send(&octets[..octets.len() / 2]);
        server.handle().stop(DEADLINE);
        for client in [&mut client, &mut idle] {
            loop {
                let frame = client.client.frame();
                if frame.opcode == OpCode::Close {
                    assert_eq!(frame.close().0, 1001);
                    break;
                }
            }
        }
        client.client.send(&octets[octets.len() / 2..]);
        for client in [&mut client, &mut idle] {
            client.client.send_close(CloseCode::GOING_AWAY, "");
            client.client.expect_end();
        }
        drop(server);
        let ends = seen.try_iter().filter(|saw| matches!(saw, Saw::Close(closure) if closure.clean));
        assert_eq!(ends.count(), 2);
    }
}

/// A message of a mebibyte takes more than one turn.
#[test]
fn a_server_that_is_stopped_cuts_a_message_that_is_being_inflated() {
    for options in all_options(&Config::default()) {
        let server = TestServer::start(|builder| builder.route_with("/ws", options, patient_echo().0));
        let mut clients: Vec<_> = (0..5).map(|_| Deflating::open(server.addr(), "/ws", BROWSER)).collect();
        let octets = frame_with_rsv1(true, OpCode::Text, &zeros(4));
        for client in &mut clients {
            client.client.send(&octets);
        }
        server.stop(Duration::ZERO).expect("it ends well");
        clients.into_iter().for_each(|mut client| client.client.expect_gone());
    }
}

/// Opens a connection, sends this behind a good message, and returns the code and the reason that
/// it is closed with, and the cause.
fn end_of(options: Options, limits: ServerLimits, octets: &[u8]) -> (u16, String, Option<Error>) {
    let (scripted, seen) = patient_echo();
    let server = TestServer::start(|builder| builder.limits(limits).route_with("/ws", options, scripted));
    let mut client = Deflating::open(server.addr(), "/ws", "permessage-deflate; client_no_context_takeover");
    client.echo(OpCode::Text, b"good");
    client.client.send(octets);
    let (code, reason) = loop {
        let frame = client.client.frame();
        if frame.opcode == OpCode::Close {
            break (frame.close().0, frame.close().1.to_owned());
        }
    };
    client.client.expect_end();
    let closure = loop {
        if let Saw::Close(closure) = next(&seen) {
            break closure;
        }
    };
    (code, reason, closure.cause)
}

#[test]
fn what_breaks_the_rules_or_a_limit_is_answered_with_its_code() {
    let one = |payload: &[u8]| frame_with_rsv1(true, OpCode::Text, payload);
    let zeros = |len: usize| Deflater::new(6).message(&vec![0; len]);
    let two = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    let begun = frame_with_rsv1(false, OpCode::Text, &Deflater::new(6).part(b"Hello"));
    let rules = [
        (one(&[0x06]), 1007, PeerMisbehaved::InvalidDeflate),
        // Within the header of a block.
        (one(&stored_block(b"Hello", false)[..2]), 1007, PeerMisbehaved::InvalidDeflate),
        // A block that has not ended: what its sender has removed is taken for its last octets,
        // which are no text.
        (one(&stored_block(b"Hello", false)[..7]), 1007, PeerMisbehaved::InvalidUtf8),
        (one(&two(stored_block(b"a\xff", false), vec![0])), 1007, PeerMisbehaved::InvalidUtf8),
        (one(&two(stored_block(b"\xe2\x82", false), vec![0])), 1007, PeerMisbehaved::InvalidUtf8),
        (
            two(begun.clone(), frame_with_rsv1(true, OpCode::Continuation, &[0])),
            1002,
            PeerMisbehaved::MisplacedRsv1(OpCode::Continuation),
        ),
        (two(begun.clone(), one(&[0])), 1002, PeerMisbehaved::InterleavedMessage),
        (frame_with_rsv1(true, OpCode::Ping, b""), 1002, PeerMisbehaved::MisplacedRsv1(OpCode::Ping)),
    ];
    for (octets, code, rule) in rules {
        for options in all_options(&Config::default()) {
            let end = end_of(options, ServerLimits::default(), &octets);
            assert_eq!(end, (code, rule.reason().to_owned(), Some(Error::Peer(rule))), "{octets:x?}");
        }
    }
    let deflate = DeflateConfig { max_ratio: NonZeroU32::new(100), ..DeflateConfig::default() };
    let config = Config { max_message: 100_000, deflate, ..Config::default() };
    let ratio = LimitExceeded::InflationRatio { limit: 100 };
    for options in all_options(&config) {
        let (code, reason, cause) = end_of(options.clone(), ServerLimits::default(), &one(&zeros(90_000)));
        assert_eq!((code, &reason[..], cause), (1009, ratio.reason(), Some(Error::Limit(ratio))));
        let plain: Vec<_> = text(60_000).repeat(2);
        let octets = one(&Deflater::new(6).message(&plain));
        let (code, reason, cause) = end_of(options.clone(), ServerLimits::default(), &octets);
        assert_eq!((code, &reason[..]), (1009, "message too large"));
        let Some(Error::Limit(LimitExceeded::MessageTooLarge { announced, limit: 100_000 })) = cause else {
            panic!("{cause:?}")
        };
        assert!(announced > 100_000 && announced <= 120_000, "{announced}");
        // What is announced tells too: an eighth more than a message may have, and a little.
        let header = [&[0x41, 0xff][..], &114_000_u64.to_be_bytes(), &[0; 4]].concat();
        let end = end_of(options, ServerLimits::default(), &header);
        assert_eq!(end.0, 1009);
        assert_eq!(
            end.2,
            Some(Error::Limit(LimitExceeded::MessageTooLarge { announced: 114_000, limit: 100_000 }))
        );
    }
}

/// Such a peer once waited for ever: nothing announces that there is room, and nothing more is
/// read.
#[test]
fn what_was_not_inflated_since_the_peer_did_not_read_is_when_it_does() {
    let deflate = DeflateConfig { threshold: usize::MAX, ..DeflateConfig::default() };
    let connection = Config { deflate, high_water: 64 << 10, low_water: 1 << 10, ..Config::default() };
    for options in all_options(&connection) {
        let server = TestServer::start(|builder| builder.route_with("/ws", options, Scripted::echo().0));
        let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
        // More than the kernel takes for a peer that does not read.
        client.client.send(frame_with_rsv1(true, OpCode::Binary, &zeros(12)));
        let mut other = Deflating::open(server.addr(), "/ws", BROWSER);
        other.echo(OpCode::Text, &text(1000));
        let received = client.receive();
        assert!(received.message.len() == 12 << 20 && !received.compressed);
    }
}

/// One that waits for room holds no more than its own: the others' messages are inflated meanwhile,
/// without any memory to spare.
#[test]
fn a_peer_that_does_not_read_keeps_nobody_else_from_being_inflated() {
    let deflate = DeflateConfig { threshold: usize::MAX, ..DeflateConfig::default() };
    let connection = Config { deflate, high_water: 64 << 10, low_water: 1 << 10, ..Config::default() };
    let limits = ServerLimits { compression_memory: 0, ..ServerLimits::default() };
    for options in all_options(&connection) {
        let server = TestServer::start(|builder| {
            builder.limits(limits.clone()).route_with("/ws", options, Scripted::echo().0)
        });
        let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
        client.client.send(frame_with_rsv1(true, OpCode::Binary, &zeros(12)));
        // The first octets come back: it is being inflated.
        client.client.stream().peek(&mut [0]).expect("the echo has begun");
        let mut other = Deflating::open(server.addr(), "/ws", BROWSER);
        for _ in 0..20 {
            other.echo(OpCode::Text, &text(1000));
        }
        drop(client);
    }
}

/// A message that is not here yet is not inflated without memory for it. In chunks it cannot wait
/// for long.
#[test]
fn without_memory_a_message_in_parts_waits_for_its_end_and_a_long_one_in_chunks_is_refused_with_1013() {
    let limits = ServerLimits { compression_memory: 0, ..ServerLimits::default() };
    for options in all_options(&Config::default()) {
        let whole = options.connection.delivery == Delivery::Whole;
        let server = TestServer::start(|builder| {
            builder.limits(limits.clone()).route_with("/ws", options, Scripted::echo().0)
        });
        let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
        assert!(!client.terms.server_takeover && !client.terms.client_takeover);
        client.echo(OpCode::Text, &text(1000));
        let noise = SplitMix64::new(1013).octets(100_000);
        for (message, refused) in [(text(3000), false), (noise, !whole)] {
            let octets = client.frame_of(OpCode::Binary, &message);
            let (most, rest) = octets.split_at(octets.len() - 100);
            client.client.send(most);
            let mut other = Deflating::open(server.addr(), "/ws", BROWSER);
            other.echo(OpCode::Text, &text(1000));
            if refused {
                assert_eq!(client.client.expect_close(1013), LimitExceeded::DeflateMemory.reason());
                client.client.expect_end();
            } else {
                client.client.send(rest);
                assert_eq!(client.receive().message, message);
            }
            other.echo(OpCode::Text, &text(1000));
        }
    }
}

/// The request of a client that offers what browsers offer, and the octets behind it, however they
/// arrive.
#[test]
fn a_compressed_conversation_arrives_octet_by_octet() {
    for options in all_options(&Config::default()) {
        let server = TestServer::start(|builder| builder.route_with("/ws", options, Scripted::echo().0));
        let mut client = server.connect();
        let request = upgrade_request("/ws", &format!("Sec-WebSocket-Extensions: {BROWSER}\r\n"));
        send_octets(&mut client, request.as_bytes());
        let answer = client.answer_head();
        let mut client = Deflating::begin(client, &answer);
        let octets = client.frame_of(OpCode::Text, &text(600));
        send_octets(&mut client.client, &octets);
        assert_eq!(client.receive().message, text(600));
    }
}

fn send_octets(client: &mut Client, octets: &[u8]) {
    for octet in octets {
        client.send([*octet]);
    }
}
