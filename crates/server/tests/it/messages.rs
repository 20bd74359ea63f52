//! Open connections: what is received comes to the handler, what it sends comes to the peer, and
//! each end is told once.

use crate::common::{Client, DEADLINE, TestServer, next};
use crate::scripted::{Saw, Scripted, expect_closed, expect_saw};
use framewright::frame::{OpCode, encode_frame};
use framewright::{Error, LimitExceeded, PeerMisbehaved, Timeout};
use framewright_server::{
    Chunk, CloseCode, Closed, Closure, Config, Decision, Delivery, Handler, Incoming, Message, Options,
    PeerAddr, SendError, Server, Socket,
};
use socket2::SockRef;
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

fn with(connection: Config) -> Options {
    Options { connection, ..Options::default() }
}

/// Sends everything back, and keeps nothing of it.
struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, _: &Incoming<'_>) -> Decision<()> {
        Decision::accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        socket.send(message).expect("room");
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        socket.send_fragment(chunk.data, chunk.last).expect("room");
    }
}

/// `len` octets of text whose characters have one to four octets.
fn text_of(len: usize) -> String {
    let mut text: String = "a\u{e9}\u{20ac}\u{1d11e}".chars().cycle().take(len / 4).collect();
    while text.len() < len {
        text.push('z');
    }
    while text.len() > len {
        text.pop();
    }
    text.extend(std::iter::repeat_n('z', len - text.len()));
    text
}

/// Sends a message and reads it back, both at once: in pieces it comes back before it is all sent.
fn echo(client: &mut Client, opcode: OpCode, payload: &[u8]) {
    let mut writer = client.try_clone();
    thread::scope(|scope| {
        scope.spawn(move || writer.send_frame(true, opcode, payload));
        let (echoed, octets) = client.message();
        assert!(echoed == opcode && octets == payload, "{} octets of {opcode:?}", payload.len());
    });
}

fn echo_sizes(delivery: Delivery, receive_buffer_size: usize, sizes: &[usize]) {
    let connection = Config { delivery, ..Config::default() };
    let options = Options { connection, receive_buffer_size, ..Options::default() };
    let server = TestServer::start(|builder| builder.options(options).route("/ws", Echo));
    let mut client = server.open("/ws");
    for &size in sizes {
        echo(&mut client, OpCode::Text, text_of(size).as_bytes());
        let octets: Vec<u8> = (0..=255).cycle().take(size).collect();
        echo(&mut client, OpCode::Binary, &octets);
    }
    client.leave();
}

const SIZES: [usize; 6] = [0, 1, 125, 126, 65535, 65536];
const LARGE: usize = 1 << 20;
const LARGEST: usize = 16 << 20;

#[test]
fn messages_of_any_size_come_back_with_reads_of_1_octet() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        echo_sizes(delivery, 1, &[0, 1, 125, 126, 2000]);
    }
}

#[test]
fn messages_of_any_size_come_back_with_reads_of_125_octets() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        echo_sizes(delivery, 125, &SIZES);
    }
}

#[test]
fn messages_of_any_size_come_back_with_reads_of_4096_octets() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        echo_sizes(delivery, 4096, &SIZES);
        echo_sizes(delivery, 4096, &[LARGE]);
    }
}

#[test]
fn messages_of_any_size_come_back_with_reads_of_65536_octets() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        echo_sizes(delivery, 65536, &SIZES);
        echo_sizes(delivery, 65536, &[LARGE, LARGEST]);
    }
}

#[test]
fn many_messages_in_one_segment_come_back_in_order() {
    for receive_buffer_size in [1, 125, 65536] {
        let options = Options { receive_buffer_size, ..Options::default() };
        let server = TestServer::start(|builder| builder.options(options).route("/ws", Echo));
        let mut client = server.open("/ws");
        let mut octets = Vec::new();
        for number in 0..300 {
            encode_frame(
                &mut octets,
                true,
                OpCode::Text,
                number.to_string().as_bytes(),
                Some([7, 0, 255, 1]),
            );
        }
        client.send(&octets);
        for number in 0..300 {
            client.expect_text(&number.to_string());
        }
    }
}

