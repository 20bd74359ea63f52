//! RFC 6455, section 9.1, and RFC 7692, section 7.1: what a client offers, and which answers to it
//! fail the handshake.

use framewright::deflate::{AnswerError, ClientWindow, DeflateOffer, DeflateParams, WindowBits};
use framewright::handshake::{ClientRequest, HeadLimits, ResponseError};

use crate::client_handshake::{accepted, fails, plain, start};

fn offering(offers: &[DeflateOffer]) -> ClientRequest {
    offers.iter().fold(plain(), |request, &offer| request.with_deflate(offer))
}

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

fn agreed(request: &ClientRequest, lines: &[&str]) -> DeflateParams {
    accepted(request, lines).deflate().expect("an extension in use")
}

#[test]
fn client_makes_several_offers_in_order() {
    //= https://www.rfc-editor.org/rfc/rfc7692#section-5.1
    //# A client may also offer multiple PMCE choices to the server by including multiple elements in the
    //# "Sec-WebSocket-Extensions" header, one for each PMCE offered.
    let wanted = DeflateOffer {
        server_max_window_bits: Some(bits(10)),
        client_max_window_bits: None,
        ..DeflateOffer::default()
    };
    let request = offering(&[wanted, DeflateOffer::default()]);
    assert_eq!(request.offers(), [wanted, DeflateOffer::default()]);
    let (_, octets) = start(&request, HeadLimits::default());
    assert!(octets.contains(
        "\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, \
         permessage-deflate; client_max_window_bits\r\n"
    ));
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9";
    assert_eq!(agreed(&request, &[answer]).server_max_window_bits, bits(9));
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9";
    assert_eq!(agreed(&request, &[answer]).client_max_window_bits, bits(9));
}

#[test]
fn client_fails_on_an_extension_that_it_did_not_offer() {
    let error = ResponseError::Extensions(AnswerError::NotOffered);
    fails(&plain(), &["Sec-WebSocket-Extensions: permessage-deflate"], error);
    let offers = offering(&[DeflateOffer::default()]);
    for value in ["x", "permessage-deflate, x", "Permessage-Deflate", "x; y=1"] {
        fails(&offers, &[&format!("Sec-WebSocket-Extensions: {value}")], error);
    }
}

#[test]
fn client_fails_on_extensions_against_the_grammar() {
    let error = ResponseError::Extensions(AnswerError::Malformed);
    let offers = offering(&[DeflateOffer::default()]);
    for value in [
        "",
        ",",
        "permessage-deflate;",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=\"1 0\"",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage deflate",
        "@",
    ] {
        fails(&offers, &[&format!("Sec-WebSocket-Extensions: {value}")], error);
    }
}

/// By erratum 3433.
#[test]
fn client_reads_extensions_across_lines() {
    let offers = offering(&[DeflateOffer::default()]);
    let line = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"1\\0\"";
    let empty = "Sec-WebSocket-Extensions: ,";
    assert_eq!(agreed(&offers, &[empty, line]).server_max_window_bits, bits(10));
    assert_eq!(agreed(&offers, &[line, empty]).server_max_window_bits, bits(10));
    fails(&offers, &[line, line], ResponseError::Extensions(AnswerError::Repeated));
}

#[test]
fn client_agrees_to_what_it_can_do_and_to_nothing_else() {
    let offers = offering(&[DeflateOffer {
        server_max_window_bits: Some(bits(12)),
        client_max_window_bits: Some(ClientWindow::AtMost(bits(11))),
        ..DeflateOffer::default()
    }]);
    let line = |params: &str| {
        format!("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={params}")
    };
    let params = agreed(&offers, &[&line("9; client_no_context_takeover")]);
    assert!(params.client_no_context_takeover && !params.server_no_context_takeover);
    assert_eq!((params.server_max_window_bits, params.client_max_window_bits), (bits(9), bits(11)));
    for (params, error) in [
        ("13", AnswerError::Mismatch),
        ("7", AnswerError::InvalidValue),
        ("16", AnswerError::InvalidValue),
        ("99", AnswerError::InvalidValue),
        ("12; server_max_window_bits=12", AnswerError::RepeatedParameter),
        ("12; x", AnswerError::UnknownParameter),
        ("12; client_max_window_bits", AnswerError::InvalidValue),
        ("12; client_max_window_bits=12", AnswerError::Mismatch),
    ] {
        fails(&offers, &[&line(params)], ResponseError::Extensions(error));
    }
    let offers = offering(&[DeflateOffer { client_max_window_bits: None, ..DeflateOffer::default() }]);
    fails(
        &offers,
        &[&line("12; client_max_window_bits=12")],
        ResponseError::Extensions(AnswerError::Mismatch),
    );
}
