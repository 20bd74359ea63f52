//! permessage-deflate (RFC 7692) as a client negotiates and uses it.

use crate::common::{AnyClient as _, Command, Kind, Loop, Server, plain, request, through_both_apis};
use framewright::deflate::{ClientWindow, DeflateConfig, DeflateOffer, WindowBits};
use framewright::{Config, Error, LimitExceeded, Message, PeerMisbehaved, SendError};
use framewright_client::{ConnectError, Options};
use framewright_testkit::deflate::Deflater;
use framewright_testkit::endpoint::Seen;
use framewright_testkit::naive::inflate::Inflation;
use framewright_testkit::script;
use std::num::NonZeroU32;

const PLAIN_OFFER: DeflateOffer = DeflateOffer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: None,
};

fn offering(offer: DeflateOffer) -> Options {
    Options { compression: vec![offer], ..plain() }
}

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).expect("8 to 15")
}

fn answer(value: &str) -> String {
    format!("Sec-WebSocket-Extensions: {value}\r\n")
}

// Conformance 103 to 109.
#[test]
fn an_answer_that_the_offer_does_not_allow_fails() {
    through_both_apis(|kind| {
        let small = DeflateOffer { server_max_window_bits: Some(bits(10)), ..PLAIN_OFFER };
        let limited =
            DeflateOffer { client_max_window_bits: Some(ClientWindow::AtMost(bits(12))), ..PLAIN_OFFER };
        let alone = DeflateOffer { server_no_context_takeover: true, ..PLAIN_OFFER };
        for (offer, value) in [
            (PLAIN_OFFER, "permessage-deflate; unknown"),
            (PLAIN_OFFER, "permessage-deflate; server_no_context_takeover=1"),
            (PLAIN_OFFER, "permessage-deflate; client_no_context_takeover; client_no_context_takeover"),
            (PLAIN_OFFER, "permessage-deflate; server_max_window_bits=7"),
            (PLAIN_OFFER, "permessage-deflate; server_max_window_bits=16"),
            (PLAIN_OFFER, "permessage-deflate; server_max_window_bits=99"),
            (PLAIN_OFFER, "permessage-deflate; server_max_window_bits=010"),
            (PLAIN_OFFER, "permessage-deflate; server_max_window_bits"),
            (PLAIN_OFFER, "permessage-deflate; server_max_window_bits=\"\""),
            (small, "permessage-deflate; server_max_window_bits=11"),
            (small, "permessage-deflate"),
            (PLAIN_OFFER, "permessage-deflate; client_max_window_bits=10"),
            (limited, "permessage-deflate; client_max_window_bits"),
            (limited, "permessage-deflate; client_max_window_bits=13"),
            (alone, "permessage-deflate"),
            (PLAIN_OFFER, "permessage-deflate, permessage-deflate"),
            (PLAIN_OFFER, "permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate"),
            (PLAIN_OFFER, "permessage-deflate, permessage-bzip2"),
            (PLAIN_OFFER, "Permessage-Deflate"),
            (PLAIN_OFFER, "permessage-deflate;"),
            (PLAIN_OFFER, "permessage-deflate; a=b=c"),
        ] {
            let server = Server::start(move |peer| {
                peer.upgrade_with(&answer(value));
                peer.expect_gone();
            });
            let error = kind.connect(request(server.addr()), &offering(offer)).err().expect(value);
            assert!(matches!(error, ConnectError::Handshake(_)), "{error} for {value}");
            server.end();
        }
    });
}

/// Text that is worth compressing.
fn long() -> String {
    "compressible, ".repeat(100)
}