#[test]
fn pings_between_fragments_are_answered_at_once_and_the_message_comes_whole() {
    let (scripted, seen) = Scripted::echo();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    client.send_frame(false, OpCode::Text, b"one, ");
    for (number, part) in [(1, "two, "), (2, "three, ")] {
        client.send_frame(true, OpCode::Ping, &[number]);
        let pong = client.frame();
        assert_eq!((pong.opcode, &pong.payload[..]), (OpCode::Pong, &[number][..]));
        client.send_frame(false, OpCode::Continuation, part.as_bytes());
    }
    client.send_frame(true, OpCode::Pong, b"unasked");
    client.send_frame(true, OpCode::Continuation, b"");
    client.expect_text("one, two, three, ");
    let expected = [
        Saw::Request("/ws".into(), true),
        Saw::Open,
        Saw::Ping(vec![1]),
        Saw::Ping(vec![2]),
        Saw::Pong(b"unasked".to_vec()),
        Saw::Text("one, two, three, ".into()),
    ];
    expect_saw(&seen, &expected);
}

#[test]
fn the_peers_pong_to_the_handlers_ping_reaches_it() {
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.open(|socket| socket.ping(b"are you there?").expect("room"));
    let scripted = scripted.pong(|socket| socket.send_text("good").expect("room"));
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut client = server.open("/ws");
    let ping = client.frame();
    assert_eq!((ping.opcode, &ping.payload[..]), (OpCode::Ping, &b"are you there?"[..]));
    client.send_frame(true, OpCode::Pong, &ping.payload);
    client.expect_text("good");
    let expected = [Saw::Request("/ws".into(), true), Saw::Open, Saw::Pong(b"are you there?".to_vec())];
    expect_saw(&seen, &expected);
}

#[test]
fn a_full_connection_refuses_and_says_when_there_is_room() {
    const MESSAGE: usize = 1000;
    const MOST: usize = 200_000;
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.message(|socket, _| {
        let mut sent = 0;
        let error = loop {
            match socket.send_binary(&[7; MESSAGE]) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, SendError::Full);
        assert!(!socket.is_writable() && socket.buffered() >= MOST, "{sent} messages");
        assert!(socket.buffered() <= MOST + MESSAGE + 4);
    });
    let scripted = scripted.writable(|socket| {
        assert!(socket.is_writable() && socket.buffered() <= 1000);
        socket.send_text("writable").expect("room");
    });
    let config = Config { high_water: MOST, low_water: 1000, ..Config::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", with(config), scripted));
    let mut client = server.open("/ws");
    client.send_text("go");
    let mut messages = 0;
    let last = loop {
        let (opcode, payload) = client.message();
        if opcode == OpCode::Text {
            break payload;
        }
        assert_eq!(payload, [7; MESSAGE]);
        messages += 1;
    };
    assert_eq!(last, b"writable");
    assert!(messages >= MOST / (MESSAGE + 4), "{messages}");
    let expected = [Saw::Request("/ws".into(), true), Saw::Open, Saw::Text("go".into()), Saw::Writable];
    expect_saw(&seen, &expected);
}

/// Opens one connection, lets the client end it, and returns what the handler saw behind `Open`:
/// the end once and last, even when the server has gone.
#[track_caller]
fn seen_until_the_end(
    (scripted, seen): (Scripted, Receiver<Saw>),
    config: Config,
    talk: impl FnOnce(Client, &TestServer),
) -> (Vec<Saw>, Closure) {
    let server = TestServer::start(|builder| builder.route_with("/ws", with(config), scripted));
    talk(server.open("/ws"), &server);
    expect_saw(&seen, &[Saw::Request("/ws".into(), true), Saw::Open]);
    let mut before = Vec::new();
    let closure = loop {
        match next(&seen) {
            Saw::Close(closure) => break closure,
            saw => before.push(saw),
        }
    };
    drop(server);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [], "after the end");
    (before, closure)
}

