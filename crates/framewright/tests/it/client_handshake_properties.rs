//! What a client makes of an answer against a reference, on correct answers that were damaged at
//! random.

use framewright::handshake::HeadLimits;
use framewright_testkit::fuzz::{self, response::asked};
use framewright_testkit::naive;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::handshake_properties::{damage, field_lines, octet};

/// Lines that an answer is put together from: usual ones, and ones just beside them.
const LINES: &[&str] = &[
    "Upgrade: websocket",
    "Upgrade: h2c, WebSocket",
    "Upgrade: websocket,",
    "Connection: Upgrade",
    "Connection: keep-alive, upgrade",
    "Connection: close",
    "Connection: upgrade, a b",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xoo=",
    "Sec-WebSocket-Protocol: chat",
    "Sec-WebSocket-Protocol: superchat",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Protocol:",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"1\\1\"; client_no_context_takeover",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    "Sec-WebSocket-Extensions: permessage-deflate; x",
    "Sec-WebSocket-Extensions: x",
    "Sec-WebSocket-Extensions: ,,,,,,,,,,,,,,,,permessage-deflate",
    "Sec-WebSocket-Extensions: ,",
    "Content-Length: 0",
    "Content-Length: 3",
    "Content-Length: 3, 3",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Location: /a?b",
    "Location: http://user@h/",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "X-Text: \u{e9}\t\"",
    " folded",
    "no colon",
    "Space : x",
];

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 101",
    "HTTP/1.0 101 Switching Protocols",
    "HTTP/1.1 200 OK",
    "HTTP/1.0 200",
    "HTTP/1.1 302 Found",
    "HTTP/1.1 304 ",
    "HTTP/1.0 503 Service Unavailable",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 ",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 400 ",
    "HTTP/2 101",
    "HTTP/1.1 1O1",
    "HTTP/1.1 1010",
    "ICY 200 OK",
];

/// The fields of a correct answer.
const CORRECT: [&str; 3] =
    ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="];

/// What comes behind the head.
const BODIES: &[&str] = &[
    "",
    "\u{1}\u{2}",
    "abcd",
    "3\r\nabc\r\n0\r\n\r\n",
    "2;x\r\nab\r\n0a\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
];

fn response() -> impl Strategy<Value = Vec<u8>> {
    let lines = field_lines(&CORRECT, LINES);
    let status_line = prop_oneof![2 => Just(0), 1 => 0..STATUS_LINES.len()];
    (status_line, lines, prop::sample::select(BODIES), vec(damage(), 0..3)).prop_map(
        |(first, lines, body, damages)| {
            let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let mut octets = format!("{}\r\n{lines}\r\n{body}", STATUS_LINES[first]).into_bytes();
            for damage in damages {
                damage.apply(&mut octets);
            }
            octets
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn client_agrees_with_the_reference_on_damaged_answers(mut octets in response(), pick in 0..16_u8) {
        octets.insert(0, pick);
        fuzz::response::check(&octets);
    }

    #[test]
    fn client_agrees_with_the_reference_on_any_octets(octets in vec(octet(), 0..80)) {
        fuzz::response::check(&[b"\0HTTP/1.1 ", &octets[..]].concat());
        fuzz::response::check(&[b"\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &octets[..]].concat());
    }

    #[test]
    fn client_agrees_with_the_reference_under_any_limits(
        octets in response(),
        head in prop_oneof![(0..300_usize).prop_map(Some), Just(None)],
        fields in 0..6_usize,
        splits in vec(any::<prop::sample::Index>(), 0..4),
        pick in 0..16_u8,
        tunnel in any::<bool>(),
    ) {
        // Often exactly as long as what is sent.
        let limits = HeadLimits { request_line: 0, head: head.unwrap_or(octets.len()), fields };
        let mut splits: Vec<usize> = splits.iter().map(|split| split.index(octets.len() + 1)).collect();
        splits.sort_unstable();
        let asked = asked(pick, tunnel);
        let expected = naive::response::parse(&octets, limits, &asked);
        prop_assert_eq!(fuzz::response::run(&octets, &splits, limits, &asked), expected);
    }
}

/// Every octet at every place of a short answer.
#[test]
fn client_agrees_with_the_reference_on_every_single_overwritten_octet() {
    let answer =
        b"\0HTTP/1.1 100\r\n\r\nHTTP/1.1 403 A\r\nTransfer-Encoding:\tchunked \r\n\r\n1;\r\na\r\n0\r\n\r\n";
    for at in 1..answer.len() {
        for byte in 0..=u8::MAX {
            let mut octets = answer.to_vec();
            octets[at] = byte;
            fuzz::response::check(&octets);
        }
    }
}
