//! Sections 5.6 and 8.1: text is UTF-8 as a whole, and is refused at the octet that proves it is
//! not.

use crate::support::{ROLES, endpoint, fails, fails_with, from_peer, misbehaved, receive, sent_close, text};
use framewright::{Config, Delivery, PeerMisbehaved, State};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen};

/// Octets that no continuation can make UTF-8.
const HOPELESS: [&str; 16] = [
    "80",
    "bf",
    "c0 80",
    "c1 bf",
    "c3 28",
    "e0 80 80",
    "e0 9f bf",
    "e2 28 a1",
    "e2 82 28",
    "ed a0 80",
    "ed bf bf",
    "f0 80 80 80",
    "f0 8f bf bf",
    "f4 90 80 80",
    "f8 88 80 80 80",
    "ff",
];

/// Starts of characters.
const CUT_OFF: [&str; 5] = ["c3", "e2 82", "f0 9f", "f0 9f 98", "e0 a0"];

fn invalid() -> framewright::Error {
    misbehaved(PeerMisbehaved::InvalidUtf8)
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-8.1
//# When an endpoint is to interpret a byte stream as UTF-8 but finds
//# that the byte stream is not, in fact, a valid UTF-8 stream, that
//# endpoint MUST _Fail the WebSocket Connection_.
#[test]
fn text_that_is_not_utf_8_fails_the_connection_with_1007() {
    let chunks = Config { delivery: Delivery::Chunks, ..Config::default() };
    for role in ROLES {
        for octets in HOPELESS {
            fails(role, &format!("text \"\\u{{3ba}}\" hex \"{octets}\" \"end\""), invalid());
            fails(role, &format!("text !fin; cont hex \"{octets}\" !fin; cont"), invalid());
        }
        for octets in CUT_OFF {
            fails(role, &format!("text \"a\" hex \"{octets}\""), invalid());
            fails(role, &format!("text hex \"{octets}\" !fin; cont \"a\""), invalid());
            fails(role, &format!("text hex \"{octets}\" !fin; ping; cont !fin; cont"), invalid());
            // In chunk delivery the valid start is delivered first, so runs differ; the end does
            // not.
            let mut endpoint = Endpoint::new(role, chunks.clone(), 1, Behaviour::Silent);
            endpoint.feed(&from_peer(role, &format!("text \"a\" hex \"{octets}\" !fin; cont")));
            assert_eq!(endpoint.closure().cause, Some(invalid()));
            fails_with(role, &chunks, &format!("text hex \"{octets}\" !fin; cont"), invalid());
        }
    }
}

/// The Autobahn cases 6.4.1 to 6.4.4: in parts of a frame, in the middle of a frame, in a fragment.
#[test]
fn an_invalid_octet_in_the_middle_of_a_frame_is_refused_before_the_rest_arrives() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        for role in ROLES {
            let config = Config { delivery, ..Config::default() };
            let stream = "text \"\\u{3ba}\\u{1f79}\\u{3c3}\\u{3bc}\\u{3b5}\" hex \"f4 90 80 80\" \"edited\"";
            let stream = from_peer(role, stream);
            let proof = stream.len() - b"edited".len() - 2; // f4 90 is beyond U+10FFFF
            let mut endpoint = Endpoint::new(role, config, 1, Behaviour::Silent);
            endpoint.feed(&stream[..proof - 1]);
            assert_eq!(endpoint.connection.state(), State::Open);
            endpoint.feed(&stream[proof - 1..proof]);
            assert_eq!(sent_close(&endpoint), Some(1007));
            assert_eq!(endpoint.closure().cause, Some(invalid()));
        }
    }
}

#[test]
fn a_character_may_be_split_over_fragments_and_reads() {
    let source = r#"
        text "\xf0" !fin; cont "\x9f" !fin; ping; cont !fin; cont "\x98" !fin; cont "\x80"
        text "\xce" !fin; cont "\xba\xe1\xbd\xb9\xcf" !fin; cont "\x83\xce\xbc\xce\xb5"
    "#;
    for role in ROLES {
        let mut endpoint = receive(role, source);
        endpoint.events.retain(|event| !matches!(event, Seen::Ping(_)));
        assert_eq!(endpoint.events, [text("\u{1f600}"), text("\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}")]);
    }
}

#[test]
fn the_limits_of_every_length_of_character_pass() {
    let characters = [
        "\0",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
    ];
    for role in ROLES {
        for character in characters {
            let octets: Vec<String> = character.bytes().map(|octet| format!("{octet:02x}")).collect();
            let endpoint = receive(role, &format!("text hex \"{}\"", octets.join(" ")));
            assert_eq!(endpoint.events, [text(character)]);
        }
    }
}

#[test]
fn binary_messages_may_hold_anything() {
    for role in ROLES {
        let endpoint = receive(role, "binary hex \"ff fe c3\" !fin; cont hex \"80\"");
        assert_eq!(endpoint.events, [Seen::Binary(vec![0xff, 0xfe, 0xc3, 0x80])]);
    }
}

#[test]
fn a_text_after_a_binary_message_is_checked_afresh() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.feed(&from_peer(
            role,
            "binary hex \"c3\" !fin; cont hex \"e2\"; text \"\\u{e9}\" !fin; cont \"x\"",
        ));
        assert_eq!(endpoint.events[1], text("\u{e9}x"));
    }
}

#[test]
fn a_message_that_was_refused_is_not_counted() {
    for role in ROLES {
        let endpoint = receive(role, "text \"good\"; text hex \"61 ff\"");
        let stats = endpoint.connection.stats();
        assert_eq!(stats.messages_received, 1);
    }
}