#[test]
fn faults_of_the_peer_are_answered_with_their_code_and_nothing_comes_behind_them() {
    let masked = |fin, opcode, payload: &[u8]| {
        let mut octets = Vec::new();
        encode_frame(&mut octets, fin, opcode, payload, Some([1, 2, 3, 4]));
        octets
    };
    let text = |payload| masked(true, OpCode::Text, payload);
    let raw = |octets: &[u8]| octets.to_vec();
    // An invalid octet in the middle of a frame whose rest does not come.
    let cut = |payload| text(payload)[..8].to_vec();
    let close = |body| masked(true, OpCode::Close, body);
    for (octets, code, rule) in [
        (raw(b"\x81\x05Hello"), 1002, PeerMisbehaved::UnmaskedFrame),
        (raw(b"\xc1\x80\0\0\0\0"), 1002, PeerMisbehaved::ReservedBits(4)),
        (raw(b"\x83\x80\0\0\0\0"), 1002, PeerMisbehaved::UnknownOpcode(3)),
        (raw(b"\x8b\x80\0\0\0\0"), 1002, PeerMisbehaved::UnknownOpcode(11)),
        (raw(b"\x81\xfe\0\x7d"), 1002, PeerMisbehaved::NonMinimalLength(125)),
        (raw(b"\x81\xff\x80\0\0\0\0\0\0\0"), 1002, PeerMisbehaved::LengthTopBit),
        (raw(b"\x09\x80\0\0\0\0"), 1002, PeerMisbehaved::FragmentedControl(OpCode::Ping)),
        (raw(b"\x89\xfe"), 1002, PeerMisbehaved::ControlTooLong(OpCode::Ping)),
        (masked(true, OpCode::Continuation, b"x"), 1002, PeerMisbehaved::UnexpectedContinuation),
        ([masked(false, OpCode::Text, b"x"), text(b"y")].concat(), 1002, PeerMisbehaved::InterleavedMessage),
        (text(b"\xff"), 1007, PeerMisbehaved::InvalidUtf8),
        (text(b"\xe2\x82"), 1007, PeerMisbehaved::InvalidUtf8),
        (cut(b"a\xfflonger"), 1007, PeerMisbehaved::InvalidUtf8),
        (close(b"x"), 1002, PeerMisbehaved::CloseBodyOneOctet),
        (close(b"\x03\xee"), 1002, PeerMisbehaved::InvalidCloseCode(1006)),
        (close(b"\x03\xe8\xff"), 1007, PeerMisbehaved::CloseReasonNotUtf8),
    ] {
        let (before, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, _| {
            client.send([text(b"before"), octets, text(b"behind")].concat());
            client.expect_text("before");
            assert_eq!(client.expect_close(code), rule.reason());
            client.expect_end();
        });
        assert_eq!(before, [Saw::Text("before".into())], "{rule:?}");
        assert_eq!(closure.cause, Some(Error::Peer(rule)));
        assert_eq!(closure.sent.expect("a Close frame").code, CloseCode::new(code));
        assert!(!closure.clean);
    }
}

#[test]
fn messages_over_the_limits_are_answered_with_1009_or_1008_before_they_are_held() {
    let limited = Config { max_message: 1000, max_frame: 600, small_frame_budget: 10, ..Config::default() };
    let in_chunks = Config { delivery: Delivery::Chunks, ..limited.clone() };
    let mut too_large = Vec::new();
    encode_frame(&mut too_large, true, OpCode::Binary, &[0; 601], Some([0; 4]));
    let mut fragments = Vec::new();
    for opcode in [OpCode::Binary, OpCode::Continuation] {
        encode_frame(&mut fragments, false, opcode, &[0; 501], Some([0; 4]));
    }
    let mut small = Vec::new();
    encode_frame(&mut small, false, OpCode::Text, b"x", Some([0; 4]));
    for _ in 0..10 {
        encode_frame(&mut small, false, OpCode::Continuation, b"", Some([0; 4]));
    }
    let frame = LimitExceeded::FrameTooLarge { announced: 601, limit: 600 };
    let message = LimitExceeded::MessageTooLarge { announced: 1002, limit: 1000 };
    for (config, octets, code, limit) in [
        // The header is enough.
        (&limited, &too_large[..8], 1009, frame),
        (&limited, &too_large[..], 1009, frame),
        (&limited, &fragments[..], 1009, message),
        (&in_chunks, &fragments[..], 1009, message),
        (&limited, &small[..], 1008, LimitExceeded::SmallFrames { limit: 10 }),
        (&in_chunks, &small[..], 1008, LimitExceeded::SmallFrames { limit: 10 }),
    ] {
        let quiet = Scripted::new();
        let (before, closure) = seen_until_the_end(quiet, config.clone(), |mut client, _| {
            client.send(octets);
            assert_eq!(client.expect_close(code), limit.reason());
            client.expect_end();
        });
        assert!(before.iter().all(|saw| *saw == Saw::Chunk), "{before:?}");
        assert_eq!(closure.cause, Some(Error::Limit(limit)));
    }
}

