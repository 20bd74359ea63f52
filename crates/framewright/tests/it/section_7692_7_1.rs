//! RFC 7692, sections 5 and 7.1: permessage-deflate in the opening handshake, from the octets of a
//! request to those of the 101. Single offers and answers are in tables beside the code.

use std::time::{Duration, Instant};

use framewright::Negotiated;
use framewright::deflate::{
    AnswerError, ClientWindow, DeflateOffer, DeflateParams, DeflatePolicy, WindowBits, check_answer,
};
use framewright::handshake::{
    Accept, FieldError, FieldName, FieldValue, HeadLimits, Request, ServerHandshake,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::handshake::{REQUEST_LINE, every_split, handshake};

const OPEN: DeflatePolicy = DeflatePolicy {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: WindowBits::MAX,
    client_max_window_bits: WindowBits::MAX,
};

/// The Sec-WebSocket-Extensions lines of the 101, and what the connection is told.
fn accept(request: &Request<'_>, accept: &Accept) -> (Vec<String>, Option<DeflateParams>) {
    let upgrade = request.upgrade().expect("a correct request").expect("an opening handshake");
    let mut out = Vec::new();
    let negotiated = upgrade.accept(request, accept, &mut out).expect("nothing to object to");
    let out = String::from_utf8(out).expect("the 101 is text");
    assert!(out.ends_with("\r\n\r\n"));
    let values = out.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    (values.map(str::to_owned).collect(), negotiated.deflate())
}

/// What the server answers to these Sec-WebSocket-Extensions lines, and what was negotiated.
fn negotiate(policy: DeflatePolicy, offers: &[&str]) -> (Vec<String>, Option<DeflateParams>) {
    let lines: Vec<_> = offers.iter().map(|value| format!("Sec-WebSocket-Extensions: {value}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    every_split(&handshake(REQUEST_LINE, &lines), |result| {
        accept(&result.unwrap().unwrap(), &Accept::new().with_deflate(policy))
    })
}

#[test]
fn server_lists_what_it_accepted_in_the_101() {
    let fields = [
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ];
    every_split(&handshake(REQUEST_LINE, &fields), |result| {
        let request = result.unwrap().unwrap();
        let accept = Accept::new()
            .with_subprotocol("chat")
            .with_deflate(DeflatePolicy { client_max_window_bits: WindowBits::new(10).unwrap(), ..OPEN })
            .with_field(FieldName::from_static("Set-Cookie"), FieldValue::from_static("a=1"));
        let mut out = Vec::new();
        let negotiated = request.upgrade().unwrap().unwrap().accept(&request, &accept, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\nSet-Cookie: a=1\r\n\r\n"
        );
        let params = DeflateParams {
            client_max_window_bits: WindowBits::new(10).unwrap(),
            ..DeflateParams::default()
        };
        assert_eq!(negotiated, Negotiated::new().with_subprotocol("chat").with_deflate(params));
    });
}

#[test]
fn server_takes_the_first_offer_that_it_can_over_all_lines() {
    //= https://www.rfc-editor.org/rfc/rfc7692#section-5
    //# The order of
    //# elements is important as it specifies the client's preference.  An
    //# element preceding another element has higher preference.  It is
    //# recommended that a server accepts PMCEs with higher preference if the
    //# server supports them.
    let (values, params) = negotiate(
        OPEN,
        &[
            "permessage-foo, permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=\"1\\0\", permessage-deflate",
            "permessage-deflate; client_no_context_takeover",
        ],
    );
    assert_eq!(values, ["permessage-deflate; server_max_window_bits=10"]);
    let bits = WindowBits::new(10).unwrap();
    assert_eq!(params, Some(DeflateParams { server_max_window_bits: bits, ..DeflateParams::default() }));
}

#[test]
fn server_that_declines_every_offer_upgrades_without_the_field() {
    //= https://www.rfc-editor.org/rfc/rfc7692#section-7
    //# A server MUST decline an extension negotiation offer for this
    //# extension if any of the following conditions are met:
    for offers in [
        &["permessage-deflate; x"][..],
        &[
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_no_context_takeover=0",
        ],
        &["permessage-deflate; client_max_window_bits; client_max_window_bits"],
        &["permessage-bzip2"],
        &[],
    ] {
        assert_eq!(negotiate(DeflatePolicy::default(), offers), (vec![], None), "{offers:?}");
    }
}

#[test]
fn server_without_a_policy_declines() {
    let octets = handshake(REQUEST_LINE, &["Sec-WebSocket-Extensions: permessage-deflate"]);
    every_split(&octets, |result| {
        assert_eq!(accept(&result.unwrap().unwrap(), &Accept::new()), (vec![], None));
    });
}

#[test]
fn application_cannot_answer_extensions_by_itself() {
    assert_eq!(FieldName::new("Sec-WebSocket-Extensions"), Err(FieldError::ReservedName));
}

fn window_bits() -> impl Strategy<Value = WindowBits> {
    (8..=15_u8).prop_map(|bits| WindowBits::new(bits).unwrap())
}

fn policy() -> impl Strategy<Value = DeflatePolicy> {
    (any::<bool>(), any::<bool>(), window_bits(), window_bits()).prop_map(|(server, client, own, peer)| {
        DeflatePolicy {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: own,
            client_max_window_bits: peer,
        }
    })
}

fn offer() -> impl Strategy<Value = DeflateOffer> {
    let window = prop_oneof![Just(ClientWindow::Any), window_bits().prop_map(ClientWindow::AtMost)];
    // Half of the offers have to be declined, or most lists would end at their first.
    let server = prop_oneof![option::of(window_bits()), Just(Some(WindowBits::MIN))];
    (any::<bool>(), any::<bool>(), server, option::of(window)).prop_map(|(server, client, peer, own)| {
        DeflateOffer {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: peer,
            client_max_window_bits: own,
        }
    })
}

/// Elements that are declined, whatever the policy.
const DECLINED: &[&str] = &[
    "permessage-foo; client_max_window_bits",
    "permessage-deflate; x=y",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
];

/// Parts of field values: parameters, and what may break them.
const PARTS: &[&str] = &[
    "permessage-deflate",
    "; server_no_context_takeover",
    "; client_no_context_takeover",
    "; server_max_window_bits=10",
    "; server_max_window_bits=",
    "; client_max_window_bits",
    "; client_max_window_bits=\"1\\2\"",
    ", permessage-deflate",
    ";",
    ",",
    "=",
    "\"",
    "\\",
    " ",
    "8",
    "15",
    "x",
    "\u{e9}",
];

proptest! {
    #[test]
    fn client_and_server_agree_on_the_same(
        policy in policy(),
        offers in vec((offer(), option::of(prop::sample::select(DECLINED)), any::<bool>()), 0..5),
    ) {
        let mut lines = vec![String::new()];
        for (offer, before, new_line) in &offers {
            let mut value = Vec::new();
            offer.write(&mut value);
            let line = lines.last_mut().unwrap();
            if let Some(before) = before {
                *line += &format!("{before}, ");
            }
            *line += &format!("{}, ", String::from_utf8(value).unwrap());
            if *new_line {
                lines.push(String::new());
            }
        }
        // A line without an element is against the grammar.
        lines.retain(|line| !line.is_empty());
        let lines: Vec<_> = lines.iter().map(|line| format!("Sec-WebSocket-Extensions: {line}")).collect();
        let octets = handshake(REQUEST_LINE, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let mut server = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
        prop_assert_eq!(server.parse(&octets), Ok(Some(octets.len())));

        let (values, params) = accept(&server.request(&octets), &Accept::new().with_deflate(policy));
        let offers: Vec<_> = offers.into_iter().map(|(offer, ..)| offer).collect();
        prop_assert_eq!(check_answer(&offers, values.iter().map(String::as_bytes)), Ok(params));
        // Only a window of 256 octets is a reason to decline.
        let acceptable = offers.iter().any(|offer| offer.server_max_window_bits != Some(WindowBits::MIN));
        prop_assert_eq!(params.is_some(), acceptable);
        prop_assert_eq!(values.len(), usize::from(acceptable));
    }

    #[test]
    fn no_field_value_upsets_either_side(
        policy in policy(),
        offers in vec(offer(), 0..3),
        parts in vec(prop::sample::select(PARTS), 0..8),
        named in any::<bool>(),
    ) {
        let value = if named { "permessage-deflate" } else { "" }.to_owned() + &parts.concat();
        let octets = handshake(REQUEST_LINE, &[&format!("Sec-WebSocket-Extensions: {value}")]);
        let mut server = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
        prop_assert_eq!(server.parse(&octets), Ok(Some(octets.len())));
        let request = server.request(&octets);
        let followed = request.upgrade().is_ok();
        if followed {
            let (values, params) = accept(&request, &Accept::new().with_deflate(policy));
            prop_assert_eq!(values.len(), usize::from(params.is_some()));
        }
        let checked = check_answer(&offers, [value.as_bytes()]);
        // What the grammar forbids is found by both, unless another fault comes first.
        prop_assert!(followed || checked.is_err() || value.trim_matches([' ', ',']).is_empty());
        prop_assert!(!followed || checked != Err(AnswerError::Malformed));
    }

    #[test]
    fn no_octets_upset_a_client(offers in vec(offer(), 0..3), answer in vec(vec(any::<u8>(), 0..32), 0..3)) {
        let answer: Vec<_> = answer.iter().map(Vec::as_slice).collect();
        if check_answer(&offers, answer.iter().copied()) == Ok(None) {
            prop_assert!(answer.iter().all(|value| value.iter().all(|byte| b", \t".contains(byte))));
        }
    }
}
