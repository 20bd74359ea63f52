//! The law of the opening handshake's parser, for any octets: whole, split and octet by octet it
//! says the same as [`naive::head`], and nothing that can be asked of a request panics.

use std::time::{Duration, Instant};

use framewright::handshake::{
    Accept, AllowedHosts, AllowedOrigins, HeadLimits, Refusal, Request, ServerHandshake, choose_subprotocol,
};

use crate::naive::{
    self,
    handshake::Handshake,
    head::{Outcome, Parsed},
};

/// Limits that short inputs reach.
pub const TIGHT: HeadLimits = HeadLimits { request_line: 48, head: 320, fields: 7 };

/// Checks the law for `data`, which is what a client sends.
///
/// # Panics
/// If the law is broken.
pub fn check(data: &[u8]) {
    for limits in [HeadLimits::default(), TIGHT] {
        let expected = naive::head::parse(data, limits);
        assert_eq!(run(data, &[], limits), expected, "whole, {limits:?}");
        let every: Vec<usize> = (1..data.len()).collect();
        assert_eq!(run(data, &every, limits), expected, "octet by octet, {limits:?}");
        if !data.is_empty() {
            let sum =
                data.iter().fold(0_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
            let split = sum % data.len();
            assert_eq!(run(data, &[split], limits), expected, "split at {split}, {limits:?}");
        }
    }
}

/// What the parser makes of `data` when it arrives in the parts that end at `splits` (ascending),
/// then the rest.
///
/// # Panics
/// If the parser's answers contradict each other.
pub fn run(data: &[u8], splits: &[usize], limits: HeadLimits) -> Outcome {
    let mut handshake = ServerHandshake::new(limits, Instant::now(), Duration::MAX);
    let mut result = Ok(None);
    for end in splits.iter().copied().chain([data.len()]) {
        result = handshake.parse(&data[..end]);
        if result != Ok(None) {
            assert_eq!(handshake.poll_timeout(), None);
            // What arrives later does not change it.
            assert_eq!(handshake.parse(data), result);
            break;
        }
    }
    match result {
        Ok(None) => Outcome::NeedMore,
        Err(refusal) => Outcome::Refused(answer(refusal)),
        Ok(Some(head_len)) => {
            let request = handshake.request(data);
            let parsed = describe(&request, head_len);
            assert_eq!(describe(&request.to_owned_request().as_request(), head_len), parsed);
            Outcome::Complete(Box::new(parsed))
        }
    }
}

/// The status code of a refusal whose answer is well-formed.
fn answer(refusal: Refusal) -> u16 {
    let mut out = Vec::new();
    refusal.to_response().encode("", false, &mut out);
    let text = String::from_utf8(out).expect("an answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.status().as_u16())), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    refusal.status().as_u16()
}

/// Everything that can be asked of a request.
fn describe(request: &Request<'_>, head_len: usize) -> Parsed {
    let fields: Vec<(String, Vec<u8>)> =
        request.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    for (name, value) in &fields {
        assert!(request.field_all(&name.to_ascii_uppercase()).any(|found| found == value));
        assert!(request.field(name).is_some());
    }
    assert_eq!(request.origin(), request.field("origin"));
    let _ = AllowedOrigins::new(["https://example.com", "null"]).expect("origins").allows_request(request);
    let _ = AllowedHosts::new(["example.com"]).expect("hosts").allows_request(request);
    let _ = (request.subprotocols().count(), request.extensions().count(), format!("{request:?}"));
    Parsed {
        head_len,
        method: request.method().to_owned(),
        target: request.target().to_owned(),
        path: request.path().to_owned(),
        query: request.query().map(str::to_owned),
        minor: request.http_minor(),
        fields,
        host: request.host().to_owned(),
        has_body: request.has_body(),
        upgrade: handshake(request),
    }
}

fn handshake(request: &Request<'_>) -> Handshake {
    let upgrade = match request.upgrade() {
        Ok(None) => return Handshake::No,
        Err(refusal) => return Handshake::Refused(answer(refusal)),
        Ok(Some(upgrade)) => upgrade,
    };
    let subprotocols: Vec<String> = request.subprotocols().map(str::to_owned).collect();
    let mut accept = Accept::new();
    if let Some(chosen) = choose_subprotocol(request, &subprotocols) {
        accept = accept.with_subprotocol(chosen.to_owned());
    }
    let mut out = Vec::new();
    let negotiated = upgrade.accept(request, &accept, &mut out).expect("an offered subprotocol is accepted");
    assert_eq!(negotiated.subprotocol(), subprotocols.first().map(String::as_str));
    let first = if upgrade.expects_continue() {
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 "
    } else {
        "HTTP/1.1 101 "
    };
    assert!(out.starts_with(first.as_bytes()));
    let extensions = request.extensions().map(|extension| {
        let params = extension.params().map(|(name, value)| match value {
            Some(value) => format!(";{name}={value}"),
            None => format!(";{name}"),
        });
        format!("{}{}", extension.name(), params.collect::<String>())
    });
    Handshake::Correct {
        subprotocols,
        extensions: extensions.collect(),
        expects_continue: upgrade.expects_continue(),
    }
}