#[test]
fn a_close_from_the_client_is_answered_and_the_server_ends_the_connection() {
    for (code, reason) in [(1000, "bye"), (1001, ""), (3000, "\u{fc}ber"), (4999, "")] {
        let (before, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, _| {
            client.send_close(CloseCode::new(code).expect("a code"), reason);
            assert_eq!(client.expect_close(code), reason);
            client.expect_end();
        });
        assert_eq!(before, []);
        assert_eq!((closure.code(), closure.reason(), closure.clean), (code, reason, true));
        assert_eq!(closure.sent, closure.received);
        assert_eq!(closure.cause, None);
    }
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    let (_, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, _| {
        client.send_frame(true, OpCode::Close, b"");
        client.expect_close(1005);
        client.expect_end();
    });
    assert_eq!((closure.code(), closure.clean), (1005, true));
}

#[test]
fn what_the_client_sends_behind_its_close_is_not_delivered() {
    let (before, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, _| {
        let mut octets = Vec::new();
        encode_frame(&mut octets, true, OpCode::Text, b"before", Some([0; 4]));
        encode_frame(&mut octets, true, OpCode::Close, b"\x03\xe8", Some([0; 4]));
        encode_frame(&mut octets, true, OpCode::Text, b"behind", Some([0; 4]));
        client.send(octets);
        client.expect_text("before");
        client.expect_close(1000);
        client.expect_end();
    });
    assert_eq!(before, [Saw::Text("before".into())]);
    assert!(closure.clean);
}

/// A handler that closes on the first message, with what it is told to.
fn closing() -> (Scripted, Receiver<Saw>) {
    let (scripted, seen) = Scripted::new();
    let scripted = scripted.message(|socket, _| match socket.close(CloseCode::new(4000), "enough") {
        Ok(()) => assert!(!socket.is_open() && socket.send_text("late") == Err(SendError::Closed)),
        Err(error) => assert_eq!(error, SendError::Closed),
    });
    (scripted, seen)
}

#[test]
fn a_close_from_the_server_waits_for_the_clients_and_delivers_what_comes_before_it() {
    let (before, closure) = seen_until_the_end(closing(), Config::default(), |mut client, _| {
        client.send_text("go");
        assert_eq!(client.expect_close(4000), "enough");
        client.send_text("not yet");
        client.send_close(CloseCode::new(4000).expect("a code"), "");
        client.expect_end();
    });
    assert_eq!(before, [Saw::Text("go".into()), Saw::Text("not yet".into())]);
    assert!(closure.clean);
    assert_eq!(closure.sent.expect("a Close frame").reason, "enough".into());
}

#[test]
fn a_close_that_is_not_answered_ends_with_the_close_timeout() {
    let config = Config { close_timeout: Duration::from_millis(100), ..Config::default() };
    let (_, closure) = seen_until_the_end(closing(), config, |mut client, _| {
        client.send_text("go");
        client.expect_close(4000);
        client.expect_end();
    });
    assert_eq!((closure.code(), closure.clean), (1006, false));
    assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Close)));
}

