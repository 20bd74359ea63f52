//! The opening handshake's request beside `httparse`: `cargo bench -p framewright-benches --bench
//! head`.
//!
//! - `framewright` and `httparse` both end with a checked opening handshake and the value that
//!   answers its key. What `httparse` leaves to its user is in [`by_hand`]: the same rules as ours.
//! - `framewright parse` and `httparse parse` are what comes first. Ours has then checked the
//!   target, Host and what says how long the body is as well; `httparse` has only found the fields.

#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use framewright::handshake::{AllowedOrigins, HeadLimits, ServerHandshake, is_token};
use httparse::Status;
use sha1::{Digest as _, Sha1};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The smallest opening handshake that is one.
const MINIMAL: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// As Chromium sends it from a page that has set a few cookies.
const CHROMIUM: &str = "GET /ws?room=42 HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\nOrigin: https://example.com\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=6f1ed002ab5595859014ebf0951522d9; theme=dark; _ga=GA1.2.1234567890.1700000000; consent=yes\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Sec-WebSocket-Protocol: chat.v2, chat\r\n\r\n";

/// 8 KiB in 80 lines, as behind proxies that add what they know, and with a token.
fn long() -> String {
    let mut head = CHROMIUM.trim_end_matches("\r\n").to_owned();
    for line in 0..64 {
        head.push_str(&format!("\r\nX-Forwarded-Detail-{line}: {}", "a1B2-c3D4_e5; ".repeat(6)));
    }
    let rest = (8 << 10) - head.len() - "\r\nAuthorization: Bearer \r\n\r\n".len();
    head.push_str(&format!("\r\nAuthorization: Bearer {}\r\n\r\n", "eyJh".repeat(rest / 4)));
    head
}

/// What both come to.
#[derive(Debug, PartialEq, Eq)]
struct Handshake<'a> {
    target: &'a str,
    host: &'a [u8],
    accept: [u8; 28],
}

fn ours(parts: &[usize], received: &[u8], now: Instant, origins: &AllowedOrigins) -> bool {
    let mut handshake = ServerHandshake::new(HeadLimits::default(), now, Duration::from_secs(10));
    let mut head = None;
    for &end in parts {
        head = handshake.parse(&received[..end]).expect("a correct head");
    }
    if head.is_none() {
        return false;
    }
    let request = handshake.request(received);
    let upgrade = request.upgrade().expect("a correct opening handshake").expect("an opening handshake");
    assert!(origins.allows_request(&request));
    black_box(Handshake {
        target: request.target(),
        host: request.host().as_bytes(),
        accept: *upgrade.accept_key(),
    });
    true
}

fn ours_parse(parts: &[usize], received: &[u8], now: Instant) -> bool {
    let mut handshake = ServerHandshake::new(HeadLimits::default(), now, Duration::from_secs(10));
    let mut head = None;
    for &end in parts {
        head = handshake.parse(black_box(&received[..end])).expect("a correct head");
    }
    black_box(head).is_some()
}

/// `httparse` starts anew with each piece; it is not resumable.
fn theirs(parts: &[usize], received: &[u8]) -> bool {
    parts
        .iter()
        .any(|&end| black_box(by_hand(&received[..end]).expect("a correct opening handshake")).is_some())
}

fn theirs_parse(parts: &[usize], received: &[u8]) -> bool {
    parts.iter().any(|&end| {
        let mut fields = [const { MaybeUninit::uninit() }; 100];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(black_box(&received[..end]), &mut fields);
        black_box(parsed.expect("a correct head").is_complete())
    })
}

/// What a careful user of `httparse` does: one pass over the fields, then the rules about those
/// that were there. `Ok(None)` until the head is complete.
fn by_hand(received: &[u8]) -> Result<Option<Handshake<'_>>, &'static str> {
    let mut fields = [const { MaybeUninit::uninit() }; 100];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(received, &mut fields) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err("malformed"),
    }
    let mut found = Found::default();
    for field in &*request.headers {
        found.take(field.name, field.value)?;
    }
    let target = request.path.unwrap_or_default();
    if request.method != Some("GET") || request.version != Some(1) {
        return Err("method or version");
    }
    if !target.starts_with('/') || target.contains('#') {
        return Err("target");
    }
    let (Some(host), Some(key), Some(b"13")) = (found.host, found.key, found.version) else {
        return Err("Host, key or version");
    };
    if !is_authority(host)
        || STANDARD.decode_slice(key, &mut [0; 18]) != Ok(16)
        || !found.upgrade
        || !found.connection
    {
        return Err("Host, key, Upgrade or Connection");
    }
    if found.origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(b"https://example.com")) {
        return Err("Origin");
    }
    let hash = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut accept = [0; 28];
    STANDARD.encode_slice(hash, &mut accept).map_err(|_| "20 octets are 28 characters of base64")?;
    Ok(Some(Handshake { target, host, accept }))
}

