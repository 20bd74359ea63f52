//! permessage-deflate (RFC 7692): what is agreed on, and messages compressed in both directions,
//! inflated by another library.

use crate::common::{Client, Deflating, TestServer, next, upgrade_request, wait_until};
use crate::scripted::{Scripted, accept};
use framewright::frame::OpCode;
use framewright_server::{
    Accept, Config, Decision, DeflateConfig, DeflatePolicy, Delivery, Level, Message, Options, Prepared,
    ServerLimits, WindowBits,
};
use framewright_testkit::deflate::compressible;
use framewright_testkit::rng::SplitMix64;
use std::sync::mpsc;
use std::thread;

/// What browsers offer: Chromium the second, Firefox and Safari the first.
const PLAIN: &str = "permessage-deflate";
const BROWSER: &str = "permessage-deflate; client_max_window_bits";
const NO_TAKEOVER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn with(compression: Option<DeflatePolicy>) -> Options {
    Options { compression, ..Options::default() }
}

fn takeover() -> Options {
    with(Some(DeflatePolicy::default().with_takeover()))
}

fn echo() -> Scripted {
    Scripted::echo().0
}

/// As many octets of text, of which some have come before.
fn text(len: usize) -> Vec<u8> {
    compressible(&mut SplitMix64::new(len as u64), len)
}

/// As many octets that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut rng = SplitMix64::new(len as u64);
    (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect()
}

/// What a client with this offer is answered.
fn answer(server: &TestServer, path: &str, offer: Option<&str>) -> Option<String> {
    let fields = offer.map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n")).unwrap_or_default();
    let mut client = server.connect();
    client.open_with(path, &fields).field("Sec-WebSocket-Extensions").map(Into::into)
}

/// A server whose routes differ in what they agree to.
fn routes() -> TestServer {
    let bits = |bits| WindowBits::new(bits).expect("8 to 15");
    let small = DeflatePolicy {
        server_max_window_bits: bits(10),
        client_max_window_bits: bits(9),
        ..DeflatePolicy::default()
    };
    // The handler's word counts, whatever its route says.
    let handler = Scripted::new().0.request(|request| {
        let policy = if request.query() == Some("takeover") {
            DeflatePolicy::default().with_takeover()
        } else {
            DeflatePolicy::default()
        };
        Decision::accept_with(Accept::new().with_deflate(policy), ())
    });
    let silent = Scripted::new().0.request(|_| Decision::accept_with(Accept::new(), ()));
    TestServer::start(|builder| {
        builder
            .route("/shared", echo())
            .route_with("/takeover", takeover(), echo())
            .route_with("/off", with(None), echo())
            .route_with("/small", with(Some(small)), echo())
            .route_with("/handler", with(None), handler)
            .route("/silent", silent)
    })
}

#[test]
fn the_answer_is_what_the_route_agrees_to_of_what_the_client_offers() {
    let server = routes();
    let both = format!("{NO_TAKEOVER}; server_max_window_bits=12; client_max_window_bits=12");
    for (path, offer, expected) in [
        ("/shared", PLAIN, Some(NO_TAKEOVER)),
        ("/shared", BROWSER, Some(NO_TAKEOVER)),
        ("/shared", "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", Some(&both)),
        ("/shared", "permessage-deflate; client_no_context_takeover", Some(NO_TAKEOVER)),
        ("/takeover", PLAIN, Some(PLAIN)),
        ("/takeover", BROWSER, Some("permessage-deflate; client_max_window_bits=12")),
        (
            "/takeover",
            "permessage-deflate; server_no_context_takeover",
            Some("permessage-deflate; server_no_context_takeover"),
        ),
        (
            "/takeover",
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
            Some("permessage-deflate; client_no_context_takeover; client_max_window_bits=10"),
        ),
        ("/off", PLAIN, None),
        ("/off", BROWSER, None),
        ("/small", PLAIN, Some(&format!("{NO_TAKEOVER}; server_max_window_bits=10"))),
        (
            "/small",
            BROWSER,
            Some(&format!("{NO_TAKEOVER}; server_max_window_bits=10; client_max_window_bits=9")),
        ),
        ("/handler", BROWSER, Some(NO_TAKEOVER)),
        ("/handler?takeover", PLAIN, Some(PLAIN)),
        ("/silent", BROWSER, Some(NO_TAKEOVER)),
    ] {
        assert_eq!(answer(&server, path, Some(offer)).as_deref(), expected, "{path}, {offer}");
        assert_eq!(answer(&server, path, None), None, "{path} unasked");
    }
}