#[test]
fn a_client_that_leaves_without_a_close_is_reported_as_lost() {
    let (before, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, _| {
        client.send_text("last words");
        client.shutdown_write();
        client.expect_text("last words");
        client.expect_end();
    });
    assert_eq!(before, [Saw::Text("last words".into())]);
    assert_eq!((closure.code(), closure.cause), (1006, Some(Error::TransportLost)));
    assert_eq!((closure.sent, closure.received), (None, None));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_frame_is_reported_as_lost() {
    let (before, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, _| {
        client.send(b"\x81\x85\0\0\0\0Hel");
        client.shutdown_write();
        client.expect_end();
    });
    assert_eq!((before, closure.cause), (vec![], Some(Error::TransportLost)));
}

#[test]
fn a_reset_ends_its_connection_and_no_other() {
    let (scripted, seen) = Scripted::echo();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    let mut other = server.open("/ws");
    let mut client = server.open("/ws");
    client.send_text("to be unread");
    let mut one = [0];
    assert_eq!(client.stream().peek(&mut one).expect("the echo is there"), 1);
    drop(client); // with octets unread: the kernel sends a reset
    loop {
        if let Saw::Close(closure) = next(&seen) {
            assert_eq!(closure.cause, Some(Error::TransportLost));
            break;
        }
    }
    other.send_text("well");
    other.expect_text("well");
    drop(server);
    let ends = seen.try_iter().filter(|saw| matches!(saw, Saw::Close(_)));
    assert_eq!(ends.count(), 1, "that of the other one");
}

/// The system no longer knew it.
#[test]
fn the_address_of_a_peer_is_known_after_its_reset() {
    struct Farewell(Sender<PeerAddr>);

    impl Handler for Farewell {
        type State = ();

        fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
            request.accept(())
        }

        fn on_close(&self, closed: &Closed<'_>, _: &mut ()) {
            self.0.send(closed.peer_addr()).expect("the test listens");
        }
    }

    let listens_on_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for addr in ["127.0.0.1:0", "[::1]:0"].into_iter().take(if listens_on_ipv6 { 2 } else { 1 }) {
        let (sender, farewells) = mpsc::channel();
        let server = Server::builder().route("/ws", Farewell(sender)).listen(addr);
        let server = TestServer::run(server.build().expect("a server"));
        let client = server.open("/ws");
        let from = client.stream().local_addr().expect("it is connected");
        SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("an option of the socket");
        drop(client);
        assert_eq!(next(&farewells), PeerAddr::Ip(from));
    }
}

#[test]
fn a_handler_can_drop_or_fail_its_connection() {
    let (aborting, seen) = Scripted::new();
    let aborting = aborting.message(|socket, _| {
        socket.send_text("never sent").expect("room");
        socket.abort();
        assert_eq!(socket.send_text("too late"), Err(SendError::Closed));
    });
    let (_, closure) = seen_until_the_end((aborting, seen), Config::default(), |mut client, _| {
        client.send_text("go");
        client.expect_end();
    });
    assert_eq!((closure.cause, closure.sent), (Some(Error::Aborted), None));

    let (failing, seen) = Scripted::new();
    let failing = failing.message(|socket, _| socket.fail(CloseCode::POLICY_VIOLATION, "not here"));
    let (_, closure) = seen_until_the_end((failing, seen), Config::default(), |mut client, _| {
        client.send_text("go");
        client.send_text("ignored");
        assert_eq!(client.expect_close(1008), "not here");
        client.expect_end();
    });
    assert_eq!(closure.cause, Some(Error::Failed(CloseCode::POLICY_VIOLATION)));
}

#[test]
fn a_server_that_stops_says_1001_and_waits_for_the_answers() {
    let (_, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, server| {
        server.handle().stop(DEADLINE);
        assert_eq!(client.expect_close(1001), "server shutting down");
        client.send_close(CloseCode::GOING_AWAY, "");
        client.expect_end();
    });
    assert!(closure.clean);
    assert_eq!(closure.sent.expect("a Close frame").code, Some(CloseCode::GOING_AWAY));
}

#[test]
fn a_server_that_stops_cuts_who_does_not_answer_in_time() {
    let (_, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, server| {
        server.handle().stop(Duration::from_millis(100));
        client.expect_close(1001);
        client.expect_end();
    });
    assert_eq!((closure.code(), closure.clean), (1006, false));
}

