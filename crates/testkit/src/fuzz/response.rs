//! The law of the client's half of the opening handshake, for any octets as an answer: whole, split
//! and octet by octet it says the same as [`naive::response`], and nothing that can be asked of an
//! answer panics.

use std::time::{Duration, Instant};

#[cfg(feature = "deflate")]
use framewright::deflate::{ClientWindow, DeflateOffer, WindowBits};
use framewright::handshake::{
    Answer, BodyReader, ClientHandshake, ClientRequest, HeadLimits, ProxyAnswer, ProxyHandshake,
    ResponseError, ResponseHead,
};

use crate::naive::{
    self,
    response::{Asked, Outcome, Refusal, Rule},
};

/// Limits that short inputs reach.
pub const TIGHT: HeadLimits = HeadLimits { request_line: 1, head: 320, fields: 7 };

/// Checks the law. The first octet picks what the client has asked for, the rest is what it
/// receives.
///
/// # Panics
/// If the law is broken.
pub fn check(data: &[u8]) {
    let Some((&pick, data)) = data.split_first() else { return };
    for limits in [HeadLimits::default(), TIGHT] {
        for asked in [asked(pick, false), asked(pick, true)] {
            let expected = naive::response::parse(data, limits, &asked);
            assert_eq!(run(data, &[], limits, &asked), expected, "whole, {limits:?}, {asked:?}");
            let every: Vec<usize> = (1..data.len()).collect();
            assert_eq!(run(data, &every, limits, &asked), expected, "octet by octet, {limits:?}, {asked:?}");
            let sum =
                data.iter().fold(0_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
            let split = sum % (data.len() + 1);
            assert_eq!(
                run(data, &[split], limits, &asked),
                expected,
                "split at {split}, {limits:?}, {asked:?}"
            );
        }
    }
}

/// One of 16 requests, or what a proxy is asked.
pub fn asked(pick: u8, tunnel: bool) -> Asked {
    let subprotocols = ["chat", "superchat"].into_iter().take(usize::from(pick % 4).min(2));
    Asked {
        subprotocols: subprotocols.map(str::to_owned).collect(),
        #[cfg(feature = "deflate")]
        offers: offers(pick / 4),
        tunnel,
    }
}

#[cfg(feature = "deflate")]
fn offers(pick: u8) -> Vec<DeflateOffer> {
    let bits = WindowBits::new(10).expect("8 to 15");
    let tight = DeflateOffer {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(bits),
        client_max_window_bits: Some(ClientWindow::AtMost(bits)),
    };
    let offers = [tight, DeflateOffer { client_max_window_bits: None, ..DeflateOffer::default() }];
    match pick % 4 {
        0 => Vec::new(),
        1 => vec![DeflateOffer::default()],
        2 => offers[..1].to_vec(),
        _ => offers.to_vec(),
    }
}

/// What a client makes of `data` when it arrives in the parts that end at `splits` (ascending),
/// then the rest, then the end of the stream.
///
/// # Panics
/// If the parser's answers contradict each other.
pub fn run(data: &[u8], splits: &[usize], limits: HeadLimits, asked: &Asked) -> Outcome {
    let uri = "ws://server.example.com/chat".parse().expect("a URI");
    let (now, timeout, mut out) = (Instant::now(), Duration::MAX, Vec::new());
    if asked.tunnel {
        let mut handshake = ProxyHandshake::new(&uri, None, limits, now, timeout, &mut out);
        let answer = match read(data, splits, |bytes| handshake.parse(bytes)) {
            Err(error) => return Outcome::Failed(rule(error)),
            Ok(None) => return Outcome::NeedMore,
            Ok(Some(answer)) => answer,
        };
        return match answer {
            ProxyAnswer::Tunnel { head_len } => Outcome::Open {
                head_len,
                subprotocol: None,
                #[cfg(feature = "deflate")]
                deflate: None,
            },
            ProxyAnswer::Refused { head_len, body } => {
                refused(handshake.response(data), head_len, body, data, splits)
            }
        };
    }
    let mut request = ClientRequest::new(uri);
    for subprotocol in &asked.subprotocols {
        request = request.with_subprotocol(subprotocol.clone()).expect("a token");
    }
    #[cfg(feature = "deflate")]
    for offer in &asked.offers {
        request = request.with_deflate(*offer);
    }
    let mut nonce = |target: &mut [u8]| target.copy_from_slice(b"the sample nonce");
    let mut handshake = ClientHandshake::new(&request, &mut nonce, limits, now, timeout, &mut out);
    let answer = match read(data, splits, |bytes| handshake.parse(bytes)) {
        Err(error) => return Outcome::Failed(rule(error)),
        Ok(None) => return Outcome::NeedMore,
        Ok(Some(answer)) => answer,
    };
    match answer {
        Answer::Accepted { head_len, negotiated } => {
            assert_eq!(handshake.response(data).status(), 101);
            Outcome::Open {
                head_len,
                subprotocol: negotiated.subprotocol().map(str::to_owned),
                #[cfg(feature = "deflate")]
                deflate: negotiated.deflate(),
            }
        }
        Answer::Refused { head_len, body } => {
            let response = handshake.response(data);
            let _ = request.redirected(&response);
            refused(response, head_len, body, data, splits)
        }
    }
}

/// Gives `parse` more and more of `data` until it has an answer.
fn read<A: PartialEq + std::fmt::Debug>(
    data: &[u8],
    splits: &[usize],
    mut parse: impl FnMut(&[u8]) -> Result<Option<A>, ResponseError>,
) -> Result<Option<A>, ResponseError> {
    for end in splits.iter().copied().chain([data.len()]) {
        let result = parse(&data[..end]);
        if result != Ok(None) {
            assert_eq!(parse(data), result, "what arrives later does not change it");
            return result;
        }
    }
    Ok(None)
}

/// Everything that can be asked of a refusal.
fn refused(
    response: ResponseHead<'_>,
    head_len: usize,
    mut body: BodyReader,
    data: &[u8],
    splits: &[usize],
) -> Outcome {
    let mut start = head_len;
    let mut is_done = body.push(&[]);
    for end in splits.iter().copied().chain([data.len()]).filter(|&end| end > head_len) {
        if is_done {
            break;
        }
        is_done = body.push(&data[start..end]);
        start = end;
    }
    let (body, truncated) = body.finish();
    let owned = response.to_response(body, truncated);
    let fields = |head: ResponseHead<'_>| -> Vec<(String, Vec<u8>)> {
        head.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
    };
    assert_eq!(fields(owned.head()), fields(response));
    for (name, value) in fields(response) {
        assert!(owned.field_all(&name.to_ascii_uppercase()).any(|found| found == value));
        assert!(owned.field(&name).is_some());
    }
    assert!(!format!("{owned:?}{response:?}").is_empty());
    Outcome::Refused(Box::new(Refusal {
        head_len,
        status: owned.status(),
        minor: owned.http_minor(),
        reason: owned.reason().to_vec(),
        fields: fields(response),
        body: owned.body().to_vec(),
        truncated: owned.is_truncated(),
    }))
}

/// The kind of a rule.
fn rule(error: ResponseError) -> Rule {
    assert!(error.to_string().contains("(RFC "), "{error}");
    match error {
        ResponseError::HttpVersionNotSupported => Rule::Version,
        ResponseError::HeadTooLong { .. } => Rule::Length,
        ResponseError::TooManyFields { .. } => Rule::Fields,
        ResponseError::TooManyInterimResponses { .. } => Rule::Interim,
        ResponseError::NotHttp
        | ResponseError::InvalidStatusLine
        | ResponseError::InvalidFieldName
        | ResponseError::SpaceBeforeColon
        | ResponseError::SpaceBeforeFirstField
        | ResponseError::ObsoleteFolding
        | ResponseError::InvalidFieldValue
        | ResponseError::BareCr
        | ResponseError::BareLf => Rule::Syntax,
        _ => Rule::Handshake,
    }
}