// Conformance 100, 106, 109, 113 to 117.
#[test]
fn messages_are_compressed_and_inflated_as_was_agreed_on() {
    through_both_apis(|kind| {
        let any = DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..PLAIN_OFFER };
        let default = Options::default().compression[0];
        for (offer, extensions, takeover, window) in [
            (
                default,
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                false,
                15,
            ),
            (PLAIN_OFFER, "permessage-deflate", true, 15),
            // Smaller than what was offered, and unasked.
            (
                PLAIN_OFFER,
                "permessage-deflate; server_max_window_bits=9; client_no_context_takeover",
                false,
                15,
            ),
            (any, "permessage-deflate; client_max_window_bits=9; server_no_context_takeover", true, 9),
            (any, "permessage-deflate; client_max_window_bits=\"8\"", true, 8),
        ] {
            let server = Server::start(move |peer| {
                peer.upgrade_deflating(extensions, Inflation::new(takeover, 1 << window));
                // Without context takeover, within the smallest window: right for all of these.
                peer.script("text rsv1 deflate \"Hello\"; text \"plain\"; binary rsv1 hex \"00\"");
                let fragments = Deflater::new(6).message(long().as_bytes());
                let (first, second) = fragments.split_at(10);
                let hex =
                    |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
                peer.script(&format!(
                    "text rsv1 !fin hex \"{}\"; ping; cont hex \"{}\"",
                    hex(first),
                    hex(second)
                ));
                assert!(peer.frame().header.opcode == 10);
                for rsv in [4, 4, 0, 0] {
                    assert_eq!(peer.frame().header.rsv, rsv);
                }
                peer.answer_close();
            });
            let mut client =
                kind.connect(request(server.addr()), &offering(offer)).expect("an open connection");
            client.expect_text("Hello");
            client.expect_text("plain");
            assert_eq!(client.next(), Some(Seen::Binary(Vec::new())));
            assert_eq!(client.next(), Some(Seen::Ping(Vec::new())));
            client.expect_text(&long());
            client.send_text(&long()).expect("an open connection");
            client.send_text(&long()).expect("an open connection");
            client.command(Command::Uncompressed(Message::Text(&long()))).expect("an open connection");
            client.send_text("short").expect("an open connection");
            client.start_close(1000, "").expect("an open connection");
            client.rest();
            // What came has to inflate to what was sent, within the window: the server judges it at
            // its end.
            server.end();
        }
    });
}

/// The script fails a connection with compression, for this reason.
fn fails(kind: Kind, config: Config, stream: Vec<u8>, cause: &Error) {
    let code = cause.close_code().expect("a fault with a code").get();
    let server = Server::start(move |peer| {
        peer.upgrade_with(&answer("permessage-deflate; server_no_context_takeover"));
        let _ = peer.try_send(stream);
        peer.skip_pongs();
        peer.expect_close(code);
        peer.shutdown_write();
        peer.wait_gone();
    });
    let options = Options { connection: config, ..offering(PLAIN_OFFER) };
    let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
    let closure = client.expect_closed();
    assert_eq!((closure.cause.as_ref(), closure.clean), (Some(cause), false));
    assert_eq!(client.send_text("late"), Err(SendError::Closed));
    server.end();
}

// Conformance 111, 112, 116.
#[test]
fn what_is_not_a_compressed_message_fails_the_connection() {
    use framewright::frame::OpCode;
    through_both_apis(|kind| {
        for (source, cause) in [
            ("ping rsv1", PeerMisbehaved::MisplacedRsv1(OpCode::Ping)),
            ("close 1000 rsv1", PeerMisbehaved::MisplacedRsv1(OpCode::Close)),
            ("text rsv1 !fin hex \"f2 48\"; cont rsv1", PeerMisbehaved::MisplacedRsv1(OpCode::Continuation)),
            ("text rsv2", PeerMisbehaved::ReservedBits(2)),
            ("text rsv1 rsv3", PeerMisbehaved::ReservedBits(5)),
            ("binary rsv1 hex \"ff ff ff ff\"", PeerMisbehaved::InvalidDeflate),
            ("binary rsv1 \"xxxxxxxxxxx\"", PeerMisbehaved::InvalidDeflate),
            // A distance that reaches behind the message.
            ("binary rsv1 hex \"f2 00 11 00 00\"", PeerMisbehaved::InvalidDeflate),
            ("text rsv1 deflate \"\\xff\"", PeerMisbehaved::InvalidUtf8),
            ("text rsv1 deflate hex \"e2 82\"", PeerMisbehaved::InvalidUtf8),
        ] {
            let stream = script::bytes(framewright::Role::Server, source);
            fails(kind, Config::default(), stream, &Error::Peer(cause));
        }
    });
}