#[test]
fn the_first_offer_that_can_be_accepted_is_and_others_are_no_fault() {
    let server = routes();
    for (offer, expected) in [
        ("x-webkit-deflate-frame", None),
        ("permessage-bzip2", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; mystery", None),
        ("permessage-bzip2, permessage-deflate", Some(PLAIN)),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
            Some("permessage-deflate; server_max_window_bits=9"),
        ),
        (
            "permessage-deflate; client_no_context_takeover, permessage-deflate",
            Some("permessage-deflate; client_no_context_takeover"),
        ),
        // Over two lines.
        (
            "permessage-deflate; mystery\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover",
            Some("permessage-deflate; server_no_context_takeover"),
        ),
    ] {
        assert_eq!(answer(&server, "/takeover", Some(offer)).as_deref(), expected, "{offer}");
    }
}

/// Lengths on both sides of the threshold and of the windows.
const LENGTHS: [usize; 8] = [0, 1, 127, 128, 1000, 1000, 5000, 40_000];

#[test]
fn messages_come_back_in_each_mode_compressed_where_that_pays() {
    let server = routes();
    for (path, offer) in [
        ("/shared", PLAIN),
        ("/shared", "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"),
        ("/takeover", PLAIN),
        ("/takeover", BROWSER),
        ("/takeover", "permessage-deflate; server_max_window_bits=9"),
        ("/takeover", "permessage-deflate; server_no_context_takeover"),
        ("/takeover", "permessage-deflate; client_no_context_takeover"),
        ("/small", BROWSER),
    ] {
        let mut client = Deflating::open(server.addr(), path, offer);
        for len in LENGTHS {
            let received = client.echo(OpCode::Text, &text(len));
            assert_eq!(received.compressed, len >= 128, "{path}, {offer}: {len} octets");
            assert!(!received.compressed || received.wire < len);
            let received = client.echo(OpCode::Binary, &noise(len));
            assert!(!received.compressed, "{path}, {offer}: {len} octets of noise");
        }
        client.leave();
    }
}

#[test]
fn with_takeover_a_message_that_came_before_is_shorter_and_without_it_is_not() {
    let server = routes();
    let lengths = |path| {
        let mut client = Deflating::open(server.addr(), path, PLAIN);
        (0..3).map(|_| client.echo(OpCode::Text, &text(1000)).wire).collect::<Vec<_>>()
    };
    let [first, second, third] = lengths("/takeover")[..] else { panic!("three of them") };
    assert!(second < first / 8 && third < first / 8, "{first}, then {second}, then {third}");
    assert_eq!(lengths("/shared"), [first; 3]);
}

#[test]
fn a_client_that_agreed_may_send_as_it_is_and_one_that_did_not_may_not_compress() {
    let server = routes();
    let mut client = Deflating::open(server.addr(), "/takeover", BROWSER);
    for number in 0..20 {
        let message = text(1000 + number % 3);
        if number % 2 == 0 {
            client.client.send_frame(true, OpCode::Text, &message);
            assert_eq!(client.receive().message, message);
        } else {
            client.echo(OpCode::Text, &message);
        }
    }
    let frame = client.frame_of(OpCode::Text, b"Hello");
    let mut stranger = server.open("/takeover");
    stranger.send(frame);
    assert_eq!(stranger.expect_close(1002), "reserved bits set");
}

#[test]
fn a_handler_can_send_a_message_as_it_is_and_what_follows_can_still_be_read() {
    let (scripted, _seen) = Scripted::new();
    let scripted = scripted.message(|socket, message| {
        let compresses = socket.deflate().is_some();
        assert!(compresses);
        socket.send_uncompressed(message).expect("room");
        socket.send(message).expect("room");
    });
    let server = TestServer::start(|builder| builder.route_with("/ws", takeover(), scripted));
    let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
    for len in [1000, 1001, 1000] {
        client.send(OpCode::Text, &text(len));
        for compressed in [false, true] {
            let received = client.receive();
            assert_eq!((received.message, received.compressed), (text(len), compressed));
        }
    }
}