#[derive(Default)]
struct Found<'a> {
    host: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    upgrade: bool,
    connection: bool,
    subprotocols: [&'a [u8]; 8],
}

impl<'a> Found<'a> {
    fn take(&mut self, name: &str, value: &'a [u8]) -> Result<(), &'static str> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("Host") {
            return once(&mut self.host, value);
        } else if is("Sec-WebSocket-Key") {
            return once(&mut self.key, value);
        } else if is("Sec-WebSocket-Version") {
            return once(&mut self.version, value);
        } else if is("Origin") {
            return once(&mut self.origin, value);
        } else if is("Upgrade") {
            for protocol in elements(value) {
                if !protocol.split(|&octet| octet == b'/').all(is_token) {
                    return Err("Upgrade");
                }
                self.upgrade |= protocol.eq_ignore_ascii_case(b"websocket");
            }
        } else if is("Connection") {
            for option in elements(value) {
                if !is_token(option) {
                    return Err("Connection");
                }
                self.connection |= option.eq_ignore_ascii_case(b"upgrade");
            }
        } else if is("Sec-WebSocket-Protocol") {
            for subprotocol in elements(value) {
                if !is_token(subprotocol) || self.subprotocols.contains(&subprotocol) {
                    return Err("Sec-WebSocket-Protocol");
                }
                let place = self.subprotocols.iter_mut().find(|place| place.is_empty());
                *place.ok_or("more subprotocols than there are places")? = subprotocol;
            }
        } else if is("Sec-WebSocket-Extensions") {
            for extension in elements(value) {
                let mut params = extension.split(|&octet| octet == b';').map(<[u8]>::trim_ascii);
                if !params.all(|param| param.splitn(2, |&octet| octet == b'=').all(is_token)) {
                    return Err("Sec-WebSocket-Extensions");
                }
            }
        } else if is("Content-Length") && value != b"0" || is("Transfer-Encoding") || is("Expect") {
            return Err("a body");
        }
        Ok(())
    }
}

fn once<'a>(place: &mut Option<&'a [u8]>, value: &'a [u8]) -> Result<(), &'static str> {
    if place.replace(value).is_some() { Err("a field that may come once") } else { Ok(()) }
}

fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&octet| octet == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// A host name or an IPv4 address, and a port: enough here.
fn is_authority(host: &[u8]) -> bool {
    let mut parts = host.splitn(2, |&octet| octet == b':');
    let name = parts.next().unwrap_or_default();
    let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(octet);
    !name.is_empty()
        && name.iter().all(is_name)
        && parts.next().is_none_or(|port| port.iter().all(u8::is_ascii_digit) && port.len() < 6)
}

fn head(criterion: &mut Criterion) {
    let now = Instant::now();
    let origins = AllowedOrigins::new(["https://example.com"]).expect("an origin");
    let long = long();
    let chromium = CHROMIUM.len();
    for (name, head, parts) in [
        ("minimal", MINIMAL, vec![MINIMAL.len()]),
        ("chromium", CHROMIUM, vec![chromium]),
        ("long", &long, vec![long.len()]),
        ("piecewise", CHROMIUM, vec![chromium / 3, 2 * chromium / 3, chromium]),
    ] {
        let head = head.as_bytes();
        let mut group = criterion.benchmark_group(format!("head/{name}"));
        group.throughput(Throughput::Bytes(head.len() as u64));
        assert!(ours(&parts, head, now, &origins) && theirs(&parts, head));
        group.bench_function("framewright", |bencher| {
            bencher.iter(|| ours(black_box(&parts), black_box(head), now, &origins));
        });
        group.bench_function("httparse", |bencher| {
            bencher.iter(|| theirs(black_box(&parts), black_box(head)));
        });
        group.bench_function("framewright parse", |bencher| {
            bencher.iter(|| ours_parse(black_box(&parts), black_box(head), now));
        });
        group.bench_function("httparse parse", |bencher| {
            bencher.iter(|| theirs_parse(black_box(&parts), black_box(head)));
        });
    }
}

criterion_group!(benches, head);
criterion_main!(benches);