/// Zeros, a thousand of them for an octet, in fragments.
pub(crate) fn bomb(mib: usize) -> Vec<u8> {
    let payload = Deflater::new(6).part(&vec![0; 1 << 20]);
    let mut stream = script::bytes(framewright::Role::Server, "binary rsv1 !fin");
    for _ in 0..mib {
        stream.extend(script::bytes(framewright::Role::Server, &format!("cont !fin len={}", payload.len())));
        stream.extend_from_slice(&payload);
    }
    // A message is inflated far beyond its own length once it is there as a whole.
    stream.extend(script::bytes(framewright::Role::Server, "cont hex \"00\""));
    stream
}

// Conformance 120.
#[test]
fn a_decompression_bomb_ends_at_the_limit() {
    through_both_apis(|kind| {
        let limit = 1 << 20;
        let config = Config { max_message: limit, ..Config::default() };
        let cause = LimitExceeded::MessageTooLarge { announced: limit + 1, limit };
        fails(kind, config, bomb(4), &Error::Limit(cause));

        let deflate = DeflateConfig { max_ratio: NonZeroU32::new(100), ..DeflateConfig::default() };
        let config = Config { deflate, ..Config::default() };
        fails(kind, config, bomb(4), &Error::Limit(LimitExceeded::InflationRatio { limit: 100 }));
    });
}

#[test]
fn compression_is_offered_by_default_and_a_server_need_not_take_it() {
    through_both_apis(|kind| {
        let server = Server::open(|peer| {
            let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                         client_max_window_bits, \
                         permessage-deflate; client_no_context_takeover; client_max_window_bits";
            assert_eq!(peer.field("Sec-WebSocket-Extensions"), Some(offer));
            peer.expect_text(&long());
            peer.answer_close();
        });
        let mut client =
            kind.connect(request(server.addr()), &Options::default()).expect("an open connection");
        client.send_text(&long()).expect("an open connection");
        client.start_close(1000, "").expect("an open connection");
        client.rest();
        server.end();
    });
}

/// What a message of a service looks like that sends the same fields all day.
fn similar(number: usize) -> String {
    format!("{{\"number\":{number},\"text\":\"{}\"}}", "as always, ".repeat(20))
}

// Tornado and Mojolicious say nothing of `server_no_context_takeover`, and compress with takeover.
#[test]
fn a_server_that_ignores_what_it_is_asked_for_is_understood_by_default() {
    const MESSAGES: usize = 1000;
    through_both_apis(|kind| {
        let server = Server::start(move |peer| {
            // We compress without takeover, as we have offered: this server does not know the word,
            // and is content.
            peer.upgrade_deflating("permessage-deflate", Inflation::new(false, 1 << 15));
            let mut deflater = Deflater::new(6);
            for number in 0..MESSAGES {
                // Two alike at first, so that the second refers to the first.
                let payload = deflater.message(similar(number.max(1)).as_bytes());
                assert!(number == 0 || payload.len() < 64, "{} octets: no context taken over", payload.len());
                let len = u8::try_from(payload.len()).expect("a short one");
                peer.send([&[0xC1, len][..], &payload].concat());
                let frame = peer.frame();
                assert_eq!((frame.header.opcode, frame.header.rsv), (1, 4));
            }
            peer.answer_close();
        });
        let mut client =
            kind.connect(request(server.addr()), &Options::default()).expect("an open connection");
        for number in 0..MESSAGES {
            let text = similar(number.max(1));
            client.expect_text(&text);
            client.send_text(&text).expect("an open connection");
        }
        client.start_close(1000, "").expect("an open connection");
        client.rest();
        // What came has to inflate by itself: the server judges it at its end.
        server.end();
    });
}

#[test]
fn what_context_takeover_costs_in_an_event_loop_is_counted_as_long_as_the_connection_lives() {
    for (answered, counted) in [
        ("permessage-deflate", 32 << 10),
        ("permessage-deflate; server_max_window_bits=10", 1 << 10),
        ("permessage-deflate; server_no_context_takeover", 0),
    ] {
        let server = Server::start(move |peer| {
            peer.upgrade_with(&answer(answered));
            peer.answer_close();
        });
        let mut client =
            Loop::connect(request(server.addr()), &Options::default()).expect("an open connection");
        assert_eq!(client.buffers.compression_held(), counted, "{answered}");
        client.start_close(1000, "").expect("an open connection");
        client.rest();
        assert_eq!(client.buffers.compression_held(), 0);
        server.end();
    }
}