#[test]
fn threshold_largest_and_level_are_as_a_route_sets_them() {
    let options = |deflate: DeflateConfig| {
        let connection = Config { deflate, ..Config::default() };
        Options { connection, ..Options::default() }
    };
    let default = DeflateConfig::default;
    let always = options(DeflateConfig { threshold: 0, ..default() });
    let between = options(DeflateConfig { threshold: 1000, largest: 2000, ..default() });
    let smallest = options(DeflateConfig { level: Level::SMALLEST, ..default() });
    let server = TestServer::start(|builder| {
        builder
            .route("/default", echo())
            .route_with("/always", always, echo())
            .route_with("/between", between, echo())
            .route_with("/smallest", smallest, echo())
    });
    let compressed = |path, len: usize| {
        let received = Deflating::open(server.addr(), path, PLAIN).echo(OpCode::Text, &vec![b'x'; len]);
        received.compressed
    };
    for (path, len, expected) in [
        ("/always", 0, false),
        ("/always", 20, true),
        ("/between", 999, false),
        ("/between", 1000, true),
        ("/between", 2000, true),
        ("/between", 2001, false),
        ("/default", 127, false),
        ("/default", 1 << 20, true),
        ("/default", (1 << 20) + 1, false),
    ] {
        assert_eq!(compressed(path, len), expected, "{path}, {len} octets");
    }
    let length = |path| Deflating::open(server.addr(), path, PLAIN).echo(OpCode::Text, &text(20_000)).wire;
    assert!(length("/smallest") < length("/default"));
}

/// Compressing takes its time, which is the other connections' too.
#[test]
fn what_a_handler_sends_beyond_two_mebibytes_in_a_turn_goes_as_it_is() {
    const LEN: usize = 600 << 10;
    let (scripted, _seen) = Scripted::new();
    let scripted = scripted.message(|socket, _| {
        for _ in 0..5 {
            socket.send(Message::Binary(&[0; LEN])).expect("room");
        }
    });
    let server = TestServer::start(|builder| builder.route_with("/ws", takeover(), scripted));
    let mut client = Deflating::open(server.addr(), "/ws", PLAIN);
    for _ in 0..2 {
        client.send(OpCode::Text, b"go");
        let compressed: Vec<_> = (0..5)
            .map(|_| {
                let received = client.receive();
                assert_eq!(received.message.len(), LEN);
                received.compressed
            })
            .collect();
        // Two mebibytes, and the rest of the message that goes beyond.
        assert_eq!(compressed, [true, true, true, true, false]);
    }
}

#[test]
fn messages_in_chunks_come_back_with_reads_of_any_size() {
    for (receive_buffer_size, lengths) in [
        (1, &[0, 1, 200, 2000][..]),
        (125, &[0, 200, 10_000]),
        (4096, &[40_000]),
        (128 << 10, &[200, 150_000]),
    ] {
        for delivery in [Delivery::Chunks, Delivery::Whole] {
            let connection = Config { delivery, ..Config::default() };
            let options = Options { connection, receive_buffer_size, ..takeover() };
            let server = TestServer::start(|builder| builder.route_with("/ws", options, echo()));
            for offer in [BROWSER, NO_TAKEOVER] {
                let mut client = Deflating::open(server.addr(), "/ws", offer);
                for &len in lengths {
                    client.echo(OpCode::Text, &text(len));
                    // Stored blocks, longer than the message.
                    client.echo(OpCode::Binary, &noise(len));
                    let characters = "a\u{e9}\u{20ac}\u{1d11e}".repeat(len / 10);
                    client.echo(OpCode::Text, characters.as_bytes());
                }
            }
        }
    }
}

#[test]
fn many_messages_in_one_segment_come_back_in_order() {
    for (path, offer) in [("/shared", PLAIN), ("/takeover", PLAIN), ("/takeover", BROWSER)] {
        let server = routes();
        let mut client = Deflating::open(server.addr(), path, offer);
        let messages: Vec<_> = (0..300).map(|number| text(number * 7 % 400)).collect();
        let mut octets = Vec::new();
        for message in &messages {
            octets.extend(client.frame_of(OpCode::Text, message));
        }
        client.client.send(octets);
        for message in &messages {
            assert_eq!(client.receive().message, *message);
        }
    }
}

#[test]
fn a_handler_that_sends_from_on_open_compresses() {
    for options in [Options::default(), takeover()] {
        let (scripted, _seen) = Scripted::echo();
        let scripted = scripted.open(|socket| {
            for _ in 0..2 {
                socket.send(Message::Binary(&text(1000))).expect("room");
            }
        });
        let server = TestServer::start(|builder| builder.route_with("/ws", options, scripted));
        let mut client = Deflating::open(server.addr(), "/ws", PLAIN);
        for _ in 0..2 {
            let received = client.receive();
            assert!(received.compressed && received.message == text(1000));
        }
        client.echo(OpCode::Text, &text(1000));
    }
}

/// A handler that hands out a handle for each connection.
fn handles() -> (Scripted, mpsc::Receiver<framewright_server::Handle>) {
    let (sender, handles) = mpsc::channel();
    let scripted = Scripted::new().0.open(move |socket| {
        let _ = sender.send(socket.handle()); // the test may be over
    });
    (scripted, handles)
}