#[test]
fn a_stop_without_grace_still_tells_every_handler() {
    let (_, closure) = seen_until_the_end(Scripted::echo(), Config::default(), |mut client, server| {
        server.handle().stop(Duration::ZERO);
        client.expect_close(1001);
        client.expect_gone();
    });
    assert!(!closure.clean);
}

#[test]
fn a_handler_that_panics_costs_its_connection_with_1011_and_no_other() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum In {
        Open,
        Message,
        Chunk,
        Ping,
        Pong,
        Writable,
    }
    for at in [In::Open, In::Message, In::Chunk, In::Ping, In::Pong, In::Writable] {
        let trip = move |here: In| assert!(at != here, "as the test wants it");
        let (panicking, seen) = Scripted::new();
        let panicking = panicking
            .open(move |_| trip(In::Open))
            .message(move |socket, _| {
                trip(In::Message);
                while socket.is_writable() {
                    socket.send_text("fill").expect("room");
                }
            })
            .chunk(move |_, _| trip(In::Chunk))
            .ping(move |_| trip(In::Ping))
            .pong(move |_| trip(In::Pong))
            .writable(move |_| trip(In::Writable));
        let delivery = if at == In::Chunk { Delivery::Chunks } else { Delivery::Whole };
        let config = Config { delivery, high_water: 100, low_water: 10, ..Config::default() };
        let server = TestServer::start(|builder| {
            builder.route("/other", Echo).route_with("/ws", with(config), panicking)
        });
        let mut other = server.open("/other");
        other.send(b"\x81\x85\0\0\0\0Hel");
        let mut client = server.open("/ws");
        match at {
            In::Open => {}
            In::Message | In::Chunk | In::Writable => client.send_text("go"),
            In::Ping => client.send_frame(true, OpCode::Ping, b""),
            In::Pong => client.send_frame(true, OpCode::Pong, b""),
        }
        let close = loop {
            let frame = client.frame();
            if !matches!(frame.opcode, OpCode::Pong | OpCode::Text) {
                break frame;
            }
        };
        assert_eq!(close.close(), (1011, "internal error"), "{at:?}");
        client.expect_end();
        other.send(b"lo");
        other.expect_text("Hello");
        drop(server);
        let seen: Vec<_> = seen.try_iter().collect();
        let ends = seen.iter().filter(|saw| matches!(saw, Saw::Close(_))).count();
        let Some(Saw::Close(closure)) = seen.last() else { panic!("{seen:?}") };
        assert_eq!((ends, &closure.cause), (1, &Some(Error::Failed(CloseCode::INTERNAL_ERROR))), "{seen:?}");
    }
}

#[test]
fn a_handler_that_panics_at_the_end_is_not_called_again() {
    let panicking = || {
        let (scripted, seen) = Scripted::echo();
        (scripted.close(|_| panic!("as the test wants it")), seen)
    };
    let (_, closure) = seen_until_the_end(panicking(), Config::default(), |mut client, _| {
        client.send_close(CloseCode::NORMAL, "");
        client.expect_close(1000);
        client.expect_end();
    });
    assert!(closure.clean);
    // Lost, and cut by the end of the server.
    let (scripted, seen) = panicking();
    let server = TestServer::start(|builder| builder.route("/ws", scripted));
    server.open("/ws").shutdown_write();
    expect_saw(&seen, &[Saw::Request("/ws".into(), true), Saw::Open]);
    expect_closed(&seen);
    let _left_open = server.open("/ws");
    drop(server);
    expect_saw(&seen, &[Saw::Request("/ws".into(), true), Saw::Open]);
    expect_closed(&seen);
    assert_eq!(seen.try_iter().count(), 0);
}

#[test]
fn a_message_that_takes_too_long_fails_with_1008() {
    let config = Config { message_timeout: Some(Duration::from_millis(100)), ..Config::default() };
    let start = Instant::now();
    let (before, closure) = seen_until_the_end(Scripted::echo(), config, |mut client, _| {
        client.send_frame(false, OpCode::Text, b"begun");
        assert_eq!(client.expect_close(1008), "message timeout");
        client.expect_end();
    });
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!((before, closure.cause), (vec![], Some(Error::Timeout(Timeout::Message))));
}
