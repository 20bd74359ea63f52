//! The opening handshake's parser against a reference, on correct requests that were damaged at
//! random.

use framewright::handshake::HeadLimits;
use framewright_testkit::fuzz;
use framewright_testkit::naive::{self, head::Outcome};
use proptest::collection::vec;
use proptest::prelude::*;

/// Lines that a request is put together from: usual ones, and ones just beside them.
const LINES: &[&str] = &[
    "Host: server.example.com",
    "Host: [::1]:80",
    "Host: a:",
    "Host:",
    "Host: a b",
    "Upgrade: websocket",
    "Upgrade: h2c, WebSocket/13",
    "Connection: Upgrade",
    "Connection: keep-alive, upgrade",
    "Connection: close",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Version: 8",
    "Sec-WebSocket-Version: 013",
    "Sec-WebSocket-Version: 256",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Protocol: chat",
    "Sec-WebSocket-Protocol: a,,b",
    "Sec-WebSocket-Protocol: ,",
    "Sec-WebSocket-Protocol: ,,,,,,,,,,,,,,,,a",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    "Sec-WebSocket-Extensions: a ; b = \"c\\d\" , e",
    "Sec-WebSocket-Extensions: a; b=\"c d\"",
    "Sec-WebSocket-Extensions: ,",
    "Sec-WebSocket-Extensions: ,,,,,,,,,,,,,,,,a",
    "Origin: https://example.com",
    "Origin: null",
    "Expect: 100-continue",
    "Expect: other",
    "Content-Length: 0",
    "Content-Length: 5, 5",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "X-Text: \u{e9}\t\"",
    " folded",
    "no colon",
    "Space : x",
];

const REQUEST_LINES: &[&str] = &[
    "GET /chat HTTP/1.1",
    "GET /chat?a=b?c HTTP/1.1",
    "GET http://example.com:81?q HTTP/1.1",
    "GET ftp://example.com/ HTTP/1.1",
    "GET /a#b HTTP/1.1",
    "GET / HTTP/1.0",
    "GET / HTTP/2.0",
    "POST /chat HTTP/1.1",
    "CONNECT example.com:443 HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1",
    "GET  / HTTP/1.1",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1",
    "",
];

/// The fields of a correct opening handshake.
const CORRECT: [&str; 5] = [
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// Octets that mean something to the parser.
pub(crate) fn octet() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => prop::sample::select(&b"\r\n \t:,;=\"\\/?#%[]*.\0\x7f\x80\xff13AaGQw"[..]),
        1 => any::<u8>(),
    ]
}

/// One change to the octets: insert, overwrite, delete or repeat a part, at a place given as a
/// fraction.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Insert(prop::sample::Index, u8),
    Overwrite(prop::sample::Index, u8),
    Delete(prop::sample::Index, usize),
    Truncate(prop::sample::Index),
}

impl Damage {
    pub(crate) fn apply(self, octets: &mut Vec<u8>) {
        let length = octets.len();
        match self {
            Damage::Insert(at, byte) => octets.insert(at.index(length + 1), byte),
            _ if length == 0 => {}
            Damage::Overwrite(at, byte) => octets[at.index(length)] = byte,
            Damage::Delete(at, count) => {
                let at = at.index(length);
                octets.drain(at..length.min(at + count));
            }
            Damage::Truncate(at) => octets.truncate(at.index(length)),
        }
    }
}

pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        3 => (place(), octet()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        3 => (place(), octet()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        2 => (place(), 1..4_usize).prop_map(|(at, count)| Damage::Delete(at, count)),
        1 => place().prop_map(Damage::Truncate),
    ]
}

/// Field lines: mostly the correct ones with some of `others` added, or in place of those of the
/// same name.
pub(crate) fn field_lines(
    correct: &'static [&'static str],
    others: &'static [&'static str],
) -> impl Strategy<Value = Vec<&'static str>> {
    let line = || prop::sample::select(others);
    let changed = vec((line(), any::<bool>()), 0..4).prop_map(|changes| {
        let mut lines = correct.to_vec();
        for (line, replaces) in changes {
            let name = &line[..line.find(':').unwrap_or(line.len())];
            lines.retain(|other| !replaces || !other.starts_with(name));
            lines.push(line);
        }
        lines
    });
    prop_oneof![3 => changed, 1 => vec(line(), 0..10)]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let lines = field_lines(&CORRECT, LINES);
    let request_line = prop_oneof![2 => Just(0), 1 => 0..REQUEST_LINES.len()];
    (request_line, lines, vec(damage(), 0..3)).prop_map(|(first, lines, damages)| {
        let mut octets = format!("{}\r\n", REQUEST_LINES[first]).into_bytes();
        for line in lines {
            octets.extend_from_slice(line.as_bytes());
            octets.extend_from_slice(b"\r\n");
        }
        octets.extend_from_slice(b"\r\n");
        for damage in damages {
            damage.apply(&mut octets);
        }
        octets
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parser_agrees_with_the_reference_on_damaged_requests(octets in request()) {
        fuzz::head::check(&octets);
    }

    #[test]
    fn parser_agrees_with_the_reference_on_any_octets(octets in vec(octet(), 0..80)) {
        fuzz::head::check(&octets);
    }

    #[test]
    fn parser_agrees_with_the_reference_under_any_limits(
        octets in request(),
        request_line in 0..60_usize,
        head in prop_oneof![(0..300_usize).prop_map(Some), Just(None)],
        fields in 0..6_usize,
        splits in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        // Often exactly as long as what is sent.
        let limits = HeadLimits { request_line, head: head.unwrap_or(octets.len()), fields };
        let mut splits: Vec<usize> = splits.iter().map(|split| split.index(octets.len() + 1)).collect();
        splits.sort_unstable();
        prop_assert_eq!(fuzz::head::run(&octets, &splits, limits), naive::head::parse(&octets, limits));
    }
}

#[test]
fn parser_agrees_with_the_reference_on_every_prefix() {
    let request =
        b"\r\nGET /chat?q HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x80";
    for end in 0..=request.len() {
        fuzz::head::check(&request[..end]);
    }
    assert!(matches!(naive::head::parse(request, HeadLimits::default()), Outcome::Complete(_)));
}

/// Every octet at every place of a correct request.
#[test]
fn parser_agrees_with_the_reference_on_every_single_overwritten_octet() {
    let request = b"GET /a HTTP/1.1\r\nHost: b\r\nC:\td \r\n\r\n";
    for at in 0..request.len() {
        for byte in 0..=u8::MAX {
            let mut octets = request.to_vec();
            octets[at] = byte;
            fuzz::head::check(&octets);
        }
    }
}