#[test]
fn handles_send_compressed_from_other_threads() {
    let (scripted, handles) = handles();
    let server = TestServer::start(|builder| builder.route_with("/ws", takeover(), scripted));
    let mut client = Deflating::open(server.addr(), "/ws", BROWSER);
    let handle = next(&handles);
    thread::scope(|scope| {
        for sender in 0..4_u8 {
            let handle = handle.clone();
            scope.spawn(move || {
                for number in 0..50 {
                    handle.send_binary([&[sender, number][..], &text(500)].concat()).expect("room");
                }
            });
        }
    });
    let mut expected = [0; 4];
    for _ in 0..200 {
        let Some(([sender, number], rest)) =
            client.receive().message.split_first_chunk().map(|(head, rest)| (*head, rest.to_vec()))
        else {
            panic!("a short message")
        };
        assert_eq!((number, rest), (expected[usize::from(sender)], text(500)));
        expected[usize::from(sender)] += 1;
    }
    assert_eq!(expected, [50; 4]);
}

#[test]
fn a_prepared_message_goes_to_connections_of_all_kinds_as_each_understands_it() {
    let (shared, shared_handles) = handles();
    let (other, other_handles) = handles();
    let server = TestServer::start(|builder| {
        builder.route("/shared", shared).route_with("/takeover", takeover(), other)
    });
    let mut clients: Vec<Deflating> = ["/shared", "/takeover"]
        .into_iter()
        .flat_map(|path| (0..5).map(move |_| path))
        .map(|path| Deflating::open(server.addr(), path, BROWSER))
        .collect();
    let mut plain: Vec<Client> = (0..5).map(|_| server.open("/shared")).collect();
    let handles: Vec<_> =
        (0..10).map(|_| next(&shared_handles)).chain((0..5).map(|_| next(&other_handles))).collect();
    let messages = [
        (Prepared::new(Message::Text("x".repeat(1000).as_str())), true, vec![b'x'; 1000]),
        (Prepared::new(Message::Binary(&noise(1000))), false, noise(1000)),
        (Prepared::new(Message::Text("short")), false, b"short".to_vec()),
        (Prepared::uncompressed(Message::Binary(&text(1000))), false, text(1000)),
        (Prepared::new(Message::Binary(&text(70_000))), true, text(70_000)),
        (Prepared::new(Message::Text("x".repeat(1000).as_str())), true, vec![b'x'; 1000]),
    ];
    for (prepared, compressed, message) in &messages {
        handles.iter().for_each(|handle| handle.send_prepared(prepared).expect("room"));
        let mut wires = Vec::new();
        for client in &mut clients {
            let received = client.receive();
            assert_eq!((received.compressed, &received.message), (*compressed, message));
            wires.push(received.wire);
        }
        // The same octets for each, though some of them remember what they got before.
        assert!(wires.iter().all(|wire| *wire == wires[0]), "{wires:?}");
        for client in &mut plain {
            assert_eq!(client.message().1, *message);
        }
    }
    // What is compressed for one alone may refer to it.
    handles.iter().for_each(|handle| handle.send_text("x".repeat(1000)).expect("room"));
    for client in &mut clients {
        assert_eq!(client.receive().message, [b'x'; 1000]);
    }
}

#[test]
fn a_prepared_message_is_compressed_once_for_all_event_loops() {
    let (scripted, handles) = handles();
    let server = TestServer::start(|builder| builder.workers(2).route("/ws", scripted));
    let held = || server.handle().stats().compression.held;
    // The second one goes to the loop that has none. The loops tell of them in whichever order.
    let open = |_| (Deflating::open(server.addr(), "/ws", PLAIN), next(&handles));
    let (mut clients, handles): (Vec<_>, Vec<_>) = (0..2).map(open).unzip();
    assert_eq!(held(), 0);
    let prepared = Prepared::new(Message::Text("once".repeat(1000).as_str()));
    let mut after = Vec::new();
    for (client, handle) in clients.iter_mut().zip(&handles) {
        handle.send_prepared(&prepared).expect("room");
        assert!(client.receive().compressed);
        after.push(held());
    }
    // Only the first loop has made a compressor.
    assert!(after[0] > 0 && after[1] == after[0], "{after:?}");
    handles.iter().for_each(|handle| handle.send_text("twice".repeat(1000)).expect("room"));
    assert!(clients.iter_mut().all(|client| client.receive().compressed));
    assert_eq!(held(), 2 * after[0]);
}

#[test]
fn beyond_the_cap_connections_are_accepted_without_takeover_and_get_it_when_others_have_left() {
    // The last of what is sent, and what a client's window holds: the largest, or as much as the
    // server asks for.
    let history = DeflateConfig::default().history;
    let (largest, asked_for) = (history + (32 << 10), history + (4 << 10));
    // A quarter is left for messages in parts.
    let cap = (4 * (largest + asked_for)).div_ceil(3);
    let limits = ServerLimits { compression_memory: cap, ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).route_with("/ws", takeover(), echo()));
    let stats = || server.handle().stats().compression;
    let client = Deflating::open(server.addr(), "/ws", PLAIN);
    assert!(client.terms.server_takeover && client.terms.client_takeover);
    assert_eq!((stats().cap, stats().held), (cap, largest));
    let mut other = Deflating::open(server.addr(), "/ws", PLAIN);
    assert!(!other.terms.server_takeover && !other.terms.client_takeover);
    assert_eq!((stats().held, stats().declined), (largest, 1));
    client.leave();
    wait_until("the memory is given back", || stats().held == 0);
    // Who lets its window be limited costs less.
    let most = (cap - cap / 4) / asked_for;
    let mut fits: Vec<_> = (0..most + 2).map(|_| Deflating::open(server.addr(), "/ws", BROWSER)).collect();
    assert_eq!(fits.iter().filter(|client| client.terms.server_takeover).count(), most);
    assert_eq!(stats().held, most * asked_for);
    for client in fits.iter_mut().chain([&mut other]) {
        client.echo(OpCode::Text, &text(1000));
    }
}

#[test]
fn a_deferred_decision_agrees_as_an_immediate_one_does() {
    let (sender, deferred) = mpsc::channel();
    let scripted = Scripted::echo().0.request(move |request| {
        if request.path() == "/now" {
            return accept(request);
        }
        let (decision, deferred) = Decision::defer();
        let _ = sender.send(deferred); // the test may be over
        decision
    });
    let server = TestServer::start(|builder| builder.options(takeover()).fallback(scripted));
    let mut client = server.connect();
    let fields = format!("Sec-WebSocket-Extensions: {BROWSER}\r\n");
    client.send(upgrade_request("/later", &fields));
    next(&deferred).decide(Decision::accept(()));
    let answer = client.answer_head();
    let mut client = Deflating::begin(client, &answer);
    let at_once = Deflating::open(server.addr(), "/now", BROWSER);
    assert_eq!(client.terms, at_once.terms);
    client.echo(OpCode::Text, &text(1000));
}

/// Tornado and Mojolicious agree to `client_no_context_takeover`, and keep their compressor all the
/// same. They were ended with 1007 at their second message.
#[test]
fn clients_that_refer_to_earlier_messages_though_they_have_agreed_not_to_are_served() {
    let chunks = Config { delivery: Delivery::Chunks, ..Config::default() };
    let server = TestServer::start(|builder| {
        builder.route("/whole", echo()).route_with(
            "/chunks",
            Options { connection: chunks, ..Options::default() },
            echo(),
        )
    });
    for path in ["/whole", "/chunks"] {
        let mut client = Deflating::open(server.addr(), path, BROWSER);
        assert!(!client.terms.client_takeover, "the client has to forget each message");
        client.terms.client_takeover = true;
        let alike =
            |number: usize| format!("{{\"number\": {number:>3}, \"text\": \"{}\"}}", "-=".repeat(107));
        for number in 0..2 {
            let message = alike(number);
            assert!((240..250).contains(&message.len()), "{}", message.len());
            assert!(client.echo(OpCode::Text, message.as_bytes()).compressed);
        }
        for number in 0..200 {
            client.echo(OpCode::Text, alike(number).as_bytes());
        }
        // One that comes in parts, and what is long.
        let long = text(100_000);
        client.echo(OpCode::Binary, &long);
        let octets = client.fragments_of(OpCode::Binary, &long, &[10, 3000], &[]);
        client.client.send(octets);
        assert!(client.receive().message == long);
        client.leave();
    }
}

#[test]
fn where_there_is_no_memory_to_keep_what_was_to_be_forgotten_the_close_says_so() {
    let limits = ServerLimits { compression_memory: 0, ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).route("/", echo()));
    let mut client = Deflating::open(server.addr(), "/", BROWSER);
    client.terms.client_takeover = true;
    client.echo(OpCode::Text, &text(240));
    client.send(OpCode::Text, &text(240));
    let frame = client.client.frame();
    assert_eq!(frame.close(), (1007, "reference to an earlier message, against no_context_takeover"));
}
